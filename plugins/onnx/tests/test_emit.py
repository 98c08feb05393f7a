"""Writing: names, sharing, orientation of weights, external data, nothing left behind, versions."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_kit import emit_model, load_model

import convcore
from convcore.build.builder import Builder
from convcore.errors import OutputError, UnsupportedError, UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.ir.tensors import ArrayTensor, LazyTensor

rng = np.random.default_rng(3)
BATCH_5 = (Dim("batch"), 5)


def f32(*shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def start(shape: Any = BATCH_5) -> tuple[Graph, Builder, Any]:
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    return g, b, b.input("x", "float32", shape)


def test_every_opset_is_written_and_others_are_refused() -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in range(7, newest + 1):
        g, b, x = start()
        g.outputs = [b.relu(x)]
        m = emit_model(g, opset)
        assert m.opset_import[0].version == opset
        assert m.ir_version == onnx.helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset]
        onnx.checker.check_model(m, full_check=True)
    for opset in (0, 6, newest + 1):
        g, b, x = start()
        g.outputs = [b.relu(x)]
        with pytest.raises(UsageError, match=f"opset {opset}"):
            emit_model(g, opset)
    with pytest.raises(UsageError, match="ir_version"):
        emit_model(g, 13, ir_version=3)


def test_names_and_sizes() -> None:
    g, b, x = start()
    y = b.op("linear", x, b.weight(f32(3, 5), "fc/kernel"), b.weight(f32(3), "fc/bias"), node_name="fc", output_names=["fc:0"])
    g.outputs = [b.op("relu", y, node_name="act", output_names=["out"])]
    m = emit_model(g, 17)
    assert [i.name for i in m.graph.input] == ["x"] and [o.name for o in m.graph.output] == ["out"]
    assert [(n.op_type, n.name, list(n.output)) for n in m.graph.node] == [("Gemm", "fc", ["fc:0"]), ("Relu", "act", ["out"])]
    assert {t.name for t in m.graph.initializer} == {"fc/kernel", "fc/bias"}
    assert m.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert m.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert m.producer_name == "convcore"


def test_symbolic_sizes_come_back() -> None:
    g, b, _ = start((Dim("n") * 2 + 1, Dim("m")))
    g.outputs = [b.relu(g.inputs[0])]
    back = load_model(emit_model(g, 17))
    assert back.inputs[0].shape == (Dim("n") * 2 + 1, Dim("m"))


def test_outputs_that_are_inputs_weights_or_doubled() -> None:
    g, b, x = start()
    w = b.weight(f32(2), "w")
    y = b.relu(x)
    g.outputs = [x, w, y, y]
    m = emit_model(g, 17)
    onnx.checker.check_model(m, full_check=True)
    back = load_model(m)
    data = f32(3, 5)
    for a, c in zip(Interpreter(g).run([data]), Interpreter(back).run([data])):
        np.testing.assert_array_equal(a, c)


def test_a_shared_weight_is_stored_once() -> None:
    g, b, x = start((7, 5))
    w = b.weight(f32(5, 5), "w")
    g.outputs = [b.linear(b.linear(x, w), w)]
    m = emit_model(g, 17)
    assert [t.name for t in m.graph.initializer] == ["w"]


def test_gemm_takes_the_weight_as_it_is_stored() -> None:
    """A Keras kernel (in, out) is a transposed view here; it is written untouched. So is a PyTorch weight (out, in)."""
    stored = f32(5, 3)
    for transposed in (True, False):
        g, b, x = start()
        tensor = ArrayTensor(stored).transpose((1, 0)) if transposed else ArrayTensor(stored.T.copy())
        g.outputs = [b.linear(x, b.weight(tensor, "w"))]
        m = emit_model(g, 17)
        (n,) = m.graph.node
        flags = {a.name: a.i for a in n.attribute}
        assert n.op_type == "Gemm" and flags.get("transB", 0) == (not transposed)
        assert m.graph.initializer[0].raw_data == (stored if transposed else np.ascontiguousarray(stored.T)).tobytes()


def test_all_problems_come_at_once() -> None:
    g, b, x = start((2, 3, 5, 7))
    with b.at(Origin("test", "one", "A")):
        y = b.avg_pool(x, kernel=(2, 2), dilations=(2, 2))
    with b.at(Origin("test", "two", "B")):
        z = b.erfc(y)
    g.outputs = [z]
    with pytest.raises(UnsupportedError) as e:
        emit_model(g, 17)
    assert [p.layer for p in e.value.problems] == ["one", "two"]


# ---- files
def layered(n: int = 3, size: int = 67) -> tuple[Graph, list[Any]]:
    g, b, x = start((Dim("N"), size))
    weights = [f32(size, size) / 8 for _ in range(n)]
    for i, w in enumerate(weights):
        x = b.linear(x, b.weight(w, f"w{i}"))
    g.outputs = [x]
    return g, weights


@pytest.mark.parametrize("external", ["auto", "always", "never"])
def test_files_come_back_the_same(tmp_path: Path, external: str) -> None:
    g, weights = layered()
    out = tmp_path / "m.onnx"
    made = emit_model(g, 17, out, external_data=external)
    names = ["m.onnx", "m.onnx.data"] if external == "always" else ["m.onnx"]
    assert sorted(os.listdir(tmp_path)) == names and [Path(p).name for p in made.paths] == names
    onnx.checker.check_model(str(out))
    back = load_model(str(out))
    for i, w in enumerate(weights):
        np.testing.assert_array_equal(back.weights[f"w{i}"].tensor.numpy(), w)
    assert onnx.load(str(out)) == made.model() or external == "always"
    data = f32(2, 67)
    np.testing.assert_allclose(Interpreter(back).run([data])[0], Interpreter(g).run([data])[0], rtol=1e-4, atol=1e-4)


def test_external_data_is_page_aligned(tmp_path: Path) -> None:
    g, _ = layered()
    emit_model(g, 17, tmp_path / "m.onnx", external_data="always")
    proto = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False)
    offsets = [int(e.value) for t in proto.graph.initializer for e in t.external_data if e.key == "offset"]
    assert len(offsets) == 3 and all(o % 4096 == 0 for o in offsets)


class Exploding(LazyTensor):
    """A weight that cannot be read."""

    def __init__(self) -> None:
        super().__init__(self._boom, DType.FLOAT32, (67, 67))

    @staticmethod
    def _boom() -> Any:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("external", ["never", "always"])
def test_nothing_is_left_after_a_failure(tmp_path: Path, external: str) -> None:
    g, b, x = start((Dim("N"), 67))
    g.outputs = [b.linear(b.linear(x, b.weight(f32(67, 67), "a")), b.weight(Exploding(), "w"))]
    old = tmp_path / "m.onnx"
    old.write_bytes(b"before")
    with pytest.raises(OutputError, match="No space left"):
        emit_model(g, 17, old, external_data=external)
    assert os.listdir(tmp_path) == ["m.onnx"] and old.read_bytes() == b"before"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    g, _ = layered(1)
    for out in (tmp_path, tmp_path / "missing" / "m.onnx"):
        with pytest.raises(OutputError):
            emit_model(g.clone(), 17, out)


def test_memory_stays_near_one_tensor(tmp_path: Path) -> None:
    """Sixteen weights of 4 MiB, made when asked for: the peak is a few of them, not all."""
    g, b, x = start((Dim("N"), 1024))
    for i in range(16):
        t = LazyTensor(lambda i=i: np.full((1024, 1024), i, np.float32), DType.FLOAT32, (1024, 1024))
        x = b.linear(x, b.weight(t, f"w{i}"))
    g.outputs = [x]
    tracemalloc.start()
    emit_model(g, 17, tmp_path / "m.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "m.onnx").stat().st_size > 16 << 22
    assert peak < 3 << 22


def test_over_two_gib_goes_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convcore_onnx import write

    monkeypatch.setattr(write, "LIMIT", 40000)
    g, _ = layered()
    assert len(emit_model(g.clone(), 17, tmp_path / "m.onnx").paths) == 2
    with pytest.raises(UsageError, match="2 GiB"):
        emit_model(g.clone(), 17, tmp_path / "n.onnx", external_data="never")
    with pytest.raises(UsageError, match="2 GiB"):
        emit_model(g.clone(), 17)


def test_opaque_nodes_return_to_their_own_opset() -> None:
    h = onnx.helper
    info = h.make_tensor_value_info
    graph = h.make_graph(
        [h.make_node("Relu", ["x"], ["a"]), h.make_node("Mine", ["a"], ["b"], domain="my", k=3),
         h.make_node("RandomNormalLike", ["b"], ["y"], name="drawn")],
        "g", [info("x", 1, ["N", 3, 3])], [info("y", 1, ["N", 3, 3])],
    )  # fmt: skip
    m = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("my", 2)])
    back = emit_model(load_model(m), 17)
    assert [(n.op_type, n.domain) for n in back.graph.node] == [("Relu", ""), ("Mine", "my"), ("RandomNormalLike", "")]
    assert back.graph.node[1].attribute[0].i == 3
    assert {o.domain: o.version for o in back.opset_import} == {"": 17, "my": 2}
    with pytest.raises(UnsupportedError, match="RandomNormalLike"):
        emit_model(load_model(m), 22)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_slice_by_computed_bounds_of_either_type(dtype: type) -> None:
    """ONNX wants one type for starts, ends, axes and steps (Tind); axes are written as int64."""
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants = [numpy_helper.from_array(np.array(v, dtype), n) for n, v in (("a", [0, 1]), ("t", [1, 2]))]
    given = [helper.make_tensor_value_info("x", T.FLOAT, ["n", 7]), *(helper.make_tensor_value_info(n, code, [2]) for n in "se")]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])], "g", given,
        [helper.make_tensor_value_info("y", T.FLOAT, [None, None])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    back = convcore.convert(convcore.load(model), "onnx", opset=13).model
    x = np.arange(35, dtype=np.float32).reshape(5, 7)
    feeds = {"x": x, "s": np.array([1, 2], dtype), "e": np.array([4, 7], dtype)}
    (y,) = ort.InferenceSession(back.SerializeToString()).run(None, feeds)
    np.testing.assert_array_equal(y, x[1:4, 2:7:2])


def test_a_start_that_may_be_before_or_behind_the_first_element() -> None:
    """``y[7 - len(x):]``, of Mpt's distances: where x is longer it counts from the end."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[time] x, float[7] y) => (float[k] z) {
            size = Shape(x)
            n = Constant<value = int64[1] {7}>()
            start = Sub(n, size)
            end = Constant<value = int64[1] {9223372036854775807}>()
            axis = Constant<value = int64[1] {0}>()
            part = Slice(y, start, end, axis)
            z = Neg(part)
        }"""
    )
    source = convcore.load(model)
    sessions = [ort.InferenceSession(m.SerializeToString()) for m in (model, convcore.convert(source, "onnx").model)]
    for time in (3, 7, 11, 20):
        feeds = {"x": np.zeros(time, np.float32), "y": np.arange(7, dtype=np.float32)}
        want, got = (s.run(None, feeds)[0] for s in sessions)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(source(*feeds.values()), want)


@pytest.mark.parametrize("shape", [(3, 1), ()])
def test_truth_values_are_chosen_by_what_onnxruntime_runs(shape: tuple[int, ...]) -> None:
    """It has no Where of them."""
    graph = Graph("g")
    b = Builder(graph)
    c, x, y = (graph.add_input(n, DType.BOOL, s) for n, s in (("c", (3, 5)), ("x", shape), ("y", (5,))))
    graph.outputs.append(b.where(c, x, y))
    rng = np.random.default_rng(1)
    feeds = {v.name: np.array(rng.random(v.shape) < 0.5) for v in graph.inputs}
    (got,) = ort.InferenceSession(emit_model(graph, 18).SerializeToString()).run(None, feeds)
    np.testing.assert_array_equal(got, np.where(*feeds.values()))


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.75), (-0.01, 0.75), (0.5, 0.0), (0.5, -0.75), (0.5, 0.75)])
def test_lrn_of_numbers_that_onnxruntime_does_not_take(alpha: float, beta: float) -> None:
    """Its LRN wants both above 0 (1.32); the parts of it take any."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 7, 3, 5))
    g.outputs = [b.lrn(x, size=3, alpha=alpha, beta=beta, bias=1.5, axis=1)]
    made = emit_model(g, 18)
    assert ("LRN" in [n.op_type for n in made.graph.node]) == (alpha > 0 and beta > 0)
    data = np.random.default_rng(3).normal(size=(2, 7, 3, 5)).astype("f4")
    (want,) = Interpreter(g).run([data])
    (got,) = ort.InferenceSession(made.SerializeToString()).run(None, {"x": data})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
