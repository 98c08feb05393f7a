"""Branches, loops and wrapped regions: as regions of the IR, or in place where what decides is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DType, Graph, Origin, Problem, Shape, UnsupportedError, Value

from .files.program import Graph as Body
from .files.program import Node, Ref, Scope, refs, renamed
from .memory import Handle, Memory, perhaps

__all__ = ["handles", "run"]

_KINDS = frozenset({
    "higher_order.cond", "higher_order.while_loop", "higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast",
    "prim.If", "prim.RaiseIf",
})  # fmt: skip


def handles(kind: str) -> bool:
    return kind in _KINDS


def run(frame: Any, n: Node, kind: str, origin: Origin) -> None:
    """One node that holds graphs."""

    def refuse(why: str, code: str = "unsupported_op") -> UnsupportedError:
        return UnsupportedError(Problem(origin.layer, kind, why, "", code))

    if kind in ("higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast"):
        values = [a.value for a in n.arguments]
        body = next(v for v in values if isinstance(v, Body))
        at = values.index(body)
        if kind.endswith("autocast") and values[2] is not False:
            raise refuse("computes in mixed precision (autocast), whose casts the program does not show; export without autocast")
        inline(frame, body, values[at + 1 :], n)
    elif kind == "higher_order.cond":
        pred, then, other, operands = [a.value for a in n.arguments][:4]
        branch(frame, n, frame.resolve(pred), (then, other), operands, refuse)
    elif kind == "prim.If":
        pred, then, other = [a.value for a in n.arguments][:3]
        branch(frame, n, frame.resolve(pred), (then, other), None, refuse)
    elif kind == "prim.RaiseIf":
        raises(frame, n, refuse)
    else:
        loop(frame, n, refuse)


def raises(frame: Any, n: Node, refuse: Any) -> None:
    """An exception where a condition holds: nothing where it is known not to,
    left out, which is said, where it depends on data."""
    pred, when, message = [a.value for a in n.arguments][:3]
    value = frame.resolve(pred)
    if isinstance(value, Handle):
        frame.loader.notes.append(f"a check that depends on the data is left out: {message}")
        return
    if bool(value) is bool(when):
        raise refuse(f"raises an exception for these inputs: {message}", "raises")


def inline(frame: Any, body: Body, operands: Sequence[Any], n: Node, scopes: tuple[Scope, ...] | None = None) -> None:
    """The nodes of a body in the graph around it, as nodes of ``scopes`` where these are given."""
    values = [frame.resolve(o) for o in operands] if not body.captures else []
    if not body.captures:  # a closed body has names of its own
        body = renamed(body, f"{n.name}/{frame.serial()}:", scopes)
    kept = frame.body
    for name, v in zip(body.inputs, values):
        frame.bind(name, v)
    frame.body = _Both(body, kept)
    last, at = _all_read(frame, body), frame.at
    try:
        for m in body.nodes:
            frame.node(m)
    finally:
        frame.body = kept
        frame.last, frame.at = last, at
    results = [frame.resolve(o) for o in body.outputs]
    flat = [v for r in results for v in (r if isinstance(r, list) and len(results) == 1 else [r])]
    for name, v in zip(n.made(), flat):
        frame.bind(name, v)


def _all_read(frame: Any, body: Body) -> dict[str, float]:
    """Take every name a body uses as read until its end; gives what was known before."""
    last = dict(frame.last)
    inside = {r.name for o in body.outputs for r in refs(o)} | {
        r.name for m in body.nodes for a in m.arguments for r in refs(a.value)
    }
    frame.last.update(dict.fromkeys(inside, float("inf")))
    return last


class _Both:
    """A body whose values are known, and those of the one around it."""

    def __init__(self, body: Body, outer: Any) -> None:
        self.values = {**outer.values, **body.values}
        self.captures = False


def branch(frame: Any, n: Node, pred: Any, bodies: tuple[Body, Body], operands: Any, refuse: Any) -> None:
    """One side where the condition is known, else a region each."""
    if isinstance(pred, Handle) and pred.read().tensor is not None:
        pred = bool(pred.read().tensor.numpy().reshape(-1)[0])  # type: ignore[union-attr]
    if not isinstance(pred, Handle):
        inline(frame, bodies[0] if pred else bodies[1], operands or [], n)
        return
    outer = operands if operands is not None else [Ref(name) for name in free(bodies)]
    given = [(o.name if isinstance(o, Ref) else "", frame.resolve(o)) for o in outer]
    tensors = [v.read() for _, v in given if isinstance(v, Handle) and v.read().tensor is None]
    sides = [region(frame, b, given, operands is not None, refuse) for b in bodies]
    regions = [graph for graph, _ in sides]
    cond = frame.g.cast(frame.g.reshape(pred.read(), ()), DType.BOOL)
    types = [[(v.dtype, v.shape) for v in r.outputs] for r in regions]
    if [d for d, _ in types[0]] != [d for d, _ in types[1]]:
        raise refuse("its branches give different element types")
    outs = frame.b.node("if", [cond, *tensors], {}, regions=regions).outputs
    for i, (name, v) in enumerate(zip(n.made(), outs)):
        frame.bind(name, perhaps(list(dict.fromkeys(h for _, seen in sides for h in seen[i])), n.target, v))


def free(bodies: Sequence[Body]) -> list[str]:
    """Names that bodies use of the graphs around them."""
    found: dict[str, None] = {}

    def visit(body: Body, known: set[str]) -> None:
        known = known | set(body.inputs)
        for m in body.nodes:
            for a in m.arguments:
                if isinstance(a.value, Body):
                    visit(a.value, known)
                else:
                    found.update((r.name, None) for r in refs(a.value) if r.name not in known)
            known = known | set(m.made())
        found.update((r.name, None) for r in refs(body.outputs) if r.name not in known)

    for b in bodies:
        visit(b, set())
    return list(found)


def region(
    frame: Any, body: Body, given: Sequence[tuple[str, Any]], closed: bool, refuse: Any
) -> tuple[Graph, list[list[Handle]]]:
    """A body as a graph: tensors from outside are its inputs, weights its own constants, numbers stay numbers. With it, for each
    result, the tensors from outside whose memory it may share."""
    graph = Graph(body.name)
    inner = type(frame)(frame.loader, graph, body, frame)
    inner.base_path = frame.path
    names = body.inputs if closed else [name for name, _ in given]
    outside: dict[Memory, Handle] = {}
    for name, (_, v) in zip(names, given):
        if isinstance(v, Handle):
            outer: Value = v.read()
            twin = (
                graph.add_weight(outer.name, outer.tensor, like=outer)
                if outer.tensor is not None
                else graph.add_input(name, outer.dtype, outer.shape)
            )
            inner.driver.named.add(twin)
            if frame.driver.is_tainted(outer):
                inner.driver.taint([twin])
            outside[memory := Memory(twin, "captured", name)] = v
            v = Handle(memory)
        inner.bind(name, v)
    inner.nodes()
    shared: list[list[Handle]] = []
    for v in inner.flat(list(body.outputs)):
        shared.append([outside[m] for m in (v.memory, *v.also) if m in outside] if isinstance(v, Handle) else [])
        out = v.read() if isinstance(v, Handle) else inner.g.scalar(v, None)
        if out.producer is None or out in graph.outputs:
            out = inner.b.identity(out)
        graph.outputs.append(out)
    inner.finish()
    return graph, shared


def loop(frame: Any, n: Node, refuse: Any) -> None:
    """``while_loop(cond, body, carried, extra)`` as a loop without a number of steps."""
    cond, body, carried, extra = [a.value for a in n.arguments][:4]
    states = [frame.resolve(c) for c in carried]
    others = [frame.resolve(e) for e in extra]
    if not all(isinstance(s, Handle) for s in states):
        raise refuse("carries a number, not a tensor")
    values = [s.read() for s in states]
    shapes: list[tuple[DType | None, Shape | None]] = [(v.dtype, v.shape) for v in values]
    captured = [o.read() for o in others if isinstance(o, Handle) and o.read().tensor is None]
    graph = _loop_body(frame, (cond, body), shapes, others, refuse)
    first = _once(frame, cond, [*states, *others], n)
    outs = frame.b.op("loop", None, first, *values, *captured, n_states=len(values), regions=(graph,))
    for name, v in zip(n.made(), outs if isinstance(outs, (tuple, list)) else [outs]):
        frame.bind(name, Handle(Memory(v)))


def _once(frame: Any, cond: Body, given: Sequence[Any], n: Node) -> Value:
    """The condition for the first step."""
    g = _evaluated(frame, cond, given)
    first: Value = frame.g.cast(frame.g.reshape(g, ()), DType.BOOL)
    return first


def _evaluated(frame: Any, body: Body, given: Sequence[Any]) -> Value:
    """The one result of a closed body, in the graph around it."""
    body = renamed(body, f"{body.name}/{frame.serial()}:")
    for name, known in zip(body.inputs, given):
        frame.bind(name, known)
    kept, frame.body = frame.body, _Both(body, frame.body)
    last = _all_read(frame, body)
    try:
        for m in body.nodes:
            frame.node(m)
    finally:
        frame.body, frame.last = kept, last
    (out,) = frame.flat(list(body.outputs))
    made: Value = frame.g.scalar(out, None) if not isinstance(out, Handle) else out.read()
    return made


def _loop_body(frame: Any, bodies: tuple[Body, Body], states: Sequence[Any], others: Sequence[Any], refuse: Any) -> Graph:
    """(step, go on, *states, *captures) -> (go on, *states)."""
    cond, body = bodies
    graph = Graph(body.name)
    inner = type(frame)(frame.loader, graph, body, frame)
    inner.base_path = frame.path
    graph.add_input("step", DType.INT64, ())
    graph.add_input("go", DType.BOOL, ())
    given: list[Any] = []
    for i, (dtype, shape) in enumerate(states):
        given.append(Handle(Memory(graph.add_input(f"state_{i}", dtype, shape), "captured", f"state_{i}")))
    for i, o in enumerate(others):
        if isinstance(o, Handle):
            v = o.read()
            twin = (
                graph.add_weight(v.name, v.tensor, like=v)
                if v.tensor is not None
                else graph.add_input(f"outer_{i}", v.dtype, v.shape)
            )
            o = Handle(Memory(twin, "captured", twin.name))
        given.append(o)
    for name, v in zip(body.inputs, given):
        inner.bind(name, v)
    inner.nodes()
    results = list(inner.flat(list(body.outputs)))
    inner.body = cond
    again = _evaluated(inner, cond, [*results, *given[len(states) :]])
    outs = [inner.g.cast(inner.g.reshape(again, ()), DType.BOOL)]
    outs += [r.read() if isinstance(r, Handle) else inner.g.scalar(r, None) for r in results]
    for out in outs:
        graph.outputs.append(inner.b.identity(out) if out.producer is None or out in graph.outputs else out)
    inner.finish()
    return graph
