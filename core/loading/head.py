"""The first bytes of a file, read once for all plugins that are asked whether it is theirs."""

from __future__ import annotations

import os
import stat

from ..records import dataclass

__all__ = ["Head", "read_head"]

LENGTH = 1 << 16


@dataclass(frozen=True)
class Head:
    """``data``: the first 64 KiB (or all) of a regular file; ``size``: its length in bytes."""

    data: bytes
    size: int


_last: tuple[tuple[object, ...], Head] | None = None


def read_head(path: str | os.PathLike[str]) -> Head | None:
    """The head of a regular file, None for anything else. OSError where it cannot be read.

    The last one is kept for as long as the file's identity, size and times are the same.
    """
    global _last
    try:
        s = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(s.st_mode):
        return None
    key = (os.fspath(path), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    if _last is None or _last[0] != key:
        with open(path, "rb") as f:
            _last = key, Head(f.read(LENGTH), s.st_size)
    return _last[1]
