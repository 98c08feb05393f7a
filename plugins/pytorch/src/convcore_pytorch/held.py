"""Weights of a source in PyTorch are held as the source holds them.

A pass may have stored a weight transposed or in another shape (a matrix for ``nn.Linear``, an order of axes). Under the source's
key of the state_dict there must be the source's tensor, so the weight is that one again, and what was done to it is computed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from convcore.plugin import CONSTANT, Builder, Graph, Node, Value, ViewTensor, moves_of

__all__ = ["hold"]


def hold(graph: Graph, keys: Collection[str]) -> None:
    """Weights that are views of what a key of the source's state_dict holds become nodes that make them of it, in front of each
    node that reads them. The graph is changed; regions included."""
    own = [v for v in graph.weights.values() if v.source in keys and v.role != CONSTANT and not v.is_output]
    held = {v: moves_of(v.tensor) for v in own if v.tensor is not None}
    moved = [v for v, (_, steps) in held.items() if steps]
    merged = {v.source for v, (tensor, steps) in held.items() if isinstance(tensor, ViewTensor) and not steps}
    for v in moved:
        if v.name in keys:  # which is to be the source's own again
            graph.rename(v, graph.fresh_name(f"{v.name}/moved"))
    taken = {v.name for v in graph.values()}
    whole: dict[str, Value] = {}
    for v, (tensor, steps) in held.items():
        computed = v.name != v.source and v.source in merged
        if not steps and not isinstance(tensor, ViewTensor) and not computed:
            whole.setdefault(v.source, v)
            if v.source not in taken:  # moved twice, and so back
                graph.rename(v, v.source)
                taken.add(v.source)
    for v in moved:
        tensor, steps = held[v]
        if v.source not in whole:
            whole[v.source] = graph.add_weight(v.source, tensor, like=v)
            if v.source not in taken:
                graph.rename(whole[v.source], v.source)
        for node in v.users:
            made = _made(node, whole[v.source], steps)
            for i, x in enumerate(node.inputs):
                if x is v:
                    node.set_input(i, made)
        graph.remove_weight(v)
    for node in graph:
        for region in node.regions:
            hold(region, keys)


def _made(node: Node, v: Value, steps: Collection[ViewTensor]) -> Value:
    """The steps as nodes in front of a node."""
    assert node.graph is not None
    origin = replace(node.origin.by("hold"), layer=v.source.rpartition(".")[2])
    b = Builder(node.graph, before=node, origin=origin)
    b.prefix, b.scope = node.name, node.scope
    for t in steps:
        v = b.transpose(v, perm=t.arg) if t.kind == "transpose" else b.reshape(v, shape=t.shape)
    return v
