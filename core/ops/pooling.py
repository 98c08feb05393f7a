"""Pooling with numpy, over views of the padded input, in either layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.dims import DimLike, ceil_div
from ..opset.shapes import window_pads, window_size
from .windows import Array, apply_pads, explicit_pads, from_first, spatial_axes, taps, to_first

__all__ = [
    "adaptive_bins",
    "adaptive_pool",
    "avg_pool",
    "lowest",
    "lp_pool",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "pooled",
]


def pooled(n: DimLike | None, k: int, stride: int, dilation: int, pads: Any, ceil_mode: str) -> DimLike | None:
    """Output size of a pooling window; "ceil_full" keeps a last window that starts past the input (Caffe without padding)."""
    if n is None or isinstance(pads, str) or ceil_mode != "ceil_full":
        return window_size(n, k, stride, dilation, pads, ceil_mode == "ceil")
    window_size(n, k, stride, dilation, pads)  # fails when not even one window fits
    return ceil_div(n + pads[0] + pads[1] - dilation * (k - 1) - 1, stride) + 1


def lowest(dtype: np.dtype[Any]) -> Any:
    """What padding holds under a maximum."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return False if dtype.kind == "b" else -np.inf


class _Windows:
    """The concrete geometry of one pooling: explicit pads, output sizes, and the padding that reaches the last window."""

    def __init__(
        self, x: Array, axes: Sequence[int], kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: str
    ) -> None:
        self.axes, self.kernel, self.strides, self.dilations = axes, kernel, strides, dilations
        self.sizes = [x.shape[a] for a in axes]
        self.pads = explicit_pads(self.sizes, kernel, strides, dilations, pads)
        self.out = [int(pooled(n, k, s, d, p, ceil_mode) or 0) for n, k, s, d, p in self._rows()]  # type: ignore[arg-type]
        # reach of the last window beyond the input (negative: elements nobody sees)
        self.end = [(o - 1) * s + d * (k - 1) + 1 - n - p[0] for (n, k, s, d, p), o in zip(self._rows(), self.out)]

    def _rows(self) -> Any:
        return zip(self.sizes, self.kernel, self.strides, self.dilations, self.pads)

    def views(self, x: Array, value: Any) -> Any:
        full = apply_pads(x, self.axes, [(p[0], max(e, 0)) for p, e in zip(self.pads, self.end)], value)
        return taps(full, self.axes, self.kernel, self.strides, self.dilations, self.out)

    def counts(self, include_pad: bool) -> Array:
        """How many elements each window averages: taps on the input, or on the input and its padding."""
        total = np.ones((), np.int64)
        for (n, k, s, d, p), o in zip(self._rows(), self.out):
            at = (np.arange(o) * s - p[0])[:, None] + np.arange(k) * d
            inside = (at < n + p[1]) if include_pad else (at >= 0) & (at < n)
            total = total[..., None] * inside.sum(1)
        return total


def max_pool(x: Array, *, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: str, layout: str) -> Array:
    windows = _Windows(x, spatial_axes(x, layout), kernel, strides, dilations, pads, ceil_mode)
    y: Array | None = None
    for _, view in windows.views(x, lowest(x.dtype)):
        if y is None:
            y = view.copy()
        else:
            np.maximum(y, view, out=y)
    assert y is not None  # kernels are not empty
    if ceil_mode == "ceil_full" and y.dtype.kind == "f":
        _empty_windows(y, windows)
    return y


def _empty_windows(y: Array, windows: _Windows) -> None:
    """A window that starts past the input holds the most negative finite number, as in Caffe."""
    for a, n, s, p in zip(windows.axes, windows.sizes, windows.strides, windows.pads):
        first = -(-(n + p[0]) // s)
        at: list[Any] = [slice(None)] * y.ndim
        at[a] = slice(first, None)
        y[tuple(at)] = np.finfo(y.dtype).min


def max_pool_with_indices(
    x: Array, *, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: str, layout: str, index_order: str
) -> tuple[Array, Array]:
    """The first largest element of every window and where it is."""
    first = to_first(x, layout)
    axes = tuple(range(2, x.ndim))
    windows = _Windows(first, axes, kernel, strides, dilations, pads, ceil_mode)
    plane = math.prod(first.shape[2:])
    where = np.broadcast_to(np.arange(plane).reshape(1, 1, *first.shape[2:]), (1, 1, *first.shape[2:]))
    y = index = None
    for (_, view), (_, at) in zip(windows.views(first, lowest(x.dtype)), windows.views(where, -1)):
        at = np.broadcast_to(at, view.shape)
        if y is None or index is None:
            y, index = view.copy(), at.copy()
            continue
        better = ((view > y) & (at >= 0)) | ((index < 0) & (at >= 0))
        if view.dtype.kind == "f":
            better |= np.isnan(view) & ~np.isnan(y)
        y[better], index[better] = view[better], at[better]
    assert y is not None and index is not None  # kernels are not empty
    if index_order == "flat_nchw":
        n, c = first.shape[:2]
        index = index + (np.arange(n * c) * plane).reshape(n, c, *(1,) * len(axes))
    return from_first(y, layout), from_first(index.astype(np.int64), layout)


def avg_pool(
    x: Array,
    *,
    kernel: Any,
    strides: Any,
    dilations: Any,
    pads: Any,
    ceil_mode: str,
    count_include_pad: bool,
    layout: str,
) -> Array:
    windows = _Windows(x, spatial_axes(x, layout), kernel, strides, dilations, pads, ceil_mode)
    y: Array | None = None
    for _, view in windows.views(x, 0):
        if y is None:
            y = view.copy()
        else:
            y += view
    assert y is not None  # kernels are not empty
    counts = windows.counts(count_include_pad).astype(x.dtype)
    with np.errstate(all="ignore"):
        y /= counts if layout == "channels_first" else counts[..., None]
    return y


def lp_pool(x: Array, *, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: str, p: float, layout: str) -> Array:
    windows = _Windows(x, spatial_axes(x, layout), kernel, strides, dilations, pads, ceil_mode)
    z = np.abs(x) ** np.asarray(p, x.dtype)
    y = sum(view for _, view in windows.views(z, 0))
    return np.asarray(np.asarray(y) ** np.asarray(1 / p, z.dtype), x.dtype)


def max_unpool(x: Array, indices: Array, *, output_shape: Any, index_order: str, layout: str, **_: Any) -> Array:
    """Zeros with every element of x at its index; ``output_shape`` is complete here."""
    first, at = to_first(x, layout), to_first(indices, layout)
    n, c = first.shape[:2]
    plane = math.prod(output_shape)
    y = np.zeros((n * c * plane,), x.dtype)
    flat = at.reshape(n * c, math.prod(at.shape[2:])).astype(np.int64)
    limit = plane if index_order == "plane" else y.size
    if flat.size and not 0 <= flat.min() <= flat.max() < limit:
        raise ValueError(f"indices from {flat.min()} to {flat.max()} do not all lie in an output of {limit} elements")
    if index_order == "plane":
        flat = flat + (np.arange(n * c) * plane)[:, None]
    y[flat.reshape(-1)] = first.reshape(-1)
    return from_first(y.reshape(n, c, *output_shape), layout)


def adaptive_bins(n: int, out: int) -> list[tuple[int, int]]:
    """The (begin, end) of each bin: floor(i n / out) to ceil((i + 1) n / out), as PyTorch's adaptive pools."""
    return [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


def adaptive_pool(x: Array, *, output_size: Any, layout: str, reduce: Callable[..., Array]) -> Array:
    """Reduce axis by axis: mean and max over a box are the mean and max over its sides."""
    y = x
    for a, out in zip(spatial_axes(x, layout), output_size):
        if out is not None:
            at: list[Any] = [slice(None)] * y.ndim
            parts = []
            for begin, end in adaptive_bins(y.shape[a], out):
                at[a] = slice(begin, end)
                parts.append(reduce(y[tuple(at)], axis=a, keepdims=True))
            y = np.concatenate(parts, a)
    return y


def full_pads(n: DimLike, k: int, stride: int, dilation: int, pads: Any, out: DimLike) -> tuple[DimLike, DimLike]:
    """Padding after which windows without ceil mode or further padding give exactly ``out`` outputs (the end may crop)."""
    begin, _ = window_pads(n, k, stride, dilation, pads)
    return begin, (out - 1) * stride + dilation * (k - 1) + 1 - n - begin
