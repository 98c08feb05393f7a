"""Nesting: the tree of the source's layers, and the layers derived from it.

    enc = graph.scope("encoder", "Functional")           # one shared model...
    again = graph.scope("encoder", "Functional", call=1)  # ...called a second time
    conv = graph.scope("conv", "Conv2D", {"filters": 3}, parent=enc)
    graph.set_results(conv, [y])

Every node has a scope; a value knows of which scopes it is a result. :attr:`Graph.layers` is read from these two, so a pass that
moves, replaces or removes values has nothing else to keep right.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..records import dataclass

if TYPE_CHECKING:
    from .graph import Graph, Node, Value

__all__ = ["Layer", "Path", "Scope", "count_layers", "derive_layers", "layer_scope"]

Path = tuple[str, ...]

_NO_CONFIG: Mapping[str, Any] = {}
"""What scopes without a configuration share."""


class Scope:
    """One use of a layer, module or block of the source; never changed once it is made.

    ``name`` is its name in its parent and may contain any character; ``type`` its class or op type in the source ("" for a
    block that is only a name); ``config`` JSON-like data as the source states it. ``call`` counts the uses of one path, from 0
    and over the whole graph: two uses of a shared layer have the same path and different calls.
    """

    __slots__ = ("call", "config", "name", "parent", "path", "type")

    def __init__(
        self, parent: Scope | None, name: str, type: str = "", config: Mapping[str, Any] | None = None, call: int = 0,
        path: Path | None = None,
    ) -> None:  # fmt: skip
        self.parent, self.name, self.type, self.call = parent, name, type, call
        self.config: Mapping[str, Any] = _NO_CONFIG if config is None else config
        self.path: Path = () if parent is None else (*parent.path, name) if path is None else path

    @property
    def text(self) -> str:
        """The names from the root down, joined by "/": for people to read; :attr:`path` is the truth."""
        return "/".join(self.path)

    def ancestors(self) -> Iterator[Scope]:
        """Itself, its parent, and so on up to the root."""
        at: Scope | None = self
        while at is not None:
            yield at
            at = at.parent

    def __repr__(self) -> str:
        return f"Scope({self.text!r}, {self.type!r}" + (f", call {self.call})" if self.call else ")")


@dataclass(frozen=True)
class Layer:
    """A layer of the source as its author knew it: an outermost scope that has results, all its calls together.

    ``outputs`` are the results of all calls, ``inputs`` what the first call takes from outside, ``weights`` the arrays of the
    source that any call uses.
    """

    name: str
    type: str
    outputs: tuple[Value, ...]
    inputs: tuple[Value, ...] = ()
    weights: tuple[Value, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    path: Path = ()


def layer_scope(scope: Scope, layers: Container[Path]) -> Scope | None:
    """The outermost scope around (or at) ``scope`` whose path is among ``layers``."""
    found = None
    for s in scope.ancestors():
        if s.path in layers:
            found = s
    return found


def derive_layers(graph: Graph) -> list[Layer]:
    """The layers, in the order in which their scopes were made."""
    results: dict[Path, dict[tuple[int, int], Value]] = {}
    for v in graph.values():
        for scope, i in v.results:
            results.setdefault(scope.path, {})[scope.call, i] = v
    takes = {path: _Takes() for path in results}
    found: dict[Scope, Scope | None] = {}
    for node in graph:
        if node.scope not in found:
            found[node.scope] = layer_scope(node.scope, results)
        outer = found[node.scope]
        if outer is not None:
            takes[outer.path].node(node, outer, found)
    layers = []
    seen: set[Path] = set()
    for scope in graph.scopes():
        if scope.path in seen or scope.path not in results or layer_scope(scope, results) is not scope:
            continue
        seen.add(scope.path)
        made = dict.fromkeys(v for _, v in sorted(results[scope.path].items(), key=lambda item: item[0]))
        t = takes[scope.path]
        layers.append(Layer(scope.text, scope.type, tuple(made), tuple(t.inputs), tuple(t.weights), scope.config, scope.path))
    return layers


def count_layers(graph: Graph) -> int:
    """How many layers there are, without deriving them."""
    paths = {scope.path for v in graph.values() for scope, _ in v.results}
    if () in paths:
        return 1
    return len(paths) - sum(1 for path in paths if len(path) > 1 and any(path[:i] in paths for i in range(1, len(path))))


class _Takes:
    """What the nodes of a layer take from outside."""

    def __init__(self) -> None:
        self.inputs: dict[Value, None] = {}
        self.weights: dict[Value, None] = {}
        self.first: Scope | None = None

    def node(self, node: Node, outer: Scope, found: Mapping[Scope, Scope | None]) -> None:
        if self.first is None:
            self.first = outer
        self.weights.update(dict.fromkeys(node.inner_weights()))
        for v in node.inputs:
            if v is None:
                continue
            if v.tensor is not None:
                if v.source:
                    self.weights[v] = None
            elif outer is self.first and (v.producer is None or found.get(v.producer.scope) is not outer):
                self.inputs[v] = None
