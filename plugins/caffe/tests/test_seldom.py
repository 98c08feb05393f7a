"""What is seldom: forms that few graphs take when they are written, fields that few files give."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.hookspecs import EmitRequest
from convcore.host import host
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Value
from convcore.layout import assign
from convcore_caffe.emit import emit
from convcore_caffe.files import Layer, Message, Net, parse_text, read_net, write_prototxt
from convcore_caffe.files.net import ParamSpec
from convcore_caffe.files.write import message_of_layer
from convcore_caffe.layer_spec import specs
from convcore_caffe.layout import CONVENTION
from convcore_caffe.plugin import convcore_identify
from convcore_caffe.rules import RULES
from convcore_caffe.runtime import open_runtime

from .emit_kit import array, fields, types, written
from .test_load_forks import blobs
from .test_load_refused import layer, load, second

DATA = Path(__file__).parents[3] / "tests" / "data"
N = (2, 3, 5, 7)


def prior(b: Builder, x: Value, least: float, *most: float) -> Value:
    more: Any = {"min_sizes": (least,), "max_sizes": most, "aspect_ratios": (), "flip": False, "clip": False, "variances": (0.1,)}
    return b.prior_box(x, x, **more)


AROUND = ((0, 0), (0, 0), (1, 1), (1, 1))
EMPTY = ((0, 0), (0, 0), (0, 0), (-7, 0))
FORMS: dict[str, tuple[Any, Callable[[Builder, Value], Any], list[str], dict[str, Any]]] = {
    # shape, what is built, the layers, and options; each is read back and runs as what was built
    "zeros before a mean": (N, lambda b, x: b.avg_pool(b.pad(x, pads=AROUND), kernel=(3, 3)), ["Pooling"], {}),
    "zeros before a mean that counts them": (N, lambda b, x: b.avg_pool(b.pad(x, pads=AROUND),
        kernel=(4, 4), pads=((1, 1), (1, 1)), count_include_pad=True), ["Pooling"], {}),
    "zeros before a mean that does not": (N, lambda b, x: b.avg_pool(b.pad(x, pads=AROUND),
        kernel=(4, 4), pads=((1, 1), (1, 1))), ["Convolution", "Pooling", "Scale"], {}),
    "edges before a window": (N,
        lambda b, x: b.avg_pool(b.pad(x, pads=((0, 0), (0, 0), (1, 0), (0, 0)), mode="edge"), kernel=(3, 3)),
        ["Slice", "Concat", "Pooling"], {}),
    "channels before a window": (N, lambda b, x: b.avg_pool(b.pad(x, pads=((0, 0), (1, 0), (0, 0), (0, 0))), kernel=(3, 3)),
        ["Slice", "Power", "Concat", "Pooling", "Silence"], {}),
    "less before a window": (N, lambda b, x: b.avg_pool(b.pad(x, pads=((0, 0), (0, 0), (-1, 0), (0, 0))), kernel=(3, 3)),
        ["Slice", "Pooling", "Silence"], {}),
    "zeros before patches": (N, lambda b, x: b.im2col(b.pad(x, pads=AROUND), kernel=(3, 3)),
        ["Convolution", "Im2col"], {}),
    "slopes of some axes": (N, lambda b, x: b.prelu(x, b.const(array(3, 1, 7))),
        ["Power", "ReLU", "ReLU", "Scale", "Eltwise"], {}),
    "slopes of the last axis": (N, lambda b, x: b.prelu(x, b.const(array(7))), ["Power", "ReLU", "ReLU", "Scale", "Eltwise"], {}),
    "the whole axis": (N, lambda b, x: b.tanh(b.gather(x, b.const(np.arange(3)), axis=1)), ["TanH"], {}),
    "once": (N, lambda b, x: b.tanh(b.tile(x, repeats=(1, 1, 1, 1))), ["TanH"], {}),
    "no edges": (N, lambda b, x: b.tanh(b.pad(x, pads=((0, 0),) * 4, mode="edge")), ["TanH"], {}),
    "joined with nothing": (N, lambda b, x: b.concat(x, b.tanh(x), b.const(np.zeros((2, 0, 5, 7), "f4")), axis=1),
        ["TanH", "Concat"], {}),
    "the largest of many channels": ((2, 66, 3), lambda b, x: b.cast(b.argmax(x, axis=1, keepdims=True), to="float32"),
        ["Convolution", "ArgMax", "Power"], {}),
    "the largest of few channels": ((2, 64, 3), lambda b, x: b.cast(b.argmax(x, axis=1, keepdims=True), to="float32"),
        ["Slice", "Concat", "ArgMax", "Power"], {}),
    "the largest of the last axis": ((2, 3, 65), lambda b, x: b.cast(b.argmax(x, axis=2, keepdims=True), to="float32"),
        ["InnerProduct", "ArgMax", "Power"], {}),
    "the largest of rows": ((2, 65), lambda b, x: b.cast(b.argmax(x, axis=1, keepdims=True), to="float32"),
        ["InnerProduct", "ArgMax", "Power"], {}),
    "the largest of a middle axis": ((2, 3, 65, 2), lambda b, x: b.cast(b.argmax(x, axis=2, keepdims=True), to="float32"),
        ["Slice", "Concat", "ArgMax", "Power"], {}),
    "the moments of a batch": (N, lambda b, x: b.mean_variance_norm(x, axes=(0, 2, 3), epsilon=1e-3, epsilon_on="var"),
        ["BatchNorm"], {}),
    "a window of what is added behind": ((2, 3, 5, 1), lambda b, x: b.max_pool(x, kernel=(9, 1), pads=((0, 4), (0, 0))),
        ["Pooling", "Slice", "Silence"], {}),
    "nothing joined with nothing": ((2, 0, 5), lambda b, x: b.concat(x, x, axis=1), ["Concat"], {}),
    "boxes of fractions": (N, lambda b, x: [b.tanh(x), prior(b, x, 2.5)], ["TanH", "Parameter"], {"caffe_flavor": "ssd"}),
    "boxes of fractions at most": (N, lambda b, x: [b.tanh(x), prior(b, x, 2.0, 3.5)], ["TanH", "Parameter"],
        {"caffe_flavor": "ssd"}),
    "boxes of whole numbers": (N, lambda b, x: prior(b, x, 2.0, 3.0), ["PriorBox"], {"caffe_flavor": "ssd"}),
    "two scales of a norm": (N, lambda b, x: b.mul(b.mul(b.l2_normalize(x, axes=(1,), epsilon=1e-10, mode="add_square"),
        b.const(array(3, 1, 1))), b.const(array(3, 1, 1))), ["Normalize", "Scale"], {"caffe_flavor": "ssd"}),
    "a weight in another shape": (N, lambda b, x: b.mul(x, b.reshape(b.weight(array(3), "w"), shape=(3, 1, 1))), ["Scale"], {}),
    "one over": (N, lambda b, x: b.div(b.like(x, 1.0), b.exp(x)), ["Exp", "Power"], {}),
    "times one": (N, lambda b, x: b.square(b.mul(b.exp(x), b.like(x, 1.0))), ["Exp", "Power"], {}),
    "and times one": (N, lambda b, x: b.mul(b.square(b.exp(x)), b.like(x, 1.0)), ["Exp", "Power"], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_seldom_written(name: str, tmp_path: Path) -> None:
    shape, build, wanted, options = FORMS[name]
    assert sorted(types(written(tmp_path, shape, build, **options))) == sorted(wanted)


def test_a_row_by_one_number(tmp_path: Path) -> None:
    net = written(tmp_path, (), lambda b, i: b.embedding(i, b.weight(array(5, 7), "t")), dtype="int64")
    assert types(net) == ["Reshape", "Embed", "Reshape"] and fields(net.layers[2])["input_dim"] == 5


def test_momentum_of_the_moments(tmp_path: Path) -> None:
    net = written(tmp_path, N, lambda b, x: b.mean_variance_norm(x, axes=(0, 2, 3), epsilon=1e-3, epsilon_on="var"))
    assert fields(net.layers[1]) == {"use_global_stats": False, "eps": 1e-3}
    net = written(tmp_path, N, lambda b, x: b.mean_variance_norm(x, axes=(0, 2, 3), epsilon=1e-5, epsilon_on="var"))
    assert fields(net.layers[1]) == {"use_global_stats": False}


# ---- refused
def refused(tmp_path: Path, shape: Any, build: Callable[[Builder, Value], Any], dtype: str = "float32", **options: Any) -> str:
    g = Graph("g")
    b = Builder(g)
    made = build(b, b.input("data", dtype, shape))
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    with pytest.raises(UnsupportedError) as caught:
        convcore.convert(convcore.Model(g, "test"), "caffe", tmp_path / "bad.prototxt", **options)
    return str(caught.value)


def boxes(b: Builder, x: Value, **more: Any) -> Any:
    given = {"num_classes": 3, "share_location": True, "background": 0, "code_type": "corner", "nms_threshold": 0.5,
             "nms_eta": 1.0, "nms_top_k": -1, "keep_top_k": -1, "confidence_threshold": None,
             "variance_encoded_in_target": False}  # fmt: skip
    priors = b.input("priors", "float32", (1, 2, 8))
    return b.detection_output(x, b.input("conf", "float32", (1, 6)), priors, **{**given, **more})


WHY: list[tuple[str, Any, Callable[[Builder, Value], Any], dict[str, Any]]] = [
    ("it is empty, and Caffe's Slice makes no empty blobs", N, lambda b, x: b.pad(x, pads=EMPTY), {}),
    ("background -1 with share_location: Caffe stops", (1, 8), lambda b, x: boxes(b, x, background=-1), {"caffe_flavor": "ssd"}),
    ("some windows hold no element", N, lambda b, x: b.avg_pool(x, kernel=(2, 2), pads=((2, 0), (0, 0))), {}),
    ("some windows hold no element", N, lambda b, x: b.avg_pool(x, kernel=(1, 1), pads=((3, 0), (0, 0))), {}),
    ("some windows hold no element", (2, 3, 5, 5), lambda b, x: b.max_pool(
        x, kernel=(1, 3), strides=(3, 3), pads=((0, 2), (0, 0))), {}),
    ("some windows hold no element", (2, 3, 5, 5), lambda b, x: b.max_pool_with_indices(
        x, kernel=(1, 3), strides=(3, 3), pads=((0, 2), (0, 0)), index_order="plane"), {}),
    ("some windows hold no element", (2, 2, 6, 7), lambda b, x: b.avg_pool(
        x, kernel=(1, 5), strides=(3, 1), pads=((0, 2), (0, 0)), count_include_pad=True), {}),
    ("its input is empty", (2, 0, 5), lambda b, x: b.sum(x, axes=(2,)), {}),
    ("Caffe's ArgMax takes 1 to 3 elements, not 0", (2, 3), lambda b, x: b.topk(x, k=0, axis=1)[0], {}),
    ("an index is beyond the 3 elements of axis 1", N, lambda b, x: b.gather(x, b.const(np.array([0, 3])), axis=1), {}),
    ("an index is beyond the 3 elements of axis 1", N, lambda b, x: b.gather(x, b.const(np.array([0, -4])), axis=1), {}),
    ("its indices may be negative, which count from the end", (2,), lambda b, x: b.gather(b.weight(array(5, 7), "t"),
        b.sub(x, b.const(np.int64(1))), axis=0), {"dtype": "int64"}),
    ("Caffe wants its kernel as a constant weight", N, lambda b, x: b.conv(x, b.input("w", "float32", (5, 3, 2, 2)),
        pads="same_upper"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "build", "more"), WHY, ids=range(len(WHY)))
def test_seldom_refused(why: str, shape: Any, build: Any, more: Any, tmp_path: Path) -> None:
    options = dict(more)
    assert why in refused(tmp_path, shape, build, options.pop("dtype", "float32"), **options)


def test_an_axis_of_more_elements_than_a_float_counts() -> None:
    for n, known in ((1 << 24, True), ((1 << 24) + 1, False)):
        g = Graph("g")
        b = Builder(g)
        g.outputs = [b.cast(b.argmax(b.input("x", "float32", (1, 1, n)), axis=2, last=True), to="float32")]
        found = [p.why for p in convcore.check(convcore.Model(g, "test"), "caffe")]
        assert found == [] if known else [f"{n} elements: a float counts to 16777216 only" in w for w in found] == [True]


def plain(make: Callable[[Builder], Any], **options: Any) -> Any:
    """Written by the emitter alone, which lays nothing out."""
    g = Graph("g")
    b = Builder(g)
    made = make(b)
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    return emit(EmitRequest(g, None, options, {}, None if options.get("own") else host().rules("caffe")))


def test_layouts_that_nobody_has_changed() -> None:
    with pytest.raises(UnsupportedError, match=r"Caffe's images are \(N, C, H, W\), this one is channels_last"):
        plain(lambda b: b.max_pool(b.input("x", "float32", (2, 5, 7, 3)), kernel=(2, 2), layout="channels_last"))
    w, r = array(1, 16, 3), array(1, 16, 4)
    with pytest.raises(
        UnsupportedError, match=r"Caffe's LSTM runs over \(T, N, ...\), this one over \(N, T, ...\) \(batch_major\)"
    ):
        plain(lambda b: b.lstm(b.input("x", "float32", (2, 5, 3)), b.const(w), b.const(r), hidden=4, layout="batch_major")[0])


def test_without_rules_the_plugin_s_own_are_taken() -> None:
    made = [plain(lambda b: b.tanh(b.input("x", "float32", (2, 3))), own=own).model() for own in (True, False)]
    assert [[la.type for la in net] for net in made] == [["Input", "TanH"]] * 2


def test_a_first_size_without_a_name_is_the_batch(tmp_path: Path) -> None:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.tanh(b.input("x", "float32", (None, 3)))]
    assign(g, CONVENTION, io="source")
    made = emit(EmitRequest(g, tmp_path / "n.prototxt", {"batch": 4}, {}, host().rules("caffe")))
    assert read_net(*made.paths).inputs[0].shape == (4, 3)
    assert made.sizes == {"x.0": 4} and any("x.0 = 4" in n for n in made.notes)


def test_detections_with_fading_thresholds(tmp_path: Path) -> None:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [boxes(b, b.input("data", "float32", (1, 8)), nms_eta=0.5, nms_top_k=7, keep_top_k=5, confidence_threshold=0.25,
                       variance_encoded_in_target=True)]  # fmt: skip
    made = emit(EmitRequest(g, None, {"caffe_flavor": "ssd"}, {}, host().rules("caffe"))).model()
    p = next(la for la in made if la.type == "DetectionOutput").param("detection_output_param")
    nms = p["nms_param"]
    assert (nms["nms_threshold"], nms["eta"], nms["top_k"]) == (0.5, 0.5, 7)
    assert (p["keep_top_k"], p["confidence_threshold"], p["variance_encoded_in_target"], p["code_type"]) == (
        5,
        0.25,
        True,
        "CORNER",
    )


# ---- read
def test_fields_that_a_rule_asks_for(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def mine(g: Any, node: Any) -> Any:
        seen.update(x=node.attr("x", 3), names=list(node.weights), count=len(node.weights))
        return g.b.relu(node.inputs[0])

    load(tmp_path, layer("FancyAct"), overrides={"FancyAct": mine})
    assert seen == {"x": 3, "names": [], "count": 0}
    scale = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")
    load(tmp_path, scale, overrides={"Convolution": mine})
    assert (seen["names"], seen["count"]) == (["weight", "bias"], 2)
    (problem,) = load(tmp_path, layer("FancyAct"), overrides={"FancyAct": lambda g, node: node.attr("nope")}).problems
    assert problem.why == "has no field 'nope'" and problem.code == "missing_attribute"


def test_what_reads_a_loss_goes_with_it(tmp_path: Path) -> None:
    text = (
        ' layer { name: "src" type: "Data" top: "d" top: "label" transform_param { crop_size: 9 force_color: true } }'
        ' layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 2 } }'
        ' layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
        ' layer { name: "half" type: "Power" bottom: "loss" top: "half" power_param { scale: 0.5 } }'
    )
    model = load(tmp_path, text)
    assert [v.name for v in model.outputs] == ["prob"] and [v.name for v in model.inputs] == ["d"]
    notes = model.metadata["notes"]
    assert "layer 'half' (Power) is left out: what it reads is left out" in notes
    assert "loss layer 'loss' (SoftmaxWithLoss) becomes softmax" in notes


def test_a_second_bottom_and_a_bias_of_ones_own(tmp_path: Path) -> None:
    bias = np.array([1, 2, 3], "f4")
    text = second("3") + layer("Scale", "scale_param { axis: 1 bias_term: true } " + blobs(bias), "d k")
    model = load(tmp_path, text, "2 3 5 7")
    x, k = array(2, 3, 5, 7), array(3)
    np.testing.assert_array_equal(model.run({"d": x, "k": k})["y"], x * k[:, None, None] + bias[:, None, None])
    one = load(tmp_path, second("") + layer("Scale", "scale_param { axis: 1 }", "d k"), "2 3 5 7")
    np.testing.assert_array_equal(one.run({"d": x, "k": np.float32(3)})["y"], 3 * x)


@pytest.mark.parametrize(("text", "why"), [
    (layer("Pooling", "pooling_param { kernel_size: 3 pad: 1 pool: STOCHASTIC }"),
     "padding is implemented only for average and max"),
    (layer("Reshape", "reshape_param { shape { dim: -2 } }"), r"negative size in shape \[-2\]"),
    (layer("Reshape", "reshape_param { shape { dim: 0 } num_axes: -2 }"), "num_axes must be -1 or more"),
    (layer("Input", "input_param { shape { " + "dim: 1 " * 33 + "} }", "", "y"), "a shape of 33 axes; Caffe has at most 32"),
    (layer("DummyData", "dummy_data_param { shape { dim: 2 } num: 2 }", "", "y"),
     "both shape and the old num, channels, height, width"),
    (layer("DummyData", "dummy_data_param { num: 2 num: 3 }", "", "y"), r"must be given once, or once per top \(1\)"),
    (layer("DummyData", "dummy_data_param { shape { dim: 2 } shape { dim: 3 } }", "", "y"), "2 shapes for 1 tops"),
    (layer("DummyData", "dummy_data_param { shape { dim: 2 } data_filler { } data_filler { } }", "", "y"),
     "2 data_filler for 1 tops"),
    (layer("ReLU", "", "d", "y z"), "takes 1 top blobs, 2 given"),
])  # fmt: skip
def test_what_caffe_checks(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=why):
        load(tmp_path, text)


def test_many_problems_are_counted_and_some_shown(tmp_path: Path) -> None:
    def said(n: int) -> str:
        bad = "".join(layer("ReLU", "", "nowhere", f"t{i}").replace('"l"', f'"l{i}"') for i in range(n))
        with pytest.raises(ConvcoreError) as caught:
            load(tmp_path, bad)
        return str(caught.value)

    for n, shown in ((1, 1), (2, 2), (50, 50), (51, 50), (60, 50)):
        text = said(n)
        assert text.count("unknown bottom blob 'nowhere'") == shown and (f"({n} problems)" in text) is (n > 1)


V0 = 'input: "d" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 7 %s layers { layer { name: "r" type: "%s" %s } %s }'


def test_fields_of_the_first_generation(tmp_path: Path) -> None:
    """upgrade_proto.cpp, UpgradeV0LayerParameter."""
    path = tmp_path / "n.prototxt"
    path.write_text(V0 % ("debug_info: true state { level: 1 }", "relu", "", 'bottom: "d" top: "y"'))
    net = read_net(path)
    assert {
        "debug_info is dropped: Caffe ignores it in a net of V0 layers",
        "state is dropped: Caffe ignores it in a net of V0 layers",
    } <= {*net.notes}
    path.write_text(
        V0 % ("", "images", 'source: "s" batchsize: 5 scale: 0.5 meanfile: "m" cropsize: 9 mirror: true', 'top: "a" top: "b"')
    )
    t = read_net(path).layer("r").param("transform_param")
    assert (t["scale"], t["mean_file"], t["crop_size"], t["mirror"]) == (0.5, "m", 9, True)
    path.write_text(V0 % ("", "hdf5_output", 'hdf5_output_param { file_name: "f" }', 'bottom: "d" bottom: "d"'))
    assert read_net(path).layer("r").param("hdf5_output_param")["file_name"] == "f"
    path.write_text(V0 % ("", "relu", "alpha: 2", 'bottom: "d" top: "y"'))
    assert "layer 'r': alpha is dropped: Caffe ignores it on a V0 layer of type 'relu'" in read_net(path).notes
    path.write_text('input_dim: 1 layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    assert read_net(path).notes == ["input_shape or input_dim is ignored: no input is named"]


def test_what_a_layer_says_is_written(tmp_path: Path) -> None:
    spec = [ParamSpec("w", "PERMISSIVE", 0.5, 2.0), ParamSpec()]
    one = Layer("l", "Odd", ["a"], ["b"], param_specs=spec, unknown={"speed": [3]}, params={"odd_param": Message("")})
    one.params["odd_param"].unknown["k"] = [1]
    m = message_of_layer(one, blobs=False)
    assert [(p.get("name"), p.get("share_mode"), p.get("lr_mult"), p.get("decay_mult")) for p in m["param"]] == [
        ("w", "PERMISSIVE", 0.5, 2.0), (None, None, 1.0, 1.0),
    ]  # fmt: skip
    assert [p.has("share_mode") for p in m["param"]] == [True, False]
    write_prototxt(Net("n", [one], about='{"labels": ["a"]}'), tmp_path / "n.prototxt")
    text = (tmp_path / "n.prototxt").read_text()
    assert text.startswith('# convcore {"labels": ["a"]}\n') and "odd_param {\n    k: 1\n  }" in text and "speed: 3" in text
    back = parse_text(text.encode())["layer"][0]
    assert back.unknown["speed"] == [3] and back.unknown["odd_param"][0]["k"] == [1]


def test_who_the_file_belongs_to(tmp_path: Path) -> None:
    assert convcore_identify(3) is None
    for name, data, score in (
        ("a.prototxt", b"layer { }", 95), ("a.txt", b"layer { }", 70), ("a.caffemodel", b"\x0a\x03net", 95),
        ("a.bin", b"\x0a\x03net", 60),
        ("a.caffemodel", b"\x80", 50), ("a.bin", b"\x80", 0), ("a.onnx", b"layer { }", 0), ("a.json", b"layer { }", 0),
        ("a.caffemodel.h5", b"\x89HDF\r\n\x1a\n", 50), ("a.prototxt", None, 50), ("a.txt", None, 0),
    ):  # fmt: skip
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        claim = convcore_identify(path)
        assert (claim.score if claim else 0) == score, (name, data)


def test_a_grown_image_of_an_old_detector(tmp_path: Path) -> None:
    """prior_box_layer.cpp: sizes and steps of 0 are those of the bottoms; img_size stands for both."""

    def node(more: str) -> Any:
        prior = f"prior_box_param {{ min_size: 2 flip: true clip: false {more} }}"
        return next(n for n in load(tmp_path, layer("PriorBox", prior, "d d")).graph if n.op == "prior_box").attrs

    assert node("img_size: 9")["image_size"] == (9, 9) and node("img_h: 9 img_w: 7")["image_size"] == (9, 7)
    assert node("img_h: 9")["image_size"] is None and node("img_h: 0 img_w: 7")["image_size"] is None
    assert node("step: 2")["step"] == (2, 2) and node("step_h: 2 step_w: 3")["step"] == (2, 3)
    assert node("step_h: 2")["step"] is None and node("step_w: 2")["step"] is None and node("")["step"] is None


def test_files_that_a_detector_would_write_are_left_out(tmp_path: Path) -> None:
    rest = second("1 8") + second("1 4").replace('"o"', '"o2"').replace('"k"', '"c"')
    rest += second("1 2 8").replace('"o"', '"o3"').replace('"k"', '"p"')
    out = layer("DetectionOutput", "detection_output_param { num_classes: 2 nms_param { nms_threshold: 0.5 } "
                "save_output_param { output_directory: 'x' } }", "k c p")  # fmt: skip
    model = load(tmp_path, rest + out)
    assert not model.problems
    assert "layer 'l' (DetectionOutput): save_output_param writes files in Caffe and is left out" in model.metadata["notes"]


def test_sizes_that_are_open(tmp_path: Path) -> None:
    model = load(tmp_path, layer("ArgMax", "argmax_param { top_k: 2 axis: 1 }"), "2 3 5", input_shapes={"d": (2, "C", 5)})
    x = array(2, 3, 5)
    want = np.argsort(x, axis=1)[:, ::-1][:, :2]
    np.testing.assert_array_equal(model.run({"d": x})["y"], want)
    both = load(tmp_path, layer("ArgMax", "argmax_param { top_k: 2 out_max_val: true }"), "2 3 5")
    flat = x.reshape(2, 15)
    at = np.argsort(flat, axis=1)[:, ::-1][:, :2]
    np.testing.assert_array_equal(both.run({"d": x})["y"], np.stack([at, np.take_along_axis(flat, at, 1)], 1))
    assert load(tmp_path, layer("Slice", "slice_param { axis: 1 }"), "2 3 5").outputs[0].shape == (2, 3, 5)
    open_ = load(tmp_path, layer("Upsample", "upsample_param { scale: 2 }"), "2 3 5 7", input_shapes={"d": (2, 3, "H", "W")})
    assert open_.outputs[0].shape == (2, 3, Dim("H") * 2, Dim("W") * 2)


# ---- recurrences, from ONNX and back
RECURRENT = sorted(p for kind in ("LSTM", "RNN") for p in (DATA / "caffe_conformance" / kind).iterdir())


def through_onnx(case: Path, folder: Path, fuse: bool = False) -> convcore.Model:
    """A net as ONNX, read again: nothing of Caffe's is kept."""
    pytest.importorskip("onnx")
    source = convcore.load(case / "deploy.prototxt", next(case.glob("weights.caffemodel")))
    convcore.convert(source, "onnx", folder / "a.onnx", check=False)
    return convcore.load(folder / "a.onnx", fuse=fuse)


@pytest.mark.parametrize("case", RECURRENT, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_a_recurrence_is_caffe_s_own_again(case: Path, tmp_path: Path) -> None:
    """Also where its products and sums are apart."""
    model = through_onnx(case, tmp_path)
    assert {"matmul", "add"} <= {n.op for n in model.graph}
    result = convcore.convert(model, "caffe", tmp_path / "b.prototxt")
    found = types(read_net(*result.paths))
    assert set(found) <= {"LSTM", "RNN", "InnerProduct"} and found.count(case.parent.name) == (2 if case.name == "stacked" else 1)


def _start(g: Graph) -> None:
    fill = next(n for n in g if n.op == "fill")
    fill.attrs = {**fill.attrs, "value": 1.0}


def _state(g: Graph) -> None:
    g.outputs.append(next(n for n in g if n.op == "scan").outputs[0])


def _backward(g: Graph) -> None:
    scan = next(n for n in g if n.op == "scan")
    scan.attrs = {**scan.attrs, "reverse": (1, 1)}


def _bias(g: Graph) -> None:
    """The sum that is the bias gone from what goes in."""
    add = next(n for n in g if n.op == "add")
    add.output.replace_uses(add.need("x"))


def _between(g: Graph) -> None:
    g.outputs.append(next(n for n in g if n.op == "tanh").need("x"))


CHANGED: list[tuple[str, Callable[[Graph], None]]] = [
    ("LSTM", _start), ("LSTM", _state), ("LSTM", _backward), ("LSTM", _bias), ("RNN", _start), ("RNN", _state), ("RNN", _bias),
    ("RNN", _between),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), CHANGED, ids=[f"{k}{c.__name__}" for k, c in CHANGED])
def test_a_loop_that_is_another_is_refused(kind: str, change: Callable[[Graph], None], tmp_path: Path) -> None:
    model = through_onnx(DATA / "caffe_conformance" / kind / "basic", tmp_path)
    change(model.graph)
    with pytest.raises(UnsupportedError, match="a scan is written only where it is the step of Caffe's own LSTM or RNN"):
        convcore.convert(model, "caffe", tmp_path / "b.prototxt")


# ---- more of each
def test_what_an_override_sees_of_a_second_bottom(tmp_path: Path) -> None:
    seen: list[Any] = []

    def mine(g: Any, node: Any) -> Any:
        seen.append(list(node.weights))
        node.ignore(*node.attrs)
        return g.b.mul(node.inputs[0], node.inputs[1])

    load(tmp_path, layer("Scale", "scale_param { axis: 0 }", "d d"), overrides={"Scale": mine})
    assert seen == [[]]


def test_layers_that_do_nothing_to_an_input_in_place(tmp_path: Path) -> None:
    model = load(tmp_path, layer("Dropout", "", "d", "d") + layer("ReLU", "", "d", "y").replace('"l"', '"r"'))
    assert [n.op for n in model.graph][-1] == "relu" and [v.name for v in model.inputs] == ["d"]


def test_more_tops_than_a_layer_makes(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"layer 'l' \(ReLU6\)"):
        load(tmp_path, layer("ReLU6", "", "d", "y z"))


def test_every_layer_of_caffe_s_own_has_a_rule_or_a_reason() -> None:
    assert [s.name for s in specs() if s.upstream and s.name not in RULES.load_rules and not s.why and s.name != "Python"] == []


def test_what_only_training_does_to_images_is_named(tmp_path: Path) -> None:
    more = "transform_param { crop_size: 9 force_color: true distort_param { } mirror: true }"
    data = " " + layer("Data", more, "", "d").replace('"l"', '"src"')
    facts = load(tmp_path, data + layer("ReLU")).metadata["preprocessing"]["d"]
    assert facts["training_only"] == ["distort_param"]


def test_a_fork_s_padding_of_an_upsampling_is_not_dropped(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, layer("Upsample", "upsample_param { scale: 2 pad_out_h: true }")).problems
    assert "pad_out_h" in problem.why
    assert not load(tmp_path, layer("Upsample", "upsample_param { scale: 2 pad_out_h: false }")).problems


def test_a_layer_of_no_generation(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_text(V0 % ("", "relu", "", 'bottom: "d" top: "y"') + ' layers { bottom: "y" top: "z" }')
    with pytest.raises(BadFileError, match="has no type"):
        read_net(path)


def test_files_that_cannot_be_sniffed_go_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: Any) -> str:
        raise BadFileError("no")

    monkeypatch.setattr(importlib.import_module("convcore_caffe.files.sniff"), "sniff", never)
    for name, score in (("a.prototxt", 20), ("a.bin", 0)):
        (tmp_path / name).write_bytes(b"x")
        claim = convcore_identify(tmp_path / name)
        assert (claim.score if claim else 0) == score


def test_what_opencv_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    load(tmp_path, layer("ReLU"))
    done = convcore.convert(tmp_path / "net.prototxt", "caffe", tmp_path / "out.prototxt")

    def refuse(*given: Any) -> Any:
        raise cv2.error("\n  first line \n second")

    monkeypatch.setattr(cv2.dnn, "readNetFromCaffe", refuse)
    with pytest.raises(UnsupportedError, match=r"OpenCV cannot read it: first line$"):
        open_runtime(*map(str, done.paths))


MORE: dict[str, tuple[Any, Callable[[Builder, Value], Any], list[str], dict[str, Any]]] = {
    "channels of rows": ((2, 6), lambda b, x: b.reshape(b.transpose(b.reshape(x, shape=(2, 3, 2)), perm=(0, 2, 1)), shape=(2, 6)),
        ["Reshape", "Permute", "Flatten"], {"caffe_flavor": "ssd"}),
    "a weight of half precision": (N, lambda b, x: b.mul(x, b.cast(b.weight(array(3, 1, 1).astype("f2"), "w"), to="float32")),
        ["Scale"], {}),
    "a weight turned": (N, lambda b, x: b.mul(x, b.transpose(b.weight(array(1, 1, 3), "w"), perm=(2, 0, 1))), ["Scale"], {}),
    "the largest of what is joined": ((2, 3), lambda b, x: b.cast(b.argmax(b.concat(x, b.tanh(x), axis=1), axis=1), to="float32"),
        ["TanH", "Concat", "Slice", "Concat", "ArgMax", "Power", "Reshape"], {}),
    "the largest of what is turned": ((2, 3), lambda b, x: b.cast(b.argmax(b.flip(x, axes=(1,)), axis=1), to="float32"),
        ["ArgMax", "Power", "Reshape"], {}),
    "once and three times": (N, lambda b, x: b.mul(b.mul(b.exp(x), b.like(x, 1.0)), b.like(x, 3.0)), ["Exp", "Power"], {}),
    "two numbers of a norm": (N, lambda b, x: b.mul(b.mul(b.l2_normalize(x, axes=(1,), epsilon=1e-10, mode="add_square"),
        b.like(x, 20.0)), b.like(x, 3.0)), ["Normalize", "Power"], {"caffe_flavor": "ssd"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_more_that_is_seldom_written(name: str, tmp_path: Path) -> None:
    shape, build, wanted, options = MORE[name]
    assert sorted(types(written(tmp_path, shape, build, **options))) == sorted(wanted)
