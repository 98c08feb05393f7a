"""ONNX written back: names of outputs and sizes stay, and the runtime is never worse off than with the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import emit_model

import convcore
from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin

N = helper.make_node
rng = np.random.default_rng(11)


def f32(*shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def model(nodes: Any, inputs: Any, outputs: Any, weights: Any = (), opset: int = 17) -> Any:
    """A ModelProto; inputs and outputs as (name, shape), floats."""
    info = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in x] for x in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *info, [numpy_helper.from_array(np.asarray(a), n) for n, a in weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def session(m: Any, optimised: bool = True) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])


def both(m: Any, *arrays: Any) -> list[Any]:
    """What onnxruntime computes, with and without its optimisations (which must agree)."""
    names = [i.name for i in m.graph.input]
    a, b = (session(m, o).run(None, dict(zip(names, arrays))) for o in (True, False))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    return list(a)


ANCHORS = f32(3)
RELU = N("Relu", ["x"], ["y"])
PASSED = {
    "input": model([RELU], [("x", ["n", 2])], [("y", ["n", 2]), ("x", ["n", 2])]),
    "initializer": model([RELU], [("x", ["n", 2])], [("y", ["n", 2]), ("anchors", [3])], [("anchors", ANCHORS)]),
    "used initializer": model(
        [N("Add", ["x", "w"], ["y"])], [("x", ["n", 3])], [("y", ["n", 3]), ("w", [3])], [("w", ANCHORS)]
    ),
    "constant": model(
        [N("Constant", [], ["anchors"], value=numpy_helper.from_array(ANCHORS)), RELU], [("x", ["n", 2])],
        [("y", ["n", 2]), ("anchors", [3])],
    ),
    "identity": model([RELU, N("Identity", ["y"], ["z"])], [("x", ["n", 2])], [("y", ["n", 2]), ("z", ["n", 2])]),
    "identity of an input": model([N("Identity", ["x"], ["z"])], [("x", ["n", 2])], [("x", ["n", 2]), ("z", ["n", 2])]),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED)
def test_outputs_that_nothing_computes_keep_their_names(name: str) -> None:
    source = PASSED[name]
    made = convcore.convert(source, "onnx").model
    onnx.checker.check_model(made, full_check=True)
    for kind in ("input", "output"):
        assert [v.name for v in getattr(made.graph, kind)] == [v.name for v in getattr(source.graph, kind)]
    x = f32(5, 3 if "used" in name else 2)
    for got, want in zip(both(made, x), both(source, x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_names_of_sizes_that_depend_on_the_data() -> None:
    source = model(
        [N("NonZero", ["x"], ["at"]), N("Cast", ["at"], ["y"], to=1)], [("x", ["n", 2])], [("y", [2, "found"])]
    )  # fmt: skip
    made = convcore.convert(source, "onnx").model
    assert [d.dim_param or d.dim_value for d in made.graph.output[0].type.tensor_type.shape.dim] == [2, "found"]


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_squeeze_without_axes(opset: int) -> None:
    """Which axes go is known at run time only, the batch included."""
    source = model([N("Squeeze", ["x"], ["y"])], [("x", ["n", 7, "h", 1])], [("y", None)], opset=opset)
    loaded, made = convcore.load(source), convcore.convert(source, "onnx").model
    for n, h in ((3, 1), (1, 1), (1, 5), (3, 5)):
        x = f32(n, 7, h, 1)
        (want,) = both(source, x)
        np.testing.assert_array_equal(loaded(x), want)
        np.testing.assert_array_equal(both(made, x)[0], want)


GRID = [
    (op, pad, n, k, s)
    for op in ("max_pool", "avg_pool", "avg_pool_padding")
    for pad in ((1, 1), (0, 1), (0, 0))
    for n, k, s in ((15, 2, 3), (12, 3, 4), (10, 2, 4), (11, 2, 5), (13, 3, 2), (9, 1, 2))
]


@pytest.mark.parametrize("op, pad, n, k, s", GRID)
def test_windows_that_would_start_after_the_end(op: str, pad: Any, n: int, k: int, s: int) -> None:
    """ceil mode drops them; the standard's shape inference does not before opset 22: the full checker takes what is written."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3, 16, n))
    more: dict[str, Any] = {"count_include_pad": True} if op.endswith("padding") else {}
    window = {"kernel": (3, k), "strides": (2, s), "pads": (pad, (0, 0)), "ceil_mode": "ceil", "layout": "channels_first"}
    g.outputs = [b.op(op.removesuffix("_padding"), x, **window, **more)]
    v = f32(2, 3, 16, n)
    (want,) = Interpreter(g).run([v])
    for opset in (13, 18, 22):
        made = emit_model(g.clone(), opset)
        onnx.checker.check_model(made, full_check=True)
        np.testing.assert_allclose(both(made, v)[0], want, rtol=1e-5, atol=1e-6)


def norm(opset: int) -> Any:
    weights = [("two", np.float32(2)), ("eps", np.float32(1e-5)), ("g", f32(8)), ("b", f32(8))]
    nodes = [
        N("ReduceMean", ["x"], ["m"], axes=[-1]), N("Sub", ["x", "m"], ["d"]), N("Pow", ["d", "two"], ["q"]),
        N("ReduceMean", ["q"], ["v"], axes=[-1]), N("Add", ["v", "eps"], ["e"]), N("Sqrt", ["e"], ["s"]),
        N("Div", ["d", "s"], ["n"]), N("Mul", ["n", "g"], ["k"]), N("Add", ["k", "b"], ["y"]),
    ]  # fmt: skip
    return model(nodes, [("x", ["batch", "time", 8])], [("y", ["batch", "time", 8])], weights, opset)


@pytest.mark.parametrize("opset", [13, 16])
def test_what_onnxruntime_fuses_stays_fusible(opset: int, tmp_path: Path) -> None:
    made = convcore.convert(norm(opset), "onnx", opset=opset).model
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(tmp_path / "o.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [n.op_type for n in onnx.load(tmp_path / "o.onnx").graph.node] == ["LayerNormalization"]


@pytest.mark.parametrize(
    "rank, type, written",
    [(4, "", "GlobalAveragePool"), (4, "ReduceMean", "ReduceMean"), (3, "", "ReduceMean"), (3, "Pooling", "GlobalAveragePool")],
)
def test_means_that_are_pooling_and_others(rank: int, type: str, written: str) -> None:
    g = Graph("g")
    b = Builder(g, origin=Origin("", "layer", type))
    g.outputs = [b.mean(b.input("x", "float32", (Dim("n"), 3, 5, 7)[:rank]), axes=tuple(range(2, rank)), keepdims=True)]
    assert [n.op_type for n in emit_model(g, 18).graph.node] == [written]


@pytest.mark.parametrize("opset, mask", [(10, None), (12, True), (17, True)])
def test_the_mask_of_a_dropout(opset: int, mask: bool | None) -> None:
    """All ones at inference since opset 12; before, onnxruntime gives zeros and the standard nothing: refused but in its
    own opset, which the hint names."""
    graph = helper.make_graph(
        [N("Dropout", ["x"], ["y", "m"])], "g", [helper.make_tensor_value_info("x", 1, ["n", 3])],
        [helper.make_tensor_value_info("y", 1, ["n", 3]), helper.make_tensor_value_info("m", TensorProto.BOOL, ["n", 3])],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=5)
    if mask is None:
        with pytest.raises(convcore.UnsupportedError, match="opset=10, that of its source, keeps it"):
            convcore.convert(source, "onnx")
        made = convcore.convert(source, "onnx", opset=10).model
        ours, theirs = made.graph.node[0], source.graph.node[0]
        assert made.opset_import[0].version == 10 and ours.op_type == "Dropout"
        assert (ours.input, ours.output, list(ours.attribute)) == (theirs.input, theirs.output, list(theirs.attribute))
        source.opset_import[0].version = 6
        with pytest.raises(convcore.UnsupportedError, match="its source's opset 6 cannot be written, only 7 to"):
            convcore.convert(source, "onnx")
        return
    got = both(convcore.convert(source, "onnx").model, f32(2, 3))[1]
    np.testing.assert_array_equal(got, both(source, f32(2, 3))[1])
    assert got.all()


def test_the_telemetry_of_onnxruntime_is_off_before_a_session_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from convcore_onnx.runtime import open_runtime

    said: list[str] = []
    made = ort.InferenceSession
    monkeypatch.setattr(ort, "disable_telemetry_events", lambda: said.append("off"))
    monkeypatch.setattr(ort, "InferenceSession", lambda *a, **k: (said.append("session"), made(*a, **k))[1])
    optimised = open_runtime(PASSED["input"])
    assert said == ["off", "session"]
    assert "without" not in optimised.name and optimised.plain is not None
    assert optimised.plain().name == f"{optimised.name} without optimisations"
