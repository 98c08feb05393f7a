"""ATen's counts: of integers, and of numbers between edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed


def _added(g: TorchContext, hit: Value, weights: Value | None, dtype: DType | None) -> Value:
    """Rows (elements, bins) of truth values summed, each times its weight."""
    marks = g.cast(hit, dtype)
    if weights is not None:
        marks = g.b.mul(marks, g.b.unsqueeze(g.cast(weights, dtype), axes=(1,)))
    return g.b.sum(marks, axes=(0,))


@RULES.load("aten.bincount")
def bincount(g: TorchContext, n: AtenNode) -> Value:
    """As long as the largest element and one, at least ``minlength``."""
    x, weights = n.tensor("self"), n.optional("weights")
    least = int(n.number("minlength"))
    x = g.cast(x, DType.INT64)
    most = g.b.max(g.b.concat(x, g.b.const(np.asarray([least - 1]), DType.INT64), axis=0), axes=(0,))
    bins = g.b.range(g.b.const(0, DType.INT64), g.b.add(most, g.b.const(1, DType.INT64)), g.b.const(1, DType.INT64))
    hit = g.b.equal(g.b.unsqueeze(x, axes=(1,)), g.b.unsqueeze(bins, axes=(0,)))
    return _added(g, hit, weights, n.dtype or DType.INT64)


def _between(g: TorchContext, x: Value, edges: Value) -> Value:
    """(elements, bins): whether an element is in a bin, which its lower edge belongs to, and the last one's upper edge, too."""
    (count,) = fixed(known(edges), (0,), "counts between")
    if count < 2:
        raise NotExpressible("fewer than two edges", "invalid_shape")
    column = g.b.unsqueeze(x, axes=(1,))
    low = g.b.slice(edges, starts=(0,), stops=(-1,), steps=(1,))
    high = g.b.slice(edges, starts=(1,), stops=(None,), steps=(1,))
    under = g.b.less(column, high)
    at_end = g.b.and_(g.b.equal(column, high), g.b.const(np.arange(count - 1) == count - 2, DType.BOOL))
    return g.b.and_(g.b.greater_equal(column, low), g.b.or_(under, at_end))


def _limits(g: TorchContext, x: Value, low: float, high: float, more: float) -> tuple[Value, Value]:
    """The range: of the data where none is given, and ``more`` wider on both sides where it is a point
    (ATen/native/Histogram.cpp: select_outer_bin_edges by a half, histogram_histc by one)."""
    if low != high:
        return g.b.like(x, low), g.b.like(x, high)
    a, b = g.b.min(x, axes=(0,)), g.b.max(x, axes=(0,))
    point = g.b.equal(a, b)
    one = g.b.like(a, more)
    return g.b.where(point, g.b.sub(a, one), a), g.b.where(point, g.b.add(b, one), b)


def _spread(g: TorchContext, low: Value, high: Value, bins: int) -> Value:
    """bins + 1 edges, from both ends as torch.linspace."""
    step = g.b.div(g.b.sub(high, low), g.b.like(low, bins))
    i = np.arange(bins + 1)
    dtype = (low.dtype or DType.FLOAT32).numpy
    up = g.b.add(low, g.b.mul(step, g.b.const(i.astype(dtype), low.dtype)))
    down = g.b.sub(high, g.b.mul(step, g.b.const((bins - i).astype(dtype), low.dtype)))
    return g.b.where(g.b.const(i < (bins + 1) // 2, DType.BOOL), up, down)


def _flat(g: TorchContext, n: AtenNode) -> Value:
    x = g.reshape(n.tensor("self"), (-1,))
    if x.dtype is None or not x.dtype.is_float:
        raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")
    if known(x) == (0,):
        raise NotExpressible("of nothing", "unsupported_shape")
    return x


@RULES.load("aten.histc")
def histc(g: TorchContext, n: AtenNode) -> Value:
    """Elements in the bin their place between the limits, times the bins, is cut off to (ATen/native/cpu/HistogramKernel.cpp)."""
    x, bins = _flat(g, n), int(n.number("bins"))
    low, high = _limits(g, x, n.number("min"), n.number("max"), 1.0)
    at = g.b.div(g.b.mul(g.b.sub(x, low), g.b.like(x, bins)), g.b.sub(high, low))
    inside = g.b.and_(g.b.greater_equal(x, low), g.b.less_equal(x, high))
    place = g.cast(g.b.where(inside, at, g.b.like(x, -1)), DType.INT64)
    place = g.b.minimum(place, g.b.like(place, bins - 1))
    hit = g.b.equal(g.b.unsqueeze(place, axes=(1,)), g.b.const(np.arange(bins)[None], DType.INT64))
    return _added(g, hit, None, x.dtype)


@RULES.load("aten.histogram.bin_ct", "aten.histogram.bins_tensor")
def histogram(g: TorchContext, n: AtenNode) -> Any:
    x, weights = _flat(g, n), n.optional("weight")
    if "range" in n.arguments:
        given = n.arg("range")
        low, high = given if given else (0.0, 0.0)
        edges = _spread(g, *_limits(g, x, low, high, 0.5), int(n.number("bins")))
    else:
        edges = n.tensor("bins")
    weights = None if weights is None else g.reshape(weights, (-1,))
    y = _added(g, _between(g, x, edges), weights, x.dtype)
    if n.number("density"):
        width = g.b.sub(
            g.b.slice(edges, starts=(1,), stops=(None,), steps=(1,)), g.b.slice(edges, starts=(0,), stops=(-1,), steps=(1,))
        )
        y = g.b.div(g.b.div(y, g.b.sum(y, axes=(0,))), width)
    return y, edges
