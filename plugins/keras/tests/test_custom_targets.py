"""Custom layers in targets: a function of an ONNX model, on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sweeps import recorded

import convcore
from convcore.build.builder import Builder
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph

onnx = pytest.importorskip("onnx")
SOURCE = str(recorded.SOURCE)


@pytest.mark.parametrize(("name", "type", "count"), [("EncoderLayer", "EncoderLayer", 1), ("ConvBank", "ConvBank", 1)])
def test_a_layer_is_a_function_where_that_is_asked_for(tmp_path: Path, name: str, type: str, count: int) -> None:
    out = tmp_path / "m.onnx"
    source = recorded.DATA / f"{name}.keras"
    assert convcore.convert(source, "onnx", out, custom=SOURCE, onnx_functions=[type]).report.ok  # onnxruntime runs it
    model = onnx.load(out)
    onnx.checker.check_model(model)
    assert [f.name for f in model.functions] == [type] * count
    assert [n.op_type for n in model.graph.node if n.domain == "convcore.layers"] == [type] * count
    rt = pytest.importorskip("onnxruntime")
    arrays = np.load(recorded.DATA / f"{name}.npz")
    session = rt.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    got = session.run(None, {i.name: arrays[i.name] for i in session.get_inputs()})[0]
    assert np.abs(got - arrays["y0"]).max() < 1e-4 * np.ptp(arrays["y0"])
    back = convcore.load(out)
    np.testing.assert_allclose(back(*(arrays[i.name] for i in session.get_inputs())), got, rtol=1e-4, atol=1e-5)
    plain = tmp_path / "p.onnx"
    convcore.convert(source, "onnx", plain, custom=SOURCE)
    assert not onnx.load(plain).functions


def test_what_cannot_be_a_function(tmp_path: Path) -> None:
    source = recorded.DATA / "EncoderLayer.keras"
    with pytest.raises(convcore.UsageError, match="no layer of that type"):
        convcore.convert(source, "onnx", tmp_path / "m.onnx", custom=SOURCE, onnx_functions=["Nothing"])
    with pytest.raises(convcore.UsageError, match="IR version 7 have no functions"):
        convcore.convert(
            source, "onnx", tmp_path / "m.onnx", custom=SOURCE, onnx_functions=["EncoderLayer"], opset=13, ir_version=7
        )
    graph = Graph("between")
    b = Builder(graph)
    x = b.input("x", DType.FLOAT32, (3, 5))
    scope = graph.scope("mine", "Mine", {})
    with b.within(scope):
        y = b.tanh(x)
    y = b.sqrt(b.abs(y))
    with b.within(scope):
        y = b.sigmoid(y)
    graph.outputs = [y]
    with pytest.raises(convcore.UnsupportedError, match="cannot be one node"):
        convcore.convert(convcore.Model(graph, "test"), "onnx", tmp_path / "m.onnx", onnx_functions=["Mine"])
    assert not list(tmp_path.glob("m.*"))
