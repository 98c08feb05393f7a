"""Which plugins are installed, read from the metadata of distributions: nothing is imported.

Discovery is our own: pluggy's loader ignores a second distribution with the same entry-point name and has no fixed order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import field
from typing import Any

from . import installed
from .errors import PluginConflictError
from .installed import Point
from .records import dataclass

__all__ = ["ALIASES", "KNOWN", "SUFFIXES", "PluginInfo", "discover"]

KNOWN = {"keras": "convcore-keras", "onnx": "convcore-onnx", "caffe": "convcore-caffe", "pytorch": "convcore-pytorch"}
"""Frameworks with a plugin by the convcore project, to name the pip line when it is not installed."""

SUFFIXES = {
    "keras": (".keras", ".h5", ".hdf5"),
    "onnx": (".onnx",),
    "caffe": (".prototxt", ".caffemodel"),
    "pytorch": (".pt", ".pth", ".pt2"),
}
"""What files those plugins read, to tell what a file needs whose plugin is missing or cannot say so itself."""

ALIASES = {"torch": "pytorch", "tf.keras": "keras", "caffemodel": "caffe"}


@dataclass
class PluginInfo:
    """A discovered plugin: its entry point and what became of it."""

    name: str
    module: str
    distribution: str
    version: str
    loaded: bool = False
    error: str = ""
    frameworks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"the plugin {self.name!r} of {self.distribution} {self.version}"

    def meant_by(self, file_name: str) -> bool:
        """Whether the suffix of a file is what this plugin is known, or named, to read or write."""
        known = next((SUFFIXES[name] for name, distribution in KNOWN.items() if distribution == self.distribution), ())
        return file_name.lower().endswith((f".{self.name.lower()}", *known))


def discover(entry_points: Iterable[Any] | None, blocked: Collection[str] = ()) -> list[PluginInfo]:
    """Every plugin but the blocked ones, sorted by name and distribution; the environment's entry points where none are given.

    PluginConflictError where two distributions claim one name.
    """
    points = installed.entry_points("convcore") if entry_points is None else [Point.of(ep) for ep in entry_points]
    found: dict[tuple[str, str], PluginInfo] = {}
    for p in points:
        name = re.sub(r"[-_.]+", "-", p.distribution).lower()
        found[p.name, name] = PluginInfo(p.name, p.value, name, p.version)
    infos = [found[k] for k in sorted(found)]
    for a, b in zip(infos, infos[1:]):
        if a.name == b.name:
            raise PluginConflictError(
                f"the plugin name {a.name!r} is claimed by the distributions {a.distribution} and {b.distribution}; "
                "uninstall one of them"
            )
    return [i for i in infos if i.name not in blocked]
