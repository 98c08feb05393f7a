"""Loading: names, symbolic sizes, order, functions, subgraphs, opaque nodes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore.build.verify import problems as broken
from convcore.errors import BadFileError, UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.rules import RuleSet
from convcore_onnx.rules import RULES

F, I64 = TensorProto.FLOAT, TensorProto.INT64
info = helper.make_tensor_value_info
node = helper.make_node


def model(
    nodes: Any, inputs: Any, outputs: Any, inits: Any = (), opset: int = 17, functions: Any = (), **kw: Any
) -> onnx.ModelProto:
    g = helper.make_graph(nodes, "g", inputs, outputs, list(inits), **kw)
    domains = {f.domain for f in functions}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
    return helper.make_model(g, opset_imports=opsets, functions=list(functions), ir_version=10)


X, Y = info("x", F, ["N", 3]), info("y", F, ["N", 3])


def test_names_sizes_and_layers_are_kept() -> None:
    m = model(
        [node("Relu", ["x"], ["a"], name="first"), node("Mul", ["a", "w"], ["b"], name=""),
         node("Identity", ["b"], ["y"], name="y")],
        [X], [Y], [numpy_helper.from_array(np.array([2, 3, 5], np.float32), "w")],
    )  # fmt: skip
    g = load_model(m)
    assert [v.name for v in g.inputs] == ["x"] and [v.name for v in g.outputs] == ["y"]
    assert g.inputs[0].shape == (Dim("N"), 3)
    assert [(la.name, la.type) for la in g.layers] == [("first", "Relu"), ("b", "Mul"), ("y", "Identity")]
    assert [n.name for n in g] == ["first", "b", "y"]
    assert g.weights["w"].trainable
    assert g.metadata["framework"] == "onnx"
    assert not broken(g)


def test_sizes_without_a_name_get_one_each() -> None:
    a, b = info("a", F, [None, "?", -1]), info("b", F, [None, "", "None"])
    g = load_model(model([node("Add", ["a", "b"], ["y"])], [a, b], [info("y", F, None)]))
    names = [str(d) for v in g.inputs for d in v.shape or ()]
    assert names == ["a_dim0", "a_dim1", "a_dim2", "b_dim0", "b_dim1", "b_dim2"]


def test_a_dash_is_part_of_a_name() -> None:
    g = load_model(model([node("Relu", ["x"], ["y"])], [info("x", F, ["batch-size", 3])], [info("y", F, None)]))
    assert g.inputs[0].shape == (Dim("batch-size"), 3)


def test_nodes_out_of_order_are_sorted() -> None:
    m = model([node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])], [X], [Y])
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(Interpreter(load_model(m)).run([x])[0], np.maximum(-x, 0))


@pytest.mark.parametrize(
    "nodes, match",
    [
        ([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Identity", ["b"], ["y"])], "cycle"),
        ([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])], "twice"),
        ([node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["y"])], "twice"),
        ([node("Add", ["x", "nowhere"], ["y"])], "nowhere"),
        ([node("Relu", ["x"], ["z"])], "'y'"),
    ],
)
def test_wrong_wiring_is_a_bad_file(nodes: Any, match: str) -> None:
    with pytest.raises(BadFileError, match=match):
        load_model(model(nodes, [X], [Y]))


def test_unknown_ops_are_opaque_and_what_follows_is_no_problem_of_its_own() -> None:
    m = model(
        [
            node("Mystery", ["x"], ["a"], name="odd", domain="my"), node("Transpose", ["a"], ["b"], name="after"),
            node("GlobalAveragePool", ["b"], ["c"], name="last"), node("Relu", ["c"], ["y"]),
        ],
        [X], [info("y", F, None)],
    )  # fmt: skip
    m.opset_import.add().domain = "my"
    m.opset_import[-1].version = 1
    problems = opaque_problems(load_model(m))
    assert [(p.layer, p.type) for p in problems] == [("odd", "my.Mystery")]


def test_attributes_nobody_knows_are_refused() -> None:
    m = model([node("Relu", ["x"], ["y"], name="r", extra=3)], [X], [Y])
    (p,) = opaque_problems(load_model(m))
    assert p.layer == "r" and "extra" in p.why


def test_functions_are_inlined_with_their_attributes() -> None:
    body = [node("Constant", [], ["k"]), node("Mul", ["p", "k"], ["q"])]
    ref = body[0].attribute.add()
    ref.name, ref.ref_attr_name, ref.type = "value_float", "factor", 1
    inner = helper.make_function("my", "Scale", ["p"], ["q"], body, [helper.make_opsetid("", 17)], ["factor"])
    calls = [node("Scale", ["u"], ["t"], domain="my", factor=2.0), node("Scale", ["t"], ["v"], domain="my", factor=5.0)]
    outer = helper.make_function("my", "Twice", ["u"], ["v"], calls, [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)])
    m = model([node("Twice", ["x"], ["y"], name="call", domain="my")], [X], [Y], functions=[inner, outer])
    g = load_model(m)
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(Interpreter(g).run([x])[0], 10 * x)
    assert [v.name for v in g.outputs] == ["y"]
    assert not broken(g)


def test_a_function_whose_results_nobody_reads_is_no_bug() -> None:
    loss = node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["z", "log_prob"], reduction="none")
    g = load_model(model([loss, node("Relu", ["x"], ["y"])], [X, info("labels", I64, ["N"])], [Y]))
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(Interpreter(g).run([x, np.array([1])])[0], np.maximum(x, 0))


def test_a_node_that_its_definition_does_not_fit_is_refused() -> None:
    """onnx raises ValueError where it would make the body of a SequenceMap of one result with two."""
    body = helper.make_graph(
        [node("Identity", ["a"], ["c"]), node("Identity", ["b"], ["d"])], "body",
        [info("a", F, [None]), info("b", F, [None])], [info("c", F, [None]), info("d", F, [None])],
    )  # fmt: skip
    many = helper.make_tensor_sequence_value_info
    m = model([node("SequenceMap", ["s", "x"], ["y"], name="map", body=body)], [many("s", F, [3]), X], [many("y", F, [3])])
    (p,) = opaque_problems(load_model(m))
    assert (p.layer, p.type) == ("map", "SequenceMap") and p.why


@pytest.mark.parametrize("loss", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
@pytest.mark.parametrize(
    ("x", "labels", "weights", "why"),
    [
        ([2, 5, 3], [2, 3], [5], ""), (["N", 5, 3], [2, "T"], [5], ""),
        ([2, 5, 3], [2, 0], [5], "labels of shape [2, 0] for an input of shape [2, 5, 3]"),
        (["N", 5, 3], ["N"], [5], "labels of shape [N] for an input of shape [N, 5, 3]"),
        ([2, 5], [3], [5], "labels of shape [3] for an input of shape [2, 5]"),
        ([2, 5], [2], [2], "weights of shape [2] for an input of shape [2, 5]"),
        ([2], [2], [2], "its input has 1 axes, of at least 2"),
    ],
)  # fmt: skip
def test_labels_fit_their_input(loss: str, x: list[Any], labels: list[Any], weights: list[Any], why: str) -> None:
    """The standard's definition would compute with others: a mean of nothing."""
    inputs = [info("x", F, x), info("t", I64, labels), info("w", F, weights)]
    g = load_model(model([node(loss, ["x", "t", "w"], ["y"], name="loss")], inputs, [info("y", F, [])]))
    told = [p.why for p in opaque_problems(g) if p.layer == "loss"]
    assert told == ([why] if why else [])


def test_a_loss_of_nothing_in_a_set_that_is_not_imported() -> None:
    m = model([node("NegativeLogLikelihoodLoss", [], ["y"], name="loss")], [], [Y])
    m.opset_import[0].domain = "ai.onnx.ml"
    (p,) = opaque_problems(load_model(m))
    assert "does not import the operator set 'ai.onnx'" in p.why


def test_functions_without_end_are_refused() -> None:
    opsets = [helper.make_opsetid("my", 1)]
    loop = helper.make_function("my", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="my")], opsets)
    with pytest.raises(BadFileError, match="without end"):
        load_model(model([node("F", ["x"], ["y"], domain="my")], [X], [Y], functions=[loop]))
    fs = []
    for i in range(40):  # each calls the next twice
        name = f"F{i + 1}" if i < 39 else "Relu"
        dom = "my" if i < 39 else ""
        ns = [node(name, ["a"], ["b"], domain=dom), node(name, ["b"], ["c"], domain=dom)]
        fs.append(helper.make_function("my", f"F{i}", ["a"], ["c"], ns, [*opsets, helper.make_opsetid("", 17)]))
    started = time.process_time()
    with pytest.raises(BadFileError, match="expand"):
        load_model(model([node("F0", ["x"], ["y"], domain="my")], [X], [Y], functions=fs))
    assert time.process_time() - started < 60


def branch(name: str, *nodes: Any, out: str) -> Any:
    return helper.make_graph(list(nodes), name, [], [info(out, F, None)])


def test_if_takes_what_it_uses_from_outside() -> None:
    then = branch("then", node("Mul", ["x", "w"], ["t"]), out="t")
    other = branch("else", node("Neg", ["a"], ["e"]), out="e")
    m = model(
        [node("Relu", ["x"], ["a"]), node("If", ["c"], ["y"], name="choice", then_branch=then, else_branch=other)],
        [info("c", TensorProto.BOOL, []), X], [info("y", F, None)],
        [numpy_helper.from_array(np.array([2, 3, 5], np.float32), "w")],
    )  # fmt: skip
    g = load_model(m)
    assert not broken(g)
    x = np.array([[1, -2, 3]], np.float32)
    for c in (True, False):
        got = Interpreter(g).run({"c": np.array(c), "x": x})[0]
        np.testing.assert_array_equal(got, x * [2, 3, 5] if c else -np.maximum(x, 0))


def test_if_with_a_known_condition_is_no_if() -> None:
    """The condition asks for the number of axes, as PyTorch's exporter writes for squeeze."""
    nodes = [
        node("Shape", ["x"], ["s"]), node("Size", ["s"], ["r"]), node("Equal", ["r", "two"], ["c"]),
        node("If", ["c"], ["y"], then_branch=branch("then", node("Relu", ["x"], ["t"]), out="t"),
             else_branch=branch("else", node("Neg", ["x"], ["t"]), out="t")),
    ]  # fmt: skip
    g = load_model(model(nodes, [X], [Y], [numpy_helper.from_array(np.array(2), "two")]))
    assert [n.op for n in g if n.op != "identity"] == ["relu"]
    assert [v.name for v in g.outputs] == ["y"]


def test_nested_ifs_take_linear_time() -> None:
    inner = branch("b", node("Relu", ["x"], ["z0"]), out="z0")
    for i in range(30):
        n = node(
            "If", ["c"], [f"z{i + 1}"], then_branch=inner, else_branch=branch("o", node("Neg", ["x"], [f"o{i}"]), out=f"o{i}")
        )
        inner = branch("b", n, out=f"z{i + 1}")
    m = model(
        [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        [info("c", TensorProto.BOOL, []), X],
        [info("y", F, None)],
    )
    started = time.process_time()
    load_model(m)
    assert time.process_time() - started < 10


def test_input_shapes_are_fixed_or_named() -> None:
    m = model([node("Relu", ["x"], ["y"])], [X], [Y])
    assert load_model(m, input_shapes={"x": (7, 3)}).inputs[0].shape == (7, 3)
    m = model([node("Softmax", ["x"], ["y"])], [X], [Y])
    for bad in ({"x": (7, 5)}, {"x": (7,)}, {"z": (7, 3)}):
        with pytest.raises(UsageError):
            load_model(m, input_shapes=bad)


def test_overrides_replace_a_rule() -> None:
    m = model([node("Mystery", ["x"], ["y"], name="odd", domain="my")], [X], [Y])
    m.opset_import.add().domain = "my"
    m.opset_import[-1].version = 1
    g = load_model(m, overrides={"odd": lambda g, n: g.b.neg(n.inputs[0])})
    assert [n.op for n in g] == ["neg"]


def chain(n: int) -> onnx.ModelProto:
    nodes, last = [], "x"
    for i in range(n):
        nodes.append(node("Relu" if i % 2 else "Neg", [last], [f"v{i}"], name=f"n{i}"))
        last = f"v{i}"
    return model(nodes, [X], [info(last, F, ["N", 3])])


def test_cost_grows_linearly() -> None:
    """Within a factor of 2 per node, measured as the pipeline runs it; other work on the machine may disturb a measurement."""
    from onnx_kit import emit_model

    from convcore.collector import without_collector

    def cost(n: int) -> float:
        m = chain(n)
        started = time.process_time()
        with without_collector():
            emit_model(load_model(m), 17)
        return (time.process_time() - started) / n

    cost(500)
    ratios = []
    while len(ratios) < 5 and (not ratios or ratios[-1] >= 2):
        small = min(cost(1000) for _ in range(3))
        ratios.append(cost(20000) / small)
    assert ratios[-1] < 2, ratios


def constants(name: str = "c") -> onnx.ModelProto:
    held = numpy_helper.from_array(np.float32([2, 3, 5]), "t")
    return model([node("Constant", [], ["c"], name=name, value=held), node("Mul", ["x", "c"], ["y"], name="m")], [X], [Y])


@pytest.mark.parametrize("name", ["", "held", "c"])
def test_constants_are_weights_and_keep_their_layer(name: str) -> None:
    g = load_model(constants(name))
    assert [n.op for n in g] == ["mul"]
    (w,) = g.weights.values()
    assert (w.name, w.role, w.trainable, w.source) == ("c", "constant", False, "")
    assert [(s.name, s.type, dict(s.config)) for s in g.scopes()] == [
        (name or "c", "Constant", {"value": "ArrayTensor(float32, [3])"}), ("m", "Mul", {}),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["held", "Constant"])
def test_an_override_has_a_say_in_constants(by: str) -> None:
    g = load_model(constants("held"), overrides={by: lambda g, n: g.b.weight(n.attr("value").numpy() * 7, n.outputs[0])})
    assert g.weights["c"].tensor.numpy().tolist() == [14, 21, 35]


def test_a_rule_of_another_plugin_has_a_say_in_constants() -> None:
    theirs: Any = RuleSet("onnx", "other")

    @theirs.load("Constant", priority=1)
    def doubled(g: Any, n: Any) -> Any:
        return g.b.weight(n.attr("value").numpy() * 2, n.outputs[0])

    g = load_model(constants(), rules=RuleSet.merged([RULES, theirs]))
    assert g.weights["c"].tensor.numpy().tolist() == [4, 6, 10]


@pytest.mark.parametrize("change, why", [
    (lambda n: n.input.append("x"), "1 inputs"), (lambda n: n.output.append("d"), "2 outputs"),
    (lambda n: n.attribute.add(name="value_int", i=3, type=2), "must hold one value"),
    (lambda n: setattr(n.attribute[0], "name", "valu"), "is not a value"),
    (lambda n: setattr(n.attribute[0].t, "data_type", 28), "6"),
])  # fmt: skip
def test_other_constants_are_looked_at_by_their_rule(change: Any, why: str) -> None:
    m = constants()
    change(m.graph.node[0])
    g = load_model(m)
    assert any(why in str(p) for p in opaque_problems(g)), [str(p) for p in opaque_problems(g)]
