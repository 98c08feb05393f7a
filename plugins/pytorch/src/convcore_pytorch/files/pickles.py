"""A bounded interpreter of pickles, protocols 0 to 5, that never imports and never calls what a file names.

GLOBAL pushes a name. REDUCE, INST, OBJ and NEWOBJ build plain data by the closed table :data:`.table.CALLS`; an object of
another class is kept as an :class:`.objects.Instance` when making it takes no call (NEWOBJ, copyreg._reconstructor), and is
refused with the class's or function's name when it takes one. BUILD never calls ``__setstate__``: the state is kept.
Opcodes: CPython's Lib/pickletools.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import limits
from .machine import Machine, Source

__all__ = ["Pickle", "Source"]


class Pickle(Machine):
    """One pickle of ``data`` from ``pos``. :meth:`load` returns its object and the position after it."""

    def load(self) -> tuple[Any, int]:
        handlers = _HANDLERS
        for _ in range(limits.OPCODES):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return self.pop(), self.pos
            handler = handlers.get(code)
            if handler is None:
                raise self.bad(f"pickle opcode 0x{code:02x} is unknown or not read")
            handler(self)
        raise self.bad(f"the pickle has more than {limits.OPCODES} opcodes")


def _pairs(p: Machine) -> None:
    values = p.since_mark()
    p.update(p.top(), values)


def _many(p: Machine) -> None:
    values = p.since_mark()
    p.extend(p.top(), values)


def _setitem(p: Machine) -> None:
    value, key = p.pop(), p.pop()
    p.update(p.top(), [key, value])


def _append(p: Machine) -> None:
    value = p.pop()
    p.extend(p.top(), [value])


def _reduce(p: Machine) -> None:
    args, function = p.pop(), p.pop()
    p.call(function, args)


def _newobj(p: Machine) -> None:
    args, cls = p.pop(), p.pop()
    p.new(cls, args)


def _stack_global(p: Machine) -> None:
    name, module = p.pop(), p.pop()
    p.global_(module, name)


def _pop_mark(p: Machine) -> None:
    p.since_mark()


def _pop(p: Machine) -> None:
    if p.marks and p.marks[-1] == len(p.stack):
        p.marks.pop()
    else:
        p.pop()


_HANDLERS: dict[int, Callable[[Machine], None]] = {
    ord(code): handler
    for code, handler in {
        "\x80": Machine.protocol,
        "\x95": Machine.frame,
        "(": Machine.mark,
        "0": _pop,
        "1": _pop_mark,
        "2": lambda p: p.push(p.top()),
        # values
        "N": lambda p: p.push(None),
        "\x88": lambda p: p.push(True),
        "\x89": lambda p: p.push(False),
        "I": lambda p: p.made(p.int_line()),
        "L": lambda p: p.made(p.integer(p.line().removesuffix("L"))),
        "J": lambda p: p.push(p.number("<i")),
        "K": lambda p: p.push(p.number("B")),
        "M": lambda p: p.push(p.number("<H")),
        "\x8a": lambda p: p.made(p.long(p.number("B"))),
        "\x8b": lambda p: p.made(p.long(p.number("<i"))),
        "F": lambda p: p.made(p.real(p.line())),
        "G": lambda p: p.push(p.number(">d")),
        "S": lambda p: p.made(p.quoted()),
        "T": lambda p: p.push(p.counted("<i").decode("latin1")),
        "U": lambda p: p.push(p.counted("B").decode("latin1")),
        "V": lambda p: p.made(p.unicode_line()),
        "X": lambda p: p.push(p.decoded(p.counted("<I"))),
        "\x8c": lambda p: p.push(p.decoded(p.counted("B"))),
        "\x8d": lambda p: p.push(p.decoded(p.counted("<Q"))),
        "B": lambda p: p.push(p.counted("<I")),
        "C": lambda p: p.push(p.counted("B")),
        "\x8e": lambda p: p.push(p.counted("<Q")),
        "\x96": lambda p: p.push(p.counted("<Q")),  # a bytearray, here bytes
        # containers
        "]": lambda p: p.made([]),
        "}": lambda p: p.made({}),
        ")": lambda p: p.push(()),
        "\x8f": lambda p: p.made([]),  # a set, here a list in the file's order
        "l": lambda p: p.made(p.since_mark()),
        "t": lambda p: p.made(tuple(p.since_mark())),
        "\x91": lambda p: p.made(p.since_mark()),
        "d": Machine.dict_,
        "\x85": lambda p: p.tuple_of(1),
        "\x86": lambda p: p.tuple_of(2),
        "\x87": lambda p: p.tuple_of(3),
        "a": _append,
        "e": _many,
        "\x90": _many,
        "s": _setitem,
        "u": _pairs,
        # the memo
        "p": lambda p: p.remember(p.integer(p.line())),
        "q": lambda p: p.remember(p.number("B")),
        "r": lambda p: p.remember(p.number("<I")),
        "\x94": lambda p: p.remember(len(p.memo)),
        "g": lambda p: p.recall(p.integer(p.line())),
        "h": lambda p: p.recall(p.number("B")),
        "j": lambda p: p.recall(p.number("<I")),
        # names and objects
        "c": lambda p: p.global_(p.line(), p.line()),
        "\x93": _stack_global,
        "R": _reduce,
        "\x81": _newobj,
        "\x92": Machine.newobj_ex,
        "o": Machine.obj,
        "i": Machine.inst,
        "b": Machine.build,
        "Q": lambda p: p.made(p.persistent(p.pop())),
    }.items()
}
