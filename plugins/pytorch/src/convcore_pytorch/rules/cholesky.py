"""ATen's operators by Cholesky's factoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, Value, broadcast_shapes

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .loops import repeat
from .matrices import (
    column,
    last,
    numbers,
    row,
    square_of,
    stretched,
    substituted,
    swapped,
    unit,
    whole,
    zeros,
)  # fmt: skip


def rooted(g: TorchContext, a: Value, count: int, upper: bool) -> tuple[Value, Value]:
    """The lower L of A = L L^T, column by column, and the first column whose pivot is not positive."""
    a = swapped(g, a) if upper else a
    lead = known(a)[:-2]

    def step(c: TorchContext, k: Value, states: list[Value], given: list[Value]) -> Sequence[Value]:
        low, info = states
        left = c.b.matmul(low, last(c, row(c, low, k)))
        s = c.b.sub(column(c, given[0], k), c.b.squeeze(left, axes=(len(lead) + 1,)))
        d = c.b.gather(s, k, axis=len(lead))
        bad = c.b.not_(c.b.greater(d, c.b.like(d, 0)))
        at = numbers(c, count)
        made = c.b.where(c.b.less(at, k), c.b.like(s, 0), c.b.div(s, last(c, c.b.sqrt(d))))
        low = c.b.where(c.b.equal(at, k), last(c, made), low)
        fresh = c.b.and_(c.b.equal(info, c.b.like(info, 0)), bad)
        return low, c.b.where(fresh, c.b.add(k, c.b.like(k, 1)), info)

    low, info = repeat(g, count, [zeros(g, known(a), a.dtype), zeros(g, lead, DType.INT64)], [a], step)
    return low, info


@RULES.load("aten.cholesky", "aten.linalg_cholesky", "aten.linalg_cholesky_ex")
def cholesky(g: TorchContext, n: AtenNode) -> Any:
    """torch raises an error where a matrix is not positive definite (``_ex``: says so in info); here the result is nan."""
    count, _ = square_of(n, "self")
    upper = bool(n.number("upper"))
    n.skip("check_errors")
    low, info = rooted(g, n.tensor("self"), count, upper)
    made = swapped(g, low) if upper else low
    return (made, whole(g, info)) if n.type.endswith("_ex") else made


@RULES.load("aten.cholesky_solve", "aten.cholesky_inverse")
def cholesky_solve(g: TorchContext, n: AtenNode) -> Value:
    name = "input2" if n.type == "aten.cholesky_solve" else "self"
    count, _ = square_of(n, name)
    m = n.tensor(name)
    b = n.tensor("self") if name == "input2" else unit(g, known(m)[:-2], count, count, m.dtype)
    lead: Any = broadcast_shapes(known(m)[:-2], known(b)[:-2])
    m, b = stretched(g, m, lead), stretched(g, b, lead)
    low = swapped(g, m) if n.number("upper") else m
    return substituted(g, swapped(g, low), substituted(g, low, b, False, False), True, False)
