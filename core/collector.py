"""What depends on whose process it is: the cyclic garbage collector, paused where it only costs; modules imported in part."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone", "let_go", "one_command", "take", "without_collector"]

_taken = False


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


@contextmanager
def one_command() -> Iterator[None]:
    """For a process that runs one command and ends: its modules and graphs stay to its end, so they are hardly searched while it
    runs, and at its end not at all, where Python would search them several times."""
    gc.set_threshold(500_000, 50, 50)
    try:
        yield
    finally:
        gc.freeze()


def let_go() -> None:
    """Free what died: after a failure, while the libraries whose objects its traceback holds still live."""
    gc.collect()


def take() -> None:
    """This process is one command and ends with it (``convcore.cli.command``)."""
    global _taken
    _taken = True


def alone() -> bool:
    """Whether this process is one command of convcore and ends with it, so that nobody else's code goes on in it: a plugin may
    then import parts of a library that are enough for it."""
    return _taken
