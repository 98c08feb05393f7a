"""Functions of one tensor, element by element (``keras.src.ops.numpy``, ``.nn``, ``.math``; Keras 3.15.1)."""

from __future__ import annotations

import math

import numpy as np

from convcore.plugin import MISSING, A, DType, ForeignNode, NotExpressible, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .spec import OPERATIONS, operation, operations

__all__ = ["is_float"]

# ---- one op each; integers and booleans become float32
_FLOAT = {
    "Arccos": "acos", "Arccosh": "acosh", "Arcsin": "asin", "Arcsinh": "asinh", "Arctan": "atan", "Arctanh": "atanh",
    "Cbrt": "cbrt", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Erfc": "erfc", "Exp": "exp", "Exp2": "exp2",
    "Expm1": "expm1", "Floor": "floor", "HardSilu": "hard_swish", "Log": "log", "Log10": "log10", "Log1p": "log1p",
    "Log2": "log2", "LogSigmoid": "log_sigmoid", "Reciprocal": "reciprocal", "Rsqrt": "rsqrt", "Selu": "selu",
    "Sigmoid": "sigmoid", "Silu": "silu", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Softsign": "softsign",
    "SparsePlus": "sparse_plus", "SparseSigmoid": "sparse_sigmoid", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
    "TanhShrink": "tanh_shrink",
}  # fmt: skip
for _class, _op in _FLOAT.items():
    RULES.op(operation(_class, "x", "float"), _op, "x=x", types={"x": "float"})
RULES.op(operation("Fabs", "x", "float"), "abs", "x=x", types={"x": "float"}, direction="load")

# ---- one op each; what booleans are is below
_NUMBER = {"x": ("float", "int")}
for _class, _op in {
    "Absolute": "abs",
    "Negative": "neg",
    "Relu": "relu",
    "Square": "square",
    "Sign": "sign",
}.items():
    RULES.op(operation(_class, "x"), _op, "x=x", types=_NUMBER)
RULES.op(operation("Trunc", "x"), "trunc", "x=x", types={"x": "float"})
RULES.op(operation("Abs", "x"), "abs", "x=x", types=_NUMBER, direction="load")
RULES.op(operation("Round", "x"), "round", "x=x", types={"x": "float"}, when={"decimals": {MISSING, 0}})
for _class, _op in {"Isfinite": "isfinite", "Isinf": "isinf", "Isnan": "isnan"}.items():
    RULES.op(operation(_class, "x", "float"), _op, "x=x", types={"x": "float"})
for _class, _sign in {"Isposinf": True, "Isneginf": False}.items():
    RULES.op(
        operation(_class, "x", "float"), "isinf_signed", "x=x", types={"x": "float"}, positive=_sign, negative=not _sign,
        direction="load",
    )  # fmt: skip

RULES.op(
    OPERATIONS["ops.Isinf"].call, "isinf_signed", "x=x", types={"x": "float"}, positive=True, negative=True, direction="emit"
)

# ---- with parameters
for _class, _op, _key in (("Elu", "elu", "alpha"), ("Celu", "celu", "alpha")):
    RULES.op(operation(_class, "x", "float"), _op, "x=x", types={"x": "float"}, alpha=A(_key, 1.0))
RULES.op(operation("LeakyRelu", "x", "float"), "leaky_relu", "x=x", types={"x": "float"}, alpha=A("negative_slope", 0.2))
RULES.op(
    operation("Gelu", "x", "float"),
    "gelu",
    "x=x",
    approximate=A("approximate", True, iso=("enum", {True: "tanh", False: "none"})),
)
RULES.op(operation("HardSigmoid", "x", "float"), "hard_sigmoid", "x=x", alpha=1 / 6, beta=0.5)
RULES.op(operation("HardTanh", "x"), "clip", "x=x", types={"x": "float"}, min=-1.0, max=1.0)
RULES.op(operation("Relu6", "x"), "clip", "x=x", types={"x": "float"}, min=0.0, max=6.0)
RULES.op(operation("HardShrink", "x", "float"), "hard_shrink", "x=x", lambd=A("threshold", 0.5))
RULES.op(operation("SoftShrink", "x", "float"), "soft_shrink", "x=x", lambd=A("threshold", 0.5))
RULES.op(operation("Squareplus", "x", "float"), "squareplus", "x=x", b=A("b", 4.0, write_default=True))
RULES.op(operation("LogicalNot", "x"), "not", "x=x", types={"x": "bool"})
for _class, _way in (("BitwiseInvert", "both"), ("BitwiseNot", "load")):
    _call = operation(_class, "x")
    RULES.op(_call, "bitwise_not", "x=x", types={"x": "int"}, direction=_way)
    RULES.op(_call, "not", "x=x", types={"x": "bool"}, direction="load")
operation("Clip", "x")
operation("Cast", "x")
operation("SaturateCast", "x")
operation("Threshold", "x", "float")
operations("Array Conj Conjugate ConvertToTensor Copy Imag Isreal NanToNum Real Signbit View", "x")
operations("Angle Deg2rad Erfinv I0 Rad2deg Sinc", "x", "float")
operation("StopGradient", "variable")


def is_float(x: Value) -> bool:
    """Whether the element type is known and floating; NotExpressible where it is not known."""
    if x.dtype is None:
        raise NotExpressible("the element type of its input is not known", "unknown_dtype")
    return x.dtype.is_float


@RULES.load(
    "ops.Absolute", "ops.Abs", "ops.Negative", "ops.Relu", "ops.Square", "ops.Sign", "ops.Trunc", "ops.Relu6", "ops.HardTanh"
)
def of_integers(g: KerasContext, node: ForeignNode) -> Value:
    """What integers are to functions of floats; a boolean is its own absolute value, and an int32 where it is squared."""
    x, b = node.need(0), g.b
    is_float(x)
    kind = node.type.removeprefix("ops.")
    if x.dtype is DType.BOOL:
        if kind in ("Absolute", "Abs", "Sign", "Trunc"):
            return x
        if kind != "Square":
            raise node.refuse("is of booleans", code="unsupported_dtype")
        x = b.cast(x, to="int32")
    if kind in ("Relu6", "HardTanh"):
        return b.clip(x, min=0 if kind == "Relu6" else -1, max=6 if kind == "Relu6" else 1)
    return x if kind == "Trunc" else b.square(x)


@RULES.load("ops.Round")
def rounded(g: KerasContext, node: ForeignNode) -> Value:
    """Halves to even; to ``decimals`` of ten, integers are their own with none below."""
    x, decimals, b = node.need(0), int(node.attr("decimals", 0)), g.b
    if not is_float(x):
        if decimals < 0 or x.dtype is DType.BOOL:
            raise node.refuse(f"decimals={decimals} of {x.dtype}", code="unsupported_dtype")
        return x
    scale = b.like(x, float(10**decimals))
    return b.div(b.round(b.mul(x, scale)), scale)


@RULES.load("ops.Clip")
def clip(g: KerasContext, node: ForeignNode) -> Value:
    """Limited to ``x_min`` and ``x_max``, numbers or arrays; a boolean counts as int32."""
    x, low, high, b = node.need(0), node.attr("x_min", None), node.attr("x_max", None), g.b
    if x.dtype is DType.BOOL:
        x = b.cast(x, to="int32")
    if all(v is None or isinstance(v, (int, float)) for v in (low, high)):
        if not is_float(x) and any(isinstance(v, float) and v != int(v) for v in (low, high) if v is not None):
            x = b.cast(x, to="float32")
        return b.clip(x, min=low, max=high)
    bounds = [v if v is None or isinstance(v, Value) else np.asarray(v) for v in (low, high)]
    for bound in bounds:
        floating = bound is not None and (is_float(bound) if isinstance(bound, Value) else bound.dtype.kind == "f")
        if floating and not is_float(x):
            x = b.cast(x, to="float32")
    for bound, op in zip(bounds, ("maximum", "minimum"), strict=True):
        if bound is not None:
            x = b.op(op, x, b.cast(bound, to=x.dtype) if isinstance(bound, Value) else b.const(bound, x.dtype))
    return x


@RULES.load("ops.LogicalNot")
def negation(g: KerasContext, node: ForeignNode) -> Value:
    """Whether a number is 0."""
    x = node.need(0)
    return g.b.equal(x, g.b.like(x, 0))


# ---- casts
@RULES.load("ops.Cast", "ops.ConvertToTensor", "ops.Array")
def cast(g: KerasContext, node: ForeignNode) -> Value:
    """Another dtype; floats to integers go towards zero. None keeps it."""
    x, name = node.need(0), node.attr("dtype", None)
    if node.attr("sparse", None) or node.attr("ragged", None):
        raise node.refuse("makes a sparse or ragged tensor")
    if name is None and node.type != "ops.Cast":
        return g.b.identity(x)
    if not isinstance(name, str) or name not in {d.value for d in DType}:
        raise node.refuse(f"casts to {name!r}", code="unsupported_dtype")
    y: Value = g.b.cast(x, to=name)
    return y


@RULES.load("ops.SaturateCast")
def saturate_cast(g: KerasContext, node: ForeignNode) -> Value:
    """Limited to what the dtype can hold, then cast (``backend/torch/core.py`` of Keras 3.15.1)."""
    x, name, b = node.need(0), node.attr("dtype"), g.b
    if not isinstance(name, str) or name not in {d.value for d in DType}:
        raise node.refuse(f"casts to {name!r}", code="unsupported_dtype")
    to = DType(name)
    if is_float(x) and to.is_int:
        info = np.iinfo(to.numpy)
        high = float(info.max) if to.itemsize < 4 else float(np.nextafter(np.float32(info.max), np.float32(0)))
        x = b.clip(x, min=float(info.min), max=high)
    elif not is_float(x) and to.is_int and x.dtype is not DType.BOOL and x.dtype is not None:
        ours, theirs = np.iinfo(x.dtype.numpy), np.iinfo(to.numpy)
        x = b.clip(x, min=max(int(ours.min), int(theirs.min)), max=min(int(ours.max), int(theirs.max)))
    elif x.dtype is not None and x.dtype.is_float and to.is_float and to.itemsize < x.dtype.itemsize:
        if to is not DType.FLOAT16:
            raise node.refuse(f"saturates {x.dtype} to {to}", code="unsupported_dtype")
        x = b.clip(x, min=-65504.0, max=65504.0)
    return b.cast(x, to=to)


@RULES.load("ops.Conj", "ops.Conjugate", "ops.Copy", "ops.Real", "ops.StopGradient")
def the_same(g: KerasContext, node: ForeignNode) -> Value:
    """The input itself: no tensor here is complex."""
    return g.b.identity(node.need(0))


@RULES.load("ops.Imag")
def imaginary(g: KerasContext, node: ForeignNode) -> Value:
    """0, as no tensor here is complex."""
    x = node.need(0)
    return g.b.fill(shape=known_shape(x, sizes=True), value=0, dtype=x.dtype)


@RULES.load("ops.Isreal")
def is_real(g: KerasContext, node: ForeignNode) -> Value:
    """True, as no tensor here is complex."""
    return g.b.fill(shape=known_shape(node.need(0), sizes=True), value=True, dtype="bool")


@RULES.load("ops.View")
def view(g: KerasContext, node: ForeignNode) -> Value:
    """The bits under another dtype: only where it is the same."""
    x, name = node.need(0), node.attr("dtype", None)
    if name is not None and name != str(x.dtype):
        raise node.refuse(f"reads the bits of {x.dtype} as {name}", code="unsupported_dtype")
    return g.b.identity(x)


# ---- formulas
@RULES.load("ops.Deg2rad", "ops.Rad2deg")
def degrees(g: KerasContext, node: ForeignNode) -> Value:
    """Times pi / 180, or 180 / pi."""
    x = node.need(0)
    return g.b.mul(x, g.b.like(x, math.pi / 180 if node.type == "ops.Deg2rad" else 180 / math.pi))


@RULES.load("ops.Sinc")
def sinc(g: KerasContext, node: ForeignNode) -> Value:
    """sin(pi x) / (pi x), 1 at 0."""
    x, b = node.need(0), g.b
    zero = b.equal(x, b.like(x, 0.0))
    z = b.mul(b.where(zero, b.like(x, 1.0), x), b.like(x, math.pi))
    return b.where(zero, b.like(x, 1.0), b.div(b.sin(z), z))


@RULES.load("ops.Angle")
def angle(g: KerasContext, node: ForeignNode) -> Value:
    """pi for negative numbers, else 0; NaN stays."""
    x, b = node.need(0), g.b
    return b.where(b.isnan(x), x, b.where(b.less(x, b.like(x, 0.0)), b.like(x, math.pi), b.like(x, 0.0)))


@RULES.load("ops.Signbit")
def signbit(g: KerasContext, node: ForeignNode) -> Value:
    """Whether the sign is negative, that of -0 too."""
    x, b = node.need(0), g.b
    if x.dtype is DType.BOOL:
        return b.fill(shape=known_shape(x, sizes=True), value=False, dtype="bool")
    zero = b.like(x, 0)
    below = b.less(x, zero)
    return b.or_(below, b.and_(b.equal(x, zero), b.less(b.reciprocal(x), zero))) if is_float(x) else below


@RULES.load("ops.NanToNum")
def nan_to_num(g: KerasContext, node: ForeignNode) -> Value:
    """Numbers for NaN and the infinities; without them 0 and the largest the dtype holds."""
    x, b = node.need(0), g.b
    nan, high, low = node.attr("nan", 0.0), node.attr("posinf", None), node.attr("neginf", None)
    if not is_float(x) or x.dtype is None:
        return x
    # bfloat16 has the range of float32 with 8 bits less
    most = {DType.FLOAT16: 65504.0, DType.BFLOAT16: 3.3895313892515355e38, DType.FLOAT64: 1.7976931348623157e308}.get(
        x.dtype, 3.4028234663852886e38
    )
    y = b.where(b.isnan(x), b.like(x, nan), x)
    y = b.where(b.isinf_signed(x, positive=True, negative=False), b.like(x, most if high is None else high), y)
    return b.where(b.isinf_signed(x, positive=False, negative=True), b.like(x, -most if low is None else low), y)


@RULES.load("ops.Threshold")
def threshold(g: KerasContext, node: ForeignNode) -> Value:
    """x above ``threshold``, else ``default_value``."""
    x, b = node.need(0), g.b
    return b.where(b.greater(x, b.like(x, node.attr("threshold"))), x, b.like(x, node.attr("default_value")))


_ERFINV_MIDDLE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                  -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_ERFINV_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
                1.00167406, 2.83297682)  # fmt: skip


@RULES.load("ops.Erfinv")
def erfinv(g: KerasContext, node: ForeignNode) -> Value:
    """The inverse of erf by Giles's polynomials for float32 ("Approximating the erfinv function", 2010), infinite at +-1."""
    x, b = node.need(0), g.b
    if x.dtype is DType.FLOAT64:
        raise node.refuse("is of float64", code="unsupported_dtype")

    def polynomial(w: Value, terms: tuple[float, ...]) -> Value:
        p = b.like(x, terms[0])
        for c in terms[1:]:
            p = b.add(b.mul(p, w), b.like(x, c))
        return p

    one = b.like(x, 1.0)
    w = b.neg(b.log(b.mul(b.sub(one, x), b.add(one, x))))
    middle = polynomial(b.sub(w, b.like(x, 2.5)), _ERFINV_MIDDLE)
    tail = polynomial(b.sub(b.sqrt(w), b.like(x, 3.0)), _ERFINV_TAIL)
    y = b.mul(b.where(b.less(w, b.like(x, 5.0)), middle, tail), x)
    return b.where(b.equal(b.abs(x), one), b.mul(x, b.like(x, math.inf)), y)


_I0_SMALL = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
_I0_LARGE = (0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377)


@RULES.load("ops.I0")
def bessel_i0(g: KerasContext, node: ForeignNode) -> Value:
    """The modified Bessel function of order 0, by the polynomials 9.8.1 and 9.8.2 of Abramowitz and Stegun (error below 2e-7)."""
    x, b = node.need(0), g.b
    if x.dtype is DType.FLOAT64:
        raise node.refuse("is of float64", code="unsupported_dtype")
    a = b.abs(x)

    def polynomial(t: Value, terms: tuple[float, ...]) -> Value:
        p = b.like(x, terms[-1])
        for c in reversed(terms[:-1]):
            p = b.add(b.mul(p, t), b.like(x, c))
        return p

    bound = b.like(x, 3.75)
    inner = b.minimum(a, bound)
    small = polynomial(b.square(b.div(inner, bound)), _I0_SMALL)
    outer = b.maximum(a, bound)
    large = b.mul(b.div(b.exp(outer), b.sqrt(outer)), polynomial(b.div(bound, outer), _I0_LARGE))
    return b.where(b.less(a, bound), small, large)
