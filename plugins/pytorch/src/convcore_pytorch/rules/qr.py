"""ATen's operators by reflections: QR and what its parts are multiplied with. And the exponential of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed
from .loops import repeat, while_any
from .matrices import (
    before_last,
    column,
    cut,
    last,
    numbers,
    size_of,
    square_of,
    swapped,
    unit,
    zeros,
)  # fmt: skip


def reflected(g: TorchContext, a: Value, rows: int, columns: int) -> tuple[Value, Value]:
    """R on and above the diagonal, reflectors below, and their factors: LAPACK's geqrf (larfg)."""
    lead, many = known(a)[:-2], min(rows, columns)

    def step(c: TorchContext, k: Value, states: list[Value], _: list[Value]) -> Sequence[Value]:
        x, tau = states
        at, across = numbers(c, rows), numbers(c, columns)
        here = column(c, x, k)
        alpha = c.b.gather(here, k, axis=len(lead))
        below = c.b.greater(at, k)
        tail = c.b.where(below, here, c.b.like(here, 0))
        rest = c.b.sum(c.b.square(tail), axes=(len(lead),))
        none = c.b.equal(rest, c.b.like(rest, 0))
        norm = c.b.sqrt(c.b.add(c.b.square(alpha), rest))
        beta = c.b.where(c.b.less(alpha, c.b.like(alpha, 0)), norm, c.b.neg(norm))
        t = c.b.where(none, c.b.like(beta, 0), c.b.div(c.b.sub(beta, alpha), c.b.where(none, c.b.like(beta, 1), beta)))
        v = c.b.div(tail, last(c, c.b.where(none, c.b.like(alpha, 1), c.b.sub(alpha, beta))))
        v = c.b.where(c.b.equal(at, k), c.b.like(v, 1), v)
        right = c.b.where(c.b.greater_equal(across, k), x, c.b.like(x, 0))
        w = c.b.matmul(before_last(c, v), right)
        x = c.b.sub(x, c.b.mul(last(c, c.b.mul(v, last(c, t))), w))
        own = c.b.and_(last(c, below), c.b.equal(across, k))
        x = c.b.where(own, last(c, v), x)
        return x, c.b.where(c.b.equal(numbers(c, many), k), last(c, t), tau)

    x, tau = repeat(g, many, [a, zeros(g, (*lead, many), a.dtype)], (), step)
    return x, tau


def applied(g: TorchContext, x: Value, tau: Value, b: Value, rows: int, count: int, turned: bool) -> Value:
    """H1 H2 ... B, or with ``turned`` ... H2 H1 B, of the reflectors in the columns of x."""
    if not count:
        return b

    def step(c: TorchContext, k: Value, states: list[Value], given: list[Value]) -> Sequence[Value]:
        (y,), (m, factors) = states, given
        i = k if turned else c.b.sub(c.b.like(k, count - 1), k)
        at, v = numbers(c, rows), column(c, m, i)
        v = c.b.where(c.b.equal(at, i), c.b.like(v, 1), c.b.where(c.b.less(at, i), c.b.like(v, 0), v))
        t = c.b.gather(factors, c.b.unsqueeze(i, axes=(0,)), axis=len(known(factors)) - 1)
        return [c.b.sub(y, c.b.mul(last(c, c.b.mul(v, t)), c.b.matmul(before_last(c, v), y)))]

    return repeat(g, count, [b], [x, tau], step)[0]


@RULES.load("aten.geqrf")
def geqrf(g: TorchContext, n: AtenNode) -> Any:
    rows, columns = size_of(n, "self")
    return reflected(g, n.tensor("self"), rows, columns)


@RULES.load("aten.linalg_qr")
def qr(g: TorchContext, n: AtenNode) -> Any:
    rows, columns = size_of(n, "A")
    mode, a = n.arg("mode"), n.tensor("A")
    if mode not in ("reduced", "complete", "r"):
        raise NotExpressible(f"mode={mode!r} is not known")
    x, tau = reflected(g, a, rows, columns)
    wide = rows if mode == "complete" else min(rows, columns)
    r = g.b.trilu(cut(g, x, wide, columns), upper=True)
    if mode == "r":
        return zeros(g, (0,), a.dtype), r
    eye = unit(g, known(a)[:-2], rows, wide, a.dtype)
    return applied(g, x, tau, eye, rows, min(rows, columns), False), r


@RULES.load("aten.linalg_householder_product")
def householder_product(g: TorchContext, n: AtenNode) -> Value:
    rows, columns = size_of(n, "input")
    x, tau = n.tensor("input"), n.tensor("tau")
    (count,) = fixed(known(tau)[-1:], (0,), "goes over")
    return applied(g, x, tau, unit(g, known(x)[:-2], rows, columns, x.dtype), rows, count, False)


@RULES.load("aten.ormqr")
def ormqr(g: TorchContext, n: AtenNode) -> Value:
    rows, _ = size_of(n, "self")
    x, tau, b = n.tensor("self"), n.tensor("input2"), n.tensor("input3")
    (count,) = fixed(known(tau)[-1:], (0,), "goes over")
    left, turned = bool(n.number("left")), bool(n.number("transpose"))
    if left:
        return applied(g, x, tau, b, rows, count, turned)
    return swapped(g, applied(g, x, tau, swapped(g, b), rows, count, not turned))


# ---------------------------------------------------------------- exponentials
_TERMS = 18
_MOST = 1.0
"""Taylor's series of so many terms, of matrices whose norm is at most this: the next term is below 1e-17."""


@RULES.load("aten.linalg_matrix_exp", "aten.matrix_exp")
def matrix_exp(g: TorchContext, n: AtenNode) -> Value:
    """Scaled by a power of two, by the series, and squared as often (ATen/native/LinearAlgebra.cpp takes the same way)."""
    count, _ = square_of(n, "self")
    x, lead = n.tensor("self"), n.shape("self")[:-2]
    if not count:
        return g.b.identity(x)
    rank = len(lead)
    norm = g.b.max(g.b.sum(g.b.abs(x), axes=(rank,)), axes=(rank,))
    times = g.b.maximum(g.b.ceil(g.b.log2(g.b.maximum(norm, g.b.like(norm, _MOST)))), g.b.like(norm, 0))
    small = g.b.div(x, last(g, last(g, g.b.pow(g.b.like(times, 2), times))))
    eye = unit(g, lead, count, count, x.dtype)
    y = eye
    for k in range(_TERMS, 0, -1):  # Horner: 1 + x/1 (1 + x/2 (1 + x/3 ...))
        y = g.b.add(eye, g.b.div(g.b.matmul(small, y), g.b.like(x, float(k))))
    steps = g.cast(times, DType.INT64)

    def left(c: TorchContext, vs: list[Value]) -> Value:
        return c.b.greater(vs[1], c.b.like(vs[1], 0))

    def step(c: TorchContext, _i: Value, vs: list[Value], _: list[Value]) -> Sequence[Value]:
        m, rest = vs
        more = c.b.greater(rest, c.b.like(rest, 0))
        m = c.b.where(last(c, last(c, more)), c.b.matmul(m, m), m)
        return m, c.b.where(more, c.b.sub(rest, c.b.like(rest, 1)), rest)

    return while_any(g, left, [y, steps], step)[0]
