"""The interpreter's result before and after the pass, on random graphs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.support.held import Held

from convcore.build.verify import verify
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.layout import Convention, LayoutReport, assign
from convcore.opset import op
from convcore.opset.axes import Layout

sys.path.insert(0, str(Path(__file__).parent))
from layout_random_graphs import ALL, Maker

FIRST = Convention({"channels": "channels_first", "time": "time_major"}, axis_at={"batch_norm": 1})


LAID = Held(Path(__file__).parent / "laid.json")
"""Of so many graphs, what the pass did: nodes changed, weights folded, transposes taken away and left, elements they move."""


def _equal(graph: Graph, io: str, seed: int) -> LayoutReport:
    laid = graph.clone()
    names = [v.name for v in (*graph.inputs, *graph.outputs)]
    report = assign(laid, FIRST, io)
    verify(laid, "layout")
    assert [v.name for v in (*laid.inputs, *laid.outputs)] == names
    assert not report.unresolved
    for node in laid:
        rule = op(node.op).axes
        if isinstance(rule, Layout):
            assert node.attrs["layout"] == FIRST.layouts[rule.family]
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal([d if isinstance(d, int) else 2 for d in v.shape or ()]).astype(np.float32) for v in graph.inputs]
    want = Interpreter(graph).run(xs)
    shapes: dict[str, tuple[int, ...]] = {}
    inner = Interpreter(laid)
    got = inner.run(
        [x.transpose(report.inputs[v.name]) for x, v in zip(xs, graph.inputs)],
        watch=lambda node, results: shapes.update({v.name: r.shape for v, r in zip(node.outputs, results)}),
    )
    for v, w, y in zip(graph.outputs, want, got):
        perm = report.outputs[v.name]
        if io == "source":
            assert perm == tuple(range(w.ndim))
        w = w.transpose(perm)
        assert w.shape == y.shape
        np.testing.assert_allclose(y, w, rtol=2e-4, atol=2e-4 * max(1.0, float(np.abs(w).max(initial=0))))
    for node in laid:  # recorded shapes are the real ones
        for v in node.outputs:
            if v.name in shapes and v.shape is not None:
                assert tuple(d if isinstance(d, int) else d.evaluate({"N": 2}) for d in v.shape) == shapes[v.name], v  # type: ignore[union-attr]
    return report


@pytest.mark.parametrize("start", range(0, 600, 50))
def test_result_is_unchanged(start: int) -> None:
    done = Counter[str]()
    for seed in range(start, start + 50):
        layouts = ("channels_last",) if seed % 3 else ("channels_last", "channels_last", "channels_first")
        graph = Maker(seed, layouts=layouts, rank=4 if seed % 5 else 3 + seed % 2 * 2).grow(6 + seed % 23, ALL)
        for io in ("target", "source"):
            try:
                r = _equal(graph, io, seed)
            except Exception as e:
                raise AssertionError(f"seed {seed}, io {io}:\n{graph}") from e
            done.update(changed=r.changed_nodes, folded=r.folded_weights, removed=r.removed, left=r.transposes, moved=r.elements)
    LAID.check(f"{start}", done)
