"""Special functions computed in float64: gamma, zeta, Bessel functions, inverse of erf, orthogonal polynomials.

Sums and integrals are those of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov), section numbers beside them.
Values at poles and outside of a domain are those of torch.special (2.14).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .special import erf, erfc

__all__ = [
    "FAMILIES", "bessel_i", "bessel_j", "bessel_k", "bessel_y", "digamma", "erfcx", "erfinv", "lgamma", "log_ndtr", "polynomial",
    "zeta",
]  # fmt: skip

Array = NDArray[np.float64]

_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
    -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
"""g = 7, n = 9: P. Godfrey, "A note on the computation of the convergent Lanczos complex Gamma approximation" (2001)."""
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""B2, B4, ... (DLMF 24.2)."""


def _positive_lgamma(x: Array) -> Array:
    z = x - 1
    total = np.full_like(z, _LANCZOS[0])
    for i, c in enumerate(_LANCZOS[1:], 1):
        total += c / (z + i)
    t = z + 7.5
    out: Array = 0.5 * math.log(2 * math.pi) + (z + 0.5) * np.log(t) - t + np.log(total)
    return out


def lgamma(x: Array) -> Array:
    """log |gamma(x)|; below 1/2 by reflection (DLMF 5.5.3)."""
    low = x < 0.5
    up = _positive_lgamma(np.where(low, 1 - x, x))
    # sin(pi x) of the distance to the next integer, so that it is exact near poles
    turned = math.log(math.pi) - np.log(np.abs(np.sin(math.pi * (x - np.round(x))))) - up
    out = np.where(low, turned, up)
    return np.where(np.isinf(x) | ((x <= 0) & (x == np.floor(x))), np.inf, out)


def digamma(x: Array) -> Array:
    """The logarithmic derivative of gamma: reflection (DLMF 5.5.4), recurrence up to 10, then 5.11.2."""
    low = x <= 0
    z = np.where(low, 1 - x, x)
    total = np.zeros_like(z)
    for _ in range(10):
        step = z < 10
        total -= np.where(step, 1 / np.where(step, z, 1), 0)
        z = np.where(step, z + 1, z)
    inv = 1 / (z * z)
    tail, power = np.zeros_like(z), inv.copy()
    for k, b in enumerate(_BERNOULLI[:7], 1):
        tail += b / (2 * k) * power
        power = power * inv
    up = total + np.log(z) - 0.5 / z - tail
    out = np.where(low, up - math.pi / np.tan(math.pi * (x - np.round(x))), up)
    out = np.where(low & (x == np.floor(x)), np.nan, out)
    return np.where(x == 0, np.copysign(np.inf, -x), np.where(x == np.inf, np.inf, np.where(x == -np.inf, np.nan, out)))


def zeta(s: Array, q: Array) -> Array:
    """Hurwitz's zeta function by the Euler-Maclaurin sum (DLMF 25.11.28)."""
    s, q = np.broadcast_arrays(s, q)
    a, total = np.array(q, np.float64), np.zeros(s.shape)
    for _ in range(100000):
        step = a <= 12
        if not step.any():
            break
        total += np.where(step, np.power(np.where(step, a, 1), -s), 0)
        a = np.where(step, a + 1, a)
    total += np.power(a, 1 - s) / (s - 1) + 0.5 * np.power(a, -s)
    factor, power = s.copy(), np.power(a, -s - 1)
    for k, b in enumerate(_BERNOULLI, 1):
        total += b / math.factorial(2 * k) * factor * power
        factor, power = factor * (s + 2 * k - 1) * (s + 2 * k), power / (a * a)
    out = np.where(s == 1, np.inf, np.where(s < 1, np.nan, total))
    pole = (q <= 0) & (s > 1)
    return np.where(pole & (q == np.floor(q)), np.inf, np.where(pole & (s != np.floor(s)), np.nan, out))


def erfinv(x: Array) -> Array:
    """The inverse of erf: a start by Winitzki's formula (2008), then Halley's steps on erfc, which does not cancel."""
    a = np.abs(x)
    rest = 1 - np.minimum(a, 1)
    log = np.log(np.where(rest > 0, rest * (1 + a), 1))
    u = 2 / (math.pi * 0.147) + log / 2
    y = np.sqrt(np.maximum(np.sqrt(np.maximum(u * u - log / 0.147, 0)) - u, 0))
    for _ in range(4):
        f = np.where(a < 0.5, a - erf(y), erfc(y) - rest)
        slope = 2 / math.sqrt(math.pi) * np.exp(-y * y)
        step = f / slope
        y = y + step / (1 + y * step)
    out = np.copysign(np.where(a == 0, 0, y), x)
    return np.where(a == 1, np.copysign(np.inf, x), np.where(a > 1, np.nan, out))


def erfcx(x: Array) -> Array:
    """exp(x^2) erfc(x): as it reads up to 5, the continued fraction (DLMF 7.9.1) beyond."""
    far = x > 5
    near = np.where(far, 0, x)
    fraction = np.zeros_like(x)
    z = np.where(far, x, 6.0)
    for k in range(60, 0, -1):
        fraction = k / 2 / (z + fraction)
    return np.where(far, 1 / (math.sqrt(math.pi) * (z + fraction)), np.exp(near * near) * erfc(near))


def log_ndtr(x: Array) -> Array:
    """The logarithm of the normal distribution function."""
    low = x < -1
    z = np.where(low, -x / math.sqrt(2), 1.0)
    down = np.log(erfcx(z) / 2) - z * z
    return np.where(low, down, np.log1p(-erfc(np.where(low, 0, x) / math.sqrt(2)) / 2))


def bessel_i(order: int, x: Array, scaled: bool) -> Array:
    """I0 or I1: the series (DLMF 10.25.2) up to 20, the expansion 10.40.1 beyond; ``scaled`` by exp(-|x|)."""
    a = np.abs(x)
    small = np.where(a <= 20, a, 0)
    term = np.ones_like(a) if order == 0 else small / 2
    total = term.copy()
    for k in range(1, 70):
        term = term * (small * small / 4) / (k * (k + order))
        total += term
    big = np.where(a > 20, a, 30)
    term = np.ones_like(a)
    tail = term.copy()
    for k in range(1, 25):
        term = term * -(4 * order * order - (2 * k - 1) ** 2) / (k * 8 * big)
        tail += term
    e = np.where(a <= 20, total * np.exp(-small), tail / np.sqrt(2 * math.pi * big))
    e = np.where(np.isinf(a), 0, e)
    out = e if scaled else np.where(a <= 20, total, np.where(np.isinf(a), np.inf, e * np.exp(a)))
    return np.where(np.isnan(x), np.nan, out * np.sign(x) if order else out)


def _quadrature(x: Array, fn: Callable[[Array, Array], Array], low: float, high: float, points: int) -> Array:
    """The integral of fn(x, t) over t by Gauss and Legendre."""
    t, w = np.polynomial.legendre.leggauss(points)
    t, w = (high - low) / 2 * t + (high + low) / 2, (high - low) / 2 * w
    return np.asarray((fn(x[..., None], t) * w).sum(-1))


def _points(x: Array) -> int:
    top = float(np.max(np.abs(x), initial=0, where=np.isfinite(x)))
    return int(min(80 + top, 2000))


def bessel_j(order: int, x: Array) -> Array:
    """Bessel's integral (DLMF 10.9.1)."""
    clean = np.where(np.isfinite(x), x, 0)
    out = _quadrature(clean, lambda v, t: np.cos(order * t - v * np.sin(t)), 0, math.pi, _points(clean)) / math.pi
    return np.where(np.isfinite(x), out, np.where(np.isnan(x), np.nan, 0))


def bessel_y(order: int, x: Array) -> Array:
    """DLMF 10.9.7; -inf at 0, NaN below."""
    clean = np.where(np.isfinite(x) & (x > 0), x, 1)
    first = _quadrature(clean, lambda v, t: np.sin(v * np.sin(t) - order * t), 0, math.pi, _points(clean))
    reach = np.arcsinh(750 / clean)  # beyond it exp(-x sinh t) is 0

    def part(v: Array, u: Array) -> Array:
        t = reach[..., None] * u
        both = np.exp(order * t) + (-1) ** order * np.exp(-order * t)
        return np.asarray(reach[..., None] * both * np.exp(-v * np.sinh(t)))

    out = (first - _quadrature(clean, part, 0, 1, 400)) / math.pi
    return np.where(x == 0, -np.inf, np.where(x < 0, np.nan, np.where(np.isfinite(x), out, np.where(np.isnan(x), x, 0))))


def bessel_k(order: int, x: Array, scaled: bool) -> Array:
    """DLMF 10.32.9; infinite at 0, NaN below; ``scaled`` by exp(x)."""
    clean = np.where(np.isfinite(x) & (x > 0), x, 1)
    reach = np.arccosh(1 + 750 / clean)

    def part(v: Array, u: Array) -> Array:
        t = reach[..., None] * u
        return np.asarray(reach[..., None] * np.cosh(order * t) * np.exp(-v * (np.cosh(t) - 1)))

    out = _quadrature(clean, part, 0, 1, 300) * (1 if scaled else np.exp(-clean))
    return np.where(x == 0, np.inf, np.where(x < 0, np.nan, np.where(np.isfinite(x), out, np.where(np.isnan(x), x, 0))))


_RECURRENCE: dict[str, Callable[[Array], tuple[Array, Callable[[int, Array, Array], Array]]]] = {
    "chebyshev_t": lambda x: (x, lambda k, p, q: 2 * x * p - q),
    "chebyshev_u": lambda x: (2 * x, lambda k, p, q: 2 * x * p - q),
    "chebyshev_v": lambda x: (2 * x - 1, lambda k, p, q: 2 * x * p - q),
    "chebyshev_w": lambda x: (2 * x + 1, lambda k, p, q: 2 * x * p - q),
    "hermite_h": lambda x: (2 * x, lambda k, p, q: 2 * x * p - 2 * k * q),
    "hermite_he": lambda x: (x, lambda k, p, q: x * p - k * q),
    "laguerre_l": lambda x: (1 - x, lambda k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_p": lambda x: (x, lambda k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
FAMILIES = tuple(_RECURRENCE)
"""Of polynomials. ``_RECURRENCE``: the one of degree 1, and that of degree k + 1 from those of k and k - 1 (DLMF 18.9)."""


def polynomial(kind: str, x: Array, n: Array) -> Array:
    """An orthogonal polynomial of degree n; below 0 it is 0."""
    x, degree = np.broadcast_arrays(x, np.trunc(n))
    first, following = _RECURRENCE[kind](x)
    last, now = np.ones(x.shape), np.asarray(first, np.float64)
    out = np.where(degree < 0, 0.0, np.where(degree == 0, 1.0, now))
    for k in range(1, int(np.max(degree, initial=0, where=np.isfinite(degree)))):
        last, now = now, following(k, now, last)
        out = np.where(degree == k + 1, now, out)
    return np.where(np.isnan(n) | np.isnan(x), np.nan, out)
