"""ATen's operators that are a few others, which files hold whole (torch/_decomp/decompositions.py, torch 2.13)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known, promoted
from .base import RULES
from .diagonals import fixed, picked, put
from .reduce import apply, kept, over


@RULES.load("aten.addr")
def addr(g: TorchContext, n: AtenNode) -> Value:
    """beta x + alpha a b', the product of columns and rows."""
    alpha, beta = n.number("alpha"), n.number("beta")
    x, a, b = g.operands(n.dtype, n.tensor("self"), n.tensor("vec1"), n.tensor("vec2"))
    if a.dtype is DType.BOOL:
        raise NotExpressible("of bool", "unsupported_dtype")
    y = g.b.mul(g.b.unsqueeze(a, axes=(1,)), g.b.unsqueeze(b, axes=(0,)))
    y = y if alpha == 1 else g.b.mul(y, g.scalar(alpha, y.dtype))
    if beta == 0:
        return y
    return g.b.add(x if beta == 1 else g.b.mul(x, g.scalar(beta, x.dtype)), y)


@RULES.load("aten.trace")
def trace(g: TorchContext, n: AtenNode) -> Value:
    rows, columns = fixed(n.shape("self"), (0, 1), "takes a diagonal of")
    x = picked(g, n.tensor("self"), rows, columns, 0)
    whole = x.dtype is not None and not x.dtype.is_float
    return g.b.sum(g.cast(x, DType.INT64) if whole else x, axes=(0,))


@RULES.load("aten.diag", "aten.diagflat")
def diag(g: TorchContext, n: AtenNode) -> Value:
    """The diagonal of a matrix, or a matrix with a vector as its diagonal; ``diagflat`` takes all elements as one."""
    name = "diagonal" if n.type == "aten.diag" else "offset"
    x, offset = n.tensor("self"), int(n.number(name))
    if n.type == "aten.diagflat":
        x = g.reshape(x, (-1,))
    if len(known(x)) == 2:
        rows, columns = fixed(known(x), (0, 1), "takes a diagonal of")
        return picked(g, x, rows, columns, offset)
    (length,) = fixed(known(x), (0,), "spreads over a diagonal")
    size = length + abs(offset)
    zero = g.b.fill(shape=(size, size), value=False if x.dtype is DType.BOOL else 0, dtype=x.dtype)
    return put(g, zero, x, offset, size, size)


@RULES.load("aten.isclose")
def isclose(g: TorchContext, n: AtenNode) -> Value:
    """Equal, or both finite and no further apart than atol + rtol |other|; whole numbers and truth values as float32, but those
    without tolerances have to be equal (ATen/native/TensorCompare.cpp)."""
    a, b = g.operands(promoted([n.tensor("self"), n.tensor("other")]), n.tensor("self"), n.tensor("other"))
    same = g.b.equal(a, b)
    if n.number("equal_nan") and a.dtype is not None and a.dtype.is_float:
        same = g.b.or_(same, g.b.and_(g.b.isnan(a), g.b.isnan(b)))
    rtol, atol = float(n.number("rtol")), float(n.number("atol"))
    if rtol == atol == 0:
        return same
    a, b = (v if v.dtype is not None and v.dtype.is_float else g.cast(v, DType.FLOAT32) for v in (a, b))
    limit = g.b.add(g.b.like(b, atol), g.b.abs(g.b.mul(g.b.like(b, rtol), b)))
    apart = g.b.abs(g.b.sub(a, b))
    return g.b.or_(same, g.b.and_(g.b.isfinite(apart), g.b.less_equal(apart, limit)))


@RULES.load("aten.heaviside")
def heaviside(g: TorchContext, n: AtenNode) -> Value:
    """1 above 0, the other operand at 0, else 0, also for nan (ATen/native/cpu/BinaryOpsKernel.cpp)."""
    x, at = n.tensor("self"), n.tensor("values")
    if x.dtype is DType.BOOL:
        return g.b.or_(x, at)
    zero = g.b.like(x, 0)
    return g.b.where(g.b.equal(x, zero), at, g.b.where(g.b.greater(x, zero), g.b.like(x, 1), zero))


@RULES.load("aten.isposinf", "aten.isneginf")
def infinite(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    if x.dtype is None or not x.dtype.is_float:
        return g.b.fill(shape=known(x), value=False, dtype=DType.BOOL)
    return g.b.equal(x, g.b.like(x, math.inf if n.type == "aten.isposinf" else -math.inf))


@RULES.load("aten.aminmax")
def aminmax(g: TorchContext, n: AtenNode) -> Any:
    x = n.tensor("self")
    if x.dtype is DType.BOOL:
        raise NotExpressible("of bool", "unsupported_dtype")
    axes = over(n) if n.arg("dim") is None else (n.axis("dim", n.rank("self")),) if n.rank("self") else ()
    keep = kept(n)
    return apply(g, "min", x, axes, keep), apply(g, "max", x, axes, keep)


@RULES.load("aten.linalg_vecdot")
def vecdot(g: TorchContext, n: AtenNode) -> Value:
    a, b = g.operands(n.dtype, g.conjugate(n.tensor("x")), n.tensor("y"))
    made = g.b.mul(a, b)
    return g.b.sum(made, axes=(n.axis("dim", len(known(made))),))


@RULES.load("aten.linalg_multi_dot")
def multi_dot(g: TorchContext, n: AtenNode) -> Value:
    """A product of matrices, from the left; the first and the last may be vectors."""
    made, *rest = n.tensors("tensors")
    for v in rest:
        made = g.b.matmul(made, v)
    return made


@RULES.load("aten.linalg_cross", "aten.cross")
def cross(g: TorchContext, n: AtenNode) -> Value:
    """Along an axis of size 3; without one (``aten.cross``) the first of that size."""
    a, b = g.operands(n.dtype, n.tensor("self"), n.tensor("other"))
    both = known(g.b.mul(a, b))
    a, b = (v if known(v) == both else g.b.expand(v, shape=both) for v in (a, b))
    if n.arg("dim") is None:
        axis = next((i for i, d in enumerate(both) if d == 3), -1)
    else:
        axis = n.axis("dim", len(both))
    if axis < 0 or both[axis] != 3:
        raise NotExpressible("of vectors that have not 3 elements", "invalid_shape")

    def turned(v: Value, by: int) -> Value:
        return g.b.gather(v, g.b.const((np.arange(3) + by) % 3, DType.INT64), axis=axis)

    return g.b.sub(g.b.mul(turned(a, 1), turned(b, 2)), g.b.mul(turned(a, 2), turned(b, 1)))
