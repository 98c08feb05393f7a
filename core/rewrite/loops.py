"""Loops that go over a sequence, as scan; scans whose body is a step of lstm, gru or rnn, as these."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import ShapeError
from ..interpreter.execute import FAILURES
from ..ir.graph import Graph, Node, Value
from ..opset import Trait, find_op
from .affine import Affine, Source, through
from .cells import Cell, Cells, Weights
from .region import Fusion, Rewriter, refresh
from .unrolled import of_its_batch, parameters
from .view import View

__all__ = ["recurrent", "to_scan"]

_MOST = 10_000
"""Steps of a loop that are counted through."""

Array = NDArray[Any]


# ---- loop to scan
def to_scan(r: Rewriter, node: Node) -> bool:
    """Put scan in place of a loop that takes one element after the other of sequences as long as it runs.

    Counters, conditions and trip counts must follow from constants alone: they are counted through, and every element taken must
    be that of the step. What the body hands on unchanged is a capture; a counter's last value is a constant.
    """
    if r.only is not None and "scan" not in r.only:
        return False
    plan = _Plan.of(r, node)
    if plan is None or not plan.scanned:
        return False
    region = plan.region()
    if region is None:
        return False
    n = node.attrs["n_states"]
    values = node.inputs[2:]
    kept = [j for j in range(n) if j not in plan.counted and j not in plan.invariant]
    if not all(_stays(values[j], plan.body.inputs[2 + j], plan.body.outputs[1 + j]) for j in kept):
        return False
    b = Builder(r.graph, before=node, origin=node.origin.by("fuse"))
    b.prefix, b.scope = node.name, node.scope
    try:
        with r.graph.attempt():
            made = b.op(
                "scan", *(values[j] for j in kept), *(x for x, _, _ in plan.scanned), *(values[k] for k in plan.captured),
                n_states=len(kept), n_scanned=len(plan.scanned), scan_axis=tuple(a for _, a, _ in plan.scanned),
                reverse=tuple(int(back) for _, _, back in plan.scanned), regions=(region,), n_outputs=len(region.outputs),
            )  # fmt: skip
    except ShapeError:
        return False
    scan = made[0].producer
    assert scan is not None
    after: list[Value | None] = []
    for j, old in enumerate(node.outputs):
        if j >= n:
            after.append(made[len(kept) + j - n])
        elif j in plan.invariant:
            after.append(values[j])
        elif j in plan.counted:
            after.append(b.const(plan.counted[j]) if old.uses or old.is_output else None)
        else:
            after.append(made[kept.index(j)])
    for old, new in zip(node.outputs, after):
        if new is None:
            continue  # a counter that nobody asks for
        if old.is_output and new.producer is not scan:
            new = b.identity(new)
        name, own = old.name, old.is_output or new.producer is scan
        old.replace_uses(new)
        refresh(new)
        if old in r.outputs:
            r.outputs.add(new)
        if own:
            old.name = f"{name} (loop)"
            r.graph.rename(new, name)
    name, node.name = node.name, f"{node.name} (loop)"
    r.graph.rename(scan, name)
    r.graph.remove(node)
    r.made.append(scan)
    r.found.append(Fusion("scan", name, (node.origin.layer or name,)))
    return True


def _stays(first: Value | None, inside: Value, after: Value) -> bool:
    """Whether a state has one shape all the way: a loop's may change, a scan's not."""
    shape = None if first is None else first.shape
    return shape is not None and None not in shape and shape == inside.shape == after.shape


class _Plan:
    """What the steps of a loop do with its counters."""

    def __init__(self, r: Rewriter, node: Node) -> None:
        self.r, self.node, self.body = r, node, node.regions[0]
        self.n: int = node.attrs["n_states"]
        self.outer = Cells(r)
        self.counted: dict[int, Array] = {}  # state -> its last value
        self.invariant: set[int] = set()
        self.captured: list[int] = []  # inputs of the body, behind step and condition, that scan is given as captures
        self.scanned: list[tuple[Value, int, bool]] = []
        self.takes: list[tuple[Node, int]] = []  # a node of the body that takes an element, and which of ``scanned``

    @classmethod
    def of(cls, r: Rewriter, node: Node) -> _Plan | None:
        plan = cls(r, node)
        return plan if plan._count() else None

    def _count(self) -> bool:
        node, body, n = self.node, self.body, self.n
        trips, cond = (self.outer.known(v) for v in node.inputs[:2])
        for v, a in zip(node.inputs[:2], (trips, cond)):
            if v is not None and (a is None or a.size != 1 or not a.all()):
                return False
        counted = trips is not None
        limit = _MOST if trips is None else int(trips.reshape(()))
        if not 1 <= limit <= _MOST:
            return False
        inside, values = body.inputs[2:], node.inputs[2:]
        self.invariant = {j for j in range(n) if through(body.outputs[1 + j]) is inside[j]}
        begin = {j: self.outer.known(values[j]) for j in range(n) if j not in self.invariant}
        counters = {j for j, a in begin.items() if a is not None and a.size == 1 and a.dtype.kind in "iub"}
        fixed = {
            i: a
            for k, i in enumerate(inside)
            if k >= n or k in self.invariant
            for a in [self.outer.known(values[k])]
            if a is not None
        }
        states = {j: np.asarray(begin[j]) for j in counters}
        picks = [x for x in body if x.op == "gather" and self._of_whole(x.inputs[0])]
        taken: dict[Node, list[int]] = {x: [] for x in picks}
        steps = 0
        for t in range(limit):
            env: dict[Value, Array | None] = {**fixed, body.inputs[0]: np.asarray(t, np.int64), body.inputs[1]: np.asarray(True)}
            env.update((inside[j], a) for j, a in states.items())
            for x in list(taken):
                at = _evaluate(x.inputs[1], env)
                if at is None or at.ndim:
                    del taken[x]
                else:
                    taken[x].append(int(at))
            after = {j: _evaluate(body.outputs[1 + j], env) for j in states}
            go = _evaluate(body.outputs[0], env)
            if go is None or any(a is None for a in after.values()):
                return False
            states = {j: a for j, a in after.items() if a is not None}
            steps += 1
            if not go.all():
                break
        else:
            if not counted:
                return False
        self.counted = states
        return self._sequences(taken, steps)

    def _of_whole(self, v: Value | None) -> bool:
        """Whether a value of the body is the same at each step."""
        inside = self.body.inputs[2:]
        return v is not None and through(v) in [i for k, i in enumerate(inside) if k >= self.n or k in self.invariant]

    def _sequences(self, taken: dict[Node, list[int]], steps: int) -> bool:
        inside, values = self.body.inputs[2:], self.node.inputs[2:]
        for x, order in taken.items():
            whole, axis = x.need("x"), x.attrs["axis"]
            if whole.shape is None or whole.shape[axis] != steps:
                continue
            backwards = order == list(range(steps))[::-1] and steps > 1
            source = values[inside.index(through(whole))]
            if source is None or not (backwards or order == list(range(steps))):
                continue
            key = (source, axis, backwards)
            if key not in self.scanned:
                self.scanned.append(key)
            self.takes.append((x, self.scanned.index(key)))
        return True

    def region(self) -> Graph | None:
        """The body of the scan; None where something else still depends on a counter."""
        n, old = self.n, self.body
        place = {x: i for i, x in enumerate(old)}
        new = old.clone()
        nodes = list(new)
        slices: list[Value | None] = [None] * len(self.scanned)
        for x, k in self.takes:
            node = nodes[place[x]]
            v = slices[k]
            if v is None:
                v = slices[k] = new.add_input(f"{node.output.name}/slice", node.output.dtype, node.output.shape)
            node.output.replace_uses(v)
        inputs = list(new.inputs)
        inside = inputs[2 : 2 + len(old.inputs) - 2]
        gone = {j for j in range(n) if j in self.counted or j in self.invariant}
        new.outputs = [v for j, v in enumerate(new.outputs[1:]) if j >= n or j not in gone]
        new.remove_unused()
        wanted = [bool(v.uses) or v.is_output for v in inputs[: 2 + len(inside)]]
        if wanted[0] or wanted[1] or any(wanted[2 + j] for j in self.counted):
            return None
        self.captured = [k for k in range(len(inside)) if (k >= n or k in self.invariant) and wanted[2 + k]]
        states = [v for j, v in enumerate(inside[:n]) if j not in gone]
        new.inputs = [*states, *(v for v in slices if v is not None), *(inside[k] for k in self.captured)]
        return new


def _evaluate(v: Value | None, env: dict[Value, Array | None], depth: int = 64) -> Array | None:
    """The value of what follows from counters and small constants."""
    if v is None or not depth:
        return None
    if v in env:
        return env[v]
    found: Array | None = None
    node = v.producer
    if v.tensor is not None:
        found = v.tensor.numpy() if v.tensor.size <= 64 else None
    elif node is not None:
        decl = find_op(node.op)
        if (
            decl is not None
            and decl.reference is not None
            and not node.regions
            and Trait.NO_FOLD not in decl.traits
            and node.inputs
        ):
            ins = [_evaluate(x, env, depth - 1) for x in node.inputs]
            if all(a is not None and a.size <= 64 for a in ins):
                try:
                    out = decl.reference(*ins, **node.attrs)
                    found = np.asarray(out[v.index] if isinstance(out, tuple) else out)
                except FAILURES:
                    found = None
    env[v] = found
    return found


# ---- scan to lstm, gru, rnn
def recurrent(r: Rewriter, node: Node) -> bool:
    """Put lstm, gru or rnn in place of a scan of such steps."""
    at, body = node.attrs, node.regions[0]
    n = at["n_states"]
    if at["n_scanned"] != 1 or at["scan_axis"][0] not in (0, 1) or not 1 <= n <= 2:
        return False
    x = node.inputs[n]
    if x is None or x.rank != 3:
        return False
    bound = {i: v for i, v in zip(body.inputs[n + 1 :], node.inputs[n + 1 :]) if v is not None}
    view, step = Rewriter(body, View(body)), body.inputs[n]
    if _of_steps(r, node, Cells(view, bound), x):
        return True
    before = Cells(r).affine(x)  # products with the input made for all steps at once
    if before is None or len(before.parts) != 1 or through(x).rank != 3:
        return False
    ((source, w),) = before.parts.items()
    if source.axis is not None or source.base.shape is None or x.shape is None or source.base.shape[:-1] != x.shape[:-1]:
        return False
    return _of_steps(r, node, Cells(view, bound, {step: Affine({Source(step): w}, before.bias)}), source.base)


def _of_steps(r: Rewriter, node: Node, cells: Cells, x: Value) -> bool:
    """Whether the body is a step over ``x``; put in its place."""
    body, n = node.regions[0], node.attrs["n_states"]
    for j in range(n):
        cell = cells.cell(body.outputs[j])
        if cell is None or (cell.op == "lstm") is not (n == 2):
            continue
        h, source = Source(body.inputs[j]), Source(body.inputs[n])
        w = cell.weights(source, h)
        if w is None or w.r is None or (cell.op == "gru" and cell.mixed is not body.inputs[j]):
            continue
        other = 1 - j
        if cell.op == "lstm" and (cell.before is not body.inputs[other] or through(body.outputs[other]) is not cell.c):
            continue
        if any(through(v) is not cell.h for v in body.outputs[n:]):
            continue
        return _placed(r, node, cell, w, j, x)
    return False


def _placed(r: Rewriter, node: Node, cell: Cell, w: Weights, j: int, x: Value) -> bool:
    at = node.attrs
    n, stacked = at["n_states"], len(node.outputs) - at["n_states"]
    backwards = bool(at["reverse"][0])
    axes, turned = at["out_axes"] or (0,) * stacked, at["out_reverse"] or (0,) * stacked
    layout = at["scan_axis"][0]
    begin = [v for v in ([node.inputs[j]] if n == 1 else [node.inputs[j], node.inputs[1 - j]]) if v is not None]
    if any(bool(t) is not backwards for t in turned) or not of_its_batch(begin, None if x.shape is None else x.shape[1 - layout]):
        return False
    olds = [v for v in node.outputs if v.uses or v in r.outputs]
    if not olds:
        return False

    def make(b: Builder) -> list[Value]:
        y, *final = b.op(
            cell.op, x, *parameters(b, cell, w, b.prefix), *(b.unsqueeze(v, axes=(0,)) for v in begin),
            hidden=w.hidden, direction="reverse" if backwards else "forward",
            layout="batch_major" if layout == 1 else "time_major", **cell.attrs,
        )  # fmt: skip
        made = []
        for v in olds:
            i = node.outputs.index(v)
            if i < n:
                made.append(b.squeeze(final[0 if i == j else 1], axes=(0,)))
            else:
                axis = axes[i - n] % 3
                sequence = {0: (0, 1, 2), 1: (1, 0, 2), 2: (1, 2, 0)}[axis]  # of (time, batch, features)
                t = y if layout == 0 else b.transpose(y, perm=(1, 0, 2))
                made.append(y if axis == layout and axis < 2 else b.transpose(t, perm=sequence) if axis else t)
        return made

    return r.put(olds[0], [node], make, roots=olds, what=cell.op)
