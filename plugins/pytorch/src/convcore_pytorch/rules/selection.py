"""ATen's operators whose results are as long as the data have it: what a mask picks, what is not zero, what is distinct."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, broadcast_shapes, product

from ..context import AtenNode, TorchContext, known
from .base import RULES, truth
from .diagonals import fixed
from .sorting import numbers


@RULES.load("aten.masked_select")
def masked_select(g: TorchContext, n: AtenNode) -> Value:
    x, mask = n.tensor("self"), n.tensor("mask")
    shape: Any = broadcast_shapes(known(x), known(mask))
    x, mask = (v if known(v) == shape else g.b.expand(v, shape=shape) for v in (x, mask))
    return g.b.compress(g.reshape(x, (-1,)), g.reshape(mask, (-1,)), axis=0)


@RULES.load("aten.nonzero", "aten.argwhere", "aten.nonzero_numpy")
def nonzero(g: TorchContext, n: AtenNode) -> Any:
    x, shape = n.tensor("self"), n.shape("self")
    if n.type == "aten.nonzero_numpy":
        x = x if shape else g.reshape(x, (1,))
        return g.b.op("unstack", g.b.nonzero(truth(g, x)), axis=0, num=len(shape) or 1)
    if shape:
        return g.b.transpose(g.b.nonzero(truth(g, x)), perm=(1, 0))
    found = g.b.nonzero(truth(g, g.reshape(x, (1,))))  # of a number: one row without columns, or none
    return g.b.slice(g.b.transpose(found, perm=(1, 0)), starts=(0, 1), stops=(None, None), steps=(1, 1))


@RULES.load("aten.nonzero_static")
def nonzero_static(g: TorchContext, n: AtenNode) -> Value:
    """The first ``size`` places in C order; behind them ``fill_value``."""
    x, shape, size = n.tensor("self"), n.shape("self"), n.size("size")
    fill = int(n.number("fill_value"))
    sizes = fixed(shape, range(len(shape)), "counts along")
    count = product(sizes)
    if not isinstance(size, int) or not isinstance(count, int):
        raise NotExpressible("sizes that are not known", "unsupported_shape")
    if not sizes or not size or not count:
        return g.b.fill(shape=(size, len(sizes)), value=fill, dtype=DType.INT64)
    hit = g.cast(g.reshape(truth(g, x), (count,)), DType.INT64)
    order = g.b.argsort(hit, axis=0, descending=True)
    if size > count:
        order = g.b.pad(order, pads=((0, size - count),))
    order = g.b.slice(order, starts=(0,), stops=(size,), steps=(1,))
    table = np.stack(np.unravel_index(np.arange(count), sizes), 1).astype(np.int64)
    rows = g.b.gather(g.b.const(table, DType.INT64), order, axis=0)
    there = g.b.less(g.b.const(np.arange(size)[:, None], DType.INT64), g.b.sum(hit, axes=(0,)))
    return g.b.where(there, rows, g.b.like(rows, fill))


# ---------------------------------------------------------------- distinct elements
def asked(g: TorchContext, n: AtenNode, made: tuple[Value, Value, Value]) -> tuple[Value, Value, Value]:
    """Of values, places and counts those that are asked for; torch gives nothing for the others."""
    none = g.b.fill(shape=(0,), value=0, dtype=DType.INT64)
    values, place, counts = made
    return values, place if n.number("return_inverse") else none, counts if n.number("return_counts") else none


@RULES.load("aten.unique_dim")
def unique_dim(g: TorchContext, n: AtenNode) -> Any:
    """Distinct slices."""
    x = n.tensor("self")
    n.skip("sorted")
    if x.dtype is None or x.dtype.is_float:
        raise NotExpressible("of floating numbers, among which every nan is distinct", "unsupported_dtype")
    values, _, inverse, counts = g.b.op("unique", x, axis=n.axis("dim", n.rank("self")))
    return asked(g, n, (values, inverse, counts))


@RULES.load("aten._unique2")
def unique(g: TorchContext, n: AtenNode) -> Any:
    """The runs of the sorted elements, which ``sorted=False`` allows, too. Every nan is distinct."""
    x, shape = n.tensor("self"), n.shape("self")
    n.skip("sorted")
    flat = g.reshape(x, (-1,))
    order = g.b.argsort(numbers(g, flat), axis=0)
    values, place, counts = runs(g, g.b.gather(flat, order, axis=0), 0)
    empty = g.b.fill(shape=known(place), value=0, dtype=DType.INT64)
    place = g.reshape(g.b.scatter_elements(empty, order, place, axis=0), shape)
    return asked(g, n, (values, place, counts))


@RULES.load("aten.unique_consecutive")
def unique_consecutive(g: TorchContext, n: AtenNode) -> Any:
    x, shape = n.tensor("self"), n.shape("self")
    if n.arg("dim") is not None:
        return asked(g, n, runs(g, x, n.axis("dim", len(shape))))
    values, place, counts = runs(g, g.reshape(x, (-1,)), 0)
    return asked(g, n, (values, g.reshape(place, shape), counts))


def runs(g: TorchContext, v: Value, axis: int) -> tuple[Value, Value, Value]:
    """The first of each run of equal elements (or of equal slices), which run each is of, and the lengths."""
    (length,) = fixed(known(v), (axis,), "goes along")
    if not length:
        raise NotExpressible("of nothing", "unsupported_shape")
    rank = len(known(v))

    def part(start: int, stop: int | None) -> Value:
        return g.b.slice(
            v, starts=[start if a == axis else 0 for a in range(rank)], stops=[stop if a == axis else None for a in range(rank)],
            steps=[1] * rank,
        )  # fmt: skip

    changed = g.b.not_equal(part(1, None), part(0, -1))
    if rank > 1:
        changed = g.b.any(changed, axes=tuple(a for a in range(rank) if a != axis))
    first = g.b.concat(g.b.const(np.ones(1, np.bool_), DType.BOOL), changed, axis=0)
    place = g.b.sub(g.b.cumsum(g.cast(first, DType.INT64), axis=0), g.b.const(1, DType.INT64))
    starts = g.b.squeeze(g.b.nonzero(first), axes=(0,))
    ends = g.b.concat(
        g.b.slice(starts, starts=(1,), stops=(None,), steps=(1,)), g.b.const(np.asarray([length]), DType.INT64), axis=0
    )
    return g.b.compress(v, first, axis=axis), place, g.b.sub(ends, starts)
