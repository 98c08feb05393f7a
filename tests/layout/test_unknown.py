"""Shapes that nobody knows: rules carry no order they cannot tell, and graphs that lost shapes compute the same in any layout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.held import Held

from convcore.build.verify import verify
from convcore.errors import VerifyError
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.layout import Convention, assign
from convcore.layout.carried import NodeRule, carry
from convcore.opset import all_ops, op
from convcore.testing.axes import _orders, _single

sys.path.insert(0, str(Path(__file__).parent))
from layout_random_graphs import ALL, Maker

CONVENTIONS = [
    Convention({"channels": "channels_first", "time": "time_major"}, axis_at={"batch_norm": 1}),
    Convention({"channels": "channels_last", "time": "batch_major"}, axes_last=True),
]

CARRIED = Held(Path(__file__).parent / "carried_unknown.json")


def carried(name: str) -> int:
    """In how many cases a rule carries an order though the shape of one value, or its rank's only, is not known."""
    decl, found = op(name), 0
    rule = NodeRule(decl)
    for k, sample in enumerate(decl.samples[:3] if rule.movable else ()):
        _, node, live = _single(decl, rule, sample.arrays(k), sample.attrs, True)
        ends = [*enumerate(node.inputs), *((~i, v) for i, v in enumerate(node.outputs))]
        for slot in [*(i for i in rule.main_inputs(node) if i in live), *(~i for i in range(len(node.outputs)))]:
            v = node.inputs[slot] if slot >= 0 else node.outputs[~slot]
            sizes = [] if v is None else [d for d in v.shape or () if isinstance(d, int)]
            for order in list(_orders(sizes, np.random.default_rng(0), 4)):
                for _, other in ends:
                    if other is None or other.tensor is not None:
                        continue
                    known = other.shape
                    for less in (None, (None,) * (other.rank or 0)):
                        other.shape = less
                        found += carry(node, rule, slot, order, {}) is not None
                    other.shape = known
    return found


@pytest.mark.parametrize("name", sorted(all_ops()))
def test_what_rules_carry_of_what_they_do_not_know(name: str) -> None:
    CARRIED.check(name, carried(name))


def computes_the_same(graph: Graph, laid: Graph, convention: Convention, io: str, seed: int) -> None:
    report = assign(laid, convention, io)
    verify(laid, "layout")
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal([d if isinstance(d, int) else 2 for d in v.shape or ()]).astype(np.float32) for v in graph.inputs]
    got = Interpreter(laid).run([x.transpose(report.inputs[v.name]) for x, v in zip(xs, graph.inputs)])
    for v, w, y in zip(graph.outputs, Interpreter(graph).run(xs), got):
        perm = report.outputs[v.name]
        w = w.transpose(perm) if perm else w  # an output of unknown rank is as it was
        assert w.shape == y.shape
        np.testing.assert_allclose(y, w, rtol=2e-4, atol=2e-4 * max(1.0, float(np.abs(w).max(initial=0))))


@pytest.mark.parametrize("seed", range(16))
def test_graphs_that_lost_shapes(seed: int) -> None:
    graph = Maker(seed, layouts=("channels_last", "channels_first")[: 1 + seed % 2], rank=3 + seed % 3).grow(6 + seed, ALL)
    values = [i for i, v in enumerate(graph.values()) if v.tensor is None and v.producer is not None]
    for n, lost in enumerate([[i] for i in values[seed % 3 :: 3]] + [values]):
        laid = graph.clone()
        for i, v in enumerate(list(laid.values())):
            if i in lost:
                v.shape = None if n % 3 or v.shape is None else (None,) * len(v.shape)
        try:
            verify(laid)
        except VerifyError:  # an op that has to know it
            continue
        convention, io = CONVENTIONS[n % 2], ("target", "source")[seed % 2]
        before = str(laid)
        try:
            computes_the_same(graph, laid, convention, io, seed)
        except Exception as e:
            raise AssertionError(f"seed {seed}, {lost}:\n{before}") from e
