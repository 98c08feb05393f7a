"""ONNX nodes that convcore does not know go back into ONNX as they were, or are refused; nothing else takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix_kit import ort_session

import convcore
from convcore.errors import UnsupportedError
from convcore.pipeline import check

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")
from onnx import TensorProto, helper, numpy_helper

N = helper.make_node
MS, MY = "com.microsoft", "my.ops"
B = numpy_helper.from_array(np.array([0.3, -0.7, 1.1], np.float32), "b")
LAST = numpy_helper.from_array(np.array([-1]), "last")


def write(
    path: Path, nodes: Sequence[Any], inits: Sequence[Any] = (B,), opsets: dict[str, int] | None = None, outs: Sequence[str] = "y"
) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(
        nodes, "g", [x], [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["batch", 3]) for o in outs], inits
    )
    used = {"": 17, MS: 1} if opsets is None else opsets
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in used.items()], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def same_nodes(a: Any, b: Any, domain: str) -> bool:
    mine = [[n.SerializeToString() for n in m.graph.node if n.domain == domain] for m in (a, b)]
    return mine[0] == mine[1] != []


NODES = {
    "between": [
        N("Relu", ["x"], ["r"], "relu"),
        N("SampleOp", ["r"], ["z"], "echo", domain=MS),
        N("Tanh", ["z"], ["y"], "tanh"),
    ],
    "attribute": [
        N("UnfoldTensor", ["x"], ["z"], "unfold", domain=MS, dim=1, size=1, step=1),
        N("ReduceSum", ["z", "last"], ["y"], "sum", keepdims=0),
    ],
    "output": [N("Neg", ["x"], ["n"], "neg"), N("SampleOp", ["n"], ["y"], "echo", domain=MS)],
    "weights": [
        N("SampleOp", ["b"], ["z"], "echo", domain=MS), N("Mul", ["x", "z"], ["m"], "mul"), N("Add", ["m", "b"], ["y"], "add"),
    ],
}  # fmt: skip
"""Operators that no rule reads and onnxruntime runs: an echo, and slices of an axis as another."""


@pytest.mark.parametrize("target", ["caffe", "keras", "pytorch"])
@pytest.mark.parametrize("name", NODES)
def test_every_other_target_refuses_it_by_name(name: str, target: str, tmp_path: Path) -> None:
    """Whatever the plan of a target looks for, it looks past what is only handed on."""
    if target not in convcore.formats():
        pytest.skip(f"convcore-{target} is not installed")
    source = write(tmp_path / "a.onnx", NODES[name], [B, LAST])
    layer = next(n.name for n in NODES[name] if n.domain == MS)
    with pytest.raises(UnsupportedError) as e:
        convcore.convert(source, target, io_layout="target")
    assert layer in {p.layer for p in e.value.problems} and layer in {p.layer for p in check(source, target)}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("opset", [None, 13, 21])
def test_round_trip(name: str, opset: int | None, tmp_path: Path) -> None:
    source = write(tmp_path / "a.onnx", NODES[name], [B, LAST])
    done = convcore.convert(source, "onnx", tmp_path / "b.onnx", check="native", **({} if opset is None else {"opset": opset}))
    assert done.report.verified and done.report.ok and "onnxruntime" in done.report.runtimes[0], "compared where it can run"
    before, after = onnx.load(source), onnx.load(tmp_path / "b.onnx")
    assert same_nodes(before, after, MS)
    assert {o.domain: o.version for o in after.opset_import} == {"": opset or 17, MS: 1}
    x = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    want, got = (ort_session(tmp_path / f"{f}.onnx").run(None, {"x": x})[0] for f in "ab")
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert check(source, "onnx") == []


def test_omitted_inputs_and_outputs_stay_omitted(tmp_path: Path) -> None:
    node = N("Mine", ["x", "", "b", ""], ["y", "", "z"], "mine", domain=MY, k=3, s="text", f=[0.5, 1.5])
    source = write(tmp_path / "a.onnx", [node], opsets={"": 17, MY: 5}, outs="yz")
    report = convcore.convert(source, "onnx", tmp_path / "b.onnx", check="native").report
    assert report.verdict == "not verified" and "NOT VERIFIED: only onnx can run 'mine'" in str(report)
    after = onnx.load(tmp_path / "b.onnx")
    assert same_nodes(onnx.load(source), after, MY) and {o.domain: o.version for o in after.opset_import}[MY] == 5
    assert [i.name for i in after.graph.initializer] == ["b"]


def test_inside_a_branch(tmp_path: Path) -> None:
    out = [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["batch", 3])]
    then = helper.make_graph([N("SampleOp", ["x"], ["t"], "inner", domain=MS)], "then", [], out)
    other = helper.make_graph([N("Relu", ["x"], ["t"], "relu")], "else", [], out)
    nodes = [
        N("ReduceMax", ["x"], ["m"], "max", keepdims=0),
        N("Greater", ["m", "half"], ["c"], "greater"),
        N("If", ["c"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    half = numpy_helper.from_array(np.float32(0.5), "half")
    source = write(tmp_path / "a.onnx", nodes, [B, half])
    convcore.convert(source, "onnx", tmp_path / "b.onnx")
    for x in (np.ones((2, 3), np.float32), -np.ones((2, 3), np.float32)):
        want, got = (ort_session(tmp_path / f"{f}.onnx").run(None, {"x": x})[0] for f in "ab")
        np.testing.assert_allclose(got, want, rtol=1e-6)


def external() -> Any:
    node = N("Mine", ["x"], ["y"], "mine", domain=MY)
    a = node.attribute.add()
    a.name, a.type = "value", onnx.AttributeProto.TENSOR
    a.t.CopyFrom(TensorProto(name="w", dims=[3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL))
    for k, v in (("location", "w.bin"), ("offset", "0"), ("length", "12")):
        entry = a.t.external_data.add()
        entry.key, entry.value = k, v
    return node


BODY = helper.make_graph(
    [N("Relu", ["x"], ["t"])], "body", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["batch", 3])]
)
REFUSED = {
    "subgraph": (N("Mine", ["x"], ["y"], "mine", domain=MY, body=BODY), {"": 17, MY: 2}, "subgraphs"),
    "external data": (external(), {"": 17, MY: 2}, "another file"),
    "standard domain": (N("Mystery", ["x"], ["y"], "mine"), {"": 17}, "Mystery"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    node, opsets, why = REFUSED[name]
    (tmp_path / "w.bin").write_bytes(bytes(12))
    source = write(tmp_path / "a.onnx", [node], opsets=opsets)
    with pytest.raises(UnsupportedError, match=why) as e:
        convcore.convert(source, "onnx", tmp_path / "b.onnx", opset=18, check=False)
    assert [p.layer for p in e.value.problems] == ["mine"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "w.bin"]


def test_a_domain_that_is_not_imported_stays_so(tmp_path: Path) -> None:
    """onnxruntime takes its own domains without an import: the node comes back, and so does the missing import."""
    source = write(tmp_path / "a.onnx", [N("SampleOp", ["x"], ["y"], "mine", domain=MS)], [], opsets={"": 17})
    made = convcore.convert(source, "onnx", tmp_path / "b.onnx", check=False).model
    assert [(n.domain, n.op_type, n.name) for n in made.graph.node] == [(MS, "SampleOp", "mine")]
    assert [o.domain for o in made.opset_import] == [""]


def test_a_call_of_a_function_that_is_not_known_is_not_written_alone(tmp_path: Path) -> None:
    x, y = helper.make_tensor_value_info("x", 1, ["batch", 3]), helper.make_tensor_value_info("y", 1, ["batch", 3])
    graph = helper.make_graph([N("F", ["x"], ["y"], "call", domain=MY, wrong=1)], "g", [x], [y])
    f = helper.make_function(MY, "F", ["a"], ["b"], [N("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MY, 1)], functions=[f])
    with pytest.raises(UnsupportedError, match="calls the model's function 'F'"):
        convcore.convert(model, "onnx", tmp_path / "b.onnx")


def test_another_version_of_a_standard_operator(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, 1, ["batch", 3]) for n in "xy")
    graph = helper.make_graph([N("RandomNormalLike", ["x"], ["y"], "drawn")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert convcore.load(model).problems
    for opset in (17, 18, 21):
        assert convcore.convert(model, "onnx", opset=opset).report.ok
    with pytest.raises(UnsupportedError, match="opset=17"):
        convcore.convert(model, "onnx", opset=22)


def test_a_function_of_the_standard_with_unknown_parts_is_kept_whole(tmp_path: Path) -> None:
    """Bernoulli's body draws numbers, which has no rule: in parts it could not be written back."""
    x, y = (helper.make_tensor_value_info(n, 1, ["batch", 3]) for n in "xy")
    graph = helper.make_graph([N("Neg", ["x"], ["z"]), N("Bernoulli", ["z"], ["y"], "drawn")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [(p.layer, p.type) for p in convcore.load(model).problems] == [("drawn", "Bernoulli")]
    assert [n.op_type for n in convcore.convert(model, "onnx", opset=17).model.graph.node] == ["Neg", "Bernoulli"]


def test_other_formats_name_the_node(tmp_path: Path) -> None:
    caffe = convcore.formats().get("caffe", {})
    if not caffe.get("emit"):
        pytest.skip("nothing else is written yet")
    source = write(tmp_path / "a.onnx", NODES["between"])
    problems = check(source, "caffe", input_shapes={"x": (2, 3)})
    assert problems[0].layer == "echo" and problems[0].type == f"{MS}.SampleOp"
    with pytest.raises(UnsupportedError, match="SampleOp"):
        convcore.convert(source, "caffe", tmp_path / "m.prototxt")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_it_can_be_looked_at_and_run_up_to_there(tmp_path: Path) -> None:
    model = convcore.load(write(tmp_path / "a.onnx", NODES["between"]))
    assert [x.type for x in model.layers] == ["Relu", f"{MS}.SampleOp", "Tanh"] and "SampleOp" in model.summary()
    x = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(model["relu"](x), np.maximum(x, 0))
    with pytest.raises(UnsupportedError, match="SampleOp"):
        model(x)
    model.save(tmp_path / "m.ccir")
    assert convcore.load(tmp_path / "m.ccir").problems == model.problems
    again = convcore.convert(tmp_path / "m.ccir", "onnx", tmp_path / "b.onnx", check=False)
    assert same_nodes(onnx.load(tmp_path / "a.onnx"), again.model, MS)
