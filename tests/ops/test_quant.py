"""Quantisation against onnxruntime."""

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.graph import Graph
from convcore.testing import CheckFailed, run_body, run_op

RNG = np.random.default_rng(17)
X = (RNG.standard_normal((3, 5, 7)) * 2).astype(np.float32)
RUNS = [run_op, run_body]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("dtype", "zero"), [("int8", 3), ("uint8", 130), ("int16", -7), ("uint16", 999)])
def test_whole_tensor(onnx_run, run, dtype, zero):
    scale, point = np.float32(0.013), np.array(zero, dtype)
    q = run("quantize", X, scale, point, dtype=dtype)[0]
    np.testing.assert_array_equal(q, onnx_run("QuantizeLinear", [X, scale, point])[0])
    y = run("dequantize", q, scale, point)[0]
    np.testing.assert_allclose(y, onnx_run("DequantizeLinear", [q, scale, point])[0], rtol=1e-6)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_per_axis(onnx_run, run, axis):
    n = X.shape[axis]
    scale = RNG.uniform(0.01, 0.03, n).astype(np.float32)
    point = RNG.integers(100, 140, n).astype(np.uint8)
    q = run("quantize", X, scale, point, axis=axis, dtype="uint8")[0]
    np.testing.assert_array_equal(q, onnx_run("QuantizeLinear", [X, scale, point], axis=axis)[0])
    np.testing.assert_allclose(
        run("dequantize", q, scale, point, axis=axis)[0], onnx_run("DequantizeLinear", [q, scale, point], axis=axis)[0], rtol=1e-6
    )


@pytest.mark.parametrize("run", RUNS)
def test_halves_go_to_even_and_the_range_is_a_limit(onnx_run, run):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e6, -1e6, np.inf, -np.inf], np.float32)
    q = run("quantize", x, np.float32(1), np.int8(0), dtype="int8")[0]
    assert q.tolist() == [0, 2, 2, 0, -2, 127, -128, 127, -128]
    np.testing.assert_array_equal(q[:7], onnx_run("QuantizeLinear", [x[:7], np.float32(1), np.int8(0)])[0])


def test_not_a_number_is_refused():
    with pytest.raises(CheckFailed, match="NaN"):
        run_op("quantize", np.array([np.nan], np.float32), np.float32(1), dtype="int8")


@pytest.mark.parametrize("run", RUNS)
def test_32_bit_accumulators(onnx_run, run):
    q, scale = RNG.integers(-(2**20), 2**20, (3, 5)).astype(np.int32), np.float32(0.001)
    np.testing.assert_allclose(run("dequantize", q, scale)[0], onnx_run("DequantizeLinear", [q, scale])[0], rtol=1e-6)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("x", [X, np.abs(X) + 1, -np.abs(X), np.zeros((2, 3), np.float32)])
def test_dynamic(onnx_run, run, x):
    if not x.any():
        want = [np.zeros((2, 3), np.uint8), None, np.uint8(0)]
    else:
        want = onnx_run("DynamicQuantizeLinear", [x], outputs=3)
    y, scale, point = run("dynamic_quantize", x)
    np.testing.assert_array_equal(y, want[0])
    np.testing.assert_array_equal(point, want[2])
    if want[1] is not None:
        np.testing.assert_allclose(scale, want[1], rtol=1e-6)


def test_refusals():
    b = Builder(Graph())
    x, s = b.input("x", "float32", (3, 5)), b.input("s", "float32", (5,))
    with pytest.raises(ShapeError, match="without an axis"):
        b.quantize(x, s, dtype="int8")
    with pytest.raises(ShapeError, match="5 != 3"):
        b.quantize(x, s, axis=0, dtype="int8")
    with pytest.raises(ShapeError, match="zero_point is uint8"):
        b.quantize(x, s, b.input("z", "uint8", (5,)), axis=1, dtype="int8")
    with pytest.raises(ShapeError, match="not one of"):
        b.quantize(x, s, axis=1, dtype="int32")
    with pytest.raises(ShapeError, match="int64"):
        b.dequantize(b.input("q", "int64", (3, 5)), s, axis=1)
