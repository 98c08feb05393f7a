"""The ledger of a batch: a line of JSON for each finished model, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from ..errors import OutputError, UsageError
from .task import Row

__all__ = ["Ledger", "opened"]

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


class Ledger:
    """Rows by the key of their task, in a file that is open and locked (:func:`opened`)."""

    def __init__(self, file: IO[str], rows: dict[str, Row]) -> None:
        self._file, self.rows = file, rows

    def add(self, row: Row) -> None:
        """Note a finished model; the line is on the disk when this returns."""
        self.rows[row.key] = row
        self._file.write(json.dumps(asdict(row)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """The ledger at ``path``. UsageError when another run works with it, OutputError when it cannot be written."""
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror or e}") from None
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{path}: another batch is at work there") from None
        file.seek(0)
        text = file.read()
        if text and not text.endswith("\n"):  # a run was killed while it wrote this line
            file.write("\n")
        yield Ledger(file, dict(_rows(text)))


def _rows(text: str) -> Iterator[tuple[str, Row]]:
    """The rows that are whole; a line that a killed run left half-written is none."""
    names = {f.name for f in fields(Row)}
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict) and {"source", "status", "key"} <= data.keys() <= names:
            yield data["key"], Row(**data)
