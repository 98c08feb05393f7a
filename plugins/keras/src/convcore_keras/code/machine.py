"""CPython's instructions on symbolic values: one handler for each, for all versions that have it.

What an operation does is said by ``domain.py``. Loops run over known sequences and branches over known values only.
"""

from __future__ import annotations

from typing import Any

from .bytecode import Instruction
from .domain import CodeRefused, Misread, Name
from .frame import NULL, Cell, CodeFunction, Frame, LoopItems, handles
from .machine_calls import names_of  # its handlers fill the table too

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
    f.binary("[]")


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


# ---- loops and branches
@handles("GET_ITER")
def _get_iter(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(LoopItems(f.domain.iterate(f.pop())))


@handles("FOR_ITER")
def _for_iter(f: Frame, arg: int, ins: Instruction) -> None:
    loop = f.stack[-1]
    if not isinstance(loop, LoopItems):
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


@handles("END_FOR")
def _end_for(f: Frame, arg: int, ins: Instruction) -> None:
    f.popped(2 if f.version.number < (3, 13) else 1)


@handles("JUMP_ABSOLUTE", "CONTINUE_LOOP")
def _jump_absolute(f: Frame, arg: int, ins: Instruction) -> None:
    f.absolute(arg)


@handles("JUMP_FORWARD")
def _jump_forward(f: Frame, arg: int, ins: Instruction) -> None:
    f.forward(arg, ins)


@handles("JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump_backward(f: Frame, arg: int, ins: Instruction) -> None:
    f.backward(arg, ins)


@handles(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("TRUE", "FALSE")))
def _jump_if(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.pop()) == ins.name.endswith("TRUE"):
        f.conditional(arg, ins)


@handles(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("NONE", "NOT_NONE")))
def _jump_if_none(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.same(f.pop(), None) != ins.name.endswith("NOT_NONE"):
        f.conditional(arg, ins)


@handles("JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP")
def _jump_or_pop(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.stack[-1]) == ("TRUE" in ins.name):
        f.conditional(arg, ins)
    else:
        f.pop()


# ---- ends
@handles("RETURN_VALUE")
def _return(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.pop()


@handles("RETURN_CONST")
def _return_const(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.code.consts[arg]


def _key(x: Any) -> Any:
    if not isinstance(x, (str, int, float)):
        raise CodeRefused("makes a dict whose keys are not names or numbers")
    return x
