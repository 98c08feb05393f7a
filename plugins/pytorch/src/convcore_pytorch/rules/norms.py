"""ATen's norms of vectors and matrices, and what is made of them: distances, similarities (ATen/native/LinearAlgebra.cpp,
Distance.cpp, torch 2.13). Norms by singular values (2, -2, nuc) have no rule."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES, alike, fractions, truth
from .reduce import apply, kept, over


def p_norm(g: TorchContext, x: Value, p: float, axes: tuple[int, ...], keep: bool) -> Value:
    """The p-norm over axes; 0 counts what is not 0."""
    if p == 2:
        return apply(g, "l2_norm", x, axes, keep)
    if p == 1:
        return apply(g, "l1_norm", x, axes, keep)
    if p == 0:
        return apply(g, "sum", g.cast(truth(g, x), x.dtype), axes, keep)
    a = g.b.abs(x)
    if math.isinf(p):
        return apply(g, "max" if p > 0 else "min", a, axes, keep)
    total = apply(g, "sum", g.b.pow(a, g.b.like(a, p)), axes, keep)
    if p < 1:
        return g.b.pow(total, g.b.like(a, 1.0 / p))
    none = g.b.equal(total, g.b.like(total, 0))  # where torch's gradient is 0, and that of the root nan
    return g.b.where(none, g.b.like(total, 0), g.b.pow(g.b.where(none, g.b.like(total, 1), total), g.b.like(a, 1.0 / p)))


def _real(g: TorchContext, n: AtenNode, name: str = "self") -> Value:
    """The operand, in the type that is asked for."""
    x = n.tensor(name)
    x = g.cast(x, n.element("dtype")) if "dtype" in n.arguments else x
    if x.dtype is None or not x.dtype.is_float:
        raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")
    return x


@RULES.load("aten.linalg_vector_norm", "aten.norm.ScalarOpt_dim", "aten.norm.Scalar", "aten.norm.ScalarOpt_dim_dtype")
def vector_norm(g: TorchContext, n: AtenNode) -> Value:
    key = "ord" if "ord" in n.arguments else "p"
    p = 2 if n.arg(key) is None else n.number(key)
    x = n.tensor("self")
    if "dtype" in n.arguments:
        x = g.cast(x, n.element("dtype"))
    return p_norm(g, x, p, over(n), kept(n))


def _matrix(g: TorchContext, x: Value, order: Any, axes: tuple[int, ...], keep: bool) -> Value:
    """The norm of matrices whose rows and columns are two axes."""
    rows, columns = axes
    if order == "fro":
        return p_norm(g, x, 2, axes, keep)
    if order in ("nuc", 2, -2) or isinstance(order, str):
        raise NotExpressible(f"ord={order!r} needs singular values")
    if abs(order) not in (1, math.inf):
        raise NotExpressible(f"ord={order} is none of a matrix", "invalid_attribute")
    inner, outer = (columns, rows) if math.isinf(order) else (rows, columns)
    sums = p_norm(g, x, 1, (inner,), True)
    made = apply(g, "max" if order > 0 else "min", sums, (outer,), True)
    return made if keep else g.b.squeeze(made, axes=tuple(sorted(axes)))


@RULES.load("aten.linalg_matrix_norm", "aten.linalg_matrix_norm.str_ord", "aten.frobenius_norm.dim")
def matrix_norm(g: TorchContext, n: AtenNode) -> Value:
    x, rank, keep = _real(g, n), n.rank("self"), kept(n)
    if n.type == "aten.frobenius_norm.dim":
        return p_norm(g, x, 2, over(n), keep)
    axes = n.axes("dim", rank)
    if len(set(axes)) != 2:
        raise NotExpressible("a matrix has two axes", "invalid_shape")
    return _matrix(g, x, n.arg("ord") if n.type.endswith("str_ord") else n.number("ord"), axes, keep)


@RULES.load("aten.linalg_norm", "aten.linalg_norm.ord_str")
def norm(g: TorchContext, n: AtenNode) -> Value:
    """Of vectors along one axis, of matrices along two; without an order that of all elements."""
    x, rank, keep, order = _real(g, n), n.rank("self"), kept(n), n.arg("ord")
    axes = over(n)
    if order is None:
        return p_norm(g, x, 2, axes, keep)
    if not isinstance(order, str):
        order = n.number("ord")
    if len(axes) == 1 and not isinstance(order, str):
        return p_norm(g, x, order, axes, keep)
    if len(axes) != 2:
        raise NotExpressible(f"ord={order!r} along {len(axes)} of {rank} axes", "invalid_shape")
    return _matrix(g, x, order, axes, keep)


@RULES.load("aten.cosine_similarity")
def cosine_similarity(g: TorchContext, n: AtenNode) -> Value:
    """Each operand over its length, which is at least eps."""
    a, b = fractions(g, n, [n.tensor("x1"), n.tensor("x2")])
    rank = max(len(known(a)), len(known(b)))
    a, b = (g.reshape(v, (*[1] * (rank - len(known(v))), *known(v))) for v in (a, b))
    axis, eps = n.axis("dim", rank), float(n.number("eps"))
    if not rank:
        raise NotExpressible("of tensors without axes")
    shape = known(g.b.add(a, b))
    parts = []
    for v in (a, b):
        if known(v)[axis] != shape[axis]:  # the length is that of the operand broadcast
            v = g.b.expand(v, shape=(*known(v)[:axis], shape[axis], *known(v)[axis + 1 :]))
        length = p_norm(g, v, 2, (axis,), True)
        parts.append(g.b.div(v, g.b.maximum(length, g.b.like(length, eps))))
    return g.b.sum(g.b.mul(*parts), axes=(axis,))


@RULES.load("aten.pairwise_distance")
def pairwise_distance(g: TorchContext, n: AtenNode) -> Value:
    """The norm of x1 - x2 + eps along the last axis."""
    a, b = alike(g, n, [n.tensor("x1"), n.tensor("x2")])
    x = g.b.sub(a, b)
    if not known(x) or x.dtype is None or not x.dtype.is_float:
        raise NotExpressible(f"of {x.dtype}, {len(known(x))} axes")
    x = g.b.add(x, g.b.like(x, float(n.number("eps"))))
    return p_norm(g, x, float(n.number("p")), (len(known(x)) - 1,), kept(n))


@RULES.load("aten.renorm")
def renorm(g: TorchContext, n: AtenNode) -> Value:
    """Slices whose norm is above maxnorm are shortened to it (ATen/native/Normalization.cpp: by maxnorm / (norm + 1e-7))."""
    x, rank, most = n.tensor("self"), n.rank("self"), float(n.number("maxnorm"))
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")
    axis = n.axis("dim", rank)
    length = p_norm(g, x, float(n.number("p")), tuple(a for a in range(rank) if a != axis), True)
    factor = g.b.div(g.b.like(length, most), g.b.add(length, g.b.like(length, 1e-7)))
    return g.b.mul(x, g.b.where(g.b.greater(length, g.b.like(length, most)), factor, g.b.like(length, 1)))
