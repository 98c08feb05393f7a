"""Python's own ``marshal`` as the judge of what is read from the bytes of a function, and what no function has is refused."""

from __future__ import annotations

import dis
import marshal
import struct
import sys
import types
from typing import Any

import pytest

from convcore_keras.code.bytecode import instructions, versions
from convcore_keras.code.domain import Domain as PlainDomain
from convcore_keras.code.domain import Misread, Options
from convcore_keras.code.lambdas import StoredFunction
from convcore_keras.code.marshal import MAX_BYTES, Code, Layout, MarshalError, _Reader, read_code
from convcore_keras.code.names import MODULES, ROOTS

LAMBDA: types.CodeType = (lambda a, b=2, *c, d, e=5, **f: (a, b, c, d, e, f)).__code__


def stored(*consts: Any, version: int = 4, **changes: Any) -> bytes:
    return marshal.dumps(LAMBDA.replace(co_consts=consts, **changes), version)


def read(data: bytes) -> Code:
    """As the Python that runs the test lays code out."""
    (found,) = [c for c in read_code(data) if c.layout == ("3.11" if hasattr(LAMBDA, "co_exceptiontable") else "3.8")]
    return found


same = (1, "twice")
VALUES = [
    None, True, False, ..., 0, 1, -1, 255, 256, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, -(2**63) - 1, 2**120 + 7,
    2 ** (15 * 64) - 1, -(2 ** (15 * 64)) + 1, 0.0, -2.5, 1e300, 1e-300, float("inf"), "", "a", "name_1", "ü", "日本", "\ud800",
    "x" * 255, "x" * 256, "ü" * 300, b"", b"\x00\xff", b"y" * 300, (), (1,), (1, (2, ("a", None))), tuple(range(255)),
    tuple(range(256)), [1, [2]], [], {"a": 1, 2: (3,)}, (same, same, [same]), ("a", "a", b"a", b"a"),
]  # fmt: skip


@pytest.mark.parametrize("version", range(5))
def test_constants_are_what_python_wrote(version: int) -> None:
    for value in VALUES:
        found = read(stored(value, value, version=version)).consts
        assert [repr(v) for v in found] == [repr(value)] * 2 and [type(v) for v in found] == [type(value)] * 2


def test_what_a_code_object_says() -> None:
    found = read(stored(1))
    assert (found.argcount, found.posonly, found.kwonly, found.flags) == (2, 0, 2, LAMBDA.co_flags)
    assert (found.code, found.names, found.varnames) == (LAMBDA.co_code, LAMBDA.co_names, LAMBDA.co_varnames)
    assert (found.filename, found.name) == (LAMBDA.co_filename, LAMBDA.co_name)

    def outer(k: int) -> types.CodeType:
        held = k
        return (lambda x, /: lambda: (x, held)).__code__

    code = outer(1)
    found = read(marshal.dumps(code))
    assert (found.freevars, found.cellvars, found.posonly) == (code.co_freevars, code.co_cellvars, 1)
    assert isinstance(found.consts[-1] if isinstance(found.consts[-1], Code) else found.consts[1], Code)


def test_what_no_function_of_a_model_holds() -> None:
    deep: Any = 0
    for _ in range(38):
        deep = (deep,)
    assert read(stored(deep)).consts == (deep,)
    for value in (1j, frozenset({1}), 2 ** (15 * 64), -(2 ** (15 * 64)), (deep,), StopIteration, tuple(range(20_000)), {(1,): 2}):
        with pytest.raises(MarshalError, match="the bytes are no function of Python"):
            read_code(stored(value, version=2))
    with pytest.raises(MarshalError, match=f"the code has {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"):
        read_code(bytes(MAX_BYTES + 1))
    with pytest.raises(MarshalError, match="it is no code object"):
        read_code(marshal.dumps((1, 2)))


def test_bytes_that_are_cut_off_or_go_on() -> None:
    data = stored(1, "name", (2.5, b"bytes"))
    for n in range(len(data)):
        with pytest.raises(MarshalError):
            read_code(data[:n])
    with pytest.raises(MarshalError, match="the bytes are no function of Python"):
        read_code(data + b"N")


def test_counts_of_a_code_object() -> None:
    data = bytearray(stored(1))
    for count, fits in ((4096, True), (4097, False), (-1, False)):
        struct.pack_into("<i", data, 1, count)
        if fits:
            assert read(bytes(data)).argcount == count
            continue
        with pytest.raises(MarshalError, match="its counts are not those of a function"):
            read_code(bytes(data))


# ---- instructions
LAYOUTS: tuple[Layout, ...] = ("2", "3.0", "3.8", "3.11")
BY_NUMBER = {v.number: v for layout in LAYOUTS for v in versions(layout)}


def long(a: int) -> int:
    """Has jumps, items, comparisons, a loop, and an instruction with a long argument."""
    total = 0
    for i in range(a):
        if i > 3 and a[i] is not None:  # type: ignore[index]
            total += a @ i // 2  # type: ignore[operator]
        elif i in (1, 2):
            total **= 3
    return total


@pytest.mark.skipif(sys.version_info[:2] not in BY_NUMBER, reason="a Python that is not known")
@pytest.mark.parametrize("function", [long, read, instructions, test_counts_of_a_code_object, dis.dis])
def test_instructions_are_those_of_dis(function: Any) -> None:
    code = function.__code__
    found = instructions(code.co_code, BY_NUMBER[sys.version_info[:2]])
    want = list(dis.get_instructions(code))
    names = ["NOP" if i.opname == "EXTENDED_ARG" else i.opname for i in want]
    assert [i.name for i in found] == names and [i.offset for i in found] == [i.offset for i in want]
    assert [i.arg for i in found if i.name != "NOP"] == [i.arg or 0 for i in want if i.opname not in ("NOP", "EXTENDED_ARG")]
    assert [i.next for i in found] == [*(i.offset for i in want[1:]), len(code.co_code)]


def number(version: tuple[int, int], name: str) -> int:
    return next(n for n, known in BY_NUMBER[version].names.items() if known == name)


def test_bytes_that_are_no_instructions() -> None:
    new, old = BY_NUMBER[3, 11], BY_NUMBER[2, 7]
    unknown = next(n for n in range(256) if n not in new.names)
    binary, more, const = number((3, 11), "BINARY_OP"), number((3, 11), "EXTENDED_ARG"), number((3, 11), "LOAD_CONST")
    for code, why in (
        (b"\x09", "has half an instruction"),
        (bytes([unknown, 0]), f"has the unknown instruction {unknown}"),
        (bytes([number((3, 11), "CACHE"), 0]), "has a cache entry out of place"),
        (bytes([binary, 0]), "has a cache that is not empty"),
        (bytes([binary, 0, 0, 1]), "has a cache that is not empty"),
        (bytes([more, 1, more, 1, more, 2, const, 0]), "has an argument that is too large"),
    ):
        with pytest.raises(Misread, match=why):
            instructions(code, new)
    (*_, found) = instructions(bytes([more, 1, more, 2, const, 3]), new)
    assert (found.name, found.arg) == ("LOAD_CONST", 0x010203)
    assert [i.arg for i in instructions(bytes([binary, 5, 0, 0]), new)] == [5]
    const = number((2, 7), "LOAD_CONST")
    assert [(i.arg, i.next) for i in instructions(bytes([const, 2, 1]), old)] == [(0x0102, 3)]
    for cut in (bytes([const]), bytes([const, 2])):
        with pytest.raises(Misread, match="has half an instruction"):
            instructions(cut, old)
    (*_, found) = instructions(bytes([number((2, 7), "EXTENDED_ARG"), 1, 0, const, 2, 3]), old)
    assert found.arg == 0x010302


def test_operators_by_number() -> None:
    """``nb_ops`` and ``cmp_op`` of CPython's ``opcode``; from 3.12 and 3.13 on the operator is in the high bits."""
    words = ["+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^"]
    for version, last in (((3, 11), 25), ((3, 13), 25), ((3, 14), 26)):
        v = BY_NUMBER[version]
        assert [v.operator("BINARY_OP", i) for i in range(26)] == words * 2
        assert [v.inplace("BINARY_OP", i) for i in range(26)] == [False] * 13 + [True] * 13
        assert last == 25 or v.operator("BINARY_OP", 26) == "[]"
        with pytest.raises(Misread, match="has an unknown operator"):
            v.operator("BINARY_OP", last + 1)
    assert BY_NUMBER[2, 7].operator("INPLACE_DIVIDE", 0) == "/" and BY_NUMBER[3, 8].operator("BINARY_MODULO", 0) == "%"
    assert BY_NUMBER[3, 8].operator("COMPARE_OP", 0) is None and BY_NUMBER[3, 8].inplace("INPLACE_ADD", 0)
    compared = ["<", "<=", "==", "!=", ">", ">="]
    for version, shift, more in (
        ((3, 8), 0, ["in", "not in", "is", "is not"]),
        ((3, 9), 0, []),
        ((3, 12), 4, []),
        ((3, 13), 5, []),
    ):
        v = BY_NUMBER[version]
        assert [v.comparison(i << shift) for i in range(6 + len(more))] == compared + more
        with pytest.raises(Misread, match="has an unknown comparison"):
            v.comparison((6 + len(more)) << shift)


def test_functions_that_do_not_fit() -> None:
    options = Options(ROOTS, MODULES)

    def invoked(data: bytes, defaults: tuple[Any, ...] = (), closure: tuple[Any, ...] = (), *args: Any) -> list[str]:
        whys = []
        for reading in StoredFunction(data, defaults, closure).readings():
            with pytest.raises(Misread) as e:
                reading.invoke(PlainDomain(None, options, 1000), args, {})  # type: ignore[arg-type]
            whys.append(str(e.value))
        return whys

    plain = marshal.dumps((lambda x: x).__code__)
    assert any("has fewer names than arguments" in w for w in invoked(plain, (1, 2), ()))
    assert any("has 0 free variables and 1 values for them" in w for w in invoked(plain, (), (3,), 1))


# ---- objects by themselves (Python/marshal.c of 2.7 and 3.14)
def _i(n: int) -> bytes:
    return struct.pack("<i", n)


def _s(text: bytes) -> bytes:
    return b"s" + _i(len(text)) + text


OBJECTS: list[tuple[bytes, Any]] = [
    (b"N", None),
    (b"T", True),
    (b"F", False),
    (b".", Ellipsis),
    (b"i" + _i(-7), -7),
    (b"I" + struct.pack("<q", 1 << 40), 1 << 40),
    (b"g" + struct.pack("<d", 2.5), 2.5),
    (b"f\x032.5", 2.5),
    (b"l" + _i(2) + struct.pack("<hh", 5, 1), 5 + (1 << 15)),
    (b"l" + _i(-1) + struct.pack("<h", 5), -5),
    (b"l" + _i(0), 0),
    (_s(b"ab"), b"ab"),
    (b"z\2ab", "ab"),
    (b"u" + _i(2) + "é".encode(), "é"),
    (b"a" + _i(2) + b"ab", "ab"),
    (b")\2NT", (None, True)),
    (b"(" + _i(1) + b"N", (None,)),
    (b"[" + _i(2) + b"TF", [True, False]),
    (b"{z\1ai" + _i(3) + b"0", {"a": 3}),
    (b"{0", {}),
    (b":i" + _i(1) + b"NN", slice(1, None, None)),
    (b")\2" + bytes([ord("z") | 0x80]) + b"\1ar" + _i(0), ("a", "a")),
    (b")\2t" + _i(1) + b"aR" + _i(0), ("a", "a")),
]
BROKEN: list[tuple[bytes, str]] = [
    (b"", "the bytes end too early"),
    (b"i\1", "the bytes end too early"),
    (b"z\5ab", "the bytes end too early"),
    (b"s" + _i(3) + b"ab", "a size is larger than the bytes"),
    (b"(" + _i(-1), "a size is larger than the bytes"),
    (b"y" + bytes(16), "a complex number"),
    (b"<" + _i(1) + b"N", "a set"),
    (b">" + _i(0), "a set"),
    (b"S", "an object of kind 'S'"),
    (b"{)\0N0", "a dict whose keys are not names or numbers"),
    (b"l" + _i(65), "an integer is too large"),
    (b"l" + _i(-65), "an integer is too large"),
    (b"R" + _i(0), "a reference to a name that is not there"),
    (b"R" + _i(-1), "a reference to a name that is not there"),
    (b"r" + _i(0), "a reference to an object that is not there yet"),
    (b"r" + _i(-1), "a reference to an object that is not there yet"),
    (bytes([ord("(") | 0x80]) + _i(1) + b"r" + _i(0), "a reference to an object that is not there yet"),
]


@pytest.mark.parametrize(("data", "want"), OBJECTS)
def test_objects_by_themselves(data: bytes, want: Any) -> None:
    reader = _Reader(data, "3.8")
    found = reader.object()
    assert found == want and type(found) is type(want) and reader.at == len(data)


@pytest.mark.parametrize(("data", "why"), BROKEN)
def test_what_is_wrong_with_an_object(data: bytes, why: str) -> None:
    with pytest.raises(MarshalError, match=f"^{why}"):
        _Reader(data, "3.8").object()


def _parts(layout: Layout, **changes: bytes) -> bytes:
    """A code object of a layout, with some of its parts others."""
    counts = {"2": 1, "3.0": 2, "3.8": 3, "3.11": 3}[layout] + (layout != "3.11") + 2
    parts = {"code": _s(b"d\0S\0"), "consts": b"(" + _i(0), "names": b"(" + _i(0)}
    new = {"slots": b")\1z\1a", "kinds": _s(b" ")}
    old = {"local": b")\1z\1a", "free": b")\1z\1b", "cells": b")\1z\1c"}
    parts |= new if layout == "3.11" else old
    parts |= {"filename": b"z\1f", "name": b"z\1n"} | ({"qualified": b"z\1q"} if layout == "3.11" else {})
    parts |= {"line": _i(1), "table": _s(b"")} | ({"exceptions": _s(b"")} if layout == "3.11" else {})
    return b"c" + _i(0) * counts + b"".join((parts | changes).values())


WRONG: list[tuple[tuple[Layout, ...], dict[str, bytes], str]] = [
    (("2", "3.0", "3.8", "3.11"), {"code": b"z\1a"}, "its code is not bytes"),
    (("2", "3.0", "3.8", "3.11"), {"consts": b"[" + _i(0)}, "its code is not bytes"),
    (("2", "3.0", "3.8", "3.11"), {"names": b"[" + _i(0)}, "its names are not a tuple"),
    (("2", "3.0", "3.8", "3.11"), {"names": b")\1N"}, "a name is not text"),
    (("2", "3.0", "3.8", "3.11"), {"filename": b"N"}, "a name is not text"),
    (("2", "3.0", "3.8", "3.11"), {"name": b"N"}, "a name is not text"),
    (("3.11",), {"qualified": b"N"}, "a name is not text"),
    (("3.11",), {"kinds": _s(b"  ")}, "its local names do not match their kinds"),
    (("3.11",), {"kinds": b"z\1 "}, "its local names do not match their kinds"),
    (("2", "3.0", "3.8"), {"free": b"N"}, "its names are not a tuple"),
]


@pytest.mark.parametrize(("layouts", "changes", "why"), WRONG)
def test_what_is_wrong_with_a_code_object(layouts: tuple[Layout, ...], changes: dict[str, bytes], why: str) -> None:
    for layout in layouts:
        with pytest.raises(MarshalError, match=f"^{why}$"):
            _Reader(_parts(layout, **changes), layout).object()


@pytest.mark.parametrize("layout", ["2", "3.0", "3.8", "3.11"])
def test_names_of_a_code_object(layout: Layout) -> None:
    found = _Reader(_parts(layout), layout).object()
    assert (found.varnames, found.name, found.filename, found.code) == (("a",), "n", "f", b"d\0S\0")
    if layout != "3.11":
        assert (found.freevars, found.cellvars) == (("b",), ("c",))
        return
    for kind, want in ((b"\x40", ((), ("a",), ())), (b"\x80", ((), (), ("a",))), (b"\x60", (("a",), ("a",), ()))):
        found = _Reader(_parts(layout, kinds=_s(kind)), layout).object()
        assert (found.varnames, found.cellvars, found.freevars) == want
