"""What the command line wrote, and from what: a file of another model, or one that was changed since, is not written over.

The files themselves cannot say it (weights are plain arrays, and a path has no place in what is published), so it is kept for
each user in :func:`folder`: a small file for each result, with the paths of its source and the size and time it had when written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import OutputError, ask

__all__ = ["claim", "fetched", "folder", "guard", "remember", "sources_of"]

_MANY = 1000  # entries from which those of files that are gone are removed
_LARGE = 1 << 26
"""Bytes from which on a file is compared with the one in its place only where that decides whether it may be written."""
_BLOCK = 1 << 17


def folder() -> Path:
    """Where it is kept: ``CONVCORE_STATE``, else ``convcore`` in the place the system has for a user's state."""
    given = os.environ.get("CONVCORE_STATE")
    return Path(given) if given else folder_of(os.name)


def folder_of(system: str) -> Path:
    """The place that a system (:data:`os.name`) has for it."""
    home = os.environ.get("LOCALAPPDATA" if system == "nt" else "XDG_STATE_HOME")
    return Path(home or Path.home() / ".local" / "state") / "convcore"


_FETCHED: dict[str, str] = {}
_LIVE = "a live "


def fetched(path: str, place: str) -> None:
    """Say that a file is a copy of what is at a place: that is the source (without the user and password of a URL)."""
    _FETCHED[os.path.realpath(path)] = re.sub(r"(?<=://)[^/]*@", "", place)


def sources_of(*given: Any) -> list[str]:
    """A source and its weights by their real paths (or the places these were fetched from); what is no path by its type, which
    does not tell one from another."""
    real = (os.path.realpath(x) if isinstance(x, Path) else _LIVE + type(x).__name__ for x in given if x is not None)
    return [_FETCHED.get(x, x) for x in real]


def _entry(path: Path) -> Path:
    return folder() / (hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32] + ".json")


def _known(path: Path) -> dict[str, Any] | None:
    """What is remembered of a file; None where nothing is, or the entry cannot be read (it is then as if nothing were)."""
    try:
        found = json.loads(_entry(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home folder
        return None
    whole = isinstance(found, dict) and isinstance(found.get("source"), list)
    return found if whole and found.get("path") == os.path.realpath(path) else None


def _stamp(path: Path) -> list[int]:
    s = path.stat()
    return [s.st_size, s.st_mtime_ns]


def _foreign(path: Path, sources: Sequence[str]) -> str:
    """Why a file is no earlier result of the same source, "" where it is one."""
    known = _known(path)
    if known is None:
        return "convcore does not know what it was written from"
    if known["source"] != list(sources) or any(x.startswith(_LIVE) for x in sources):
        return f"it was written from {' and '.join(map(str, known['source']))}"
    return "" if known.get("stamp") == _stamp(path) else "it was changed after convcore wrote it"


def _same(a: Path, b: Path) -> bool:
    """Whether two files hold the same bytes."""
    if a.stat().st_size != b.stat().st_size:
        return False
    with open(a, "rb") as f, open(b, "rb") as g:
        while block := f.read(_BLOCK):
            if block != g.read(len(block)):
                return False
    return True


def guard(files: Iterable[tuple[Path, Path]], sources: Sequence[str], force: bool) -> list[str]:
    """Notes on the files that will be written over: pairs of (unfinished file, where it goes).

    OutputError naming every one that is there, holds something else and is no earlier result of this source, unless ``force``.
    """
    notes, kept = [], []
    for fresh, final in files:
        if not final.is_file():
            continue
        why = _foreign(final, sources)
        decides = bool(why) and not force
        if (decides or fresh.stat().st_size < _LARGE) and _same(final, fresh):
            notes.append(f"{final.name} was there already, and is the same")
        elif why:
            notes.append(f"written over {final.name} as asked: {why}")
            kept.append(f"{final} is there already: {why}")
        else:
            notes.append(f"written over {final.name}, which came from the same source")
    if kept and not force:
        raise _kept(kept)
    return notes


def claim(path: Path, sources: Sequence[str], force: bool | None) -> None:
    """Before anything is computed: OutputError where a file is there that is no earlier result of the same source, unless
    ``force``; None asks for no such thing."""
    if force is False and path.is_file() and (why := _foreign(path, sources)):
        raise _kept([f"{path} is there already: {why}"])


def _kept(why: Sequence[str]) -> OutputError:
    return OutputError(f"{'; '.join(why)}. Name another output, or {ask('--force', 'overwrite=True')} to write over it")


def remember(paths: Iterable[Path], sources: Sequence[str]) -> None:
    """Note what finished files were written from. Where that cannot be kept, they count as unknown the next time."""
    with suppress(OSError, RuntimeError):
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in paths:
            entry = _entry(path)
            text = json.dumps({"path": os.path.realpath(path), "source": list(sources), "stamp": _stamp(path)})
            unfinished = entry.with_suffix(f".{os.getpid()}")
            unfinished.write_text(text, encoding="utf-8")
            os.replace(unfinished, entry)
        _prune()


def _prune() -> None:
    """Forget files that are gone, when there are many entries."""
    entries = [Path(e.path) for e in os.scandir(folder()) if e.name.endswith(".json")]
    if len(entries) <= _MANY:
        return
    for entry in entries:
        with suppress(OSError, ValueError, KeyError, TypeError):
            if not os.path.lexists(json.loads(entry.read_text(encoding="utf-8"))["path"]):
                entry.unlink()
