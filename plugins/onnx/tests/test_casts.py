"""A MatMul of the cast of a Transpose ends onnxruntime's process: the Cast is written in front."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_kit import emit_model

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin

W = np.random.default_rng(3).standard_normal((5, 7))
X = np.random.default_rng(2).standard_normal((2, 3, 5)).astype(np.float16)


def product(b: Builder, x: Any, dtype: str, also: bool) -> list[Any]:
    """``also``: the Transpose is read by something else too."""
    t = b.transpose(x, perm=(1, 0, 2))
    y = b.matmul(b.cast(t, to=DType(dtype)), b.const(W.astype(dtype)))
    return [y, b.neg(t)] if also else [y]


def check(m: Any, nodes: Any, dtype: str, feed: dict[str, Any]) -> None:
    kinds = {n.op_type: n for n in nodes}
    assert kinds["Cast"].input[0] == "x" and kinds["MatMul"].input[0] in kinds["Transpose"].output  # else the process ends
    onnx.checker.check_model(m, full_check=True)
    got = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)
    np.testing.assert_allclose(got[0], X.transpose(1, 0, 2).astype(dtype) @ W.astype(dtype), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("also", [False, True])
def test_product_of_a_cast_transpose_runs(dtype: str, also: bool) -> None:
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    g.outputs = product(b, b.input("x", "float16", (2, 3, 5)), dtype, also)
    m = emit_model(g, 18)
    assert [n.op_type for n in m.graph.node].count("Transpose") == 1 + also
    check(m, [n for n in m.graph.node if n.op_type != "Transpose" or n.input[0] != "x"], dtype, {"x": X})


def test_in_a_branch_too() -> None:
    arms = []
    for _ in range(2):
        arm = Graph("arm")
        inside = Builder(arm, origin=Origin("test", "layer", "Test"))
        arm.outputs = product(inside, inside.input("v", "float16", (2, 3, 5)), "float32", False)
        arms.append(arm)
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    c, x = b.input("c", "bool", ()), b.input("x", "float16", (2, 3, 5))
    g.outputs = list(b.op("if", c, x, regions=arms))
    m = emit_model(g, 18)
    (branch,) = [n for n in m.graph.node if n.op_type == "If"]
    for a in branch.attribute:
        check(m, a.g.node, "float32", {"c": np.array(True), "x": X})


def test_other_casts_stay_where_they_are() -> None:
    """Of another type, or that no product reads."""
    for dtype, read in (("float16", True), ("float32", False)):
        g = Graph("net")
        b = Builder(g, origin=Origin("test", "layer", "Test"))
        t = b.cast(b.transpose(b.input("x", "float32" if read else "float16", (2, 3, 5)), perm=(1, 0, 2)), to=DType(dtype))
        g.outputs = [b.matmul(t, b.const(W.astype(dtype)))] if read else [t]
        assert [n.op_type for n in emit_model(g, 18).graph.node][:2] == ["Transpose", "Cast"]


def test_weights_of_another_type_than_the_input_are_cast() -> None:
    """``T`` of a schema is one type: a LayerNormalization of float32 with a float16 scale is no ONNX model."""
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    x, scale = b.input("x", "float32", (2, 3, 5)), b.weight(W[:, 0].astype(np.float16), "scale")
    g.outputs = [b.op("layer_norm", x, scale, axes=(2,), epsilon=1e-3)]
    m = emit_model(g, 18)
    onnx.checker.check_model(m, full_check=True)
    given = X.astype(np.float32)
    (got,) = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": given})
    d = given - given.mean(-1, keepdims=True)
    want = d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-3) * W[:, 0].astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "kind"), [(18, "Expand"), (20, "ConstantOfShape")])
def test_fill_of_bfloat16(opset: int, kind: str) -> None:
    """ConstantOfShape gives it from opset 20 on."""
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    x = b.input("x", "float32", (Dim("batch"), 5))
    g.outputs = [b.op("fill", shape=(Dim("batch"), 3), value=0.5, dtype=DType.BFLOAT16), b.neg(x)]
    m = emit_model(g, opset)
    onnx.checker.check_model(m, full_check=True)
    assert kind in {n.op_type for n in m.graph.node}
    filled, _ = ReferenceEvaluator(m).run(None, {"x": np.zeros((2, 5), np.float32)})
    assert str(filled.dtype) == "bfloat16" and filled.astype(np.float32).tolist() == [[0.5] * 3] * 2
