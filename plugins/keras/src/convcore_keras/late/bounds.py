"""Bounds and amounts that are data: parts, padding, ranges, chosen elements, as indices that are computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convcore.plugin import Builder, DType, Node, NotExpressible, Value

from .axes import hits
from .shapes import Late, held, int32, known_sizes, scalar, vector

__all__ = ["RULES"]


def _number(b: Builder, n: int) -> Value:
    return b.const(np.int32(n))


def _per_axis(b: Builder, v: Value, hit: Value | None, default: Sequence[int]) -> Value:
    """Numbers for named axes as one for every axis: ``hit`` (n, rank) says whose each is, the others have a default."""
    v = int32(b, v)
    if hit is None:
        return v
    column = b.reshape(v, shape=(*known_sizes(v), 1))
    own = b.sum(b.mul(b.cast(hit, to=DType.INT32), column), axes=(0,))
    return b.where(b.any(hit, axes=(0,)), own, vector(b, default))


def _at(b: Builder, v: Value, i: int) -> Value:
    return b.gather(v, _number(b, i), axis=0)


def _slice(b: Builder, node: Node) -> Sequence[Value]:
    """The elements at start + i * step of each axis, start and stop limited to its ends."""
    x, axes = node.need("x"), node.attrs["axes"]
    sizes, out = known_sizes(x, "its input"), known_sizes(node.output)
    rank = len(sizes)
    on = node.arg("on")
    if axes is not None:
        hit: Value | None = b.const(np.asarray([[a == i for i in range(rank)] for a in axes]))
        fits = None
    else:
        assert on is not None
        hit, fits = hits(b, on, rank)
    n = vector(b, sizes)
    zero, one = _number(b, 0), _number(b, 1)
    start = _per_axis(b, node.need("starts"), hit, [0] * rank)
    stop = _per_axis(b, node.need("stops"), hit, sizes)
    steps = node.arg("steps")
    step = vector(b, [1] * rank) if steps is None else _per_axis(b, steps, hit, [1] * rank)
    back = b.less(step, zero)
    start, stop = (b.where(b.less(v, zero), b.add(v, n), v) for v in (start, stop))
    last = b.sub(n, one)
    start = b.maximum(b.minimum(start, b.where(back, last, n)), zero)
    stop = b.maximum(b.minimum(stop, b.where(back, last, n)), b.where(back, _number(b, -1), zero))
    span = b.where(back, b.sub(start, stop), b.sub(stop, start))
    stride = b.abs(step)
    many = vector(b, out)
    right = b.and_(b.less(b.mul(b.sub(many, one), stride), span), b.less_equal(span, b.mul(many, stride)))
    right = b.all(right, axes=(0,))
    y = x
    for a in range(rank):
        if axes is not None and a not in axes:
            continue
        index = b.add(_at(b, start, a), b.mul(vector(b, range(out[a])), _at(b, step, a)))
        y = b.gather(y, index, axis=a)
    return [held(b, y, right if fits is None else b.and_(right, fits))]


def _pad(b: Builder, node: Node) -> Sequence[Value]:
    """Indices from -before on; those outside are elements inside, as the mode has it, or the value."""
    x, axes, mode = node.need("x"), node.arg("axes"), node.attrs["mode"]
    sizes, out = known_sizes(x, "its input"), known_sizes(node.output)
    rank = len(sizes)
    pads = int32(b, node.need("pads"))
    (many,) = known_sizes(pads, "the pads")
    hit, fits = (None, None) if axes is None else hits(b, axes, rank)
    half = many // 2
    before, after = (b.slice(pads, starts=(s,), stops=(s + half,), steps=(1,)) for s in (0, half))
    before, after = (_per_axis(b, v, hit, [0] * rank) for v in (before, after))
    zero = _number(b, 0)
    right = b.all(b.equal(b.add(b.add(before, after), vector(b, sizes)), vector(b, out)), axes=(0,))
    if mode != "constant":
        least = b.all(b.and_(b.greater_equal(before, zero), b.greater_equal(after, zero)), axes=(0,))
        right = b.and_(right, least)
    y, inside = x, None
    for a, (n, m) in enumerate(zip(sizes, out)):
        i = b.sub(vector(b, range(m)), _at(b, before, a))
        top = _number(b, n - 1)
        if mode == "wrap":
            i = b.floor_mod(i, _number(b, n))
        elif mode == "reflect" and n > 1:
            i = b.floor_mod(i, _number(b, 2 * n - 2))
            i = b.minimum(i, b.sub(_number(b, 2 * n - 2), i))
        elif mode in ("constant", "edge", "reflect"):
            if mode == "constant":
                here = b.and_(b.greater_equal(i, zero), b.less_equal(i, top))
                here = b.reshape(here, shape=tuple(m if k == a else 1 for k in range(rank)))
                inside = here if inside is None else b.and_(inside, here)
            i = b.maximum(b.minimum(i, top), zero)
        else:
            raise NotExpressible(f"mode {mode} by data")
        y = b.gather(y, i, axis=a)
    if inside is not None:
        value, dtype = node.arg("value"), x.dtype or DType.FLOAT32
        if dtype is DType.BOOL:
            raise NotExpressible("of bools by data")
        y = b.where(inside, y, b.const(np.zeros((), dtype.numpy), dtype) if value is None else scalar(b, value))
    return [held(b, y, right if fits is None else b.and_(right, fits))]


def _range(b: Builder, node: Node) -> Sequence[Value]:
    """As many as there are: counting on from start gives what lies before the limit, and one more would not."""
    start, limit, delta = (node.need(n) for n in ("start", "limit", "delta"))
    (n,) = known_sizes(node.output)
    dtype = node.output.dtype or DType.FLOAT32
    y = b.add(start, b.mul(b.const(np.arange(n).astype(dtype.numpy), dtype), delta))
    exact = DType.INT64 if dtype.is_int else DType.FLOAT64
    start, limit, delta = (v if v.dtype is exact else b.cast(v, to=exact) for v in (start, limit, delta))
    span = b.sub(limit, start)
    back = b.less(delta, b.const(np.zeros((), exact.numpy)))
    span, stride = b.where(back, b.neg(span), span), b.abs(delta)
    least, most = (b.mul(stride, b.const(np.asarray(k, exact.numpy))) for k in (n - 1, n))
    return [held(b, y, b.and_(b.less(least, span), b.less_equal(span, most)))]


def _compress(b: Builder, node: Node) -> Sequence[Value]:
    """The first places in the order that puts what is chosen before what is not."""
    x, axis = node.need("x"), node.attrs["axis"]
    chosen = node.need("condition")
    sizes, out = known_sizes(x, "its input"), known_sizes(node.output)
    (n,) = known_sizes(chosen, "the condition")
    if axis is None:
        x, sizes, axis = b.reshape(x, shape=(int(np.prod(sizes)),)), (int(np.prod(sizes)),), 0
    if n > sizes[axis]:
        raise NotExpressible("it chooses among more elements than there are")
    ints = b.cast(chosen, to=DType.INT32)
    order = b.argsort(ints, axis=0, descending=True)
    index = b.slice(order, starts=(0,), stops=(out[axis],), steps=(1,))
    return [held(b, b.gather(x, index, axis=axis), b.equal(b.sum(ints, axes=(0,)), _number(b, out[axis])))]


RULES: dict[str, Late] = {"dynamic_slice": _slice, "dynamic_pad": _pad, "range": _range, "compress": _compress}
