"""Special functions beside torch's, element for element: near 0, at the seams of the formulas, far out, at poles and beyond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.ops import special_values as ours
from convcore.ops.special import erf, erfc

torch = pytest.importorskip("torch")
special: Any = torch.special

NEAR = np.concatenate([np.linspace(-7.3, 7.3, 41), np.linspace(-0.99, 0.99, 23), [0.5, 1.0, 2.0, 10.0, 12.0, 9.999, 10.001]])
WIDE = np.asarray([-90.0, -31.7, -20.1, -20.0, -19.9, -5.1, -5.0, -1.0, 4.9, 5.0, 5.1, 19.9, 20.0, 20.1, 29.3, 31.7, 55.5, 101.3])
EDGE = np.asarray([0.0, -0.0, -1.0, -2.0, 1.0, 2.0, np.inf, -np.inf, np.nan])
ALL = np.concatenate([NEAR, WIDE, EDGE])
FINITE = ALL[np.isfinite(ALL)]
POSITIVE = np.concatenate([np.abs(NEAR[NEAR != 0]), WIDE[WIDE > 0], np.asarray([1e-3, 0.0, -1.0, np.inf, np.nan])])

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Any, float]] = {
    # ours, torch's, where, and how near (a part of 1 + the value)
    "erf": (erf, special.erf, np.concatenate([ALL, np.linspace(-0.6, 0.6, 31), np.linspace(3.5, 6.5, 31)]), 1e-15),
    "erfc": (erfc, special.erfc, np.concatenate([ALL, np.linspace(-0.6, 0.6, 31), np.linspace(3.5, 6.5, 31)]), 1e-15),
    "lgamma": (ours.lgamma, special.gammaln, ALL, 1e-12),
    "digamma": (ours.digamma, special.digamma, np.concatenate([NEAR[NEAR != 0] + 1e-4, np.abs(WIDE), EDGE[:7]]), 1e-10),
    "erfinv": (ours.erfinv, special.erfinv, np.append(np.linspace(-0.999, 0.999, 61), [1 - 1e-9, 1, -1, 1.1, 0, np.nan]), 1e-9),
    "erfcx": (ours.erfcx, special.erfcx, np.concatenate([NEAR, WIDE[WIDE > -6], [np.nan]]), 1e-11),
    "log_ndtr": (ours.log_ndtr, special.log_ndtr, np.concatenate([NEAR, WIDE]), 1e-11),
    "i0": (lambda x: ours.bessel_i(0, x, False), special.i0, FINITE, 1e-10),
    "i1": (lambda x: ours.bessel_i(1, x, False), special.i1, FINITE, 1e-10),
    "i0e": (lambda x: ours.bessel_i(0, x, True), special.i0e, ALL[np.isfinite(ALL)], 1e-11),
    "i1e": (lambda x: ours.bessel_i(1, x, True), special.i1e, ALL[np.isfinite(ALL)], 1e-11),
    "j0": (lambda x: ours.bessel_j(0, x), special.bessel_j0, FINITE, 3e-7),
    "j1": (lambda x: ours.bessel_j(1, x), special.bessel_j1, FINITE, 3e-7),
    "y0": (lambda x: ours.bessel_y(0, x), special.bessel_y0, POSITIVE[np.inf > POSITIVE], 3e-7),
    "y1": (lambda x: ours.bessel_y(1, x), special.bessel_y1, POSITIVE[np.inf > POSITIVE], 1e-6),
    "k0": (lambda x: ours.bessel_k(0, x, False), special.modified_bessel_k0, POSITIVE, 1e-10),
    "k1": (lambda x: ours.bessel_k(1, x, False), special.modified_bessel_k1, POSITIVE, 1e-10),
    "k0e": (lambda x: ours.bessel_k(0, x, True), special.scaled_modified_bessel_k0, POSITIVE, 1e-10),
    "k1e": (lambda x: ours.bessel_k(1, x, True), special.scaled_modified_bessel_k1, POSITIVE, 1e-10),
}  # fmt: skip


def beside(found: Any, wanted: Any, at: Any, near: float) -> None:
    wanted = wanted.numpy()
    with np.errstate(all="ignore"):
        off = np.where(found == wanted, 0, np.abs(found - wanted) / (1 + np.abs(wanted)))
    off = np.where(np.isnan(found) & np.isnan(wanted), 0, off)
    bad = ~(off <= near)
    assert not bad.any(), list(zip(np.asarray(at)[..., bad].tolist(), found[bad].tolist(), wanted[bad].tolist()))[:5]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(name: str) -> None:
    mine, theirs, x, near = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        beside(mine(x.copy()), theirs(torch.from_numpy(x)), x, near)


def test_bessel_functions_at_infinity() -> None:
    """Their limits (DLMF 10.17, 10.40), where torch's are NaN; torch's J and Y are off by up to 1e-6 beyond 5."""
    x = np.asarray([np.inf, np.nan])
    for order in (0, 1):
        assert [f(order, x)[0] for f in (ours.bessel_j, ours.bessel_y)] == [0, 0]
        assert ours.bessel_i(order, x, False)[0] == np.inf and ours.bessel_i(order, x, True)[0] == 0
        assert ours.bessel_i(order, -x, False)[0] == (-np.inf if order else np.inf)
        assert ours.bessel_k(order, x, False)[0] in (0, np.inf)
        for f in (ours.bessel_j, ours.bessel_y):
            assert np.isnan(f(order, x)[1])


@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions_fulfil_their_wronskian(order: int) -> None:
    """J1 Y0 - J0 Y1 = 2 / (pi x) (DLMF 10.5.2), I0 K1 + I1 K0 = 1 / x (10.28.2): to the last places, at every seam."""
    x = np.asarray([0.1, 1.7, 4.9, 5.1, 9.3, 19.9, 20.1, 35.3])
    j, y = (ours.bessel_j(0, x), ours.bessel_j(1, x)), (ours.bessel_y(0, x), ours.bessel_y(1, x))
    np.testing.assert_allclose(j[1] * y[0] - j[0] * y[1], 2 / (np.pi * x), rtol=1e-10)
    i, k = ([f(n, x, bool(order)) for n in (0, 1)] for f in (ours.bessel_i, ours.bessel_k))
    np.testing.assert_allclose(i[0] * k[1] + i[1] * k[0], 1 / x, rtol=1e-10)


def test_the_tail_of_erfc() -> None:
    """A part of the value, not of 1, as far as float64 goes."""
    x = np.concatenate([np.linspace(0.4, 4.2, 77), np.linspace(4.3, 26.0, 50)])
    np.testing.assert_allclose(erfc(x), special.erfc(torch.from_numpy(x)).numpy(), rtol=3e-14)


def test_zeta() -> None:
    s, q = np.meshgrid([0.5, 1.0, 1.1, 1.5, 2.0, 3.0, 7.3, 11.0], [-2.0, -1.5, 0.0, 0.1, 0.5, 1.0, 2.5, 11.9, 12.0, 12.1, 40.0])
    with np.errstate(all="ignore"):
        found, wanted = ours.zeta(s, q), special.zeta(torch.from_numpy(s), torch.from_numpy(q))
    beside(found.ravel(), wanted.ravel(), np.stack([s.ravel(), q.ravel()]), 1e-11)


@pytest.mark.parametrize("kind", ours.FAMILIES)
def test_polynomials(kind: str) -> None:
    family, letter = kind.rsplit("_", 1)
    x, n = np.meshgrid([-1.3, -1.0, -0.7, 0.0, 0.3, 1.0, 1.7], [-2.0, -1.0, 0.0, 1.0, 2.0, 2.7, 3.0, 4.0, 5.0])
    found = ours.polynomial(kind, x, n)
    wanted = getattr(special, f"{family}_polynomial_{letter}")(torch.from_numpy(x), torch.from_numpy(n))
    beside(found.ravel(), wanted.ravel(), np.stack([x.ravel(), n.ravel()]), 1e-11)
    assert np.isnan(ours.polynomial(kind, np.asarray([np.nan, 1.0]), np.asarray([2.0, np.nan]))).all()
