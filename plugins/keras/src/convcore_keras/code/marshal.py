"""The bytes of a function's code (``marshal``, CPython 2.7 and 3.5 to 3.14), read into plain data with bounds.

Facts: ``Python/marshal.c``. Nothing is handed to Python's own ``marshal``, which may crash or exhaust memory on hostile bytes,
and no code object is made. References of an object to itself are refused, so what is read is finite.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["LAYOUTS", "Code", "Layout", "MarshalError", "read_code"]

Layout: TypeAlias = Literal["2", "3.0", "3.8", "3.11"]
"""How a code object is laid out: Python 2, 3.0 to 3.7, 3.8 to 3.10, 3.11 and newer."""

LAYOUTS: tuple[Layout, ...] = ("3.11", "3.8", "3.0", "2")

MAX_BYTES = 1 << 18
MAX_OBJECTS = 20_000
MAX_DEPTH = 40
MAX_DIGITS = 64
"""Of 15 bits, of an integer."""


class MarshalError(ValueError):
    """The bytes are not a code object, or are larger than any function of a model."""


@dataclass(frozen=True)
class Code:
    """A function's code as data; names as in ``types.CodeType``. ``slots`` are the names of ``localsplus`` (3.11 and newer)."""

    layout: Layout
    argcount: int
    posonly: int
    kwonly: int
    flags: int
    code: bytes
    consts: tuple[Any, ...]
    names: tuple[str, ...]
    varnames: tuple[str, ...]
    freevars: tuple[str, ...]
    cellvars: tuple[str, ...]
    slots: tuple[str, ...]
    filename: str
    name: str


class _Reader:
    def __init__(self, data: bytes, layout: Layout) -> None:
        self.data, self.layout = data, layout
        self.at = self.objects = 0
        self.refs: list[Any] = []
        self.interned: list[str] = []

    def take(self, n: int) -> bytes:
        if n < 0 or self.at + n > len(self.data):
            raise MarshalError("the bytes end too early")
        found = self.data[self.at : self.at + n]
        self.at += n
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, form: str = "<i") -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def size(self) -> int:
        n: int = self.number()
        if not 0 <= n <= len(self.data) - self.at:
            raise MarshalError("a size is larger than the bytes")
        return n

    def object(self, depth: int = 0) -> Any:
        self.objects += 1
        if self.objects > MAX_OBJECTS or depth > MAX_DEPTH:
            raise MarshalError("the code is too large or too deeply nested")
        head = self.byte()
        kind = chr(head & 0x7F)
        place = None
        if head & 0x80 and kind not in "NTFS.0r":
            place = len(self.refs)
            self.refs.append(_UNFINISHED)
        value = self.value(kind, depth)
        if place is not None:
            self.refs[place] = value
        return value

    def value(self, kind: str, depth: int) -> Any:
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind in _STRINGS:
            short, codec = _STRINGS[kind]
            raw = self.take(self.byte() if short else self.size())
            text = raw.decode(codec, "surrogatepass" if codec == "utf-8" else "strict") if codec else raw
            if kind == "t" and isinstance(text, str):
                self.interned.append(text)
            return text
        if kind in "()[<>":
            return self.sequence(kind, self.byte() if kind == ")" else self.size(), depth)
        found = {"l": self.long, "f": self.old_float, "y": self.complex, "R": self.interned_again, "r": self.seen_before}.get(
            kind
        )
        if found is not None:
            return found()
        if kind == "{":
            return self.mapping(depth)
        if kind == ":":
            return slice(self.object(depth + 1), self.object(depth + 1), self.object(depth + 1))
        if kind == "c":
            return self.code(depth)
        raise MarshalError(f"an object of kind {kind!r}")

    def sequence(self, kind: str, n: int, depth: int) -> Any:
        items = [self.object(depth + 1) for _ in range(n)]
        if kind in "()":
            return tuple(items)
        if kind == "[":
            return items
        raise MarshalError("a set")

    def mapping(self, depth: int) -> dict[Any, Any]:
        pairs: list[tuple[Any, Any]] = []
        while True:
            if self.at < len(self.data) and self.data[self.at] & 0x7F == ord("0"):
                self.at += 1
                break
            pairs.append((self.object(depth + 1), self.object(depth + 1)))
        if not all(isinstance(k, (str, int, float, bool)) for k, _ in pairs):
            raise MarshalError("a dict whose keys are not names or numbers")
        return dict(pairs)

    def long(self) -> int:
        n: int = self.number()
        if abs(n) > MAX_DIGITS:
            raise MarshalError("an integer is too large")
        value = 0
        for k in range(abs(n)):
            value |= (self.number("<h") & 0x7FFF) << (15 * k)
        return -value if n < 0 else value

    def old_float(self) -> float:
        return float(self.take(self.byte()).decode("ascii"))

    def complex(self) -> Any:
        raise MarshalError("a complex number")

    def interned_again(self) -> str:
        n: int = self.number()
        if not 0 <= n < len(self.interned):
            raise MarshalError("a reference to a name that is not there")
        return self.interned[n]

    def seen_before(self) -> Any:
        n: int = self.number()
        if not 0 <= n < len(self.refs) or self.refs[n] is _UNFINISHED:
            raise MarshalError("a reference to an object that is not there yet")
        return self.refs[n]

    def code(self, depth: int) -> Code:
        new, d = self.layout == "3.11", depth + 1
        counts = {"argcount": self.number(), "posonly": 0, "kwonly": 0}
        if self.layout in ("3.8", "3.11"):
            counts["posonly"] = self.number()
        if self.layout != "2":
            counts["kwonly"] = self.number()
        if not new:
            self.take(4)  # how many locals
        counts["stacksize"], flags = self.number(), self.number()
        if not all(0 <= n <= 4096 for n in counts.values()):
            raise MarshalError("its counts are not those of a function")
        code, consts = self.object(d), self.object(d)
        if not isinstance(code, bytes) or not isinstance(consts, tuple):
            raise MarshalError("its code is not bytes")
        names = _texts(self.object(d))
        slots: tuple[str, ...] = ()
        if new:
            slots, kinds = _texts(self.object(d)), self.object(d)
            if not isinstance(kinds, bytes) or len(slots) != len(kinds):
                raise MarshalError("its local names do not match their kinds")
            local, cells, free = (tuple(n for n, k in zip(slots, kinds, strict=True) if k & bit) for bit in (0x20, 0x40, 0x80))
        else:
            local, free, cells = (_texts(self.object(d)) for _ in range(3))
        filename, name = _text(self.object(d)), _text(self.object(d))
        if new:
            _text(self.object(d))  # qualified name
        self.take(4)  # first line
        self.object(d)  # line table
        if new:
            self.object(d)  # exception table
        return Code(
            self.layout, counts["argcount"], counts["posonly"], counts["kwonly"], flags, code, consts, names, local, free, cells,
            slots, filename, name,
        )  # fmt: skip


_UNFINISHED = object()
_CONSTANTS: dict[str, Any] = {"N": None, "T": True, "F": False, ".": Ellipsis}
_NUMBERS = {"i": "<i", "I": "<q", "g": "<d"}
_STRINGS = {
    "s": (False, ""), "t": (False, "utf-8"), "u": (False, "utf-8"), "a": (False, "latin-1"), "A": (False, "latin-1"),
    "z": (True, "latin-1"), "Z": (True, "latin-1"),
}  # fmt: skip


def _text(x: Any) -> str:
    if isinstance(x, bytes):
        return x.decode("latin-1")
    if not isinstance(x, str):
        raise MarshalError("a name is not text")
    return x


def _texts(x: Any) -> tuple[str, ...]:
    if not isinstance(x, tuple):
        raise MarshalError("its names are not a tuple")
    return tuple(_text(n) for n in x)


def read_code(data: bytes) -> list[Code]:
    """The code in every layout that fits the bytes to their end. Raises MarshalError if none does."""
    if len(data) > MAX_BYTES:
        raise MarshalError(f"the code has {len(data)} bytes, more than {MAX_BYTES}")
    found: list[Code] = []
    whys: list[str] = []
    for layout in LAYOUTS:
        reader = _Reader(data, layout)
        try:
            code = reader.object()
        except (MarshalError, ValueError, OverflowError) as e:  # ValueError: text that is not in its encoding, bad old floats
            whys.append(str(e))
            continue
        if isinstance(code, Code) and reader.at == len(data):
            found.append(code)
        else:
            whys.append("there are bytes after it" if isinstance(code, Code) else "it is no code object")
    if not found:
        raise MarshalError(f"the bytes are no function of Python 2.7 or 3.5 to 3.14 ({whys[0]})")
    return found
