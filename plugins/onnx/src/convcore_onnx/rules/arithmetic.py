"""Elementwise arithmetic, comparison and logic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcore.plugin import MISSING, A, DType, ForeignNode, I, Node, NotExpressible, Value, isomorphism, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import DTYPES, RULES, dtype_code, dtype_of
from .steps import Steps, dtype_known

RULES.ignore("consumed_inputs")  # in-place hints of opset 1

_UNARY = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh",
    "BitwiseNot": "bitwise_not", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Floor": "floor",
    "IsNaN": "isnan", "Log": "log", "Neg": "neg", "Not": "not", "Reciprocal": "reciprocal", "Round": "round", "Sign": "sign",
    "Sin": "sin", "Sinh": "sinh", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip
for _type, _op in _UNARY.items():
    RULES.op(_type, _op, "input=x", since=18 if _type.startswith("Bitwise") else None)

_BOTH_SIGNS = {"detect_negative": {1, MISSING}, "detect_positive": {1, MISSING}}
RULES.op("IsInf", "isinf", "X=x", when=_BOTH_SIGNS)
RULES.op(
    "IsInf", "isinf_signed", "X=x", positive=A("detect_positive", 1, "bool_int"), negative=A("detect_negative", 1, "bool_int")
)

# ---- two inputs

_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "And": "and", "Or": "or", "Xor": "xor",
    "Equal": "equal", "Greater": "greater", "Less": "less",
}  # fmt: skip
for _type, _op in _BINARY.items():
    RULES.op(_type, _op, "A=x, B=y", since=7)
for _type, _op, _since in [
    ("GreaterOrEqual", "greater_equal", 12),
    ("LessOrEqual", "less_equal", 12),
    ("BitwiseAnd", "bitwise_and", 18),
    ("BitwiseOr", "bitwise_or", 18),
    ("BitwiseXor", "bitwise_xor", 18),
]:
    RULES.op(_type, _op, "A=x, B=y", since=_since)
RULES.op("Mod", "fmod", "A=x, B=y", when={"fmod": 1})
RULES.op("BitShift", "shift_left", "X=x, Y=y", when={"direction": "LEFT"})
RULES.op("BitShift", "shift_right", "X=x, Y=y", when={"direction": "RIGHT"})
RULES.op("Where", "where", "condition=condition, X=x, Y=y")


def _limited(g: OnnxContext, node: ForeignNode) -> tuple[Value, Value]:
    """The operands of a binary op before opset 7: equal shapes, or B spread over the axes of A from ``axis`` on."""
    a, b = node.needed()
    axis, spread = node.attr("axis", None), node.attr("broadcast", 0)
    sa, sb = known_shape(a), known_shape(b)
    if not spread:
        if len(sa) != len(sb) or any(isinstance(m, int) and isinstance(n, int) and m != n for m, n in zip(sa, sb)):
            raise node.refuse(f"shapes {sa} and {sb} differ and broadcast is not set")
        return a, b
    if axis is None or len(sb) == 0:
        return a, b
    if axis < 0:
        axis += len(sa)
    after = len(sa) - axis - len(sb)
    if axis < 0 or after < 0:
        raise node.refuse(f"axis={axis} does not place the {len(sb)} axes of the second input among {len(sa)}")
    return a, g.b.unsqueeze(b, axes=tuple(range(len(sb), len(sb) + after))) if after else b


def _before_7(op_name: str) -> Any:
    def load(g: OnnxContext, node: ForeignNode) -> Any:
        a, b = _limited(g, node)
        return g.b.op(op_name, a, b)

    return load


for _type, _op in _BINARY.items():
    RULES.load(_type, until=6)(_before_7(_op))


@RULES.load("Pow", since=12, priority=1)
def pow_of_two_dtypes(g: OnnxContext, node: ForeignNode) -> Any:
    """The result has the base's dtype; the power is taken in it where it holds the exponent exactly, else in float64."""
    x, y = node.needed()
    dx, dy = dtype_known(x), dtype_known(y)
    if dx is dy:
        raise NotExpressible("base and exponent have one dtype")
    value = g.constant(y)
    if value is not None:
        same = value.astype(dx.numpy)
        if np.array_equal(same.astype(np.float64), value.astype(np.float64)):
            return g.b.pow(x, g.b.weight(same))
    elif np.can_cast(dy.numpy, dx.numpy, "safe"):
        return g.b.pow(x, g.b.cast(y, to=dx))
    wide = DType.FLOAT64
    return g.b.cast(g.b.pow(g.b.cast(x, to=wide), g.b.cast(y, to=wide)), to=dx)


# ---- any number of inputs


def _folded(op_name: str) -> Any:
    def load(g: OnnxContext, node: ForeignNode) -> Any:
        first, *rest = node.needed()
        for v in rest:
            first = g.b.op(op_name, first, v)
        return first if rest else g.b.identity(first)

    return load


for _type, _op in {"Max": "maximum", "Min": "minimum"}.items():
    RULES.op(_type, _op, "data_0=x, data_1=y")
    RULES.load(_type)(_folded(_op))
RULES.op("Sum", "add", "data_0=x, data_1=y", direction="load")
RULES.load("Sum")(_folded("add"))


@RULES.load("Mean")
def mean_of_inputs(g: OnnxContext, node: ForeignNode) -> Any:
    total = _folded("add")(g, node)
    return g.b.div(total, g.b.like(total, len(node.inputs))) if len(node.inputs) > 1 else total


# ---- clip

_LARGEST = float(np.finfo(np.float32).max)  # what opsets 6 to 10 default to: infinities are limited too
RULES.op("Clip", "clip", "input=x", until=5, direction="load", min=A("min", None), max=A("max", None))
RULES.op("Clip", "clip", "input=x", since=6, until=10, direction="load", min=A("min", -_LARGEST), max=A("max", _LARGEST))
RULES.op(
    "Clip", "clip", "input=x, min=_, max=_", since=11,
    min=I("min", None, "scalar", dtype="like"), max=I("max", None, "scalar", dtype="like"),
)  # fmt: skip


@RULES.load("Clip", since=11)
def clip_by_values(g: OnnxContext, node: ForeignNode) -> Any:
    """Limits that are computed; the upper one wins."""
    x, low, high = node.need(0), node.input(1), node.input(2)
    if low is not None:
        x = g.b.maximum(x, low)
    return x if high is None else g.b.minimum(x, high)


# ---- casts


def _cast_to(code: Any) -> DType:
    """From opset 6 a code, before it a name of one."""
    if isinstance(code, str):
        names = {"FLOAT": 1, "DOUBLE": 11}
        found = names.get(code.upper())
        return DTYPES[found] if found else _named(code.lower())
    to = dtype_of(code)
    if to is DType.STRING:
        raise NotExpressible("numbers have no one text form, so casting to string is not supported")
    return to


def _named(name: str) -> DType:
    for d in DTYPES.values():
        if d.value == name and d is not DType.STRING:
            return d
    raise NotExpressible(f"element type {name!r} is not supported")


isomorphism("onnx_cast", _cast_to, dtype_code, "a TensorProto.DataType code, or its name before opset 6, as a DType")
RULES.op(
    "Cast", "cast", "input=x", to=A("to", iso="onnx_cast"), saturate=A("saturate", 1, "bool_int"), rounding=A("round_mode", "up")
)
RULES.op("BitCast", "bitcast", "input=x", since=26, to=A("to", iso="onnx_dtype"))


@RULES.load("CastLike")
def cast_like(g: OnnxContext, node: ForeignNode) -> Any:
    saturate, rounding = node.attr("saturate", 1), node.attr("round_mode", "up")
    to = dtype_known(node.need(1))
    return g.b.cast(node.need(0), to=to, saturate=bool(saturate), rounding=rounding)


# ---- remainders and floor division


_FLOORED = {"fmod": frozenset({0, MISSING})}
RULES.op("Mod", "floor_mod", "A=x, B=y", until=27, when=_FLOORED, direction="load")
RULES.op("Mod", "floor_mod", "A=x, B=y", until=27, when=_FLOORED, direction="emit", types={"x": "int"})
RULES.op("Mod", "floor_mod", "A=x, B=y", since=28, when=_FLOORED)


def _floor_mod(s: Steps, x: Any, y: Any, dtype: DType) -> Any:
    """x - floor(x / y) * y by Mod; of floats before opset 28 by the remainder of C, moved over to the sign of y."""
    if not dtype.is_float or s.e.dialect.opset >= 28:
        return s.Mod(x, y, fmod=0)
    r = s.Mod(x, y, fmod=1)
    zero = s.const(0, dtype)
    turned = s.And(s.Not(s.Equal(r, zero)), s.Xor(s.Less(r, zero), s.Less(y, zero)))
    return s.Where(turned, s.Add(r, y), r)


@RULES.emit("floor_mod", until=27)
def emit_floor_mod(e: OnnxScribe, node: Node) -> None:
    """Of floats."""
    s = Steps(e, node)
    x, y = node.need("x"), node.need("y")
    s.last("Identity", _floor_mod(s, x, y, dtype_known(x)))


@RULES.emit("floor_div")
def emit_floor_div(e: OnnxScribe, node: Node) -> None:
    """The quotient less the remainder's part: x - floor_mod(x, y) is a multiple of y up to rounding.

    By an infinite y the quotient is 0, or -1 where the signs differ (numpy.floor_divide).
    """
    s = Steps(e, node)
    x, y = node.inputs
    dtype = dtype_known(x)
    if dtype.value.startswith("uint"):
        s.last("Div", x, y)
        return
    r = _floor_mod(s, x, y, dtype)
    if dtype.is_int:
        s.last("Div", s.Sub(x, r), y)
        return
    near = s.Round(s.Div(s.Sub(x, r), y))
    below = s.Where(s.Less(s.Mul(x, y), s.const(0, dtype)), s.const(-1, dtype), s.const(0, dtype))
    finite = s.Where(s.Equal(s.Abs(y), s.const(np.inf, dtype)), s.Add(s.Div(x, y), below), near)
    s.last("Where", s.Equal(y, s.const(0, dtype)), s.Div(x, y), finite)


@RULES.emit("where", priority=1)
def emit_where_of_bool(e: OnnxScribe, node: Node) -> None:
    """onnxruntime 1.32 runs no Where of truth values."""
    s, (condition, x, y) = Steps(e, node), node.inputs
    if node.output.dtype is not DType.BOOL:
        raise NotExpressible(f"a Where of {node.output.dtype} is one")
    s.last("Or", s.And(condition, x), s.And(s.Not(condition), y))


# ---- ops ONNX lacks


RULES.op("Mul", "square", "A=x, B=x", direction="emit")


@RULES.emit("rsqrt")
def emit_rsqrt(e: OnnxScribe, node: Node) -> None:
    s = Steps(e, node)
    s.last("Reciprocal", s.Sqrt(node.need("x")))


@RULES.emit("trunc")
def emit_trunc(e: OnnxScribe, node: Node) -> None:
    s = Steps(e, node)
    x = node.need("x")
    s.last("Where", s.Less(x, s.const(0, dtype_known(x))), s.Ceil(x), s.Floor(x))


def _infinite(s: Steps, x: Value) -> Any:
    return s.Equal(s.Abs(x), s.const(math.inf, dtype_known(x)))


@RULES.emit("isinf", priority=-1)
def emit_isinf(e: OnnxScribe, node: Node) -> None:
    """IsInf takes float32 and float64 only before opset 20."""
    s = Steps(e, node)
    s.last("Identity", _infinite(s, node.need("x")))


@RULES.emit("isfinite")
def emit_isfinite(e: OnnxScribe, node: Node) -> None:
    s = Steps(e, node)
    s.last("Not", s.Or(s.IsNaN(node.need("x")), _infinite(s, node.need("x"))))


@RULES.emit("not_equal")
def emit_not_equal(e: OnnxScribe, node: Node) -> None:
    s = Steps(e, node)
    s.last("Not", s.Equal(*node.inputs))


def _small(s: Steps, x: Value, near: Any, far: Any) -> None:
    """``near`` where |x| < 1/2, where the plain formula would lose digits, else ``far``."""
    s.last("Where", s.Less(s.Abs(x), s.const(0.5, dtype_known(x))), near, far)


@RULES.emit("expm1")
def emit_expm1(e: OnnxScribe, node: Node) -> None:
    """exp(x) - 1; near 0 as 2t / (1 - t) with t = tanh(x / 2)."""
    s, x = Steps(e, node), node.need("x")
    d = dtype_known(x)
    one = s.const(1, d)
    t = s.Tanh(s.Mul(x, s.const(0.5, d)))
    _small(s, x, s.Div(s.Add(t, t), s.Sub(one, t)), s.Sub(s.Exp(x), one))


@RULES.emit("log1p")
def emit_log1p(e: OnnxScribe, node: Node) -> None:
    """log(1 + x); near 0 as 2 atanh(x / (2 + x))."""
    s, x = Steps(e, node), node.need("x")
    d = dtype_known(x)
    h = s.Atanh(s.Div(x, s.Add(x, s.const(2, d))))
    _small(s, x, s.Add(h, h), s.Log(s.Add(x, s.const(1, d))))


@RULES.emit("atan2")
def emit_atan2(e: OnnxScribe, node: Node) -> None:
    """atan(y / x), moved by pi to the left half plane on the side of y's sign; the sign of a zero y is that of 1 / y."""
    s = Steps(e, node)
    y, x = node.inputs
    d = dtype_known(x)
    zero, pi = s.const(0, d), s.const(math.pi, d)
    both = s.And(s.IsInf(x), s.IsInf(y))
    none = s.And(s.Equal(x, zero), s.Equal(y, zero))
    ratio = s.Where(both, s.Div(s.Sign(y), s.Sign(x)), s.Where(none, y, s.Div(y, x)))
    left = s.Or(s.Less(x, zero), s.Less(s.Reciprocal(x), zero))
    below = s.Or(s.Less(y, zero), s.Less(s.Reciprocal(y), zero))
    angle = s.Atan(ratio)
    # a zero over a negative x is a zero of the other sign: take the magnitude there and set the sign by y
    turned = s.Where(below, s.Sub(angle, pi), s.Add(angle, pi))
    s.last("Where", left, turned, angle)
