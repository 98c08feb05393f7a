"""Recurrences written out step by step, as one lstm, gru or rnn over the sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..build.builder import Builder
from ..ir.dims import DimLike
from ..ir.graph import Node, Value
from ..ir.tensors import as_tensor
from ..records import dataclass
from .affine import Source, through
from .cells import Cell, Cells, Weights
from .directions import find as directions
from .kinds import free, moved
from .masks import always
from .region import Rewriter

__all__ = ["find", "of_its_batch", "parameters"]

_PER_STEP = 120
"""Nodes of one step at most."""


@dataclass
class _Step:
    cell: Cell
    x: Source
    h: Source | None
    weights: Weights


def find(r: Rewriter, nodes: Sequence[Node]) -> bool:
    """Find steps at their tanh, one reading the state that another gives, and put one node in place of each chain that reads all
    of a sequence in order, forwards or backwards. What reads the states of such a chain one by one, or those of two directions
    side by side, reads the steps of a sequence then: layers above are looked for again."""
    found = False
    while _found(r, nodes):
        found, nodes = True, [n for n in nodes if n.graph is r.graph]
        directions(r, [n for n in r.graph if n.op == "concat"])
    return found


def _found(r: Rewriter, nodes: Sequence[Node]) -> bool:
    cells = Cells(r)
    chains: dict[Value, list[_Step]] = {}
    for node in nodes:
        for h in _results(node):
            if h in chains:
                continue
            cell = cells.cell(h)
            if cell is not None and _linked(chains, cell):
                break
    found = False
    for chain in chains.values():
        found |= len(chain) > 1 and _put(r, chain)
    return found


def _results(node: Node) -> Iterator[Value]:
    """What a step may give whose activation this is: of an lstm and a gru first, whose candidate looks like an rnn."""
    for user in _readers(node.output):
        if user.op in ("mul", "add"):
            yield user.output
        if user.op in ("mul", "sub"):
            for after in _readers(user.output):
                if after.op == "add":
                    yield after.output
                for last in _readers(after.output) if after.op == "mul" else ():
                    if last.op == "add":
                        yield last.output
    yield node.output


def _readers(v: Value) -> Iterator[Node]:
    for user, _ in v.uses:
        if len(user.outputs) != 1:
            continue
        if through(user.output) is through(v):
            yield from _readers(user.output)
        else:
            yield user


def _linked(chains: dict[Value, list[_Step]], cell: Cell) -> bool:
    """Put a step behind the chain whose state it reads, or let it begin one."""
    sources = cell.sources()
    for h in sources:
        chain = chains.get(h.base) if h.axis is None else None
        others = [s for s in sources if s is not h]
        if chain is None or len(others) != 1 or chain[-1].cell.op != cell.op or cell.attrs != chain[-1].cell.attrs:
            continue
        last, x, w = chain[-1], others[0], cell.weights(others[0], h)
        if w is None or not last.weights.same(w) or x.base is not last.x.base or x.axis != last.x.axis or x.index is None:
            continue
        if cell.op == "lstm" and (last.cell.c is None or cell.before is not through(last.cell.c)):
            continue
        if cell.op == "gru" and cell.mixed is not h.base:
            continue
        if last.x.index is None or abs(x.index - last.x.index) != 1:
            continue
        if len(chain) > 1 and x.index - last.x.index != last.x.index - (chain[-2].x.index or 0):
            continue
        del chains[h.base]
        chains[cell.h] = [*chain, _Step(cell, x, h, w)]
        return True
    for x in sources:
        states = [s for s in sources if s is not x]
        if x.index is None or len(states) > 1 or any(s.axis is not None for s in states):
            continue
        before = states[0] if states else None
        none = before is None and cell.mixed is not None and always(cell.mixed, 0)  # zeros among the file's constants
        if cell.op == "gru" and not none and cell.mixed is not (None if before is None else before.base):
            continue
        w = cell.weights(x, before)
        if w is not None:
            chains[cell.h] = [_Step(cell, x, before, w)]
            return True
    return False


def parameters(b: Builder, cell: Cell, w: Weights, name: str) -> list[Value | None]:
    """w, r and the biases of an op, as parameters."""

    def weight(a: Any, what: str) -> Value:
        return b.weight(as_tensor(np.ascontiguousarray(a[None])), f"{name}/{what}", trainable=True, source=f"{name}/{what}")

    made: list[Value | None] = [weight(w.w, "w"), weight(w.r, "r"), weight(w.b, "b") if w.b.any() else None]
    if cell.op == "gru":
        made.append(weight(w.rb, "rb") if w.rb is not None and w.rb.any() else None)
    return made


def of_its_batch(states: Sequence[Value], batch: DimLike | None) -> bool:
    """Whether first states have rows for each element of the batch: sums repeat a single one, lstm, gru and rnn do not."""
    return batch is not None and all(v.shape is not None and len(v.shape) == 2 and v.shape[0] == batch for v in states)


def _put(r: Rewriter, chain: Sequence[_Step]) -> bool:
    first, last = chain[0], chain[-1]
    x, axis = last.x.base, last.x.axis
    steps = [s.x.index for s in chain]
    backwards = steps == list(range(len(chain)))[::-1]
    if axis not in (0, 1) or x.shape is None or len(x.shape) != 3 or x.shape[axis] != len(chain):
        return False
    if not backwards and steps != list(range(len(chain))):
        return False
    h0 = None if first.h is None or always(first.h.base, 0) else first.h.base
    c0 = None if first.cell.before is None or always(first.cell.before, 0) else first.cell.before
    given = [v for v in (h0, c0) if v is not None]
    if any(v.tensor is not None for v in given) or not of_its_batch(given, x.shape[1 - axis]):
        return False
    nodes = r.region([last.cell.h], [x, *given], _PER_STEP * len(chain))
    if nodes is None or not r.one_layer(nodes):
        return False
    inside, states = set(nodes), {s.cell.h: i for i, s in enumerate(chain)}
    ends = {} if last.cell.c is None else {last.cell.c: 2}
    roots: list[Value] = []
    for node in reversed(list(inside)):
        for v in node.outputs:
            if v in r.outputs or any(user not in inside for user, _ in v.uses):
                if through(v) in states or through(v) in ends:
                    roots.append(v)
                elif not (free(node) or moved(node) is not None):
                    return False
    order = {v: i for i, v in enumerate(v for n in r.graph for v in n.outputs)}
    roots.sort(key=lambda v: order[v])
    if not roots or last.weights.r is None:
        return False
    op, attrs = last.cell.op, last.cell.attrs
    alone = all(through(v) is last.cell.h or through(v) in ends for v in roots)

    def make(b: Builder) -> list[Value]:
        begin = [None if v is None else b.unsqueeze(v, axes=(0,)) for v in ((h0, c0) if op == "lstm" else (h0,))]
        y, *final = b.op(
            op, x, *parameters(b, last.cell, last.weights, b.prefix), *begin, hidden=last.weights.hidden,
            direction="reverse" if backwards else "forward", layout="batch_major" if axis == 1 else "time_major", **attrs,
        )  # fmt: skip
        made = []
        for v in roots:
            at = through(v)
            if at in ends or alone:
                made.append(b.squeeze(final[1 if at in ends else 0], axes=(0,)))
            else:
                made.append(b.gather(y, b.const(np.int64(chain[states[at]].x.index or 0)), axis=axis))
        return made

    return r.put(roots[0], nodes, make, roots=roots, like=last.cell.h.producer, what=op)
