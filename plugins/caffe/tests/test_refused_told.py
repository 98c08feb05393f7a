"""Refusals of Caffe's files by their words, each beside a file that is read; limits, and what fields that are left out mean."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import BadFileError, ConvcoreError, UsageError
from convcore_caffe.emit_rules.arithmetic import block_of
from convcore_caffe.files import read_net
from convcore_caffe.files.blobs import MAX_AXES
from convcore_caffe.files.message import Message
from convcore_caffe.files.net import quote_list
from convcore_caffe.files.weights import read_weights
from convcore_caffe.files.wire import MAX_RUNS
from convcore_caffe.files.write import write_caffemodel
from convcore_caffe.fillers import fill
from convcore_caffe.layer_spec import Parameters, spec_of
from convcore_caffe.layer_spec import layer as declare

from .emit_kit import array, fields, only, written
from .test_load_refused import CONV, SQUARE, layer, load, second

DEPTH = CONV.replace("Convolution", "ConvolutionDepthwise").replace("num_output: 2", "num_output: 3")
ROI = "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"
PRIOR = "prior_box_param { min_size: 4 %s }"
CASES: list[tuple[str, str, str, str]] = [
    # why, shape of the bottom, what is refused, what is not
    ("needs spatial axes", "1 3", layer("Im2col", "convolution_param { kernel_size: 1 }"), ""),
    (r"the regions must be \(R, 5\), they are \('2',\)", "1 3 5 7", second("2") + layer("ROIPooling", ROI, "d k"),
     second("2 5") + layer("ROIPooling", ROI, "d k")),
    ("either img_size or img_h and img_w, not both", "1 3 5 7", layer("PriorBox", PRIOR % "img_size: 9 img_h: 9", "d d"),
     layer("PriorBox", PRIOR % "img_h: 9 img_w: 7", "d d")),
    ("either step or step_h and step_w, not both", "1 3 5 7", layer("PriorBox", PRIOR % "step: 2 step_w: 2", "d d"),
     layer("PriorBox", PRIOR % "step_h: 2 step_w: 3", "d d")),
    ("variance is given 2 times; give 1 or 4", "1 3 5 7", layer("PriorBox", PRIOR % "variance: 1 variance: 2", "d d"),
     layer("PriorBox", PRIOR % "variance: 1", "d d")),
    ("sizes and ratios must be finite", "1 3 5 7", layer("PriorBox", PRIOR % "aspect_ratio: inf", "d d"),
     layer("PriorBox", PRIOR % "aspect_ratio: 2", "d d")),
    ("min_size must be given, and every size positive", "1 3 5 7", layer("PriorBox", "prior_box_param { }", "d d"),
     layer("PriorBox", PRIOR % "max_size: 9", "d d")),
    (r"-1 cannot be inferred in shape \[0, -1\]", "1 3", second("0 3")
     + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", "k"),
     second("2 3") + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", "k")),
    ("pyramid_height 17 is more than any input has room for", "1 3 5 7", layer("SPP", "spp_param { pyramid_height: 17 }"),
     layer("SPP", "spp_param { pyramid_height: 2 }")),
    (r"level 2 pads by \[2, 1\], not less than its windows of \[2, 2\]: the input is too small", "1 3 5 7",
     layer("SPP", "spp_param { pyramid_height: 5 }"), ""),
    (r"LSTM.*x must be \(T, N, ...\) and cont \(T, N\); they have 2 and 2 axes", "5 3",
     second("5 3") + layer("LSTM", "recurrent_param { num_output: 2 }", "d k"), ""),
    ("x has 5 steps of 3 sequences, cont 5 of 2", "5 3 7",
     second("5 2") + layer("LSTM", "recurrent_param { num_output: 2 }", "d k"),
     second("5 3") + layer("LSTM", "recurrent_param { num_output: 2 }", "d k")),
    ("3 bottoms are given, expected 4 or one more", "5 3 7",
     second("5 3") + layer("LSTM", "recurrent_param { num_output: 2 expose_hidden: true }", "d k d"), ""),
    ("kernel_size is not given", "1 3 5 7", CONV % "", CONV % SQUARE),
    ("kernel_size must be positive", "1 3 5 7", CONV % "kernel_size: 0", CONV % "kernel_size: 1"),
    ("stride_h and stride_w must both be given and positive", "1 3 5 7", CONV % "kernel_size: 1 stride_h: 2 stride_w: 0",
     CONV % "kernel_size: 1 stride_h: 2 stride_w: 1"),
    (r"kernel_size must be positive: \[0, 0\]", "1 3 5 7", DEPTH % "kernel_size: 0", DEPTH % "kernel_size: 1"),
    (r"stride must be positive: \[0, 0\]", "1 3 5 7", DEPTH % "kernel_size: 1 stride: 0", DEPTH % "kernel_size: 1"),
    ("num_output 2 is no multiple of group 3", "1 3 5 7", CONV % (SQUARE + " group: 3"), CONV % (SQUARE + " group: 1")),
    (r"all bottoms must have one shape, bottom 1 has \['1', '3', '5', '5'\]", "1 3 5 7",
     second("1 3 5 5") + layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }", "d k", "y z"),
     second("2 3 5 7") + layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }", "d k", "y z")),
    ("takes 2 bottoms, 1 given", "1 3 5 7", layer("MaxUnPool", "max_unpool_param { dst_h: 9 dst_w: 9 }"),
     second("1 3 5 7") + layer("MaxUnPool", "max_unpool_param { dst_h: 9 dst_w: 9 }", "d k")),
    ("takes a bottom and its mask, both with 4 axes", "1 3 5 7",
     second("1 3 5") + layer("MaxUnPool", "max_unpool_param { dst_h: 9 dst_w: 9 }", "d k"), ""),
    ("takes 1 or 2 bottoms, 3 given", "1 3 5 7", layer("Upsample", "upsample_param { scale: 2 }", "d d d"), ""),
    ("2 tops are given, expected 1", "5 3 7",
     second("5 3") + layer("LSTM", "recurrent_param { num_output: 2 }", "d k", "y z"), ""),
    (r"bottom 2 is an initial state and must be \(1, N, 2\), it is \('5', '3', '7'\)", "5 3 7",
     second("5 3") + layer("LSTM", "recurrent_param { num_output: 2 expose_hidden: true }", "d k d d", "y h c"), ""),
    ("the bottom has no axes", "", layer("ArgMax"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), CASES, ids=[c[0][:40] for c in CASES])
def test_refused_and_its_neighbour(why: str, shape: str, bad: str, good: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, bad, shape)
    if good:
        load(tmp_path, good, shape)


BOXES = "detection_output_param { num_classes: 2 %s }"
OPAQUE: list[tuple[str, str, str]] = [
    ("objectness_score belongs to a fork's five-bottom form",
     layer("DetectionOutput", BOXES % "objectness_score: 0.1", "d d d"), ""),
    ("has 2 bottoms; only loc, conf and prior boxes are known", layer("DetectionOutput", BOXES % "", "d d"), ""),
    ("scale_factor 1.5 is not a whole number",
     layer("BilinearInterpolate", "bilinear_interpolate_param { scale_factor: 1.5 }"), ""),
    ("has scale and bias of its own (NVCaffe, Intel Caffe)", layer("BatchNorm", "batch_norm_param { scale_bias: true }"),
     layer("BatchNorm")),
    ("has scale and bias of its own (NVCaffe, Intel Caffe)", layer("BatchNorm", "batch_norm_param { use_alpha_beta: true }"), ""),
    ("STOCHASTIC", layer("Pooling", "pooling_param { kernel_size: 2 pool: STOCHASTIC }"),
     layer("Pooling", "pooling_param { kernel_size: 2 }")),
    ("STOCHASTIC", layer("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"),
     layer("SPP", "spp_param { pyramid_height: 2 }")),
    ("scale 1.5 is not a whole number", layer("Upsample", "upsample_param { scale: 1.5 }"),
     layer("Upsample", "upsample_param { scale: 2 }")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bad", "good"), OPAQUE, ids=range(len(OPAQUE)))
def test_no_meaning_that_is_certain(why: str, bad: str, good: str, tmp_path: Path) -> None:
    (problem,) = load(tmp_path, bad).problems
    assert why.lower() in problem.why.lower() and problem.layer == "l"
    assert not good or not load(tmp_path, good).problems


def test_both_names_of_a_rounding_must_agree(tmp_path: Path) -> None:
    text = "pooling_param { kernel_size: 2 ceil_mode: %s round_mode: %s }"
    for ceil, mode in [("true", "CEIL"), ("false", "FLOOR")]:
        assert not load(tmp_path, layer("Pooling", text % (ceil, mode))).problems
    (problem,) = load(tmp_path, layer("Pooling", text % ("true", "FLOOR"))).problems
    assert (problem.layer, problem.hint) == ("l", "keep one of them")
    assert problem.why == "round_mode is FLOOR and ceil_mode is true"


# ---- text
TEXTS = [
    ("expected a number after '-', found 'abc'", "relu_param { mine: -abc }", "relu_param { negative_slope: -1 }"),
    ("malformed number '1x'", "relu_param { negative_slope: 1x }", "relu_param { negative_slope: 1f }"),
    (r"malformed number '1\._'", "relu_param { negative_slope: 1._ }", "relu_param { negative_slope: 1. }"),
    ("expected a value, found '}'", "relu_param { mine: }", "relu_param { negative_slope: 2 }"),
    ("expected ',' or ']' in a list, found '2'", "loss_weight: [1 2]", "loss_weight: [1]"),
    (r"unknown escape '\\\\q'", 'relu_param { } include { stage: "\\q" }', 'relu_param { } include { not_stage: "\\n" }'),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bad", "good"), TEXTS, ids=range(len(TEXTS)))
def test_text_that_is_none(why: str, bad: str, good: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=rf"net.prototxt:\d+:\d+: {why}"):
        load(tmp_path, layer("ReLU", bad))
    load(tmp_path, layer("ReLU", good))


# ---- binary
def number(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def raw(field: int, wire: int, value: bytes) -> bytes:
    return number(field << 3 | wire) + value


def held(field: int, value: bytes) -> bytes:
    return raw(field, 2, number(len(value)) + value)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


SHAPE = held(7, held(1, number(2)))
DATA = held(5, floats(1, 2))
ONE = raw(5, 5, floats(1))
BLOBS: list[tuple[str, bytes, bytes]] = [
    ("a number is longer than ten bytes", SHAPE + DATA + raw(50, 0, b"\x80" * 10 + b"\x01"),
     SHAPE + DATA + raw(50, 0, b"\x80" * 9 + b"\x01")),
    ("truncated inside a number", SHAPE + DATA + raw(50, 0, b"\x80"), SHAPE + DATA + raw(50, 0, b"\x01")),
    ("blob field 5 has wire type 0", SHAPE + raw(5, 0, b"\x01"), SHAPE + DATA),
    ("blob field 7 has wire type 0", raw(7, 0, b"\x02") + DATA, SHAPE + DATA),
    ("blob field 5 has wire type 1", SHAPE + raw(5, 1, b"\x01" * 8), SHAPE + ONE + ONE),
    ("blob field 8 has wire type 5", SHAPE + raw(8, 5, floats(1)), SHAPE + held(8, struct.pack("<2d", 1, 2))),
    ("packed values of 7 bytes are cut inside a value", SHAPE + held(5, b"1234567"), SHAPE + held(5, b"12345678")),
    (f"a blob in more than {MAX_RUNS} parts", held(7, held(1, number(MAX_RUNS + 1))) + held(5, floats(1)) * (MAX_RUNS + 1),
     held(7, held(1, number(MAX_RUNS))) + held(5, floats(1)) * MAX_RUNS),
    ("a blob with raw_data beside data", SHAPE + DATA + raw(10, 0, b"\x00") + held(12, floats(1, 2)), SHAPE + DATA),
    ("truncated: a value of 4 bytes where 3 are left", SHAPE + raw(6, 5, b"123"), SHAPE + DATA + raw(6, 5, b"1234")),
    ("raw_data is cut inside a value", SHAPE + raw(10, 0, b"\x00") + held(12, b"1234567"), SHAPE + DATA),
    ("negative size in shape", held(7, held(1, b"\xff" * 9 + b"\x01")) + DATA, SHAPE + DATA),
    (f"a blob of more than {MAX_AXES} axes", held(7, held(1, number(1) * (MAX_AXES + 1))) + ONE,
     held(7, held(1, number(1) * MAX_AXES)) + ONE),
]  # fmt: skip
assert MAX_AXES == 32 and MAX_RUNS == 4096  # Caffe's kMaxBlobAxes


def stored(folder: Path, blob: bytes) -> list[Any]:
    path = folder / "w.caffemodel"
    path.write_bytes(held(1, b"net") + held(100, held(1, b"ip") + held(2, b"InnerProduct") + held(7, blob)))
    (weights,) = read_weights(path)
    return [b.numpy().tolist() for b in weights.blobs if b is not None]


@pytest.mark.parametrize(("why", "bad", "good"), BLOBS, ids=[b[0] for b in BLOBS])
def test_blobs_that_are_damaged(why: str, bad: bytes, good: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=why):
        stored(tmp_path, bad)
    assert stored(tmp_path, good)


def test_the_four_sizes_of_old_blobs_are_0_where_they_are_left_out(tmp_path: Path) -> None:
    """BlobProto: ``optional int32 num = 1 [default = 0]`` and so on."""
    sizes = [raw(k, 0, number(n)) for k, n in ((1, 1), (2, 1), (3, 1), (4, 2))]
    assert stored(tmp_path, b"".join(sizes) + DATA) == [[[[[1.0, 2.0]]]]]
    for i in range(4):
        left = b"".join(s for j, s in enumerate(sizes) if j != i)
        with pytest.raises(BadFileError, match="wants 0 values, the file holds 2"):
            stored(tmp_path, left + DATA)
        assert stored(tmp_path, left) == [np.zeros([0 if j == i else n for j, n in enumerate((1, 1, 1, 2))]).tolist()]


def test_one_generation_of_layers(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(held(100, held(1, b"a")) + held(2, held(4, b"b")))
    with pytest.raises(BadFileError, match="both current and V1 layers; Caffe reads only one of them"):
        read_weights(path)


# ---- HDF5
def _sets(**more: Any) -> Callable[[Any], Any]:
    return lambda f: f.create_dataset("data/a/0", **more)


HDF5: list[tuple[str, Callable[[Any], Any]]] = [
    ("no group /data: not weights written by Caffe", lambda f: f.create_dataset("data", (1,), "f4")),
    ("/data/a is not a group", lambda f: f.create_dataset("data/a", (1,), "f4")),
    ("/data/a/x is no blob index", lambda f: f.create_dataset("data/a/x", (1,), "f4")),
    ("/data/a/01 is no blob index", lambda f: f.create_dataset("data/a/01", (1,), "f4")),
    ("/data/a/1000: no layer has that many blobs", lambda f: f.create_dataset("data/a/1000", (1,), "f4")),
    ("/data/a/0 is not a dataset", lambda f: f.create_group("data/a/0")),
    ("/data/a/0 holds int32, not float values", _sets(shape=(1,), dtype="i4")),
    (r"is stored with HDF5 filters \[32000\], which are not accepted",
     _sets(shape=(4,), dtype="f4", chunks=(4,), compression="lzf")),
    ("/data/a/0 declares 16 bytes and stores 0", _sets(shape=(4,), dtype="f4")),
    ("is a link to elsewhere, which is not followed", lambda f: f.create_group("data/a").__setitem__("0", _soft())),
]  # fmt: skip


def _soft() -> Any:
    import h5py

    return h5py.SoftLink("/x")


@pytest.mark.parametrize(("why", "make"), HDF5, ids=[h[0] for h in HDF5])
def test_hdf5_that_is_no_weights(why: str, make: Callable[[Any], Any], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as f:
        make(f)
    with pytest.raises(BadFileError, match=f"w.h5: .*{why}"):
        read_weights(path)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("more", [{}, {"chunks": (3,), "compression": "gzip", "shuffle": True, "fletcher32": True}])
def test_hdf5_weights_of_each_kind(dtype: str, more: Any, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("data/a/2", data=np.arange(5, dtype=dtype), **more)
        f.create_dataset("data/a/999", (0,), "f4")
    (weights,) = read_weights(path)
    assert len(weights.blobs) == 1000 and weights.blobs[0] is None and weights.blobs[2] is not None
    got = weights.blobs[2].numpy()
    assert got.dtype == np.float32 and got.tolist() == [0, 1, 2, 3, 4]


# ---- nets
GIVEN = layer("Input", "input_param { shape { dim: 1 dim: 3 dim: 5 dim: 7 } }", "", "d").replace('"l"', '"in"')


@pytest.mark.parametrize(("why", "text", "phase"), [
    ("no layers .for phase TEST.", layer("ReLU", "include { phase: TRAIN }"), "TEST"),
    ("gives no shape for 'd': give input_shapes", layer("Input", "", "", "d"), "TEST"),
    *((f"{kind}. reads 'd' from files and the prototxt does not tell its shape: give input_shapes",
       layer(kind, "", "", "d e"), "TEST") for kind in ("Data", "ImageData", "WindowData")),
    (r"layer 'p' .conv.: a padding layer must have one bottom and one reader",
     'input: "d" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 7 layers { layer { name: "a" type: "padding" pad: 1 }'
     ' bottom: "d" top: "q" } layers { layer { name: "p" type: "conv" num_output: 2 kernelsize: 3 } bottom: "q"'
     ' bottom: "q" top: "y" }',
     "TEST"),
])  # fmt: skip
def test_nets_that_are_none(why: str, text: str, phase: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, text.replace("layer {", " layer {", 1), phase=phase)


@pytest.mark.parametrize(("sizes", "left"), [
    ([0, 0, 1], (1, 3, 3, 7)), ([0, 1], (1, 1, 5, 7)), ([0, 0, 2, 3], (1, 3, 1, 1)), ([], (1, 3, 5, 7)),
])  # fmt: skip
def test_axes_that_are_not_named_are_not_cropped(sizes: list[int], left: Any, tmp_path: Path) -> None:
    said = " ".join(f"crop_size: {n}" for n in sizes)
    assert load(tmp_path, layer("CropCenter", f"crop_center_param {{ {said} }}")).outputs[0].shape == left


OLD = 'input: "d" %s ' + layer("ReLU")


@pytest.mark.parametrize(("inputs", "notes"), [
    ("input_shape { dim: 1 dim: 3 dim: 5 dim: 7 }", []), ("input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 7", []),
    ("input_shape { dim: 1 dim: 3 dim: 5 dim: 7 } input_dim: 1", ["input_dim is ignored: input_shape is given"]),
])  # fmt: skip
def test_inputs_of_old_nets(inputs: str, notes: list[str], tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(OLD % inputs)
    net = read_net(tmp_path / "n.prototxt")
    assert net.notes == notes and [(i.name, tuple(i.shape or ())) for i in net.inputs] == [("d", (1, 3, 5, 7))]


def test_layers_of_forks_that_are_not_certain(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, layer("BN", "bn_param { }")).problems
    assert problem.why == "BN is told apart by its weights, and it has none"
    net = tmp_path / "n.prototxt"
    net.write_text(GIVEN + layer("BN", "bn_param { }"))
    for sizes, why in (([3, 3, 3, 3], ""), ([3, 2], r"its blobs must hold 3 values each: \[\[3\], \[2\]\]")):
        blobs = b"".join(held(7, held(7, held(1, number(n))) + held(5, floats(*[1.0] * n))) for n in sizes)
        (tmp_path / "n.caffemodel").write_bytes(held(1, b"net") + held(100, held(1, b"l") + held(2, b"BN") + blobs))
        if not why:
            assert not convcore.load((net, tmp_path / "n.caffemodel")).problems
            continue
        with pytest.raises(BadFileError, match=why):
            convcore.load((net, tmp_path / "n.caffemodel"))


@pytest.mark.parametrize("n", [1, 2])
def test_an_override_gives_each_top(n: int, tmp_path: Path) -> None:
    how = {"l": lambda g, node: [g.b.relu(node.need(0))] * n}
    if n == 1:
        load(tmp_path, layer("ReLU"), overrides=how)
        return
    with pytest.raises(UsageError, match="the override for 'l' gives 2 values for 1 tops"):
        load(tmp_path, layer("ReLU"), overrides=how)


# ---- options
def test_one_mean_is_given(tmp_path: Path) -> None:
    load(tmp_path, layer("ReLU"), mean_values="1,2,3")
    with pytest.raises(UsageError, match="give mean_file or mean_values, not both"):
        load(tmp_path, layer("ReLU"), mean_values="1,2,3", mean_file=str(tmp_path / "m"))
    with pytest.raises(UsageError, match=r"mean_values='1,x' is not a list of numbers such as 104,117,123"):
        load(tmp_path, layer("ReLU"), mean_values="1,x")
    (tmp_path / "m.binaryproto").write_bytes(b"".join(raw(k, 0, b"\x00") for k in (1, 2, 3, 4)) + b"\x28\x00" * 0)
    with pytest.raises(BadFileError, match=r"m.binaryproto: (the mean file is empty|not a mean file)"):
        load(tmp_path, layer("ReLU"), mean_file=str(tmp_path / "m.binaryproto"))
    apply = {"preprocessing": "apply"}
    with pytest.raises(UsageError, match="2 mean values for 3 channels"):
        load(tmp_path, layer("ReLU"), mean_values="1,2", **apply)
    assert [n.op for n in load(tmp_path, layer("ReLU"), mean_values="1,2,3", **apply).graph] == ["sub", "relu"]
    assert [n.op for n in load(tmp_path, layer("ReLU"), mean_values="1", input_scale=2.0, **apply).graph] == [
        "sub",
        "mul",
        "relu",
    ]
    with pytest.raises(UsageError, match=r"preprocessing is for images .N, C, H, W.; input 'd' is"):
        load(tmp_path, layer("ReLU"), "1 3 5", mean_values="1", **apply)
    with pytest.raises(UsageError, match="nothing to apply: the net has no transform_param; give mean_file, mean_values or"):
        load(tmp_path, layer("ReLU"), preprocessing="apply")
    (tmp_path / "n.prototxt").write_text(layer("ReLU"))
    with pytest.raises(UsageError, match="phase must be TRAIN or TEST, not 'test'"):
        read_net(tmp_path / "n.prototxt", phase="test")


def test_rules_of_states_are_asked_of_level_0(tmp_path: Path) -> None:
    """NetState: ``optional int32 level = 2 [default = 0]``."""
    path = tmp_path / "n.prototxt"
    rules = ["", "include { min_level: 0 max_level: 0 }", "include { min_level: 1 }", "exclude { min_level: 1 }"]
    path.write_text(
        layer("Input", "input_param { shape { dim: 1 } }", "", "d")
        + "".join(layer("ReLU", r, "d", f"t{i}") for i, r in enumerate(rules))
    )
    assert [t for la in read_net(path) for t in la.tops] == ["d", "t0", "t1", "t3"]
    assert [t for la in read_net(path, level=1) for t in la.tops] == ["d", "t0", "t2"]


def test_a_half_of_a_pair_is_0_in_the_other(tmp_path: Path) -> None:
    """ConvolutionParameter: ``optional uint32 pad_w = 10 [default = 0]``, of kernel and stride there is none."""
    node = next(n for n in load(tmp_path, CONV % "kernel_size: 3 pad_h: 2").graph if n.op == "conv")
    assert node.attrs["pads"] == ((2, 2), (0, 0)) and node.attrs["strides"] == (1, 1) and node.attrs["dilations"] == (1, 1)
    for half in ("kernel_h: 3", "kernel_size: 3 stride_h: 2"):
        with pytest.raises(ConvcoreError):
            load(tmp_path, CONV % half)


# ---- fillers
def test_what_is_not_filled_is_0(tmp_path: Path) -> None:
    """FillerParameter: ``optional string type = 1 [default = 'constant']; optional float value = 2 [default = 0]``; the blobs of
    BatchNorm are 0 (batch_norm_layer.cpp), of Scale 1, of PReLU 0.25."""
    net = "".join(
        layer(kind, more, bottoms, top).replace('"l"', f'"{top}"')
        for kind, more, bottoms, top in [
            ("BatchNorm", "", "d", "bn"), ("Scale", "scale_param { bias_term: true }", "bn", "s"), ("PReLU", "", "s", "p"),
            ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }", "p", "c"),
            ("Reshape", "reshape_param { shape { dim: 2 dim: 3 dim: -1 } }", "c", "r"),
            ("LSTM", "recurrent_param { num_output: 2 }", "r k", "y"),
        ]
    )  # fmt: skip
    graph = load(tmp_path, second("2 3") + net, "2 3 5 7").graph
    held = {name: set(w.tensor.numpy().ravel().tolist()) for name, w in graph.weights.items() if w.tensor is not None}
    assert {k for k, v in held.items() if v == {1.0}} == {k for k in held if k.startswith("s/") and "bias" not in k}
    assert {k for k, v in held.items() if v == {0.25}} == {k for k in held if k.startswith("p/")}
    assert {k.split("/")[0] for k, v in held.items() if v == {0.0}} == {"bn", "s", "c", "y"}
    assert set().union(*held.values()) == {0.0, 0.25, 1.0}


SHAPES = (31, 7, 5, 3)
FANS = {"FAN_IN": 7 * 5 * 3, "FAN_OUT": 31 * 5 * 3, "AVERAGE": (7 * 5 * 3 + 31 * 5 * 3) / 2}


def _filled(shape: tuple[int, ...] = SHAPES, **given: Any) -> Any:
    return fill(Message("FillerParameter", **given), shape, 0.5, "n", SimpleNamespace()).numpy()


@pytest.mark.parametrize("norm", FANS)
def test_fillers_have_the_spread_of_caffes(norm: str) -> None:
    """filler.hpp: xavier is uniform within sqrt(3 / n), msra normal of deviation sqrt(2 / n)."""
    x, m = (_filled(type=kind, variance_norm=norm).astype(np.float64) for kind in ("xavier", "msra"))
    bound = np.sqrt(3 / FANS[norm])
    assert 0.98 * bound < x.max() <= bound and -bound <= x.min() < -0.98 * bound and abs(x.mean()) < 0.03 * bound
    assert abs(m.std() / np.sqrt(2 / FANS[norm]) - 1) < 0.04 and abs(m.mean()) < 0.1 * m.std()


def test_fillers_keep_to_their_numbers() -> None:
    u = _filled(type="uniform", min=2.0, max=5.0)
    assert 2 <= u.min() < 2.05 and 4.95 < u.max() < 5 and abs(u.mean() - 3.5) < 0.1
    g = _filled(type="gaussian", mean=7.0, std=2.0)
    assert abs(g.mean() - 7) < 0.15 and abs(g.std() - 2) < 0.1
    s = _filled(type="gaussian", std=1.0, sparse=3)
    assert abs((s != 0).mean() - 3 / 31) < 0.02  # a Bernoulli of sparse / num
    assert (_filled(type="gaussian", std=1.0, sparse=0) == 0).all()
    p = _filled(type="positive_unitball")
    assert p.min() >= 0 and np.allclose(p.reshape(31, -1).sum(1), 1, atol=1e-5)
    assert (_filled(type="constant", value=3.0) == 3).all() and (_filled() == 0).all()
    assert (fill(None, (2, 3), 0.5, "n", None).numpy() == 0.5).all()
    for n, line in ((4, [0.25, 0.75, 0.75, 0.25]), (3, [0.25, 0.75, 0.75])):  # f = ceil(n / 2), c = (2 f - 1 - f % 2) / (2 f)
        assert np.allclose(_filled((2, 1, n, n), type="bilinear")[1, 0], np.outer(line, line))


# ---- written
def test_names_of_a_message_are_the_first_eight() -> None:
    assert quote_list("abcdefgh") == ", ".join(repr(c) for c in "abcdefgh")
    assert quote_list("abcdefghij").endswith("'h' and 2 more") and repr("x" * 200) == quote_list(["x" * 201])


def test_a_constant_lies_along_the_axes_it_has(tmp_path: Path) -> None:
    """Also where the batch has one element, which the constant has, too."""
    assert block_of((1, 3, 1, 1), (1, 3, 5, 7)) == (1, 2) and block_of((1, 3, 1, 1), (1, 3, 5, 7), batch=True) == (0, 2)
    w = array(1, 3, 1, 1)
    scale = only(written(tmp_path, (1, 3, 5, 7), lambda b, x: b.mul(x, b.weight(w, "w"))))
    assert scale.type == "Scale" and fields(scale) == {} and scale.blobs[0].shape == (3,)


def test_records_that_are_none() -> None:
    with pytest.raises(ValueError, match="memory='odd' is not one of ''"):
        declare("Mine", memory="odd")
    with pytest.raises(ValueError, match="layer 'ReLU' is declared twice"):
        declare("ReLU")
    for text in ("relu_param ReLUParameter", "relu_param x ReLUParameter: a 1 float", "a 1 B C: d 1 float"):
        with pytest.raises(ValueError, match="is not 'field number Message: fields'"):
            Parameters.parse(text)
    assert Parameters.parse("relu_param 123 ReLUParameter: a 1 float") == Parameters(
        "relu_param", 123, "ReLUParameter", "a 1 float"
    )
    assert Parameters.parse("relu_param 123 ReLUParameter").fields is None
    with pytest.raises(KeyError, match=r"ReLUParameter.negative_slope is not repeated"):
        Message("ReLUParameter").add("negative_slope", 1)


def test_sizes_that_are_names(tmp_path: Path) -> None:
    named = {"input_shapes": {"d": ("n", 3, 5, 7)}}
    (problem,) = load(tmp_path, layer("Slice", "slice_param { axis: 0 }", tops="y z"), **named).problems
    assert problem.why == "2 tops may not divide axis 0 of size n evenly" and "input_shapes=" in problem.hint
    assert not load(tmp_path, layer("Slice", "slice_param { axis: 1 }", tops="y z u"), **named).problems
    with pytest.raises(BadFileError, match="num_output 2 is no multiple of group 3"):
        load(tmp_path, DEPTH.replace("num_output: 3", "num_output: 2") % "kernel_size: 1")
    with pytest.raises(KeyError, match="nothing"):
        read_net(tmp_path / "net.prototxt").layer("nothing")
    mean = b"".join(raw(k, 0, number(n)) for k, n in ((1, 1), (2, 3), (3, 5), (4, 7))) + held(5, floats(*[1.0] * 105))
    (tmp_path / "m.binaryproto").write_bytes(mean)
    apply = {"preprocessing": "apply", "mean_file": str(tmp_path / "m.binaryproto")}
    assert [n.op for n in load(tmp_path, layer("ReLU"), **apply).graph] == ["sub", "relu"]
    assert [n.op for n in load(tmp_path, layer("ReLU"), input_shapes={"d": ("n", 3, 5, 7)}, **apply).graph] == ["sub", "relu"]
    with pytest.raises(UsageError, match="a mean image needs an input of fixed size"):
        load(tmp_path, layer("ReLU"), input_shapes={"d": (1, 3, "h", 7)}, **apply)


def test_a_loss_of_single_numbers(tmp_path: Path) -> None:
    """A blob without axes is a batch of one."""
    model = load(tmp_path, second("") + layer("EuclideanLoss", "", "d k"), "")
    assert not model.problems and model(np.float32(5), np.float32(2)) == 4.5


# ---- what Caffe's headers declare (include/caffe/layers/*.hpp of BVLC's master: ExactNumBottomBlobs, MinTopBlobs and their like)
DECLARED: dict[tuple[int, int | None, int, int | None], str] = {
    (1, 1, 1, 1): "AbsVal ArgMax BNLL BatchNorm Clip Dropout ELU Embed Exp Flatten Im2col InnerProduct LRN Log MVN PReLU Power "
    "ReLU Reduction Reshape SPP Sigmoid Softmax Swish TanH Threshold Tile",
    (0, 0, 1, 1): "Parameter", (0, 0, 1, 2): "Data", (0, 0, 1, None): "DummyData HDF5Data",
    (0, 0, 2, 2): "ImageData MemoryData WindowData",
    (1, 1, 1, 2): "Pooling", (1, 1, 1, None): "Slice Split", (1, 2, 1, 1): "Bias Scale", (1, None, 0, 0): "Silence",
    (1, None, 1, 1): "Concat", (1, None, 1, None): "Convolution Deconvolution", (2, 2, 0, 0): "HDF5Output",
    (2, 2, 0, 1): "EuclideanLoss HingeLoss MultinomialLogisticLoss SigmoidCrossEntropyLoss", (2, 2, 0, 2): "SoftmaxWithLoss",
    (2, 3, 0, 2): "InfogainLoss", (3, 3, 0, 1): "ContrastiveLoss", (2, 2, 1, 1): "BatchReindex Crop", (2, 2, 1, 2): "Accuracy",
    (2, None, 1, 1): "Eltwise", (2, None, 1, None): "Filter",
}  # fmt: skip
"""A loss's top may be left out: it is made (AutoTopBlobs)."""


@pytest.mark.parametrize(("counts", "name"), [(c, n) for c, names in DECLARED.items() for n in names.split()])
def test_how_many_bottoms_and_tops_a_layer_has(counts: tuple[int, int | None, int, int | None], name: str) -> None:
    assert spec_of(name).counts == counts and spec_of(name).loss is name.endswith(("Loss", "WithLoss"))


def test_fields_of_the_text_form_are_not_in_binary_files(tmp_path: Path) -> None:
    """Forks declare them without a number that this plugin knows."""
    path = tmp_path / "n.prototxt"
    path.write_text(GIVEN + layer("BilinearInterpolate", "bilinear_interpolate_param { dst_h: 9 dst_w: 9 }"))
    net = read_net(path)
    write_caffemodel(net, tmp_path / "n.caffemodel")
    again = read_net(tmp_path / "n.caffemodel")
    assert [la.type for la in again] == ["Input", "BilinearInterpolate"] and [la.unknown for la in again] == [{}, {}]
    assert b"dst_h: 9" in path.read_bytes() and not again.layer("l").has_param("bilinear_interpolate_param")
