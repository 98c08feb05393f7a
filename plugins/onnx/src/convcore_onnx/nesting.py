"""Slashed names as nesting: ``/layer1/layer1.0/conv1/Conv``, as torch and TensorFlow exporters name nodes after modules.

A name is split only where joining the parts by "/" gives it back, so nothing is lost where a slash meant something else. A node
whose name is the beginning of another's is a node, not a block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from convcore.plugin import Graph, Scope

__all__ = ["nest_by_names"]

_MAX_DEPTH = 32
"""Names with more parts are not split."""
_NUMBER = re.compile(r"_\d+\Z")
"""What exporters append to the name of a later node of the same kind in one module."""


def nest_by_names(graph: Graph) -> None:
    """Put the layers of a graph whose names have slashes into blocks.

    A block whose nodes repeat, the same kinds with the same weights (one weight at least), is one module called that often: its
    uses get call numbers.
    """
    flat = [s for s in graph.scopes() if s.parent is graph.root]
    if not any("/" in s.name for s in flat):
        return
    names = {s.name for s in flat}
    parts = {s: _split(s.name, names) for s in flat}
    if all(len(p) == 1 for p in parts.values()):
        return
    calls = _Calls(parts, _weights(graph))
    calls.group(flat, 0)
    graph.regroup({s: (list(zip(p[:-1], calls.of[s])), p[-1]) for s, p in parts.items() if len(p) > 1})


def _split(name: str, names: set[str]) -> tuple[str, ...]:
    """The blocks around a node and its own name in the last of them; joined by "/" they are ``name``."""
    parts = name.split("/")
    if not parts[0] and len(parts) > 1:  # the slash in front belongs to the first part
        parts[:2] = ["/" + parts[1]]
    if len(parts) > _MAX_DEPTH or not all(p.strip("/") for p in parts):
        return (name,)
    prefix = ""
    for i, part in enumerate(parts[:-1]):
        prefix = f"{prefix}/{part}" if i else part
        if prefix in names:
            return (*parts[:i], "/".join(parts[i:]))
    return tuple(parts)


def _weights(graph: Graph) -> dict[Scope, tuple[str, ...]]:
    """The weights of the file that each layer uses, in order."""
    found: dict[Scope, tuple[str, ...]] = {}
    for node in graph:
        used = tuple(v.source for v in node.inputs if v is not None and v.tensor is not None and v.source)
        found[node.scope] = (*found.get(node.scope, ()), *used)
    return found


class _Calls:
    """Numbers the uses of blocks: ``of`` holds, for each layer, the number of the use of each block around it."""

    def __init__(self, parts: Mapping[Scope, tuple[str, ...]], weights: Mapping[Scope, tuple[str, ...]]) -> None:
        self.parts, self.weights = parts, weights
        self.of: dict[Scope, list[int]] = {s: [] for s in parts}
        self.count: dict[tuple[str, ...], int] = {}
        self.plain = {p[-1]: _NUMBER.sub("", p[-1]) for p in parts.values()}

    def group(self, layers: Sequence[Scope], depth: int) -> None:
        """Number the blocks at ``depth`` among layers that share everything above it."""
        blocks: dict[str, list[Scope]] = {}
        for s in layers:
            if len(self.parts[s]) > depth + 1:
                blocks.setdefault(self.parts[s][depth], []).append(s)
        for inside in blocks.values():
            period = self._period(inside, depth)
            for use in range(0, len(inside), period):
                path = self.parts[inside[0]][: depth + 1]
                number = self.count[path] = self.count.get(path, -1) + 1
                for s in inside[use : use + period]:
                    self.of[s].append(number)
                self.group(inside[use : use + period], depth + 1)

    def _period(self, inside: Sequence[Scope], depth: int) -> int:
        """The number of layers after which a block repeats itself; all of them where it does not, or where it only holds
        another block, which then is what repeats."""
        kinds = [self._kind(s, depth) for s in inside]
        n = len(kinds)
        if len({self.parts[s][depth + 1] for s in inside}) == 1:
            return n
        for period in range(1, n // 2 + 1):
            same = n % period == 0 and all(a == b for a, b in zip(kinds, kinds[period:]))
            if same and any(k[2] for k in kinds[:period]):
                return period
        return n

    def _kind(self, s: Scope, depth: int) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
        inner = self.parts[s][depth + 1 :]
        return (*inner[:-1], self.plain[inner[-1]]), s.type, self.weights.get(s, ())
