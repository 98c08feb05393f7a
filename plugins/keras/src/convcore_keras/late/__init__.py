"""Ops whose arguments are data (``dynamic_*``, range, compress), written with arguments that are not, before a graph is emitted.

A functional Keras model has static axes and no shapes that depend on values. Where the shape of a result is known all the same
(it follows, or the source's file declares it), what the data may say is known up to a few cases: those are computed and chosen
between, or the data enters the arithmetic of indices. Data that would give another shape is an index out of range when the model
runs: an error on the torch and TensorFlow backends; JAX has none, and gives NaN, or the least integer, throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

from convcore.plugin import Builder, Graph, Node, NotExpressible, Value

from . import axes, bounds, resizing
from .shapes import Late, tell

__all__ = ["settle"]

_RULES: dict[str, Late] = {**axes.RULES, **bounds.RULES, **resizing.RULES}


def settle(graph: Graph) -> None:
    """Replace every op of a late argument whose result has a known shape; the others stay, to be refused."""
    tell(graph, _RULES)
    for node in list(graph):
        rule = _RULES.get(node.op)
        if rule is None:
            continue
        b = Builder(graph, before=node, origin=node.origin.by("keras"))
        b.prefix = node.name
        try:
            with b.attempt():
                made = rule(b, node)
                _check(node, made)
        except NotExpressible:
            continue
        for old, new in zip(node.outputs, made):
            name = old.name
            old.replace_uses(new)
            graph.rename(old, graph.fresh_name(f"{name} (late)"))
            if new.tensor is None:
                graph.rename(new, name)
        graph.remove(node)
    graph.prune_weights()


def _check(node: Node, made: Sequence[Value]) -> None:
    """What is declared may not be what can be made."""
    for old, new in zip(node.outputs, made):
        pairs = zip(old.shape or (), new.shape or ())
        if len(old.shape or ()) != len(new.shape or ()) or any(isinstance(n, int) and n != m for n, m in pairs):
            raise NotExpressible(f"its result is declared {old.shape}, and is {new.shape}")
