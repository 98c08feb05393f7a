"""What one model of a batch is asked and what came of it: plain data, for processes, ledgers and other machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any

from ..records import dataclass

__all__ = ["DONE", "STATUSES", "Limits", "Row", "Task"]

STATUSES = {
    "ok": "converted, and the result agrees with the source",
    "weak": "converted and nothing differs, but the inputs tried could not have shown every difference",
    "unverified": "converted, but nothing could be compared",
    "mismatch": "not converted: the outputs differ",
    "unsupported": "not converted: something has no exact counterpart",
    "bad file": "no model, or a damaged one",
    "usage": "the options do not fit this model",
    "out of memory": "the memory limit was reached",
    "timeout": "the time limit was reached",
    "crashed": "the process died",
    "error": "another error",
    "bug": "a bug of convcore or of a plugin",
}
"""Every status a row may have, best first."""

DONE = frozenset({"ok", "weak", "unverified"})
"""Statuses of models that were written."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one model's process: seconds of wall time, bytes of memory of its own (mapped files do not count); None: none.
    ``flags`` are those of the command line that messages are for, None in Python; ``overwrite`` is that of
    :func:`convcore.convert`: how a model is converted, and no part of what it becomes."""

    seconds: float | None = 600.0
    memory: int | None = None
    flags: tuple[str, ...] | None = None
    overwrite: bool | None = None


@dataclass(frozen=True)
class Task:
    """One model: paths or fsspec URLs of the source, its weights and the result; ``stamp`` changes when a source file does,
    or one that an option names. ``each``: kinds of reports of its own ("json", "html"), written beside the result."""

    source: str
    out: str
    to: str
    weights: str = ""
    stamp: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    each: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What a finished row stands for: another source, option or result is another task."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass
class Row:
    """What came of one model. ``files`` are what was written, ``reports`` those of its own; ``problems`` what stands in the way
    (:class:`convcore.Problem` as dicts); ``seconds`` wall time, ``cpu`` user and system seconds, ``peak`` bytes of resident
    memory, 0 where it died. ``read``: files here that the source was read from (parts of it, such as the external data of an ONNX
    file, have names that only its reader knows), with what :func:`convcore.fleet.places.stamp` gave."""

    source: str
    status: str
    out: str = ""
    key: str = ""
    framework: str = ""
    message: str = ""
    files: list[str] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    max_rel: float | None = None
    parameters: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    reports: list[str] = field(default_factory=list)
    read: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the model was written."""
        return self.status in DONE
