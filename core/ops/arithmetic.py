"""Elementwise arithmetic, comparison and logic."""

from __future__ import annotations

import numpy as np

from ..ir.dtypes import DType
from .axes import Broadcast, Elementwise
from .declare import Attr, InferContext, OpSet, Sample
from .shapes import broadcast_shapes

ARITHMETIC = OpSet("arithmetic")

for _name, _fn, _doc, _types in [
    ("identity", lambda x: x, "The input itself.", "any"),
    ("abs", np.abs, "Absolute value.", "number"),
    ("neg", np.negative, "-x.", "number"),
    ("sign", np.sign, "-1, 0 or 1.", "number"),
    ("exp", np.exp, "e to the power x.", "float"),
    ("expm1", np.expm1, "exp(x) - 1.", "float"),
    ("log1p", np.log1p, "log(1 + x).", "float"),
    ("square", np.square, "x * x.", "number"),
    ("floor", np.floor, "Largest integer not above x.", "float"),
    ("ceil", np.ceil, "Smallest integer not below x.", "float"),
    ("round", np.rint, "Nearest integer, halves to even.", "float"),
    ("trunc", np.trunc, "Towards zero.", "float"),
    ("sin", np.sin, "Sine (radians).", "float"),
    ("cos", np.cos, "Cosine (radians).", "float"),
    ("tan", np.tan, "Tangent (radians).", "float"),
    ("atan", np.arctan, "Inverse tangent.", "float"),
    ("sinh", np.sinh, "Hyperbolic sine.", "float"),
    ("cosh", np.cosh, "Hyperbolic cosine.", "float"),
    ("asinh", np.arcsinh, "Inverse hyperbolic sine.", "float"),
    ("tanh", np.tanh, "Hyperbolic tangent.", "float"),
    ("bitwise_not", np.bitwise_not, "All bits flipped.", "int"),
    ("not", np.logical_not, "Logical negation.", "bool"),
]:
    ARITHMETIC.unary(_name, _fn, _doc, types=_types)

_POSITIVE = [Sample(("float32", (2, 3, 5), 0.1, 4.0))]
_UNIT = [Sample(("float32", (2, 3, 5), -0.9, 0.9))]
for _name, _fn, _doc, _samples in [
    ("log", np.log, "Natural logarithm.", _POSITIVE),
    ("sqrt", np.sqrt, "Square root.", _POSITIVE),
    ("rsqrt", lambda x: 1 / np.sqrt(x), "1 / sqrt(x).", _POSITIVE),
    ("reciprocal", lambda x: 1 / x, "1 / x.", _POSITIVE),
    ("acosh", np.arccosh, "Inverse hyperbolic cosine.", [Sample(("float32", (2, 3, 5), 1.1, 4.0))]),
    ("asin", np.arcsin, "Inverse sine.", _UNIT),
    ("acos", np.arccos, "Inverse cosine.", _UNIT),
    ("atanh", np.arctanh, "Inverse hyperbolic tangent.", _UNIT),
]:
    ARITHMETIC.unary(_name, _fn, _doc, samples=_samples)

for _name, _fn, _doc in [
    ("isnan", np.isnan, "Whether x is not a number."),
    ("isinf", np.isinf, "Whether x is infinite."),
    ("isfinite", np.isfinite, "Whether x is neither infinite nor not a number."),
]:
    ARITHMETIC.unary(_name, _fn, _doc, to=DType.BOOL)


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """True division; integers truncate towards zero (C, ONNX Div)."""
    if x.dtype.kind in "iu":
        q = np.floor_divide(x, y)
        return q + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0)))
    return x / y


for _name, _fn, _doc, _types in [
    ("add", np.add, "x + y.", "number"),
    ("sub", np.subtract, "x - y.", "number"),
    ("mul", np.multiply, "x * y.", "number"),
    ("maximum", np.maximum, "The larger of the two; NaN wins.", "number"),
    ("minimum", np.minimum, "The smaller of the two; NaN wins.", "number"),
    ("atan2", np.arctan2, "Angle of the point (y, x); first input is the ordinate.", "float"),
    ("floor_mod", np.remainder, "Remainder with the sign of the divisor (Python's %).", "number"),
    ("fmod", np.fmod, "Remainder with the sign of the dividend (C's fmod).", "number"),
    ("bitwise_and", np.bitwise_and, "Bitwise and.", "int"),
    ("bitwise_or", np.bitwise_or, "Bitwise or.", "int"),
    ("bitwise_xor", np.bitwise_xor, "Bitwise exclusive or.", "int"),
]:
    _s = None
    if _name in ("floor_mod", "fmod"):
        _s = [Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)), Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))]
    ARITHMETIC.binary(_name, _fn, _doc, types=_types, samples=_s)

ARITHMETIC.binary(
    "div", _div, "x / y; integers truncate towards zero.",
    samples=[Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)), Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))],
)  # fmt: skip
ARITHMETIC.binary(
    "floor_div", np.floor_divide, "floor(x / y).",
    samples=[Sample((2, 3, 5), ("float32", (3, 1), 0.5, 3.0)), Sample(("int32", (2, 3, 5), -9, 9), ("int32", (5,), 1, 4))],
)  # fmt: skip
ARITHMETIC.binary(
    "pow", np.power, "x to the power y.",
    samples=[Sample(("float32", (2, 3, 5), 0.1, 3.0), (3, 1)), Sample(("float32", (2, 3, 5), 0.1, 3.0), np.float32(2))],
)  # fmt: skip

for _name, _fn, _doc in [
    ("equal", np.equal, "x == y."),
    ("not_equal", np.not_equal, "x != y."),
    ("less", np.less, "x < y."),
    ("less_equal", np.less_equal, "x <= y."),
    ("greater", np.greater, "x > y."),
    ("greater_equal", np.greater_equal, "x >= y."),
]:
    ARITHMETIC.binary(_name, _fn, _doc, types="any", to=DType.BOOL)

for _name, _fn, _doc in [
    ("and", np.logical_and, "Both."),
    ("or", np.logical_or, "Either."),
    ("xor", np.logical_xor, "Exactly one."),
]:
    ARITHMETIC.binary(_name, _fn, _doc, types="bool")


def _where_shape(c: InferContext) -> list[tuple[DType | None, object]]:
    if c.dtype("x") and c.dtype("y") and c.dtype("x") != c.dtype("y"):
        c.fail(f"x is {c.dtype('x')} and y is {c.dtype('y')}")
    return [(c.dtype("x"), broadcast_shapes(c.shape("condition"), c.shape("x"), c.shape("y")))]


ARITHMETIC.op(
    "where", "condition:bool, x, y", "x where the condition holds, else y; all three broadcast.",
    outputs="z", infer=_where_shape, reference=lambda c, x, y: np.where(c, x, y), axes=Broadcast(),
    samples=[Sample(("bool", (2, 3, 5)), (2, 3, 5), (3, 1)), Sample(("bool", (2, 1, 1)), (2, 3, 5), ())],
)  # fmt: skip
ARITHMETIC.op(
    "clip", "x:number", "Limited to [min, max]; None leaves a side open. NaN stays.",
    attrs={"min": Attr("float", None), "max": Attr("float", None)},
    reference=lambda x, min, max: np.clip(
        x, None if min is None else np.asarray(min, x.dtype), None if max is None else np.asarray(max, x.dtype)
    ) if min is not None or max is not None else x,
    axes=Elementwise(), samples=[Sample((2, 3, 5), min=-0.5, max=0.7), Sample((2, 3, 5), max=0.1)],
)  # fmt: skip


def _cast(x: np.ndarray, to: DType) -> np.ndarray:
    with np.errstate(all="ignore"):
        return x.astype(to.numpy)


ARITHMETIC.op(
    "cast", "x", "Converted to another dtype; floats to integers truncate towards zero.",
    attrs={"to": Attr("dtype")}, infer=lambda c: [(c["to"], c.shape("x"))], reference=_cast, axes=Elementwise(),
    samples=[Sample((2, 3, 5), to="int32"), Sample(("int32", (2, 3, 5)), to="float32")],
)  # fmt: skip
