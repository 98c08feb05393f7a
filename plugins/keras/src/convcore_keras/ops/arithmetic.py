"""Functions of two tensors, element by element, and of conditions (``keras.src.ops.numpy``, Keras 3.15.1)."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, ForeignNode, NotExpressible, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .elementwise import is_float
from .spec import OPERATIONS, joined, operation, operations, to_dtype

__all__: list[str] = []

# ---- one op each, of one number type
_NUMBERS = {
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Maximum": "maximum", "Minimum": "minimum", "Power": "pow",
    "FloorDivide": "floor_div", "Mod": "floor_mod", "Fmod": "fmod",
}  # fmt: skip
for _class, _op in _NUMBERS.items():
    RULES.op(operation(_class, "x1, x2", "join"), _op, "x1=x, x2=y", alike=("dtype",), types={"x": ("float", "int")})
for _class, _op in {"Divide": "div", "TrueDivide": "div", "Arctan2": "atan2"}.items():
    RULES.op(operation(_class, "x1, x2", "float"), _op, "x1=x, x2=y", alike=("dtype",), types={"x": "float"})
_ORDER = {"Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less", "LessEqual": "less_equal"}
for _class, _op in _ORDER.items():
    RULES.op(operation(_class, "x1, x2", "join"), _op, "x1=x, x2=y", alike=("dtype",), types={"x": ("float", "int")})
for _class, _op in {"Equal": "equal", "NotEqual": "not_equal"}.items():
    RULES.op(operation(_class, "x1, x2", "join"), _op, "x1=x, x2=y", alike=("dtype",))
_LOGIC = {"LogicalAnd": "and", "LogicalOr": "or", "LogicalXor": "xor"}
for _class, _op in _LOGIC.items():
    RULES.op(operation(_class, "x1, x2", "keep"), _op, "x1=x, x2=y", types={"x": "bool", "y": "bool"})
for _class, _op in {"Add": "or", "Maximum": "or", "Multiply": "and", "Minimum": "and"}.items():  # the sum of booleans is OR
    RULES.op(OPERATIONS[f"ops.{_class}"].call, _op, "x1=x, x2=y", types={"x": "bool", "y": "bool"}, direction="load")
_BITS = {"BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor"}
_SHIFTS = {
    "LeftShift": "shift_left", "RightShift": "shift_right", "BitwiseLeftShift": "shift_left", "BitwiseRightShift": "shift_right"
}  # fmt: skip
for _class, _op in (_BITS | _SHIFTS).items():
    RULES.op(
        operation(_class, "x, y", "join"), _op, "x=x, y=y", alike=("dtype",), types={"x": "int"},
        direction="load" if _class.startswith("BitwiseLeft") or _class.startswith("BitwiseRight") else "both",
    )  # fmt: skip
for _class, _op in {"BitwiseAnd": "and", "BitwiseOr": "or", "BitwiseXor": "xor"}.items():
    RULES.op(OPERATIONS[f"ops.{_class}"].call, _op, "x=x, y=y", types={"x": "bool", "y": "bool"}, direction="load")
operations("DivideNoNan Heaviside Hypot Logaddexp Logaddexp2 Ldexp", "x1, x2", "float")
operations("Fmax Fmin", "x1, x2", "join")
for _class in ("Isclose", "AllClose"):
    operation(_class, "x1, x2, rtol=1e-05, atol=1e-08", "join", tensors="x1 x2")
RULES.op(operation("Where", "condition, x1?, x2?", "join", joined="x1 x2"), "where", "condition=condition, x1=x, x2=y",
         types={"condition": "bool"}, alike=())  # fmt: skip
operation("Select", "condlist, choicelist, default=0", tensors="")


@RULES.load(*(f"ops.{name}" for name in _NUMBERS | _ORDER))
def of_booleans(g: KerasContext, node: ForeignNode) -> Value:
    """Of booleans: order and remainders are those of int32."""
    x, y, b = node.need(0), node.need(1), g.b
    kind = node.type.removeprefix("ops.")
    if x.dtype is not DType.BOOL or y.dtype is not DType.BOOL:
        raise node.refuse(f"is of {x.dtype} and {y.dtype}", code="unsupported_dtype")
    if kind not in _ORDER and kind not in ("Mod", "Fmod"):
        raise node.refuse("is of booleans", code="unsupported_dtype")
    z: Value = b.op((_NUMBERS | _ORDER)[kind], b.cast(x, to="int32"), b.cast(y, to="int32"))
    return z


@RULES.load(*(f"ops.{name}" for name in _LOGIC))
def logic_of_numbers(g: KerasContext, node: ForeignNode) -> Value:
    """A number counts as true where it is not 0."""
    x, y = (truth(g, v) for v in node.needed())
    z: Value = g.b.op(_LOGIC[node.type.removeprefix("ops.")], x, y)
    return z


def truth(g: KerasContext, x: Value) -> Value:
    """A tensor as booleans."""
    return x if x.dtype is DType.BOOL else g.b.not_equal(x, g.b.like(x, 0))


@RULES.load("ops.DivideNoNan")
def divide_no_nan(g: KerasContext, node: ForeignNode) -> Value:
    """The quotient, 0 where the divisor is 0."""
    x, y = node.needed()
    b = g.b
    zero = b.equal(y, b.like(y, 0.0))
    return b.where(zero, b.like(x, 0.0), b.div(x, b.where(zero, b.like(y, 1.0), y)))


@RULES.load("ops.Heaviside")
def heaviside(g: KerasContext, node: ForeignNode) -> Value:
    """0 below 0, 1 above, x2 at 0; NaN stays."""
    x, y = node.needed()
    b = g.b
    zero = b.like(x, 0.0)
    step = b.where(b.less(x, zero), zero, b.where(b.equal(x, zero), y, b.like(x, 1.0)))
    return b.where(b.isnan(x), x, step)


@RULES.load("ops.Hypot")
def hypot(g: KerasContext, node: ForeignNode) -> Value:
    """sqrt(x1^2 + x2^2), the larger one factored out."""
    x, y = (g.b.abs(v) for v in node.needed())
    b = g.b
    large, small = b.maximum(x, y), b.minimum(x, y)
    zero = b.equal(large, b.like(large, 0.0))
    ratio = b.div(small, b.where(zero, b.like(large, 1.0), large))
    return b.mul(large, b.sqrt(b.add(b.square(ratio), b.like(ratio, 1.0))))


@RULES.load("ops.Logaddexp", "ops.Logaddexp2")
def logaddexp(g: KerasContext, node: ForeignNode) -> Value:
    """log(e^x1 + e^x2), or of 2; equal ones, infinities among them, are theirs and log 2."""
    x, y = node.needed()
    b = g.b
    two = node.type == "ops.Logaddexp2"
    same = b.equal(x, y)
    apart = b.where(same, b.like(x, 0.0), b.neg(b.abs(b.sub(x, y))))
    rest = b.log1p(b.exp2(apart) if two else b.exp(apart))
    if two:
        rest = b.div(rest, b.like(rest, math.log(2)))
    return b.add(b.maximum(x, y), rest)


@RULES.load("ops.Ldexp")
def ldexp(g: KerasContext, node: ForeignNode) -> Value:
    """x1 2^x2."""
    x, y = node.needed()
    return g.b.mul(x, g.b.exp2(y))


@RULES.load("ops.Fmax", "ops.Fmin")
def extreme_of_numbers(g: KerasContext, node: ForeignNode) -> Value:
    """The larger or smaller of two; the other where one is NaN."""
    x, y = node.needed()
    b = g.b
    if x.dtype is DType.BOOL:
        return b.or_(x, y) if node.type == "ops.Fmax" else b.and_(x, y)
    z: Value = b.op("maximum" if node.type == "ops.Fmax" else "minimum", x, y)
    return b.where(b.isnan(x), y, b.where(b.isnan(y), x, z)) if is_float(x) else z


@RULES.load("ops.Isclose", "ops.AllClose")
def is_close(g: KerasContext, node: ForeignNode) -> Value:
    """|x1 - x2| <= atol + rtol |x2|, or equal; with ``equal_nan`` NaN is near NaN."""
    x, y = node.needed()
    b = g.b
    rtol, atol, nan = node.attr("rtol", 1e-5), node.attr("atol", 1e-8), bool(node.attr("equal_nan", False))
    if not isinstance(rtol, (int, float)) or not isinstance(atol, (int, float)):
        raise node.refuse("its tolerances are computed")
    if not is_float(x):
        x, y = b.cast(x, to="float32"), b.cast(y, to="float32")
    bound = b.add(b.mul(b.abs(y), b.like(y, rtol)), b.like(y, atol))
    close = b.or_(b.and_(b.less_equal(b.abs(b.sub(x, y)), bound), b.isfinite(y)), b.equal(x, y))
    if nan:
        close = b.or_(close, b.and_(b.isnan(x), b.isnan(y)))
    return b.all(close, axes=None, keepdims=False) if node.type == "ops.AllClose" else close


@RULES.load("ops.Where")
def where(g: KerasContext, node: ForeignNode) -> Any:
    """x1 where the condition holds (is not 0), else x2; of the condition alone, the indices where it holds."""
    condition = truth(g, node.need(0))
    x, y = node.input(1), node.input(2)
    if x is None and y is None:
        return indices_of(g, condition)
    if x is None or y is None:
        raise node.refuse("has one of x1 and x2 only", code="unsupported_call")
    return g.b.where(condition, x, y)


@RULES.load("ops.Gcd", "ops.Lcm", "ops.Nextafter")
def number_theory(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: no target has them."""
    raise node.refuse("is arithmetic that no target has (common divisors and multiples, neighbours of floats)")


operation("Nonzero", "x")


@RULES.load("ops.Nonzero")
def nonzero(g: KerasContext, node: ForeignNode) -> Any:
    """Indices of what is not 0, one vector per axis."""
    return indices_of(g, node.need(0))


def indices_of(g: KerasContext, x: Value) -> tuple[Value, ...]:
    """int32 vectors of the indices of what is not 0, one per axis."""
    return tuple(g.b.cast(v, to="int32") for v in g.b.unstack(g.b.nonzero(x), axis=0, num=len(known_shape(x))))


@RULES.load("ops.Select")
def select(g: KerasContext, node: ForeignNode) -> Value:
    """The choice of the first condition that holds, else ``default``."""
    conditions, choices, default = node.attr("condlist"), node.attr("choicelist"), node.attr("default", 0)
    if not all(isinstance(v, Value) for v in (*conditions, *choices)) or len(conditions) != len(choices) or not choices:
        raise NotExpressible("its conditions and choices are not as many tensors", "unsupported_call")
    to = joined([*choices, default], False)
    y = to_dtype(g, default, to)
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        y = g.b.where(truth(g, condition), to_dtype(g, choice, to), y)
    return y
