"""Nodes of other operator sets that are read and go back to ONNX as they were (``contrib=keep``): com.microsoft's.

What a pass, an override or the user has changed goes through the rules, as operators of the standard.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from convcore.plugin import LEFT_OUT, Graph, KeptConfig, Node, Value, keep_layers

from .contrib import FORMS

__all__ = ["KeptNode", "Seen", "keep_nodes"]


_NAMED_ALL = ("QLinearLeakyRelu", "QLinearSigmoid")
"""Whose inputs are all named, with no name where one is left out: onnxruntime 1.32 aborts where the last is not there."""

_RESULTS = ("EmbedLayerNormalization", "QEmbedLayerNormalization")
"""Whose results are all named as they were: onnxruntime 1.32 refuses a node that lacks one."""


class KeptNode(KeptConfig):
    """The attributes of a node, with the node and what it reads."""

    def __init__(self, proto: Any, domain: str, version: int) -> None:
        super().__init__({})
        self.proto, self.domain, self.version = proto, domain, version
        self.type = f"{domain}.{proto.op_type}"
        self.operands: tuple[Value | None, ...] = ()
        """What it reads, as values of the graph that was loaded; of weights the tensor counts."""
        self.places: tuple[int, ...] = ()
        """Which of the node's results its opaque node has."""

    def write(self, s: Any, node: Node) -> None:
        """The node as it was; results that nothing reads have no name."""
        s.journal.put(s.dialect.domains, self.domain, self.version)
        named = self.proto.op_type in _RESULTS
        outs: list[Any] = [None] * len(self.proto.output) if named else [LEFT_OUT] * (max(self.places) + 1)
        for i, v in zip(self.places, node.outputs, strict=True):
            outs[i] = v
        ins = [None if v is None else s.value(v) for v in node.inputs]
        if self.proto.op_type in _NAMED_ALL:
            ins += [None] * (len(FORMS[self.proto.op_type][0].split()) - len(ins))
        s.call(self.type, ins, outputs=outs, name=node.origin.layer or node.name, kept=list(self.proto.attribute))


def _alone(proto: Any) -> bool:
    """Whether a node is all that it needs: no subgraphs, no attributes of a function around it, no data in other files."""
    return not any(
        a.ref_attr_name or a.type in (a.GRAPH, a.GRAPHS) or any(t.data_location == t.EXTERNAL for t in (a.t, *a.tensors))
        for a in proto.attribute
    )


class Seen:
    """The nodes of a file that may go back as they were."""

    def __init__(self) -> None:
        self.found: list[tuple[KeptNode, Sequence[Value | None], Sequence[tuple[int, Value]]]] = []

    def config(self, proto: Any, domain: str, version: int) -> KeptNode | None:
        """What a node's scope is to hold; None where it cannot be kept."""
        return KeptNode(proto, domain, version) if _alone(proto) else None

    def note(self, config: KeptNode, inputs: Sequence[Value | None], results: Sequence[tuple[int, Value]]) -> None:
        """What a node reads, and of its results those with a name, by place."""
        self.found.append((config, tuple(inputs), tuple(results)))

    def remember(self, graph: Graph) -> None:
        """When the graph is complete: what each of them became."""
        if not self.found:
            return
        nodes: dict[int, list[Node]] = {}
        _by_config(graph, nodes)
        for config, inputs, results in self.found:
            alive = [(i, v) for i, v in results if v.graph is not None]
            config.operands, config.places = tuple(inputs), tuple(i for i, _ in alive)
            bottoms = [v for v in inputs if v is not None and v.tensor is None]
            if alive and all(v.graph is not None for v in bottoms):
                config.remember(nodes.get(id(config), ()), bottoms, [v for _, v in alive])


def _by_config(graph: Graph, found: dict[int, list[Node]]) -> None:
    for node in graph:
        if isinstance(node.scope.config, KeptNode):
            found.setdefault(id(node.scope.config), []).append(node)
        for region in node.regions:
            if not isinstance(node.scope.config, KeptNode):
                _by_config(region, found)


def keep_nodes(graph: Graph, overrides: Container[str]) -> None:
    """Make every node that is as it was loaded opaque again, in subgraphs too."""
    keep_layers(graph, "onnx", overrides, lambda config: isinstance(config, KeptNode))
    weights = {(id(w.tensor), w.name): w for w in graph.weights.values()}
    for node in graph:
        layer = node.attrs.get("layer") if node.op == "opaque" else None
        if isinstance(layer, KeptNode):
            bottoms = iter(node.inputs)
            node.set_inputs([_operand(graph, weights, v, bottoms) for v in layer.operands])
        else:
            for region in node.regions:
                keep_nodes(region, overrides)
    graph.prune_weights()


def _operand(graph: Graph, weights: dict[tuple[int, str], Value], v: Value | None, bottoms: Any) -> Value | None:
    if v is None:
        return None
    if v.tensor is None:
        made: Value = next(bottoms)
        return made
    key = (id(v.tensor), v.name)
    if key not in weights:
        weights[key] = graph.add_weight(v.name, v.tensor, like=v)
    return weights[key]
