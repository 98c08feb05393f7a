"""Constants shaped like a tensor, sizes and ranges (``keras.src.ops.numpy``; Keras 3.15.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .spec import operation, operations, to_dtype

__all__: list[str] = []

operation("ZerosLike", "x")
operation("OnesLike", "x")
operation("EmptyLike", "x")
operation("FullLike", "x, fill_value", tensors="x")
operation("Full", "fill_value")
for _class in ("Linspace", "Logspace", "Geomspace"):
    operation(_class, "start, stop", "float")
operation("Arange", "start, stop?, step?", tensors="")
operations("Size Ndim", "x")


@RULES.load("ops.ZerosLike", "ops.OnesLike")
def constant_like(g: KerasContext, node: ForeignNode) -> Value:
    """Zeros or ones with the shape of a tensor."""
    x = node.need(0)
    dtype = node.attr("dtype", None) or str(x.dtype)
    value: Any = node.type == "ops.OnesLike"
    return g.b.fill(shape=known_shape(x, sizes=True), value=value if dtype == "bool" else int(value), dtype=dtype)


@RULES.load("ops.FullLike", "ops.Full")
def full(g: KerasContext, node: ForeignNode) -> Value:
    """A number, or a tensor broadcast, in the shape of a tensor or a given one."""
    like = node.type == "ops.FullLike"
    x = node.need(0)
    value = node.attr("fill_value") if like else x
    dtype = node.attr("dtype", None) or (str(x.dtype) if like else "float32")
    shape = known_shape(x, sizes=True) if like else tuple(node.attr("shape"))
    return g.b.expand(to_dtype(g, np.asarray(value) if isinstance(value, list) else value, DType(dtype)), shape=shape)


@RULES.load("ops.EmptyLike")
def empty(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: its elements have no value."""
    raise node.refuse("makes a tensor whose elements are not defined")


@RULES.load("ops.Size")
def size(g: KerasContext, node: ForeignNode) -> Value:
    """The number of elements, int32."""
    return g.b.cast(g.b.size_of(node.need(0)), to="int32")


@RULES.load("ops.Ndim")
def ndim(g: KerasContext, node: ForeignNode) -> Value:
    """The number of axes, in the dtype that Keras states (``Ndim.compute_output_spec``: float32, of int32 elsewhere)."""
    raise node.refuse("its result is a Python number when it runs, not a tensor")


@RULES.load("ops.Linspace", "ops.Logspace", "ops.Geomspace")
def spaced(g: KerasContext, node: ForeignNode) -> Any:
    """``num`` numbers from start to stop: evenly, as powers of ``base``, or in even ratio, along a new axis."""
    start, stop, b = node.need(0), node.need(1), g.b
    num, end, to = int(node.attr("num", 50)), bool(node.attr("endpoint", True)), node.attr("dtype", None)
    axis, kind = int(node.attr("axis", 0)), node.type.removeprefix("ops.")
    if kind == "Geomspace":
        sign, start, stop = b.sign(start), b.log(b.abs(start)), b.log(b.abs(stop))
    start, stop = b.add(start, b.mul(stop, b.like(stop, 0.0))), b.add(stop, b.mul(start, b.like(start, 0.0)))
    rank = len(known_shape(start)) + 1
    axis %= rank
    steps = np.arange(num) / max(num - 1 if end else num, 1)
    weights = b.const(steps.reshape(tuple(num if a == axis else 1 for a in range(rank))), start.dtype)
    first, last = b.unsqueeze(start, axes=(axis,)), b.unsqueeze(stop, axes=(axis,))
    y = b.add(b.mul(first, b.sub(b.like(weights, 1.0), weights)), b.mul(last, weights))
    if kind == "Logspace":
        y = b.pow(b.like(y, float(node.attr("base", 10))), y)
    elif kind == "Geomspace":
        y = b.mul(b.exp(y), b.unsqueeze(sign, axes=(axis,)))
    y = y if to is None else b.cast(y, to=DType(to))
    if kind == "Linspace" and node.attr("retstep", False):
        return y, b.div(b.sub(stop, start), b.like(start, float(max(num - 1 if end else num, 1))))
    return y
