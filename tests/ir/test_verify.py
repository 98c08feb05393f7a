"""Every invariant of a graph, broken one at a time: what is wrong is said, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import CHECKS, problems, verify
from convcore.errors import VerifyError
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Node, Value
from convcore.ir.tensors import as_tensor


def small() -> Graph:
    """%r = relu(%x); %s, %t = split(%r); %a = add(%s, %w)."""
    g = Graph("g")
    b = Builder(g)
    w = b.weight(np.ones((2, 3), "f4"), "w")
    (r,) = b.node("relu", [b.input("x", "float32", (2, 6))], output_names=["r"], node_name="first").outputs
    s, _ = b.node("split", [r], {"axis": 1, "sizes": (3, 3)}, output_names=["s", "t"], node_name="parts").outputs
    g.outputs = list(b.node("add", [s, w], output_names=["a"], node_name="sum").outputs)
    return g


def named(g: Graph, name: str) -> Value:
    return next(v for v in g.values() if v.name == name)


def node(g: Graph, name: str) -> Node:
    return next(n for n in g if n.name == name)


def put(obj: Any, **more: Any) -> None:
    for k, v in more.items():
        setattr(obj, k, v)


def alone(g: Graph) -> None:
    """The sum of a value that nothing defines."""
    g.outputs = [Value("gone", DType.FLOAT32, (2, 3))]


def late(g: Graph) -> None:
    """The first node behind the one that reads it."""
    first = node(g, "first")
    g.detach(first)
    g.insert(first, before=node(g, "sum"))


def another(g: Graph) -> None:
    other = small()
    node(g, "sum").set_input(1, named(other, "r"))


def region(g: Graph, spoil: Callable[[Graph], None]) -> None:
    b = Builder(g)
    inner = small()
    cond = b.const(True)
    x = named(g, "x")
    b.if_(cond, x, regions=[inner, inner.clone()])
    spoil(inner)


BROKEN: dict[str, tuple[Callable[[Graph], Any], str]] = {
    "two values of a name": (lambda g: put(named(g, "t"), name="x"), "single assignment: value %x is defined twice"),
    "no name": (lambda g: put(node(g, "sum"), name=""), "node names: node name '' is empty or used twice"),
    "two nodes of a name": (lambda g: put(node(g, "sum"), name="parts"), "node names: node name 'parts' is empty or used twice"),
    "an order": (late, "order: split 'parts' from ? uses %r before it is defined in this graph"),
    "an output": (alone, "order: output %gone is not defined"),
    "an unknown use": (lambda g: put(named(g, "r"), _uses=()), "uses: %r does not know its use by split 'parts' from ?"),
    "a use that is none": (
        lambda g: put(named(g, "t"), _uses=((node(g, "sum"), 0),)), "uses: %t claims a use by add 'sum' from ?"),
    "a use of an input that is not there": (
        lambda g: put(named(g, "s"), _uses=((node(g, "sum"), 0), (node(g, "sum"), 2))),
        "uses: %s claims a use by add 'sum' from ? that is not there"),
    "a producer": (lambda g: put(named(g, "r"), producer=None), "uses: %r does not know its producer relu 'first' from ?"),
    "an index": (lambda g: put(named(g, "t"), index=0), "uses: %t does not know its producer split 'parts' from ?"),
    "an owner": (lambda g: put(named(g, "r"), graph=None), "uses: %r does not know its producer relu 'first' from ?"),
    "a weight of another type": (
        lambda g: put(named(g, "w"), tensor=as_tensor(np.ones((2, 3)))),
        "weights: weight %w is float32(2, 3), its "),
    "a weight of another shape": (
        lambda g: put(named(g, "w"), tensor=as_tensor(np.ones((3, 2), "f4"))), "weights: weight %w is float32(2, 3), its "),
    "a weight without a tensor": (
        lambda g: put(named(g, "w"), tensor=None), "weights: weight %w has no tensor or is registered as 'w'"),
    "a weight of another name": (
        lambda g: put(g.weights["w"], name="v"), "weights: weight %v has no tensor or is registered as 'w'"),
    "an op": (lambda g: put(node(g, "first"), op="nothing"), "declarations: nothing 'first' from ?: unknown op"),
    "an attribute": (lambda g: node(g, "parts").attrs.pop("axis"), "declarations: split 'parts' from ?: attributes axis are m"),
    "an attribute as it was given": (
        lambda g: node(g, "parts").attrs.update(axis=-1), "declarations: split 'parts' from ?: attributes axis are not"),
    "an attribute that cannot be": (
        lambda g: node(g, "parts").attrs.update(axis=5), "declarations: split 'parts' from ?: split: attribute axis=5"),
    "a region": (
        lambda g: put(node(g, "first"), regions=[Graph("r")]), "declarations: relu 'first' from ?: 1 regions, 0 declared"),
    "a number of outputs": (
        lambda g: node(g, "parts").attrs.update(sizes=(1, 2, 3)), "declarations: split 'parts' from ?: 2 outputs, 3 inferred"),
    "a type": (
        lambda g: put(named(g, "a"), dtype=DType.FLOAT64), "declarations: add 'sum' from ?: %a is float64, inferred float32"),
    "a size": (
        lambda g: put(named(g, "a"), shape=(2, 7)), "declarations: add 'sum' from ?: %a has shape (2, 7), inferred (2, 3)"),
    "a number of axes": (
        lambda g: put(named(g, "a"), shape=(2, 3, 1)), "declarations: add 'sum' from ?: %a has shape (2, 3, 1), inferred (2, 3)"),
    "what is in a region": (
        lambda g: region(g, lambda r: put(node(r, "sum"), name="")), "regions: if 'if' from ?, region 'g': node names: "),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_said(what: str) -> None:
    spoil, said = BROKEN[what]
    g = small()
    assert problems(g) == []
    spoil(g)
    found = problems(g)
    assert any(said in p for p in found), found
    kind = said.partition(":")[0]
    if kind in CHECKS:
        assert sum(p.startswith(f"{kind}: ") for p in found) == 1, found
    with pytest.raises(VerifyError, match="the graph 'g' is invalid after mine:\n  "):
        verify(g, "mine")
    with pytest.raises(VerifyError, match="the graph 'g' is invalid:\n  "):
        verify(g)


@pytest.mark.parametrize("shape", [None, (None, 6), (2, Dim("n")), (Dim("n"), None)])
def test_what_may_be_unknown(shape: Any) -> None:
    """A shape, a size or a name where inference has a number; a type that nobody knows."""
    g = small()
    named(g, "r").shape = shape
    named(g, "r").dtype = None
    verify(g)


def test_fifty_problems_are_enough() -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2,))
    for _ in range(60):
        x = b.relu(x)
    g.outputs = [x]
    for n in g:
        n.op = "nothing"
    with pytest.raises(VerifyError) as told:
        verify(g)
    assert str(told.value).count("unknown op") == 50
