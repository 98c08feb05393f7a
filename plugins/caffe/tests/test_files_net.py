"""Nets from files: every conformance case and zoo model, refusals, old formats, states, weights, HDF5, round trips, attacks."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from convcore.errors import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore.ir.tensors import ArrayTensor, MappedTensor
from convcore_caffe.files import (
    Layer,
    Net,
    parse_text,
    pooling_rounding,
    read_mean,
    read_net,
    read_weights,
    sniff,
    write_caffemodel,
    write_prototxt,
)

from .test_files_text import DATA

CONFORMANCE = DATA / "caffe_conformance"
CASES = sorted(p.parent for p in CONFORMANCE.glob("*/*/meta.json"))
REFUSED = sorted(p.parent for p in CONFORMANCE.glob("_Refused/*/refusal.txt"))
ZOO = sorted((DATA / "zoo").glob("caffe-*"))
# refused by Caffe for reasons that need shapes, a layer registry or a device: the mapping refuses these
NEEDS_SHAPES = {
    "bias_axes_past_end",
    "concat_mismatch",
    "conv_group_indivisible",
    "crop_out_of_bounds",
    "pool_stochastic_cpu",
    "scale_bottom_shape",
    "slice_uneven",
    "unknown_type",
    "weights_shape_mismatch",
}


def weights_of(case: Path) -> list[Path]:
    return sorted(case.glob("*.caffemodel*"))


def net_of(tmp_path: Path, text: str, weights: Path | None = None, **state: object) -> Net:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return read_net(path, weights, **state)


def wrote(tmp_path: Path, layers: list[Layer], name: str = "w.caffemodel") -> Path:
    write_caffemodel(Net("w", layers), tmp_path / name)
    return tmp_path / name


def ip(name: str, *blobs: object) -> Layer:
    return Layer(name, "InnerProduct", blobs=[ArrayTensor(np.asarray(b, "f4")) for b in blobs])


D = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 } } } '


def same(a: Net, b: Net) -> None:
    """Equal structure and values (lines aside)."""
    assert [x.name for x in a.layers] == [x.name for x in b.layers]
    assert (a.name, a.outputs, a.inputs) == (b.name, b.outputs, b.inputs)
    for x, y in zip(a.layers, b.layers, strict=True):
        for attribute in ("type", "bottoms", "tops", "params", "param_specs", "phase", "include", "loss_weight", "unknown"):
            assert getattr(x, attribute) == getattr(y, attribute), (x.name, attribute)
        assert [t.shape for t in x.blobs] == [t.shape for t in y.blobs]
        for t, u in zip(x.blobs, y.blobs, strict=True):
            np.testing.assert_array_equal(t.numpy(), u.numpy())


# ---- everything that is there
@pytest.mark.parametrize("case", CASES, ids=lambda p: "/".join(p.parts[-2:]))
def test_conformance_case(case: Path, tmp_path: Path) -> None:
    meta = json.loads((case / "meta.json").read_text())
    prototxt = case / "deploy.prototxt"
    assert sniff(prototxt) == "prototxt"
    for weights in weights_of(case) or [None]:
        net = read_net(prototxt, weights)
        assert set(net.outputs) == set(meta["outputs"])
        assert net.missing == []
        tops = {top for layer in net.layers for top in layer.tops}
        assert set(meta["shapes"]) == tops
        # in-place chains: Caffe's recorded producer of a blob is the last layer that writes it
        last = {top: (layer.name, i) for layer in net.layers for i, top in enumerate(layer.tops)}
        recorded = {top: tuple(p) for top, p in meta["producers"].items() if top in tops and p[0]}  # "": an `input` field
        assert recorded.items() <= last.items()
        write_prototxt(net, tmp_path / "out.prototxt")
        write_caffemodel(net, tmp_path / "out.caffemodel")
        same(net, read_net(tmp_path / "out.prototxt", tmp_path / "out.caffemodel"))


@pytest.mark.parametrize("case", REFUSED, ids=lambda p: p.name)
def test_refused_case(case: Path) -> None:
    weights = next(iter(weights_of(case)), None)
    if case.name in NEEDS_SHAPES:
        assert read_net(case / "deploy.prototxt", weights).layers
        return
    with pytest.raises(BadFileError) as e:
        read_net(case / "deploy.prototxt", weights)
    last = parse_text((case / "deploy.prototxt").read_bytes())["layer"][-1]
    assert f"layer {last['name']!r} ({last['type']})" in str(e.value)
    assert f"deploy.prototxt:{last.line}: " in str(e.value)


def test_refused_weights_are_refused_when_the_layer_asks() -> None:
    case = CONFORMANCE / "_Refused" / "weights_shape_mismatch"
    fc = read_net(case / "deploy.prototxt", case / "weights.caffemodel").layer("fc")
    with pytest.raises(BadFileError, match=r"'fc'.*\[4, 5\].*\[4, 4\]"):
        fc.blob(0, (4, 4))


@pytest.mark.parametrize("folder", ZOO, ids=lambda p: p.name)
def test_zoo(folder: Path, tmp_path: Path) -> None:
    (prototxt,), (model,) = folder.glob("*.prototxt"), folder.glob("*.caffemodel")
    net = read_net(prototxt, model)
    assert net.missing == []
    assert net.inputs or net.data_layers
    assert all(layer.weights == "file" for layer in net if layer.takes_weights)
    write_prototxt(net, tmp_path / "out.prototxt")
    write_caffemodel(net, tmp_path / "out.caffemodel")
    same(net, read_net(tmp_path / "out.prototxt", tmp_path / "out.caffemodel"))


def test_counts() -> None:
    assert (len(CASES) > 180, len(REFUSED) > 20, len(ZOO)) == (True, True, 6)


# ---- old formats
def test_v0_upgrade() -> None:
    case = CONFORMANCE / "_Net" / "v0_layers"
    net = read_net(case / "deploy.prototxt", case / "weights.caffemodel")
    assert [x.type for x in net] == ["Input", "Convolution", "ReLU", "Pooling", "LRN", "InnerProduct", "Softmax"]
    conv = net.layer("conv1")
    p = conv.param("convolution_param")
    assert (conv.bottoms, p["pad"], p["kernel_size"], p["stride"]) == (["data"], [1], [3], [1])
    assert [s.lr_mult for s in conv.param_specs] == [1, 2]
    assert net.layer("pool1").param("pooling_param")["pool"] == "AVE"
    assert net.layer("norm1").param("lrn_param")["local_size"] == 3
    assert net.inputs[0].shape == (2, 3, 8, 8)


def test_v0_refusals(tmp_path: Path) -> None:
    head = 'input: "d" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4 layers { layer { name: "p" type: "padding" pad: 1 } '
    head += 'bottom: "d" top: "p" } '
    with pytest.raises(BadFileError, match=r"'r' \(relu\): only conv and pool"):
        net_of(tmp_path, head + 'layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }')
    with pytest.raises(BadFileError, match=r"unknown bottom blob 'q'"):
        net_of(tmp_path, head + 'layers { layer { name: "r" type: "conv" } bottom: "q" top: "r" }')
    with pytest.raises(BadFileError, match=r"unknown V0 layer type 'cnov'"):
        net_of(tmp_path, head + 'layers { layer { name: "r" type: "cnov" } bottom: "d" top: "r" }')
    net = net_of(tmp_path, head + 'layers { layer { name: "r" type: "relu" kernelsize: 3 } bottom: "d" top: "r" }')
    assert any("kernelsize" in n for n in net.notes)


def test_v1_upgrade(tmp_path: Path) -> None:
    text = """
    layers { name: "d" type: IMAGE_DATA top: "d" top: "l" image_data_param { source: "x" scale: 0.5 crop_size: 7 mirror: true
             mean_file: "m" batch_size: 3 } }
    layers { name: "a" type: INNER_PRODUCT bottom: "d" top: "a" param: "w" blob_share_mode: PERMISSIVE blobs_lr: 0
             weight_decay: 3 weight_decay: 4 inner_product_param { num_output: 2 } include { phase: TEST } }
    layers { name: "t" type: SIGMOID_CROSS_ENTROPY_LOSS bottom: "a" bottom: "l" top: "t" loss_weight: 2 include { phase: TRAIN } }
    layers { name: "s" type: SOFTMAX_LOSS bottom: "a" bottom: "l" top: "s" loss_weight: 2 loss_param { ignore_label: 9 } }
    """
    net = net_of(tmp_path, text)
    assert [(x.name, x.type) for x in net] == [("d", "ImageData"), ("a", "InnerProduct"), ("s", "SoftmaxWithLoss")]
    d, a, s = net.layers
    t = d.param("transform_param")
    assert (t["scale"], t["crop_size"], t["mirror"], t["mean_file"]) == (0.5, 7, True, "m")
    assert not d.param("image_data_param").has("scale")
    assert d.param("image_data_param")["batch_size"] == 3
    assert [(p.name, p.share_mode, p.lr_mult, p.decay_mult) for p in a.param_specs] == [
        ("w", "PERMISSIVE", 0, 3),
        ("", "STRICT", 1, 4),
    ]
    assert (s.loss_weight, s.param("loss_param")["ignore_label"]) == ([2], 9)
    assert a.line == 4


def test_layer_and_layers_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"both 'layer'"):
        net_of(tmp_path, D + 'layers { name: "a" type: RELU bottom: "d" top: "a" }')


def test_inputs(tmp_path: Path) -> None:
    relu = 'layer { name: "r" type: "ReLU" bottom: "b" top: "r" }'
    net = net_of(tmp_path, 'input: "a" input: "b" input_shape { dim: 5 } input_shape { dim: 2 dim: 3 dim: 7 } ' + relu)
    assert [(i.name, i.shape) for i in net.inputs] == [("a", (5,)), ("b", (2, 3, 7))]
    assert (net.layers[0].name, net.layers[0].tops) == ("input", ["a", "b"])
    with pytest.raises(BadFileError, match=r"4 input_dim|two|four"):
        net_of(tmp_path, 'input: "a" input: "b" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 ' + relu)
    with pytest.raises(BadFileError, match=r"unknown bottom blob 'b'.*has no shape"):
        net_of(tmp_path, 'input: "b" ' + relu)
    shared = 'layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 3 } } } ' + relu
    assert [i.shape for i in net_of(tmp_path, shared).inputs] == [(3,), (3,)]
    none = 'layer { name: "i" type: "Input" top: "b" } ' + relu
    assert [i.shape for i in net_of(tmp_path, none).inputs] == [None]


def test_batch_norm_with_three_params_loses_them(tmp_path: Path) -> None:
    bn = 'layer { name: "b" type: "BatchNorm" bottom: "d" top: "b" %s }'
    assert net_of(tmp_path, D + bn % ("param { lr_mult: 1 } " * 3)).layer("b").param_specs == []
    with pytest.raises(BadFileError, match=r"'b'.*lr_mult 0"):
        net_of(tmp_path, D + bn % "param { lr_mult: 1 }")


# ---- states
def test_state_selects_layers() -> None:
    path = CONFORMANCE / "_Net" / "phase_rules" / "deploy.prototxt"
    base = ["data", "fc"]

    def names(**state: object) -> list[str]:
        return [layer.name for layer in read_net(path, **state)]

    assert names() == [*base, "test_only", "notstage"]
    assert names(phase="TRAIN") == [*base, "train_only", "excluded", "notstage"]
    assert names(stages=["deploy"]) == [*base, "test_only", "staged"]
    assert names(level=1) == [*base, "test_only", "lvl", "notstage"]
    with pytest.raises(UsageError):
        names(phase="DEPLOY")


def test_own_state_and_layer_phase(tmp_path: Path) -> None:
    text = 'state { stage: "s" phase: TRAIN level: 4 } ' + D
    text += 'layer { name: "a" type: "ReLU" bottom: "d" top: "a" include { stage: "s" } } '
    text += 'layer { name: "b" type: "Dropout" bottom: "d" top: "b" phase: TRAIN exclude { min_level: 1 max_level: 3 } }'
    net = net_of(tmp_path, text)
    assert [(x.name, x.phase, x.own_phase) for x in net] == [("d", "TEST", None), ("a", "TEST", None), ("b", "TRAIN", "TRAIN")]
    assert [x.name for x in net_of(tmp_path, text, level=2)] == ["d", "a"]
    with pytest.raises(BadFileError, match=r"'b'.*both include and exclude"):
        net_of(tmp_path, D + 'layer { name: "b" type: "ReLU" include { } exclude { } }')


def test_layers_of_the_other_phase_may_be_unknown(tmp_path: Path) -> None:
    net_of(tmp_path, D + 'layer { name: "x" type: "Data" top: "q" wild: 3 data_param { wilder: 4 } include { phase: TRAIN } }')


# ---- what Caffe refuses, beyond the recorded cases
@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ('type: "ReLU" bottom: "d" top: "x" botom: "d"', "no field 'botom'"),
        ('type: "ReLU" bottom: "d" top: "x" quantization_param { bits: 8 }', "no field 'quantization_param'"),
        ('type: "ReLU" bottom: "d" bottom: "d" top: "x"', "1 bottom blobs, 2 given"),
        ('type: "ReLU" bottom: "d"', "1 top blobs, 0 given"),
        ('bottom: "d" top: "x"', "no type"),
        ('type: "Clip" bottom: "d" top: "x" clip_param { min: 0 }', "needs max"),
        ('type: "Reshape" bottom: "d" top: "d" reshape_param { shape { dim: 6 } }', "in-place"),
        ('type: "Concat" bottom: "d" top: "x" concat_param { axis: 1 concat_dim: 1 }', "not both"),
        ('type: "Slice" bottom: "d" top: "x" top: "y" slice_param { slice_point: 1 slice_point: 2 }', "slice_point"),
        ('type: "Slice" bottom: "d" top: "x" top: "y" top: "z" slice_param { slice_point: 2 slice_point: 2 }', "increasing"),
        ('type: "Convolution" bottom: "d" top: "x" convolution_param { num_output: 4 kernel_h: 3 }', "kernel_h and kernel_w"),
        ('type: "Convolution" bottom: "d" top: "x" convolution_param { num_output: 4 kernel_size: 3 group: 3 }', "group 3"),
        ('type: "Convolution" bottom: "d" top: "x" convolution_param { kernel_size: 3 }', "num_output"),
        ('type: "Convolution" bottom: "d" top: "x" convolution_param { num_output: 1 kernel_size: 3 kernel_h: 3 }', "not both"),
        ('type: "Pooling" bottom: "d" top: "x"', "filter size"),
        ('type: "Pooling" bottom: "d" top: "x" pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }', "filter size"),
        ('type: "Pooling" bottom: "d" top: "x" pooling_param { kernel_size: 2 stride_h: 2 }', "stride"),
        ('type: "Pooling" bottom: "d" top: "x" pooling_param { global_pooling: true stride: 2 }', "stride 1"),
        ('type: "Pooling" bottom: "d" top: "x" top: "m" pooling_param { pool: AVE kernel_size: 2 }', "mask"),
        ('type: "SoftmaxWithLoss" bottom: "d" bottom: "d" top: "x" top: "y"', "once per top: 1 for 2"),
        ('type: "ReLU" bottom: "d" top: "x" loss_weight: 1 loss_weight: 2', "once per top: 2 for 1"),
        ('type: "Log" bottom: "d" top: "x" log_param { base: 0 }', "base"),
        ('type: "Embed" bottom: "d" top: "x" embed_param { num_output: 3 }', "input_dim"),
        ('type: "Input" top: "x" input_param { shape { dim: 65536 dim: 65536 } }', "2147483647"),
        ('type: "ReLU" bottom: "d" top: "x" propagate_down: true propagate_down: false', "propagate_down"),
    ],
)
def test_refused_layers(tmp_path: Path, layer: str, why: str) -> None:
    with pytest.raises(BadFileError, match=why) as e:
        net_of(tmp_path, D + f'\nlayer {{ name: "bad" {layer} }}')
    assert "net.prototxt:2: layer 'bad'" in str(e.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = D + 'layer { name: "a" type: "ReLU" bottom: "n1" top: "a" } layer { name: "b" type: "ReLU" bottom: "n2" top: "b" }'
    with pytest.raises(BadFileError, match=r"2 problems") as e:
        net_of(tmp_path, text)
    assert "'n1'" in str(e.value)
    assert "'n2'" in str(e.value)


def test_fork_layers_keep_what_no_schema_knows(tmp_path: Path) -> None:
    text = D + 'layer { name: "f" type: "Foo" bottom: "d" top: "x" foo_param { k: 3 } speed: FAST } '
    text += 'layer { name: "s" type: "ShuffleChannel" bottom: "x" top: "y" shuffle_channel_param { group: 3 } }'
    f, s = net_of(tmp_path, text).layers[1:]
    assert f.params["foo_param"]["k"] == [3]
    assert f.unknown == {"speed": ["FAST"]}
    assert s.param("shuffle_channel_param")["group"] == 3
    with pytest.raises(BadFileError, match=r"'s'.*no field 'grup'"):
        net_of(tmp_path, text.replace("group: 3", "grup: 3"))


def test_wiring(tmp_path: Path) -> None:
    def outputs(*layers: str) -> list[str]:
        return net_of(tmp_path, D + " ".join(f"layer {{ {x} }}" for x in layers)).outputs

    def relu(name: str, bottom: str, top: str, more: str = "") -> str:
        return f'name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" {more}'

    assert outputs(relu("r", "d", "d")) == ["d"]
    assert outputs(relu("z", "d", "z"), relu("a", "d", "a")) == ["a", "z"]
    assert outputs(relu("a", "d", "a"), relu("b", "a", "a"), relu("c", "a", "c"), relu("e", "a", "e")) == ["c", "e"]
    assert outputs(relu("a", "d", "a"), 'name: "s" type: "Silence" bottom: "a"') == []
    for refused in (
        [relu("a", "d", "a"), relu("b", "a", "b"), relu("c", "a", "a")],  # in place after another reader
        [relu("a", "d", "a"), relu("c", "a", "a"), relu("b", "d", "d")],  # d is read by a and, in place, by b
        [relu("a", "d", "a"), relu("b", "a", "d")],  # writes an existing blob, not in place
        [relu("a", "d", "a", "loss_weight: 1"), relu("b", "a", "a")],  # a loss counts as a reader
        ['name: "e" type: "Eltwise" bottom: "d" bottom: "d" top: "d"'],
        ['name: "s" type: "Split" bottom: "d" top: "x" top: "x"'],
    ):
        with pytest.raises(BadFileError, match=r"produced by multiple sources"):
            outputs(*refused)


# ---- weights
IP = 'layer { name: "%s" type: "InnerProduct" bottom: "d" top: "%s" inner_product_param { num_output: 5 } %s } '


def test_weights_go_by_name_to_the_first_layer(tmp_path: Path) -> None:
    weights = wrote(tmp_path, [ip("other", np.ones(2)), ip("a", np.ones((5, 3)), np.ones(5))])
    net = net_of(tmp_path, D + IP % ("b", "b", "") + IP % ("a", "a", "") + IP % ("a", "c", ""), weights)
    assert [x.weights for x in net] == ["", "", "file", ""]
    assert net.missing == ["b", "a"]
    assert net.extra == ["other"]
    assert any("'other'" in n for n in net.notes)
    assert isinstance(net.layers[2].blobs[0], MappedTensor)
    with pytest.raises(BadFileError, match=r"'b'.*needs weight blob 0"):
        net.layer("b").blob(0, (5, 3))


def test_weight_refusals(tmp_path: Path) -> None:
    net = D + IP % ("a", "a", "")
    with pytest.raises(BadFileError, match=r"'a' is there twice"):
        net_of(tmp_path, net, wrote(tmp_path, [ip("a", [1]), ip("a", [1], [2])]))
    with pytest.raises(BadFileError, match=r"'a'.*no blobs"):
        net_of(tmp_path, net, wrote(tmp_path, [ip("a")]))
    with pytest.raises(BadFileError, match=r"'a'.*3 param for 2 blobs"):
        net_of(tmp_path, D + IP % ("a", "a", "param { } " * 3), wrote(tmp_path, [ip("a", [1], [2])]))
    with pytest.raises(BadFileError, match=r"net definition"):
        read_weights(CASES[0] / "deploy.prototxt")


def test_legacy_shapes_fit_padded_shapes_only() -> None:
    layer = ip("a", np.arange(6).reshape(1, 1, 2, 3), np.arange(6).reshape(1, 1, 2, 3))
    layer.legacy = [True, False]
    assert layer.blob(0, (2, 3)).shape == (2, 3)
    assert layer.blob(0, (1, 2, 3)).shape == (1, 2, 3)
    assert layer.blob(0, (1, 1, 2, 3)).shape == (1, 1, 2, 3)
    assert layer.blob(1, (1, 1, 2, 3)).shape == (1, 1, 2, 3)
    for index, shape in ((1, (2, 3)), (0, (6,)), (0, (3, 2)), (0, (1, 1, 1, 2, 3))):
        with pytest.raises(BadFileError):
            layer.blob(index, shape)


def test_v1_weights_in_a_current_net(tmp_path: Path) -> None:
    weights = CONFORMANCE / "_Net" / "v1_layers" / "weights.caffemodel"
    (fc,) = (w for w in read_weights(weights) if w.name == "fc")
    assert fc.legacy == [len(fc.blobs[0].shape) == 4] * 2
    net = net_of(tmp_path, D + IP % ("fc", "fc", ""), weights)
    assert net.layer("fc").blob(1, (5,)).shape == (5,)


def test_shared_parameters(tmp_path: Path) -> None:
    w, v = np.arange(15).reshape(5, 3), 10 + np.arange(15).reshape(5, 3)
    text = D + IP % ("a", "a", 'param { name: "w" }') + IP % ("b", "b", 'param { name: "w" share_mode: %s }')
    strict, permissive = text % "STRICT", text % "PERMISSIVE"
    net = net_of(tmp_path, strict, wrote(tmp_path, [ip("a", w, [1] * 5), ip("b", v, [2] * 5)]))
    a, b = net.layer("a"), net.layer("b")
    assert b.shared[0].layer_name == "a"
    assert a.shared == {}
    np.testing.assert_array_equal(a.blobs[0].numpy(), v)  # one blob, copied twice: the last value stays
    np.testing.assert_array_equal(b.blobs[0].numpy(), v)
    assert (a.blobs[1].numpy()[0], b.blobs[1].numpy()[0]) == (1, 2)
    with pytest.raises(BadFileError, match=r"'b'.*'w'.*\[3, 5\]"):
        net_of(tmp_path, strict, wrote(tmp_path, [ip("a", w, [1] * 5), ip("b", v.reshape(3, 5), [2] * 5)]))
    net = net_of(tmp_path, permissive, wrote(tmp_path, [ip("a", w, [1] * 5), ip("b", v.reshape(3, 5), [2] * 5)]))
    np.testing.assert_array_equal(net.layer("b").blob(0, (3, 5)).numpy(), v.reshape(3, 5))
    np.testing.assert_array_equal(net.layer("a").blob(0, (5, 3)).numpy(), v)
    assert net.layer("b").blob(0, (15,)).shape == (15,)
    with pytest.raises(BadFileError):
        net_of(tmp_path, permissive, wrote(tmp_path, [ip("a", w, [1] * 5), ip("b", [1, 2], [2] * 5)]))


def test_a_layer_that_shares_everything_needs_no_weights_of_its_own(tmp_path: Path) -> None:
    both = 'param { name: "w" } param { name: "v" }'
    text = D + IP % ("a", "a", both) + IP % ("b", "b", both)
    net = net_of(tmp_path, text, wrote(tmp_path, [ip("a", np.ones((5, 3)), [7] * 5)]))
    assert net.layer("b").weights == "shared"
    assert net.missing == []
    assert net.layer("b").blob(1, (5,)).numpy()[0] == 7


def test_inline_blobs(tmp_path: Path) -> None:
    blob = "blobs { shape { dim: 5 dim: 1 } data: [1, 2, 3, 4] data: 0.1 } "
    blob += "blobs { num: 1 channels: 1 height: 1 width: 2 data: [8, 9] }"
    a = net_of(tmp_path, D + IP % ("a", "a", blob)).layer("a")
    assert (a.weights, a.legacy) == ("inline", [False, True])
    np.testing.assert_array_equal(a.blob(0, (5, 1)).numpy().ravel(), np.float32([1, 2, 3, 4, 0.1]))
    np.testing.assert_array_equal(a.blob(1, (2,)).numpy(), [8, 9])
    net = net_of(tmp_path, D + IP % ("a", "a", blob), wrote(tmp_path, [ip("a", [5], [6])]))
    assert net.layer("a").weights == "file"
    with pytest.raises(BadFileError, match=r"net.prototxt:1: layer 'a'.*blob 0.*wants 1000000000000000000"):
        net_of(tmp_path, D + IP % ("a", "a", "blobs { shape { dim: 1000000000 dim: 1000000000 } data: 1 }"))


def test_a_caffemodel_alone_is_a_net(tmp_path: Path) -> None:
    case = CONFORMANCE / "_Net" / "slash_names"
    same(read_net(case / "deploy.prototxt", case / "weights.caffemodel"), _without_fillers(case))
    pool = CONFORMANCE / "Pooling" / "round_floor" / "weights.caffemodel"
    with pytest.raises(BadFileError, match=r"PoolingParameter has no field '#13'.*prototxt"):
        read_net(pool)


def _without_fillers(case: Path) -> Net:
    net = read_net(case / "weights.caffemodel")
    for layer in net:  # what Caffe writes into a caffemodel beside the definition
        layer.own_phase = None
    return net


def test_pooling_rounding(tmp_path: Path) -> None:
    pool = D + 'layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { kernel_size: 2 %s } }'
    for text, mode in (
        ("", "CEIL"),
        ("round_mode: FLOOR", "FLOOR"),
        ("round_mode: 0", "CEIL"),
        ("ceil_mode: false", "FLOOR"),
        ("ceil_mode: true", "CEIL"),
    ):
        assert pooling_rounding(net_of(tmp_path, pool % text).layer("p")) == mode
    with pytest.raises(UnsupportedError, match=r"'p'"):
        pooling_rounding(net_of(tmp_path, pool % "ceil_mode: false round_mode: CEIL").layer("p"))


# ---- HDF5
def test_hdf5_equals_binary() -> None:
    pytest.importorskip("h5py")
    case = CONFORMANCE / "_Net" / "hdf5_weights"
    same(*(read_net(case / "deploy.prototxt", case / f"weights.caffemodel{x}") for x in ("", ".h5")))
    assert sniff(case / "weights.caffemodel.h5") == "hdf5"


def test_hdf5_leaves_shared_blobs_to_their_owner(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as f:
        f["data/z/0"] = np.ones((5, 3), "f4")
        f["data/z/1"] = np.full(5, 3, "f8")
        f.create_dataset("data/a/1", data=np.full(5, 4, "f4"), chunks=(2,), compression="gzip", shuffle=True)
    text = D + IP % ("z", "z", 'param { name: "w" }') + IP % ("a", "a", 'param { name: "w" }')
    net = net_of(tmp_path, text, path)
    assert net.layer("a").blob(0, (5, 3)).numpy().sum() == 15
    assert net.layer("a").blob(1, (5,)).numpy()[0] == 4
    assert net.layer("z").blob(1, (5,)).numpy().dtype == np.float32
    with pytest.raises(BadFileError, match=r"'a'.*blob 0"):
        net_of(tmp_path, D + IP % ("z", "z", "") + IP % ("a", "a", ""), path)


def test_hdf5_attacks(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"S" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["k"] = np.ones(4, "f4")

    def layout(f: object) -> None:
        v = h5py.VirtualLayout((4,), "f4")
        v[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "k", (4,))
        f.create_virtual_dataset("data/a/0", v)

    def external_storage(f: object) -> None:
        f.create_dataset("data/a/0", (4,), "f4", external=[(str(secret), 0, 16)])

    def links(link: object) -> object:
        def make(f: object) -> None:
            f.create_group("data/a")["0"] = link

        return make

    def bomb(f: object) -> None:
        f.create_dataset("data/a/0", (10**7, 10**7), "f4", chunks=(1000, 1000), compression="gzip")

    def texts(f: object) -> None:
        f["data/a/0"] = np.array([b"x"])

    def strange(f: object) -> None:
        f["data/a/../b"] = np.ones(1, "f4")

    def nothing(f: object) -> None:
        f["model"] = 1

    attacks = [layout, external_storage, links(h5py.ExternalLink("other.h5", "k")), links(h5py.SoftLink("/data/a/0")), bomb]
    for i, make in enumerate([*attacks, texts, strange, nothing]):
        path = tmp_path / f"{i}.h5"
        with h5py.File(path, "w") as f:
            make(f)
        started = time.monotonic()
        with pytest.raises(BadFileError, match=path.name):
            read_weights(path)
        assert time.monotonic() - started < 2
    data = (CONFORMANCE / "_Net" / "hdf5_weights" / "weights.caffemodel.h5").read_bytes()
    for n in (8, 100, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:n])
        with pytest.raises(BadFileError):
            for w in read_weights(path):
                [b.numpy() for b in w.blobs]


# ---- sniffing
@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.txt", b"# c\n\n  name: 'x' layers: <>", "prototxt"),
        ("env.yml", b"name: 'x'\ninput: y\n", "unknown"),
        ("a.caffemodel", b"\xa2\x06\xff\xff\xff\xff\x7f", "unknown"),
        ("a.binaryproto", b"\x20\x02\x20\x03\x0a\x01a\xa2\x06\x00", "caffemodel"),
        ("a.bin", b"layer{", "prototxt"),
        ("a.prototxt", b"nonsense", "prototxt"),
        ("a.txt", b"nonsense", "unknown"),
        ("a.json", b'{"name": 1}', "unknown"),
        ("a", b"", "unknown"),
        ("a.caffemodel", b"\x0a\x03net\xa2\x06\x02\x0a\x00", "caffemodel"),
        ("a.prototxt", b"\x0a\x03net\xa2\x06\x02\x0a\x00", "caffemodel"),
        ("mean", b"\x08\x01\x10\x03\x18\x02\x20\x02\x2a\x04\0\0\0\0", "binaryproto"),
        ("mean", b"\x3a\x03\x0a\x01\x01\x2a\x04\0\0\0\0", "binaryproto"),
        ("a.onnx", b"\x08\x07\x12\x07pytorch:\x02\x0a\x00", "unknown"),
        ("a.zip", b"PK\x03\x04\x00\x00", "unknown"),
        ("a.h5", b"\x80\x04\x95pickle", "unknown"),
    ],
)
def test_sniff(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert sniff(tmp_path / name) == kind


def test_files_of_the_wrong_kind(tmp_path: Path) -> None:
    mean = tmp_path / "mean.binaryproto"
    mean.write_bytes(b"\x3a\x03\x0a\x01\x01\x2a\x04\0\0\0\0")
    with pytest.raises(BadFileError, match=r"mean file, not a net"):
        read_net(mean)
    with pytest.raises(BadFileError, match=r"holds no weights"):
        read_weights(mean)
    with pytest.raises(BadFileError, match=r"not a mean file"):
        read_mean(CASES[0] / "deploy.prototxt")


def test_unreadable_paths(tmp_path: Path) -> None:
    for read in (sniff, read_net, read_weights, read_mean):
        for path in (tmp_path, tmp_path / "absent"):
            with pytest.raises(BadFileError, match=r"cannot be read"):
                read(path)


# ---- attacks (as in the shared attack generator, Caffe part)
def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def ld(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


HUGE = ld(7, ld(1, varint(1 << 40) * 4)) + ld(5, struct.pack("<2f", 1, 2))
DIMS = "input_shape { dim: 2147483647 dim: 2147483647 dim: 2147483647 dim: 2147483647 }"
ATTACKS = {
    "deep.prototxt": b"layer{" * 100_000,
    "dims.prototxt": f'name: "n" input: "data" {DIMS} layer {{ name: "c" type: "ReLU" bottom: "data" top: "y" }}'.encode(),
    "repeat.prototxt": b'input:"data"\n' + b"input_dim:1 " * 300_000,
    "many.prototxt": b"layer{}" * 300_000,
    "problems.prototxt": b'layer{type:"ReLU" bottom:"x" top:"x"}' * 50_000,
    "string.prototxt": b'name:"\\x41\\0\\377' + b"A" * 100 + b"\nlayer{ name: 'unterminated",
    "cycle.prototxt": b'layer{name:"a" type:"ReLU" bottom:"y" top:"x"} layer{name:"b" type:"ReLU" bottom:"x" top:"y"}',
    "blob.caffemodel": ld(100, ld(1, b"c") + ld(2, b"InnerProduct") + ld(7, HUGE)),
    "length.caffemodel": b"\xa2\x06\xff\xff\xff\xff\x7f",
    "empty.caffemodel": b"",
    "names.caffemodel": ld(100, ld(1, b"\xff\xfe") + ld(2, b"ReLU")),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_ends_in_one_clear_error_quickly(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(ATTACKS[name])
    started = time.process_time()
    with pytest.raises(ConvcoreError, match=name) as e:
        read_net(path) if name.endswith(".prototxt") else read_weights(path)
    assert time.process_time() - started < 8
    assert len(str(e.value)) < 20_000
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_paths_in_a_net_are_only_names(tmp_path: Path) -> None:
    text = 'layer { name: "../../x" type: "Data" top: "d" transform_param { mean_file: "/etc/passwd" } '
    text += 'data_param { source: "/etc" backend: LMDB } } layer { name: "p" type: "Python" bottom: "d" top: "y" '
    text += 'python_param { module: "os" layer: "system" param_str: "touch PWNED" } }'
    net = net_of(tmp_path, text)
    assert net.layer("p").param("python_param")["module"] == "os"
    assert net.data_layers[0].param("transform_param")["mean_file"] == "/etc/passwd"
