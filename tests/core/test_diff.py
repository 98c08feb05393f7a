"""What ``diff`` tells of two graphs: chains of named nodes, with some renamed, changed, put in and taken out."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from convcore.build.builder import Builder
from convcore.diff import Change, diff
from convcore.ir.graph import Graph

OPS = ("relu", "tanh", "sigmoid", "exp")
Chain = list[tuple[str, str, str]]
"""The op, the name and the name of the result of each node."""


def graph(chain: Chain) -> Graph:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    for op, name, result in chain:
        (x,) = b.node(op, [x], {}, node_name=name, output_names=[result]).outputs
    g.outputs = [b.neg(x)]
    g.outputs[0].name = "y"
    return g


def told(a: Chain, b: Chain) -> list[Change]:
    return [c for c in diff(graph(a), graph(b)) if not c.what.startswith(("input", "output"))]


A: Chain = [("relu", "a", "ra"), ("tanh", "b", "rb"), ("exp", "c", "rc")]


@pytest.mark.parametrize(
    ("b", "kinds"),
    [
        (A, ""),
        ([A[0], A[2]], "-"),
        ([*A, ("relu", "d", "rd")], "+"),
        ([("relu", "q", "ra"), *A[1:]], ""),
        ([("relu", "a", "q"), *A[1:]], ""),
        ([("relu", "p", "q"), *A[1:]], ""),
        ([("tanh", "a", "ra"), *A[1:]], "+-"),
        ([A[0], ("exp", "b", "rb"), A[2]], "+-"),
        ([("relu", "a", "rc"), ("tanh", "b", "rb"), ("exp", "c", "ra")], ""),
        ([("exp", "x", "rx"), ("exp", "y", "ry"), ("exp", "z", "rz")], "++--"),
        ([], "---"),
    ],
)
def test_nodes_are_paired_by_result_then_by_name_then_by_order(b: Chain, kinds: str) -> None:
    assert "".join(sorted(c.kind for c in told(A, b) if c.kind != "~")) == "".join(sorted(kinds))


@pytest.mark.parametrize("seed", range(40))
def test_the_numbers_fit(seed: int) -> None:
    """What is in both under one result or name, and of one op, is neither put in nor taken out; the others are told once."""
    rng = random.Random(seed)
    a = [(rng.choice(OPS), f"n{i}", f"r{i}") for i in range(rng.randint(0, 9))]
    b = [n for n in a if rng.random() < 0.7]
    b = [(rng.choice(OPS), n[1], n[2]) if rng.random() < 0.3 else n for n in b]
    for i in range(rng.randint(0, 3)):
        b.insert(rng.randint(0, len(b)), (rng.choice(OPS), f"m{i}", f"s{i}"))
    told_of = told(a, b)
    for one, chain, others in (("-", a, b), ("+", b, a)):
        found = Counter(c.what.split()[0] for c in told_of if c.kind == one)
        paired = [n for n in chain if any(n[0] == m[0] and (n[1] == m[1] or n[2] == m[2]) for m in others)]
        assert not found - (Counter(n[0] for n in chain) - Counter(n[0] for n in paired))
    count = Counter(c.kind for c in told_of)
    assert len(a) - count["-"] == len(b) - count["+"]
