"""Resizing and sampling against PyTorch, onnxruntime and Keras."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.errors import ShapeError
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(23)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(a, b, tol=1e-5):
    b = np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def last(x):
    return np.moveaxis(x, 1, -1).copy()


SIZES = [(11, 13), (3, 4), (5, 2), (17, 5), (1, 1)]
TORCH = [
    ("nearest", None, {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor"}),
    ("nearest-exact", None, {"mode": "nearest", "coordinates": "half_pixel", "nearest": "round_prefer_ceil"}),
    ("bilinear", False, {"mode": "linear"}),
    ("bilinear", True, {"mode": "linear", "coordinates": "align_corners"}),
    ("bicubic", False, {"mode": "cubic"}),
    ("bicubic", True, {"mode": "cubic", "coordinates": "align_corners"}),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode, align, kw", TORCH)
def test_resize_is_torch(size, mode, align, kw):
    x = rand(2, 3, 5, 7)
    truth = F.interpolate(torch.tensor(x), size=size, mode=mode, align_corners=align).numpy()
    close(run_op("resize", x, sizes=size, **kw)[0], truth)
    close(run_op("resize", last(x), sizes=size, layout="channels_last", **kw)[0], last(truth))


@pytest.mark.parametrize("scale", [2.0, 1.7, 0.6, 3.3])
@pytest.mark.parametrize("mode, align, kw", TORCH[:3] + TORCH[4:5])
def test_resize_by_scale_is_torch(scale, mode, align, kw):
    x = rand(2, 3, 11, 7)
    truth = F.interpolate(torch.tensor(x), scale_factor=scale, mode=mode, align_corners=align).numpy()
    close(run_op("resize", x, scales=(scale, scale), **kw)[0], truth)


@pytest.mark.parametrize("mode, a", [("bilinear", -0.75), ("bicubic", -0.5)])
@pytest.mark.parametrize("size", [(5, 3), (17, 4), (4, 19), (11, 13)])
def test_antialias_is_torch(mode, a, size):
    x = rand(2, 3, 11, 13)
    truth = F.interpolate(torch.tensor(x), size=size, mode=mode, antialias=True).numpy()
    kw = {"mode": {"bilinear": "linear", "bicubic": "cubic"}[mode], "cubic_a": a, "antialias": True, "exclude_outside": True}
    close(run_op("resize", x, sizes=size, **kw)[0], truth)


def test_one_and_three_axes_are_torch():
    x = rand(2, 3, 7)
    truth = F.interpolate(torch.tensor(x), size=11, mode="linear").numpy()
    close(run_op("resize", x, sizes=(11,), mode="linear")[0], truth)
    x = rand(2, 3, 5, 7, 4)
    truth = F.interpolate(torch.tensor(x), size=(3, 11, 6), mode="trilinear").numpy()
    close(run_op("resize", x, sizes=(3, 11, 6), mode="linear")[0], truth)


def ort(x, sizes=None, scales=None, **attrs):
    onnx = pytest.importorskip("onnx")
    rt = pytest.importorskip("onnxruntime")
    h, t = onnx.helper, onnx.TensorProto
    weights = []
    if sizes is not None:
        weights.append(onnx.numpy_helper.from_array(np.asarray([*x.shape[:2], *sizes], np.int64), "sizes"))
    if scales is not None:
        weights.append(onnx.numpy_helper.from_array(np.asarray([1, 1, *scales], np.float32), "scales"))
    names = ["x", "", "scales" if scales is not None else "", "sizes" if sizes is not None else ""]
    graph = h.make_graph(
        [h.make_node("Resize", names, ["y"], **attrs)],
        "g",
        [h.make_tensor_value_info("x", t.FLOAT, x.shape)],
        [h.make_tensor_value_info("y", t.FLOAT, None)],
        weights,
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 19)], ir_version=10)
    session = rt.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("how", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("size", [(11, 13), (3, 4), (1, 2)])
def test_coordinates_are_onnxruntime(how, size):
    x = rand(1, 1, 5, 7)
    for mode in ("linear", "cubic"):
        truth = ort(x, sizes=size, mode=mode, coordinate_transformation_mode=how)
        close(run_op("resize", x, sizes=size, mode=mode, coordinates=how)[0], truth)


@pytest.mark.parametrize("how", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("size", [(11, 13), (10, 14), (3, 4)])
def test_nearest_is_onnxruntime(how, nearest, size):
    x = rand(1, 1, 5, 7)
    truth = ort(x, sizes=size, mode="nearest", coordinate_transformation_mode=how, nearest_mode=nearest)
    assert np.array_equal(run_op("resize", x, sizes=size, coordinates=how, nearest=nearest)[0], truth)


@pytest.mark.parametrize("scales", [(2.0, 3.0), (0.6, 1.7), (2.6, 0.5)])
@pytest.mark.parametrize("how", ["half_pixel", "asymmetric", "half_pixel_symmetric", "align_corners"])
def test_scales_are_onnxruntime(scales, how):
    x = rand(1, 1, 11, 7)
    exact = [float(np.float32(s)) for s in scales]
    for mode in ("linear", "cubic"):
        truth = ort(x, scales=scales, mode=mode, coordinate_transformation_mode=how)
        close(run_op("resize", x, scales=exact, mode=mode, coordinates=how)[0], truth)


@pytest.mark.parametrize("a", [-0.75, -0.5])
def test_exclude_outside_is_onnxruntime(a):
    x = rand(1, 1, 5, 7)
    for size in ((11, 13), (3, 4)):
        truth = ort(x, sizes=size, mode="cubic", exclude_outside=1, cubic_coeff_a=a)
        close(run_op("resize", x, sizes=size, mode="cubic", exclude_outside=True, cubic_a=a)[0], truth)


def test_tf_half_pixel_for_nn():
    """onnxruntime dropped this mode's own formula; TensorFlow 1's half_pixel_centers nearest is floor((i + 0.5) n / out)."""
    x = np.arange(7, dtype=np.float32).reshape(1, 1, 7)
    got = run_op("resize", x, sizes=(3,), coordinates="tf_half_pixel_for_nn", nearest="floor")[0]
    assert got.ravel().tolist() == [1, 3, 5]


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 12), out=st.integers(1, 15), mode=st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_resize_property(n, out, mode):
    name, align, kw = TORCH[mode]
    x = np.random.default_rng(n).standard_normal((1, 2, n, 3)).astype(np.float32)
    truth = F.interpolate(torch.tensor(x), size=(out, 5), mode=name, align_corners=align).numpy()
    np.testing.assert_allclose(run_op("resize", x, sizes=(out, 5), **kw)[0], truth, atol=2e-5)


def test_upsample_nearest_is_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    x = rand(2, 5, 7, 3)
    truth = keras.ops.convert_to_numpy(keras.layers.UpSampling2D((2, 3), data_format="channels_last")(x))
    for run in (run_op, run_body):
        assert np.array_equal(run("upsample_nearest", x, scales=(2, 3), layout="channels_last")[0], truth)


def test_float16_and_integers():
    x = rand(2, 3, 5, 7).astype(np.float16)
    got = run_op("resize", x, sizes=(11, 13), mode="linear")[0]
    truth = F.interpolate(torch.tensor(x.astype(np.float32)), size=(11, 13), mode="bilinear").numpy()
    assert got.dtype == np.float16 and np.abs(got - truth).max() < 2e-3
    i = RNG.integers(0, 255, (2, 3, 5, 7)).astype(np.uint8)
    kw = {"coordinates": "asymmetric", "nearest": "floor"}
    truth = F.interpolate(torch.tensor(i), size=(11, 13), mode="nearest").numpy()
    assert np.array_equal(run_op("resize", i, sizes=(11, 13), **kw)[0], truth)


def test_named_sizes():
    from convcore.build.builder import Builder
    from convcore.ir.dims import Dim
    from convcore.ir.graph import Graph

    b = Builder(Graph())
    x = b.input("x", "float32", (Dim("N"), 3, Dim("H"), Dim("W")))
    assert [str(d) for d in b.resize(x, scales=(2.0, 0.5)).shape] == ["N", "3", "2*H", "W//2"]
    assert b.resize(x, scales=(2.0, 0.7)).shape[3] is None  # floor(0.7 W) in doubles has no exact name
    assert [str(d) for d in b.resize(x, sizes=(Dim("H") * 3, None)).shape] == ["N", "3", "3*H", "W"]


# ---- grid_sample
@pytest.mark.parametrize("mode, theirs", [("linear", "bilinear"), ("nearest", "nearest"), ("cubic", "bicubic")])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_grid_sample_is_torch(mode, theirs, padding, align):
    x, grid = rand(2, 3, 5, 7), RNG.uniform(-2.2, 2.2, (2, 11, 13, 2)).astype(np.float32)
    truth = F.grid_sample(torch.tensor(x), torch.tensor(grid), theirs, padding, align).numpy()
    close(run_op("grid_sample", x, grid, mode=mode, padding=padding, align_corners=align)[0], truth)


@pytest.mark.parametrize("mode, theirs", [("linear", "bilinear"), ("nearest", "nearest")])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_grid_sample_of_volumes_is_torch(mode, theirs, padding, align):
    x, grid = rand(2, 3, 5, 7, 4), RNG.uniform(-1.6, 1.6, (2, 3, 11, 6, 3)).astype(np.float32)
    truth = F.grid_sample(torch.tensor(x), torch.tensor(grid), theirs, padding, align).numpy()
    close(run_op("grid_sample", x, grid, mode=mode, padding=padding, align_corners=align)[0], truth)


def test_grid_sample_on_the_grid_gives_the_image():
    """Also at the very edge, where a rounding beyond the border must not read zeros."""
    x = rand(1, 2, 5, 7)
    ys, xs = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 7), indexing="ij")
    grid = np.stack([xs, ys], -1)[None].astype(np.float32)
    for mode in ("linear", "nearest", "cubic"):
        close(run_op("grid_sample", x, grid, mode=mode, align_corners=True)[0], x, 2e-6)


@pytest.mark.parametrize(
    "kw, why",
    [
        ({}, "needs sizes or scales"),
        ({"sizes": (3,)}, "spatial axes"),
        ({"scales": (0.0, 1.0)}, "positive"),
        ({"scales": (0.1, 1.0)}, "no elements"),
        ({"sizes": (0, 3)}, "positive"),
        ({"sizes": (3, 4), "antialias": True}, "nearest"),
        ({"sizes": (3, 4), "mode": "area"}, "not one of"),
    ],
)
def test_refusals(kw, why):
    with pytest.raises(ShapeError, match=why):
        run_op("resize", rand(2, 3, 5, 7), **kw)


def test_grid_sample_refuses():
    with pytest.raises(ShapeError, match="last axis of grid"):
        run_op("grid_sample", rand(2, 3, 5, 7), rand(2, 3, 4, 3))
    with pytest.raises(ShapeError, match="batch sizes"):
        run_op("grid_sample", rand(2, 3, 5, 7), rand(3, 3, 4, 2))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (3, 1), (5, 7, 2)])
def test_affine_grid_is_torch(size, align):
    d = len(size)
    theta = rand(2, d, d + 1)
    truth = F.affine_grid(torch.tensor(theta), (2, 3, *size), align).numpy()
    close(run_op("affine_grid", theta, size=size, align_corners=align)[0], truth)
