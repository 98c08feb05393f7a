"""Branches, loops and wrapped regions: as regions of the IR, or in place where what decides is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Dim, DType, Graph, Origin, Problem, Shape, UnsupportedError, Value

from .files.program import Graph as Body
from .files.program import Node, Ref, Scope, refs, renamed
from .memory import Handle, Memory, perhaps
from .writes import alive

__all__ = ["handles", "run"]

_KINDS = frozenset({
    "higher_order.cond", "higher_order.while_loop", "higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast",
    "higher_order.scan", "higher_order.map_impl", "prim.If", "prim.RaiseIf", "prim.Loop",
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
    elif kind == "prim.Loop":
        script_loop(frame, n, refuse)
    elif kind in ("higher_order.scan", "higher_order.map_impl"):
        scan(frame, n, kind, refuse)
    else:
        loop(frame, n, refuse)


def raises(frame: Any, n: Node, refuse: Any) -> None:
    """An exception where a condition holds: nothing where it is known not to,
    left out, which is said, where it depends on data."""
    pred, when, message = [a.value for a in n.arguments][:3]
    value = frame.resolve(pred)
    if isinstance(value, Handle):
        frame.loader.notes.append(f"a check that depends on data or on free sizes is left out{f': {message}' if message else ''}")
        return
    if bool(value) is bool(when):
        raise refuse(f"raises an exception for these inputs: {message}", "raises")


def inline(frame: Any, body: Body, operands: Sequence[Any], n: Node, scopes: tuple[Scope, ...] | None = None) -> None:
    """The nodes of a body in the graph around it, as nodes of ``scopes`` where these are given."""
    values = [frame.resolve(o) for o in operands] if not body.captures else []
    if not body.captures:  # a closed body has names of its own
        body = renamed(body, f"{n.name}/{frame.serial()}:", scopes)
    results = _in_place(frame, body, values)
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
    if any(v.dtype != w.dtype and None not in (v.dtype, w.dtype) for v, w in zip(*(r.outputs for r in regions))):
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
    _captures(frame, inner, [(name, v) for name, (_, v) in zip(names, given)], outside)
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
    (out,) = frame.flat(_in_place(frame, renamed(body, f"{body.name}/{frame.serial()}:"), given))
    made: Value = frame.g.scalar(out, None) if not isinstance(out, Handle) else out.read()
    return made


def _in_place(frame: Any, body: Body, given: Sequence[Any]) -> list[Any]:
    """The results of a body, whose names nothing else has, in the graph around it."""
    for name, known in zip(body.inputs, given):
        frame.bind(name, known)
    kept, frame.body = frame.body, _Both(body, frame.body)
    last, at = _all_read(frame, body), frame.at
    try:
        for m in body.nodes:
            frame.node(m)
    finally:
        frame.body, frame.last, frame.at = kept, last, at
    return [frame.resolve(o) for o in body.outputs]


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


def scan(frame: Any, n: Node, kind: str, refuse: Any) -> None:
    """``scan(body, states, scanned, extra)`` and ``map_impl(body, scanned, extra)``: over axis 0 of what is scanned. The body
    gives the next states, which keep their types and shapes, and what is stacked."""
    body, *rest = [a.value for a in n.arguments]
    lists = [[frame.resolve(v) for v in (r if isinstance(r, (list, tuple)) else [r])] for r in rest]
    states, scanned, extra = ([[], *lists, []] if kind.endswith("map_impl") else [*lists, []])[:3]
    if not scanned or not all(isinstance(h, Handle) for h in (*states, *scanned)):
        raise refuse("goes over something that is no tensor")
    graph = Graph(body.name)
    inner = type(frame)(frame.loader, graph, body, frame)
    inner.base_path = frame.path
    names = iter(body.inputs)
    outside: dict[Memory, Handle] = {}
    for h, part in [*((h, False) for h in states), *((h, True) for h in scanned)]:
        v, name = h.read(), next(names)
        twin = graph.add_input(name, v.dtype, v.shape if v.shape is None or not part else v.shape[1:])
        inner.driver.named.add(twin)
        outside[memory := Memory(twin, "captured", name)] = h
        inner.bind(name, Handle(memory))
    captured = _captures(frame, inner, list(zip(names, extra)), outside)
    inner.nodes()
    results = list(inner.flat(list(body.outputs)))
    for h, r in zip(states, results):
        old, new = h.read(), _value(inner, r, None)
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            raise refuse(f"carries {old.dtype}{_sizes(old)} into a step and {new.dtype}{_sizes(new)} out of it")
    for r in results:
        v = _value(inner, r, None)
        graph.outputs.append(inner.b.identity(v) if v.producer is None or v in graph.outputs else v)
    inner.finish()
    values = [h.read() for h in (*states, *scanned)]
    attrs = {"n_states": len(states), "n_scanned": len(scanned)}
    outs = frame.b.node("scan", [*values, *captured], attrs, regions=[graph]).outputs
    for name, v in zip(n.made(), outs):
        frame.bind(name, Handle(Memory(v)))


# ---------------------------------------------------------------- TorchScript
def script_loop(frame: Any, n: Node, refuse: Any) -> None:
    """``prim.Loop(count, condition, carried, body)``: the body takes (index, carried...) and the names around it, and gives
    (go on, carried...). Types and shapes of what is carried have to stay what they are before the first step."""
    count, go, carried, body = [a.value for a in n.arguments][:4]
    held = [frame.resolve(c) for c in carried]
    if _counts_sizes(frame.resolve(count), frame.resolve(go), held, body):
        _unroll(frame, n, frame.resolve(count), held, body)
        return
    starts = [_held(frame, h, refuse) for h in held]
    given = [(name, frame.resolve(Ref(name))) for name in free([body])]
    graph = Graph(body.name)
    inner = type(frame)(frame.loader, graph, body, frame)
    inner.base_path = frame.path
    step, _ = graph.add_input("step", DType.INT64, ()), graph.add_input("go", DType.BOOL, ())
    index, *names = body.inputs
    inner.bind(index, Handle(Memory(step, "", index)))
    outside: dict[Memory, Handle] = {}
    for name, h in zip(names, starts):
        v = h.read()
        memory = Memory(graph.add_input(name, v.dtype, v.shape), "" if _alone(frame, h) else "captured", name)
        outside[memory] = h
        inner.bind(name, Handle(memory))
    captured = _captures(frame, inner, given, outside)
    inner.nodes()
    again, *results = [next(iter(inner.flat([o]))) for o in body.outputs]
    made, seen = [inner.g.cast(inner.g.reshape(_value(inner, again, None), ()), DType.BOOL)], []
    for name, r, h in zip(names, results, starts):
        old = h.read()
        v = _value(inner, r, old.dtype)
        if (v.dtype, v.shape) != (old.dtype, old.shape) or v.shape is None or None in v.shape:
            raise refuse(f"carries {name!r} as {old.dtype}{_sizes(old)} into a step and as {v.dtype}{_sizes(v)} out of it")
        made.append(v)
        seen.append([h, *(outside[m] for m in (r.memory, *r.also) if m in outside)] if isinstance(r, Handle) else [h])
    for v in made:
        graph.outputs.append(inner.b.identity(v) if v.producer is None or v in graph.outputs else v)
    inner.finish()
    steps = None if count is None else _value(frame, frame.resolve(count), DType.INT64)
    first = frame.resolve(go)
    cond = None if first is True else frame.g.cast(frame.g.reshape(_value(frame, first, None), ()), DType.BOOL)
    outs = frame.b.node("loop", [steps, cond, *(h.read() for h in starts), *captured], {"n_states": len(starts)}, regions=[graph])
    for name, v, bases in zip(n.made(), outs.outputs, seen):
        frame.bind(name, perhaps(list(dict.fromkeys(bases)), n.target, v))


UNROLLED = 64
"""Steps of a loop over sizes that are written one after the other."""


def _counts_sizes(count: Any, go: Any, carried: Sequence[Any], body: Body) -> bool:
    """Whether a loop computes with sizes or whole numbers alone, a known number of times (``_verify_batch_size`` of
    ``torch.nn.functional``): a size is no tensor that could be carried, nor a tensor a size."""
    plain = bool(carried) and all(isinstance(c, (int, Dim)) for c in carried)
    whole = not any(isinstance(a.value, Body) for m in body.nodes for a in m.arguments) and body.outputs[:1] == (True,)
    return plain and whole and go is True and isinstance(count, int) and count <= UNROLLED


def _unroll(frame: Any, n: Node, count: int, carried: Sequence[Any], body: Body) -> None:
    """The steps one after the other."""
    for step in range(count):
        carried = _in_place(frame, renamed(body, f"{n.name}/{frame.serial()}:"), [step, *carried])[1:]
    for name, v in zip(n.made(), carried):
        frame.bind(name, v)


def _held(frame: Any, value: Any, refuse: Any) -> Handle:
    """What is carried, numbers as tensors without axes."""
    if isinstance(value, Handle):
        return value
    if not isinstance(value, (bool, int, float, Dim)):
        raise refuse(f"carries {value!r:.60}, no tensor and no number")
    return Handle(Memory(frame.g.scalar(value, None)))


def _value(frame: Any, value: Any, dtype: DType | None) -> Value:
    found: Value = value.read() if isinstance(value, Handle) else frame.g.scalar(value, dtype)
    return found


def _sizes(v: Value) -> str:
    return "[]" if v.shape == () else "" if v.shape is None else f"[{', '.join(map(str, v.shape))}]"


def _alone(frame: Any, h: Handle) -> bool:
    """Whether a write into a tensor that is carried into a loop is seen by nobody else."""
    m = h.memory
    return m.kind == "" and not h.also and not h.steps and not any(alive(frame, o) for o in (*m.handles, *m.strangers))


def _captures(frame: Any, inner: Any, given: Sequence[tuple[str, Any]], outside: dict[Memory, Handle]) -> list[Value]:
    """Names of the graph around as inputs of a body, weights as constants of its own; the tensors that are given to it."""
    captured: list[Value] = []
    for name, h in given:
        if isinstance(h, Handle):
            v = h.read()
            if v.tensor is None:
                captured.append(v)
                twin = inner.graph.add_input(name, v.dtype, v.shape)
            else:
                twin = inner.graph.add_weight(v.name, v.tensor, like=v)
            inner.driver.named.add(twin)
            if frame.driver.is_tainted(v):
                inner.driver.taint([twin])
            outside[memory := Memory(twin, "captured", name)] = h
            h = Handle(memory)
        inner.bind(name, h)
    return captured
