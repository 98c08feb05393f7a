"""A laid-out graph before it is written for Keras: constants folded, permutations that are none of axes said as what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convcore.plugin import ArrayTensor, Builder, DType, Graph, Node, Shape, ShapeTracker, Value, fold_constants

from .late import settle

__all__ = ["prepare"]


def prepare(graph: Graph) -> None:
    """Fold what constants and sizes alone give (what is trained stays), settle arguments that are data, and
    write channel shuffles as gathers of channels."""
    _fold_sizes(graph)
    settle(graph)
    fold_constants(graph, nodes=(n for n in graph if not any(v is not None and v.trainable for v in n.inputs)))
    for node in graph:
        if node.op == "transpose":
            _shuffle(graph, node)
        elif node.attrs.get("keepdims") and node.attrs.get("axes", ()) is None:
            x = node.inputs[0]  # over all axes, the torch backend of Keras 3.15 keeps none
            if x is not None and x.rank is not None:
                node.attrs = {**node.attrs, "axes": tuple(range(x.rank))}


def _fold_sizes(graph: Graph) -> None:
    """Integers that follow from shapes are constants: an operation of constants alone is no part of a functional model."""
    tracker = ShapeTracker()
    gone: list[Node] = []
    for node in list(graph):
        for v in node.outputs:
            if v.is_output or v.tensor is not None or v.dtype is None or not (v.dtype.is_int or v.dtype is DType.BOOL):
                continue
            a = tracker.get(v)
            if a is None or not all(isinstance(n, int) for n in a.flat) or tuple(a.shape) != v.shape:
                continue
            name = v.name
            v.name = f"{name} (known)"
            weight = graph.add_weight(name, ArrayTensor(a.astype(v.dtype.numpy)))
            graph.rename(weight, name)
            v.replace_uses(weight)
            gone.append(node)
    for node in reversed(gone):
        if node.graph is not None and not any(v.uses or v.is_output for v in node.outputs):
            graph.remove(node)


def _shuffle(graph: Graph, node: Node) -> None:
    """reshape, transpose, reshape that only permute the elements of one axis, whatever the others are, as one gather."""
    x = node.need("x")
    first, second = x.producer, node.output.users[0] if len(node.output.users) == 1 else None
    if first is None or first.op != "reshape" or second is None or second.op != "reshape" or node.output.is_output:
        return
    source, perm = first.need("x"), node.attrs["perm"]
    place = _split_axis(source.shape, x.shape)
    if place is None or source.shape != second.output.shape:
        return
    axis, n = place
    inside = perm[axis : axis + n]
    if (*perm[:axis], *perm[axis + n :]) != (*range(axis), *range(axis + n, len(perm))) or len(graph.outputs) == 0:
        return
    factors = [int(d) for d in (x.shape or ())[axis : axis + n] if isinstance(d, int)]
    order = np.arange(math.prod(factors)).reshape(factors).transpose([p - axis for p in inside]).reshape(-1)
    b = Builder(graph, before=second, origin=node.origin.by("keras"))
    b.prefix = second.name
    y: Value = b.gather(source, b.const(order.astype(np.int32)), axis=axis)
    name = second.output.name
    second.output.replace_uses(y)
    graph.remove(second)
    graph.rename(y, name)
    for old in (node, first):
        if not old.output.uses and not old.output.is_output:
            graph.remove(old)


def _split_axis(old: Shape | None, new: Shape | None) -> tuple[int, int] | None:
    """The only axis of ``old`` that is split in ``new``, and into how many known sizes."""
    if old is None or new is None or len(new) <= len(old):
        return None
    n = len(new) - len(old) + 1
    for axis, d in enumerate(old):
        parts: Sequence[object] = new[axis : axis + n]
        whole = math.prod(p for p in parts if isinstance(p, int))
        fits = isinstance(d, int) and all(isinstance(p, int) for p in parts) and whole == d
        if fits and tuple(new[:axis]) == tuple(old[:axis]) and tuple(new[axis + n :]) == tuple(old[axis + 1 :]):
            return axis, n
    return None
