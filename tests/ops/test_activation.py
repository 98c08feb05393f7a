"""Activations against PyTorch, Keras and onnxruntime, extreme inputs included."""

import os

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.graph import Graph
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(7)
X = (RNG.standard_normal((3, 6, 7)) * 3).astype(np.float32)
WIDE = np.array([0.0, 1e-4, 0.5, 1.0, 3.0, 6.0, 20.0, 87.0, 200.0, 1e4], np.float32)
WIDE = np.concatenate([WIDE, -WIDE])


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


TORCH = [
    ("relu", {}, F.relu),
    ("sigmoid", {}, torch.sigmoid),
    ("softplus", {}, F.softplus),
    ("softsign", {}, F.softsign),
    ("leaky_relu", {"alpha": 0.3}, lambda x: F.leaky_relu(x, 0.3)),
    ("elu", {"alpha": 0.7}, lambda x: F.elu(x, 0.7)),
    ("selu", {}, F.selu),
    ("celu", {"alpha": 1.7}, lambda x: F.celu(x, 1.7)),
    ("gelu", {"approximate": "none"}, F.gelu),
    ("gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    ("silu", {}, F.silu),
    ("mish", {}, F.mish),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}, F.hardsigmoid),
    ("hard_swish", {}, F.hardswish),
    ("log_sigmoid", {}, F.logsigmoid),
    ("hard_shrink", {"lambd": 0.5}, F.hardshrink),
    ("soft_shrink", {"lambd": 0.5}, F.softshrink),
    ("tanh_shrink", {}, F.tanhshrink),
    ("thresholded_relu", {"alpha": 1.0}, lambda x: F.threshold(x, 1.0, 0.0)),
]


@pytest.mark.parametrize(("name", "attrs", "truth"), TORCH, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(TORCH)])
@pytest.mark.parametrize("x", [X, WIDE], ids=["usual", "wide"])
def test_against_torch(name, attrs, truth, x):
    want = truth(torch.from_numpy(x.copy())).numpy()
    y = run_op(name, x, **attrs)[0]
    assert y.dtype == np.float32 and np.isfinite(y).all()
    np.testing.assert_allclose(y, want, rtol=2e-6, atol=1e-6)


BODIES = [
    "softsign",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "hard_sigmoid",
    "hard_swish",
    "hard_shrink",
    "soft_shrink",
]


@pytest.mark.parametrize(("name", "attrs", "truth"), [t for t in TORCH if t[0] in BODIES])
def test_bodies_against_torch(name, attrs, truth):
    np.testing.assert_allclose(run_body(name, X, **attrs)[0], truth(torch.from_numpy(X)).numpy(), rtol=2e-6, atol=1e-6)


def test_gelu_is_accurate_far_out():
    """x * Phi(x) in float64 rounded once, where 1 + erf(x / sqrt 2) in float32 has nothing left."""
    x = np.array([-3.0, -5.0, -5.5], np.float32)
    want = F.gelu(torch.from_numpy(x.astype(np.float64))).numpy()
    np.testing.assert_allclose(run_op("gelu", x, approximate="none")[0], want, rtol=3e-7)


def test_float16_and_float64_stay():
    for dtype in ("float16", "float64"):
        for name, attrs in (("sigmoid", {}), ("gelu", {"approximate": "none"}), ("elu", {}), ("softmax", {"axis": 1})):
            assert run_op(name, X.astype(dtype), **attrs)[0].dtype == dtype
    x = X.astype(np.float64)
    np.testing.assert_allclose(
        run_op("gelu", x, approximate="none")[0], F.gelu(torch.from_numpy(x)).numpy(), rtol=1e-13, atol=1e-15
    )


KERAS = [
    ("squareplus", {"b": 4.0}, lambda k, x: k.activations.squareplus(x, b=4)),
    ("sparse_plus", {}, lambda k, x: k.activations.sparse_plus(x)),
    ("sparse_sigmoid", {}, lambda k, x: k.activations.sparse_sigmoid(x)),
    ("sparsemax", {"axis": 1, "tau": "keras"}, lambda k, x: k.activations.sparsemax(x, axis=1)),
    ("sparsemax", {"axis": -1, "tau": "keras"}, lambda k, x: k.activations.sparsemax(x, axis=-1)),
    ("glu", {"axis": 1}, lambda k, x: k.activations.glu(x, axis=1)),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}, lambda k, x: k.activations.hard_sigmoid(x)),
    ("selu", {}, lambda k, x: k.activations.selu(x)),
    ("hard_swish", {}, lambda k, x: k.activations.hard_silu(x)),
    ("softmax", {"axis": 1}, lambda k, x: k.activations.softmax(x, axis=1)),
    ("mish", {}, lambda k, x: k.activations.mish(x)),
]


@pytest.mark.parametrize(("name", "attrs", "truth"), KERAS, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(KERAS)])
def test_against_keras(keras, name, attrs, truth):
    want = keras.ops.convert_to_numpy(truth(keras, keras.ops.convert_to_tensor(X)))
    np.testing.assert_allclose(run_op(name, X, **attrs)[0], want, rtol=2e-6, atol=1e-6)
    if name in ("squareplus", "sparse_plus", "sparsemax", "glu"):
        np.testing.assert_allclose(run_body(name, X, **attrs)[0], want, rtol=2e-6, atol=1e-6)


ONNX = [
    ("shrink", {"lambd": 0.4, "bias": 0.3}, "Shrink", {"lambd": 0.4, "bias": 0.3}),
    ("thresholded_relu", {"alpha": 0.7}, "ThresholdedRelu", {"alpha": 0.7}),
    ("selu", {"alpha": 1.3, "gamma": 0.7}, "Selu", {"alpha": 1.3, "gamma": 0.7}),
    ("elu", {"alpha": 1.3}, "Elu", {"alpha": 1.3}),
    ("celu", {"alpha": 1.3}, "Celu", {"alpha": 1.3}),
    ("hard_sigmoid", {"alpha": 0.21, "beta": 0.4}, "HardSigmoid", {"alpha": 0.21, "beta": 0.4}),
    ("hardmax", {"axis": 1}, "Hardmax", {"axis": 1}),
    ("log_softmax", {"axis": -1}, "LogSoftmax", {"axis": -1}),
    ("softmax", {"axis": 1}, "Softmax", {"axis": 1}),
]


@pytest.mark.parametrize(("name", "attrs", "op", "theirs"), ONNX, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(ONNX)])
def test_against_onnxruntime(onnx_run, name, attrs, op, theirs):
    want = onnx_run(op, [X], **theirs)[0]
    np.testing.assert_allclose(run_op(name, X, **attrs)[0], want, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(run_body(name, X, **attrs)[0], want, rtol=2e-6, atol=1e-6)


def test_hardmax_takes_the_first_of_equals(onnx_run):
    x = np.array([[3, 1, 3], [2, 2, 2]], np.float32)
    np.testing.assert_array_equal(run_op("hardmax", x, axis=1)[0], onnx_run("Hardmax", [x], axis=1)[0])


def test_softmax_of_huge_inputs():
    x = X * 1e4
    t = torch.from_numpy(x)
    np.testing.assert_allclose(run_op("softmax", x, axis=1)[0], F.softmax(t, 1).numpy(), atol=1e-7)
    np.testing.assert_allclose(run_op("log_softmax", x, axis=1)[0], F.log_softmax(t, 1).numpy(), rtol=1e-6)


def test_sparsemax_is_the_projection_onto_the_simplex():
    """Optimality: non-negative, sums to 1, and x - y is the same where y > 0 and no larger elsewhere."""
    for y in (run_op("sparsemax", X, axis=1, tau="exact")[0], run_body("sparsemax", X, axis=1, tau="exact")[0]):
        assert (y >= 0).all()
        np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
        gap = X - y
        tau = np.where(y > 0, gap, -np.inf).max(1, keepdims=True)
        np.testing.assert_allclose(np.where(y > 0, gap, tau), np.broadcast_to(tau, X.shape), rtol=1e-5, atol=1e-5)
        assert (gap <= tau + 1e-5).all()


def test_swish_and_threshold():
    t = torch.from_numpy(X)
    np.testing.assert_allclose(run_op("swish", X, beta=1.7)[0], (t * torch.sigmoid(1.7 * t)).numpy(), rtol=3e-6, atol=1e-6)
    y = run_op("threshold", X, value=0.3)[0]
    np.testing.assert_array_equal(y, (t > 0.3).float().numpy())


@pytest.mark.parametrize("shape", [(6, 1), (1,), (7,), (1, 1, 1)])
def test_prelu(onnx_run, shape):
    slope = RNG.standard_normal(shape).astype(np.float32)
    want = onnx_run("PRelu", [X, slope])[0]
    np.testing.assert_allclose(run_op("prelu", X, slope)[0], want, rtol=1e-6)
    np.testing.assert_allclose(run_body("prelu", X, slope)[0], want, rtol=1e-6)


def test_refusals():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 3))
    with pytest.raises(ShapeError, match="slope"):
        b.prelu(x, b.input("s", "float32", (5, 1, 3)))
    with pytest.raises(ShapeError, match="odd"):
        b.glu(x, axis=1)
    with pytest.raises(ShapeError, match="alpha"):
        b.celu(x, alpha=0)
    with pytest.raises(ShapeError, match="needs the attribute"):
        b.leaky_relu(x)
    with pytest.raises(ShapeError, match="not one of"):
        b.gelu(x, approximate="fast")
