"""Tensors made from sizes and numbers: shape_of, dim_value, range, fill, eye, one_hot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape, ceil_div, dim_max
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype, scalar_size, unknown_axes
from ..opset.traits import Trait

CONSTANTS = OpSet("constants")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


# ---- sizes as data


def _shape_of_shape(c: InferContext) -> Shapes:
    rank = c.rank("x")
    if rank is None:
        return [(DType.INT64, (None,))]
    return [(DType.INT64, (len(range(*slice(c["start"], c["end"]).indices(rank))),))]


CONSTANTS.op(
    "shape_of", "x", "The sizes of axes start..end (a Python slice) of x, int64.",
    attrs={"start": Attr("int", 0), "end": Attr("int", None)}, infer=_shape_of_shape, traits=Trait.OF_SHAPES, axes=Opaque(),
    reference=lambda x, start, end: np.array(x.shape[start:end], np.int64),
    samples=[Sample((2, 3, 5)), Sample((2, 3, 5), start=-2), Sample((2, 3, 5), start=1, end=2)],
)  # fmt: skip
CONSTANTS.op(
    "size_of", "x", "The number of elements of x, int64.", infer=lambda c: [(DType.INT64, ())],
    reference=lambda x: np.array(x.size, np.int64), axes=Opaque(), samples=[Sample((2, 3, 5)), Sample(())],
    body=lambda b, x: b.prod(b.shape_of(x)), traits=Trait.OF_SHAPES,
)  # fmt: skip
CONSTANTS.op(
    "dim_value", "", "A size as an int64 scalar.", attrs={"value": Attr("dim")}, infer=lambda c: [(DType.INT64, ())],
    reference=lambda value: np.array(value, np.int64), traits=Trait.OF_SHAPES, axes=Opaque(), samples=[Sample(value=7)],
)  # fmt: skip


# ---- filled tensors


def _number(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    """A fill value as a Python number of the kind the dtype has."""
    attrs["value"] = number(attrs["value"], attrs["dtype"])


def number(v: Any, dtype: DType) -> bool | int | float | complex:
    """``v`` as a Python number of the kind a dtype has; ShapeError where the dtype does not hold it."""
    if isinstance(v, np.generic):
        v = v.item()
    if not isinstance(v, (bool, int, float, complex)):
        raise ShapeError(f"value={v!r} is not a number")
    if dtype.is_int:
        if isinstance(v, complex) or not math.isfinite(v) or int(v) != v:
            raise ShapeError(f"value={v!r} is not an integer, but dtype is {dtype}")
        lowest, highest = dtype.limits
        if not lowest <= v <= highest:
            raise ShapeError(f"value={v!r} does not fit {dtype}")
        return int(v)
    if not dtype.is_float and dtype is not DType.BOOL:
        return v
    if isinstance(v, complex):
        raise ShapeError(f"value={v!r} is complex, but dtype is {dtype}")
    return float(v) if dtype.is_float else bool(v)


def _nonnegative(c: InferContext, *sizes: DimLike) -> None:
    if any(isinstance(n, int) and n < 0 for n in sizes):
        c.fail("a size is negative")


def _fill_shape(c: InferContext) -> Shapes:
    _nonnegative(c, *c["shape"])
    return [(c["dtype"], c["shape"])]


CONSTANTS.op(
    "fill", "", "One number everywhere.",
    attrs={"shape": Attr("shape"), "value": Attr("any", 0), "dtype": Attr("dtype", DType.FLOAT32)},
    normalize=_number, infer=_fill_shape, reference=lambda shape, value, dtype: np.full(shape, value, dtype.numpy),
    traits=Trait.OF_SHAPES, axes=Opaque(),
    samples=[Sample(shape=(2, 3), value=0.5), Sample(shape=(5,), value=7, dtype="int64")],
)  # fmt: skip


def _dynamic_fill_shape(c: InferContext) -> Shapes:
    n = c.shape("shape")
    c.rank("shape", 1)
    return [(c["dtype"], unknown_axes(c, n))]


CONSTANTS.op(
    "dynamic_fill", "shape:int", "fill with a shape computed at run time (ONNX ConstantOfShape).",
    attrs={"value": Attr("any", 0), "dtype": Attr("dtype", DType.FLOAT32)}, normalize=_number,
    infer=_dynamic_fill_shape,
    reference=lambda shape, value, dtype: np.full(tuple(int(n) for n in shape), value, dtype.numpy), axes=Opaque(),
    samples=[Sample(np.array([2, 3]), value=0.5)],
    roles={"index": "shape"},
)  # fmt: skip


def _eye_shape(c: InferContext) -> Shapes:
    _nonnegative(c, c["rows"], c["columns"])
    return [(c["dtype"], (c["rows"], c["columns"]))]


CONSTANTS.op(
    "eye", "", "1 on the k-th diagonal, 0 elsewhere.",
    attrs={"rows": Attr("dim"), "columns": Attr("dim"), "k": Attr("int", 0), "dtype": Attr("dtype", DType.FLOAT32)},
    infer=_eye_shape, reference=lambda rows, columns, k, dtype: np.eye(rows, columns, k).astype(dtype.numpy),
    traits=Trait.OF_SHAPES, axes=Opaque(),
    samples=[Sample(rows=3, columns=5, k=1), Sample(rows=5, columns=3, k=-1, dtype="int32")],
)  # fmt: skip


def _eye_like_shape(c: InferContext) -> Shapes:
    c.rank("x", 2)
    return [(c["dtype"] or c.dtype("x"), c.shape("x"))]


CONSTANTS.op(
    "eye_like", "x", "1 on the k-th diagonal of a matrix shaped like x, 0 elsewhere; dtype None is that of x.",
    attrs={"k": Attr("int", 0), "dtype": Attr("dtype", None)}, infer=_eye_like_shape, axes=Opaque(),
    traits=Trait.OF_SHAPES,
    reference=lambda x, k, dtype: np.eye(x.shape[0], x.shape[1], k).astype(x.dtype if dtype is None else dtype.numpy),
    samples=[Sample((3, 5), k=1), Sample((5, 3), k=-1, dtype="int32")],
)  # fmt: skip


# ---- range


def _number_of(v: Value | None) -> Any:
    if v is not None and v.tensor is not None:
        return v.tensor.numpy().reshape(-1)[0].item() if v.tensor.size == 1 else None
    return scalar_size(v)


def _range_shape(c: InferContext) -> Shapes:
    dtype = common_dtype(c, "start", "limit", "delta")
    for name in ("start", "limit", "delta"):
        c.rank(name, 0)
    start, limit, delta = (_number_of(c.value(n)) for n in ("start", "limit", "delta"))
    if start is None or limit is None or delta is None:
        return [(dtype, (None,))]
    if isinstance(delta, (int, float)) and delta == 0:
        c.fail("delta is 0")
    if all(isinstance(n, (int, float)) for n in (start, limit, delta)):
        exact = all(isinstance(n, int) for n in (start, limit, delta))
        return [(dtype, (len(range(start, limit, delta)) if exact else max(0, math.ceil((limit - start) / delta)),))]
    if not isinstance(delta, int):
        return [(dtype, (None,))]
    room = limit - start if delta > 0 else start - limit
    return [(dtype, (ceil_div(dim_max(room, 0), abs(delta)),))]


def _range(start: Array, limit: Array, delta: Array) -> Array:
    if delta == 0:
        raise ValueError("delta is 0")
    if start.dtype.kind in "iu":
        return np.array(range(int(start), int(limit), int(delta)), start.dtype)
    n = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    return np.asarray(start + np.arange(n).astype(start.dtype) * delta, start.dtype)


CONSTANTS.op(
    "range", "start:number, limit:number, delta:number",
    "start, start + delta, ... before limit; the inputs are scalars of one dtype.",
    infer=_range_shape, reference=_range, axes=Opaque(),
    samples=[
        Sample(np.array(3), np.array(17), np.array(4)), Sample(np.array(7), np.array(-4), np.array(-3)),
        Sample(np.float32(0.5), np.float32(3), np.float32(0.75)),
    ],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip


# ---- one_hot


def _one_hot_axis(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    x = inputs[0] if inputs else None
    if x is not None and x.rank is not None:
        rank = x.rank + 1
        if not -rank <= attrs["axis"] < rank:
            raise ShapeError(f"one_hot: axis {attrs['axis']} is out of range for {rank} axes")
        attrs["axis"] %= rank


def _one_hot_shape(c: InferContext) -> Shapes:
    ids, axis, values = c.shape("ids"), c["axis"], c.shape("values")
    _nonnegative(c, c["depth"])
    if values is not None:
        c.rank("values", 1)
        c.same(values[0], 2, "values (off, on)")
    dtype = c.dtype("values") if c.has("values") else c["dtype"]
    return [(dtype, None if ids is None else (*ids[:axis], c["depth"], *ids[axis:]))]


def _one_hot(
    ids: Array, values: Array | None = None,
    *, depth: int, axis: int, on_value: float, off_value: float, dtype: DType, wrap_negative: bool,
) -> Array:  # fmt: skip
    v = np.expand_dims(ids, axis).astype(np.int64)
    if wrap_negative:
        v = np.where((v < 0) & (v >= -depth), v + depth, v)
    hit = v == np.arange(depth).reshape(-1, *(1,) * (ids.ndim - axis))
    off, on = values if values is not None else np.array([off_value, on_value], dtype.numpy)
    return np.asarray(np.where(hit, on, off))


CONSTANTS.op(
    "one_hot", "ids:int, values?",
    "on at position ids[...] of a new axis of size depth, off elsewhere and everywhere for an id outside. Numbers "
    "from the "
    "attributes, or from values (off, on). With wrap_negative ids from -depth count from the end (ONNX); without, "
    "they are "
    "outside (TensorFlow, Keras).",
    attrs={
        "depth": Attr("dim"), "axis": Attr("int", -1, doc="position of the new axis in the result"),
        "on_value": Attr("float", 1.0),
        "off_value": Attr("float", 0.0), "dtype": Attr("dtype", DType.FLOAT32), "wrap_negative": Attr("bool", False),
    },
    normalize=_one_hot_axis, infer=_one_hot_shape, reference=_one_hot, axes=Opaque(),
    samples=[
        Sample(("int64", (2, 3), -1, 8), depth=7),
        Sample(("int64", (2, 3), -5, 5), depth=5, axis=0, wrap_negative=True, on_value=2.5, off_value=-1),
        Sample(("int32", (2, 3), 0, 5), np.array([3, 7], np.int32), depth=5, axis=1),
    ],
    roles={"index": "ids"},
)  # fmt: skip
