"""Control flow spelled out: bodies of if, loop and scan, for targets that have none.

Only what is known before it runs: both branches are computed and one is chosen; a loop is written out step by step where the
number of steps is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Graph, Value

__all__ = ["MOST_STEPS", "if_body", "loop_body", "scan_body"]

MOST_STEPS = 1024
"""Steps of the longest loop that is written out."""


def _inline(b: Any, region: Graph, values: Sequence[Value | None]) -> list[Value]:
    """The nodes of a region on values of the builder's graph: its outputs there."""
    at: dict[Value, Value | None] = dict(zip(region.inputs, values, strict=True))
    for w in region.weights.values():
        at[w] = b.weight(w.tensor, w.name, trainable=w.trainable, source=w.source, role=w.role)
    for node in region:
        ins = [None if v is None else at[v] for v in node.inputs]
        with b.at(node.origin):
            made = b.node(node.op, ins, node.attrs, regions=node.regions, n_outputs=len(node.outputs))
        at.update(zip(node.outputs, made.outputs, strict=True))
    return [v for v in (at[out] for out in region.outputs) if v is not None]


def if_body(b: Any, cond: Value, *captures: Value | None, regions: Sequence[Graph]) -> Any:
    """Both branches, and a choice between each pair of results; only the one taken where the condition is a constant."""
    if cond.tensor is not None:
        chosen = regions[0 if bool(cond.tensor.numpy().reshape(())) else 1]
        return tuple(b.identity(v) for v in _inline(b, chosen, captures))
    for region in regions:
        inner = {n.op for n in region if n.op in ("loop", "scan", "if", "opaque")}
        b.require(not inner, f"a branch holds {', '.join(sorted(inner))}, it cannot be computed whether or not it is taken")
    then, other = (_inline(b, r, captures) for r in regions)
    for x, y in zip(then, other):
        same = x.shape is not None and x.shape == y.shape and None not in x.shape
        b.require(same, f"the branches give {x} and {y}: only results of one shape can be chosen between")
    return tuple(b.where(cond, x, y) for x, y in zip(then, other))


def _count(b: Any, steps: Any, what: str) -> int:
    b.require(isinstance(steps, int), f"its number of steps ({what}) is not known before it runs")
    b.require(0 < steps <= MOST_STEPS, f"{steps} steps are not written out (1 to {MOST_STEPS} are)")
    return int(steps)


def scan_body(
    b: Any, *values: Value, n_states: int, n_scanned: int, scan_axis: Any, reverse: Any, out_axes: Any, out_reverse: Any,
    regions: Sequence[Graph],
) -> Any:  # fmt: skip
    """Every step one after another, for a length that is a number."""
    states, scanned, captures = list(values[:n_states]), values[n_states : n_states + n_scanned], values[n_states + n_scanned :]
    sizes = [None if v.shape is None else v.shape[a] for v, a in zip(scanned, scan_axis)]
    n = _count(b, next((d for d in sizes if isinstance(d, int)), sizes[0]), "the length of what it goes over")
    parts = [b.op("unstack", v, axis=a) for v, a in zip(scanned, scan_axis)]
    rows: list[list[Value]] = []
    for t in range(n):
        here = [part[n - 1 - t if back else t] for part, back in zip(parts, reverse)]
        out = _inline(b, regions[0], [*states, *here, *captures])
        states = out[:n_states]
        rows.append(out[n_states:])
    stacked = len(rows[0])
    axes, back_out = out_axes or (0,) * stacked, out_reverse or (0,) * stacked
    return (*states, *_stack(b, rows, axes, back_out))


def loop_body(
    b: Any, trip_count: Value | None, cond: Value | None, *values: Value, n_states: int, regions: Sequence[Graph]
) -> Any:  # fmt: skip
    """Every step one after another, where the number of steps is a constant and the condition never becomes false."""
    region = regions[0]
    b.require(trip_count is not None and trip_count.tensor is not None, "its number of steps is not known before it runs")
    go = region.outputs[0]
    while go.producer is not None and go.producer.op == "identity":
        go = go.producer.need("x")
    always = go is region.inputs[1] or (go.tensor is not None and bool(go.tensor.numpy().reshape(())))
    starts = cond is None or (cond.tensor is not None and bool(cond.tensor.numpy().reshape(())))
    b.require(always and starts, "its condition is computed while it runs")
    assert trip_count is not None and trip_count.tensor is not None  # required above
    n = _count(b, int(trip_count.tensor.numpy().reshape(())), "its trip count")
    states, captures = list(values[:n_states]), values[n_states:]
    rows: list[list[Value]] = []
    for t in range(n):
        out = _inline(b, region, [b.const(t, "int64"), b.const(True, "bool"), *states, *captures])
        states = out[1 : 1 + n_states]
        rows.append(out[1 + n_states :])
    return (*states, *_stack(b, rows, (0,) * len(rows[0]), (0,) * len(rows[0])))


def _stack(b: Any, rows: list[list[Value]], axes: Sequence[int], reverse: Sequence[int]) -> list[Value]:
    columns = [list(c) for c in zip(*rows)]
    return [b.op("stack", *(c[::-1] if r else c), axis=a) for c, a, r in zip(columns, axes, reverse)]
