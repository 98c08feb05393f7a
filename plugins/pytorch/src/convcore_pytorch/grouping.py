"""Where a node belongs among modules: the scopes of the source, and blocks that flat names repeat.

Keras names the layers of ResNet50 ``conv2_block1_1_conv``: a name in parts, whose first parts say the block. Prefixes that are
equal but for their numbers, with mostly the same names behind them, are blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from convcore.plugin import Graph, Node, Step

__all__ = ["Groups", "repeated"]

Path = tuple[Step, ...]

_SPLIT = re.compile(r"[_./]")


class Groups:
    """Paths of the nodes of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.of_onnx = graph.metadata.get("framework") == "onnx"
        self.of_torch = graph.metadata.get("framework") == "pytorch"
        self.known: dict[object, Path] = {}
        self.inside: dict[tuple[str, ...], dict[str, None]] = {}
        for node in _nodes(graph):
            names = tuple(s.name for s in _own_path(node))
            for i, name in enumerate(names):
                self.inside.setdefault(names[:i], {})[name] = None
        self.blocks = {place: repeated(found) for place, found in self.inside.items()}
        if not self.of_torch and self.blocks.get(()):
            _between(graph, self.blocks[()])

    def path(self, node: Node) -> Path:
        """The scopes around a node, blocks found in names among them."""
        key = (node.scope, node.origin.layer or node.name) if node.scope.parent is None else node.scope
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._path(_own_path(node))
        return found

    def around(self, node: Node) -> Path:
        """The scopes around a call that is no module: without the step that names an operator (ONNX), none where the source has
        none (PyTorch)."""
        if self.of_torch:
            return self.path(node) if node.scope.parent is not None else ()
        own = _own_path(node)
        path = self.path(node)
        return path[:-1] if self.of_onnx and path and own and path[-1].name in own[-1].name else path

    def _path(self, steps: Path) -> Path:
        out: list[Step] = []
        at: tuple[str, ...] = ()
        for s in steps:
            if self.of_onnx and at and s is steps[-1] and len(self.inside[at]) == 1:
                break  # /conv1/Conv: the module has but this operator
            prefix = self.blocks[at].get(s.name, "") if at in self.blocks else ""
            if prefix:
                inner = s.name.startswith(prefix)  # else a layer between: its number is one of the whole model
                own = s.name[len(prefix) + 1 :] if inner else re.sub(r"_\d+$", "", s.name)
                out += [Step(prefix), Step(own, s.type, s.call)]
            else:
                around = f"{at[-1].lstrip('/')}." if self.of_onnx and at else ""
                name = s.name[len(around) :] if around and s.name.startswith(around) else s.name  # /layer1/layer1.0
                out.append(Step(name, s.type, s.call))
            at = (*at, s.name)
        return tuple(out)


def _between(graph: Graph, prefix: dict[str, str]) -> None:
    """Layers whose own names say no block are in the one that they stand in the middle of: all that reads them is in it, and
    something that they read."""

    def name_of(node: Node) -> str:
        own = _own_path(node)
        return own[0].name if own else ""

    members: dict[str, list[Node]] = {}
    for node in graph:
        members.setdefault(name_of(node), []).append(node)
    reached: dict[str, str] = {}  # the one block that everything after a layer is in; "" for several, or an end
    for node in reversed(list(graph)):
        name = name_of(node)
        if name in prefix or not name:
            continue
        after = {
            prefix.get(n) or reached.get(n, "") for v in node.outputs for user, _ in v.uses for n in (name_of(user),) if n != name
        }
        ends = any(v in graph.outputs for v in node.outputs)
        if ends or len(after) > 1:
            after = {""}
        if after:
            (block,) = after
            reached[name] = block if reached.get(name, block) == block else ""
    for name, nodes in members.items():
        around = reached.get(name)
        if not around:
            continue
        before = {prefix.get(name_of(v.producer)) for n in nodes for v in n.inputs if v is not None and v.producer is not None}
        if around in before:
            prefix[name] = around


def _nodes(graph: Graph) -> Iterator[Node]:
    """Every node, those of regions included."""
    for node in graph:
        yield node
        for region in node.regions:
            yield from _nodes(region)


def _own_path(node: Node) -> Path:
    """The scopes of the source; a node outside all of them is a layer of its own."""
    steps = [Step(s.name, s.type, s.call) for s in node.scope.ancestors() if s.parent is not None]
    if steps:
        return tuple(reversed(steps))
    name = node.origin.layer or node.name
    return (Step(name, node.origin.type),) if name else ()


def repeated(names: Iterable[str]) -> dict[str, str]:
    """The prefix of every name that belongs to a block which repeats."""
    left = list(names)
    out: dict[str, str] = {}
    while True:
        patterns: dict[str, dict[str, list[str]]] = {}
        for name in left:
            for m in _SPLIT.finditer(name):
                prefix = name[: m.start()]
                if m.end() < len(name) and re.search(r"\d", prefix):
                    patterns.setdefault(re.sub(r"\d+", "#", prefix), {}).setdefault(prefix, []).append(name)
        best: tuple[int, dict[str, list[str]]] = (0, {})
        for found in patterns.values():
            blocks = {p: inside for p, inside in found.items() if len(inside) > 2}
            kinds = {tuple(sorted(n[len(p) :] for n in inside)) for p, inside in blocks.items()}
            if len(blocks) < 2 or len(kinds) * 2 > len(blocks) + 1:
                continue
            score = sum(map(len, blocks.values())) * (len(blocks) - len(kinds)) // len(blocks)
            best = max(best, (score, blocks), key=lambda b: b[0])
        if not best[0]:
            return out
        out.update((n, p) for p, inside in best[1].items() for n in inside)
        left = [n for n in left if n not in out]
