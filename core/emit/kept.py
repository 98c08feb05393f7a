"""Layers of a format that go back to it as they were, instead of through the rules.

While it is loaded a layer is noted beside its scope's configuration (:class:`KeptConfig`), with the nodes it became. Before a
plan is made, the layers whose nodes are still exactly those become one opaque node each, which the dialect writes back. What a
pass, an override or the user has changed goes through the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from ..ir.graph import Graph, Node, Scope, Value
from ..records import dataclass

__all__ = ["KeptConfig", "Region", "keep_layers"]


@dataclass(frozen=True)
class _Place:
    """A value by what does not change when a graph is copied: its name and the scope that makes it (None: an input)."""

    name: str
    scope: Scope | None

    @classmethod
    def of(cls, v: Value) -> _Place:
        return cls(v.name, None if v.producer is None else v.producer.scope)


@dataclass(frozen=True)
class Region:
    """The nodes of a layer: op, attributes and operands of each (a bottom, a node's output, a weight or None)."""

    rows: tuple[tuple[str, Mapping[str, Any], tuple[Any, ...], int], ...]
    results: tuple[Any, ...]

    @classmethod
    def of(cls, nodes: Sequence[Node], bottoms: Sequence[Value], results: Sequence[Value]) -> Region | None:
        """Of the nodes that the results need. None where something else is read than bottoms, weights and
        the layer's own, and for a layer without a rule."""
        needed = set(results)
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                needed.update(v for v in node.inputs if v is not None)
        nodes = [node for node in nodes if needed.intersection(node.outputs)]
        at: dict[Value, Any] = {}
        for i, v in enumerate(bottoms):
            at.setdefault(v, ("bottom", i))
        rows = []
        for n, node in enumerate(nodes):
            operands = [_operand(v, at) for v in node.inputs]
            if node.op == "opaque" or any(o is _UNKNOWN for o in operands):
                return None
            inner = tuple(Region.of(list(r), r.inputs, r.outputs) for r in node.regions)
            if None in inner:
                return None
            rows.append((node.op, {**node.attrs, "regions": inner}, tuple(operands), len(node.outputs)))
            at.update({v: ("node", n, i) for i, v in enumerate(node.outputs)})
        found = tuple(_operand(v, at) for v in results)
        return None if any(o is _UNKNOWN for o in found) else cls(tuple(rows), found)


_UNKNOWN = object()


def _operand(v: Value | None, at: Mapping[Value, Any]) -> Any:
    if v is None:
        return None
    if v.tensor is not None:
        return v.tensor, v.trainable
    return at.get(v, _UNKNOWN)


class KeptConfig(dict[str, Any]):
    """The parameters of a layer as JSON-like data; with it, for as long as the graph is in memory, the layer itself."""

    type: str = ""
    """What its opaque node is called."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.bottoms: tuple[tuple[_Place, Any], ...] = ()
        self.region: Region | None = None
        self.tops = 0

    def remember(self, nodes: Sequence[Node], bottoms: Sequence[Value | None], results: Sequence[Value]) -> None:
        """Remember what the layer became."""
        given = [v for v in bottoms if v is not None]
        self.bottoms = tuple((_Place.of(v), v.shape) for v in given)
        self.region, self.tops = Region.of(nodes, given, results), len(results)


def keep_layers(
    graph: Graph, framework: str, overrides: Container[str], may: Callable[[KeptConfig], bool] = lambda config: True
) -> set[int]:
    """Make every layer that is as it was loaded, and that ``may`` be kept, one opaque node which holds its configuration, the
    layers inside it with it. Returns the ids of the configurations that were kept."""
    nodes: dict[Scope, list[Node]] = {}
    order: dict[Node, int] = {}
    for i, node in enumerate(graph):
        order[node] = i
        for scope in node.scope.ancestors():
            nodes.setdefault(scope, []).append(node)
    named = {v.name: v for v in graph.values() if v.tensor is None}
    results: dict[Scope, list[tuple[int, Value]]] = {}
    for v in named.values():
        for scope, i in v.results:
            results.setdefault(scope, []).append((i, v))
    found = []
    for scope, own in nodes.items():
        config = scope.config
        if not isinstance(config, KeptConfig) or config.region is None or not may(config):
            continue
        if any(key in overrides for node in own for key in (node.name, node.op)):
            continue
        bottoms = [_at(named, place, shape) for place, shape in config.bottoms]
        made = [v for _, v in sorted(results.get(scope, ()), key=lambda item: item[0])]
        given = [v for v in bottoms if v is not None]
        first = order[own[0]]
        if len(given) < len(bottoms) or any(v.producer is not None and order[v.producer] >= first for v in given):
            continue
        if len(made) == config.tops and Region.of(own, given, made) == config.region and _closed(own, made):
            found.append((scope, own, given, made, config))
    chosen = {scope for scope, *_ in found}
    now: dict[Value, Value] = {}
    kept: set[int] = set()
    for scope, own, given, made, config in found:
        if chosen.intersection(list(scope.ancestors())[1:]):
            continue  # part of one that is kept
        tops = _replace(graph, framework, scope, own, [now.get(v, v) for v in given], made, config)
        now.update(zip(made, tops, strict=True))
        kept.add(id(config))
    return kept


def _at(named: Mapping[str, Value], place: _Place, shape: Any) -> Value | None:
    v = named.get(place.name)
    return v if v is not None and _Place.of(v) == place and v.shape == shape else None


def _closed(nodes: Sequence[Node], results: Sequence[Value]) -> bool:
    """Whether the results are the nodes' own, each once, and nothing else of theirs is used outside."""
    own, tops = set(nodes), set(results)
    made = [v for node in nodes for v in node.outputs]
    if len(tops) < len(results) or not tops <= set(made):
        return False
    return all(v in tops or (not v.is_output and own.issuperset(v.users)) for v in made)


def _replace(
    graph: Graph,
    framework: str,
    scope: Scope,
    nodes: Sequence[Node],
    bottoms: Sequence[Value],
    results: Sequence[Value],
    config: KeptConfig,
) -> list[Value]:
    first = nodes[0]
    tops = [Value(v.name, v.dtype, v.shape) for v in results]
    attrs = {
        "framework": framework,
        "type": config.type,
        "attributes": {},
        "why": "",
        "hint": "",
        "code": "",
        "layer": config,
    }
    graph.insert(Node("opaque", bottoms, tops, attrs, name=first.name, origin=first.origin, scope=scope), before=first)
    for old, new in zip(results, tops, strict=True):
        old.replace_uses(new)
    for node in reversed(nodes):
        graph.remove(node)
    return tops
