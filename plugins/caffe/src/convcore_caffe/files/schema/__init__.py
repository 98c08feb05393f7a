"""Caffe's messages as data: field name, wire number, type, label and default of every message an inference user meets.

The tables (``net``, ``shared`` and the layers' records, ``layer_spec``) are written from the wire facts: BVLC Caffe master
9b891540, weiliu89's SSD branch, and the fork layers named in the support table. Forks reuse field numbers (147 upwards) for
different layers, so a field whose number is not the same everywhere has number 0: it exists by name in the text form only; so
does an enum value below 0. Where forks give one name different fields the union is declared. A default that differs between
forks is written ``?``: asking for it unset is an error, never a guess.

A row reads ``name number type[label][=default]`` with label ``*`` repeated, ``!`` required; rows are parted by ``;``
or newlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...layer_spec import specs
from . import net, shared

__all__ = ["AMBIGUOUS", "Field", "MessageType", "enum_names", "enum_values", "message_names", "message_type"]

AMBIGUOUS = "?"
_SCALARS = frozenset(["int32", "int64", "uint32", "uint64", "float", "double", "bool", "string", "bytes"])


@dataclass(frozen=True)
class Field:
    """One field: ``kind`` is a scalar type name, ``"enum"`` or ``"message"`` (whose name is ``type``)."""

    name: str
    number: int
    kind: str
    type: str
    repeated: bool
    required: bool
    default: object  # None where Caffe has none, AMBIGUOUS where forks disagree


@dataclass(frozen=True)
class MessageType:
    name: str
    by_name: dict[str, Field]
    by_number: dict[int, Field]

    @property
    def required(self) -> list[str]:
        return [f.name for f in self.by_name.values() if f.required]


@cache
def _tables() -> tuple[dict[str, str], dict[str, str]]:
    """Enums and messages by name: the net's, the shared ones, those of the layers' records. KeyError for one declared twice."""
    enums, messages = {**net.ENUMS, **shared.ENUMS}, {**net.MESSAGES, **shared.MESSAGES}
    fields, old_fields, old_types = [], [], []
    for spec in specs():
        own = {spec.param.message: spec.param.fields} if spec.param is not None and spec.param.fields is not None else {}
        for table, more in ((enums, spec.enums), (messages, spec.messages), (messages, own)):
            if twice := table.keys() & more.keys():
                raise KeyError(f"{', '.join(twice)} is declared twice")
            table.update(more)
        fields += [f"{p.field} {p.number} {p.message}" for p in (spec.param, spec.also) if p is not None]
        if spec.v1:
            name, number, *at = spec.v1.split()
            old_types.append(f"{name} {number}")
            old_fields += [f"{spec.param.field} {n} {spec.param.message}" for n in at if spec.param is not None]
    for table, key, rows in (
        (enums, "V1LayerType", old_types), (messages, "LayerParameter", fields), (messages, "V1LayerParameter", old_fields)
    ):  # fmt: skip
        table[key] = "; ".join([table[key], *rows])
    return enums, messages


def _rows(text: str) -> list[list[str]]:
    return [row.split() for line in text.splitlines() for row in line.split(";") if row.strip()]


@cache
def enum_values(name: str) -> dict[str, int]:
    """Value names and numbers of an enum, in declaration order."""
    return {row[0]: int(row[1]) for row in _rows(_tables()[0][name])}


def _default(kind: str, text: str | None) -> object:
    if text is None or text == AMBIGUOUS:
        return text
    if kind == "bool":
        return text == "true"
    if kind in ("string", "enum"):
        return text.strip('"')
    return float(text) if kind in ("float", "double") else int(text)


@cache
def message_type(name: str) -> MessageType:
    """The declaration of a message; KeyError for a name the tables do not hold."""
    fields = []
    enums, messages = _tables()
    for row in _rows(messages[name]):
        spec, _, default = row[2].partition("=")
        base = spec.rstrip("*!")
        kind = base if base in _SCALARS else "enum" if base in enums else "message"
        if kind == "message" and base not in messages:
            raise KeyError(f"{name}.{row[0]}: no message or enum {base}")
        value = _default(kind, default or None)
        fields.append(Field(row[0], int(row[1]), kind, base, "*" in spec, "!" in spec, value))
    by_name = {f.name: f for f in fields}
    by_number = {f.number: f for f in fields if f.number}
    if len(by_name) != len(fields) or len(by_number) != sum(f.number > 0 for f in fields):
        raise KeyError(f"{name}: a field name or number is declared twice")
    return MessageType(name, by_name, by_number)


def message_names() -> list[str]:
    """Every declared message."""
    return sorted(_tables()[1])


def enum_names() -> list[str]:
    """Every declared enum."""
    return sorted(_tables()[0])
