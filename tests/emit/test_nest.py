"""Scopes as blocks: a module tree printed from a plan computes what the graph does, with the source's nesting and sharing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from module_tree import RULES, TreeDialect, calls_of, live, planned, printed

import convcore
from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.graph import Graph, Value
from convcore.ir.scopes import Scope
from convcore.plugin import Block, Dialect, Unit, leaves, nest, plan

os.environ.setdefault("KERAS_BACKEND", "torch")
RNG = np.random.default_rng(11)


def f32(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


class Net:
    """A graph under construction."""

    def __init__(self) -> None:
        self.graph = Graph("net")
        self.b = Builder(self.graph)

    def input(self, name: str, *shape: int) -> Value:
        return self.b.input(name, "float32", shape)

    def weights(self, n: int, m: int) -> tuple[Value, Value]:
        return self.b.weight(f32(m, n), "w/kernel", trainable=True), self.b.weight(f32(m), "w/bias", trainable=True)

    def dense(self, scope: Scope, x: Value, weights: tuple[Value, Value]) -> Any:
        with self.b.within(scope):
            return self.b.linear(x, *weights)

    def op(self, scope: Scope | None, op: str, *xs: Value, **attrs: Any) -> Any:
        with self.b.within(scope or self.graph.root):
            return self.b.op(op, *xs, **attrs)


def agrees(graph: Graph, **kw: Any) -> Any:
    """The plan, after checking that the printed tree computes what the graph does."""
    arrays = [f32(*(int(d) for d in v.shape or ())) for v in graph.inputs]  # type: ignore[arg-type]
    want = run(graph, *arrays)
    made = planned(graph.clone(), **kw)
    got = live(made)(*arrays)
    for a, b in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return made


def block(parent: Block, name: str) -> Block:
    found = parent.members[name]
    assert isinstance(found, Block)
    return found


def test_nested_scopes_become_blocks_and_states_have_paths() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    outer = n.graph.scope("encoder", "Encoder")
    inner = n.graph.scope("stage", "Stage", parent=outer)
    y = n.dense(n.graph.scope("fc1", "Dense", parent=inner), x, n.weights(3, 5))
    y = n.op(inner, "relu", y)
    y = n.dense(n.graph.scope("fc2", "Dense", parent=outer), y, n.weights(5, 7))
    n.graph.outputs = [n.dense(n.graph.scope("head", "Dense"), y, n.weights(7, 11))]
    made = agrees(n.graph)
    layers = ("encoder.fc2", "encoder.stage.fc1", "head")
    assert sorted(made.paths()) == [f"{layer}.{k}" for layer in layers for k in ("bias", "kernel")]
    assert made.paths()["head.kernel"].tensor.shape == (7, 11) and made.paths()["head.kernel"].trainable
    assert calls_of(made.root) == ["encoder", "head"]
    stage = block(block(made.root, "encoder"), "stage")
    assert calls_of(stage) == ["fc1", "relu"] and stage.type == "Stage"
    assert "class Encoder(Module):" in printed(made)


def test_two_calls_of_one_layer_are_two_calls_of_one_unit() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    w = n.weights(3, 3)
    y = n.dense(n.graph.scope("fc", "Dense", call=0), x, w)
    y = n.op(None, "relu", y)
    n.graph.outputs = [n.dense(n.graph.scope("fc", "Dense", call=1), y, w)]
    made = agrees(n.graph)
    assert calls_of(made.root) == ["fc", "relu", "fc"] and list(made.root.members) == ["fc"]
    assert sorted(made.paths()) == ["fc.bias", "fc.kernel"]


def test_two_layers_with_one_weight_are_two_units_of_one_state() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    w = n.weights(3, 3)
    y = n.dense(n.graph.scope("a", "Dense"), x, w)
    n.graph.outputs = [n.dense(n.graph.scope("b", "Dense"), y, w)]
    made = agrees(n.graph)
    assert list(made.root.members) == ["a", "b"]
    assert made.paths()["a.kernel"] is made.paths()["b.kernel"]


def shared(n: Net, call: int, x: Value, ws: Any, *, extra: bool = False) -> Any:
    """A block of two layers, called for the nth time."""
    at = n.graph.scope("shared", "Functional", call=call)
    y = n.op(at, "relu", n.dense(n.graph.scope("fc1", "Dense", parent=at, call=call), x, ws[0]))
    y = n.dense(n.graph.scope("fc2", "Dense", parent=at, call=call), y, ws[1])
    return n.op(at, "relu", y) if extra else y


def test_a_shared_block_is_called_twice() -> None:
    n = Net()
    a, b = n.input("a", 2, 3), n.input("b", 5, 3)
    ws = n.weights(3, 7), n.weights(7, 3)
    n.graph.outputs = [shared(n, 0, a, ws), shared(n, 1, b, ws)]
    made = agrees(n.graph)
    assert calls_of(made.root) == ["shared", "shared"] and len(made.root.members) == 1
    assert sorted(made.paths()) == ["shared.fc1.bias", "shared.fc1.kernel", "shared.fc2.bias", "shared.fc2.kernel"]
    assert made.root.calls[0].target is made.root.calls[1].target


def test_what_one_call_returns_the_others_do_too() -> None:
    """The first call's inner value is used outside, the second call's is not."""
    n = Net()
    x = n.input("x", 2, 3)
    ws = n.weights(3, 3)
    ends = []
    for call in (0, 1):
        at = n.graph.scope("pair", "Pair", call=call)
        y = n.dense(n.graph.scope("fc", "Dense", parent=at, call=call), x if not ends else ends[-1], ws)
        z = n.op(at, "relu", y)
        ends += [y, z] if not call else [z]
    n.graph.outputs = ends
    made = agrees(n.graph)
    assert calls_of(made.root) == ["pair", "pair"] and len(block(made.root, "pair").outputs) == 2


def test_a_scope_whose_calls_differ_stays_open() -> None:
    n = Net()
    a, b = n.input("a", 2, 3), n.input("b", 5, 3)
    ws = n.weights(3, 7), n.weights(7, 3)
    n.graph.outputs = [shared(n, 0, a, ws), shared(n, 1, b, ws, extra=True)]
    made = agrees(n.graph)
    assert sorted(made.root.members) == ["shared_fc1", "shared_fc2"]
    assert calls_of(made.root) == ["shared_fc1", "relu", "shared_fc2", "shared_fc1", "relu", "shared_fc2", "relu"]


def test_equal_blocks_share_one_class() -> None:
    n = Net()
    y = n.input("x", 2, 3)
    for i in range(3):
        at = n.graph.scope(f"block{i}", "Residual")
        z = n.dense(n.graph.scope("fc", "Dense", parent=at), y, n.weights(3, 3))
        y = n.op(at, "add", n.op(at, "relu", z), y)
    odd = n.graph.scope("odd", "Residual")
    z = n.dense(n.graph.scope("fc", "Dense", parent=odd), y, n.weights(3, 3))
    n.graph.outputs = [n.op(odd, "add", n.op(odd, "exp", z), y)]
    made = agrees(n.graph)
    first, second, third, last = (block(made.root, name) for name in ("block0", "block1", "block2", "odd"))
    assert first.alike is None and second.alike is first and third.alike is first and last.alike is None
    assert [b.type for b in (first, second, third, last)] == ["Residual", "Residual", "Residual", "Residual_1"]
    assert printed(made).count("class ") == 3
    assert len(made.paths()) == 8 and made.paths()["block0.fc.kernel"] is not made.paths()["block1.fc.kernel"]


def test_other_shapes_are_another_class() -> None:
    """A module's constructor makes its states: their shapes are part of the class."""
    n = Net()
    y = n.input("x", 2, 3)
    for i, (a, b) in enumerate([(3, 5), (5, 7)]):
        at = n.graph.scope(f"block{i}", "Stage")
        y = n.op(at, "relu", n.dense(n.graph.scope("fc", "Dense", parent=at), y, n.weights(a, b)))
    n.graph.outputs = [y]
    made = agrees(n.graph)
    assert [block(made.root, f"block{i}").type for i in (0, 1)] == ["Stage", "Stage_1"]


def test_a_scope_that_is_left_and_entered_again_stays_open() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    at = n.graph.scope("loose", "Loose")
    y = n.dense(n.graph.scope("fc1", "Dense", parent=at), x, n.weights(3, 3))
    y = n.op(None, "exp", y)
    n.graph.outputs = [n.dense(n.graph.scope("fc2", "Dense", parent=at), y, n.weights(3, 3))]
    made = agrees(n.graph)
    assert calls_of(made.root) == ["loose_fc1", "exp", "loose_fc2"]


def test_scopes_that_wait_for_each_other() -> None:
    """a1 -> b1, b2 -> a2: each could be a block, both cannot."""
    n = Net()
    x, y = n.input("x", 2, 3), n.input("y", 2, 3)
    a, b = n.graph.scope("a", "A"), n.graph.scope("b", "B")
    a1 = n.dense(n.graph.scope("fc", "Dense", parent=a), x, n.weights(3, 3))
    b2 = n.dense(n.graph.scope("fc", "Dense", parent=b), y, n.weights(3, 3))
    a2, a3 = n.op(a, "add", b2, x), n.op(a, "relu", x)
    n.graph.outputs = [n.op(b, "relu", a1), a2, a3]
    made = agrees(n.graph)
    assert isinstance(made.root.members["a"], Block) and "b_fc" in made.root.members


def test_calls_that_interleave_are_put_in_order() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    a, b = n.graph.scope("a", "A"), n.graph.scope("b", "B")
    p, q = n.op(a, "relu", x), n.op(b, "exp", x)
    r, s = n.op(a, "add", p, x), n.op(b, "mul", q, x)
    n.graph.outputs = [n.op(b, "add", r, s)]
    assert calls_of(agrees(n.graph).root) == ["a", "b"]


def test_depth_is_limited() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    outer = n.graph.scope("outer", "Outer")
    inner = n.graph.scope("inner", "Inner", parent=outer)
    y = n.op(inner, "relu", n.dense(n.graph.scope("fc", "Dense", parent=inner), x, n.weights(3, 3)))
    n.graph.outputs = [n.op(outer, "exp", y)]
    assert calls_of(block(agrees(n.graph, max_depth=1).root, "outer")) == ["inner_fc", "relu", "exp"]
    assert calls_of(agrees(n.graph, max_depth=0).root) == ["outer_inner_fc", "relu", "exp"]


def test_names_are_identifiers_and_unique() -> None:
    n = Net()
    y = n.input("x", 2, 3)
    for name in ("conv/1", "conv.1", "1st", "class", "forward"):
        y = n.dense(n.graph.scope(name, "Dense"), y, n.weights(3, 3))
    n.graph.outputs = [y]
    assert list(agrees(n.graph).root.members) == ["conv_1", "conv_1_1", "_1st", "class_", "forward_1"]


def test_several_results_constants_and_weights_as_operands() -> None:
    n = Net()
    x = n.input("x", 2, 7)
    at = n.graph.scope("parts", "Parts")
    left, right = n.op(at, "split", x, axis=1, sizes=(3, 4))
    left = n.op(at, "mul", left, n.b.weight(f32(3), "parts/scale", trainable=True))
    right = n.op(at, "add", right, n.b.const(0.5))
    n.graph.outputs = [right, left, left]
    made = agrees(n.graph)
    parts = block(made.root, "parts")
    assert sorted(parts.members) == ["const", "scale"] and len(parts.outputs) == 2
    assert made.paths()["parts.scale"].trainable and not made.paths()["parts.const"].trainable


def test_a_layer_with_its_activation_is_no_block() -> None:
    """As a person would write it: self.fc = Dense(), relu(self.fc(x)); the state's path is fc.kernel."""
    n = Net()
    x = n.input("x", 2, 3)
    at = n.graph.scope("fc", "Dense")
    n.graph.outputs = [n.op(at, "relu", n.dense(at, x, n.weights(3, 5)))]
    made = agrees(n.graph)
    assert calls_of(made.root) == ["fc", "relu"] and sorted(made.paths()) == ["fc.bias", "fc.kernel"]


def test_a_layer_of_functions_with_weights_keeps_their_path() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    at = n.graph.scope("scale", "Scale")
    n.graph.outputs = [n.op(at, "mul", x, n.b.weight(f32(3), "scale/gamma", trainable=True))]
    assert list(agrees(n.graph).paths()) == ["scale.gamma"]


def test_two_units_in_one_layer_are_a_block() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    at = n.graph.scope("mlp", "Mlp")
    n.graph.outputs = [n.dense(at, n.dense(at, x, n.weights(3, 5)), n.weights(5, 2))]
    assert sorted(agrees(n.graph).paths()) == [f"mlp.{u}.{k}" for u in ("dense", "dense_1") for k in ("bias", "kernel")]


def test_a_keras_file_keeps_its_nesting_and_sharing(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    a, b, i = keras.Input((3,), name="a"), keras.Input((3,), name="b"), keras.Input((3,))
    y = keras.layers.Dense(5, name="fc1", activation="relu")(i)
    encoder = keras.Model(i, keras.layers.Dense(3, name="fc2")(y), name="encoder")
    head = keras.layers.Dense(7, name="head")
    z = keras.layers.Add(name="sum")([encoder(a), encoder(b)])
    model = keras.Model([a, b], [head(z), head(encoder(z))])
    model.save(tmp_path / "m.keras")
    graph = convcore.load(tmp_path / "m.keras").graph
    for v in graph.inputs:
        v.shape = (2, 3)
    made = planned(graph)
    assert calls_of(made.root) == ["encoder", "encoder", "add", "encoder", "head", "head"]
    assert list(made.paths()) == [f"{layer}.{k}" for layer in ("encoder.fc1", "encoder.fc2", "head") for k in ("kernel", "bias")]
    data = [f32(2, 3), f32(2, 3)]
    for got, want in zip(live(made)(*data), model.predict(data, verbose=0), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_dialect_without_units_and_scopes_stays_flat() -> None:
    n = Net()
    x = n.input("x", 2, 3)
    n.graph.outputs = [n.dense(n.graph.scope("fc", "Dense", parent=n.graph.scope("a")), x, n.weights(3, 5))]

    class Flat(TreeDialect):
        states_are_inputs = True

        def is_unit(self, type: str) -> bool:
            return False

    made = plan(n.graph, RULES, None, Flat())
    (call,) = made.root.calls
    assert call.target == "Dense" and [s.key for s in made.states] == ["IO->OI (3, 5) []", ""]
    assert call.args[1:] == tuple(made.states)


def test_nesting_costs_about_the_same_per_call() -> None:
    """Deep and wide: 3,000 calls in 1,000 blocks within seconds (it was meant to be near linear)."""
    n = Net()
    y = n.input("x", 2, 3)
    w = n.weights(3, 3)
    for i in range(1000):
        at = n.graph.scope(f"block{i}", "Block")
        z = n.op(at, "relu", n.dense(n.graph.scope("fc", "Dense", parent=at), y, w))
        y = n.op(at, "add", z, y)
    n.graph.outputs = [y]
    made = plan(n.graph, RULES, None, TreeDialect())
    start = time.process_time()
    nest(made)
    assert time.process_time() - start < 5
    assert len(made.root.calls) == 1000 and {b.type for b in made.root.walk()} == {"Model", "Block"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_scopes_at_all(data: st.DataObject) -> None:
    """Random scopes over a random graph: the tree computes the same, every call is written once, in order."""
    n = Net()
    values = [n.input("x", 2, 3)]
    paths = data.draw(st.lists(st.lists(st.sampled_from("abc"), max_size=3).map(tuple), min_size=2, max_size=14))
    for path in paths:
        scope = n.graph.root
        for name in path:
            scope = n.graph.scope(name, parent=scope)
        op = data.draw(st.sampled_from(["relu", "add", "mul", "dense"]))
        pick = st.sampled_from(values)
        if op == "dense":
            values.append(n.dense(scope, data.draw(pick), n.weights(3, 3)))
        else:
            values.append(n.op(scope, op, *(data.draw(pick) for _ in range(1 if op == "relu" else 2))))
    n.graph.outputs = values[-2:]
    n.graph.remove_unused()  # as convert does
    made = agrees(n.graph)
    units = [m for b in made.root.walk() for m in b.members.values() if isinstance(m, Unit)]
    assert len(units) == len(set(map(id, units)))
    for b in made.root.walk():
        known = set(b.inputs)
        for call in b.calls:
            assert {r for r in leaves(call.args) if hasattr(r, "call")} <= known
            known.update(call.results)


def test_the_default_dialect_is_a_plain_tree() -> None:
    assert Dialect().version is None and not Dialect().is_unit("Dense") and Dialect().class_name("res block/2") == "ResBlock2"
