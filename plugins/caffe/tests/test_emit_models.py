"""Whole models as Caffe nets: keras.applications and the same as ONNX, nets of the zoo; read back, and run by cv2.dnn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError
from convcore_caffe.files import read_net

from .support import DATA, ZOO

keras = pytest.importorskip("keras")

SETTINGS: dict[str, dict[str, Any]] = {
    "VGG16": {"input_shape": (32, 32, 3)},
    "ResNet50": {"input_shape": (64, 64, 3)},
    "MobileNet": {"input_shape": (64, 64, 3), "alpha": 0.25},
    "DenseNet121": {"input_shape": (32, 32, 3)},
}
#: Layer types of the nets, without Input, Slice and Silence (which crop what Caffe's pooling rounds up).
FOUND = {
    "VGG16": {"Convolution": 13, "ReLU": 15, "Pooling": 5, "InnerProduct": 3, "Softmax": 1},
    "ResNet50": {
        "Convolution": 53, "BatchNorm": 53, "Scale": 53, "ReLU": 49, "Eltwise": 16, "Pooling": 2, "InnerProduct": 1,
        "Softmax": 1,
    },
    "MobileNet": {
        "Convolution": 28, "BatchNorm": 27, "Scale": 27, "Clip": 27, "Pooling": 1, "Flatten": 1, "Dropout": 1, "Softmax": 1,
    },
    "DenseNet121": {
        "Convolution": 120, "BatchNorm": 121, "Scale": 121, "ReLU": 121, "Concat": 58, "Pooling": 5, "InnerProduct": 1,
        "Softmax": 1,
    },
}  # fmt: skip


def _random(model: Any) -> None:
    """No weight is left at a value that would hide an error."""
    rng = np.random.default_rng(11)
    for layer in model.layers:
        held = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, var = held
            near, far = (rng.normal(0, 0.2, p.shape) for p in (beta, mean))
            held = [rng.uniform(0.5, 1.5, gamma.shape), near, far, rng.uniform(0.5, 1.5, var.shape)]
        elif len(held) == 2:
            held = [held[0], rng.normal(0, 0.1, held[1].shape)]
        layer.set_weights(held)


@pytest.fixture(scope="module", params=list(SETTINGS))
def source(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(name, .keras file), built once."""
    name = request.param
    model = getattr(keras.applications, name)(weights=None, classes=7, **SETTINGS[name])
    _random(model)
    path = tmp_path_factory.mktemp(name) / "net.keras"
    model.save(path)
    return name, path


def _counts(net: Any) -> dict[str, int]:
    out: dict[str, int] = {}
    for layer in net:
        if layer.type not in ("Input", "Slice", "Silence"):
            out[layer.type] = out.get(layer.type, 0) + 1
    return out


def test_keras_applications_and_the_same_as_onnx(source: tuple[str, Path]) -> None:
    name, path = source
    out = path.with_name("net.prototxt")
    result = convcore.convert(path, "caffe", out, io_layout="target")  # read back and compared
    assert result.report.ok and result.report.differences and max(d.max_rel for d in result.report.differences) < 1e-5
    net = read_net(*result.paths)
    assert _counts(net) == FOUND[name]
    assert len(net.inputs) == 1 and net.inputs[0].shape == (1, 3, *SETTINGS[name]["input_shape"][:2])
    known = {layer.name for layer in convcore.load(path).layers}
    assert sum(layer.name in known for layer in net) >= len([x for x in net if x.type in ("Convolution", "InnerProduct")])
    inplace = [x for x in net if x.is_inplace()]
    assert {x.type for x in inplace} <= {"ReLU", "Scale", "BatchNorm", "Dropout"} and len(inplace) > 10

    onnx = path.with_name("net.onnx")
    convcore.convert(path, "onnx", onnx, check=False, keep_training=True)
    again = convcore.convert(onnx, "caffe", path.with_name("again.prototxt"), io_layout="target")
    assert again.report.ok
    assert [x.type for x in read_net(*again.paths)] == [x.type for x in net]


def test_without_a_target_layout_the_way_out_is_named(source: tuple[str, Path]) -> None:
    _, path = source
    with pytest.raises(UnsupportedError, match="io_layout='target'") as caught:
        convcore.convert(path, "caffe", path.with_name("none.prototxt"))
    assert len(caught.value.problems) == 1
    assert not list(path.parent.glob("none*"))


def test_opencv_computes_the_same(source: tuple[str, Path]) -> None:
    cv2 = pytest.importorskip("cv2")
    name, path = source
    out = path.with_name("cv.prototxt")
    flavor = "ssd" if name == "MobileNet" else "bvlc"  # cv2 knows ReLU6, not Clip
    result = convcore.convert(path, "caffe", out, io_layout="target", caffe_flavor=flavor, check=False)
    net = cv2.dnn.readNetFromCaffe(*map(str, result.paths))
    x = np.random.default_rng(5).random((1, 3, *SETTINGS[name]["input_shape"][:2]), np.float32)
    net.setInput(x)
    want = convcore.load(path)(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(net.forward(), want, atol=1e-5 * np.ptp(want))


# ---- the zoo
@pytest.mark.parametrize("folder", ZOO, ids=lambda p: p.name)
def test_caffe_nets_come_back_the_same(folder: Path, tmp_path: Path) -> None:
    (definition,), (weights,) = folder.glob("*.prototxt"), folder.glob("*.caffemodel")
    model = convcore.load(definition, weights)
    result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="ssd")
    assert result.report.ok
    ours, theirs = read_net(*result.paths), read_net(definition, weights)
    dropped = ("Split", "Input", "Flatten")
    assert [x.type for x in ours if x.type not in dropped] == [x.type for x in theirs if x.type not in dropped]
    for a in ours:
        if a.blobs and a.type != "BatchNorm":
            b = theirs.layer(a.name)
            for p, q in zip(a.blobs, b.blobs, strict=True):
                np.testing.assert_array_equal(p.numpy().reshape(-1), q.numpy().reshape(-1))


def test_ultraface_from_onnx(tmp_path: Path) -> None:
    """The detector's ONNX file with SSD's layers; without Permute every transpose is named."""
    found = list((DATA / "zoo").glob("onnx-ultraface-rfb-320/*.onnx"))
    if not found:
        pytest.skip("the model is not among the test data")
    result = convcore.convert(found[0], "caffe", tmp_path / "net.prototxt", caffe_flavor="ssd")
    assert result.report.ok and {d.name.split()[0] for d in result.report.differences} == {"scores", "boxes"}
    net = read_net(*result.paths)
    counts = _counts(net)
    assert counts["Permute"] == 8 and counts["BatchNorm"] == 35 and counts["Convolution"] == 52
    with pytest.raises(UnsupportedError, match="caffe_flavor='ssd' has Permute") as caught:
        convcore.convert(found[0], "caffe", tmp_path / "none.prototxt")
    assert [p.type for p in caught.value.problems] == ["Transpose"] * 8
