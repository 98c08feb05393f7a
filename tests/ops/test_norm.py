"""Normalisations against PyTorch, onnxruntime, Keras and recorded Caffe outputs."""

from pathlib import Path

import numpy as np
import pytest

from convcore.errors import ShapeError
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(13)
CAFFE = Path(__file__).parents[1] / "data/caffe_conformance"


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def t(a):
    return None if a is None else torch.tensor(a)


def close(a, b, tol=3e-6):
    b = np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def last(x):
    return np.moveaxis(x, 1, -1).copy()


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
    session = rt.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs)))[0]


def caffe(case):
    folder = CAFFE / case
    return np.load(folder / "inputs.npz")["data"], np.load(folder / "outputs.npz")["out"]


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3), (2, 3, 5), (2, 3, 5, 7, 4)])
@pytest.mark.parametrize("affine", [(True, True), (False, False), (True, False), (False, True)])
def test_batch_norm_is_torch(shape, affine):
    x, mean, var = rand(*shape), rand(3), np.abs(rand(3)) + 0.1
    scale, bias = (rand(3) if k else None for k in affine)
    truth = F.batch_norm(t(x), t(mean), t(var), t(scale), t(bias), eps=1e-3).numpy()
    close(run_op("batch_norm", x, scale, bias, mean, var, epsilon=1e-3, axis=1)[0], truth)
    close(run_op("batch_norm", last(x), scale, bias, mean, var, epsilon=1e-3, axis=-1)[0], last(truth))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_layer_norm_is_torch(k):
    x = rand(2, 3, 5, 7)
    shape = x.shape[-k:]
    scale, bias = rand(*shape), rand(*shape)
    truth = F.layer_norm(t(x), shape, t(scale), t(bias), eps=1e-3).numpy()
    axes = tuple(range(4 - k, 4))
    close(run_op("layer_norm", x, scale, bias, axes=axes, epsilon=1e-3)[0], truth)
    # the parameters follow the order in which the axes are named
    flip = scale.transpose(), bias.transpose()
    close(run_op("layer_norm", x, *flip, axes=axes[::-1], epsilon=1e-3)[0], truth)
    close(run_body("layer_norm", x, *flip, axes=axes[::-1], epsilon=1e-3)[0], truth)


def test_layer_norm_over_an_inner_axis_is_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.LayerNormalization(axis=[1, 3], gamma_initializer="normal", beta_initializer="normal")
    x = rand(2, 3, 5, 7)
    truth = keras.ops.convert_to_numpy(layer(x))
    gamma, beta = layer.get_weights()
    for run in (run_op, run_body):
        close(run("layer_norm", x, gamma, beta, axes=(1, 3), epsilon=layer.epsilon)[0], truth, 1e-5)


def test_rms_norm_is_torch():
    x, scale = rand(2, 3, 5, 7), rand(5, 7)
    truth = F.rms_norm(t(x), (5, 7), t(scale), eps=1e-3).numpy()
    close(run_op("rms_norm", x, scale, axes=(2, 3), epsilon=1e-3)[0], truth)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_is_torch(groups):
    x, scale, bias = rand(2, 6, 5, 7), rand(6), rand(6)
    truth = F.group_norm(t(x), groups, t(scale), t(bias), eps=1e-3).numpy()
    kw = {"groups": groups, "epsilon": 1e-3}
    close(run_op("group_norm", x, scale, bias, axis=1, **kw)[0], truth)
    close(run_op("group_norm", last(x), scale, bias, axis=-1, **kw)[0], last(truth))
    close(run_body("group_norm", last(x), scale, bias, axis=-1, **kw)[0], last(truth))


def test_instance_norm_is_torch():
    x, scale, bias = rand(2, 3, 5, 7), rand(3), rand(3)
    truth = F.instance_norm(t(x), weight=t(scale), bias=t(bias), eps=1e-3).numpy()
    close(run_op("instance_norm", x, scale, bias, epsilon=1e-3, axis=1)[0], truth)
    close(run_op("instance_norm", last(x), scale, bias, epsilon=1e-3, axis=3)[0], last(truth))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_lrn_is_torch_and_onnx(size):
    x = rand(7, 7, 3, 5)  # as many samples as channels: onnx.reference takes the one number for the other
    kw = {"size": size, "alpha": 0.7, "beta": 0.75, "bias": 1.5}
    got = run_op("lrn", x, axis=1, **kw)[0]
    if size % 2:
        close(got, F.local_response_norm(t(x), size, 0.7, 0.75, 1.5).numpy())
        close(got, ort("LRN", [x], **kw))
    reference = pytest.importorskip("onnx.reference")
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("LRN", ["x"], ["y"], **kw)
    close(got, reference.ReferenceEvaluator(node).run(None, {"x": x})[0].astype(np.float32))
    close(run_op("lrn", last(x), axis=-1, **kw)[0], last(got))


@pytest.mark.parametrize("case", ["within", "within_k_ignored"])
def test_lrn_within_is_caffe(case):
    import re

    x, truth = caffe(f"LRN/{case}")
    text = (CAFFE / f"LRN/{case}/deploy.prototxt").read_text()
    find = {k: float(v) for k, v in re.findall(r"(local_size|alpha|beta): ([\d.]+)", text)}
    got = run_op("lrn_within", x, size=int(find["local_size"]), alpha=find.get("alpha", 1.0), beta=find.get("beta", 0.75))
    close(got[0], truth)


def test_lrn_is_caffe():
    for case in ("defaults",):
        x, truth = caffe(f"LRN/{case}")
        close(run_op("lrn", x, size=5, alpha=1.0, beta=0.75, bias=1.0, axis=1)[0], truth)


def test_l2_normalize_is_caffe():
    """SSD's Normalize over all of an image; its one trained scale (in the caffemodel) is a common factor."""
    x, truth = caffe("Normalize/across_spatial")
    got = run_op("l2_normalize", x, axes=(1, 2, 3), epsilon=1e-10, mode="add_square")[0]
    scale = np.vdot(truth, got) / np.vdot(got, got)
    close(got * scale, truth)


def test_l2_normalize():
    x = rand(2, 3, 5) * 0.3
    x[0, 0] = 0
    close(run_op("l2_normalize", x, axes=(2,), epsilon=0.5, mode="max_norm")[0], F.normalize(t(x), eps=0.5, dim=2).numpy())
    x2 = np.abs(x) + 0.1
    truth = x2 / np.sqrt((x2.astype(np.float64) ** 2).sum((1, 2), keepdims=True) + 0.25)
    close(run_op("l2_normalize", x2, axes=(1, 2), epsilon=0.25, mode="add_square")[0], truth.astype(np.float32))


def test_l2_normalize_is_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    x = rand(2, 3, 5)
    truth = keras.ops.convert_to_numpy(keras.layers.UnitNormalization(axis=(1, 2))(x))
    close(run_op("l2_normalize", x, axes=(1, 2), epsilon=1e-12)[0], truth)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalize_is_onnxruntime(p):
    x = rand(2, 3, 5)
    x[1, :, 2] = 0
    truth = ort("LpNormalization", [x], axis=1, p=p)
    for run in (run_op, run_body):
        close(run("lp_normalize", x, axis=1, p=p)[0], truth)


def test_mean_variance_norm_is_onnxruntime():
    x = rand(2, 3, 5, 7)
    truth = ort("MeanVarianceNormalization", [x], opset=13, axes=[0, 2, 3])
    close(run_op("mean_variance_norm", x, axes=(0, 2, 3), epsilon=1e-9)[0], truth)


@pytest.mark.parametrize("case", sorted(p.name for p in (CAFFE / "MVN").iterdir()) if (CAFFE / "MVN").exists() else [])
def test_mean_variance_norm_is_caffe(case):
    import re

    text = (CAFFE / "MVN" / case / "deploy.prototxt").read_text()
    x, truth = caffe(f"MVN/{case}")
    if x.shape != truth.shape:
        pytest.skip("Caffe makes the result four-dimensional: the loader's business")
    eps = re.search(r"eps: ([\d.e-]+)", text)
    axes = (1, 2, 3) if "across_channels: true" in text else (2, 3)
    kw = {"epsilon": float(eps[1]) if eps else 1e-9, "normalize_variance": "normalize_variance: false" not in text}
    close(run_op("mean_variance_norm", x, axes=axes, **kw)[0], truth, 1e-5)


def test_float16_statistics_are_float32():
    x = (rand(2, 3, 257) * 30 + 40).astype(np.float16)
    got = run_op("layer_norm", x, axes=(2,), epsilon=1e-3)[0]
    truth = F.layer_norm(torch.tensor(x.astype(np.float32)), (257,), eps=1e-3).numpy()
    assert got.dtype == np.float16 and np.abs(got - truth).max() < 2e-3


@pytest.mark.parametrize(
    "name, params, attrs, why",
    [
        ("batch_norm", [(4,), (3,), (3,), (3,)], {"epsilon": 0.1}, "scale and axis 1"),
        ("layer_norm", [(7,), (7,)], {"axes": (1,), "epsilon": 0.1}, "scale and axis 1"),
        ("layer_norm", [(3, 5)], {"axes": (1,), "epsilon": 0.1}, "one for each of axes"),
        ("group_norm", [], {"groups": 2, "epsilon": 0.1}, "3 channels do not divide into 2 groups"),
        ("group_norm", [], {"groups": 2, "epsilon": 0.1, "axis": 0}, "axis 0 is the batch"),
        ("lrn_within", [], {"size": 2, "alpha": 1.0, "beta": 0.5}, "odd"),
        ("lrn", [], {"size": 0, "alpha": 1.0, "beta": 0.5, "bias": 1.0}, "positive"),
    ],
)
def test_refusals(name, params, attrs, why):
    with pytest.raises(ShapeError, match=why):
        run_op(name, rand(2, 3, 5, 7), *(rand(*p) for p in params), **attrs)
