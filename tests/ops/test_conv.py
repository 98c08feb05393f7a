"""Convolutions against PyTorch and onnxruntime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.errors import ShapeError
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(7)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(a, b, tol=2e-6):
    b = np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def last(x):
    return np.moveaxis(x, 1, -1).copy()


CONVS = [
    ((2, 3, 11, 13), (5, 3, 3, 2), {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}),
    ((2, 6, 11, 7), (9, 2, 3, 5), {"groups": 3, "padding": (2, 1)}),
    ((2, 5, 11, 7), (10, 1, 3, 2), {"groups": 5, "stride": (1, 2)}),
    ((2, 5, 11, 7), (5, 1, 3, 3), {"groups": 5, "padding": 1, "dilation": 2}),
    ((2, 3, 17), (7, 3, 5), {"stride": 2, "padding": 2}),
    ((1, 2, 5, 7, 11), (3, 2, 2, 3, 5), {"stride": (1, 2, 3), "padding": (1, 0, 2)}),
    ((3, 13, 5, 7), (11, 13, 1, 1), {}),
]


def attrs_of(x, kw):
    d = len(x) - 2
    many = {k: (v,) * d if isinstance(v, int) else v for k, v in kw.items() if k != "groups"}
    out = {"groups": kw.get("groups", 1)}
    out["strides"] = many.get("stride", (1,) * d)
    out["dilations"] = many.get("dilation", (1,) * d)
    out["pads"] = tuple((p, p) for p in many.get("padding", (0,) * d))
    return out


@pytest.mark.parametrize("x, w, kw", CONVS)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_conv_is_torch(x, w, kw, layout):
    a, k, b = rand(*x), rand(*w), rand(w[0])
    fn = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(x) - 2]
    truth = fn(torch.tensor(a), torch.tensor(k), torch.tensor(b), **kw).numpy()
    if layout == "channels_last":
        a, truth = last(a), last(truth)
    close(run_op("conv", a, k, b, layout=layout, **attrs_of(x, kw))[0], truth)


def test_conv_in_blocks(monkeypatch):
    """The bounded workspace: many small blocks give the numbers of one large one."""
    from convcore.ops import convolve

    x, w = rand(2, 3, 23, 19), rand(5, 3, 4, 3)
    kw = {"strides": (3, 2), "dilations": (2, 1), "pads": ((1, 2), (0, 1))}
    whole = [run_op("conv", x, w, **kw)[0], run_op("conv", last(x), w, layout="channels_last", **kw)[0]]
    monkeypatch.setattr(convolve, "WORKSPACE", 2500)
    close(run_op("conv", x, w, **kw)[0], whole[0])
    close(run_op("conv", last(x), w, layout="channels_last", **kw)[0], whole[1])


def test_float16_accumulates_in_float32():
    x, w = rand(1, 64, 9, 7).astype(np.float16), rand(3, 64, 3, 3).astype(np.float16)
    got = run_op("conv", x, w)[0]
    truth = F.conv2d(torch.tensor(x.astype(np.float32)), torch.tensor(w.astype(np.float32))).numpy()
    assert got.dtype == np.float16
    assert np.array_equal(got, truth.astype(np.float16)) or np.abs(got - truth).max() < 2e-3 * np.abs(truth).max()


def ort(op, inputs, opset=22, **attrs):
    onnx = pytest.importorskip("onnx")
    rt = pytest.importorskip("onnxruntime")
    h, names = onnx.helper, [f"x{i}" for i in range(len(inputs))]
    graph = h.make_graph(
        [h.make_node(op, names, ["y"], **attrs)],
        "g",
        [h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, a.shape) for n, a in zip(names, inputs)],
        [h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=10)
    options = rt.SessionOptions()
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = rt.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs)))[0]


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", [(11, 13), (12, 7), (3, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_is_onnxruntime(auto, size, stride):
    x, w = rand(2, 3, *size), rand(5, 3, 4, 3)
    truth = ort("Conv", [x, w], auto_pad=auto, strides=[stride, stride])
    close(run_op("conv", x, w, strides=(stride, stride), pads=auto.lower())[0], truth)


def test_asymmetric_pads_are_onnxruntime():
    x, w, b = rand(2, 3, 11, 7), rand(5, 3, 4, 3), rand(5)
    truth = ort("Conv", [x, w, b], pads=[1, 0, 2, 1], strides=[2, 1])
    close(run_op("conv", x, w, b, strides=(2, 1), pads=((1, 2), (0, 1)))[0], truth)


TRANSPOSED = [
    ((2, 3, 7, 5), (3, 11, 4, 3), {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1)}),
    ((2, 6, 7, 5), (6, 5, 3, 2), {"groups": 3, "stride": 2, "dilation": (2, 1)}),
    ((2, 3, 11), (3, 5, 4), {"stride": 5, "padding": 1}),
    ((1, 2, 3, 5, 7), (2, 3, 2, 3, 4), {"stride": (1, 2, 3)}),
]


@pytest.mark.parametrize("x, w, kw", TRANSPOSED)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_conv_transpose_is_torch(x, w, kw, layout):
    a, k = rand(*x), rand(*w)
    b = rand(w[1] * kw.get("groups", 1))
    fn = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[len(x) - 2]
    truth = fn(torch.tensor(a), torch.tensor(k), torch.tensor(b), **kw).numpy()
    if layout == "channels_last":
        a, truth = last(a), last(truth)
    attrs = attrs_of(x, kw)
    got = run_op("conv_transpose", a, k, b, layout=layout, output_padding=kw.get("output_padding"), **attrs)[0]
    close(got, truth)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("kernel, stride", [((4, 3), 2), ((5, 4), 3), ((3, 7), 1), ((3, 3), 2)])
def test_conv_transpose_same_is_onnxruntime(auto, kernel, stride):
    x, w = rand(2, 3, 7, 5), rand(3, 2, *kernel)
    truth = ort("ConvTranspose", [x, w], auto_pad=auto, strides=[stride, stride])
    close(run_op("conv_transpose", x, w, strides=(stride, stride), pads=auto.lower())[0], truth)


def test_conv_transpose_same_with_a_kernel_below_the_stride_is_keras(monkeypatch):
    """The result has input * stride elements, as ONNX says too; onnxruntime 1.31 leaves the zeros at the end out."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.Conv1DTranspose(5, 2, strides=3, padding="same", data_format="channels_last")
    x = rand(2, 7, 3)
    truth = keras.ops.convert_to_numpy(layer(x))
    kernel = layer.get_weights()[0]  # (k, out, in)
    got = run_op("conv_transpose", x, kernel.transpose(2, 1, 0), strides=(3,), pads="same_upper", layout="channels_last")
    assert truth.shape == (2, 21, 5)
    close(got[0], truth)


def test_conv_transpose_output_shape_is_onnxruntime():
    x, w = rand(2, 3, 7, 5), rand(3, 2, 4, 3)
    for auto, mine in (("NOTSET", None), ("SAME_UPPER", "same_upper")):
        truth = ort("ConvTranspose", [x, w], auto_pad=auto, strides=[3, 2], output_shape=[19, 10])
        close(run_op("conv_transpose", x, w, strides=(3, 2), pads=mine, output_shape=(19, 10))[0], truth)


def test_separable_conv_is_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.SeparableConv2D(
        5, (3, 2), strides=2, padding="same", depth_multiplier=2, data_format="channels_last", bias_initializer="normal"
    )
    x = rand(2, 11, 13, 3)
    truth = keras.ops.convert_to_numpy(layer(x))
    dw, pw, b = layer.get_weights()  # (kh, kw, C, m), (1, 1, C*m, O)
    dw = dw.transpose(2, 3, 0, 1).reshape(6, 1, 3, 2)
    got = run_op("separable_conv", x, dw, pw.transpose(3, 2, 0, 1), b, strides=(2, 2), pads="same_upper", layout="channels_last")
    close(got[0], truth)


def test_im2col_is_torch_unfold():
    x = rand(2, 3, 11, 7)
    truth = F.unfold(torch.tensor(x), (3, 2), dilation=(1, 3), padding=(1, 2), stride=(2, 1)).numpy()
    got = run_op("im2col", x, kernel=(3, 2), dilations=(1, 3), pads=((1, 1), (2, 2)), strides=(2, 1))[0]
    assert np.array_equal(got.reshape(truth.shape), truth)


def test_im2col_is_caffe():
    from pathlib import Path

    folder = Path(__file__).parents[1] / "data/caffe_conformance/Im2col"
    cases = {
        "basic": {"kernel": (3, 3), "pads": ((1, 1), (1, 1)), "strides": (2, 2)},
        "dilation_rect": {"kernel": (2, 3), "dilations": (2, 2)},
    }
    for case, kw in cases.items():
        x, truth = np.load(folder / case / "inputs.npz")["data"], np.load(folder / case / "outputs.npz")["out"]
        for run in (run_op, run_body):
            assert np.array_equal(run("im2col", x, **kw)[0], truth)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 9), k=st.integers(1, 4), s=st.integers(1, 3), d=st.integers(1, 3), p=st.integers(0, 3),
    g=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_conv1d_property(n, k, s, d, p, g, seed):
    """Any geometry agrees with torch, or is refused where torch refuses."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 2 * g, n)).astype(np.float32)
    w = rng.standard_normal((3 * g, 2, k)).astype(np.float32)
    kw = {"strides": (s,), "dilations": (d,), "pads": ((p, p),), "groups": g}
    if n + 2 * p < d * (k - 1) + 1:
        with pytest.raises(ShapeError, match="does not fit"):
            run_op("conv", x, w, **kw)
        return
    truth = F.conv1d(torch.tensor(x), torch.tensor(w), stride=s, dilation=d, padding=p, groups=g).numpy()
    np.testing.assert_allclose(run_op("conv", x, w, **kw)[0], truth, atol=1e-5)


@pytest.mark.parametrize(
    "x, w, kw, why",
    [
        ((2, 3, 5, 7), (5, 4, 3, 3), {}, "channels of x and w"),
        ((2, 3, 5, 7), (5, 3, 3), {}, "axes"),
        ((2, 4, 5, 7), (5, 2, 3, 3), {"groups": 2}, "5 filters do not divide into 2 groups"),
        ((2, 3, 5, 7), (5, 3, 7, 3), {}, "a window of 7 does not fit"),
        ((2, 3, 5, 7), (5, 3, 3, 3), {"strides": (1,)}, "spatial axes"),
        ((2, 3, 5, 7), (5, 3, 3, 3), {"strides": (0, 1)}, "must be positive"),
    ],
)
def test_refusals(x, w, kw, why):
    with pytest.raises(ShapeError, match=why):
        run_op("conv", rand(*x), rand(*w), **kw)


def test_transpose_refuses_two_sizes():
    with pytest.raises(ShapeError, match="output_shape goes with"):
        run_op("conv_transpose", rand(2, 3, 5), rand(3, 2, 3), pads=((1, 1),), output_shape=(5,))


def test_mixed_dtypes_are_refused():
    with pytest.raises(ShapeError, match="different dtypes: x float16, w float32"):
        run_op("conv", rand(2, 3, 5).astype(np.float16), rand(2, 3, 3))


def test_a_batch_of_none():
    """numpy cannot tell the rest of a shape that holds a 0."""
    (y,) = run_op("conv_transpose", np.zeros((0, 3, 5), np.float32), rand(3, 7, 2), strides=(2,))
    assert y.shape == (0, 7, 10)
    x = np.zeros((0, 3, 2), np.float32)
    (y,) = run_op("max_unpool", x, x.astype(np.int64), kernel=(2,), strides=(2,), pads=((0, 0),))
    assert y.shape == (0, 3, 4)
    for name in ("softmax", "log_softmax"):
        assert run_op(name, np.zeros((2, 0, 3), np.float32), axis=1)[0].shape == (2, 0, 3)
