"""A stack machine that works through CPython's bytecode on symbolic values.

One handler for each instruction, for all versions that have it; what an operation does is said by ``domain.py``. Loops run over
known sequences and branches over known values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from .bytecode import Instruction, Version, instructions
from .domain import CodeRefused, Domain, Invocable, Misread, Name
from .function import Parameters
from .marshal import Code

__all__ = ["CodeFunction"]

T = TypeVar("T")

_GENERATORS = 0x20 | 0x80 | 0x100 | 0x200
_NULL: Any = type("Null", (), {"__repr__": lambda _: "NULL"})()


@dataclass(eq=False)
class _Cell:
    value: Any = _NULL


@dataclass(eq=False)
class _Iterator:
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
            return _Frame(self, domain, self.parameters().bind(args, kwargs)).run()
        except (IndexError, KeyError) as e:  # the stack or a table of names is shorter than the code says
            raise Misread("has instructions that do not fit together") from e
        finally:
            domain.leave()


class _Frame:
    def __init__(self, function: CodeFunction, domain: Domain, local: dict[str, Any]) -> None:
        self.code, self.version, self.domain = function.code, function.version, domain
        self.new = self.code.layout == "3.11"
        self.local = local
        self.cells = {n: _Cell(local.get(n, _NULL)) for n in self.code.cellvars}
        for name, value in zip(self.code.freevars, function.closure, strict=True):
            self.cells[name] = value if isinstance(value, _Cell) else _Cell(value)
        self.stack: list[Any] = []
        self.keywords: tuple[str, ...] = ()
        self.listing = instructions(self.code.code, self.version)
        self.places = {ins.offset: i for i, ins in enumerate(self.listing)}
        self.at = 0
        self.result: Any = _NULL

    def run(self) -> Any:
        while self.result is _NULL:
            if self.at >= len(self.listing):
                raise Misread("has no end")
            self.domain.spend()
            ins = self.listing[self.at]
            self.at += 1
            handler = _HANDLERS.get(ins.name)
            if handler is None:
                operator = self.version.operator(ins.name, ins.arg)
                if operator is None:
                    known = _CONSTRUCTS.get(ins.name)
                    raise CodeRefused(known) if known else Misread(f"uses the instruction {ins.name}")
                self.binary(operator if ins.name != "BINARY_DIVIDE" else self.old_division())
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

    def binary(self, operator: str) -> None:
        x, y = self.popped(2)
        self.push(self.domain.item(x, y) if operator == "[]" else self.domain.binary(operator, x, y))

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
        found = self.cells[name].value if name in self.cells else _NULL
        if found is _NULL:
            raise Misread(f"reads {name!r} before it has a value")
        return found

    def store(self, name: str, value: Any) -> None:
        if value is _NULL:
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
            return first, [] if second is _NULL else [second]
        if first is _NULL:
            return second, []
        return first, [] if second is _NULL else [second]


_Handler: TypeAlias = Callable[[_Frame, int, Instruction], None]
_HANDLERS: dict[str, _Handler] = {}
_CONSTRUCTS = {
    "RAISE_VARARGS": "raises an exception", "SETUP_EXCEPT": "handles exceptions", "SETUP_FINALLY": "handles exceptions",
    "SETUP_WITH": "uses a with block", "BEFORE_WITH": "uses a with block", "LOAD_SPECIAL": "uses a with block",
    "YIELD_VALUE": "is a generator", "STORE_GLOBAL": "sets a global variable", "STORE_ATTR": "sets an attribute",
    "STORE_SUBSCR": "sets an item", "DELETE_SUBSCR": "deletes an item", "LOAD_BUILD_CLASS": "defines a class",
    "PRINT_ITEM": "prints", "EXEC_STMT": "executes text", "IMPORT_STAR": "imports all names of a module",
    "BUILD_SET": "makes a set", "LOAD_ASSERTION_ERROR": "asserts", "STORE_SLICE": "sets an item",
    "UNPACK_EX": "unpacks with a star",
}  # fmt: skip


def _op(*names: str) -> Callable[[_Handler], _Handler]:
    def register(handler: _Handler) -> _Handler:
        _HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@_op("NOP", "RESUME", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "SETUP_LOOP", "POP_BLOCK", "NOT_TAKEN")
def _nothing(f: _Frame, arg: int, ins: Instruction) -> None:
    pass


# ---- constants and names
@_op("LOAD_CONST")
def _load_const(f: _Frame, arg: int, ins: Instruction) -> None:
    value = f.code.consts[arg]
    f.push(value.decode("latin-1") if isinstance(value, bytes) and f.code.layout == "2" else value)


@_op("LOAD_SMALL_INT")
def _load_small_int(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(arg)


@_op("LOAD_COMMON_CONSTANT")
def _load_common_constant(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(Name(f"builtins.{('AssertionError', 'NotImplementedError', 'tuple', 'all', 'any')[arg]}"))


@_op("PUSH_NULL")
def _push_null(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(_NULL)


@_op("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
def _load_fast(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg)))


@_op("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
def _load_two(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg >> 4)), f.load(f.slot(arg & 15)))


@_op("LOAD_FAST_AND_CLEAR")
def _load_and_clear(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.local.pop(f.slot(arg), _NULL))


@_op("STORE_FAST")
def _store_fast(f: _Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg), f.pop())


@_op("STORE_FAST_STORE_FAST")
def _store_two(f: _Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.store(f.slot(arg & 15), f.pop())


@_op("STORE_FAST_LOAD_FAST")
def _store_load(f: _Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.push(f.load(f.slot(arg & 15)))


@_op("DELETE_FAST")
def _delete_fast(f: _Frame, arg: int, ins: Instruction) -> None:
    f.local.pop(f.slot(arg), None)


@_op("LOAD_GLOBAL", "LOAD_NAME")
def _load_global(f: _Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_GLOBAL" and f.version.number >= (3, 11)
    value = f.domain.globally(f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, _NULL) if f.version.number >= (3, 13) else (_NULL, value)))
    else:
        f.push(value)


@_op("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(f: _Frame, arg: int, ins: Instruction) -> None:
    name = f.cell(arg)
    if f.cells[name].value is _NULL:
        raise Misread(f"reads {name!r} before it has a value")
    f.push(f.cells[name].value)


@_op("STORE_DEREF")
def _store_deref(f: _Frame, arg: int, ins: Instruction) -> None:
    f.cells.setdefault(f.cell(arg), _Cell()).value = f.pop()


@_op("LOAD_CLOSURE")
def _load_closure(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.cells.setdefault(f.cell(arg), _Cell()))


@_op("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(f: _Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_ATTR" and f.version.number >= (3, 12)
    value = f.domain.attribute(f.pop(), f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, _NULL) if f.version.number >= (3, 13) else (_NULL, value)))
    elif ins.name == "LOAD_METHOD":
        f.push(_NULL, value)
    else:
        f.push(value)


@_op("IMPORT_NAME")
def _import_name(f: _Frame, arg: int, ins: Instruction) -> None:
    level, listed = f.popped(2)
    path = f.code.names[arg]
    if level not in (0, -1):
        raise CodeRefused(f"imports {path!r} from its own package")
    f.domain.imported(path)
    f.push(Name(path if listed else path.split(".")[0]))


@_op("IMPORT_FROM")
def _import_from(f: _Frame, arg: int, ins: Instruction) -> None:
    module = f.stack[-1]
    if not isinstance(module, Name):
        raise CodeRefused("imports from something that is no module")
    f.push(f.domain.named(f"{module.path}.{f.code.names[arg]}"))


# ---- the stack
@_op("POP_TOP", "POP_ITER")
def _pop_top(f: _Frame, arg: int, ins: Instruction) -> None:
    f.pop()


@_op("ROT_TWO", "ROT_THREE", "ROT_FOUR")
def _rotate(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(("ROT_TWO", "ROT_THREE", "ROT_FOUR").index(ins.name) + 2)
    f.push(items[-1], *items[:-1])


@_op("SWAP")
def _swap(f: _Frame, arg: int, ins: Instruction) -> None:
    f.stack[-1], f.stack[-arg] = f.stack[-arg], f.stack[-1]


@_op("COPY")
def _copy(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-arg])


@_op("DUP_TOP")
def _dup(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-1])


@_op("DUP_TOP_TWO")
def _dup_two(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(*f.stack[-2:])


# ---- operations
@_op("BINARY_SUBSCR")
def _subscript(f: _Frame, arg: int, ins: Instruction) -> None:
    f.binary("[]")


@_op("BINARY_SLICE")
def _slice(f: _Frame, arg: int, ins: Instruction) -> None:
    x, start, stop = f.popped(3)
    f.push(f.domain.item(x, slice(start, stop)))


@_op("SLICE+0", "SLICE+1", "SLICE+2", "SLICE+3")
def _old_slice(f: _Frame, arg: int, ins: Instruction) -> None:
    kind = int(ins.name[-1])
    stop = f.pop() if kind & 2 else None
    start = f.pop() if kind & 1 else None
    f.push(f.domain.item(f.pop(), slice(start, stop)))


@_op("UNARY_NEGATIVE", "UNARY_POSITIVE", "UNARY_INVERT")
def _unary(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.unary({"NEGATIVE": "-", "POSITIVE": "+", "INVERT": "~"}[ins.name[6:]], f.pop()))


@_op("UNARY_NOT")
def _not(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(not f.domain.truth(f.pop()))


@_op("TO_BOOL")
def _to_bool(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.truth(f.pop()))


@_op("COMPARE_OP")
def _compare(f: _Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    f.push(f.domain.compare(f.version.comparison(arg), x, y))


@_op("IS_OP", "CONTAINS_OP")
def _is_or_in(f: _Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    op = "is" if ins.name == "IS_OP" else "in"
    f.push(f.domain.compare(("is not" if op == "is" else "not in") if arg else op, x, y))


# ---- making things
@_op("BUILD_TUPLE", "BUILD_LIST")
def _sequence(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded(f.popped(arg))
    f.push(tuple(items) if ins.name == "BUILD_TUPLE" else items)


@_op("BUILD_SLICE")
def _build_slice(f: _Frame, arg: int, ins: Instruction) -> None:
    if arg not in (2, 3):
        raise Misread("has instructions that do not fit together")
    f.push(slice(*f.popped(arg)))


@_op("BUILD_MAP")
def _map(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(2 * arg) if f.version.number >= (3, 5) else []
    f.push(dict(zip((_key(k) for k in items[::2]), items[1::2], strict=True)))


@_op("STORE_MAP")
def _store_map(f: _Frame, arg: int, ins: Instruction) -> None:
    value, key = f.popped(2)
    f.under(1, dict)[_key(key)] = value


@_op("MAP_ADD")
def _map_add(f: _Frame, arg: int, ins: Instruction) -> None:
    key, value = f.popped(2)
    if f.version.number < (3, 8):
        key, value = value, key
    f.under(arg, dict)[_key(key)] = value


@_op("BUILD_CONST_KEY_MAP")
def _const_map(f: _Frame, arg: int, ins: Instruction) -> None:
    keys = f.under(1, tuple)
    f.pop()
    if len(keys) != arg:
        raise Misread("has instructions that do not fit together")
    f.push(dict(zip((_key(k) for k in keys), f.popped(arg), strict=True)))


@_op("BUILD_STRING")
def _string(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.bounded("".join(f.domain.text(x) for x in f.popped(arg))))


@_op("FORMAT_VALUE", "FORMAT_SIMPLE", "CONVERT_VALUE")
def _format(f: _Frame, arg: int, ins: Instruction) -> None:
    if ins.name != "FORMAT_SIMPLE" and arg not in (0, 1):
        raise CodeRefused("formats a value in a certain way")
    f.push(f.domain.text(f.pop()))


@_op("LIST_APPEND")
def _list_append(f: _Frame, arg: int, ins: Instruction) -> None:
    x = f.pop()
    f.under(arg, list).append(x)


@_op("LIST_EXTEND")
def _list_extend(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    f.under(arg, list).extend(items)
    f.under(arg, list)


@_op("LIST_TO_TUPLE")
def _list_to_tuple(f: _Frame, arg: int, ins: Instruction) -> None:
    items = tuple(f.under(1, list))
    f.pop()
    f.push(items)


@_op("CALL_INTRINSIC_1")
def _intrinsic(f: _Frame, arg: int, ins: Instruction) -> None:
    if arg == 6:
        _list_to_tuple(f, arg, ins)
    elif arg == 5:
        f.push(f.domain.unary("+", f.pop()))
    else:
        raise CodeRefused(f"uses the interpreter's function {arg}")


@_op("DICT_MERGE", "DICT_UPDATE")
def _dict_update(f: _Frame, arg: int, ins: Instruction) -> None:
    other = f.pop()
    if not isinstance(other, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.under(arg, dict).update(other)


@_op("BUILD_TUPLE_UNPACK", "BUILD_TUPLE_UNPACK_WITH_CALL", "BUILD_LIST_UNPACK")
def _unpacked(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded([x for part in f.popped(arg) for x in f.domain.iterate(part)])
    f.push(tuple(items) if "TUPLE" in ins.name else items)


@_op("BUILD_MAP_UNPACK", "BUILD_MAP_UNPACK_WITH_CALL")
def _map_unpacked(f: _Frame, arg: int, ins: Instruction) -> None:
    parts = f.popped(arg & 0xFF if f.version.number < (3, 6) else arg)
    if not all(isinstance(p, dict) for p in parts):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.push({k: v for p in parts for k, v in p.items()})


@_op("UNPACK_SEQUENCE")
def _unpack(f: _Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    if len(items) != arg:
        raise CodeRefused(f"unpacks {len(items)} items into {arg} names")
    f.push(*reversed(items))


# ---- loops and branches
@_op("GET_ITER")
def _get_iter(f: _Frame, arg: int, ins: Instruction) -> None:
    f.push(_Iterator(f.domain.iterate(f.pop())))


@_op("FOR_ITER")
def _for_iter(f: _Frame, arg: int, ins: Instruction) -> None:
    loop = f.stack[-1]
    if not isinstance(loop, _Iterator):
        raise Misread("loops over something that is no sequence")
    if loop.at < len(loop.items):
        loop.at += 1
        f.push(loop.items[loop.at - 1])
        return
    f.forward(arg, ins)
    if f.version.number < (3, 12):
        f.pop()
        return
    if f.listing[f.at].name != "END_FOR":
        raise Misread("ends a loop in an unknown way")
    f.at += 1  # END_FOR takes what the loop would have given; 3.12's takes the iterator too, 3.13 and 3.14 have POP_TOP, POP_ITER
    if f.version.number < (3, 13):
        f.pop()


@_op("END_FOR")
def _end_for(f: _Frame, arg: int, ins: Instruction) -> None:
    f.popped(2 if f.version.number < (3, 13) else 1)


@_op("JUMP_ABSOLUTE", "CONTINUE_LOOP")
def _jump_absolute(f: _Frame, arg: int, ins: Instruction) -> None:
    f.absolute(arg)


@_op("JUMP_FORWARD")
def _jump_forward(f: _Frame, arg: int, ins: Instruction) -> None:
    f.forward(arg, ins)


@_op("JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump_backward(f: _Frame, arg: int, ins: Instruction) -> None:
    f.backward(arg, ins)


@_op(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("TRUE", "FALSE")))
def _jump_if(f: _Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.pop()) == ins.name.endswith("TRUE"):
        f.conditional(arg, ins)


@_op(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("NONE", "NOT_NONE")))
def _jump_if_none(f: _Frame, arg: int, ins: Instruction) -> None:
    if f.domain.same(f.pop(), None) != ins.name.endswith("NOT_NONE"):
        f.conditional(arg, ins)


@_op("JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP")
def _jump_or_pop(f: _Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.stack[-1]) == ("TRUE" in ins.name):
        f.conditional(arg, ins)
    else:
        f.pop()


# ---- ends
@_op("RETURN_VALUE")
def _return(f: _Frame, arg: int, ins: Instruction) -> None:
    f.result = f.pop()


@_op("RETURN_CONST")
def _return_const(f: _Frame, arg: int, ins: Instruction) -> None:
    f.result = f.code.consts[arg]


# ---- calls
@_op("KW_NAMES")
def _keyword_names(f: _Frame, arg: int, ins: Instruction) -> None:
    f.keywords = _names(f.code.consts[arg])


@_op("CALL", "CALL_KW")
def _call(f: _Frame, arg: int, ins: Instruction) -> None:
    names = _names(f.pop()) if ins.name == "CALL_KW" else f.keywords
    f.keywords = ()
    args = f.popped(arg)
    callee, own = f.callee()
    n = len(args) - len(names)
    if n < 0:
        raise Misread("names more arguments than it gives")
    f.call(callee, [*own, *args[:n]], dict(zip(names, args[n:], strict=True)))


@_op("CALL_FUNCTION", "CALL_FUNCTION_VAR", "CALL_FUNCTION_VAR_KW")
def _call_function(f: _Frame, arg: int, ins: Instruction) -> None:
    old = f.version.number < (3, 6)
    more = f.pop() if ins.name.endswith("_KW") else {}
    rest = f.domain.iterate(f.pop()) if "VAR" in ins.name else []
    pairs = f.popped(2 * (arg >> 8)) if old else []
    args = f.popped(arg & 0xFF if old else arg)
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.call(f.pop(), [*args, *rest], {**dict(zip(_names(pairs[::2]), pairs[1::2], strict=True)), **more})


@_op("CALL_FUNCTION_KW")
def _call_keywords(f: _Frame, arg: int, ins: Instruction) -> None:
    if f.version.number >= (3, 6):  # the names are a tuple on top
        names = _names(f.pop())
        args = f.popped(arg)
        n = len(args) - len(names)
        f.call(f.pop(), args[:n], dict(zip(names, args[n:], strict=True)))
        return
    more = f.pop()
    pairs = f.popped(2 * (arg >> 8))
    args = f.popped(arg & 0xFF)
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.call(f.pop(), args, {**dict(zip(_names(pairs[::2]), pairs[1::2], strict=True)), **more})


@_op("CALL_METHOD")
def _call_method(f: _Frame, arg: int, ins: Instruction) -> None:
    args = f.popped(arg)
    _, method = f.popped(2)
    f.call(method, args, {})


@_op("CALL_FUNCTION_EX")
def _call_unpacked(f: _Frame, arg: int, ins: Instruction) -> None:
    if f.version.number >= (3, 14):
        more = f.pop()
        more = {} if more is _NULL else more
    else:
        more = f.pop() if arg & 1 else {}
    args = f.domain.iterate(f.pop())
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    if f.version.number >= (3, 11):
        callee, own = f.callee()
        f.call(callee, [*own, *args], more)
    else:
        f.call(f.pop(), args, more)


# ---- functions inside
@_op("MAKE_FUNCTION", "MAKE_CLOSURE")
def _make_function(f: _Frame, arg: int, ins: Instruction) -> None:
    v = f.version.number
    if v >= (3, 13):
        f.push(_function(f, f.pop()))
        return
    if (3, 3) <= v < (3, 11):
        f.pop()  # qualified name
    code = f.pop()
    if v >= (3, 6):
        closure = f.pop() if arg & 8 else ()
        if arg & 4:
            f.pop()  # annotations
        keywords = f.pop() if arg & 2 else {}
        defaults = f.pop() if arg & 1 else ()
        f.push(_function(f, code, defaults, keywords, closure))
        return
    closure = f.pop() if ins.name == "MAKE_CLOSURE" else ()
    if arg >> 8:
        raise CodeRefused("makes a function with keyword defaults or annotations")
    f.push(_function(f, code, f.popped(arg), {}, closure))


@_op("SET_FUNCTION_ATTRIBUTE")
def _set_function_attribute(f: _Frame, arg: int, ins: Instruction) -> None:
    value, function = f.popped(2)
    if not isinstance(function, CodeFunction):
        raise Misread("sets an attribute of something that is no function")
    if arg in (1, 8) and isinstance(value, tuple):
        if arg == 1:
            function.defaults = value
        else:
            function.closure = value
    elif arg == 2 and isinstance(value, dict):
        function.keyword_defaults = value
    elif arg not in (4, 16):  # annotations
        raise Misread(f"sets the attribute {arg} of a function")
    f.push(function)


def _function(
    f: _Frame, code: Any, defaults: Sequence[Any] = (), keywords: Mapping[str, Any] | None = None, closure: Sequence[Any] = ()
) -> CodeFunction:
    if not (isinstance(code, Code) and isinstance(defaults, (tuple, list)) and isinstance(closure, (tuple, list))):
        raise Misread("makes a function of something that is no code")
    if keywords is not None and not isinstance(keywords, dict):
        raise Misread("makes a function of something that is no code")
    return CodeFunction(code, f.version, defaults, keywords or {}, closure)


def _key(x: Any) -> Any:
    if not isinstance(x, (str, int, float)):
        raise CodeRefused("makes a dict whose keys are not names or numbers")
    return x


def _names(x: Any) -> tuple[str, ...]:
    if not isinstance(x, (tuple, list)) or not all(isinstance(n, str) for n in x):
        raise Misread("names its arguments by something else than text")
    return tuple(x)
