"""Bringing values into another order: constants as views (free), others by nodes.

Because an order may permute inside an axis, flatten -> dense needs no pass of its own: the flat axis is stored in another
order, and the matrix after it, being constant, has its columns permuted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..build.builder import Builder
from ..ir.dims import DimLike, Shape
from ..ir.graph import Value
from ..ir.tensors import Tensor
from .orders import Block, Order, Segment, block_indices, segment_size

__all__ = ["convert", "lay_out", "permute_axis"]


def permute_axis(t: Tensor, axis: int, block: Block) -> Tensor:
    """The elements along ``axis`` in the block's stored order."""
    if len(block) == 1:
        factors, perm = block[0]
        k, n = len(factors), t.ndim
        wide = (*t.shape[:axis], *(int(f) for f in factors), *t.shape[axis + 1 :])  # type: ignore[arg-type]
        order = [*range(axis), *(axis + p for p in perm), *range(axis + k, n - 1 + k)]
        return t.reshape(wide).transpose(order).reshape(t.shape)
    index = block_indices(block)
    return t.map(lambda a: a.take(index, axis))


def lay_out(t: Tensor, order: Order | None, lift: Sequence[int] = (), params: Mapping[int, Block] | None = None) -> Tensor:
    """A constant in ``order`` with axes of size 1 inserted at the positions ``lift``; ``params`` permutes inside axes."""
    for axis, block in (params or {}).items():
        t = permute_axis(t, axis, block)
    if order is not None:
        for axis, block in order.blocks:
            t = permute_axis(t, axis, block)
        t = t.transpose(order.perm)
    if lift:
        left = iter(t.shape)
        t = t.reshape([1 if i in lift else next(left) for i in range(t.ndim + len(lift))])
    return t


def convert(b: Builder, v: Value, have: Order, want: Order, name: str) -> Value:
    """Nodes that bring a value stored in ``have`` into ``want``; usually one transpose, called ``name``."""
    have_blocks, want_blocks = dict(have.blocks), dict(want.blocks)
    for axis, block in have.blocks:
        if want_blocks.get(axis) != block:
            v = _inside(b, v, have.inv[axis], block, back=True, name=name)
    if have.perm != want.perm:
        v = b.op("transpose", v, perm=tuple(have.inv[p] for p in want.perm), node_name=name, output_names=[name])
    for axis, block in want.blocks:
        if have_blocks.get(axis) != block:
            v = _inside(b, v, want.inv[axis], block, back=False, name=name)
    return v


def _inside(b: Builder, v: Value, axis: int, block: Block, *, back: bool, name: str) -> Value:
    """Permute inside a stored axis, or undo it."""
    if len(block) == 1:
        return _inside_segment(b, v, axis, block[0], back, name)
    sizes: list[DimLike | None] = [segment_size(s) for s in block]
    parts = b.op("split", v, axis=axis, sizes=tuple(sizes), node_name=b.graph.fresh_name(f"{name}/split"))
    moved = [p if len(s[1]) == 1 else _inside_segment(b, p, axis, s, back, name) for p, s in zip(parts, block)]
    joined: Value = b.op("concat", *moved, axis=axis, node_name=b.graph.fresh_name(f"{name}/concat"))
    return joined


def _inside_segment(b: Builder, v: Value, axis: int, s: Segment, back: bool, name: str) -> Value:
    factors, perm = s
    shape: Shape = v.shape or ()
    k = len(factors)
    inner: Sequence[DimLike] = factors
    order: Sequence[int] = perm
    if back:
        inner = [factors[p] for p in perm]
        order = [perm.index(i) for i in range(k)]
    wide = (*shape[:axis], *inner, *shape[axis + 1 :])
    full = [*range(axis), *(axis + p for p in order), *range(axis + k, len(shape) - 1 + k)]
    w = b.op("reshape", v, shape=wide, node_name=b.graph.fresh_name(f"{name}/split"))
    w = b.op("transpose", w, perm=tuple(full), node_name=b.graph.fresh_name(f"{name}/transpose"))
    out: Value = b.op("reshape", w, shape=shape, node_name=b.graph.fresh_name(name))
    return out
