"""What must be there and is not is refused by name, in load rules, emit rules and requests."""

from __future__ import annotations

import pytest

from convcore.build.builder import Builder
from convcore.emit.plan import Ref
from convcore.errors import UnsupportedError, UsageError
from convcore.hookspecs import LoadRequest
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.rules import ForeignNode, LoadContext, NotExpressible, RuleSet


def test_an_input_that_is_missing_is_refused():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 3))
    node = ForeignNode("Add", "sum", [x, None], {})
    assert node.need(0) is x
    for ask in (lambda: node.need(1), lambda: node.need(2), node.needed):
        with pytest.raises(UnsupportedError, match=r"its input [12] is missing") as e:
            ask()
        assert e.value.problems[0].code == "missing_input" and e.value.problems[0].layer == "sum"


def test_a_rule_that_needs_it_leaves_nothing_behind():
    rules: RuleSet[LoadContext, ForeignNode] = RuleSet("toy")

    @rules.load("Add")
    def add(g, node):
        return g.b.add(g.b.relu(node.need(0)), node.need(1))

    graph = Graph()
    b = Builder(graph)
    x = b.input("x", "float32", (2, 3))
    with pytest.raises(UnsupportedError, match="its input 1 is missing"), b.attempt():
        rules.apply_load(LoadContext(b), ForeignNode("Add", "sum", [x], {}))
    assert not graph.nodes


def test_fixed_shapes_of_a_plan():
    assert Ref(None, shape=(2, 3)).dims == (2, 3) and Ref(None, shape=()).dims == ()
    for shape in (None, (2, None), (Dim("N"), 3)):
        with pytest.raises(NotExpressible, match="is not fixed"):
            _ = Ref(None, shape=shape).dims


def test_a_request_without_rules():
    with pytest.raises(UsageError, match="needs rules="):
        _ = LoadRequest("m.onnx").ruleset
    rules: RuleSet[LoadContext, ForeignNode] = RuleSet("toy")
    assert LoadRequest("m.onnx", rules=rules).ruleset is rules
