"""The one transaction of emission: what a rule that gives up has added to tables and lists is taken out again."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Journal"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_ABSENT = object()


class Journal:
    """Writes that can be undone. Nothing is remembered outside an attempt; attempts may be nested."""

    __slots__ = ("_depth", "_log")

    def __init__(self) -> None:
        self._log: list[tuple[Any, Any, Any]] = []
        self._depth = 0

    def put(self, table: dict[_K, _V], key: _K, value: _V) -> None:
        """``table[key] = value``."""
        if self._depth:
            self._log.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def append(self, items: list[_V], item: _V) -> None:
        """``items.append(item)``; the list must only grow within the attempt."""
        if self._depth:
            self._log.append((items, len(items), None))
        items.append(item)

    def set(self, owner: object, name: str, value: Any) -> None:
        """``owner.name = value``."""
        if self._depth:
            self._log.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def attempt(self) -> Attempt:
        """A context: when it is left by an exception, all that was written inside is undone; the exception goes on."""
        return Attempt(self)

    def _enter(self) -> int:
        self._depth += 1
        return len(self._log)

    def _leave(self, mark: int, failed: bool) -> None:
        self._depth -= 1
        while failed and len(self._log) > mark:
            target, key, old = self._log.pop()
            if isinstance(target, dict):
                if old is _ABSENT:
                    del target[key]
                else:
                    target[key] = old
            elif isinstance(target, list):
                del target[key:]
            else:
                setattr(target, key, old)
        if not self._depth:
            self._log.clear()


class Attempt:
    """What :meth:`Journal.attempt` returns."""

    __slots__ = ("_journal", "_mark")

    def __init__(self, journal: Journal) -> None:
        self._journal, self._mark = journal, 0

    def __enter__(self) -> None:
        self._mark = self._journal._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal._leave(self._mark, kind is not None)
