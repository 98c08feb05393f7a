"""Which layer of the result is which of the source: by the values that both have, else by their names."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.graph import Graph
from .drawing import Drawing, Key

__all__ = ["origins", "pairs"]


def origins(graph: Graph) -> dict[str, Key]:
    """For each value of a graph that is to be written: the scope of the source that it belongs to."""
    return {v.name: (n.scope.path, n.scope.call) for n in graph for v in n.outputs if n.scope.parent is not None}


def pairs(source: Drawing, result: Drawing, came_from: Mapping[str, Key]) -> list[tuple[int, int]]:
    """Pairs of items (of the source, of the result) that are counterparts. An item may have several."""
    found: dict[tuple[int, int], None] = {}
    met = set()
    for name, i in result.by_value.items():
        s = _of(source, came_from[name]) if name in came_from else source.by_value.get(name)
        if s is not None:
            found[s, i] = None
            met.add(i)
    names: dict[str, int] = {}
    for (path, call), s in source.by_scope.items():
        for text in ("/".join(path), path[-1] if path else ""):
            names.setdefault(text if not call else f"{text} {call}", s)
    for (path, call), i in result.by_scope.items():
        for text in ("/".join(path), path[-1] if path else ""):
            s = names.get(text if not call else f"{text} {call}")
            if i not in met and s is not None:
                found[s, i] = None
                break
    return list(found)


def _of(drawing: Drawing, key: Key) -> int | None:
    """The item of a scope's use, or of the nearest scope around it."""
    path, call = key
    while path:
        found = drawing.by_scope.get((path, call), drawing.by_scope.get((path, 0)))
        if found is not None:
            return found
        path = path[:-1]
    return None
