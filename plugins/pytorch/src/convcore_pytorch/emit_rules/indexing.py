"""Indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Dim, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, number, shape_of


@RULES.emit("slice")
def slice_(e: E, node: Node) -> None:
    """Steps forward, as torch has no others."""
    x = given(node.inputs[0])
    index: list[Any] = []
    for a, b, s, n in zip(node.attrs["starts"], node.attrs["stops"], node.attrs["steps"], shape_of(x)):
        if not isinstance(s, int) or s < 1 or isinstance(a, Dim) or isinstance(b, Dim):
            raise NotExpressible(f"a slice from {a} to {b} in steps of {s}")
        if b is not None and (b >= 1 << 62 or b == n):
            b = None
        index.append(("slice", a or None, b, None if s == 1 else s))
    while len(index) > 1 and index[-1] == ("slice", None, None, None):
        index.pop()
    e.call("[]", [e.value(x, carry=True)], {"index": tuple(index)}, outputs=node.outputs, carry=True)


@RULES.emit("gather")
def gather(e: E, node: Node) -> None:
    """One place as an index, a vector of places by index_select; negative places of constants count from the end."""
    x, at = given(node.inputs[0]), given(node.inputs[1])
    shape = shape_of(x)
    axis = node.attrs["axis"] % len(shape)
    one = number(at)
    if one is not None and at.shape == ():
        index = tuple([("slice", None, None, None)] * axis + [one])
        e.call("[]", [e.value(x, carry=True)], {"index": index}, outputs=node.outputs, carry=True)
        return
    if at.dtype is None or str(at.dtype) not in ("int32", "int64"):
        raise NotExpressible(f"places of {at.dtype}")
    h = e.value(at)
    if str(at.dtype) == "int32":
        (h,) = e.call(".long", [h])
    index = tuple([("slice", None, None, None)] * axis)
    e.call("[]", [e.value(x, carry=True), h], {"index": (*index, ("arg", 1))}, outputs=node.outputs, carry=True)


@RULES.emit("take_along_axis")
def take_along_axis(e: E, node: Node) -> None:
    """Places in one axis; the others must be of the same size."""
    x, at = given(node.inputs[0]), given(node.inputs[1])
    axis = node.attrs["axis"] % len(shape_of(x))
    if at.dtype is None or str(at.dtype) != "int64":
        raise NotExpressible(f"places of {at.dtype}")
    if any(i != axis and a != b for i, (a, b) in enumerate(zip(shape_of(x), shape_of(at)))):
        raise NotExpressible("places that are broadcast")
    n = shape_of(x)[axis]
    h = e.value(at)
    if not isinstance(n, int):
        raise NotExpressible("negative places cannot be counted from an end that is not known")
    (h,) = e.call("%", [h, n])
    e.call("torch.gather", [e.value(x, carry=True), axis, h], outputs=node.outputs, carry=True)


_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@RULES.emit("scatter_elements")
def scatter_elements(e: E, node: Node) -> None:
    """``torch.scatter``, whose result for equal places is not defined: without a reduction the places must be known to differ."""
    x, at, updates = (given(v) for v in node.inputs)
    axis, how = node.attrs["axis"] % len(shape_of(x)), node.attrs["reduction"]
    n = shape_of(x)[axis]
    if at.dtype is None or str(at.dtype) not in ("int32", "int64") or not isinstance(n, int):
        raise NotExpressible("negative places cannot be counted from an end that is not known")
    if how == "none" and not (at.tensor is not None and _differ(at.tensor.numpy() % n, axis)):
        raise NotExpressible("of equal places the last one stays, in torch any of them")
    h = e.value(at)
    if str(at.dtype) == "int32":
        (h,) = e.call(".long", [h])
    (h,) = e.call("%", [h, n])
    operands = [e.value(x, carry=True), axis, h, e.value(updates, carry=True)]
    if how == "none":
        e.call("torch.scatter", operands, outputs=node.outputs, carry=True)
    else:
        e.call("torch.scatter_reduce", operands, {"reduce": _REDUCE[how]}, outputs=node.outputs)


def _differ(places: Any, axis: int) -> bool:
    """Whether no two places along the axis are the same."""
    ordered = np.sort(places, axis)
    return not (np.diff(ordered, axis=axis) == 0).any()
