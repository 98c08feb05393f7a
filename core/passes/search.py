"""What a value comes from, looked at one value after the other: each once, and not without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..ir.graph import Value

__all__ = ["MOST", "every", "some"]

MOST = 256
"""The most values that are looked at: what takes more is not known."""

Parts: TypeAlias = "bool | Iterable[Value | None]"
"""What is known of a value, or the values by which it is decided."""


def every(v: Value, parts: Callable[[Value], Parts]) -> bool:
    """Whether all that a value is made of passes; what is left out does not."""
    return all(told is True for told in _looked(v, parts))


def some(v: Value | None, parts: Callable[[Value], Parts]) -> bool:
    """Whether any of what a value is made of passes."""
    return any(told is True for told in _looked(v, parts))


def _looked(v: Value | None, parts: Callable[[Value], Parts]) -> Iterator[bool | None]:
    """What is known of each value that is decided by itself; None for one that is left out, and at the end of the search."""
    stack, seen = [v], {v}
    while stack:
        at = stack.pop()
        told = None if at is None or len(seen) > MOST else parts(at)
        if told is None or isinstance(told, bool):
            yield told
            continue
        fresh = [x for x in dict.fromkeys(told) if x not in seen]
        seen.update(fresh)
        stack += fresh
