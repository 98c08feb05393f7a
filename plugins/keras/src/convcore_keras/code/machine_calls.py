"""CPython's instructions that call and make functions; the others are in ``machine.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .bytecode import Instruction
from .domain import CodeRefused, Misread
from .frame import NULL, CodeFunction, Frame, handles
from .marshal import Code

__all__ = ["names_of"]


# ---- calls
@handles("KW_NAMES")
def _keywordnames_of(f: Frame, arg: int, ins: Instruction) -> None:
    f.keywords = names_of(f.code.consts[arg])


@handles("CALL", "CALL_KW")
def _call(f: Frame, arg: int, ins: Instruction) -> None:
    names = names_of(f.pop()) if ins.name == "CALL_KW" else f.keywords
    f.keywords = ()
    args = f.popped(arg)
    callee, own = f.callee()
    n = len(args) - len(names)
    if n < 0:
        raise Misread("names more arguments than it gives")
    f.call(callee, [*own, *args[:n]], dict(zip(names, args[n:], strict=True)))


@handles("CALL_FUNCTION", "CALL_FUNCTION_VAR", "CALL_FUNCTION_VAR_KW")
def _call_function(f: Frame, arg: int, ins: Instruction) -> None:
    old = f.version.number < (3, 6)
    more = f.pop() if ins.name.endswith("_KW") else {}
    rest = f.domain.iterate(f.pop()) if "VAR" in ins.name else []
    pairs = f.popped(2 * (arg >> 8)) if old else []
    args = f.popped(arg & 0xFF if old else arg)
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.call(f.pop(), [*args, *rest], {**dict(zip(names_of(pairs[::2]), pairs[1::2], strict=True)), **more})


@handles("CALL_FUNCTION_KW")
def _call_keywords(f: Frame, arg: int, ins: Instruction) -> None:
    if f.version.number >= (3, 6):  # the names are a tuple on top
        names = names_of(f.pop())
        args = f.popped(arg)
        n = len(args) - len(names)
        f.call(f.pop(), args[:n], dict(zip(names, args[n:], strict=True)))
        return
    more = f.pop()
    pairs = f.popped(2 * (arg >> 8))
    args = f.popped(arg & 0xFF)
    if not isinstance(more, dict):
        raise CodeRefused("unpacks keyword arguments from something that is no dict")
    f.call(f.pop(), args, {**dict(zip(names_of(pairs[::2]), pairs[1::2], strict=True)), **more})


@handles("CALL_METHOD")
def _call_method(f: Frame, arg: int, ins: Instruction) -> None:
    args = f.popped(arg)
    _, method = f.popped(2)
    f.call(method, args, {})


@handles("CALL_FUNCTION_EX")
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
@handles("MAKE_FUNCTION", "MAKE_CLOSURE")
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


@handles("SET_FUNCTION_ATTRIBUTE")
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


def names_of(x: Any) -> tuple[str, ...]:
    """Names of arguments. Raises Misread for something else."""
    if not isinstance(x, (tuple, list)) or not all(isinstance(n, str) for n in x):
        raise Misread("names its arguments by something else than text")
    return tuple(x)
