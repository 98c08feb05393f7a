"""Nodes in place of one: the parts of a composite, or the same op on types that hold all numbers of those a target lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..build.builder import Builder
from ..errors import ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..passes.constants import fold_constants

__all__ = ["replaced", "widen"]


def replaced(graph: Graph, node: Node, before: Node | None, outs: Sequence[Value], by: str) -> list[Node]:
    """Let ``outs`` be what a node gave, and the node go; returns the nodes made between ``before`` and it."""
    for old, new in zip(node.outputs, outs):
        name = old.name
        old.replace_uses(new)
        if new.producer is not None and new.tensor is None and new.producer.origin.passes[-1:] == (by,):
            old.name, new.name = new.name, name
    made = []
    part = before.next if before is not None else graph.first
    while part is not None and part is not node:
        made.append(part)
        part = part.next
    graph.remove(node)
    return made


def widen(graph: Graph, node: Node, wider: Mapping[DType, DType]) -> list[Node]:
    """A node on unsigned integers as one on wider signed ones, between casts; returns the nodes made, none where that is not the
    same.

    What the op wraps at is a multiple of what the narrow type wraps at, and the cast back keeps the low bits. What reads bits has
    others in a wider type, which its shape rule tells; casts, and what has regions, stay.
    """
    if node.op == "cast" or node.regions or not any(v is not None and v.dtype in wider for v in (*node.inputs, *node.outputs)):
        return []
    before = node.previous
    b = Builder(graph, before=node, origin=node.origin.by("widen"))
    b.prefix = node.name
    try:
        with b.attempt():
            ins: list[Value | None] = []
            for v in node.inputs:
                to = None if v is None or v.dtype is None else wider.get(v.dtype)
                ins.append(v if v is None or to is None else b.cast(v, to=to))
            attrs = {k: wider.get(x, x) if isinstance(x, DType) else x for k, x in node.attrs.items()}
            made = b.node(node.op, ins, attrs)
            outs = []
            for old, new in zip(node.outputs, made.outputs):
                d = old.dtype
                if new.dtype is not (d if d is None else wider.get(d, d)):
                    raise ShapeError(f"{node.op} of {d} gives {new.dtype} where it is wider")
                outs.append(new if d is None or d not in wider else b.cast(new, to=d))
    except ShapeError:
        return []
    found = replaced(graph, node, before, outs, "widen")
    fold_constants(graph, nodes=(n for n in found if n is not made))
    return found
