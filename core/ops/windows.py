"""Sliding windows for the reference runtime, and attribute handling for ops over spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import ShapeError
from ..ir.graph import Value

__all__ = ["from_first", "sliding", "spatial_attrs", "to_first"]


def to_first(x: np.ndarray, layout: str) -> np.ndarray:
    """A channels_first view."""
    return x if layout == "channels_first" else np.moveaxis(x, -1, 1)


def from_first(y: np.ndarray, layout: str) -> np.ndarray:
    """A view in ``layout`` of channels_first data."""
    return y if layout == "channels_first" else np.moveaxis(y, 1, -1)


def sliding(x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> np.ndarray:
    """Windows over the axes after the second: a view of shape (N, C, *out, *kernel)."""
    d = len(kernel)
    reach = tuple(dil * (k - 1) + 1 for k, dil in zip(kernel, dilations))
    w = sliding_window_view(x, reach, tuple(range(2, 2 + d)))
    steps = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, dil) for dil in dilations)
    return w[(slice(None), slice(None), *steps, *taps)]


def spatial_attrs(*names: str) -> Callable[[dict[str, Any], Sequence[Value | None]], None]:
    """A normaliser that fills None with the neutral value and checks one entry per spatial axis.

    The number of spatial axes is that of the first input less two. Neutral: 1 for strides and dilations, 0 for the rest.
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
            if name in ("strides", "dilations") and any(n < 1 for n in attrs[name]):
                raise ShapeError(f"{name}={attrs[name]} must be positive")

    return normalize
