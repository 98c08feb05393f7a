"""A protobuf message as plain data: which fields were given, and Caffe's default for the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from convcore.plugin import Problem, UnsupportedError

from .schema import AMBIGUOUS, Field, MessageType, message_type

__all__ = ["Identifier", "Message", "float32_value"]


class Identifier(str):
    """An unquoted word as the value of a field no schema knows (an enum name, or a bool)."""

    __slots__ = ()


def float32_value(x: float) -> float:
    """The shortest decimal with the same float32: what a person writes, and exactly the value Caffe computes with."""
    if x != x:
        return math.nan  # one object, so that equal messages compare equal
    with np.errstate(over="ignore"):
        return float(str(np.float32(x)))


class Message:
    """Fields by name. ``type`` is the schema's message name, or "" for a message no schema knows (all fields unknown).

    Enum values are their names, float fields the shortest decimal of their float32. Fields a known message does not
    declare are kept in ``unknown`` (name -> values); ``lines`` holds the line of a field's first appearance (0:
    binary).
    """

    __slots__ = ("_values", "line", "lines", "type", "unknown")

    def __init__(self, type_name: str = "", line: int = 0, **values: Any) -> None:
        self.type = type_name
        self.line = line
        self.lines: dict[str, int] = {}
        self._values: dict[str, Any] = {}
        self.unknown: dict[str, list[Any]] = {}
        for name, value in values.items():
            self.set(name, value)

    @property
    def known(self) -> bool:
        """Whether the schema declares this message."""
        return bool(self.type)

    @property
    def schema(self) -> MessageType:
        return message_type(self.type)

    def _field(self, name: str) -> Field:
        try:
            return self.schema.by_name[name]
        except KeyError:
            raise KeyError(f"{self.type or 'unknown message'} has no field {name}") from None

    # ---- reading
    def has(self, name: str) -> bool:
        """Whether the file gives the field (a repeated one: at least once)."""
        return name in self._values or name in self.unknown

    def get(self, name: str) -> Any:
        """The value given, or Caffe's default (None where it has none; [] for repeated; an empty message for messages).

        Raises UnsupportedError for a field left unset whose default differs between Caffe forks.
        """
        if name in self._values:
            return self._values[name]
        if not self.known:
            return self.unknown.get(name, [])
        f = self._field(name)
        if f.repeated:
            return []
        if f.kind == "message":
            return Message(f.type)
        if f.default == AMBIGUOUS:
            why = f"{name} is not given, and forks of Caffe have different defaults for it"
            raise UnsupportedError(Problem("", self.type, why, f"give {name} in the prototxt", "ambiguous_default"))
        return float32_value(f.default) if f.kind == "float" and isinstance(f.default, float) else f.default

    __getitem__ = get

    def fields(self) -> Iterator[tuple[str, Any]]:
        """The given, declared fields in the order they were given."""
        return iter(list(self._values.items()))

    def names(self) -> list[str]:
        """Every given field, declared or not."""
        return [*self._values, *self.unknown]

    # ---- writing
    def set(self, name: str, value: Any) -> None:
        f = self._field(name)
        if f.kind == "float":
            value = [float32_value(v) for v in value] if f.repeated else float32_value(value)
        self._values[name] = list(value) if f.repeated else value

    def add(self, name: str, value: Any) -> None:
        """Append to a repeated field."""
        f = self._field(name)
        if not f.repeated:
            raise KeyError(f"{self.type}.{name} is not repeated")
        self._values.setdefault(name, []).append(float32_value(value) if f.kind == "float" else value)

    def clear(self, name: str) -> None:
        self._values.pop(name, None)

    def put(self, name: str, value: Any) -> None:
        """Store a parsed value as it is (parsers only: it has been checked and rounded)."""
        self._values[name] = value

    def copy(self) -> Message:
        """A copy whose own fields may be changed; nested messages are shared."""
        m = Message(self.type, self.line)
        m._values = {k: list(v) if isinstance(v, list) else v for k, v in self._values.items()}
        m.unknown = {k: list(v) for k, v in self.unknown.items()}
        m.lines = dict(self.lines)
        return m

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.type, self._values, self.unknown) == (other.type, other._values, other.unknown)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        body = ", ".join(f"{k}={v!r}" for k, v in [*self._values.items(), *self.unknown.items()])
        return f"{self.type or 'unknown'}({body})"
