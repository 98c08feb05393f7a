"""Numbers of a file as people write them, and constants that are hardly any."""

from __future__ import annotations

import math

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Value

__all__ = ["filled", "shortest", "varies"]


def shortest(x: float, dtype: DType | None) -> float:
    """The shortest decimal that is the same number in float32: 1e-05 rather than 9.999999747378752e-06."""
    if dtype is DType.FLOAT64 or not math.isfinite(x):
        return x
    return float(str(np.float32(x)))


def varies(v: Value, rank: int) -> tuple[int, ...] | None:
    """The axes of a value of ``rank`` axes along which a constant that broadcasts to it varies; None where it has more axes."""
    assert v.tensor is not None
    shape = v.tensor.shape
    if len(shape) > rank:
        if any(n != 1 for n in shape[: len(shape) - rank]):
            return None
        shape = shape[len(shape) - rank :]
    return tuple(i + rank - len(shape) for i, n in enumerate(shape) if n != 1)


def filled(v: Value | None, number: float) -> bool:
    """Whether a constant holds nothing but one number (or is omitted)."""
    return v is None or (v.tensor is not None and v.tensor.size <= 1 << 16 and bool(np.all(v.tensor.numpy() == number)))
