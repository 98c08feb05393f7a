"""Special functions numpy lacks: erf and erfc, to about one unit in the last place of float64.

Rational approximations of W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23
(1969), with the coefficients of his SPECFUN routine CALERF: one for |x| <= 0.46875, one up to 4, one beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["erf", "erfc"]

Array = NDArray[Any]

# Highest power first.
_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02,
        3.20937758913846947e03),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)  # fmt: skip
_MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03,
    ),
    (
        1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
        3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03,
    ),
)  # fmt: skip
_LARGE = (
    (
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
        1.60837851487422766e-2, 6.58749161529837803e-4,
    ),
    (1.0, 2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1, 6.05183413124413191e-2,
        2.33520497626869185e-3),
)  # fmt: skip
_INV_SQRT_PI = 5.6418958354775628695e-1
_EDGE = 0.46875


def _ratio(x: Array, coefficients: tuple[Sequence[float], Sequence[float]]) -> Array:
    top, bottom = coefficients
    n, d = np.full_like(x, top[0]), np.full_like(x, bottom[0])
    for a, b in zip(top[1:], bottom[1:]):
        n *= x
        n += a
        d *= x
        d += b
    n /= d
    return n


def _gauss(a: Array) -> Array:
    """exp(-a * a) without the rounding error of the square: a is split at a multiple of 1/16."""
    head = np.trunc(a * 16) / 16
    out: Array = np.exp(-head * head) * np.exp(-(a - head) * (a + head))
    return out


def _tail(a: Array) -> Array:
    """erfc for a > 0.46875."""
    out = np.zeros_like(a)
    middle = a <= 4
    m = a[middle]
    out[middle] = _gauss(m) * _ratio(m, _MIDDLE)
    large = (a > 4) & (a < 28)
    if large.any():
        x = a[large]
        inv = 1 / (x * x)
        out[large] = _gauss(x) * ((_INV_SQRT_PI - inv * _ratio(inv, _LARGE)) / x)
    return out


def _parts(x: Array) -> tuple[Array, Array, Array, Array]:
    v = np.asarray(x, np.float64).reshape(-1)
    a = np.abs(v)
    return v, a, a <= _EDGE, a > _EDGE


def erf(x: Array) -> Array:
    """The error function, computed in float64 and returned in the dtype of ``x``."""
    v, a, small, rest = _parts(x)
    out = np.full_like(v, np.nan)
    s = v[small]
    out[small] = s * _ratio(s * s, _SMALL)
    out[rest] = np.copysign(1 - _tail(a[rest]), v[rest])
    return out.reshape(np.shape(x)).astype(np.asarray(x).dtype)


def erfc(x: Array) -> Array:
    """1 - erf(x) without cancellation, computed in float64 and returned in the dtype of ``x``."""
    v, a, small, rest = _parts(x)
    out = np.full_like(v, np.nan)
    s = v[small]
    out[small] = 1 - s * _ratio(s * s, _SMALL)
    t = _tail(a[rest])
    out[rest] = np.where(v[rest] < 0, 2 - t, t)
    return out.reshape(np.shape(x)).astype(np.asarray(x).dtype)
