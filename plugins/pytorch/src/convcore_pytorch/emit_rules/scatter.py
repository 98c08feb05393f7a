"""Writing elements into a copy of a tensor. torch leaves open which of several updates of one place stays; the IR does not."""

from __future__ import annotations

import numpy as np

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, places, shape_of

REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@RULES.emit("scatter_elements")
def scatter_elements(e: E, node: Node) -> None:
    """torch.scatter where no place is written twice, or the updates join; else ``scatter`` in ``written.py``."""
    x, at, updates = (given(v) for v in node.inputs)
    axis, how = node.attrs["axis"] % len(shape_of(x)), node.attrs["reduction"]
    if x.dtype is DType.BOOL:
        raise NotExpressible("truth values are not scattered")
    n = shape_of(x)[axis]
    operands = [e.value(x, carry=True), axis, places(e, at, n), e.value(updates, carry=True)]
    if how != "none":
        e.call("torch.scatter_reduce", operands, {"reduce": REDUCE[how]}, outputs=node.outputs)
        return
    once = at.tensor is not None and isinstance(n, int) and _differ(at.tensor.numpy() % n, axis)
    e.call("torch.scatter" if once else "scatter", operands, outputs=node.outputs, carry=True)


def _differ(where: np.ndarray, axis: int) -> bool:
    """Whether no two places along the axis are the same."""
    return not (np.diff(np.sort(where, axis), axis=axis) == 0).any()


@RULES.emit("scatter_nd")
def scatter_nd(e: E, node: Node) -> None:
    """Sums as index_put; the rest is ``scatter_nd`` in ``written.py``."""
    x, at, updates = (given(v) for v in node.inputs)
    how, depth = node.attrs["reduction"], shape_of(at)[-1]
    if at.dtype is None or not isinstance(depth, int):
        raise NotExpressible(f"index vectors of {depth} {at.dtype}")
    if x.dtype is DType.BOOL and how != "none":
        raise NotExpressible(f"{how} of truth values")
    h = e.value(at)
    if at.dtype is not DType.INT64:
        (h,) = e.call(".long", [h])
    moves = how == "none"
    operands = [e.value(x, carry=moves), h, e.value(updates, carry=moves)]
    if how != "add":
        e.call("scatter_nd", operands, {"reduce": REDUCE.get(how)}, outputs=node.outputs, carry=moves)
        return
    index = tuple(e.call("[]", [h], {"index": ("...", i)})[0] for i in range(depth))
    e.call("torch.index_put", [operands[0], index, operands[2]], {"accumulate": True}, outputs=node.outputs)
