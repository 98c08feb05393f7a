"""Keras -> IR -> ONNX -> IR equals Keras -> IR, at every opset; graphs of real models survive text and file exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix_kit import ERAS, ZOO, as_list, convert, error_of_range, ort_session, recorded, run_ort

import convcore
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.ir.text import parse_text, to_text

pytest.importorskip("convcore_keras")
onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_onnx")

NEWEST = onnx.defs.onnx_opset_version()
NAMES = ("convs", "seq_cnn", "rnn", "embedding_mask", "merge_dot", "norm_axes", "shared_nested", "noinput_seq", "prep")
KERAS = {f"tf215-{n}": (ERAS / f"tf215/{n}.keras", ERAS / f"tf215/{n}.io.npz") for n in NAMES}
KERAS["k231-rnn"] = (ERAS / "k231/rnn.h5", ERAS / "k231/rnn.io.npz")
KERAS["fer"] = (ZOO / "keras2-fer-minixception/emotion_model.hdf5", ZOO / "keras2-fer-minixception/inputs.npz")
EXACT = 1e-7
"""In float64: only constants that were folded in float32 may differ between a composite and the operators it was written as."""


def precisely(source: Path, inputs: Any) -> list[np.ndarray]:
    """The outputs computed in float64 from the float32 weights."""
    return Interpreter(convcore.load(source).graph, precise=True).run(list(inputs))


def runtime_newest() -> int:
    """The newest opset that the installed onnxruntime opens."""
    ort = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    for version in range(NEWEST, 12, -1):
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
        try:
            ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception:  # the version is refused  # noqa: BLE001
            continue
        return version
    raise AssertionError("onnxruntime opens nothing")


OPSETS = [13, 15, 17, 18, 20, 21, "runtime", "newest"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", KERAS)
def test_through_onnx(name: str, opset: Any, tmp_path: Path) -> None:
    source, io = KERAS[name]
    given, want = recorded(io)
    version = {"runtime": runtime_newest(), "newest": NEWEST}.get(opset, opset)
    direct, exact = as_list(convcore.load(source)(*given)), precisely(source, given)
    proto, _ = convert(source, tmp_path / "m.onnx", opset=version)
    assert {o.domain: o.version for o in proto.opset_import} == {"": version}
    back = convcore.load(tmp_path / "m.onnx")
    assert not back.problems
    assert error_of_range(precisely(tmp_path / "m.onnx", given), exact) < EXACT
    if want:
        assert error_of_range(as_list(back(*given)), want) < 1e-4
    if version <= runtime_newest():
        assert error_of_range(run_ort(ort_session(tmp_path / "m.onnx"), given), direct) < 1e-4
    again, _ = convert(tmp_path / "m.onnx", tmp_path / "n.onnx", opset=version, simplify=False)
    assert error_of_range(precisely(tmp_path / "n.onnx", given), exact) < EXACT
    simple, _ = convert(tmp_path / "m.onnx", tmp_path / "s.onnx", opset=version)
    assert error_of_range(precisely(tmp_path / "s.onnx", given), exact) < 1e-6  # weights that are merged are rounded once more
    assert len(simple.graph.node) <= len(again.graph.node)
    if not any(n.op_type in ("LSTM", "GRU", "RNN") for n in proto.graph.node):  # their outputs' squeezing is written once more
        assert len(again.graph.node) <= len(proto.graph.node)


@pytest.mark.parametrize("name", KERAS)
def test_onnx_files_are_the_same_every_time(name: str, tmp_path: Path) -> None:
    for i in range(2):
        convert(KERAS[name][0], tmp_path / f"{i}.onnx")
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()


# ---- the IR's own forms
SOURCES = {n: s for n, (s, _) in KERAS.items()} | {
    p.parent.name: p for p in sorted(ZOO.glob("onnx-*/*.onnx")) if (p.parent / "inputs.npz").exists()
}
SOURCES |= {"lambda": ERAS / "tf213/lambda.h5", "half": ERAS / "tf215/mixed_precision.keras"}


def weights_of(graph: Graph, prefix: str = "") -> dict[str, tuple[Any, ...]]:
    """Every weight, regions included: dtype, bytes, trainable, source name."""
    out = {}
    for name, v in graph.weights.items():
        a = v.tensor.numpy()
        out[prefix + name] = (str(v.dtype), a.shape, a.tobytes(), v.trainable, v.source)
    for node in graph:
        for i, r in enumerate(node.regions):
            out |= weights_of(r, f"{prefix}{node.name}.{i}/")
    return out


@pytest.mark.parametrize("name", SOURCES)
def test_file(name: str, tmp_path: Path) -> None:
    model = convcore.load(SOURCES[name])
    model.save(tmp_path / "m.ccir")
    back = convcore.load(tmp_path / "m.ccir")
    assert to_text(back.graph) == to_text(model.graph)
    assert weights_of(back.graph) == weights_of(model.graph)
    assert back.graph.metadata == model.graph.metadata
    assert back.layers == model.layers and back.problems == model.problems
    assert (back.inputs, back.outputs, back.kind, back.framework) == (model.inputs, model.outputs, model.kind, model.framework)
    back.save(tmp_path / "n.ccir")
    assert (tmp_path / "n.ccir").read_bytes() == (tmp_path / "m.ccir").read_bytes()


@pytest.mark.parametrize("name", SOURCES)
def test_text(name: str) -> None:
    graph = convcore.load(SOURCES[name]).graph
    tensors: list[Any] = []
    text = to_text(graph, tensors)
    if any(r for n in graph for r in n.regions):
        pytest.skip("weights of regions are kept by the file form")
    weights = {k: v.tensor for k, v in graph.weights.items()}
    assert to_text(parse_text(text, weights, tensors), []) == text


@pytest.mark.parametrize("name", ["tf215-convs", "tf215-rnn", "fer"])
def test_a_saved_graph_converts_as_the_source_does(name: str, tmp_path: Path) -> None:
    source, io = KERAS[name]
    convcore.load(source).save(tmp_path / "m.ccir")
    given, _ = recorded(io)
    report = convcore.convert(tmp_path / "m.ccir", "onnx", tmp_path / "m.onnx").report
    assert report.ok and report.verified
    convert(source, tmp_path / "n.onnx")
    np.testing.assert_array_equal(*(as_list(convcore.load(tmp_path / f"{x}.onnx")(*given))[0] for x in "mn"))
