"""com.microsoft: operators that exporters write which the standard has since, or had not in the opset they wrote."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, ForeignNode, Value, known_shape

from ..context import OnnxContext
from .contrib import contrib, standard

__all__: list[str] = []

_SINCE = {"Trilu": 14, "GatherND": 11, "GridSample": 16, "Range": 11, "Pad": 11}
"""The opset whose operator of the same name and attributes each of them is."""


@contrib(*_SINCE)
def as_since(g: OnnxContext, node: ForeignNode) -> Any:
    """Indices of 32 bits are cast, numbers with an axis of one element are numbers, and Range counts by 1 unless told."""
    name = node.type.rpartition(".")[2]
    inputs: list[Value | None] = list(node.inputs)
    if name == "GatherND":
        inputs[1] = g.b.cast(node.need(1), to=DType.INT64)
    elif name == "Range":
        inputs = [None if v is None else _one(g, node, v) for v in inputs]
        if len(inputs) < 3 or inputs[2] is None:
            inputs = [*inputs[:2], g.b.like(node.need(0), 1)]
    elif name == "Pad":
        if known_shape(node.need(1))[:1] == (1,) and len(known_shape(node.need(1))) == 2:
            inputs[1] = g.b.reshape(node.need(1), shape=known_shape(node.need(1))[1:])
        if node.attr("mode", "constant") not in ("constant", "reflect", "edge"):
            raise node.refuse(f"mode={node.attr('mode')!r}")
    return standard(g, node, name, inputs, _SINCE[name], {k: node.attr(k) for k in node.attrs})


def _one(g: OnnxContext, node: ForeignNode, v: Value) -> Value:
    if known_shape(v) not in ((), (1,)):
        raise node.refuse(f"a number of shape {list(map(str, known_shape(v)))}", code="invalid_shape")
    return g.scalar(v)


@contrib("ExpandDims")
def expand_dims(g: OnnxContext, node: ForeignNode) -> Any:
    axis = g.constant(node.need(1))
    if axis is None or axis.size != 1:
        raise node.refuse("its axis is computed, or not one number", code="requires_constant_input")
    x = node.need(0)
    return g.b.unsqueeze(x, axes=(node.axis_in(int(axis.reshape(-1)[0]), len(known_shape(x)) + 1),))


@contrib("CDist")
def distances(g: OnnxContext, node: ForeignNode) -> Any:
    """Between each row of A and each of B; the sum of squares, or its root."""
    b, metric = g.b, node.attr("metric", "sqeuclidean")
    if metric not in ("sqeuclidean", "euclidean"):
        raise node.refuse(f"metric={metric!r}")
    x, y = node.need(0), node.need(1)
    if len(known_shape(x)) != 2 or len(known_shape(y)) != 2:
        raise node.refuse(f"its inputs have {x.rank} and {y.rank} axes, not 2", code="invalid_shape")
    total = b.sum(b.square(b.sub(b.unsqueeze(x, axes=(1,)), b.unsqueeze(y, axes=(0,)))), axes=(2,))
    return b.sqrt(total) if metric == "euclidean" else total
