"""Driving emission: every node by its rule; a composite without one is replaced by its body, and its nodes are tried in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..build.opaque import problem_of
from ..errors import Problem, ShapeError, UnsupportedError
from ..ir.graph import Graph, Node, Value
from ..opset import find_op
from ..rules import EmitContext, RuleSet
from .legalise import expand

__all__ = ["emit_nodes"]


def emit_nodes(
    graph: Graph, e: EmitContext, rules: RuleSet[Any, Any], overrides: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Emit every node in order; returns all problems (empty: the whole graph is emitted).

    An opaque node of the target's own framework is written back as it was (``e.opaque``). After a failure ``e.skip`` gives the
    node's outputs stand-ins, so that the rest is tried too and every problem is found at once. Where a refused opaque node leaves
    the number of axes unknown, what can be said of a node is only whether there is a rule or body for its op.
    """
    problems: dict[Problem, None] = {}
    lost: set[Value] = set()
    node = graph._first
    while node is not None:
        following = node._next
        if node.op == "opaque":
            try:
                if node.attrs["framework"] != rules.framework:
                    raise UnsupportedError(problem_of(node))
                e.opaque(node)
            except UnsupportedError as err:
                problems.update(dict.fromkeys(err.problems))
                _skip(e, node)
                lost.update(v for v in node.outputs if v.shape is None)
            node = following
            continue
        decl = find_op(node.op)
        if lost and any(v in lost for v in node.inputs):
            lost.update(v for v in node.outputs if v.shape is None)
            if rules.emit_rules.get(node.op) or (decl is not None and decl.body is not None):
                _skip(e, node)
                node = following
                continue
        try:
            why = rules.apply_emit(e, node, overrides)
        except UnsupportedError as err:
            problems.update(dict.fromkeys(err.problems))
            _skip(e, node)
            node = following
            continue
        if why:
            if decl is not None and decl.body is not None:
                try:
                    first = expand(graph, node)
                except ShapeError as err:  # the body needs to know more about its inputs
                    why = f"{why}; made of simpler ops: {err}"
                else:
                    node = first
                    continue
            o = node.origin
            problems[Problem(o.layer or node.name, o.type or node.op, f"op {node.op}: {why}", code="unsupported_op")] = None
            _skip(e, node)
        node = following
    return list(problems)


def _skip(e: EmitContext, node: Node) -> None:
    for v in node.outputs:
        e.skip(v)
