"""Convolutions and averages that are written as sums over the places of the window: of whole numbers, exact to the last bit (the
ops of layers are floating ones), and averages with a divisor of their own whose windows are cut off at the end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .diagonals import fixed

__all__ = ["averaged", "convolved", "is_whole", "transposed"]

Pairs = Sequence[tuple[int, int]]


def is_whole(v: Value) -> bool:
    """Whether a tensor holds integers."""
    return v.dtype is not None and v.dtype.is_int


def _padded(g: TorchContext, x: Value, pads: Pairs) -> Value:
    return g.b.pad(x, pads=((0, 0), (0, 0), *pads)) if any(a or b for a, b in pads) else x


def _taps(
    g: TorchContext, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Value]]:
    """For every place of the window: what stands there, for all windows."""
    for at in itertools.product(*(range(k) for k in kernel)):
        starts = [i * d for i, d in zip(at, dilations)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, out, strides)]
        yield at, g.b.slice(x, starts=(0, 0, *starts), stops=(None, None, *stops), steps=(1, 1, *strides))


def _summed(g: TorchContext, parts: Iterator[Value]) -> Value:
    total = next(parts)
    for p in parts:
        total = g.b.add(total, p)
    return total


def convolved(
    g: TorchContext, x: Value, w: Value, b: Value | None, strides: Sequence[int], pads: Pairs, dilations: Sequence[int],
    groups: int,
) -> Value:  # fmt: skip
    """A convolution; x (N, C, *spatial), w (out, C / groups, *kernel)."""
    d = len(known(w)) - 2
    sizes = fixed(known(x), range(2, 2 + d), "goes over")
    outs, per, *kernel = fixed(known(w), range(2 + d), "goes over")
    full = [n + p + q for n, (p, q) in zip(sizes, pads)]
    out = [(n - k0 * (k - 1) - 1) // s + 1 for n, k, k0, s in zip(full, kernel, dilations, strides)]
    lead = known(x)[0]

    def part(at: tuple[int, ...], v: Value) -> Value:
        m = g.b.slice(w, starts=(0, 0, *at), stops=(None, None, *(i + 1 for i in at)), steps=(1,) * (2 + d))
        m = g.reshape(m, (groups, outs // groups, per))
        y = g.b.matmul(m, g.reshape(v, (lead, groups, per, math.prod(out))))
        return g.reshape(y, (lead, outs, *out))

    y = _summed(g, (part(at, v) for at, v in _taps(g, _padded(g, x, pads), kernel, strides, dilations, out)))
    return y if b is None else g.b.add(y, g.reshape(b, (outs, *[1] * d)))


def transposed(
    g: TorchContext, x: Value, w: Value, b: Value | None, strides: Sequence[int], pads: Pairs, dilations: Sequence[int],
    groups: int, more: Sequence[int],
) -> Value:  # fmt: skip
    """A transposed convolution; w (C, out / groups, *kernel): a convolution of x with zeros between its elements."""
    d = len(known(w)) - 2
    shape = list(known(x))
    sizes = fixed(shape, range(2, 2 + d), "goes over")
    channels, per, *kernel = fixed(known(w), range(2 + d), "goes over")
    for i, (n, s) in enumerate(zip(sizes, strides)):
        if s > 1:
            a = 2 + i
            wide = g.b.pad(
                g.b.unsqueeze(x, axes=(a + 1,)), pads=[(0, s - 1) if k == a + 1 else (0, 0) for k in range(len(shape) + 1)]
            )
            shape[a] = n * s
            x = g.reshape(wide, shape)
            shape[a] = n * s - s + 1
            x = g.b.slice(x, starts=(0,) * len(shape), stops=[shape[a] if k == a else None for k in range(len(shape))],
                          steps=(1,) * len(shape))  # fmt: skip
    around = [(e * (k - 1) - p, e * (k - 1) - q + m) for e, k, (p, q), m in zip(dilations, kernel, pads, more)]
    turned = g.b.flip(w, axes=tuple(range(2, 2 + d)))
    parts = g.reshape(turned, (groups, channels // groups, per, *kernel))
    m = g.reshape(g.transpose(parts, [0, 2, 1, *range(3, 3 + d)]), (groups * per, channels // groups, *kernel))
    return convolved(g, x, m, b, (1,) * d, around, dilations, groups)


def averaged(
    g: TorchContext, n: AtenNode, x: Value, kernel: Sequence[int], strides: Sequence[int], pads: Pairs, with_pads: bool,
    divisor: int | None,
) -> Value:  # fmt: skip
    """The average of each window (ATen/native/cpu/AvgPoolKernel.cpp); of whole numbers cut off towards zero."""
    d = len(kernel)
    sizes = fixed(known(x), range(2, 2 + d), "goes over")
    traced = n.results[0][1] if n.results else None
    if traced is None:
        raise NotExpressible("the size of its result is not known", "unknown_shape")
    out = fixed(traced, range(len(traced) - d, len(traced)), "gives")
    ends = [max((m - 1) * s + k - p - size, q) for m, s, k, (p, q), size in zip(out, strides, kernel, pads, sizes)]
    wide = _padded(g, x, [(p, e) for (p, _), e in zip(pads, ends)])
    total = _summed(g, (v for _, v in _taps(g, wide, kernel, strides, (1,) * d, out)))
    counts: Any = np.ones((), np.int64)
    for m, s, k, (p, q), size in zip(out, strides, kernel, pads, sizes):
        first = np.arange(m) * s - p
        last = np.minimum(first + k, size + q)
        inside = last - first if with_pads else np.minimum(last, size) - np.maximum(first, 0)
        counts = np.multiply.outer(counts, inside)
    by = np.full(out, divisor) if divisor is not None else counts
    return g.b.div(total, g.b.const(by.astype((x.dtype or DType.FLOAT32).numpy), x.dtype))
