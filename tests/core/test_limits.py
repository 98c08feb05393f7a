"""What is too much: the limit itself is allowed, one more is not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convcore
from convcore import budget
from convcore.build.builder import Builder
from convcore.cli.parser import whole
from convcore.emit.legalise import expand
from convcore.errors import ConvcoreError
from convcore.hub.card import _code, _labels
from convcore.interpreter import run
from convcore.ir.about import take_about
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ir.printing import to_text
from convcore.ir.text import parse_text
from convcore.ops.linear import MOST_OPERANDS
from convcore.ops.unrolled import MOST_STEPS
from convcore.opset.shapes import MAX_RANK
from convcore.report.compare import ATOL, RTOL
from convcore.rewrite.fuse import told
from convcore.rewrite.region import Fusion, Rewriter
from convcore.rewrite.view import View
from convcore.rules.ruleset import RuleSet
from convcore.rules.words import A, W
from convcore.samples import example_inputs, integer_bound
from convcore.viewing.drawing import _facts, draw
from convcore.viewing.notebook import picture


def _graph() -> tuple[Graph, Builder]:
    g = Graph("g")
    return g, Builder(g)


def _terms(n: int) -> Any:
    """Three sums of ten names, multiplied, and what is left of the number one by one."""
    total: Any = 1
    for of in "abc":
        total = total * sum((Dim(f"{of}{i}") for i in range(1, 10)), Dim(f"{of}0"))
    for i in range(n - 1000):
        total = total + Dim(f"d{i}")
    return total


def _axes(n: int) -> Any:
    g, b = _graph()
    g.outputs = [b.input("x", "float32", (1,) * n)]
    return example_inputs(g, {})


def _rank(n: int) -> Any:
    _, b = _graph()
    return b.op("dynamic_reshape", b.input("x", "float32", (1,)), b.input("s", "int64", (n,)))


def _operands(n: int) -> Any:
    _, b = _graph()
    return b.einsum(*(b.input(f"x{i}", "float32", (2,)) for i in range(n)), equation=",".join("i" * n) + "->i")


def _steps(n: int) -> Any:
    g, b = _graph()
    x = b.input("x", "float32", (n, 1, 1))
    one = np.ones((1, 1, 1), "f4")
    g.outputs = [b.op("rnn", x, b.weight(one, "w"), b.weight(one, "r"), None, None, None, hidden=1, layout="time_major")[0]]
    for name in ("rnn", "scan"):
        expand(g, next(node for node in g if node.op == name))
    return run(g, np.zeros((n, 1, 1), "f4"))


def _nodes(n: int) -> None:
    with budget.spending():
        budget.spend_nodes(n - 1, "its layers come")
        budget.spend_nodes(1, "its layers come")


def _nested_about(n: int) -> None:
    """Facts nested so deep; what is deeper is not taken."""
    facts: Any = 1
    for _ in range(n):
        facts = [facts]
    taken: dict[str, Any] = {}
    take_about(taken, {"properties": {"a": facts}})
    if not taken:
        raise ConvcoreError("not taken")


def _nested_attr(n: int) -> None:
    g, b = _graph()
    g.outputs = [b.transpose(b.input("x", "float32", (2, 3)), perm=(1, 0))]
    parse_text(to_text(g).replace("perm=(1, 0)", "perm=" + "(" * n + "1" + ",)" * n))


LIMITS: list[tuple[Callable[[int], Any], int, int, str]] = [
    (_terms, budget.TERMS, 1000, "terms, more than 1,000"),
    (_axes, budget.AXES, 64, "would have 65 axes"),
    (_rank, MAX_RANK, 64, "64 is the limit"),
    (_operands, MOST_OPERANDS, 16, "17 operands, more than 16"),
    (_steps, MOST_STEPS, 1024, "1025 steps are not written out"),
    (_nodes, budget.NODES, budget.NODES, "its layers come to more than .* nodes"),
    (_nested_about, 5, 5, "not taken"),
    (_nested_attr, 64, 64, "attribute is nested too deeply"),
]


@pytest.mark.parametrize(("call", "limit", "said", "why"), LIMITS, ids=[c.__name__[1:] for c, *_ in LIMITS])
def test_the_limit_is_allowed_and_no_more(call: Callable[[int], Any], limit: int, said: int, why: str) -> None:
    assert limit == said
    call(limit)
    with pytest.raises(ConvcoreError, match=why):
        call(limit + 1)


def test_no_step_is_written_out() -> None:
    with pytest.raises(ConvcoreError, match="0 steps are not written out"):
        _steps(0)


def test_the_command_line_tells_the_tolerances_that_hold() -> None:
    _, actions = whole()
    told = {a.option_strings[0]: a.help or "" for group in actions.values() for a in group if a.option_strings}
    found = re.search(r"default ([\d.e-]+); half precision", told["--rtol"])
    assert found and float(found[1]) == RTOL == 1e-4
    assert "(default 0)" in told["--atol"] and ATOL == 0


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_first_four_of_what_was_found_are_told(n: int) -> None:
    (line,) = told([Fusion("gelu", f"g{i}", ("a",) * (i + 1)) for i in range(n)])
    assert line.startswith(f"gelu x {n}: g0 (1 node), g1 (2 nodes), ") and ("g4" in line) is False
    assert line.endswith("g3 (4 nodes)" if n == 4 else f"and {n - 4} more")


def test_code_on_a_card_is_cut_behind_120_characters() -> None:
    assert _code("x" * 120) == f"`{'x' * 120}`" and _code("x" * 121) == f"`{'x' * 119}…`"


@pytest.mark.parametrize("more", [0, 1])
def test_what_cards_and_pages_cut(more: int) -> None:
    """50 labels, 160 letters of a fact, 24 numbers of a list, 60 boxes in a notebook: these are shown, of more it is said."""
    text = "".join(_labels([f"l{i}" for i in range(50 + more)]))
    assert "`l49`" in text and ("`l50`" in text, " and 1 more" in text) == (False, bool(more))
    assert _facts({"k": "x" * (160 + more)}) == [f"k = {'x' * 160}{'...' * more}"]
    assert _facts({"k": [7] * (24 + more)}) == [f"k = {'25 elements' if more else ', '.join('7' * 24)}"]
    g, b = _graph()
    x = b.input("x", "float32", (2, 3))
    for _ in range(59 + more):  # the input is a box, too
        x = b.relu(x)
    g.outputs = [x]
    assert ("... and 1 more" in picture(g)) == bool(more)


def test_what_words_of_rows_mean_by_themselves() -> None:
    a = A("a")
    assert not (a.write_default or a.each or a.sizes) and a.at is None
    assert A("a", write_default=True) != a != A("a", each=True) and A("a", sizes=True) != a
    assert not W("w").optional and W("w", optional=True).optional


@pytest.mark.parametrize("call", [0, 1])
def test_the_first_use_of_a_scope_has_the_number_0(call: int) -> None:
    g, _ = _graph()
    assert g.scope("a", "T").call == 0 and g.scope("a", "T", call=call).call == call


@pytest.mark.parametrize("n", [15, 16, 17, 40])
def test_how_many_results_of_a_value_are_followed(n: int) -> None:
    g, b = _graph()
    x = b.input("x", "float32", (2, 3))
    y = x
    made = [y := b.tanh(y) for _ in range(n)]
    g.outputs = [y]
    found = Rewriter(g, View(g)).reached(x, lambda node: node.op == "tanh")
    assert found == [*made[: min(n, 15)][::-1], x]


def test_examples_fit_what_they_index() -> None:
    """Rows of scatter_nd count along the first axis of x, whatever is behind it; a size that nobody knows is 7."""
    g, b = _graph()
    x, at = b.input("x", "float32", (2, 11)), b.input("at", "int64", (40, 1))
    g.outputs = [b.scatter_nd(x, at, b.input("u", "float32", (40, 11)))]
    assert set(example_inputs(g, {})[1].ravel().tolist()) == {0, 1}
    g, b = _graph()
    table, ids = b.input("x", "float32", (3, 11)), b.input("ids", "int64", (40,))
    g.outputs = [b.gather(table, ids, axis=0), b.neg(b.input("free", "int64", (400,))), b.relu(b.input("f", "float32", (None,)))]
    made = example_inputs(g, {})
    assert set(made[1].tolist()) == {0, 1, 2} and set(made[2].tolist()) == set(range(10)) and made[3].shape == (7,)
    assert set(example_inputs(g, {}, plain=True)[2].tolist()) == {1}
    assert [integer_bound(v) for v in g.inputs[1:3]] == [3, 10]


def test_a_box_of_layers_without_parameters_has_the_family_of_the_first() -> None:
    g, b = _graph()
    x = b.input("x", "float32", (2, 3, 5, 7))
    for name, make in (
        ("block", lambda v: b.max_pool(v, kernel=(2, 2), strides=(1, 1), pads=((0, 0), (0, 0)), dilations=(1, 1))),
        ("block", b.relu),
    ):
        with b.within(g.scope(name, "Block")):
            x = make(x)
    g.outputs = [x]
    drawing = draw(g)
    box = next(i for i in drawing.items if i.kind == "scope")
    inside = [i for i in drawing.items if i.parent == drawing.items.index(box)]
    assert box.family and inside[0].family == box.family != inside[1].family


def test_functions_of_python_have_the_same_defaults() -> None:
    """What several of them take is left out alike in all."""
    told: dict[str, dict[str, Any]] = {}
    for name in ("load", "convert", "load_into", "check", "view", "verify", "batch"):
        for p in inspect.signature(getattr(convcore, name)).parameters.values():
            if p.default is not p.empty and p.name not in ("overwrite", "out", "to"):
                told.setdefault(p.name, {})[name] = p.default
    assert {"fuse", "check", "weights", "rtol"} <= told.keys()
    assert {k: v for k, v in told.items() if len(set(map(repr, v.values()))) > 1} == {}
    assert set(told["fuse"]) >= {"load", "convert", "load_into", "check", "view"} and set(told["fuse"].values()) == {True}


def test_rules_without_a_priority_have_one() -> None:
    """Rows and functions, read and written: none is before another."""
    rules: RuleSet[Any, Any] = RuleSet("t")
    rules.op("Relu", "relu", "X=x")
    rules.load("Tanh")(lambda g, node: None)
    rules.emit("tanh")(lambda e, node: None)
    found = [r for group in (rules.load_rules, rules.emit_rules) for them in group.values() for r in them]
    assert len(found) >= 4 and {r.priority for r in found} == {0}
