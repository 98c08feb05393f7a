"""Composites out of primitives: one walk over a graph from whichever framework it came.

The rules are asked at the nodes at which a composite can be told (an ``erf``, a ``softmax``), by op type: a graph without any
costs one look at each node.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ..ir.graph import Graph, Node
from ..opset import Trait, traits_of
from .pointwise import ANCHORS
from .view import ROOTS, View

if TYPE_CHECKING:
    from .region import Fusion

__all__ = ["find_composites", "told"]


class Stage(NamedTuple):
    """A rule, "module:function", of (rewriter, node), the ops it is asked at, or the trait of these, and an op without which it
    finds nothing."""

    at: frozenset[str] | Trait
    rule: str
    needs: str = ""
    together: bool = False  # asked once, of (rewriter, all nodes of these ops in order)

    def ops(self, there: Collection[str]) -> list[str]:
        """Those of the ops that are there at which it is asked."""
        return sorted(op for op in there if (self.at in traits_of(op) if isinstance(self.at, Trait) else op in self.at))


STAGES = (
    Stage(frozenset({"loop"}), "loops:to_scan"),
    Stage(frozenset({"scan"}), "loops:recurrent"),
    Stage(frozenset({"tanh"}), "unrolled:find", together=True),
    Stage(ANCHORS, "pointwise:find"),
    Stage(frozenset(ROOTS), "norms:find"),
    Stage(frozenset({"avg_pool"}), "windows:find", "pad"),
    Stage(frozenset({"matmul"}), "linear:linear"),
    Stage(frozenset({"linear"}), "linear:unflatten"),
    Stage(frozenset({"einsum"}), "linear:einsum"),
    Stage(frozenset({"gather"}), "linear:embedding"),
    Stage(frozenset({"exp"}), "blocks:softmax"),
    Stage(frozenset({"add"}), "rotary:find", "mul"),
    Stage(frozenset({"concat"}), "rotary:in_parts", "mul"),
    Stage(frozenset({"softmax"}), "attention:find", "matmul"),
    Stage(frozenset({"attention"}), "layers:find"),
    Stage(Trait.RECURRENT, "recurrent:states"),
    Stage(frozenset({"concat"}), "parts:find"),
    Stage(frozenset({"concat"}), "directions:find", together=True),
    Stage(frozenset({"concat"}), "parts:find", "gather"),
    Stage(frozenset({"transpose"}), "blocks:moved"),
    Stage(frozenset({"tile", "expand"}), "blocks:repeated"),
    Stage(frozenset({"sub"}), "norms:constant_statistics"),
    Stage(frozenset({"layer_norm", "instance_norm"}), "groups:grouped"),
    Stage(Trait.SCALED, "groups:absorb"),
)
"""The rules in order: what is found first is an op for those that follow. A module is imported where its rule is asked."""

_MADE_OF = {"multi_head_attention": ("attention", "linear"), "group_norm": ("layer_norm", "instance_norm")}


def find_composites(graph: Graph, across: bool = False, only: Collection[str] | None = None) -> list[Fusion]:
    """Replace what is a composite in all but name by that op; returns what was found, in order.

    The results are the same but for rounding. Values between that something else needs stay, or keep the whole as it is.
    ``across``: also what is two layers in the source and one elsewhere (Caffe's BatchNorm and Scale). ``only``: the ops that are
    of use, and what these are made of: a target that would spell the others out again gets the source's own nodes.
    """
    at: dict[str, list[Node]] = {}
    for node in graph:
        at.setdefault(node.op, []).append(node)
    if not any(stage.ops(at) for stage in STAGES):
        return []
    from .region import Rewriter

    r = Rewriter(graph, View(graph), across, None if only is None else {*only, *(p for op in only for p in _MADE_OF.get(op, ()))})
    changed = False
    for stage in STAGES:
        nodes = [n for op in stage.ops(at) for n in at[op]]
        if not nodes or (stage.needs and stage.needs not in at):
            continue
        module, _, function = stage.rule.partition(":")
        rule = getattr(import_module(f".{module}", __package__), function)
        if stage.together:
            changed |= rule(r, nodes)
        for node in () if stage.together else nodes:
            if node.graph is graph and rule(r, node):
                changed = True
        for node in r.made:
            at.setdefault(node.op, []).append(node)
        r.made.clear()
    if changed:
        r.finish()
    return r.found


def told(found: Sequence[Fusion]) -> list[str]:
    """A line per op: how many were found, and the first four of them."""
    by_op: dict[str, list[Fusion]] = {}
    for f in found:
        by_op.setdefault(f.op, []).append(f)
    lines = []
    for op, some in by_op.items():
        shown = ", ".join(f"{f.name} ({len(f.nodes)} node{'s' if len(f.nodes) > 1 else ''})" for f in some[:4])
        more = f" and {len(some) - 4} more" if len(some) > 4 else ""
        lines.append(f"{op} x {len(some)}: {shown}{more}")
    return lines
