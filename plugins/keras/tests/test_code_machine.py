"""Single instructions of several Pythons, as ``dis`` documents them: what they leave, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest
from test_code_lambdas import OPTIONS, Texts

from convcore_keras.code.bytecode import versions
from convcore_keras.code.domain import CodeRefused, Domain
from convcore_keras.code.frame import CodeFunction
from convcore_keras.code.marshal import LAYOUTS, Code

VERSIONS = {".".join(map(str, v.number)): (layout, v) for layout in LAYOUTS for v in versions(layout)}


def code_of(python: str, text: str, consts: tuple[Any, ...], flags: int = 0, free: tuple[str, ...] = ()) -> Code:
    """Instructions as ``NAME argument; ...``: names are a, b, math, tf; locals x, y."""
    layout, version = VERSIONS[python]
    numbers = {n: c for c, n in version.names.items()}
    raw = bytearray()
    for part in text.split("; "):
        name, _, arg = part.partition(" ")
        number = int(arg or 0)
        raw.append(numbers[name])
        if version.number >= (3, 6):
            raw.append(number & 255)
            raw += bytes(2 * version.caches.get(name, 0))
        elif numbers[name] >= version.have_argument:
            raw += number.to_bytes(2, "little")
    return Code(
        layout, 0, 0, 0, flags, bytes(raw), consts, ("a", "b", "math", "tf"), ("x", "y"), free, ("c",), ("x", "y", "c"), "f", "f"
    )


def run(python: str, text: str, consts: tuple[Any, ...] = (), **more: Any) -> Any:
    """What a function of these instructions gives, or why it is refused."""
    try:
        return CodeFunction(code_of(python, text, consts, **more), VERSIONS[python][1]).invoke(Domain(Texts(), OPTIONS), [], {})
    except CodeRefused as e:
        return f"{type(e).__name__}: {e}"


FIT = "Misread: has instructions that do not fit together"
NO_DICT = "CodeRefused: unpacks keyword arguments from something that is no dict"
NO_NAMES = "Misread: names its arguments by something else than text"
ADD = code_of("3.8", "LOAD_CONST 0; RETURN_VALUE", (5,))
CASES: list[tuple[str, str, tuple[Any, ...], Any]] = [
    # ---- constants and names
    ("2.7", "LOAD_CONST 0; RETURN_VALUE", (b"ab",), "ab"),
    ("3.8", "LOAD_CONST 0; RETURN_VALUE", (b"ab",), b"ab"),
    ("3.8", "LOAD_CONST 1; RETURN_VALUE", (3,), FIT),
    ("3.14", "LOAD_SMALL_INT 7; RETURN_VALUE", (), 7),
    ("3.8", "LOAD_CONST 0; STORE_FAST 1; LOAD_FAST 1; RETURN_VALUE", (3,), 3),
    (
        "3.8",
        "LOAD_CONST 0; STORE_FAST 1; DELETE_FAST 1; LOAD_FAST 1; RETURN_VALUE",
        (3,),
        "Misread: reads 'y' before it has a value",
    ),
    ("3.8", "LOAD_DEREF 0; RETURN_VALUE", (), "Misread: reads 'c' before it has a value"),
    ("3.8", "LOAD_CONST 0; STORE_DEREF 0; LOAD_DEREF 0; RETURN_VALUE", (3,), 3),
    (
        "3.13",
        "LOAD_CONST 0; LOAD_CONST 1; STORE_FAST_STORE_FAST 1; LOAD_FAST_LOAD_FAST 1; BUILD_TUPLE 2; RETURN_VALUE",
        (3, 4),
        (4, 3),
    ),
    ("3.13", "LOAD_CONST 0; STORE_FAST_LOAD_FAST 0; RETURN_VALUE", (3,), 3),
    (
        "3.12",
        "LOAD_CONST 0; STORE_FAST 0; LOAD_FAST_AND_CLEAR 0; LOAD_FAST 0; RETURN_VALUE",
        (3,),
        "Misread: reads 'x' before it has a value",
    ),
    (
        "3.8",
        "LOAD_CONST 0; LOAD_CONST 1; IMPORT_NAME 3; RETURN_VALUE",
        (1, None),
        "CodeRefused: imports 'tf' from its own package",
    ),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; IMPORT_NAME 1; RETURN_VALUE", (0, None), "CodeRefused: imports 'b'"),
    ("3.8", "LOAD_CONST 0; IMPORT_FROM 1; RETURN_VALUE", (3,), "CodeRefused: imports from something that is no module"),
    # ---- the stack
    ("3.8", "POP_TOP; RETURN_VALUE", (), FIT),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; ROT_TWO; BUILD_TUPLE 2; RETURN_VALUE", (1, 2), (2, 1)),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; ROT_THREE; BUILD_TUPLE 3; RETURN_VALUE", (1, 2, 3), (3, 1, 2)),
    (
        "3.8",
        "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; LOAD_CONST 3; ROT_FOUR; BUILD_TUPLE 4; RETURN_VALUE",
        (1, 2, 3, 4),
        (4, 1, 2, 3),
    ),
    ("3.8", "LOAD_CONST 0; ROT_TWO; RETURN_VALUE", (1,), FIT),
    ("3.11", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; SWAP 3; BUILD_TUPLE 3; RETURN_VALUE", (1, 2, 3), (3, 2, 1)),
    ("3.11", "LOAD_CONST 0; LOAD_CONST 1; COPY 2; BUILD_TUPLE 3; RETURN_VALUE", (1, 2), (1, 2, 1)),
    ("3.8", "LOAD_CONST 0; DUP_TOP; BUILD_TUPLE 2; RETURN_VALUE", (1,), (1, 1)),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; DUP_TOP_TWO; BUILD_TUPLE 4; RETURN_VALUE", (1, 2), (1, 2, 1, 2)),
    # ---- operations
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BINARY_SUBSCR; RETURN_VALUE", ((5, 6), 1), 6),
    ("3.12", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; BINARY_SLICE; RETURN_VALUE", ((5, 6, 7, 8), 1, 3), (6, 7)),
    ("2.7", "LOAD_CONST 0; SLICE+0; RETURN_VALUE", ((5, 6, 7, 8),), (5, 6, 7, 8)),
    ("2.7", "LOAD_CONST 0; LOAD_CONST 1; SLICE+1; RETURN_VALUE", ((5, 6, 7, 8), 1), (6, 7, 8)),
    ("2.7", "LOAD_CONST 0; LOAD_CONST 1; SLICE+2; RETURN_VALUE", ((5, 6, 7, 8), 1), (5,)),
    ("2.7", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; SLICE+3; RETURN_VALUE", ((5, 6, 7, 8), 1, 3), (6, 7)),
    ("2.7", "LOAD_CONST 0; LOAD_CONST 1; BINARY_DIVIDE; RETURN_VALUE", (7, 2), 3),
    ("2.7", "LOAD_CONST 0; LOAD_CONST 1; BINARY_DIVIDE; RETURN_VALUE", (7, 2.0), 3.5),
    ("3.8", "LOAD_CONST 0; UNARY_NEGATIVE; RETURN_VALUE", (7,), -7),
    ("3.8", "LOAD_CONST 0; UNARY_INVERT; RETURN_VALUE", (7,), -8),
    ("3.8", "LOAD_CONST 0; UNARY_NOT; RETURN_VALUE", (7,), False),
    ("3.13", "LOAD_CONST 0; TO_BOOL; RETURN_VALUE", (7,), True),
    ("3.9", "LOAD_CONST 0; LOAD_CONST 1; CONTAINS_OP 0; RETURN_VALUE", (5, (5, 6)), True),
    ("3.9", "LOAD_CONST 0; LOAD_CONST 1; CONTAINS_OP 1; RETURN_VALUE", (5, (5, 6)), False),
    ("3.9", "LOAD_CONST 0; LOAD_CONST 0; IS_OP 0; RETURN_VALUE", (None,), True),
    ("3.9", "LOAD_CONST 0; LOAD_CONST 0; IS_OP 1; RETURN_VALUE", (None,), False),
    # ---- making things
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_LIST 2; RETURN_VALUE", (1, 2), [1, 2]),
    ("3.8", "LOAD_CONST 0; BUILD_TUPLE 2; RETURN_VALUE", (1,), FIT),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_SLICE 2; RETURN_VALUE", (1, 2), slice(1, 2)),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; BUILD_SLICE 3; RETURN_VALUE", (1, 2, 3), slice(1, 2, 3)),
    ("3.8", "LOAD_CONST 0; BUILD_SLICE 1; RETURN_VALUE", (1,), FIT),
    (
        "3.8",
        "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; LOAD_CONST 3; BUILD_MAP 2; RETURN_VALUE",
        ("a", 1, "b", 2),
        {"a": 1, "b": 2},
    ),
    (
        "3.8",
        "LOAD_CONST 0; LOAD_CONST 1; BUILD_MAP 1; RETURN_VALUE",
        ((1,), 2),
        "CodeRefused: makes a dict whose keys are not names or numbers",
    ),
    ("2.7", "BUILD_MAP 1; LOAD_CONST 0; LOAD_CONST 1; STORE_MAP; RETURN_VALUE", (1, "a"), {"a": 1}),
    ("2.7", "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; STORE_MAP; RETURN_VALUE", (1, "a", 3), FIT),
    ("3.7", "BUILD_MAP 0; LOAD_CONST 0; LOAD_CONST 1; MAP_ADD 1; RETURN_VALUE", (1, "a"), {"a": 1}),
    ("3.8", "BUILD_MAP 0; LOAD_CONST 0; LOAD_CONST 1; MAP_ADD 1; RETURN_VALUE", ("a", 1), {"a": 1}),
    (
        "3.8",
        "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; BUILD_CONST_KEY_MAP 2; RETURN_VALUE",
        (1, 2, ("a", "b")),
        {"a": 1, "b": 2},
    ),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; LOAD_CONST 2; BUILD_CONST_KEY_MAP 1; RETURN_VALUE", (1, 2, ("a", "b")), FIT),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_CONST_KEY_MAP 1; RETURN_VALUE", (1, "a"), FIT),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_STRING 2; RETURN_VALUE", ("a", 3), "a3"),
    ("3.8", "LOAD_CONST 0; FORMAT_VALUE 0; RETURN_VALUE", (3,), "3"),
    ("3.8", "LOAD_CONST 0; FORMAT_VALUE 1; RETURN_VALUE", (3,), "3"),
    ("3.8", "LOAD_CONST 0; FORMAT_VALUE 2; RETURN_VALUE", (3,), "CodeRefused: formats a value in a certain way"),
    ("3.13", "LOAD_CONST 0; CONVERT_VALUE 1; RETURN_VALUE", (3,), "3"),
    ("3.13", "LOAD_CONST 0; CONVERT_VALUE 3; RETURN_VALUE", (3,), "CodeRefused: formats a value in a certain way"),
    ("3.13", "LOAD_CONST 0; FORMAT_SIMPLE; RETURN_VALUE", (3,), "3"),
    ("3.8", "BUILD_LIST 0; LOAD_CONST 0; LIST_APPEND 1; RETURN_VALUE", (3,), [3]),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 0; LIST_APPEND 1; RETURN_VALUE", (3,), FIT),
    ("3.9", "BUILD_LIST 0; LOAD_CONST 0; LIST_EXTEND 1; RETURN_VALUE", ((3, 4),), [3, 4]),
    ("3.9", "BUILD_LIST 0; LOAD_CONST 0; LIST_EXTEND 1; LIST_TO_TUPLE; RETURN_VALUE", ((3, 4),), (3, 4)),
    ("3.9", "LOAD_CONST 0; LIST_TO_TUPLE; RETURN_VALUE", (3,), FIT),
    ("3.12", "BUILD_LIST 0; LOAD_CONST 0; LIST_EXTEND 1; CALL_INTRINSIC_1 6; RETURN_VALUE", ((3, 4),), (3, 4)),
    ("3.12", "LOAD_CONST 0; CALL_INTRINSIC_1 5; RETURN_VALUE", (True,), 1),
    ("3.12", "LOAD_CONST 0; CALL_INTRINSIC_1 4; RETURN_VALUE", (3,), "CodeRefused: uses the interpreter's function 4"),
    ("3.9", "BUILD_MAP 0; LOAD_CONST 0; LOAD_CONST 1; BUILD_MAP 1; DICT_UPDATE 1; RETURN_VALUE", ("a", 3), {"a": 3}),
    ("3.9", "BUILD_MAP 0; LOAD_CONST 0; DICT_MERGE 1; RETURN_VALUE", ((1,),), NO_DICT),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_TUPLE_UNPACK 2; RETURN_VALUE", ((1, 2), "ab"), (1, 2, "a", "b")),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_LIST_UNPACK 2; RETURN_VALUE", ((1, 2), "ab"), [1, 2, "a", "b"]),
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; BUILD_MAP 1; BUILD_MAP 0; BUILD_MAP_UNPACK 2; RETURN_VALUE", ("a", 1), {"a": 1}),
    ("3.8", "LOAD_CONST 0; BUILD_MAP 0; BUILD_MAP_UNPACK 2; RETURN_VALUE", (3,), NO_DICT),
    ("3.8", "LOAD_CONST 0; UNPACK_SEQUENCE 2; BUILD_TUPLE 2; RETURN_VALUE", ((1, 2),), (2, 1)),
    (
        "3.8",
        "LOAD_CONST 0; UNPACK_SEQUENCE 3; BUILD_TUPLE 3; RETURN_VALUE",
        ((1, 2),),
        "CodeRefused: unpacks 2 items into 3 names",
    ),
    # ---- calls
    (
        "3.11",
        "LOAD_GLOBAL 1; LOAD_CONST 0; KW_NAMES 1; PRECALL 1; CALL 1; RETURN_VALUE",
        (3, ("a", "b")),
        "Misread: names more arguments than it gives",
    ),
    ("3.11", "LOAD_GLOBAL 1; LOAD_CONST 0; KW_NAMES 1; PRECALL 1; CALL 1; RETURN_VALUE", (3, (1,)), NO_NAMES),
    ("3.8", "LOAD_GLOBAL 0; LOAD_CONST 0; LOAD_CONST 1; CALL_FUNCTION_KW 1; RETURN_VALUE", (3, 4), NO_NAMES),
    ("3.5", "LOAD_GLOBAL 0; LOAD_CONST 0; CALL_FUNCTION_KW 0; RETURN_VALUE", (3,), NO_DICT),
    ("3.5", "LOAD_GLOBAL 0; LOAD_CONST 0; LOAD_CONST 1; CALL_FUNCTION_VAR_KW 0; RETURN_VALUE", ((3,), 4), NO_DICT),
    ("3.5", "LOAD_GLOBAL 0; LOAD_CONST 0; LOAD_CONST 1; CALL_FUNCTION 256; RETURN_VALUE", (3, 4), NO_NAMES),
    ("3.8", "LOAD_GLOBAL 0; LOAD_CONST 0; LOAD_CONST 1; CALL_FUNCTION_EX 1; RETURN_VALUE", ((3,), 4), NO_DICT),
    ("3.8", "LOAD_GLOBAL 0; LOAD_CONST 0; CALL_FUNCTION 1; RETURN_VALUE", (3,), "CodeRefused: calls the unknown name 'a'"),
    ("3.8", "LOAD_GLOBAL 0; LOAD_CONST 0; CALL_FUNCTION_EX 0; RETURN_VALUE", ((3,),), "CodeRefused: calls the unknown name 'a'"),
    # ---- functions inside
    ("3.8", "LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 0; CALL_FUNCTION 0; RETURN_VALUE", (ADD, "g"), 5),
    (
        "3.8",
        "LOAD_CONST 1; LOAD_CONST 1; MAKE_FUNCTION 0; RETURN_VALUE",
        (ADD, "g"),
        "Misread: makes a function of something that is no code",
    ),
    (
        "3.8",
        "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 1; RETURN_VALUE",
        (ADD, "g", 3),
        "Misread: makes a function of something that is no code",
    ),
    (
        "3.8",
        "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 2; RETURN_VALUE",
        (ADD, "g", 3),
        "Misread: makes a function of something that is no code",
    ),
    (
        "3.8",
        "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 8; RETURN_VALUE",
        (ADD, "g", 3),
        "Misread: makes a function of something that is no code",
    ),
    ("3.8", "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 4; CALL_FUNCTION 0; RETURN_VALUE", (ADD, "g", 3), 5),
    (
        "3.8",
        "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 1; CALL_FUNCTION 0; RETURN_VALUE",
        (ADD, "g", (3,)),
        "Misread: has fewer names than arguments",
    ),
    (
        "3.8",
        "LOAD_CONST 2; LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 8; CALL_FUNCTION 0; RETURN_VALUE",
        (ADD, "g", (3,)),
        "Misread: has 0 free variables and 1 values for them",
    ),
    (
        "3.5",
        "LOAD_CONST 0; LOAD_CONST 1; MAKE_FUNCTION 256; RETURN_VALUE",
        (ADD, "g"),
        "CodeRefused: makes a function with keyword defaults or annotations",
    ),
    (
        "3.13",
        "LOAD_CONST 1; LOAD_CONST 0; SET_FUNCTION_ATTRIBUTE 1; RETURN_VALUE",
        (3, (4,)),
        "Misread: sets an attribute of something that is no function",
    ),
    (
        "3.13",
        "LOAD_CONST 1; LOAD_CONST 0; MAKE_FUNCTION; SET_FUNCTION_ATTRIBUTE 1; RETURN_VALUE",
        (ADD, 3),
        "Misread: sets the attribute 1 of a function",
    ),
    (
        "3.13",
        "LOAD_CONST 1; LOAD_CONST 0; MAKE_FUNCTION; SET_FUNCTION_ATTRIBUTE 2; RETURN_VALUE",
        (ADD, 3),
        "Misread: sets the attribute 2 of a function",
    ),
    (
        "3.13",
        "LOAD_CONST 1; LOAD_CONST 0; MAKE_FUNCTION; SET_FUNCTION_ATTRIBUTE 8; RETURN_VALUE",
        (ADD, [3]),
        "Misread: sets the attribute 8 of a function",
    ),
    (
        "3.13",
        "LOAD_CONST 1; LOAD_CONST 0; MAKE_FUNCTION; SET_FUNCTION_ATTRIBUTE 3; RETURN_VALUE",
        (ADD, (3,)),
        "Misread: sets the attribute 3 of a function",
    ),
    # ---- jumps
    ("3.8", "LOAD_CONST 0; FOR_ITER 2; RETURN_VALUE", (3,), "Misread: loops over something that is no sequence"),
    ("3.8", "LOAD_CONST 0; GET_ITER; FOR_ITER 2; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", ((4, 5), 7), 4),
    ("3.8", "LOAD_CONST 0; GET_ITER; FOR_ITER 2; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", ((), 7), 7),
    ("3.8", "LOAD_CONST 0; GET_ITER; FOR_ITER 99; RETURN_VALUE", ((),), "Misread: jumps to no instruction"),
    ("3.12", "LOAD_CONST 0; GET_ITER; FOR_ITER 1; RETURN_VALUE; END_FOR; LOAD_CONST 1; RETURN_VALUE", ((), 7), 7),
    (
        "3.12",
        "LOAD_CONST 0; GET_ITER; FOR_ITER 1; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE",
        ((), 7),
        "Misread: ends a loop in an unknown way",
    ),
    ("3.13", "LOAD_CONST 0; GET_ITER; FOR_ITER 1; RETURN_VALUE; END_FOR; POP_TOP; LOAD_CONST 1; RETURN_VALUE", ((), 7), 7),
    ("3.8", "JUMP_FORWARD 2; LOAD_CONST 0; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.8", "JUMP_ABSOLUTE 4; LOAD_CONST 0; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.10", "JUMP_ABSOLUTE 2; LOAD_CONST 0; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.10", "JUMP_FORWARD 1; LOAD_CONST 0; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.8", "JUMP_ABSOLUTE 3; LOAD_CONST 0; LOAD_CONST 1; RETURN_VALUE", (1, 2), "Misread: jumps to no instruction"),
    ("3.8", "LOAD_CONST 0; POP_JUMP_IF_TRUE 8; LOAD_CONST 0; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.8", "LOAD_CONST 0; POP_JUMP_IF_FALSE 8; LOAD_CONST 0; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", (1, 2), 1),
    ("3.8", "LOAD_CONST 0; JUMP_IF_TRUE_OR_POP 6; LOAD_CONST 1; RETURN_VALUE", (1, 2), 1),
    ("3.8", "LOAD_CONST 0; JUMP_IF_FALSE_OR_POP 6; LOAD_CONST 1; RETURN_VALUE", (1, 2), 2),
    ("3.8", "LOAD_CONST 0; JUMP_IF_FALSE_OR_POP 6; LOAD_CONST 1; RETURN_VALUE", (0, 2), 0),
    ("3.12", "LOAD_CONST 0; POP_JUMP_IF_NONE 2; LOAD_CONST 0; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", (None, 2), 2),
    ("3.12", "LOAD_CONST 0; POP_JUMP_IF_NOT_NONE 2; LOAD_CONST 0; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", (None, 2), None),
    ("3.12", "LOAD_CONST 0; POP_JUMP_IF_NOT_NONE 2; LOAD_CONST 0; RETURN_VALUE; LOAD_CONST 1; RETURN_VALUE", (3, 2), 2),
    # ---- ends
    ("3.12", "RETURN_CONST 0", (3,), 3),
    ("3.8", "LOAD_CONST 0", (3,), "Misread: has no end"),
    ("3.8", "RETURN_VALUE", (), FIT),
]


@pytest.mark.parametrize(("python", "text", "consts", "want"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_instructions(python: str, text: str, consts: tuple[Any, ...], want: Any) -> None:
    found = run(python, text, consts)
    assert found == want and type(found) is type(want)


@pytest.mark.parametrize("flag", [0x20, 0x80, 0x100, 0x200])
def test_generators_and_coroutines_are_refused(flag: int) -> None:
    assert run("3.8", "LOAD_CONST 0; RETURN_VALUE", (3,), flags=flag) == "CodeRefused: is a generator or coroutine"
    assert run("3.8", "LOAD_CONST 0; RETURN_VALUE", (3,), flags=flag >> 5 if flag == 0x20 else 0x40) == 3


def test_free_variables_have_values() -> None:
    assert run("3.8", "LOAD_CONST 0; RETURN_VALUE", (3,), free=("z",)) == "Misread: has 1 free variables and 0 values for them"
