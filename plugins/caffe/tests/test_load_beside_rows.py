"""What functions do of types that rows say most of: other axes, several bottoms, regions as blobs of four axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .test_load_forks import blobs, close
from .test_load_net import given, layer, net, rand

torch = pytest.importorskip("torch")
F = torch.nn.functional
T = torch.from_numpy


def test_deconvolution_of_two_bottoms_from_a_later_axis(tmp_path: Path) -> None:
    """Axes before the channels are all batch (base_conv_layer.cpp, num_)."""
    w, b, x, y = rand(3, 2, 3, 2), rand(2), rand(2, 5, 3, 7, 11), rand(2, 5, 3, 7, 11)
    params = "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 2 stride: 2 axis: 2 }" + blobs(w, b)
    text = layer("c", "Deconvolution", "d e", "c f", params)
    m = net(tmp_path, given("d", *x.shape), given("e", *y.shape), text)
    want = [F.conv_transpose2d(T(v).reshape(10, 3, 7, 11), T(w), T(b), stride=2).reshape(2, 5, 2, 15, 22) for v in (x, y)]
    for a, b in zip(m({"d": x, "e": y}), want, strict=True):
        close(a, b)


def test_patches_from_a_later_axis(tmp_path: Path) -> None:
    x = rand(2, 5, 3, 7, 11)
    text = layer("c", "Im2col", "d", "c", "convolution_param { kernel_size: 3 pad: 1 stride: 2 axis: 2 }")
    m = net(tmp_path, given("d", *x.shape), text)
    want = F.unfold(T(x).reshape(10, 3, 7, 11), 3, padding=1, stride=2).reshape(2, 5, 27, 4, 6)
    close(m(x), want)


def test_regions_of_four_axes(tmp_path: Path) -> None:
    x = rand(2, 3, 13, 11)
    rois = np.array([[0, 1, 3, 17, 9], [1, 0, 0, 21, 25], [1, 7, 2, 7, 2]], np.float32)
    params = "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }"
    text = layer("p", "ROIPooling", "d r", "p", params)
    flat = net(tmp_path, given("d", *x.shape), given("r", 3, 5), text)
    wide = net(tmp_path, given("d", *x.shape), given("r", 3, 5, 1, 1), text)
    want = flat({"d": x, "r": rois})
    assert np.abs(want).max() > 0
    close(wide({"d": x, "r": rois.reshape(3, 5, 1, 1)}), want)


@pytest.mark.parametrize("across", [False, True])
def test_mvn_of_three_axes(across: bool, tmp_path: Path) -> None:
    """mvn_layer.cpp takes num, channels, height and width, those that are missing being 1."""
    x = rand(2, 3, 7)
    text = layer("n", "MVN", "d", "n", f"mvn_param {{ across_channels: {str(across).lower()} eps: 0.01 }}")
    m = net(tmp_path, given("d", *x.shape), text)
    axes = (1, 2) if across else (2,)
    centred = x - x.mean(axes, keepdims=True)
    want = centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + 0.01)
    close(m(x), want.reshape(2, 3, 7, 1))
