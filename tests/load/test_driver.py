"""The load driver, on a toy format: layers are dicts, results are named by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.build.opaque import opaque_problems
from convcore.build.verify import verify
from convcore.errors import BadFileError, PluginBugError, ShapeError, UsageError
from convcore.hookspecs import LoadRequest
from convcore.ir.dims import Dim, other_order
from convcore.ir.flat import FlatLayer, FlatModel, FlatValue
from convcore.ir.graph import Graph, Origin, Value
from convcore.loading import Driver, InputShapes, read_head
from convcore.loading.flat import load_flat
from convcore.rules import A, ForeignNode, LoadContext, NotExpressible, RuleSet

RULES = RuleSet("toy", "acme-toy")
RULES.op("Act", "relu", "x=x")
RULES.op("Leaky", "leaky_relu", "x=x", alpha=A("alpha"))


@RULES.load("Same")
def same(g: LoadContext, node: ForeignNode) -> Value | None:
    return node.inputs[0]


@RULES.load("Rows")
def rows(g: LoadContext, node: ForeignNode) -> Any:
    x = node.inputs[0]
    y = g.b.exp(x)
    if x is None or x.shape is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    if node.attr("axis", 0) >= len(x.shape):
        raise ShapeError(f"layer {node.origin}: no such axis")
    return g.b.sum(y, axes=(node.attr("axis", 0),), keepdims=False)


@RULES.load("Broken")
def broken(g: LoadContext, node: ForeignNode) -> Any:
    return 1 // 0


Layers = Sequence[tuple[str, str, Sequence[str], Sequence[str], Mapping[str, Any]]]


def load(layers: Layers, overrides: Mapping[str, Callable[..., Any]] | None = None) -> tuple[Graph, dict[str, Value]]:
    graph = Graph("toy")
    driver = Driver("toy", LoadContext(Builder(graph)), RULES, overrides or {})
    x = driver.b.input("x", "float32", (2, 3))
    driver.name(x, "x")
    values = {"x": x}
    for type, base, inputs, outputs, attrs in layers:
        name = driver.layer_name(base)
        node = ForeignNode(type, name, [values[i] for i in inputs], attrs, outputs=outputs, origin=Origin("toy", name, type))
        with driver.b.at(node.origin):
            for output, v in zip(outputs, driver.load(node)):
                values[output] = driver.own(v)
                driver.name(values[output], output)
            driver.name_node([values[o] for o in outputs], name)
    verify(graph)
    return graph, values


def test_rules_give_named_values() -> None:
    graph, values = load([("Act", "a", ["x"], ["h"], {}), ("Leaky", "b", ["h"], ["y"], {"alpha": 0.5})])
    assert [(n.op, n.name, n.output.name) for n in graph] == [("relu", "a", "h"), ("leaky_relu", "b", "y")]
    assert values["y"].shape == (2, 3) and not opaque_problems(graph)


def test_what_is_passed_through_gets_a_value_of_its_own() -> None:
    graph, values = load([("Same", "a", ["x"], ["h"], {}), ("Same", "a", ["h"], ["y"], {})])
    assert [(n.op, n.name, n.output.name) for n in graph] == [("identity", "a", "h"), ("identity", "a_1", "y")]
    assert values["x"].name == "x"


def test_refusals_are_opaque_nodes_with_the_reason_and_nothing_else() -> None:
    graph, _ = load([("Leaky", "a", ["x"], ["h"], {"alpha": 1.0, "beta": 2}), ("Odd", "b", ["x"], ["i", "j"], {"n": 5})])
    assert [(n.op, len(n.outputs)) for n in graph] == [("opaque", 1), ("opaque", 2)]
    assert [(p.layer, p.type, p.code) for p in opaque_problems(graph)] == [
        ("a", "Leaky", "unknown_attribute"),
        ("b", "Odd", "unsupported_layer"),
    ]
    assert graph.nodes[1].attrs["attributes"] == {"n": 5}


def test_shapes_that_do_not_fit_are_a_problem_and_leave_nothing() -> None:
    graph, _ = load([("Rows", "a", ["x"], ["y"], {"axis": 7})])
    (p,) = opaque_problems(graph)
    assert (p.code, p.why) == ("invalid_shape", "no such axis") and [n.op for n in graph] == ["opaque"]


def test_what_follows_an_opaque_layer_has_no_problem_of_its_own_but_for_its_own_mistakes() -> None:
    graph, _ = load(
        [
            ("Odd", "a", ["x"], ["h"], {}),
            ("Same", "s", ["h"], ["i"], {}),
            ("Rows", "b", ["i"], ["j"], {}),  # follows: h has no shape, and i is h
            ("Leaky", "c", ["h"], ["k"], {"alpha": 0.5, "beta": 1}),  # its own: an attribute nobody knows
            ("Odd", "d", ["h"], ["l"], {}),  # its own: no rule
        ]
    )
    assert [p.layer for p in opaque_problems(graph)] == ["a", "c", "d"]
    assert [n.op for n in graph] == ["opaque", "identity", "opaque", "opaque", "opaque"]


def test_more_outputs_than_a_rule_gives() -> None:
    graph, _ = load([("Act", "a", ["x"], ["h", "i"], {})])
    (p,) = opaque_problems(graph)
    assert p.code == "unsupported_output" and "1" in p.why and [n.op for n in graph] == ["opaque"]


def test_a_bug_names_plugin_and_layer() -> None:
    with pytest.raises(PluginBugError, match=r"a bug in acme-toy: .*broken for layer 'a' \(Broken\) raised ZeroDivisionError"):
        load([("Broken", "a", ["x"], ["y"], {})])


def test_an_override_counts_as_a_rule() -> None:
    graph, _ = load([("Odd", "a", ["x"], ["y"], {})], {"a": lambda g, node: g.b.exp(node.inputs[0])})
    assert [n.op for n in graph] == ["exp"]


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "b", "b_1_1"]), max_size=12))
def test_layer_names_are_unique_and_kept_where_they_can_be(names: list[str]) -> None:
    driver = Driver("toy", LoadContext(Builder(Graph("g"))), RULES, {})
    got = [driver.layer_name(n) for n in names]
    assert len(set(got)) == len(got)
    assert all(g == n or g.startswith(f"{n}_") for g, n in zip(got, names))
    assert got[:1] == names[:1]


# ---- shapes of inputs
sizes = st.one_of(st.none(), st.integers(1, 9), st.just("batch"))


@given(st.lists(sizes, max_size=4), st.one_of(st.none(), st.lists(sizes, max_size=4)))
def test_given_shapes_replace_what_they_say(given_sizes: list[Any], stated: list[Any] | None) -> None:
    shapes = InputShapes({"x": given_sizes})
    known = None if stated is None else tuple(Dim(d) if isinstance(d, str) else d for d in stated)
    if known is not None and len(known) != len(given_sizes):
        with pytest.raises(UsageError, match="axes"):
            shapes.take("x", known)
        return
    want = [Dim(d) if isinstance(d, str) else d for d in given_sizes]
    if known is not None and other_order(known, want):
        with pytest.raises(UsageError, match="looks channels-"):
            shapes.take("x", known)
        return
    got = shapes.take("x", known)
    assert got == tuple(d if d is not None or known is None else known[i] for i, d in enumerate(want))
    shapes.refuse_unused(["x"])


def test_shapes_for_no_input_and_changed_numbers_are_the_callers_mistakes() -> None:
    shapes = InputShapes({"x": (2, 5), "z": (1,)})
    assert shapes.take("x", (Dim("n"), 3)) == (2, 5) and shapes.freed == {"x": {1: (3, 5)}}
    with pytest.raises(UsageError, match="no input is named 'z'; the model's inputs are: x"):
        shapes.refuse_unused(["x"])
    assert InputShapes({"": (4, None)}).take("x", (2, 3), only=True) == (4, 3)
    assert InputShapes({"": (4, None)}).take("x", (2, 3)) == (2, 3)


# ---- the head of a file
def test_a_head_is_read_once_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"abc" * 40_000)
    head = read_head(path)
    assert head is not None and head.size == 120_000 and head.data == (b"abc" * 40_000)[: 1 << 16]
    assert read_head(path) is head
    path.write_bytes(b"other")
    again = read_head(path)
    assert again is not None and again.data == b"other"
    assert read_head(tmp_path) is None and read_head(tmp_path / "none") is None


def flat(*layers: FlatLayer, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",)) -> Graph:
    model = FlatModel([FlatValue(n, (2, 3)) for n in inputs], layers, outputs)
    return load_flat(LoadRequest(Path("m.toy"), rules=RULES), "toy", model)


def test_lists_of_layers_that_name_what_is_not_there() -> None:
    act = FlatLayer("Act", "a", ["x"], ["y"])
    assert [n.op for n in flat(act)] == ["relu"]
    with pytest.raises(BadFileError, match="two values are named 'x'"):
        flat(FlatLayer("Act", "a", ["x"], ["x"]), outputs=["x"])
    with pytest.raises(BadFileError, match="takes 'z', which nothing before it gives"):
        flat(FlatLayer("Act", "a", ["z"], ["y"]))
    with pytest.raises(BadFileError, match="takes 'z', which nothing before it gives"):
        flat(act, outputs=["z"])


def test_a_layer_that_gives_less_than_is_used() -> None:
    graph = flat(FlatLayer("Rows", "a", ["x"], ["y", "z"]), outputs=["z"])
    (problem,) = opaque_problems(graph)
    assert problem.layer == "a" and "output 1 is used, but the layer is known to have 1" in problem.why
