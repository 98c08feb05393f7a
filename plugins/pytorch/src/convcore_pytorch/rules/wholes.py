"""ATen's operators on the parts of numbers: greatest common divisors, powers of two in a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, NotExpressible, Value, broadcast_shapes

from ..context import AtenNode, TorchContext, known
from .base import RULES, alike, fractions
from .loops import while_any


@RULES.load("aten.gcd", "aten.lcm")
def gcd(g: TorchContext, n: AtenNode) -> Value:
    """Euclid's, until no remainder is left. lcm is |a / gcd b|, and 0 where both are 0 (ATen/native/cpu/BinaryOpsKernel.cpp)."""
    a, b = alike(g, n, [n.tensor("self"), n.tensor("other")])
    if a.dtype is None or not a.dtype.is_int:
        raise NotExpressible(f"of {a.dtype}", "unsupported_dtype")
    shape: Any = broadcast_shapes(known(a), known(b))
    a, b = (v if known(v) == shape else g.b.expand(v, shape=shape) for v in (a, b))

    def left(c: TorchContext, vs: list[Value]) -> Value:
        return c.b.not_equal(vs[1], c.b.like(vs[1], 0))

    def step(c: TorchContext, _i: Value, vs: list[Value], _: list[Value]) -> Sequence[Value]:
        x, y = vs
        none = c.b.equal(y, c.b.like(y, 0))
        rest = c.b.floor_mod(x, c.b.where(none, c.b.like(y, 1), y))
        return c.b.where(none, x, y), c.b.where(none, y, rest)

    common, _ = while_any(g, left, [g.b.abs(a), g.b.abs(b)], step)
    if n.type == "aten.gcd":
        return common
    zero = g.b.equal(common, g.b.like(common, 0))
    part = g.b.floor_div(a, g.b.where(zero, g.b.like(common, 1), common))
    return g.b.where(zero, g.b.like(common, 0), g.b.abs(g.b.mul(part, b)))


@RULES.load("aten.frexp.Tensor")
def frexp(g: TorchContext, n: AtenNode) -> tuple[Value, Value]:
    """x = m 2^e with 0.5 <= |m| < 1; 0, infinities and nan are their own m, with e = 0. e by the logarithm, put right by one."""
    x = n.tensor("self")
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")
    wide = g.cast(x, DType.FLOAT64)  # where 2^e of every float32 is a number; of float64 below 2^-1022 it is not
    if x.dtype is DType.FLOAT64:
        g.note(f"{n.name}: frexp of denormal float64 numbers is not exact")
    odd = g.b.or_(g.b.equal(wide, g.b.like(wide, 0)), g.b.not_(g.b.isfinite(wide)))
    size = g.b.where(odd, g.b.like(wide, 0.5), g.b.abs(wide))
    one, two, half = (g.b.like(wide, v) for v in (1, 2, 0.5))
    e = g.b.add(g.b.floor(g.b.log2(size)), one)
    m = g.b.div(size, g.b.pow(two, e))
    high, low = g.b.greater_equal(m, one), g.b.less(m, half)
    e = g.b.where(high, g.b.add(e, one), g.b.where(low, g.b.sub(e, one), e))
    m = g.b.where(high, g.b.mul(m, half), g.b.where(low, g.b.mul(m, two), m))
    m = g.b.where(odd, wide, g.b.where(g.b.less(wide, g.b.like(wide, 0)), g.b.neg(m), m))
    return g.cast(m, x.dtype), g.cast(g.b.where(odd, g.b.like(e, 0), e), DType.INT32)


@RULES.load("aten.ldexp.Tensor")
def ldexp(g: TorchContext, n: AtenNode) -> Value:
    """x times 2 to the power of other (ATen/native/BinaryOps.cpp)."""
    e = g.float(n.tensor("other"))
    x, power = fractions(g, n, [n.tensor("self"), g.b.pow(g.b.like(e, 2), e)])
    return g.b.mul(x, power)
