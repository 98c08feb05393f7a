"""Reductions."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, shape_of, sizes

FUNCTIONS = {"sum": "torch.sum", "mean": "torch.mean", "max": "torch.amax", "min": "torch.amin", "all": "torch.all",
             "any": "torch.any", "logsumexp": "torch.logsumexp", "l1_norm": "torch.linalg.vector_norm",
             "l2_norm": "torch.linalg.vector_norm"}  # fmt: skip


@RULES.emit(*FUNCTIONS)
def reduce(e: E, node: Node) -> None:
    """Over axes, which torch takes as a tuple (all and any one by one in older versions, in any order).

    A norm is torch's own: its gradient at 0 is 0 (``torch.linalg.vector_norm``), that of the root of a sum is nan.
    """
    x = node.need("x")
    axes, dims = node.attrs["axes"], tuple[int, ...]()
    every = x.shape is None and axes is None and not node.attrs["keepdims"] and node.op != "logsumexp"  # which wants axes
    if every:
        pass
    elif x.shape is None and axes and all(a >= 0 for a in axes):
        dims = tuple(sorted(axes))
    else:
        rank = len(shape_of(x))
        dims = tuple(range(rank)) if axes is None else tuple(sorted(a % rank for a in axes)) if rank else ()
    if not dims and not every:
        if node.op in ("logsumexp", "l1_norm", "l2_norm"):
            raise NotExpressible("no axes")
        e.alias(node.output, e.value(x))
        return
    if x.dtype is None or (node.op in ("mean", "logsumexp", "l1_norm", "l2_norm") and not x.dtype.is_float):
        raise NotExpressible(f"{node.op} of {x.dtype}")
    if node.op in ("max", "min") and any(shape_of(x)[d] == 0 for d in dims):  # which torch refuses
        highest = math.inf if x.dtype.is_float else x.dtype.limits[1]
        lowest = -math.inf if x.dtype.is_float else x.dtype.limits[0]
        shape = tuple(sizes(e, shape_of(node.outputs[0])))
        operands = [shape, lowest if node.op == "max" else highest]
        e.call("torch.full", operands, {"dtype": x.dtype}, outputs=node.outputs)
        return
    config: dict[str, Any] = {"ord": 1} if node.op == "l1_norm" else {}
    config |= {} if every else {"dim": dims[0] if len(dims) == 1 else dims, "keepdim": node.attrs["keepdims"] or None}
    if node.op == "sum" and not x.dtype.is_float:
        config["dtype"] = x.dtype
    e.call(FUNCTIONS[node.op], [e.value(x)], config, outputs=node.outputs)


@RULES.emit("variance", "std")
def spread(e: E, node: Node) -> None:
    """torch's own, whose gradient of a deviation of 0 is 0."""
    x, ddof = node.need("x"), node.attrs["ddof"]
    rank, axes = len(shape_of(x)), node.attrs["axes"]
    dims = tuple(range(rank)) if axes is None else tuple(sorted(a % rank for a in axes)) if rank else ()
    if not dims:
        raise NotExpressible("no axes")
    config = {"dim": dims[0] if len(dims) == 1 else dims, "correction": ddof if ddof != 1 else None,
              "keepdim": node.attrs["keepdims"] or None}  # fmt: skip
    e.call("torch.var" if node.op == "variance" else "torch.std", [e.value(x)], config, outputs=node.outputs)


@RULES.emit("prod")
def prod(e: E, node: Node) -> None:
    """One axis at a time, the last first."""
    x = node.need("x")
    rank, axes = len(shape_of(x)), node.attrs["axes"]
    dims = sorted((range(rank) if axes is None else (a % rank for a in axes)), reverse=True) if rank else []
    if x.dtype is None:
        raise NotExpressible("elements of a type that is not known")
    if not dims:
        e.alias(node.output, e.value(x))
    y = e.value(x)
    for d in dims:
        last = d == dims[-1]
        config = {"dim": d, "keepdim": node.attrs["keepdims"] or None, "dtype": None if x.dtype.is_float else x.dtype}
        (y,) = e.call("torch.prod", [y], config, outputs=node.outputs if last else ())
