"""Two-way value conversions with a name: the vocabulary of mapping rows.

Each has ``load`` (foreign to IR) and ``emit`` (IR to foreign). Rows refer to them by name, with JSON-able arguments, so rows
serialise and truly reverse. A plugin adds its own with :func:`isomorphism`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DeclarationError
from ..records import dataclass

__all__ = ["Iso", "NotExpressible", "find_iso", "isomorphism", "known_isos"]


class NotExpressible(Exception):
    """A value has no counterpart under this conversion; the message is the reason why the row does not match.

    ``code`` and ``hint`` are the Problem's when no other rule matches either.
    """

    def __init__(self, why: str, code: str = "unsupported_attribute", hint: str = "") -> None:
        super().__init__(why)
        self.code, self.hint = code, hint


@dataclass(frozen=True)
class Iso:
    """A named conversion; ``args`` are passed to both functions after the value."""

    name: str
    load_fn: Callable[..., Any]
    emit_fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    doc: str = ""

    def load(self, value: Any) -> Any:
        return self.load_fn(value, *self.args)

    def emit(self, value: Any) -> Any:
        return self.emit_fn(value, *self.args)

    def to_json(self) -> Any:
        return [self.name, *self.args] if self.args else self.name


_ISOS: dict[str, Iso] = {}


def isomorphism(name: str, load: Callable[..., Any], emit: Callable[..., Any], doc: str) -> Iso:
    """Add a conversion to the vocabulary; DeclarationError if the name is taken."""
    if name in _ISOS:
        raise DeclarationError(f"isomorphism {name!r} is declared twice")
    _ISOS[name] = Iso(name, load, emit, (), doc)
    return _ISOS[name]


def find_iso(spec: str | tuple[Any, ...]) -> Iso:
    """``"one_minus"`` or ``("enum", {...})``: the conversion with its arguments."""
    name, args = (spec, ()) if isinstance(spec, str) else (spec[0], tuple(spec[1:]))
    if name not in _ISOS:
        raise DeclarationError(f"unknown isomorphism {name!r}; known: {', '.join(sorted(_ISOS))}")
    base = _ISOS[name]
    return Iso(base.name, base.load_fn, base.emit_fn, args, base.doc)


def known_isos() -> dict[str, str]:
    """Name and documentation of every conversion."""
    return {k: v.doc for k, v in sorted(_ISOS.items())}


def _enum_load(v: Any, table: dict[Any, Any]) -> Any:
    if v not in table:
        raise NotExpressible(f"{v!r} is not one of {', '.join(map(repr, table))}")
    return table[v]


def _enum_emit(v: Any, table: dict[Any, Any]) -> Any:
    for k, ours in table.items():
        if ours == v and type(ours) is type(v):
            return k
    raise NotExpressible(f"{v!r} has no counterpart among {', '.join(map(repr, table.values()))}")


def _begin_end_load(v: Any) -> Any:
    if len(v) % 2:
        raise NotExpressible(f"{list(v)} does not hold a begin and an end per axis")
    n = len(v) // 2
    return tuple((int(v[i]), int(v[n + i])) for i in range(n))


def _begin_end_emit(v: Any) -> Any:
    if isinstance(v, str):
        raise NotExpressible(f"padding {v!r} depends on the input's size")
    return [b for b, _ in v] + [e for _, e in v]


def _window_pads_emit(v: Any) -> Any:
    if not isinstance(v, str) and any(isinstance(n, int) and n < 0 for pair in v for n in pair):
        raise NotExpressible(f"padding {v} takes elements away")
    return _begin_end_emit(v)


def _symmetric_load(v: Any) -> Any:
    return tuple((int(n), int(n)) for n in v)


def _symmetric_emit(v: Any) -> Any:
    if isinstance(v, str) or any(b != e for b, e in v):
        raise NotExpressible(f"padding {v} is not symmetric")
    return [b for b, _ in v]


def _only(value: Any, allowed: Any) -> Any:
    if value != allowed:
        raise NotExpressible(f"{value!r} is not {allowed!r}")
    return value


def _scalar(v: Any) -> Any:
    if isinstance(v, (list, tuple)):
        if len(v) != 1:
            raise NotExpressible(f"{v} is not one number")
        return v[0]
    return v.item() if hasattr(v, "item") else v


def _odd(v: int) -> int:
    if v % 2 == 0:
        raise NotExpressible(f"{v} is not an odd number")
    return v


isomorphism("same", lambda v: v, lambda v: v, "the value itself")
isomorphism("one_minus", lambda v: round(1 - v, 12), lambda v: round(1 - v, 12), "1 - value (momentum conventions)")
isomorphism("negate", lambda v: -v, lambda v: -v, "-value")
isomorphism("not", lambda v: not v, lambda v: not v, "logical negation")
isomorphism("bool_int", bool, int, "0/1 as a bool")
isomorphism("tuple", tuple, list, "a list as a tuple")
isomorphism("int_tuple", lambda v: tuple(int(i) for i in v), lambda v: [int(i) for i in v], "a list of integers as a tuple")
isomorphism("enum", _enum_load, _enum_emit, "a foreign constant as one of ours, by a table {foreign: ours}")
isomorphism("begin_end", _begin_end_load, _begin_end_emit, "[b1, b2, e1, e2] as ((b1, e1), (b2, e2))")
isomorphism("window_pads", _begin_end_load, _window_pads_emit, "begin_end, written where none is below 0")
isomorphism("pairs", lambda v: tuple((a, b) for a, b in v), lambda v: [list(p) for p in v], "[[b, e], ...] as ((b, e), ...)")
isomorphism("symmetric_pads", _symmetric_load, _symmetric_emit, "[p1, p2] as ((p1, p1), (p2, p2))")
isomorphism("one_item", lambda v: (v,), _scalar, "a scalar as a one-tuple")
isomorphism("odd", _odd, _odd, "an odd number")
isomorphism("scalar", _scalar, lambda v: v, "a 0-d or 1-element array as a number")
isomorphism("item", _scalar, lambda v: [v], "a 1-element list as its element")
