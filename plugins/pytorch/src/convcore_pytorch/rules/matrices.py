"""What the factorings of matrices share: sizes, rows and columns, triangular systems.

LU, Cholesky and QR are loops over the columns (``lu.py``, ``cholesky.py``, ``qr.py``). Pivots, signs and reflectors are LAPACK's
(getrf, potrf, geqrf), which ATen calls on a CPU. Eigenvalues and singular values, which are found by iterations that end when
they have converged, have no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DimLike, DType, NotExpressible, Value, broadcast_shapes

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed
from .loops import repeat


def square_of(n: AtenNode, name: str) -> tuple[int, int]:
    """Rows and columns of a square matrix argument of floating numbers."""
    rows, columns = size_of(n, name)
    if rows != columns:
        raise NotExpressible(f"of {rows} x {columns} elements", "invalid_shape")
    return rows, columns


def size_of(n: AtenNode, name: str) -> tuple[int, int]:
    """Rows and columns of a matrix argument of floating numbers."""
    x, s = n.tensor(name), n.shape(name)
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")
    if len(s) < 2:
        raise NotExpressible("of a tensor with fewer than 2 axes", "invalid_shape")
    rows, columns = fixed(s, (len(s) - 2, len(s) - 1), "goes over")
    return rows, columns


def swapped(g: TorchContext, x: Value) -> Value:
    """The transposed matrices."""
    rank = len(known(x))
    return g.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


def column(g: TorchContext, x: Value, at: Value) -> Value:
    return g.b.gather(x, at, axis=len(known(x)) - 1)


def row(g: TorchContext, x: Value, at: Value) -> Value:
    return g.b.gather(x, at, axis=len(known(x)) - 2)


def last(g: TorchContext, x: Value) -> Value:
    """With an axis of size 1 behind."""
    return g.b.unsqueeze(x, axes=(len(known(x)),))


def before_last(g: TorchContext, x: Value) -> Value:
    """With an axis of size 1 before the last."""
    return g.b.unsqueeze(x, axes=(len(known(x)) - 1,))


def numbers(g: TorchContext, count: int) -> Value:
    return g.b.const(np.arange(count), DType.INT64)


def zeros(g: TorchContext, shape: Sequence[Any], dtype: DType | None) -> Value:
    return g.b.fill(shape=tuple(shape), value=0, dtype=dtype or DType.FLOAT32)


def unit(g: TorchContext, lead: Sequence[Any], rows: int, columns: int, dtype: DType | None) -> Value:
    made = g.b.eye(rows=rows, columns=columns, dtype=dtype or DType.FLOAT32)
    return g.b.expand(made, shape=(*lead, rows, columns)) if lead else made


def stretched(g: TorchContext, x: Value, lead: Sequence[DimLike]) -> Value:
    """Matrices broadcast to leading axes."""
    shape = (*lead, *known(x)[-2:])
    return x if known(x) == shape else g.b.expand(x, shape=shape)


def cut(g: TorchContext, x: Value, rows: int, columns: int) -> Value:
    shape = known(x)
    if shape[-2:] == (rows, columns):
        return x
    return g.b.slice(x, starts=[0] * len(shape), stops=[*[None] * (len(shape) - 2), rows, columns], steps=[1] * len(shape))


def substituted(g: TorchContext, a: Value, b: Value, upper: bool, ones: bool) -> Value:
    """The X of A X = B for triangular A, row by row."""
    (count,) = fixed(known(a)[-1:], (0,), "goes over")
    a = g.b.trilu(a, upper=upper)

    def step(c: TorchContext, k: Value, states: list[Value], given: list[Value]) -> Sequence[Value]:
        (x,), (m, right) = states, given
        at = c.b.sub(c.b.like(k, count - 1), k) if upper else k
        line = row(c, m, at)
        found = c.b.sub(before_last(c, row(c, right, at)), c.b.matmul(before_last(c, line), x))
        if not ones:
            found = c.b.div(found, last(c, last(c, c.b.gather(line, at, axis=len(known(line)) - 1))))
        return [c.b.where(last(c, c.b.equal(numbers(c, count), at)), found, x)]

    return repeat(g, count, [zeros(g, known(b), b.dtype)], [a, b], step)[0]


def diagonal(g: TorchContext, x: Value, count: int) -> Value:
    lead = known(x)[:-2]
    flat = g.reshape(x, (*lead, count * count))
    return g.b.gather(flat, g.b.const(np.arange(count) * (count + 1), DType.INT64), axis=len(lead))


def whole(g: TorchContext, v: Value) -> Value:
    return g.cast(v, DType.INT32)


@RULES.load("aten.linalg_solve_triangular")
def solve_triangular(g: TorchContext, n: AtenNode) -> Value:
    square_of(n, "self")
    a, b, left, upper = n.tensor("self"), n.tensor("B"), bool(n.number("left")), bool(n.number("upper"))
    lead: Any = broadcast_shapes(known(a)[:-2], known(b)[:-2])
    a, b = stretched(g, a, lead), stretched(g, b, lead)
    if left:
        return substituted(g, a, b, upper, bool(n.number("unitriangular")))
    return swapped(g, substituted(g, swapped(g, a), swapped(g, b), not upper, bool(n.number("unitriangular"))))


@RULES.load("aten.triangular_solve")
def triangular_solve(g: TorchContext, n: AtenNode) -> Any:
    square_of(n, "A")
    a, b, upper = n.tensor("A"), n.tensor("self"), bool(n.number("upper"))
    lead: Any = broadcast_shapes(known(a)[:-2], known(b)[:-2])
    a, b = stretched(g, a, lead), stretched(g, b, lead)
    turned = bool(n.number("transpose"))
    m = swapped(g, a) if turned else a
    return substituted(g, m, b, upper != turned, bool(n.number("unitriangular"))), a
