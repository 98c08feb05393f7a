"""Driving emission: every node by its rule; a composite without one is replaced by its body, and its nodes are tried in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Problem, ShapeError, UnsupportedError
from ..ir.builder import Builder
from ..ir.graph import Graph, Node, Value
from ..ops import find_op
from ..rules import EmitContext, RuleSet

__all__ = ["emit_nodes", "expand", "opaque_problems"]


def expand(graph: Graph, node: Node, by: str = "decompose") -> Node | None:
    """Replace a composite by its body, constants folded; returns the node after what was before it."""
    from .constants import fold_constants

    decl = find_op(node.op)
    if decl is None or decl.body is None:
        raise ShapeError(f"op {node.op} has no body")
    before = node._prev
    b = Builder(graph, before=node, origin=node.origin.by(by))
    b.scope = node.name
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


def opaque_problems(graph: Graph) -> list[Problem]:
    """The problems of all opaque nodes, regions included, in order; empty for those unknown only through a predecessor."""
    out: list[Problem] = []
    for node in graph:
        if node.op == "opaque":
            out += [p for p in _problem_of(node) if p not in out]
        for r in node.regions:
            out += [p for p in opaque_problems(r) if p not in out]
    return out


def _problem_of(node: Node) -> list[Problem]:
    if node.attrs.get("follows"):
        return []
    why = str(node.attrs.get("why") or "convcore has no op for it")
    hint, code = str(node.attrs.get("hint") or ""), str(node.attrs.get("code") or "unsupported_layer")
    return [Problem(node.origin.layer or node.name, str(node.attrs["type"]), why, hint, code)]


def emit_nodes(graph: Graph, e: EmitContext, rules: RuleSet, overrides: Mapping[str, Any] | None = None) -> list[Problem]:
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
                    raise UnsupportedError(_problem_of(node))
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
