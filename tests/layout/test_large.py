"""The pass's cost per node must not grow with the graph."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from convcore.ir.graph import Graph
from convcore.layout import Convention, LayoutReport, assign

sys.path.insert(0, str(Path(__file__).parent))
from layout_large_graphs import KINDS

FIRST = Convention({"channels": "channels_first", "time": "time_major"}, axis_at={"batch_norm": 1})


def _time(kind: str, n: int, repeats: int) -> tuple[float, Graph, LayoutReport]:
    """Best CPU time per node in microseconds."""
    best = float("inf")
    for _ in range(repeats):
        graph = KINDS[kind](n)
        size = len(graph)
        start = time.process_time()
        report = assign(graph, FIRST)
        best = min(best, (time.process_time() - start) / size * 1e6)
    return best, graph, report


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in ("foreign", "opaque") else k for k in sorted(KINDS)]
)
def test_cost_per_node_at_100k_is_within_a_factor_of_that_at_1k(kind: str) -> None:
    for _ in range(3):  # other work on the machine may disturb a measurement
        small, _, _ = _time(kind, 1000, 7)
        large, graph, report = _time(kind, 100_000, 1)
        if large < 2.0 * small:
            break
    assert large < max(2.0 * small, small + 6), f"{small:.1f} us per node at 1,000 nodes, {large:.1f} at 100,000"
    assert large < 60
    assert all(n.attrs["layout"] == "channels_first" for n in graph if n.op == "conv")
    blocks = 100_000 // {"foreign": 7 * 3, "opaque": 4}.get(kind, 1)
    if kind in ("chain", "residual", "agreed"):
        assert not report.remaining
    elif kind in ("foreign", "opaque"):  # one transpose before and one after every foreign node
        assert len(report.remaining) in (2 * blocks, 2 * blocks - 1)
