"""ATen's operators by LU with pivots: determinants, inverses, systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, broadcast_shapes

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed
from .loops import repeat
from .matrices import (
    before_last,
    column,
    cut,
    diagonal,
    last,
    numbers,
    row,
    size_of,
    square_of,
    stretched,
    substituted,
    swapped,
    unit,
    whole,
    zeros,
)  # fmt: skip


def factored(g: TorchContext, a: Value, rows: int, columns: int, pivot: bool) -> tuple[Value, Value, Value, Value]:
    """L below and U on and above the diagonal, LAPACK's pivots (from 1), the order of rows, the first column without a pivot."""
    lead, many = known(a)[:-2], min(rows, columns)

    def step(c: TorchContext, k: Value, states: list[Value], _: list[Value]) -> Sequence[Value]:
        x, pivots, order, info = states
        at, across = numbers(c, rows), numbers(c, columns)
        here = column(c, x, k)
        if pivot:
            size = c.b.where(c.b.less(at, k), c.b.like(here, -1), c.b.abs(here))
            p = c.b.argmax(size, axis=len(lead), keepdims=True)
        else:
            p = c.b.expand(k, shape=(*lead, 1))
        index = c.b.where(c.b.equal(at, k), p, c.b.where(c.b.equal(at, p), k, at))
        wide = c.b.expand(last(c, index), shape=(*lead, rows, columns))
        x = c.b.take_along_axis(x, wide, axis=len(lead))
        order = c.b.take_along_axis(order, index, axis=len(lead))
        pivots = c.b.where(c.b.equal(numbers(c, many), k), c.b.add(p, c.b.like(p, 1)), pivots)
        top, here = row(c, x, k), column(c, x, k)
        d = c.b.gather(top, k, axis=len(lead))
        lost = c.b.equal(d, c.b.like(d, 0))
        below, beyond = c.b.greater(at, k), c.b.greater(across, k)
        f = c.b.where(below, c.b.div(here, last(c, c.b.where(lost, c.b.like(d, 1), d))), c.b.like(here, 0))
        less = c.b.mul(last(c, f), before_last(c, c.b.where(beyond, top, c.b.like(top, 0))))
        own = c.b.and_(last(c, below), c.b.equal(across, k))
        x = c.b.where(own, last(c, f), c.b.sub(x, less))
        step_number = c.b.add(k, c.b.like(k, 1))
        fresh = c.b.and_(c.b.equal(info, c.b.like(info, 0)), lost)
        return x, pivots, order, c.b.where(fresh, step_number, info)

    starts = [
        a,
        g.b.expand(g.b.const(np.arange(1, many + 1), DType.INT64), shape=(*lead, many)),
        g.b.expand(numbers(g, rows), shape=(*lead, rows)),
        zeros(g, lead, DType.INT64),
    ]
    x, pivots, order, info = repeat(g, many, starts, (), step)
    return x, pivots, order, info


def order_of(g: TorchContext, pivots: Value, rows: int) -> Value:
    """The order of rows that LAPACK's pivots, exchanges one after another, stand for."""
    lead, (many,) = known(pivots)[:-1], fixed(known(pivots)[-1:], (0,), "goes over")
    held = g.cast(pivots, DType.INT64)

    def step(c: TorchContext, k: Value, states: list[Value], given: list[Value]) -> Sequence[Value]:
        at = numbers(c, rows)
        p = c.b.sub(c.b.gather(given[0], c.b.unsqueeze(k, axes=(0,)), axis=len(lead)), c.b.like(given[0], 1))
        index = c.b.where(c.b.equal(at, k), p, c.b.where(c.b.equal(at, p), k, at))
        return [c.b.take_along_axis(states[0], index, axis=len(lead))]

    return repeat(g, many, [g.b.expand(numbers(g, rows), shape=(*lead, rows))], [held], step)[0]


def permutation_matrix(g: TorchContext, order: Value, rows: int, dtype: DType | None) -> Value:
    """P with A = P L U: column i has its 1 where ``order`` is from."""
    hit = g.b.equal(last(g, numbers(g, rows)), before_last(g, order))
    return g.cast(hit, dtype)


def rearranged(g: TorchContext, b: Value, order: Value) -> Value:
    """The rows of matrices in an order."""
    return g.b.take_along_axis(b, g.b.expand(last(g, order), shape=known(b)), axis=len(known(b)) - 2)


def triangles(g: TorchContext, x: Value, rows: int, columns: int) -> tuple[Value, Value]:
    """L with ones on its diagonal and U, apart."""
    many, lead = min(rows, columns), known(x)[:-2]
    lower = g.b.trilu(cut(g, x, rows, many), upper=False, k=-1)
    return g.b.add(lower, unit(g, lead, rows, many, x.dtype)), g.b.trilu(cut(g, x, many, columns), upper=True)


def sign_of(g: TorchContext, pivots: Value, dtype: DType | None) -> Value:
    """1 or -1, by how many rows changed their places."""
    (many,) = fixed(known(pivots)[-1:], (0,), "goes over")
    moved = g.b.not_equal(pivots, g.b.const(np.arange(1, many + 1), DType.INT64))
    odd = g.b.floor_mod(g.b.sum(g.cast(moved, DType.INT64), axes=(len(known(pivots)) - 1,)), g.b.const(2, DType.INT64))
    return g.cast(g.b.sub(g.b.like(odd, 1), g.b.mul(odd, g.b.like(odd, 2))), dtype)


@RULES.load("aten.linalg_lu_factor_ex", "aten.linalg_lu_factor", "aten.linalg_lu")
def lu_factor(g: TorchContext, n: AtenNode) -> Any:
    rows, columns = size_of(n, "A")
    n.skip("check_errors")
    x, pivots, order, info = factored(g, n.tensor("A"), rows, columns, bool(n.number("pivot")))
    if n.type == "aten.linalg_lu":
        lower, upper = triangles(g, x, rows, columns)
        if not n.number("pivot"):
            raise NotExpressible("without pivots")
        return permutation_matrix(g, order, rows, x.dtype), lower, upper
    return (x, whole(g, pivots), whole(g, info))[: 2 if n.type == "aten.linalg_lu_factor" else 3]


@RULES.load("aten._linalg_det", "aten._linalg_slogdet", "aten.linalg_det", "aten.linalg_slogdet")
def determinant(g: TorchContext, n: AtenNode) -> Any:
    rows, columns = square_of(n, "A")
    x, pivots, _, _ = factored(g, n.tensor("A"), rows, columns, True)
    d, axis = diagonal(g, x, rows), (len(known(x)) - 2,)
    sign = sign_of(g, pivots, x.dtype)
    if n.type.endswith("linalg_det"):
        made: tuple[Value, ...] = (g.b.mul(sign, g.b.prod(d, axes=axis)),)
    else:
        made = (g.b.mul(sign, g.b.prod(g.b.sign(d), axes=axis)), g.b.sum(g.b.log(g.b.abs(d)), axes=axis))
    return (*made, x, whole(g, pivots)) if n.type.startswith("aten._") else made


def solved(g: TorchContext, x: Value, order: Value, b: Value) -> Value:
    return substituted(g, x, substituted(g, x, rearranged(g, b, order), False, True), True, False)


@RULES.load("aten.linalg_inv_ex", "aten.linalg_inv", "aten.inverse")
def inverse(g: TorchContext, n: AtenNode) -> Any:
    name = "A" if "A" in n.arguments else "self"
    rows, columns = square_of(n, name)
    n.skip("check_errors")
    a = n.tensor(name)
    x, _, order, info = factored(g, a, rows, columns, True)
    made = solved(g, x, order, unit(g, known(a)[:-2], rows, rows, a.dtype))
    return (made, whole(g, info)) if n.type == "aten.linalg_inv_ex" else made


@RULES.load("aten._linalg_solve_ex", "aten.linalg_solve_ex", "aten.linalg_solve")
def solve(g: TorchContext, n: AtenNode) -> Any:
    """A B without a matrix's second axis is a vector where its shape is that of A less an axis (linalg_solve_is_vector_rhs)."""
    rows, columns = square_of(n, "A")
    n.skip("check_errors")
    a, b, left = n.tensor("A"), n.tensor("B"), bool(n.number("left"))
    s, vector = known(a), len(known(b)) == 1 or known(b) == known(a)[:-1]
    b = last(g, b) if vector else b
    if not left:
        a, b = swapped(g, a), b if vector else swapped(g, b)
    lead: Any = broadcast_shapes(s[:-2], known(b)[:-2])
    x, pivots, order, info = factored(g, a, rows, columns, True)
    if lead != s[:-2]:
        wide = g.b.expand(order, shape=(*lead, rows))
        made = solved(g, stretched(g, x, lead), wide, stretched(g, b, lead))
    else:
        made = solved(g, x, order, stretched(g, b, lead))
    made = g.b.squeeze(made, axes=(len(known(made)) - 1,)) if vector else made if left else swapped(g, made)
    if n.type.startswith("aten._"):
        return made, x, whole(g, pivots), whole(g, info)
    return (made, whole(g, info)) if n.type.endswith("_ex") else made


@RULES.load("aten.linalg_lu_solve")
def lu_solve(g: TorchContext, n: AtenNode) -> Value:
    rows, _ = square_of(n, "LU")
    x, b, left, adjoint = n.tensor("LU"), n.tensor("B"), bool(n.number("left")), bool(n.number("adjoint"))
    lead: Any = broadcast_shapes(known(x)[:-2], known(b)[:-2])
    order = g.b.expand(order_of(g, n.tensor("pivots"), rows), shape=(*lead, rows))
    x, b = stretched(g, x, lead), stretched(g, b, lead)
    b = b if left else swapped(g, b)
    if adjoint == left:  # A^T X = B: U^T first, then L^T, then the rows go back
        t = swapped(g, x)
        y = substituted(g, t, b, False, False)
        y = substituted(g, t, y, True, True)
        made = rearranged(g, y, g.b.argsort(order, axis=len(lead)))
    else:
        made = solved(g, x, order, b)
    return made if left else swapped(g, made)


@RULES.load("aten.lu_unpack")
def lu_unpack(g: TorchContext, n: AtenNode) -> Any:
    rows, columns = size_of(n, "LU_data")
    x, order = n.tensor("LU_data"), order_of(g, n.tensor("LU_pivots"), rows)
    none = zeros(g, (0,), x.dtype)
    p = permutation_matrix(g, order, rows, x.dtype) if n.number("unpack_pivots") else none
    lower, upper = triangles(g, x, rows, columns) if n.number("unpack_data") else (none, none)
    return p, lower, upper
