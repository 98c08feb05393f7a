"""Elementwise arithmetic."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, operand

OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "pow": "**", "floor_div": "//", "floor_mod": "%", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip


@RULES.emit(*OPERATORS)
def operator(e: E, node: Node) -> None:
    """Two operands of one type: Python's operators are exact."""
    a, b = node.need("x"), node.need("y")
    e.call(OPERATORS[node.op], [operand(e, a, b), operand(e, b, a)], outputs=node.outputs)


@RULES.emit("div")
def div(e: E, node: Node) -> None:
    """Integers are divided towards zero."""
    a, b = node.need("x"), node.need("y")
    if a.dtype is None:
        raise NotExpressible("elements of a type that is not known")
    args = [operand(e, a, b), operand(e, b, a)]
    if a.dtype.is_float:
        e.call("/", args, outputs=node.outputs)
    elif not any(isinstance(x, int) for x in args[:1]):
        e.call("torch.div", args, {"rounding_mode": "trunc"}, outputs=node.outputs)
    else:
        e.call("torch.div", [e.value(a), args[1]], {"rounding_mode": "trunc"}, outputs=node.outputs)


@RULES.emit("sign")
def sign(e: E, node: Node) -> None:
    """torch gives 0 for NaN, the IR NaN: added back."""
    x = node.need("x")
    if x.dtype is None:
        raise NotExpressible("elements of a type that is not known")
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
    x = node.need("x")
    low, high = node.attrs["min"], node.attrs["max"]
    if low is None and high is None:
        e.alias(node.output, e.value(x))
        return
    as_number = (lambda n: n) if x.dtype is not None and x.dtype.is_float else (lambda n: None if n is None else int(n))
    if low == 0 and high == 6:
        e.call("F.relu6", [e.value(x)], outputs=node.outputs)
        return
    e.call("torch.clamp", [e.value(x)], {"min": as_number(low), "max": as_number(high)}, outputs=node.outputs)


@RULES.emit("cast")
def cast(e: E, node: Node) -> None:
    """Floats to integers: only where torch's result is defined for all values the IR defines."""
    x = node.need("x")
    e.call(".to", [e.value(x), node.attrs["to"]], outputs=node.outputs)


@RULES.emit("identity")
def identity(e: E, node: Node) -> None:
    """Nothing to do."""
    e.alias(node.output, e.value(node.need("x"), carry=True))


@RULES.emit("where")
def where(e: E, node: Node) -> None:
    """A choice between two values."""
    c, a, b = (given(v) for v in node.inputs)
    e.call("torch.where", [e.value(c), operand(e, a, b), operand(e, b, a)], outputs=node.outputs)
