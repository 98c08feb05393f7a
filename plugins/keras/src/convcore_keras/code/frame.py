"""A function read from bytes, and one run of it: its names, its stack, its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from .bytecode import Instruction, Version, instructions
from .domain import CodeRefused, Domain, Invocable, Misread
from .function import Parameters
from .marshal import Code

__all__ = ["HANDLERS", "NULL", "Cell", "CodeFunction", "Frame", "Handler", "LoopItems", "handles"]

T = TypeVar("T")

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
NULL: Any = type("Null", (), {"__repr__": lambda _: "NULL"})()


@dataclass(eq=False)
class Cell:
    value: Any = NULL


@dataclass(eq=False)
class LoopItems:
    items: list[Any]
    at: int = 0


@dataclass(eq=False)
class CodeFunction(Invocable):
    """A function read from bytes. ``closure`` has a value (or a cell of the code around it) for each free variable."""

    code: Code
    version: Version
    defaults: Sequence[Any] = ()
    keyword_defaults: Mapping[str, Any] = field(default_factory=dict)
    closure: Sequence[Any] = ()

    def parameters(self) -> Parameters:
        """Its parameters with their defaults."""
        c = self.code
        n = c.argcount + c.kwonly
        stars = c.varnames[n:]
        rest = stars[0] if c.flags & 4 and stars else ""
        others = stars[bool(c.flags & 4)] if c.flags & 8 and len(stars) > bool(c.flags & 4) else ""
        if len(c.varnames) < n or len(self.defaults) > c.argcount:
            raise Misread("has fewer names than arguments")
        names = c.varnames[: c.argcount]
        late = dict(zip(names[len(names) - len(self.defaults) :], self.defaults, strict=True))
        return Parameters(names, c.posonly, c.varnames[c.argcount : n], rest, others, {**late, **self.keyword_defaults})

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Work through the code. Raises CodeRefused."""
        if self.code.flags & _GENERATORS:
            raise CodeRefused("is a generator or coroutine")
        if len(self.closure) != len(self.code.freevars):
            raise Misread(f"has {len(self.code.freevars)} free variables and {len(self.closure)} values for them")
        domain.enter()
        try:
            return Frame(self, domain, self.parameters().bind(args, kwargs)).run()
        except (IndexError, KeyError) as e:  # the stack or a table of names is shorter than the code says
            raise Misread("has instructions that do not fit together") from e
        finally:
            domain.leave()


class Frame:
    def __init__(self, function: CodeFunction, domain: Domain, local: dict[str, Any]) -> None:
        self.code, self.version, self.domain = function.code, function.version, domain
        self.new = self.code.layout == "3.11"
        self.local = local
        self.cells = {n: Cell(local.get(n, NULL)) for n in self.code.cellvars}
        for name, value in zip(self.code.freevars, function.closure, strict=True):
            self.cells[name] = value if isinstance(value, Cell) else Cell(value)
        self.stack: list[Any] = []
        self.keywords: tuple[str, ...] = ()
        self.listing = instructions(self.code.code, self.version)
        self.places = {ins.offset: i for i, ins in enumerate(self.listing)}
        self.at = 0
        self.result: Any = NULL

    def run(self) -> Any:
        while self.result is NULL:
            if self.at >= len(self.listing):
                raise Misread("has no end")
            self.domain.spend()
            ins = self.listing[self.at]
            self.at += 1
            handler = HANDLERS.get(ins.name)
            if handler is None:
                operator = self.version.operator(ins.name, ins.arg)
                if operator is None:
                    known = CONSTRUCTS.get(ins.name)
                    raise CodeRefused(known) if known else Misread(f"uses the instruction {ins.name}")
                self.binary(
                    operator if ins.name != "BINARY_DIVIDE" else self.old_division(), self.version.inplace(ins.name, ins.arg)
                )
            else:
                handler(self, ins.arg, ins)
        return self.result

    # ---- the stack
    def push(self, *values: Any) -> None:
        self.stack.extend(values)

    def pop(self) -> Any:
        return self.stack.pop()

    def popped(self, n: int) -> list[Any]:
        if n > len(self.stack):
            raise IndexError(n)
        found = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return found

    def under(self, depth: int, kind: type[T]) -> T:
        """The list or dict that is being made, so far down the stack."""
        found = self.stack[-depth]
        if not isinstance(found, kind):
            raise Misread("has instructions that do not fit together")
        self.domain.bounded(found)
        return found

    def binary(self, operator: str, inplace: bool) -> None:
        x, y = self.popped(2)
        work = self.domain.inplace if inplace else self.domain.binary
        self.push(self.domain.item(x, y) if operator == "[]" else work(operator, x, y))

    def old_division(self) -> str:
        """``/`` of Python 2: of whole numbers, the floor."""
        return "//" if all(isinstance(v, int) for v in self.stack[-2:]) else "/"

    # ---- names
    def slot(self, arg: int) -> str:
        return self.code.slots[arg] if self.new else self.code.varnames[arg]

    def cell(self, arg: int) -> str:
        return self.code.slots[arg] if self.new else (*self.code.cellvars, *self.code.freevars)[arg]

    def load(self, name: str) -> Any:
        if self.version.number >= (3, 13) and name in self.cells:  # only closures are made of it; values are LOAD_DEREF's
            return self.cells[name]
        if name in self.local:
            return self.local[name]
        found = self.cells[name].value if name in self.cells else NULL
        if found is NULL:
            raise Misread(f"reads {name!r} before it has a value")
        return found

    def store(self, name: str, value: Any) -> None:
        if value is NULL:
            self.local.pop(name, None)
        else:
            self.local[name] = value

    # ---- jumps
    def jump(self, offset: int) -> None:
        if offset not in self.places:
            raise Misread("jumps to no instruction")
        self.at = self.places[offset]

    def absolute(self, arg: int) -> None:
        self.jump(arg * 2 if self.version.number >= (3, 10) else arg)

    def forward(self, arg: int, ins: Instruction) -> None:
        self.jump(ins.next + (arg * 2 if self.version.number >= (3, 10) else arg))

    def backward(self, arg: int, ins: Instruction) -> None:
        self.jump(ins.next - 2 * arg)

    def conditional(self, arg: int, ins: Instruction) -> None:
        if "BACKWARD" in ins.name:
            self.backward(arg, ins)
        elif self.version.number >= (3, 11):
            self.forward(arg, ins)
        else:
            self.absolute(arg)

    # ---- calls
    def call(self, f: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.push(self.domain.call(f, args, kwargs))

    def callee(self) -> tuple[Any, list[Any]]:
        """What is called, and the object it is a method of, by the order of the version (3.11 and newer)."""
        first, second = self.popped(2)
        if self.version.number >= (3, 13):  # callable, self or NULL
            return first, [] if second is NULL else [second]
        if first is NULL:
            return second, []
        return first, [] if second is NULL else [second]


Handler: TypeAlias = Callable[[Frame, int, Instruction], None]
HANDLERS: dict[str, Handler] = {}
"""What each instruction does; filled by ``machine.py`` and ``machine_calls.py``."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Say what instructions do."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


CONSTRUCTS = {
    "RAISE_VARARGS": "raises an exception", "SETUP_EXCEPT": "handles exceptions", "SETUP_FINALLY": "handles exceptions",
    "SETUP_WITH": "uses a with block", "BEFORE_WITH": "uses a with block", "LOAD_SPECIAL": "uses a with block",
    "YIELD_VALUE": "is a generator", "STORE_GLOBAL": "sets a global variable", "STORE_ATTR": "sets an attribute",
    "STORE_SUBSCR": "sets an item", "DELETE_SUBSCR": "deletes an item", "LOAD_BUILD_CLASS": "defines a class",
    "PRINT_ITEM": "prints", "EXEC_STMT": "executes text", "IMPORT_STAR": "imports all names of a module",
    "BUILD_SET": "makes a set", "LOAD_ASSERTION_ERROR": "asserts", "STORE_SLICE": "sets an item",
    "UNPACK_EX": "unpacks with a star",
}  # fmt: skip
