"""Slices, gathers, scatters and masks against numpy's indexing, PyTorch and onnxruntime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.interpreter import run
from convcore.ir.dims import Dim, evaluate
from convcore.ir.graph import Graph
from convcore.ops.indexing import range_size
from convcore.testing import CheckFailed, run_op

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(23)
X = RNG.standard_normal((2, 7, 5)).astype(np.float32)
T = torch.from_numpy(X)
N = Dim("N")

bounds = st.one_of(st.none(), st.integers(-12, 12), st.sampled_from([2**31 - 1, 2**63 - 1, -(2**31), -(2**63)]))
steps = st.integers(-4, 4).filter(bool)


def same(a, b):
    b = np.asarray(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 9), bounds, bounds, steps, st.booleans())
def test_slice_is_pythons(n, start, stop, step, named):
    """The result and its inferred size, of an axis of known or named size, are those of a list slice."""
    if named:
        n = max(n, 1)  # named sizes are at least 1
    want = list(range(n))[slice(start, stop, step)]
    b = Builder(Graph())
    x = b.input("x", "int64", (N if named else n,))
    start = (0 if step > 0 else -1) if start is None else start
    y = b.slice(x, starts=(start,), stops=(stop,), steps=(step,))
    b.graph.outputs = [y]
    got = run(b.graph, np.arange(n))[0]
    assert got.tolist() == want
    assert evaluate(y.shape[0], {"N": n}) == len(want)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 12), st.integers(1, 3))
def test_slice_between_named_bounds(n, i, j, step):
    size = range_size(N, Dim("I") + i, Dim("J") + j, step)
    env = {"N": n, "I": 1, "J": 1}
    assert evaluate(size, env) == len(range(n)[1 + i : 1 + j : step])


def test_slices_of_named_axes_stay_simple():
    b = Builder(Graph())
    x = b.input("x", "float32", (N, Dim("T"), 5))
    whole = {"starts": (0, 0, 0), "stops": (None, None, None), "steps": (1, 1, 1)}
    assert b.slice(x, **whole).shape == (N, Dim("T"), 5)
    assert b.slice(x, **{**whole, "starts": (0, 1, 0)}).shape == (N, Dim("T") - 1, 5)
    assert b.slice(x, **{**whole, "starts": (0, -1, 0)}).shape == (N, 1, 5)
    assert b.slice(x, **{**whole, "stops": (None, 1, None)}).shape == (N, 1, 5)
    assert b.slice(x, **{**whole, "stops": (None, -1, 3)}).shape == (N, Dim("T") - 1, 3)
    assert b.slice(x, **{**whole, "starts": (0, -1, 0), "steps": (1, -1, 1)}).shape == (N, Dim("T"), 5)
    assert b.slice(x, **{**whole, "stops": (None, Dim("T"), 2**63 - 1)}).producer.attrs["stops"] == (None, None, None)
    assert str(b.slice(x, **{**whole, "starts": (0, 4, 0)}).shape[1]) == "max(T-4, 0)"


@settings(max_examples=150, deadline=None)
@given(st.integers(-9, 9), st.integers(-9, 9), steps)
def test_dynamic_slice(onnx_run, start, stop, step):
    args = [np.array([v, w]) for v, w in ((start, 1), (stop, 99), (step, 2))]
    want = onnx_run("Slice", [X, args[0], args[1], np.array([1, 2]), args[2]])[0]
    same(run_op("dynamic_slice", X, *args, axes=(1, 2))[0], want)


@pytest.mark.parametrize("shape", [(3, 11), (13,), (), (0,)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(onnx_run, axis, shape):
    n = X.shape[axis]
    ids = RNG.integers(-n, n, shape)
    same(run_op("gather", X, ids, axis=axis)[0], onnx_run("Gather", [X, ids], axis=axis)[0])
    with pytest.raises(CheckFailed):
        run_op("gather", X, np.array([n]), axis=axis)


@pytest.mark.parametrize(("batch", "shape", "k"), [(0, (4, 3), 2), (0, (3,), 3), (1, (2, 3), 1), (1, (2, 3), 2), (2, (2, 7), 1)])
def test_gather_nd(onnx_run, batch, shape, k):
    ids = np.stack([RNG.integers(-n, n, shape) for n in X.shape[batch : batch + k]], -1)
    same(run_op("gather_nd", X, ids, batch_dims=batch)[0], onnx_run("GatherND", [X, ids], batch_dims=batch)[0])


@pytest.mark.parametrize(("shape", "axis"), [((2, 11, 5), 1), ((1, 3, 2), 1), ((2, 7, 3), -1), ((2, 7, 5), 0)])
def test_take_along_axis(onnx_run, shape, axis):
    n = X.shape[axis]
    ids = RNG.integers(-n, n, shape)
    want = onnx_run("GatherElements", [X, ids], axis=axis)[0]
    same(run_op("take_along_axis", X, ids, axis=axis)[0], want)
    same(run_op("take_along_axis", X, ids % n, axis=axis)[0], torch.gather(T, axis, torch.from_numpy(ids % n)))
    with pytest.raises(CheckFailed, match="span"):
        run_op("take_along_axis", X, np.full(shape, n), axis=axis)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_elements(onnx_run, reduction):
    ids = np.stack([RNG.permutation(7)[:3] for _ in range(10)]).reshape(2, 5, 3).transpose(0, 2, 1)
    if reduction != "none":
        ids = RNG.integers(-7, 7, (2, 3, 5))
    updates = RNG.standard_normal(ids.shape).astype(np.float32)
    want = onnx_run("ScatterElements", [X, ids, updates], axis=1, reduction=reduction)[0]
    np.testing.assert_allclose(run_op("scatter_elements", X, ids, updates, axis=1, reduction=reduction)[0], want, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(onnx_run, reduction):
    ids = np.array([[0, 6], [1, 2], [1, -1]]) if reduction == "none" else np.array([[0, 6], [1, 2], [0, 6]])
    updates = RNG.standard_normal((3, 5)).astype(np.float32)
    want = onnx_run("ScatterND", [X, ids, updates], reduction=reduction)[0]
    before = X.copy()
    np.testing.assert_allclose(run_op("scatter_nd", X, ids, updates, reduction=reduction)[0], want, rtol=1e-6)
    same(X, before)


def test_reverse_sequence(onnx_run):
    lengths = np.array([3, 7])
    want = onnx_run("ReverseSequence", [X, lengths], batch_axis=0, time_axis=1)[0]
    same(run_op("reverse_sequence", X, lengths, batch_axis=0, time_axis=1)[0], want)
    turned = np.ascontiguousarray(X.transpose(1, 0, 2))
    same(run_op("reverse_sequence", turned, lengths, batch_axis=1, time_axis=0)[0], want.transpose(1, 0, 2))
    with pytest.raises(CheckFailed, match="time axis has 7"):
        run_op("reverse_sequence", X, np.array([3, 8]), batch_axis=0, time_axis=1)


def test_masks(onnx_run):
    x = RNG.integers(0, 2, (3, 5, 2)).astype(np.float32)
    same(run_op("nonzero", x)[0], onnx_run("NonZero", [x])[0])
    condition = np.array([True, False, True, True, False])
    same(run_op("compress", x, condition, axis=1)[0], onnx_run("Compress", [x, condition], axis=1)[0])
    same(run_op("compress", x, condition)[0], onnx_run("Compress", [x, condition])[0])


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_unique(onnx_run, axis, sort):
    x = RNG.integers(0, 3, (7, 2)).astype(np.float32)
    attrs = {} if axis is None else {"axis": axis}
    want = onnx_run("Unique", [x], outputs=4, sorted=int(sort), **attrs)
    for y, t in zip(run_op("unique", x, sorted=sort, **attrs), want):
        same(y, t)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("k", [-2, 0, 3])
def test_trilu(onnx_run, upper, k):
    same(run_op("trilu", X, upper=upper, k=k)[0], onnx_run("Trilu", [X, np.array(k)], upper=int(upper))[0])


def test_refusals():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 7, 5))
    i = b.input("i", "int64", (2, 3))
    for why, call in [
        ("step is 0", lambda: b.slice(x, starts=(0, 0, 0), stops=(1, 1, 1), steps=(1, 0, 1))),
        ("one entry per axis", lambda: b.slice(x, starts=(0,), stops=(1,), steps=(1,))),
        ("same number of axes", lambda: b.take_along_axis(x, i, axis=1)),
        ("larger than x", lambda: b.take_along_axis(x, b.input("j", "int64", (3, 7, 5)), axis=1)),
        ("must be int", lambda: b.gather(x, x, axis=0)),
        ("dtypes", lambda: b.scatter_elements(x, b.input("k", "int64", (2, 1, 5)), b.input("u", "int32", (2, 1, 5)), axis=1)),
        ("updates", lambda: b.scatter_nd(x, i, b.input("v", "float32", (2, 5)))),
        ("batch_dims", lambda: b.gather_nd(x, i, batch_dims=3)),
        ("two axes", lambda: b.trilu(b.input("w", "float32", (3,)), upper=True)),
        ("are the same", lambda: b.reverse_sequence(x, b.input("n", "int64", (2,)), batch_axis=0, time_axis=0)),
    ]:
        with pytest.raises(ShapeError, match=why):
            call()
