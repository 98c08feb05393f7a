"""A second opinion: cv2.dnn on the nets that ops' samples become, its known errors excluded by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError, UsageError
from convcore.ir.graph import Graph
from convcore.opset import all_ops

from .emit_kit import types, written
from .support import ZOO

cv2: Any = pytest.importorskip("cv2")

#: (op, sample) on which cv2 4.14 is wrong, by its comparison with the real Caffe (facts/caffe_cv2.md).
WRONG = {
    ("log10", 0): "Log with a base", ("log2", 0): "Log with a base", ("lrn", 0): "LRN's k is ignored",
    ("max_pool", 5): "a window without elements", ("mean_variance_norm", 0): "MVN's eps is added inside the root",
    ("prior_box", 1): "PriorBox with img_h and img_w",
}  # fmt: skip


def _samples() -> list[tuple[str, int]]:
    found = []
    for name, decl in sorted(all_ops().items()):
        for i, sample in enumerate(decl.samples if decl.distribution != "tests" else ()):  # not those of other tests
            arrays = sample.arrays()
            if arrays and arrays[0] is not None and arrays[0].dtype == np.float32 and arrays[0].ndim > 1:
                found.append((name, i))
    return found


def _model(name: str, i: int) -> tuple[convcore.Model, Any]:
    """A model of a sample's node whose first array is its input and the others constants; and that array."""
    sample = all_ops()[name].samples[i]
    graph = Graph("sample")
    b = Builder(graph)
    arrays = sample.arrays()
    values = [b.input("data", "float32", arrays[0].shape)]  # type: ignore[union-attr]
    values += [None if a is None else b.const(a, a.dtype.name) for a in arrays[1:]]  # type: ignore[misc]
    graph.outputs = [b.node(name, values, dict(sample.attrs)).outputs[0]]
    graph.outputs[0].name = "out"
    return convcore.Model(graph, "test"), arrays[0]


def test_opencv_agrees_or_cannot(tmp_path: Path) -> None:
    agreed, wrong = 0, []
    for name, i in _samples():
        model, x = _model(name, i)
        try:
            result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="ssd", check=False)
        except UnsupportedError:
            continue
        last = [layer for layer in result.model if "out" in layer.tops][-1]
        if last.type in ("Slice", "Split"):
            continue  # cv2 gives the last top of a layer, whichever is asked for
        want = np.asarray(model(x))
        try:
            net = cv2.dnn.readNetFromCaffe(*map(str, result.paths))
            net.setInput(x)
            got = net.forward(last.name)
        except cv2.error:
            continue  # a layer type or an axis it does not know
        same = got.size == want.size and np.allclose(got.reshape(want.shape), want, atol=1e-4 * np.abs(want).max())
        if same:
            agreed += 1
        else:
            wrong.append((name, i))
    assert wrong == sorted(WRONG)
    assert agreed > 100


def test_what_is_written_for_opencv_is_read_right(tmp_path: Path) -> None:
    """Every sample is refused, by name, or computed by cv2.dnn as it should be: no layer it does not know, no exception."""
    agreed, wrong = 0, {}
    for name, i in _samples():
        model, x = _model(name, i)
        try:
            result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="opencv", check=False)
        except UnsupportedError as e:
            assert e.problems[0].why
            continue
        maker = [layer.name for layer in result.model if layer.tops == ["out"]][-1]
        want = np.asarray(model(x))
        try:
            net = cv2.dnn.readNetFromCaffe(*map(str, result.paths))
            net.setInput(x)
            got = net.forward(maker if maker in net.getLayerNames() else "out")  # some last layers get their blob's name
        except cv2.error as e:
            wrong[name, i] = str(e).splitlines()[0]
            continue
        if got.size == want.size and np.allclose(got.reshape(want.shape), want, atol=1e-4 * max(np.abs(want).max(), 1e-30)):
            agreed += 1
        else:
            wrong[name, i] = f"differs: {got.shape} for {want.shape}"
    assert not wrong
    assert agreed > 130, agreed


def test_normalize_for_opencv(tmp_path: Path) -> None:
    """A scale of one per channel, as it reads no blob without axes; a norm per image takes none."""
    x = np.random.default_rng(2).random((1, 5, 3, 2), np.float32)

    def build(*axes: int) -> Any:
        return lambda b, v: b.l2_normalize(v, axes=axes, epsilon=1e-10, mode="add_square")

    net = written(tmp_path, x.shape, build(1), caffe_flavor="opencv")
    ours = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    theirs.setInput(x)
    np.testing.assert_allclose(theirs.forward(), ours(x), atol=1e-6)
    assert types(net) == ["Normalize"]
    with pytest.raises(UnsupportedError, match="norm per image"):
        written(tmp_path, x.shape, build(1, 2, 3), caffe_flavor="opencv")


def test_relu6_and_bias_for_opencv(tmp_path: Path) -> None:
    """It has ReLU6 and no Clip, and no Bias: a Scale by ones with one."""
    far = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    net = written(
        tmp_path, (1, 3, 5, 7), lambda b, v: b.clip(b.add(v, b.const(far, "float32")), min=0.0, max=6.0), caffe_flavor="opencv"
    )
    assert types(net) == ["Scale", "ReLU6"] and net.layer(net.layers[1].name).param("scale_param").get("bias_term")


def test_what_opencv_lacks_is_refused_by_name(tmp_path: Path) -> None:
    box = np.ones((2, 3, 1, 1, 1))
    for build, why in (
        (lambda b, v: b.tile(v, repeats=(1, 2, 1, 1)), "no layer type Tile"),
        (lambda b, v: b.argmax(v, axis=1, last=True), "no layer type ArgMax"),
        (
            lambda b, v: b.conv(b.reshape(v, shape=(1, 3, 5, 7, 1)), b.const(box, "float32")),
            "one or two axes",
        ),
    ):
        with pytest.raises(UnsupportedError, match=why):
            written(tmp_path, (1, 3, 5, 7), build, caffe_flavor="opencv")
    with pytest.raises(UsageError, match="pool_rounding='crop'"):
        written(tmp_path, (1, 3, 5, 7), lambda b, v: b.relu(v), caffe_flavor="opencv", pool_rounding="ceil_mode")


def test_an_output_that_is_one_of_several_tops_can_be_asked_for(tmp_path: Path) -> None:
    x = np.random.default_rng(3).random((1, 7, 3, 2), np.float32)
    written(tmp_path, x.shape, lambda b, v: b.split(v, axis=1, sizes=(2, 5)), caffe_flavor="opencv")
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    theirs.setInput(x)
    got = theirs.forward(["out_output", "out1_output"])
    np.testing.assert_array_equal(got[0], x[:, :2])
    np.testing.assert_array_equal(got[1], x[:, 2:])


@pytest.mark.parametrize("folder", ZOO, ids=lambda p: p.name)
def test_trained_nets_are_written_for_opencv(folder: Path, tmp_path: Path) -> None:
    """All but those with DetectionOutput, whose rows OpenCV gives otherwise."""
    (definition,), (weights,) = folder.glob("*.prototxt"), folder.glob("*.caffemodel")
    model = convcore.load(definition, weights)
    if any(layer.type == "DetectionOutput" for layer in model.layers):
        with pytest.raises(UnsupportedError, match="DetectionOutput"):
            convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="opencv")
        return
    result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="opencv", check=False)
    (data,) = model.graph.inputs
    x = np.random.default_rng(4).random(data.shape, np.float32)  # type: ignore[arg-type]
    theirs = cv2.dnn.readNetFromCaffe(*map(str, result.paths))
    theirs.setInput(x)
    for name, want in model.run({data.name: x}).items():
        maker = [layer.name for layer in result.model if name in layer.tops][-1]
        got = theirs.forward(maker if maker in theirs.getLayerNames() else name)
        np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-4 * np.abs(want).max(), err_msg=name)
