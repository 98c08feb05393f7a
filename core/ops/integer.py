"""Products of integers: what quantised models are made of besides quantize and dequantize.

Accumulated exactly, in int32. The rescaled ones round halves to even and add the zero point after that, as quantize does
(onnxruntime 1.31, MlasRequantizeOutput); the standard's reference adds it before, which differs in ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape, product
from ..ir.dtypes import DType
from ..opset.axes import CHANNELS, Opaque
from ..opset.declare import OpSet, Sample
from ..opset.infer import InferContext
from ..opset.registry import op
from ..opset.shapes import broadcast_shapes
from ..opset.traits import Trait
from .conv import CONV
from .convolve import convolve
from .windows import spatial_attrs

INTEGER = OpSet("integer")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

_BYTES = (DType.INT8, DType.UINT8)


def _typed(c: InferContext, *names: str) -> None:
    for name in names:
        if c.dtype(name) not in (None, *_BYTES):
            c.fail(f"{name} is {c.dtype(name)}, must be int8 or uint8")
    for name in names:
        zero = f"{name}_zero"
        if c.dtype(zero) not in (None, c.dtype(name)):
            c.fail(f"{zero} is {c.dtype(zero)}, must be {c.dtype(name)}")


def _matmul_shape(c: InferContext, names: tuple[str, str]) -> Shape | None:
    a, b = c.shape(names[0]), c.shape(names[1])
    if a is None or b is None:
        return None
    if not a or not b:
        c.fail("a matrix product needs axes")
    wide_a, wide_b = (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))
    c.same(wide_a[-1], wide_b[-2], "the axes that are multiplied")
    rows = wide_a[-2:-1] if len(a) > 1 else ()
    columns = wide_b[-1:] if len(b) > 1 else ()
    return (*(broadcast_shapes(wide_a[:-2], wide_b[:-2]) or ()), *rows, *columns)


def _rows(p: Array, x: Array) -> Array:
    """A parameter of the left operand: one number, one for each row, or already shaped."""
    return p.reshape(-1, 1) if p.ndim == 1 and p.size > 1 and x.ndim > 1 else p if p.ndim != 1 or p.size > 1 else p.reshape(())


def _columns(p: Array) -> Array:
    return p.reshape(()) if p.size == 1 else p


def _less(x: Array, zero: Array | None) -> Array:
    return x.astype(np.int64) if zero is None else x.astype(np.int64) - zero.astype(np.int64)


def _product(a: Array, b: Array, a_zero: Array | None, b_zero: Array | None) -> Array:
    left = _less(a, None if a_zero is None else _rows(a_zero, a))
    return np.asarray(np.matmul(left, _less(b, None if b_zero is None else _columns(b_zero))), np.int32)


def _rows_body(b: Any, p: Any, x: Any) -> Any:
    b.require(p.shape is not None and x.rank is not None, "the shape of a zero point or scale must be known")
    if len(p.shape) == 1:
        if p.shape[0] == 1:
            return b.reshape(p, shape=())
        return b.unsqueeze(p, axes=(1,)) if x.rank > 1 else p
    return p


def _columns_body(b: Any, p: Any) -> Any:
    b.require(p.shape is not None, "the shape of a zero point or scale must be known")
    return b.reshape(p, shape=()) if p.shape == (1,) else p


def _wide(b: Any, x: Any, zero: Any, to: DType = DType.INT32) -> Any:
    y = b.cast(x, to=to)
    return y if zero is None else b.sub(y, b.cast(zero, to=to))


def _product_body(b: Any, x: Any, y: Any, x_zero: Any = None, y_zero: Any = None) -> Any:
    left = _wide(b, x, None if x_zero is None else _rows_body(b, x_zero, x))
    return b.matmul(left, _wide(b, y, None if y_zero is None else _columns_body(b, y_zero)))


def _product_infer(c: InferContext) -> Shapes:
    _typed(c, "a", "b")
    return [(DType.INT32, _matmul_shape(c, ("a", "b")))]


_I8, _U8 = ("int8", (5, 7), -128, 128), ("uint8", (3, 5), 0, 256)
INTEGER.op(
    "matmul_integer", "a:int, b:int, a_zero:int?, b_zero:int?",
    "(a - a_zero) @ (b - b_zero) in int32; a_zero is one number or one for each row, b_zero one or one for each column (ONNX "
    "MatMulInteger).",
    infer=_product_infer, reference=lambda a, b, a_zero=None, b_zero=None: _product(a, b, a_zero, b_zero), axes=Opaque(),
    body=_product_body,
    samples=[
        Sample(_U8, _I8), Sample(_U8, _I8, np.uint8(7), np.int8(-3)),
        Sample(("uint8", (2, 3, 5), 0, 256), _I8, ("uint8", (3,), 0, 256), ("int8", (7,), -128, 128)),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


def _stored(acc: Array, scale: Array, zero: Array | None, like: np.dtype[Any]) -> Array:
    """Sums as stored integers."""
    info = np.iinfo(like if zero is None else zero.dtype)
    y = np.rint(acc.astype(np.float32) * scale.astype(np.float32))
    if zero is not None:
        y = y + zero.reshape(()).astype(np.float32)
    return np.clip(y, info.min, info.max).astype(info.dtype)


def _stored_body(b: Any, acc: Any, scale: Any, zero: Any, like: DType) -> Any:
    y = b.round(b.mul(b.cast(acc, to=DType.FLOAT32), scale))
    dtype = like if zero is None else zero.dtype
    if zero is not None:
        y = b.add(y, b.cast(zero if zero.rank == 0 else b.reshape(zero, shape=()), to=DType.FLOAT32))
    low, high = dtype.limits
    return b.cast(b.clip(y, min=float(low), max=float(high)), to=dtype)


def _scaled_matmul(
    a: Array, a_scale: Array, a_zero: Array | None, b: Array, b_scale: Array, b_zero: Array | None, y_scale: Array,
    y_zero: Array | None = None,
) -> Array:  # fmt: skip
    f = np.float32
    scale = _rows(a_scale.astype(f), a) * _columns(b_scale.astype(f)) / y_scale.astype(f).reshape(())
    return _stored(_product(a, b, a_zero, b_zero), scale, y_zero, a.dtype)


def _scaled_matmul_body(
    b: Any, x: Any, x_scale: Any, x_zero: Any, w: Any, w_scale: Any, w_zero: Any, y_scale: Any, y_zero: Any = None
) -> Any:
    one = DType.FLOAT32
    both = b.mul(b.cast(_rows_body(b, x_scale, x), to=one), b.cast(_columns_body(b, w_scale), to=one))
    scale = b.div(both, b.cast(b.reshape(y_scale, shape=()), to=one))
    return _stored_body(b, b.matmul_integer(x, w, x_zero, w_zero), scale, y_zero, x.dtype)


def _scaled_dtype(c: InferContext, x: str) -> DType | None:
    if c.dtype("y_zero") not in (None, *_BYTES):
        c.fail(f"y_zero is {c.dtype('y_zero')}, must be int8 or uint8")
    return c.dtype("y_zero") if c.has("y_zero") else c.dtype(x)


def _scaled_matmul_infer(c: InferContext) -> Shapes:
    _typed(c, "a", "b")
    return [(_scaled_dtype(c, "a"), _matmul_shape(c, ("a", "b")))]


_S = np.float32(0.013)
INTEGER.op(
    "qlinear_matmul",
    "a:int, a_scale:float, a_zero:int?, b:int, b_scale:float, b_zero:int?, y_scale:float, y_zero:int?",
    "A product of stored integers, stored again: round((a - a_zero) @ (b - b_zero) * (a_scale * b_scale / y_scale)) + y_zero, "
    "limited to the range of its type (ONNX QLinearMatMul).",
    infer=_scaled_matmul_infer, reference=_scaled_matmul, axes=Opaque(), body=_scaled_matmul_body,
    samples=[
        Sample(_U8, _S, np.uint8(3), _I8, np.float32(0.017), np.int8(-5), np.float32(0.11), np.uint8(101)),
        Sample(_U8, _S, None, _I8, ("float32", (7,), 0.01, 0.03), ("int8", (7,), -8, 8), np.float32(0.31), np.int8(1)),
    ],
    traits=Trait.HEAVY | Trait.NO_FOLD,
)  # fmt: skip


# ---- convolutions


def _along_filters(p: Array, rank: int, layout: str) -> Array:
    """A parameter of the filters shaped for the result."""
    if p.size == 1:
        return p.reshape(())
    return p.reshape(-1, *(1,) * (rank - 2)) if layout == "channels_first" else p


def _sums(x: Array, w: Array, x_zero: Array | None, w_zero: Array | None, **attrs: Any) -> Array:
    zero = None if w_zero is None else w_zero.reshape(()) if w_zero.size == 1 else w_zero.reshape(-1, *(1,) * (w.ndim - 1))
    left = _less(x, None if x_zero is None else x_zero.reshape(()))
    y = convolve(left.astype(np.float64), _less(w, zero).astype(np.float64), **attrs)  # whole numbers below 2**53: exact
    return y.astype(np.int32)


def _sums_body(b: Any, x: Any, w: Any, x_zero: Any = None, w_zero: Any = None, **attrs: Any) -> Any:
    taps = None if w.shape is None else product(w.shape[1:])
    exact = isinstance(taps, int) and taps * 255 * 255 < 1 << 24  # whole numbers that float32 holds
    wide = DType.FLOAT32 if exact else DType.FLOAT64
    if x_zero is not None and x_zero.rank != 0:
        x_zero = b.reshape(x_zero, shape=())
    if w_zero is not None and w_zero.rank != 0:
        b.require(w_zero.shape is not None and w.rank is not None, "the shape of the zero point of the filters must be known")
        w_zero = b.reshape(w_zero, shape=()) if w_zero.shape == (1,) else b.unsqueeze(w_zero, axes=tuple(range(1, w.rank)))
    return b.cast(b.conv(_wide(b, x, x_zero, wide), _wide(b, w, w_zero, wide), **attrs), to=DType.INT32)


def _conv_shape(c: InferContext) -> Shape | None:
    x, w = c.value("x"), c.value("w")
    if x is None or w is None or x.shape is None or w.shape is None:
        return None
    conv = op("conv")

    class Floats:
        """Values as conv wants them."""

        def __init__(self, v: Any) -> None:
            self.dtype, self.shape, self.rank, self.tensor = DType.FLOAT32, v.shape, v.rank, None

    ((_, shape),) = conv.infer(InferContext(conv, (Floats(x), Floats(w)), c.attrs))  # type: ignore[arg-type]
    return shape


def _sums_infer(c: InferContext) -> Shapes:
    _typed(c, "x", "w")
    return [(DType.INT32, _conv_shape(c))]


_ATTRS = CONV.ops["conv"].attrs
_NORMAL = spatial_attrs("strides", "dilations", "pads")
INTEGER.op(
    "conv_integer", "x:int, w:int, x_zero:int?, w_zero:int?",
    "conv of (x - x_zero) with (w - w_zero) in int32; w_zero is one number or one for each filter (ONNX ConvInteger).",
    attrs=_ATTRS, infer=_sums_infer, reference=lambda x, w, x_zero=None, w_zero=None, **kw: _sums(x, w, x_zero, w_zero, **kw),
    normalize=_NORMAL, axes=CHANNELS("x", "y"), body=_sums_body,
    samples=[
        Sample(("uint8", (2, 3, 11, 7), 0, 256), ("int8", (5, 3, 3, 2), -128, 128), np.uint8(9), strides=(2, 1),
            pads=((1, 2), (0, 1))),
        Sample(("uint8", (2, 7, 6), 0, 256), ("uint8", (4, 3, 3), 0, 256), np.uint8(9), ("uint8", (4,), 0, 256), groups=2,
            layout="channels_last"),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


def _scaled_conv(
    x: Array, x_scale: Array, x_zero: Array | None, w: Array, w_scale: Array, w_zero: Array | None, y_scale: Array,
    y_zero: Array | None = None, b: Array | None = None, **attrs: Any,
) -> Array:  # fmt: skip
    acc, layout = _sums(x, w, x_zero, w_zero, **attrs), attrs["layout"]
    if b is not None:
        acc = acc + _along_filters(b, x.ndim, layout)
    f = np.float32
    scale = x_scale.astype(f).reshape(()) * _along_filters(w_scale.astype(f), x.ndim, layout) / y_scale.astype(f).reshape(())
    return _stored(acc, scale, y_zero, x.dtype)


def _scaled_conv_body(
    b: Any, x: Any, x_scale: Any, x_zero: Any, w: Any, w_scale: Any, w_zero: Any, y_scale: Any, y_zero: Any = None,
    bias: Any = None, **attrs: Any,
) -> Any:  # fmt: skip
    def spread(p: Any) -> Any:
        b.require(p.shape is not None and x.rank is not None, "the shape of a scale or bias must be known")
        if p.shape in ((), (1,)):
            return b.reshape(p, shape=())
        return b.unsqueeze(p, axes=tuple(range(1, x.rank - 1))) if attrs["layout"] == "channels_first" and x.rank > 2 else p

    acc = b.conv_integer(x, w, x_zero, w_zero, **attrs)
    if bias is not None:
        acc = b.add(acc, spread(bias))
    scale = b.div(b.mul(b.reshape(x_scale, shape=()), spread(w_scale)), b.reshape(y_scale, shape=()))
    return _stored_body(b, acc, b.cast(scale, to=DType.FLOAT32), y_zero, x.dtype)


def _scaled_conv_infer(c: InferContext) -> Shapes:
    _typed(c, "x", "w")
    if c.dtype("b") not in (None, DType.INT32):
        c.fail(f"b is {c.dtype('b')}, must be int32")
    return [(_scaled_dtype(c, "x"), _conv_shape(c))]


INTEGER.op(
    "qlinear_conv",
    "x:int, x_scale:float, x_zero:int?, w:int, w_scale:float, w_zero:int?, y_scale:float, y_zero:int?, b:int?",
    "conv of stored integers, stored again, as qlinear_matmul; w_scale and w_zero are one number or one for each filter, b "
    "is added "
    "to the sums (ONNX QLinearConv).",
    attrs=_ATTRS, infer=_scaled_conv_infer, reference=_scaled_conv, normalize=_NORMAL, axes=CHANNELS("x", "y"),
    body=_scaled_conv_body,
    samples=[
        Sample(("uint8", (2, 3, 11, 7), 0, 256), _S, np.uint8(9), ("int8", (5, 3, 3, 2), -128, 128),
            ("float32", (5,), 0.01, 0.03), ("int8", (5,), -4, 4), np.float32(0.7), np.uint8(120), ("int32", (5,), -900, 900),
            strides=(2, 1)),
        Sample(("int8", (2, 7, 6), -128, 128), _S, np.int8(2), ("int8", (4, 3, 3), -128, 128), np.float32(0.02), np.int8(0),
            np.float32(0.9), np.int8(-7), groups=2, layout="channels_last"),
    ],
    traits=Trait.HEAVY | Trait.NO_FOLD,
)  # fmt: skip
