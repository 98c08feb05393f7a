""":class:`Message` to prototxt by protobuf: one field a line in the order of the schema, two-space indent, enums by name.

Fields that no schema knows come last, as they were read.
"""

from __future__ import annotations

import re
from typing import Any

from .descriptors import fill, message_class
from .message import Identifier, Message

__all__ = ["print_text"]

_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")
_WHOLE = re.compile(r"^( *\w+: -?\d{1,7})\.0$", re.M)


def print_text(message: Message) -> str:
    """The text form; parsing it again gives an equal message. What would be invisible or reorder the line is escaped."""
    return _HIDDEN.sub(lambda m: "".join(f"\\{byte:03o}" for byte in m[0].encode()), _text(message, ""))


def _text(message: Message, indent: str) -> str:
    from google.protobuf import text_format

    known = message_class(message.type)() if message.known else None
    blocks = []
    for name, value in message.fields():
        items = value if message.schema.by_name[name].repeated else [value]
        if any(_holds_unknown(item) for item in items):
            blocks += [(name, item) for item in items]
        else:
            fill(known, message, name, value, text=True)
    out = text_format.MessageToString(known, as_utf8=True, indent=len(indent)) if known is not None else ""
    out = _WHOLE.sub(r"\1", out)
    for name, item in [*blocks, *((name, item) for name, values in message.unknown.items() for item in values)]:
        if isinstance(item, Message):
            out += f"{indent}{name} {{\n{_text(item, indent + '  ')}{indent}}}\n"
        else:
            out += f"{indent}{name}: {_scalar(item)}\n"
    return out


def _holds_unknown(value: Any) -> bool:
    if not isinstance(value, Message):
        return False
    nested = (item for _, v in value.fields() for item in (v if isinstance(v, list) else [v]))
    return not value.known or bool(value.unknown) or any(map(_holds_unknown, nested))


def _scalar(value: Any) -> str:
    """A value of a field that no schema knows, in the form it was read in: 2.0 is not 2."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Identifier):
        from google.protobuf.text_encoding import CEscape

        return f'"{CEscape(value, True)}"'  # type: ignore[arg-type]  # text stays text, the stub knows bytes only
    return str(value)
