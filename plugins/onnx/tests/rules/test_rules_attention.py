"""Attention and RotaryEmbedding, judged by onnxruntime both ways; what is left to the standard's definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_kit import emit_model

import convcore
from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.opset import op

ort = pytest.importorskip("onnxruntime")
R = np.random.default_rng(0)


def ran(model: Any, arrays: list[Any]) -> list[Any]:
    s = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(s.run(None, dict(zip([i.name for i in s.get_inputs()], arrays))))


def close(found: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(found, wanted, strict=True):
        span = float(np.max(np.abs(b), initial=1, where=np.isfinite(b)))
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * span, equal_nan=True)


CASES = [(n, i) for n in ("attention", "multi_head_attention", "rotary_embedding") for i in range(len(op(n).samples))]
WRITTEN = {"attention": [0, 1, 2, 6, 7], "multi_head_attention": [0, 1, 2], "rotary_embedding": []}
"""Samples that are ONNX's own operator: a query without a key gets 0 there, NaN is not cleared; angles are one for each step."""


@pytest.mark.parametrize(("name", "i"), CASES)
def test_samples_written_in_opset_23_run_in_onnxruntime(name: str, i: int) -> None:
    sample = op(name).samples[i]
    graph = Graph(name)
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    arrays = sample.arrays(1)
    values = [None if a is None else b.input(f"x{k}", str(a.dtype), a.shape) for k, a in enumerate(arrays)]
    made = b.op(name, *values, **sample.attrs)
    graph.outputs = list(made) if isinstance(made, tuple) else [made]
    given = [a for a in arrays if a is not None]
    wanted = Interpreter(graph).run(given)
    model = convcore.convert(convcore.Model(graph, "ccir"), "onnx", opset=23, check=False).model
    onnx.checker.check_model(model)
    if i in WRITTEN[name]:
        assert "Attention" in [n.op_type for n in model.graph.node]
    close(ran(model, given), wanted)


def model(node: Any, shapes: dict[str, Any], outputs: int = 1, weights: dict[str, Any] | None = None, opset: int = 23) -> Any:
    types = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("i8"): TensorProto.INT64, np.dtype("?"): TensorProto.BOOL}
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(k, types[np.asarray(a).dtype], np.shape(a)) for k, a in shapes.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in node.output if o],
        [onnx.numpy_helper.from_array(a, k) for k, a in (weights or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)


def normal(*shape: int) -> Any:
    return R.normal(size=shape).astype("f4")


@pytest.mark.parametrize("shape", ["3d", "4d"])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_is_one_op_and_is_written_as_one(shape: str, mask: str | None) -> None:
    q, k, v = (normal(2, n, h * d) for n, h, d in ((5, 6, 4), (7, 3, 4), (7, 3, 2)))
    if shape == "4d":
        q, k, v = (x.reshape(2, x.shape[1], h, -1).transpose(0, 2, 1, 3).copy() for x, h in ((q, 6), (k, 3), (v, 3)))
    given = {"q": q, "k": k, "v": v}
    if mask:
        given["m"] = R.random((5, 7)) < 0.6 if mask == "bool" else normal(5, 7)
        if mask == "bool":
            given["m"][2] = False
    attrs = {"q_num_heads": 6, "kv_num_heads": 3} if shape == "3d" else {}
    source = model(helper.make_node("Attention", list(given), ["y"], scale=0.3, softcap=2.0, **attrs), given)
    loaded = convcore.load(source)
    assert [n.op for n in loaded.graph if n.op != "reshape"] == ["attention"]
    arrays = list(given.values())
    wanted = Interpreter(loaded.graph).run(arrays)
    close(wanted, list(ReferenceEvaluator(source).run(None, given)))
    again = convcore.convert(source, "onnx", check=False).model
    assert [n.op_type for n in again.graph.node] == ["Attention"]
    close(ran(again, arrays), wanted)


@pytest.mark.parametrize("scale", [-0.3, 0.0, 0.3])
def test_a_scale_that_has_no_root_is_written_as_products(scale: float) -> None:
    graph = Graph("attention")
    b = Builder(graph)
    arrays = [normal(2, 3, 5, 4) for _ in range(3)]
    graph.outputs = [b.op("attention", *(b.input(n, "float32", a.shape) for n, a in zip("qkv", arrays)), scale=scale)[0]]
    wanted = Interpreter(graph).run(arrays)
    made = convcore.convert(convcore.Model(graph, "ccir"), "onnx", opset=23, check=False).model
    assert ("Attention" in [n.op_type for n in made.graph.node]) is (scale > 0)
    close(ran(made, arrays), wanted)


@pytest.mark.parametrize("attrs", [{"scale": -0.3}, {"softcap": -2.0}], ids=str)
def test_an_attention_that_has_no_meaning_is_refused(attrs: dict[str, Any]) -> None:
    given = {n: normal(2, 3, 5, 4) for n in "qkv"}
    source = model(helper.make_node("Attention", list(given), ["y"], **attrs), given)
    assert [next(iter(attrs)) in str(p) for p in convcore.load(source).problems] == [True]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("shape", ["3d", "4d"])
@pytest.mark.parametrize("attrs", [{}, {"interleaved": 1}, {"rotary_embedding_dim": 4}])
def test_a_rotation_is_one_op_and_is_written_as_one(ids: bool, shape: str, attrs: dict[str, Any]) -> None:
    x = normal(2, 5, 3 * 8) if shape == "3d" else normal(2, 3, 5, 8)
    half = attrs.get("rotary_embedding_dim", 8) // 2
    given = {"x": x, "c": normal(*((11, half) if ids else (2, 5, half))), "s": normal(*((11, half) if ids else (2, 5, half)))}
    if ids:
        given["i"] = R.integers(0, 11, (2, 5))
    heads = {"num_heads": 3} if shape == "3d" or "rotary_embedding_dim" in attrs else {}
    source = model(helper.make_node("RotaryEmbedding", list(given), ["y"], **attrs, **heads), given)
    loaded = convcore.load(source)
    assert "rotary_embedding" in [n.op for n in loaded.graph]
    arrays = list(given.values())
    wanted = Interpreter(loaded.graph).run(arrays)
    close(wanted, list(ReferenceEvaluator(source).run(None, given)))
    again = convcore.convert(source, "onnx", check=False).model
    kinds = [n.op_type for n in again.graph.node if n.op_type not in ("Squeeze", "Unsqueeze")]
    assert kinds == ["RotaryEmbedding"]
    close(ran(again, arrays), wanted)


@pytest.mark.parametrize(
    ("inputs", "outputs", "attrs"),
    [
        (["q", "k", "v", "", "pk", "pv"], ["y", "ok", "ov"], {"is_causal": 1}),
        (["q", "k", "v"], ["y", "", "", "scores"], {"qk_matmul_output_mode": 1}),
        (["q", "k", "v", "short"], ["y"], {}),
    ],
    ids=["cache", "scores", "short mask"],
)
def test_what_is_more_than_attention_is_its_definition(inputs: list[str], outputs: list[str], attrs: dict[str, Any]) -> None:
    every = {"q": normal(2, 3, 5, 4), "k": normal(2, 3, 5, 4), "v": normal(2, 3, 5, 4), "pk": normal(2, 3, 2, 4),
             "pv": normal(2, 3, 2, 4), "short": normal(5, 3)}  # fmt: skip
    given = {n: every[n] for n in inputs if n}
    source = model(helper.make_node("Attention", inputs, outputs, **attrs), given, opset=24)
    loaded = convcore.load(source, fuse=False)
    assert not loaded.problems and "attention" not in [n.op for n in loaded.graph]
    close(Interpreter(loaded.graph).run(list(given.values())), list(ReferenceEvaluator(source).run(None, given)))


def test_a_query_whose_keys_all_have_the_lowest_number_looks_at_all_of_them() -> None:
    """By Attention's definition and in the file of a transformer; onnxruntime 1.32 gives 0, unless the number is the next."""
    source = Path(__file__).parents[4] / "tests" / "data" / "composites" / "llama__torch-ts_17.onnx"
    ids, mask = np.asarray([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]), np.asarray([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])

    made = convcore.convert(source, "onnx", opset=23).model
    assert "Attention" in {n.op_type for n in made.graph.node}
    close(ran(made, [ids, mask]), ran(onnx.load(source), [ids, mask]))


@pytest.mark.parametrize(("lowest", "guarded"), [(True, True), (False, False)])
def test_only_masks_that_may_hold_the_lowest_number_are_guarded(lowest: bool, guarded: bool) -> None:
    graph = Graph("g")
    b = Builder(graph)
    q, k, v = (b.input(n, "float32", (1, 2, 3, 4)) for n in "qkv")
    far = b.const(np.full((3, 3), np.finfo("f4").min if lowest else -1e9, np.float32))
    mask = b.add(b.unsqueeze(b.where(b.input("c", "bool", (3, 3)), far, b.const(np.zeros((3, 3), "f4"))), axes=(0,)), far)
    graph.outputs = list(b.op("attention", q, k, v, mask))
    types = [n.op_type for n in emit_model(graph, 23).graph.node]
    assert "Attention" in types and ("Equal" in types) is guarded


Q3, Q4 = normal(2, 5, 8), normal(2, 2, 5, 4)
MEANT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # why, what is given, attributes: neither read nor left to the standard's definition
    ("Q of 8 features has 3 heads", {"q": Q3, "k": Q3, "v": Q3}, {"q_num_heads": 3, "kv_num_heads": 2}),
    ("K of 8 features has 3 heads", {"q": Q3, "k": Q3, "v": Q3}, {"q_num_heads": 2, "kv_num_heads": 3}),
    ("Q of 8 features has 0 heads", {"q": Q3, "k": Q3, "v": Q3}, {"kv_num_heads": 2}),
    ("Q, K and V have 3, 4 and 4 axes, not 3 or 4 each", {"q": Q3, "k": Q4, "v": Q4}, {"q_num_heads": 2, "kv_num_heads": 2}),
    ("softcap=-0.5, scale=None", {"q": Q4, "k": Q4, "v": Q4}, {"softcap": -0.5}),
    ("softcap=0.0, scale=-1.0", {"q": Q4, "k": Q4, "v": Q4}, {"scale": -1.0}),
    ("softcap=0.0, scale=nan", {"q": Q4, "k": Q4, "v": Q4}, {"scale": float("nan")}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "given", "attrs"), MEANT, ids=range(len(MEANT)))
def test_attention_that_is_none(why: str, given: dict[str, Any], attrs: dict[str, Any]) -> None:
    (problem,) = convcore.load(model(helper.make_node("Attention", list(given), ["y"], **attrs), given)).problems
    assert why in problem.why


def test_a_softcap_and_a_scale_of_zero_have_a_meaning() -> None:
    given = dict.fromkeys("qkv", Q4)
    for attrs in ({"scale": 0.0}, {"softcap": 0.0}, {"qk_matmul_output_mode": 0}):
        loaded = convcore.load(model(helper.make_node("Attention", list(given), ["y"], **attrs), given))
        assert not loaded.problems and "attention" in [n.op for n in loaded.graph]


TURNS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("X has 2 axes, cos_cache 3 and sin_cache 3", {"x": normal(5, 8), "c": normal(2, 5, 4), "s": normal(2, 5, 4)}, {}),
    ("X has 4 axes, cos_cache 3 and sin_cache 2", {"x": normal(2, 3, 5, 8), "c": normal(2, 5, 4), "s": normal(5, 4)}, {}),
    ("caches of 3 angles for 8 features", {"x": normal(2, 3, 5, 8), "c": normal(2, 5, 3), "s": normal(2, 5, 3)}, {}),
    ("caches of 4 angles for 6 features", {"x": normal(2, 3, 5, 8), "c": normal(2, 5, 4), "s": normal(2, 5, 4)},
     {"rotary_embedding_dim": 6, "num_heads": 3}),
    ("X of 24 features has 5 heads", {"x": normal(2, 5, 24), "c": normal(2, 5, 4), "s": normal(2, 5, 4)}, {"num_heads": 5}),
    ("X of 24 features has 0 heads", {"x": normal(2, 5, 24), "c": normal(2, 5, 4), "s": normal(2, 5, 4)}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "given", "attrs"), TURNS, ids=range(len(TURNS)))
def test_rotations_that_are_none(why: str, given: dict[str, Any], attrs: dict[str, Any]) -> None:
    (problem,) = convcore.load(model(helper.make_node("RotaryEmbedding", list(given), ["y"], **attrs), given)).problems
    assert why in problem.why
