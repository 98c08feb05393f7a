"""Comparing outputs: the error is measured against the range of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATOL", "EPS", "RTOL", "OutputDifference", "compare_outputs"]

EPS = float(np.finfo(np.float32).eps)
"""Unit in the last place of float32."""
RTOL = 1e-4
"""Default tolerance relative to an output's range, for float32 and float64 models."""
ATOL = 1e-6
"""Default absolute tolerance, added to the relative one."""


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from its reference.

    ``max_abs`` is the largest absolute error; ``max_rel`` the same divided by the reference's range (max - min of its finite
    values, or its largest magnitude when that is 0). ``ok`` means every element has error <= atol + rtol * range, and NaN and
    infinities sit at the same places. Rounding is relative to a value's magnitude, not to the output's range, so 4 units in the
    last place of the largest magnitude are allowed on top (``eps``: 1.2e-7 for float32, 1e-3 for float16).
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
    """Compare ``b`` with the reference ``a``."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return OutputDifference(name, b.shape, float("inf"), float("inf"), False, f"reference has shape {list(a.shape)}")
    if a.size == 0:
        return OutputDifference(name, a.shape, 0.0, 0.0, True)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        same = bool(np.array_equal(a, b))
        return OutputDifference(name, a.shape, 0.0 if same else float("inf"), 0.0 if same else float("inf"), same)
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    places = np.array_equal(finite, np.isfinite(y)) and np.array_equal(x[~finite], y[~finite], equal_nan=True)
    if not places:
        return OutputDifference(name, a.shape, float("inf"), float("inf"), False, "NaN or infinity at different places")
    if not finite.any():
        return OutputDifference(name, a.shape, 0.0, 0.0, True, "no finite value to compare")
    x, y = x[finite], y[finite]
    largest = float(np.abs(x).max())
    span = float(x.max() - x.min()) or largest or 1.0
    err = float(np.abs(x - y).max())
    return OutputDifference(name, a.shape, err, err / span, err <= atol + rtol * span + 4 * eps * largest)


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
