"""Neighbouring calls as the one layer a person would have written, where the numbers stay the same to the bit."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Peephole, Plan, PlanCall, Tidy, Unit, leaves

__all__ = ["peepholes"]


def peepholes(plan: Plan, own: bool) -> dict[str, Peephole]:
    """``own``: the source is Keras, whose author chose between ``activation=`` and a layer: only what came from one layer is
    merged."""
    calls: dict[Unit, list[PlanCall]] = {}
    readers: dict[Any, list[PlanCall]] = {}
    for c in plan.root.calls:
        if isinstance(c.target, Unit):
            calls.setdefault(c.target, []).append(c)
        for a in leaves(c.args):
            readers.setdefault(a, []).append(c)
    fused: dict[Unit, Unit] = {}

    def behind(call: PlanCall, name: str) -> bool:
        """Whether all that reads what a call gives is an activation of that name."""
        found = readers.get(call.results[0], [])
        if len(call.results) != 1 or len(found) != 1 or _plain(found[0]) != name:
            return False
        return not own or call.origin.layer == found[0].origin.layer

    def activation(t: Tidy, call: PlanCall) -> bool:
        """A layer with an ``activation`` argument takes over the activation behind it, behind every call of it."""
        name = _plain(call)
        before = t.only(call.args[0], *_TAKES) if call.args else None
        if not name or before is None or not isinstance(before.target, Unit):
            return False
        unit = before.target
        if unit not in fused:
            if unit.config.get("activation", "linear") != "linear" or not all(behind(c, name) for c in calls[unit]):
                return False
            fused[unit] = Unit(unit.type, {**unit.config, "activation": name}, unit.states, unit.path)
        call.target, call.kwargs = fused[unit], {}
        call.source, call.node = before.source, before.node
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
