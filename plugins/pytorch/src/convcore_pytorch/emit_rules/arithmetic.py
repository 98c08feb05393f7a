"""Elementwise arithmetic."""

from __future__ import annotations

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from ..types import HELD, TORCH_TYPES
from .base import E


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


@RULES.emit("identity")
def identity(e: E, node: Node) -> None:
    """Nothing to do."""
    e.alias(node.output, e.value(node.need("x"), carry=True))


@RULES.emit("bitcast")
def bitcast(e: E, node: Node) -> None:
    """The bits as they are. As a truth value torch would have others than 0 and 1."""
    x, to = node.need("x"), node.attrs["to"]
    if to is DType.BOOL:
        raise NotExpressible("bits read as truth values")
    if not {x.dtype, to} <= TORCH_TYPES.keys() - HELD.keys():
        raise NotExpressible(f"bits of {x.dtype} read as {to}")
    e.call(".view", [e.value(x, carry=True), to], outputs=node.outputs, carry=True)


@RULES.emit("det")
def det(e: E, node: Node) -> None:
    """Of single and double precision."""
    x = node.need("x")
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"a determinant of {x.dtype}")
    e.call("torch.linalg.det", [e.value(x)], outputs=node.outputs)
