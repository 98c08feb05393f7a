"""Operators that write into a tensor: computed anew, and written back where that is certain to give what others see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convcore.plugin import ForeignNode, Origin

from .arguments import read
from .context import AtenNode
from .files.program import Node
from .memory import Handle, shared_steps
from .signatures import Signature, signature

if TYPE_CHECKING:
    from .frame import Frame

__all__ = ["alive", "mutate"]

RESHAPING = frozenset({"squeeze_", "unsqueeze_", "t_", "transpose_", "swapaxes_", "swapdims_"})
"""In-place operators that change no element, only how the tensor is seen."""


def mutate(
    frame: Frame, n: Node, kind: str, sig: Signature | None, handles: Mapping[str, Any], written: Sequence[str], origin: Origin
) -> None:
    """An in-place operator: the same computed anew, written back where the tensor is a view, refused where neither is
    certain to give what others see of that memory."""
    assert sig is not None
    target = handles[written[0]]
    base = kind.split(".")[1]
    if kind == "aten.detach_":
        frame.bind(next(n.made()), target)
        return
    twin = "aten." + base.removesuffix("_") + kind[len("aten." + base) :]
    if base in RESHAPING:
        reshaped(frame, n, twin, handles, target, origin)
        return
    node = ForeignNode(kind, origin.layer, [], {}, origin=origin)
    if len(written) != 1 or not base.endswith("_") or not isinstance(target, Handle):
        raise node.refuse(f"writes into its arguments {', '.join(written)}", code="unsupported_mutation")
    if counts(frame, target):
        frame.bind_results(n, list(n.made()), [target])
        return
    may_write(frame, target, node)
    values = read(handles)
    old = values[written[0]]
    told = frame.told(n)[:1] or [(old.dtype, old.shape)]
    new_sig = signature(twin if twin.count(".") > 1 else twin + ".default")
    call = AtenNode(twin, origin.layer, values, new_sig or sig, origin, [(told[0][0] or old.dtype, told[0][1])], [origin.layer])
    (v,) = frame.driver.load(call, 1)[:1]
    if v.producer is None or v.producer.op != "opaque":
        v = frame.checked(call, frame.g.cast(v, old.dtype), old.shape)
    target.write(v)
    for name in n.made():
        frame.bind(name, target)


def reshaped(frame: Frame, n: Node, twin: str, handles: Mapping[str, Any], target: Handle, origin: Origin) -> None:
    """An in-place operator that changes the tensor's shape and leaves its elements: every name of it now means the view."""
    twin = "aten.transpose.int" if twin == "aten.transpose" else twin
    sig = signature(twin if twin.count(".") > 1 else twin + ".default")
    names = list(n.made())
    node = AtenNode(twin, origin.layer, read(handles), sig, origin, frame.told(n)[:1], names[:1])
    (v,) = frame.results(node, replace(n, outputs=tuple(names[:1])))[:1]
    view = target.view(frame.step(node, 0, v, target, True), v)
    for name in [*target.names, *names]:
        frame.bind(name, view)


def counts(frame: Frame, target: Handle) -> bool:
    """Whether a write is BatchNorm's count of batches, which says nothing about the results."""
    m = target.memory
    return m.kind == "buffer" and m.name.rpartition(".")[2] == "num_batches_tracked" and frame.loader.training


def may_write(frame: Frame, target: Handle, node: ForeignNode) -> None:
    """Refuse a write that others might or might not see; cut what nobody else needs."""
    m = target.memory
    for held in (m, *target.also):
        if held.kind in ("parameter", "buffer", "constant"):
            why = f"changes the {held.kind} {held.name!r}, so the model has a state"
            raise node.refuse(why, "keep states as inputs and outputs", "stateful")
        if frame.outer is not None and held.kind == "captured":
            raise node.refuse("writes into a tensor from outside of its branch or loop", code="unsupported_mutation")
    others = [h for h in m.handles if h is not target and alive(frame, h)]
    strange = (*m.strangers, *(h for a in target.also for h in a.handles))
    unsure = [h for h in strange if h is not target and alive(frame, h)]
    if unsure:
        seen = ", ".join(repr(x) for o in unsure for x in o.names[:1])
        raise node.refuse(
            f"writes into a tensor that may share memory with {seen}, which is read later",
            "clone() the tensor before it is changed", "unsupported_mutation",
        )  # fmt: skip
    if m.kind == "input":
        frame.g.note(f"the model also writes into its input {m.name!r}; the result does not show that")
    keep = shared_steps([target, *others])
    for h in (target, *others):
        for s in h.steps[keep:]:
            if not s.sure or (h is target and s.scatter is None):
                why = "is not certain to be a view" if not s.sure else "has no way back"
                seen = ", ".join(repr(x) for o in others for x in o.names[:1]) or "nobody"
                raise node.refuse(
                    f"writes into a tensor that {s.op} gives, which {why}, while {seen} is read later",
                    "clone() the tensor before it is changed", "unsupported_mutation",
                )  # fmt: skip
    if keep:
        target.detach(keep, others)


def alive(frame: Frame, h: Handle) -> bool:
    """Whether a tensor is read after the node at work."""
    return any(frame.last.get(name, -1) > frame.at for name in h.names)
