"""How nets load: names in place, losses, data layers, preprocessing, fillers, shapes, hostile nets, forks' layers."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.verify import verify as verify_ir
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.ir.tensors import ArrayTensor
from convcore_caffe.files import read_net
from convcore_caffe.load import load

from .support import CASES, CONFORMANCE, ZOO, blob_values, load_case, name_of, worst

RNG = np.random.default_rng(5)


def rand(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def given(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def layer(name: str, type_: str, bottoms: str, tops: str = "", extra: str = "") -> str:
    ends = "".join(f'bottom: "{b}" ' for b in bottoms.split()) + "".join(f'top: "{t}" ' for t in (tops or name).split())
    return f'layer {{ name: "{name}" type: "{type_}" {ends}{extra} }}\n'


def net(folder: Path, *text: str, **options: Any) -> convcore.Model:
    path = folder / "net.prototxt"
    path.write_text("".join(text))
    options.setdefault("init_weights", True)
    model = convcore.load(path, **options)
    verify_ir(model.graph)
    return model


def value_names(model: convcore.Model) -> list[str]:
    return [v.name for node in model.graph for v in node.outputs]


# ---- names
def test_in_place_layers_are_one_value_per_write(tmp_path: Path) -> None:
    m = net(
        tmp_path, given("d", 2, 3, 5, 7),
        layer("conv", "Convolution", "d", "c", "convolution_param { num_output: 11 kernel_size: 3 }"),
        layer("bn", "BatchNorm", "c", "c"), layer("relu", "ReLU", "c", "c"), layer("tanh", "TanH", "c", "t"),
    )  # fmt: skip
    assert value_names(m) == ["c:conv", "c:bn", "c", "t"]
    assert [n.name for n in m.graph] == ["conv", "bn", "relu", "tanh"]
    assert [x.name for x in m.layers] == ["d", "conv", "bn", "relu", "tanh"]
    assert [v.name for v in m.graph.weights.values()] == ["conv/weight", "conv/bias", "bn/mean", "bn/variance"]
    assert [v.trainable for v in m.graph.weights.values()] == [True, True, False, False]


def test_an_input_overwritten_in_place_keeps_its_name(tmp_path: Path) -> None:
    m = net(tmp_path, given("d", 2, 3), layer("r", "ReLU", "d", "d"), layer("s", "Sigmoid", "d", "y"))
    assert [i.name for i in m.inputs] == ["d"]
    assert value_names(m) == ["d:r", "y"]
    assert m.metadata["blobs"] == {"d": "d:r"}


def test_dropout_gives_its_input_and_keeps_its_ratio(tmp_path: Path) -> None:
    ratio = "dropout_param { dropout_ratio: 0.25 }"
    m = net(
        tmp_path, given("d", 2, 3), layer("t", "TanH", "d"), layer("drop", "Dropout", "t", "t", ratio), layer("e", "Dropout", "t")
    )
    assert value_names(m) == ["t:t", "t", "e"]
    assert [(n.name, n.op, n.attrs["rate"]) for n in list(m.graph)[1:]] == [("drop", "dropout", 0.25), ("e", "dropout", 0.5)]
    x = rand(2, 3)
    assert np.array_equal(m(x), np.tanh(x))


def test_repeated_layer_names_are_numbered(tmp_path: Path) -> None:
    m = net(
        tmp_path, given("d", 2, 3), layer("x", "TanH", "d", "a"), layer("x", "Sigmoid", "a", "b"), layer("x", "ReLU", "b", "c")
    )
    assert [n.name for n in m.graph] == ["x", "x_1", "x_2"]


def test_shared_parameters_are_one_weight(tmp_path: Path) -> None:
    shared = 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
    m = net(
        tmp_path,
        given("a", 2, 7),
        given("b", 3, 7),
        layer("x", "InnerProduct", "a", "x", shared),
        layer("y", "InnerProduct", "b", "y", shared),
    )
    assert list(m.graph.weights) == ["x/weight", "x/bias"]
    assert [len(w.uses) for w in m.graph.weights.values()] == [2, 2]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_graph_is_valid_and_names_are_kept(case: Path) -> None:
    m, _, blobs, _ = load_case(case)
    verify_ir(m.graph)
    if m.problems:
        return
    known = {v.name for v in m.graph.values()}
    assert {m.metadata.get("blobs", {}).get(b, b) for b in blobs} <= known
    types = {x.type for x in m.layers}
    assert types
    for node in m.graph:
        assert node.origin.framework == "caffe" and node.origin.type in types


# ---- losses
LOSS = given("x", 3, 5) + given("l", 3) + layer("ip", "InnerProduct", "x", "ip", "inner_product_param { num_output: 7 }")


def train_val(loss: str) -> str:
    sizes = "memory_data_param { batch_size: 3 channels: 5 height: 1 width: 1 }"
    data = layer("x", "MemoryData", "", "x l", sizes)
    return data + layer("ip", "InnerProduct", "x", "ip", "inner_product_param { num_output: 7 }") + loss


def test_a_train_val_net_takes_its_deployed_form(tmp_path: Path) -> None:
    text = train_val(layer("loss", "SoftmaxWithLoss", "ip l", "loss") + layer("acc", "Accuracy", "ip l"))
    m = net(tmp_path, text)
    assert [i.name for i in m.inputs] == ["x"]
    assert [str(o) for o in m.outputs] == ["prob: float32[3, 7]"]
    assert any("'acc'" in n and "left out" in n for n in m.metadata["notes"])
    assert any("'loss'" in n and "softmax" in n for n in m.metadata["notes"])
    x = rand(3, 5, 1, 1)
    ip = m["ip"](x)
    assert np.allclose(m(x), np.exp(ip) / np.exp(ip).sum(1, keepdims=True), atol=1e-6)
    kept = net(tmp_path, text, losses="compute")
    assert [o.name for o in kept.outputs] == ["acc", "loss"]
    assert np.isclose(
        kept.run({"x": x, "l": np.array([1, 6, 2], np.float32)})["loss"], -np.log(m(x)[[0, 1, 2], [1, 6, 2]]).mean()
    )


def test_labels_that_are_inputs_keep_the_loss(tmp_path: Path) -> None:
    text = LOSS + layer("loss", "SoftmaxWithLoss", "ip l", "loss")
    assert [o.name for o in net(tmp_path, text).outputs] == ["loss"]
    assert [o.name for o in net(tmp_path, text, losses="deploy").outputs] == ["prob"]


def test_made_up_labels_keep_the_loss_too() -> None:
    case = CONFORMANCE / "_Net" / "train_val_net"
    m = convcore.load(case / "deploy.prototxt", case / "weights.caffemodel")
    assert [o.name for o in m.outputs] == ["acc", "loss"]
    deployed = convcore.load(case / "deploy.prototxt", case / "weights.caffemodel", losses="deploy")
    assert [o.name for o in deployed.outputs] == ["prob"]


@pytest.mark.parametrize(("type_", "output"), [("EuclideanLoss", "ip"), ("HingeLoss", "ip"), ("SigmoidCrossEntropyLoss", "prob")])
def test_other_losses_deployed(type_: str, output: str, tmp_path: Path) -> None:
    m = net(tmp_path, train_val(layer("loss", type_, "ip l")))
    assert [o.name for o in m.outputs] == [output]
    assert [i.name for i in m.inputs] == ["x"]


@pytest.mark.parametrize("type_", ["HingeLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "ContrastiveLoss"])
def test_losses_of_data_without_axes_are_refused(type_: str, tmp_path: Path) -> None:
    bottoms = "x l m" if type_ == "ContrastiveLoss" else "x l"
    inputs = "".join(given(n) for n in bottoms.split())
    with pytest.raises(BadFileError, match="bottom 0 has 0 axes, at least 1 are needed"):
        net(tmp_path, inputs + layer("loss", type_, bottoms, "y"), losses="compute")


def test_a_loss_behind_an_unknown_layer_hides_nothing(tmp_path: Path) -> None:
    m = net(tmp_path, train_val(layer("py", "Python", "ip", "y") + layer("loss", "SoftmaxWithLoss", "y l")))
    assert [o.name for o in m.outputs] == ["y"]
    assert [p.layer for p in m.problems] == ["py"]


def test_two_softmax_losses_give_two_outputs(tmp_path: Path) -> None:
    other = layer("ip2", "InnerProduct", "x", "ip2", "inner_product_param { num_output: 11 }")
    m = net(tmp_path, train_val(other + layer("a", "SoftmaxWithLoss", "ip l") + layer("b", "SoftmaxWithLoss", "ip2 l")))
    assert [o.name for o in m.outputs] == ["ip/prob", "ip2/prob"]


# ---- data layers and shapes
def test_data_layers_without_a_shape_ask_for_it(tmp_path: Path) -> None:
    text = 'layer { name: "in" type: "Data" top: "data" top: "label" data_param { source: "x" batch_size: 7 } }\n'
    with pytest.raises(UsageError, match="input_shapes"):
        net(tmp_path, text)
    m = net(tmp_path, text + layer("r", "ReLU", "data", "r"), input_shapes={"data": ("batch", 3, 5, 11)})
    assert [str(i) for i in m.inputs] == ["data: float32[batch, 3, 5, 11]", "label: float32[batch]"]


@pytest.mark.parametrize("type_", ["WindowData", "HDF5Data", "AnnotatedData", "VideoData", "DenseImageData"])
def test_what_is_read_from_files_is_an_input(tmp_path: Path, type_: str) -> None:
    text = layer("in", type_, "", "data label") + layer("r", "ReLU", "data", "r")
    text += layer("out", "HDF5Output", "data label", " ", 'hdf5_output_param { file_name: "y" }')
    with pytest.raises(UsageError, match=rf"'in' \({type_}\) reads 'data' from files.*input_shapes"):
        net(tmp_path, text)
    m = net(tmp_path, text, input_shapes={"data": (2, 3, 5, 11), "label": (2,)})
    assert [i.name for i in m.inputs] == ["data", "label"]
    assert [o.name for o in m.outputs] == ["r"]


def test_crop_size_and_weights_tell_the_shape(tmp_path: Path) -> None:
    text = 'layer { name: "in" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 13 mean_value: 104 } '
    text += 'image_data_param { source: "x" batch_size: 7 } }\n' + layer("r", "ReLU", "data", "r")
    m = net(tmp_path, text)
    assert [str(i) for i in m.inputs] == ["data: float32[7, 3, 13, 13]", "label: float32[7]"]


def test_unknown_input_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'y'.*inputs are: d"):
        net(tmp_path, given("d", 2, 3), layer("r", "ReLU", "d", "r"), input_shapes={"y": (1, 2)})


def test_dummy_data_is_a_constant_unless_its_shape_is_given(tmp_path: Path) -> None:
    dummy = layer("x", "DummyData", "", "x", "dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 0.25 } }")
    text = dummy + layer("t", "TanH", "x")
    assert net(tmp_path, text).inputs == ()
    assert [i.name for i in net(tmp_path, text, input_shapes={"x": (5, 3)}).inputs] == ["x"]
    gaussian = text.replace("value: 0.25", 'type: "gaussian"')
    assert [i.name for i in net(tmp_path, gaussian).inputs] == ["x"]


def test_symbolic_sizes_reach_the_output(tmp_path: Path) -> None:
    folder = next(z for z in ZOO if z.name == "caffe-mtcnn-det1")
    m = convcore.load(folder / "det1.prototxt", folder / "det1.caffemodel", input_shapes={"data": ("N", 3, "H", "W")})
    fixed = convcore.load(folder / "det1.prototxt", folder / "det1.caffemodel", input_shapes={"data": (2, 3, 29, 23)})
    x = rand(2, 3, 29, 23)
    for a, b in zip(m(x), fixed(x), strict=True):
        assert np.array_equal(a, b)
    assert [str(o.shape[0]) for o in m.outputs] == ["N", "N"]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_symbolic_batch_computes_the_same(case: Path) -> None:
    """Every case whose inputs share their first size: the graph for any such size, run at the recorded one."""
    with np.load(case / "inputs.npz") as z:
        shapes = {k: z[k].shape for k in z.files}
    if len({s[:1] for s in shapes.values()}) != 1 or () in shapes.values():
        pytest.skip("the inputs do not share a batch")
    m, inputs, blobs, outputs = load_case(case, input_shapes={k: ("N", *s[1:]) for k, s in shapes.items()})
    if m.problems:
        assert {p.code for p in m.problems} <= {"unknown_shape", "custom_layer"}
        return
    got = blob_values(m, inputs, outputs)
    for name in outputs:
        want = blobs[name].reshape(got[name].shape) if name == "label" else blobs[name]
        assert worst(got[name], want) <= 1e-5, name


# ---- weights
def test_missing_weights_are_refused_unless_filled(tmp_path: Path) -> None:
    text = given("d", 2, 3, 5, 5) + layer("c", "Convolution", "d", "c", "convolution_param { num_output: 7 kernel_size: 3 }")
    with pytest.raises(BadFileError, match=r"no weights for 'c'.*init_weights"):
        net(tmp_path, text, init_weights=False)
    assert not net(tmp_path, text)(rand(2, 3, 5, 5)).any()  # Caffe's default filler is 0


def test_fillers(tmp_path: Path) -> None:
    def weight(filler: str, **sizes: int) -> Any:
        p = f"num_output: {sizes.get('o', 200)} kernel_size: {sizes.get('k', 5)} group: {sizes.get('g', 1)}"
        p = f"convolution_param {{ {p} weight_filler {{ {filler} }} }}"
        m = net(tmp_path, given("d", 1, sizes.get("c", 7), 11, 11), layer("c", "Convolution", "d", "c", p))
        return m.graph.weights["c/weight"].tensor.numpy()

    w = weight('type: "xavier"')
    assert np.abs(w).max() <= np.sqrt(3 / 175) and np.isclose(w.std(), np.sqrt(1 / 175), rtol=0.02)
    assert np.array_equal(w, weight('type: "xavier"'))  # seeded
    assert np.isclose(weight('type: "msra" variance_norm: FAN_OUT').std(), np.sqrt(2 / 5000), rtol=0.02)
    assert np.isclose(weight('type: "gaussian" mean: 2 std: 0.5').mean(), 2, rtol=0.02)
    assert (weight('type: "uniform" min: -3 max: -1') < -1).all()
    assert np.allclose(weight('type: "positive_unitball"').reshape(200, -1).sum(1), 1, atol=1e-5)
    bilinear = weight('type: "bilinear"', o=3, c=3, g=3, k=4)[1, 0]
    assert np.allclose(bilinear, np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25]))
    params = 'convolution_param { num_output: 7 kernel_size: 3 weight_filler { type: "magic" } }'
    m = net(tmp_path, given("d", 1, 3, 5, 5), layer("c", "Convolution", "d", "c", params))
    assert "filler type 'magic'" in m.problems[0].why


def test_default_blobs_of_scale_prelu_and_normalize(tmp_path: Path) -> None:
    m = net(
        tmp_path,
        given("d", 2, 3, 5, 7),
        layer("s", "Scale", "d", "s", "scale_param { bias_term: true }"),
        layer("p", "PReLU", "s"),
    )
    x = rand(2, 3, 5, 7)
    assert np.allclose(m(x), np.where(x > 0, x, 0.25 * x))


def test_a_wrong_number_of_blobs_is_refused(tmp_path: Path) -> None:
    blob = "blobs { shape { dim: 3 } data: 1 data: 2 data: 3 }"
    text = given("d", 2, 3) + layer("s", "Scale", "d", "s", f"scale_param {{ bias_term: true }} {blob}")
    with pytest.raises(BadFileError, match=r"layer 's' \(Scale\): has 1 weight blobs, the layer takes 2"):
        net(tmp_path, text, init_weights=False)


# ---- preprocessing
TRANSFORM = "transform_param { scale: 0.5 mean_value: 104 mean_value: 117 mean_value: 123 }"
SIZES = "memory_data_param { batch_size: 2 channels: 3 height: 5 width: 7 } "
IMAGES = layer("in", "MemoryData", "", "data l", SIZES + TRANSFORM) + layer("r", "Power", "data", "r")


def test_transform_param_is_kept_or_applied(tmp_path: Path) -> None:
    x = rand(2, 3, 5, 7)
    labels = np.zeros(2, np.float32)
    kept = net(tmp_path, IMAGES)
    facts = kept.metadata["preprocessing"]["data"]
    assert facts["scale"] == 0.5 and facts["mean_value"] == [104, 117, 123] and facts["order"] == "BGR" and not facts["applied"]
    assert np.array_equal(kept.run({"data": x, "l": labels})["r"], x)
    applied = net(tmp_path, IMAGES, preprocessing="apply")
    want = (x - np.array([104, 117, 123], np.float32).reshape(3, 1, 1)) * 0.5
    assert np.allclose(applied.run({"data": x, "l": labels})["r"], want)
    assert applied.metadata["preprocessing"]["data"]["applied"]
    less = net(tmp_path, IMAGES.replace("scale: 0.5 ", ""), preprocessing="apply")  # TransformationParameter: scale is 1
    assert np.allclose(less.run({"data": x, "l": labels})["r"], want * 2)


def mean_file(path: Path, mean: Any) -> Path:
    def field(number: int, data: bytes) -> bytes:
        size, out = len(data), b""
        while size > 127:
            out, size = out + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + out + bytes([size]) + data

    sizes = b"".join(bytes([i << 3, n]) for i, n in enumerate(mean.shape, 1))
    path.write_bytes(sizes + field(5, struct.pack(f"<{mean.size}f", *mean.reshape(-1))))
    return path


def test_a_mean_image_is_cropped_to_its_centre(tmp_path: Path) -> None:
    mean = rand(1, 3, 9, 11)
    path = mean_file(tmp_path / "mean.binaryproto", mean)
    m = net(
        tmp_path, given("d", 2, 3, 5, 7), layer("p", "Power", "d"), preprocessing="apply", mean_file=str(path), input_scale=0.25
    )
    x = rand(2, 3, 5, 7)
    assert np.allclose(m(x), (x - mean[:, :, 2:7, 2:9]) * 0.25, atol=1e-6)
    with pytest.raises(UsageError, match="does not cover"):
        net(tmp_path, given("d", 2, 3, 15, 7), layer("p", "Power", "d"), preprocessing="apply", mean_file=str(path))


def test_preprocessing_that_is_not_there_or_not_complete(tmp_path: Path) -> None:
    text = given("d", 2, 3, 5, 7) + layer("p", "Power", "d")
    with pytest.raises(UsageError, match="nothing to apply"):
        net(tmp_path, text, preprocessing="apply")
    with pytest.raises(UsageError, match="2 mean values for 3 channels"):
        net(tmp_path, text, preprocessing="apply", mean_values="1,2")
    named = IMAGES.replace("mean_value: 104 mean_value: 117 mean_value: 123", 'mean_file: "/etc/passwd"')
    assert net(tmp_path, named).metadata["preprocessing"]["data"]["mean_file"] == "/etc/passwd"
    with pytest.raises(UsageError, match="not followed"):
        net(tmp_path, named, preprocessing="apply")


def test_labels_travel_along(tmp_path: Path) -> None:
    (tmp_path / "synset.txt").write_text("n01440764 tench\nn01443537 goldfish\n\n")
    m = net(tmp_path, given("d", 2, 3), layer("r", "ReLU", "d", "r"), labels=str(tmp_path / "synset.txt"))
    assert m.metadata["labels"] == ["n01440764 tench", "n01443537 goldfish"]


def test_hdf5_weights(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    case = CONFORMANCE / "_Net" / "hdf5_weights"
    a, b = (convcore.load(case / "deploy.prototxt", case / f"weights.{kind}") for kind in ("caffemodel", "caffemodel.h5"))
    x = rand(2, 3, 5, 5)
    assert all(np.array_equal(p, q) for p, q in zip(a(x), b(x), strict=True))


def test_a_caffemodel_alone_carries_its_own_net() -> None:
    case = CONFORMANCE / "BatchNorm" / "conv_bn_scale_relu_inplace"
    alone = convcore.load(case / "weights.caffemodel")
    x = rand(2, 3, 6, 6)
    assert np.array_equal(alone(x), convcore.load(case / "deploy.prototxt", case / "weights.caffemodel")(x))
    with pytest.raises(UsageError, match="the other way round"):
        convcore.load(case / "weights.caffemodel", case / "deploy.prototxt")


# ---- BatchNorm and Scale
def test_batch_norm_and_scale_become_one_layer_elsewhere(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    case = CONFORMANCE / "BatchNorm" / "conv_bn_scale_relu_inplace"
    m = convcore.load(case / "deploy.prototxt", case / "weights.caffemodel")
    assert [n.op for n in m.graph] == ["conv", "batch_norm", "mul", "add", "relu"]
    done = convcore.convert(m, "onnx", tmp_path / "net.onnx")
    model = onnx.load(done.paths[0])
    assert [n.op_type for n in model.graph.node] == ["Conv", "BatchNormalization", "Relu"]
    assert {i.name for i in model.graph.initializer} >= {"sc/scale", "sc/bias", "bn/mean", "bn/variance"}
    assert [n.op for n in m.graph] == ["conv", "batch_norm", "mul", "add", "relu"]  # the model given stays as it is


# ---- opaque and invalid layers
def test_layers_nobody_knows_are_opaque_and_listed_together(tmp_path: Path) -> None:
    m = net(
        tmp_path, given("d", 2, 3, 5, 7), layer("r", "Reorg", "d", "r", "reorg_param { stride: 2 }"), layer("t", "TanH", "r"),
        layer("z", "FancyAct", "t", "z", "fancy_act_param { knob: 7 }"),
    )  # fmt: skip
    assert [(p.layer, p.type) for p in m.problems] == [("r", "Reorg"), ("z", "FancyAct")]
    assert "forks" in m.problems[0].why and "unknown layer type" in m.problems[1].why
    with pytest.raises(UnsupportedError) as caught:
        convcore.convert(m, "onnx")
    assert len(caught.value.problems) == 2
    mine = {"FancyAct": lambda g, node: g.b.tanh(node.inputs[0])}
    y = net(tmp_path, given("d", 2, 3), layer("z", "FancyAct", "d", "z"), overrides=mine)
    assert not y.problems


def test_unknown_fields_of_a_fork_layer_are_never_dropped(tmp_path: Path) -> None:
    m = net(
        tmp_path,
        given("d", 2, 4, 5, 7),
        layer("s", "ShuffleChannel", "d", "s", "shuffle_channel_param { group: 2 } extra_knob: 3"),
    )
    assert "extra_knob" in m.problems[0].why


def test_an_unknown_field_takes_no_place_of_a_known_one(tmp_path: Path) -> None:
    m = net(
        tmp_path,
        given("d", 2, 4, 5, 7),
        layer("s", "ShuffleChannel", "d", "s", 'shuffle_channel_param { group: 2 } group: "out"'),
    )
    assert "unknown group" in m.problems[0].why


def test_every_invalid_layer_is_named(tmp_path: Path) -> None:
    text = given("d", 2, 3, 5, 7) + layer("a", "Slice", "d", "a b") + layer("c", "Concat", "d", "c", "concat_param { axis: 9 }")
    with pytest.raises(BadFileError, match="2 layers") as caught:
        net(tmp_path, text)
    assert "layer 'a' (Slice)" in str(caught.value) and "layer 'c' (Concat)" in str(caught.value)


def test_phase_train_in_a_layer(tmp_path: Path) -> None:
    m = net(tmp_path, given("d", 2, 3), layer("x", "Dropout", "d", "x", "phase: TRAIN"))
    assert "drops at random" in m.problems[0].why


BOMBS = {
    "tile": ("Tile", "tile_param { tiles: 2000000000 }"),
    "rows": ("InnerProduct", "inner_product_param { num_output: 4294967295 }"),
    "stride": ("Deconvolution", "convolution_param { num_output: 3 kernel_size: 2 stride: 2000000000 }"),
    "pyramid": ("SPP", "spp_param { pyramid_height: 4000000000 }"),
    "embed": ("Embed", "embed_param { num_output: 4294967295 input_dim: 4294967295 }"),
    "reshape": ("Reshape", "reshape_param { shape { dim: 9223372036854775807 } }"),
    "kernel": ("Convolution", "convolution_param { num_output: 3 kernel_size: 4294967295 pad: 4294967295 }"),
    "upsample": ("Upsample", "upsample_param { scale: 1e9 }"),
    "top_k": ("ArgMax", "argmax_param { top_k: 4294967295 }"),
    "interp": ("Interp", "interp_param { height: 2000000000 width: 2000000000 }"),
    "group": ("ShuffleChannel", "shuffle_channel_param { group: 0 }"),
    "pad": ("Pad", "pad_param { pad_u: -2147483648 }"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_anything_is_allocated(name: str, tmp_path: Path) -> None:
    type_, params = BOMBS[name]
    start = time.monotonic()
    with pytest.raises(ConvcoreError, match="'bomb'"):
        net(tmp_path, given("d", 1, 3, 8, 8), layer("bomb", type_, "d", "y", params))
    assert time.monotonic() - start < 2
    assert [p.name for p in tmp_path.iterdir()] == ["net.prototxt"]


def test_a_huge_lrn_window_costs_nothing(tmp_path: Path) -> None:
    x = rand(1, 3, 4, 4)
    for region in ("ACROSS_CHANNELS", "WITHIN_CHANNEL"):
        m = net(
            tmp_path,
            given("d", 1, 3, 4, 4),
            layer("l", "LRN", "d", "l", f"lrn_param {{ local_size: 1001 alpha: 700 norm_region: {region} }}"),
        )
        every = (
            np.square(x).sum(1, keepdims=True) / 1001 if region[0] == "A" else np.square(x).sum((2, 3), keepdims=True) / 1001**2
        )
        assert np.allclose(m(x), x / (1 + 700 * every) ** 0.75, rtol=1e-5)


def test_the_only_input_may_be_given_without_its_name(tmp_path: Path) -> None:
    m = net(tmp_path, given("d", 2, 3), layer("r", "ReLU", "d", "r"), input_shapes={"": ("N", None)})
    assert [str(d) for d in m.inputs[0].shape or ()] == ["N", "3"]
    with pytest.raises(UsageError, match="axes"):
        net(tmp_path, given("d", 2, 3), layer("r", "ReLU", "d", "r"), input_shapes={"d": (2, 3, 5)})
    with pytest.raises(UsageError, match="''"):
        net(tmp_path, given("d", 2, 3), given("e", 2, 3), layer("r", "ReLU", "d", "r"), input_shapes={"": (2, 3)})


def test_opaque_layers_keep_their_blobs_behind_their_bottoms(tmp_path: Path) -> None:
    text = given("d", 2, 3) + layer("z", "FancyAct", "d", "z") + layer("r", "ReLU", "z", "r")
    (tmp_path / "n.prototxt").write_text(text)
    parsed = read_net(tmp_path / "n.prototxt")
    parsed.layers[1].blobs += [ArrayTensor(rand(5, 7)), ArrayTensor(rand(11))]
    graph = load(LoadRequest(parsed, rules=host().rules("caffe")))
    opaque, follows = graph
    assert [v.name for v in opaque.inputs if v is not None] == ["d", "z/blob0", "z/blob1"]
    assert [list(w.tensor.shape) for w in graph.weights.values() if w.tensor is not None] == [[5, 7], [11]]
    assert not opaque.attrs.get("follows") and follows.attrs["follows"]


def test_a_rule_that_gives_up_leaves_nothing_in_the_net(tmp_path: Path) -> None:
    def gives_up(g: Any, node: Any) -> Any:
        y = g.b.relu(g.b.add(node.inputs[0], g.b.weight(rand(3), "left")))
        raise node.refuse(f"made {y.name}")

    m = net(tmp_path, given("d", 2, 3), layer("z", "FancyAct", "d", "z"), overrides={"z": gives_up})
    assert [n.op for n in m.graph] == ["opaque"] and not m.graph.weights
    assert value_names(m) == ["z"] and [(p.layer, p.type) for p in m.problems] == [("z", "FancyAct")]
