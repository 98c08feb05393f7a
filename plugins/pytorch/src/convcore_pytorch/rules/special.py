"""torch.special: gamma, zeta, Bessel functions, the normal distribution, orthogonal polynomials."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import NotExpressible, Value

from ..context import AtenNode, TorchContext
from .base import FLOAT, RULES, aten, fractions

# ---- one op each
for _name in ("i0", "i0e", "i1", "i1e"):
    RULES.op(
        f"torch.special.{_name}", "bessel", "input=x", kind="i", order=int(_name[1]), scaled=_name.endswith("e"), types=FLOAT,
        also=aten(f"special_{_name}{' i0' if _name == 'i0' else ''}", "self:input", "float"),
    )  # fmt: skip
for _name, _first in (
    ("bessel_j0", "self"), ("bessel_j1", "self"), ("bessel_y0", "self"), ("bessel_y1", "self"), ("modified_bessel_k0", "self"),
    ("modified_bessel_k1", "self"), ("scaled_modified_bessel_k0", "x"), ("scaled_modified_bessel_k1", "x"),
):  # fmt: skip
    RULES.op(
        f"torch.special.{_name}", "bessel", "input=x", kind=_name[-2], order=int(_name[-1]), scaled=_name.startswith("scaled"),
        types=FLOAT, also=aten(f"special_{_name}", f"{_first}:input", "float"),
    )  # fmt: skip
for _call in aten("special_modified_bessel_i0 special_modified_bessel_i1", "self:input", "float"):
    RULES.op(_call, "bessel", "input=x", kind="i", order=int(_call.name[-1]), scaled=False)
RULES.op(
    "torch.special.zeta", "zeta", "input=s, other=q",
    also=aten("special_zeta special_zeta.self_scalar special_zeta.other_scalar", "self:input, other", "fractions"),
)  # fmt: skip
for _kind in (
    "chebyshev_t", "chebyshev_u", "chebyshev_v", "chebyshev_w", "hermite_h", "hermite_he", "laguerre_l", "legendre_p",
):  # fmt: skip
    _name = "{}_polynomial_{}".format(*_kind.split("_"))
    RULES.op(
        f"torch.special.{_name}", "orthogonal_polynomial", "input=x, n=n", kind=_kind,
        also=aten(f"special_{_name} special_{_name}.x_scalar special_{_name}.n_scalar", "x:input, n", "fractions"),
    )  # fmt: skip


# ---- several
def operand(g: TorchContext, n: AtenNode) -> Value:
    return g.float(n.tensor("self" if "self" in n.arguments else "x"), n.dtype)


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
    order, x = n.count("n", least=0), operand(g, n)
    if order == 0:
        return g.b.digamma(x)
    if order > 30:
        raise NotExpressible(f"the derivative of order {order}")
    y = g.b.zeta(g.b.like(x, order + 1), x)
    return g.b.mul(y, g.b.like(y, (-1.0) ** (order + 1) * math.factorial(order)))


@RULES.load(*(f"aten.special_shifted_chebyshev_polynomial_{k}{o}" for k in "tuvw" for o in ("", ".x_scalar", ".n_scalar")))
def polynomial(g: TorchContext, n: AtenNode) -> Value:
    """The shifted ones are those of 2 x - 1."""
    x, degree = fractions(g, n, [n.arg("x"), n.arg("n")])
    kind: Any = f"chebyshev_{n.type.split('.')[1][-1]}"
    return g.b.orthogonal_polynomial(g.b.sub(g.b.mul(x, g.b.like(x, 2)), g.b.like(x, 1)), degree, kind=kind)
