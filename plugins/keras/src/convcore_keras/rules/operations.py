"""Operations of ``keras.ops`` that Keras 3 itself puts into functional models: the computation of masks.

A functional model of Keras 3 holds every implicit mask as operations (``compute_mask`` runs on symbolic tensors) and passes it
on as ``mask=``; Sequential models and files of older Keras hold nothing of it, there masks travel by ``masks.py``. Operations
are keyed ``ops.<class>``; their arguments are in the attributes ``args`` and ``kwargs``.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, Call, DType, ForeignNode, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES

__all__ = ["arguments"]

# ---- one to one: the arguments are tensors of one dtype
_FLOAT = {
    "Arccos": "acos", "Arccosh": "acosh", "Arcsin": "asin", "Arcsinh": "asinh", "Arctan": "atan", "Arctanh": "atanh",
    "Cbrt": "cbrt",
    "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Exp2": "exp2", "Expm1": "expm1", "Floor": "floor",
    "HardSilu": "hard_swish", "Isfinite": "isfinite", "Isinf": "isinf", "Isnan": "isnan", "Log": "log", "Log10": "log10",
    "Log1p": "log1p", "Log2": "log2", "LogSigmoid": "log_sigmoid", "Reciprocal": "reciprocal", "Rsqrt": "rsqrt", "Selu": "selu",
    "Sigmoid": "sigmoid", "Silu": "silu", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Softsign": "softsign",
    "SparsePlus": "sparse_plus", "SparseSigmoid": "sparse_sigmoid", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
    "TanhShrink": "tanh_shrink", "Trunc": "trunc", "Absolute": "abs", "Negative": "neg", "Relu": "relu", "Square": "square",
}  # fmt: skip
for _class, _op in _FLOAT.items():
    RULES.op(Call(f"ops.{_class}", "x"), _op, "x=x", types={"x": "float"})
for _class, _op, _key in (("Elu", "elu", "alpha"), ("Celu", "celu", "alpha")):
    RULES.op(Call(f"ops.{_class}", "x"), _op, "x=x", types={"x": "float"}, alpha=A(_key, 1.0))
RULES.op(Call("ops.LeakyRelu", "x"), "leaky_relu", "x=x", types={"x": "float"}, alpha=A("negative_slope", 0.2))
RULES.op(Call("ops.Gelu", "x"), "gelu", "x=x", approximate=A("approximate", True, iso=("enum", {True: "tanh", False: "none"})))
RULES.op(Call("ops.HardSigmoid", "x"), "hard_sigmoid", "x=x", alpha=1 / 6, beta=0.5)
RULES.op(Call("ops.HardTanh", "x"), "clip", "x=x", types={"x": "float"}, min=-1.0, max=1.0)
RULES.op(Call("ops.Relu6", "x"), "clip", "x=x", types={"x": "float"}, min=0.0, max=6.0)
RULES.op(Call("ops.HardShrink", "x"), "hard_shrink", "x=x", lambd=A("threshold", 0.5))
RULES.op(Call("ops.SoftShrink", "x"), "soft_shrink", "x=x", lambd=A("threshold", 0.5))
RULES.op(Call("ops.LogicalNot", "x"), "not", "x=x", types={"x": "bool"})
_ARITHMETIC = {
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div", "Maximum": "maximum",
    "Minimum": "minimum", "Power": "pow", "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
    "LessEqual": "less_equal",
}  # fmt: skip
for _class, _op in _ARITHMETIC.items():
    RULES.op(Call(f"ops.{_class}", "x1, x2"), _op, "x1=x, x2=y", alike=("dtype",), types={"x": "float"})
for _class, _op in (("Mean", "mean"), ("Sum", "sum"), ("Max", "max"), ("Min", "min")):
    RULES.op(
        Call(f"ops.{_class}", "x"),
        _op,
        "x=x",
        types={"x": "float"},
        when={"initial": None},
        axes=A("axis", None, iso="axes_or_all"),
        keepdims=A("keepdims", False),
    )

RULES.op(Call("ops.ExpandDims", "x"), "unsqueeze", "x=x", axes=A("axis", iso="axis_or_axes"))
RULES.op(Call("ops.Concatenate", "xs"), "concat", "xs=xs*", axis=A("axis", -1, write_default=True), alike=("dtype",))

_BINARY = {
    "ops.Equal": "equal",
    "ops.NotEqual": "not_equal",
    "ops.LogicalAnd": "and",
    "ops.LogicalOr": "or",
}


def arguments(node: ForeignNode, *names: str, **defaults: Any) -> list[Any]:
    """The call's arguments by name, positional ones first; UnsupportedError for one that is unknown or missing."""
    given, by_name = node.attr("args"), dict(node.attr("kwargs"))
    if len(given) > len(names) or not set(by_name) <= set(names[len(given) :]):
        raise node.refuse(f"is called with other arguments than {', '.join(names)}", code="unsupported_call")
    values = dict(zip(names, given, strict=False)) | by_name
    missing = [n for n in names if n not in values and n not in defaults]
    if missing:
        raise node.refuse(f"its argument {missing[0]!r} is missing", code="unsupported_call")
    return [values.get(n, defaults.get(n)) for n in names]


def _tensor(node: ForeignNode, x: Any) -> Value:
    if not isinstance(x, Value):
        raise node.refuse("its first argument is not a tensor", code="unsupported_call")
    return x


@RULES.load(*_BINARY)
def comparison(g: KerasContext, node: ForeignNode) -> Value:
    """Comparison or logic of a tensor with a tensor of its dtype or with a number."""
    x, y = arguments(node, "x1", "x2")
    x = _tensor(node, x)
    if not isinstance(y, Value):
        if not isinstance(y, (bool, int, float)):
            raise node.refuse("its second argument is neither a tensor nor a number", code="unsupported_call")
        y = _number(g, node, x, y)
    elif y.dtype is not x.dtype:
        raise node.refuse(f"joins {x.dtype} and {y.dtype}", code="unsupported_dtype")
    z: Value = g.b.op(_BINARY[node.type], x, y)
    return z


@RULES.load(*(f"ops.{name}" for name in _ARITHMETIC))
def with_a_number(g: KerasContext, node: ForeignNode) -> Value:
    """A floating tensor and a number, in either order: the number takes the tensor's dtype (``keras.src.backend`` promotion)."""
    x, y = arguments(node, "x1", "x2")
    tensor, number = (x, y) if isinstance(x, Value) else (y, x)
    if not isinstance(tensor, Value) or isinstance(number, bool) or not isinstance(number, (int, float)):
        raise node.refuse(
            "is an operation on something else than tensors of one dtype, or a tensor and a number", code="unsupported_call"
        )
    if tensor.dtype is None or not tensor.dtype.is_float:
        raise node.refuse(f"is an operation on {tensor.dtype} and a number", code="unsupported_dtype")
    given = g.b.like(tensor, float(number))
    pair = (tensor, given) if tensor is x else (given, tensor)
    z: Value = g.b.op(_ARITHMETIC[node.type.removeprefix("ops.")], *pair)
    return z


def _number(g: KerasContext, node: ForeignNode, x: Value, y: float) -> Value:
    """A number in the dtype of ``x``, which must hold it exactly or be floating."""
    if x.dtype is not None and x.dtype.is_int and int(y) != y:
        raise node.refuse(f"compares {x.dtype} with {y}", code="unsupported_dtype")
    return g.b.like(x, y)


@RULES.load("ops.Any", "ops.All")
def reduction(g: KerasContext, node: ForeignNode) -> Value:
    """Whether any or all elements along axes are true."""
    x = _tensor(node, *arguments(node, "x"))
    axis, keep = node.attr("axis", None), bool(node.attr("keepdims", False))
    if str(x.dtype) != "bool":
        x = g.b.not_equal(x, g.b.like(x, 0))
    axes = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    reduce = g.b.any if node.type == "ops.Any" else g.b.all
    return reduce(x, axes=axes, keepdims=keep)


@RULES.load("ops.ZerosLike", "ops.OnesLike")
def constant_like(g: KerasContext, node: ForeignNode) -> Value:
    """Zeros or ones with the shape of a tensor."""
    x = _tensor(node, arguments(node, "x", "dtype", dtype=None)[0])
    dtype = node.attr("dtype", None) or arguments(node, "x", "dtype", dtype=None)[1] or str(x.dtype)
    value: Any = node.type == "ops.OnesLike"
    return g.b.fill(shape=known_shape(x, sizes=True), value=value if dtype == "bool" else int(value), dtype=dtype)


@RULES.load("ops.BroadcastTo")
def broadcast_to(g: KerasContext, node: ForeignNode) -> Value:
    """A tensor broadcast to a shape; an unknown size (the batch) is the tensor's own."""
    x = _tensor(node, *arguments(node, "x"))
    have, want = known_shape(x, sizes=True), list(node.attr("shape"))
    for i, n in enumerate(want):
        at = i - len(want) + len(have)
        if n is None and at < 0:
            raise node.refuse(f"broadcasts to the unknown size of axis {i}")
        want[i] = have[at] if n is None else n
    return g.b.expand(x, shape=tuple(want))


@RULES.load("ops.Cast")
def cast(g: KerasContext, node: ForeignNode) -> Value:
    """Another dtype; floats to integers go towards zero."""
    x = _tensor(node, *arguments(node, "x"))
    name = node.attr("dtype")
    if not isinstance(name, str) or name not in {d.value for d in DType}:
        raise node.refuse(f"casts to {name!r}", code="unsupported_dtype")
    y: Value = g.b.cast(x, to=name)
    return y


@RULES.load("ops.Argmax", "ops.Argmin")
def index_of_extreme(g: KerasContext, node: ForeignNode) -> Value:
    """The index of the first of the largest or smallest elements, int32; of all elements, in their order, without an axis."""
    x = _tensor(node, *arguments(node, "x"))
    axis, keep = node.attr("axis", None), bool(node.attr("keepdims", False))
    if axis is None:
        if keep:
            raise node.refuse("keepdims=True without an axis")
        x, axis = g.b.reshape(x, shape=(product(known_shape(x, sizes=True)),)), 0
    find = g.b.argmax if node.type == "ops.Argmax" else g.b.argmin
    y: Value = find(x, axis=axis, keepdims=keep, dtype="int32")
    return y


@RULES.load("ops.Argsort", "ops.Sort")
def in_order(g: KerasContext, node: ForeignNode) -> Value:
    """Ascending order along an axis: the indices (int32, stable) or the elements."""
    x = _tensor(node, *arguments(node, "x"))
    axis = node.attr("axis", -1)
    if axis is None:
        x, axis = g.b.reshape(x, shape=(product(known_shape(x, sizes=True)),)), 0
    if node.type == "ops.Sort":
        ordered: Value = g.b.sort(x, axis=axis)
        return ordered
    y: Value = g.b.cast(g.b.argsort(x, axis=axis), to="int32")
    return y
