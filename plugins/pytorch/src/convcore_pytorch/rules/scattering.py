"""ATen's scatters with a reduction, into flattened tensors, and by masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known
from .base import RULES

_REDUCE = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min", "mean": "add"}


def _neutral(kind: str, dtype: DType) -> Any:
    if kind in ("sum", "mean"):
        return 0
    if kind == "prod":
        return 1
    if dtype.is_float:
        return float("-inf") if kind == "amax" else float("inf")
    info = np.iinfo(dtype.numpy)
    return int(info.min if kind == "amax" else info.max)


def reduced(g: TorchContext, x: Value, at: Value, src: Value, axis: int, kind: str, own: bool) -> Value:
    """Elements put where ``at`` says along an axis, joined by a reduction with those there, or with ``own`` unset only with one
    another."""
    dtype = x.dtype
    if dtype is DType.BOOL and kind in ("sum", "prod", "amax", "amin"):  # or, and
        x, src = g.cast(x, DType.INT32), g.cast(src, DType.INT32)
        y = reduced(g, x, at, src, axis, {"sum": "amax", "prod": "amin"}.get(kind, kind), own)
        return g.b.greater(y, g.b.like(y, 0))
    if kind not in _REDUCE or dtype is None or not (dtype.is_float or dtype.is_int):
        raise NotExpressible(f"reduce={kind!r} of {dtype}")
    how: Any = _REDUCE[kind]
    shape = known(at)
    start = x
    if not own:
        fill = g.b.expand(g.b.like(x, _neutral(kind, dtype)), shape=shape)
        start = g.b.scatter_elements(x, at, fill, axis=axis)
    y = g.b.scatter_elements(start, at, src, axis=axis, reduction=how)
    if kind != "mean":
        return y
    ones = g.b.expand(g.b.like(x, 1), shape=shape)
    count = g.b.expand(g.b.like(x, 1 if own else 0), shape=known(x))
    count = g.b.scatter_elements(count, at, ones, axis=axis, reduction="add")
    count = count if own else g.b.maximum(count, g.b.like(count, 1))
    return g.b.div(y, count) if dtype.is_float else g.b.floor_div(y, count)


@RULES.load("aten.scatter_reduce.two")
def scatter_reduce(g: TorchContext, n: AtenNode) -> Value:
    x, at, src = n.tensor("self"), n.tensor("index"), n.tensor("src")
    kind, own = str(n.arg("reduce")), bool(n.number("include_self"))
    if not n.rank("self"):
        n.skip("dim")
        x, at, src = (g.reshape(v, (1,)) for v in (x, at, src))
        return g.reshape(reduced(g, x, at, src, 0, kind, own), ())
    shape = known(at)
    if known(src) != shape:
        src = g.b.slice(src, starts=[0] * len(shape), stops=list(shape), steps=[1] * len(shape))
    return reduced(g, x, at, src, n.axis("dim", n.rank("self")), kind, own)


@RULES.load("aten.index_reduce")
def index_reduce(g: TorchContext, n: AtenNode) -> Value:
    x, at, src = n.tensor("self"), n.tensor("index"), n.tensor("source")
    if not n.rank("self"):
        n.skip("dim")
        x, at, src = (g.reshape(v, (1,)) for v in (x, at, src))
        made = reduced(g, x, at, src, 0, str(n.arg("reduce")), bool(n.number("include_self")))
        return g.reshape(made, ())
    shape, axis = known(src), n.axis("dim", n.rank("self"))
    wide = g.b.expand(g.reshape(at, [shape[axis] if a == axis else 1 for a in range(len(shape))]), shape=shape)
    return reduced(g, x, wide, src, axis, str(n.arg("reduce")), bool(n.number("include_self")))


@RULES.load("aten.put")
def put(g: TorchContext, n: AtenNode) -> Value:
    """Into the flattened tensor; with ``accumulate`` added."""
    x, at, src = n.tensor("self"), n.tensor("index"), n.tensor("source")
    size = product(known(x))
    flat = g.reshape(at, (-1,))
    flat = g.b.where(g.b.less(flat, g.b.like(flat, 0)), g.b.add(flat, g.scalar(size, flat.dtype)), flat)
    how: Any = "add" if n.number("accumulate") else "none"
    if how == "add" and x.dtype is DType.BOOL:  # one of them is true
        numbers = [g.reshape(g.cast(v, DType.INT32), (-1,)) for v in (x, src)]
        made = g.b.scatter_elements(numbers[0], flat, numbers[1], axis=0, reduction=how)
        return g.reshape(g.b.greater(made, g.b.like(made, 0)), known(x))
    made = g.b.scatter_elements(g.reshape(x, (-1,)), flat, g.reshape(src, (-1,)), axis=0, reduction=how)
    return g.reshape(made, known(x))


@RULES.load("aten.masked_scatter")
def masked_scatter(g: TorchContext, n: AtenNode) -> Value:
    """Elements of the source in order where the mask is True."""
    x, mask, src = n.tensor("self"), n.tensor("mask"), n.tensor("source")
    shape = known(x)
    mask = mask if known(mask) == shape else g.b.expand(mask, shape=shape)
    order = g.b.cumsum(g.cast(g.reshape(mask, (-1,)), DType.INT64), axis=0)
    order = g.b.maximum(g.b.sub(order, g.b.like(order, 1)), g.b.like(order, 0))
    size = product(known(src))
    order = g.b.minimum(order, g.scalar(size - 1, DType.INT64))
    taken = g.reshape(g.b.gather(g.reshape(src, (-1,)), order, axis=0), shape)
    return g.b.where(mask, taken, x)


@RULES.load("aten.max_unpool2d", "aten.max_unpool3d")
def max_unpool(g: TorchContext, n: AtenNode) -> Value:
    """Elements at their places in a plane of zeros (torch.nn.MaxUnpool2d)."""
    x, at, d = n.tensor("self"), n.tensor("indices"), int(n.type[-2])
    n.skip("stride", "padding")
    sizes, shape = n.sizes("output_size"), known(x)
    lead, plane = shape[:-d], product(shape[-d:])
    zero = g.b.fill(shape=(*lead, product(sizes)), value=0, dtype=x.dtype)
    flat = [g.reshape(v, (*lead, plane)) for v in (at, x)]
    return g.reshape(g.b.scatter_elements(zero, *flat, axis=len(lead)), (*lead, *sizes))
