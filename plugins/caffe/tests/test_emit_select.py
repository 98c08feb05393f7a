"""Elements in another order, edges repeated, interpolation by whole factors, shuffled channels: what BVLC's Caffe can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError
from convcore_caffe.files import read_net

from .emit_kit import array, types, written


def _runs(tmp_path: Path, x: Any, want: Any, *, exact: bool = True) -> None:
    """What was written gives this, by our reader and by cv2.dnn where it knows the layers."""
    paths = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    got = convcore.load(*paths)(x)
    (np.testing.assert_array_equal if exact else lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5))(got, want)
    cv2 = pytest.importorskip("cv2")
    if len([layer for layer in read_net(*paths) if layer.tops][-1].tops) > 1:
        return  # cv2 gives the last top of a layer, whichever is asked for
    net = cv2.dnn.readNetFromCaffe(*map(str, paths))
    net.setInput(x)
    theirs = net.forward()
    assert theirs.shape == want.shape
    np.testing.assert_allclose(theirs, want, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_flips_along_any_axis(axis: int, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.flip(x, axes=(axis,)))
    assert types(net) == ["Slice", "Concat"]
    x = array(2, 3, 5, 7)
    _runs(tmp_path, x, np.flip(x, axis))


def test_channels_from_bgr_to_rgb_at_another_batch(tmp_path: Path) -> None:
    """A slice with a step of -1; the parts have no sizes but their own, so the net can be resized."""
    written(
        tmp_path, (1, 3, 5, 7), lambda b, x: b.slice(x, starts=(0, -1, 0, 0), stops=(None, None, None, None), steps=(1, -1, 1, 1))
    )
    x = array(4, 3, 11, 2)
    back = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", input_shapes={"data": x.shape})
    np.testing.assert_array_equal(back(x), x[:, ::-1])


@pytest.mark.parametrize(
    ("starts", "stops", "steps"),
    [((0, 1, 0, 0), (None, None, None, None), (1, 3, 1, 1)), ((1, -1, 4, 2), (None, None, 0, 6), (1, -2, -1, 1)),
     ((0, 0, 0, 6), (None, None, None, None), (1, 2, 2, -3))],
)  # fmt: skip
def test_steps_along_any_axis(starts: Any, stops: Any, steps: Any, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 7, 5, 7), lambda b, x: b.slice(x, starts=starts, stops=stops, steps=steps))
    assert set(types(net)) <= {"Slice", "Silence", "Concat", "Pooling"}
    x = array(2, 7, 5, 7)
    want = x[tuple(slice(*t) for t in zip(starts, stops, steps, strict=True))]
    np.testing.assert_array_equal(convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")(x), want)


def test_many_parts_of_channels_are_a_matrix_and_too_many_of_others_are_refused(tmp_path: Path) -> None:
    net = written(tmp_path, (1, 131, 2, 3), lambda b, x: b.flip(b.relu(x), axes=(1,)))
    assert types(net) == ["ReLU", "Slice", "Concat"]  # moved without arithmetic as long as there are not too many
    with pytest.raises(UnsupportedError, match="picks 1025 parts of axis 2, more than 1024"):
        written(tmp_path, (1, 2, 1025, 2), lambda b, x: b.flip(x, axes=(2,)))


@pytest.mark.parametrize("mode", ["reflect", "edge", "symmetric", "wrap"])
def test_padding_by_what_is_there(mode: str, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.pad(x, pads=((0, 0), (0, 0), (1, 3), (2, 1)), mode=mode))
    assert types(net) == ["Slice", "Concat"] * 2
    x = array(2, 3, 5, 7)
    _runs(tmp_path, x, np.pad(x, ((0, 0), (0, 0), (1, 3), (2, 1)), mode=mode))  # type: ignore[call-overload]


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 1), (5, 2)])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_bilinear_upsampling_by_whole_factors(factors: Any, coordinates: str, tmp_path: Path) -> None:
    """A Deconvolution of each channel; the judge is torch (asymmetric: numpy's interp)."""
    torch = pytest.importorskip("torch")
    corners = coordinates == "align_corners"
    n = (5, 7)
    sizes = tuple(f * (m - 1) + 1 if corners else f * m for f, m in zip(factors, n, strict=True))
    net = written(
        tmp_path,
        (2, 3, *n),
        lambda b, x: b.resize(x, sizes=sizes, mode="linear", coordinates=coordinates, layout="channels_first"),
    )
    deconvolution = next(layer for layer in net if layer.type == "Deconvolution")
    assert deconvolution.param("convolution_param").get("group") == 3
    assert all(spec.lr_mult == 0 for spec in deconvolution.param_specs)
    x = array(2, 3, *n)
    if coordinates == "asymmetric":
        want = x
        for axis, f in zip((2, 3), factors, strict=True):
            at = np.arange(want.shape[axis] * f) / f
            want = np.apply_along_axis(lambda row, at=at: np.interp(at, np.arange(len(row)), row), axis, want)
    else:
        want = torch.nn.functional.interpolate(torch.from_numpy(x), size=sizes, mode="bilinear", align_corners=corners).numpy()
    _runs(tmp_path, x, want.astype(np.float32), exact=False)


@pytest.mark.parametrize(
    "wide", [(2, 3, 4, 5, 7), (2, 3, 4, 35), (-1, 3, 4, 5, 7), (2, 3, -1, 35)], ids=["5", "4", "5 with -1", "4 with -1"]
)
def test_a_channel_shuffle_in_four_or_five_axes_is_a_convolution(wide: Any, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    back = np.asarray([2 if wide[0] > 0 else -1, 12, 5, 7], np.int64)
    perm = [0, 2, 1, *range(3, len(wide))]
    nodes = [
        helper.make_node("Reshape", ["x", "wide"], ["a"]), helper.make_node("Transpose", ["a"], ["b"], perm=perm),
        helper.make_node("Reshape", ["b", "back"], ["y"]),
    ]  # fmt: skip
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 12, 5, 7]) for n in "xy"]
    held = [numpy_helper.from_array(np.asarray(v, np.int64), n) for n, v in (("wide", wide), ("back", back))]
    save(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], held)), tmp_path / "s.onnx")
    result = convcore.convert(tmp_path / "s.onnx", "caffe", tmp_path / "net.prototxt")
    assert [layer.type for layer in result.model] == ["Input", "Convolution"]
    x = array(2, 12, 5, 7)
    _runs(tmp_path, x, x.reshape(2, 3, 4, 5, 7).swapaxes(1, 2).reshape(2, 12, 5, 7))


@pytest.mark.parametrize("perm", [(0, 1, 2, 4, 3), (1, 0, 2, 3, 4)])
def test_other_transposes_between_reshapes_are_no_shuffle(perm: Any, tmp_path: Path) -> None:
    def build(b: Any, x: Any) -> Any:
        return b.reshape(b.transpose(b.reshape(x, shape=(2, 3, 4, 5, 7)), perm=perm), shape=(2, 12, 5, 7))

    with pytest.raises(UnsupportedError, match="no layer that moves axes"):
        written(tmp_path, (2, 12, 5, 7), build)
