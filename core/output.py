"""Writing: files appear whole under their names or not at all, and nothing unfinished stays behind.

What is unfinished lies in a hidden folder beside the target (:func:`staging`), locked while its process lives. A killed process
cannot remove its folder; the next one that writes beside it finds the lock free and does.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError, ask

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""Locks that end with their process; where there are none, left-overs of killed runs stay."""

__all__ = ["check_output", "publish", "staging", "when_full", "writing"]

_unfinished: set[Path] = set()
"""The staging folders that are open: what is in them has no other name yet."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_PREFIX = ".convcore-"
_OURS = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}\Z")  # what mkdtemp makes of the prefix


def check_output(path: Any) -> Path:
    """The path, if a file may be written there; OutputError says why not (a folder, no such folder, no permission, a name that
    cannot be one)."""
    p = Path(path)
    try:
        p.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as e:  # too long, a null character, a file where a folder is meant
        why = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise OutputError(f"cannot write {p}: {why[:1].lower()}{why[1:]}") from None
    if p.is_dir():
        own = ask("--hub", "hub=True")
        raise OutputError(f"{p} is a folder; give the name of a file in it (or {own}, to make it the model's own)")
    for folder in dict.fromkeys((p.parent, _real(p).parent)):
        if not folder.exists():
            raise OutputError(f"cannot write {p}: the folder {folder} does not exist")
        if not folder.is_dir():
            raise OutputError(f"cannot write {p}: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write {p}: no permission to write in {folder}")
    if p.exists() and not p.is_file():
        raise OutputError(f"cannot write {p}: it exists and is not a regular file")
    if p.exists() and not os.access(p, os.W_OK):
        raise OutputError(f"cannot write {p}: it exists and is write-protected")
    return p


def _real(path: Path) -> Path:
    """Where a path that is a link leads; the path itself where it is none."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new hidden folder in ``folder``, gone when the block ends. Those of processes that are gone are removed first."""
    _sweep(folder)
    made, lock = _make(folder)
    _unfinished.add(made)
    try:
        yield made
    finally:
        _unfinished.discard(made)
        shutil.rmtree(made, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make(folder: Path) -> tuple[Path, int | None]:
    """The folder and the descriptor that holds its lock; none where the file system has no locks."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        if fcntl is None:
            return made, None
        lock: int | None = None
        with suppress(OSError):
            lock = os.open(made, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if made.is_dir():  # nobody took it for a left-over before it was locked
            return made, lock
        if lock is not None:
            os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove the folders of processes that are gone: named as ours, of our user, not locked. What cannot be removed stays."""
    if fcntl is None:
        return
    with suppress(OSError):
        for entry in os.scandir(folder):
            if _OURS.match(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def publish(staged: Path, final: Path) -> None:
    """Move a finished file to its name at once. A link stays one: what it leads to is replaced."""
    real = _real(final)
    try:
        os.replace(staged, real)
    except OSError as e:
        if e.errno != errno.EXDEV:
            raise
        with staging(real.parent) as folder:  # the link leads to another file system
            shutil.copyfile(staged, folder / real.name)
            os.replace(folder / real.name, real)


def when_full(error: BaseException, folder: Path) -> str:
    """Why writing into a folder failed, where that is the folder's fault: no space, a limit, a device; "" for anything else.

    Libraries in C lose the number of the error (HDF5 when it closes a file), so the space left is looked at too.
    """
    e: BaseException | None = error
    while e is not None:
        if isinstance(e, OSError):
            named = isinstance(e.filename, (str, bytes)) and Path(os.fsdecode(e.filename)).is_relative_to(folder)
            if named or e.errno in _FULL:
                return os.strerror(e.errno) if e.errno else str(e)
        e = e.__cause__ or e.__context__
    with suppress(OSError):
        if shutil.disk_usage(folder).free < 1 << 16:
            return os.strerror(errno.ENOSPC)
    return ""


@contextmanager
def writing(path: Any, *more: Any) -> Iterator[tuple[Path, ...]]:
    """Unfinished files for ``path`` and ``more``, moved to the final names when the block ends without an error.

    The first is moved last, so that what it refers to is there when it appears. A file the block did not make is skipped. On any
    error nothing is left; an OSError becomes an OutputError. In a staging folder of this process everything is unfinished anyway:
    there the files are written at once under their names.
    """
    finals = [check_output(p) for p in (path, *more)]
    try:
        if _unfinished.issuperset(p.parent for p in finals):
            try:
                yield tuple(finals)
            except BaseException:
                for p in finals:
                    p.unlink(missing_ok=True)
                raise
            return
        with ExitStack() as stack:
            folders = {f: stack.enter_context(staging(f)) for f in dict.fromkeys(p.parent for p in finals)}
            temps = tuple(folders[p.parent] / p.name for p in finals)
            yield temps
            for temp, final in reversed([*zip(temps, finals)]):
                if temp.exists():
                    publish(temp, final)
    except OSError as e:
        raise OutputError(f"cannot write {finals[0]}: {e.strerror or e}") from e
