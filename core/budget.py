"""What one model file may make of itself: limits on what a few bytes can ask for, counted before it is made.

Most are for what a file only describes: calls of functions and models that expand, dense forms of sparse tensors, outputs by
number. :func:`spending` starts an account for one load; the amounts of all readers add up.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import BadFileError

__all__ = [
    "AXES", "BYTES", "GROWTH", "NODES", "RESULTS", "STEPS", "TERMS", "TEXT", "bounded_results", "spend_bytes", "spend_nodes",
    "spending",
]  # fmt: skip

FACTOR = int(os.environ.get("CONVCORE_BUDGET", "") or 1)
"""How many times the budget the user grants: ``CONVCORE_BUDGET=4`` for a sound file that is larger than all foreseen."""
NODES = 120_000 * FACTOR
"""Nodes or layers of a model, regions and expanded calls of functions and nested models included."""
RESULTS = 16_384 * FACTOR
"""Inputs or results of one layer, the number of an output that is used."""
BYTES = (256 << 20) * FACTOR
"""Bytes that values may take which a file describes without holding them, in all."""
TEXT = (1 << 20) * FACTOR
"""Characters of a name."""
STEPS = 100_000 * FACTOR
"""Steps of a loop while a conversion is checked."""
GROWTH = 1_000 * FACTOR
"""How many times what its inputs and weights take one value of a model may take while a conversion is checked."""
TERMS = 1_000
"""Terms of a symbolic size."""
AXES = 64
"""Axes of a tensor: numpy has no more."""

_MORE = "CONVCORE_BUDGET=2 in the environment allows twice as much"
_SPENT: ContextVar[Counter[str] | None] = ContextVar("spent", default=None)


@contextmanager
def spending() -> Iterator[None]:
    """A new account: amounts inside add up from nothing."""
    token = _SPENT.set(Counter())
    try:
        yield
    finally:
        _SPENT.reset(token)


def _spend(kind: str, amount: int, most: int, what: str) -> None:
    account = _SPENT.get()
    account = Counter() if account is None else account
    account[kind] += amount
    if account[kind] > most:
        raise BadFileError(what)


def spend_nodes(count: int, what: str) -> None:
    """``count`` nodes come of calls. BadFileError where the load's are more than :data:`NODES`."""
    _spend("nodes", count, NODES, f"{what} to more than {NODES:,} nodes ({_MORE})")


def spend_bytes(count: int, what: str) -> None:
    """``count`` bytes are made of a description. BadFileError where the load's are more than :data:`BYTES`."""
    _spend("bytes", count, BYTES, f"{what}: with it, what the file only describes takes more than {BYTES >> 20} MiB ({_MORE})")


def bounded_results(count: int, what: str) -> int:
    """``count``, where one layer may have as many results; BadFileError for more than :data:`RESULTS`."""
    if count > RESULTS:
        raise BadFileError(f"{what}: {count:,} inputs or results of one layer, more than {RESULTS:,} ({_MORE})")
    return count
