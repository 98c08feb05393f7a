"""Instructions of CPython's bytecode, 2.7 and 3.5 to 3.14, from the bytes of a function.

The numbers of the opcodes are in ``opcodes.json`` (``opcode.opmap`` of each interpreter; 3.14 from its published tables), with
the first opcode that has an argument and, from 3.11 on, how many inline cache entries follow an instruction. The compiler writes
those as zeros, which is how a reading under the wrong version is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .domain import Misread
from .marshal import Layout

__all__ = ["Instruction", "Version", "instructions", "versions"]

_VERSIONS: dict[Layout, tuple[tuple[int, int], ...]] = {
    "2": ((2, 7),),
    "3.0": ((3, 5), (3, 6), (3, 7)),
    "3.8": ((3, 8), (3, 9), (3, 10)),
    "3.11": ((3, 11), (3, 12), (3, 13), (3, 14)),
}
_LONG_BINARY = "ADD AND FLOOR_DIVIDE LSHIFT MATRIX_MULTIPLY MULTIPLY REMAINDER OR POWER RSHIFT SUBTRACT TRUE_DIVIDE XOR"
_OPERATORS = dict(zip(_LONG_BINARY.split(), ["+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^"], strict=True))
_OPERATORS |= {"MODULO": "%", "DIVIDE": "/"}
_NUMBERED = [*(_OPERATORS[n] for n in _LONG_BINARY.split())] * 2 + ["[]"]
_COMPARISONS = ("<", "<=", "==", "!=", ">", ">=", "in", "not in", "is", "is not")


@dataclass(frozen=True)
class Instruction:
    """``arg`` is 0 where there is none; ``next`` is the offset of the one after it, inline caches passed."""

    offset: int
    name: str
    arg: int
    next: int


@dataclass(frozen=True)
class Version:
    """A version of CPython, and what its instructions are called."""

    number: tuple[int, int]
    names: Mapping[int, str]
    caches: Mapping[str, int]
    have_argument: int

    def __str__(self) -> str:
        return ".".join(map(str, self.number))

    def operator(self, name: str, arg: int) -> str | None:
        """The Python operator of a ``BINARY_*`` or ``INPLACE_*`` instruction; ``"[]"`` for items; None for another one."""
        if name == "BINARY_OP":
            if arg >= len(_NUMBERED) - (self.number < (3, 14)):
                raise Misread("has an unknown operator")
            return _NUMBERED[arg]
        kind, _, rest = name.partition("_")
        return _OPERATORS.get(rest) if kind in ("BINARY", "INPLACE") else None

    def inplace(self, name: str, arg: int) -> bool:
        """Whether it is the instruction of ``+=`` and its like."""
        return name.startswith("INPLACE_") or (
            name == "BINARY_OP" and len(_LONG_BINARY.split()) <= arg < 2 * len(_LONG_BINARY.split())
        )

    def comparison(self, arg: int) -> str:
        """The operator of ``COMPARE_OP``."""
        shift = 5 if self.number >= (3, 13) else 4 if self.number >= (3, 12) else 0
        known = _COMPARISONS if self.number < (3, 9) else _COMPARISONS[:6]
        if arg >> shift >= len(known):
            raise Misread("has an unknown comparison")
        return known[arg >> shift]


@cache
def _tables() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files(__package__).joinpath("opcodes.json").read_text("utf-8"))
    return table


@cache
def _version(number: tuple[int, int]) -> Version:
    t = _tables()[".".join(map(str, number))]
    return Version(number, {c: n for n, c in t["opcodes"].items()}, t["caches"], t["have_argument"])


def versions(layout: Layout) -> list[Version]:
    """The versions whose code is laid out that way."""
    return [_version(n) for n in _VERSIONS[layout]]


def instructions(code: bytes, version: Version) -> list[Instruction]:
    """All instructions of a function. Raises Misread for bytes that are none of that version."""
    return _words(code, version) if version.number >= (3, 6) else _old(code, version)


def _words(code: bytes, version: Version) -> list[Instruction]:
    """Instructions of two bytes (3.6 and newer)."""
    if len(code) % 2:
        raise Misread("has half an instruction")
    found: list[Instruction] = []
    at = extended = 0
    while at < len(code):
        name, arg, start = _name(code[at], version), code[at + 1] | extended, at
        at += 2
        if name == "CACHE":
            raise Misread("has a cache entry out of place")
        extended = arg << 8 if name == "EXTENDED_ARG" else 0
        entries = code[at : at + 2 * version.caches.get(name, 0)]
        if any(entries) or len(entries) != 2 * version.caches.get(name, 0):
            raise Misread("has a cache that is not empty")
        at += len(entries)
        if extended > 1 << 24:
            raise Misread("has an argument that is too large")
        used = code[start] >= version.have_argument
        if not used and name != "EXTENDED_ARG" and arg and version.number >= (3, 14):
            raise Misread("has an argument where there is none")
        found.append(Instruction(start, "NOP" if name == "EXTENDED_ARG" else name, arg if used else 0, at))
    return found


def _old(code: bytes, version: Version) -> list[Instruction]:
    """Instructions of one or three bytes (2.7 and 3.5)."""
    found: list[Instruction] = []
    at = extended = 0
    while at < len(code):
        start, number, arg = at, code[at], 0
        name = _name(number, version)
        at += 1
        if number >= version.have_argument:
            if at + 2 > len(code):
                raise Misread("has half an instruction")
            arg = code[at] | code[at + 1] << 8 | extended
            at += 2
        extended = arg << 16 if name == "EXTENDED_ARG" else 0
        found.append(Instruction(start, "NOP" if name == "EXTENDED_ARG" else name, arg, at))
    return found


def _name(number: int, version: Version) -> str:
    name = version.names.get(number)
    if name is None:
        raise Misread(f"has the unknown instruction {number}")
    return name
