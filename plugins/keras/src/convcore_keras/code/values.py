"""What symbolic code works with besides numbers, text and sequences, and the errors it ends with."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .domain import Domain

__all__ = [
    "BINARY",
    "COMPARE",
    "MAX_ITEMS",
    "AsksNone",
    "CodeRefused",
    "Invocable",
    "Method",
    "Misread",
    "Name",
    "Stored",
    "what_is",
]

MAX_ITEMS = 4096

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
    ">>": operator.rshift, "@": operator.matmul,
}  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class CodeRefused(ValueError):
    """What the code does has no meaning as a graph, or none that convcore knows; the text says which construct, ``place`` the
    file and line (and function) where it is, "" where the code has none. ``raised`` is the exception that Python would raise
    there, where it certainly would: code may handle it."""

    def __init__(self, why: str, place: str = "", raised: str = "") -> None:
        super().__init__(why)
        self.why, self.place, self.raised = why, place, raised

    def __str__(self) -> str:
        return f"{self.why} ({self.place})" if self.place else self.why

    def at(self, place: str) -> CodeRefused:
        """Itself, with the place if it has none yet: the innermost is told first."""
        self.place = self.place or place
        return self


class AsksNone(CodeRefused):
    """The code asks whether a size that is not known is None: so it is where Keras builds a model, and not always where the model
    runs. ``Domain.unknown_is_none`` answers."""


class Misread(CodeRefused):
    """The bytes make no sense under this version of Python; under another they may."""


@dataclass(frozen=True)
class Name:
    """A dotted name that the code uses and that stays a name: ``tensorflow.nn.relu``, ``builtins.len``."""

    path: str

    def __str__(self) -> str:
        return self.path.removeprefix("builtins.").removeprefix("global.")


@dataclass(frozen=True)
class Method:
    """A method of a tensor, list, dict or text, not called yet."""

    owner: Any
    name: str


class Stored(tuple[Any, ...]):
    """A captured value or default that was a list, a tuple or an array: files write all three as a list, and Python's own
    operators mean other things by them (``a * 2`` repeats a list and doubles an array)."""

    __slots__ = ()
    what = "a captured sequence, a list or an array: the file does not tell which"

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return type(self)(found) if isinstance(key, slice) else found

    def ambiguous(self, op: str, other: Any) -> bool:
        """Whether ``op`` with ``other`` gives one thing for a list and another for an array.

        A sum is certainly a list where the sizes would not fit an array, or where whole numbers (sizes) stand beside a literal.
        """
        if op == "+" and isinstance(other, (list, tuple)):
            whole = all(isinstance(v, int) and not isinstance(v, bool) for v in self)
            fits = len(self) == len(other) or 1 in (len(self), len(other))
            return fits and (isinstance(other, Stored) or not whole)
        return op == "*" or (op in COMPARE and isinstance(other, (int, float)))


class Invocable:
    """What symbolic code can call besides names and methods: a function of the code itself, a layer, a class."""

    @abstractmethod
    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of the call."""

    def attribute(self, domain: Domain, name: str) -> Any:
        """An attribute of it."""
        raise CodeRefused(f"reads the attribute {name!r} of a function")


def what_is(x: Any) -> str:
    """A value in words, for messages."""
    if x is None or isinstance(x, (bool, int, float)):
        return repr(x)
    if isinstance(x, str):
        return f"the text {x[:40]!r}"
    if isinstance(x, Name):
        return f"the name {str(x)!r}"
    if isinstance(x, Method):
        return f"the method {x.name!r}"
    return {list: "a list", tuple: "a tuple", dict: "a dict", slice: "a slice", range: "a range"}.get(type(x), "an object")
