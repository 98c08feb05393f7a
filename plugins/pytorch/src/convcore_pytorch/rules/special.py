"""torch.special: gamma, zeta, Bessel functions, the normal distribution, orthogonal polynomials."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext
from .base import RULES

_ONE = {
    "lgamma": "lgamma", "special_gammaln": "lgamma", "digamma": "digamma", "special_digamma": "digamma", "special_psi": "digamma",
    "erfinv": "erfinv", "special_erfinv": "erfinv", "special_erfcx": "erfcx", "special_log_ndtr": "log_ndtr",
}  # fmt: skip
_BESSEL: dict[str, tuple[Any, Any, bool]] = {
    "i0": ("i", 0, False), "special_i0": ("i", 0, False), "special_i0e": ("i", 0, True), "special_i1": ("i", 1, False),
    "special_i1e": ("i", 1, True), "special_modified_bessel_i0": ("i", 0, False), "special_modified_bessel_i1": ("i", 1, False),
    "special_bessel_j0": ("j", 0, False), "special_bessel_j1": ("j", 1, False), "special_bessel_y0": ("y", 0, False),
    "special_bessel_y1": ("y", 1, False), "special_modified_bessel_k0": ("k", 0, False),
    "special_modified_bessel_k1": ("k", 1, False), "special_scaled_modified_bessel_k0": ("k", 0, True),
    "special_scaled_modified_bessel_k1": ("k", 1, True),
}  # fmt: skip
_KINDS = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
)  # fmt: skip
_POLYNOMIALS = [f"special_{s}{k}" for k in _KINDS for s in ("", "shifted_") if not s or k.startswith("chebyshev")]


def operand(g: TorchContext, n: AtenNode, name: str = "") -> Value:
    return g.float(n.tensor(name or ("self" if "self" in n.arguments else "x")), n.dtype)


@RULES.load(*(f"aten.{k}" for k in _ONE))
def one(g: TorchContext, n: AtenNode) -> Value:
    y: Value = g.b.op(_ONE[n.type.removeprefix("aten.")], operand(g, n))
    return y


@RULES.load(*(f"aten.{k}" for k in _BESSEL))
def bessel(g: TorchContext, n: AtenNode) -> Value:
    kind, order, scaled = _BESSEL[n.type.removeprefix("aten.")]
    return g.b.bessel(operand(g, n), kind=kind, order=order, scaled=scaled)


@RULES.load("aten.special_spherical_bessel_j0")
def spherical(g: TorchContext, n: AtenNode) -> Value:
    x = operand(g, n)
    zero, infinite = g.b.equal(x, g.b.like(x, 0)), g.b.isinf(x)
    sine = g.b.div(g.b.sin(g.b.where(infinite, g.b.like(x, 0), x)), g.b.where(zero, g.b.like(x, 1), x))
    return g.b.where(zero, g.b.like(x, 1), sine)  # 0 at infinity


@RULES.load("aten.special_ndtr")
def normal(g: TorchContext, n: AtenNode) -> Value:
    """The normal distribution function. Its inverse has no rule: by ``erfinv(2 p - 1)`` small p are lost."""
    x = operand(g, n)
    return g.b.mul(g.b.erfc(g.b.mul(x, g.b.like(x, -math.sqrt(0.5)))), g.b.like(x, 0.5))


@RULES.load("aten.polygamma", "aten.special_polygamma")
def polygamma(g: TorchContext, n: AtenNode) -> Value:
    """(-1)^(n+1) n! zeta(n + 1, x) (DLMF 25.11.12)."""
    order, x = n.number("n"), operand(g, n)
    if order == 0:
        return g.b.digamma(x)
    if order > 30:
        raise NotExpressible(f"the derivative of order {order}")
    y = g.b.zeta(g.b.like(x, order + 1), x)
    return g.b.mul(y, g.b.like(y, (-1.0) ** (order + 1) * math.factorial(order)))


def two(g: TorchContext, n: AtenNode, first: str, second: str) -> tuple[Value, Value]:
    """Two operands, one of which may be a number, in floating point."""
    values = [n.arg(first), n.arg(second)]
    dtype = n.dtype if n.dtype is not None and n.dtype.is_float else DType.FLOAT32
    a, b = g.operands(dtype, *values)
    return a, b


@RULES.load("aten.special_zeta", "aten.special_zeta.self_scalar", "aten.special_zeta.other_scalar")
def zeta(g: TorchContext, n: AtenNode) -> Value:
    return g.b.zeta(*two(g, n, "self", "other"))


@RULES.load(*(f"aten.{k}{o}" for k in _POLYNOMIALS for o in ("", ".x_scalar", ".n_scalar")))
def polynomial(g: TorchContext, n: AtenNode) -> Value:
    """The shifted ones are those of 2 x - 1."""
    x, degree = two(g, n, "x", "n")
    name = n.type.split(".")[1].removeprefix("special_")
    if name.startswith("shifted_"):
        x = g.b.sub(g.b.mul(x, g.b.like(x, 2)), g.b.like(x, 1))
    kind: Any = name.removeprefix("shifted_").replace("_polynomial", "")
    return g.b.orthogonal_polynomial(x, degree, kind=kind)
