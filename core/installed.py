"""Entry points of installed distributions, read from their folders.

What importlib-metadata does takes 20 ms before any work begins: it parses every distribution's entry points and imports the
email package for their metadata. Where all of ``sys.path`` is folders and nobody added a finder of distributions, a listing of
each says the same.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Point", "entry_points"]


class Point(NamedTuple):
    """An entry point, with the name and the version of its distribution ("?" where it has none)."""

    name: str
    value: str
    distribution: str
    version: str

    @classmethod
    def of(cls, ep: Any) -> Point:
        """One of importlib-metadata's."""
        dist = getattr(ep, "dist", None)
        told = ("?", "?") if dist is None else (_said(lambda: dist.metadata["Name"]), _said(lambda: dist.version))
        return cls(ep.name, ep.value, *told)


def _said(read: Callable[[], Any]) -> str:
    """What the metadata of a distribution says; "?" where it does not, or cannot be read."""
    try:
        return str(read() or "?")
    except (OSError, KeyError, TypeError, ValueError):  # importlib-metadata 6 to 9: no file, no field, None for no file, no UTF-8
        return "?"


def entry_points(group: str) -> list[Point]:
    """Those of a group: of distributions with one name, the first on the path counts."""
    found = _listed(group, sys.path) if _plain_finders() else None
    if found is None:
        import importlib_metadata

        return [Point.of(ep) for ep in importlib_metadata.entry_points(group=group)]
    return found


def _plain_finders() -> bool:
    """Whether distributions are found along ``sys.path`` only."""
    known = ("_frozen_importlib", "_frozen_importlib_external", "importlib_metadata")
    for finder in sys.meta_path:
        kind = finder if isinstance(finder, type) else type(finder)
        if kind.__module__ not in known and hasattr(finder, "find_distributions"):
            return False
    return True


def _listed(group: str, path: Iterable[object]) -> list[Point] | None:
    """The entry points of a group along a path; None where only importlib-metadata can tell (zip files, eggs, odd metadata)."""
    folders: dict[str, list[str]] = {}
    for root in dict.fromkeys(path):
        if not isinstance(root, str) or root.lower().endswith(".egg") or os.path.isfile(root):
            return None
        try:
            children = os.listdir(root or ".")
        except OSError:  # not there, or not readable: as importlib-metadata
            continue
        for child in children:
            if child.lower().endswith((".dist-info", ".egg-info")):
                name = re.sub(r"[-_.]+", "_", child.lower().rpartition(".")[0].partition("-")[0])
                folders.setdefault(name, []).append(os.path.join(root, child))
    out: list[Point] = []
    for same in folders.values():
        texts = [_read(folder, "entry_points.txt") for folder in same]
        if not any(f"[{group}]" in t for t in texts):
            continue
        for folder, text in zip(same, texts):
            named = _head(_read(folder, "METADATA") or _read(folder, "PKG-INFO"))
            if named is None:
                return None
            out += [Point(k, v, *named) for k, v in _pairs(text, group)]
            break
    return out


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def _head(metadata: str) -> tuple[str, str] | None:
    """Name and version of a distribution, by the head of its metadata."""
    head = metadata.replace("\r\n", "\n").partition("\n\n")[0]
    found = dict(re.findall(r"^(Name|Version):[ \t]*(\S.*)$", head, re.MULTILINE))
    return (found["Name"], found["Version"]) if len(found) == 2 else None


def _pairs(text: str, group: str) -> list[tuple[str, str]]:
    """``name = value`` of a section of an ``entry_points.txt``."""
    section, out = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and not line.startswith("#") and section == group:
            name, _, value = line.partition("=")
            out.append((name.strip(), value.strip()))
    return out
