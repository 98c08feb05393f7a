"""What acts in training only, on the way out: written where the target has a place for it, else left out with a note."""

from __future__ import annotations

from pathlib import Path

import pytest

import convcore
from convcore.build.builder import Builder
from convcore.ir.graph import Graph
from convcore.model import Model


@pytest.fixture
def net() -> Model:
    """Images in channels_last through a convolution, a spatial dropout and a normalisation, then a plain dropout at the end."""
    import numpy as np

    g = Graph("net")
    b = Builder(g)
    x = b.input("x", "float32", (2, 11, 7, 3))
    w = b.weight(np.random.default_rng(1).standard_normal((5, 3, 3, 3)).astype("f4"), "w", trainable=True, source="w")
    ones = [b.weight(np.full(5, 1.5 + i, "f4"), f"s{i}") for i in range(4)]
    y = b.conv(x, w, layout="channels_last")
    y = b.dropout(y, rate=0.25, shared=(1, 2))
    y = b.relu(b.batch_norm(y, *ones, epsilon=1e-3, axis=3, momentum=0.875))
    y = b.gaussian_noise(b.dropout(y, rate=0.375, seed=3), stddev=0.5)
    y = b.conv(y, b.weight(np.ones((2, 5, 1, 1), "f4"), "v", trainable=True, source="v"), layout="channels_last")
    g.outputs = [b.dropout(y, rate=0.5)]
    return Model(g)


def test_onnx_leaves_dropout_out_with_a_note(net: Model, tmp_path: Path) -> None:
    import onnx

    report = convcore.convert(net, "onnx", tmp_path / "m.onnx", io_layout="target").report
    assert report.ok
    model = onnx.load(tmp_path / "m.onnx")
    assert [n.op_type for n in model.graph.node] == ["Conv", "BatchNormalization", "Relu", "Conv", "Identity"]
    assert not [a for n in model.graph.node for a in n.attribute if a.name == "momentum"]
    notes = "\n".join(report.notes)
    assert (
        "only matters in training: dropout of dropout" in notes and "noise of gaussian_noise" in notes and "momentum of" in notes
    )


def test_onnx_writes_them_switched_off_when_asked(net: Model, tmp_path: Path) -> None:
    import onnx

    report = convcore.convert(net, "onnx", tmp_path / "m.onnx", io_layout="target", keep_training=True).report
    assert report.ok
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = [n.op_type for n in model.graph.node]
    assert kinds == ["Conv", "BatchNormalization", "Relu", "Dropout", "Conv", "Dropout"]
    back = convcore.load(tmp_path / "m.onnx").graph
    norm = next(n for n in back if n.op == "batch_norm")
    assert norm.attrs["momentum"] == 0.875
    assert [(n.attrs["rate"], n.attrs["seed"]) for n in back if n.op == "dropout"] == [(0.375, 3), (0.5, None)]
    notes = [x for x in report.notes if "training" in x]
    assert len(notes) == 2 and any("noise" in x for x in notes)  # the spatial dropout, which ONNX lacks, and the noise


def test_caffe_writes_dropout_and_the_fraction(net: Model, tmp_path: Path) -> None:
    result = convcore.convert(net, "caffe", tmp_path / "m.prototxt", io_layout="target")
    assert result.report.ok
    text = (tmp_path / "m.prototxt").read_text()
    assert text.count('type: "Dropout"') == 2 and "dropout_ratio: 0.375" in text and "moving_average_fraction: 0.875" in text
    assert any("noise of gaussian_noise" in x for x in result.report.notes)
    back = convcore.load(*result.paths).graph
    assert [n.attrs["rate"] for n in back if n.op == "dropout"] == [0.375, 0.5]
    assert next(n for n in back if n.op == "batch_norm").attrs["momentum"] == pytest.approx(0.875)


def test_no_transpose_appears_because_of_a_dropout(net: Model, tmp_path: Path) -> None:
    convcore.convert(net, "onnx", tmp_path / "m.onnx", io_layout="target")
    assert not [n for n in convcore.load(tmp_path / "m.onnx").graph if n.op == "transpose"]
