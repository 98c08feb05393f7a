"""What is never below zero, by what the ops that make it declare."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..ir.bounds import bounds
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..opset import Role, Trait, op, traits_of
from .search import Parts, every

__all__ = ["never_negative"]


_MOST = 1 << 20
_ENOUGH = 2**31 - 1
"""A number that no id is above."""


def never_negative(v: Value | None, inputs: bool) -> bool:
    """Whether no element of a value can be below zero, by what the ops that make it declare; ``inputs``: whether what the user
    gives counts as such (ids are those of a table)."""
    return v is None or every(v, partial(_parts, inputs))


def _parts(inputs: bool, v: Value) -> Parts:
    if v.dtype is DType.BOOL or (v.dtype is not None and v.dtype.value.startswith("uint")):
        return True
    if v.tensor is not None:
        return v.tensor.size <= _MOST and not bool(np.any(v.tensor.numpy() < 0))
    node = v.producer
    if node is None:
        return inputs
    traits, low, high = traits_of(node.op), node.attrs.get("min"), node.attrs.get("max")
    if Trait.NONNEGATIVE in traits or (node.op == "clip" and low is not None and low >= 0 and (high is None or high >= 0)):
        return True
    if node.op == "dim_value":
        least = bounds(node.attrs["value"])[0]
        return least is not None and least >= 0
    if not (_of_elements(node) or Trait.KEEPS_SIGN in traits) or (
        node.op == "cast" and not _holds(node.need("x").dtype, v.dtype)
    ):
        return False
    decl = op(node.op)
    return [x for i, x in enumerate(node.inputs) if x is not None and decl.role(i) is not Role.INDEX]


def _of_elements(node: Node) -> bool:
    """Whether a node takes the maximum of windows none of which is empty: its maximum is an element."""
    if node.op != "max_pool" or node.attrs["ceil_mode"] == "ceil_full":
        return False
    pads = node.attrs["pads"]  # by a name they are less than a window, and the first element of each is no padding or its last
    each = zip(node.attrs["kernel"], node.attrs["dilations"], pads if not isinstance(pads, str) else ())
    return all(pair == (0, 0) or (d == 1 and all(isinstance(n, int) and n < k for n in pair)) for k, d, pair in each)


def _holds(old: DType | None, new: DType | None) -> bool:
    """Whether numbers of a type that are not below zero stay so as another one: no highest ones mean -1 there. Signed integers of
    4 bytes and more have room for the ids of any table."""
    if old is None or new is None or old is DType.BOOL or not new.value.startswith("int"):
        return True
    if new.limits[1] >= _ENOUGH and not old.value.startswith("uint"):
        return True
    return not old.is_float and old.limits[1] <= new.limits[1]
