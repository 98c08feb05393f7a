"""Control flow: regions are functions within ``forward``, called by ``branch``, ``repeat`` and ``scan`` of ``written.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Problem, Trait, UnsupportedError, Value, traits_of

from ..rules.base import RULES
from .base import E, given, number, told


def _regions(e: E, node: Node, bound: Sequence[Value | None], formal: int) -> list[Any]:
    """All regions of a node; the problems of all of them together."""
    made, problems = [], []
    for region in node.regions:
        try:
            made.append(e.region(region, bound, formal))
        except UnsupportedError as err:
            problems += [p for p in err.problems if p not in problems]
    if problems:
        raise UnsupportedError([Problem(p.layer, p.type, p.why, p.hint, p.code) for p in problems])
    return made


def _size(e: E, v: Value) -> Any:
    """A size as a Python number: of an axis, the number of axes, or a constant; None for anything else."""
    known = number(v)
    p = v.producer
    if known is not None or p is None:
        return known
    shape = p.inputs[0].producer if p.inputs and p.inputs[0] is not None else None
    if shape is None or shape.op != "shape_of" or (shape.attrs["start"], shape.attrs["end"]) != (0, None):
        return None
    x = e.value(given(shape.inputs[0]), carry=True)
    if p.op == "size_of":
        return e.call(".dim", [x])[0]
    axis = number(given(p.inputs[1])) if p.op == "gather" else None
    return None if axis is None else e.call(".size", [x, axis])[0]


def _test(e: E, v: Value) -> Any:
    """A condition on sizes as one of Python, which a program that is exported decides: its branches may differ in their axes."""
    p, sign = v.producer, "=="
    while p is not None and (Trait.VIEW in traits_of(p.op) or p.op in ("cast", "not")):
        sign = sign if p.op != "not" else "!=" if sign == "==" else "=="
        p = given(p.inputs[0]).producer
    if p is None or p.op != "equal":
        return e.value(v)
    a, b = given(p.inputs[0]), given(p.inputs[1])
    if {a.dtype, b.dtype} != {DType.INT64} or (number(a) is None) == (number(b) is None):
        return e.value(v)
    sides = [_size(e, a), _size(e, b)]
    return e.value(v) if None in sides else e.call(sign, sides)[0]


@RULES.emit("if")
def if_(e: E, node: Node) -> None:
    """Both regions read what is around them."""
    h = _test(e, given(node.arg("cond")))
    then, other = _regions(e, node, node.inputs[1:], 0)
    if not node.outputs:
        return
    e.call("branch", [h], {"then": then, "other": other}, outputs=node.outputs, carry=True)


@RULES.emit("loop")
def loop(e: E, node: Node) -> None:
    """The body takes step, condition and states; returns condition, states, rows."""
    n = node.attrs["n_states"]
    trips, cond, *values = node.inputs
    if trips is None and cond is None:
        raise NotExpressible("a loop without trip count and condition has no end")
    count = None if trips is None else told(e, trips)
    if trips is not None and count is None:
        count = e.value(trips)
    known = None if cond is None or cond.tensor is None else bool(cond.tensor.numpy().reshape(-1)[0])
    go = True if cond is None else e.value(cond) if known is None else known
    states = tuple(e.value(given(v), carry=True) for v in values[:n])
    (body,) = _regions(e, node, values[n:], 2 + n)
    args: list[Any] = [count, go, states]
    stacked = node.regions[0].outputs[1 + n :]
    if stacked:
        rows = []
        for v in stacked:
            if v.dtype is None or v.shape is None:
                raise NotExpressible(f"the number of axes of {v.name!r} is not known")
            rows.append((tuple(d if isinstance(d, int) else 0 for d in v.shape), v.dtype))
        args.append(tuple(rows))
    e.call("repeat", args, {"step": body, "states": n}, outputs=node.outputs, carry=True)


@RULES.emit("scan")
def scan(e: E, node: Node) -> None:
    """Slices are taken along axis 0, forwards: other axes are moved there, what runs backwards is turned round."""
    a = node.attrs
    n, m = a["n_states"], a["n_scanned"]
    values = node.args("values")
    states = tuple(e.value(given(v)) for v in values[:n])
    slices = []
    for v, axis, back in zip(values[n : n + m], a["scan_axis"], a["reverse"]):
        h = e.value(given(v), carry=True)
        if axis:
            (h,) = e.call("torch.movedim", [h, axis, 0], carry=True)
        if back:
            (h,) = e.call("torch.flip", [h, (0,)], carry=True)
        slices.append(h)
    (body,) = _regions(e, node, node.inputs[n + m :], n + m)
    stacked = len(node.outputs) - n
    axes, backs = a["out_axes"] or (0,) * stacked, a["out_reverse"] or (0,) * stacked
    direct = [v if i < n or not (axes[i - n] or backs[i - n]) else None for i, v in enumerate(node.outputs)]
    results = e.call("scan", [states, tuple(slices)], {"step": body, "states": n}, outputs=direct)
    for v, h, axis, back in zip(node.outputs[n:], results[n:], axes, backs):
        if back:
            (h,) = e.call("torch.flip", [h, (0,)], outputs=() if axis else (v,), carry=True)
        if axis:
            e.call("torch.movedim", [h, 0, axis], outputs=(v,), carry=True)
