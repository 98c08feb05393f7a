"""What the terms of a size are products of: names, and functions of sizes that have no other form."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from .dims import DimLike

__all__ = ["Atom", "Call", "Monomial", "is_quotient", "key_of"]

Atom = Union[str, "Call"]
Monomial = tuple[tuple[Atom, int], ...]


class Call:
    """An opaque function of sizes (floor division, remainder, max, min) that does not simplify further."""

    __slots__ = ("_hash", "args", "fn")

    def __init__(self, fn: str, args: tuple[DimLike, ...]) -> None:
        self.fn, self.args = fn, args
        self._hash = hash((fn, args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.fn == other.fn and self.args == other.args

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        a = [str(x) if isinstance(x, int) or x.is_name else f"({x})" for x in self.args]
        if self.fn in ("//", "%"):
            return f"{a[0]}{self.fn}{a[1]}"
        return f"{self.fn}({', '.join(str(x) for x in self.args)})"


_PLAIN = re.compile(r"(?!_\d+_$)[A-Za-z_][A-Za-z0-9_]*")


def key_of(atom: Atom) -> str:
    """The text of an atom; a name that would not parse as one is put in braces."""
    if not isinstance(atom, str):
        return str(atom)
    if _PLAIN.fullmatch(atom) and not keyword.iskeyword(atom):
        return atom
    return "{" + atom.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") + "}"


def is_quotient(mono: Monomial) -> bool:
    """Whether it is a bare floor division by an integer."""
    if len(mono) != 1 or mono[0][1] != 1:
        return False
    atom = mono[0][0]
    return isinstance(atom, Call) and atom.fn == "//" and isinstance(atom.args[1], int)
