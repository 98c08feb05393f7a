"""What a damaged model is refused for, by its words: tensors, external files, attributes, graphs, functions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError


def _model(*weights: TensorProto, node: Any = None, opset: int = 18) -> onnx.ModelProto:
    """A node of a weight; the model is not checked."""
    names = ["x", *(w.name for w in weights)]
    node = node or helper.make_node("Add" if weights else "Relu", names[:2], ["y"], "node")
    info = [helper.make_tensor_value_info("x", 1, [2, 3])]
    graph = helper.make_graph([node], "g", info, [helper.make_empty_tensor_value_info("y")], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _tensor(kind: int, dims: list[int], **fields: Any) -> TensorProto:
    t = TensorProto(name="w", data_type=kind, dims=dims)
    for k, v in fields.items():
        if isinstance(v, list):
            getattr(t, k).extend(v)
        else:
            setattr(t, k, v)
    return t


def _outside(**entries: str) -> TensorProto:
    t = _tensor(1, [2, 3], data_location=1)
    for k, v in entries.items():
        t.external_data.add(key=k, value=v)
    return t


def _sparse(values: int, indices: list[int], shape: list[int], dims: list[int] | None = None) -> onnx.ModelProto:
    v = helper.make_tensor("w", 1, [values], [1.0] * values)
    i = helper.make_tensor("i", 7, dims or [len(indices)], indices)
    model = _model()
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(v, i, shape))
    model.graph.node[0].op_type = "Add"
    model.graph.node[0].input.append("w")
    return model


def _attribute(change: Callable[[Any], None]) -> onnx.ModelProto:
    model = _model(node=helper.make_node("LeakyRelu", ["x"], ["y"], "node", alpha=0.5))
    change(model.graph.node[0])
    return model


def _graph(*nodes: tuple[str, list[str], list[str]]) -> onnx.ModelProto:
    model = _model()
    del model.graph.node[:]
    model.graph.node.extend(helper.make_node(op, i, o, f"n{k}") for k, (op, i, o) in enumerate(nodes))
    return model


def _function(*, attribute: str = "", inputs: int = 1, itself: bool = False) -> onnx.ModelProto:
    given = {attribute: 1} if attribute else {}
    model = _model(node=helper.make_node("F", ["x"] * inputs, ["y"], "node", domain="own", **given))
    body = helper.make_node("F" if itself else "Relu", ["a"], ["b"], domain="own" if itself else "")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [body], imports))
    model.opset_import.append(imports[1])
    return model


def _without(field: str) -> onnx.ModelProto:
    model = _model()
    model.ClearField(field)
    return model


TOLD: dict[str, tuple[Callable[[], Any], str]] = {
    "negative": (lambda: _model(_tensor(1, [-2, 3], raw_data=b"")), "has the shape [-2, 3]"),
    "bytes short": (lambda: _model(_tensor(1, [2, 3], raw_data=b"\0" * 23)), "(24 bytes) but holds 23 bytes"),
    "bytes long": (lambda: _model(_tensor(1, [2, 3], raw_data=b"\0" * 25)), "(24 bytes) but holds 25 bytes"),
    "floats": (lambda: _model(_tensor(1, [2, 3], float_data=[1.0] * 5)), "but holds 5 elements"),
    "doubles": (lambda: _model(_tensor(11, [2, 3], double_data=[1.0] * 7)), "but holds 7 elements"),
    "wrong field": (lambda: _model(_tensor(1, [2, 3], int64_data=[1] * 6)), "but holds 0 elements"),
    "complex": (lambda: _model(_tensor(14, [2, 3], float_data=[1.0] * 6)), "but holds 3 elements"),
    "int4": (lambda: _model(_tensor(22, [3], int32_data=[1])), "(2 bytes) but holds 1 bytes"),
    "strings": (lambda: _model(_tensor(8, [2], string_data=[b"a"])), "is string[2] but holds 1 elements"),
    "no text": (lambda: _model(_tensor(8, [1], string_data=[b"\xff"])), "string 0 is not UTF-8"),
    "key": (lambda: _model(_outside(location="a.bin", odd="1")), "external data with the unknown key 'odd'"),
    "no file": (lambda: _model(_outside(location="a.bin")), "but the model was not read from a file"),
    "sparse many": (lambda: _sparse(2, [0, 1, 2], [2, 3]), "indices do not fit 2 values"),
    "sparse far": (lambda: _sparse(2, [0, 6], [2, 3]), "indices do not fit 2 values"),
    "sparse below": (lambda: _sparse(2, [-1, 5], [2, 3]), "indices do not fit 2 values"),
    "sparse rows": (lambda: _sparse(2, [0, 1, 1, 3], [2, 3], [2, 2]), "an index is outside [2, 3]"),
    "sparse shape": (lambda: _sparse(2, [0, 1, 1], [2, 3], [1, 3]), "indices of shape [1, 3] for 2 values"),
    "sparse large": (lambda: _sparse(1, [0], [1 << 14, 1 << 13]), "is too large to be made dense"),
    "sparse negative": (lambda: _sparse(1, [0], [-2, 3]), "is too large to be made dense"),
    "attribute twice": (lambda: _attribute(lambda n: n.attribute.append(n.attribute[0])), "has the attribute 'alpha' twice"),
    "made twice": (lambda: _graph(("Relu", ["x"], ["y"]), ("Abs", ["x"], ["y"])), "the value 'y' is made twice (node 'n1', Abs)"),
    "an input made": (lambda: _graph(("Relu", ["x"], ["x"]), ("Abs", ["x"], ["y"])), "the value 'x' is made twice"),
    "from nothing": (lambda: _graph(("Add", ["x", "q"], ["y"])), "node 'n0' (Add) needs 'q', which nothing makes"),
    "cycle": (
        lambda: _graph(("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Abs", ["b"], ["y"])),
        "cycle through 'n0' (Add)",
    ),
    "no opset": (lambda: _without("opset_import"), "the model imports no operator set"),
    "function attribute": (lambda: _function(attribute="k"), "the function has no attribute 'k'"),
    "function inputs": (lambda: _function(inputs=2), "function F takes 1 inputs and gives 1 outputs"),
    "function itself": (lambda: _function(itself=True), "functions call each other more than"),
    "version": (lambda: _model(opset=-1), "imports version -1 of the operator set 'ai.onnx'"),
}


def _why(source: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "; ".join(map(str, opaque_problems(load_model(source))))
        except ConvcoreError as e:
            return str(e)


@pytest.mark.parametrize("what", TOLD)
def test_a_damaged_model_is_told(what: str) -> None:
    make, why = TOLD[what]
    assert why in _why(make())


def test_what_is_at_the_limit_is_read() -> None:
    for model in (_sparse(2, [0, 5], [2, 3]), _sparse(2, [0, 1, 1, 2], [2, 3], [2, 2])):
        assert not _why(model)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("", "it must be a relative name inside the model's folder"), ("/etc/passwd", "it must be a relative name"),
        ("../w.bin", "it must be a relative name"), ("a/../w.bin", "it must be a relative name"),
        ("a\\b", "it must be a relative name"),
        ("C:w.bin", "it must be a relative name"), ("gone.bin", "No such file"), ("link.bin", "'link.bin' is a symbolic link"),
        ("folder", "not a regular file"), ("hard.bin", "the file has several hard links"), ("m.onnx", "in the model file itself"),
        ("w.bin", ""), ("./w.bin", ""),
    ],
)  # fmt: skip
def test_external_data_is_confined_to_the_folder(location: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.arange(6, dtype="<f4").tobytes())
    (tmp_path / "other.bin").write_bytes(bytes(24))
    os.link(tmp_path / "other.bin", tmp_path / "hard.bin")
    (tmp_path / "link.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "folder").mkdir()
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(_outside(location=location)).SerializeToString())
    found = _why(path)
    assert (why in found) if why else not found


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"offset": "x"}, "offset and length must be integers"), ({"length": "1.5"}, "offset and length must be integers"),
        ({"length": "23"}, "has 23 bytes, float32[2, 3] needs 24"), ({"offset": "1"}, "bytes 1 to 25 lie outside"),
        ({"offset": "-1"}, "bytes -1 to 23 lie outside"), ({"offset": "0", "length": "24"}, ""),
    ],
)  # fmt: skip
def test_external_data_lies_inside_its_file(entries: dict[str, str], why: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(24))
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(_outside(location="w.bin", **entries)).SerializeToString())
    found = _why(path)
    assert (why in found) if why else not found


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"), (b"\x0b\x08", "wire type 3 at byte 0 does not occur in ONNX files"),
        (b"\x3a\x05\x00", "truncated: a field at byte 0 ends at 7, the data at 3"), (b"\x08", "truncated or malformed at byte 1"),
        (b"\x08" + b"\xff" * 12, "truncated or malformed at byte 11"), (b"\x08\x07", "not an ONNX model"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_model(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert why in _why(path)
