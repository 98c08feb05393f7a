"""ATen's operators on diagonals, on windows of one axis, and by strides: picks of known places along a flattened axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known
from .base import RULES


def fixed(shape: Sequence[object], axes: Sequence[int], what: str) -> list[int]:
    """The sizes of some axes, which must be numbers."""
    out = []
    for a in axes:
        size = shape[a]
        if not isinstance(size, int):
            raise NotExpressible(f"{what} axis {a}, whose size {size} is symbolic", "unsupported_shape")
        out.append(size)
    return out


def places(rows: int, columns: int, offset: int) -> tuple[int, int]:
    """Where a diagonal starts in a flattened matrix, and how long it is."""
    start = offset if offset >= 0 else -offset * columns
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    return start, max(length, 0)


def _matrix(n: AtenNode) -> tuple[int, int, int, list[int]]:
    """offset, rows, columns and the axes with those of the matrix moved to the end."""
    rank = n.rank("self")
    if rank < 2:
        raise NotExpressible("of a tensor with fewer than 2 axes")
    one, two = n.axis("dim1", rank), n.axis("dim2", rank)
    if one == two:
        raise NotExpressible("both axes are the same", "invalid_shape")
    rows, columns = fixed(n.shape("self"), (one, two), "takes a diagonal of")
    return int(n.number("offset")), rows, columns, [*(a for a in range(rank) if a not in (one, two)), one, two]


def picked(g: TorchContext, x: Value, rows: int, columns: int, offset: int) -> Value:
    """A diagonal of the last two axes, as the last axis."""
    shape = known(x)
    start, length = places(rows, columns, offset)
    flat = g.reshape(x, (*shape[:-2], rows * columns))
    lead = [0] * (len(shape) - 2)
    stop = start + (length - 1) * (columns + 1) + 1 if length else start
    return g.b.slice(flat, starts=[*lead, start], stops=[*[None] * len(lead), stop], steps=[*[1] * len(lead), columns + 1])


@RULES.load("aten.diagonal", "aten.diagonal_copy")
def diagonal(g: TorchContext, n: AtenNode) -> Value:
    offset, rows, columns, perm = _matrix(n)
    return picked(g, g.transpose(n.tensor("self"), perm), rows, columns, offset)


def put(g: TorchContext, x: Value, part: Value, offset: int, rows: int, columns: int) -> Value:
    """The last two axes of ``x`` with a diagonal replaced by ``part`` (..., length)."""
    shape = known(x)
    start, length = places(rows, columns, offset)
    at = np.full(rows * columns, -1, np.int64)
    at[start + (columns + 1) * np.arange(length)] = np.arange(length)
    if not length:
        return x
    wide = g.b.gather(part, g.b.const(np.maximum(at, 0).reshape(rows, columns), DType.INT64), axis=len(shape) - 2)
    return g.b.where(g.b.const((at >= 0).reshape(rows, columns), DType.BOOL), wide, x)


@RULES.load("aten.diagonal_scatter")
def diagonal_scatter(g: TorchContext, n: AtenNode) -> Value:
    offset, rows, columns, perm = _matrix(n)
    x = n.tensor("self")
    made = put(g, g.transpose(x, perm), g.cast(n.tensor("src"), x.dtype), offset, rows, columns)
    return g.transpose(made, [perm.index(i) for i in range(len(perm))])


@RULES.load("aten.diag_embed")
def diag_embed(g: TorchContext, n: AtenNode) -> Value:
    x, s, rank = n.tensor("self"), n.shape("self"), n.rank("self") + 1
    offset = int(n.number("offset"))
    (length,) = fixed(s, (len(s) - 1,), "spreads over a diagonal")
    size = length + abs(offset)
    zero = g.b.fill(shape=(*s[:-1], size, size), value=False if x.dtype is DType.BOOL else 0, dtype=x.dtype)
    made = put(g, zero, x, offset, size, size)
    one, two = n.axis("dim1", rank), n.axis("dim2", rank)
    perm = [a for a in range(rank) if a not in (one, two)]
    order = [*perm, one, two]
    return g.transpose(made, [order.index(i) for i in range(rank)])


@RULES.load("aten.unfold", "aten.unfold_copy")
def unfold(g: TorchContext, n: AtenNode) -> Value:
    """Windows of ``size`` every ``step`` elements along an axis, their elements as a last axis (torch.Tensor.unfold)."""
    x, s, size, step = n.tensor("self"), n.shape("self"), n.count("size", least=0), n.count("step")
    if not s:
        n.skip("dimension")
        return g.b.expand(g.reshape(x, (1,)), shape=(size,))
    axis = n.axis("dimension", len(s))
    (length,) = fixed(s, (axis,), "slides over")
    count = (length - size) // step + 1
    at = step * np.arange(count)[:, None] + np.arange(size)
    made = g.b.gather(x, g.b.const(at, DType.INT64), axis=axis)
    rank = len(s) + 1
    return g.transpose(made, [*(a for a in range(rank) if a != axis + 1), axis + 1])


# ---------------------------------------------------------------- memory seen otherwise
def strided(n: AtenNode) -> Any:
    """The places in memory that as_strided picks."""
    if not n.row_major:
        raise NotExpressible("sees the memory of a tensor that may be a part of another one, or in another order than its own")
    shape, sizes, steps = n.shape("self"), n.ints("size"), n.ints("stride")
    offset = 0 if n.arg("storage_offset") is None else int(n.number("storage_offset"))
    if any(size < 0 for size in sizes):
        raise NotExpressible(f"size={list(sizes)} is below 0", "invalid_shape")
    (count,) = fixed([product(shape)], (0,), "sees")
    at = np.full(sizes, offset, np.int64)
    for i, (size, step) in enumerate(zip(sizes, steps)):
        at += (np.arange(size) * step).reshape([size if k == i else 1 for k in range(len(sizes))])
    if at.size and (at.min() < 0 or at.max() >= count):
        raise NotExpressible("sees memory outside of the tensor", "invalid_shape")
    return at


@RULES.load("aten.as_strided", "aten.as_strided_copy")
def as_strided(g: TorchContext, n: AtenNode) -> Value:
    """Elements by their places in memory, of a tensor that is all of its memory in C order."""
    at = strided(n)
    return g.b.gather(g.reshape(n.tensor("self"), (-1,)), g.b.const(at, DType.INT64), axis=0)


@RULES.load("aten.as_strided_scatter")
def as_strided_scatter(g: TorchContext, n: AtenNode) -> Value:
    at = strided(n)
    if len(np.unique(at)) != at.size:
        raise NotExpressible("writes to the same memory more than once: which value wins is not defined", "unsupported_mutation")
    x, src = n.tensor("self"), g.cast(n.tensor("src"), n.tensor("self").dtype)
    places = g.b.const(at.reshape(-1), DType.INT64)
    made = g.b.scatter_elements(g.reshape(x, (-1,)), places, g.reshape(src, (-1,)), axis=0)
    return g.reshape(made, known(x))
