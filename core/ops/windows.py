"""Sliding windows for the reference runtime, and attribute handling for ops over spatial axes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.graph import Value
from ..opset.shapes import window_pads

__all__ = [
    "Array",
    "apply_pads",
    "explicit_pads",
    "from_first",
    "sliding",
    "spatial_attrs",
    "spatial_axes",
    "taps",
    "to_first",
]

Array = NDArray[Any]


def to_first(x: Array, layout: str) -> Array:
    """A channels_first view."""
    return x if layout == "channels_first" else np.moveaxis(x, -1, 1)


def from_first(y: Array, layout: str) -> Array:
    """A view in ``layout`` of channels_first data."""
    return y if layout == "channels_first" else np.moveaxis(y, 1, -1)


def sliding(x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """Windows over the axes after the second: a view of shape (N, C, *out, *kernel)."""
    d = len(kernel)
    reach = tuple(dil * (k - 1) + 1 for k, dil in zip(kernel, dilations))
    w = sliding_window_view(x, reach, tuple(range(2, 2 + d)))
    steps = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, dil) for dil in dilations)
    at: tuple[Any, ...] = (slice(None), slice(None), *steps, *taps)
    view: Array = w[at]
    return view


def spatial_axes(x: Array, layout: str) -> tuple[int, ...]:
    """The axes that are neither batch nor channels."""
    return tuple(range(2, x.ndim)) if layout == "channels_first" else tuple(range(1, x.ndim - 1))


def explicit_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Any
) -> list[tuple[int, int]]:
    """(begin, end) per spatial axis for concrete sizes."""
    out = []
    for i, n in enumerate(sizes):
        a, b = window_pads(n, kernel[i], strides[i], dilations[i], pads if isinstance(pads, str) else pads[i])
        out.append((int(a), int(b)))  # type: ignore[arg-type]  # concrete sizes give integers
    return out


def apply_pads(x: Array, axes: Sequence[int], pads: Sequence[tuple[int, int]], value: Any = 0) -> Array:
    """Grow (or crop, where negative) the given axes by (begin, end) elements of ``value``."""
    full = [(0, 0)] * x.ndim
    for a, p in zip(axes, pads):
        full[a] = p
    if any(p < 0 for pair in full for p in pair):
        x = x[tuple(slice(max(0, -b), n - max(0, -e)) for n, (b, e) in zip(x.shape, full))]
        full = [(max(0, b), max(0, e)) for b, e in full]
    if not any(p for pair in full for p in pair):
        return x
    return np.pad(x, full, constant_values=np.asarray(value, x.dtype)[()])


def taps(
    x: Array,
    axes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    out: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For every position inside the window: its index and the view of ``x`` (already padded) it sees in all windows."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        at: list[slice] = [slice(None)] * x.ndim
        for a, t, s, d, n in zip(axes, tap, strides, dilations, out):
            at[a] = slice(t * d, t * d + (n - 1) * s + 1, s) if n else slice(0, 0)
        yield tap, x[tuple(at)]


def spatial_attrs(*names: str) -> Callable[[dict[str, Any], Sequence[Value | None]], None]:
    """A normaliser that fills None with the neutral value and checks one entry per spatial axis.

    The number of spatial axes is that of the first input less two. Neutral: 1 for strides and dilations, else 0.
    """

    def normalize(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
        x = inputs[0] if inputs else None
        if x is None or x.rank is None:
            return
        d = x.rank - 2
        if d < 0:
            raise ShapeError(f"x has {x.rank} axes, needs at least batch and channels")
        for name in names:
            v = attrs[name]
            if v is None:
                one: Any = 1 if name in ("strides", "dilations") else (0, 0) if name == "pads" else 0
                attrs[name] = (one,) * d
            elif not isinstance(v, str) and len(v) != d:
                raise ShapeError(f"{name}={v} must have one entry for each of {d} spatial axes")
            if name in ("strides", "dilations", "kernel") and any(n < 1 for n in attrs[name]):
                raise ShapeError(f"{name}={attrs[name]} must be positive")

    return normalize
