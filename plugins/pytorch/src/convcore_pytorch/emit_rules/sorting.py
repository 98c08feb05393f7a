"""Sorting, and running sums."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, shape_of


@RULES.emit("argmax", "argmin")
def argmax(e: E, node: Node) -> None:
    """The first of equal elements."""
    x = given(node.inputs[0])
    if node.attrs["last"] or x.dtype is DType.BOOL:
        raise NotExpressible("the last of equal elements")
    config = {"dim": node.attrs["axis"], "keepdim": node.attrs["keepdims"] or None}
    if node.attrs["dtype"] is DType.INT64:
        e.call(f"torch.{node.op}", [e.value(x)], config, outputs=node.outputs)
        return
    (y,) = e.call(f"torch.{node.op}", [e.value(x)], config)
    e.call(".to", [y, node.attrs["dtype"]], outputs=node.outputs)


@RULES.emit("sort", "argsort")
def sort(e: E, node: Node) -> None:
    """Stable: equal elements keep their order."""
    x = given(node.inputs[0])
    if node.attrs["descending"] or x.dtype is DType.BOOL or not shape_of(x):
        raise NotExpressible("descending: torch keeps equal elements in another order")
    config: dict[str, Any] = {"stable": True, "dim": node.attrs["axis"]}
    if node.op == "argsort":
        e.call("torch.argsort", [e.value(x)], config, outputs=node.outputs)
        return
    e.call("torch.sort", [e.value(x)], config, outputs=(node.output, None))


@RULES.emit("cumsum", "cumprod")
def cumulative(e: E, node: Node) -> None:
    """Forward and inclusive."""
    x, a = given(node.inputs[0]), node.attrs
    if a["exclusive"] or a["reverse"] or x.dtype is None or x.dtype is DType.BOOL:
        raise NotExpressible("exclusive or reverse")
    config = {"dim": a["axis"], "dtype": None if x.dtype.is_float else x.dtype}
    e.call(f"torch.{node.op}", [e.value(x)], config, outputs=node.outputs)
