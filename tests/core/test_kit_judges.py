"""The judges of the kit that runs other people's tests: what counts as a difference, at the tolerance and one past it, and what
becomes of many cases."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from convcore.ir.dtypes import DType
from convcore.testing import onnx_cases, standard, torch_runs, torch_suites
from convcore.testing.samples import Summary, same, sample_graph
from convcore.testing.standard import Outcome, Standard
from convcore.testing.torch_suites import Found, Suite

F = np.float32
NAN, INF = float("nan"), float("inf")


def case(**more: Any) -> onnx_cases.Case:
    return onnx_cases.Case("test_x", None, [], **more)


def objects(*items: Any) -> Any:
    made = np.empty(len(items), object)
    made[:] = items
    return made


def held(item: Any) -> Any:
    made = np.empty((), object)
    made[()] = item
    return made


def f32(*xs: float) -> Any:
    return np.array(xs, F)


def f16(*xs: float) -> Any:
    return np.array(xs, np.float16)


STANDARD: list[tuple[Any, Any, str]] = [
    # what is given, what is expected, why it differs
    (f32(1, 2), f32(1, 2), ""),
    (f32(1, 2 * (1 + 0.9e-3)), f32(1, 2), ""),
    (f32(1, 2 * (1 + 1.2e-3)), f32(1, 2), "y: values differ by 0.002"),
    (f32(0.9e-5), f32(0), ""),
    (f32(1.2e-5), f32(0), "y: values differ by 1.2"),
    (f32(NAN, 1), f32(NAN, 1), ""),
    (f32(NAN, 1), f32(1, 1), "y: values differ by"),
    (f32(INF), f32(-INF), "y: values differ by"),
    (np.array([1.0, 2.0]), f32(1, 2), "y: dtype float64, not float32"),
    (f32(1, 2), f32(1, 2, 3), r"y: shape \(2,\), not \(3,\)"),
    (np.array([1, 2]), np.array([1, 3]), "y: values differ in 1 of 2 places"),
    (np.array([True, False]), np.array([True, False]), ""),
    (np.array([1 + 1j], np.complex64), np.array([1 + 1j], np.complex64), ""),
    (np.array([1 + 1.1j], np.complex64), np.array([1 + 1j], np.complex64), "y: values differ by"),
    (objects("a", "b"), np.array(["a", "b"]), ""),
    (objects("a", "c"), np.array(["a", "b"]), "y: values differ in 1 of 2 places"),
    (f16(1000, 0.5), f16(1000, 0), ""),  # two units of the largest
    (f16(1000, 4), f16(1000, 0), "y: values differ by 4"),
    (f16(), f16(), ""),
    (np.array([1, 2], ml_dtypes.int4), np.array([1, 2], ml_dtypes.int4), ""),
    (np.array([1, 3], ml_dtypes.int4), np.array([1, 2], ml_dtypes.int4), "y: values differ$"),
    (np.array([NAN], ml_dtypes.float8_e4m3fn), np.array([NAN], ml_dtypes.float8_e4m3fn), ""),
    (held([f32(1), f32(2)]), [f32(1), f32(2)], ""),
    (objects(f32(1), f32(2)), [f32(1), f32(3)], r"y\[1\]: values differ"),
    (objects(f32(1)), [f32(1), f32(3)], "y: 1 elements, not 2"),
    (held(None), None, ""),
    (held(None), f32(1), "y: only one is absent"),
    (held(f32(1)), None, "y: only one is absent"),
    (held("a"), np.array("a"), ""),
]


@pytest.mark.parametrize(("got", "want", "why"), STANDARD, ids=[f"{i} {w[2]}" for i, w in enumerate(STANDARD)])
@pytest.mark.filterwarnings("ignore")
def test_outputs_of_the_standard(got: Any, want: Any, why: str) -> None:
    said = standard._differ("y", got, want, case())
    assert re.match(why, said) if why else said == "", said


def test_a_case_says_how_close() -> None:
    for more in ({"rtol": 0.2}, {"atol": 0.3}):
        assert standard._differ("y", f32(1.1), f32(1), case(**more)) == ""
        assert "differ by" in standard._differ("y", f32(1.4), f32(1), case(**more))


RESULTS: list[tuple[list[Any], list[Any], str]] = [
    ([f32(1, 2)], [f32(1, 2)], ""),
    ([f32(1), f32(2)], [f32(1)], "2 results, not 1"),
    ([f32(1, 2)], [f32(1, 2, 3)], r"result 0 is float32\[2\], not float32\[3\]"),
    ([np.array([1.0])], [f32(1)], r"result 0 is float64\[1\], not float32\[1\]"),
    ([np.array(1.0)], [np.array(1, F)], ""),  # numbers have the type that Python gives them
    ([np.array([1, 2])], [np.array([1, 3])], "result 0: values differ in 1 of 2 places"),
    ([f32(1), f32(INF, 1)], [f32(1), f32(-INF, 1)], "result 1: other infinities or NaNs"),
    ([f32(INF, 1)], [f32(2, 1)], "result 0: other infinities or NaNs"),
    ([f32(NAN, 1)], [f32(NAN, 1)], ""), ([f32(NAN)], [f32(NAN)], ""),
    ([f32(1000, 0.09)], [f32(1000, 0)], ""), ([f32(1000, 0.2)], [f32(1000, 0)], "result 0 differs by 0.2 at a range of 1e"),
    ([f32(0.9e-7)], [f32(0)], ""), ([f32(1.1e-7)], [f32(0)], "result 0 differs by 1.1e-07 at a range of 0"),
    ([np.array([1 + 1j])], [np.array([1 + 2j])], "result 0 differs by 1 at a range of 2.24"),
]  # fmt: skip


@pytest.mark.parametrize(("got", "want", "why"), RESULTS, ids=[f"{i} {w[2]}" for i, w in enumerate(RESULTS)])
def test_results_of_torch(got: Any, want: Any, why: str) -> None:
    said = torch_runs.differs(got, want, 1e-4)
    assert re.match(why, said) if why else said == "", said


def test_indices_among_equals() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([[3.0, 1.0, 3.0], [2.0, 2.0, 5.0]])
    values = np.array([3, 2], F)
    ours, theirs = np.array([2, 1]), np.array([0, 0])
    out = torch_runs.untied([values, ours], [values, theirs], (x,))
    assert out[1] is theirs and out[0] is values
    for given, why in [
        (np.array([1, 1]), "another value"), (np.array([3, 1]), "beyond the end"), (np.array([-1, 1]), "before the beginning"),
        (np.array([2, 1], np.int32), "another type of theirs"),
    ]:  # fmt: skip
        wanted = theirs.astype(given.dtype)
        assert torch_runs.untied([values, given], [values, wanted], (x,))[1] is given, why
    assert torch_runs.untied([values, ours], [values, theirs], ())[1] is ours
    wide = np.array([[3], [2]], F)
    assert torch_runs.untied([wide, ours[:, None]], [wide, theirs[:, None]], (x,))[1].tolist() == [[0], [0]]


def test_values_within_arguments() -> None:
    torch = pytest.importorskip("torch")
    a, b = torch.ones(2), torch.zeros(3)
    assert list(torch_runs.leaves([a, (None, {"k": b, "n": 2})])) == [a, b, 2]
    args = torch_runs.filled(([a, 1], {"k": (b, None)}), iter([b, a]))
    assert args[0][0] is b and args[0][1] == 1 and args[1]["k"][0] is a and args[1]["k"][1] is None
    pair = torch_runs.filled(Pair(a, b), iter([b, a]))
    assert type(pair) is Pair and pair.x is b and pair.y is a
    with pytest.raises(TypeError, match=r"a result of layout torch\.sparse_coo"):
        torch_runs.array(torch.ones(2).to_sparse())
    assert torch_runs.array(torch.tensor([1j]).conj()).tolist() == [-1j] and torch_runs.array(2).tolist() == 2


class Pair(NamedTuple):
    x: Any
    y: Any


SAME: list[tuple[Any, Any, str]] = [
    (f32(1, 2), f32(1, 2), ""), (f32(1.05), f32(1), ""), (f32(1.2), f32(1), "values differ by 0.2"),
    (np.array([1.0]), f32(1), "dtype float64, not float32"), (f32(1), f32(1, 2), r"shape \(1,\), not \(2,\)"),
    (np.array([1, 2]), np.array([1, 3]), "values differ in 1 of 2 places"), (f32(NAN), f32(NAN), ""),
    (objects("a"), np.array(["a"]), ""), (objects("b"), np.array(["a"]), "strings differ"),
    (np.array([1, 2], ml_dtypes.bfloat16), np.array([1, 2.05], ml_dtypes.bfloat16), ""),
    (np.array([1, 3], ml_dtypes.bfloat16), np.array([1, 2], ml_dtypes.bfloat16), "values differ by 1"),
    (np.array([1], ml_dtypes.int4), np.array([1], ml_dtypes.int4), ""),
    (np.array([1], ml_dtypes.int4), np.array([2], ml_dtypes.int4), "values differ$"),
    (objects(f32(1), f32(2)), objects(f32(1), f32(2)), ""), (objects(f32(1)), objects(f32(1), f32(2)), "1 elements, not 2"),
    (objects(f32(1), f32(5)), [f32(1), f32(2)], "values differ by 3"),
    (held(None), held(None), ""), (held(f32(1)), held(None), "absent"), (held(None), held(f32(1)), "absent"),
    (held(f32(1)), held(f32(1)), ""), (held(f32(3)), held(f32(1)), "values differ by 2"),
    (np.array([1j]), np.array([2j]), "values differ by 1"),
]  # fmt: skip


@pytest.mark.parametrize(("got", "want", "why"), SAME, ids=[f"{i} {w[2]}" for i, w in enumerate(SAME)])
def test_arrays_of_samples(got: Any, want: Any, why: str) -> None:
    said = same(got, want, 0.1, 1e-6)
    assert re.match(why, said) if why else said == "", said


def test_values_for_the_standards_evaluator_and_for_ours() -> None:
    sequence, absent, text = objects(f32(1), f32(2)), held(None), held("a")
    assert standard._plain_value(3) == 3 and standard._plain_value(text) is text
    assert standard._plain_value(absent) is None and standard._plain_value(held(f32(1))).tolist() == [1]
    assert [a.tolist() for a in standard._plain_value(sequence)] == [[1], [2]]
    texts = np.array(["a", "b"], object)
    assert standard._plain_value(texts) is texts
    made = standard._as_value([f32(1), f32(2)], DType("sequence_float32"))
    assert made.dtype == object and len(made) == 2
    assert standard._as_value(None, DType("optional_float32")).item() is None
    assert standard._as_value([1, 2], None).dtype == object and standard._as_value(1.5, DType.FLOAT32).tolist() == 1.5


def test_what_became_of_the_standards_cases() -> None:
    whats = ["right", "right", "refused", "wrong", "failed", "lacking", "disputed"]
    found = Standard("keras", [Outcome(f"c{i}", f"Op{i % 2}", w, f"why | {w}") for i, w in enumerate(whats)])
    assert found.share == 2 / 5 and Standard("x").share == 1 and [o.case for o in found.of("right")] == ["c0", "c1"]
    assert str(found) == (
        "keras: 2 right, 1 refused, 1 wrong, 1 failed, 1 disputed (40.0% of the cases whose ops the IR has); 1 that it lacks; "
        "28.6% of all 7 right"
    )
    assert (
        str(Standard("x"))
        == "x: 0 right, 0 wrong (100.0% of the cases whose ops the IR has); 0 that it lacks; 0.0% of all 0 right"
    )
    page = found.page().splitlines()
    assert page[2:4] == ["| `Op0` | 1 | 1 | 1 | 1 |  |", "| `Op1` | 1 |  | 1 |  | 1 |"]
    assert page[-3:] == [
        "| `Op0` | disputed | 1 | why \\| disputed |", "| `Op0` | refused | 1 | why \\| refused |",
        "| `Op1` | lacking | 1 | why \\| lacking |",
    ]  # fmt: skip


def test_what_became_of_torchs_samples() -> None:
    told = {
        "a": ["agree", "agree", "outside"], "b": ["agree", "refused"], "c": ["refused"], "d": ["agree", "failed"], "e": ["wrong"],
        "f": ["outside"], "g": ["disputed", "agree"], "h": ["disputed"],
    }  # fmt: skip
    suite = Suite("opinfo", "onnx", [Found(op, str(i), w, f"{w} {i % 2}") for op, ws in told.items() for i, w in enumerate(ws)])
    assert suite.verdicts() == {"agree": 1, "partly": 2, "refused": 2, "wrong": 2}
    assert suite.share == 1 / 7 and Suite("t", "x").share == 1 and "f" not in suite.ops()
    assert str(suite) == (
        "opinfo to onnx: of 7 deterministic, exportable ops 1 agree, 2 partly, 2 refused, 2 wrong (14.3% agree in every sample); "
        "samples: 5 agree, 2 refused, 1 wrong, 1 failed, 2 disputed, 2 random or not exported by torch"
    )
    assert suite.blocking() == [(1, "refused 1"), (1, "refused 0")]
    assert suite.entries()["b"] == {"agree": 1, "refused": 1, "why": {"refused": ["refused 1"]}}
    cases = [torch_suites.Case("a", str(i), lambda: (None, ())) for i in range(5)]
    assert len(torch_suites.sampled(cases, 3, 1)) == 3 and len(torch_suites.sampled(cases, 9, 1)) == 5
    assert torch_suites.sampled(cases, 3, 1) == torch_suites.sampled(cases, 3, 1) != torch_suites.sampled(cases, 3, 2)


def model_of(*ops: str) -> Any:
    nodes = [helper.make_node(o, ["x"], ["y"]) for o in ops]
    x, y, w = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 0 if n == "y" else 3]) for n in "xyw")
    return helper.make_model(helper.make_graph(nodes, "g", [x, w], [y], [helper.make_tensor("w", 1, [2, 3], [0.0] * 6)]))


def test_cases_by_operator() -> None:
    for name, model, kind, op in [
        ("test_relu_a", model_of("Relu"), "node", "Relu"), ("test_gelu_expanded", model_of("Mul", "Add"), "node", "gelu (body)"),
        ("test_two", model_of("Mul", "Add"), "node", "several"), ("test_net", model_of("Relu"), "simple", "(simple)"),
    ]:  # fmt: skip
        made = onnx_cases.Case(name, model, [], kind=kind)
        assert made.op == op and made.inputs == (["x", "w"] if kind == "node" else ["x"])
    cases = [onnx_cases.Case(f"{op}{i}", model_of(op), []) for op in ("Relu", "Abs", "Neg") for i in range(3)]
    for seed in range(4):
        assert {c.op for c in onnx_cases.sample(cases, 3, seed)} == {"Relu", "Abs", "Neg"}
    assert len(onnx_cases.sample(cases, 4, 0)) == 4 and len(onnx_cases.sample(cases, 99, 0)) == 9
    (ramp,) = onnx_cases._ramps(model_of("Relu"))
    assert ramp.shape == (2, 3) and ramp.dtype == F and ramp.ravel().tolist() == pytest.approx([n / 6 for n in range(6)])


def test_samples_as_graphs() -> None:
    from convcore.opset import Sample, op

    graph, feeds = sample_graph(op("linear"), Sample((2, 3), (5, 3), (5,)), True)
    assert [str(d) for d in graph.inputs[0].shape or ()] == ["N", "3"] and list(graph.weights) == ["w", "b"] and len(feeds) == 1
    graph, feeds = sample_graph(op("add"), Sample((2, 3), (2, 3)), True)
    assert [[str(d) for d in v.shape or ()] for v in graph.inputs] == [["N", "3"], ["2", "3"]]
    assert sample_graph(op("add"), Sample((2, 3), (2, 3)), False)[0].inputs[0].shape == (2, 3)
    assert len(sample_graph(op("split"), Sample((2, 6), axis=1, sizes=(2, 4)), False)[0].outputs) == 2
    summary = Summary()
    for outcome, name in (("right", "a"), ("right", "b"), ("none", "c")):
        summary.add(outcome, name, "why")
    assert str(summary) == "1 none, 2 right" and summary.detail["right"] == [("a", "why"), ("b", "why")]
