"""Weights that several layers of the source share: which of them are one Keras layer, called several times.

Layers of the same kind whose weights are all the same are one layer. A table that is also the matrix of a product (output of a
language model) is a ReversibleEmbedding, called the second time with ``reverse=True``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convcore.plugin import Graph, Node, Value, find_op

__all__ = ["reversible", "tied"]


def _trained(node: Node) -> list[Value]:
    """The parameters that a layer holds: what its op has them for, and no operand that happens to be one."""
    decl = find_op(node.op)  # None of what is only handed on, which the plan refuses
    held = (v for v, a in zip(node.inputs, decl.inputs if decl is not None else ()) if a.role == "parameter")
    return [v for v in held if v is not None and v.tensor is not None and v.role == "parameter"]


def reversible(graph: Graph) -> dict[Value, list[Node]]:
    """Tables whose rows are looked up by ids, and that are the matrix of products beside: table, nodes that use it."""
    found: dict[Value, list[Node]] = {}
    for node in graph:
        if node.op == "embedding" and (table := node.inputs[1]) is not None and table in _trained(node):
            users = list(dict.fromkeys(table.users))
            kinds = {n.op for n in users}
            if kinds == {"embedding", "linear"} and all(n.inputs[1] is table for n in users) and not table.is_output:
                found[table] = users
    return found


def tied(graph: Graph) -> Sequence[Sequence[Node]]:
    """Nodes that are one layer because of what they share, by layer."""
    same: dict[tuple[object, ...], list[Node]] = {}
    for node in graph:
        held = _trained(node)
        if held and any(len(v.uses) > 1 for v in held):
            same.setdefault((node.op, *(id(v) for v in held)), []).append(node)
    return [*reversible(graph).values(), *(nodes for nodes in same.values() if len(nodes) > 1)]


def common(paths: Sequence[tuple[str, ...]]) -> int:
    """How many steps all paths begin with."""
    n = 0
    while all(len(p) > n for p in paths) and len({p[n] for p in paths}) == 1:
        n += 1
    return n


def homes(graph: Graph, path: Mapping[Node, tuple[str, ...]]) -> dict[Node, int]:
    """For nodes that are one layer in different models (by their names: two calls of one model are one): how deep the model is
    that holds them all."""
    out: dict[Node, int] = {}
    for nodes in tied(graph):
        paths = [path[n] for n in nodes]
        if len(set(paths)) > 1:
            out |= dict.fromkeys(nodes, common(paths))
    return out
