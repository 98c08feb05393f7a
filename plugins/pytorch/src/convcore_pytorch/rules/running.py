"""ATen's running extremes and the picks of sorted places: cummax, logcumsumexp, kthvalue, median.

A running result of n elements is a reduction of an n by n table of which the part above the diagonal does not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed
from .sorting import numbers

MOST = 2048
"""The longest axis that is written as a table."""


def _table(g: TorchContext, n: AtenNode, fill: Any) -> tuple[Value, int, int]:
    """(..., n, n) with the axis last: row i holds elements 0..i, and ``fill`` behind them; the axis, its length."""
    x, s = n.tensor("self"), n.shape("self")
    axis = n.axis("dim", len(s))
    (length,) = fixed(s, (axis,), "runs over")
    if length > MOST:
        raise NotExpressible(f"runs over {length} elements; {MOST} is the most that is written out")
    last = g.transpose(x, [*(a for a in range(len(s)) if a != axis), axis])
    shape = known(last)
    wide = g.b.expand(g.b.unsqueeze(last, axes=(len(shape) - 1,)), shape=(*shape[:-1], length, length))
    lower = g.b.const(np.tri(length, dtype=np.bool_), DType.BOOL)
    return g.b.where(lower, wide, g.b.like(wide, fill)), axis, length


def _back(g: TorchContext, v: Value, axis: int) -> Value:
    rank = len(known(v))
    order = [*(a for a in range(rank) if a != axis), axis]
    return g.transpose(v, [order.index(i) for i in range(rank)])


@RULES.load("aten.logcumsumexp")
def logcumsumexp(g: TorchContext, n: AtenNode) -> Value:
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(n.tensor("self"))
    wide, axis, _ = _table(g, n, float("-inf"))
    return _back(g, g.b.logsumexp(wide, axes=(len(known(wide)) - 1,)), axis)


@RULES.load("aten.cummax", "aten.cummin")
def running_extreme(g: TorchContext, n: AtenNode) -> Any:
    """Of equal elements the last one's index; from a nan on everything is nan (ATen/native/ReduceOps.cpp)."""
    x = n.tensor("self")
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(x), g.b.const(0, DType.INT64)
    kind, dtype = n.type[-3:], x.dtype
    if dtype is None or not (dtype.is_float or dtype.is_int or dtype is DType.BOOL):
        raise NotExpressible(f"of {dtype}", "unsupported_dtype")
    plain = n
    if dtype is DType.BOOL:
        plain = n.replaced("self", g.cast(x, DType.INT32))
        n.skip(*n.arguments)
        least: Any = -1 if kind == "max" else 2
    elif dtype.is_float:
        least = float("-inf") if kind == "max" else float("inf")
    else:
        info = np.iinfo(dtype.numpy)
        least = int(info.min if kind == "max" else info.max)
    wide, axis, length = _table(g, plain, least)
    last = len(known(wide)) - 1
    top: Value = g.b.op(kind, wide, axes=(last,), keepdims=True)
    hit = g.b.equal(wide, top)
    if dtype.is_float:
        hit = g.b.or_(hit, g.b.isnan(wide))
    hit = g.b.and_(hit, g.b.const(np.tri(length, dtype=np.bool_), DType.BOOL))
    places = g.b.where(hit, g.b.const(np.arange(length), DType.INT64), g.b.const(-1, DType.INT64))
    y = _back(g, g.b.squeeze(top, axes=(last,)), axis)
    return g.cast(y, dtype), _back(g, g.b.max(places, axes=(last,)), axis)


def _picked(g: TorchContext, x: Value, order: Value, at: Any, axis: int, keep: bool) -> tuple[Value, Value]:
    """The element at a sorted place along an axis, and its index."""
    if isinstance(at, int):
        index = g.b.gather(order, g.b.const([at], DType.INT64), axis=axis)
    else:
        index = g.b.take_along_axis(order, at, axis=axis)
    index = g.cast(index, DType.INT64)
    value = g.b.take_along_axis(x, index, axis=axis)
    return tuple(v if keep else g.b.squeeze(v, axes=(axis,)) for v in (value, index))  # type: ignore[return-value]


@RULES.load("aten.kthvalue")
def kthvalue(g: TorchContext, n: AtenNode) -> Any:
    x, k, keep = n.tensor("self"), n.count("k"), bool(n.number("keepdim"))
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(x), g.b.const(0, DType.INT64)
    axis = n.axis("dim", n.rank("self"))
    return _picked(g, x, g.b.argsort(numbers(g, x), axis=axis), k - 1, axis, keep)


@RULES.load("aten.median", "aten.median.dim", "aten.nanmedian", "aten.nanmedian.dim")
def median(g: TorchContext, n: AtenNode) -> Any:
    """The lower of the two in the middle. One nan makes ``median`` nan; ``nanmedian`` leaves them out."""
    x, whole = n.tensor("self"), "dim" not in n.arguments
    keep = False if whole else bool(n.number("keepdim"))
    if not n.rank("self"):
        if not whole:
            n.skip("dim")
        y = g.b.identity(x)
        return y if whole else (y, g.b.const(0, DType.INT64))
    axis = 0 if whole else n.axis("dim", n.rank("self"))
    x = g.reshape(x, (-1,)) if whole else x
    (length,) = fixed(known(x), (axis,), "takes the median of")
    if not length:
        raise NotExpressible("of nothing")
    order = g.b.argsort(numbers(g, x), axis=axis)
    at: Any = (length - 1) // 2
    if x.dtype is not None and x.dtype.is_float:
        lost = g.cast(g.b.isnan(x), DType.INT64)
        gone = g.b.sum(lost, axes=(axis,), keepdims=True)
        if n.type.startswith("aten.median"):  # nan is sorted last: the first of them where there is any
            first = g.b.sub(g.b.like(gone, length), gone)
            at = g.b.where(g.b.equal(gone, g.b.like(gone, 0)), g.b.like(gone, at), first)
        else:
            left = g.b.sub(g.b.like(gone, length - 1), gone)
            at = g.b.floor_div(g.b.maximum(left, g.b.like(gone, 0)), g.b.like(gone, 2))
    value, index = _picked(g, x, order, at, axis, keep)
    return value if whole else (value, index)
