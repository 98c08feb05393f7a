"""Comparing outputs: the error is measured against the range of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import dataclass

__all__ = ["ATOL", "EPS", "RTOL", "OutputDifference", "compare_outputs", "distance", "tolerance"]

EPS = float(np.finfo(np.float32).eps)
"""Unit in the last place of float32."""
RTOL = 1e-4
"""Default tolerance relative to an output's range, for float32 and float64 models."""
ATOL = 0.0
"""Default absolute tolerance, added to the relative one: none, or the outputs of a small range would never differ."""


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from its reference.

    ``max_abs`` is the largest absolute error; ``max_rel`` the same divided by the reference's range (max - min of its finite
    values, or its largest magnitude when that is 0). ``ok`` means every element has error <= :func:`tolerance`, or no more than
    measured rounding explains (the note says so), and NaN and infinities sit at the same places. Integers have no tolerance: of
    30,000 tokens the next one is as wrong as any other.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    ok: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        mark = "ok" if self.ok else "DIFFERS"
        text = f"{self.name} {list(self.shape)}: max abs error {self.max_abs:.3g}, relative to range {self.max_rel:.3g}  {mark}"
        return text + (f" ({self.note})" if self.note else "")


def compare_one(name: str, a: NDArray[Any], b: NDArray[Any], rtol: float, atol: float, eps: float = EPS) -> OutputDifference:
    """Compare ``b`` with the reference ``a``; of sequences the worst of their tensors, whose count is the shape."""
    held, other = _held(a), _held(b)
    if held is not None or other is not None:
        return _compare_held(name, held, other, rtol, atol, eps)
    shape, (a, b) = np.shape(b), map(_real, (a, b))
    if a.shape != b.shape:
        return OutputDifference(name, shape, float("inf"), float("inf"), False, f"reference has shape {list(a.shape)}")
    if a.size == 0:
        return OutputDifference(name, shape, 0.0, 0.0, True)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        same = bool(np.array_equal(a, b))
        return OutputDifference(name, shape, 0.0 if same else float("inf"), 0.0 if same else float("inf"), same)
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    places = np.array_equal(finite, np.isfinite(y)) and np.array_equal(x[~finite], y[~finite], equal_nan=True)
    if not places:
        return OutputDifference(name, shape, float("inf"), float("inf"), False, "NaN or infinity at different places")
    if not finite.any():
        return OutputDifference(name, shape, 0.0, 0.0, True, "no finite value to compare")
    x, y = x[finite], y[finite]
    span = _span(x) or 1.0
    err = float(np.abs(x - y).max())
    if a.dtype.kind in "iub":
        ok = bool(np.array_equal(a, b)) if b.dtype.kind in "iub" else err <= 4 * eps * float(np.abs(x).max())
        return OutputDifference(name, shape, err, err / span, ok)
    return OutputDifference(name, shape, err, err / span, err <= tolerance(x, rtol, atol, eps))


def _held(a: NDArray[Any]) -> list[Any] | None:
    """The tensors of a sequence, or of what may be absent; None for a tensor."""
    a = np.asarray(a)
    if not a.dtype.hasobject:
        return None
    if a.ndim == 0:
        x = a.item()
        return None if isinstance(x, (str, bytes)) else [] if x is None else [x] if _held(x) is None else _held(x)
    return list(a) if a.ndim == 1 and all(isinstance(x, np.ndarray) for x in a) else None


def _compare_held(
    name: str, a: list[Any] | None, b: list[Any] | None, rtol: float, atol: float, eps: float
) -> OutputDifference:  # fmt: skip
    if a is None or b is None or len(a) != len(b):
        many = ["one tensor" if x is None else f"{len(x)} tensors" for x in (a, b)]
        return OutputDifference(name, (), float("inf"), float("inf"), False, f"{many[1]}, the reference has {many[0]}")
    found = [compare_one(name, x, y, rtol, atol, eps) for x, y in zip(a, b)]
    worst = max(found, key=lambda d: (not d.ok, d.max_rel), default=OutputDifference(name, (), 0.0, 0.0, True))
    return replace(worst, shape=(len(b),))


def _real(a: NDArray[Any]) -> NDArray[Any]:
    """An array as real numbers that numpy compares: types that numpy lacks as float32 or int32, a complex number as two along an
    axis of its own."""
    a = np.asarray(a)
    if a.dtype.kind == "V" or (a.dtype.kind == "f" and a.dtype.itemsize == 1):
        return a.astype(np.float32 if "float" in a.dtype.name else np.int32)
    return np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a


def _span(x: NDArray[Any]) -> float:
    return float(x.max() - x.min()) or float(np.abs(x).max())


def tolerance(a: NDArray[Any], rtol: float, atol: float, eps: float) -> float:
    """What an element may be off: ``atol + rtol * range``, and as rounding is relative to a value's magnitude and not to the
    output's range, 4 units in the last place (``eps``: 1.2e-7 for float32, 1e-3 for float16) of the largest magnitude."""
    x = np.asarray(a)
    low, high = (float(x.min()), float(x.max())) if x.size and x.dtype.kind == "f" and x.dtype.itemsize >= 4 else (np.inf, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        x = x.astype(np.float64)
        x = x[np.isfinite(x)]
        if not x.size:
            return atol
        low, high = float(x.min()), float(x.max())
    largest = max(abs(low), abs(high))
    return atol + rtol * (high - low or largest) + 4 * eps * largest


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest absolute difference of two arrays of one shape; infinite where one is finite and the other is not."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype == b.dtype and a.dtype.kind == "f" and a.dtype.itemsize >= 4 and a.size:
        with np.errstate(invalid="ignore", over="ignore"):
            off = a - b
        worst = max(float(off.max()), -float(off.min()))
        if np.isfinite(worst):
            return worst
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        d = np.where(same, 0.0, np.abs(x - y))
    worst = float(d.max(initial=0.0))
    return worst if worst == worst else float("inf")


def compare_outputs(
    names: Sequence[str],
    reference: Sequence[NDArray[Any]],
    result: Sequence[NDArray[Any]],
    rtol: float,
    atol: float,
    eps: float = EPS,
) -> list[OutputDifference]:
    """Compare outputs in order."""
    return [compare_one(n, a, b, rtol, atol, eps) for n, a, b in zip(names, reference, result)]
