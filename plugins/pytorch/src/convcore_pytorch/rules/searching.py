"""ATen's searches: by comparing every element with every other."""

from __future__ import annotations

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known, promoted
from .base import RULES
from .diagonals import fixed
from .sorting import numbers


def _places(g: TorchContext, edges: Value, v: Value, right: bool) -> Value:
    """How many of the sorted ``edges`` (..., n) are below each of ``v`` (..., m), or with ``right`` not above it; nan is last."""
    rank, many = len(known(edges)), len(known(v))
    table = g.b.unsqueeze(edges, axes=(rank - 1,)) if many > 1 or rank > 1 else edges
    column = g.b.unsqueeze(v, axes=(many,))
    before = g.b.less_equal(table, column) if right else g.b.less(table, column)
    if v.dtype is not None and v.dtype.is_float:
        lost = g.b.isnan(column)
        whole = g.b.not_(g.b.isnan(table)) if not right else g.b.equal(g.b.isnan(table), g.b.isnan(table))
        before = g.b.or_(before, g.b.and_(lost, whole))
    return g.b.sum(g.cast(before, DType.INT64), axes=(len(known(before)) - 1,))


@RULES.load(
    "aten.searchsorted.Tensor", "aten.searchsorted.Scalar", "aten.bucketize.Tensor", "aten.bucketize.Scalar",
)  # fmt: skip
def searchsorted(g: TorchContext, n: AtenNode) -> Value:
    edges = n.tensor("sorted_sequence" if "sorted_sequence" in n.arguments else "boundaries")
    given = n.arg("self")
    dtype = promoted([edges, given])
    right = bool(n.number("right"))
    if "side" in n.arguments and n.arg("side") is not None:
        right = n.arg("side") == "right"
    if "sorter" in n.arguments and n.optional("sorter") is not None:
        edges = g.b.take_along_axis(edges, n.tensor("sorter"), axis=len(known(edges)) - 1)
    edges, v = g.operands(dtype, edges, given)
    shape = known(v)
    if len(known(edges)) == 1:
        flat = _places(g, edges, g.reshape(v, (-1,)) if len(shape) != 1 else v, right)
        made = g.reshape(flat, shape)
    else:
        made = _places(g, edges, v, right)
    return g.cast(made, DType.INT32 if n.number("out_int32") else DType.INT64)


@RULES.load("aten.isin.Tensor_Tensor", "aten.isin.Tensor_Scalar", "aten.isin.Scalar_Tensor")
def isin(g: TorchContext, n: AtenNode) -> Value:
    n.skip("assume_unique")
    names = ("elements", "test_element") if n.type.endswith("Tensor_Scalar") else ("elements", "test_elements")
    names = ("element", "test_elements") if n.type.endswith("Scalar_Tensor") else names
    a, b = n.arg(names[0]), n.arg(names[1])
    a, b = g.operands(promoted([a, b]), a, b)
    wide, flat = g.b.unsqueeze(a, axes=(len(known(a)),)), g.reshape(b, (-1,))
    if known(flat) == (0,):
        return g.b.expand(g.b.const(bool(n.number("invert")), DType.BOOL), shape=known(a))
    hit = g.b.any(g.b.equal(wide, flat), axes=(len(known(a)),))
    return g.b.not_(hit) if n.number("invert") else hit


@RULES.load("aten.mode")
def mode(g: TorchContext, n: AtenNode) -> tuple[Value, Value]:
    """The smallest of the elements that occur most often, and the last place it is at (ATen/native/Sorting.cpp)."""
    x, s, keep = n.tensor("self"), n.shape("self"), bool(n.number("keepdim"))
    if not s:
        n.skip("dim")
        return g.b.identity(x), g.b.const(0, DType.INT64)
    if x.dtype is None or x.dtype.is_float:
        raise NotExpressible(
            "counts floating numbers; where NaN is among them the answer depends on torch's sort", "unsupported_dtype"
        )
    axis = n.axis("dim", len(s))
    (length,) = fixed(s, (axis,), "counts along")
    if length > 2048:
        raise NotExpressible(f"counts {length} elements; 2048 is the most that is written out")
    v = numbers(g, x)
    order = [*(a for a in range(len(s)) if a != axis), axis]
    last = g.transpose(v, order)
    rank = len(s)
    same = g.b.equal(g.b.unsqueeze(last, axes=(rank,)), g.b.unsqueeze(last, axes=(rank - 1,)))
    count = g.b.sum(g.cast(same, DType.INT64), axes=(rank,))
    most = g.b.equal(count, g.b.max(count, axes=(rank - 1,), keepdims=True))
    sorted_at = g.b.argsort(last, axis=rank - 1)
    ranked = g.b.take_along_axis(g.cast(most, DType.INT64), sorted_at, axis=rank - 1)
    first = g.b.argmax(ranked, axis=rank - 1, keepdims=True)
    value = g.b.take_along_axis(last, g.b.take_along_axis(g.cast(sorted_at, DType.INT64), first, axis=rank - 1), axis=rank - 1)
    at = g.b.argmax(g.cast(g.b.equal(last, value), DType.INT64), axis=rank - 1, keepdims=True, last=True)
    value = g.cast(value, x.dtype)
    if not keep:
        return g.b.squeeze(value, axes=(rank - 1,)), g.b.squeeze(at, axes=(rank - 1,))
    back = [order.index(i) for i in range(rank)]
    return g.transpose(value, back), g.transpose(at, back)
