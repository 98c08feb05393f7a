"""Protobuf text format (prototxt) to :class:`Message`: a bounded recursive-descent parser that needs no protobuf.

Follows protobuf's C++ TextFormat: ``field: value``, ``field { }``, ``field: < >``, ``[a, b]`` for repeated fields,
``;`` and ``,`` as separators, comments, adjacent strings, hexadecimal and octal integers, ``1.f``, ``inf``, ``nan``.
Unlike it, fields the schema does not know are kept by name with their line (``Message.unknown``): whether they matter
is decided for the layers that stay in the net. Errors are BadFileError with ``file:line:column``.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from contextlib import suppress
from functools import cached_property
from typing import Any, NoReturn

from convcore.plugin import BadFileError

from .message import Identifier, Message, float32_value
from .schema import Field, enum_values

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_STRING", "MAX_TOKENS", "parse_text"]

MAX_BYTES = 16 << 20
MAX_DEPTH = 100
MAX_TOKENS = 2_000_000
MAX_STRING = 1 << 20

_SKIP = re.compile(r"(?:[ \t\r\n\f\v]+|#[^\n]*){0,1000}")  # a pattern keeps a place for each repetition: some at a time
_TOKEN = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)"
    r"|(?P<string>[\"'])"
    r"|(?P<mark>[-{}<>\[\]:;,])"
)
_PLAIN = {"'": re.compile(r"[^'\\\n]*"), '"': re.compile(r"[^\"\\\n]*")}
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.S)
_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "?": "?",
    "'": "'",
    '"': '"',
}
_INT_RANGE = {"int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}
_INT_RANGE |= {"uint32": (0, (1 << 32) - 1), "uint64": (0, (1 << 64) - 1)}
_TRUE, _FALSE = ("true", "True", "t", "1"), ("false", "False", "f", "0")
_SHOWN = 40
_LONGEST = 64
"""The most digits of a whole number: Python converts longer ones in quadratic time."""


def parse_text(data: bytes, type_name: str = "NetParameter", *, name: str = "<text>") -> Message:
    """Parse prototxt bytes as a message of the schema; ``name`` is the file in errors."""
    if len(data) > MAX_BYTES:
        raise BadFileError(f"{name}: {len(data)} bytes of prototxt, more than the {MAX_BYTES} accepted")
    return _Parser(data.removeprefix(b"\xef\xbb\xbf"), name).parse(type_name)


class _Parser:
    def __init__(self, data: bytes, file: str) -> None:
        self.text = data.decode("utf-8", "surrogateescape")
        self.file = file
        self.count = 0
        self.end = 0
        self.kind = self.token = ""
        self.start = 0
        self.advance()

    # ---- tokens
    @cached_property
    def newlines(self) -> list[int]:
        return [m.start() for m in re.finditer("\n", self.text)]

    def line(self, offset: int) -> int:
        return bisect_right(self.newlines, offset - 1) + 1

    def fail(self, why: str, offset: int | None = None) -> NoReturn:
        at = self.start if offset is None else offset
        line = self.line(at)
        column = at - (self.newlines[line - 2] + 1 if line > 1 else 0) + 1
        raise BadFileError(f"{self.file}:{line}:{column}: {why}")

    def advance(self) -> None:
        text = self.text
        while (skipped := _SKIP.match(text, self.end)) and skipped.end() > self.end:
            self.end = skipped.end()
        self.start = self.end
        self.count += 1
        if self.count > MAX_TOKENS:
            self.fail(f"more than {MAX_TOKENS} tokens; weights of this size belong in a caffemodel")
        if self.start == len(text):
            self.kind = self.token = ""
            self.end = self.start
            return
        m = _TOKEN.match(text, self.start)
        if m is None:
            self.fail(f"unexpected character {text[self.start]!r}")
        self.kind, self.token, self.end = str(m.lastgroup), m.group(), m.end()
        if self.kind == "string":
            self.end = self.closed(self.token)
            self.token = text[self.start : self.end]
        if self.kind == "number" and self.end < len(text) and (text[self.end].isalnum() or text[self.end] in "_."):
            self.fail(f"malformed number {text[self.start : self.end + 1][:_SHOWN]!r}")

    def shown(self) -> str:
        return repr(self.token[:_SHOWN]) if self.kind else "the end of the file"

    def take(self, mark: str) -> bool:
        if self.kind == "mark" and self.token == mark:
            self.advance()
            return True
        return False

    # ---- messages
    def parse(self, type_name: str) -> Message:
        message = Message(type_name, 1)
        self.fields(message, "", 1)
        return message

    def fields(self, message: Message, close: str, depth: int) -> None:
        while True:
            if not self.kind:
                if close:
                    self.fail(f"the file ends inside {message.type or 'a message'} opened on line {message.line}")
                return
            if close and self.take(close):
                return
            if self.kind != "name":
                self.fail(f"expected a field name{f' or {close!r}' if close else ''}, found {self.shown()}")
            self.field(message, depth)
            if not self.take(";"):
                self.take(",")

    def field(self, message: Message, depth: int) -> None:
        name, at = self.token, self.start
        self.advance()
        field = message.schema.by_name.get(name) if message.known else None
        message.lines.setdefault(name, self.line(at))
        if field is None:
            values = message.unknown.setdefault(name, [])
        elif field.repeated:
            values = message.get(name)
            if not values:
                message.put(name, values)
        else:
            if message.has(name):
                self.fail(f"{message.type}.{name} is not repeated but given twice", at)
            values = []
        colon = self.take(":")
        if colon and self.kind == "mark" and self.token == "[" and (field is None or field.repeated):
            self.advance()
            self.list(values, field, depth)
        else:
            if not colon and not (self.kind == "mark" and self.token in "{<"):
                self.fail(f"expected ':' or '{{' after {name}, found {self.shown()}")
            values.append(self.value(field, depth, name))
        if field is not None and not field.repeated:
            message.put(name, values[0])

    def list(self, values: list[Any], field: Field | None, depth: int) -> None:
        if self.take("]"):
            return
        while True:
            values.append(self.value(field, depth, field.name if field else "list"))
            if self.take("]"):
                return
            if not self.take(","):
                self.fail(f"expected ',' or ']' in a list, found {self.shown()}")

    def value(self, field: Field | None, depth: int, name: str) -> Any:
        if self.kind == "mark" and self.token in "{<":
            if field is not None and field.kind != "message":
                self.fail(f"{name} is {field.type}, not a message")
            if depth >= MAX_DEPTH:
                self.fail(f"messages nested deeper than {MAX_DEPTH}")
            message = Message(field.type if field else "", self.line(self.start))
            close = "}" if self.token == "{" else ">"
            self.advance()
            self.fields(message, close, depth + 1)
            return message
        if field is None:
            return self.untyped()
        if field.kind == "message":
            self.fail(f"{name} is a message ({field.type}): expected '{{', found {self.shown()}")
        return self.scalar(field)

    # ---- scalars
    def scalar(self, field: Field) -> Any:
        kind = field.kind
        if kind in ("string", "bytes"):
            if self.kind != "string":
                self.fail(f"{field.name} is a string: expected quotes, found {self.shown()}")
            at = self.start
            raw = self.string_bytes()
            return raw if kind == "bytes" else self.utf8(raw, at)
        at = self.start
        negative = self.take("-")
        token, of = self.token, self.kind
        if of not in ("number", "name") or (negative and kind in ("bool", "enum")):
            self.fail(f"{field.name} is {field.type}: found {self.shown()}")
        value: Any
        if kind == "bool":
            if token not in _TRUE + _FALSE:
                self.fail(f"{field.name} is a bool: found {token[:_SHOWN]!r}")
            value = token in _TRUE
        elif kind == "enum":
            value = self.enum(field, token, of)
        elif kind in ("float", "double"):
            value = self.real(field, token, of)
            value = -value if negative else value
            value = float32_value(value) if kind == "float" else value
        else:
            value = self.integer(token, of, f"{field.name} is {kind}")
            value = -value if negative else value
            low, high = _INT_RANGE[kind]
            if not low <= value <= high:
                self.fail(f"{field.name}: {str(value)[:_SHOWN]} does not fit {kind}", at)
        self.advance()
        return value

    def enum(self, field: Field, token: str, of: str) -> str:
        names = enum_values(field.type)
        if of == "name" and token in names:
            return token
        if of == "number":
            number = self.integer(token, of, f"{field.name} is {field.type}")
            for value, n in names.items():
                if n == number:
                    return value
        self.fail(f"{field.name}: {field.type} has no value {token[:_SHOWN]!r}; it has {', '.join(names)}")

    def real(self, field: Field, token: str, of: str) -> float:
        word = token.lower()
        if of == "name":
            if word in ("inf", "infinity", "nan"):
                return float(word)
            self.fail(f"{field.name} is {field.type}: found {token[:_SHOWN]!r}")
        if word.startswith("0x") or (len(word) > 1 and word[0] == "0" and word.isdigit()):
            self.fail(f"{field.name} is {field.type}: expected a decimal number, found {token[:_SHOWN]!r}")
        return float(word.rstrip("f"))

    def integer(self, token: str, of: str, what: str) -> int:
        if of == "number" and len(token) <= _LONGEST:
            with suppress(ValueError):
                return int(token, 16 if token[:2] in ("0x", "0X") else 8 if token[0] == "0" else 10)
        self.fail(f"{what}: expected an integer, found {token[:_SHOWN]!r}")

    def untyped(self) -> Any:
        if self.kind == "string":
            at = self.start
            return self.utf8(self.string_bytes(), at)
        negative = self.take("-")
        token, of = self.token, self.kind
        if of == "name":
            self.advance()
            word = token.lower()
            if word == "nan":
                return math.nan
            if word in ("inf", "infinity"):
                return -math.inf if negative else math.inf
            if negative:
                self.fail(f"expected a number after '-', found {token[:_SHOWN]!r}")
            return Identifier(token)
        if of != "number":
            self.fail(f"expected a value, found {self.shown()}")
        value: int | float
        if token.isdigit() or token[:2] in ("0x", "0X"):
            value = self.integer(token, of, "value")
        else:
            value = float(token.rstrip("fF"))
        self.advance()
        return -value if negative else value

    # ---- strings
    def closed(self, quote: str) -> int:
        """Where the string that opens here ends. By hand: a pattern for escapes keeps a place for each of them (70 bytes)."""
        text, at, plain = self.text, self.end, _PLAIN[quote]
        while True:
            found = plain.match(text, at)
            at = at if found is None else found.end()
            if at - self.end > MAX_STRING:
                self.fail(f"a string of more than {MAX_STRING} characters")
            if text[at : at + 1] == quote:
                return at + 1
            if text[at : at + 1] != "\\" or text[at + 1 : at + 2] in ("", "\n"):
                self.fail("string is not closed on its line")
            at += 2

    def string_bytes(self) -> bytes:
        parts = []
        while self.kind == "string":
            body = self.token[1:-1]
            parts.append(self.unescape(body) if "\\" in body else body.encode("utf-8", "surrogateescape"))
            self.advance()
        return b"".join(parts)

    def unescape(self, body: str) -> bytes:
        out, at = [], 0
        for m in _ESCAPE.finditer(body):
            out.append(body[at : m.start()].encode("utf-8", "surrogateescape"))
            octal, hexa, u4, u8, simple = m.groups()
            if octal is not None or hexa is not None:
                code = int(octal, 8) if octal is not None else int(hexa, 16)
                if code > 255:
                    self.fail(f"escape \\{octal} is more than a byte")
                out.append(bytes([code]))
            elif u4 or u8:
                code = int(u4 or u8, 16)
                if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                    self.fail(f"escape {m.group()} is not a character")
                out.append(chr(code).encode())
            elif simple in _SIMPLE:
                out.append(_SIMPLE[simple].encode())
            else:
                self.fail(f"unknown escape {m.group()!r}")
            at = m.end()
        out.append(body[at:].encode("utf-8", "surrogateescape"))
        return b"".join(out)

    def utf8(self, raw: bytes, at: int) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as e:
            self.fail(f"string is not UTF-8 ({e.reason} at byte {e.start})", at)
