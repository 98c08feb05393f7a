"""Searches through what a value comes from end, and rules say whether they changed anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from tests.rewrite import test_fixtures, test_recovered, test_recurrent

import convcore
from convcore.build.builder import Builder
from convcore.emit.legalise import expand
from convcore.ir.graph import Graph, Value
from convcore.opset import op
from convcore.passes.search import MOST, every, some
from convcore.passes.signs import never_negative
from convcore.rewrite import find_composites
from convcore.rewrite.affine import Affines
from convcore.rewrite.forms import Form, Forms
from convcore.rewrite.fuse import STAGES
from convcore.rewrite.loops import _evaluate
from convcore.rewrite.masks import always, finite_sum
from convcore.rewrite.region import Rewriter
from convcore.rewrite.rotary import _halves
from convcore.rewrite.scores import is_product
from convcore.rewrite.view import View


def chain(start: Callable[[Builder], Value], step: Callable[[Builder, Value], Value], n: int) -> tuple[Graph, Value]:
    graph = Graph("g")
    b = Builder(graph)
    v = start(b)
    for _ in range(n):
        v = step(b, v)
    return graph, v


def one(b: Builder) -> Value:
    return b.weight(np.ones((2, 2), "f4"), "w")


def kept(b: Builder) -> Value:
    return b.input("keep", "bool", (2, 2))


def product(b: Builder) -> Value:
    return b.matmul(b.input("a", "float32", (2, 2)), b.input("b", "float32", (2, 2)))


def _halves_of(v: Value) -> bool:
    graph = v.producer.graph if v.producer is not None else Graph("g")
    assert graph is not None
    return _halves(Rewriter(graph, View(graph)), v, 2)


def _known(v: Value) -> bool:
    assert v.producer is not None and v.producer.graph is not None
    return Affines(Rewriter(v.producer.graph, View(v.producer.graph))).known(v) is not None


SEARCHES: list[tuple[str, Callable[[Value], bool], Any, Any, int]] = [
    ("always", lambda v: always(v, 1), one, lambda b, v: b.reshape(v, shape=v.shape), MOST),
    ("finite", lambda v: finite_sum([v]), one, lambda b, v: b.flip(v, axes=(0,)), MOST),
    ("product", is_product, product, lambda b, v: b.tanh(v), MOST),
    ("halves", _halves_of, one, lambda b, v: b.neg(v), MOST),
    ("signs", partial(never_negative, inputs=True), lambda b: b.input("i", "int64", (2,)), lambda b, v: b.add(v, v), MOST),
    ("known", _known, one, lambda b, v: b.neg(v), 16),
    ("counters", lambda v: _evaluate(v, {}) is not None, one, lambda b, v: b.neg(v), 64),
]


@pytest.mark.parametrize(("search", "start", "step", "most"), [s[1:] for s in SEARCHES], ids=[s[0] for s in SEARCHES])
def test_how_far_a_search_goes(search: Callable[[Value], bool], start: Any, step: Any, most: int) -> None:
    assert search(chain(start, step, most - 1)[1])
    assert not search(chain(start, step, most)[1])


@pytest.mark.parametrize(
    ("old", "new", "finite"),
    [("float32", "float64", True), ("float64", "float32", False), ("float32", "bfloat16", False), ("float32", "float16", False),
     ("bfloat16", "float32", True), ("float16", "bfloat16", True), ("bool", "float16", True), ("float32", "float32", True)],
)  # fmt: skip
def test_casts_that_may_make_a_mask_infinite(old: str, new: str, finite: bool) -> None:
    b = Builder(Graph("g"))
    keep = b.input("keep", "bool", (2, 2))
    x = keep if old == "bool" else b.where(keep, b.const(0, old), b.const(-1e4, old))
    assert finite_sum([b.cast(x, to=new)]) is finite


def test_how_deep_forms_are_compared() -> None:
    forms, limit = Forms(), 12
    x = forms.leaf(Value("x", None, None))

    def deep(n: int, number: float) -> Form:
        f = forms.add(x, forms.number(number))
        for _ in range(n):
            f = forms.op("exp", f)
        return f

    for n in (0, limit - 1, limit):
        a, b, c = (deep(n, number) for number in (1.0, 1.0 + 1e-7, 1.1))
        assert forms.near(a, a, 0) and forms.near(a, b, 1e-6) == (n < limit) and not forms.near(a, c, 1e-6)


def test_every_and_some() -> None:
    """Each value is asked once, however often it is read; a value that is left out passes nothing."""
    a, b, c = Value("a", None, None), Value("b", None, None), Value("c", None, None)
    asked: list[Value] = []

    def parts(v: Value) -> Any:
        asked.append(v)
        return {a: [b, b, c], b: [c, c], c: True}[v]

    assert every(a, parts) and sorted(v.name for v in asked) == ["a", "b", "c"]
    assert some(a, parts) and len(asked) == 5  # c is told before b is looked at
    for told, all_, any_ in [
        ([True, False], False, True), ([False, False], False, False), ([True, None], False, True), ([], True, False),
    ]:  # fmt: skip
        values = [None if t is None else Value(str(i), None, None) for i, t in enumerate(told)]
        known = {v: t for v, t in zip(values, told) if v is not None}
        assert every(a, lambda v: values if v is a else known[v]) is all_  # noqa: B023
        assert some(a, lambda v: values if v is a else known[v]) is any_  # noqa: B023
    assert not some(None, parts)


# ---- rules say whether they changed the graph
def _print(graph: Graph) -> Any:
    """What nodes there are, of what; regions too."""
    nodes = [
        (node.op, id(node), [id(v) for v in node.inputs], str(node.attrs), [_print(r) for r in node.regions]) for node in graph
    ]
    return nodes, [id(v) for v in graph.outputs]


@pytest.fixture
def honest(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[bool]]:
    """What every rule has answered; an answer that is not what it did fails."""
    told: dict[str, set[bool]] = {}
    for stage in STAGES:
        path, _, name = stage.rule.partition(":")
        module = import_module(f"convcore.rewrite.{path}")
        rule = getattr(module, name)

        def asked(r: Any, at: Any, rule: Any = rule, where: str = stage.rule) -> bool:
            before = _print(r.graph)
            answer: bool = rule(r, at)
            assert answer is (_print(r.graph) != before), f"{where} says {answer}"
            told.setdefault(where, set()).add(answer)
            return answer

        monkeypatch.setattr(module, name, asked)
    return told


@pytest.mark.parametrize(("name", "i"), test_recovered.CASES, ids=[f"{n}-{i}" for n, i in test_recovered.CASES])
def test_rules_say_what_they_did(name: str, i: int, honest: dict[str, set[bool]]) -> None:
    graph, _ = test_recovered.written(name, op(name).samples[i])
    assert find_composites(graph) and any(True in answers for answers in honest.values())


SMALL = [f["file"] for f in test_fixtures.FILES if (test_fixtures.DATA / f["file"]).stat().st_size < 12_000]


@pytest.mark.parametrize("file", SMALL)
def test_rules_say_what_they_did_to_exports(file: str, honest: dict[str, set[bool]]) -> None:
    find_composites(convcore.load(str(test_fixtures.DATA / file)).graph)


STEPS = [(k, m, u) for k, m in test_recurrent.KINDS for u in (False, True) if not (u and m.get("activation"))]


@pytest.mark.parametrize(("kind", "more", "unrolled"), STEPS, ids=lambda p: str(p))
def test_rules_say_what_they_did_to_steps(kind: str, more: dict[str, Any], unrolled: bool, honest: dict[str, set[bool]]) -> None:
    graph = test_recurrent.graph_of(lambda b: test_recurrent.layer(b, kind, "time_major", "reverse", True, **more))
    for name in (kind, "scan")[: 1 + unrolled]:
        expand(graph, next(n for n in graph if n.op == name))
    assert find_composites(graph) and any(True in answers for answers in honest.values())
