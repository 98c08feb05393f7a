"""Axes and counts that are data: reductions, running sums, squeezed axes, sizes that the result's shape tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from convcore.plugin import Builder, DType, Node, NotExpressible, Value

from .shapes import Late, choose, held, int32, known_sizes, scalar, vector, whole

__all__ = ["RULES", "hits"]


def hits(b: Builder, axes: Value, rank: int) -> tuple[Value, Value]:
    """(n, rank): which axis each of n numbers names, counted from the end where below 0; and whether all of them name one."""
    (n,) = whole(axes) or (1,)
    a = b.reshape(int32(b, axes), shape=(n, 1))
    a = b.where(b.less(a, b.const(np.int32(0))), b.add(a, b.const(np.int32(rank))), a)
    hit = b.equal(a, b.const(np.arange(rank, dtype=np.int32)[None]))
    return hit, b.all(b.any(hit, axes=(1,)), axes=(0,))


def _code(b: Builder, axes: Value, rank: int, table: dict[int, int], none: int) -> Value:
    """What a table of sets of axes (a bit each) holds for the set that data names; ``none`` for others."""
    hit, fits = hits(b, axes, rank)
    bits = b.mul(b.cast(b.any(hit, axes=(0,)), to=DType.INT32), vector(b, [1 << i for i in range(rank)]))
    code = b.where(fits, b.sum(bits, axes=(0,)), b.const(np.int32(1 << rank)))
    return b.gather(vector(b, [table.get(i, none) for i in range((1 << rank) + 1)]), code, axis=0)


def _sets(rank: int, n: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, min(n, rank) + 1):
        yield from combinations(range(rank), size)


def _bits(axes: Sequence[int]) -> int:
    return sum(1 << a for a in axes)


_MOST_AXES = 8


def _reduced(b: Builder, node: Node) -> Sequence[Value]:
    """Every set of axes that gives the result's shape, and the one that is named."""
    x, axes, attrs = node.need("x"), node.need("axes"), dict(node.attrs)
    every, keep, name = attrs.pop("none_is_all"), attrs["keepdims"], node.op.removeprefix("dynamic_")
    shape = whole(x)
    (n,) = whole(axes) or (1,)
    reduce = getattr(b, name)
    if n == 0:
        return [reduce(x, axes=None if every else (), **attrs)]
    out, rank = whole(node.output), len(shape)
    if rank > _MOST_AXES:
        raise NotExpressible(f"axes among {rank}")

    def gives(axes: Sequence[int]) -> tuple[int, ...]:
        return tuple(1 if i in axes else m for i, m in enumerate(shape) if keep or i not in axes)

    fit = [c for c in _sets(rank, n) if gives(c) == out]
    if not fit:
        raise NotExpressible("no axes give the shape of its result")
    index = _code(b, axes, rank, {_bits(c): i for i, c in enumerate(fit)}, len(fit))
    return [choose(b, [reduce(x, axes=c, **attrs) for c in fit], index)]


def _running(b: Builder, node: Node) -> Sequence[Value]:
    """Along each axis, and the one that is named."""
    x, attrs = node.need("x"), dict(node.attrs)
    rank = len(x.shape or ())
    if x.shape is None or not 0 < rank <= _MOST_AXES:
        raise NotExpressible("of an unknown number of axes")
    index = _code(b, node.need("axis"), rank, {1 << i: i for i in range(rank)}, rank)
    return [choose(b, [getattr(b, node.op.removeprefix("dynamic_"))(x, axis=i, **attrs) for i in range(rank)], index)]


def _triangle(b: Builder, node: Node) -> Sequence[Value]:
    """Elements whose column is far enough from their row."""
    x = node.need("x")
    if x.shape is None or len(x.shape) < 2 or not all(isinstance(n, int) for n in x.shape[-2:]):
        raise NotExpressible("of a matrix of unknown sizes")
    rows, columns = (int(n) for n in x.shape[-2:])  # type: ignore[arg-type]
    if not rows or not columns:
        return [x]
    off = b.const(np.arange(columns, dtype=np.int32)[None] - np.arange(rows, dtype=np.int32)[:, None])
    k = scalar(b, int32(b, node.need("k")))
    keep = b.greater_equal(off, k) if node.attrs["upper"] else b.less_equal(off, k)
    dtype = x.dtype or DType.FLOAT32
    return [b.and_(x, keep) if dtype is DType.BOOL else b.where(keep, x, b.const(np.zeros((), dtype.numpy), dtype))]


def _regrouped(b: Builder, node: Node) -> Sequence[Value]:
    """A shape, if the axes are of a set that gives it."""
    x, axes = node.need("x"), node.need("axes")
    shape, out = whole(x), whole(node.output)
    wide, narrow = (shape, out) if node.op == "dynamic_squeeze" else (out, shape)
    rank, n = len(wide), len(wide) - len(narrow)
    fit = [c for c in combinations(range(rank), n) if all(wide[a] == 1 for a in c)
           and tuple(m for i, m in enumerate(wide) if i not in c) == narrow]  # fmt: skip
    if not fit or rank > _MOST_AXES or not n:
        raise NotExpressible("no axes give the shape of its result")
    index = _code(b, axes, rank, {_bits(c): 0 for c in fit}, 1)
    return [choose(b, [b.reshape(x, shape=out)], index)]


def _same(b: Builder, v: Value, numbers: Sequence[int]) -> Value:
    """Whether a vector, or one number, of any type of numbers is this one."""
    flat = v if len(v.shape or ()) == 1 else b.reshape(v, shape=(1,))
    if whole(flat) != (len(numbers),):
        raise NotExpressible(f"it has another number of elements than {len(numbers)}")
    if v.dtype is None or v.dtype.is_int:
        return b.all(b.equal(int32(b, flat), vector(b, numbers)), axes=(0,))
    return b.all(b.equal(flat, b.const(np.asarray(numbers, v.dtype.numpy))), axes=(0,))


def _largest(b: Builder, node: Node) -> Sequence[Value]:
    k = known_sizes(node.outputs[0])[node.attrs["axis"]]
    fits = _same(b, node.need("k"), [k])
    return [held(b, y, fits) for y in b.topk(node.need("x"), k=k, **node.attrs)]


def _one_hot(b: Builder, node: Node) -> Sequence[Value]:
    depth = known_sizes(node.output)[node.attrs["axis"]]
    y = b.one_hot(node.need("ids"), node.arg("values"), depth=depth, **node.attrs)
    return [held(b, y, _same(b, node.need("depth"), [depth]))]


def _split(b: Builder, node: Node) -> Sequence[Value]:
    attrs = dict(node.attrs)
    attrs.pop("count")
    sizes = tuple(known_sizes(v)[attrs["axis"]] for v in node.outputs)
    fits = _same(b, node.need("sizes"), sizes)
    parts: Any = b.split(node.need("x"), sizes=sizes, **attrs)
    return [held(b, y, fits) for y in (parts if isinstance(parts, (tuple, list)) else [parts])]


def _tile(b: Builder, node: Node) -> Sequence[Value]:
    x = node.need("x")
    repeats = tuple(m // n for n, m in zip(known_sizes(x), known_sizes(node.output)))
    return [held(b, b.tile(x, repeats=repeats), _same(b, node.need("repeats"), repeats))]


def _fill(b: Builder, node: Node) -> Sequence[Value]:
    shape = known_sizes(node.output)
    return [held(b, b.fill(shape=shape, **node.attrs), _same(b, node.need("shape"), shape))]


def _expand(b: Builder, node: Node) -> Sequence[Value]:
    """Broadcast to the result's shape: where x has one element along an axis the size must be the result's, else it or 1."""
    x, to = node.need("x"), node.need("shape")
    out, given = known_sizes(node.output), known_sizes(x, "its input")
    (n,) = known_sizes(to, "the shape")
    padded = (1,) * (len(out) - len(given)) + given
    free = [m if k == 1 else 1 for k, m in zip(padded, out)][len(out) - n :]
    wanted = out[len(out) - n :]
    if any(m != k for k, m in zip(padded[: len(out) - n], out)):
        raise NotExpressible("its result has another shape")
    size = int32(b, to)
    fits = b.or_(b.equal(size, vector(b, wanted)), b.equal(size, vector(b, free)))
    return [held(b, b.expand(x, shape=out), b.all(fits, axes=(0,)))]


def _reshape(b: Builder, node: Node) -> Sequence[Value]:
    """Each size is the result's, or -1, or, where that means it, 0."""
    x, to = node.need("x"), node.need("shape")
    out, given = whole(node.output), whole(x)
    if whole(to) != (len(out),) or not out:
        raise NotExpressible("its shape has another number of sizes")
    size = int32(b, to)
    left = b.equal(size, b.const(np.int32(-1)))
    fits = b.or_(b.equal(size, vector(b, out)), left)
    if node.attrs["zero_copies"]:
        copied = [0 if i < len(given) and given[i] == m else m for i, m in enumerate(out)]
        fits = b.or_(fits, b.equal(size, vector(b, copied)))
    once = b.less_equal(b.sum(b.cast(left, to=DType.INT32), axes=(0,)), b.const(np.int32(1)))
    return [held(b, b.reshape(x, shape=out), b.and_(b.all(fits, axes=(0,)), once))]


def _affine_grid(b: Builder, node: Node) -> Sequence[Value]:
    """Of the sizes (N, C, *space) the channels say nothing."""
    n, *space, _ = known_sizes(node.output)
    size = int32(b, node.need("size"))
    batch = b.slice(size, starts=(0,), stops=(1,), steps=(1,))
    rest = b.slice(size, starts=(2,), stops=(None,), steps=(1,))
    y = b.affine_grid(node.need("theta"), size=tuple(space), **node.attrs)
    return [held(b, y, b.and_(_same(b, batch, [n]), _same(b, rest, space)))]


RULES: dict[str, Late] = {
    "dynamic_sum": _reduced, "dynamic_mean": _reduced, "dynamic_max": _reduced, "dynamic_min": _reduced,
    "dynamic_prod": _reduced, "dynamic_all": _reduced, "dynamic_any": _reduced, "dynamic_l1_norm": _reduced,
    "dynamic_l2_norm": _reduced, "dynamic_log_sum": _reduced, "dynamic_logsumexp": _reduced, "dynamic_sum_square": _reduced,
    "dynamic_cumsum": _running, "dynamic_cumprod": _running, "dynamic_trilu": _triangle, "dynamic_squeeze": _regrouped,
    "dynamic_unsqueeze": _regrouped, "dynamic_topk": _largest, "dynamic_one_hot": _one_hot, "dynamic_split": _split,
    "dynamic_tile": _tile, "dynamic_fill": _fill, "dynamic_expand": _expand, "dynamic_reshape": _reshape,
    "dynamic_affine_grid": _affine_grid,
}  # fmt: skip
