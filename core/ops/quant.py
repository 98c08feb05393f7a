"""Linear quantisation: real = (stored - zero_point) * scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape, ceil_div
from ..ir.dtypes import DType
from ..opset.axes import Axis, Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait
from .arithmetic import converted

QUANT = OpSet("quant")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

STORED = (
    DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT4, DType.UINT4, DType.INT2, DType.UINT2, DType.FLOAT8_E4M3FN,
    DType.FLOAT8_E4M3FNUZ, DType.FLOAT8_E5M2, DType.FLOAT8_E5M2FNUZ, DType.FLOAT4_E2M1FN,
)  # fmt: skip
"""What numbers are quantised to; int32 is dequantised, too (sums of products)."""
_INTO = {"dtype": Attr("dtype", choices=STORED), "saturate": Attr("bool", True, doc="as in cast")}
_AXIS = Attr("axis", None, doc="the axis scale and zero_point belong to; None: one of each for the whole tensor")


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
        return p if p.rank == 0 else b.reshape(p, shape=())
    b.require(x.rank is not None, "per-axis quantisation needs the number of axes of x")
    return b.unsqueeze(p, axes=tuple(range(1, x.rank - axis))) if x.rank - axis > 1 else p


def _quantize_shape(c: InferContext) -> Shapes:
    _check(c)
    if c.dtype("zero_point") not in (None, c["dtype"]):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c['dtype']}")
    if c.dtype("x") and c.dtype("scale") and c.dtype("x") != c.dtype("scale"):
        c.fail(f"x is {c.dtype('x')} and scale {c.dtype('scale')}")
    return [(c["dtype"], c.shape("x"))]


def _quantize(
    x: Array, scale: Array, zero_point: Array | None = None, *, axis: int | None, dtype: DType, saturate: bool
) -> Array:
    zero = None if zero_point is None else _along(zero_point, x.ndim, axis)
    return _stored(x, _along(scale, x.ndim, axis), zero, dtype, saturate)


def _stored(x: Array, scale: Array, zero: Array | None, dtype: DType, saturate: bool) -> Array:
    with np.errstate(all="ignore"):
        y = x / scale
    if dtype.is_float:
        if zero is not None:
            y = y + zero.astype(y.dtype)
        return converted(y, dtype, saturate)
    y = np.rint(y).astype(np.float64)
    if np.isnan(y).any():
        raise ValueError("NaN cannot be quantised")
    if zero is not None:
        y = y + zero.astype(np.float64)
    return np.clip(y, *dtype.limits).astype(dtype.numpy)


def _quantize_body(b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int | None, dtype: DType, saturate: bool) -> Any:
    zero = None if zero_point is None else _spread(b, zero_point, x, axis)
    return _stored_body(b, x, _spread(b, scale, x, axis), zero, dtype, saturate)


def _stored_body(b: Any, x: Any, scale: Any, zero: Any, dtype: DType, saturate: bool) -> Any:
    y = b.div(x, scale) if dtype.is_float else b.round(b.div(x, scale))
    if zero is not None:
        y = b.add(y, b.cast(zero, to=x.dtype))
    if dtype.is_float:
        return b.cast(y, to=dtype, saturate=saturate)
    low, high = dtype.limits
    return b.cast(b.clip(y, min=float(low), max=float(high)), to=dtype)


QUANT.op(
    "quantize", "x:float, scale:float, zero_point?",
    "round(x / scale) + zero_point, halves to even, limited to the range of dtype; for a float8 or float4 dtype x / scale + "
    "zero_point, cast to it.",
    attrs={"axis": _AXIS, **_INTO}, infer=_quantize_shape, reference=_quantize,
    axes=Axis("axis", fixed=("scale", "zero_point"), or_none=True), body=_quantize_body,
    samples=[
        Sample((2, 3, 5), np.float32(0.013), np.int8(7), dtype="int8"),
        Sample((2, 3, 5), np.float32(0.017), dtype="int8"),
        Sample((2, 3, 5), ("float32", (3,), 0.01, 0.03), ("uint8", (3,), 100, 140), axis=1, dtype="uint8"),
    ],
    traits=Trait.NO_FOLD,
)  # fmt: skip


def _check_stored(c: InferContext) -> None:
    if c.dtype("x") not in (None, DType.INT32, *STORED):
        c.fail(f"x is {c.dtype('x')}, must be one of {', '.join(STORED)}, int32")


def _dequantize_shape(c: InferContext) -> Shapes:
    _check(c)
    _check_stored(c)
    if c.dtype("zero_point") not in (None, c.dtype("x")):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c.dtype('x')}")
    return [(c.dtype("scale"), c.shape("x"))]


def _dequantize(x: Array, scale: Array, zero_point: Array | None = None, *, axis: int | None) -> Array:
    zero = None if zero_point is None else _along(zero_point, x.ndim, axis)
    return _real(x, _along(scale, x.ndim, axis), zero)


def _real(x: Array, scale: Array, zero: Array | None) -> Array:
    wide = scale.dtype if DType.of(x.dtype).is_float else np.dtype(np.int64)
    y = x.astype(wide)
    if zero is not None:
        y = y - zero.astype(wide)
    return y.astype(scale.dtype) * scale


def _dequantize_body(b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int | None) -> Any:
    zero = None if zero_point is None else _spread(b, zero_point, x, axis)
    return _real_body(b, x, _spread(b, scale, x, axis), zero)


def _real_body(b: Any, x: Any, scale: Any, zero: Any) -> Any:
    wide = scale.dtype if x.dtype.is_float else DType.INT32
    y = b.cast(x, to=wide)
    if zero is not None:
        y = b.sub(y, b.cast(zero, to=wide))
    return b.mul(b.cast(y, to=scale.dtype), scale)


QUANT.op(
    "dequantize", "x, scale:float, zero_point?", "(x - zero_point) * scale, in the dtype of scale.",
    attrs={"axis": _AXIS}, infer=_dequantize_shape, reference=_dequantize,
    axes=Axis("axis", fixed=("scale", "zero_point"), or_none=True), body=_dequantize_body,
    samples=[
        Sample(("int8", (2, 3, 5), -128, 128), np.float32(0.013), np.int8(7)),
        Sample(("int8", (2, 3, 5), -128, 128), np.float32(0.017)),
        Sample(("uint8", (2, 3, 5), 0, 256), ("float32", (3,), 0.01, 0.03), ("uint8", (3,), 100, 140), axis=1),
    ],
    traits=Trait.NO_FOLD,
)  # fmt: skip


# ---- in blocks: scale and zero_point have one entry for every block_size elements of an axis


_BLOCKS = {"axis": Attr("axis"), "block_size": Attr("int")}


def _check_blocks(c: InferContext) -> None:
    x, axis, size = c.shape("x"), c["axis"], c["block_size"]
    if size < 1:
        c.fail(f"block_size={size}")
    for name in ("scale", "zero_point"):
        s = c.shape(name)
        if s is None or x is None:
            continue
        if len(s) != len(x):
            c.fail(f"{name} has {len(s)} axes, x {len(x)}")
        for i, (n, m) in enumerate(zip(x, s)):
            c.same(n if i != axis or n is None else ceil_div(n, size), m, f"{name} and axis {i} of x")


def _blocks(p: Array, n: int, axis: int, size: int) -> Array:
    return np.take(p, np.arange(n) // size, axis)


def _blocks_body(b: Any, p: Any, x: Any, axis: int, size: int) -> Any:
    b.require(x.shape is not None and isinstance(x.shape[axis], int), "quantisation in blocks needs the size of its axis")
    return b.gather(p, b.const([i // size for i in range(x.shape[axis])], DType.INT64), axis=axis)


def _quantize_blocks_shape(c: InferContext) -> Shapes:
    _check_blocks(c)
    if c.dtype("zero_point") not in (None, c["dtype"]):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c['dtype']}")
    return [(c["dtype"], c.shape("x"))]


def _quantize_blocks(
    x: Array, scale: Array, zero_point: Array | None = None, *, axis: int, block_size: int, dtype: DType, saturate: bool
) -> Array:
    zero = None if zero_point is None else _blocks(zero_point, x.shape[axis], axis, block_size)
    return _stored(x, _blocks(scale, x.shape[axis], axis, block_size), zero, dtype, saturate)


def _quantize_blocks_body(
    b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int, block_size: int, dtype: DType, saturate: bool
) -> Any:
    zero = None if zero_point is None else _blocks_body(b, zero_point, x, axis, block_size)
    return _stored_body(b, x, _blocks_body(b, scale, x, axis, block_size), zero, dtype, saturate)


QUANT.op(
    "quantize_blocks", "x:float, scale:float, zero_point?",
    "quantize with a scale and zero point for every block_size elements along an axis.",
    attrs={**_BLOCKS, **_INTO}, infer=_quantize_blocks_shape, reference=_quantize_blocks, axes=Opaque(),
    body=_quantize_blocks_body,
    samples=[
        Sample((2, 7, 5), ("float32", (2, 3, 5), 0.01, 0.03), ("uint8", (2, 3, 5), 100, 140), axis=1, block_size=3,
            dtype="uint8"),
        Sample((3, 6), ("float32", (3, 2), 0.01, 0.03), axis=-1, block_size=3, dtype="int8"),
    ],
    traits=Trait.NO_FOLD,
)  # fmt: skip


def _dequantize_blocks_shape(c: InferContext) -> Shapes:
    _check_blocks(c)
    _check_stored(c)
    if c.dtype("zero_point") not in (None, c.dtype("x")):
        c.fail(f"zero_point is {c.dtype('zero_point')}, must be {c.dtype('x')}")
    return [(c.dtype("scale"), c.shape("x"))]


def _dequantize_blocks(x: Array, scale: Array, zero_point: Array | None = None, *, axis: int, block_size: int) -> Array:
    zero = None if zero_point is None else _blocks(zero_point, x.shape[axis], axis, block_size)
    return _real(x, _blocks(scale, x.shape[axis], axis, block_size), zero)


def _dequantize_blocks_body(b: Any, x: Any, scale: Any, zero_point: Any, *, axis: int, block_size: int) -> Any:
    zero = None if zero_point is None else _blocks_body(b, zero_point, x, axis, block_size)
    return _real_body(b, x, _blocks_body(b, scale, x, axis, block_size), zero)


QUANT.op(
    "dequantize_blocks", "x, scale:float, zero_point?",
    "dequantize with a scale and zero point for every block_size elements along an axis.",
    attrs=_BLOCKS, infer=_dequantize_blocks_shape, reference=_dequantize_blocks, axes=Opaque(), body=_dequantize_blocks_body,
    samples=[
        Sample(("uint8", (2, 7, 5), 0, 256), ("float32", (2, 3, 5), 0.01, 0.03), ("uint8", (2, 3, 5), 100, 140), axis=1,
            block_size=3),
        Sample(("int8", (3, 6), -128, 128), ("float32", (3, 2), 0.01, 0.03), axis=-1, block_size=3),
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
