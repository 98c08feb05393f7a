"""Bounds of Caffe's layers, each from both sides; what OpenCV does otherwise, row by row; limits of its files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import BadFileError, ConvcoreError, FrameworkMissingError, UnsupportedError
from convcore_caffe.context import too_large
from convcore_caffe.files import Layer, Message, Net, hdf5, parse_text, read_weights, schema, sniff, wire
from convcore_caffe.files.blobs import check_shape
from convcore_caffe.files.read import layer_of_message, read_prototxt
from convcore_caffe.files.wire import read_message_file
from convcore_caffe.layer_spec import LayerSpec
from convcore_caffe.opencv import faults, opencv_problems
from convcore_caffe.runtime import open_runtime

from .test_load_refused import layer, load, second

IMAGE = "1 3 5 7"
BOUNDS: list[tuple[str, str, str, str]] = [
    # why, shape of the bottom, what is refused, what is not
    ("dim 5 is out of range for a bottom of 4 axes", IMAGE, layer("Unsqueeze", "unsqueeze_param { dim: 5 }"),
     layer("Unsqueeze", "unsqueeze_param { dim: 4 }")),
    ("dim -5 is out of range for a bottom of 4 axes", IMAGE, layer("Unsqueeze", "unsqueeze_param { dim: -5 }"),
     layer("Unsqueeze", "unsqueeze_param { dim: -4 }")),
    ("dst_h 0 must be at least 1", IMAGE, second(IMAGE) + layer("MaxUnPool", "max_unpool_param { dst_h: 0 dst_w: 9 }", "d k"),
     second(IMAGE) + layer("MaxUnPool", "max_unpool_param { dst_h: 1 dst_w: 1 }", "d k")),
    ("dst_w is not given", IMAGE, second(IMAGE) + layer("MaxUnPool", "max_unpool_param { dst_h: 9 }", "d k"), ""),
    ("scale 1.5 is not a whole number", IMAGE, second(IMAGE) + layer("Upsample", "upsample_param { scale: 1.5 }", "d k"),
     second(IMAGE) + layer("Upsample", "upsample_param { scale: 2 }", "d k")),
    ("scale inf is not a whole number", IMAGE, second(IMAGE) + layer("Upsample", "upsample_param { scale: inf }", "d k"), ""),
    ("makes a blob of shape .2147483648.*, more elements than a Caffe blob can have", "65536",
     layer("Tile", "tile_param { axis: 0 tiles: 32768 }"), layer("Tile", "tile_param { axis: 0 tiles: 32767 }")),
    (r"its blob 0 of shape \[4294967295, 105\] has more elements than a Caffe blob can have", IMAGE,
     layer("InnerProduct", "inner_product_param { num_output: 4294967295 }"), ""),
    ("0 is not a whole number of at least 1", "1 6 5 7", layer("ShuffleChannel", "shuffle_channel_param { group: 0 }"),
     layer("ShuffleChannel", "shuffle_channel_param { group: 1 }")),
    ("0 is not a whole number of at least 1", "1 4 5 7", layer("PixelShuffle", "pixelshuffle_param { upscale_factor: 0 }"),
     layer("PixelShuffle", "pixelshuffle_param { upscale_factor: 2 }")),
    (r"\(1, 3, 5, 7\) has 105 elements, \(1, 104\) 104", IMAGE, layer("Reshape", "reshape_param { shape { dim: 1 dim: 104 } }"),
     layer("Reshape", "reshape_param { shape { dim: 1 dim: 105 } }")),
    (r"order \[0, 4\] is no order of 4 axes", IMAGE, layer("Permute", "permute_param { order: 0 order: 4 }"),
     layer("Permute", "permute_param { order: 0 order: 3 }")),
    (r"order \[1, 1\] is no order of 4 axes", IMAGE, layer("Permute", "permute_param { order: 1 order: 1 }"), ""),
    ("slice_dim 4 is out of range for a bottom of 4 axes", IMAGE, layer("Slice", "slice_param { slice_dim: 4 }", tops="y z"),
     layer("Slice", "slice_param { slice_dim: 1 }", tops="y z u")),
    ("the bottoms have 4 and 3 axes", IMAGE, second("1 3 5") + layer("Crop", "", "d k"),
     second("1 3 5 7") + layer("Crop", "", "d k")),
    ("3 offsets for the 2 cropped axes; give one, or one per axis", IMAGE,
     second(IMAGE) + layer("Crop", "crop_param { offset: 0 offset: 0 offset: 0 }", "d k"),
     second(IMAGE) + layer("Crop", "crop_param { offset: 0 offset: 0 }", "d k")),
    ("the crop of axis 3 is out of bounds: 4 elements from 4 on, of 7", IMAGE,
     second("1 3 2 4") + layer("Crop", "crop_param { offset: 3 offset: 4 }", "d k"),
     second("1 3 2 4") + layer("Crop", "crop_param { offset: 3 offset: 3 }", "d k")),
    ("the crop of axis 1 is out of bounds: 4 elements from 0 on, of 3", IMAGE,
     second("1 4 5 7") + layer("Crop", "crop_param { axis: 1 }", "d k"), second("1 4 5 7") + layer("Crop", "", "d k")),
    ("a kernel of 9 does not fit 5 elements with padding 0", IMAGE,
     layer("Pooling", "pooling_param { kernel_size: 9 stride: 4 }"),
     layer("Pooling", "pooling_param { kernel_size: 9 stride: 5 }")),
    ("a kernel of 9 does not fit 5 elements with padding 0", IMAGE,
     layer("Pooling", "pooling_param { kernel_size: 9 stride: 4 round_mode: FLOOR }"),
     layer("Pooling", "pooling_param { kernel_size: 9 stride: 5 round_mode: FLOOR }")),
    ("pyramid_height 17 is more than any input", IMAGE, layer("SPP", "spp_param { pyramid_height: 17 }"), ""),
    ("level 2 pads by .* not less than its windows", IMAGE, layer("SPP", "spp_param { pyramid_height: 16 }"), ""),
    ("the bottom has no elements", "1 3 0 7", layer("Resize", "resize_param { height: 9 width: 9 }"), ""),
    ("the bottom has no elements", "1 3 5 0", layer("Resize", "resize_param { height: 9 width: 9 }"), ""),
    ("the bottom has 5 axes, at most 4 are allowed", "1 3 5 7 2", layer("MVN"), ""),
    ("takes a feature map and the image, both with 4 axes", "1 3 5",
     second(IMAGE) + layer("PriorBox", "prior_box_param { min_size: 2 flip: true clip: false offset: 0.5 }", "d k"), ""),
    ("takes a feature map and the image, both with 4 axes", IMAGE,
     second("1 3 5") + layer("PriorBox", "prior_box_param { min_size: 2 flip: true clip: false offset: 0.5 }", "d k"),
     second(IMAGE) + layer("PriorBox", "prior_box_param { min_size: 2 flip: true clip: false offset: 0.5 }", "d k")),
    ("every size positive", IMAGE, layer("PriorBox", "prior_box_param { min_size: 0.5 flip: true clip: false }", "d d"), ""),
    ("every size positive", IMAGE,
     layer("PriorBox", "prior_box_param { min_size: 1 max_size: 0.5 flip: true clip: false }", "d d"),
     layer("PriorBox", "prior_box_param { min_size: 1 max_size: 2.5 flip: true clip: false }", "d d")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), BOUNDS, ids=range(len(BOUNDS)))
def test_bounds(why: str, shape: str, bad: str, good: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, bad, shape)
    if good:
        assert not load(tmp_path, good, shape).problems


@pytest.mark.parametrize(
    "kind, more",
    [("Pad", ""), ("Interp", "interp_param { height: 9 width: 9 }"), ("BilinearInterpolate", "bilinear_interpolate_param { }"),
     ("Resize", "resize_param { height: 9 width: 9 }"), ("Pooling", "pooling_param { kernel_size: 1 }"), ("LRN", ""),
     ("SPP", "spp_param { pyramid_height: 1 }"), ("Upsample", "upsample_param { scale: 2 }")],
)  # fmt: skip
def test_layers_of_images(kind: str, more: str, tmp_path: Path) -> None:
    assert not load(tmp_path, layer(kind, more), IMAGE).problems
    for shape in ("1 3 5", "1 3 5 7 2"):
        with pytest.raises(
            BadFileError, match=rf"layer 'l' .{kind}.: the bottom must have 4 axes.*, it has {len(shape.split())}"
        ):
            load(tmp_path, layer(kind, more), shape)


@pytest.mark.parametrize(("dim", "shape"), [(0, (1, 2, 3)), (2, (2, 3, 1)), (-1, (2, 1, 3)), (-2, (1, 2, 3))])
def test_where_an_axis_is_inserted(dim: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    assert load(tmp_path, layer("Unsqueeze", f"unsqueeze_param {{ dim: {dim} }}"), "2 3").outputs[0].shape == shape


UNSURE: list[tuple[str, str, str, str]] = [
    ("normalises a blob of one axis", "3", layer("BatchNorm"), "1 3"),
    ("SSD's layer is for 4", "1 3 5", layer("Normalize"), IMAGE),
    ("has no spatial axes", "1 3", layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 1 }"), "1 3 5"),
    ("its size is not given as height and width", IMAGE, layer("Resize", "resize_param { height: 9 }"), ""),
    ("its size is not given as height and width", IMAGE, layer("Resize", "resize_param { width: 9 }"), ""),
    ("scale_factor 0.5 is not a whole number", IMAGE,
     layer("BilinearInterpolate", "bilinear_interpolate_param { scale_factor: 0.5 dst_h: 9 }"), ""),
    ("scale_factor inf is not a whole number", IMAGE,
     layer("BilinearInterpolate", "bilinear_interpolate_param { scale_factor: inf dst_w: 9 }"), ""),
    ("scale 0.0 is not a whole number", IMAGE, layer("Upsample", "upsample_param { scale: 0 }"), ""),
    ("scale inf is not a whole number", IMAGE, layer("Upsample", "upsample_param { scale: inf }"), ""),
    ("STOCHASTIC is not implemented on the CPU", IMAGE, layer("Pooling", "pooling_param { kernel_size: 2 pool: STOCHASTIC }"),
     ""),
    ("STOCHASTIC is not implemented on the CPU", IMAGE, layer("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"), ""),
    ("its mask has windows without any element", IMAGE,
     layer("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", "d", "y m"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "text", "good"), UNSURE, ids=range(len(UNSURE)))
def test_what_is_not_certain(why: str, shape: str, text: str, good: str, tmp_path: Path) -> None:
    (problem,) = load(tmp_path, text, shape).problems
    assert why in problem.why and problem.layer == "l"
    assert not good or not load(tmp_path, text, good).problems


@pytest.mark.parametrize(
    ("shape", "region", "size", "most"),
    [("1 3 2 2", "", 255, 255), ("1 3 2 2", "", 257, 5), ("1 129 2 2", "", 257, 257), ("1 129 2 2", "", 259, 257),
     ("1 2 3 5", "norm_region: WITHIN_CHANNEL", 255, 255), ("1 2 3 5", "norm_region: WITHIN_CHANNEL", 257, 9)],
)  # fmt: skip
def test_which_windows_are_wide(shape: str, region: str, size: int, most: int, tmp_path: Path) -> None:
    """A window past every element is as small as reaches all of them; alpha, which is over its size, shrinks with it."""
    (node,) = load(tmp_path, layer("LRN", f"lrn_param {{ local_size: {size} alpha: 3 beta: 0.5 {region} }}"), shape).graph
    assert node.attrs["size"] == most
    assert node.attrs["alpha"] == pytest.approx(3 * (most / size) ** (2 if region else 1))


@pytest.mark.parametrize("shape, large", [((1 << 31, ), True), (((1 << 31) - 1, ), False), ((1 << 16, 1 << 15), True),
                                          ((), False),
                                          ((None, 1 << 31), True), ((None, 5), False), (None, False)])  # fmt: skip
def test_how_many_elements_a_blob_has(shape: Any, large: bool) -> None:
    """blob.cpp: ``CHECK_LE(shape[i], INT_MAX / count_)``."""
    assert too_large(shape) is large


LOC = (
    second("1 8")
    + second("1 4").replace('"o"', '"o2"').replace('"k"', '"c"')
    + second("1 2 8").replace('"o"', '"o3"').replace('"k"', '"p"')
)
BOXES = "detection_output_param { %s nms_param { nms_threshold: 0.5 %s } }"


@pytest.mark.parametrize(
    ("why", "given", "nms"),
    [("num_classes is not given", "", ""), ("num_classes is not given", "num_classes: 0", ""),
     ("background_label_id -1 with share_location: Caffe stops", "num_classes: 2 background_label_id: -1", ""),
     ("nms_threshold 0.5 must not be negative and eta 0", "num_classes: 2", "eta: 0"),
     ("nms_threshold 0.5 must not be negative and eta 1.5", "num_classes: 2", "eta: 1.5"),
     ("", "num_classes: 2", "eta: 1"), ("", "num_classes: 2", "eta: 0.5"),
     ("", "num_classes: 2 background_label_id: -1 share_location: false", "")],
)  # fmt: skip
def test_boxes_that_are_found(why: str, given: str, nms: str, tmp_path: Path) -> None:
    boxes = LOC.replace("dim: 8", "dim: 16", 1) if "false" in given else LOC
    text = boxes + layer("DetectionOutput", BOXES % (given, nms), "k c p")
    if why:
        with pytest.raises(BadFileError, match=why):
            load(tmp_path, text)
        with_threshold = text.replace("nms_threshold: 0.5", "nms_threshold: -1")
        with pytest.raises(BadFileError):
            load(tmp_path, with_threshold)
    else:
        assert not load(tmp_path, text).problems
        assert not load(tmp_path, text.replace("nms_threshold: 0.5", "nms_threshold: 0")).problems
        with pytest.raises(BadFileError, match="nms_threshold -1"):
            load(tmp_path, text.replace("nms_threshold: 0.5", "nms_threshold: -1"))


# ---- OpenCV
BLOB = "blobs { shape { %s } data: 1 }"
OPENCV: list[tuple[str, str, str, str]] = [
    # type, what OpenCV does otherwise, with which fields, and with which it does not
    ("Threshold", "has no such layer", "", ""), ("ReLU", "ignores include and exclude", "include { phase: TEST }", ""),
    ("ReLU", "ignores include and exclude", "exclude { phase: TRAIN }", ""), ("ReLU", "a layer's own phase", "phase: TEST", ""),
    ("BatchNorm", "refuses batch", "batch_norm_param { use_global_stats: false }", "batch_norm_param { use_global_stats: true }"),
    ("BatchNorm", "refuses batch", "batch_norm_param { use_global_stats: false }", ""),
    ("Scale", "combines two bottoms", 'bottom: "e"', ""),
    ("Concat", "ignores concat_dim", "concat_param { concat_dim: 1 }", "concat_param { axis: 1 }"),
    ("Convolution", "ignores axis", "convolution_param { axis: 2 }", "convolution_param { axis: 1 }"),
    ("Convolution", "not over one or two axes", BLOB % ("dim: 1 " * 5), BLOB % ("dim: 1 " * 4)),
    ("Convolution", "not over one or two axes", BLOB % ("dim: 1 " * 2), BLOB % ("dim: 1 " * 3)),
    ("Deconvolution", "ignores dilation", "convolution_param { dilation: 1 dilation: 2 }", "convolution_param { dilation: 1 }"),
    ("Deconvolution", "not over two axes", BLOB % ("dim: 1 " * 3), BLOB % ("dim: 1 " * 4)),
    ("DetectionOutput", "in another order", "", "-"),
    ("Eltwise", "overwrites its first bottom", 'top: "x"', 'top: "y"'),
    ("Eltwise", "refuses coefficients", "eltwise_param { operation: MAX coeff: 1 }", "eltwise_param { operation: SUM coeff: 1 }"),
    ("Eltwise", "refuses coefficients", "eltwise_param { operation: PROD coeff: 1 }", "eltwise_param { operation: PROD }"),
    ("Flatten", "an axis of size 1", "flatten_param { axis: 2 }", "flatten_param { axis: 1 }"),
    ("InnerProduct", "an axis of size 1", "inner_product_param { axis: 2 }", "inner_product_param { axis: 1 }"),
    ("InnerProduct", "ignores transpose", "inner_product_param { transpose: true }", "inner_product_param { transpose: false }"),
    ("Input", "with several tops", 'top: "x" top: "y"', 'top: "x"'),
    ("LRN", "ignores k", "lrn_param { k: 2 }", "lrn_param { k: 1 }"), ("LRN", "has other defaults", "", "lrn_param { }"),
    ("Log", "ignores the base", "log_param { base: 2 }", "log_param { base: -1 }"),
    ("MVN", "adds eps inside", "mvn_param { eps: 1e-9 }", ""),
    ("Permute", "every axis", "permute_param { order: 0 order: 1 order: 2 }",
     "permute_param { order: 0 order: 1 order: 2 order: 3 }"),
    ("Normalize", "no blob without axes", "norm_param { channel_shared: true }",
     "norm_param { channel_shared: true } " + BLOB % "dim: 1"),
    ("Normalize", "no blob without axes", "norm_param { channel_shared: true } blobs { shape { } data: 1 }",
     "norm_param { channel_shared: false across_spatial: false }"),
    ("Normalize", "no scale per channel", "norm_param { across_spatial: true channel_shared: false }",
     "norm_param { across_spatial: true channel_shared: true } " + BLOB % "dim: 1"),
    ("PReLU", "no blob without axes", "prelu_param { channel_shared: true }", "prelu_param { channel_shared: false }"),
    ("Pooling", "misreads round_mode", "pooling_param { kernel_size: 2 round_mode: FLOOR }", "pooling_param { kernel_size: 2 }"),
    ("Pooling", "misreads round_mode", "pooling_param { kernel_size: 2 ceil_mode: false }", "pooling_param { kernel_size: 2 }"),
    ("Pooling", "past the input", "pooling_param { kernel_size: 2 stride: 3 }", "pooling_param { kernel_size: 2 stride: 2 }"),
    ("Pooling", "past the input", "pooling_param { kernel_h: 2 kernel_w: 2 stride_h: 1 stride_w: 3 }",
     "pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 3 }"),
    ("Pooling", "past the input", "pooling_param { kernel_h: 1 kernel_w: 1 stride_h: 2 stride_w: 1 }",
     "pooling_param { global_pooling: true }"),
    ("PriorBox", "fractions of sizes", "prior_box_param { min_size: 2.5 }", "prior_box_param { min_size: 2 max_size: 3 }"),
    ("PriorBox", "fractions of sizes", "prior_box_param { min_size: 2 max_size: 3.5 }", "prior_box_param { min_size: 2 }"),
    ("PriorBox", "img_h and img_w", "prior_box_param { img_h: 9 }", "prior_box_param { img_size: 9 }"),
    ("PriorBox", "img_h and img_w", "prior_box_param { img_w: 9 }", "prior_box_param { }"),
    ("ReLU6", "ignores relu6_param", "relu6_param { threshold: 6 }", "relu6_param { }"),
    ("ReLU6", "ignores relu6_param", "relu6_param { negative_slope: 0 }", ""),
    ("Reshape", "misreads axis", "reshape_param { axis: 1 shape { dim: 1 } }", "reshape_param { axis: 0 shape { dim: 1 } }"),
    ("Reshape", "misreads num_axes", "reshape_param { num_axes: 1 shape { dim: 1 } }", "reshape_param { shape { dim: 1 } }"),
    ("Reshape", "no blobs without axes", "reshape_param { shape { } }", "reshape_param { shape { dim: 0 } }"),
    ("Scale", "axes from the end", "scale_param { axis: -1 }", "scale_param { axis: 0 }"),
    ("Slice", "without points", "slice_param { axis: 1 }", "slice_param { axis: 1 slice_point: 1 }"),
    ("Slice", "ignores slice_dim", "slice_param { slice_dim: 1 slice_point: 1 }", "slice_param { slice_point: 1 }"),
    ("Swish", "ignores beta", "swish_param { beta: 2 }", "swish_param { beta: 1 }"),
]  # fmt: skip


def _told(kind: str, more: str) -> list[str]:
    bottom = 'bottom: "x"' if kind != "Input" else ""
    return list(faults(layer_of_message(parse_text(f'name: "l" type: "{kind}" {bottom} {more}'.encode(), "LayerParameter"))))


@pytest.mark.parametrize(("kind", "why", "bad", "good"), OPENCV, ids=[f"{i} {r[0]}" for i, r in enumerate(OPENCV)])
def test_what_opencv_does_otherwise(kind: str, why: str, bad: str, good: str) -> None:
    assert [why in w for w in _told(kind, bad)].count(True) == 1
    assert good == "-" or kind == "Threshold" or _told(kind, good) == []


def test_opencv_is_asked_for_single_tops() -> None:
    one, two = Layer("a", "ReLU", ["d"], ["y"]), Layer("b", "Split", ["y"], ["u", "v"])
    assert opencv_problems(Net("n", [one], outputs=["y"])) == []
    assert [p.why for p in opencv_problems(Net("n", [one, two], outputs=["u"])) if "several tops" in p.why] == [
        "OpenCV cannot be asked for 'u', one of several tops"
    ]


def test_opencv_is_given_files_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    load(tmp_path, layer("ReLU"))
    done = convcore.convert(tmp_path / "net.prototxt", "caffe", tmp_path / "out.prototxt")
    net, weights = (str(p) for p in done.paths)
    x = np.array(np.random.default_rng(0).normal(size=(1, 3, 5, 7)), np.float32)
    runtime = open_runtime(net, weights)
    np.testing.assert_array_equal(runtime.run([x])[0], np.maximum(x, 0))
    with pytest.raises(UnsupportedError, match="OpenCV cannot run it: "):
        runtime.run([np.zeros((0, 3), np.float32)])
    for source, held in ((net, None), (object(), weights)):
        with pytest.raises(UnsupportedError, match="OpenCV reads a prototxt and its caffemodel"):
            open_runtime(source, held)
    (tmp_path / "odd.prototxt").write_text(Path(net).read_text().replace('"ReLU"', '"Threshold"'))
    with pytest.raises(UnsupportedError, match=r"odd\.prototxt is not run by OpenCV"):
        open_runtime(tmp_path / "odd.prototxt", weights)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FrameworkMissingError, match="this needs OpenCV: pip install 'opencv-python-headless<5'"):
        open_runtime(net, weights)


# ---- files
def number(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def held(field: int, value: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(value)) + value


def test_how_many_fields_a_binary_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of the net and of what is inside counts, once where it is found and once where its value is taken."""
    path = tmp_path / "n.caffemodel"
    assert wire.MAX_FIELDS == 1_000_000 and wire.MAX_SKELETON == 4 * 1024 * 1024
    for data, count in (
        (held(1, b"net") + b"\x20\x01" * 10, 22), (held(1, b"n") + held(200, b"x") * 9 + held(3, b"a"), 13),
        (held(100, held(1, b"a") + held(3, b"b") + held(106, b"\x08\x02" + b"\xf8\x3f\x05" * 3)), 11),
    ):  # fmt: skip
        path.write_bytes(data)
        monkeypatch.setattr(wire, "MAX_FIELDS", count)
        read_message_file(path, "NetParameter")
        for fewer in range(1, count):
            monkeypatch.setattr(wire, "MAX_FIELDS", fewer)
            with pytest.raises(BadFileError, match=f"more than {fewer} fields"):
                read_message_file(path, "NetParameter")


def test_how_large_a_layer_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.caffemodel"
    path.write_bytes(held(100, held(1, b"a" * 50) + held(2, b"b" * 40)))  # each with two bytes in front
    monkeypatch.setattr(wire, "MAX_SKELETON", 94)
    assert read_message_file(path, "NetParameter").get("layer")[0].get("type") == "b" * 40
    monkeypatch.setattr(wire, "MAX_SKELETON", 93)
    with pytest.raises(BadFileError, match=f"layer '{'a' * 50}': LayerParameter is larger than 93 bytes"):
        read_message_file(path, "NetParameter")


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"no\.caffemodel: cannot be read: No such file"):
        read_message_file(tmp_path / "no.caffemodel", "NetParameter")
    (tmp_path / "e.caffemodel").write_bytes(b"")
    with pytest.raises(BadFileError, match=r"e\.caffemodel: is empty"):
        read_message_file(tmp_path / "e.caffemodel", "NetParameter")


@pytest.mark.parametrize("size", [1, 127, 128, 129, 16383, 16384, 16385, 300_000])
@pytest.mark.parametrize("number", [1, 15, 16, 100])
def test_fields_of_every_length(number: int, size: int, tmp_path: Path) -> None:
    """Lengths take one byte for each 7 bits; field numbers below 16 one byte."""
    path = tmp_path / "n.caffemodel"
    path.write_bytes(held(number if number > 1 else 1, b"a" * size) + held(3, b"end"))
    m = read_message_file(path, "NetParameter") if number != 100 else None
    if m is None:
        path.write_bytes(held(100, held(1, b"a" * size)) + held(3, b"end"))
        m = read_message_file(path, "NetParameter")
        assert m.get("layer")[0].get("name") == "a" * size
    elif number == 1:
        assert m.get("name") == "a" * size
    else:
        assert m.unknown == {f"#{number}": [f"{size} bytes"]}
    assert m.get("input") == ["end"]


@pytest.mark.parametrize(("dims", "count", "why"), [
    ([1] * 32, 1, ""), ([1] * 33, 1, "b: 33 axes, more than Caffe's 32"), ([-1, -1], 1, r"b: negative size in shape \[-1, -1\]"),
    ([0, 5], 0, ""), ([2, 3], 6, ""), ([2, 3], 5, r"b: shape \[2, 3\] wants 6 values, the file holds 5"), ([], 1, ""),
])  # fmt: skip
def test_shapes_of_blobs(dims: list[int], count: int, why: str) -> None:
    if why:
        with pytest.raises(BadFileError, match=why):
            check_shape(dims, count, "b")
    else:
        assert check_shape(dims, count, "b") == tuple(dims)


def test_raw_values_written_out(tmp_path: Path) -> None:
    def one(more: str) -> list[float]:
        text = layer("Bias", f"bias_param {{ axis: 1 }} blobs {{ shape {{ dim: 3 }} {more} }}")
        weights = load(tmp_path, text).graph.weights
        (w,) = [v.tensor for v in weights.values() if v.tensor is not None]
        return [float(v) for v in w.numpy().reshape(-1)]

    raw = "".join(f"\\{b:03o}" for b in np.array([1, 2, 3], "<f2").tobytes())
    assert one(f'raw_data_type: FLOAT16 raw_data: "{raw}"') == [1, 2, 3] == one(f'raw_data: "{raw}"')
    for odd in (f'raw_data_type: FLOAT16 raw_data: "{raw}\\0"', f'raw_data: "{raw}" data: 1'):
        with pytest.raises(BadFileError, match="blob 0: raw_data is broken or given beside data"):
            one(odd)
    with pytest.raises(BadFileError, match=r"raw_data of 7 bytes, type not given, shape \[3\] is not supported"):
        one(f'raw_data: "{raw}\\0"')


def test_hdf5_by_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")

    def told(why: str, make: Any) -> None:
        path = tmp_path / "w.h5"
        with h5py.File(path, "w") as f:
            make(f)
        with pytest.raises(BadFileError, match=f"w.h5: {why}"):
            read_weights(path)

    def virtual(f: Any) -> None:
        v = h5py.VirtualLayout((4,), "f4")
        v[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "k", (4,))
        f.create_virtual_dataset("data/a/0", v)

    away = "/data/a/0 keeps its values in another file, which is not opened"
    told(away, virtual)
    told(away, lambda f: f.create_dataset("data/a/0", (4,), "f4", external=[(str(tmp_path / "o.bin"), 0, 16)]))
    told("/data/a/0 holds .*, not float values", lambda f: f.create_dataset("data/a/0", dtype="f4", data=h5py.Empty("f4")))
    assert hdf5._MAX_LINKS == 100_000
    monkeypatch.setattr(hdf5, "_MAX_LINKS", 2)
    full = tmp_path / "full.h5"
    with h5py.File(full, "w") as f:
        for name in ("a/0", "a/1", "b/0"):
            f[f"data/{name}"] = np.ones(1, "f4")
    assert [len(w.blobs) for w in read_weights(full)] == [2, 1]
    told("3 layers in /data, more than 2", lambda f: [f.create_group(f"data/{n}") for n in "abc"])
    told("/data/a holds 3 blobs", lambda f: [f.create_dataset(f"data/a/{n}", (1,), "f4") for n in "012"])
    data = full.read_bytes()
    (tmp_path / "w.h5").write_bytes(data[:9] + b"\xff" * 90)
    with pytest.raises(BadFileError, match=r"w\.h5: HDF5 cannot be read: "):
        read_weights(tmp_path / "w.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(FrameworkMissingError, match=r"HDF5 weights need h5py: pip install 'convcore-caffe\[hdf5\]'"):
        read_weights(full)


@pytest.mark.parametrize("ratio, read", [(2000, True), (2001, False)])
def test_how_much_is_inflated(ratio: int, read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace as Fake

    kind = np.dtype("f4")
    plist = Fake(get_nfilters=lambda: 1, get_filter=lambda i: (1,))
    ident = Fake(get_create_plist=lambda: plist, get_storage_size=lambda: 4, get_offset=lambda: None)
    data = Fake(is_virtual=False, external=None, dtype=kind, shape=(ratio,), size=ratio, id=ident)
    if read:
        assert hdf5._tensor(data, "/data/a/0", "f").shape == (ratio,)
        return
    with pytest.raises(BadFileError, match=f"/data/a/0 declares {4 * ratio} bytes and stores 4"):
        hdf5._tensor(data, "/data/a/0", "f")


@pytest.mark.parametrize("size, inside", [(24, True), (23, False)])
def test_values_beyond_the_end_of_the_file(size: int, inside: bool, tmp_path: Path) -> None:
    """Where the file's own record of its length was changed with it: otherwise HDF5 says so first."""
    from types import SimpleNamespace as Fake

    path = tmp_path / "w.h5"
    path.write_bytes(bytes(size))
    ident = Fake(get_create_plist=lambda: Fake(get_nfilters=lambda: 0), get_storage_size=lambda: 16, get_offset=lambda: 8)
    data = Fake(is_virtual=False, external=None, dtype=np.dtype(">f4"), shape=(4,), size=4, id=ident)
    if inside:
        assert hdf5._tensor(data, "/data/a/0", path).numpy().tolist() == [0, 0, 0, 0]
        return
    with pytest.raises(BadFileError, match="/data/a/0 lies beyond the end of the file"):
        hdf5._tensor(data, "/data/a/0", path)


def test_messages_know_their_fields() -> None:
    m = Message("ReLUParameter")
    with pytest.raises(KeyError, match="ReLUParameter has no field slope"):
        m.set("slope", 1)
    with pytest.raises(KeyError, match=r"ReLUParameter\.negative_slope is not repeated"):
        m.add("negative_slope", 1)
    with pytest.raises(KeyError, match="nowhere"):
        Net("n").layer("nowhere")
    shape = Message("BlobShape")
    shape.add("dim", 5)
    shape.add("dim", 7)
    assert shape["dim"] == [5, 7] and m != 3 and m.copy() == m
    assert repr(shape) == "BlobShape(dim=[5, 7])"


@pytest.mark.parametrize(
    ("rows", "why"),
    [("a 1 Nothing", "M.a: no message or enum Nothing"), ("a 1 int32; a 2 int32", "M: a field name or number is declared twice"),
     ("a 1 int32; b 1 int32", "M: a field name or number is declared twice"), ("a 0 int32; b 0 int32=-1; c 3 float=0.5", "")],
)  # fmt: skip
def test_tables_that_are_none(rows: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_tables", lambda: ({}, {"M": rows}))
    if why:
        with pytest.raises(KeyError, match=why):
            schema.message_type.__wrapped__("M")
    else:
        m = schema.message_type.__wrapped__("M")
        assert [f.default for f in m.by_name.values()] == [None, -1, 0.5] and list(m.by_number) == [3]


# ---- which file it is
NAME, DIM, NUM = held(1, b"net"), b"\x20\x05", b"\x08\x01"
PACKED = held(5, b"1234")
SNIFFED: list[tuple[bytes, str]] = [
    (NAME + b"\x12\x00", "caffemodel"), (NAME, "caffemodel"), (NAME + b"\x1a\x00", "caffemodel"), (NAME + DIM, "caffemodel"),
    (NAME + b"\x28\x01", "caffemodel"), (NAME + b"\x32\x00", "caffemodel"), (NAME + b"\x38\x01", "caffemodel"),
    (NAME + b"\x42\x00", "caffemodel"), (NAME + b"\xa2\x06\x00", "caffemodel"), (NAME + b"\x0a\x00", "unknown"),
    (NAME + b"\x2a\x00", "unknown"), (held(1, b"n\x01t") + b"\x12\x00", "unknown"), (held(2, b"\x01\x02"), "caffemodel"),
    (held(3, b"\x01"), "caffemodel"), (held(4, b"\x01"), "unknown"), (held(100, b"\x01"), "caffemodel"),
    (held(99, b"\x01"), "unknown"),
    (b"\x0a\x09net", "unknown"), (b"\x12\x02\x01", "unknown"), (DIM * 3 + NAME, "caffemodel"), (NUM + NAME, "unknown"),
    (NUM + PACKED, "binaryproto"), (PACKED, "binaryproto"), (DIM + PACKED, "binaryproto"), (b"\x2a\x05123", "unknown"),
    (b"\x2d\0\0\0\0", "binaryproto"),
    (b"\x3d\0\0\0\0", "binaryproto"), (b"\x35\0\0\0\0", "unknown"), (held(7, b"\x0a\x00"), "binaryproto"),
    (held(6, b"1234"), "unknown"), (b"\x41" + bytes(8), "binaryproto"), (b"\x39" + bytes(8), "unknown"),
    (held(8, b"12345678") + DIM, "caffemodel"), (held(8, b"12345678") + NUM + PACKED, "binaryproto"), (b"\x42\x09123", "unknown"),
    (DIM * 300, "caffemodel"), (NUM * 300, "binaryproto"), (DIM, "caffemodel"), (NUM + b"\x10\x02", "binaryproto"),
    (b"\x80", "unknown"),
    (b"\x28\x01", "unknown"), (b"\x18\x01" + PACKED, "binaryproto"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind"), SNIFFED, ids=range(len(SNIFFED)))
def test_binary_files_by_their_first_fields(data: bytes, kind: str, tmp_path: Path) -> None:
    """NetParameter: name 1, layers 2, input 3, input_dim 4, force_backward 5, state 6, debug_info 7, input_shape 8, layer 100.
    BlobProto: num 1 to width 4, data 5, shape 7, double_data 8. What may be either is so by its suffix."""
    path = tmp_path / "f.bin"
    path.write_bytes(data)
    assert sniff(path) == kind
    mean = tmp_path / "f.binaryproto"
    mean.write_bytes(data)
    assert sniff(mean) == ("binaryproto" if data in (DIM * 300, DIM, held(8, b"12345678") + DIM) else kind)
    text = tmp_path / "f.PROTOTXT"
    text.write_bytes(data)
    assert sniff(text) == ("prototxt" if kind == "unknown" else kind)


@pytest.mark.parametrize(("text", "net"), [
    ("layer { }", True), ("layers { }", True), ("name: 'a' layer: < >", True), ("input: 'a' }layer{", True), ("name: 'a'", False),
    ("# c\n\n force_backward: true ;layer {", True), ("a: 1 layer { }", False), ("state { } layer { }", True), ("layer", False),
    ("debug_info: 1 mylayer { }", False), ("layer : [", False), ("\ufefflayer { }", True), ("layer { \x07 }", False),
])  # fmt: skip
def test_texts_by_their_first_field(text: str, net: bool, tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text(text, "utf-8")
    assert sniff(path) == ("prototxt" if net else "unknown")


def test_only_the_beginning_of_a_file_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    for size, net in ((4096, True), (4097, False)):
        path.write_text("name: 'a' #" + "x" * (size - 11 - 9) + "\n layer {", "utf-8")
        assert path.stat().st_size == size and sniff(path) == ("prototxt" if net else "unknown")


def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    for read in (sniff, read_prototxt):
        with pytest.raises(BadFileError, match="x: cannot be read: File name too long"):
            read(long)
    with pytest.raises(BadFileError, match="cannot be read: No such file"):
        read_prototxt(tmp_path / "none")
    with pytest.raises(BadFileError, match="cannot be read: no such file"):
        sniff(tmp_path / "none")
    with pytest.raises(BadFileError, match="cannot be read: not a regular file"):
        sniff(tmp_path)


def test_weights_that_are_gone_when_they_are_read(tmp_path: Path) -> None:
    """Values one by one, or in pieces, are read when they are asked for."""
    path = tmp_path / "w.caffemodel"
    one = b"\x2d" + np.float32(1).tobytes()
    blob = held(7, held(1, number(3))) + one * 3
    path.write_bytes(held(1, b"net") + held(100, held(1, b"ip") + held(2, b"InnerProduct") + held(7, blob)))
    (layer_weights,) = read_weights(path)
    tensor = layer_weights.blobs[0]
    assert tensor is not None and tensor.numpy().tolist() == [1, 1, 1]
    (again,) = read_weights(path)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(BadFileError, match=r"w\.caffemodel: had \d+ bytes and has 10 after it was read"):
        assert again.blobs[0] is not None
        again.blobs[0].numpy()
    h5py = pytest.importorskip("h5py")
    packed = tmp_path / "w.h5"
    with h5py.File(packed, "w") as f:
        at = f.create_dataset("data/a/0", data=np.arange(400, dtype="f4"), chunks=(400,), compression="gzip").id
        f.flush()
        begin = at.get_chunk_info(0).byte_offset
    data = packed.read_bytes()
    packed.write_bytes(data[:begin] + b"\xff" * 64 + data[begin + 64 :])
    (stored,) = read_weights(packed)
    with pytest.raises(BadFileError, match=r"w\.h5: /data/a/0 cannot be read: "):
        assert stored.blobs[0] is not None
        stored.blobs[0].numpy()


def test_a_record_that_is_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [LayerSpec("A", messages={"M": "a 1 int32"}), LayerSpec("B", messages={"M": "a 1 int32"})]
    monkeypatch.setattr(schema, "specs", lambda: iter(two))
    with pytest.raises(KeyError, match="M is declared twice"):
        schema._tables.__wrapped__()


MORE: list[tuple[str, str, str, str]] = [
    ("end_axis 1 comes before axis 2", IMAGE, layer("Flatten", "flatten_param { axis: 2 end_axis: 1 }"),
     layer("Flatten", "flatten_param { axis: 2 end_axis: 2 }")),
    ("both bottoms need the same number of elements", "2 3", second("2 4") + layer("SigmoidCrossEntropyLoss", "", "d k"),
     second("2 3") + layer("SigmoidCrossEntropyLoss", "", "d k")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), MORE, ids=range(len(MORE)))
def test_more_bounds(why: str, shape: str, bad: str, good: str, tmp_path: Path) -> None:
    options = {"losses": "compute"}
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, bad, shape, **options)
    assert not load(tmp_path, good, shape, **options).problems


@pytest.mark.parametrize(
    ("coeffs", "ops"),
    [("", ["add", "add"]), ("1 1 -1", ["add", "sub"]), ("-1 1 1", ["neg", "add", "add"]),
     ("2 1 -3", ["mul", "add", "mul", "add"]),
     ("1 -1 2", ["sub", "mul", "add"])],
)  # fmt: skip
def test_sums_are_as_short_as_they_can_be(coeffs: str, ops: list[str], tmp_path: Path) -> None:
    given = " ".join(f"coeff: {c}" for c in coeffs.split())
    model = load(tmp_path, second("2 3") + layer("Eltwise", f"eltwise_param {{ {given} }}", "d k d"), "2 3")
    assert [n.op for n in model.graph] == ops
    x, k = np.array([[1, 2, 3], [4, 5, 6]], "f4"), np.array([[7, 9, 2], [3, 1, 5]], "f4")
    a, b, c = map(float, coeffs.split() or "111")
    np.testing.assert_array_equal(model.run({"d": x, "k": k})["y"], a * x + b * k + c * x)


def test_fields_that_no_schema_has_are_told_by_their_sizes(tmp_path: Path) -> None:
    """In a layer's message, and in the net: a number as it is, others by how many bytes they hold."""
    path = tmp_path / "n.caffemodel"
    odd = number(500 << 3 | 5) + b"1234" + number(501 << 3 | 1) + b"12345678" + held(502, b"abc") + number(503 << 3) + number(300)
    path.write_bytes(held(1, b"net") + held(100, held(1, b"l") + held(106, odd)) + odd)
    net = read_message_file(path, "NetParameter")
    told = {"#500": ["4 bytes"], "#501": ["8 bytes"], "#502": ["3 bytes"], "#503": [300]}
    assert net.unknown == told == net.get("layer")[0].get("convolution_param").unknown
