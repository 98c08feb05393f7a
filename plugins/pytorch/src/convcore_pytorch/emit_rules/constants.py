"""Constants, and shapes as data."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, shape_of, sizes


@RULES.emit("fill")
def fill(e: E, node: Node) -> None:
    """A tensor of one number on the device of the weights, made anew at every call where its shape is symbolic."""
    shape = node.attrs["shape"]
    if e.node is None or any(v is None for v in shape):
        raise NotExpressible("a size is not known")
    made = sizes(e, shape)
    e.call("torch.full", [tuple(made), node.attrs["value"]], {"dtype": node.attrs["dtype"]}, outputs=node.outputs)


@RULES.emit("eye")
def eye(e: E, node: Node) -> None:
    """The main diagonal only."""
    a = node.attrs
    if a["k"] != 0:
        raise NotExpressible(f"k={a['k']}")
    e.call("torch.eye", sizes(e, (a["rows"], a["columns"])), {"dtype": a["dtype"]}, outputs=node.outputs)


@RULES.emit("shape_of")
def shape_of_(e: E, node: Node) -> None:
    """The shape as integers."""
    x = given(node.inputs[0])
    start, end = node.attrs["start"], node.attrs["end"]
    axes = range(len(shape_of(x)))[slice(start, end)]
    parts: list[Any] = [e.call(".size", [e.value(x, carry=True), i])[0] for i in axes]
    e.call("torch.tensor", [tuple(parts)], {"dtype": DType.INT64}, outputs=node.outputs)


@RULES.emit("dim_value")
def dim_value(e: E, node: Node) -> None:
    """A size as data."""
    e.call("torch.tensor", [sizes(e, [node.attrs["value"]])[0]], {"dtype": DType.INT64}, outputs=node.outputs)
