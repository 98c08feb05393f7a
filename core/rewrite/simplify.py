"""A graph made smaller without changing what it means: what is constant computed, what does nothing left out, what is computed
twice computed once, composites found, normalisations of given statistics put into the layer before."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..build.builder import Builder
from ..ir.dtypes import DType
from ..ir.graph import CONSTANT, Graph, Node, Value
from ..opset import Trait, traits_of
from ..passes.constants import fold_constants
from .fuse import find_composites
from .kinds import broadcasts, regroups, same
from .moves import join_moves, take_place
from .region import Fusion
from .weights import into_weights

__all__ = ["simplify"]


def simplify(graph: Graph, fuse: bool, only: Collection[str] | None = None) -> tuple[list[Fusion], list[str]]:
    """Simplify a graph in place; returns the composites that were found and a line for everything else that was done."""
    before = len(graph)
    computed, gone, twice = fold_constants(graph), _without_effect(graph), _twice(graph)
    found = find_composites(graph, only=only) if fuse else []
    normal, arithmetic, pads = into_weights(graph)
    factors = _one_factor(graph)
    moves = join_moves(graph) + _one_concat(graph)
    done = {
        "of constants, computed": computed + fold_constants(graph),
        "without effect, left out": gone + _without_effect(graph),
        "computed twice, once": twice + _twice(graph),
        "of a normalisation, in the weights before it": normal,
        "of arithmetic with constants, in the weights before it": arithmetic,
        "of products with constants, one behind the other": factors,
        "of zeros around a convolution's input, in its pads": pads,
        "that only regroup or move elements, joined": moves,
        "that nothing uses, left out": graph.remove_unused(),
    }
    lines = [f"{n} node{'s' if n > 1 else ''} {what}" for what, n in done.items() if n]
    return found, [f"nodes: {before} before, {len(graph)} after", *lines]


def _without_effect(graph: Graph) -> int:
    """Nodes that give their input: casts to its type, identities, what only training needs, moves that move nothing, times 1."""
    gone = 0
    for node in graph:
        x = node.inputs[0] if node.inputs else None
        if len(node.outputs) == 1 and x is not None and _same(node, x):
            gone += take_place(graph, node, x)
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
    _one_constant(graph)
    known: dict[Any, Node] = {}
    gone, outputs = 0, set(graph.outputs)
    for node in graph:
        if node.regions or node.op == "opaque" or Trait.NO_FOLD in traits_of(node.op):
            continue
        try:
            ins = [id(v) for v in node.inputs]
            if Trait.COMMUTES in traits_of(node.op):
                ins.sort()
            key = (node.op, tuple(ins), tuple(sorted(node.attrs.items())))
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


_SMALL = 64
"""Elements of constants that are looked at."""


def _one_constant(graph: Graph) -> None:
    """Small constants (no parameters) of the same elements are one."""
    known: dict[Any, Value] = {}
    for w in list(graph.weights.values()):
        if w.tensor is None or w.role != CONSTANT or w.tensor.size > _SMALL or w.is_output:
            continue
        a = w.tensor.numpy()
        if a.dtype.kind == "O":
            continue
        first = known.setdefault((w.tensor.dtype, a.shape, a.tobytes()), w)
        if first is not w:
            w.replace_uses(first)
            graph.remove_weight(w)


def _reader(v: Value) -> Node | None:
    """The only reader of a value that is no result."""
    return v.users[0] if len(v.uses) == 1 and not v.is_output else None


def _one_factor(graph: Graph) -> int:
    """x * a * b of constants a and b, of one shape with their product, as x * (a b): one rounding less."""
    gone = 0
    for node in graph:
        x, a = _scaled(node)
        after = None if x is None else _reader(node.outputs[0])
        y, b = (None, None) if after is None else _scaled(after)
        if x is None or a is None or after is None or b is None or y is not node.outputs[0] or y.dtype is None:
            continue
        with np.errstate(all="ignore"):
            both = a * b
            stored = both.astype(y.dtype.numpy)
        if both.size > max(a.size, b.size) or both.size > _SMALL << 10:
            continue
        if not np.array_equal(np.isfinite(both) & (both != 0), np.isfinite(a) & (a != 0) & np.isfinite(b) & (b != 0)):
            continue
        if not np.all(np.isfinite(stored)) or np.any((np.abs(stored) < y.dtype.tiny) & (both != 0)):
            continue
        build = Builder(graph, before=after, origin=after.origin.by("simplify"))
        build.prefix, build.scope = after.name, after.scope
        new = build.mul(x, build.weight(stored, f"{after.name}/factor"))
        if new.shape == after.outputs[0].shape and new.producer is not None:
            gone += take_place(graph, after, new)
    return gone


def _scaled(node: Node) -> tuple[Value | None, Any]:
    """(x, a) of x times a constant, a in float64; (None, None) of any other node."""
    if node.op not in ("mul", "div") or len(node.inputs) != 2:
        return None, None
    for i in (1, 0) if node.op == "mul" else (1,):
        x, c = node.inputs[1 - i], node.inputs[i]
        if x is None or x.tensor is not None or c is None or c.tensor is None:
            continue
        if c.dtype not in _FLOATS or c.tensor.size > _SMALL << 10:
            continue
        a = c.tensor.numpy().astype(np.float64)
        if node.op == "mul":
            return x, a
        if np.all(np.frexp(a)[0] == 0.5):  # 1 / a is exact
            return x, 1 / a
    return None, None


_FLOATS = (DType.FLOAT32, DType.FLOAT64)


def _one_concat(graph: Graph) -> int:
    """A concat of what only it reads, concats along the same axis, takes their inputs."""
    gone = 0
    for node in graph:
        if node.op != "concat":
            continue
        parts: list[Value | None] = []
        for v in node.inputs:
            p = None if v is None else v.producer
            inner = v is not None and p is not None and p.op == "concat" and p.attrs["axis"] == node.attrs["axis"]
            parts += p.inputs if inner and p is not None and v is not None and _reader(v) is node else [v]
        if len(parts) != len(node.inputs):
            gone += len({id(v) for v in node.inputs} - {id(v) for v in parts})
            node.set_inputs(parts)
    return gone
