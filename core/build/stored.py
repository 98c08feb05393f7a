"""Graphs read from ``.ccir`` files against the declarations of the ops: nothing a file says is taken on trust."""

from __future__ import annotations

from ..errors import BadFileError, ShapeError
from ..ir.graph import Graph
from ..opset import find_op
from .opaque import damaged
from .verify import problems

__all__ = ["complete_attributes"]


def complete_attributes(graph: Graph, where: str) -> None:
    """Check ops, inputs and attributes of every node, regions included, and fill in the defaults of attributes that are newer
    than the file. BadFileError lists what does not fit the declarations."""
    wrong: list[str] = []
    _check(graph, wrong)
    if not wrong:
        wrong = problems(graph)
    if wrong:
        more = f"\n  and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise BadFileError(f"{where} does not fit the ops of this convcore:\n  " + "\n  ".join(wrong[:20]) + more)


def _check(graph: Graph, wrong: list[str]) -> None:
    for node in graph:
        for region in node.regions:
            _check(region, wrong)
        if node.op == "opaque":
            wrong += [f"node {node.name!r}: opaque: {why}" for why in damaged(node)]
            continue
        decl = find_op(node.op)
        if decl is None:
            wrong.append(f"node {node.name!r}: there is no op {node.op!r}")
            continue
        try:
            if len(node.regions) != decl.regions:
                raise ShapeError(f"{node.op} takes {decl.regions} regions, has {len(node.regions)}")
            decl.check_types(node.inputs)
            node.attrs = decl.complete(node.attrs, node.inputs)
        except ShapeError as e:
            wrong.append(f"node {node.name!r}: {e}")
