"""A graph made smaller without changing what it means: what is constant computed, what does nothing left out, what is computed
twice computed once, composites found, normalisations of given statistics put into the layer before."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..build.builder import Builder
from ..ir.graph import Graph, Node, Value
from ..opset import Role, Trait, op, traits_of
from ..passes.constants import fold_constants
from .fuse import find_composites
from .kinds import broadcasts, regroups, same
from .linear import sole
from .region import Fusion, Rewriter
from .view import View

__all__ = ["simplify"]


def simplify(graph: Graph, fuse: bool = True, only: Collection[str] | None = None) -> tuple[list[Fusion], list[str]]:
    """Simplify a graph in place; returns the composites that were found and a line for everything else that was done."""
    before = len(graph)
    done = {
        "of constants, computed": fold_constants(graph),
        "without effect, left out": _without_effect(graph),
        "computed twice, once": _twice(graph),
    }
    found = find_composites(graph, only=only) if fuse else []
    done["of a normalisation, in the weights before it"] = _into_weights(graph)
    done["of constants, computed"] += fold_constants(graph)
    done["computed twice, once"] += _twice(graph)
    done["that nothing uses, left out"] = graph.remove_unused()
    lines = [f"{n} node{'s' if n > 1 else ''} {what}" for what, n in done.items() if n]
    return found, [f"nodes: {before} before, {len(graph)} after", *lines]


def _without_effect(graph: Graph) -> int:
    """Nodes that give their input: casts to its type, identities, what only training needs, moves that move nothing, times 1."""
    gone, outputs = 0, set(graph.outputs)
    for node in graph:
        x = node.inputs[0] if node.inputs else None
        if len(node.outputs) != 1 or node.outputs[0] in outputs or x is None or not _same(node, x):
            continue
        node.outputs[0].replace_uses(x)
        graph.remove(node)
        gone += 1
    return gone


def _same(node: Node, x: Value) -> bool:
    if same(node):
        return True
    y = node.outputs[0]
    if x.dtype is not y.dtype or x.shape is None or x.shape != y.shape or None in x.shape:
        return False
    if regroups(node) or broadcasts(node):
        return True
    if node.op == "transpose":
        return bool(node.attrs["perm"] == tuple(range(len(x.shape))))
    if node.op == "concat":
        return len(node.inputs) == 1
    if node.op == "slice":
        return all(s == 1 for s in node.attrs["steps"])
    if node.op in ("mul", "div") and node.inputs[1] is not None:
        one = node.inputs[1].tensor
        return one is not None and one.size == 1 and bool(one.numpy().reshape(()) == 1)
    return False


def _twice(graph: Graph) -> int:
    """Nodes that compute what an earlier one has: the same op, inputs and attributes."""
    known: dict[Any, Node] = {}
    gone, outputs = 0, set(graph.outputs)
    for node in graph:
        if node.regions or node.op == "opaque" or Trait.NO_FOLD in traits_of(node.op):
            continue
        try:
            key = (node.op, tuple(id(v) for v in node.inputs), tuple(sorted(node.attrs.items())))
            first = known.setdefault(key, node)
        except TypeError:  # attributes that are no key
            continue
        if first is node or any(v in outputs for v in node.outputs):
            continue
        for old, new in zip(node.outputs, first.outputs):
            old.replace_uses(new)
        graph.remove(node)
        gone += 1
    return gone


# ---- batch_norm into what is before it
def _into_weights(graph: Graph) -> int:
    """batch_norm of constants behind a conv or linear of constants that nothing else reads."""
    nodes = [n for n in graph if n.op == "batch_norm"]
    r = Rewriter(graph, View(graph)) if nodes else None
    return sum(_merged(r, node) for node in nodes) if r is not None else 0


def _merged(r: Rewriter, node: Node) -> bool:
    x = node.need("x")
    layer = x.producer
    if layer is None or Trait.AFFINE not in traits_of(layer.op) or sole(r, x) is not node or x.rank is None:
        return False
    channels = 1 if layer.attrs.get("layout") == "channels_first" else x.rank - 1
    constants = [*layer.inputs[1:], *node.inputs[1:]]
    if node.attrs["axis"] != channels or any(v is not None and v.tensor is None for v in constants):
        return False
    parameters = [a.name for a in op(layer.op).inputs if a.role is Role.PARAMETER]
    w, bias = (layer.arg(n) for n in parameters)
    scale, shift, mean, var = (None if v is None or v.tensor is None else v.tensor for v in node.inputs[1:5])
    assert w is not None and w.tensor is not None and mean is not None and var is not None
    tensor, dtype, epsilon = w.tensor, w.tensor.dtype.numpy, node.attrs["epsilon"]

    def factor() -> Any:
        f = 1 / np.sqrt(var.numpy().astype(np.float64) + epsilon)
        return f if scale is None else f * scale.numpy().astype(np.float64)

    def weight(a: Any) -> Any:
        return (a.astype(np.float64) * factor().reshape(-1, *(1,) * (a.ndim - 1))).astype(dtype)

    old = 0 if bias is None or bias.tensor is None else bias.tensor.numpy().astype(np.float64)
    added = (old - mean.numpy().astype(np.float64)) * factor() + (0 if shift is None else shift.numpy().astype(np.float64))

    def make(b: Builder) -> Value:
        new = r.graph.add_weight(f"{w.name}/merged", tensor.map(weight), like=w)
        c = b.weight(added.astype(dtype), f"{x.name}/merged", trainable=w.trainable, source=w.source)
        y: Value = b.op(layer.op, layer.inputs[0], new, c, *layer.inputs[3:], **layer.attrs)
        return y

    return r.put(node.output, [node, layer], make, like=layer)
