"""What emit rules share: constants, blobs in other shapes, crops, copies along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from convcore.plugin import DType, LazyTensor, Node, NotExpressible, Ref, Tensor, Value

from ..dialect import CaffeScribe, blob_shape, static
from ..rules.base import RULES

__all__ = [
    "RULES", "channels_first", "constant", "crop", "first", "fold", "folded", "match", "reshape", "scalar", "static", "tile",
    "weight",
]  # fmt: skip


def first(node: Node) -> Value:
    """The first input, which all these ops have."""
    v = node.inputs[0]
    assert v is not None
    return v


def weight(v: Value | None, what: str) -> Tensor:
    """A constant float32 input; NotExpressible for one that is computed."""
    if v is None or v.tensor is None:
        raise NotExpressible(f"Caffe wants {what} as a constant weight")
    if v.tensor.dtype is not DType.FLOAT32:
        raise NotExpressible(f"Caffe computes in float32, {what} is {v.tensor.dtype}")
    return v.tensor


def scalar(v: Value | None) -> float | None:
    """The number a constant float32 of one element holds; None for anything else."""
    if v is None or v.tensor is None or v.tensor.size != 1 or v.tensor.dtype is not DType.FLOAT32:
        return None
    return float(v.tensor.numpy().reshape(-1)[0])


def constant(make: Any, shape: Sequence[int]) -> Tensor:
    """A float32 weight made when it is written."""
    want = tuple(shape)
    return LazyTensor(lambda: np.ascontiguousarray(make(), np.float32).reshape(want), DType.FLOAT32, want)


def channels_first(node: Node) -> None:
    if node.attrs.get("layout", "channels_first") != "channels_first":
        raise NotExpressible("Caffe's images are (N, C, H, W), this one is channels_last")


def folded(e: CaffeScribe, node: Node, make: Callable[[Tensor], Tensor]) -> bool:
    """Whether the input is a constant: its readers then read the constant this makes of it."""
    x = first(node)
    if x.tensor is None or node.output.is_output:
        return False
    node.output.replace_uses(e.graph.add_weight(node.output.name, make(x.tensor)))
    return True


# ---- shapes
def match(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """The dims of a Reshape: 0 copies an axis that stays where it is (so the batch may change), one -1 takes what is left."""
    dims = list(new)
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b or b == 0:
            break
        dims[i] = 0
    if dims and dims[0] != 0 and math.prod(new) > 0:
        dims[0] = -1
    return dims


def reshape(e: CaffeScribe, top: Ref, shape: Sequence[int], name: str, outputs: Sequence[Value | None] = ()) -> Ref:
    """The blob in another shape: Flatten where that is one, else Reshape, nothing where it has it already."""
    shape = tuple(shape)
    if top.dims == shape:
        if outputs and outputs[0] is not None:
            e.alias(outputs[0], top)
        return top
    old = top.dims
    if 0 in shape:
        raise NotExpressible("it is empty, and Caffe's Reshape takes a size of 0 for a copy")
    if len(old) > 2 and len(shape) == 2 and old[0] == shape[0]:
        (out,) = e.call("Flatten", [top], {}, outputs=outputs, shapes=[shape], name=name, carry=True)
        return out
    dims = match(old, shape)
    (out,) = e.call("Reshape", [top], {"shape": blob_shape(dims)}, outputs=outputs, shapes=[shape], name=name, carry=True)
    return out


def fold(shape: Sequence[int], axis: int, end: int) -> tuple[int, int, int]:
    """Sizes before, within and after the axes [axis, end)."""
    return math.prod(shape[:axis]), math.prod(shape[axis:end]), math.prod(shape[end:])


def crop(e: CaffeScribe, top: Ref, axis: int, begin: int, size: int, name: str, outputs: Sequence[Value | None] = ()) -> Ref:
    """``size`` elements of an axis from ``begin`` on: a part of a Slice, whose others are silenced if nothing else takes them."""
    n = top.dims[axis]
    points = [p for p in (begin, begin + size) if 0 < p < n]
    if size < 1:
        raise NotExpressible("it is empty, and Caffe's Slice makes no empty blobs")
    if not points:
        if outputs and outputs[0] is not None:
            e.alias(outputs[0], top)
        return top
    bounds = [0, *points, n]
    at = bounds.index(begin)
    shapes = [(*top.dims[:axis], b - a, *top.dims[axis + 1 :]) for a, b in pairwise(bounds)]
    param = {"slice_point": points} if axis == 1 else {"axis": axis, "slice_point": points}
    key = ("Slice", top, axis, tuple(points))
    part: Ref = e.memo(key, lambda: e.call("Slice", [top], param, shapes=shapes, name=name))[at]
    if outputs and outputs[0] is not None:
        e.journal.set(part, "value", part.value or outputs[0])
        e.alias(outputs[0], part)
    return part


def tile(e: CaffeScribe, top: Ref, shape: Sequence[int], name: str, outputs: Sequence[Value | None] = ()) -> Ref:
    """The blob repeated along its axes up to a shape that each of its sizes divides."""
    axes = [i for i, (a, b) in enumerate(zip(top.dims, shape)) if a != b]
    if any(not top.dims[i] for i in axes):
        raise NotExpressible("no elements are repeated to some")
    if not axes and outputs and outputs[0] is not None:
        e.alias(outputs[0], top)
    for i in axes:
        now = list(top.dims)
        tiles, now[i] = shape[i] // now[i], shape[i]
        param = {"tiles": tiles} if i == 1 else {"axis": i, "tiles": tiles}
        last = i == axes[-1]
        (top,) = e.call("Tile", [top], param, outputs=outputs if last else (), shapes=[now], name=name, carry=True)
    return top
