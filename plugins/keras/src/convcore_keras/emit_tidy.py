"""Neighbouring calls as the one layer a person would have written, where the numbers stay the same to the bit."""

from __future__ import annotations

from collections import Counter

from convcore.plugin import Peephole, Plan, PlanCall, Tidy, Unit

from .layer_spec import spec_of

__all__ = ["peepholes"]


def peepholes(plan: Plan, own: bool) -> dict[str, Peephole]:
    """``own``: the source is Keras, whose author chose between ``activation=`` and a layer: only what came from one layer is
    merged."""
    calls: Counter[int] = Counter(id(c.target) for c in plan.root.calls if isinstance(c.target, Unit))

    def activation(t: Tidy, call: PlanCall) -> bool:
        """A layer with an ``activation`` argument takes over the activation behind it."""
        name = _plain(call)
        before = call.args[0].call if call.args and hasattr(call.args[0], "call") else None
        if not name or before is None or not isinstance(before.target, Unit) or calls[id(before.target)] != 1:
            return False
        if t.only(call.args[0], before.type) is None or "activation" not in spec_of(before.type).defaults:
            return False
        if before.type not in _TAKES or before.target.config.get("activation", "linear") != "linear":
            return False
        if own and before.origin.layer != call.origin.layer:
            return False
        unit = before.target
        call.target = Unit(unit.type, {**unit.config, "activation": name}, unit.states, unit.path)
        call.kwargs = {}
        call.source, call.node = before.source, before.node
        calls[id(call.target)] = 1
        t.absorb(call, before)
        return True

    return {"Activation": activation, "ReLU": activation}


_TAKES = frozenset(
    [f"{kind}{d}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for d in (1, 2, 3)]
    + [f"Conv{d}DTranspose" for d in (1, 2, 3)]
    + ["Dense", "EinsumDense"]
)


def _plain(call: PlanCall) -> str:
    if call.type == "ReLU":
        return "" if any(call.config.values()) else "relu"
    name = call.config.get("activation")
    return name if isinstance(name, str) else ""
