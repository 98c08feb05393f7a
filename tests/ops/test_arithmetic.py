"""Elementwise arithmetic against PyTorch, onnxruntime and the C library."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.dims import Dim, evaluate
from convcore.ir.graph import Graph
from convcore.ops.special import erf, erfc
from convcore.opset.shapes import broadcast_shapes
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(5)
X = (RNG.standard_normal((3, 5, 7)) * 3).astype(np.float32)
EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e30, 0.5, -0.5, 1.5, 2.5, -2.5], np.float32)

UNARY = {
    "neg": torch.neg, "sign": torch.sign, "exp": torch.exp, "expm1": torch.expm1, "log1p": torch.log1p, "square": torch.square,
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc, "sin": torch.sin, "cos": torch.cos,
    "tan": torch.tan, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh, "tanh": torch.tanh,
    "erf": torch.erf, "erfc": torch.erfc, "exp2": torch.exp2, "abs": torch.abs, "isnan": torch.isnan, "isinf": torch.isinf,
    "isfinite": torch.isfinite, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal,
    "acosh": torch.acosh, "asin": torch.asin, "acos": torch.acos, "atanh": torch.atanh, "log2": torch.log2, "log10": torch.log10,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", [X, np.abs(X), X / 12, EDGES], ids=["any", "positive", "small", "edges"])
def test_unary(name, x):
    if name in ("sin", "cos", "tan") and x is EDGES:
        x = EDGES[np.abs(EDGES) < 1e9]  # argument reduction of huge angles differs between libraries
    if name == "sign":
        x = x[~np.isnan(x)]  # NaN: 0 in PyTorch, NaN in NumPy and here
    y = run_op(name, x)[0]
    truth = UNARY[name](torch.from_numpy(x.copy())).numpy()
    assert y.dtype == truth.dtype
    np.testing.assert_allclose(y, truth, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["exp2", "log2", "log10"])
def test_bodies_of_powers_and_logarithms(name):
    x = np.abs(X) + 0.01
    np.testing.assert_allclose(run_body(name, x)[0], UNARY[name](torch.from_numpy(x)).numpy(), rtol=2e-6, atol=1e-6)


def test_cube_root():
    truth = np.copysign(np.abs(X.astype(np.float64)) ** (1 / 3), X)
    for y in (run_op("cbrt", X)[0], run_body("cbrt", X)[0]):
        np.testing.assert_allclose(y, truth, rtol=1e-6)


def test_erf_agrees_with_the_c_library():
    x = np.concatenate([RNG.uniform(-7, 7, 20001), RNG.uniform(-30, 30, 2001), [0.46875, -0.46875, 4.0, -4.0, 26.5, 1e-300, 0.0]])
    truth = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - truth).max() <= 3e-16
    assert (np.abs(erf(x) - truth) <= 1e-15 * np.abs(truth)).all()
    small = np.array([math.erfc(v) for v in x])
    normal = small > 1e-300
    assert (np.abs(erfc(x) - small)[normal] <= 2e-15 * small[normal]).all()
    assert np.isnan(erf(np.array(np.nan))) and erf(np.array(-np.inf)) == -1 and erfc(np.array(np.inf)) == 0


def test_erf_in_float32_is_rounded_once():
    x = RNG.uniform(-5, 5, 10007).astype(np.float32)
    truth = np.array([math.erf(v) for v in x.tolist()]).astype(np.float32)
    assert (np.abs(erf(x) - truth) <= np.spacing(np.abs(truth))).all()


BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum,
    "atan2": torch.atan2,
    "floor_mod": torch.remainder, "fmod": torch.fmod, "div": torch.div, "equal": torch.eq, "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le, "greater": torch.gt, "greater_equal": torch.ge,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    a, b = X, RNG.standard_normal((5, 1)).astype(np.float32)
    y = run_op(name, a, b)[0]
    np.testing.assert_allclose(y, BINARY[name](torch.from_numpy(a), torch.from_numpy(b)).numpy(), rtol=1e-6, atol=1e-6)
    e = run_op(name, EDGES[:, None], EDGES[EDGES != 0])[0]
    if name not in ("floor_mod", "fmod", "atan2"):
        t = torch.from_numpy(EDGES)
        np.testing.assert_allclose(e, BINARY[name](t[:, None], t[t != 0]).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_integer_division_and_remainders(dtype):
    low = 0 if dtype == "uint8" else -50
    a = RNG.integers(low, 50, (7, 11)).astype(dtype)
    b = (RNG.integers(1, 9, (11,)) * RNG.choice([1] if low == 0 else [-1, 1], 11)).astype(dtype)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_array_equal(run_op("div", a, b)[0], torch.div(ta, tb, rounding_mode="trunc").numpy())
    np.testing.assert_array_equal(run_op("floor_div", a, b)[0], torch.div(ta, tb, rounding_mode="floor").numpy())
    np.testing.assert_array_equal(run_op("floor_mod", a, b)[0], torch.remainder(ta, tb).numpy())
    np.testing.assert_array_equal(run_op("fmod", a, b)[0], torch.fmod(ta, tb).numpy())


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bits(name):
    fn = getattr(torch, name)
    a, b = RNG.integers(-99, 99, (3, 7)), RNG.integers(-99, 99, (7,))
    np.testing.assert_array_equal(run_op(name, a, b)[0], fn(torch.from_numpy(a), torch.from_numpy(b)).numpy())
    np.testing.assert_array_equal(run_op("bitwise_not", a)[0], (~torch.from_numpy(a)).numpy())


def test_shifts(onnx_run):
    a, b = RNG.integers(0, 250, (3, 7)).astype(np.uint8), RNG.integers(0, 8, (7,)).astype(np.uint8)
    np.testing.assert_array_equal(run_op("shift_left", a, b)[0], onnx_run("BitShift", [a, b], direction="LEFT")[0])
    np.testing.assert_array_equal(run_op("shift_right", a, b)[0], onnx_run("BitShift", [a, b], direction="RIGHT")[0])
    wide = np.array([8, 9, 31], np.uint8)
    np.testing.assert_array_equal(run_op("shift_left", np.full(3, 7, np.uint8), wide)[0], [0, 0, 0])
    np.testing.assert_array_equal(run_op("shift_right", np.array([-9, 9]), np.array([-1, -1]))[0], [-1, 0])


def test_pow(onnx_run):
    a, b = np.abs(X), RNG.standard_normal((7,)).astype(np.float32)
    np.testing.assert_allclose(run_op("pow", a, b)[0], onnx_run("Pow", [a, b])[0], rtol=1e-5)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("negative", [True, False])
def test_signed_infinities(onnx_run, positive, negative):
    truth = onnx_run("IsInf", [EDGES], detect_positive=int(positive), detect_negative=int(negative))[0]
    np.testing.assert_array_equal(run_op("isinf_signed", EDGES, positive=positive, negative=negative)[0], truth)
    np.testing.assert_array_equal(run_body("isinf_signed", EDGES, positive=positive, negative=negative)[0], truth)


def test_clip():
    for limits in ({"min": -0.5, "max": 0.75}, {"min": 0.25}, {"max": -1.0}, {"min": 2.0, "max": -2.0}):
        for x in (X, EDGES):
            np.testing.assert_array_equal(run_op("clip", x, **limits)[0], torch.clamp(torch.from_numpy(x), **limits).numpy())


def test_clip_of_integers_is_exact_at_any_size():
    x = np.array([2**53 + 1, -(2**63), 2**63 - 1, 0], np.int64)
    big = 2**53 + 1
    np.testing.assert_array_equal(run_op("clip", x, max=big)[0], torch.clamp(torch.from_numpy(x), max=big).numpy())
    np.testing.assert_array_equal(run_op("clip", x, max=2**63 - 1)[0], x)
    np.testing.assert_array_equal(run_op("clip", x, min=-np.inf, max=np.inf)[0], x)
    np.testing.assert_array_equal(run_op("clip", np.array([5, 200], np.uint8), min=-3, max=300)[0], [5, 200])
    b = Builder(Graph())
    with pytest.raises(ShapeError, match="not an integer"):
        b.clip(b.input("x", "int32", (3,)), min=0.5)


@pytest.mark.parametrize("to", ["int32", "int8", "uint8", "bool", "float64", "float16", "int64"])
def test_cast(to):
    x = (X * 4).astype(np.float32)
    if to == "uint8":
        x = np.abs(x)
    np.testing.assert_array_equal(run_op("cast", x, to=to)[0], torch.from_numpy(x).to(getattr(torch, to)).numpy())


def test_where(onnx_run):
    c, y = RNG.random((3, 1, 7)) < 0.5, RNG.standard_normal((5, 1)).astype(np.float32)
    np.testing.assert_array_equal(run_op("where", c, X, y)[0], onnx_run("Where", [c, X, y])[0])


def test_different_dtypes_are_refused():
    b = Builder(Graph())
    x, y = b.input("x", "float32", (3,)), b.input("y", "int32", (3,))
    for name in ("add", "equal", "pow"):
        with pytest.raises(ShapeError, match="dtypes"):
            b.op(name, x, y)
    with pytest.raises(ShapeError, match="must be float"):
        b.exp(y)
    with pytest.raises(ShapeError):
        b.cast(x, to="string")


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=5))
def test_broadcasting_is_numpys(shapes):
    a, b = (np.ones(s, np.float32) for s in shapes.input_shapes)
    assert run_op("add", a, b)[0].shape == shapes.result_shape


@given(st.lists(st.integers(1, 5), max_size=3), st.lists(st.integers(1, 5), max_size=3))
def test_shapes_that_do_not_broadcast_are_refused(s, t):
    b = Builder(Graph())
    x, y = b.input("x", "float32", tuple(s)), b.input("y", "float32", tuple(t))
    try:
        want = np.broadcast_shapes(tuple(s), tuple(t))
    except ValueError:
        with pytest.raises(ShapeError, match="broadcast"):
            b.add(x, y)
    else:
        assert b.add(x, y).shape == want


@pytest.mark.parametrize("x,y,want", [
    ("n", "m", "max(m, n)"), ("n", 1, "n"), ("n", 5, "5"), ("n", "n", "n"), ("n+1", "m", "n+1"), ("n-1", "m", None),
    ("n", None, None),
    ("n+1", None, "n+1"), (5, None, "5"), (1, None, None), (0, "n", "0"),
])  # fmt: skip
def test_symbols_broadcast_to_what_is_right_for_any_sizes(x, y, want):
    """n against m is m where n is 1: taking it for n folded a wrong size into the graph."""
    n, m = Dim("n"), Dim("m")
    size = {"n": n, "m": m, "n+1": n + 1, "n-1": n - 1}
    a, b = (size.get(v, v) if isinstance(v, str) else v for v in (x, y))
    for shapes in (((a,), (b,)), ((b,), (a,))):
        (found,) = broadcast_shapes(*shapes)
        assert (None if found is None else str(found)) == want
    for i, j in ((1, 5), (5, 1), (3, 3), (1, 1), (2, 1)):
        sizes = [evaluate(v, {"n": i, "m": j}) if isinstance(v, (int, Dim)) else None for v in (a, b)]
        if None not in sizes and (sizes[0] == sizes[1] or 1 in sizes) and found is not None:
            assert evaluate(found, {"n": i, "m": j}) == np.broadcast_shapes(*((s,) for s in sizes))[0]
