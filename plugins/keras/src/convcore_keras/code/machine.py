"""CPython's instructions on symbolic values: one handler for each, for all versions that have it.

What an operation does is said by ``domain.py``. Loops run over known sequences and branches over known values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .bytecode import Instruction
from .domain import CodeRefused, Misread, Name
from .frame import HANDLERS, NULL, Cell, CodeFunction, Frame, Handler, LoopItems
from .marshal import Code

__all__ = ["CodeFunction"]


def _op(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@_op("NOP", "RESUME", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "SETUP_LOOP", "POP_BLOCK", "NOT_TAKEN")
def _nothing(f: Frame, arg: int, ins: Instruction) -> None:
    pass


# ---- constants and names
@_op("LOAD_CONST")
def _load_const(f: Frame, arg: int, ins: Instruction) -> None:
    value = f.code.consts[arg]
    f.push(value.decode("latin-1") if isinstance(value, bytes) and f.code.layout == "2" else value)


@_op("LOAD_SMALL_INT")
def _load_small_int(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(arg)


@_op("LOAD_COMMON_CONSTANT")
def _load_common_constant(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(Name(f"builtins.{('AssertionError', 'NotImplementedError', 'tuple', 'all', 'any')[arg]}"))


@_op("PUSH_NULL")
def _push_null(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(NULL)


@_op("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
def _load_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg)))


@_op("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
def _load_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.load(f.slot(arg >> 4)), f.load(f.slot(arg & 15)))


@_op("LOAD_FAST_AND_CLEAR")
def _load_and_clear(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.local.pop(f.slot(arg), NULL))


@_op("STORE_FAST")
def _store_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg), f.pop())


@_op("STORE_FAST_STORE_FAST")
def _store_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.store(f.slot(arg & 15), f.pop())


@_op("STORE_FAST_LOAD_FAST")
def _store_load(f: Frame, arg: int, ins: Instruction) -> None:
    f.store(f.slot(arg >> 4), f.pop())
    f.push(f.load(f.slot(arg & 15)))


@_op("DELETE_FAST")
def _delete_fast(f: Frame, arg: int, ins: Instruction) -> None:
    f.local.pop(f.slot(arg), None)


@_op("LOAD_GLOBAL", "LOAD_NAME")
def _load_global(f: Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_GLOBAL" and f.version.number >= (3, 11)
    value = f.domain.globally(f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, NULL) if f.version.number >= (3, 13) else (NULL, value)))
    else:
        f.push(value)


@_op("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(f: Frame, arg: int, ins: Instruction) -> None:
    name = f.cell(arg)
    if f.cells[name].value is NULL:
        raise Misread(f"reads {name!r} before it has a value")
    f.push(f.cells[name].value)


@_op("STORE_DEREF")
def _store_deref(f: Frame, arg: int, ins: Instruction) -> None:
    f.cells.setdefault(f.cell(arg), Cell()).value = f.pop()


@_op("LOAD_CLOSURE")
def _load_closure(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.cells.setdefault(f.cell(arg), Cell()))


@_op("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(f: Frame, arg: int, ins: Instruction) -> None:
    packed = ins.name == "LOAD_ATTR" and f.version.number >= (3, 12)
    value = f.domain.attribute(f.pop(), f.code.names[arg >> 1 if packed else arg])
    if packed and arg & 1:
        f.push(*((value, NULL) if f.version.number >= (3, 13) else (NULL, value)))
    elif ins.name == "LOAD_METHOD":
        f.push(NULL, value)
    else:
        f.push(value)


@_op("IMPORT_NAME")
def _import_name(f: Frame, arg: int, ins: Instruction) -> None:
    level, listed = f.popped(2)
    path = f.code.names[arg]
    if level not in (0, -1):
        raise CodeRefused(f"imports {path!r} from its own package")
    f.domain.imported(path)
    f.push(Name(path if listed else path.split(".")[0]))


@_op("IMPORT_FROM")
def _import_from(f: Frame, arg: int, ins: Instruction) -> None:
    module = f.stack[-1]
    if not isinstance(module, Name):
        raise CodeRefused("imports from something that is no module")
    f.push(f.domain.named(f"{module.path}.{f.code.names[arg]}"))


# ---- the stack
@_op("POP_TOP", "POP_ITER")
def _pop_top(f: Frame, arg: int, ins: Instruction) -> None:
    f.pop()


@_op("ROT_TWO", "ROT_THREE", "ROT_FOUR")
def _rotate(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(("ROT_TWO", "ROT_THREE", "ROT_FOUR").index(ins.name) + 2)
    f.push(items[-1], *items[:-1])


@_op("SWAP")
def _swap(f: Frame, arg: int, ins: Instruction) -> None:
    f.stack[-1], f.stack[-arg] = f.stack[-arg], f.stack[-1]


@_op("COPY")
def _copy(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-arg])


@_op("DUP_TOP")
def _dup(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.stack[-1])


@_op("DUP_TOP_TWO")
def _dup_two(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(*f.stack[-2:])


# ---- operations
@_op("BINARY_SUBSCR")
def _subscript(f: Frame, arg: int, ins: Instruction) -> None:
    f.binary("[]")


@_op("BINARY_SLICE")
def _slice(f: Frame, arg: int, ins: Instruction) -> None:
    x, start, stop = f.popped(3)
    f.push(f.domain.item(x, slice(start, stop)))


@_op("SLICE+0", "SLICE+1", "SLICE+2", "SLICE+3")
def _old_slice(f: Frame, arg: int, ins: Instruction) -> None:
    kind = int(ins.name[-1])
    stop = f.pop() if kind & 2 else None
    start = f.pop() if kind & 1 else None
    f.push(f.domain.item(f.pop(), slice(start, stop)))


@_op("UNARY_NEGATIVE", "UNARY_POSITIVE", "UNARY_INVERT")
def _unary(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.unary({"NEGATIVE": "-", "POSITIVE": "+", "INVERT": "~"}[ins.name[6:]], f.pop()))


@_op("UNARY_NOT")
def _not(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(not f.domain.truth(f.pop()))


@_op("TO_BOOL")
def _to_bool(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.truth(f.pop()))


@_op("COMPARE_OP")
def _compare(f: Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    f.push(f.domain.compare(f.version.comparison(arg), x, y))


@_op("IS_OP", "CONTAINS_OP")
def _is_or_in(f: Frame, arg: int, ins: Instruction) -> None:
    x, y = f.popped(2)
    op = "is" if ins.name == "IS_OP" else "in"
    f.push(f.domain.compare(("is not" if op == "is" else "not in") if arg else op, x, y))


# ---- making things
@_op("BUILD_TUPLE", "BUILD_LIST")
def _sequence(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded(f.popped(arg))
    f.push(tuple(items) if ins.name == "BUILD_TUPLE" else items)


@_op("BUILD_SLICE")
def _build_slice(f: Frame, arg: int, ins: Instruction) -> None:
    if arg not in (2, 3):
        raise Misread("has instructions that do not fit together")
    f.push(slice(*f.popped(arg)))


@_op("BUILD_MAP")
def _map(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.popped(2 * arg) if f.version.number >= (3, 5) else []
    f.push(dict(zip((_key(k) for k in items[::2]), items[1::2], strict=True)))


@_op("STORE_MAP")
def _store_map(f: Frame, arg: int, ins: Instruction) -> None:
    value, key = f.popped(2)
    f.under(1, dict)[_key(key)] = value


@_op("MAP_ADD")
def _map_add(f: Frame, arg: int, ins: Instruction) -> None:
    key, value = f.popped(2)
    if f.version.number < (3, 8):
        key, value = value, key
    f.under(arg, dict)[_key(key)] = value


@_op("BUILD_CONST_KEY_MAP")
def _const_map(f: Frame, arg: int, ins: Instruction) -> None:
    keys = f.under(1, tuple)
    f.pop()
    if len(keys) != arg:
        raise Misread("has instructions that do not fit together")
    f.push(dict(zip((_key(k) for k in keys), f.popped(arg), strict=True)))


@_op("BUILD_STRING")
def _string(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(f.domain.bounded("".join(f.domain.text(x) for x in f.popped(arg))))


@_op("FORMAT_VALUE", "FORMAT_SIMPLE", "CONVERT_VALUE")
def _format(f: Frame, arg: int, ins: Instruction) -> None:
    if ins.name != "FORMAT_SIMPLE" and arg not in (0, 1):
        raise CodeRefused("formats a value in a certain way")
    f.push(f.domain.text(f.pop()))


@_op("LIST_APPEND")
def _list_append(f: Frame, arg: int, ins: Instruction) -> None:
    x = f.pop()
    f.under(arg, list).append(x)


@_op("LIST_EXTEND")
def _list_extend(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    f.under(arg, list).extend(items)
    f.under(arg, list)


@_op("LIST_TO_TUPLE")
def _list_to_tuple(f: Frame, arg: int, ins: Instruction) -> None:
    items = tuple(f.under(1, list))
    f.pop()
    f.push(items)


@_op("CALL_INTRINSIC_1")
def _intrinsic(f: Frame, arg: int, ins: Instruction) -> None:
    if arg == 6:
        _list_to_tuple(f, arg, ins)
    elif arg == 5:
        f.push(f.domain.unary("+", f.pop()))
    else:
        raise CodeRefused(f"uses the interpreter's function {arg}")


@_op("DICT_MERGE", "DICT_UPDATE")
def _dict_update(f: Frame, arg: int, ins: Instruction) -> None:
    other = f.pop()
    if not isinstance(other, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.under(arg, dict).update(other)


@_op("BUILD_TUPLE_UNPACK", "BUILD_TUPLE_UNPACK_WITH_CALL", "BUILD_LIST_UNPACK")
def _unpacked(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.bounded([x for part in f.popped(arg) for x in f.domain.iterate(part)])
    f.push(tuple(items) if "TUPLE" in ins.name else items)


@_op("BUILD_MAP_UNPACK", "BUILD_MAP_UNPACK_WITH_CALL")
def _map_unpacked(f: Frame, arg: int, ins: Instruction) -> None:
    parts = f.popped(arg & 0xFF if f.version.number < (3, 6) else arg)
    if not all(isinstance(p, dict) for p in parts):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.push({k: v for p in parts for k, v in p.items()})


@_op("UNPACK_SEQUENCE")
def _unpack(f: Frame, arg: int, ins: Instruction) -> None:
    items = f.domain.iterate(f.pop())
    if len(items) != arg:
        raise CodeRefused(f"unpacks {len(items)} items into {arg} names")
    f.push(*reversed(items))


# ---- loops and branches
@_op("GET_ITER")
def _get_iter(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(LoopItems(f.domain.iterate(f.pop())))


@_op("FOR_ITER")
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


@_op("END_FOR")
def _end_for(f: Frame, arg: int, ins: Instruction) -> None:
    f.popped(2 if f.version.number < (3, 13) else 1)


@_op("JUMP_ABSOLUTE", "CONTINUE_LOOP")
def _jump_absolute(f: Frame, arg: int, ins: Instruction) -> None:
    f.absolute(arg)


@_op("JUMP_FORWARD")
def _jump_forward(f: Frame, arg: int, ins: Instruction) -> None:
    f.forward(arg, ins)


@_op("JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump_backward(f: Frame, arg: int, ins: Instruction) -> None:
    f.backward(arg, ins)


@_op(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("TRUE", "FALSE")))
def _jump_if(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.pop()) == ins.name.endswith("TRUE"):
        f.conditional(arg, ins)


@_op(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("NONE", "NOT_NONE")))
def _jump_if_none(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.same(f.pop(), None) != ins.name.endswith("NOT_NONE"):
        f.conditional(arg, ins)


@_op("JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP")
def _jump_or_pop(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.stack[-1]) == ("TRUE" in ins.name):
        f.conditional(arg, ins)
    else:
        f.pop()


# ---- ends
@_op("RETURN_VALUE")
def _return(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.pop()


@_op("RETURN_CONST")
def _return_const(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.code.consts[arg]


# ---- calls
@_op("KW_NAMES")
def _keyword_names(f: Frame, arg: int, ins: Instruction) -> None:
    f.keywords = _names(f.code.consts[arg])


@_op("CALL", "CALL_KW")
def _call(f: Frame, arg: int, ins: Instruction) -> None:
    names = _names(f.pop()) if ins.name == "CALL_KW" else f.keywords
    f.keywords = ()
    args = f.popped(arg)
    callee, own = f.callee()
    n = len(args) - len(names)
    if n < 0:
        raise Misread("names more arguments than it gives")
    f.call(callee, [*own, *args[:n]], dict(zip(names, args[n:], strict=True)))


@_op("CALL_FUNCTION", "CALL_FUNCTION_VAR", "CALL_FUNCTION_VAR_KW")
def _call_function(f: Frame, arg: int, ins: Instruction) -> None:
    old = f.version.number < (3, 6)
    more = f.pop() if ins.name.endswith("_KW") else {}
    rest = f.domain.iterate(f.pop()) if "VAR" in ins.name else []
    pairs = f.popped(2 * (arg >> 8)) if old else []
    args = f.popped(arg & 0xFF if old else arg)
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.call(f.pop(), [*args, *rest], {**dict(zip(_names(pairs[::2]), pairs[1::2], strict=True)), **more})


@_op("CALL_FUNCTION_KW")
def _call_keywords(f: Frame, arg: int, ins: Instruction) -> None:
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
def _call_method(f: Frame, arg: int, ins: Instruction) -> None:
    args = f.popped(arg)
    _, method = f.popped(2)
    f.call(method, args, {})


@_op("CALL_FUNCTION_EX")
def _call_unpacked(f: Frame, arg: int, ins: Instruction) -> None:
    if f.version.number >= (3, 14):
        more = f.pop()
        more = {} if more is NULL else more
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
def _make_function(f: Frame, arg: int, ins: Instruction) -> None:
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
def _set_function_attribute(f: Frame, arg: int, ins: Instruction) -> None:
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
    f: Frame, code: Any, defaults: Sequence[Any] = (), keywords: Mapping[str, Any] | None = None, closure: Sequence[Any] = ()
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
