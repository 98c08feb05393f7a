"""The elements moved after the pass, against every other choice of states for the same graph."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from convcore.ir.graph import Graph
from convcore.layout import Convention, LayoutReport, assign
from convcore.layout.mincut import FREE, Choice

sys.path.insert(0, str(Path(__file__).parent))
from layout_random_graphs import Maker

FIRST = Convention({"channels": "channels_first"})
OPS = ("conv", "unary", "unary", "binary", "binary", "norm", "concat", "pad", "softmax", "opaque", "split")


class Stop(Exception):
    pass


def _forced(graph: Graph, io: str, states: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch) -> tuple[LayoutReport, int]:
    """The pass with the free variables set to ``states`` (None: as solved), and how many free variables there are."""
    free: list[int] = []

    def solve(self: Choice) -> list[int]:
        where = [i for i, p in enumerate(self.pins) if p == FREE]
        free.append(len(where))
        if states is None:
            return original(self)
        out = list(self.pins)
        for i, s in zip(where, states):
            out[i] = s
        return out

    original = Choice.solve
    with monkeypatch.context() as m:
        m.setattr(Choice, "solve", solve)
        report = assign(graph.clone(), FIRST, io)
    return report, free[0] if free else 0


@pytest.mark.parametrize("start", range(0, 300, 60))
def test_no_other_choice_moves_fewer_elements(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = better = 0
    for seed in range(start, start + 60):
        graph = Maker(seed, rank=4).grow(4 + seed % 7, OPS)
        io = ("target", "source")[seed % 2]
        report, free = _forced(graph, io, None, monkeypatch)
        if not 1 <= free <= 7:
            continue
        for states in itertools.product((0, 1), repeat=free):
            other, _ = _forced(graph, io, states, monkeypatch)
            tried += 1
            better += other.elements > report.elements
            assert report.elements <= other.elements, f"seed {seed}: {states} moves {other.elements}\n{report}\n{graph}"
    assert tried > 100 and better > 50
