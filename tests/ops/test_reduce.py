"""Reductions, running sums, argmax, sorting against PyTorch, onnxruntime and onnx's reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(13)
X = RNG.standard_normal((3, 5, 7)).astype(np.float32)
AXES = [((1,), False), ((0, 2), True), ((-1,), True), (None, False), (None, True), ((2, 1, 0), False)]
TIES = RNG.integers(0, 4, (5, 11)).astype(np.float32)

ONNX = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "logsumexp": "ReduceLogSumExp",
    "sum_square": "ReduceSumSquare", "l1_norm": "ReduceL1", "l2_norm": "ReduceL2", "log_sum": "ReduceLogSum",
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
@pytest.mark.parametrize(("axes", "keepdims"), AXES)
def test_reductions(onnx_run, name, axes, keepdims):
    x = np.abs(X) if name == "log_sum" else X
    given_axes = None if axes is None else np.array(axes, np.int64)
    want = onnx_run(ONNX[name], [x] if axes is None else [x, given_axes], keepdims=int(keepdims))[0]
    runs = [run_op] if name in ("sum", "mean", "max", "min", "prod") else [run_op, run_body]
    for run in runs:
        y = run(name, x, axes=axes, keepdims=keepdims)[0]
        assert y.shape == want.shape and y.dtype == want.dtype
        np.testing.assert_allclose(y, want, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers(onnx_run, name, dtype):
    x = RNG.integers(-5, 6, (3, 5)).astype(dtype)
    want = onnx_run(ONNX[name], [x, np.array([1])], keepdims=0)[0]
    np.testing.assert_array_equal(run_op(name, x, axes=(1,))[0], want)


def test_any_and_all():
    x = RNG.random((3, 5, 7)) < 0.2
    t = torch.from_numpy(x)
    np.testing.assert_array_equal(run_op("any", x, axes=(1,))[0], t.any(1).numpy())
    np.testing.assert_array_equal(run_op("all", ~x, axes=(2,), keepdims=True)[0], (~t).all(2, keepdim=True).numpy())


def test_mean_of_integers_rounds_towards_zero():
    x = np.array([[-7, 2], [7, -2]], np.int32)
    y = run_op("mean", x, axes=(1,))[0]
    assert y.dtype == np.int32 and y.tolist() == [-2, 2]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "logsumexp"])
def test_of_nothing(onnx_run, name):
    x = np.zeros((2, 0, 3), np.float32)
    want = onnx_run(ONNX[name], [x, np.array([1])], keepdims=0, runtime="reference")[0]
    np.testing.assert_array_equal(run_op(name, x, axes=(1,))[0], want)


@pytest.mark.parametrize("name", ["max", "min"])
def test_not_a_number_wins(name):
    x = np.array([[1, np.nan, 3], [4, 5, 6]], np.float32)
    np.testing.assert_array_equal(run_op(name, x, axes=(1,))[0], getattr(torch, f"a{name}")(torch.from_numpy(x), 1).numpy())


@pytest.mark.parametrize("values", [[1e4, 1e4 + 1], [-np.inf, -np.inf], [np.inf, 1], [-1e4, -1e4]])
def test_logsumexp_does_not_overflow(values):
    x = np.array([values], np.float32)
    want = torch.logsumexp(torch.from_numpy(x), 1).numpy()
    np.testing.assert_allclose(run_op("logsumexp", x, axes=(1,))[0], want, rtol=1e-6)
    np.testing.assert_allclose(run_body("logsumexp", x, axes=(1,))[0], want, rtol=1e-6)


@pytest.mark.parametrize("ddof", [0, 1, 2])
@pytest.mark.parametrize(("axes", "keepdims"), AXES)
def test_spread(axes, keepdims, ddof):
    t = torch.from_numpy(X)
    for name, fn in (("variance", torch.var), ("std", torch.std)):
        want = fn(t, dim=axes, correction=ddof, keepdim=keepdims).numpy()
        for run in (run_op, run_body):
            np.testing.assert_allclose(run(name, X, axes=axes, keepdims=keepdims, ddof=ddof)[0], want, rtol=3e-6)


def test_variance_of_named_sizes_keeps_ddof():
    b = Builder(Graph())
    x = b.input("x", "float32", (Dim("N"), 5))
    assert b.variance(x, axes=(0,), ddof=1).shape == (5,)
    assert b.mean(x, axes=(1,), keepdims=True).shape == (Dim("N"), 1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg(onnx_run, name, keepdims, last):
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[name]
    for x in (TIES, X):
        want = onnx_run(op, [x], axis=1, keepdims=int(keepdims), select_last_index=int(last))[0]
        y = run_op(name, x, axis=1, keepdims=keepdims, last=last)[0]
        assert y.dtype == want.dtype
        np.testing.assert_array_equal(y, want)
    assert run_op(name, X, axis=0, dtype="int32")[0].dtype == np.int32


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumsum(onnx_run, axis, reverse, exclusive):
    want = onnx_run("CumSum", [X, np.array(axis)], reverse=int(reverse), exclusive=int(exclusive))[0]
    np.testing.assert_allclose(
        run_op("cumsum", X, axis=axis, reverse=reverse, exclusive=exclusive)[0], want, rtol=1e-5, atol=1e-6
    )


def test_cumprod():
    np.testing.assert_allclose(run_op("cumprod", X, axis=1)[0], torch.cumprod(torch.from_numpy(X), 1).numpy(), rtol=1e-5)
    y = run_op("cumprod", X, axis=1, exclusive=True, reverse=True)[0]
    t = torch.cumprod(torch.from_numpy(X).flip(1), 1).flip(1).numpy()
    np.testing.assert_allclose(y[:, :-1], t[:, 1:], rtol=1e-5)
    assert (y[:, -1] == 1).all()


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("x", "axis"), [(TIES, 1), (TIES, 0), (X, 1), (RNG.integers(-9, 9, (5, 7)), 1)])
def test_topk(onnx_run, x, axis, largest):
    want = onnx_run("TopK", [x, np.array([4])], outputs=2, axis=axis, largest=int(largest), sorted=1)
    for y, t in zip(run_op("topk", x, k=4, axis=axis, largest=largest), want):
        np.testing.assert_array_equal(y, t)


@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable(descending):
    x = TIES.copy()
    x[1, 3] = np.nan
    want = torch.sort(torch.from_numpy(x), dim=1, descending=descending, stable=True)
    np.testing.assert_array_equal(run_op("sort", x, axis=1, descending=descending)[0], want.values.numpy())
    np.testing.assert_array_equal(run_op("argsort", x, axis=1, descending=descending)[0], want.indices.numpy())
    np.testing.assert_array_equal(run_body("argsort", x, axis=1, descending=descending)[0], want.indices.numpy())


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(-3, 3)), st.booleans(), st.data()
)
def test_topk_takes_the_lowest_index_of_equals(x, largest, data):
    k = data.draw(st.integers(0, x.shape[1]))
    values, indices = run_op("topk", x, k=k, axis=1, largest=largest)
    for row, v, i in zip(x.tolist(), values.tolist(), indices.tolist()):
        want = sorted(range(len(row)), key=lambda j: (-row[j] if largest else row[j], j))[:k]
        assert i == want and v == [row[j] for j in want]


def test_refusals():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 3))
    with pytest.raises(ShapeError, match="twice"):
        b.sum(x, axes=(1, -1))
    with pytest.raises(ShapeError, match="out of range"):
        b.max(x, axes=(2,))
    with pytest.raises(ShapeError, match="k=4 of 3"):
        b.topk(x, k=4)
    with pytest.raises(ShapeError, match="must be float"):
        b.logsumexp(b.input("i", "int32", (3,)))
