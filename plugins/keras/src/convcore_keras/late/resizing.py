"""Sizes or scales of a resize that are data: positions and weights computed as the op's own arithmetic has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Builder, DType, Node, NotExpressible, Value

from .bounds import _at as at
from .shapes import Late, held, int32, known_sizes, vector

__all__ = ["RULES"]


def _real(b: Builder, n: float) -> Value:
    return b.const(np.float32(n))


def _resize(b: Builder, node: Node) -> Sequence[Value]:
    """An axis at a time: a gather of the nearest, or a product with a matrix of weights."""
    x, a = node.need("x"), node.attrs
    shape, out = known_sizes(x, "its input"), known_sizes(node.output)
    axes = tuple(range(len(shape))) if a["axes"] is None else tuple(a["axes"])
    now, to = [shape[i] for i in axes], [out[i] for i in axes]
    if any(shape[i] != out[i] for i in range(len(shape)) if i not in axes) or x.dtype is not DType.FLOAT32:
        raise NotExpressible("its result has another shape, or is not of float32")
    scales, fits = _scales(b, node, now, to)
    roi = node.arg("roi") if a["coordinates"] == "tf_crop_and_resize" else None
    y, beyond = x, None
    for k, (axis, n, m) in enumerate(zip(axes, now, to)):
        scale = None if scales is None else scales[k]
        if roi is not None:
            where = _between(b, at(b, roi, k), at(b, roi, len(axes) + k), n, m)
            out_here = b.or_(b.less(where, _real(b, 0)), b.greater(where, _real(b, n - 1)))
            out_here = b.reshape(out_here, shape=tuple(m if i == axis else 1 for i in range(len(shape))))
            beyond = out_here if beyond is None else b.or_(beyond, out_here)
        elif scale is None and n == m:
            continue
        else:
            where = _positions(b, a["coordinates"], n, m, scale)
            if n == m and scale is not None:  # a scale of 1 leaves the axis as it is, whatever its coordinates
                own = b.const(np.arange(n, dtype=np.float32))
                where = b.where(b.equal(scale, _real(b, 1)), own, where)
        if a["mode"] == "nearest":
            y = b.gather(y, _nearest(b, where, a["nearest"], n), axis=axis)
            continue
        letters = "abcdefgh"[: len(shape)]
        mixed = letters.replace(letters[axis], "z")
        y = b.einsum(y, _matrix(b, a, where, n, m, scale), equation=f"{letters},z{letters[axis]}->{mixed}")
    if beyond is not None:
        y = b.where(beyond, _real(b, a["outside"]), y)
    return [held(b, y, fits)]


def _scales(b: Builder, node: Node, now: Sequence[int], to: Sequence[int]) -> tuple[list[Value] | None, Value]:
    """A scale per axis (None: the ratio of sizes), and whether the result has the sizes it is known to have."""
    sizes, policy, how = node.arg("sizes"), node.attrs["policy"], node.attrs["coordinates"]
    given = sizes if sizes is not None else node.need("scales")
    if known_sizes(given, "the scales") != (len(now),):
        raise NotExpressible("its scales are of other axes")
    target = vector(b, to)
    if sizes is not None and policy == "stretch":
        return None, b.all(b.equal(int32(b, sizes), target), axes=(0,))
    n = b.const(np.asarray(now, np.float32))
    if sizes is not None:
        ratio = b.div(b.cast(sizes, to=DType.FLOAT32), n)
        one = b.min(ratio, axes=(0,)) if policy == "not_larger" else b.max(ratio, axes=(0,))
        reached = b.floor(b.add(b.mul(n, one), _real(b, 0.5)))
        return [one] * len(now), b.all(b.equal(b.cast(reached, to=DType.INT32), target), axes=(0,))
    product = b.mul(n, given)
    reached = b.floor(product)
    fits = b.all(b.equal(b.cast(reached, to=DType.INT32), target), axes=(0,))
    if how == "align_corners":
        fits = b.and_(fits, b.all(b.equal(product, reached), axes=(0,)))
    return [at(b, given, i) for i in range(len(now))], fits


def _positions(b: Builder, how: str, n: int, m: int, scale: Value | None) -> Value:
    """Where each of m elements lies among n (``coordinates`` of core/ops/resampling.py)."""
    i = np.arange(m, dtype=np.float64)

    def line(values: Any) -> Value:
        return b.const(np.asarray(values, np.float32))

    if how == "align_corners":
        return line(i * (n - 1) / (m - 1) if m > 1 else np.zeros(1))
    if how == "pytorch_half_pixel" and m <= 1:
        return line(np.zeros(m))
    if scale is None:
        return line({"asymmetric": i * n / m, "tf_half_pixel_for_nn": (2 * i + 1) * n / (2 * m)}.get(
            how, ((2 * i + 1) * n - m) / (2 * m)))  # fmt: skip
    if how == "asymmetric":
        return b.div(line(i), scale)
    middle = b.div(line(i + 0.5), scale)
    if how == "tf_half_pixel_for_nn":
        return middle
    half = b.sub(middle, _real(b, 0.5))
    if how != "half_pixel_symmetric":
        return half
    part = b.div(_real(b, m), b.mul(_real(b, n), scale))
    return b.add(b.mul(b.sub(_real(b, 1), part), _real(b, n / 2)), half)


def _between(b: Builder, start: Value, end: Value, n: int, m: int) -> Value:
    """tf_crop_and_resize: positions between two parts of an axis."""
    last = _real(b, n - 1)
    if m == 1:
        return b.reshape(b.mul(b.mul(b.add(start, end), _real(b, 0.5)), last), shape=(1,))
    steps = b.const(np.arange(m, dtype=np.float32))
    return b.add(b.mul(start, last), b.div(b.mul(b.mul(steps, b.sub(end, start)), last), _real(b, m - 1)))


def _nearest(b: Builder, where: Value, how: str, n: int) -> Value:
    """Whole positions inside. What is a whole or a half but for rounding counts as one: compiled, a quotient is not that of a
    division to the last bit (JAX)."""
    least = (n + 4) * 2.0**-22
    if how == "round_prefer_floor":
        where = b.ceil(b.sub(where, _real(b, 0.5 + least)))
    elif how == "round_prefer_ceil":
        where = b.floor(b.add(where, _real(b, 0.5 + least)))
    else:
        where = b.floor(b.add(where, _real(b, least))) if how == "floor" else b.ceil(b.sub(where, _real(b, least)))
    return b.cast(b.maximum(b.minimum(where, _real(b, n - 1)), _real(b, 0)), to=DType.INT32)


def _matrix(b: Builder, a: Any, where: Value, n: int, m: int, scale: Value | None) -> Value:
    """(m, n): weights of the elements that are mixed. Those beyond an edge, in ``reach`` columns at each side, are the edge's."""
    support = 1 if a["mode"] == "linear" else 2
    stretch: Value | None = None
    reach = support + 1
    if a["antialias"]:
        ratio = _real(b, n / m) if scale is None else b.reciprocal(scale)
        stretch = b.maximum(ratio, _real(b, 1))
        reach = math.ceil(support * max(1.0, n / m * 2)) + 1  # a scale that gives m elements is at most twice n / m off
    columns = np.arange(-reach, n + reach, dtype=np.float32)
    at = b.reshape(where, shape=(m, 1))
    t = b.abs(b.sub(b.const(columns[None]), at))
    weights = _kernel(b, a, t if stretch is None else b.div(t, stretch))
    inside = (columns >= 0) & (columns < n)
    if a["exclude_outside"]:
        weights = b.mul(weights, b.const(inside.astype(np.float32)[None]))
    if a["exclude_outside"] or a["antialias"]:
        weights = b.div(weights, b.sum(weights, axes=(1,), keepdims=True))
    edges = np.eye(n, dtype=np.float32)[np.clip(columns.astype(np.int64), 0, n - 1)]
    return b.matmul(weights, b.const(edges))


def _kernel(b: Builder, a: Any, t: Value) -> Value:
    """The triangle, or the cubic kernel of Keys (1981), of distances."""
    if a["mode"] == "linear":
        return b.maximum(b.sub(_real(b, 1), t), _real(b, 0))
    c = a["cubic_a"]
    square = b.mul(t, t)
    inner = b.add(b.mul(b.sub(b.mul(t, _real(b, c + 2)), _real(b, c + 3)), square), _real(b, 1))
    outer = b.mul(b.sub(b.mul(b.add(b.mul(b.sub(t, _real(b, 5)), t), _real(b, 8)), t), _real(b, 4)), _real(b, c))
    far = b.where(b.less(t, _real(b, 2)), outer, _real(b, 0))
    return b.where(b.less_equal(t, _real(b, 1)), inner, far)


RULES: dict[str, Late] = {"dynamic_resize": _resize}
