"""What the readers of PyTorch's files refuse, by its words: pickles, views of storages, sizes, graphs, safetensors headers.

Nothing of torch runs; Python's pickle and ``safetensors``' published format say what is sound.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
from typing import Any

import pytest

from convcore.plugin import BadFileError, ConvcoreError
from convcore_pytorch.files import limits
from convcore_pytorch.files.elements import BY_CODE, BY_EXPORT, BY_NAME
from convcore_pytorch.files.graphs import argument_value, read_graph, tensor_value
from convcore_pytorch.files.pickles import Pickle
from convcore_pytorch.files.program import Constant, Device, ElementType, Ref
from convcore_pytorch.files.safetensors import read_safetensors
from convcore_pytorch.files.storage import Region, Slice, Storage, tensor
from convcore_pytorch.files.symbols import parse_expr


def _no_id(_pid: Any) -> Any:
    raise BadFileError("a persistent id")


def unpickled(raw: bytes) -> Any:
    return Pickle(raw, 0, _no_id, "f", foreign=False).load()[0]


# ---- pickles
VALUES: list[Any] = [
    None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, 2**31, -(2**31), 2**40, -(2**40),
    2**100, -(2**100), 0.5, -1e300, "",
    "a",
    "é" * 300, "\u20ac\U0001f600", b"", b"ab", b"x" * 300, [], [1], [1, 2, 3], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4),
    {}, {"a": 1}, {"a": 1, "b": [2]},
    {1: {2: (3,)}}, [[1, "a"], ["a", (1,)]], {(1, 2): 3}, "a\nb'c\"d\\e\x00",
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_what_pickle_wrote(protocol: int) -> None:
    for value in VALUES:
        if isinstance(value, bytes) and protocol < 3:
            continue  # by calls of builtins
        found = unpickled(pickle.dumps(value, protocol))
        assert found == value and type(found) is type(value), value


def test_what_is_shared_stays_shared() -> None:
    inner = [1]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        a, b, c = unpickled(pickle.dumps((inner, inner, {"k": inner}), protocol))
        assert a is b and c["k"] is a


OPCODES = {
    "cut": (b"\x80\x02K", "the pickle is truncated"), "cut text": (b"U\x05ab", "the pickle is truncated"),
    "no end": (b"K\x01", "the pickle is truncated"), "line": (b"I12", "a line without an end"),
    "negative": (b"T\xff\xff\xff\xff.", "a negative length"), "no number": (b"Iab\n.", "a number that is none"),
    "no float": (b"Fx\n.", "a number that is none"), "no long": (b"LxL\n.", "a number that is none"),
    "long":
        (b"\x8b" + struct.pack("<i", limits.INTEGER + 1) + bytes(99) + b".", f"an integer of more than {limits.INTEGER} bytes"),
    "empty": (b".", "the pickle's stack is empty"), "pop": (b"\x80\x020.", "the pickle's stack is empty"),
    "no mark": (b"t.", "the pickle has no mark"), "unmade": (b"h\x05.", "refers to an object that it has not made"),
    "list as key": (b"}]K\x01s.", "a key that is a list"), "half a dict": (b"(K\x01d.", "a dict with a key without a value"),
    "half of items": (b"}(K\x01u.", "a dict with a key without a value"), "append to a number": (b"K\x01K\x02a.",
    "items are appended to a int"),
    "appends to a dict": (b"}(K\x02e.", "items are appended to a dict"), "set in a list": (b"]K\x01K\x02s.",
    "items are set in a list"),
    "class by number": (b"K\x01K\x02\x93.", "a class whose name is no text"), "no tuple": (b"ctorch\nSize\nK\x01R.",
    "arguments that are no tuple"),
    "call of a number": (b"K\x01)R.", "something that is no class or function is called"),
    "object of a number": (b"K\x01)\x81.", "an object of something that is no class"),
    "protocol": (b"\x80\x09N.", "an unknown pickle protocol"), "quotes": (b"Sab\n.", "text without quotes"),
    "escape": (b"S'\\x'\n.", "text that is damaged"), "utf-8": (b"X\x01\x00\x00\x00\xff.", "text that is not UTF-8"),
    "opcode": (b"\xff.", "pickle opcode 0xff is unknown or not read"), "state of a number": (b"K\x01}b.", "state for a int"),
    "large key": (b"}\x8a\x09" + bytes(8) + b"\x01K\x01s.", "an integer key of more than 60 bits"),
    "persistent": (b"K\x01Q.", "a persistent id"), "exec": (b"cbuiltins\nexec\n(S'1'\ntR.", "exec"),
    "memory": (b"]" + b"2" * 20, "the pickle is truncated"),
}  # fmt: skip


@pytest.mark.parametrize("what", OPCODES)
def test_pickles_that_are_refused(what: str) -> None:
    raw, why = OPCODES[what]
    with pytest.raises(ConvcoreError) as found:
        unpickled(raw)
    assert why in str(found.value)


# ---- views
F32 = BY_NAME["float32"]


def _storage(n: int) -> Storage:
    return Storage("s", F32, 4 * n, Region("f", 0, 4 * n, bytes(4 * n)))


VIEWS = [
    (24, (2, 3, 4), (12, 4, 1), 0, ""), (24, (2, 3, 4), (12, 4, 1), 1, "reaches element 25 of storage 's', which has 24"),
    (24, (4, 6), (1, 4), 0, ""), (24, (5, 6), (1, 4), 0, "reaches element 25"), (24, (), (), 23, ""), (24, (),
    (), 24, "reaches element 25"),
    (1, (0, 9), (9, 1), 0, ""), (1, (9, 0), (1, 1), 5, ""), (24, (2,), (1,), -1, "a tensor's offset is -1"), (24, (2,),
    (1,), True, "a tensor's offset is True"),
    (24, (2,), (1,), 1 << 62, "a tensor's offset is"), (24, (2,), (1, 1), 0, "has 1 sizes and 2 strides"), (24, (1,) * 65,
    (1,) * 65, 0, "has 65 sizes"),
    (24, (1,) * 64, (1,) * 64, 0, ""), (24, (-1,), (1,), 0, "shape is not a list of sizes"), (24, (2.0,),
    (1,), 0, "shape is not a list of sizes"),
    (24, (2,), (-1,), 0, "strides is not a list of sizes"), (24, 3, (1,), 0, "shape is not a list of sizes"), (24, (True,),
    (1,), 0, "shape is not a list"),
    (1, (limits.WIDEN // 4,), (0,), 0, ""), (1, (limits.WIDEN // 4 + 1,), (0,), 0, "is expanded from a storage of 4 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("room", "shape", "strides", "offset", "why"), VIEWS)
def test_views_lie_inside_their_storage(room: int, shape: Any, strides: Any, offset: Any, why: str) -> None:
    if not why:
        made = tensor(_storage(room), F32, shape, strides, offset)
        assert (made.shape, made.strides, made.offset) == (shape, strides, offset)
        return
    with pytest.raises(BadFileError) as found:
        tensor(_storage(room), F32, shape, strides, offset)
    assert why in str(found.value)


def test_a_part_of_a_storage_has_its_own_bounds() -> None:
    part = Slice(_storage(10), 4, 5)
    assert tensor(part, F32, (5,), (1,), 0).offset == 4 and tensor(part, F32, (3,), (2,), 0).offset == 4
    for shape, offset in (((6,), 0), ((5,), 1)):
        with pytest.raises(BadFileError, match="reaches element 6"):
            tensor(part, F32, shape, (1,), offset)


def test_regions_end_where_they_end() -> None:
    whole = Region("f", 2, 6, bytes(range(10)))
    assert (
        whole.read(0, 6) == bytes(range(2, 8)) and whole.part(1, 5).read(0, 5) == bytes(range(3, 8)) and whole.read(6, 0) == b""
    )
    assert whole.part(6, 0).array().size == 0 and whole.array().tolist() == list(range(2, 8))
    for at, n in ((0, 7), (6, 1), (-1, 2), (2, -1)):
        for work in (whole.read, whole.part):
            with pytest.raises(BadFileError, match="truncated"):
                work(at, n)


# ---- sizes and graphs of exported programs
SIZES = {
    "s0": "s0", "4": "4", "-3": "-3", "s0 + 1": "add(s0, 1)", "2*s0 - s1": "sub(mul(2, s0), s1)",
    "s0//2": "floordiv(s0, 2)", "s0 % 3": "mod(s0, 3)",
    "s0**2": "pow(s0, 2)", "s0/4": "div(s0, 4)", "-s0": "neg(s0)", "Max(1, s0)": "Max(1, s0)", "s0 < 5": "lt(s0, 5)",
    "s0 >= s1": "ge(s0, s1)",
    "Eq(s0, 3)": "Eq(s0, 3)", "s0 != 3": "ne(s0, 3)", "s0 == 3": "eq(s0, 3)", "s0 <= 3": "le(s0, 3)", "s0 > 3": "gt(s0, 3)",
    "Add(Symbol('s0', integer=True), Integer(1))": "add(s0, 1)", "Mul(Integer(-1), Symbol('u0'))": "mul(-1, u0)",
    "Pow(Symbol('s0'), Integer(-1))": "pow(s0, -1)", "FloorDiv(Symbol('s0'), Integer(2))": "floordiv(s0, 2)",
    "Float('0.5', precision=53)": "0.5",
    "StrictLessThan(Symbol('a'), Integer(2))": "lt(a, 2)", "LessThan(Symbol('a'), Integer(2))": "le(a, 2)",
    "Equality(Symbol('a'), Integer(2))": "eq(a, 2)",
    "StrictGreaterThan(Symbol('a'), Integer(2))": "gt(a, 2)", "GreaterThan(Symbol('a'), Integer(2))": "ge(a, 2)",
    "Unequality(Symbol('a'), Integer(2))": "ne(a, 2)",
    "PythonMod(Symbol('a'), Integer(2))": "mod(a, 2)", "Mod(Symbol('a'), Integer(2))": "mod(a, 2)",
}  # fmt: skip


def test_sizes_are_read_in_both_spellings() -> None:
    assert {t: str(parse_expr(t, "f")) for t in SIZES} == SIZES
    assert str(parse_expr("a" * 20_000, "f")) and str(parse_expr("-" * limits.DEPTH + "1", "f"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 20_001, "a size of 20001 characters"), ("a +", "'a +' is no size"), ("[1]", "a size with List in it"),
        ("a < b < c", "a size with Compare in it"), ("a if b else c", "a size with IfExp in it"), ("True",
        "a size with Constant in it"),
        ("'a'", "a size with Constant in it"), ("~a", "a size with UnaryOp in it"), ("a @ b", "a size with BinOp in it"),
        ("-" * (limits.DEPTH + 1) + "a", f"a size nested more than {limits.DEPTH} deep"), ("f()()", "a size with Call in it"),
    ],
    ids=lambda v: v[:12],
)  # fmt: skip
def test_what_is_no_size(text: str, why: str) -> None:
    with pytest.raises(BadFileError) as found:
        parse_expr(text, "f")
    assert why in str(found.value)


F, I64 = next(c for c, e in BY_EXPORT.items() if e is F32), next(c for c, e in BY_EXPORT.items() if e.name == "int64")
ARGUMENTS: list[tuple[Any, Any]] = [
    ({"as_none": True}, None), ({"as_int": 3}, 3), ({"as_ints": [1, 2]}, [1, 2]), ({"as_float": 2}, 2.0),
    ({"as_float": "Infinity"}, math.inf),
    ({"as_float": "-Infinity"}, -math.inf), ({"as_bool": True}, True), ({"as_string": "a"}, "a"),
    ({"as_tensor": {"name": "x"}}, Ref("x")),
    ({"as_tensors": [{"name": "x"}, {"name": "y"}]}, [Ref("x"), Ref("y")]), ({"as_sym_int": {"as_name": "s"}}, Ref("s")),
    ({"as_sym_int": {"as_int": 4}}, 4), ({"as_sym_ints": [{"as_int": 4}, {"as_name": "s"}]}, [4, Ref("s")]),
    ({"as_scalar_type": I64}, ElementType("int64")),
    ({"as_layout": 7}, Constant("layout", "strided")), ({"as_memory_format": 2}, Constant("memory_format", "channels_last")),
    ({"as_device": {"type": "cpu"}}, Device("cpu", None)), ({"as_complex": {"real": 1, "imag": -2.5}}, 1 - 2.5j),
    ({"as_optional_tensor": {"as_none": True}}, None),
    ({"as_optional_tensors": [{"as_none": True}, {"as_tensor": {"name": "x"}}]}, [None, Ref("x")]),
    ({"as_operator": "torch.ops.aten.add.Tensor"}, Constant("operator", "aten.add.Tensor")), ({"as_int_lists": [[1],
    [2, 3]]}, [[1], [2, 3]]),
]  # fmt: skip


def test_arguments_are_read_by_their_kind() -> None:
    assert [argument_value(a, "f", 0) for a, _ in ARGUMENTS] == [v for _, v in ARGUMENTS]
    assert math.isnan(argument_value({"as_float": "NaN"}, "f", 0))
    assert {e.name for e in BY_EXPORT.values()} == {e.name for e in BY_CODE.values()} == set(BY_NAME)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "an argument without exactly one value"),
        ({"as_int": 1, "as_none": True}, "an argument without exactly one value"), (3, "an argument without"),
        ({"as_odd": 1}, "an argument of unknown kind 'as_odd'"), ({"as_int": "a"}, "an argument is a str where int is due"),
        ({"as_int": True}, "an argument is a bool where int is due"), ({"as_ints": 3}, "a list is due, not a int"),
        ({"as_float": "x"}, "'x' is no number"),
        ({"as_float": True}, "a number is due, not a bool"), ({"as_float": None}, "a number is due"),
        ({"as_scalar_type": 99}, "element type number 99 is not read"),
        ({"as_layout": 8}, "layout number 8 is unknown"), ({"as_layout": -1}, "layout number -1 is unknown"),
        ({"as_memory_format": 5}, "memory_format number 5 is unknown"),
        ({"as_tensor": 3}, "an object is due, not int"), ({"as_complex": 3}, "a number is due, not a NoneType"),
        ({"as_bool": 1}, "an argument is a int where bool"),
        ({"as_graph": {"name": "g"}}, "graph"), ({"as_sym_int": {"as_int": "a"}}, "as_int"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_are_none(entry: Any, why: str) -> None:
    with pytest.raises(BadFileError) as found:
        argument_value(entry, "f", 0)
    assert why in str(found.value)


def _graph(*nodes: dict[str, Any], outputs: Any = ()) -> dict[str, Any]:
    return {"nodes": list(nodes), "inputs": [{"as_tensor": {"name": "x"}}], "outputs": list(outputs), "tensor_values": {}}


def _node(name: str, *inputs: str, outputs: Any = None) -> dict[str, Any]:
    args = [{"name": "a", "arg": {"as_tensor": {"name": i}}} for i in inputs]
    return {
        "target": "torch.ops.aten.relu.default",
        "inputs": args,
        "outputs": [{"as_tensor": {"name": name}}] if outputs is None else outputs,
    }


def test_a_graph_makes_names_once_before_they_are_used() -> None:
    found = read_graph(_graph(_node("y", "x"), _node("z", "y"), outputs=[{"as_tensor": {"name": "z"}}]), "", "f", 0)
    assert [(n.name, n.target) for n in found.nodes] == [("y", "aten.relu.default"), ("z", "aten.relu.default")]
    for entry, why in (
        (_graph(_node("y", "x"), _node("y", "x")), "value 'y' is made twice"), (_graph(_node("x", "x")),
        "value 'x' is made twice"),
        (_graph(_node("y", "q")), "uses 'q', which nothing makes before it"), (_graph(_node("y", "z"), _node("z", "x")),
        "uses 'z', which nothing makes"),
        (_graph(outputs=[{"as_tensor": {"name": "q"}}]), "uses 'q', which nothing makes"), (_graph(_node("y",
        "x", outputs=[{"as_int": 3}])), "a result that is no value"),
    ):  # fmt: skip
        with pytest.raises(BadFileError) as error:
            read_graph(entry, "", "f", 0)
        assert why in str(error.value)
    with pytest.raises(BadFileError, match=f"graphs nested more than {limits.DEPTH} deep"):
        read_graph(_graph(), "", "f", limits.DEPTH + 1)
    assert read_graph(_graph(), "", "f", limits.DEPTH).nodes == ()


def test_facts_of_tensors() -> None:
    entry = {"dtype": F, "sizes": [{"as_int": 2}, {"as_expr": {"expr_str": "s0"}}], "strides": [{"as_int": 3}, {"as_int": 1}]}
    found = tensor_value(entry, "f")
    assert (found.dtype, str(found.shape[1]), found.requires_grad, found.device) == ("float32", "s0", False, "cpu")
    for more, why in (
        ({"dtype": 99}, "element type number 99"),
        ({"layout": 1}, "a tensor that is not strided"),
        ({"sizes": 3}, "sizes"),
    ):
        with pytest.raises(BadFileError, match=why):
            tensor_value({**entry, **more}, "f")


# ---- safetensors
def _safetensors(header: Any, data: bytes = bytes(24), size: int | None = None) -> Region:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw = struct.pack("<Q", len(text) if size is None else size) + text + data
    return Region("f", 0, len(raw), raw)


def _entry(dtype: str = "F32", shape: Any = (2, 3), span: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


def test_a_sound_header() -> None:
    found, metadata = read_safetensors(
        _safetensors(
            {"__metadata__": {"k": "v"}, "a": _entry(span=(0, 12), shape=(3,)), "b": _entry(span=(12, 24), shape=(3, 1))}
        )
    )
    assert {k: (v.shape, v.strides) for k, v in found.items()} == {"a": ((3,), (1,)), "b": ((3, 1), (1, 1))} and metadata == {
        "k": "v"
    }


HEADERS: list[tuple[Any, str]] = [
    (b"[1]", "no safetensors header"), (b"{", "damaged JSON"), (b'{"a": 1, "a": 2}', "damaged JSON"),
    ({"__metadata__": {"a": 1}}, "metadata is not text only"),
    ({"__metadata__": [1]}, "metadata is not text only"), ({"a": _entry("F99")}, "element type 'F99', which is not read"),
    ({"a": _entry(span=(0, 24, 1))}, "has no proper shape or range"),
    ({"a": _entry(span=(24, 0))}, "has no proper shape or range"),
    ({"a": _entry(shape=(-2, -3))}, "has no proper shape or range"),
    ({"a": _entry(shape=(True, 6))}, "has no proper shape or range"),
    ({"a": _entry(shape=(2, 2))}, "which do not fit"),
    ({"a": _entry(shape=(3,), span=(12, 24))}, "begins at 12, where 0 is due"),
    ({"a": _entry(shape=(3,), span=(0, 12))}, "24 bytes of data, the header describes 12"),
    ({"a": _entry(span=(0, 28), shape=(7,))}, "truncated"),
    ({"a": _entry(span=(0, 24)), "b": _entry(span=(12, 24), shape=(3,))}, "begins at 12, where 24 is due"),
    ({"a": 3}, "an object is due"), ({}, "24 bytes of data"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "why"), HEADERS, ids=[str(i) for i in range(len(HEADERS))])
def test_headers_that_are_refused(header: Any, why: str) -> None:
    with pytest.raises(BadFileError) as found:
        read_safetensors(_safetensors(header))
    assert why in str(found.value)


def test_a_header_that_is_larger_than_its_file() -> None:
    with pytest.raises(BadFileError, match="the safetensors header claims 999 bytes"):
        read_safetensors(_safetensors({}, size=999))
