"""What runtimes compute of MeanVarianceNormalization (E[x^2] - E[x]^2) reaches only who wrote that operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.ir.graph import Graph, Origin

ort = pytest.importorskip("onnxruntime")

_R = np.random.default_rng(11)
INPUTS = {
    "constant": np.full((2, 3, 5, 7), 0.1, np.float32),
    "one element": np.full((2, 3, 1, 1), 37.3, np.float32),
    "far from zero": (_R.normal(size=(2, 3, 5, 7)) + 4096).astype(np.float32),
    "half": (_R.normal(size=(2, 3, 5, 7)) * 200 + 300).astype(np.float16),
}


def _run(model: Any, x: Any) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("opset", [8, 13, 20])
def test_other_sources_get_its_parts(name: str, opset: int) -> None:
    x = INPUTS[name]
    graph = Graph("net")
    b = Builder(graph, origin=Origin("caffe", "layer", "MVN"))
    graph.outputs = [b.mean_variance_norm(b.input("x", x.dtype.name, x.shape), axes=(2, 3), epsilon=1e-9)]
    model = emit_model(graph, opset)
    assert "MeanVarianceNormalization" not in {n.op_type for n in model.graph.node}
    wide = x.astype(np.float64)
    centred = wide - wide.mean((2, 3), keepdims=True)
    want = centred / (np.sqrt(np.square(centred).mean((2, 3), keepdims=True)) + 1e-9)
    got = _run(model, x)
    assert got.dtype == x.dtype
    if name in ("constant", "one element"):  # the mean is off by a unit in the last place at most
        assert np.all(np.abs(got) <= 1.001)
    else:
        np.testing.assert_allclose(got, want, atol=2e-3)


def test_onnx_keeps_its_own() -> None:
    x = INPUTS["far from zero"] - 4096
    from onnx import parser

    text = '<ir_version: 8, opset_import: ["": 13]> g (float[2,3,5,7] x) => (float[2,3,5,7] y) '
    model = parser.parse_model(text + "{ y = MeanVarianceNormalization <axes = [0, 3]> (x) }")
    graph = load_model(model)
    made = emit_model(graph, 13)
    (node,) = made.graph.node
    assert node.op_type == "MeanVarianceNormalization" and list(node.attribute[0].ints) == [0, 3]
    np.testing.assert_array_equal(_run(made, x), _run(model, x))
    assert len(emit_model(graph, 8).graph.node) > 3  # opset 8 has none of that meaning
    graph = load_model(model)
    (norm,) = graph
    norm.attrs["epsilon"] = 1e-5
    assert len(emit_model(graph, 13).graph.node) > 3
