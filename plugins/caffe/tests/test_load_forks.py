"""Layers of Caffe's forks that the recorded runs do not cover, against PyTorch, onnxruntime or their definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.errors import BadFileError

from .support import worst
from .test_load_net import given, layer, net, rand

torch = pytest.importorskip("torch")
F = torch.nn.functional
T = torch.from_numpy


def blobs(*arrays: Any) -> str:
    """Weights written into the prototxt."""
    out = []
    for a in arrays:
        dims = " ".join(f"dim: {n}" for n in a.shape)
        out.append(f"blobs {{ shape {{ {dims} }} " + " ".join(f"data: {float(v)!r}" for v in a.reshape(-1)) + " }")
    return " ".join(out)


def close(a: Any, b: Any) -> None:
    b = b.numpy() if hasattr(b, "numpy") else b
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= 2e-6 * max(1.0, float(np.abs(b).max()))


@pytest.mark.parametrize("type_", ["ConvolutionDepthwise", "DepthwiseConvolution"])
def test_depthwise_convolution_without_group(type_: str, tmp_path: Path) -> None:
    w, b, x = rand(3, 1, 3, 3), rand(3), rand(2, 3, 11, 7)
    params = "convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 1 }"
    m = net(tmp_path, given("d", *x.shape), layer("c", type_, "d", "c", params + blobs(w, b)))
    close(m(x), F.conv2d(T(x), T(w), T(b), stride=2, padding=1, groups=3))


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ("height: 13 width: 17", (13, 17)), ("zoom_factor: 3", (19, 13)), ("shrink_factor: 2", (4, 3)),
        ("shrink_factor: 2 zoom_factor: 3", (10, 7)),
    ],
)  # fmt: skip
def test_interp(params: str, size: tuple[int, int], tmp_path: Path) -> None:
    x = rand(2, 3, 7, 5)
    m = net(tmp_path, given("d", *x.shape), layer("i", "Interp", "d", "i", f"interp_param {{ {params} }}"))
    close(m(x), F.interpolate(T(x), size=size, mode="bilinear", align_corners=True))


def test_interp_crops_by_negative_padding(tmp_path: Path) -> None:
    x = rand(1, 2, 7, 6)
    m = net(
        tmp_path,
        given("d", *x.shape),
        layer("i", "Interp", "d", "i", "interp_param { height: 5 width: 8 pad_beg: -1 pad_end: -2 }"),
    )
    inner = np.ascontiguousarray(x[:, :, 1:-2, 1:-2])
    close(m(x), F.interpolate(T(inner), size=(5, 8), mode="bilinear", align_corners=True))


def test_shuffle_channel(tmp_path: Path) -> None:
    x = rand(2, 6, 5, 7)
    m = net(tmp_path, given("d", *x.shape), layer("s", "ShuffleChannel", "d", "s", "shuffle_channel_param { group: 3 }"))
    close(m(x), torch.channel_shuffle(T(x), 3))


@pytest.mark.parametrize("tail", [(), (1, 1)])
def test_axpy(tail: tuple[int, ...], tmp_path: Path) -> None:
    a, x, y = rand(2, 3, *tail), rand(2, 3, 5, 7), rand(2, 3, 5, 7)
    m = net(tmp_path, given("a", *a.shape), given("x", *x.shape), given("y", *y.shape), layer("o", "Axpy", "a x y"))
    close(m({"a": a, "x": x, "y": y}), a.reshape(2, 3, 1, 1) * x + y)


def test_crop_center(tmp_path: Path) -> None:
    x = rand(2, 3, 9, 11)
    m = net(
        tmp_path,
        given("d", *x.shape),
        layer("c", "CropCenter", "d", "c", "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 3 }"),
    )
    close(m(x), x[:, :, 2:-2, 3:-3])


def test_bn_of_pspnet(tmp_path: Path) -> None:
    slope, bias, mean, var = (rand(1, 3, 1, 1) for _ in range(3)), None, None, None
    slope, bias, mean = slope
    var, x = np.abs(rand(1, 3, 1, 1)) + 0.5, rand(2, 3, 5, 7)
    m = net(tmp_path, given("d", *x.shape), layer("b", "BN", "d", "b", "bn_param { eps: 0.01 } " + blobs(slope, bias, mean, var)))
    close(m(x), F.batch_norm(T(x), *(T(p.reshape(-1)) for p in (mean, var, slope, bias)), eps=0.01))


def test_bn_of_segnet(tmp_path: Path) -> None:
    scale, shift, x = rand(1, 3, 1, 1), rand(1, 3, 1, 1), rand(2, 3, 5, 7)
    m = net(tmp_path, given("d", *x.shape), layer("b", "BN", "d", "b", "bn_param { bn_mode: INFERENCE } " + blobs(scale, shift)))
    close(m(x), x * scale + shift)
    learning = net(tmp_path, given("d", *x.shape), layer("b", "BN", "d", "b", blobs(scale, shift)))
    assert "bn_mode LEARN" in learning.problems[0].why


def test_upsample_with_a_mask_is_unpooling(tmp_path: Path) -> None:
    x = rand(2, 3, 8, 6)
    pool = layer("p", "Pooling", "d", "p mask", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    m = net(tmp_path, given("d", *x.shape), pool, layer("u", "Upsample", "p mask", "u", "upsample_param { scale: 2 }"))
    y, at = F.max_pool2d(T(x), 2, return_indices=True)
    close(m(x), F.max_unpool2d(y, at, 2))
    sized = "upsample_param { scale: 2 upsample_h: 7 upsample_w: 5 }"
    odd = net(tmp_path, given("d", 2, 3, 7, 5), pool, layer("u", "Upsample", "p mask", "u", sized))
    assert odd.outputs[0].shape == (2, 3, 7, 5)


def test_roi_pooling_against_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import convcore

    x = rand(2, 3, 13, 11)
    rois = np.array([[0, 1, 3, 17, 9], [1, 0, 0, 21, 25], [1, 7, 2, 7, 2], [0, 3.3, 5, 40, 50]], np.float32)
    params = "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }"
    m = net(tmp_path, given("d", *x.shape), given("r", 4, 5), layer("p", "ROIPooling", "d r", "p", params))
    done = convcore.convert(m, "onnx", tmp_path / "net.onnx", example_inputs=[x, rois])
    assert done.report.ok and done.report.differences[0].max_abs == 0
    assert np.abs(m({"d": x, "r": rois})).max() > 0


def test_psroi_pooling_by_its_definition(tmp_path: Path) -> None:
    """R-FCN, equation 1: bin (i, j) averages its own group of channels over the bin's cells."""
    x = rand(2, 2 * 9, 12, 12)
    rois = np.array([[0, 0, 0, 11, 11], [1, 3, 0, 8, 5]], np.float32)
    params = "psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: 3 }"
    m = net(tmp_path, given("d", *x.shape), given("r", 2, 5), layer("p", "PSROIPooling", "d r", "p", params))
    want = np.zeros((2, 2, 3, 3), np.float32)
    for r, (image, x1, y1, side) in enumerate([(0, 0, 0, 4), (1, 3, 0, 2)]):
        for i in range(3):
            for j in range(3):
                part = x[image].reshape(2, 3, 3, 12, 12)[:, i, j]
                want[r, :, i, j] = part[:, y1 + i * side : y1 + (i + 1) * side, x1 + j * side : x1 + (j + 1) * side].mean((1, 2))
    close(m({"d": x, "r": rois}), want)


def test_dropout_of_forks_that_scale_at_inference(tmp_path: Path) -> None:
    """DeepLab's dropout_layer.cpp with scale_train: false."""
    x = rand(2, 3)
    params = "dropout_param { dropout_ratio: 0.25 scale_train: false }"
    close(net(tmp_path, given("d", 2, 3), layer("r", "Dropout", "d", "r", params))(x), x * np.float32(0.75))


def test_relu6_with_a_slope(tmp_path: Path) -> None:
    x = rand(2, 3) * 9
    m = net(tmp_path, given("d", 2, 3), layer("r", "ReLU6", "d", "r", "relu6_param { negative_slope: 0.25 threshold: 3 }"))
    close(m(x), np.minimum(np.where(x > 0, x, 0.25 * x), 3).astype(np.float32))


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "size"), [(7, 2, 0, 6), (3, 2, 1, 8), (2, 3, 0, 7), (1, 2, 0, 6), (5, 3, 2, 4), (3, 3, 0, 9)]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_pooling_by_the_layer_s_own_loops(kind: str, kernel: int, stride: int, pad: int, size: int, tmp_path: Path) -> None:
    """pooling_layer.cpp written out: sizes rounded up, the clip with padding, the divisor."""
    x = rand(1, 2, size, size)
    out = -(-(size + 2 * pad - kernel) // stride) + 1
    if pad and (out - 1) * stride >= size + pad:
        out -= 1
    want = np.zeros((1, 2, out, out), np.float32)
    for i in range(out):
        for j in range(out):
            a, b = i * stride - pad, j * stride - pad
            c, d = min(a + kernel, size + pad), min(b + kernel, size + pad)
            part = x[:, :, max(a, 0) : min(c, size), max(b, 0) : min(d, size)]
            if kind == "MAX":
                want[:, :, i, j] = part.max((2, 3), initial=np.finfo(np.float32).min)
            else:
                with np.errstate(all="ignore"):
                    want[:, :, i, j] = part.sum((2, 3)) / np.float32((c - a) * (d - b))
    params = f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
    got = net(tmp_path, given("d", *x.shape), layer("p", "Pooling", "d", "p", params))(x)
    assert worst(got, want) <= 1e-6


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_is_darknet_s_where_that_is_said(stride: int, reverse: bool, tmp_path: Path) -> None:
    """By its definition, a loop; and for a stride of 2, the only one it reads, by OpenCV's layer."""
    c, h, w = 2 * stride * stride, 2 * stride, 3 * stride
    x = rand(2, c, h, w)
    params = f"reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}"
    text = given("d", *x.shape) + layer("r", "Reorg", "d", "r", params)
    m = net(tmp_path, text, reorg="darknet")
    few = c // (stride * stride)
    wide = x.reshape(2, few, h * stride, w * stride) if not reverse else np.zeros((2, few, h * stride, w * stride), np.float32)
    deep = np.zeros_like(x)
    for k in range(c):
        offset, to = divmod(k, few)
        rows, columns = slice(offset // stride, None, stride), slice(offset % stride, None, stride)
        if reverse:
            wide[:, to, rows, columns] = x[:, k]
        else:
            deep[:, k] = wide[:, to, rows, columns]
    want = wide if reverse else deep.reshape(2, c * stride * stride, h // stride, w // stride)
    np.testing.assert_array_equal(m(x), want)
    cv2 = pytest.importorskip("cv2")
    if stride == 2 and not reverse:
        theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"))
        theirs.setInput(x)
        np.testing.assert_array_equal(theirs.forward(), want)


def test_reorg_is_refused_where_its_fork_is_not_named(tmp_path: Path) -> None:
    m = net(tmp_path, given("d", 1, 4, 4, 4), layer("r", "Reorg", "d", "r", "reorg_param { stride: 2 }"))
    assert "differs between forks" in m.problems[0].why and "reorg='darknet'" in m.problems[0].hint
    for shape, why in (((1, 3, 4, 4), "multiple of 4 channels"), ((1, 4, 5, 4), "does not divide 5 x 4")):
        with pytest.raises(BadFileError, match=why):
            net(tmp_path, given("d", *shape), layer("r", "Reorg", "d", "r", "reorg_param { stride: 2 }"), reorg="darknet")


YOLO = (
    "yolov3_detection_output_param {{ num_classes: 3 num_box: 2 confidence_threshold: {} nms_threshold: 0.4 mask_group_num: 2 "
    "biases: 10 biases: 14 biases: 23 biases: 27 biases: 37 biases: 58 biases: 81 biases: 82 mask: 2 mask: 3 mask: 0 mask: 1 "
    "anchors_scale: 32 anchors_scale: 16 }}"
)


def _yolo(maps: list[Any], threshold: float) -> Any:
    """What eric612/MobileNet-YOLO's layer computes for one image, box by box."""
    anchors, masks, scales, classes = [(10, 14), (23, 27), (37, 58), (81, 82)], [(2, 3), (0, 1)], (32, 16), 3
    sigmoid = lambda v: 1 / (1 + np.exp(-v.astype(np.float64)))  # noqa: E731
    found = []
    for x, mask, scale in zip(maps, masks, scales):
        side = x.shape[-1]
        for row in range(side):
            for column in range(side):
                for n, which in enumerate(mask):
                    v = x[0, n * 8 : (n + 1) * 8, row, column]
                    cx, cy = (column + sigmoid(v[0])) / side, (row + sigmoid(v[1])) / side
                    w, h = (np.exp(float(v[2 + i])) * anchors[which][i] / (side * scale) for i in (0, 1))
                    for k in range(classes):
                        score = float(sigmoid(v[5 + k]) * sigmoid(v[4]))
                        if score > threshold:
                            found.append((score, k + 1, cx, cy, w, h))
    kept: list[Any] = []
    for one in sorted(found, reverse=True):
        over = []
        for other in kept:
            sides = [
                min(one[2 + i] + one[4 + i] / 2, other[2 + i] + other[4 + i] / 2)
                - max(one[2 + i] - one[4 + i] / 2, other[2 + i] - other[4 + i] / 2)
                for i in (0, 1)
            ]
            shared = 0 if min(sides) < 0 else sides[0] * sides[1]
            over.append(shared / (one[4] * one[5] + other[4] * other[5] - shared))
        if not over or max(over) < 0.4:
            kept.append(one)
    rows = [(0, k, s, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) for s, k, cx, cy, w, h in kept]
    return np.array(rows or [(0, -1, -1, -1, -1, -1, -1)], np.float32)[None, None]


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.999])
def test_yolo_v3_of_one_image_and_square_maps(threshold: float, tmp_path: Path) -> None:
    """Where all public sources of the layer agree."""
    pytest.importorskip("onnxruntime")
    import convcore

    x, y = rand(1, 16, 3, 3) * 2, rand(1, 16, 5, 5) * 2
    text = given("x", *x.shape) + given("y", *y.shape) + layer("o", "Yolov3DetectionOutput", "x y", "o", YOLO.format(threshold))
    m = net(tmp_path, text)
    want = _yolo([x, y], threshold)
    assert (want[0, 0, 0, 1] == -1) == (threshold > 0.9) and (threshold > 0.9 or want.shape[2] > 3)
    np.testing.assert_allclose(m({"x": x, "y": y}), want, atol=1e-5)
    assert convcore.convert(m, "onnx", tmp_path / "net.onnx", example_inputs=[x, y]).report.ok


def test_yolo_layers_are_refused_where_their_sources_differ(tmp_path: Path) -> None:
    three = YOLO.format(0.3)
    for shape, params, why in (
        ((1, 16, 3, 4), three, "square maps only"), ((2, 16, 3, 3), three, "square maps only"),
        ((1, 16, 3, 3), three.replace("nms_threshold: 0.4", ""), "different defaults"),
    ):  # fmt: skip
        text = given("x", *shape) + given("y", *shape) + layer("o", "Yolov3DetectionOutput", "x y", "o", params)
        assert why in net(tmp_path, text).problems[0].why
    for shape, params, why in (
        ((1, 15, 3, 3), three, "15 channels of bottom 0"),
        ((1, 16, 3, 3), three.replace("mask: 3", "mask: 9"), "a mask names no pair"),
        ((1, 16, 3, 3), three.replace("mask: 3", ""), "3 masks for 2 bottoms"),
    ):  # fmt: skip
        text = given("x", *shape) + given("y", *shape) + layer("o", "Yolov3DetectionOutput", "x y", "o", params)
        with pytest.raises(BadFileError, match=why):
            net(tmp_path, text)
    two = "yolo_detection_output_param { num_classes: 3 }"
    found = net(tmp_path, given("x", 1, 40, 13, 13) + layer("o", "YoloDetectionOutput", "x", "o", two)).problems[0].why
    assert "MobileNet-YOLO" in found and "OpenCL" in found
