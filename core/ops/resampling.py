"""Resizing and sampling of images with numpy: one axis at a time for grids, corner by corner for free coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .windows import Array

__all__ = ["axis_matrix", "coordinates", "grid_sample", "resize", "resize_axes", "resized", "resized_axes"]


def resized(n: int, scale: float) -> int:
    """floor(n * scale), in float32 as onnxruntime works it out (upsamplebase.h): 10 * 0.7 is 7, where doubles of float32's 0.7
    give 6 (onnx.reference)."""
    return math.floor(float(np.float32(n) * np.float32(scale)))


def coordinates(n: int, out: int, scale: float | None, how: str) -> Array:
    """The position in the input (float64, in elements) of every output element; formulas of ONNX Resize, scale default out / n.

    Without a scale the ratio is one division of integers, so positions that are whole numbers come out whole. With one, all is
    float32, as in onnxruntime (``GetOriginalCoordinate``), which rounds other positions to a half or a whole than doubles do.
    """
    if scale is not None:
        return _by_scale(n, out, np.float32(scale), how).astype(np.float64)
    i = np.arange(out, dtype=np.float64)
    if how == "align_corners":
        return i * (n - 1) / (out - 1) if out > 1 else np.zeros(1)
    if how == "asymmetric":
        return i * n / out
    if how == "tf_half_pixel_for_nn":
        return (2 * i + 1) * n / (2 * out)
    if how == "pytorch_half_pixel" and out <= 1:
        return np.zeros(out)
    return ((2 * i + 1) * n - out) / (2 * out)


def _by_scale(n: int, out: int, scale: np.float32, how: str) -> Array:
    i: Array = np.arange(out, dtype=np.float32)
    half = np.float32(0.5)
    size, wanted = np.float32(n), np.float32(out)
    if how == "align_corners":
        return np.asarray(i * (size - 1) / (wanted - 1)) if out > 1 else np.zeros(1, np.float32)
    if how == "asymmetric":
        return np.asarray(i / scale)
    if how == "tf_half_pixel_for_nn":
        return np.asarray((i + half) / scale)
    if how == "pytorch_half_pixel" and out <= 1:
        return np.zeros(out, np.float32)
    if how == "half_pixel_symmetric":
        offset = size / 2 * (1 - wanted / (scale * size))  # only what is added to it is double
        return (float(offset) + (i.astype(np.float64) + 0.5) / float(scale) - 0.5).astype(np.float32)
    return np.asarray((i + half) / scale - half)


def resized_axes(shape: Any, sizes: Any, scales: Any, layout: str) -> list[tuple[int, Any, Any, float | None]]:
    """Axis, size, new size (None: unknown) and scale of the axes that change: none where every size stays (onnxruntime copies
    then, whatever the scales are), else those of another size or of a scale that is not 1."""
    found: list[tuple[int, Any, Any, float | None]] = []
    for i, n in enumerate(shape[2:] if layout == "channels_first" else shape[1:-1]):
        scale, out = None if scales is None else scales[i], None if sizes is None else sizes[i]
        if out is None:
            out = n if scale is None else resized(n, scale) if isinstance(n, int) else None
        found.append((i + (2 if layout == "channels_first" else 1), n, out, scale))
    if all(n == out for _, n, out, _ in found):
        return []
    return [(axis, n, out, scale) for axis, n, out, scale in found if n != out or scale not in (None, 1.0)]


def nearest_index(at: Array, how: str) -> Array:
    """Whole positions; halves go down for round_prefer_floor, up for round_prefer_ceil. What is within 1e-6 of a half is one:
    so onnxruntime 1.31 takes them (measured; its public source of before compares exactly)."""
    if how in ("round_prefer_floor", "round_prefer_ceil"):
        low = np.floor(at)
        half = np.abs(at - low - 0.5) < 1e-6
        at = np.where(half, low + (how == "round_prefer_ceil"), np.floor(at + 0.5))
    else:
        at = np.floor(at) if how == "floor" else np.ceil(at)
    return at.astype(np.int64)


def _triangle(t: Array, _: float) -> Array:
    return np.asarray(np.maximum(0, 1 - np.abs(t)))


def _keys(t: Array, a: float) -> Array:
    """The cubic convolution kernel of Keys (1981)."""
    t = np.abs(t)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0))


_FILTERS: dict[str, tuple[int, Callable[[Array, float], Array]]] = {"linear": (1, _triangle), "cubic": (2, _keys)}


def axis_weights(
    at: Array, n: int, ratio: float, mode: str, cubic_a: float, exclude_outside: bool, antialias: bool
) -> tuple[Array, Array]:
    """For every output position the elements it mixes and their weights, both (out, taps).

    Elements outside the input repeat the edge, or (exclude_outside) get weight 0 with the rest rescaled to sum 1. With
    antialias a shrinking filter is stretched by ``ratio`` = input / output.
    """
    support, kernel = _FILTERS[mode]
    stretch = max(ratio, 1.0) if antialias else 1.0
    reach = math.ceil(support * stretch)
    taps = np.floor(at)[:, None].astype(np.int64) + np.arange(1 - reach, reach + 1)
    weights = kernel((taps - at[:, None]) / stretch, cubic_a)
    if exclude_outside:
        weights = np.where((taps >= 0) & (taps < n), weights, 0)
    if exclude_outside or antialias:
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(taps, 0, n - 1), weights


def axis_matrix(
    n: int, out: int, scale: float | None, *, mode: str, coordinates: str, nearest: str, cubic_a: float, exclude_outside: bool,
    antialias: bool,
) -> Array:  # fmt: skip
    """(n, out), float64: how one axis of a resize mixes its elements; one 1 in each column for nearest."""
    at, columns, matrix = _positions(n, out, scale, coordinates), np.arange(out), np.zeros((n, out))
    if mode == "nearest":
        matrix[np.clip(nearest_index(at, nearest), 0, n - 1), columns] = 1
        return matrix
    ratio = n / out if scale is None else 1 / scale
    taps, weights = axis_weights(at, n, ratio, mode, cubic_a, exclude_outside, antialias)
    np.add.at(matrix, (taps, columns[:, None]), weights)
    return matrix


def _mix(x: Array, axis: int, taps: Array, weights: Array) -> Array:
    shape = [1] * x.ndim
    shape[axis] = len(taps)
    total: Array | None = None
    for t in range(taps.shape[1]):
        part = np.take(x, taps[:, t], axis) * weights[:, t].reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    return x if total is None else total


def resize(
    x: Array, *, sizes: Any, scales: Any, mode: str, coordinates: str, nearest: str, cubic_a: float, exclude_outside: bool,
    antialias: bool, layout: str,
) -> Array:  # fmt: skip
    y = x
    for axis, n, out, scale in resized_axes(x.shape, sizes, scales, layout):
        at = _positions(n, out, scale, coordinates)
        if mode == "nearest":
            y = np.take(y, np.clip(nearest_index(at, nearest), 0, n - 1), axis)
        else:
            ratio = n / out if scale is None else 1 / scale
            taps, weights = axis_weights(at, n, ratio, mode, cubic_a, exclude_outside, antialias)
            y = _mix(y, axis, taps, weights.astype(y.dtype))
    return y


_positions = coordinates


def resize_axes(
    x: Array, sizes: Array | None = None, scales: Array | None = None, roi: Array | None = None, *, mode: str, coordinates: str,
    nearest: str, cubic_a: float, exclude_outside: bool, antialias: bool, axes: Any, policy: str, outside: float,
) -> Array:  # fmt: skip
    """Any axes of x, to sizes or by scales (:func:`resize` is of the spatial ones)."""
    chosen = tuple(range(x.ndim)) if axes is None else axes
    given = [int(n) for n in sizes] if sizes is not None else [float(s) for s in scales if scales is not None]  # type: ignore
    if len(given) != len(chosen) or (roi is not None and coordinates == "tf_crop_and_resize" and len(roi) != 2 * len(chosen)):
        raise ValueError(f"{len(given)} sizes or scales for {len(chosen)} axes")
    if any(not n > 0 for n in given):
        raise ValueError(f"sizes or scales {given}")
    now = [x.shape[a] for a in chosen]
    by: list[float | None] = [None] * len(chosen) if sizes is not None else list(map(float, given))
    to = list(map(int, given)) if sizes is not None else [resized(n, s) for n, s in zip(now, given)]
    if sizes is not None and policy != "stretch":
        one = (min if policy == "not_larger" else max)(m / n for n, m in zip(now, to))
        to, by = [math.floor(n * one + 0.5) for n in now], [one] * len(chosen)
    if coordinates == "align_corners" and any(s is not None and (n * s) % 1 for n, s in zip(now, by)):
        raise ValueError(f"scales {given} of {now} elements are not whole: runtimes disagree where align_corners reads then")
    how: dict[str, Any] = {
        "mode": mode,
        "nearest": nearest,
        "cubic_a": cubic_a,
        "exclude_outside": exclude_outside,
        "antialias": antialias,
    }
    if coordinates == "tf_crop_and_resize":
        assert roi is not None
        return _cropped(x, chosen, to, by, roi, outside, how)
    full_sizes: list[int] = list(x.shape)
    full_scales: list[float | None] = [None] * x.ndim
    for a, n, s in zip(chosen, to, by):
        full_sizes[a], full_scales[a] = n, s
    y = resize(x[None, None], sizes=full_sizes, scales=full_scales, coordinates=coordinates, layout="channels_first", **how)
    return np.asarray(y[0, 0])


def _cropped(
    x: Array, axes: Any, sizes: list[int], scales: list[float | None], roi: Array, outside: float, how: dict[str, Any]
) -> Array:
    """TensorFlow's crop_and_resize, axis by axis."""
    y, beyond = x, np.zeros((1,) * x.ndim, bool)
    for i, (axis, out) in enumerate(zip(axes, sizes)):
        n, start, end = x.shape[axis], float(roi[i]), float(roi[len(axes) + i])
        steps = np.arange(out, dtype=np.float64)
        at = (
            start * (n - 1) + steps * (end - start) * (n - 1) / (out - 1)
            if out > 1
            else np.full(1, 0.5 * (start + end) * (n - 1))
        )
        if how["mode"] == "nearest":
            y = np.take(y, np.clip(nearest_index(at, how["nearest"]), 0, n - 1), axis)
        else:
            scale = scales[i]
            ratio = n / out if scale is None else 1 / scale
            taps, weights = axis_weights(at, n, ratio, how["mode"], how["cubic_a"], how["exclude_outside"], how["antialias"])
            y = _mix(y, axis, taps, weights.astype(y.dtype))
        shape = [1] * x.ndim
        shape[axis] = out
        beyond = beyond | ((at < 0) | (at > n - 1)).reshape(shape)
    return np.where(beyond, np.asarray(outside, x.dtype), y)


def grid_sample(x: Array, grid: Array, *, mode: str, padding: str, align_corners: bool, layout: str = "channels_first") -> Array:
    """x (N, C, *spatial) read at grid (N, *out, d), whose last axis is (x, y, ...): the last spatial axis first, -1 to 1."""
    if layout == "channels_last":
        first = grid_sample(np.moveaxis(x, -1, 1), grid, mode=mode, padding=padding, align_corners=align_corners)
        return np.moveaxis(first, 1, -1)
    sizes = x.shape[2:]
    d = len(sizes)
    at = []
    for i, n in enumerate(sizes):
        g = grid[..., d - 1 - i].astype(x.dtype, copy=False)
        pos = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
        at.append(pos if mode == "cubic" else _inside(pos, n, padding, align_corners))
    if mode == "nearest":
        whole = [np.rint(p).astype(np.int64) for p in at]
        return _read(x, whole, padding, align_corners)
    offsets = (-1, 0, 1, 2) if mode == "cubic" else (0, 1)
    base = [np.floor(p).astype(np.int64) for p in at]
    weights = []
    for p, whole_part in zip(at, base):
        t = p - whole_part
        weights.append([_keys(t - o, -0.75) if mode == "cubic" else (1 - t, t)[o] for o in offsets])
    y = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]), x.dtype)
    for corner in itertools.product(range(len(offsets)), repeat=d):
        index = [p + offsets[k] for p, k in zip(base, corner)]
        weight = np.ones((), x.dtype)
        for row, k in zip(weights, corner):
            weight = weight * row[k]
        y += _read(x, index, padding if mode == "cubic" else "zeros", align_corners) * weight[:, None]
    return y


def _inside(pos: Array, n: int, padding: str, align_corners: bool) -> Array:
    """Positions brought into the image; zeros leaves them where they are."""
    if padding == "border":
        return np.clip(pos, 0, n - 1)
    if padding == "reflection":
        return np.clip(_reflect(pos, n, align_corners), 0, n - 1)
    return pos


def _reflect(pos: Array, n: int, align_corners: bool) -> Array:
    """Mirror at the centres of the edge elements (align_corners) or at their outer borders."""
    low, span = (0.0, float(n - 1)) if align_corners else (-0.5, float(n))
    if span == 0:
        return np.zeros_like(pos)
    t = np.abs(pos - np.asarray(low, pos.dtype)) % np.asarray(2 * span, pos.dtype)
    return np.asarray(np.where(t > span, 2 * span - t, t) + low, pos.dtype)


def _read(x: Array, index: list[Array], padding: str, align_corners: bool) -> Array:
    """x at whole positions (N, *out) per spatial axis: (N, C, *out)."""
    inside = np.ones(index[0].shape, bool)
    where = []
    for i, n in zip(index, x.shape[2:]):
        if padding == "zeros":
            inside &= (i >= 0) & (i < n)
            where.append(np.clip(i, 0, n - 1))
        elif padding == "border":
            where.append(np.clip(i, 0, n - 1))
        else:
            mirrored = _reflect(i.astype(np.float64), n, align_corners)
            where.append(np.clip(np.rint(mirrored).astype(np.int64), 0, n - 1))
    batch = np.arange(x.shape[0]).reshape(-1, *(1,) * (index[0].ndim - 1))
    at: tuple[Any, ...] = (batch, *where)
    values = np.moveaxis(x, 1, -1)[at]  # (N, *out, C)
    return np.moveaxis(np.where(inside[..., None], values, np.zeros((), x.dtype)), -1, 1)
