"""Python's cyclic garbage collector, paused where it only costs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_seldom", "without_collector"]


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause the cyclic garbage collector: while a large graph is built nearly everything stays alive, and searching it
    again and again would make the cost per node grow with the graph."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def collect_seldom() -> None:
    """For a process that runs one command: its modules and graphs stay to its end, so searching them again and again finds
    nothing."""
    gc.set_threshold(100_000, 50, 50)
