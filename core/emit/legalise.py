"""Composites replaced by their bodies."""

from __future__ import annotations

from ..build.builder import Builder
from ..errors import ShapeError
from ..ir.graph import Graph, Node
from ..opset import find_op
from ..passes.constants import fold_constants

__all__ = ["expand"]


def expand(graph: Graph, node: Node, by: str = "decompose") -> Node | None:
    """Replace a composite by its body, constants folded; returns the node after what was before it."""
    decl = find_op(node.op)
    if decl is None or decl.body is None:
        raise ShapeError(f"op {node.op} has no body")
    before = node._prev
    b = Builder(graph, before=node, origin=node.origin.by(by))
    b.prefix = node.name
    ins = list(node.inputs)
    if not (decl.inputs and decl.inputs[-1].variadic):
        ins += [None] * (len(decl.inputs) - len(ins))
    result = decl.body(b, *ins, **node.attrs)
    outs = list(result) if isinstance(result, tuple) else [result]
    for old, new in zip(node.outputs, outs):
        name = old.name
        old.replace_uses(new)
        if new.producer is not None and new.tensor is None and new.producer.origin.passes[-1:] == (by,):
            old.name, new.name = new.name, name
    made = []
    new = before._next if before is not None else graph._first
    while new is not None and new is not node:
        made.append(new)
        new = new._next
    graph.remove(node)
    fold_constants(graph, nodes=made)
    return before._next if before is not None else graph._first
