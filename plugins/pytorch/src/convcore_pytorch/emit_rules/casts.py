"""Casts from and to the types of few operations: floats and integers of at most 8 bits, unsigned integers of more."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Value

from ..rules.base import RULES
from ..types import HELD, TORCH_TYPES
from .base import E


@RULES.emit("cast")
def cast(e: E, node: Node) -> None:
    """The row for casts between what torch computes in; the rest is ``.to`` where that is defined, or spelled out."""
    x, to = node.need("x"), node.attrs["to"]
    if x.dtype not in TORCH_TYPES or to not in TORCH_TYPES:
        raise NotExpressible(f"{x.dtype} to {to}")
    if to in _FLOAT8:
        _float8(e, node, x, to)
    elif to in HELD:
        _held(e, node, x, to)
    elif to is DType.FLOAT8_E8M0FNU:
        how = node.attrs["rounding"]
        config = {"rounding": None if how == "up" else how, "saturate": None if node.attrs["saturate"] else False}
        e.call("to_powers_of_two", [single(e, x)], config, outputs=node.outputs, carry=True)
    else:
        e.call(".to", [e.value(x, carry=True), to], outputs=node.outputs, carry=True)


_FLOAT8 = {
    DType.FLOAT8_E4M3FN: 464.0, DType.FLOAT8_E4M3FNUZ: None, DType.FLOAT8_E5M2: None, DType.FLOAT8_E5M2FNUZ: None,
}  # fmt: skip
"""Above what a number is NaN, where torch's own cast does not say: that to float8_e4m3fn gives NaN for all that is too large
(2.6), or the largest number (2.13). The others give NaN, or infinity where the type has it (equal for all float16 numbers, their
neighbours in float32 and two million others)."""


def single(e: E, x: Value) -> Any:
    """The elements as float32, from which types of 8 bits are rounded."""
    if x.dtype in (DType.FLOAT64, DType.COMPLEX64, DType.COMPLEX128):
        raise NotExpressible(f"{x.dtype} would be rounded twice on its way to 8 bits")
    h = e.value(x, carry=True)
    exact = x.dtype in (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)
    return h if exact else e.call(".to", [h, DType.FLOAT32], carry=True)[0]


def _float8(e: E, node: Node, x: Value, to: DType) -> None:
    h, saturate = single(e, x), node.attrs["saturate"]
    low, high = to.limits
    if saturate or _FLOAT8[to] is not None:
        (y,) = e.call("torch.clamp", [h], {"min": low, "max": high}, carry=True)
        if not saturate:
            (size,) = e.call("torch.abs", [h], carry=True)
            (over,) = e.call(">", [size, _FLOAT8[to]], carry=True)
            (y,) = e.call("torch.where", [over, math.nan, y], carry=True)
        h = y
    e.call(".to", [h, to], outputs=node.outputs, carry=True)


def _held(e: E, node: Node, x: Value, to: DType) -> None:
    """Integers keep their low bits (of floats the whole part's), as numpy's do."""
    if to.is_float:
        e.call("to_float4", [single(e, x)], outputs=node.outputs, carry=True)
        return
    h, held = e.value(x, carry=True), HELD[to]
    low, high = to.limits
    p = x.producer
    if p is not None and p.op == "clip" and _within(p.attrs, low, high):
        e.call(".to", [h, held], outputs=node.outputs, carry=True)
        return
    if x.dtype is not None and not x.dtype.is_int and x.dtype is not DType.BOOL:
        (h,) = e.call(".to", [h, DType.INT32], carry=True)
    (h,) = e.call(".to", [h, held], carry=True)
    if low == 0:
        e.call("&", [h, int(high)], outputs=node.outputs, carry=True)
        return
    (h,) = e.call("<<", [h, 8 - to.bits], carry=True)
    e.call(">>", [h, 8 - to.bits], outputs=node.outputs, carry=True)


def _within(limits: Any, low: float, high: float) -> bool:
    at_least, at_most = limits["min"], limits["max"]
    return at_least is not None and at_most is not None and low <= at_least and at_most <= high
