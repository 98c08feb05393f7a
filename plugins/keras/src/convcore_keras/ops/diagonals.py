"""Triangles and diagonals (``keras.src.ops.numpy``; Keras 3.15.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, DType, ForeignNode, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .spec import operation, operations

__all__: list[str] = []

for _class, _upper in (("Triu", True), ("Tril", False)):
    RULES.op(operation(_class, "x"), "trilu", "x=x", upper=_upper, k=A("k", 0), types={"x": ("float", "int")})
operations("Diag Diagflat Diagonal Trace Vander", "x")


@RULES.load("ops.Tril", "ops.Triu")
def triangle(g: KerasContext, node: ForeignNode) -> Value:
    """The lower or upper triangle of the last two axes of booleans."""
    x, b = node.need(0), g.b
    return b.cast(b.trilu(b.cast(x, to="int32"), upper=node.type == "ops.Triu", k=int(node.attr("k", 0))), to="bool")


def _diagonal(g: KerasContext, node: ForeignNode, x: Value, offset: int, i: int, j: int) -> Value:
    """The diagonal of axes ``i`` and ``j`` as the last axis."""
    shape, b = known_shape(x, sizes=True), g.b
    rank = len(shape)
    i, j = node.axes_in((i, j), rank)
    n, m = shape[i], shape[j]
    if not isinstance(n, int) or not isinstance(m, int):
        raise node.refuse("is of an axis of unknown size", code="unknown_shape")
    first, second = max(-offset, 0), max(offset, 0)
    count = max(0, min(n - first, m - second))
    rest = [a for a in range(rank) if a not in (i, j)]
    line = b.transpose(x, perm=(*rest, i, j))
    line = b.reshape(line, shape=(*(shape[a] for a in rest), n * m))
    return b.gather(line, b.const([(first + t) * m + second + t for t in range(count)], "int64"), axis=-1)


@RULES.load("ops.Diagonal")
def diagonal(g: KerasContext, node: ForeignNode) -> Value:
    """The elements of a diagonal of two axes."""
    return _diagonal(g, node, node.need(0), int(node.attr("offset", 0)), int(node.attr("axis1", 0)), int(node.attr("axis2", 1)))


@RULES.load("ops.Trace")
def trace(g: KerasContext, node: ForeignNode) -> Value:
    """The sum of a diagonal; small integers as int32."""
    x = node.need(0)
    line = _diagonal(g, node, x, int(node.attr("offset", 0)), int(node.attr("axis1", 0)), int(node.attr("axis2", 1)))
    if line.dtype is not None and not line.dtype.is_float and line.dtype.itemsize < 4:
        line = g.b.cast(line, to="int32")
    return g.b.sum(line, axes=(-1,), keepdims=False)


@RULES.load("ops.Diag", "ops.Diagflat")
def diag(g: KerasContext, node: ForeignNode) -> Value:
    """A matrix with a vector on its diagonal; Diag of a matrix is its diagonal, Diagflat makes any tensor a vector."""
    x, k, b = node.need(0), int(node.attr("k", 0)), g.b
    shape = known_shape(x, sizes=True)
    if node.type == "ops.Diag" and len(shape) == 2:
        return _diagonal(g, node, x, k, 0, 1)
    if node.type == "ops.Diag" and len(shape) != 1:
        raise node.refuse(f"is of a tensor of {len(shape)} axes")
    n = product(shape)
    if not isinstance(n, int):
        raise node.refuse("is of a vector of unknown size", code="unknown_shape")
    size = n + abs(k)
    line = b.reshape(x, shape=(n,))
    places = np.full((size, size), n, np.int64)
    t = np.arange(n)
    places[t + max(-k, 0), t + max(k, 0)] = t
    number: Any = False if x.dtype is DType.BOOL else 0
    return b.gather(b.pad(line, pads=((0, 1),), value=number), b.const(places), axis=0)


@RULES.load("ops.Vander")
def vander(g: KerasContext, node: ForeignNode) -> Value:
    """Powers of a vector's elements as columns, falling unless ``increasing``."""
    x, n, b = node.need(0), node.attr("N", None), g.b
    (size,) = known_shape(x, sizes=True) if len(known_shape(x)) == 1 else (None,)
    n = size if n is None else n
    if not isinstance(n, int):
        raise node.refuse("the number of columns is not known")
    column, columns = b.unsqueeze(x, axes=(1,)), []
    power = b.fill(shape=known_shape(column, sizes=True), value=1, dtype=x.dtype)
    for _ in range(n):
        columns.append(power)
        power = b.mul(power, column)
    return b.concat(*(columns if node.attr("increasing", False) else reversed(columns)), axis=1)
