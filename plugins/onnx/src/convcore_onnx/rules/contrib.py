"""What rules of com.microsoft share: an operator of the standard on other inputs, and stored integers as the numbers they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value, known_shape

from ..context import OnnxContext
from ..contrib import DOMAIN
from .base import RULES

__all__ = ["channels_first", "contrib", "counted", "number", "quantized", "real", "standard"]

Rule = Callable[[OnnxContext, ForeignNode], Any]


def contrib(*types: str) -> Callable[[Rule], Rule]:
    """A load rule of operators of com.microsoft."""
    return RULES.load(*(f"{DOMAIN}.{t}" for t in types))


def standard(
    g: OnnxContext,
    node: ForeignNode,
    type: str,
    inputs: Sequence[Value | None],
    version: int,
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """The first result of an operator of the standard, as its own rule reads it in an opset."""
    inner = ForeignNode(
        type, node.name, inputs, attrs or {}, outputs=node.outputs[:1], version=version, origin=node.origin, extra=node.extra
    )
    return RULES.apply_load(g, inner, {})[0]


def number(g: OnnxContext, node: ForeignNode, v: Value, what: str) -> Value:
    """A scale or zero point that must be a single number."""
    if known_shape(v) not in ((), (1,)):
        raise node.refuse(f"its {what} is more than one number")
    return g.scalar(v)


def real(g: OnnxContext, node: ForeignNode, x: Value, scale: Value, zero: Value | None) -> Value:
    """The numbers that stored integers stand for, by one scale and one zero point."""
    zero = None if zero is None else number(g, node, zero, "zero point")
    made: Value = g.b.dequantize(x, number(g, node, scale, "scale"), zero, axis=None)
    return made


def quantized(g: OnnxContext, node: ForeignNode, y: Value, scale: Value, zero: Value | None, like: Value) -> Value:
    """Numbers stored again: in the type of the zero point, or without one in that of an input."""
    dtype = (like if zero is None else zero).dtype
    if dtype is None:
        raise node.refuse("the element type of its result is not known", code="unknown_dtype")
    zero = None if zero is None else number(g, node, zero, "zero point")
    made: Value = g.b.quantize(y, number(g, node, scale, "scale"), zero, axis=None, dtype=dtype)
    return made


def counted(g: OnnxContext, length: Any) -> Value:
    """0, 1, ... as (1, length), int64."""
    b = g.b
    made: Value = b.unsqueeze(b.range(b.const(0, "int64"), b.dim_value(value=length), b.const(1, "int64")), axes=(0,))
    return made


def channels_first(
    g: OnnxContext, node: ForeignNode, x: Value, compute: Callable[[Value], Value], last: bool | None = None
) -> Value:
    """``compute`` of an image, whose channels come last where ``last``, or else the attribute ``channels_last``, says so."""
    if not (node.attr("channels_last", 0) if last is None else last):
        return compute(x)
    rank = len(known_shape(x))
    if rank < 3:
        raise node.refuse(f"channels last of an input with {rank} axes")
    y = compute(g.b.transpose(x, perm=(0, rank - 1, *range(1, rank - 1))))
    turned: Value = g.b.transpose(y, perm=(0, *range(2, rank), 1))
    return turned
