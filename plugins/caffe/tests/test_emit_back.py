"""Caffe to ONNX and back: what convcore makes of Caffe's own layers is those layers again, by what the real Caffe computed."""

from __future__ import annotations

from pathlib import Path

import pytest

import convcore

from .support import CASES, load_case, name_of, worst

pytest.importorskip("convcore_onnx")

#: The layers that come back, without Input.
BACK = {
    "ArgMax/axis1": ["ArgMax"], "ArgMax/axis1_topk_val": ["ArgMax"], "ArgMax/ties": ["ArgMax", "Reshape"],
    "ArgMax/ties_axis": ["ArgMax"], "BatchReindex/basic": ["BatchReindex"], "Embed/bias": ["Embed"], "Embed/nobias": ["Embed"],
    "LSTM/basic": ["LSTM"], "LSTM/expose_hidden": ["LSTM"], "LSTM/stacked": ["LSTM", "LSTM", "InnerProduct"],
    "LSTM/x4d": ["LSTM"], "Pad/reflect": ["Slice", "Concat"] * 2, "Pad/replicate": ["Slice", "Concat"] * 2,
    "RNN/basic": ["RNN"], "RNN/expose_hidden": ["RNN"], "RNN/static": ["RNN"], "RNN/x4d": ["RNN"],
    "Threshold/default": ["Threshold"], "Threshold/t": ["Threshold"],
    "_Net/slash_names": ["Convolution", "ReLU", "Pooling"],
}  # fmt: skip


@pytest.mark.parametrize("case", [c for c in CASES if name_of(c) in BACK], ids=name_of)
def test_through_onnx_they_are_the_layers_they_were(case: Path, tmp_path: Path) -> None:
    model, inputs, blobs, outputs = load_case(case)
    convcore.convert(model, "onnx", tmp_path / "net.onnx", check=False)
    result = convcore.convert(tmp_path / "net.onnx", "caffe", tmp_path / "net.prototxt")
    assert result.report.ok
    assert [layer.type for layer in result.model if layer.type != "Input"] == BACK[name_of(case)]
    back = convcore.load(*result.paths)
    assert [v.name for v in back.graph.outputs] == sorted(outputs)
    for name, got in back.run({v.name: inputs[v.name] for v in back.graph.inputs}).items():
        assert worst(got, blobs[name]) <= 1e-5, name
