"""Whole layers of attention: the projections before the core and the one behind it, with the heads split and joined between.

Projections are dense layers of constants: three, or one whose features are parts for queries, keys and values in whatever order;
which of its rows are whose is read off the axes. What stands between (a rotation, a bias per head) keeps the core a core.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ir.dims import product
from ..ir.graph import Node, Value
from ..records import dataclass
from .axes import Axes, axes_of, cells
from .kinds import is_view
from .linear import sole
from .region import Rewriter

__all__ = ["find"]


@dataclass(frozen=True)
class _Projection:
    """A dense layer, and the rows of its weight that are wanted, by head and width."""

    node: Node
    rows: Any
    batch_major: bool
    heads: Any


def find(r: Rewriter, node: Node) -> bool:
    """Put multi_head_attention in place of an attention and the dense layers around it."""
    at = node.attrs
    if at["layout"] != "heads_first" or at["softcap"]:
        return False
    mask = node.arg("mask")
    per_head = mask is not None and mask.shape is not None and len(mask.shape) > 2 and mask.shape[-3] not in (1, None)
    if per_head:  # T5's and Swin's position bias: no layer of torch or Keras has that
        return False
    parts = [_projection(r, node.need(n)) for n in ("q", "k", "v")]
    q, k, v = parts
    out = _output(r, node)
    if q is None or k is None or v is None or out is None:
        return False
    last, root, batch_major = out
    if len({p.batch_major for p in (q, k, v)} | {batch_major}) != 1 or k.heads != v.heads or last.inputs[1] is None:
        return False
    roots = [root, *node.outputs[1:]]
    inputs = [p.node.need("x") for p in (q, k, v)]
    stops = {*inputs, *([] if mask is None else [mask])}
    nodes = r.region(roots, stops)
    if nodes is None or not r.closed(nodes, set(roots)):
        return False

    def make(b: Any) -> Any:
        weights = [r.rows(p.node.need("w"), p.rows) for p in (q, k, v)]
        biases = [None if c is None else r.rows(c, p.rows) for p, c in ((p, p.node.arg("b")) for p in (q, k, v))]
        return b.op(
            "multi_head_attention", *inputs, *weights, last.need("w"), *biases, last.arg("b"), mask,
            heads=q.heads, kv_heads=0 if k.heads == q.heads else k.heads, scale=at["scale"], causal=at["causal"],
            empty=at["empty"], guard=at["guard"], weights=at["weights"],
            layout="batch_major" if batch_major else "time_major",
        )  # fmt: skip

    return r.put(root, nodes, make, roots=roots)


def _projection(r: Rewriter, v: Value) -> _Projection | None:
    """The dense layer that gives queries, keys or values as (batch, heads, length, width)."""
    a = axes_of(r, v, select=True)
    node = a.base.producer
    if node is None or node.op != "linear" or len(a.groups) != 4 or len(a.origin) != 3 or not _constant(node):
        return None
    batch, heads, length, width = (cells(g) for g in a.groups)
    first, second = cells(tuple(a.origin[0])), cells(tuple(a.origin[1]))
    if (batch, length) not in ((first, second), (second, first)):
        return None
    sizes = [x.size for x in a.origin[2] if isinstance(x.size, int)]
    wanted = [a.origin[2].index(x) for x in (*heads, *width) if x in a.origin[2]]
    if len(sizes) != len(a.origin[2]) or len(wanted) != len(heads) + len(width):
        return None
    taken = tuple(slice(None) if x.index is None else x.index for x in a.origin[2])
    index = np.arange(math.prod(sizes)).reshape(sizes)
    left = [i for i, x in enumerate(a.origin[2]) if x.index is None]
    perm = [left.index(i) for i in wanted]
    ones = [i for i in range(len(left)) if i not in perm]
    rows = index[taken].transpose([*ones, *perm]).reshape(-1)
    if len(rows) != product([x.size for x in (*heads, *width)]):
        return None
    return _Projection(node, rows, (batch, length) == (first, second), product([x.size for x in heads]))


def _constant(node: Node) -> bool:
    return all(v is None or v.tensor is not None for v in node.inputs[1:])


def _output(r: Rewriter, node: Node) -> tuple[Node, Value, bool] | None:
    """The dense layer behind, the value that is its result over (batch, length, width) or (length, batch, width), and whether
    the batch comes first."""
    y = node.outputs[0]
    at = y
    for _ in range(8):
        user = sole(r, at)
        if user is None:
            return None
        if user.op == "linear":
            break
        if not (user.op == "cast" or is_view(user)):
            return None
        at = user.output
    else:
        return None
    if user.need("x") is not at or not _constant(user):
        return None
    a = axes_of(r, at)
    if a.base is not y or len(a.origin) != 4 or not a.groups:
        return None
    batch, heads, length, width = (cells(tuple(g)) for g in a.origin)
    groups = [cells(g) for g in a.groups]
    if groups[-1] != (*heads, *width):
        return None
    if len(groups) == 3 and groups[:2] in ([batch, length], [length, batch]):
        return user, user.output, groups[:2] == [batch, length]
    if len(groups) == 2 and groups[0] in ((*batch, *length), (*length, *batch)):
        return _restored(r, a, user, groups[0] == (*batch, *length))
    return None


def _restored(r: Rewriter, a: Axes, linear: Node, batch_major: bool) -> tuple[Node, Value, bool] | None:
    """The reshape that takes apart what was joined before the dense layer."""
    after = sole(r, linear.output)
    shape, out = a.base.shape, linear.output.shape
    if after is None or after.op != "reshape" or shape is None or out is None:
        return None
    n, t = shape[0], shape[2]
    if after.output.shape != ((n, t, out[-1]) if batch_major else (t, n, out[-1])):
        return None
    return linear, after.output, batch_major
