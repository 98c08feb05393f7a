"""Scopes, the layers derived from them, names and roles: kept right by every change of the graph, and read back exactly."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convcore
from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.errors import BadFileError, VerifyError
from convcore.ir.graph import BUFFER, CONSTANT, PARAMETER, Graph, Origin, Scope
from convcore.ir.serialize import load, save, write_safetensors
from convcore.ir.text import parse_text, to_text
from convcore.passes.constants import fold_constants


def _twice() -> Graph:
    """A block with a linear layer in it, used twice, and a layer with two results."""
    g = Graph("twice")
    b = Builder(g)
    x = b.input("x", "float32", (2, 7))
    w = b.weight(np.ones((7, 7), np.float32), "w", trainable=True, source="w")
    for call in range(2):
        block = g.scope("block", "Block", {"n": 1}, call=call)
        with b.within(g.scope("fc/1", "Dense", parent=block, call=call)):
            x = b.relu(b.linear(x, w))
        g.set_results(b.graph.scope("fc/1", parent=block, call=call), [x])
        g.set_results(block, [x])
    with b.within(g.scope("halves", "Split")):
        parts = b.split(x, axis=1, sizes=(3, 4))
    g.set_results(g.scope("halves"), parts)
    g.outputs = [parts[1]]
    return g


def test_layers_come_from_scopes() -> None:
    g = _twice()
    block, halves = g.layers
    assert (block.name, block.type, block.config, halves.name) == ("block", "Block", {"n": 1}, "halves")
    assert [v.name for v in block.outputs] == ["relu:0", "relu_1:0"] and [v.name for v in block.inputs] == ["x"]
    assert [w.name for w in block.weights] == ["w"] and len(halves.outputs) == 2 and halves.inputs == block.outputs[1:]
    paths = {n.scope.path for n in g}
    assert paths == {("block", "fc/1"), ("halves",)} and [n.scope.call for n in g] == [0, 0, 1, 1, 0]


def test_replaced_and_removed_values_keep_layers_right() -> None:
    g = _twice()
    b = Builder(g)
    old = g.layers[0].outputs[1]
    b = Builder(g, before=old.users[0])
    assert b.scope.path == ("halves",)
    new = b.abs(old)
    old.replace_uses(new, only=[u for u in old.users if u.op == "split"])
    assert g.layers[0].outputs[1] is old  # one use of many says nothing about whose result it is
    new.producer.set_input(0, old)
    third = Builder(g, before=new.producer).neg(g.inputs[0])
    old.replace_uses(third)
    assert g.layers[0].outputs[1] is third and old.results == ()
    g.outputs = [g.layers[0].outputs[0]]
    g.remove_unused()
    assert [x.name for x in g.layers] == ["block"] and len(g.layers[0].outputs) == 1
    assert [x.name for x in g.clone().layers] == ["block"]


def test_folded_results_stay_results_and_keep_roles() -> None:
    g = Graph("fold")
    b = Builder(g)
    stat = g.add_weight("stat", convcore.ir.tensors.as_tensor(np.ones((3, 5), np.float32)), role=BUFFER, source="stat")
    frozen = b.weight(np.ones((3, 5), np.float32), "frozen", role=PARAMETER, source="frozen")
    with b.within(g.scope("t", "Transpose")):
        t = b.transpose(stat, perm=(1, 0))
    g.set_results(g.scope("t"), [t])
    u = b.add(b.transpose(frozen, perm=(1, 0)), t)
    x = b.input("x", "float32", (5, 3))
    g.outputs = [b.add(b.add(x, t), u)]
    fold_constants(g)
    (layer,) = g.layers
    assert layer.outputs[0].tensor is not None and (layer.outputs[0].role, layer.outputs[0].source) == (BUFFER, "stat")
    (summed,) = [v for v in g.weights.values() if v.role == PARAMETER]
    assert not summed.trainable and summed.source == ""
    verify(g)


def test_rename_is_exact() -> None:
    g = _twice()
    w = g.weights["w"]
    g.rename(w, "kernel")
    assert list(g.weights) == ["kernel"] and w.name == "kernel" and g.fresh_name("kernel") == "kernel_1"
    node = g.nodes[0]
    g.rename(node, "first")
    g.rename(node.output, "y")
    assert (node.name, node.output.name) == ("first", "y")
    other = g.add_weight("other", w.tensor)
    with pytest.raises(VerifyError, match="another weight"):
        g.rename(other, "kernel")
    assert g.weights["other"] is other
    verify(g)


def test_a_use_has_one_parent() -> None:
    g = Graph()
    a, again = g.scope("a"), g.scope("a", call=1)
    assert g.scope("a") is a and g.scope("a", call=1) is again and a.path == again.path
    b = g.scope("b", parent=a)
    assert g.scope("b", parent=a) is b
    with pytest.raises(VerifyError, match="two uses"):
        g.scope("b", parent=again)


def test_names_with_slashes_are_not_paths() -> None:
    g = Graph()
    assert g.scope("a/b").path == ("a/b",) and g.scope("b", parent=g.scope("a")).path == ("a", "b")
    assert len(list(g.scopes())) == 3


names = st.text(string.ascii_letters + '/:"\\ {}()%,\n\u2028é', min_size=1, max_size=6)
configs = st.dictionaries(names, st.one_of(st.none(), st.booleans(), st.integers(), names, st.lists(st.floats(allow_nan=False))))


@given(st.data())
def test_text_reads_back_any_tree(data: st.DataObject) -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    made: list[Scope] = [g.root]
    uses: dict[tuple[str, ...], int] = {}
    for _ in range(data.draw(st.integers(0, 6))):
        parent, name = data.draw(st.sampled_from(made)), data.draw(names)
        call = uses.get((*parent.path, name), 0)
        uses[(*parent.path, name)] = call + 1
        made.append(g.scope(name, data.draw(names), data.draw(configs), parent=parent, call=call))
    for _ in range(data.draw(st.integers(1, 5))):
        scope = data.draw(st.sampled_from(made))
        role = data.draw(st.sampled_from([PARAMETER, BUFFER, CONSTANT]))
        w = b.weight(np.ones((2, 3), np.float32), data.draw(names), role=role, trainable=data.draw(st.booleans()))
        with b.within(scope):
            x = b.add(b.dropout(x, rate=data.draw(st.none() | st.floats(0, 1)), shared=data.draw(st.sampled_from([(), (1,)]))), w)
        if scope is not g.root:
            g.set_results(scope, [x])
    g.outputs = [x]
    text = to_text(g)
    back = parse_text(text, {k: v.tensor for k, v in g.weights.items() if v.tensor is not None})
    assert to_text(back) == text
    assert [(s.path, s.type, s.call, s.config) for s in back.scopes()] == [(s.path, s.type, s.call, s.config) for s in g.scopes()]
    assert [(v.name, v.role, v.trainable) for v in back.values()] == [(v.name, v.role, v.trainable) for v in g.values()]
    assert [n.scope.path for n in back] == [n.scope.path for n in g] and [n.attrs for n in back] == [n.attrs for n in g]
    assert [(x.name, [v.name for v in x.outputs]) for x in back.layers] == [
        (x.name, [v.name for v in x.outputs]) for x in g.layers
    ]


@pytest.mark.parametrize(
    "change",
    [('scope 2 "fc/1" "Dense" in 1', 'scope 2 "fc/1" "Dense" in 7'), ("scope 2", "scope 3"), ('{"n": 1}', "[1]"),
     ('"fc/1" "Dense" in 1', '"block" "Block"'), ("in 2\n", "in 9\n"), ("result 1 0", "result 8 0"), ("call 1", "call -1"),
     ("%relu:0\n", "%nothing\n")],
)  # fmt: skip
def test_damaged_scopes_are_refused(change: tuple[str, str]) -> None:
    text = to_text(_twice())
    assert change[0] in text
    with pytest.raises(BadFileError):
        parse_text(text.replace(*change, 1))


def test_files_of_another_format_are_refused_by_version(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "old.ccir", {}, {"convcore_ir": 'graph "g" {\n  output\n}\n', "convcore_format": "1"})
    with pytest.raises(BadFileError, match="format is '1'"):
        convcore.load(tmp_path / "old.ccir")


@pytest.mark.parametrize(
    ("change", "why"),
    [("axis=one", "axis"), ("colour=3", "no attribute colour"), ("sizes=(3, true)", "sizes"), ("axis=5", "out of range")],
    ids=lambda p: p.split("=")[0],
)
def test_attributes_are_checked_against_the_declarations(change: str, why: str, tmp_path: Path) -> None:
    """A wrong kind, an unknown name, a value out of range: told when the file is loaded, not when it is run."""
    save(_twice(), tmp_path / "m.ccir")
    key = change.split("=")[0]
    raw = load(tmp_path / "m.ccir")
    split = next(n for n in raw if n.op == "split")
    split.attrs[key] = {"axis=one": "one", "colour=3": 3, "sizes=(3, true)": (3, True), "axis=5": 5}[change]
    save(raw, tmp_path / "bad.ccir")
    with pytest.raises(BadFileError, match=f"node 'split': .*{why}"):
        convcore.load(tmp_path / "bad.ccir")


def test_an_unknown_op_is_told(tmp_path: Path) -> None:
    g = _twice()
    g.nodes[0].op = "linnear"
    save(g, tmp_path / "bad.ccir")
    with pytest.raises(BadFileError, match="there is no op 'linnear'"):
        convcore.load(tmp_path / "bad.ccir")


def test_attributes_newer_than_the_file_get_their_defaults(tmp_path: Path) -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    one = b.weight(np.ones(3, np.float32), "one")
    g.outputs = [b.batch_norm(x, None, None, one, one, epsilon=0.5, momentum=0.75)]
    del g.nodes[0].attrs["momentum"]
    save(g, tmp_path / "m.ccir")
    model = convcore.load(tmp_path / "m.ccir")
    assert model.graph.nodes[0].attrs["momentum"] is None
    assert model(np.ones((2, 3), np.float32)).shape == (2, 3)


def test_layers_are_counted_as_they_are_derived() -> None:
    """``layer_count`` is the length of ``layers``: nested results count once, a second call is the same layer."""
    graph = Graph("g")
    b = Builder(graph)
    x = b.input("x", "float32", (2, 3))
    outer, plain, again = graph.scope("a"), graph.scope("b"), graph.scope("b", call=1)
    inner, alone = graph.scope("c", parent=outer), graph.scope("d", parent=graph.scope("e"))
    for scope in (inner, outer, plain, again, alone):
        with b.at(Origin("toy", scope.text), scope):
            graph.set_results(scope, [b.relu(x)])
        assert graph.layer_count == len(graph.layers)
    assert [layer.name for layer in graph.layers] == ["a", "b", "e/d"]
