"""Where sources come from and results go: paths, or URLs of what fsspec knows (s3, gs, hf, ssh, ...) where it is installed."""

from __future__ import annotations

import glob
import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import FrameworkMissingError, UsageError
from .task import Task

__all__ = ["fetched", "is_url", "join", "make_folder", "matches", "named_in", "sent", "stamp"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MAGIC = re.compile(r"[*?\[]")


def is_url(place: str) -> bool:
    """Whether a place is a URL; a drive letter is none."""
    return bool(_URL.match(place))


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and its path there."""
    try:
        core: Any = importlib.import_module("fsspec.core")
    except ImportError:
        raise FrameworkMissingError(f"{url} needs fsspec: pip install fsspec") from None
    try:
        fs, path = core.url_to_fs(url)
    except (ImportError, ValueError) as e:
        raise UsageError(f"{url}: {e}") from None
    return fs, path


def matches(pattern: str) -> tuple[str, list[str]]:
    """The files that a path, folder or pattern means, sorted, and the folder that their names are relative to."""
    if is_url(pattern):
        return _matches_url(pattern)
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern) or not _MAGIC.search(pattern):
        if not os.path.lexists(pattern):
            raise UsageError(f"{pattern}: no such file")
        if os.path.isdir(pattern):
            pattern = os.path.join(glob.escape(pattern), "**", "*")
        else:
            return os.path.dirname(pattern), [pattern]
    root = _MAGIC.split(pattern)[0]
    found = sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
    return os.path.dirname(root), found


def _matches_url(pattern: str) -> tuple[str, list[str]]:
    fs, path = _filesystem(pattern)
    if _MAGIC.search(path):
        found = [p for p in fs.glob(path) if fs.isfile(p)]
    elif fs.isdir(path):
        found = fs.find(path)
    else:
        found = [path] if fs.exists(path) else []
        if not found:
            raise UsageError(f"{pattern}: no such file")
    root = _MAGIC.split(path)[0]
    root = root if fs.isdir(path) else os.path.dirname(root)
    named = _namer(pattern, fs, path)
    return named(root), sorted(map(named, found))


def _namer(url: str, fs: Any, path: str) -> Callable[[str], str]:
    """From paths on the server of a URL to URLs. The paths of some (FTP, SSH) are without the server and its user, which
    ``unstrip_protocol`` would lose."""
    url = url.rstrip("/")
    head = url[: -len(path)] if path and url.endswith(path) else None
    return (lambda p: head + p) if head is not None else fs.unstrip_protocol


def join(folder: str, name: str) -> str:
    """A name in a folder; names use ``/`` where the folder is a URL."""
    return f"{folder.rstrip('/')}/{Path(name).as_posix()}" if is_url(folder) else os.path.join(folder, name)


def make_folder(folder: str) -> None:
    """Make a folder with those above it; URLs are made with their first file. UsageError where a file has its name."""
    if is_url(folder):
        _filesystem(folder)
        return
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except OSError as e:
        raise UsageError(f"{folder}: cannot be made a folder: {e.strerror}") from None


def stamp(place: str) -> str:
    """What changes when a file does: size and time, or what its server says in their stead."""
    if is_url(place):
        fs, path = _filesystem(place)
        return " ".join(str(fs.ukey(f)) for f in _with_parts(fs, path))
    s = os.stat(place)
    return f"{s.st_size}-{s.st_mtime_ns}"


def named_in(options: Mapping[str, Any]) -> list[str]:
    """Stamps of the files that options name (labels, the source of custom layers, a mean image), and of all in folders that they
    name: what is read of them is part of what is asked. A text that is no path there is none."""
    found = {}
    for value in options.values():
        for x in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(x, (str, os.PathLike)) and (text := os.fspath(x)) and os.path.exists(text):
                inside = [os.path.join(d, f) for d, _, files in os.walk(text) for f in files if not f.endswith(".pyc")]
                found[text] = " ".join(f"{f} {stamp(f)}" for f in sorted(inside)) if os.path.isdir(text) else stamp(text)
    return [f"{k}: {v}" for k, v in sorted(found.items())]


def fetched(task: Task, folder: Path) -> Task:
    """The task with files behind URLs copied into the folder, and a result that is to go to one written there first."""
    here: dict[str, Any] = {}
    for name in ("source", "weights"):
        place = getattr(task, name)
        if place and is_url(place):
            fs, path = _filesystem(place)
            here[name] = str(folder / os.path.basename(path))
            for file in _with_parts(fs, path) if name == "source" else [path]:
                fs.get_file(file, str(folder / os.path.basename(file)))
    if is_url(task.out):
        (folder / "out").mkdir()
        here["out"] = str(folder / "out" / os.path.basename(task.out))
    return replace(task, **here)


def _with_parts(fs: Any, path: str) -> list[str]:
    """A file and those beside it that may hold parts of it, such as its weights: whose names begin with its own."""
    name = os.path.basename(path)
    beside = fs.ls(os.path.dirname(path), detail=False)
    return [path, *(f for f in beside if os.path.basename(f).startswith((f"{name}.", f"{name}_")) and fs.isfile(f))]


def sent(task: Task, files: Sequence[str]) -> list[str]:
    """Send results to where the task wants them, the first file last, after what it refers to. Their places."""
    if not is_url(task.out):
        return list(files)
    fs, path = _filesystem(task.out)
    fs.makedirs(os.path.dirname(path), exist_ok=True)
    places = [(f, f"{os.path.dirname(path)}/{os.path.basename(f)}") for f in files]
    for local, remote in reversed(places):
        fs.put_file(local, remote)
    named = _namer(task.out, fs, path)
    return [named(remote) for _, remote in places]
