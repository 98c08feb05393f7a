"""Opsets 7 to 12: what is written is checker-clean and equal in onnxruntime, what is refused names the opset that has it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, checker, defs, helper, numpy_helper
from onnx_kit import Summary, emit_model, load_model, same

import convcore
from convcore.build.builder import Builder
from convcore.emit.plan import Ref, State
from convcore.emit.scribe import Scribe
from convcore.errors import BadFileError, InputError, UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ir.tensors import as_tensor
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.rules import NotExpressible
from convcore.testing.samples import sample_graph
from convcore_onnx.dialect import OnnxDialect
from convcore_onnx.layout import CONVENTION
from convcore_onnx.older import MOVED, WRITTEN, changed_before
from convcore_onnx.older_forms import OTHER
from convcore_onnx.rules import RULES

ort = pytest.importorskip("onnxruntime")

OPSETS = range(7, WRITTEN)
NAMES = sorted(name for name, decl in all_ops().items() if not decl.regions)
NEEDS = re.compile(r"(?:needs?|before) opset (\d+)")


def written(name: str, i: int, batch: bool, opset: int) -> tuple[str, str]:
    """("right" | "wrong" | "refused" | "runtime lacks it", why) of a sample of an op."""
    from convcore_onnx.runtime import open_runtime

    decl = all_ops()[name]
    g, feeds = sample_graph(decl, decl.samples[i], batch)
    want = Interpreter(g).run(feeds)
    assign(g, CONVENTION, io="source")
    try:
        model = emit_model(g, opset)
    except UnsupportedError as e:
        return "refused", str(e)
    if all(v.shape is not None for v in g.outputs):
        checker.check_model(model, full_check=True)
    try:
        got = open_runtime(model).run(feeds)
    except (BadFileError, InputError, UnsupportedError) as e:
        assert isinstance(e, UnsupportedError) or "NOT_IMPLEMENTED" in str(e), (name, i, opset, str(e))
        return "runtime lacks it", str(e)
    why = next((w for w in (same(a, np.asarray(b), 1e-4, 1e-5) for a, b in zip(got, want)) if w), "")
    return ("wrong" if why else "right"), why


def sweep(names: list[str], opset: int, batches: tuple[bool, ...]) -> Summary:
    """Each sample; what is refused and would not be at 13 names a later opset, and following it ends with the model written."""
    summary = Summary()
    for name in names:
        for i in range(len(all_ops()[name].samples)):
            for batch in batches:
                key, at = f"{name}[{i}]{' batch' if batch else ''} in opset {opset}", opset
                how, why = written(name, i, batch, opset)
                summary.add(how, key, why)
                while how == "refused" and at < WRITTEN:
                    found = [int(v) for v in NEEDS.findall(why)]
                    at = min((v for v in found if v > at), default=WRITTEN)
                    how, why_later = written(name, i, batch, at)
                    if how != "refused" and not found:
                        summary.add("nameless", key, why)
                    why = why_later
                if how == "wrong":
                    summary.add("wrong", f"{key}, as it says, in opset {at}", why)
    return summary


@pytest.mark.parametrize("opset", OPSETS)
def test_some_samples(opset: int) -> None:
    """One in six ops at each opset: together all."""
    summary = sweep(NAMES[opset % 6 :: 6], opset, (False,))
    assert not summary.detail.get("wrong") and not summary.detail.get("nameless"), summary.detail
    assert summary.counts["right"] >= 40, summary.counts


@pytest.mark.slow
@pytest.mark.parametrize("opset", OPSETS)
def test_every_sample(opset: int) -> None:
    summary = sweep(NAMES, opset, (False, True))
    assert not summary.detail.get("wrong") and not summary.detail.get("nameless"), summary.detail
    assert summary.counts["right"] >= {7: 770, 8: 800, 9: 890, 10: 930, 11: 1030, 12: 1050}[opset], summary.counts


@pytest.mark.parametrize("opset", OPSETS)
def test_every_operator_with_other_inputs_has_an_older_form(opset: int) -> None:
    """The tables cover whatever the schemas say has changed in its inputs."""
    for name in {s.name for s in defs.get_all_schemas_with_history() if s.domain == ""}:
        if not changed_before(name, opset):
            continue
        old, new = (defs.get_schema(name, v).inputs for v in (opset, WRITTEN))
        if [i.name for i in old] != [i.name for i in new]:
            assert name in MOVED or name in OTHER, name


# ---- single nodes, against what opset 13 gives in onnxruntime


def node(
    type: str, arrays: list[Any], consts: dict[int, Any] | None = None, n: int = 1, shapes: list[Any] | None = None, **attrs: Any
) -> Any:
    """A model of one node of opset 13; inputs named in ``consts`` are initializers, None is left out."""
    consts = consts or {}
    count = max([len(arrays), *(i + 1 for i in consts)])
    names = ["" if i not in consts and (i >= len(arrays) or arrays[i] is None) else f"i{i}" for i in range(count)]
    infos = [
        helper.make_tensor_value_info(f"i{i}", helper.np_dtype_to_tensor_dtype(a.dtype), shapes[i] if shapes else a.shape)
        for i, a in enumerate(arrays)
        if a is not None
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), f"i{i}") for i, a in consts.items()]
    made = helper.make_node(type, names, [f"o{i}" for i in range(n)], "the_node", **attrs)
    outs = [ValueInfoProto(name=f"o{i}") for i in range(n)]
    graph = helper.make_graph([made], "g", infos, outs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", WRITTEN)], ir_version=8)


def run(model: Any, arrays: list[Any]) -> list[Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {f"i{i}": a for i, a in enumerate(arrays) if a is not None}))


F = np.float32
ODD = np.asarray([[np.nan, np.inf, -np.inf, 0.0, -0.0], [0.5, 1.5, -0.5, -1.5, 2.5], [3.4e38, -3.4e38, 1e-45, -2.5, 7.0]], F)
ROLLED = np.roll(ODD, 1, 1)
MIXED = np.where(np.arange(15).reshape(3, 5) % 2, ODD, ROLLED)
INTS = np.asarray([[-7, 7, -6, 0, 5], [2**30, -(2**30), 3, -3, 1]], np.int32)
CUBE = np.arange(2 * 3 * 5, dtype=F).reshape(2, 3, 5)
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(F)
NONE: Any = None

SAME: list[tuple[int, str, list[Any], dict[int, Any], dict[str, Any]]] = [
    (7, "Equal", [ODD, MIXED], {}, {}), (7, "LessOrEqual", [ODD, MIXED], {}, {}), (7, "GreaterOrEqual", [ODD, MIXED], {}, {}),
    (7, "Equal", [INTS.astype(np.int64), INTS.astype(np.int64)[::-1].copy()], {}, {}), (7, "IsNaN", [ODD], {}, {}),
    (7, "IsInf", [ODD], {}, {}), (7, "IsInf", [ODD], {}, {"detect_negative": 0}), (7, "IsInf", [ODD], {}, {"detect_positive": 0}),
    (7, "Round", [ODD], {}, {}), (7, "Round", [np.linspace(-4, 4, 129, dtype=F)], {}, {}),
    (7, "Round", [np.asarray([0.49999997, -0.49999997, 8388607.5, 1e30], F)], {}, {}),
    (7, "Where", [ODD > 0, ODD, ROLLED], {}, {}), (7, "Where", [ODD[:, :1] > 0, ODD, ROLLED[:1]], {}, {}),
    (7, "Max", [ODD[1], CUBE], {}, {}), (9, "Max", [INTS, INTS[:, ::-1].copy()], {}, {}), (9, "Min", [INTS, INTS[:1]], {}, {}),
    (7, "Clip", [ODD], {1: F(-1)}, {}), (7, "Clip", [ODD], {2: F(2)}, {}), (7, "Clip", [ODD], {1: F(-1), 2: F(2)}, {}),
    (7, "Softmax", [CUBE / 9], {}, {"axis": 1}), (7, "LogSoftmax", [CUBE / 9], {}, {}), (7, "Hardmax", [CUBE], {}, {"axis": 0}),
    (7, "Softmax", [CUBE[:, :, :1]], {}, {"axis": -2}),
    (7, "Slice", [CUBE], {1: [0, 4], 2: [2, -6], 3: [0, -1], 4: [1, -2]}, {}),
    (7, "Slice", [CUBE], {1: [-2], 2: [9], 3: [-1]}, {}),
    (7, "Slice", [CUBE], {1: [1, 1], 2: [9, 9], 3: [1, 2], 4: [1, 3]}, {}),
    (7, "Expand", [CUBE[:, :1]], {1: [3, 1, 3, 5]}, {}), (7, "Mod", [INTS], {1: np.int32(-4)}, {}),
    (7, "Mod", [INTS], {1: np.int32(3)}, {}), (7, "Gather", [CUBE], {1: [[-1, 0], [1, -2]]}, {"axis": 1}),
    (7, "Gather", [CUBE], {1: [[-1, 0], [1, -2]]}, {}),
    (7, "Pad", [CUBE], {1: [0, 1, 2, 0, 0, 1], 2: F(0.5)}, {}), (7, "Pad", [CUBE], {1: [0, 1, 2, 0, 0, 1]}, {"mode": "reflect"}),
    (7, "ReduceSum", [CUBE], {1: [-1, 0]}, {"keepdims": 0}), (7, "ReduceMean", [CUBE], {}, {"axes": [-2]}),
    (7, "Squeeze", [CUBE[:, :1]], {1: [-2]}, {}), (7, "Unsqueeze", [CUBE], {1: [-1, 0]}, {}),
    (7, "Concat", [CUBE, CUBE], {}, {"axis": -1}),
    (7, "ArgMax", [CUBE], {}, {"axis": -1}), (7, "Flatten", [CUBE], {}, {"axis": -1}),
    (7, "Gemm", [CUBE[0], CUBE[0].T.copy()], {}, {}),
    (7, "DepthToSpace", [np.arange(48, dtype=F).reshape(1, 8, 2, 3)], {}, {"blocksize": 2}),
    (7, "Resize", [IMAGE], {2: np.asarray([1, 1, 2, 3], F)},
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    (7, "Resize", [IMAGE], {2: np.asarray([1, 1, 2, 2], F)}, {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}),
    (7, "Resize", [IMAGE], {3: [2, 3, 10, 14]}, {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}),
    (10, "Resize", [IMAGE], {2: np.asarray([1, 1, 0.5, 0.5], F)},
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}),
    (11, "Resize", [IMAGE], {3: [2, 3, 11, 4]}, {"mode": "linear"}),
    (11, "Resize", [IMAGE], {2: np.asarray([1, 1, 0.6, 2], F)}, {"mode": "cubic"}),
    (9, "OneHot", [np.asarray([0, -1, 3, -4, -5, 4, 9, -9])], {1: np.int64(4), 2: np.asarray([2, 5], F)}, {}),
    (9, "ScatterElements", [CUBE[0]], {1: [[0, 2]], 2: np.asarray([[8, 9]], F)}, {"axis": 1}),
    (7, "Resize", [IMAGE], {2: np.asarray([1, 1, 1.5, 2], F)},
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    (10, "QuantizeLinear", [CUBE], {1: F(0.5), 2: np.uint8(3)}, {}),
    (10, "QuantizeLinear", [CUBE / 3], {1: np.asarray([0.5, 1, 2], F), 2: np.asarray([3, 0, 7], np.uint8)}, {}),
    (7, "DepthToSpace", [np.arange(48, dtype=F).reshape(1, 8, 2, 3)], {}, {"blocksize": 2, "mode": "CRD"}),
    (7, "Resize", [IMAGE], {3: [2, 3, 11, 4]}, {"mode": "linear"}),
    (7, "Resize", [IMAGE], {2: np.asarray([1, 1, 1.5, 2], F)},
     {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}),
    (7, "Resize", [IMAGE], {3: [2, 3, 8, 14]}, {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}),
    (7, "Resize", [IMAGE], {2: np.asarray([1, 1, 0.5, 0.5], F)},
     {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(SAME)), ids=lambda i: f"{SAME[i][1]}-{i}")
def test_a_node_means_the_same(case: int) -> None:
    least, type, arrays, consts, attrs = SAME[case]
    source = node(type, arrays, consts, **attrs)
    want = run(source, arrays)
    plain = np.clip(arrays[0], consts.get(1), consts.get(2)) if type == "Clip" else None
    near = 1e-5 if type == "Resize" else 1e-6  # by products of matrices where it is not Resize
    for opset in range(least, WRITTEN):
        made = emit_model(load_model(source), opset)
        assert made.opset_import[0].version == opset
        checker.check_model(made, full_check=True)
        # onnxruntime limits infinities where a limit of Clip-11 and later is left out; written before that, there is none
        for a, b in zip(run(made, arrays), want if plain is None or opset > 10 else [plain], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=near, atol=near)


I64 = np.asarray([1], np.int64)
STEPPED: dict[int, Any] = {1: [0], 2: [9], 3: [1], 4: [2]}
REFUSED: list[tuple[int, int, str, list[Any], dict[int, Any], dict[str, Any], Any]] = [
    (12, 13, "ReduceSum", [CUBE, I64], {}, {}, None), (12, 13, "Squeeze", [CUBE[:, :1], I64], {}, {}, None),
    (12, 13, "Unsqueeze", [CUBE, I64], {}, {}, None), (9, 10, "Slice", [CUBE, I64, I64, I64], {}, {}, None),
    (9, 10, "Slice", [CUBE], STEPPED, {}, [("n", "m", 5)]), (9, 10, "Slice", [CUBE], STEPPED, {}, [None]),
    (9, 10, "TopK", [CUBE, I64], {}, {}, None), (10, 11, "TopK", [CUBE], {1: [2]}, {"largest": 0}, None),
    (10, 11, "Pad", [CUBE, np.zeros(6, np.int64)], {}, {}, None),
    (10, 11, "Pad", [CUBE.astype(np.float64)], {1: [0, 0, 0, 0, 0, 1], 2: np.float64(0.1)}, {}, None),
    (9, 10, "MaxPool", [IMAGE], {}, {"kernel_shape": [2, 2], "dilations": [2, 2]}, None), (8, 9, "Erf", [CUBE], {}, {}, None),
    (7, 8, "MaxPool", [IMAGE], {}, {"kernel_shape": [2, 2], "n": 2}, None), (8, 9, "Less", [I64, I64], {}, {}, None),
    (9, 10, "AveragePool", [IMAGE], {}, {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}, None),
    (10, 11, "OneHot", [I64, np.int64(3)], {2: np.asarray([0, 1], F)}, {}, [(1,), ()]),
    (8, 9, "Where", [CUBE > 3, CUBE, CUBE], {}, {}, [("n", 3, 5)] * 3), (7, 8, "Max", [CUBE, CUBE], {}, {}, [("n", 3, 5),
    (2, 3, 5)]),
    (9, 10, "Mod", [INTS, INTS], {}, {}, None),
    (9, 10, "Mod", [INTS], {1: np.int32(0)}, {}, None), (9, 10, "Mod", [CUBE, CUBE], {}, {"fmod": 1}, None),
    (10, 11, "GatherElements", [CUBE, np.zeros((2, 3, 5), np.int64)], {}, {}, None),
    (10, 11, "Gather", [CUBE], {1: [-1]}, {"axis": 1}, [("n", "m", 5)]),
    (11, 12, "GatherND", [CUBE], {1: [[0], [1]]}, {"batch_dims": 1}, None),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=lambda i: f"{REFUSED[i][2]}-{i}")
def test_what_an_opset_lacks_is_refused_with_the_one_that_has_it(case: int) -> None:
    opset, since, type, arrays, consts, attrs, shapes = REFUSED[case]
    attrs = dict(attrs)
    source = node(type, arrays, consts, n=attrs.pop("n", 2 if type == "TopK" else 1), shapes=shapes, **attrs)
    with pytest.raises(UnsupportedError) as caught:
        emit_model(load_model(source), opset)
    assert str(since) in NEEDS.findall(str(caught.value)), str(caught.value)
    emit_model(load_model(source), WRITTEN)


# ---- whole files


@pytest.mark.parametrize("opset, ir", [(7, 3), (8, 3), (9, 4), (10, 5), (11, 6), (12, 7)])
def test_the_file_format_is_that_of_the_opset(opset: int, ir: int) -> None:
    """Before IR version 4 initializers are inputs too: by name, type and shape, and still weights when they are read."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (Dim("n"), 5))
    w = np.random.default_rng(1).standard_normal((3, 5)).astype(F)
    g.outputs = [b.op("linear", x, b.weight(w, "w"), b.weight(w[:, 0], "b"), output_names=["y"])]
    m = emit_model(g, opset)
    assert m.ir_version == ir
    assert [i.name for i in m.graph.input] == (["x", "w", "b"] if ir < 4 else ["x"])
    checker.check_model(m, full_check=True)
    back = load_model(m)
    assert [v.name for v in back.inputs] == ["x"]
    v = np.ones((2, 5), F)
    session = ort.InferenceSession(m.SerializeToString())
    np.testing.assert_allclose(session.run(None, {"x": v})[0], Interpreter(back).run([v])[0], rtol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
def test_branches_and_loops(opset: int) -> None:
    """Regions are written in the same words."""
    f, info = TensorProto.FLOAT, helper.make_tensor_value_info
    then, other = (helper.make_graph([helper.make_node(t, ["s"], [t])], t, [], [info(t, f, None)]) for t in ("Relu", "Neg"))
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Softmax", ["v"], ["p"], axis=0),
         helper.make_node("Add", ["p", "v"], ["v2"])],
        "body", [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("v", f, [3, 5])],
        [info("c2", TensorProto.BOOL, []), info("v2", f, [3, 5])],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("If", ["q"], ["a"], then_branch=then, else_branch=other),
         helper.make_node("Loop", ["three", "yes", "a"], ["y"], body=body)],
        "g", [info("s", f, [3, 5]), info("q", TensorProto.BOOL, [])], [info("y", f, [3, 5])],
        [numpy_helper.from_array(np.int64(3), "three"), numpy_helper.from_array(np.asarray(True), "yes")],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", WRITTEN)], ir_version=8)
    made = emit_model(load_model(source), opset)
    checker.check_model(made, full_check=True)
    for q in (True, False):
        feed = {"s": ROLLED[1:2] * np.ones((3, 1), F), "q": np.asarray(q)}
        want, got = (ort.InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (source, made))
        np.testing.assert_allclose(got, want, rtol=1e-6)


A = DType.FLOAT32
ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric"}


def constant(*values: Any, dtype: Any = F) -> State:
    return State(as_tensor(np.asarray(values, dtype)))


def value(*shape: Any, dtype: DType = A) -> Ref:
    return Ref(None, 0, dtype, shape)


HIDDEN: list[tuple[int, int, str, list[Any], dict[str, Any]]] = [
    (10, 11, "DepthToSpace", [value(1, 8, 2, 2)], {"blocksize": 2, "mode": "CRD"}), (8, 9, "Scan", [value(5), value(3, 5)], {}),
    (12, 13, "QuantizeLinear", [value(3), constant(1, 2, 3)], {}),
    (12, 13, "DequantizeLinear", [value(3), constant(1)], {"axis": 0}),
    (10, 11, "Clip", [value(3, dtype=DType.FLOAT64), State(as_tensor(np.float64(0.1)))], {}),
    (10, 11, "Clip", [value(3), value()], {}), (10, 11, "Resize", [value(1, 1, 2, 2), None, value(4)], ASYMMETRIC),
    (10, 11, "Resize", [value(1, 1, 2, 2), None, constant(1, 1, 2, 2)], {}),
    (10, 11, "Resize", [value(1, 1, 2, 2), None, constant(1, 1, 2, 2)], {"mode": "cubic", **ASYMMETRIC}),
    (10, 11, "Resize", [value(1, 1, 2, 2), None, constant(1, 1, 2, 1.5)], ASYMMETRIC),
    (10, 11, "Resize", [value(1, 1, 2, 2), None, constant(1, 1, 0.5, 2)], {"nearest_mode": "floor", **ASYMMETRIC}),
    (10, 11, "Resize", [value(1, 1, 2, 2), None, None, constant(1, 1, 3, 4, dtype=np.int64)], {"mode": "linear", **ASYMMETRIC}),
    (9, 10, "Resize", [value(1, 1, 2, 2), None, constant(1, 1, 0.5, 0.5)], {"nearest_mode": "ceil", **ASYMMETRIC}),
    (11, 12, "Dropout", [value(3), State(as_tensor(F(0.5))), State(as_tensor(np.asarray(True)))], {}),
    (11, 12, "Dropout", [value(3)], {"seed": 7}), (12, 13, "ReduceSum", [value(3)], {"noop_with_empty_axes": 1}),
    (7, 8, "Expand", [Ref(None, 0, A, None), constant(2, dtype=np.int64)], {}),
    (7, 8, "Expand", [value(3), constant(5, dtype=np.int64)], {}), (9, 10, "IsInf", [value(3, dtype=DType.BFLOAT16)], {}),
    (9, 10, "IsInf", [value(3)], {"detect_positive": 0, "detect_negative": 0}), (8, 9, "Where", [value(0)] * 3, {}),
    (10, 13, "Softmax", [Ref(None, 0, A, None)], {}),
    (10, 11, "ArgMax", [Ref(None, 0, A, None)], {"axis": -1}), (10, 11, "Round", [Ref(None, 0, None, (3,))], {}),
    (10, 11, "OneHot", [value(3), constant(3), constant(0, 1)], {}), (7, 8, "MaxPool", [value(1, 1, 4, 4)], {"storage_order": 1}),
]  # fmt: skip
"""Calls that no rule writes, or that ops are made of simpler ones for."""


@pytest.mark.parametrize("case", range(len(HIDDEN)), ids=lambda i: f"{HIDDEN[i][2]}-{i}")
def test_a_call_that_an_opset_lacks(case: int) -> None:
    opset, since, type, args, attrs = HIDDEN[case]
    g = Graph("g")
    scribe: Any = Scribe(g, RULES, WRITTEN, OnnxDialect(opset, 3, False, True), None, lambda s: [])
    with pytest.raises(NotExpressible, match=f"{type} .*needs opset {since} "):
        scribe.call(type, args, attrs)


@pytest.mark.parametrize("opset", OPSETS)
def test_no_axes_are_not_all_axes(opset: int) -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (1, 3, 1))
    g.outputs = [b.op("squeeze", x, axes=()), b.op("unsqueeze", x, axes=()), b.op("sum", x, axes=()), b.op("sum", x, axes=None)]
    v = CUBE[:1, :, :1].copy()
    want = Interpreter(g).run([v])
    made = emit_model(g, opset)
    got = ort.InferenceSession(made.SerializeToString()).run(None, {"x": v})
    for a, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, w)


@pytest.mark.parametrize("opset", OPSETS)
def test_a_dropout_that_is_kept(opset: int) -> None:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.op("dropout", b.input("x", "float32", (2, 5)), rate=0.25)]
    (made,) = emit_model(g, opset, keep_training=True).graph.node
    assert made.op_type == "Dropout"
    assert {a.name: a.f for a in made.attribute} == ({"ratio": 0.25} if opset < 12 else {})
    assert len(made.input) == (1 if opset < 12 else 3)


def test_an_op_whose_parts_lack_several_operators_names_each() -> None:
    how, why = written("detection_output", 0, False, 9)
    assert how == "refused" and len(set(NEEDS.findall(why))) >= 2, why


def test_an_old_source_is_written_in_its_opset_only_when_asked() -> None:
    """Newer runtimes know more of opset 18, and not all that is read can be said in old words."""
    source = node("Relu", [CUBE])
    source.opset_import[0].version, source.ir_version = 9, 4
    assert convcore.convert(source, "onnx").model.opset_import[0].version == 18
    made = convcore.convert(source, "onnx", opset=9).model
    assert (made.opset_import[0].version, made.ir_version) == (9, 4)
