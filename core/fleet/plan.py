"""From patterns to tasks: which files are models, which are another's weights, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath, PurePosixPath
from typing import Any

from ..errors import UsageError
from ..host import host
from . import places
from .task import Task

__all__ = ["plan"]


def plan(
    patterns: Sequence[str], to: str, out: str, options: Mapping[str, Any], each: Sequence[str] = ()
) -> list[Task]:  # fmt: skip
    """One task for each model that the patterns mean, in the order of the patterns and of names.

    A folder means every file in it that an installed plugin reads, by its suffix. The weights that stand beside an architecture
    under the names that convcore gives them go with it. UsageError where a pattern means nothing.
    """
    target = host().framework(to)
    host().refuse_unable(target.name, "emit")
    found: dict[str, str] = {}  # file: the folder its name is relative to
    for pattern in patterns:
        root, files = places.matches(pattern)
        if len(files) > 1 or (files and files[0] != pattern):
            files = _models(files) if pattern.rstrip("/") == root.rstrip("/") else files
        if not files:
            raise UsageError(f"{pattern}: no file has such a name")
        found.update({f: root for f in files if f not in found})
    weights = _pairs(found)
    sources = [f for f in found if f not in weights.values()]
    names = _names(sources, found, target.default_suffix)
    named = places.named_in(options)
    return [
        Task(
            source, places.join(out, name), target.name, weights.get(source, ""),
            " ".join([*(places.stamp(f) for f in (source, weights.get(source)) if f), *named]), options, tuple(each),
        )
        for source, name in zip(sources, names)
    ]  # fmt: skip


def _models(files: Iterable[str]) -> list[str]:
    """The files whose suffix a plugin reads."""
    h = host()
    suffixes = tuple({s for f in h.frameworks.values() if h.can(f.name, "load") for s in f.suffixes} - {".py"})
    return [f for f in files if f.lower().endswith((*suffixes, ".ccir"))]


def _pairs(files: Iterable[str]) -> dict[str, str]:
    """Of the files those that are architectures, each with the weights beside it, which no pattern need mean."""
    there = dict.fromkeys(files)
    out = {}
    for f in host().frameworks.values():
        for file in there:
            names = f.weights_beside(file)
            beside = next((w for w in names if w in there or (not places.is_url(w) and os.path.isfile(w))), None)
            if beside is not None:
                out[file] = beside
    return out


def _names(sources: Sequence[str], roots: Mapping[str, str], suffix: str) -> list[str]:
    """Names of results: those of the sources with the target's suffix; the whole name before it where two would be the same."""
    relative = [_relative(s, roots[s]) for s in sources]
    short = [str(r.with_suffix(suffix)) for r in relative]
    names = [s if short.count(s) == 1 else f"{r}{suffix}" for s, r in zip(short, relative)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UsageError(f"several sources would be written as {', '.join(twice)}: convert them in batches of their own")
    return names


def _relative(source: str, root: str) -> PurePath:
    path = PurePosixPath(source) if places.is_url(source) else PurePath(source)
    try:
        return (
            path.relative_to(root) if root else path if not path.is_absolute() and ".." not in path.parts else PurePath(path.name)
        )
    except ValueError:
        return PurePath(path.name)
