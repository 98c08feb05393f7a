"""Composites out of primitives: one walk over a graph from whichever framework it came.

The rules are asked at the nodes at which a composite can be told (an ``erf``, a ``softmax``), by op type: a graph without any
costs one look at each node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..ir.graph import Graph, Node
from ..opset import Trait, all_ops
from . import attention, blocks, groups, layers, linear, norms, pointwise, rotary
from .region import Fusion, Rewriter
from .view import View

__all__ = ["find_composites", "told"]

Rule = Callable[[Rewriter, Node], bool]

STAGES: tuple[tuple[frozenset[str] | Trait, Rule], ...] = (
    (pointwise.ANCHORS, pointwise.find),
    (norms.ANCHORS, norms.find),
    (frozenset({"matmul"}), linear.linear),
    (frozenset({"linear"}), linear.unflatten),
    (frozenset({"einsum"}), linear.einsum),
    (frozenset({"gather"}), linear.embedding),
    (frozenset({"exp"}), blocks.softmax),
    (frozenset({"add"}), rotary.find),
    (frozenset({"concat"}), rotary.in_parts),
    (frozenset({"softmax"}), attention.find),
    (frozenset({"attention"}), layers.find),
    (frozenset({"transpose"}), blocks.moved),
    (frozenset({"tile", "expand"}), blocks.repeated),
    (frozenset({"sub"}), norms.constant_statistics),
    (frozenset({"layer_norm", "instance_norm"}), groups.grouped),
    (Trait.SCALED, groups.absorb),
)
"""The rules in order, each with the ops it is asked at, or the trait of these: what is found first is an op for those that
follow."""

_MADE_OF = {"multi_head_attention": ("attention", "linear"), "group_norm": ("layer_norm", "instance_norm")}


def _stages() -> list[tuple[frozenset[str], Rule]]:
    """The rules, each with the names of its ops."""
    declared = all_ops().items()
    return [(frozenset(n for n, o in declared if at in o.traits) if isinstance(at, Trait) else at, rule) for at, rule in STAGES]


def find_composites(graph: Graph, across: bool = False, only: Collection[str] | None = None) -> list[Fusion]:
    """Replace what is a composite in all but name by that op; returns what was found, in order.

    The results are the same but for rounding. Values between that something else needs stay, or keep the whole as it is.
    ``across``: also what is two layers in the source and one elsewhere (Caffe's BatchNorm and Scale). ``only``: the ops that are
    of use, and what these are made of: a target that would spell the others out again gets the source's own nodes.
    """
    stages = _stages()
    wanted = frozenset().union(*(ops for ops, _ in stages))
    at: dict[str, list[Node]] = {}
    for node in graph:
        if node.op in wanted:
            at.setdefault(node.op, []).append(node)
    if not at:
        return []
    r = Rewriter(graph, View(graph), across, None if only is None else {*only, *(p for op in only for p in _MADE_OF.get(op, ()))})
    for ops, rule in stages:
        for node in [n for op in sorted(ops) for n in at.get(op, ())]:
            if node.graph is graph:
                rule(r, node)
        for node in r.made:
            if node.op in wanted:
                at.setdefault(node.op, []).append(node)
        r.made.clear()
    if r.found:
        r.finish()
    return r.found


def told(found: Sequence[Fusion], names: int = 4) -> list[str]:
    """A line per op: how many were found, and the first of them."""
    by_op: dict[str, list[Fusion]] = {}
    for f in found:
        by_op.setdefault(f.op, []).append(f)
    lines = []
    for op, some in by_op.items():
        shown = ", ".join(f"{f.name} ({len(f.nodes)} node{'s' if len(f.nodes) > 1 else ''})" for f in some[:names])
        more = f" and {len(some) - names} more" if len(some) > names else ""
        lines.append(f"{op} x {len(some)}: {shown}{more}")
    return lines
