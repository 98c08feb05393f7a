"""com.microsoft: operators on stored integers as onnxruntime computes them, kept as they were, or in the standard's operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from contrib_cases import CASES as STORED
from contrib_cases import MS, case, f4, i8, s, u8
from contrib_float_cases import DOCUMENTED, FLOAT_CASES, cached, prompt
from onnx import helper, numpy_helper
from onnx_kit import load_model

import convcore
from convcore.build.opaque import opaque_problems
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore_onnx.contrib import FORMS, NAMELESS, form
from convcore_onnx.rules.refused import REFUSED as _UNREAD

ort = pytest.importorskip("onnxruntime")

CASES = {**STORED, **FLOAT_CASES}
_LEAST = {"grid": 16, "rows of int4": 21, "rows of uint4": 21}
"""The first opset that can say what a case does."""
GIVEN = {k for k, (_, feeds) in CASES.items() if "i5" in feeds and k.startswith("cache")}
"""Lengths that fit each other are not made up."""


def run(model: Any, feeds: Any) -> list[Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def near(got: Any, want: Any) -> None:
    """Integers within one step, floats within 1e-6 of the range."""
    assert len(got) == len(want)
    for a, b in zip(got, want):
        a = np.asarray(a)
        assert a.shape == b.shape and a.dtype == b.dtype
        off = np.abs(a.astype(np.float64) - b.astype(np.float64))
        assert off.max() <= (1 if b.dtype.kind in "iu" else 1e-6 * np.abs(b).max())
        assert b.dtype.kind == "f" or np.mean(off > 0) <= 0.1, "halves only"


def test_every_operator_has_a_case() -> None:
    judged = [*CASES.values(), *(c for c, _ in DOCUMENTED.values())]
    assert {m.graph.node[0].op_type for m, _ in judged} | {"QLinearReduceMean", *NAMELESS} == FORMS.keys()


@pytest.mark.parametrize("name", CASES)
def test_interpreter_agrees_with_onnxruntime(name: str) -> None:
    model, feeds = CASES[name]
    g = load_model(model)
    assert not opaque_problems(g)
    near(Interpreter(g).run([feeds[v.name] for v in g.inputs]), run(model, feeds))


@pytest.mark.parametrize("name", CASES)
def test_kept_as_it_was(name: str) -> None:
    model, feeds = CASES[name]
    done = convcore.convert(model, "onnx", example_inputs=feeds if name in GIVEN else None)
    assert done.report.ok and done.report.verified
    (before,), (after,) = model.graph.node, done.model.graph.node
    assert (after.domain, after.op_type, after.name) == (MS, before.op_type, before.name)
    assert [a.SerializeToString() for a in after.attribute] == [a.SerializeToString() for a in before.attribute]
    assert [bool(i) for i in after.input] == [bool(i) for i in before.input]
    read = {o.name for o in model.graph.output}
    assert [o if o in read else bool(o) for o in after.output] == [o if o in read else bool(o) for o in before.output]
    assert {o.domain: o.version for o in done.model.opset_import} == {"": 17, MS: 1}
    near(run(done.model, feeds), run(model, feeds))


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("name", CASES)
def test_in_operators_of_the_standard(name: str, opset: int) -> None:
    model, feeds = CASES[name]
    opset = max(opset, _LEAST.get(name, opset))
    made = convcore.convert(model, "onnx", contrib="standard", opset=opset, check=False).model
    assert {n.domain for n in made.graph.node} == {""} and [o.domain for o in made.opset_import] == [""]
    near(run(made, feeds), run(model, feeds))


@pytest.mark.parametrize("name", CASES)
def test_to_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    model, feeds = CASES[name]
    done = convcore.convert(model, "pytorch", io_layout="source", example_inputs=feeds if name in GIVEN else None)
    assert done.report.ok
    with torch.no_grad():
        got = done.model(*(torch.from_numpy(np.array(a)) for a in feeds.values()))
    near([a.numpy() for a in (got if isinstance(got, (tuple, list)) else [got])], run(model, feeds))


@pytest.mark.parametrize(
    "name",
    ["add", "softmax", "average pool, channels last", "concat", "conv", "gemm", "dynamic", "4 bits, zero points", "2 bits"],
)
def test_to_keras(name: str) -> None:
    pytest.importorskip("keras")
    assert convcore.convert(CASES[name][0], "keras", io_layout="source").report.ok


@pytest.mark.parametrize("name", DOCUMENTED)
def test_those_without_a_kernel_are_as_documented(name: str) -> None:
    (model, feeds), want = DOCUMENTED[name]
    g = load_model(model)
    assert not opaque_problems(g)
    near(Interpreter(g).run([feeds[v.name] for v in g.inputs]), [np.asarray(w, np.float32) for w in want])
    (kept,) = convcore.convert(model, "onnx", check=False).model.graph.node
    assert (kept.domain, kept.op_type) == (MS, model.graph.node[0].op_type)
    made = convcore.convert(model, "onnx", contrib="standard", check=False).model
    near(run(made, feeds), [np.asarray(w, np.float32) for w in want])


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_standard_s_domain_has_one_of_onnxruntime(outputs: int) -> None:
    model, feeds = case("SimplifiedLayerNormalization", [f4(2, 3, 5), f4(3, 5)], outputs, axis=1, epsilon=1e-3)
    model.graph.node[0].domain = ""
    g = load_model(model)
    if outputs == 2:
        assert "its deviation is a result" in opaque_problems(g)[0].why
        return
    near(Interpreter(g).run([feeds["i0"]]), run(model, feeds))
    for opset in (13, 23):
        near(run(convcore.convert(model, "onnx", opset=opset).model, feeds), run(model, feeds))
    del model.graph.node[0].input[1]
    assert "has 1 inputs, SimplifiedLayerNormalization takes 2" in opaque_problems(load_model(model))[0].why


def test_what_optimisers_write_is_read_or_refused_by_name() -> None:
    """The types that onnxruntime's optimisers make (its transformers.fusion_* and its graph transformers, 1.32)."""
    assert not _UNREAD.keys() & {f"{MS}.{t}" for t in FORMS}
    refused = {k.removeprefix(f"{MS}."): (why, code) for k, (why, code) in _UNREAD.items() if k.startswith(MS)}
    assert refused.keys() >= {"BiasSoftmax", "RelativePositionBias", "NhwcConv", "PackedAttention", "BeamSearch", "QMoE"}
    for type_, said in refused.items():
        (problem,) = convcore.load(case(type_, [f4(2, 3), f4(3)])[0]).problems
        assert (problem.why, problem.code, problem.layer) == (*said, "node")


def test_mean_is_that_of_the_documentation() -> None:
    """onnxruntime has no kernel of QLinearReduceMean: "Dequantize(Input) -> ReduceMean on fp32 data -> Quantize(output)"."""
    model, feeds = case("QLinearReduceMean", [u8(2, 3, 5), s(0.04), np.uint8(99), s(0.03), np.uint8(120)], axes=[1], keepdims=0)
    g = load_model(model)
    x = (feeds["i0"].astype(np.float32) - 99) * np.float32(0.04)
    want = np.clip(np.rint(x.mean(1) / np.float32(0.03)) + 120, 0, 255).astype(np.uint8)
    near(Interpreter(g).run([feeds["i0"]]), [want])


# ---- kept
def chain(*nodes: Any, branch: bool = False) -> Any:
    """x -> stored -> QLinearSigmoid -> floats, with what more is given."""
    N, F = helper.make_node, onnx.TensorProto.FLOAT
    held = {"sc": np.float32(0.03), "z": np.uint8(120), "sy": np.float32(1 / 256), "zy": np.uint8(0)}
    inner = [
        N("QLinearSigmoid", ["q", "sc", "z", "sy", "zy"], ["t"], "curve", domain=MS),
        N("DequantizeLinear", ["t", "sy", "zy"], ["u"], "floats"),
    ]
    body = [N("QuantizeLinear", ["x", "sc", "z"], ["q"], "stored")]
    if branch:
        out = [helper.make_tensor_value_info("u", F, None)]
        then = helper.make_graph(inner, "then", [], out)
        other = helper.make_graph([N("DequantizeLinear", ["q", "sc", "z"], ["u"], "other")], "else", [], out)
        inits = {**held, "half": np.float32(0.5)}
        body += [N("ReduceMax", ["x"], ["m"], "max", keepdims=0), N("Greater", ["m", "half"], ["c"], "greater"),
                 N("If", ["c"], ["y"], "if", then_branch=then, else_branch=other)]  # fmt: skip
    else:
        inits = held
        body += [*inner[:1], N("DequantizeLinear", ["t", "sy", "zy"], ["y"], "floats"), *nodes]
    graph = helper.make_graph(
        body, "g", [helper.make_tensor_value_info("x", F, ["n", 3])], [helper.make_tensor_value_info("y", F, None)],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in inits.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)], ir_version=8)


def test_inside_a_branch() -> None:
    source = chain(branch=True)
    made = convcore.convert(source, "onnx").model
    (inner,) = [n for n in next(n for n in made.graph.node if n.op_type == "If").attribute[0].g.node if n.domain]
    assert inner.op_type == "QLinearSigmoid" and {i.name for i in made.graph.initializer} >= {"sc", "z", "sy", "zy"}
    for x in (np.ones((2, 3), np.float32), -np.ones((2, 3), np.float32)):
        near(run(made, {"x": x}), run(source, {"x": x}))


def test_what_an_override_or_the_user_changed_is_not_kept() -> None:
    source, x = chain(), {"x": f4(2, 3)}
    assert [n.op_type for n in convcore.convert(source, "onnx").model.graph.node if n.domain] == ["QLinearSigmoid"]
    loaded = convcore.load(source)
    assert any(n.domain for n in convcore.convert(loaded, "onnx").model.graph.node)
    next(n for n in loaded.graph if n.op == "sigmoid").op = "relu"
    made = convcore.convert(loaded, "onnx").model
    assert not any(n.domain for n in made.graph.node) and any(n.op_type == "Relu" for n in made.graph.node)
    seen: list[str] = []

    def mine(e: Any, n: Any) -> None:
        seen.append(n.op)
        e.call("Sigmoid", [e.value(n.inputs[0])], {}, outputs=n.outputs, name=n.name)

    made = convcore.convert(source, "onnx", overrides={"emit": {"sigmoid": mine}}).model
    assert seen and not any(n.domain for n in made.graph.node)
    near(run(made, x), run(source, x))


def test_results_that_nothing_reads_are_left_out() -> None:
    model, feeds = CASES["lstm"]
    few = onnx.ModelProto()
    few.CopyFrom(model)
    del few.graph.output[1:]
    made = convcore.convert(few, "onnx").model
    (node,) = made.graph.node
    assert node.op_type == "DynamicQuantizeLSTM" and [bool(o) for o in node.output][:1] == [True] and not any(node.output[1:])
    near(run(made, feeds), run(model, feeds)[:1])


def test_a_last_zero_point_that_is_left_out_gets_no_name() -> None:
    """onnxruntime 1.32 aborts where the input is not there at all."""
    model, _ = case("QLinearSigmoid", [i8(2, 3), s(0.04), None, s(1 / 128)])
    (node,) = convcore.convert(model, "onnx").model.graph.node
    assert list(node.input)[4:] == [""]


def test_options() -> None:
    from convcore.pipeline import check

    assert check(chain(), "onnx") == [] and check(chain(), "onnx", contrib="standard") == []
    assert any("QuantizeLinear" in str(p) or "opset" in str(p) for p in check(chain(), "onnx", opset=8)), (
        "QuantizeLinear is of 10"
    )


# ---- refused
_GEMM = [u8(3, 5), s(0.02), np.uint8(101), i8(5, 7), s(0.03), np.int8(3)]
_BITS: dict[str, Any] = {"K": 32, "N": 3, "block_size": 16}
_BLOB = [f4(2, 32), u8(3, 2, 8), f4(3, 2)]
_LSTM = [
    f4(5, 3, 7),
    i8(1, 7, 16),
    i8(1, 4, 16),
    None,
    None,
    None,
    None,
    None,
    f4(1),
    np.zeros(1, np.int8),
    f4(1),
    np.zeros(1, np.int8),
]
_ATTENTION = [u8(2, 5, 7), i8(7, 24), f4(24), s(0.02), s(0.01)]
_FLOATS = [f4(2, 5, 7), f4(7, 24), f4(24)]
_HEADS = [f4(2, 5, 8), f4(2, 3, 8), f4(2, 3, 8)]
_CONV = [f4(2, 3, 7), f4(5, 3, 3)]
_SKIP = [f4(2, 3, 5), f4(2, 3, 5), f4(5)]
_IDS = np.asarray([[1, 2, 0], [3, 0, 1]], np.int32)
_PLACE = np.asarray([[1, 2, 0], [3, 0, 1]])
_EMBEDDING = [_IDS, None, f4(4, 7), f4(4, 7), None, f4(7), f4(7)]
_BNB = {"K": 16, "N": 1, "block_size": 16, "quant_type": 1}
_TURN = [f4(2, 3, 8), np.asarray([2]), f4(9, 4), f4(9, 4)]


def _sum_of_segments() -> Any:
    inputs = [_IDS, _IDS, *_EMBEDDING[2:4], f4(4, 7), f4(7), f4(7)]
    model, feeds = case("EmbedLayerNormalization", inputs, 3, dtype=np.float32)
    del model.graph.output[1]
    return model, feeds


_TWO = f4(2, low=0.01, high=0.02)
_ORDERED = [t.rpartition(".")[2] for t, (why, _) in _UNREAD.items() if t.startswith(MS) and "tile by tile" in why]
REFUSED: dict[str, tuple[Any, str]] = {
    "types": (case("QLinearAdd", [u8(3), s(1), None, i8(3), s(1), None, s(1)], fed=(0, 3)), "its operands are uint8 and int8"),
    "scales": (case("QLinearSigmoid", [u8(2, 3), _TWO, None, s(1)]), "its scale is more than one number"),
    "zero points": (case("QLinearSigmoid", [u8(2, 3), s(1), u8(2), s(1)]), "its zero point is more than one number"),
    "scale of the result": (case("QLinearSigmoid", [u8(2, 3), s(1), None, _TWO]), "its scale is more than one number"),
    "opset": (case("QLinearSoftmax", [u8(2, 3), s(1), None, s(1), np.uint8(0)], opset=0), "opset=0"),
    "axis": (case("QLinearSoftmax", [u8(2, 3), s(1), None, s(1), np.uint8(0)], opset=13, axis=2), "axis"),
    "flag": (
        case("QLinearGlobalAveragePool", [u8(2, 3, 5), s(1), np.uint8(0), s(1), np.uint8(0)], channels_last=2),
        "neither 0 nor 1",
    ),
    "channels": (case("QLinearGlobalAveragePool", [u8(2, 3), s(1), np.uint8(0), s(1), np.uint8(0)], channels_last=1), "2 axes"),
    "concat": (case("QLinearConcat", [s(1), np.uint8(0), u8(2, 3), s(1)], fed=(2,), axis=0), "not stored integers, scale"),
    "axis of scales": (case("QuantizeLinear", [f4(2, 2), _TWO, u8(2)]), "without axis its scale must be one number"),
    "stored": (case("DequantizeLinear", [np.zeros((2, 2), np.int64), s(1)]), "x is int64"),
    "columns": (case("QGemm", [*_GEMM[:4], _TWO, np.int8(3)]), "scale of B is neither one number"),
    "zero columns": (case("QGemm", [*_GEMM[:5], i8(2)]), "zero point of B is neither one number"),
    "half of it": (case("QGemm", [*_GEMM, None, s(1)]), "only one is given"),
    "axes": (case("QGemm", [u8(2, 3, 5), *_GEMM[1:]]), "3 and 2 axes"),
    "rows": (case("MatMulIntegerToFloat", [u8(3, 5), i8(5, 7), _TWO, s(1)]), "scale of A is more than one number"),
    "bias": (case("DynamicQuantizeMatMul", [f4(3, 5), i8(5, 7), s(1), None, f4(3)]), "bias is neither one number"),
    "level": (case("MatMulNBits", _BLOB, accuracy_level=4, **_BITS), "accuracy_level=4 lets a runtime round A"),
    "prepacked": (case("MatMulNBits", _BLOB, weight_prepacked=1, **_BITS), "packed for one kind of hardware"),
    "g_idx": (case("MatMulNBits", [*_BLOB, None, np.zeros(32, np.int32)], **_BITS), "g_idx"),
    "bits": (case("MatMulNBits", _BLOB, bits=3, **_BITS), "3 bits"),
    "block": (case("MatMulNBits", _BLOB, **{**_BITS, "block_size": 24}), "block_size=24"),
    "blob": (case("MatMulNBits", _BLOB, **{**_BITS, "N": 4}), "must be uint8 of"),
    "scales of blocks": (case("MatMulNBits", [*_BLOB[:2], f4(3, 3)], **_BITS), "its scales have the shape"),
    "computed scales": (case("MatMulNBits", _BLOB, fed=(0, 2), **_BITS), "its scales are computed"),
    "lengths": (case("DynamicQuantizeLSTM", [*_LSTM[:4], np.full(3, 5, np.int32), *_LSTM[5:]], 3), "sequence_lens"),
    "direction": (case("DynamicQuantizeLSTM", _LSTM, 3, direction="sideways"), "direction='sideways'"),
    "directions": (case("DynamicQuantizeLSTM", _LSTM, 3, direction="bidirectional"), "W and R have the shapes"),
    "hidden": (case("DynamicQuantizeLSTM", _LSTM, 3, hidden_size=5), "hidden_size=5, but R has 4"),
    "heads": (case("QAttention", _ATTENTION, num_heads=5), "8, 8, 8 features have 5 heads"),
    "cache": (case("QAttention", [*_ATTENTION, None, np.uint8(0), np.int8(0), f4(2, 2, 2, 3, 4)], num_heads=2), "a cache"),
    "rotary": (case("QAttention", _ATTENTION, num_heads=2, do_rotary=1), "do_rotary=1"),
    "mask": (case("QAttention", [*_ATTENTION, np.zeros(4, np.int32)], num_heads=2), "a mask of shape ['4']"),
    "mask and causal": (
        case("QAttention", [*_ATTENTION, np.zeros(2, np.int32)], num_heads=2, unidirectional=1),
        "unidirectional with a mask",
    ),
    "thirds": (case("Attention", [f4(2, 5, 7), f4(7, 25)], num_heads=1), "25 features are not queries, keys and values"),
    "widths": (case("Attention", _FLOATS, num_heads=2, qkv_hidden_sizes=[8, 8, 4]), "qkv_hidden_sizes=[8, 8, 4]"),
    "past": (case("Attention", [*_FLOATS, None, f4(2, 2, 2, 3, 4)], num_heads=2), "a cache"),
    "present": (case("Attention", _FLOATS, 2, num_heads=2), "a cache"),
    "past key": (case("MultiHeadAttention", [*_HEADS, None, None, None, f4(2, 2, 3, 4)], num_heads=2), "a cache"),
    "packed": (case("MultiHeadAttention", [f4(2, 5, 2, 3, 4)], num_heads=2), "its input 1 is missing"),
    "other keys": (case("MultiHeadAttention", _HEADS, num_heads=2, unidirectional=1), "other keys than queries"),
    "five axes": (case("MultiHeadAttention", [f4(2, 5, 8), f4(2, 3, 2, 2, 4), f4(2, 3, 8)], num_heads=2), "has 5 axes"),
    "activation": (case("FusedConv", _CONV, activation="Swish"), "activation='Swish'"),
    "parameters": (case("FusedConv", _CONV, activation="Relu", activation_params=[1.0]), "with 1 parameters, it has 0"),
    "no activation": (case("FusedConv", _CONV, activation_params=[1.0]), "without an activation"),
    "batches": (case("FusedMatMul", [f4(3, 5), f4(5, 7)], transBatchA=1), "transBatchA=1 of an operand with 2 axes"),
    "mean": (case("SkipLayerNormalization", _SKIP, 2), "its mean or deviation is a result"),
    **{t: (case(t, [i8(2, 3), s(1), s(1)]), "tile by tile") for t in _ORDERED},
    "halves": (case("BiasSplitGelu", [f4(2, 3, 5), f4(5)]), "5 features have no two halves"),
    "bits of dropout": (case("BitmaskDropout", [f4(2, 3)], 2), "its mask is a result"),
    "training": (case("BiasDropout", [f4(2, 3), f4(3), None, s(0.5), np.bool_(True)]), "training_mode is set"),
    "activation of a norm": (case("GroupNorm", [f4(2, 3, 5, 6), f4(6), f4(6)], groups=2, activation=2), "activation=2"),
    "axes of a norm": (case("GroupNorm", [f4(2, 3, 6), f4(6), f4(6)], groups=2, activation=0), "of an input with 3 axes"),
    "skip of other channels": (
        case("SkipGroupNorm", [f4(2, 6, 3, 5), f4(6), f4(6), f4(2, 6)], groups=2, activation=0, channels_last=0),
        "channels_last=0 with a bias, or with another shape",
    ),
    "bias of channels": (
        case("SkipGroupNorm", [f4(2, 6, 3, 5), f4(6), f4(6), f4(2, 6, 3, 5), f4(6)], groups=2, activation=0, channels_last=0),
        "channels_last=0 with a bias, or with another shape",
    ),
    "last of two axes": (case("NhwcMaxPool", [u8(2, 3)], kernel_shape=[2]), "channels last of an input with 2 axes"),
    "gemm activation": (case("FusedGemm", [f4(3, 5), f4(5, 7)], activation="Swish"), "activation='Swish'"),
    "gemm limits": (case("FusedGemm", [f4(3, 5), f4(5, 7)], activation="Clip"), "activation='Clip'"),
    "gemm parameters": (
        case("FusedGemm", [f4(3, 5), f4(5, 7)], activation="LeakyRelu"),
        "with no parameters, it has activation_alpha",
    ),
    "gemm parameters too many": (
        case("FusedGemm", [f4(3, 5), f4(5, 7)], activation="Relu", activation_beta=0.5),
        "with activation_beta, it has none",
    ),
    "mask index": (case("EmbedLayerNormalization", [*_EMBEDDING, _IDS], 2, dtype=np.float32), "its mask index is a result"),
    "sum with segments": (
        case("EmbedLayerNormalization", [_IDS, _IDS, *_EMBEDDING[2:4], f4(4, 7), f4(7), f4(7)], 3, dtype=np.float32),
        "its mask index is a result",
    ),
    "only the sum": (_sum_of_segments(), "onnxruntime adds the segments"),
    "half the segments": (
        case("EmbedLayerNormalization", [_IDS, _IDS, *_EMBEDDING[2:]], dtype=np.float32),
        "only one is given",
    ),
    "half the stored segments": (
        case(
            "QEmbedLayerNormalization",
            [
                _IDS,
                _IDS,
                u8(4, 7),
                u8(4, 7),
                None,
                u8(7),
                u8(7),
                None,
                s(1),
                s(1),
                None,
                s(1),
                s(1),
                np.uint8(0),
                np.uint8(0),
                None,
                np.uint8(0),
                np.uint8(0),
            ],
            2,
            dtype=np.float32,
        ),
        "of which some are missing",
    ),
    "kind of index": (case("EmbedLayerNormalization", _EMBEDDING, dtype=np.float32, mask_index_type=2), "mask_index_type=2"),
    "ids": (case("EmbedLayerNormalization", [_IDS[0], *_EMBEDDING[1:]], dtype=np.float32), "its ids have 1 axes"),
    "table of bits": (case("GatherBlockQuantized", [u8(4, 16), _PLACE, f4(4, 2)], fed=(1,), bits=3, block_size=16), "3 bits"),
    "table": (case("GatherBlockQuantized", [f4(4, 16), _PLACE, f4(4, 1)], fed=(1,), block_size=16), "its table is float32"),
    "columns of a table": (
        case("GatherBlockQuantized", [u8(4, 16), _PLACE, f4(4, 2)], fed=(1,), gather_axis=1, block_size=16),
        "gather_axis=1",
    ),
    "small blocks": (case("GatherBlockQuantized", [u8(4, 16), _PLACE, f4(4, 4)], fed=(1,), block_size=8), "block_size=8"),
    "zero points of a table": (
        case("GatherBlockQuantized", [u8(4, 16), _PLACE, f4(4, 2), u8(3)], fed=(1,), block_size=16),
        "its 3 bytes do not hold",
    ),
    "bnb4 turned": (case("MatMulBnb4", [f4(3, 16), u8(8), f4(1)], transB=0, **_BNB), "transB=0, which onnxruntime"),
    "bnb4 kind": (case("MatMulBnb4", [f4(3, 16), u8(8), f4(1)], **{**_BNB, "quant_type": 2}), "quant_type=2"),
    "bnb4 block": (case("MatMulBnb4", [f4(3, 16), u8(8), f4(1)], **{**_BNB, "block_size": 8}), "block_size=8"),
    "bnb4 bytes": (case("MatMulBnb4", [f4(3, 16), u8(9), f4(1)], **_BNB), "its B has 9 elements, must have 8"),
    "bnb4 scales": (case("MatMulBnb4", [f4(3, 16), u8(8), f4(2)], **_BNB), "its absmax has 2 elements, must have 1"),
    "bnb4 type": (case("MatMulBnb4", [f4(3, 16), i8(8), f4(1)], **_BNB), "B is int8"),
    "bnb4 computed": (case("MatMulBnb4", [f4(3, 16), u8(8), f4(1)], fed=(0, 2), **_BNB), "its absmax is computed"),
    "lengths of a cache": (cached([5, 3], 6, steps=3, held=3, told=True), "end at [5, 3] of 6: the last rows of a shorter one"),
    "computed lengths of a cache": (cached([2, 2], 3, steps=3, held=3), "how long its sequences are is not known"),
    "more than the cache": (cached([8, 8], 9, told=True), "its sequences of 5 and 1 steps end at [8, 8] of 9"),
    "keys of what is added": (cached([5], 6, told=True, added=f4(1, 1, 1, 4)), "its attention_bias is of 4 keys"),
    "shorter sequences": (prompt(ends=3), "the last rows of a shorter one hold anything"),
    "longer buffer": (prompt(total=7), "its total length is 7, and it has 5 steps and no cache"),
    "computed lengths": (prompt(computed=True), "how long its sequences are is not known"),
    "window of none": (prompt(local_window_size=0), "local_window_size=0"),
    "window both ways": (prompt(local_window_size=2, causal=0), "causal=0"),
    "groups": (prompt(kv_num_heads=3), "kv_num_heads=3"),
    "smooth": (prompt(smooth_softmax=1), "smooth_softmax=1"),
    "scores": (prompt(qk_output=1), "qk_output=1"),
    "stored cache": (prompt(k_quant_type="PER_TENSOR"), "k_quant_type='PER_TENSOR'"),
    "bits of a cache": (prompt(kv_cache_bit_width=4), "kv_cache_bit_width=4"),
    "window cache": (prompt(sliding_window_cache=1), "a cache"),
    "sink": (prompt(None, None, None, None, f4(4)), "a sink"),
    "places": (prompt(f4(9, 8), f4(9, 8), np.zeros((2, 5), np.int64), do_rotary=1), "position_ids"),
    "packed features": (prompt(packed=True, num_heads=5, kv_num_heads=5), "are not 5 queries, 5 keys and values"),
    "scaled rotation": (case("RotaryEmbedding", _TURN, scale=2.0), "scale=2.0"),
    "packed rotation": (case("RotaryEmbedding", _TURN, is_packed_batching=1), "batches that are packed"),
    "axes of a rotation": (case("RotaryEmbedding", [f4(3, 8), *_TURN[1:]]), "an input of 2 axes"),
    "heads of a rotation": (case("RotaryEmbedding", _TURN, num_heads=2), "num_heads=2, rotary_embedding_dim=0"),
    "part of a rotation": (case("RotaryEmbedding", _TURN, num_heads=1, rotary_embedding_dim=6), "rotary_embedding_dim=6"),
    "width of a rotation": (case("RotaryEmbedding", [f4(2, 3, 10), *_TURN[1:]]), "10 features have heads of 8"),
    "four axes of a rotation": (case("RotaryEmbedding", [f4(2, 3, 5, 6), *_TURN[1:]]), "3 heads of 6 features"),
    "axis that is computed": (case("ExpandDims", [f4(2, 3), np.asarray([1], np.int32)], fed=(0, 1)), "its axis is computed"),
    "axis that is none": (case("ExpandDims", [f4(2, 3), np.asarray([3], np.int32)]), "axis=3 is no axis of 3"),
    "many starts": (case("Range", [f4(2), f4(1), f4(1)]), "a number of shape ['2']"),
    "pad": (case("Pad", [f4(3, 5), np.asarray([0, 1, 0, 1])], mode="wrap"), "mode='wrap'"),
    "metric": (case("CDist", [f4(5, 3), f4(7, 3)], metric="cosine"), "metric='cosine'"),
    "axes of distances": (case("CDist", [f4(2, 5, 3), f4(7, 3)]), "3 and 2 axes"),
    "few inputs": (case("QLinearAdd", [u8(3), s(1), None]), "has 3 inputs, QLinearAdd takes 7 to 8"),
    "missing input": (case("QLinearAdd", [u8(3), None, None, u8(3), s(1), None, s(1)], fed=(0, 3)), "input 'A_scale' is missing"),
    "missing attribute": (case("QLinearSoftmax", [u8(2, 3), s(1), None, s(1), np.uint8(0)]), "attribute 'opset' is missing"),
    "kind": (case("QLinearLeakyRelu", [u8(2, 3), s(1), None, s(1)], alpha="x"), "'alpha' must be a float"),
    "unknown attribute": (case("QLinearSigmoid", [u8(2, 3), s(1), None, s(1)], mode=1), "mode"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    (model, _), why = REFUSED[name]
    (problem,) = convcore.load(model).problems
    assert why in problem.why and problem.layer == "node" and problem.type == f"{MS}.{model.graph.node[0].op_type}"
    with pytest.raises(UnsupportedError, match="node"):
        convcore.convert(model, "pytorch")


def test_ordered_ones_are_seven() -> None:
    assert len(_ORDERED) == 7


def test_forms() -> None:
    made = form("QLinearConcat")
    assert made is not None and made.least == 2 and made.most > 1000 and made.needed_attributes == ("axis",)
    assert form("Nothing") is None
