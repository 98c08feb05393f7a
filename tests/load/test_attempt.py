"""Rules that give up, refuse or break leave nothing behind; views of weights are made once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.cli import main
from convcore.errors import PluginBugError, UnsupportedError, UsageError
from convcore.hookspecs import CONVCORE_API, Framework, LoadRequest, hookimpl
from convcore.host import Host, set_host
from convcore.ir.graph import Graph
from convcore.rules import A, ForeignNode, LoadContext, NotExpressible, RuleSet


def state(graph: Graph) -> tuple[Any, ...]:
    """Everything an attempt may add to."""
    return [n.name for n in graph], [v.name for v in graph.inputs], list(graph.weights), [v.uses for v in graph.values()]


def context() -> tuple[LoadContext, ForeignNode]:
    g = LoadContext(Builder(Graph("g")))
    x = g.b.input("x", "float32", (2, 3))
    return g, ForeignNode("T", "layer", [x], {"a": 5})


class Boom(Exception):
    pass


def act(b: Builder, step: int) -> None:
    """One addition of some kind."""
    x = b.graph.inputs[0]
    if step % 5 == 0:
        b.relu(x)
    elif step % 5 == 1:
        b.weight(np.zeros((step + 1,), np.float32), "w")
    elif step % 5 == 2:
        b.graph.claim_name(f"relu_{step % 3}")
    elif step % 5 == 3:
        b.add(b.exp(x), b.const(2.0, name="w"))
    else:
        b.input("x", "float32", (step,))


@given(
    st.lists(st.integers(0, 20), max_size=6), st.lists(st.integers(0, 20), max_size=6), st.lists(st.integers(0, 20), max_size=6)
)
def test_an_attempt_that_fails_leaves_no_trace(before: list[int], inside: list[int], after: list[int]) -> None:
    twins = []
    for fails in (True, False):
        b = Builder(Graph("g"))
        b.input("x", "float32", (2, 3))
        for s in before:
            act(b, s)
        was = state(b.graph)
        if fails:
            with pytest.raises(Boom), b.attempt():
                for s in inside:
                    act(b, s)
                with pytest.raises(Boom), b.attempt():
                    act(b, 3)
                    raise Boom
                raise Boom
            assert state(b.graph) == was
        for s in after:
            act(b, s)
        verify(b.graph)
        twins.append(state(b.graph)[:3])
    assert twins[0] == twins[1]  # names too: as if it had never been tried


def test_an_attempt_that_works_stays() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2,))
    with b.attempt():
        with pytest.raises(Boom), b.attempt():
            b.exp(x)
            raise Boom
        y = b.relu(x)
    assert [n.op for n in b.graph] == ["relu"] and y.graph is b.graph


def test_a_rule_that_gives_up_leaves_nothing() -> None:
    rules = RuleSet("fw")

    @rules.load("T", priority=1)
    def first(g: LoadContext, node: ForeignNode) -> Any:
        y = g.b.exp(node.inputs[0])
        g.b.weight(np.zeros(3, np.float32), "junk")
        raise NotExpressible(f"not {y.shape}")

    @rules.load("T")
    def second(g: LoadContext, node: ForeignNode) -> Any:
        node.attr("a")
        return g.b.relu(node.inputs[0])

    g, node = context()
    rules.apply_load(g, node)
    assert [n.op for n in g.b.graph] == ["relu"] and not g.b.graph.weights


def test_a_refusal_leaves_nothing() -> None:
    rules = RuleSet("fw")
    rules.op("T", "leaky_relu", "x=x", alpha=A("alpha", 0.1))
    g, node = context()
    with pytest.raises(UnsupportedError, match="a=5"):
        rules.apply_load(g, node)
    assert len(g.b.graph) == 0


def test_a_view_is_made_once_and_again_after_an_undone_attempt() -> None:
    g, _ = context()
    t = np.ones(3, np.float32)
    made = []

    def make() -> Any:
        made.append(1)
        return g.b.weight(t, "t")

    with pytest.raises(Boom), g.b.attempt():
        g.derived("k", make, of=t)
        raise Boom
    v = g.derived("k", make, of=t)
    assert g.derived("k", make, of=t) is v and g.b.graph.weights == {"t": v} and len(made) == 2
    assert g.derived("other", make, of=t) is not v


@pytest.mark.parametrize("kind", ["load", "emit"])
def test_a_bug_of_a_rule_is_named_as_one(kind: str) -> None:
    """A third party's rule divides by zero: the plugin, the rule, the layer and the reason, not a blamed file."""
    rules = RuleSet("fw", "acme-layers")

    @rules.load("T")
    def divides(g: LoadContext, node: ForeignNode) -> Any:
        return g.b.relu(node.inputs[0], alpha=1 // (node.attr("a") - 5))

    @rules.emit("relu")
    def writes(e: Any, node: Any) -> None:
        raise KeyError("shape")

    g, node = context()
    with pytest.raises(PluginBugError) as caught:
        if kind == "load":
            rules.apply_load(g, node)
        else:

            class Emitter:
                version = None

                def attempt(self) -> Any:
                    return g.b.attempt()

            with g.b.at(node.origin):
                y = g.b.relu(node.inputs[0])
            rules.apply_emit(Emitter(), y.producer)  # type: ignore[arg-type]
    text = str(caught.value)
    assert caught.value.plugin == "acme-layers" and "'layer' (T)" in text and "CONVCORE_DEBUG=1" in text
    assert ("ZeroDivisionError" in text and "divides" in text) if kind == "load" else ("KeyError: 'shape'" in text)
    assert "test_attempt.py, line" in text and caught.value.__cause__ is not None


def test_a_failing_override_is_the_callers() -> None:
    g, node = context()

    def mine(g: LoadContext, node: ForeignNode) -> Any:
        g.b.exp(node.inputs[0])
        return node.weights["kernel"]

    with pytest.raises(UsageError, match=r"override for 'T' failed at layer 'layer' \(T\): KeyError: 'kernel'"):
        RuleSet("fw").apply_load(g, node, {"T": mine})
    assert len(g.b.graph) == 0


@pytest.mark.parametrize("debug", ["", "1"])
def test_the_command_line_names_the_plugin(
    debug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loader that fails on its own: one line with the plugin and the reason; the traceback with CONVCORE_DEBUG=1."""
    module = ModuleType("acme_toy")

    @hookimpl
    def convcore_frameworks() -> list[Framework]:
        return [Framework("toy", title="Toy", distribution="acme-toy", suffixes=(".toy",), rules="acme_toy:RULES")]

    @hookimpl
    def convcore_load(framework: str, request: LoadRequest) -> Graph:
        return Graph(str(1 // len(request.overrides)))

    module.__dict__.update(convcore_frameworks=convcore_frameworks, convcore_load=convcore_load, CONVCORE_API=CONVCORE_API)
    module.__dict__["RULES"] = RuleSet("toy")
    monkeypatch.setitem(sys.modules, "acme_toy", module)
    (tmp_path / "m.toy").write_text("toy")
    set_host(Host(extra=[module]))
    monkeypatch.setenv("CONVCORE_DEBUG", debug)
    try:
        assert main(["inspect", "--from", "toy", str(tmp_path / "m.toy")]) == 70
    finally:
        set_host(None)
    err = capsys.readouterr().err
    assert "a bug in acme-toy: convcore_load" in err and "ZeroDivisionError" in err and "test_attempt.py, line" in err
    assert ("Traceback" in err and "1 // len(request.overrides)" in err) == bool(debug)


def test_what_a_loader_notes_beside_the_graph_is_undone_too() -> None:
    g, _ = context()
    noted = ["before"]

    def note(text: str) -> None:
        noted.append(text)
        g.b.graph.on_undo(noted.pop)

    with suppress(Boom), g.b.attempt():
        note("outer")
        with suppress(Boom), g.b.attempt():
            note("inner")
            raise Boom
        assert noted == ["before", "outer"]
        raise Boom
    assert noted == ["before"]
    with g.b.attempt():
        note("kept")
    note("outside")
    assert noted == ["before", "kept", "outside"]


@pytest.mark.parametrize(
    ("role", "trainable"), [("buffer", False), ("constant", False), ("parameter", False), ("parameter", True)]
)
def test_a_view_of_a_weight_is_what_the_weight_is(role: str, trainable: bool) -> None:
    g, _ = context()
    w = g.b.weight(np.zeros((2, 3), np.float32), "w", role=role, trainable=trainable, source="of.file")
    v = g.view(w, "turned", lambda t: t.transpose((1, 0)))
    assert (v.role, v.trainable, v.source, v.shape) == (role, trainable, "of.file", (3, 2))


def test_an_attempt_gives_nodes_and_outputs_back_what_they_read() -> None:
    g, _ = context()
    b, graph = g.b, g.b.graph
    (x,) = graph.inputs
    y = b.relu(x)
    z = b.add(y, x)
    graph.outputs = [y, z]
    graph.set_results(graph.scope("layer"), [y])
    node, sum_ = y.producer, z.producer
    assert node is not None and sum_ is not None
    with pytest.raises(Boom), graph.attempt():
        new = b.exp(x)
        y.replace_uses(new)
        node.set_inputs([new])
        sum_.set_input(1, new)
        with suppress(Boom), graph.attempt():
            sum_.set_input(1, z)
            raise Boom
        assert sum_.inputs == (new, new) and graph.outputs == [new, z] and new.results and not y.results
        raise Boom
    assert node.inputs == (x,) and sum_.inputs == (y, x) and graph.outputs == [y, z]
    assert [n.op for n in graph] == ["relu", "add"] and [s.text for s, _ in y.results] == ["layer"]
    assert set(x.uses) == {(node, 0), (sum_, 1)} and y.uses == ((sum_, 0),)
