"""One conversion: what was asked, and what its stages have made so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import Watch
from .records import dataclass
from .report import Report
from .sources import Overrides, Progress

if TYPE_CHECKING:
    from .hookspecs import Emitted
    from .ir.graph import Graph

__all__ = ["Job"]


@dataclass(kw_only=True)
class Job:
    """The record the stages of :func:`convcore.convert` pass on; each fills in what is its own.

    ``reference`` is the graph as loaded, ``graph`` the one that is laid out and written, ``layout`` says how inputs and outputs
    moved. ``hub``: the folder of ``path`` is the model's own, with a card. ``staging`` is the folder the files are written to
    before they are moved beside ``path``.
    """

    source: Any
    weights: Any
    target: str
    path: Path | None
    check: bool | str
    example_inputs: Any
    rtol: float | None
    atol: float
    io_layout: str | Mapping[str, Any] | None
    keep: bool
    overwrite: bool | None
    fuse: bool
    simplify: bool | None
    page: Path | None
    hub: bool
    tell: Progress
    emit_options: dict[str, Any]
    emit_overrides: Overrides
    framework: str = ""
    files: Watch = field(default_factory=Watch)
    reference: Graph = None  # type: ignore[assignment]  # set by the first stage
    graph: Graph = None  # type: ignore[assignment]
    layout: Any = None
    emitted: Emitted = None  # type: ignore[assignment]
    report: Report = field(default_factory=lambda: Report(""))
    staging: Path | None = None
    started: float = field(default_factory=time.monotonic)

    def clock(self) -> None:
        """Note in the report how long it has taken so far."""
        self.report.seconds = time.monotonic() - self.started

    @property
    def cannot(self) -> str:
        """The head of a refusal."""
        what = str(self.source) if isinstance(self.source, Path) else "the model"
        return f"{what} cannot be converted exactly to {self.target}"
