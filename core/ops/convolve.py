"""Convolution with numpy: patches are gathered a bounded block at a time and multiplied by BLAS, in either layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .windows import Array, apply_pads, explicit_pads, from_first, spatial_axes, taps, to_first

__all__ = ["convolve", "convolve_transpose", "im2col"]

WORKSPACE = 1 << 22  # bytes of gathered patches at a time


def _sizes(x: Array, axes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(x.shape[a] - d * (k - 1) - 1) // s + 1 for a, k, s, d in zip(axes, kernel, strides, dilations)]


def _depthwise(x: Array, w: Array, axes: Sequence[int], first: bool, strides: Any, dilations: Any, out: Sequence[int]) -> Array:
    """One input channel per group: every position of the kernel scales a view of x."""
    groups = x.shape[1 if first else -1]
    m = w.shape[0] // groups
    shape = (x.shape[0], groups * m, *out) if first else (x.shape[0], *out, groups * m)
    y = np.zeros(shape, x.dtype)
    blocks = y.reshape((x.shape[0], groups, m, *out) if first else (x.shape[0], *out, groups, m))
    d = len(out)
    for tap, view in taps(x, axes, w.shape[2:], strides, dilations, out):
        at: tuple[Any, ...] = (slice(None), 0, *tap)
        factor = w[at].reshape(groups, m)
        if first:
            blocks += view[:, :, None] * factor.reshape(groups, m, *(1,) * d)
        else:
            blocks += view[..., None] * factor
    return y


def _dense(x: Array, w: Array, first: bool, strides: Any, dilations: Any, out: Sequence[int]) -> Array:
    """All channels at once, by rows of the first spatial axis so that the patches stay within WORKSPACE; a kernel of one element
    with strides of one multiplies x itself."""
    n, cout, cin, kernel = x.shape[0], w.shape[0], w.shape[1], w.shape[2:]
    y = np.empty((n, cout, *out) if first else (n, *out, cout), x.dtype)
    if not y.size:
        return y
    if not out:  # no spatial axes: a matrix product
        return np.asarray(x @ w.T)
    k = math.prod(kernel)
    matrix = w.reshape(cout, cin * k) if first else np.moveaxis(w, (0, 1), (-1, -2)).reshape(k * cin, cout)
    if k == 1 and all(s == 1 for s in strides):
        if first:
            np.matmul(matrix, x.reshape(n, cin, -1), out=y.reshape(n, cout, -1))
        else:
            np.matmul(x.reshape(-1, cin), matrix, out=y.reshape(-1, cout))
        return y
    row = k * cin * math.prod(out[1:]) * x.dtype.itemsize
    rows = max(1, min(out[0], WORKSPACE // max(row, 1)))
    reach = dilations[0] * (kernel[0] - 1) + 1
    workspace = np.empty(k * cin * rows * math.prod(out[1:]), x.dtype)
    for i in range(n):
        for start in range(0, out[0], rows):
            count = min(rows, out[0] - start)
            low = start * strides[0]
            size = (count, *out[1:])
            span = slice(low, low + (count - 1) * strides[0] + reach)
            part = x[i, :, span] if first else x[i, span]
            patches = workspace[: k * cin * math.prod(size)].reshape((cin, *kernel, *size) if first else (*size, *kernel, cin))
            axes = tuple(range(1, part.ndim)) if first else tuple(range(part.ndim - 1))
            for tap, view in taps(part, axes, kernel, strides, dilations, size):
                at: tuple[Any, ...] = (slice(None), *tap) if first else (*(slice(None),) * len(size), *tap)
                patches[at] = view
            if first:
                y[i, :, start : start + count] = (matrix @ patches.reshape(cin * k, -1)).reshape(cout, *size)
            else:
                rest = y[i, start : start + count].reshape(-1, cout)
                np.matmul(patches.reshape(-1, k * cin), matrix, out=rest)
    return y


def convolve(
    x: Array, w: Array, b: Array | None = None, *, strides: Any, dilations: Any, pads: Any, groups: int, layout: str
) -> Array:
    """Cross-correlation of x with w (out, in / groups, *kernel)."""
    first = layout == "channels_first"
    axes, kernel = spatial_axes(x, layout), w.shape[2:]
    x = apply_pads(x, axes, explicit_pads([x.shape[a] for a in axes], kernel, strides, dilations, pads))
    out = _sizes(x, axes, kernel, strides, dilations)
    cin, cout, channel = w.shape[1], w.shape[0] // groups, 1 if first else -1
    if cin == 1 and groups > 1:
        y = _depthwise(x, w, axes, first, strides, dilations, out)
    elif groups == 1:
        y = _dense(x, w, first, strides, dilations, out)
    else:
        parts = []
        for g in range(groups):
            part = np.take(x, range(g * cin, (g + 1) * cin), channel)
            parts.append(_dense(part, w[g * cout : (g + 1) * cout], first, strides, dilations, out))
        y = np.concatenate(parts, channel)
    if b is not None:
        y += b.reshape(-1, *(1,) * len(out)) if first else b
    return y


def transpose_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any, pads: Any, extra: Any, output_shape: Any
) -> tuple[list[tuple[int, int]], list[int]]:
    """What a transposed convolution cuts at either end (negative: adds), and its output sizes.

    With "same_*" the sizes are ``output_shape`` (default input * stride) and the surplus is shared as ONNX ConvTranspose
    (opset 11) does: same_upper cuts ``total // 2`` at the beginning, same_lower the larger half.
    """
    cuts, out = [], []
    for i, n in enumerate(sizes):
        full = (n - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1
        if isinstance(pads, str):
            want = n * strides[i] if output_shape is None or output_shape[i] is None else output_shape[i]
            total = max(full + extra[i] - want, 0)
            begin = total // 2 if pads == "same_upper" else total - total // 2
        else:
            begin = pads[i][0]
            want = full + extra[i] - begin - pads[i][1]
        out.append(want)
        cuts.append((begin, full - begin - want))
    return cuts, out


def convolve_transpose(
    x: Array, w: Array, b: Array | None = None,
    *, strides: Any, dilations: Any, pads: Any, output_padding: Any, output_shape: Any, groups: int, layout: str,
) -> Array:  # fmt: skip
    """The adjoint of :func:`convolve` with the same strides, dilations and pads; w is (in, out / groups, *kernel)."""
    x = to_first(x, layout)
    kernel, sizes = w.shape[2:], x.shape[2:]
    cuts, _ = transpose_pads(sizes, kernel, strides, dilations, pads, output_padding, output_shape)
    full = [(n - 1) * s + d * (k - 1) + 1 if n else 0 for n, k, s, d in zip(sizes, kernel, strides, dilations)]
    cin, cout = x.shape[1] // groups, w.shape[1]
    y = np.zeros((x.shape[0], groups * cout, *full), x.dtype)
    axes = tuple(range(2, y.ndim))
    flat = x.reshape(x.shape[0], groups, cin, math.prod(sizes))
    for tap, view in taps(y, axes, kernel, strides, dilations, sizes):
        at: tuple[Any, ...] = (slice(None), slice(None), *tap)
        matrix = w[at].reshape(groups, cin, cout).transpose(0, 2, 1)
        view += np.matmul(matrix, flat).reshape(view.shape)
    y = apply_pads(y, axes, [(-begin, -end) for begin, end in cuts])
    if b is not None:
        y = y + b.reshape(-1, *(1,) * len(axes))
    return from_first(y, layout)


def im2col(x: Array, *, kernel: Any, strides: Any, dilations: Any, pads: Any) -> Array:
    """Patches as channels, (N, C * prod(kernel), *out); channels vary slowest, then the kernel's axes in order."""
    axes = tuple(range(2, x.ndim))
    x = apply_pads(x, axes, explicit_pads(x.shape[2:], kernel, strides, dilations, pads))
    out = _sizes(x, axes, kernel, strides, dilations)
    y = np.empty((*x.shape[:2], *kernel, *out), x.dtype)
    for tap, view in taps(x, axes, kernel, strides, dilations, out):
        at: tuple[Any, ...] = (slice(None), slice(None), *tap)
        y[at] = view
    return y.reshape(x.shape[0], -1, *out) if y.size else np.empty((x.shape[0], x.shape[1] * math.prod(kernel), *out), x.dtype)
