"""What stands in the way of a target: bodies until every node has a rule; a problem names the layer and its op, one a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from module_tree import RULES, TreeDialect

import convcore
from convcore.build.builder import Builder
from convcore.emit.legalise import expand
from convcore.ir.graph import Graph, Origin, Value
from convcore.opset import OpSet, Sample, register
from convcore.plugin import Problem, RuleSet, UnsupportedError, legalise, plan, unsupported


def graph(build: Any, *shape: int) -> Graph:
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Test"))
    y = build(b, b.input("x", "float32", shape or (2, 3)))
    g.outputs = [y] if isinstance(y, Value) else list(y)
    return g


def at(b: Builder, layer: str, type_: str) -> Any:
    return b.at(Origin("keras", layer, type_))


def shown(problems: list[Problem]) -> list[str]:
    return [str(p) for p in problems]


def test_bodies_until_every_node_has_a_rule() -> None:
    g = graph(lambda b, x: b.linear(x, b.const(np.ones((5, 3), np.float32))))
    rules = RuleSet("small")
    rules.op("matmul", "matmul", "a, b")
    assert legalise(g, rules, None) == []
    assert [n.op for n in g] == ["matmul"], "the body took its place, what concerns the weight alone was computed"


def test_nothing_is_in_the_way() -> None:
    g = graph(lambda b, x: b.relu(x))
    assert legalise(g, RULES, None, TreeDialect()) == [] and len(g) == 1


def test_a_composite_is_named_by_its_own_op() -> None:
    """Softmax is max, sub, exp, sum and div; of those the target has exp only."""
    g = graph(lambda b, x: b.softmax(x, axis=1))
    assert shown(legalise(g, RULES, None)) == ["'layer' (Test): op softmax: tree has no counterpart"]


def test_the_one_part_that_is_missing_is_named() -> None:
    """GELU is written with mul, add and erf."""
    g = graph(lambda b, x: b.gelu(x, approximate="none"))
    assert shown(legalise(g, RULES, None)) == [
        "'layer' (Test): op gelu: tree has no counterpart; made of simpler ops it lacks erf"
    ]


def test_the_reason_of_that_part_and_its_hint_are_told() -> None:
    rules = RuleSet.merged([RULES])

    @rules.emit("erf")
    def erf(e: Any, node: Any) -> None:
        raise unsupported(node, "erf is for wizards", "ask one", "magic")

    (p,) = legalise(graph(lambda b, x: b.gelu(x, approximate="none")), rules, None)
    assert (p.layer, p.type, p.hint, p.code) == ("layer", "Test", "ask one", "magic")
    assert p.why == "op gelu: tree has no counterpart; made of simpler ops it lacks erf (erf is for wizards)"


def test_a_whole_model_gives_one_line_per_layer() -> None:
    def build(b: Builder, x: Value) -> Any:
        for i in range(3):
            with at(b, f"soft{i}", "Softmax"):
                x = b.softmax(x, axis=1)
        with at(b, "norm", "LayerNormalization"):
            x = b.layer_norm(x, b.const(np.ones(3, np.float32)), None, axes=(1,), epsilon=1e-3)
        with at(b, "twice", "Odd"):
            x = b.sin(b.cumsum(x, axis=1))
        with at(b, "fine", "ReLU"):
            x = b.relu(x)
        with at(b, "same", "Odd"):
            return b.sin(b.sin(x))

    problems = legalise(graph(build), RULES, None)
    assert shown(problems) == [
        *(f"'soft{i}' (Softmax): op softmax: tree has no counterpart" for i in range(3)),
        "'norm' (LayerNormalization): op layer_norm: tree has no counterpart",
        "'twice' (Odd): op cumsum: tree has no counterpart; op sin: tree has no counterpart",
        "'same' (Odd): op sin: tree has no counterpart",
    ]
    with pytest.raises(UnsupportedError) as caught:
        plan(graph(build), RULES, None, TreeDialect())
    assert list(caught.value.problems) == problems


def test_a_version_too_old_is_said_of_the_composite() -> None:
    rules = RuleSet("old")
    rules.op("Softmax", "softmax", "x", axis=convcore.plugin.A("axis"), since=7)

    def of(version: int) -> list[str]:
        return shown(legalise(graph(lambda b, x: b.softmax(x, axis=1)), rules, version))

    assert of(6) == ["'layer' (Test): op softmax: old has it from version 7 on"] and of(7) == []


def test_check_names_layers_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file with a Gelu and a Sin, checked for Caffe: the emitter is not called."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    import convcore_caffe.emit

    monkeypatch.setattr(convcore_caffe.emit, "emit", None)
    nodes = [
        helper.make_node("Gelu", ["x"], ["a"], name="act"), helper.make_node("Sin", ["a"], ["b"], name="wave"),
        helper.make_node("LayerNormalization", ["b", "s"], ["y"], name="norm", axis=-1),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    scale = helper.make_tensor("s", TensorProto.FLOAT, (3,), [1.0, 2.0, 3.0])
    g = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, (2, 3))], [info("y", TensorProto.FLOAT, (2, 3))], [scale])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "m.onnx")
    problems = convcore.check(tmp_path / "m.onnx", "caffe")
    assert [(p.layer, p.type) for p in problems][:2] == [("act", "Gelu"), ("wave", "Sin")]
    assert problems[0].why.startswith("op gelu: ") and problems[1].why.startswith("op sin: ")
    assert len({p.layer for p in problems}) == len(problems)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_a_body_that_gives_its_input_leaves_the_name_of_what_was_there() -> None:
    """The name of a result goes to what the body made, never to a value from before it, a weight or an input."""
    family = OpSet("own_names", "tests")
    decl = family.op("own_pass_through", "x, y", body=lambda b, x, y: x, samples=[Sample((2, 3), (2, 3))])
    register(family)
    for of in ("input", "node", "weight"):
        g = Graph("g")
        b = Builder(g)
        x = b.input("x", "float32", (2, 3))
        v = x if of == "input" else b.tanh(x) if of == "node" else b.weight(np.ones((2, 3), "f4"), "w")
        v.name = f"own_{of}"
        y = b.op(decl.name, v, x)
        g.outputs = [b.relu(y), b.neg(v)]
        expand(g, y.producer)
        assert g.outputs[0].producer.inputs[0] is v and v.name == f"own_{of}"


def test_constants_of_few_bits_are_held_in_8_where_a_reader_makes_the_same_of_them() -> None:
    """A target without them: what is dequantised may be of 8 bits, what keeps the type of its input may not."""

    class Wide(TreeDialect):
        has_small_types = False

    def made(b: Builder, x: Value) -> Value:
        rows = b.const(np.arange(6).reshape(2, 3), "uint4", "rows")
        return b.add(x, b.dequantize(rows, b.const(np.float32(0.5)), b.const(3, "uint4"), axis=None))

    g = graph(made)
    rules = RuleSet("small")
    rules.op("add", "add", "x, y")
    rules.op("dequantize", "dequantize", "x, scale, zero_point", axis=None)
    assert legalise(g, rules, None, Wide()) == []
    node = next(n for n in g if n.op == "dequantize")
    assert [str(v.dtype) for v in node.inputs if v is not None] == ["uint8", "float32", "uint8"]
    (x,) = (w for w in g.weights.values() if w.shape == (2, 3))
    assert x.tensor is not None and x.tensor.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    g = graph(lambda b, x: b.add(x, b.cast(b.flip(b.const(np.full((2, 3), -7), "int4"), axes=(0,)), to="float32")))
    rules.op("flip", "flip", "x", axes=None)
    assert any("small has no tensors of int4" in str(p) for p in legalise(g, rules, None, Wide()))


@pytest.mark.parametrize("dtype", ["sequence_float32", "optional_float32"])
@pytest.mark.parametrize("has", [False, True])
def test_inputs_that_are_sequences_or_may_be_absent(dtype: str, has: bool) -> None:
    class Either(TreeDialect):
        has_containers = has

    g = graph(lambda b, x: b.relu(x))
    Builder(g).input("held", dtype, None)
    told = shown(legalise(g, RULES, None, Either()))
    assert told == ([] if has else [f"'held' ({dtype}): tree has no sequences and no values that may be absent"])


@pytest.mark.parametrize("has", [False, True])
def test_inputs_and_values_of_few_bits(has: bool) -> None:
    """Each is told by its name, or its layer's, once."""

    class Either(TreeDialect):
        has_small_types = has

    g = graph(lambda b, x: b.relu(x))
    b = Builder(g)
    small = b.input("small", "int4", (2, 3))
    with at(b, "mine", "Flip"):
        g.outputs = [*g.outputs, b.cast(b.flip(small, axes=(0,)), to="float32")]
    rules = RuleSet("tree")
    for op in ("relu", "flip", "cast"):
        rules.op(op, op, **({"axes": None} if op == "flip" else {"to": None} if op == "cast" else {}))
    told = [s for s in shown(legalise(g, rules, None, Either())) if "no tensors of" in s]
    assert told == ([] if has else ["'small' (int4): tree has no tensors of int4", "'mine' (int4): tree has no tensors of int4"])
