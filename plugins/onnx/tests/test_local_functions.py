"""Layers written as functions of the model: which operators they hold, what goes in and out, and which cannot be one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.errors import UnsupportedError, UsageError
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph, Origin

W = np.arange(12, dtype="f4").reshape(4, 3) / 7


def layered(build: Callable[[Builder, Any, Any], Any]) -> Graph:
    """``build(b, within, x)``, where ``within(type, name)`` is a layer around what is built inside it."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))

    def within(kind: str, name: str) -> Any:
        layer = g.scope(name, kind, {})
        return b.at(Origin("test", name, kind), layer)

    made = build(b, within, x)
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    return g


def two(b: Builder, within: Any, x: Any) -> Any:
    """Two layers of a type with weights, and one of another between them."""
    with within("My>Dense", "a"):
        y = b.tanh(b.linear(x, b.weight(W, "w", source="w"), b.weight(W[:, 0], "c", source="c")))
    with within("Half", "h"):
        y = b.mul(y, b.like(y, 0.5))
    with within("My>Dense", "b"):
        return b.relu(b.linear(y, b.weight(W.T.copy(), "v", source="v")))


def calls(m: Any) -> list[tuple[str, str, list[str], list[str]]]:
    return [(n.domain, n.op_type, list(n.input), list(n.output)) for n in m.graph.node]


@pytest.mark.parametrize("asked", [["My>Dense"], ["Dense"]])
def test_each_layer_of_a_type_is_a_node(asked: list[str]) -> None:
    g = layered(two)
    made = emit_model(g.clone(), 18, onnx_functions=asked)
    onnx.checker.check_model(made, full_check=True)
    assert [(f.domain, f.name, [n.op_type for n in f.node]) for f in made.functions] == [
        ("convcore.layers", "Dense", ["Gemm", "Tanh"]), ("convcore.layers", "Dense_2", ["Gemm", "Relu"]),
    ]  # fmt: skip
    kinds = [(d, t) for d, t, _, _ in calls(made)]
    assert kinds == [("convcore.layers", "Dense"), ("", "Mul"), ("convcore.layers", "Dense_2")]
    assert [n.name for n in made.graph.node][0::2] == ["a", "b"]
    first, _, last = calls(made)
    assert first[2][0] == "x" and len(first[2]) == 3 and len(first[3]) == 1 and last[3] == [g.outputs[0].name]
    assert {o.domain: o.version for o in made.opset_import} == {"": 18, "convcore.layers": 1}
    assert all({o.domain: o.version for o in f.opset_import} == {"": 18} for f in made.functions)
    x = np.array([[1, 2, 3], [-4, 5, 6]], "f4")
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    want = Interpreter(g).run([x])[0]
    np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Interpreter(load_model(made)).run([x])[0], want, rtol=1e-5, atol=1e-6)


def test_a_type_that_no_layer_has() -> None:
    for asked in (["Conv"], ["Dense", "Conv"], [""]):
        with pytest.raises(UsageError, match=f"{asked[-1]}.*no layer of that type has operators of its own"):
            emit_model(layered(two), 18, onnx_functions=asked)


@pytest.mark.parametrize("opset, ir, fits", [(13, None, False), (13, 8, True), (15, None, True), (14, 7, False)])
def test_files_that_have_functions(opset: int, ir: int | None, fits: bool) -> None:
    """From IR version 8 on (onnx.proto, ``functions``)."""
    if fits:
        assert len(emit_model(layered(two), opset, ir_version=ir, onnx_functions=["Dense"]).functions) == 2
    else:
        with pytest.raises(UsageError, match=r"files of IR version 7 have no functions, 8 and newer do \(ir_version=8\)"):
            emit_model(layered(two), opset, ir_version=ir, onnx_functions=["Dense"])


def apart(b: Builder, within: Any, x: Any) -> Any:
    """A layer whose second operator needs what another made of its first."""
    with within("Mine", "m"):
        y = b.tanh(x)
    with within("Half", "h"):
        z = b.mul(y, b.like(y, 0.5))
    with within("Mine", "n"):
        pass
    scope = next(s for s in b.graph.scopes() if s.name == "m")
    with b.at(Origin("test", "m", "Mine"), scope):
        return b.relu(z)


def test_a_layer_with_others_between_its_operators() -> None:
    with pytest.raises(UnsupportedError, match="its operators have others between them that need its results") as caught:
        emit_model(layered(apart), 18, onnx_functions=["Mine"])
    assert (caught.value.problems[0].layer, caught.value.problems[0].type) == ("m", "Mine")
    assert "leave it out of" in caught.value.problems[0].hint
    assert [f.name for f in emit_model(layered(apart), 18, onnx_functions=["Half"]).functions] == ["Half"]


def several(b: Builder, within: Any, x: Any) -> Any:
    """What is read outside goes out, the rest stays in."""
    with within("Mine", "m"):
        a = b.tanh(x)
        c = b.exp(a)
        d = b.relu(b.add(a, c))
    return [b.add(c, d), a]


def test_what_goes_in_and_out() -> None:
    g = layered(several)
    made = emit_model(g.clone(), 18, onnx_functions=["Mine"])
    (f,) = made.functions
    (node, *_) = [n for n in made.graph.node if n.domain]
    assert list(node.input) == ["x"] == list(f.input) and len(node.output) == 3 and list(f.output) == list(node.output)
    x = np.array([[1, 2, 3], [-4, 5, 6]], "f4")
    for a, w in zip(Interpreter(load_model(made)).run([x]), Interpreter(g).run([x])):
        np.testing.assert_allclose(a, w, rtol=1e-6)


def test_a_layer_with_a_branch_inside() -> None:
    """What a region names itself is no input of the function; what it uses from outside is."""
    info = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("Tanh", ["x"], ["t"])], "t", [], [info("t", 1, None)])
    other = helper.make_graph(
        [helper.make_node("Exp", ["x"], ["u"]), helper.make_node("Add", ["u", "w"], ["v"])], "e", [], [info("v", 1, None)]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], "choice", then_branch=then, else_branch=other)], "g",
        [info("x", 1, [2, 3]), info("c", 9, [])], [info("y", 1, [2, 3])], [onnx.numpy_helper.from_array(W[:2], "w")],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    made = emit_model(load_model(source), 18, onnx_functions=["If"])
    (f,) = made.functions
    assert set(f.input) == {"c", "x", "w"} and list(f.output) == ["y"]
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[1, 2, 3], [-4, 5, 6]], "f4") / 5
    for c, want in ((True, np.tanh(x)), (False, np.exp(x) + W[:2])):
        np.testing.assert_allclose(session.run(None, {"x": x, "c": np.asarray(c)})[0], want, rtol=1e-6)
