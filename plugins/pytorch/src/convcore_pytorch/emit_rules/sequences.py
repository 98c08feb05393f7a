"""Sequences of tensors as Python's lists and tuples, and values that may be absent as such or None."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, Value

from ..rules.base import RULES
from .base import E, given, items, number, scalar


@RULES.emit("sequence_construct", "sequence_empty")
def listed(e: E, node: Node) -> None:
    """A list."""
    e.call("list", [e.value(given(v), carry=True) for v in node.inputs], outputs=node.outputs, carry=True)


def place(e: E, v: Value | None) -> Any:
    """A position as a number, or None."""
    return None if v is None else scalar(e, v)


@RULES.emit("sequence_insert")
def insert(e: E, node: Node) -> None:
    """``[*s, x]`` at the end, else ``inserted``."""
    operands = [e.value(node.need(name), carry=True) for name in ("s", "x")]
    at = place(e, node.arg("position"))
    e.call("[*]" if at is None else "inserted", [*operands, at], outputs=node.outputs, carry=True)


@RULES.emit("sequence_erase")
def erase(e: E, node: Node) -> None:
    """``without``."""
    e.call("without", [e.value(node.need("s"), carry=True), place(e, node.arg("position"))], outputs=node.outputs, carry=True)


@RULES.emit("sequence_at")
def at(e: E, node: Node) -> None:
    """An index of Python."""
    position = place(e, node.need("position"))
    known = number(node.need("position")) is not None
    operands = [e.value(node.need("s"), carry=True), *(() if known else (position,))]
    index = (position,) if known else (("arg", 1),)
    e.call("[]", operands, {"index": index}, outputs=node.outputs, carry=True)


@RULES.emit("sequence_length")
def length(e: E, node: Node) -> None:
    """``length``."""
    e.call("length", [e.value(node.need("s"), carry=True)], outputs=node.outputs)


@RULES.emit("sequence_concat")
def concat(e: E, node: Node) -> None:
    """torch.cat and torch.stack take them as they are."""
    name = "torch.stack" if node.attrs["stack"] else "torch.cat"
    e.call(name, [e.value(node.need("s"), carry=True)], {"dim": node.attrs["axis"] or None}, outputs=node.outputs, carry=True)


@RULES.emit("split_to_sequence")
def split(e: E, node: Node) -> None:
    """torch.split, of slices without their axis torch.unbind."""
    x, sizes, axis = node.need("x"), node.arg("sizes"), {"dim": node.attrs["axis"] or None}
    h = e.value(x, carry=True)
    if sizes is None and not node.attrs["keepdims"]:
        e.call("torch.unbind", [h], axis, outputs=node.outputs, carry=True)
        return
    parts = 1 if sizes is None else scalar(e, sizes) if sizes.shape == () else items(e, sizes)
    e.call("torch.split", [h, parts], axis, outputs=node.outputs, carry=True)


@RULES.emit("optional")
def optional(e: E, node: Node) -> None:
    """The value, or None."""
    x = node.arg("x")
    if x is None:
        e.call("None", outputs=node.outputs, carry=True)
    else:
        e.alias(node.output, e.value(x, carry=True))


@RULES.emit("optional_has_element")
def has(e: E, node: Node) -> None:
    """``present``; what cannot be absent is there."""
    o = node.arg("o")
    if o is not None and o.dtype is not None and o.dtype.is_optional:
        e.call("present", [e.value(o, carry=True)], outputs=node.outputs)
    else:
        e.call("torch.tensor", [o is not None], outputs=node.outputs)


@RULES.emit("optional_get_element")
def get(e: E, node: Node) -> None:
    """``needed``."""
    o = node.need("o")
    h = e.value(o, carry=True)
    if o.dtype is not None and o.dtype.is_optional:
        e.call("needed", [h], outputs=node.outputs, carry=True)
    else:
        e.alias(node.output, h)
