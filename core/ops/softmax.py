"""Activations along an axis: softmax and its kin, and the gated linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Axis
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait
from .activation import sigmoid

SOFTMAX = OpSet("softmax")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _halves_shape(c: InferContext) -> Shapes:
    x, axis = c.shape("x"), c["axis"]
    if x is None:
        return [(c.dtype("x"), None)]
    n = x[axis]
    if isinstance(n, int) and n % 2:
        c.fail(f"axis {axis} has the odd size {n}")
    return [(c.dtype("x"), (*x[:axis], None if n is None else n // 2, *x[axis + 1 :]))]


def _glu(x: Array, axis: int) -> Array:
    a, b = np.split(x, 2, axis)
    with np.errstate(all="ignore"):
        return np.asarray(a * sigmoid(b), x.dtype)


def _size(x: Value, axis: int, what: str) -> DimLike:
    n = None if x.shape is None else x.shape[axis]
    if n is None:
        raise ShapeError(f"{what} needs the size of its axis")
    return n


def _glu_body(b: Any, x: Any, *, axis: int) -> Any:
    n = _size(x, axis, "glu")
    first, second = b.split(x, axis=axis, sizes=(n // 2, n // 2))
    return b.mul(first, b.sigmoid(second))


SOFTMAX.op(
    "glu", "x:float", "The first half of an axis times the sigmoid of the second (Dauphin et al. 2017).",
    attrs={"axis": AxisAttr(-1)}, infer=_halves_shape, reference=_glu, axes=Axis("axis"), body=_glu_body,
    samples=[Sample((2, 6, 5), axis=1), Sample((3, 5, 14))],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip


def _softmax(x: Array, axis: int) -> Array:
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
        return np.asarray(e / e.sum(axis, keepdims=True), x.dtype)


def _softmax_body(b: Any, x: Any, *, axis: int) -> Any:
    e = b.exp(b.sub(x, b.max(x, axes=(axis,), keepdims=True)))
    return b.div(e, b.sum(e, axes=(axis,), keepdims=True))


def _log_softmax(x: Array, axis: int) -> Array:
    with np.errstate(all="ignore"):
        d = x - x.max(axis, keepdims=True, initial=-np.inf)
        return np.asarray(d - np.log(np.exp(d).sum(axis, keepdims=True)), x.dtype)


def _log_softmax_body(b: Any, x: Any, *, axis: int) -> Any:
    d = b.sub(x, b.max(x, axes=(axis,), keepdims=True))
    return b.sub(d, b.log(b.sum(b.exp(d), axes=(axis,), keepdims=True)))


def _hardmax(x: Array, axis: int) -> Array:
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return y


def _hardmax_body(b: Any, x: Any, *, axis: int) -> Any:
    return b.one_hot(b.argmax(x, axis=axis), depth=_size(x, axis, "hardmax"), axis=axis, dtype=x.dtype)


def _sparsemax(x: Array, axis: int, tau: str) -> Array:
    z = np.moveaxis(x, axis, -1)
    s = -np.sort(-z, -1)
    total = np.cumsum(s, -1)
    support = 1 + np.arange(1, z.shape[-1] + 1, dtype=x.dtype) * s > total
    k = support.sum(-1, keepdims=True)
    kept = (np.where(support, s if tau == "exact" else total, 0)).sum(-1, keepdims=True)
    return np.asarray(np.moveaxis(np.maximum(z - (kept - 1) / k, 0), -1, axis), x.dtype)


def _sparsemax_body(b: Any, x: Any, *, axis: int, tau: str) -> Any:
    n = _size(x, axis, "sparsemax")
    s = b.sort(x, axis=axis, descending=True)
    limit = b.dim_value(value=n + 1) if isinstance(n, Dim) else b.const(n + 1, "int64")
    rank = b.cast(b.range(b.const(1, "int64"), limit, b.const(1, "int64")), to=x.dtype)
    rank = b.unsqueeze(rank, axes=tuple(i for i in range(x.rank) if i != axis))
    one = b.like(x, 1)
    total = b.cumsum(s, axis=axis)
    support = b.greater(b.add(b.mul(rank, s), one), total)
    k = b.sum(b.cast(support, to=x.dtype), axes=(axis,), keepdims=True)
    kept = b.sum(b.where(support, s if tau == "exact" else total, b.like(x, 0)), axes=(axis,), keepdims=True)
    return b.relu(b.sub(x, b.div(b.sub(kept, one), k)))


_AXIS_SAMPLES = [Sample((2, 3, 5), axis=1), Sample((2, 3, 5), axis=-1)]
for _name, _fn, _body, _doc, _traits in [
    ("softmax", _softmax, _softmax_body, "exp(x) normalised to sum 1 along one axis.", Trait.NONNEGATIVE),
    ("log_softmax", _log_softmax, _log_softmax_body, "log(softmax(x)).", Trait.NONE),
    ("hardmax", _hardmax, _hardmax_body, "1 at the first largest element along the axis, 0 elsewhere.", Trait.NONNEGATIVE),
]:
    SOFTMAX.op(
        _name, "x:float", _doc, attrs={"axis": AxisAttr(-1)}, reference=_fn, axes=Axis("axis"), body=_body, samples=_AXIS_SAMPLES,
        traits=_traits,
    )  # fmt: skip
SOFTMAX.op(
    "sparsemax", "x:float",
    "max(x - tau, 0) along an axis. tau exact: the nearest point of the probability simplex (Martins and Astudillo "
    "2016), tau being "
    "(sum of the largest - 1) / their number. tau keras: as Keras 3 (3.15.1, every backend) computes it, from the sum "
    "of the running "
    "totals instead, so that the result need not sum to 1.",
    attrs={"axis": AxisAttr(-1), "tau": Attr("str", choices=("exact", "keras"))}, reference=_sparsemax, axes=Axis("axis"),
    body=_sparsemax_body,
    samples=[Sample((2, 3, 5), axis=1, tau="exact"), Sample((2, 3, 5), tau="keras"), Sample((2, 3, 5), tau="exact")],
    traits=Trait.NONNEGATIVE,
)  # fmt: skip
