"""``model.layers`` order, as every Keras version computes it from the graph (``map_graph`` / ``_map_graph_network``).

Layers come by decreasing depth (longest distance to an output; a shared layer takes its largest), ties by first visit
of a depth-first search from the outputs. All iterative: chains of 20,000 layers are fine.
"""

from __future__ import annotations

from collections import defaultdict

from convcore.plugin import BadFileError

from .model import LayerConfig, ModelConfig

__all__ = ["ordered_layers"]

_Node = tuple[int, int]


def ordered_layers(model: ModelConfig) -> list[LayerConfig]:
    """Layers and operations in ``model.layers`` order. Raises BadFileError for cycles. Unreached layers come last."""
    if model.kind == "sequential":
        return list(model.layers)
    index = {layer.name: i for i, layer in enumerate(model.layers)}
    refs = [[[(index[r.layer], r.node) for r in c.refs()] for c in x.calls] for x in model.layers]
    outputs = [(index[r.layer], r.node) for r in model.output_refs()]
    finished, first_visit = _visit(refs, outputs, model)
    depths: defaultdict[_Node, int] = defaultdict(int)
    layer_depth: defaultdict[int, int] = defaultdict(int)
    for node in reversed(finished):
        depth = layer_depth[node[0]] = depths[node] = max(depths[node], layer_depth[node[0]])
        for parent in refs[node[0]][node[1]]:
            depths[parent] = max(depth + 1, depths[parent])
    for r in model.input_refs():
        if index[r.layer] not in layer_depth:
            layer_depth[index[r.layer]], first_visit[index[r.layer]] = 0, -1
    used = sorted(layer_depth, key=lambda i: (-layer_depth[i], first_visit[i]))
    return [model.layers[i] for i in used + [i for i in range(len(model.layers)) if i not in layer_depth]]


def _visit(refs: list[list[list[_Node]]], outputs: list[_Node], model: ModelConfig) -> tuple[list[_Node], dict[int, int]]:
    finished: list[_Node] = []
    done: set[_Node] = set()
    active: set[_Node] = set()
    first_visit: dict[int, int] = {}
    for out in outputs:
        stack = [(out, 0)]
        while stack:
            node, at = stack.pop()
            if at == 0:
                if node in done:
                    continue
                if node in active:
                    raise BadFileError(f"model {model.name[:80]!r}: the graph has a cycle through {_name(model, node)!r}")
                active.add(node)
                first_visit.setdefault(node[0], len(first_visit))
            parents = refs[node[0]][node[1]]
            if at < len(parents):
                stack.append((node, at + 1))
                stack.append((parents[at], 0))
            else:
                active.discard(node)
                done.add(node)
                finished.append(node)
    return finished, first_visit


def _name(model: ModelConfig, node: _Node) -> str:
    return model.layers[node[0]].name[:80]
