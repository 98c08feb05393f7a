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
    """The scopes around a node, outermost first, without the root."""
    steps = [Step(s.name, s.type, s.call) for s in node.scope.ancestors() if s.parent is not None]
    return tuple(reversed(steps))


def place(path: Path) -> tuple[str, ...]:
    """A path without its call numbers: two calls of one shared layer have the same place."""
    return tuple(s.name for s in path)
