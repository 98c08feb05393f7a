"""Elementwise arithmetic, comparison and logic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Broadcast, Elementwise
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import broadcast_shapes
from ..opset.traits import Trait
from .special import erf, erfc

ARITHMETIC = OpSet("arithmetic")

Array = NDArray[Any]
Function = Callable[..., Any]

_ANY, _POS, _KEEP, _SWAP = Trait.NONE, Trait.NONNEGATIVE, Trait.KEEPS_SIGN, Trait.COMMUTES

_UNARY: list[tuple[str, Function, str, str, Trait]] = [
    ("identity", lambda x: x, "The input itself.", "value", Trait.SAME),
    ("abs", np.abs, "Absolute value.", "number", _POS),
    ("neg", np.negative, "-x.", "number", _ANY),
    ("sign", np.sign, "-1, 0 or 1; NaN stays (PyTorch gives 0).", "number", _KEEP),
    ("exp", np.exp, "e to the power x.", "float", _POS),
    ("expm1", np.expm1, "exp(x) - 1.", "float", _KEEP),
    ("log1p", np.log1p, "log(1 + x).", "float", _KEEP),
    ("square", np.square, "x * x.", "number", _POS),
    ("floor", np.floor, "Largest integer not above x.", "float", _KEEP),
    ("ceil", np.ceil, "Smallest integer not below x.", "float", _KEEP),
    ("round", np.rint, "Nearest integer, halves to even.", "float", _KEEP),
    ("trunc", np.trunc, "Towards zero.", "float", _KEEP),
    ("sin", np.sin, "Sine (radians).", "float", _ANY),
    ("cos", np.cos, "Cosine (radians).", "float", _ANY),
    ("tan", np.tan, "Tangent (radians).", "float", _ANY),
    ("atan", np.arctan, "Inverse tangent.", "float", _KEEP),
    ("sinh", np.sinh, "Hyperbolic sine.", "float", _KEEP),
    ("cosh", np.cosh, "Hyperbolic cosine.", "float", _POS),
    ("asinh", np.arcsinh, "Inverse hyperbolic sine.", "float", _KEEP),
    ("tanh", np.tanh, "Hyperbolic tangent.", "float", _KEEP),
    ("bitwise_not", np.bitwise_not, "All bits flipped.", "int", _ANY),
    ("not", np.logical_not, "Logical negation.", "bool", _ANY),
    ("erf", erf, "Error function.", "float", _KEEP),
    ("erfc", erfc, "1 - erf(x), accurate where erf is near 1.", "float", _POS),
]
for _name, _fn, _doc, _types, _traits in _UNARY:
    ARITHMETIC.unary(_name, _fn, _doc, types=_types, traits=_traits)

_POSITIVE = [Sample(("float32", (2, 3, 5), 0.1, 4.0))]
_UNIT = [Sample(("float32", (2, 3, 5), -0.9, 0.9))]
_RANGED: list[tuple[str, Function, str, list[Sample], Trait]] = [
    ("log", np.log, "Natural logarithm.", _POSITIVE, _ANY),
    ("sqrt", np.sqrt, "Square root.", _POSITIVE, _POS),
    ("rsqrt", lambda x: 1 / np.sqrt(x), "1 / sqrt(x).", _POSITIVE, _ANY),
    ("reciprocal", lambda x: 1 / x, "1 / x.", _POSITIVE, _ANY),
    ("acosh", np.arccosh, "Inverse hyperbolic cosine.", [Sample(("float32", (2, 3, 5), 1.1, 4.0))], _POS),
    ("asin", np.arcsin, "Inverse sine.", _UNIT, _KEEP),
    ("acos", np.arccos, "Inverse cosine.", _UNIT, _POS),
    ("atanh", np.arctanh, "Inverse hyperbolic tangent.", _UNIT, _KEEP),
]
for _name, _fn, _doc, _samples, _traits in _RANGED:
    ARITHMETIC.unary(_name, _fn, _doc, samples=_samples, traits=_traits)

for _name, _fn, _doc in [
    ("isnan", np.isnan, "Whether x is not a number."),
    ("isinf", np.isinf, "Whether x is infinite."),
    ("isfinite", np.isfinite, "Whether x is neither infinite nor not a number."),
]:
    ARITHMETIC.unary(_name, _fn, _doc, to=DType.BOOL)


def _isinf_signed(x: Array, positive: bool, negative: bool) -> Array:
    return np.isinf(x) & ((x > 0) & positive | (x < 0) & negative)


def _isinf_signed_body(b: Any, x: Any, *, positive: bool, negative: bool) -> Any:
    zero = b.like(x, 0)
    if positive and negative:
        return b.isinf(x)
    if not positive and not negative:
        return b.and_(b.isinf(x), b.not_(b.isinf(x)))
    return b.and_(b.isinf(x), b.greater(x, zero) if positive else b.less(x, zero))


ARITHMETIC.unary(
    "isinf_signed", _isinf_signed, "Whether x is infinite with one of the signs asked for.", to=DType.BOOL,
    attrs={"positive": Attr("bool", True), "negative": Attr("bool", True)}, body=_isinf_signed_body,
    samples=[
        Sample(np.array([[np.inf, -np.inf, np.nan], [0, 2.5, -1]], np.float32), positive=p, negative=n)
        for p in (True, False)
        for n in (True, False)
    ],
)  # fmt: skip


def _cbrt_body(b: Any, x: Any) -> Any:
    return b.mul(b.sign(x), b.pow(b.abs(x), b.like(x, 1 / 3)))


ARITHMETIC.unary("cbrt", np.cbrt, "Cube root.", body=_cbrt_body, traits=_KEEP)
ARITHMETIC.unary("exp2", np.exp2, "2 to the power x.", body=lambda b, x: b.pow(b.like(x, 2), x), traits=_POS)
ARITHMETIC.unary(
    "log2", np.log2, "Logarithm to base 2.", body=lambda b, x: b.div(b.log(x), b.like(x, math.log(2))),
    samples=_POSITIVE,
)  # fmt: skip
ARITHMETIC.unary(
    "log10", np.log10, "Logarithm to base 10.", body=lambda b, x: b.div(b.log(x), b.like(x, math.log(10))),
    samples=_POSITIVE,
)  # fmt: skip


def _div(x: Array, y: Array) -> Array:
    """True division; integers truncate towards zero (C, ONNX Div)."""
    if x.dtype.kind in "iu":
        q: Array = np.floor_divide(x, y)
        q = q + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0)))
        return q
    out: Array = x / y
    return out


_BINARY: list[tuple[str, Function, str, str, Trait]] = [
    ("add", np.add, "x + y.", "number", _SWAP | _KEEP),
    ("sub", np.subtract, "x - y.", "number", _ANY),
    ("mul", np.multiply, "x * y.", "number", _SWAP | _KEEP),
    ("maximum", np.maximum, "The larger of the two; NaN wins.", "number", _SWAP | _KEEP),
    ("minimum", np.minimum, "The smaller of the two; NaN wins.", "number", _SWAP | _KEEP),
    ("atan2", np.arctan2, "Angle of the point (y, x); first input is the ordinate.", "float", _ANY),
    ("floor_mod", np.remainder, "Remainder with the sign of the divisor (Python's %).", "number", _KEEP),
    ("fmod", np.fmod, "Remainder with the sign of the dividend (C's fmod).", "number", _KEEP),
    ("bitwise_and", np.bitwise_and, "Bitwise and.", "int", _SWAP | _KEEP),
    ("bitwise_or", np.bitwise_or, "Bitwise or.", "int", _SWAP | _KEEP),
    ("bitwise_xor", np.bitwise_xor, "Bitwise exclusive or.", "int", _SWAP | _KEEP),
]
for _name, _fn, _doc, _types, _traits in _BINARY:
    _s = None
    if _name in ("floor_mod", "fmod"):
        _s = [Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)), Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))]
    ARITHMETIC.binary(_name, _fn, _doc, types=_types, samples=_s, traits=_traits)

ARITHMETIC.binary(
    "div", _div, "x / y; integers truncate towards zero.",
    samples=[Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)),
        Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))],
)  # fmt: skip
ARITHMETIC.binary(
    "floor_div", np.floor_divide, "floor(x / y).",
    samples=[Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)),
        Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))],
)  # fmt: skip
ARITHMETIC.binary(
    "pow", np.power, "x to the power y.",
    samples=[Sample(("float32", (2, 3, 5), 0.1, 3.0), (3, 1)), Sample(("float32", (2, 3, 5), 0.1, 3.0), np.float32(2))],
)  # fmt: skip

for _name, _fn, _doc, _traits in [
    ("equal", np.equal, "x == y.", _SWAP),
    ("not_equal", np.not_equal, "x != y.", _SWAP),
    ("less", np.less, "x < y.", _ANY),
    ("less_equal", np.less_equal, "x <= y.", _ANY),
    ("greater", np.greater, "x > y.", _ANY),
    ("greater_equal", np.greater_equal, "x >= y.", _ANY),
]:
    ARITHMETIC.binary(_name, _fn, _doc, types="any", to=DType.BOOL, traits=_traits)

for _name, _fn, _doc in [
    ("and", np.logical_and, "Both."),
    ("or", np.logical_or, "Either."),
    ("xor", np.logical_xor, "Exactly one."),
]:
    ARITHMETIC.binary(_name, _fn, _doc, types="bool", traits=_SWAP)


def _shift(up: bool) -> Function:
    """A shift in the width of x; bits shifted out are lost.

    A count that is negative, or the width or more, which C leaves undefined, gives 0 (-1 for a negative x shifted right).
    """

    def fn(x: Array, y: Array) -> Array:
        count = np.where(y < 0, 8 * x.dtype.itemsize, y).astype(y.dtype)
        out: Array = np.left_shift(x, count) if up else np.right_shift(x, count)
        return out

    return fn


_COUNTS = [Sample(("int32", (2, 3, 5), -90, 90), ("int32", (3, 1), 0, 5)), Sample(("uint8", (2, 3)), ("uint8", (2, 3), 0, 9))]
ARITHMETIC.binary("shift_left", _shift(True), "x times 2 to the power y, in the bits of x.", types="int", samples=_COUNTS)
ARITHMETIC.binary("shift_right", _shift(False), "x shifted by y bits; the sign is kept.", types="int", samples=_COUNTS)


def _where_shape(c: InferContext) -> list[tuple[DType | None, Shape | None]]:
    if c.dtype("x") and c.dtype("y") and c.dtype("x") != c.dtype("y"):
        c.fail(f"x is {c.dtype('x')} and y is {c.dtype('y')}")
    return [(c.dtype("x") or c.dtype("y"), broadcast_shapes(c.shape("condition"), c.shape("x"), c.shape("y")))]


ARITHMETIC.op(
    "where", "condition:bool, x, y", "x where the condition holds, else y; all three broadcast.",
    outputs="z", infer=_where_shape, reference=lambda c, x, y: np.where(c, x, y), axes=Broadcast(),
    samples=[Sample(("bool", (2, 3, 5)), (2, 3, 5), (3, 1)), Sample(("bool", (2, 1, 1)), (2, 3, 5), ())],
    traits=Trait.POINTWISE | Trait.KEEPS_SIGN,
)  # fmt: skip


def _limits(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    """Limits as floats; of an integer x as integers, which are exact at any size."""
    x = inputs[0] if inputs else None
    whole = x is not None and x.dtype is not None and x.dtype.is_int
    for name in ("min", "max"):
        v = attrs[name]
        if v is None:
            continue
        if isinstance(v, (bool, np.bool_)) or not isinstance(v, (int, float, np.integer, np.floating)) or v != v:
            raise ShapeError(f"clip: attribute {name}={v!r} is not a number")
        if not whole:
            attrs[name] = float(v)
        elif np.isinf(v):
            attrs[name] = None if (v < 0) == (name == "min") else v
        elif int(v) != v:
            raise ShapeError(f"clip: {name}={v!r} is not an integer, but x is {x.dtype if x else None}")
        else:
            attrs[name] = int(v)


def _clip(x: Array, min: float | None, max: float | None) -> Array:
    if x.dtype.kind == "f" and x.dtype.itemsize > 2:  # one pass, where numpy has it
        low, high = (np.asarray(v, x.dtype) for v in (-math.inf if min is None else min, math.inf if max is None else max))
        return np.clip(x, low, high)
    y = x
    lowest, highest = (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max) if x.dtype.kind in "iu" else (-math.inf, math.inf)
    if min is not None and min > lowest:
        y = np.maximum(y, np.asarray(min if min < highest else highest, x.dtype))
    if max is not None and max < highest:
        y = np.minimum(y, np.asarray(max if max > lowest else lowest, x.dtype))
    return y


ARITHMETIC.op(
    "clip", "x:number", "Limited to [min, max]; None leaves a side open. NaN stays; where min > max the result is max.",
    attrs={"min": Attr("any", None), "max": Attr("any", None)}, normalize=_limits, reference=_clip, axes=Elementwise(),
    samples=[Sample((2, 3, 5), min=-0.5, max=0.7), Sample((2, 3, 5), max=0.1),
        Sample(("int32", (2, 3, 5), -9, 9), min=-3)],
    traits=Trait.POINTWISE,
)  # fmt: skip


def _cast_shape(c: InferContext) -> list[tuple[DType | None, Shape | None]]:
    if c["to"] is DType.STRING and c.dtype("x") not in (None, DType.STRING):
        c.fail("numbers have no one text form; casting to string is not supported")
    return [(c["to"], c.shape("x"))]


_SATURATING = (DType.FLOAT8_E4M3FN, DType.FLOAT8_E4M3FNUZ, DType.FLOAT8_E5M2, DType.FLOAT8_E5M2FNUZ)


def converted(x: Array, to: DType, saturate: bool = True, rounding: str = "up") -> Array:
    """An array cast to another dtype, as the op ``cast`` does it."""
    with np.errstate(all="ignore"):
        if to is DType.FLOAT8_E8M0FNU:
            return _powers_of_two(np.asarray(x, np.float32), saturate, rounding).view(to.numpy)
        if to in _SATURATING and saturate:
            low, high = to.limits
            x = np.clip(np.asarray(x, np.float64 if x.dtype == np.float64 else np.float32), low, high)
        elif x.dtype.kind == "O" and to.is_float:
            return x.astype(np.float64).astype(to.numpy)
        elif to.is_small and (held := DType.of(x.dtype)).is_small and held.is_int:
            x = x.astype(np.int32)  # ml_dtypes has no casts between its own integers
        return x.astype(to.numpy)


def _powers_of_two(x: Array, saturate: bool, rounding: str) -> Array:
    """The biased exponents of float32 numbers (E8M0): the sign is dropped, infinities are NaN as NaN is."""
    bits = x.view(np.uint32)
    exponent, rest = ((bits >> 23) & 0xFF).astype(np.uint16), bits & 0x7FFFFF
    if rounding == "up":
        more = rest > 0
    elif rounding == "nearest":  # halves away from zero, to 0 below the smallest
        more = ((bits & 0x400000) > 0) & (((bits & 0x3FFFFF) > 0) | (exponent > 0))
    else:
        more = np.zeros(x.shape, bool)
    finite = exponent < 0xFF
    more &= finite & ~((exponent == 0xFE) & saturate)
    return np.asarray(np.where(finite, exponent + more, 0xFF), np.uint8)


ARITHMETIC.op(
    "cast", "x",
    "Converted to another dtype; floats to integers truncate towards zero, to bool is x != 0. Of float8 types: with saturate "
    "what "
    "is too large, infinities too, becomes the largest number, without it infinity or NaN; rounding says how numbers become "
    "powers "
    "of two (float8_e8m0fnu). Strings are read as numbers; numbers are not written as strings.",
    attrs={"to": Attr("dtype"), "saturate": Attr("bool", True), "rounding": Attr("str", "up", ("up", "down", "nearest"))},
    infer=_cast_shape, reference=converted, axes=Elementwise(),
    samples=[Sample((2, 3, 5), to="int32"), Sample(("int32", (2, 3, 5)), to="float32"),
        Sample(("int32", (2, 3, 5)), to="bool")],
    traits=Trait.POINTWISE | Trait.KEEPS_SIGN,
)  # fmt: skip


def _bitcast_shape(c: InferContext) -> list[tuple[DType | None, Shape | None]]:
    x, to = c.dtype("x"), c["to"]
    if DType.STRING in (x, to) or (x is not None and x.bits != to.bits):
        c.fail(f"{x} and {to} do not have the same number of bits")
    return [(to, c.shape("x"))]


ARITHMETIC.op(
    "bitcast", "x", "The bits of every element read as another dtype of as many bits (ONNX BitCast).",
    attrs={"to": Attr("dtype")}, infer=_bitcast_shape, axes=Elementwise(),
    reference=lambda x, to: np.ascontiguousarray(x).view(to.numpy).reshape(x.shape),
    samples=[Sample((2, 3, 5), to="int32"), Sample(("int8", (2, 3), -128, 128), to="uint8")], traits=Trait.POINTWISE,
)  # fmt: skip
