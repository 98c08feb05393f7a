"""Matrix products, einsum, embeddings and Keras's Dot."""

import os

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ops.linear import parse_einsum
from convcore.testing import CheckFailed, run_body, run_op

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(3)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("lead", [(7,), (2, 7), (2, 3, 7), ()])
def test_linear(lead):
    x, w, b = rand(*lead, 5), rand(11, 5), rand(11)
    t = [torch.from_numpy(a) for a in (x, w, b)]
    for run in (run_op, run_body):
        np.testing.assert_allclose(run("linear", x, w, b)[0], torch.nn.functional.linear(*t).numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(run("linear", x, w)[0], torch.nn.functional.linear(*t[:2]).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 5), (5, 7)), ((2, 3, 5), (5, 7)), ((2, 1, 3, 5), (11, 5, 7)), ((5,), (5, 7)), ((2, 3, 5), (5,)), ((5,), (5,))],
)
def test_matmul(onnx_run, a, b):
    x, y = rand(*a), rand(*b)
    np.testing.assert_allclose(run_op("matmul", x, y)[0], onnx_run("MatMul", [x, y])[0], rtol=1e-5, atol=1e-6)


def test_integer_matmul():
    a, b = RNG.integers(-9, 9, (3, 5)).astype(np.int32), RNG.integers(-9, 9, (5, 7)).astype(np.int32)
    y = run_op("matmul", a, b)[0]
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, (torch.from_numpy(a) @ torch.from_numpy(b)).numpy())


def test_embedding():
    table, ids = rand(13, 5), RNG.integers(0, 13, (2, 7))
    want = torch.nn.functional.embedding(torch.from_numpy(ids), torch.from_numpy(table)).numpy()
    np.testing.assert_array_equal(run_op("embedding", ids, table)[0], want)
    for bad in (-1, 13):
        with pytest.raises(CheckFailed, match=r"0\.\.12"):
            run_op("embedding", np.array([bad]), table)


EINSUMS = [
    ("bij,bjk->bik", (2, 3, 5), (2, 5, 7)),
    ("bqhd,bkhd->bhqk", (2, 3, 5, 7), (2, 11, 5, 7)),
    ("...cd,...ed->...ce", (2, 3, 5, 7), (3, 11, 7)),
    ("ii->i", (5, 5)),
    ("ii", (5, 5)),
    ("ba, ac", (3, 5), (5, 7)),
    ("ij,j->", (3, 5), (5,)),
    ("i...->...", (3, 5, 7)),
    ("a,b,c->cab", (2,), (3,), (5,)),
    ("Ab,bC->AC", (3, 5), (5, 7)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=[c[0] for c in EINSUMS])
def test_einsum(case):
    equation, *shapes = case
    xs = [rand(*s) for s in shapes]
    want = torch.einsum(equation.replace(" ", ""), *map(torch.from_numpy, xs)).numpy()
    np.testing.assert_allclose(run_op("einsum", *xs, equation=equation)[0], want, rtol=1e-5, atol=1e-5)


def test_einsum_keeps_symbolic_sizes():
    n, t = Dim("N"), Dim("T")
    b = Builder(Graph())
    x, y = b.input("x", "float32", (n, t, 5)), b.input("y", "float32", (n, 7, 5))
    v = b.einsum(x, y, equation="ntd,nsd->nts")
    assert v.shape == (n, t, 7)
    assert v.producer.attrs["equation"] == "ntd,nsd->nts"
    assert b.einsum(x, y, equation="n t d, nsd").producer.attrs["equation"] == "ntd,nsd->st"


@pytest.mark.parametrize("bad", ["ij,jk->il", "ij->ii", "i1->i", "ij,jk,kl", "ijk,jk", "i..j,jk"])
def test_malformed_equations(bad):
    with pytest.raises(ShapeError, match="einsum"):
        parse_einsum(bad, [2, 2])


DOTS = [((2, 3, 5), (2, 7, 5), (2, 2)), ((3, 5), (3, 5), (1, 1)), ((2, 3, 5, 7), (2, 5, 11), (2, 1)), ((2, 5), (2, 3, 5), (1, 2)),
        ((2, 3, 5), (2, 3), (1, 1)), ((2, 3, 5), (2, 7, 5), (-1, -1))]  # fmt: skip


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("a", "b", "axes"), DOTS)
def test_dot_of_keras(a, b, axes, normalize):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    x, y = rand(*a), rand(*b)
    want = keras.ops.convert_to_numpy(keras.layers.Dot(axes, normalize)([keras.ops.convert_to_tensor(v) for v in (x, y)]))
    for run in (run_op, run_body):
        got = run("batch_dot", x, y, axes=axes, normalize=normalize)[0]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_refusals():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 5))
    with pytest.raises(ShapeError, match="5 != 7"):
        b.linear(x, b.input("w", "float32", (3, 7)))
    with pytest.raises(ShapeError, match="dtypes"):
        b.linear(x, b.input("w", "float16", (3, 5)))
    with pytest.raises(ShapeError, match="inner sizes"):
        b.matmul(x, b.input("y", "float32", (7, 3)))
    with pytest.raises(ShapeError, match="batch"):
        b.batch_dot(x, b.input("z", "float32", (2, 5)), axes=(0, 1))
    with pytest.raises(ShapeError, match="b and the first axis"):
        b.linear(x, b.input("v", "float32", (3, 5)), b.input("c", "float32", (7,)))
