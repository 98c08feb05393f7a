"""Writing files: under a temporary name beside the final one, renamed when all is written, nothing left on failure."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError

__all__ = ["check_output", "writing"]


def check_output(path: Any) -> Path:
    """The path, if a file may be written there; OutputError says why not (a folder, no such folder, no permission)."""
    p = Path(path)
    if p.is_dir():
        raise OutputError(f"{p} is a folder; give the name of a file in it")
    folder = p.parent
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


@contextmanager
def writing(path: Any, *more: Any) -> Iterator[tuple[Path, ...]]:
    """Temporary paths for ``path`` and ``more``, renamed to the final ones when the block ends without an error.

    The first is renamed last, so that what it refers to is there when it appears. A temporary file the block did not make
    is skipped. On any error all temporary files are removed; an OSError becomes an OutputError.
    """
    finals = [check_output(p) for p in (path, *more)]
    temps = tuple(p.with_name(f".{p.name[:80]}.{secrets.token_hex(6)}.tmp") for p in finals)
    try:
        yield temps
        for temp, final in reversed([*zip(temps, finals)]):
            if temp.exists():
                os.replace(temp, final)
    except OSError as e:
        raise OutputError(f"cannot write {finals[0]}: {e.strerror or e}") from e
    finally:
        for temp in temps:
            with suppress(OSError):
                temp.unlink()
