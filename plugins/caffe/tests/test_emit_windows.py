"""Convolutions, pooling and reductions as a Caffe user would have written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.ir.graph import Value

from .emit_kit import array as _array
from .emit_kit import fields, only, types, written


# ---- convolution
def test_convolution(tmp_path: Path) -> None:
    w, c = _array(5, 3, 3, 3), _array(5)
    attrs: Any = {"strides": (2, 2), "pads": ((1, 1), (1, 1))}
    layer = only(written(tmp_path, (2, 3, 11, 7), lambda b, x: b.conv(x, b.const(w), b.const(c), **attrs)))
    assert (layer.type, layer.name, layer.tops) == ("Convolution", "layer", ["out"])
    assert fields(layer) == {"num_output": 5, "pad": 1, "kernel_size": 3, "stride": 2}
    np.testing.assert_array_equal(layer.blobs[0].numpy(), w)


def test_rectangular_windows_are_given_by_axis(tmp_path: Path) -> None:
    w = _array(4, 3, 3, 2)
    layer = only(
        written(
            tmp_path, (2, 6, 11, 13),
            lambda b, x: b.conv(x, b.const(w), strides=(2, 1), pads=((1, 1), (0, 0)), dilations=(1, 2), groups=2),
        )
    )  # fmt: skip
    assert fields(layer) == {
        "num_output": 4, "bias_term": False, "pad_h": 1, "pad_w": 0, "kernel_h": 3, "kernel_w": 2, "stride_h": 2, "stride_w": 1,
        "dilation": [1, 2], "group": 2,
    }  # fmt: skip


def test_repeated_fields_beside_axis_fields_are_lists(tmp_path: Path) -> None:
    w = _array(5, 3, 2, 3, 2)
    layer = only(written(tmp_path, (1, 3, 5, 7, 6), lambda b, x: b.conv(x, b.const(w), strides=(1, 2, 1))))
    assert fields(layer) == {"num_output": 5, "bias_term": False, "kernel_size": [2, 3, 2], "stride": [1, 2, 1]}


@pytest.mark.parametrize("n", [10, 11, 12, 13])
@pytest.mark.parametrize(("pads", "stride"), [((0, 1), 2), ((1, 0), 2), ((2, 1), 3), ((0, 3), 1), ((1, 2), 1)])
def test_uneven_padding_is_the_larger_one_and_zeros_in_the_kernel(n: int, pads: Any, stride: int, tmp_path: Path) -> None:
    """MobileNet's: no Slice and no Silence."""
    w = _array(5, 3, 3, 3)
    net = written(
        tmp_path, (2, 3, n, 17), lambda b, x: b.conv(x, b.const(w), strides=(stride, 1), pads=(pads, (1, 1))), caffe_flavor="bvlc"
    )
    kernel = only(net).blobs[0].numpy()
    if kernel.shape != w.shape:
        most = max(pads)
        ends = ((0, 0), (0, 0), (most - pads[0], most - pads[1]), (0, 0))
        np.testing.assert_array_equal(kernel, np.pad(w, ends))


@pytest.mark.parametrize(("pads", "dilation"), [((0, 9), 1), ((0, 1), 2)])
def test_uneven_padding_that_zeros_cannot_make_is_sliced_off(pads: Any, dilation: int, tmp_path: Path) -> None:
    w = _array(5, 3, 3, 3)
    net = written(
        tmp_path, (2, 3, 11, 17),
        lambda b, x: b.conv(x, b.const(w), pads=(pads, (1, 1)), dilations=(dilation, 1)), caffe_flavor="bvlc",
    )  # fmt: skip
    assert set(types(net)) == {"Convolution", "Slice", "Silence"}
    assert net.layers[1].blobs[0].shape == (5, 3, 3, 3)


def test_padding_before_a_convolution_is_its_own(tmp_path: Path) -> None:
    w = _array(5, 3, 3, 3)
    spread = ((0, 0), (0, 0), (2, 2), (2, 2))
    layer = only(written(tmp_path, (2, 3, 11, 7), lambda b, x: b.conv(b.pad(x, pads=spread), b.const(w), pads=((1, 1), (1, 1)))))
    assert fields(layer)["pad"] == 3


def test_padding_before_a_maximum_is_its_own_only_where_nothing_is_negative(tmp_path: Path) -> None:
    spread = ((0, 0), (0, 0), (1, 1), (1, 1))
    pool = {"kernel": (3, 3), "strides": (2, 2)}
    net = written(tmp_path, (2, 3, 11, 7), lambda b, x: b.max_pool(b.pad(b.relu(x), pads=spread), **pool))
    assert types(net) == ["ReLU", "Pooling"]
    net = written(tmp_path, (2, 3, 11, 7), lambda b, x: b.max_pool(b.pad(x, pads=spread), **pool))
    assert types(net) == ["Convolution", "Pooling"]
    assert fields(net.layers[1]) == {"num_output": 3, "bias_term": False, "pad": 1, "kernel_size": 1, "group": 3}


def test_transposed_convolution(tmp_path: Path) -> None:
    w = _array(3, 5, 4, 4)
    attrs: Any = {"strides": (2, 2), "pads": ((1, 1), (1, 1))}
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.conv_transpose(x, b.const(w), **attrs)))
    assert layer.type == "Deconvolution"
    assert fields(layer) == {"num_output": 5, "bias_term": False, "pad": 1, "kernel_size": 4, "stride": 2}


@pytest.mark.parametrize("extra", [(0, 0), (1, 1), (3, 0)])
@pytest.mark.parametrize("pads", [((0, 1), (1, 0)), ((1, 1), (1, 1)), ((0, 0), (2, 1))])
def test_transposed_convolution_with_uneven_padding(pads: Any, extra: tuple[int, int], tmp_path: Path) -> None:
    w, c = _array(3, 5, 3, 3), _array(5)
    attrs: Any = {"strides": (4, 2), "dilations": (1, 2), "pads": pads, "output_padding": extra}
    written(tmp_path, (2, 3, 5, 7), lambda b, x: b.conv_transpose(x, b.const(w), b.const(c), **attrs))


# ---- pooling
@pytest.mark.parametrize("n", [8, 9, 10, 11])
@pytest.mark.parametrize("ceil", ["floor", "ceil"])
@pytest.mark.parametrize(
    ("k", "s", "pads"), [(3, 2, (1, 1)), (2, 2, (0, 0)), (3, 2, (0, 1)), (3, 3, (1, 0)), (2, 3, (0, 0)), (3, 1, (1, 1))]
)
@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
def test_pooling_of_every_rounding(op: str, k: int, s: int, pads: Any, ceil: str, n: int, tmp_path: Path) -> None:
    extra = {"count_include_pad": n % 2 == 0} if op == "avg_pool" else {}
    attrs: dict[str, Any] = {"kernel": (k, 2), "strides": (s, 1), "pads": (pads, (0, 0)), "ceil_mode": ceil, **extra}
    for rounding in ("crop", "round_mode", "ceil_mode"):
        net = written(tmp_path, (2, 3, n, 5), lambda b, x: b.op(op, x, **attrs), pool_rounding=rounding)
        assert set(types(net)) <= {"Pooling", "Slice", "Silence", "Scale"}


def test_rounding_down_is_a_crop_or_a_field(tmp_path: Path) -> None:
    def build(b: Builder, x: Value) -> Any:
        return b.max_pool(x, kernel=(3, 3), strides=(2, 2), pads=((1, 1), (1, 1)))

    plain = {"pool": "MAX", "pad": 1, "kernel_size": 3, "stride": 2}
    net = written(tmp_path, (1, 3, 12, 12), build)
    assert types(net) == ["Pooling", "Slice", "Silence", "Slice", "Silence"] and fields(net.layers[1]) == plain
    assert fields(only(written(tmp_path, (1, 3, 12, 12), build, pool_rounding="round_mode"))) == {**plain, "round_mode": "FLOOR"}
    assert fields(only(written(tmp_path, (1, 3, 12, 12), build, pool_rounding="ceil_mode"))) == {**plain, "ceil_mode": False}
    assert fields(only(written(tmp_path, (1, 3, 13, 13), build, pool_rounding="round_mode"))) == plain


def test_an_average_that_leaves_padding_out_is_corrected(tmp_path: Path) -> None:
    net = written(tmp_path, (1, 3, 12, 12), lambda b, x: b.avg_pool(x, kernel=(3, 3), pads=((1, 1), (1, 1))))
    assert types(net) == ["Pooling", "Scale"]
    factor = net.layers[2].blobs[0].numpy()
    assert factor[0, 0] == 9 / 4 and factor[0, 5] == np.float32(9 / 6) and factor[5, 5] == 1


@pytest.mark.parametrize("op", ["mean", "max"])
def test_global_pooling(op: str, tmp_path: Path) -> None:
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.op(op, x, axes=(2, 3), keepdims=True)))
    assert fields(layer) == {"pool": "AVE" if op == "mean" else "MAX", "global_pooling": True}
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.op(op, x, axes=(2, 3), keepdims=False))
    assert types(net) == ["Pooling", "Flatten"]
    w = _array(4, 3)
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.linear(b.op(op, x, axes=(2, 3), keepdims=False), b.const(w)))
    assert types(net) == ["Pooling", "InnerProduct"]


@pytest.mark.parametrize("op", ["mean", "max", "min", "sum", "sum_square", "l1_norm"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (3,), (0, 1), (1, 2), (1, 2, 3), (0, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions_over_any_axes(op: str, axes: Any, keepdims: bool, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.op(op, x, axes=axes, keepdims=keepdims))
    assert set(types(net)) <= {"Pooling", "Reduction", "Reshape", "Flatten", "Power", "AbsVal"}
