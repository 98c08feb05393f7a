"""Elementwise arithmetic."""

from __future__ import annotations

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, operand

OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "pow": "**", "floor_div": "//", "floor_mod": "%", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
UNARY = {
    "abs": "torch.abs", "acos": "torch.acos", "acosh": "torch.acosh", "asin": "torch.asin", "asinh": "torch.asinh",
    "atan": "torch.atan", "atanh": "torch.atanh", "ceil": "torch.ceil", "cos": "torch.cos", "cosh": "torch.cosh",
    "erf": "torch.erf", "erfc": "torch.erfc", "exp": "torch.exp", "exp2": "torch.exp2", "expm1": "torch.expm1",
    "floor": "torch.floor", "log": "torch.log", "log10": "torch.log10", "log1p": "torch.log1p", "log2": "torch.log2",
    "reciprocal": "torch.reciprocal", "round": "torch.round", "rsqrt": "torch.rsqrt", "sin": "torch.sin", "sinh": "torch.sinh",
    "sqrt": "torch.sqrt", "tan": "torch.tan", "trunc": "torch.trunc",
}  # fmt: skip
ANY = {
    "isfinite": "torch.isfinite", "isinf": "torch.isinf", "isnan": "torch.isnan", "neg": "torch.neg", "square": "torch.square",
    "not": "torch.logical_not", "bitwise_not": "torch.bitwise_not",
}  # fmt: skip
BINARY = {
    "and": "torch.logical_and", "or": "torch.logical_or", "xor": "torch.logical_xor", "maximum": "torch.maximum",
    "minimum": "torch.minimum", "atan2": "torch.atan2", "bitwise_and": "torch.bitwise_and", "bitwise_or": "torch.bitwise_or",
    "bitwise_xor": "torch.bitwise_xor", "fmod": "torch.fmod", "shift_left": "torch.bitwise_left_shift",
    "shift_right": "torch.bitwise_right_shift",
}  # fmt: skip


@RULES.emit(*OPERATORS)
def operator(e: E, node: Node) -> None:
    """Two operands of one type: Python's operators are exact."""
    a, b = given(node.inputs[0]), given(node.inputs[1])
    if a.dtype is not b.dtype:
        raise NotExpressible(f"operands of {a.dtype} and {b.dtype}")
    sign = OPERATORS[node.op]
    if a.dtype is DType.BOOL and sign in "+-*//%**":
        raise NotExpressible("arithmetic on truth values")
    e.call(sign, [operand(e, a, b), operand(e, b, a)], outputs=node.outputs)


@RULES.emit("div")
def div(e: E, node: Node) -> None:
    """Integers are divided towards zero."""
    a, b = given(node.inputs[0]), given(node.inputs[1])
    if a.dtype is not b.dtype or a.dtype is None:
        raise NotExpressible(f"operands of {a.dtype} and {b.dtype}")
    args = [operand(e, a, b), operand(e, b, a)]
    if a.dtype.is_float:
        e.call("/", args, outputs=node.outputs)
    elif not any(isinstance(x, int) for x in args[:1]):
        e.call("torch.div", args, {"rounding_mode": "trunc"}, outputs=node.outputs)
    else:
        e.call("torch.div", [e.value(a), args[1]], {"rounding_mode": "trunc"}, outputs=node.outputs)


@RULES.emit(*UNARY)
def unary(e: E, node: Node) -> None:
    """Functions of fractions (abs of any number)."""
    x = given(node.inputs[0])
    if x.dtype is None or not (x.dtype.is_float or (node.op == "abs" and x.dtype is not DType.BOOL)):
        raise NotExpressible(f"{node.op} of {x.dtype}")
    e.call(UNARY[node.op], [e.value(x)], outputs=node.outputs)


@RULES.emit(*ANY)
def unary_any(e: E, node: Node) -> None:
    """Functions of any type."""
    x = given(node.inputs[0])
    if x.dtype is DType.BOOL and node.op in ("neg", "square"):
        raise NotExpressible(f"{node.op} of truth values")
    e.call(ANY[node.op], [e.value(x)], outputs=node.outputs)


@RULES.emit(*BINARY)
def binary(e: E, node: Node) -> None:
    """Functions of two tensors of one type."""
    a, b = given(node.inputs[0]), given(node.inputs[1])
    if a.dtype is not b.dtype:
        raise NotExpressible(f"operands of {a.dtype} and {b.dtype}")
    e.call(BINARY[node.op], [e.value(a), e.value(b)], outputs=node.outputs)


@RULES.emit("sign")
def sign(e: E, node: Node) -> None:
    """torch gives 0 for NaN, the IR NaN: added back."""
    x = given(node.inputs[0])
    if x.dtype is None or x.dtype is DType.BOOL:
        raise NotExpressible(f"sign of {x.dtype}")
    h = e.value(x)
    if not x.dtype.is_float:
        e.call("torch.sign", [h], outputs=node.outputs)
        return
    (s,) = e.call("torch.sign", [h])
    (bad,) = e.call("torch.isnan", [h])
    e.call("torch.where", [bad, h, s], outputs=node.outputs)


@RULES.emit("clip")
def clip(e: E, node: Node) -> None:
    """Bounds as numbers."""
    x = given(node.inputs[0])
    low, high = node.attrs["min"], node.attrs["max"]
    if low is None and high is None:
        e.alias(node.output, e.value(x))
        return
    if x.dtype is not None and not x.dtype.is_float and any(isinstance(n, float) and not n.is_integer() for n in (low, high)):
        raise NotExpressible(f"bounds {low}, {high} of {x.dtype}")
    as_number = (lambda n: n) if x.dtype is not None and x.dtype.is_float else (lambda n: None if n is None else int(n))
    if low == 0 and high == 6:
        e.call("F.relu6", [e.value(x)], outputs=node.outputs)
        return
    e.call("torch.clamp", [e.value(x)], {"min": as_number(low), "max": as_number(high)}, outputs=node.outputs)


@RULES.emit("cast")
def cast(e: E, node: Node) -> None:
    """Floats to integers: only where torch's result is defined for all values the IR defines."""
    x = given(node.inputs[0])
    e.call(".to", [e.value(x), node.attrs["to"]], outputs=node.outputs)


@RULES.emit("identity")
def identity(e: E, node: Node) -> None:
    """Nothing to do."""
    e.alias(node.output, e.value(given(node.inputs[0]), carry=True))


@RULES.emit("where")
def where(e: E, node: Node) -> None:
    """A choice between two values."""
    c, a, b = (given(v) for v in node.inputs)
    if a.dtype is not b.dtype:
        raise NotExpressible(f"a choice between {a.dtype} and {b.dtype}")
    e.call("torch.where", [e.value(c), operand(e, a, b), operand(e, b, a)], outputs=node.outputs)
