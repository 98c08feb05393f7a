"""What is said on stderr while a command works: a bar on a terminal, lines with ``-v``, nothing with ``-q``."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace

from .console import complain, printable

__all__ = ["Progress"]

_EVERY = 0.05  # seconds between two pictures of the bar


class Progress:
    """Called with what is being done and the part of the whole that is, 0 to 1."""

    def __init__(self, args: Namespace) -> None:
        self.lines = bool(args.verbose)
        self.bar = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not args.quiet and not self.lines
        self.start = time.monotonic()
        self._stage = ""
        self._drawn = 0.0

    def __call__(self, what: str, part: float) -> None:
        now = time.monotonic()
        stage = "checking" if what.startswith("checking ") else what  # a layer at a time
        if self.lines and stage != self._stage:
            complain(f"{now - self.start:6.2f} s  {stage}")
        if self.bar and (stage != self._stage or now - self._drawn >= _EVERY):
            self._drawn = now
            line = f"[{'#' * int(20 * part):<20}] {100 * part:3.0f} % {now - self.start:.1f} s  {printable(what)}"
            sys.stderr.write(f"\r\x1b[K{line[: _width() - 1]}")
            sys.stderr.flush()
        self._stage = stage
        if part >= 1:
            self.clear()

    def clear(self) -> None:
        """Take the bar away, before anything else is printed."""
        if self.bar:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
