"""What is never below zero, by what the ops that make it declare."""

from __future__ import annotations

import numpy as np

from ..ir.bounds import bounds
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset import Role, Trait, op, traits_of

__all__ = ["never_negative"]


_MOST = 1 << 20


def never_negative(v: Value | None, depth: int = 64) -> bool:
    """Whether no element of a value can be below zero, by what the ops that make it declare. What the user gives counts as such:
    ids are those of a table."""
    if v is None or depth == 0:
        return v is None
    if v.dtype is DType.BOOL or (v.dtype is not None and v.dtype.value.startswith("uint")):
        return True
    if v.tensor is not None:
        return v.tensor.size <= _MOST and not bool(np.any(v.tensor.numpy() < 0))
    node = v.producer
    if node is None:
        return True
    traits, low = traits_of(node.op), node.attrs.get("min")
    if Trait.NONNEGATIVE in traits or (node.op == "clip" and low is not None and low >= 0):
        return True
    if node.op == "dim_value":
        least = bounds(node.attrs["value"])[0]
        return least is not None and least >= 0
    if Trait.KEEPS_SIGN not in traits:
        return False
    decl = op(node.op)
    return all(never_negative(x, depth - 1) for i, x in enumerate(node.inputs) if decl.role(i) is not Role.INDEX)
