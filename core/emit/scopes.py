"""Where a node belongs: the path of scopes from the model down to its layer."""

from __future__ import annotations

from typing import NamedTuple

from ..ir.graph import Node

__all__ = ["Path", "Step", "path_of", "place"]


class Step(NamedTuple):
    """One scope on the way: its name, its class in the source, which call of it this is."""

    name: str
    type: str = ""
    call: int = 0


Path = tuple[Step, ...]


def path_of(node: Node) -> Path:
    """The scopes around a node, outermost first: the parts of its layer's path."""
    o = node.origin
    parts = [p for p in o.layer.split("/") if p]
    return tuple(Step(p, o.type if i == len(parts) - 1 else "") for i, p in enumerate(parts))


def place(path: Path) -> tuple[str, ...]:
    """A path without its call numbers: two calls of one shared layer have the same place."""
    return tuple(s.name for s in path)
