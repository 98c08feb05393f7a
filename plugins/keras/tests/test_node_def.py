"""``TensorFlowOpLayer``: raw operations of TensorFlow in files of tf.keras 2.0 to 2.3."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import load_graph, problems

import convcore
from convcore.build.builder import Builder
from convcore.interpreter.execute import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.rules.foreign import ForeignNode
from convcore_keras.code.domain import CodeRefused
from convcore_keras.code.node_def import run_node_def
from convcore_keras.load_context import KerasContext
from convcore_keras.rules import RULES

FILE = Path(__file__).parents[3] / "tests" / "data" / "keras_eras" / "tf23" / "tfops.h5"


def test_as_tensorflow_computed_it(tmp_path: Path) -> None:
    io = np.load(FILE.with_name("tfops.io.npz"))
    graph = load_graph(FILE)
    assert not problems(graph)
    for i, y in enumerate(Interpreter(graph).run([io["in0"]])):
        np.testing.assert_allclose(y, io[f"out{i}"], rtol=1e-5, atol=1e-6)
    assert convcore.convert(FILE, "onnx", tmp_path / "o.onnx").report.ok


def _changed(tmp_path: Path, layer: str, change: Any) -> str:
    """What is refused of the file with one layer changed."""
    path = tmp_path / "m.h5"
    path.write_bytes(FILE.read_bytes())
    with h5py.File(path, "a") as f:
        config = json.loads(f.attrs["model_config"])
        (entry,) = [x for x in config["config"]["layers"] if x["name"] == layer]
        change(entry["config"])
        f.attrs["model_config"] = json.dumps(config)
    return "; ".join(p.why for p in problems(load_graph(path)))


def _op(name: str, **attr: Any) -> Any:
    return lambda c: c["node_def"].update(op=name, attr=attr)


A_NUMBER = {"i": "1"}
CHANGES: dict[str, tuple[str, Any]] = {
    "which convcore does not map": ("tf_op_layer_Neg", _op("Betainc")),
    "without a definition": ("tf_op_layer_Neg", lambda c: c.update(node_def={"attr": {}})),
    "definition is no JSON": ("tf_op_layer_Neg", lambda c: c.update(node_def="{")),
    "of which the layer has 1": ("tf_op_layer_RealDiv", lambda c: c.update(constants={})),
    "takes fewer tensors": ("tf_op_layer_Neg", lambda c: c["node_def"].update(input=[])),
    "elements of the type DT_STRING": ("tf_op_layer_Neg", _op("Cast", DstT={"type": "DT_STRING"})),
    "bounds are computed": ("tf_op_layer_AddV2", lambda c: (_op("StridedSlice")(c), c["node_def"].update(input=["a"] * 4),
                                                             c.update(constants={"1": 0.5, "2": [1], "3": [1]}))),
}  # fmt: skip


@pytest.mark.parametrize("wanted", CHANGES)
def test_what_is_refused(tmp_path: Path, wanted: str) -> None:
    assert wanted in _changed(tmp_path, *CHANGES[wanted])


def test_a_definition_as_text_is_read_too(tmp_path: Path) -> None:
    assert not _changed(tmp_path, "tf_op_layer_Neg", lambda c: c.update(node_def=json.dumps(c["node_def"])))


# ---- every operation by itself, judged by numpy
X = np.random.default_rng(5).normal(0, 2, (2, 3, 5)).astype(np.float32)
Y = np.random.default_rng(6).normal(0, 2, (2, 5, 3)).astype(np.float32)
I = np.array([2, 0], np.int32)


def made(op: str, inputs: list[Any], constants: dict[str, Any], **attr: Any) -> list[np.ndarray]:
    """What an operation gives of arrays (its tensors) and constants, by the places of its operands."""
    b = Builder(Graph())
    root = types.SimpleNamespace(trainable=True)
    model: Any = types.SimpleNamespace(era="tf.keras", backend="", keras_version="2.2.4", root=root, container="hdf5")
    g = KerasContext(b, model, RULES, {})
    tensors = [b.input(f"in{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(inputs)]
    node = ForeignNode("TensorFlowOpLayer", "f", tensors, {})
    names = ["a"] * (len(inputs) + len(constants))
    b.graph.outputs = list(run_node_def(g, node, {"op": op, "input": names, "attr": attr}, constants))
    return Interpreter(b.graph).run(inputs)


T: dict[str, Any] = {"b": True}
RUN: list[tuple[str, list[Any], dict[str, Any], dict[str, Any], Any]] = [
    ("AddV2", [X], {"1": 0.5}, {}, X + np.float32(0.5)),
    ("Sub", [X], {"0": 0.5}, {}, np.float32(0.5) - X),
    ("RealDiv", [X], {"1": 4.0}, {}, X / 4),
    ("Sum", [X], {"1": [1]}, {}, X.sum(1)),
    ("Sum", [X], {"1": [0, 2]}, {"keep_dims": T}, X.sum((0, 2), keepdims=True)),
    ("Mean", [X], {"1": 1}, {"keep_dims": {"b": False}}, X.mean(1)),
    ("Max", [X], {"1": -1}, {}, X.max(-1)),
    ("Min", [X], {"1": 1}, {}, X.min(1)),
    ("Prod", [X], {"1": 1}, {}, X.prod(1)),
    ("MatMul", [X[0], Y[0]], {}, {}, X[0] @ Y[0]),
    ("MatMul", [X[0], Y[0]], {}, {"transpose_a": T, "transpose_b": T}, X[0].T @ Y[0].T),
    ("MatMul", [X[0], X[1]], {}, {"transpose_b": T}, X[0] @ X[1].T),
    ("BatchMatMulV2", [X, Y], {}, {}, X @ Y),
    ("BatchMatMulV2", [X, X], {}, {"adj_x": {"b": False}, "adj_y": T}, X @ X.transpose(0, 2, 1)),
    ("BatchMatMul", [X, X], {}, {"adj_x": T, "adj_y": {"b": False}}, X.transpose(0, 2, 1) @ X),
    ("StridedSlice", [X], {"1": [0, 1, 1], "2": [0, 3, 4], "3": [1, 1, 2]}, {"end_mask": {"i": "1"}}, X[:, 1:3, 1:4:2]),
    (
        "StridedSlice",
        [X],
        {"1": [0, 1], "2": [0, 2], "3": [1, 1]},
        {"begin_mask": {"i": "1"}, "end_mask": {"i": "1"}, "shrink_axis_mask": {"i": "2"}},
        X[:, 1],
    ),
    ("StridedSlice", [X], {"1": [0, 2], "2": [0, 4], "3": [1, 1]}, {"ellipsis_mask": {"i": "1"}}, X[..., 2:4]),
    (
        "StridedSlice",
        [X],
        {"1": [0, 0, 2], "2": [0, 0, 3], "3": [1, 1, 1]},
        {"begin_mask": {"i": "1"}, "end_mask": {"i": "1"}, "new_axis_mask": {"i": "2"}},
        X[:, None, 2:3],
    ),
    ("Squeeze", [X[:1]], {}, {"squeeze_dims": {"list": {"i": ["0"]}}}, X[0]),
    ("Squeeze", [X[:1, :, :1]], {}, {}, X[0, :, 0]),
    ("ConcatV2", [X, X[:, :1]], {"2": 1}, {}, np.concatenate([X, X[:, :1]], 1)),
    ("Pack", [X, X], {}, {}, np.stack([X, X])),
    ("Pack", [X, X], {}, {"axis": {"i": "2"}}, np.stack([X, X], 2)),
    ("Unpack", [X], {}, {}, X[0]),
    ("Unpack", [X], {}, {"axis": {"i": "1"}, "num": {"i": "3"}}, X[:, 0]),
    ("Split", [X], {"0": 1}, {"num_split": {"i": "3"}}, X[:, :1]),
    ("SplitV", [X], {"1": [1, 4], "2": 2}, {}, X[..., :1]),
    ("GatherV2", [X, I], {"2": 1}, {}, X[:, I]),
    ("Cast", [X], {}, {"DstT": {"type": "DT_INT32"}}, X.astype(np.int32)),
    ("Cast", [X], {}, {"DstT": {"type": "DT_HALF"}}, X.astype(np.float16)),
    ("LeakyRelu", [X], {}, {}, np.where(X > 0, X, np.float32(0.2) * X)),
    ("LeakyRelu", [X], {}, {"alpha": {"f": 0.5}}, np.where(X > 0, X, np.float32(0.5) * X)),
    ("Pad", [X], {"1": [[0, 0], [1, 2], [3, 0]]}, {}, np.pad(X, ((0, 0), (1, 2), (3, 0)))),
    ("PadV2", [X], {"1": [[0, 0], [1, 2], [3, 0]], "2": 1.5}, {}, np.pad(X, ((0, 0), (1, 2), (3, 0)), constant_values=1.5)),
    ("Cumsum", [X], {"1": 1}, {}, X.cumsum(1)),
    ("Cumsum", [X], {"1": 1}, {"exclusive": {"b": False}, "reverse": {"b": False}}, X.cumsum(1)),
    ("ArgMax", [X], {"1": 1}, {}, X.argmax(1).astype(np.int64)),
    ("ArgMin", [X], {"1": 2}, {"output_type": {"type": "DT_INT32"}}, X.argmin(2).astype(np.int32)),
]


@pytest.mark.parametrize(("op", "inputs", "constants", "attr", "want"), RUN, ids=lambda v: v if isinstance(v, str) else "")
def test_operations_are_numpys(op: str, inputs: list[Any], constants: dict[str, Any], attr: dict[str, Any], want: Any) -> None:
    got = made(op, inputs, constants, **attr)[0]
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


REFUSED: list[tuple[str, list[Any], Any, dict[str, Any], str]] = [
    ("Cumsum", [X], {"1": 1}, {"exclusive": T}, "calls tensorflow.cumsum with exclusive"),
    ("GatherV2", [X, I], {"2": 1}, {"batch_dims": {"i": "1"}}, "gathers with batch_dims"),
    ("Cast", [X], {}, {}, "makes elements of the type None"),
    ("AddV2", [X], [0.5], {}, "is the operation AddV2 whose operands are no list, or whose constants are none by number"),
    ("StridedSlice", [X], {"1": [0], "2": [1.5], "3": [1]}, {}, "takes a part of a tensor whose bounds are computed"),
    ("StridedSlice", [X], {"1": [0], "2": [1], "3": 1}, {}, "takes a part of a tensor whose bounds are computed"),
    (
        "StridedSlice",
        [X],
        {"1": [0], "2": [1], "3": [1]},
        {"end_mask": {"i": " "}},
        "has the attribute end_mask=' ', which is no whole number",
    ),
    ("StridedSlice", [X], {"1": [0], "2": [1], "3": [1]}, {"end_mask": [1]}, "has the attribute end_mask='[1]', which is no"),
    ("StridedSlice", [X], {"1": [0], "2": [1]}, {}, "is the operation StridedSlice with 3 operands"),
    ("Pack", [X], {}, {"axis": {"i": True}}, "has the attribute axis='True', which is no whole number"),
    ("Pack", [X, X], {}, {"axis": {"i": "1" * 20}}, "which is no whole number"),
    ("Split", [X], {"0": 1}, {}, "has the attribute num_split='None', which is no whole number"),
    ("Squeeze", [X], {}, {"squeeze_dims": {"i": "1"}}, "takes axes away that are no list"),
    ("Squeeze", [X], {}, {"squeeze_dims": {"list": {"i": 1}}}, "has the attribute squeeze_dims, which is no list"),
    ("Squeeze", [X], {}, {"squeeze_dims": {"list": {"i": ["x"]}}}, "has the attribute squeeze_dims='x', which is no whole"),
    ("LeakyRelu", [X], {}, {"alpha": {"f": "x"}}, "has the attribute alpha='x', which is no number"),
    ("LeakyRelu", [X], {}, {"alpha": {"b": True}}, "has the attribute alpha='True', which is no number"),
    ("Cast", [X], {}, {"DstT": {"list": {"type": ["DT_FLOAT"]}}}, "makes elements of the type ['DT_FLOAT']"),
    ("ArgMax", [X], {}, {}, "is the operation ArgMax with 1 operands"),
]


@pytest.mark.parametrize(("op", "inputs", "constants", "attr", "why"), REFUSED)
def test_operations_that_are_refused(op: str, inputs: list[Any], constants: Any, attr: dict[str, Any], why: str) -> None:
    with pytest.raises(CodeRefused, match=re.escape(why)):
        made(op, inputs, constants, **attr)
