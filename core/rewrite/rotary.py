"""Rotary position embeddings in the form of halves: x * cos + concat(-x[n:], x[:n]) * sin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.graph import Node, Value
from ..ir.tensors import Tensor
from ..passes.search import Parts, every
from .kinds import broadcasts, pointwise
from .region import Rewriter

__all__ = ["find", "in_parts"]

_MOST = 1 << 22


def find(r: Rewriter, node: Node) -> bool:
    """Put rotary_embedding in place of a sum of two products; the angles of both halves must be the same."""
    sides = [v.producer if v is not None else None for v in node.inputs]
    for plain, turned in (sides, sides[::-1]):
        if plain is None or turned is None or plain.op != "mul" or turned.op != "mul":
            continue
        for i in (0, 1):
            half = turned.inputs[i]
            x = None if half is None else _turned(r, half)
            sin = turned.inputs[1 - i]
            if x is None or sin is None or x.shape is None:
                continue
            for j in (0, 1):
                cos = plain.inputs[1 - j]
                if plain.inputs[j] is None or cos is None or r.view.form(plain.inputs[j]) is not r.view.form(x):  # type: ignore[arg-type]
                    continue
                if _put(r, node, x, cos, sin):
                    return True
    return False


def in_parts(r: Rewriter, node: Node) -> bool:
    """concat(a cos - b sin, b cos + a sin), and what is left of the last axis behind it: the op's own body."""
    view, ins = r.view, [v for v in node.inputs if v is not None]
    first = ins[0].producer if len(ins) in (2, 3) else None
    if first is None or first.op != "sub" or node.output.rank is None or node.attrs["axis"] != node.output.rank - 1:
        return False
    sides = [v.producer if v is not None else None for v in first.inputs]
    if any(s is None or s.op != "mul" for s in sides):
        return False
    for a, cos in _orders(sides[0]):
        for b, sin in _orders(sides[1]):
            wanted = view.add(view.multiply(view.form(b), view.form(cos)), view.multiply(view.form(a), view.form(sin)))
            pa, pb = _part(a), _part(b)
            if view.form(ins[1]) is not wanted or pa is None or pb is None or pa[0] is not pb[0]:
                continue
            x, n = pa[0], pa[2]
            width = (x.shape or (None,))[-1]
            rest = _part(ins[2]) if len(ins) == 3 else (x, width, width)
            if (pa[1], pb[1], pb[2]) != (0, n, 2 * n) or rest != (x, 2 * n, width):
                continue
            if any(not v.rank or (v.shape or ())[-1] != n for v in (cos, sin)):
                continue
            nodes = r.region([node.output], {x, view.form(x), cos, sin})
            if nodes is not None and r.closed(nodes, {node.output}):
                return r.put(node.output, nodes, lambda b_: b_.rotary_embedding(x, cos, sin))  # noqa: B023
    return False


def _orders(node: Node | None) -> list[tuple[Value, Value]]:
    """The two inputs of a product, both ways."""
    x, y = node.inputs if node is not None else (None, None)
    return [] if x is None or y is None else [(x, y), (y, x)]


def _put(r: Rewriter, node: Node, x: Value, cos: Value, sin: Value) -> bool:
    width = (x.shape or (None,))[-1]
    if not isinstance(width, int) or any(v.rank is None or not v.rank or (v.shape or ())[-1] != width for v in (cos, sin)):
        return False
    if not (_halves(r, cos, width) and _halves(r, sin, width)):
        return False
    nodes = r.region([node.output], {x, r.view.form(x), cos, sin})
    if nodes is None or not r.closed(nodes, {node.output}):
        return False

    def make(b: Any) -> Value:
        y: Value = b.rotary_embedding(x, _first(r, b, cos, width), _first(r, b, sin, width))
        return y

    return r.put(node.output, nodes, make)


def _first(r: Rewriter, b: Any, v: Value, width: int) -> Value:
    """The first half of the last axis: that of a constant, what was doubled, or a slice."""
    rank = v.rank or 1
    made: Value = b.slice(v, starts=(0,) * rank, stops=(*(None,) * (rank - 1), width // 2), steps=(1,) * rank)
    return made


def _turned(r: Rewriter, v: Value) -> Value | None:
    """x where v is its last axis' second half, negated, and then the first half."""
    node = v.producer
    if node is None or node.op != "concat" or len(node.inputs) != 2 or v.shape is None or node.attrs["axis"] != len(v.shape) - 1:
        return None
    first, second = node.inputs
    if first is None or second is None or first.producer is None or first.producer.op != "neg":
        return None
    back = first.producer.inputs[0]
    if back is None:
        return None
    a, b = _part(back), _part(second)
    if a is None or b is None or a[0] is not b[0] or not isinstance(v.shape[-1], int):
        return None
    n = v.shape[-1] // 2
    return a[0] if (a[1], a[2], b[1], b[2]) == (n, 2 * n, 0, n) and v.shape[-1] == 2 * n else None


def _part(v: Value) -> tuple[Value, int, int] | None:
    """(x, start, stop) of a part along the last axis."""
    node = v.producer
    x = node.inputs[0] if node is not None and node.inputs else None
    if node is None or x is None or x.shape is None or v.shape is None or not isinstance(x.shape[-1], int):
        return None
    size = x.shape[-1]
    if node.op == "split" and node.attrs["axis"] == len(x.shape) - 1 and all(isinstance(n, int) for n in node.attrs["sizes"]):
        start = sum(node.attrs["sizes"][: v.index])
        return x, start, start + node.attrs["sizes"][v.index]
    if node.op != "slice" or tuple(x.shape[:-1]) != tuple(v.shape[:-1]) or node.attrs["steps"][-1] != 1:
        return None
    start, stop = node.attrs["starts"][-1], node.attrs["stops"][-1]
    if any(s not in (0,) for s in node.attrs["starts"][:-1]) or any(s != 1 for s in node.attrs["steps"]):
        return None
    stop = size if stop is None else stop
    if not isinstance(start, int) or not isinstance(stop, int):
        return None
    start, stop = start + size * (start < 0), stop + size * (stop < 0)
    return x, start, min(stop, size)


def _halves(r: Rewriter, v: Value, width: int) -> bool:
    """Whether the two halves of the last axis are the same: of a constant, of something doubled, of what is made of such."""

    def parts(v: Value) -> Parts:
        node, ins = v.producer, v.producer.inputs if v.producer is not None else []
        if v.tensor is not None or node is None or v.rank is None:
            return v.tensor is not None and _doubled(v.tensor, width)
        if node.op == "concat":
            a, b = ins if len(ins) == 2 else (None, None)
            return node.attrs["axis"] == v.rank - 1 and a is not None and b is not None and r.view.form(a) is r.view.form(b)
        if pointwise(node) or broadcasts(node):
            return [x for x in ins if x is None or not _alike(x)]
        if node.op == "unsqueeze":
            return v.rank - 1 not in node.attrs["axes"] and ins
        if node.op == "squeeze":
            x = node.need("x")
            return x.rank is not None and x.rank - 1 not in node.attrs["axes"] and ins
        if node.op == "embedding" or (node.op == "gather" and node.attrs["axis"] == 0):
            table = node.need("table" if node.op == "embedding" else "x")
            return table.rank == 2 and [table]
        return node.op == "slice" and [node.attrs[k][-1] for k in ("starts", "stops", "steps")] == [0, None, 1] and ins

    return every(v, parts)


def _doubled(t: Tensor, width: int) -> bool:
    if t.size > _MOST or not t.ndim or t.shape[-1] != width:
        return False
    a = t.numpy()
    return bool(np.array_equal(a[..., : width // 2], a[..., width // 2 :]))


def _alike(v: Value) -> bool:
    """One element along the last axis: the same for both halves."""
    return v.rank == 0 or (v.shape is not None and v.shape[-1] == 1)
