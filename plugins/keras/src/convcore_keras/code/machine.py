"""CPython's instructions on symbolic values: one handler for each, for all versions that have it.

What an operation does is said by ``domain.py``. Loops and branches are those of ``machine_jumps.py``, calls those of
``machine_calls.py``.
"""

from __future__ import annotations

from typing import Any

from . import machine_jumps  # noqa: F401  its handlers fill the table too
from .bytecode import Instruction
from .domain import CodeRefused, Misread, Name
from .frame import NULL, Cell, CodeFunction, Frame, handles
from .machine_calls import names_of  # and its

__all__ = ["CodeFunction", "names_of"]


@handles("NOP", "RESUME", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "SETUP_LOOP", "POP_BLOCK", "NOT_TAKEN")
def _nothing(f: Frame, arg: int, ins: Instruction) -> None:
    pass


# ---- constants and names
@handles("LOAD_CONST")
def _load_const(f: Frame, arg: int, ins: Instruction) -> None:
    value = f.code.consts[arg]
    f.push(value.decode("latin-1") if isinstance(value, bytes) and f.code.layout == "2" else value)


@handles("LOAD_SMALL_INT")
def _load_small_int(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(arg)


@handles("LOAD_COMMON_CONSTANT")
def _load_common_constant(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(Name(f"builtins.{('AssertionError', 'NotImplementedError', 'tuple', 'all', 'any')[arg]}"))


@handles("PUSH_NULL")
def _push_null(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(NULL)


@handles("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
def _load_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg)))


@handles("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
def _load_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg >> 4)), f.load(f.slot(arg & 15)))


@handles("LOAD_FAST_AND_CLEAR")
def _load_and_clear(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.local.pop(f.slot(arg), NULL))


@handles("STORE_FAST")
def _store_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg), f.pop())


@handles("STORE_FAST_STORE_FAST")
def _store_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.store(f.slot(arg & 15), f.pop())


@handles("STORE_FAST_LOAD_FAST")
def _store_load(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.push(f.load(f.slot(arg & 15)))


@handles("DELETE_FAST")
def _delete_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.local.pop(f.slot(arg), None)


@handles("LOAD_GLOBAL", "LOAD_NAME")
def _load_global(f: Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_GLOBAL" and f.version.number >= (3, 11)
    value = f.domain.globally(f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, NULL) if f.version.number >= (3, 13) else (NULL, value)))
    else:
        f.push(value)


@handles("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(f: Frame, arg: int, ins: Instruction) -> None:
    name = f.cell(arg)
    if f.cells[name].value is NULL:
        raise Misread(f"reads {name!r} before it has a value")
    f.push(f.cells[name].value)


@handles("STORE_DEREF")
def _store_deref(f: Frame, arg: int, ins: Instruction) -> None:
    f.cells.setdefault(f.cell(arg), Cell()).value = f.pop()


@handles("LOAD_CLOSURE")
def _load_closure(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.cells.setdefault(f.cell(arg), Cell()))


@handles("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(f: Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_ATTR" and f.version.number >= (3, 12)
    value = f.domain.attribute(f.pop(), f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, NULL) if f.version.number >= (3, 13) else (NULL, value)))
    elif ins.name == "LOAD_METHOD":
        f.push(NULL, value)
    else:
        f.push(value)


@handles("IMPORT_NAME")
def _import_name(f: Frame, arg: int, ins: Instruction) -> None:
    level, listed = f.popped(2)
    path = f.code.names[arg]
    if level not in (0, -1):
        raise CodeRefused(f"imports {path!r} from its own package")
    f.domain.imported(path)
    f.push(Name(path if listed else path.split(".")[0]))


@handles("IMPORT_FROM")
def _import_from(f: Frame, arg: int, ins: Instruction) -> None:
    module = f.stack[-1]
    if not isinstance(module, Name):
        raise CodeRefused("imports from something that is no module")
    f.push(f.domain.named(f"{module.path}.{f.code.names[arg]}"))


# ---- the stack
@handles("POP_TOP", "POP_ITER")
def _pop_top(f: Frame, arg: int, ins: Instruction) -> None:
    f.pop()


@handles("ROT_TWO", "ROT_THREE", "ROT_FOUR")
def _rotate(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(("ROT_TWO", "ROT_THREE", "ROT_FOUR").index(ins.name) + 2)
    f.push(items[-1], *items[:-1])


@handles("SWAP")
def _swap(f: Frame, arg: int, ins: Instruction) -> None:
    f.stack[-1], f.stack[-arg] = f.stack[-arg], f.stack[-1]


@handles("COPY")
def _copy(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-arg])


@handles("DUP_TOP")
def _dup(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-1])


@handles("DUP_TOP_TWO")
def _dup_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(*f.stack[-2:])


# ---- operations
@handles("BINARY_SUBSCR")
def _subscript(f: Frame, arg: int, ins: Instruction) -> None:
    f.binary("[]", False)


@handles("BINARY_SLICE")
def _slice(f: Frame, arg: int, ins: Instruction) -> None:
    x, start, stop = f.popped(3)
    f.push(f.domain.item(x, slice(start, stop)))


@handles("SLICE+0", "SLICE+1", "SLICE+2", "SLICE+3")
def _old_slice(f: Frame, arg: int, ins: Instruction) -> None:
    kind = int(ins.name[-1])
    stop = f.pop() if kind & 2 else None
    start = f.pop() if kind & 1 else None
    f.push(f.domain.item(f.pop(), slice(start, stop)))


@handles("UNARY_NEGATIVE", "UNARY_POSITIVE", "UNARY_INVERT")
def _unary(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.unary({"NEGATIVE": "-", "POSITIVE": "+", "INVERT": "~"}[ins.name[6:]], f.pop()))


@handles("UNARY_NOT")
def _not(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(not f.domain.truth(f.pop()))


@handles("TO_BOOL")
def _to_bool(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.truth(f.pop()))


@handles("COMPARE_OP")
def _compare(f: Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    f.push(f.domain.compare(f.version.comparison(arg), x, y))


@handles("IS_OP", "CONTAINS_OP")
def _is_or_in(f: Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    op = "is" if ins.name == "IS_OP" else "in"
    f.push(f.domain.compare(("is not" if op == "is" else "not in") if arg else op, x, y))


# ---- making things
@handles("BUILD_TUPLE", "BUILD_LIST")
def _sequence(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded(f.popped(arg))
    f.push(tuple(items) if ins.name == "BUILD_TUPLE" else items)


@handles("BUILD_SLICE")
def _build_slice(f: Frame, arg: int, ins: Instruction) -> None:
    if arg not in (2, 3):
        raise Misread("has instructions that do not fit together")
    f.push(slice(*f.popped(arg)))


@handles("BUILD_MAP")
def _map(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(2 * arg) if f.version.number >= (3, 5) else []
    f.push(dict(zip((_key(k) for k in items[::2]), items[1::2], strict=True)))


@handles("STORE_MAP")
def _store_map(f: Frame, arg: int, ins: Instruction) -> None:
    value, key = f.popped(2)
    f.under(1, dict)[_key(key)] = value


@handles("MAP_ADD")
def _map_add(f: Frame, arg: int, ins: Instruction) -> None:
    key, value = f.popped(2)
    if f.version.number < (3, 8):
        key, value = value, key
    f.under(arg, dict)[_key(key)] = value


@handles("BUILD_CONST_KEY_MAP")
def _const_map(f: Frame, arg: int, ins: Instruction) -> None:
    keys = f.under(1, tuple)
    f.pop()
    if len(keys) != arg:
        raise Misread("has instructions that do not fit together")
    f.push(dict(zip((_key(k) for k in keys), f.popped(arg), strict=True)))


@handles("BUILD_STRING")
def _string(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.bounded("".join(f.domain.text(x) for x in f.popped(arg))))


@handles("FORMAT_VALUE", "FORMAT_SIMPLE", "CONVERT_VALUE")
def _format(f: Frame, arg: int, ins: Instruction) -> None:
    if ins.name != "FORMAT_SIMPLE" and arg not in (0, 1):
        raise CodeRefused("formats a value in a certain way")
    f.push(f.domain.text(f.pop()))


@handles("LIST_APPEND")
def _list_append(f: Frame, arg: int, ins: Instruction) -> None:
    x = f.pop()
    f.under(arg, list).append(x)


@handles("LIST_EXTEND")
def _list_extend(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    f.under(arg, list).extend(items)
    f.under(arg, list)


@handles("LIST_TO_TUPLE")
def _list_to_tuple(f: Frame, arg: int, ins: Instruction) -> None:
    items = tuple(f.under(1, list))
    f.pop()
    f.push(items)


@handles("CALL_INTRINSIC_1")
def _intrinsic(f: Frame, arg: int, ins: Instruction) -> None:
    if arg == 6:
        _list_to_tuple(f, arg, ins)
    elif arg == 5:
        f.push(f.domain.unary("+", f.pop()))
    else:
        raise CodeRefused(f"uses the interpreter's function {arg}")


@handles("DICT_MERGE", "DICT_UPDATE")
def _dict_update(f: Frame, arg: int, ins: Instruction) -> None:
    other = f.pop()
    if not isinstance(other, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.under(arg, dict).update(other)


@handles("BUILD_TUPLE_UNPACK", "BUILD_TUPLE_UNPACK_WITH_CALL", "BUILD_LIST_UNPACK")
def _unpacked(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded([x for part in f.popped(arg) for x in f.domain.iterate(part)])
    f.push(tuple(items) if "TUPLE" in ins.name else items)


@handles("BUILD_MAP_UNPACK", "BUILD_MAP_UNPACK_WITH_CALL")
def _map_unpacked(f: Frame, arg: int, ins: Instruction) -> None:
    parts = f.popped(arg & 0xFF if f.version.number < (3, 6) else arg)
    if not all(isinstance(p, dict) for p in parts):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.push({k: v for p in parts for k, v in p.items()})


@handles("UNPACK_SEQUENCE")
def _unpack(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    if len(items) != arg:
        raise CodeRefused(f"unpacks {len(items)} items into {arg} names")
    f.push(*reversed(items))


def _key(x: Any) -> Any:
    if not isinstance(x, (str, int, float)):
        raise CodeRefused("makes a dict whose keys are not names or numbers")
    return x
