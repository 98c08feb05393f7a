"""Integers of 64 bits without a sign: torch has hardly an operation on them, and no type that holds all their numbers. The bits
of numbers with a sign add up, multiply and compare alike."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Value

from ..rules.base import RULES
from .base import E, given

LOWEST = -(1 << 63)


def bits(e: E, v: Value) -> Any:
    """The elements as int64."""
    if v.dtype is not DType.UINT64:
        raise NotExpressible(f"elements of {v.dtype}")
    return e.call(".view", [e.value(v, carry=True), DType.INT64], carry=True)[0]


def unsigned(e: E, h: Any, node: Node) -> None:
    e.call(".view", [h, DType.UINT64], outputs=node.outputs, carry=True)


_SAME = {
    "add": "+", "sub": "-", "mul": "*", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "torch.bitwise_xor",
    "shift_left": "torch.bitwise_left_shift", "bitwise_not": "torch.bitwise_not", "neg": "torch.neg",
}  # fmt: skip


@RULES.emit(*_SAME)
def same(e: E, node: Node) -> None:
    """What is the same of bits with a sign and without."""
    unsigned(e, e.call(_SAME[node.op], [bits(e, v) for v in map(given, node.inputs)], carry=True)[0], node)


_COMPARED = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_ORDERED = {"maximum": "torch.maximum", "minimum": "torch.minimum"}


def ordered(e: E, v: Value) -> Any:
    """The elements as int64 in the same order."""
    return e.call("torch.bitwise_xor", [bits(e, v), LOWEST], carry=True)[0]


@RULES.emit(*_COMPARED)
def compared(e: E, node: Node) -> None:
    read = bits if _COMPARED[node.op] in ("==", "!=") else ordered
    e.call(_COMPARED[node.op], [read(e, v) for v in map(given, node.inputs)], outputs=node.outputs, carry=True)


@RULES.emit(*_ORDERED)
def larger(e: E, node: Node) -> None:
    (h,) = e.call(_ORDERED[node.op], [ordered(e, v) for v in map(given, node.inputs)], carry=True)
    unsigned(e, e.call("torch.bitwise_xor", [h, LOWEST], carry=True)[0], node)


@RULES.emit("shift_right", "div", "floor_div", "floor_mod", "fmod")
def divided(e: E, node: Node) -> None:
    """``shifted_right``, ``unsigned_divmod``: quotients and remainders have one meaning without signs."""
    operands = [bits(e, v) for v in map(given, node.inputs)]
    if node.op == "shift_right":
        unsigned(e, e.call("shifted_right", operands, carry=True)[0], node)
        return
    quotient, rest = e.call("unsigned_divmod", operands, n_outputs=2, carry=True)
    unsigned(e, rest if "mod" in node.op else quotient, node)
