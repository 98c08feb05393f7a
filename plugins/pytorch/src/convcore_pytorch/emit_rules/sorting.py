"""Sorting, and running sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, picked, shape_of, sizes


@RULES.emit("argmax", "argmin")
def argmax(e: E, node: Node) -> None:
    """The first of equal elements; the last is the first of the axis turned round."""
    x, a = node.need("x"), node.attrs
    h, wide = e.value(x), a["dtype"] is DType.INT64
    config = {"dim": a["axis"], "keepdim": a["keepdims"] or None}
    if a["last"]:
        (h,) = e.call("torch.flip", [h, (a["axis"],)])
    (y,) = e.call(f"torch.{node.op}", [h], config, outputs=node.outputs if wide and not a["last"] else ())
    if a["last"]:
        end = sizes(e, [shape_of(x)[a["axis"]]])[0]
        (last,) = e.call("-", [end - 1 if isinstance(end, int) else e.call("-", [end, 1])[0], y],
                         outputs=node.outputs if wide else ())  # fmt: skip
        y = last
    if not wide:
        e.call(".to", [y, a["dtype"]], outputs=node.outputs)


@RULES.emit("topk")
def topk(e: E, node: Node) -> None:
    """torch.topk where only the elements are asked for: it takes any of equal ones. Their places come from a stable sort."""
    ordered(e, node, sizes(e, [node.attrs["k"]])[0])


def ordered(e: E, node: Node, k: Any) -> None:
    """The ``k`` largest or smallest. A ``k`` that is read must not be more than there are: a slice would be shorter."""
    x, a = node.need("x"), node.attrs
    values, at = node.outputs
    config: dict[str, Any] = {"dim": a["axis"]}
    if not at.uses and at not in e.graph.outputs:
        e.call("torch.topk", [e.value(x), k], {**config, "largest": None if a["largest"] else False}, outputs=(values, None))
        return
    config = {"stable": True, **config, "descending": a["largest"] or None}
    line, order = e.call("torch.sort", [e.value(x)], config, n_outputs=2)
    axis = a["axis"] % len(shape_of(x))
    for h, out in ((line, values), (order, at)):
        if node.op == "topk":
            picked(e, h, axis, None, k, outputs=(out,))
        else:
            e.call(".narrow", [h, axis, 0, k], outputs=(out,))


@RULES.emit("cumsum", "cumprod")
def cumulative(e: E, node: Node) -> None:
    """Along a named axis."""
    x, axis = node.need("x"), node.attrs["axis"]
    rank = len(shape_of(x))
    running(e, node, node.op, e.value(x), axis, rank - 1 - axis % rank, node.outputs)


def running(e: E, node: Node, op: str, h: Any, axis: int, behind: int, outputs: Sequence[Any]) -> Any:
    """Along an axis with ``behind`` others after it. From the end: turned round before and after. Without the element itself:
    moved by one place."""
    a, dtype = node.attrs, node.need("x").dtype
    if dtype is None:
        raise NotExpressible("elements of a type that is not known")
    if a["reverse"]:
        (h,) = e.call("torch.flip", [h, (axis,)])
    config = {"dim": axis, "dtype": None if dtype.is_float else dtype}
    last = not a["exclusive"] and not a["reverse"]
    (h,) = e.call(f"torch.{op}", [h], config, outputs=outputs if last else ())
    if a["exclusive"]:
        pads = (*(0, 0) * behind, 1, -1)
        first = {} if op == "cumsum" else {"value": 1}
        (h,) = e.call("F.pad", [h, pads], first, outputs=() if a["reverse"] else outputs)
    if a["reverse"]:
        (h,) = e.call("torch.flip", [h, (axis,)], outputs=outputs)
    return h
