""":class:`Message` to prototxt in the style Caffe prints: one field a line, two-space indent, enums by name."""

from __future__ import annotations

import math
import re
from typing import Any

from .message import Identifier, Message
from .schema import Field

__all__ = ["print_text"]

_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}
_PLAIN = re.compile(r"[^\"\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]*\Z")


def print_text(message: Message) -> str:
    """The text form; parsing it again gives an equal message."""
    lines: list[str] = []
    _fields(message, "", lines)
    return "\n".join(lines) + ("\n" if lines else "")


def _fields(message: Message, indent: str, lines: list[str]) -> None:
    for name, value in message.fields():
        field = message.schema.by_name[name]
        for item in value if field.repeated else [value]:
            _field(name, item, field, indent, lines)
    for name, values in message.unknown.items():
        for item in values:
            _field(name, item, None, indent, lines)


def _field(name: str, value: Any, field: Field | None, indent: str, lines: list[str]) -> None:
    if isinstance(value, Message):
        lines.append(f"{indent}{name} {{")
        _fields(value, indent + "  ", lines)
        lines.append(indent + "}")
    else:
        lines.append(f"{indent}{name}: {_scalar(value, field)}")


def _scalar(value: Any, field: Field | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Identifier) or (field is not None and field.kind == "enum"):
        return str(value)
    if isinstance(value, bytes):
        return quote(value)
    if isinstance(value, str):
        return f'"{value}"' if _PLAIN.match(value) else quote(value.encode())
    if isinstance(value, float):
        if math.isfinite(value):
            # an unknown field keeps the form it was read in: 2.0 is not 2
            return (
                str(int(value))
                if field is not None and value == int(value) and abs(value) < 1e7 and _plus(value)
                else repr(value)
            )
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return str(value)


def _plus(value: float) -> bool:
    return value != 0 or math.copysign(1.0, value) > 0


def quote(data: bytes) -> str:
    """A quoted string with C escapes; control, bidirectional and non-ASCII bytes as octal."""
    return '"' + "".join(_ESCAPES.get(c) or (chr(c) if 32 <= c < 127 else f"\\{c:03o}") for c in data) + '"'
