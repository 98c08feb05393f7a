"""Files that a conversion reads are watched and protected.

Weights are read when they are needed, long after a model is loaded. So what a loader opens or maps is noted with its inode, size
and time of change (:func:`watched`); whoever reads later compares, and so does a conversion at its end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from .errors import OutputError, SourceChangedError
from .records import dataclass

__all__ = ["FileStamp", "Watch", "absolute", "passing", "reading", "stamp_of", "unchanged", "watched", "watching"]


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file was when it was first read: device, inode, size in bytes, times of the last writing and of the last change of
    the inode in nanoseconds, and what of the inode may change without the content (mode, links, owner, group).

    The inode's time (ctime) tells a writing in place by a program that sets the time of writing back. chmod, chown and a new link
    change it, too, and say so themselves: such a change of the inode's time is no change of the file. Windows and FAT keep the
    time of creation there, which stays.
    """

    path: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    status: tuple[int, ...]

    def check(self) -> None:
        """SourceChangedError if the file is gone, another one, or was written to since."""
        try:
            now = _stamp(self.path)
        except OSError as e:
            raise SourceChangedError(f"{self.path}: was read and can no longer be: {e.strerror or e}") from e
        if now == self:
            return
        if now is None or (now.device, now.inode) != (self.device, self.inode):
            what = "was replaced by another file"
        elif now.size != self.size:
            what = f"had {self.size} bytes and has {now.size}"
        elif now.modified == self.modified and now.status != self.status:
            return
        else:
            what = "was written to"
        raise SourceChangedError(f"{self.path}: {what} after it was read; load it again")


def _stamp(path: str) -> FileStamp | None:
    """The stamp of a regular file, None for a folder or device; OSError where there is nothing."""
    s = os.stat(path)
    if not stat.S_ISREG(s.st_mode):
        return None
    status = s.st_mode, s.st_nlink, s.st_uid, s.st_gid
    return FileStamp(path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, status)


class Watch:
    """The files one load has read."""

    def __init__(self) -> None:
        self._files: dict[str, FileStamp] = {}

    @property
    def files(self) -> tuple[FileStamp, ...]:
        return tuple(self._files.values())

    def find(self, path: str | os.PathLike[str]) -> FileStamp | None:
        """The stamp noted under an absolute path; None for another, or as another path may be spelled."""
        return self._files.get(path) if isinstance(path, str) else None

    def note(self, path: str) -> FileStamp | None:
        """The stamp of a file from when it was first noted; None for what is no regular file, or not there."""
        found = self._files.get(path)
        if found is None:
            with suppress(OSError):  # whoever opens it says what is wrong
                found = _stamp(path)
            if found is not None:
                self._files[path] = found
        return found

    def check(self) -> None:
        """SourceChangedError naming the first file that is no longer what was read."""
        for f in self._files.values():
            f.check()

    def protect(self, out: Path) -> None:
        """OutputError if writing ``out`` would destroy a file that was read: the same file by whatever name or link."""
        try:
            s = os.stat(out)
        except OSError:
            return
        for f in self._files.values():
            if (s.st_dev, s.st_ino) == (f.device, f.inode):
                named = "the source itself" if absolute(out) == f.path else f"{f.path}, which the source is read from"
                raise OutputError(f"{out} is {named}: writing it would destroy it; name another output file")


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the root, which means the same file when the working folder changes. ``..`` stays, since behind a link it is
    not the folder that the text says."""
    return os.path.join(os.getcwd(), os.fsdecode(path))


_CURRENT: ContextVar[Watch | None] = ContextVar("watch", default=None)
_BATCH: ContextVar[dict[str, FileStamp] | None] = ContextVar("batch", default=None)


@contextmanager
def watching() -> Iterator[Watch]:
    """Note in a new watch every file that :func:`watched` names inside, and in no outer one."""
    watch = Watch()
    token = _CURRENT.set(watch)
    try:
        yield watch
    finally:
        _CURRENT.reset(token)


@contextmanager
def reading() -> Iterator[None]:
    """Many tensors are made or read inside: each file is looked at when it is first used and at the end, not once per tensor.

    SourceChangedError at the end where one of them is no longer what it was. Batches may be nested; the outermost is the one.
    """
    if _BATCH.get() is not None:
        yield
        return
    batch: dict[str, FileStamp] = {}
    token = _BATCH.set(batch)
    try:
        if _CURRENT.get() is None:
            with watching():
                yield
        else:
            yield
    finally:
        _BATCH.reset(token)
    for stamp in batch.values():
        stamp.check()


@contextmanager
def passing() -> Iterator[None]:
    """A loader makes a temporary file, reads it into memory and deletes it inside: nothing around looks at that file."""
    token = _BATCH.set({})
    try:
        with watching():
            yield
    finally:
        _BATCH.reset(token)


def unchanged(stamp: FileStamp | None) -> None:
    """SourceChangedError unless a file is what it was; inside :func:`reading` asked once per file and again at the end."""
    if stamp is None:
        return
    batch = _BATCH.get()
    if batch is None:
        stamp.check()
    elif batch.get(stamp.path) != stamp:
        stamp.check()
        batch[stamp.path] = stamp


def stamp_of(path: str | os.PathLike[str]) -> FileStamp | None:
    """Note that a file is read, and what it is now; inside :func:`watching`, what it was when it was first noted."""
    watch = _CURRENT.get() or Watch()
    return watch.find(path) or watch.note(absolute(path))


def watched(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """``path``, noted as read: loaders write ``open(watched(path), "rb")``, and so with whatever opens a file by its name."""
    stamp_of(path)
    return path
