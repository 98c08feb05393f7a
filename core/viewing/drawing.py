"""A graph as data for a picture: nested items and the edges between them, as the source's author knew them.

Scopes are boxes that open; a scope that holds one operation is that operation, under the layer's name. Where an operation has
regions (branches, bodies of loops), these are boxes in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from ..ir.dims import shape_text
from ..ir.graph import Graph, Node, Scope, Value
from ..opset import find_op
from ..records import dataclass

__all__ = ["Drawing", "Item", "Key", "draw", "marked"]

Key = tuple[tuple[str, ...], int]
"""A use of a scope: its path and the number of the use."""

_TEXT = 160  # letters of one fact; more is cut, and says so


@dataclass
class Item:
    """A box: an operation, a scope with what is in it, an input or an output.

    ``parent`` is the index of the box around it, -1 for none; ``shapes`` are the results' names, element types and shapes.
    """

    name: str
    type: str
    kind: str  # "op", "scope", "input" or "output"
    parent: int = -1
    family: str = ""
    facts: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    params: int = 0
    why: str = ""


@dataclass
class Drawing:
    """Items, edges between them by index, and for finding them: the item of each scope's use and of each value's producer."""

    name: str
    items: list[Item] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    by_scope: dict[Key, int] = field(default_factory=dict)
    by_value: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like data with short keys, the ones the page's script reads."""
        items = [
            {
                k: v
                for k, v in {
                    "n": i.name, "t": i.type, "k": i.kind, "p": i.parent, "f": i.family, "a": i.facts, "o": i.shapes,
                    "w": i.weights, "q": i.params, "y": i.why,
                }.items()
                if v not in ("", [], 0) or k == "p"
            }
            for i in self.items
        ]  # fmt: skip
        return {"name": self.name, "items": items, "edges": [list(e) for e in self.edges]}


def draw(graph: Graph) -> Drawing:
    """The drawing of a graph."""
    d = Drawing(graph.name or "model")
    _Artist(d).graph(graph, -1, {})
    heaviest: dict[int, int] = {}
    for i in range(len(d.items) - 1, -1, -1):  # a box is of the family of what has most parameters in it, or comes first
        item = d.items[i]
        if item.parent < 0 or d.items[item.parent].kind != "scope":
            continue
        around = d.items[item.parent]
        around.params += item.params
        if item.family and item.params >= heaviest.get(item.parent, 0):
            around.family, heaviest[item.parent] = item.family, item.params
    return d


class _Artist:
    """Adds graphs to a drawing; regions recurse."""

    def __init__(self, drawing: Drawing) -> None:
        self.d = drawing
        self.top = True
        self.around: dict[Scope, Scope] = {}

    def add(self, item: Item) -> int:
        self.d.items.append(item)
        return len(self.d.items) - 1

    def graph(self, graph: Graph, parent: int, bound: Mapping[Value, int]) -> None:
        """Add a graph's items inside ``parent``; ``bound`` are the items that its inputs come from."""
        top, self.top = self.top, False
        made: dict[Value, int] = dict(bound)
        for v in graph.inputs:
            if v not in made:
                made[v] = self.add(Item(v.name, "input", "input", parent, shapes=[_value(v)]))
        alone = _alone(graph)
        self.around.update(_dotted(graph, alone))
        scopes: dict[Scope, int] = {graph.root: parent}
        for node in graph:
            own = [s for s in node.scope.ancestors() if s in alone]  # scopes that hold this node only: it stands for them
            at = self._scope(self._outer(own[-1]) if own else node.scope, scopes, top)
            i = self._node(node, at, own)
            for s in own if top else ():
                self.d.by_scope[s.path, s.call] = i
            sources = [made[v] for v in node.inputs if v is not None and v in made]
            self.d.edges += [(s, i) for s in dict.fromkeys(sources)]
            for n, region in enumerate(node.regions):
                inside = self.add(Item(region.name or f"{node.op} {n + 1}", "region", "scope", i))
                given = {v: made[x] for v, x in zip(region.inputs[::-1], node.inputs[::-1]) if x is not None and x in made}
                self.graph(region, inside, given)
            for v in node.outputs:
                made[v] = i
                if top:
                    self.d.by_value[v.name] = i
        for v in graph.outputs:
            o = self.add(Item(v.name, "output", "output", parent, shapes=[_value(v)]))
            if v in made:
                self.d.edges.append((made[v], o))

    def _outer(self, s: Scope) -> Scope | None:
        return self.around.get(s, s.parent)

    def _scope(self, inner: Scope | None, scopes: dict[Scope, int], top: bool) -> int:
        """The item of a scope, made with those around it."""
        missing = []
        while inner is not None and inner not in scopes:
            missing.append(inner)
            inner = self._outer(inner)
        at = -1 if inner is None else scopes[inner]
        for s in reversed(missing):
            at = scopes[s] = self.add(Item(_called(s), s.type or "block", "scope", at, facts=_facts(s.config)))
            if top:
                self.d.by_scope[s.path, s.call] = at
        return at

    def _node(self, node: Node, parent: int, own: Sequence[Scope]) -> int:
        """The item of a node, called as the outermost of its own scopes is, of the innermost's type."""
        decl = find_op(node.op)
        weights = [v for v in node.inputs if v is not None and v.tensor is not None]
        item = Item(
            _called(own[-1]) if own else node.name or node.outputs[0].name,
            next((s.type for s in own if s.type), node.origin.type if node.op == "opaque" else node.op),
            "op", parent, "" if decl is None else decl.family,
            [f"op = {node.op}", *_facts({k: v for k, v in node.attrs.items() if v is not None})],
            [_value(v) for v in node.outputs], [f"{v.source or v.name}: {v.dtype}{shape_text(v.shape)}" for v in weights],
            sum(v.tensor.size for v in weights if v.tensor is not None and v.source),
        )  # fmt: skip
        return self.add(item)


def _alone(graph: Graph) -> set[Scope]:
    """The scopes that hold exactly one node."""
    count = Counter(s for node in graph for s in node.scope.ancestors())
    return {s for s, n in count.items() if n == 1 and s.parent is not None}


def _dotted(graph: Graph, alone: set[Scope]) -> dict[Scope, Scope]:
    """For outermost scopes whose names continue another's after a dot (``layers.0.norm`` of ``layers.0``), as in files that know
    no nesting: that other one, where it is a box."""
    outermost = {(s.name, s.call): s for s in graph.scopes() if s.parent is graph.root}
    found = {}
    for (name, call), s in outermost.items():
        while "." in name:
            name = name.rpartition(".")[0]
            around = outermost.get((name, call))
            if around is not None and around not in alone:
                found[s] = around
                break
    return found


def _called(scope: Scope) -> str:
    return scope.name + (f" (call {scope.call + 1})" if scope.call else "")


def _value(v: Value) -> str:
    return f"{v.name}: {v.dtype}{shape_text(v.shape)}"


def _facts(config: Mapping[str, Any]) -> list[str]:
    return [f"{k} = {text if len(text := _text(v)) <= _TEXT else text[:_TEXT] + '...'}" for k, v in config.items()]


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 24:
        return f"{len(value)} elements"
    return ", ".join(_text(x) for x in value) if isinstance(value, (list, tuple)) else str(value)


def marked(drawing: Drawing, names: Iterable[tuple[str, str]]) -> None:
    """Note on the items of layers (by their path as text) why they stand in the way."""
    why: dict[str, str] = {}
    for layer, text in names:
        why[layer] = f"{why[layer]}; {text}" if layer in why else text
    for (path, _), i in drawing.by_scope.items():
        if "/".join(path) in why:
            drawing.items[i].why = why["/".join(path)]
    for item in drawing.items:
        if item.kind == "op" and item.name in why:
            item.why = item.why or why[item.name]
