"""What the IR, its text and its file refuse: each by its own sentence."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import BadFileError, InputError, OutputError, ShapeError, UsageError, VerifyError
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ir.nodes import Node, Value
from convcore.ir.parse_dims import parse_dim
from convcore.ir.serialize import load, read_safetensors, write_safetensors
from convcore.ir.tensors import LazyTensor, MappedTensor, Tensor, as_tensor
from convcore.ir.text import parse_text, to_text

N, M = Dim("N"), Dim("M")


# ---- sizes and types
@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (lambda: Dim(""), ShapeError, "a symbolic size needs a name, got ''"),
        (lambda: Dim(3), ShapeError, "a symbolic size needs a name, got 3"),  # type: ignore[arg-type]
        (lambda: N // 0, ShapeError, "cannot divide the size N by 0"),
        (lambda: N // -1, ShapeError, "cannot divide the size N by -1"),
        (lambda: N % 0, ShapeError, "cannot take the remainder of the size N by 0"),
        (lambda: bool(N), ShapeError, "the size N is symbolic: its truth value"),
        (lambda: (N * M).evaluate({"N": 2}), InputError, "the size 'M' is not fixed by any input's shape"),
        (lambda: (N // M).evaluate({"N": 2, "M": 0}), InputError, "has the divisor 0"),
        (lambda: (N % M).evaluate({"N": 2, "M": -1}), InputError, "has the divisor -1"),
        (lambda: parse_dim("N" * 4097), ShapeError, "at most 4,096 characters"),
        (lambda: DType.of("float33"), UsageError, "'float33' is no dtype"),
        (lambda: DType.of("datetime64[s]"), UsageError, "dtype 'datetime64.s.' has no counterpart"),
        (lambda: DType.of([("a", "f4")]), UsageError, "dtype 'void32' has no counterpart"),
    ],
)
def test_sizes_and_types(make: Callable[[], Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        make()


def test_sizes_at_the_limit() -> None:
    assert parse_dim("N" * 4096) == Dim("N" * 4096)
    assert (N // 1, N % 1, 0 // N, 0 % N) == (N, 0, 0, 0)
    assert (N // M).evaluate({"N": 7, "M": 1}) == 7


# ---- graphs
def small() -> tuple[Graph, Builder, Value, Value]:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (N, 3))
    y = b.relu(x)
    g.outputs = [y]
    return g, b, x, y


def test_edits_that_would_break_a_graph() -> None:
    g, b, _, y = small()
    w = b.weight(np.ones((5, 3), "f4"), "w")
    z = b.linear(y, w)
    relu, linear = y.producer, z.producer
    assert relu is not None and linear is not None
    with pytest.raises(VerifyError, match=r"weight .*w.* is still in use"):
        g.remove_weight(w)
    with pytest.raises(VerifyError, match=r"is removed but its output .* is still used"):
        g.remove(relu)
    with pytest.raises(VerifyError, match="is already in a graph"):
        g.insert(relu)
    with pytest.raises(VerifyError, match="is not in graph 'other'"):
        Graph("other").detach(relu)
    g.remove(linear)  # its result is neither used nor an output
    g.remove_weight(w)
    assert [n.op for n in g] == ["relu"] and not g.weights
    with pytest.raises(VerifyError, match="is removed but its output"):  # an output of the graph
        g.remove(relu)


def test_an_output_of_the_graph_is_a_weight_in_use() -> None:
    g, b, _, y = small()
    w = b.weight(np.ones(3, "f4"), "w")
    g.outputs = [y, w]
    with pytest.raises(VerifyError, match="still in use"):
        g.remove_weight(w)


def test_a_cycle_is_named() -> None:
    g, b, _, y = small()
    z = b.neg(y)
    assert y.producer is not None
    y.producer.set_inputs([z])
    with pytest.raises(VerifyError, match=r"cycle through .*relu.*neg"):
        g.sort()


def test_the_only_output_of_two() -> None:
    _, b, x, _ = small()
    parts = b.split(x, axis=1, sizes=(1, 2))
    node = parts[0].producer
    assert node is not None
    with pytest.raises(VerifyError, match="has 2 outputs"):
        _ = node.output
    with pytest.raises(VerifyError, match="has 0 outputs"):
        _ = Node("relu", [x], []).output


def test_values_of_another_graph_and_ops_that_are_not() -> None:
    _, b, _, _ = small()
    _, _, x, _ = small()
    with pytest.raises(ShapeError, match=r"relu: input .*x.* belongs to another graph"):
        b.relu(x)
    with pytest.raises(AttributeError, match="no op 'reluu'"):
        b.reluu(x)  # type: ignore[attr-defined]
    with pytest.raises(ShapeError, match=r"'big' has a size of 2\*\*63 or more"):
        b.input("big", "float32", (1 << 63, 2))
    assert b.input("large", "float32", ((1 << 63) - 1, 2)).shape == ((1 << 63) - 1, 2)


# ---- tensors
def test_tensors_that_do_not_fit() -> None:
    t = as_tensor(np.arange(6, dtype="f4").reshape(2, 3))
    for perm in [(0,), (0, 0), (1, 2), (0, 1, 2)]:
        with pytest.raises(ShapeError, match="is not a permutation of 2 axes"):
            t.transpose(perm)
        with pytest.raises(ShapeError, match="is not a permutation of 2 axes"):
            t.transpose((1, 0)).transpose(perm)
    for shape in [(5,), (2, 2), (6, 2), ()]:
        with pytest.raises(ShapeError, match=r"cannot reshape \(2, 3\)"):
            t.reshape(shape)
    with pytest.raises(TypeError, match="Tensor must define numpy"):
        Tensor(DType.FLOAT32, (2,)).numpy()


@pytest.mark.parametrize("read", [np.zeros((2, 4), "f4"), np.zeros((2, 3), "f8"), np.zeros((3, 2), "f4")])
def test_values_read_late_are_what_was_declared(read: np.ndarray) -> None:
    with pytest.raises(BadFileError, match=r"declared float32\[2, 3\], read float"):
        LazyTensor(lambda: read, DType.FLOAT32, (2, 3)).numpy()


def test_a_file_that_ends_before_its_tensor(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(bytes(20))
    t = MappedTensor(path, 4, DType.FLOAT32, (2, 3))
    with pytest.raises(BadFileError, match=r"w\.bin: cannot read 24 bytes at offset 4"):
        t.numpy()
    with pytest.raises(BadFileError, match="ends 8 bytes before the tensor at 4 does"), (tmp_path / "out").open("wb") as f:
        t.write_to(f)
    whole = MappedTensor(path, 4, DType.FLOAT32, (2, 2))
    assert whole.numpy().shape == (2, 2)


# ---- text
GRAPH = """graph "g" {
  input %x: float32[N, 3]
  weight %w: float32[3]
  scope 1 "a" "A" {"k": 1}
  %y, %z = split(%x) {axis=1, sizes=(1, 2)} : float32[N, 1], float32[N, 2] @ "s" in 1
  output %y
  result 1 0 %y
}"""


def test_the_text_is_read() -> None:
    assert [v.name for v in parse_text(GRAPH).outputs] == ["y"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('graph "g"', 'graf "g"', "line 1: expected 'graph'"), ('graph "g"', "graph g", "line 1: expected string"),
        ("%x: float32[N, 3]", "%x float32[N, 3]", "line 2: expected ':'"),
        ("%x: float32[N, 3]", "x: float32[N, 3]", "line 2: expected a value"),
        ("%x: float32[N, 3]", "%x: float99[N, 3]", "line 2: 'float99' is not a valid DType"),
        ("weight %w: float32[3]", "weight %w: float32[N]", "a weight needs a dtype and integer sizes"),
        ("weight %w: float32[3]", "weight %w: float32[...]", "a weight needs a dtype and integer sizes"),
        ("weight %w: float32[3]", "weight %w: None[3]", "a weight needs a dtype and integer sizes"),
        ("weight %w", "weight %x", "value %x is defined twice"), ("%y, %z =", "%y, %x =", "value %x is defined twice"),
        ("scope 1", "scope 2", "the next scope is number 1"), ("scope 1", "scope 0", "the next scope is number 1"),
        ("scope 1", "scope -1", "expected a number from 0"), ('{"k": 1}', "[1]", "a configuration is a JSON object"),
        ('{"k": 1}', 'in 1 {"k": 1}', "scope 1 is not defined"),
        ('scope 1 "a" "A" {"k": 1}', 'scope 1 "a" "A" {"k": 1}\n scope 2 "a" "A" {"k": 2}', "the scope is defined twice"),
        ("split(%x)", "split(%q)", "value %q is not defined"), ("output %y", "output %q", "value %q is not defined"),
        ("float32[N, 1], float32[N, 2] @", "float32[N, 1] @", "2 outputs but 1 types"),
        ('"s" in 1', '"s" in 2', "scope 2 is not defined"), ("result 1", "result 2", "scope 2 is not defined"),
        ("axis=1", "axis 1", "expected '='"), ("axis=1", "axis=%", "expected an attribute value"),
        ("axis=1", "axis=maybe", "attribute value 'maybe' cannot be read back"),
        ("axis=1", "axis=tensor(float32[2])", "the tensor of this attribute is missing"),
        ("axis=1", f"axis={'(' * 66}1{')' * 66}", "attribute is nested too deeply"),
        ('"s" in 1', '"s" in 1 origin("k" passes=x)', "expected a list"), ("\n}", "", "ends inside a graph"),
        ("\n}", "\n}\n%a = relu", "more after the graph in line 9"),
    ],
)  # fmt: skip
def test_damaged_text(old: str, new: str, why: str) -> None:
    assert old in GRAPH
    with pytest.raises(BadFileError, match=re.escape(why)):
        parse_text(GRAPH.replace(old, new))


def test_text_and_values_agree() -> None:
    for given in (np.zeros(4, "f4"), np.zeros(3, "f8")):
        with pytest.raises(BadFileError, match=r"weight 'w' is float.*, the graph says float32\[3\]"):
            parse_text(GRAPH, {"w": as_tensor(given)})
    text = GRAPH.replace("axis=1", "axis=tensor(float32[2])")
    with pytest.raises(BadFileError, match="the tensor of this attribute is"):
        parse_text(text, attr_tensors=[as_tensor(np.zeros(3, "f4"))])
    with pytest.raises(BadFileError, match="the tensor of this attribute is"):
        parse_text(text, attr_tensors=[as_tensor(np.zeros(2, "f8"))])
    weight = parse_text(GRAPH).weights["w"].tensor
    assert weight is not None
    with pytest.raises(BadFileError, match="the values of weight 'w' are not part of the text"):
        weight.numpy()


def test_regions_nested_too_deeply() -> None:
    open_, shut = '%r = identity() : float32[2] @ "n" regions\ngraph "r" {\n', "}\nend\n"
    with pytest.raises(BadFileError, match="regions are nested too deeply"):
        parse_text('graph "g" {\n' + open_ * 66 + shut * 66 + "}")


# ---- files
def ccir(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def one(**changed: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changed}}


@pytest.mark.parametrize(
    ("header", "data", "why"),
    [
        ([1], 0, "not a safetensors file"), (b"{", 0, "not a safetensors file"), (b"", 0, "header of 0 bytes in 8"),
        (b"[" * 100_000, 0, "not a safetensors file"), ({"__metadata__": []}, 0, "its metadata is no table of texts"),
        ({"__metadata__": {"a": 1}}, 0, "its metadata is no table of texts"), (one(dtype="F33"), 24, "tensor 'w': KeyError"),
        (one(shape=[2.0, 3]), 24, "tensor 'w': TypeError"), (one(data_offsets=[0]), 24, "tensor 'w': ValueError"),
        (one(), 23, "tensor 'w' does not fit into the file"), (one(data_offsets=[0, 20]), 24, "tensor 'w' does not fit"),
        (one(data_offsets=[-8, 16]), 24, "tensor 'w' does not fit"), (one(shape=[-2, -3]), 24, "tensor 'w' does not fit"),
        (one(data_offsets=[4, 28]), 24, "tensor 'w' does not fit"), (one(shape=[1 << 62, 3]), 24, "tensor 'w' does not fit"),
        (one(shape=[1] * 65 + [2, 3]), 24, "tensor 'w' does not fit"), ({"w": {}}, 0, "tensor 'w': KeyError"),
    ],
)  # fmt: skip
def test_damaged_files(header: Any, data: int, why: str, tmp_path: Path) -> None:
    path = ccir(tmp_path / "a.ccir", header, bytes(data))
    with pytest.raises(BadFileError, match=rf"a\.ccir: .*{why}"):
        read_safetensors(path)


def test_a_whole_file_is_read_and_one_byte_less_is_not(tmp_path: Path) -> None:
    path = ccir(tmp_path / "a.ccir", one(), bytes(24))
    (t,) = read_safetensors(path)[0].values()
    np.testing.assert_array_equal(t.numpy(), np.zeros((2, 3), "f4"))
    for length in (path.stat().st_size - 7, 1 << 40):
        with pytest.raises(BadFileError, match=f"header of {length} bytes in"):
            read_safetensors(ccir(path, one(), bytes(24), length))
    with pytest.raises(BadFileError, match="cannot be read"):
        read_safetensors(tmp_path)


def test_files_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "a.ccir"
    write_safetensors(path, {}, {})
    with pytest.raises(BadFileError, match="no convcore graph in it"):
        load(path)
    for version in ("1", "3"):
        write_safetensors(path, {}, {"convcore_ir": GRAPH, "convcore_format": version})
        with pytest.raises(BadFileError, match=f"its format is '{version}', this convcore reads 2: convert the source again"):
            load(path)
    with pytest.raises(OutputError, match=r"tensor 'w': dtype string cannot be stored in b\.ccir"):
        write_safetensors(tmp_path / "b.ccir", {"w": as_tensor(np.array(["a"], object))}, {})
    assert not (tmp_path / "b.ccir").exists()


@pytest.mark.parametrize("given", [None, np.zeros(4, "f4"), np.zeros(3, "f8")])
def test_weights_of_regions(given: Any, tmp_path: Path) -> None:
    inner = 'graph "r" {\nweight %w: float32[3]\noutput %w\n}\n'
    node = f'%y = if(%c) : float32[3] @ "n" regions\n{inner}{inner}end\n'
    text = f'graph "g" {{\n%c = identity() : bool[] @ "c"\n{node}output %y\n}}'
    right = as_tensor(np.arange(3, dtype="f4"))
    tensors = {"n#0#w": right, **({} if given is None else {"n#1#w": as_tensor(given)})}
    path = tmp_path / "a.ccir"
    write_safetensors(path, tensors, {"convcore_ir": text, "convcore_format": "2"})
    with pytest.raises(BadFileError, match="the weight 'w' of a region of 'n' is missing or has another shape"):
        load(path)
    write_safetensors(path, {**tensors, "n#1#w": right}, {"convcore_ir": text, "convcore_format": "2"})
    assert to_text(load(path)).count("weight %w") == 2
