"""The layers of a graph as a tree, for ``convcore inspect``: what is nested, every use of it, what training needs to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from .ir.graph import Graph, Value
from .ir.scopes import Path, Scope
from .opset import find_op
from .records import dataclass

__all__ = ["Branch", "layer_tree", "walk"]


@dataclass
class Branch:
    """One use of a layer or block: its results, the weights used anywhere in it, and the uses nested in it."""

    scope: Scope
    calls: int = 1
    """How often the graph uses this path."""
    outputs: list[Value] = field(default_factory=list)
    weights: dict[Value, None] = field(default_factory=dict)
    training: list[dict[str, Any]] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)
    used: bool = False

    @property
    def params(self) -> int:
        return sum(v.tensor.size for v in self.weights if v.tensor is not None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like data."""
        out: dict[str, Any] = {"name": self.scope.name, "type": self.scope.type}
        if self.calls > 1:
            out.update(call=self.scope.call + 1, calls=self.calls)
        out.update(outputs=[v.name for v in self.outputs], parameters=self.params, config=dict(self.scope.config))
        if self.training:
            out["training"] = self.training
        if self.children:
            out["layers"] = [c.to_dict() for c in self.children]
        return out


def layer_tree(graph: Graph) -> list[Branch]:
    """The outermost branches, in the source's order; later uses of a path come right after the first.

    What has neither nodes nor results is left out. Branches and bodies of loops that hold layers or weights are branches where
    their node is, of the op's name as their type.
    """
    branches: dict[Scope, Branch] = {graph.root: Branch(graph.root)}
    uses = Counter[Path]()
    for s in graph.scopes():
        branches[s] = Branch(s)
    for v in graph.values():
        for s, _ in sorted(v.results, key=lambda r: r[1]):
            branches[s].outputs.append(v)
            _mark(branches, s)
    for node in graph:
        _mark(branches, node.scope)
        decl = find_op(node.op)
        facts = {} if decl is None else decl.training_facts(node.attrs)
        if facts:
            branches[node.scope].training.append({"op": node.op, **facts})
        weights = [v for v in node.inputs if v is not None and v.tensor is not None and v.source]
        weights += node.inner_weights()
        for s in node.scope.ancestors() if weights else ():
            branches[s].weights.update(dict.fromkeys(weights))
    for s in graph.scopes():
        if branches[s].used:
            uses[s.path] += 1
    grouped: dict[tuple[Scope, str], list[Branch]] = {}
    for s in graph.scopes():
        b = branches[s]
        if b.used and s.parent is not None:
            b.calls = uses[s.path]
            grouped.setdefault((s.parent, s.name), []).append(b)
    for (parent, _), same in grouped.items():
        branches[parent].children += sorted(same, key=lambda b: b.scope.call)
    for node in graph:
        for n, region in enumerate(node.regions):
            inside = Branch(Scope(node.scope, region.name or f"{node.op} {n + 1}", node.op), children=layer_tree(region))
            inside.weights.update(dict.fromkeys(region.source_weights()))
            if inside.children or inside.weights:
                branches[node.scope].children.append(inside)
    return branches[graph.root].children


def _mark(branches: dict[Scope, Branch], scope: Scope) -> None:
    for s in scope.ancestors():
        if branches[s].used:
            break
        branches[s].used = True


def walk(branches: list[Branch], depth: int) -> Iterator[tuple[int, Branch]]:
    """Every branch with its depth, from the top."""
    for b in branches:
        yield depth, b
        yield from walk(b.children, depth + 1)
