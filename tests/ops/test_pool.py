"""Pooling against PyTorch and onnxruntime."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.errors import ShapeError
from convcore.testing import CheckFailed, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(11)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(a, b, tol=2e-6):
    b = np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def last(x):
    return np.moveaxis(x, 1, -1).copy()


def ort(op, inputs, opset=22, outputs=("y",), **attrs):
    onnx = pytest.importorskip("onnx")
    rt = pytest.importorskip("onnxruntime")
    h, names = onnx.helper, [f"x{i}" for i in range(len(inputs))]
    types = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}
    graph = h.make_graph(
        [h.make_node(op, names, list(outputs), **attrs)],
        "g",
        [h.make_tensor_value_info(n, types[str(a.dtype)], a.shape) for n, a in zip(names, inputs)],
        [h.make_tensor_value_info(o, types["int64" if o == "i" else "float32"], None) for o in outputs],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=10)
    options = rt.SessionOptions()
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = rt.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs)))


GEOMETRIES = [
    ((2, 3, 11, 13), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)}),
    ((2, 3, 11, 13), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 1), "ceil_mode": True}),
    ((2, 3, 10, 7), {"kernel_size": (2, 2), "stride": (3, 4), "padding": (0, 0), "ceil_mode": True}),
    ((2, 3, 17), {"kernel_size": (5,), "stride": (4,), "padding": (2,), "ceil_mode": True}),
    ((1, 2, 5, 7, 11), {"kernel_size": (2, 3, 5), "stride": (1, 2, 3), "padding": (1, 0, 2)}),
]


def attrs_of(kw):
    return {
        "kernel": kw["kernel_size"],
        "strides": kw["stride"],
        "pads": tuple((p, p) for p in kw["padding"]),
        "ceil_mode": "ceil" if kw.get("ceil_mode") else "floor",
    }


@pytest.mark.parametrize("shape, kw", GEOMETRIES)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_max_pool_is_torch(shape, kw, layout):
    x = rand(*shape)
    fn = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(shape) - 2]
    truth, at = (t.numpy() for t in fn(torch.tensor(x), return_indices=True, **kw))
    if layout == "channels_last":
        x, truth, at = last(x), last(truth), last(at)
    assert np.array_equal(run_op("max_pool", x, layout=layout, **attrs_of(kw))[0], truth)
    y, index = run_op("max_pool_with_indices", x, layout=layout, index_order="plane", **attrs_of(kw))
    assert np.array_equal(y, truth) and np.array_equal(index, at)


def test_dilated_max_pool_is_torch():
    x = rand(2, 3, 13, 11)
    truth = F.max_pool2d(torch.tensor(x), (3, 2), (2, 1), (1, 1), (2, 3)).numpy()
    got = run_op("max_pool", x, kernel=(3, 2), strides=(2, 1), pads=((1, 1), (1, 1)), dilations=(2, 3))[0]
    assert np.array_equal(got, truth)


@pytest.mark.parametrize("shape, kw", GEOMETRIES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_avg_pool_is_torch(shape, kw, include, layout):
    x = rand(*shape)
    fn = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(shape) - 2]
    truth = fn(torch.tensor(x), count_include_pad=include, **kw).numpy()
    if layout == "channels_last":
        x, truth = last(x), last(truth)
    close(run_op("avg_pool", x, layout=layout, count_include_pad=include, **attrs_of(kw))[0], truth)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_is_onnxruntime(auto, stride):
    x = rand(2, 3, 12, 7)
    kw = {"kernel": (3, 4), "strides": (stride, stride), "pads": auto.lower()}
    node = {"kernel_shape": [3, 4], "strides": [stride, stride], "auto_pad": auto}
    close(run_op("max_pool", x, **kw)[0], ort("MaxPool", [x], **node)[0])
    close(run_op("avg_pool", x, **kw)[0], ort("AveragePool", [x], **node)[0])


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_asymmetric_average_is_onnxruntime(include, ceil):
    x = rand(2, 3, 12, 7)
    truth = ort(
        "AveragePool", [x], kernel_shape=[3, 4], strides=[2, 3], pads=[1, 0, 2, 3], count_include_pad=include, ceil_mode=ceil
    )[0]
    kw = {"kernel": (3, 4), "strides": (2, 3), "pads": ((1, 2), (0, 3)), "ceil_mode": "ceil" if ceil else "floor"}
    close(run_op("avg_pool", x, count_include_pad=bool(include), **kw)[0], truth)


def test_dilated_average_is_onnxruntime():
    x = rand(2, 3, 13, 11)
    for include in (0, 1):
        truth = ort(
            "AveragePool",
            [x],
            kernel_shape=[3, 2],
            strides=[2, 1],
            dilations=[2, 3],
            pads=[1, 1, 1, 1],
            count_include_pad=include,
        )[0]
        kw = {"kernel": (3, 2), "strides": (2, 1), "dilations": (2, 3), "pads": ((1, 1), (1, 1))}
        close(run_op("avg_pool", x, count_include_pad=bool(include), **kw)[0], truth)


def test_flat_indices_are_onnxruntime():
    x = rand(2, 3, 11, 7)
    truth = ort("MaxPool", [x], outputs=("y", "i"), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    got = run_op("max_pool_with_indices", x, kernel=(3, 2), strides=(2, 2), pads=((1, 1), (0, 1)))
    assert np.array_equal(got[0], truth[0]) and np.array_equal(got[1], truth[1])


def test_equal_elements_give_the_first_index():
    x = np.full((1, 2, 5, 7), -3, np.float32)
    truth = F.max_pool2d(torch.tensor(x), 3, 2, 1, return_indices=True)[1].numpy()
    kw = {"kernel": (3, 3), "strides": (2, 2), "pads": ((1, 1), (1, 1)), "index_order": "plane"}
    assert np.array_equal(run_op("max_pool_with_indices", x, **kw)[1], truth)


def test_minus_infinity_has_an_index_in_the_image():
    x = np.full((1, 1, 4, 5), -np.inf, np.float32)
    _, at = run_op("max_pool_with_indices", x, kernel=(2, 2), strides=(2, 2), pads=((1, 1), (1, 1)))
    assert at.min() >= 0


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool_is_onnxruntime(p):
    x = rand(2, 3, 11, 7)
    truth = ort("LpPool", [x], kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], p=p)[0]
    close(run_op("lp_pool", x, kernel=(3, 2), strides=(2, 3), pads=((1, 1), (0, 1)), p=p)[0], truth)


def test_max_unpool_is_torch():
    x = torch.tensor(rand(2, 3, 10, 9))
    y, at = F.max_pool2d(x, (2, 3), (2, 3), return_indices=True)
    for size in (None, (11, 10)):
        truth = F.max_unpool2d(y, at, (2, 3), (2, 3), output_size=size).numpy()
        attrs = {"kernel": (2, 3), "strides": (2, 3), "output_shape": size, "index_order": "plane"}
        assert np.array_equal(run_op("max_unpool", y.numpy(), at.numpy(), **attrs)[0], truth)


def test_max_unpool_refuses_indices_outside():
    x, at = rand(1, 1, 2), np.asarray([[[1, 4]]])
    with pytest.raises(CheckFailed, match="indices from 1 to 4"):
        run_op("max_unpool", x, at, kernel=(2,), strides=(2,), index_order="plane")


def test_max_unpool_is_onnxruntime():
    x = rand(2, 3, 10, 9)
    y, at = ort("MaxPool", [x], outputs=("y", "i"), kernel_shape=[2, 3], strides=[2, 3])
    truth = ort("MaxUnpool", [y, at], kernel_shape=[2, 3], strides=[2, 3])[0]
    assert np.array_equal(run_op("max_unpool", y, at, kernel=(2, 3), strides=(2, 3))[0], truth)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (11, 2), (3, None), (13, 17)])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_adaptive_pools_are_torch(size, layout):
    x = rand(2, 3, 11, 13)
    for name, fn in (("adaptive_avg_pool", F.adaptive_avg_pool2d), ("adaptive_max_pool", F.adaptive_max_pool2d)):
        truth = fn(torch.tensor(x), size).numpy()
        a = x
        if layout == "channels_last":
            a, truth = last(x), last(truth)
        close(run_op(name, a, output_size=size, layout=layout)[0], truth)


CAFFE = Path(__file__).parents[1] / "data/caffe_conformance"


def caffe(case):
    folder = CAFFE / case
    return np.load(folder / "inputs.npz")["data"], np.load(folder / "outputs.npz")


@pytest.mark.parametrize(
    "case",
    ["ave_ceil_overhang", "ave_pad", "ave_pad_ceil", "max_pad_clip", "rect", "rect_ave", "round_floor",
     "round_floor_ave_pad", "stride_gt_kernel"],
)  # fmt: skip
def test_pool_is_caffe(case):
    """Outputs recorded from Caffe: padding counts in averages, ceil unless FLOOR, ceil_full where nothing is padded."""
    text = (CAFFE / f"Pooling/{case}/deploy.prototxt").read_text()
    found = {
        k: int(v) for k, v in re.findall(r"(kernel_size|kernel_h|kernel_w|stride|stride_h|stride_w|pad|pad_h|pad_w): (\d+)", text)
    }

    def pair(name, h, w, default):
        return tuple(found.get(k, found.get(name, default)) for k in (h, w))

    pads = pair("pad", "pad_h", "pad_w", 0)
    ceil = "floor" if "FLOOR" in text else "ceil" if any(pads) else "ceil_full"
    kw = {
        "kernel": pair("kernel_size", "kernel_h", "kernel_w", 1),
        "strides": pair("stride", "stride_h", "stride_w", 1),
        "pads": tuple((p, p) for p in pads),
        "ceil_mode": ceil,
    }
    x, outputs = caffe(f"Pooling/{case}")
    if "AVE" in text:
        close(run_op("avg_pool", x, count_include_pad=True, **kw)[0], outputs["out"])
    else:
        assert np.array_equal(run_op("max_pool", x, **kw)[0], outputs["out"])


def test_empty_last_window_is_caffe():
    """The average is recorded from Caffe; a maximum keeps Caffe's initial value, -FLT_MAX. torch drops the window."""
    x, outputs = caffe("Pooling/empty_window_ave")
    truth = outputs["out"]
    kw = {"kernel": (1, 1), "strides": (2, 2), "ceil_mode": "ceil_full"}
    z = run_op("avg_pool", x, count_include_pad=True, **kw)[0]
    assert np.isnan(truth).any() and np.array_equal(z, truth, equal_nan=True)
    y = run_op("max_pool", x, **kw)[0]
    empty = np.isnan(truth)
    assert (y[empty] == np.finfo(np.float32).min).all() and np.array_equal(y[~empty], truth[~empty])
    assert run_op("max_pool", x, **(kw | {"ceil_mode": "ceil"}))[0].shape == (1, 1, 3, 3)


def test_max_unpool_is_caffe():
    _, outputs = caffe("MaxUnPool/basic")
    at = outputs["mask"].astype(np.int64)
    kw = {"kernel": (2, 2), "strides": (2, 2), "output_shape": (6, 6), "index_order": "plane"}
    assert np.array_equal(run_op("max_unpool", outputs["p"], at, **kw)[0], outputs["out"])
    y, index = run_op("max_pool_with_indices", outputs["data"], kernel=(2, 2), strides=(2, 2), index_order="plane")
    assert np.array_equal(y, outputs["p"]) and np.array_equal(index, at)


def test_integers_pool():
    x = RNG.integers(-90, 90, (2, 3, 7, 5)).astype(np.int8)
    truth = F.max_pool2d(torch.tensor(x.astype(np.float32)), 3, 2, 1).numpy()
    got = run_op("max_pool", x, kernel=(3, 3), strides=(2, 2), pads=((1, 1), (1, 1)))[0]
    assert got.dtype == np.int8 and np.array_equal(got, truth)


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 9), k=st.integers(1, 4), s=st.integers(1, 4), p=st.integers(0, 2), ceil=st.booleans(), include=st.booleans(),
)  # fmt: skip
def test_pool1d_property(n, k, s, p, ceil, include):
    if p > k // 2 or n + 2 * p < k:
        return
    x = np.random.default_rng(n * 7 + k).standard_normal((2, 3, n)).astype(np.float32)
    kw = {"kernel": (k,), "strides": (s,), "pads": ((p, p),), "ceil_mode": "ceil" if ceil else "floor"}
    t = torch.tensor(x)
    truth = F.max_pool1d(t, k, s, p, ceil_mode=ceil).numpy()
    np.testing.assert_array_equal(run_op("max_pool", x, **kw)[0], truth)
    truth = F.avg_pool1d(t, k, s, p, ceil_mode=ceil, count_include_pad=include).numpy()
    np.testing.assert_allclose(run_op("avg_pool", x, count_include_pad=include, **kw)[0], truth, atol=1e-6)


@pytest.mark.parametrize(
    "name, attrs, why",
    [
        ("max_pool", {"kernel": (3,)}, "spatial axes"),
        ("max_pool", {"kernel": (9, 3)}, "does not fit"),
        ("avg_pool", {"kernel": (2, 2), "ceil_mode": "ceil_full", "pads": "same_upper"}, "ceil_full"),
        ("avg_pool", {"kernel": (2, 2), "pads": ((-1, 0), (0, 0))}, "negative"),
        ("max_pool", {"kernel": (2, 0)}, "positive"),
        ("adaptive_avg_pool", {"output_size": (0, 2)}, "positive"),
    ],
)
def test_refusals(name, attrs, why):
    with pytest.raises(ShapeError, match=why):
        run_op(name, rand(2, 3, 5, 7), **attrs)


BODIES = [
    ("lp_pool", {"kernel": (3, 2), "strides": (2, 3), "pads": ((1, 0), (0, 1)), "ceil_mode": "ceil"}),
    ("lp_pool", {"kernel": (3, 2), "strides": (2, 3), "pads": "same_upper"}),
    ("lp_pool", {"kernel": (3, 2), "strides": (4, 3), "ceil_mode": "ceil_full"}),
    ("im2col", {"kernel": (3, 2), "strides": (2, 1), "pads": ((1, 1), (0, 2)), "dilations": (1, 3)}),
    ("im2col", {"kernel": (3, 2), "strides": (2, 3), "pads": "same_lower"}),
    ("adaptive_avg_pool", {"output_size": (1, None)}),
    ("adaptive_max_pool", {"output_size": (1, 1)}),
    ("group_norm", {"groups": 3, "epsilon": 0.1}),
    ("lrn", {"size": 4, "alpha": 0.5, "beta": 0.7, "bias": 1.0, "axis": 2}),
    ("upsample_nearest", {"scales": (2, 3)}),
]


@pytest.mark.parametrize("name, attrs", BODIES)
def test_a_body_over_named_sizes_runs_at_any_size(name, attrs):
    """Built once for (N, 6, H, W), run at several sizes; the inferred sizes hold at each."""
    from convcore.build.builder import Builder
    from convcore.interpreter.execute import Interpreter
    from convcore.ir.dims import Dim, evaluate
    from convcore.ir.graph import Graph
    from convcore.opset import op

    graph = Graph()
    b = Builder(graph)
    x = b.input("x", "float32", (Dim("N"), 6, Dim("H"), Dim("W")))
    y = b.op(name, x, **attrs)
    graph.outputs = [op(name).body(b, x, **y.producer.attrs), y]
    for shape in ((2, 6, 11, 7), (1, 6, 10, 13), (5, 6, 4, 9)):
        a = rand(*shape)
        truth = run_op(name, a, **attrs)[0]
        sizes = {"N": shape[0], "H": shape[2], "W": shape[3]}
        for v, got in zip(graph.outputs, Interpreter(graph).run([a])):
            close(got, truth, 1e-5)
            assert tuple(evaluate(d, sizes) for d in v.shape) == truth.shape


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("mode", ["floor", "ceil", "ceil_full"])
@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 4), s=st.integers(1, 5), p=st.tuples(st.integers(0, 3), st.integers(0, 3)), n=st.integers(4, 19))
def test_named_sizes_of_windows(name, mode, k, s, p, n):
    from convcore.build.builder import Builder
    from convcore.ir.dims import Dim, evaluate
    from convcore.ir.graph import Graph

    pads = ((0, 0),) if mode == "ceil_full" else (p,)
    attrs = {"kernel": (k,), "strides": (s,), "pads": pads, "ceil_mode": mode}
    b = Builder(Graph())
    v = b.op(name, b.input("x", "float32", (2, 3, Dim("L"))), **attrs)
    assert evaluate(v.shape[2], {"L": n}) == run_op(name, rand(2, 3, n), **attrs)[0].shape[2]
