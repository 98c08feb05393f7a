"""ATen's bags of embeddings: sums, means and maxima of rows of a table, one bag after another."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed

_MODES = ("sum", "mean", "max")


@RULES.load("aten.embedding_bag", "aten.embedding_bag.padding_idx", "aten._embedding_bag_forward_only", "aten._embedding_bag")
def embedding_bag(g: TorchContext, n: AtenNode) -> Any:
    """Bag b holds the indices from offset b up to the next; an empty one is 0. The rows of ``padding_idx`` do not count."""
    ids, offsets = n.tensor("indices"), n.tensor("offsets")
    n.skip("sparse", "scale_grad_by_freq")
    mode = n.number("mode")
    if mode not in (0, 1, 2):
        raise NotExpressible(f"mode={mode} is not known")
    weights = n.optional("per_sample_weights")
    skipped = n.arg("padding_idx") if "padding_idx" in n.arguments else None
    (count,) = fixed(known(ids), (0,), "goes over")
    ids, offsets = g.cast(ids, DType.INT64), g.cast(offsets, DType.INT64)
    end = g.b.const(np.asarray([count]), DType.INT64)
    if not n.number("include_last_offset"):
        offsets = g.b.concat(offsets, end, axis=0)
    low = g.b.unsqueeze(g.b.slice(offsets, starts=(0,), stops=(-1,), steps=(1,)), axes=(1,))
    high = g.b.unsqueeze(g.b.slice(offsets, starts=(1,), stops=(None,), steps=(1,)), axes=(1,))
    at = g.b.const(np.arange(count)[None], DType.INT64)
    inside = g.b.and_(g.b.greater_equal(at, low), g.b.less(at, high))  # (bags, indices)
    table = n.tensor("weight")
    if skipped is not None and n.number("padding_idx") >= 0:
        counted = g.b.not_equal(ids, g.b.like(ids, n.number("padding_idx")))
        inside = g.b.and_(inside, g.b.unsqueeze(counted, axes=(0,)))
    rows = g.b.gather(table, ids, axis=0)
    if mode == 2:
        return _largest(g, inside, rows)
    marks = g.cast(inside, rows.dtype)
    if weights is not None:
        marks = g.b.mul(marks, g.b.unsqueeze(weights, axes=(0,)))
    y = g.b.matmul(marks, rows)
    if mode == 1:
        size = g.b.sum(g.cast(inside, rows.dtype), axes=(1,), keepdims=True)
        y = g.b.div(y, g.b.maximum(size, g.b.like(size, 1)))
    return (y,)


def _largest(g: TorchContext, inside: Value, rows: Value) -> tuple[Value]:
    seen = g.b.unsqueeze(inside, axes=(2,))
    wide = g.b.where(seen, g.b.unsqueeze(rows, axes=(0,)), g.b.like(rows, float("-inf")))
    top = g.b.max(wide, axes=(1,))
    any_ = g.b.unsqueeze(g.b.any(inside, axes=(1,)), axes=(1,))
    return (g.b.where(any_, top, g.b.like(top, 0)),)
