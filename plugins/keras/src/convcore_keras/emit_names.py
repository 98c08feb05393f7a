"""Names that every backend of Keras takes, and which names of the source are others therefore."""

from __future__ import annotations

import re

__all__ = ["Renamed", "legal", "legal_model"]

_OUTSIDE = re.compile(r"[^A-Za-z0-9_-]")
_SEPARATORS = re.compile(r"[/.]")


def legal(name: str) -> str:
    """The name of a layer.

    Keras refuses "/", torch "." in the name of a layer with weights, and TensorFlow (2.21, ``tf.Graph.name_scope``), which makes
    scopes of a graph of them, all but letters, digits, "_" and "-" (">" at an end).
    """
    return _OUTSIDE.sub("_", name.strip("/")) or "layer"


def legal_model(name: str) -> str:
    """The name of a whole model: the outermost scope, which begins with a letter or digit."""
    return _OUTSIDE.sub("_", name.strip("/")).lstrip("_-") or "model"


class Renamed:
    """Names of the source that had to be others: all but the separators that a Keras source does not have."""

    def __init__(self, of_keras: bool) -> None:
        self.of_keras = of_keras
        self.found: dict[str, str] = {}

    def see(self, name: str, now: str) -> None:
        """A name of the source, and what it became."""
        told = name if self.of_keras else _SEPARATORS.sub("_", name.strip("/"))
        if legal(told) != told:
            self.found.setdefault(name, now)

    def note(self) -> list[str]:
        """What the report says of them."""
        if not self.found:
            return []
        first = [f"{name!r} is {now!r}" for name, now in list(self.found.items())[:3]]
        more = f" and {len(self.found) - 3} more" if len(self.found) > 3 else ""
        return [f"names that not every backend of Keras takes are others: {', '.join(first)}{more}"]
