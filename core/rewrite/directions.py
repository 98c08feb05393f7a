"""Both directions of a recurrence over one sequence, joined by their features, as one that goes both ways."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..build.builder import Builder
from ..ir.graph import Node, Value
from ..ir.tensors import as_tensor
from ..opset import Trait, op, traits_of
from .affine import Affines
from .axes import axes_of, cells
from .kinds import free, moved
from .parts import find as whole
from .parts import stands
from .region import Rewriter

__all__ = ["find"]

_SAME = ("x", "mask", "lengths")
"""What both directions share; all else has an axis of directions in front."""

Pair = tuple[Node, Node]


def find(r: Rewriter, nodes: Sequence[Node]) -> bool:
    """Put one recurrence in place of two, forwards and backwards, that concats join: all steps at once, step by step, or the last
    states."""
    if sum(_recurrent(n) for n in r.graph) < 2:
        return False
    read, joins, found = Affines(r), dict[Pair, list[Node]](), False
    for node in nodes:
        pair = _pair(r, read, node) if node.graph is r.graph else None
        if pair is not None:
            joins.setdefault(pair, []).append(node)
    for (f, b), at in joins.items():
        if f.graph is r.graph and b.graph is r.graph and _put(r, f, b, at):
            found = True
            _taken(r, at)
    return found


def _recurrent(node: Node) -> bool:
    return Trait.RECURRENT in traits_of(node.op) and node.attrs.get("direction") in ("forward", "reverse")


def _pair(r: Rewriter, read: Affines, node: Node) -> Pair | None:
    """The recurrences forwards and backwards whose features (of all steps, of one, of the last) a concat puts side by side."""
    rank = node.output.rank
    if len(node.inputs) != 2 or rank is None or node.attrs["axis"] != rank - 1:
        return None
    found: list[tuple[Node, object]] = []
    for v in node.inputs:
        if v is None or v.tensor is not None:
            return None
        step = read.source(v)
        base = step.base if step.index is not None else axes_of(r, v).base
        if (
            base.producer is None
            or not _recurrent(base.producer)
            or (base.index == 0) is not (rank == 3 or step.index is not None)
        ):
            return None
        found.append((base.producer, (base.index, step.axis, step.index)))
    (f, way), (b, other) = found
    same = f.op == b.op and way == other and all(f.arg(a) is b.arg(a) for a in _SAME)
    if not same or (f.attrs["direction"], b.attrs["direction"]) != ("forward", "reverse"):
        return None
    return (f, b) if {**f.attrs, "direction": ""} == {**b.attrs, "direction": ""} else None


def _put(r: Rewriter, f: Node, b: Node, joins: Sequence[Node]) -> bool:
    if not r.one_layer([f, b, *joins]) or not all(_only(r, n.outputs[0], joins) for n in (f, b)):
        return False
    order = {n: i for i, n in enumerate(r.graph)}
    last = f if order[f] > order[b] else b
    used = [(n, v) for n in (last, b if last is f else f) for v in n.outputs if v.uses or v in r.outputs]
    if used[0][0] is not last:
        return False
    hidden = f.attrs["hidden"]
    inputs = [None if (a := _joined(f, b, x.name)) is None else a for x in op(f.op).inputs]
    if any(a == "differs" for a in inputs):
        return False

    def make(build: Builder) -> list[Value]:
        made = [_made(build, f, b, x.name, how) for x, how in zip(op(f.op).inputs, inputs)]
        while made[-1] is None:
            made.pop()
        results = build.op(f.op, *made, **{**f.attrs, "direction": "bidirectional"})
        out = []
        for n, v in used:
            axis, size = (2, hidden) if v.index == 0 else (0, 1)
            start = 0 if n is f else size
            cut = [(start, start + size) if i == axis else (0, None) for i in range(3)]
            starts, stops = [c[0] for c in cut], [c[1] for c in cut]
            out.append(build.slice(results[v.index], starts=starts, stops=stops, steps=(1, 1, 1)))
        return out

    return r.put(used[0][1], [f, b], make, roots=[v for _, v in used], like=f, what=f.op)


def _only(r: Rewriter, v: Value, joins: Collection[Node]) -> bool:
    """Whether nothing but the concats needs more of what a direction gives than single steps."""
    return v not in r.outputs and all(
        user in joins or _one(user) or ((free(user) or moved(user) is not None) and all(_only(r, y, joins) for y in user.outputs))
        for user, _ in v.uses
    )


def _one(node: Node) -> bool:
    """Whether a node takes one element along an axis."""
    index = node.inputs[1] if node.op == "gather" else None
    return index is not None and index.rank == 0


def _joined(f: Node, b: Node, name: str) -> str | None:
    """How an input of both is made of those of the two: None for none, "same", "weights", "values" or "differs"."""
    mine, other = f.arg(name), b.arg(name)
    if name in _SAME:
        return "same" if mine is not None else None
    if mine is None and other is None:
        return None
    if mine is None or other is None:
        given = mine if mine is not None else other
        if name in ("h0", "c0"):
            return "values" if given is not None and given.shape is not None and None not in given.shape else "differs"
        return "weights" if name in ("b", "rb") and given is not None and given.tensor is not None else "differs"
    if mine.tensor is None or other.tensor is None:
        return "values"
    return "weights" if (mine.trainable, mine.role) == (other.trainable, other.role) else "differs"


def _made(build: Builder, f: Node, b: Node, name: str, how: str | None) -> Value | None:
    mine, other = f.arg(name), b.arg(name)
    if how is None or how == "same":
        return mine
    given = [v for v in (mine, other) if v is not None]
    if how == "weights":
        held = [None if v is None or v.tensor is None else v.tensor.numpy() for v in (mine, other)]
        like = next(a for a in held if a is not None)
        both = np.concatenate([np.zeros_like(like) if a is None else a for a in held])
        name = f"{build.prefix}/{name}"
        return build.weight(as_tensor(both), name, trainable=given[0].trainable, source=name, role=given[0].role)
    shape = [n for n in given[0].shape or () if n is not None]
    zeros = build.fill(shape=shape, value=0.0, dtype=given[0].dtype) if len(given) == 1 else None
    parts: list[Any] = [zeros if v is None else v for v in (mine, other)]
    return build.concat(*parts, axis=0)


def _taken(r: Rewriter, joins: Sequence[Node]) -> None:
    """Let what the concats make be read off the one recurrence."""
    for node in joins:
        if node.graph is not r.graph or whole(r, node):
            continue
        step = _step(r, node)
        if step is not None:
            y, axis, index = step
            stands(r, node, lambda b, y=y, axis=axis, index=index: b.gather(y, b.const(np.int64(index)), axis=axis))  # type: ignore[misc]


def _step(r: Rewriter, node: Node) -> tuple[Value, int, int] | None:
    """(features of both directions, axis, index) where a concat is of the two parts of one step."""
    found = set()
    for i, v in enumerate(node.inputs):
        if v is None:
            return None
        a = axes_of(r, v, select=True)
        steps = [(k, g[0].index) for k, g in enumerate(a.origin[:2]) if len(g) == 1 and g[0].index is not None]
        if len(a.origin) != 3 or len(steps) != 1 or [x.index for x in a.origin[2]] != [i, None]:
            return None
        axis, index = steps[0]
        if index is None or [cells(g) for g in a.groups] != [cells(tuple(g)) for g in (a.origin[1 - axis], a.origin[2][1:])]:
            return None
        found.add((a.base, axis, index))
    return found.pop() if len(found) == 1 else None
