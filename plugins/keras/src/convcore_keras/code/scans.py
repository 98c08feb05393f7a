"""Loops of the graph: scans, recurrences and loops whose steps are built by the same rules as the graph around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from convcore.plugin import DType, Value, known_shape

from ..body import Body, building
from .values import CodeRefused

if TYPE_CHECKING:
    from ..load_context import KerasContext

__all__ = ["Step", "looped", "recur", "same_kind", "scanned"]


def same_kind(before: Sequence[Value], after: Sequence[Value]) -> None:
    """A state keeps its type and shape. Raises CodeRefused."""
    if len(before) != len(after):
        raise CodeRefused(f"has a loop of {len(before)} states whose step gives {len(after)}")
    for old, new in zip(before, after, strict=True):
        if old.dtype is not new.dtype:
            raise CodeRefused(f"has a loop whose state is {old.dtype} and becomes {new.dtype}")
        if old.shape is not None and new.shape is not None and tuple(old.shape) != tuple(new.shape):
            raise CodeRefused(f"has a loop whose state has the shape {_dims(old)} and gets {_dims(new)}")


def _dims(v: Value) -> str:
    return "(" + ", ".join(map(str, v.shape or ())) + ")"


Step = Callable[[list[Value], list[Value]], tuple[Sequence[Value], Sequence[Value]]]


def scanned(
    g: KerasContext, states: Sequence[Value], over: Sequence[Value], step: Step, *, axis: int = 0, reverse: bool = False,
    turned: bool = False,
) -> tuple[list[Value], list[Value]]:  # fmt: skip
    """``step(states, slices)`` for each slice of ``over`` along ``axis``: the last states, and the results stacked along it.

    ``reverse`` begins with the last slice; ``turned`` puts the first step's result last.
    """
    with building(g, "step") as body:
        now = [body.input(f"state{i}", v.dtype, v.shape) for i, v in enumerate(states)]
        parts = []
        for i, v in enumerate(over):
            shape = list(known_shape(v, sizes=True))
            del shape[axis]
            parts.append(body.input(f"x{i}", v.dtype, tuple(shape)))
        new, rows = step(now, parts)
        same_kind(states, new)
        outputs = body.results([*new, *rows])
    body.graph.outputs = outputs
    n, many = len(over), len(rows)
    found = g.b.op(
        "scan", *states, *over, *body.captured, regions=[body.graph], n_states=len(states), n_scanned=n, scan_axis=(axis,) * n,
        reverse=(int(reverse),) * n, out_axes=(axis,) * many, out_reverse=(int(turned),) * many, n_outputs=len(outputs),
    )  # fmt: skip
    ends = list(found) if isinstance(found, (list, tuple)) else [found]
    return ends[: len(states)], ends[len(states) :]


def recur(
    g: KerasContext,
    x: Value,
    start: Sequence[Value],
    step: Step,
    *,
    mask: Value | None = None,
    zero: bool,
    reverse: bool,
) -> tuple[list[Value], Value]:
    """``K.rnn``: ``step([states], [slice])`` along axis 1 of ``x``; the last states, and the outputs of all steps in the order of
    their steps.

    ``mask`` (batch, time): a step that is masked keeps the states and repeats the output before it, zeros before the first one,
    or gives zeros (``zero``).
    """
    over = [x] if mask is None else [x, g.b.unsqueeze(mask, axes=(2,))]
    states = list(start)
    count = len(states)
    if mask is not None:
        states.append(_zeros_of_output(g, x, start, step))

    def masked(now: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        new, (y,) = step(now[:count], parts[:1])
        if mask is None:
            return new, [y]
        same_kind(now[:count], new)
        keep = [_fitting(g, parts[1], v) for v in (y, *new)]
        y = g.b.where(keep[0], y, g.b.like(y, 0) if zero else now[count])
        return [*(g.b.where(k, a, s) for k, a, s in zip(keep[1:], new, now)), y], [y]

    ends, (ys,) = scanned(g, states, over, masked, axis=1, reverse=reverse)
    return ends[:count], ys


def _zeros_of_output(g: KerasContext, x: Value, start: Sequence[Value], step: Step) -> Value:
    """Zeros of the type and shape of what a step gives: one is worked through for them."""
    with building(g, "first") as body:
        now = [body.input("state", v.dtype, v.shape) for v in start]
        sizes = list(known_shape(x, sizes=True))
        _, (y,) = step(now, [body.input("x", x.dtype, (sizes[0], *sizes[2:]))])
    return g.b.fill(shape=known_shape(y, sizes=True), value=0.0, dtype=y.dtype)


def _fitting(g: KerasContext, keep: Value, v: Value) -> Value:
    """A mask (batch, 1) with an axis of size 1 for each further one of ``v``."""
    more = (v.rank or 2) - 2
    return g.b.unsqueeze(keep, axes=tuple(range(2, 2 + more))) if more > 0 else keep


def looped(
    g: KerasContext, start: Sequence[Value], test: Callable[[Sequence[Value]], Value],
    step: Callable[[Sequence[Value]], list[Value]], limit: int | None,
) -> list[Value]:  # fmt: skip
    """While ``test`` holds, ``step``; at most ``limit`` times. A loop that counts to a number has its number of steps stated."""
    before = test(start)
    with building(g, "loop") as body:
        body.input("step", DType.INT64, ())
        body.input("go", DType.BOOL, ())
        now = [body.input(f"state{i}", v.dtype, v.shape) for i, v in enumerate(start)]
        new = step(now)
        same_kind(start, new)
        new = [body.bring(v) for v in new]
        count = _count(body, test(new), now, new, start)
        go = body.bring(test(new)) if count is None else body.const(True, DType.BOOL)
        body.graph.outputs = body.results([go, *new])
    if count is not None and limit is not None:
        count = min(count, limit)
    trips = count if count is not None else limit
    found = g.b.op(
        "loop", None if trips is None else g.b.const(trips, DType.INT64), before if count is None else None, *start,
        *body.captured, n_states=len(start), regions=[body.graph], n_outputs=len(start),
    )  # fmt: skip
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _count(body: Body, go: Value, now: Sequence[Value], new: Sequence[Value], start: Sequence[Value]) -> int | None:
    """How often a loop steps that goes on while a state which grows by a constant is less than another; None otherwise."""
    node = go.producer
    if node is None or node.op not in ("less", "less_equal"):
        return None
    x, bound = node.inputs
    if x is None or bound is None or x not in new or bound.tensor is None:
        return None
    i = list(new).index(x)
    first, adds = start[i].tensor, x.producer
    if first is None or adds is None or adds.op != "add" or now[i] not in adds.inputs:
        return None
    other = next((v for v in adds.inputs if v is not now[i]), None)
    if other is None or other.tensor is None or not all(v.dtype is not None and v.dtype.is_int for v in (x, bound)):
        return None
    a, n, by = (int(t.numpy().reshape(())) for t in (first, bound.tensor, other.tensor))
    if by < 1:
        return None
    return max(0, -(-(n + (node.op == "less_equal") - a) // by))
