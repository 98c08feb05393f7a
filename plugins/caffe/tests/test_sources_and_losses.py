"""What data layers give by crop, weights and colour; losses where a probability is 0, labels are ignored, and by each norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.errors import UsageError

from .test_load_forks import blobs
from .test_load_refused import layer, load, second


def source(kind: str, more: str, tops: str = "d") -> str:
    """The first layer of a net (``load`` puts an Input in front of what begins with a layer)."""
    return " " + layer(kind, more, "", tops).replace('"l"', '"src"')


W6 = blobs(np.zeros((6, 2, 3, 3), "f4"))
CONV = "convolution_param { num_output: 6 kernel_size: 3 group: %d bias_term: false } "
COLOUR = "transform_param { crop_size: 9 force_color: true }"
GRAY = "transform_param { crop_size: 9 force_gray: true }"
CROP = "transform_param { crop_size: 9 }"
GUESSES: list[tuple[str, str, str, Any]] = [
    # the source, its fields, the layer that reads it, and the shape of its first top (None: refused)
    ("Data", f"data_param {{ batch_size: 5 }} {CROP}", layer("Convolution", CONV % 1 + W6), (5, 2, 9, 9)),
    ("Data", f"data_param {{ batch_size: 5 }} {CROP}", layer("Convolution", CONV % 2 + W6), (5, 4, 9, 9)),
    ("Data", CROP, layer("Deconvolution", CONV % 1 + blobs(np.zeros((4, 6, 3, 3), "f4"))), (1, 4, 9, 9)),
    ("Data", CROP, layer("ConvolutionDepthwise", CONV % 6 + blobs(np.zeros((6, 1, 3, 3), "f4"))), (1, 6, 9, 9)),
    ("Data", COLOUR, layer("ReLU"), (1, 3, 9, 9)), ("Data", GRAY, layer("ReLU"), (1, 1, 9, 9)),
    ("Data", CROP, layer("ReLU"), None),
    ("Data", "data_param { batch_size: 5 }", layer("Convolution", CONV % 1 + W6), None),
    ("ImageData", "image_data_param { batch_size: 5 new_height: 7 new_width: 11 }", layer("ReLU"), (5, 3, 7, 11)),
    ("ImageData", f"image_data_param {{ new_height: 7 new_width: 11 }} {CROP}", layer("ReLU"), (1, 3, 9, 9)),
    ("ImageData", f"image_data_param {{ is_color: false new_height: 7 new_width: 11 }} {CROP}", layer("ReLU"), (1, 1, 9, 9)),
    ("ImageData", f"image_data_param {{ is_color: false }} {COLOUR}", layer("ReLU"), (1, 3, 9, 9)),
    ("ImageData", "image_data_param { new_height: 7 }", layer("ReLU"), None),
    ("ImageData", "image_data_param { new_width: 7 }", layer("ReLU"), None),
    ("ImageData", f"image_data_param {{ }} {GRAY}", layer("ReLU"), (1, 1, 9, 9)),
    ("ImageData", "image_data_param { is_color: false new_height: 7 new_width: 11 }", layer("Convolution", CONV % 1 + W6),
     (1, 2, 7, 11)),
    ("WindowData", f"window_data_param {{ batch_size: 5 }} {CROP}", layer("ReLU"), (5, 3, 9, 9)),
    ("WindowData", "window_data_param { batch_size: 5 }", layer("ReLU"), None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more", "reader", "shape"), GUESSES, ids=range(len(GUESSES)))
def test_shapes_of_what_is_read_from_files(kind: str, more: str, reader: str, shape: Any, tmp_path: Path) -> None:
    """image_data_layer.cpp and others: the crop, else the size images are brought to; channels by colour, else by the weights."""
    text = source(kind, more, "d label") + reader + layer("ReLU", "", "label", "l2").replace('"l"', '"labels"')
    if shape is None:
        with pytest.raises(UsageError, match=rf"layer 'src' \({kind}\) reads 'd' from files and the prototxt does not tell its"):
            load(tmp_path, text)
        return
    model = load(tmp_path, text)
    assert {v.name: v.shape for v in model.inputs} == {"d": shape, "label": shape[:1]}
    given = load(tmp_path, text, input_shapes={"d": (7, *shape[1:])})
    assert {v.name: v.shape for v in given.inputs} == {"d": (7, *shape[1:]), "label": (7,)}


@pytest.mark.parametrize(
    ("reader", "shape"),
    [(layer("InnerProduct", "inner_product_param { num_output: 5 bias_term: false } " + blobs(np.zeros((5, 7), "f4"))), (3, 7)),
     (layer("InnerProduct", "inner_product_param { num_output: 5 bias_term: false transpose: true } "
            + blobs(np.zeros((7, 5), "f4"))), (3, 7)),
     (layer("InnerProduct", "inner_product_param { num_output: 5 bias_term: false axis: 2 } "
            + blobs(np.zeros((5, 7), "f4"))), None),
     (layer("ReLU"), None)],
)  # fmt: skip
def test_rows_of_hdf5_have_the_length_that_their_weights_want(reader: str, shape: Any, tmp_path: Path) -> None:
    text = source("HDF5Data", "hdf5_data_param { batch_size: 3 }") + reader
    if shape is None:
        with pytest.raises(UsageError, match="reads 'd' from files"):
            load(tmp_path, text)
        return
    model = load(tmp_path, text)
    assert [v.shape for v in model.inputs] == [shape]
    assert any(
        f"input 'd' (HDF5Data gives no shape) is taken as {shape}, which layer 'l' wants" in n for n in model.metadata["notes"]
    )


def test_tops_that_give_their_own_shape_or_share_one(tmp_path: Path) -> None:
    two = "dummy_data_param { num: 2 num: 5 channels: 3 height: 7 width: 11 %s }"
    add = layer("Eltwise", "", "a a", "y") + layer("Eltwise", "", "b b", "z").replace('"l"', '"m"')
    for fillers, values in (
        ("", (0, 0)),
        ("data_filler { value: 2 }", (2, 2)),
        ("data_filler { } data_filler { value: 3 }", (0, 3)),
    ):
        model = load(tmp_path, source("DummyData", two % fillers, "a b") + add)
        y, z = (model.run({})[k] for k in "yz")
        assert y.shape == (2, 3, 7, 11) and z.shape == (5, 3, 7, 11) and (y == 2 * values[0]).all() and (z == 2 * values[1]).all()
    random = source("DummyData", two % 'data_filler { type: "gaussian" }', "a b")
    assert [v.name for v in load(tmp_path, random + add).inputs] == ["a", "b"]
    whole = source("DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } }", "a b")
    assert [o.shape for o in load(tmp_path, whole + add).outputs] == [(2, 3), (2, 3)]


def test_what_a_layer_does_to_its_images_is_told(tmp_path: Path) -> None:
    more = "transform_param { scale: 0.5 crop_size: 9 mirror: true mean_value: 4 force_color: true } data_param { batch_size: 2 }"
    model = load(tmp_path, source("Data", more) + layer("ReLU"))
    facts = model.metadata["preprocessing"]["d"]
    assert {k: facts[k] for k in ("scale", "crop_size", "mean_value", "force_color")} == {
        "scale": 0.5, "crop_size": 9, "mean_value": [4.0], "force_color": True,
    }  # fmt: skip
    assert "mirror" not in facts and "training_only" not in facts and facts["applied"] is False
    assert "preprocessing" not in load(tmp_path, source("Data", "transform_param { mirror: true crop_size: 0 }", "d"),
                                       input_shapes={"d": (1, 3, 5, 7)}).metadata["preprocessing"]["d"]  # fmt: skip


# ---- losses
def loss(tmp_path: Path, kind: str, x: Any, labels: Any, more: str = "", extra: Any = None) -> float:
    text = second(" ".join(map(str, labels.shape)))
    feeds = {"d": x, "k": labels}
    bottoms = "d k"
    if extra is not None:
        text += second(" ".join(map(str, extra.shape))).replace('"k"', '"h"').replace('"o"', '"o2"')
        feeds["h"], bottoms = extra, "d k h"
    model = load(tmp_path, text + layer(kind, more, bottoms), " ".join(map(str, x.shape)), losses="compute")
    return float(np.asarray(model.run(feeds)["y"]))


FAR = np.array([[0, 300, 0], [1, 2, 4]], "f4")
LABELS = np.array([0, 1], "f4")
P = np.exp(FAR - FAR.max(1, keepdims=True))
P /= P.sum(1, keepdims=True)


def test_a_probability_of_nothing(tmp_path: Path) -> None:
    """softmax_loss_layer.cpp: ``log(max(prob, FLT_MIN))``; multinomial and infogain: kLOG_THRESHOLD = 1e-20."""
    second_row = -np.log(P[1, 1])
    for kind, least, extra in (("SoftmaxWithLoss", np.finfo("f4").tiny, None), ("InfogainLoss", 1e-20, np.eye(3, dtype="f4"))):
        want = (-np.log(least) + second_row) / 2
        assert loss(tmp_path, kind, FAR, LABELS, extra=extra) == pytest.approx(want, rel=1e-5)
    want = (-np.log(1e-20) + second_row) / 2
    assert loss(tmp_path, "MultinomialLogisticLoss", P, LABELS) == pytest.approx(want, rel=1e-5)


X = np.random.default_rng(3).normal(size=(2, 3, 5)).astype("f4")
WHICH = np.array([[0, 1, 2, 2, 1], [2, 2, 0, 2, 1]], "f4")
EACH = -np.log(np.take_along_axis(np.exp(X) / np.exp(X).sum(1, keepdims=True), WHICH[:, None].astype(int), 1)[:, 0])
NORMS: list[tuple[str, float]] = [
    ("", 10), ("normalize: false", 2), ("normalize: true", 10), ("normalization: FULL", 10), ("normalization: VALID", 10),
    ("normalization: BATCH_SIZE", 2), ("normalization: NONE", 1), ("normalization: NONE normalize: false", 1),
    ("ignore_label: 2", 5), ("ignore_label: 2 normalization: FULL", 10), ("ignore_label: 2 normalize: false", 2),
    ("ignore_label: 7", 10),
]  # fmt: skip


@pytest.mark.parametrize(("given", "count"), NORMS)
def test_what_a_loss_is_divided_by(given: str, count: float, tmp_path: Path) -> None:
    """loss_layer.cpp, LossLayer::GetNormalizer."""
    keep = WHICH != 2 if "ignore_label: 2" in given else np.ones_like(WHICH)
    got = loss(tmp_path, "SoftmaxWithLoss", X, WHICH, f"loss_param {{ {given} }}")
    assert got == pytest.approx(float((EACH * keep).sum()) / count, rel=1e-5)


def test_a_loss_of_labels_that_are_all_ignored(tmp_path: Path) -> None:
    """At least 1: ``max(Dtype(1.0), normalizer)``."""
    assert loss(tmp_path, "SoftmaxWithLoss", X, np.full((2, 5), 2, "f4"), "loss_param { ignore_label: 2 }") == 0
    x, t = X[:, :, 0], np.array([[0, 1, 2], [1, 2, 0]], "f4")
    each = np.logaddexp(0, x) - t * x
    assert loss(tmp_path, "SigmoidCrossEntropyLoss", x, t) == pytest.approx(each.sum() / 2, rel=1e-5)
    some = loss(tmp_path, "SigmoidCrossEntropyLoss", x, t, "loss_param { ignore_label: 2 normalization: VALID }")
    assert some == pytest.approx(each[t != 2].sum() / 4, rel=1e-5)


def test_hinges_and_distances(tmp_path: Path) -> None:
    x, label = X[:, :, 0], np.array([2, 0], "f4")
    sign = np.where(np.arange(3) == label[:, None], 1, -1)
    margin = np.maximum(0, 1 - sign * x)
    assert loss(tmp_path, "HingeLoss", x, label) == pytest.approx(margin.sum() / 2, rel=1e-5)
    assert loss(tmp_path, "HingeLoss", x, label, "hinge_loss_param { norm: L2 }") == pytest.approx(
        (margin**2).sum() / 2, rel=1e-5
    )
    other = X[:, :, 1]
    assert loss(tmp_path, "EuclideanLoss", x, other) == pytest.approx(((x - other) ** 2).sum() / 4, rel=1e-5)
