"""Linear quantisation: real = (stored - zero_point) * scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Axis, Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait

QUANT = OpSet("quant")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

STORED = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32)
_AXIS = Attr("axis", None, doc="the axis scale and zero_point belong to; None: one of each for the whole tensor", optional=True)


def _check(c: InferContext) -> None:
    x, axis = c.shape("x"), c["axis"]
    for name in ("scale", "zero_point"):
        s = c.shape(name)
        if s is None:
            continue
        if axis is None:
            if s not in ((), (1,)):
                c.fail(f"{name} must be one number without an axis")
        elif len(s) != 1:
            c.fail(f"{name} must have one axis")
        elif x is not None:
            c.same(s[0], x[axis], f"{name} and axis {axis} of x")


def _along(p: Array, rank: int, axis: int | None) -> Array:
    """A parameter shaped to broadcast against x."""
    return p.reshape(()) if axis is None else p.reshape(-1, *(1,) * (rank - axis - 1))


def _spread(b: Any, p: Any, x: Any, axis: int | None) -> Any:
    if axis is None:
        return b.reshape(p, shape=()) if p.rank else p
    b.require(x.rank is not None, "per-axis quantisation needs the number of axes of x")
    return b.unsqueeze(p, axes=tuple(range(1, x.rank - axis))) if x.rank - axis > 1 else p


def _quantize_shape(c: InferContext) -> Shapes:
    _check(c)
    if c.dtype("zero_point") not in (None, c["dtype"]):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c['dtype']}")
    if c.dtype("x") and c.dtype("scale") and c.dtype("x") != c.dtype("scale"):
        c.fail(f"x is {c.dtype('x')} and scale {c.dtype('scale')}")
    return [(c["dtype"], c.shape("x"))]


def _quantize(x: Array, scale: Array, zero_point: Array | None = None, *, axis: int | None, dtype: DType) -> Array:
    limits = np.iinfo(dtype.numpy)
    with np.errstate(all="ignore"):
        y = np.rint(x / _along(scale, x.ndim, axis)).astype(np.float64)
    if np.isnan(y).any():
        raise ValueError("NaN cannot be quantised")
    if zero_point is not None:
        y = y + _along(zero_point, x.ndim, axis)
    return np.clip(y, limits.min, limits.max).astype(dtype.numpy)


def _quantize_body(b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int | None, dtype: DType) -> Any:
    y = b.round(b.div(x, _spread(b, scale, x, axis)))
    if zero_point is not None:
        y = b.add(y, b.cast(_spread(b, zero_point, x, axis), to=x.dtype))
    limits = np.iinfo(dtype.numpy)
    return b.cast(b.clip(y, min=float(limits.min), max=float(limits.max)), to=dtype)


QUANT.op(
    "quantize", "x:float, scale:float, zero_point:int?",
    "round(x / scale) + zero_point, halves to even, limited to the range of dtype.",
    attrs={"axis": _AXIS, "dtype": Attr("dtype", choices=STORED[:4])}, infer=_quantize_shape, reference=_quantize,
    axes=Axis("axis", fixed=("scale", "zero_point"), or_none=True), body=_quantize_body,
    samples=[
        Sample((2, 3, 5), np.float32(0.013), np.int8(7), dtype="int8"),
        Sample((2, 3, 5), np.float32(0.017), dtype="int8"),
        Sample((2, 3, 5), ("float32", (3,), 0.01, 0.03), ("uint8", (3,), 100, 140), axis=1, dtype="uint8"),
    ],
    traits=Trait.NO_FOLD,
)  # fmt: skip


def _dequantize_shape(c: InferContext) -> Shapes:
    _check(c)
    if c.dtype("x") is not None and c.dtype("x") not in STORED:
        c.fail(f"x is {c.dtype('x')}, must be one of {', '.join(STORED)}")
    if c.dtype("zero_point") not in (None, c.dtype("x")):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c.dtype('x')}")
    return [(c.dtype("scale"), c.shape("x"))]


def _dequantize(x: Array, scale: Array, zero_point: Array | None = None, *, axis: int | None) -> Array:
    y = x.astype(np.int64)
    if zero_point is not None:
        y = y - _along(zero_point, x.ndim, axis)
    return y.astype(scale.dtype) * _along(scale, x.ndim, axis)


def _dequantize_body(b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int | None) -> Any:
    y = b.cast(x, to=DType.INT32)
    if zero_point is not None:
        y = b.sub(y, b.cast(_spread(b, zero_point, x, axis), to=DType.INT32))
    return b.mul(b.cast(y, to=scale.dtype), _spread(b, scale, x, axis))


QUANT.op(
    "dequantize", "x:int, scale:float, zero_point:int?", "(x - zero_point) * scale, in the dtype of scale.",
    attrs={"axis": _AXIS}, infer=_dequantize_shape, reference=_dequantize,
    axes=Axis("axis", fixed=("scale", "zero_point"), or_none=True), body=_dequantize_body,
    samples=[
        Sample(("int8", (2, 3, 5), -128, 128), np.float32(0.013), np.int8(7)),
        Sample(("int8", (2, 3, 5), -128, 128), np.float32(0.017)),
        Sample(("uint8", (2, 3, 5), 0, 256), ("float32", (3,), 0.01, 0.03), ("uint8", (3,), 100, 140), axis=1),
    ],
    traits=Trait.NO_FOLD,
)  # fmt: skip


def _dynamic_shape(c: InferContext) -> Shapes:
    return [(DType.UINT8, c.shape("x")), (c.dtype("x"), ()), (DType.UINT8, ())]


def _dynamic_quantize(x: Array) -> tuple[Array, Array, Array]:
    one = x.dtype.type
    low, high = min(one(0), x.min(initial=0)), max(one(0), x.max(initial=0))
    scale = (high - low) / one(255)
    if scale == 0:
        scale = one(1)
    zero = np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
    y = np.clip(np.rint(x / scale).astype(np.float64) + zero, 0, 255).astype(np.uint8)
    return y, np.asarray(scale, x.dtype), np.asarray(zero)


def _dynamic_body(b: Any, x: Any) -> Any:
    zero = b.like(x, 0)
    low, high = b.minimum(b.min(x), zero), b.maximum(b.max(x), zero)
    scale = b.div(b.sub(high, low), b.like(x, 255))
    scale = b.where(b.equal(scale, zero), b.like(x, 1), scale)
    point = b.cast(b.clip(b.round(b.div(b.neg(low), scale)), min=0.0, max=255.0), to=DType.UINT8)
    return b.quantize(x, scale, point, axis=None, dtype=DType.UINT8), scale, point


QUANT.op(
    "dynamic_quantize", "x:float",
    "x as uint8 with the scale and zero point of its own range, 0 included (ONNX DynamicQuantizeLinear).",
    outputs="y, scale, zero_point", infer=_dynamic_shape, reference=_dynamic_quantize, axes=Opaque(),
    body=_dynamic_body,
    samples=[Sample((2, 3, 5)), Sample(("float32", (2, 3), 1, 3))],
    traits=Trait.NO_FOLD,
)  # fmt: skip
