"""Rows, isomorphisms and rule sets on a made-up framework."""

import json

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import DeclarationError, PluginConflictError, UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ir.tensors import as_tensor
from convcore.rules import (
    MISSING,
    A,
    Call,
    ForeignNode,
    I,
    LoadContext,
    NotExpressible,
    RuleSet,
    W,
)  # fmt: skip
from convcore.testing.rules import RecordingContext


@pytest.fixture
def b():
    return Builder(Graph("g"))


@pytest.fixture
def x(b):
    return b.input("x", "float32", (2, 3, 5))


def foreign(type, inputs, version=None, weights=None, **attrs):
    return ForeignNode(type, "here", inputs, attrs, version=version, weights=weights)


def load(rules, b, node, overrides=None):
    return rules.apply_load(LoadContext(b), node, overrides)


def why_refused(rules, b, node):
    with pytest.raises(UnsupportedError) as e:
        load(rules, b, node)
    (problem,) = e.value.problems
    assert problem.layer == "here" and problem.type == node.type
    return problem


# ---- rows, both ways


def test_a_row_loads_attributes_and_defaults(b, x):
    rules = RuleSet("toy")
    rules.op("Leaky", "leaky_relu", alpha=A("slope", 0.01))
    (y,) = load(rules, b, foreign("Leaky", [x], slope=0.3))
    assert y.producer.op == "leaky_relu" and y.producer.attrs == {"alpha": 0.3}
    (y,) = load(rules, b, foreign("Leaky", [x]))
    assert y.producer.attrs == {"alpha": 0.01}


def test_a_row_emits_only_what_differs_from_the_default(b, x):
    rules = RuleSet("toy")
    rules.op("Leaky", "leaky_relu", alpha=A("slope", 0.01))
    rules.op("LeakyAll", "elu", alpha=A("slope", 1.0, write_default=True))
    e = RecordingContext(b)
    assert rules.apply_emit(e, b.leaky_relu(x, alpha=0.01).producer) == ""
    assert rules.apply_emit(e, b.leaky_relu(x, alpha=0.3).producer) == ""
    assert rules.apply_emit(e, b.elu(x).producer) == ""
    assert [n.attrs for n in e.nodes] == [{}, {"slope": 0.3}, {"slope": 1.0}]


@pytest.mark.parametrize("layer_first", [True, False])
def test_of_two_that_say_as_much_the_layer_is_written(b, x, layer_first):
    """Whichever was declared first; a row that says more comes before both."""
    rules = RuleSet("toy")
    for layer in (layer_first, not layer_first):
        rules.op("Add" if layer else Call("f.add", "a, b"), "add", "a=x, b=y")
    e = RecordingContext(b)
    assert rules.apply_emit(e, b.add(x, x).producer) == ""
    rules.op(Call("f.add_relu", "a, b"), "add", "a=x, b=y", priority=1)
    assert rules.apply_emit(e, b.add(x, x).producer) == ""
    assert [n.type for n in e.nodes] == ["Add", "f.add_relu"]


def test_a_required_attribute_that_is_missing_is_named(b, x):
    rules = RuleSet("toy")
    rules.op("Leaky", "leaky_relu", alpha=A("slope"))
    assert "'slope' is missing" in why_refused(rules, b, foreign("Leaky", [x])).why


def test_fixed_values_are_made_and_required(b, x):
    rules = RuleSet("toy")
    rules.op("Tanhed", "gelu", approximate="tanh")
    (y,) = load(rules, b, foreign("Tanhed", [x]))
    assert y.producer.attrs == {"approximate": "tanh"}
    reason = rules.apply_emit(RecordingContext(b), b.gelu(x, approximate="none").producer)
    assert reason == "approximate is none, Tanhed means 'tanh'"


def test_a_fixed_negative_axis_means_the_last(b, x):
    rules = RuleSet("toy")
    rules.op("Soft", "softmax", axis=-1)
    e = RecordingContext(b)
    assert rules.apply_emit(e, b.softmax(x, axis=2).producer) == ""
    assert rules.apply_emit(e, b.softmax(x, axis=1).producer) == "axis is 1, Soft means -1"


def test_an_attribute_the_row_does_not_map_must_have_its_default(b, x):
    rules = RuleSet("toy")
    rules.op("Max", "argmax", axis=A("axis"))
    e = RecordingContext(b)
    assert rules.apply_emit(e, b.argmax(x, axis=1).producer) == ""
    assert "no counterpart of last=True" in rules.apply_emit(e, b.argmax(x, axis=1, last=True).producer)


def test_weights_are_reordered_both_ways(b):
    x = b.input("x", "float32", (2, 3))
    kernel = np.arange(15, dtype=np.float32).reshape(3, 5)
    rules = RuleSet("toy")
    rules.op("Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"), b=W("bias", optional=True))
    node = foreign("Dense", [x], weights={"kernel": as_tensor(kernel)})
    (y,) = load(rules, b, node)
    w = y.producer.inputs[1]
    assert np.array_equal(w.tensor.numpy(), kernel.T)
    e = RecordingContext(b)
    assert rules.apply_emit(e, y.producer) == ""
    assert np.array_equal(e.nodes[0].weights["kernel"].numpy(), kernel) and "bias" not in e.nodes[0].weights
    again = load(rules, b, node)[0].producer.inputs[1]
    assert again is not w  # another context, another registration
    assert "'kernel' is missing" in why_refused(rules, b, foreign("Dense", [x])).why


def test_one_layer_used_twice_shares_its_weights(b):
    x = b.input("x", "float32", (2, 3))
    rules = RuleSet("toy")
    rules.op("Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"))
    node = foreign("Dense", [x], weights={"kernel": as_tensor(np.zeros((3, 5), np.float32))})
    g = LoadContext(b)
    first, second = (rules.apply_load(g, node)[0].producer.inputs[1] for _ in range(2))
    assert first is second


def test_a_computed_weight_is_not_a_layers_own(b):
    x = b.input("x", "float32", (2, 3))
    w = b.input("w", "float32", (5, 3))
    rules = RuleSet("toy")
    rules.op("Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"))
    assert "wants w as a constant weight" in rules.apply_emit(RecordingContext(b), b.linear(x, w).producer)


def test_attributes_passed_as_constant_inputs(b, x):
    rules = RuleSet("toy")
    rules.op("Squeeze", "squeeze", "data=x, axes=_", axes=I("axes", iso="int_tuple"))
    one = b.input("one", "float32", (2, 1, 5))
    (y,) = load(rules, b, foreign("Squeeze", [one, b.const([1], "int64")]))
    assert y.producer.attrs == {"axes": (1,)}
    e = RecordingContext(b)
    assert rules.apply_emit(e, y.producer) == ""
    sent = e.nodes[0].inputs[1].tensor.numpy()
    assert sent.tolist() == [1] and sent.dtype == np.int64
    problem = why_refused(rules, b, foreign("Squeeze", [one, b.input("axes", "int64", (1,))]))
    assert "'axes' must be a constant" in problem.why and problem.code == "requires_constant_input"
    assert why_refused(rules, b, foreign("Squeeze", [one])).code == "missing_input"


def test_a_symbolic_size_has_no_constant_form(b):
    x = b.input("x", "float32", (Dim("N"), 3))
    rules = RuleSet("toy")
    rules.op("Tile", "tile", "x=x, repeats=_", repeats=I("repeats", iso="int_tuple"))
    rules.op("Shape", "reshape", shape=A("shape", iso="tuple"))
    e = RecordingContext(b)
    with pytest.raises(TypeError):
        int(Dim("N"))
    assert "symbolic" in rules.apply_emit(e, b.reshape(x, shape=(3, Dim("N"))).producer)


def test_rows_take_any_number_of_inputs(b, x):
    rules = RuleSet("toy")
    rules.op("Join", "concat", "inputs=xs*", axis=A("axis", 1))
    (y,) = load(rules, b, foreign("Join", [x, x, x], axis=2))
    assert y.shape == (2, 3, 15)
    e = RecordingContext(b)
    assert rules.apply_emit(e, y.producer) == ""
    assert e.nodes[0].inputs == [x, x, x]


def test_too_many_or_missing_inputs_let_another_rule_try(b, x):
    rules = RuleSet("toy")
    rules.op("Max", "maximum", "a=x, b=y")
    assert "3 inputs, the rule knows 2" in why_refused(rules, b, foreign("Max", [x, x, x])).why
    assert "'b' is missing" in why_refused(rules, b, foreign("Max", [x])).why

    @rules.load("Max")
    def folded(g, node):
        first, *rest = node.inputs
        for v in rest:
            first = g.b.maximum(first, v)
        return first

    (y,) = load(rules, b, foreign("Max", [x, x, x]))
    assert y.producer.op == "maximum" and y.producer.inputs[0].producer.op == "maximum"
    assert load(rules, b, foreign("Max", [x])) == (x,)


def test_the_number_of_axes_a_type_takes(b, x):
    rules = RuleSet("toy")
    rules.op("Up1", "upsample_nearest", rank=3, scales=A("size", iso="one_item"))
    image = b.input("image", "float32", (2, 3, 5, 7))
    assert load(rules, b, foreign("Up1", [x], size=2))[0].shape == (2, 3, 10)
    assert "has 4 axes, Up1 takes 3" in why_refused(rules, b, foreign("Up1", [image], size=2)).why
    assert "has 4 axes" in rules.apply_emit(RecordingContext(b), b.upsample_nearest(image, scales=(2, 2)).producer)
    assert rules.to_json()[0]["rank"] == 3


def test_an_input_the_row_does_not_know_stops_emission(b):
    x, w, bias = b.input("x", "float32", (2, 3)), b.input("w", "float32", (5, 3)), b.input("b", "float32", (5,))
    rules = RuleSet("toy")
    rules.op("MatMul", "linear", "x=x, w=w")
    assert "no counterpart of the input 'b'" in rules.apply_emit(RecordingContext(b), b.linear(x, w, bias).producer)


def test_outputs_in_use_must_have_a_counterpart(b, x):
    rules = RuleSet("toy")
    rules.op("Top", "topk", outputs="values", k=A("k"), axis=A("axis", -1))
    values, indices = b.topk(x, k=2)
    e = RecordingContext(b)
    assert rules.apply_emit(e, values.producer) == ""
    b.cast(indices, to="float32")
    assert "an output that is used" in rules.apply_emit(e, values.producer)
    assert len(e.nodes) == 1


# ---- conditions, priorities, versions


def test_conditions_choose_and_say_why_not(b, x):
    rules = RuleSet("toy")
    rules.op("Gelu", "gelu", when={"mode": "tanh"}, approximate="tanh")
    rules.op("Gelu", "gelu", when={"mode": {"exact", MISSING}}, approximate="none")
    assert load(rules, b, foreign("Gelu", [x], mode="tanh"))[0].producer.attrs == {"approximate": "tanh"}
    assert load(rules, b, foreign("Gelu", [x], mode="exact"))[0].producer.attrs == {"approximate": "none"}
    assert load(rules, b, foreign("Gelu", [x]))[0].producer.attrs == {"approximate": "none"}
    why = why_refused(rules, b, foreign("Gelu", [x], mode="sigmoid")).why
    assert why == "mode is 'sigmoid', the rule wants 'tanh' or one of ['exact', MISSING]"  # said once
    e = RecordingContext(b)
    for mode in ("tanh", "none"):
        assert rules.apply_emit(e, b.gelu(x, approximate=mode).producer) == ""
    assert [n.attrs for n in e.nodes] == [{"mode": "tanh"}, {}]


def test_a_condition_for_unset(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu", when={"max": None})
    assert load(rules, b, foreign("Act", [x]))[0].producer.op == "relu"
    assert load(rules, b, foreign("Act", [x], max=None))[0].producer.op == "relu"
    assert "max is 6" in why_refused(rules, b, foreign("Act", [x], max=6)).why


def test_reasons_of_rules_that_fit_hide_unmet_conditions(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu", when={"kind": 1})

    @rules.load("Act")
    def never(g, node):
        raise NotExpressible("the moon is full", "moon")

    problem = why_refused(rules, b, foreign("Act", [x], kind=2))
    assert problem.why == "the moon is full" and problem.code == "moon"


def test_priority_then_specificity(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu", when={"kind": 1})
    rules.op("Act", "tanh", ignore=("kind",))
    assert load(rules, b, foreign("Act", [x], kind=1))[0].producer.op == "relu"
    assert load(rules, b, foreign("Act", [x], kind=2))[0].producer.op == "tanh"
    rules.op("Act", "sigmoid", ignore=("kind",), priority=1)
    assert load(rules, b, foreign("Act", [x], kind=1))[0].producer.op == "sigmoid"


def test_versions_bound_rules(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu", until=4)
    rules.op("Act", "tanh", since=5, until=9)
    assert load(rules, b, foreign("Act", [x], version=4))[0].producer.op == "relu"
    assert load(rules, b, foreign("Act", [x], version=5))[0].producer.op == "tanh"
    why = why_refused(rules, b, foreign("Act", [x], version=10)).why
    assert "version 10 is outside the supported versions (..4, 5..9)" in why
    node = b.tanh(x).producer
    assert rules.apply_emit(RecordingContext(b, 4), node) == "toy has it from version 5 on"
    assert rules.apply_emit(RecordingContext(b, 5), node) == ""


def test_no_rule(b, x):
    problem = why_refused(RuleSet("toy"), b, foreign("Warp", [x]))
    assert problem.code == "unsupported_layer" and "plugin" in problem.hint
    assert RuleSet("toy").apply_emit(RecordingContext(b), b.relu(x).producer) == "toy has no counterpart"


def test_nobody_reads_an_attribute(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu", ignore=("seed",))
    load(rules, b, foreign("Act", [x], seed=3))
    problem = why_refused(rules, b, foreign("Act", [x], seed=3, gain=2, shift=1))
    assert problem.code == "unknown_attribute" and "gain=2, shift=1" in problem.why and "seed" not in problem.why
    rules.ignore("gain", "shift")
    load(rules, b, foreign("Act", [x], seed=3, gain=2, shift=1))


def test_what_a_failed_rule_read_does_not_count(b, x):
    rules = RuleSet("toy")

    @rules.load("Act", priority=1)
    def gives_up(g, node):
        node.attr("gain")
        raise NotExpressible("no")

    rules.op("Act", "relu")
    assert why_refused(rules, b, foreign("Act", [x], gain=2)).code == "unknown_attribute"


def test_a_functions_conditions_count_as_read(b, x):
    rules = RuleSet("toy")

    @rules.load("Act", when={"kind": 1})
    def act(g, node):
        return g.b.relu(node.inputs[0])

    load(rules, b, foreign("Act", [x], kind=1))


def test_emission_rolls_back_a_rule_that_gives_up(b, x):
    rules = RuleSet("toy")

    @rules.emit("silu", priority=1)
    def half_way(e, node):
        e.call("Sigmoid", [e.value(node.inputs[0])], {})
        raise NotExpressible("not today")

    @rules.emit("silu")
    def whole(e, node):
        e.call("Swish", [e.value(node.inputs[0])], {}, outputs=node.outputs)

    e = RecordingContext(b)
    assert rules.apply_emit(e, b.silu(x).producer) == ""
    assert [n.type for n in e.nodes] == ["Swish"]


def test_overrides_by_name_before_type(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu")
    by = {"Act": lambda g, n: g.b.tanh(n.inputs[0]), "here": lambda g, n: [g.b.sigmoid(n.inputs[0])]}
    assert load(rules, b, foreign("Act", [x]), by)[0].producer.op == "sigmoid"
    assert load(rules, b, foreign("Act", [x]), {"Act": by["Act"]})[0].producer.op == "tanh"
    e = RecordingContext(b)
    assert rules.apply_emit(e, b.relu(x).producer, {"relu": lambda e, n: e.call("Mine", [n.inputs[0]], {})}) == ""
    assert e.nodes[0].type == "Mine"


def test_an_override_that_gives_up_leaves_the_node_to_the_next_rule(b, x):
    rules = RuleSet("toy")
    rules.op("Act", "relu")

    def load_not(g, node):
        g.b.exp(node.inputs[0])
        raise NotExpressible("not this one")

    made = load(rules, b, foreign("Act", [x]), {"here": load_not, "Act": load_not})
    assert [v.producer.op for v in made] == ["relu"] and [n.op for n in b.graph] == ["relu"]
    with pytest.raises(UnsupportedError, match="not this one"):
        load(rules, b, foreign("New", [x]), {"New": load_not})

    def emit_not(e, node):
        e.call("Half", [node.inputs[0]], {})
        raise NotExpressible("not this one")

    e = RecordingContext(b)
    assert rules.apply_emit(e, b.relu(x).producer, {"relu": emit_not}) == "" and [n.type for n in e.nodes] == ["Act"]
    assert rules.apply_emit(e, b.tanh(x).producer, {"tanh": emit_not}) == "not this one"


def test_post_steps(b, x):
    rules = RuleSet("toy")

    @rules.post("activate")
    def activate(g, node, value):
        return g.b.relu(value) if node.attr("activation", None) == "relu" else value

    rules.op("Neg", "neg", then=("activate",))
    assert load(rules, b, foreign("Neg", [x], activation="relu"))[0].producer.op == "relu"
    assert load(rules, b, foreign("Neg", [x]))[0].producer.op == "neg"
    with pytest.raises(DeclarationError, match="unknown post step"):
        rules.op("Neg", "neg", then=("polish",))


# ---- merging and tables


def test_equal_priority_of_two_distributions_is_a_conflict(b, x):
    ours, theirs = RuleSet("toy", "ours"), RuleSet("toy", "theirs")
    ours.op("Act", "relu")
    theirs.op("Act", "tanh", direction="load")
    with pytest.raises(PluginConflictError, match=r"ours and theirs both have a rule for 'Act'"):
        RuleSet.merged([ours, theirs])
    better = RuleSet("toy", "theirs")
    better.op("Act", "tanh", priority=1)
    merged = RuleSet.merged([ours, better])
    assert load(merged, b, foreign("Act", [x]))[0].producer.op == "tanh"
    elsewhere = RuleSet("toy", "theirs")
    elsewhere.op("Act", "tanh", when={"kind": 1})
    merged = RuleSet.merged([ours, elsewhere])
    assert load(merged, b, foreign("Act", [x], kind=1))[0].producer.op == "tanh"


def test_emit_rules_conflict_too():
    ours, theirs = RuleSet("toy", "ours"), RuleSet("toy", "theirs")
    ours.op("A", "relu")
    theirs.op("B", "relu")
    with pytest.raises(PluginConflictError, match="relu"):
        RuleSet.merged([ours, theirs])


def test_rules_are_plain_data():
    rules = RuleSet("toy", "convcore-toy")
    rules.op(
        "Gelu", "gelu", "X=x", since=3, when={"mode": {"exact", MISSING}}, ignore=("seed",),
        approximate=A("mode", "a", ("enum", {"a": "none", "b": "tanh"})),
    )  # fmt: skip

    @rules.load("Warp")
    def warp(g, node):
        return node.inputs[0]

    @rules.emit("tanh")
    def tanh(e, node):
        return None

    row, loader, emitter = json.loads(json.dumps(rules.to_json()))
    assert row["foreign"] == "Gelu" and row["since"] == 3 and row["when"] == {"mode": ["exact", "unset"]}
    assert row["mapping"]["approximate"] == {"attribute": "mode", "default": "a", "iso": ["enum", {"a": "none", "b": "tanh"}]}
    assert loader["foreign"] == "Warp" and loader["direction"] == "load" and loader["function"].endswith("warp")
    assert emitter["op"] == "tanh" and emitter["direction"] == "emit"


# ---- validation at declaration


@pytest.mark.parametrize(
    ("op", "inputs", "mapping", "why"),
    [
        ("no_such_op", "x", {}, "unknown op"),
        ("relu", "x=z", {}, "no input 'z'"),
        ("linear", "x=x", {}, "'w' is not mapped"),
        ("leaky_relu", "x=x", {}, "'alpha' has no default"),
        ("relu", "x=x", {"alpha": A("alpha")}, "neither an input nor an attribute"),
        ("leaky_relu", "x=x", {"alpha": W("alpha")}, "is an attribute"),
        ("linear", "x=x", {"w": A("w")}, "must be mapped by W"),
        ("linear", "x=x", {"w": W("w", "IO->OO")}, "bad axis order"),
        ("squeeze", "x=x", {"axes": I("axes")}, "not in the input list"),
    ],
)
def test_rows_are_checked_against_the_declaration(op, inputs, mapping, why):
    with pytest.raises(DeclarationError, match=why):
        RuleSet("toy").op("T", op, inputs, **mapping)


def test_outputs_are_checked():
    with pytest.raises(DeclarationError, match="no output 'z'"):
        RuleSet("toy").op("T", "relu", outputs="z")
    with pytest.raises(DeclarationError, match="unknown op 'nope'"):
        RuleSet("toy").emit("nope")(lambda e, n: None)
