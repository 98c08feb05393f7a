"""Control flow: If, Loop and Scan. What a subgraph uses from outside becomes inputs of its region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Builder, DType, ForeignNode, Graph, Node, NotExpressible, Problem, Shape, UnsupportedError, Value

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES

_COUNTER = [(DType.INT64, ()), (DType.BOOL, ())]


@RULES.load("If")
def load_if(g: OnnxContext, node: ForeignNode) -> Any:
    """A branch whose condition is known (exporters ask for the number of axes) takes the place of the node."""
    then, other = node.attr("then_branch"), node.attr("else_branch")
    cond = node.need(0)
    known = g.known(cond)
    if known is not None and known.size == 1:
        return g.inline(then if known.reshape(-1)[0] else other)
    captured = g.captures([then, other])
    regions = [g.region(sub, [], captured) for sub in (then, other)]
    return g.b.op("if", g.scalar(cond), *captured[1], regions=regions)


def _general(a: Shape | None, b: Shape | None) -> Shape | None:
    """What two shapes agree on."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(m if m == n else None for m, n in zip(a, b))


def _stable(
    g: OnnxContext, sub: Any, lead: Sequence[Any], states: Sequence[Value], rest: Sequence[Any], captured: Any, skip: int
) -> Graph:
    """The body with state shapes that hold at every step: those of the first, less what the body changes."""
    types = [(v.dtype, v.shape) for v in states]
    while True:
        region: Graph = g.region(sub, [*lead, *types, *rest], captured)
        merged = [(d, _general(s, out.shape)) for (d, s), out in zip(types, region.outputs[skip:])]
        if merged == types:
            return region
        types = merged


@RULES.load("Loop")
def load_loop(g: OnnxContext, node: ForeignNode) -> Any:
    body = node.attr("body")
    trips, cond = node.input(0), node.input(1)
    states = node.needed(2)
    if g.scope.depth > 8:
        raise node.refuse("loops are nested more than 8 deep")
    captured = g.captures([body])
    region = _stable(g, body, _COUNTER, states, [], captured, 1)
    return g.b.op(
        "loop", None if trips is None else g.scalar(trips), None if cond is None else g.scalar(cond), *states, *captured[1],
        n_states=len(states), regions=(region,),
    )  # fmt: skip


@RULES.load("Scan", since=9)
def load_scan(g: OnnxContext, node: ForeignNode) -> Any:
    body, count = node.attr("body"), node.attr("num_scan_inputs")
    n_states = len(node.inputs) - count
    if n_states < 0 or count < 1:
        raise node.refuse(f"num_scan_inputs={count} does not fit {len(node.inputs)} inputs")
    if g.scope.depth > 8:
        raise node.refuse("loops are nested more than 8 deep")
    states, scanned = node.needed()[:n_states], node.needed(n_states)
    axes = node.attr("scan_input_axes", None) or (0,) * count
    slices = []
    for v, axis in zip(scanned, axes):
        shape = None if v.shape is None else list(v.shape)
        if shape is not None:
            if not -len(shape) <= axis < len(shape):
                raise node.refuse(f"scan axis {axis} of an input with {len(shape)} axes")
            del shape[axis]
        slices.append((v.dtype, None if shape is None else tuple(shape)))
    captured = g.captures([body])
    region = _stable(g, body, [], states, slices, captured, 0)
    return g.b.op(
        "scan", *states, *scanned, *captured[1], n_states=n_states, n_scanned=count, scan_axis=axes,
        reverse=node.attr("scan_input_directions", None) or None, out_axes=node.attr("scan_output_axes", None) or None,
        out_reverse=node.attr("scan_output_directions", None) or None, regions=(region,),
    )  # fmt: skip


@RULES.load("Scan", until=8)
def load_scan_of_batches(g: OnnxContext, node: ForeignNode) -> Any:
    """The first version goes over the second axis, for each element of the first by itself: a scan within a scan."""
    body, count, back = node.attr("body"), node.attr("num_scan_inputs"), node.attr("directions", None) or None
    if node.input(0) is not None:
        raise node.refuse("sequences of different lengths (sequence_lens)")
    values = node.needed(1)
    n_states = len(values) - count
    if n_states < 0 or count < 1:
        raise node.refuse(f"num_scan_inputs={count} does not fit {len(values)} inputs")
    if g.scope.depth > 8:
        raise node.refuse("loops are nested more than 8 deep")
    if any(v.shape is None or len(v.shape) < (1 if i < n_states else 2) for i, v in enumerate(values)):
        raise NotExpressible("the shapes of what it goes over are not known", "unknown_shape")
    one = [Value(v.name, v.dtype, (v.shape or ())[1:]) for v in values]
    captured = g.captures([body])
    step = _stable(g, body, [], one[:n_states], [(v.dtype, (v.shape or ())[1:]) for v in one[n_states:]], captured, 0)
    each = Graph(f"{node.name}/each")
    b = Builder(each, origin=g.b.origin)
    inside = [b.input(v.name, v.dtype, v.shape) for v in (*one, *captured[1])]
    each.outputs = list(b.op("scan", *inside, n_states=n_states, n_scanned=count, reverse=back, regions=(step,)))
    return g.b.op("scan", *values, *captured[1], n_states=0, n_scanned=len(values), regions=(each,))


def _regions(e: OnnxScribe, node: Node, bound: Sequence[Value | None], formal: int) -> list[Any]:
    """All regions of a node; the problems of all of them together."""
    made, problems = [], []
    for region in node.regions:
        try:
            made.append(e.region(region, bound, formal))
        except UnsupportedError as err:
            problems += [p for p in err.problems if p not in problems]
    if problems:
        raise UnsupportedError([Problem(p.layer, p.type, p.why, p.hint, p.code) for p in problems])
    return made


@RULES.emit("if")
def emit_if(e: OnnxScribe, node: Node) -> None:
    then, other = _regions(e, node, node.inputs[1:], 0)
    attrs = {"then_branch": then, "else_branch": other}
    cond = node.need("cond")
    up = cond.producer
    if up is not None and up.op == "reshape":  # "The tensor must contain a single element", of whatever axes (If of onnx.defs)
        before = up.need("x")
        cond = before if before.shape is not None and all(n == 1 for n in before.shape) else cond
    e.call("If", [e.value(cond)], attrs, outputs=node.outputs, name=node.name)


@RULES.emit("loop")
def emit_loop(e: OnnxScribe, node: Node) -> None:
    n = node.attrs["n_states"]
    trips, cond, *values = node.inputs
    if trips is None and cond is None:
        raise NotExpressible("a loop without trip count and condition has no end")
    (body,) = _regions(e, node, values[n:], 2 + n)
    ins = [None if v is None else e.value(v) for v in (trips, cond, *values[:n])]
    e.call("Loop", ins, {"body": body}, outputs=node.outputs, name=node.name)


@RULES.emit("scan")
def emit_scan(e: OnnxScribe, node: Node) -> None:
    a = node.attrs
    n = a["n_states"] + a["n_scanned"]
    (body,) = _regions(e, node, node.inputs[n:], n)
    attrs: dict[str, Any] = {"body": body, "num_scan_inputs": a["n_scanned"]}
    for ours, theirs in (
        ("scan_axis", "scan_input_axes"), ("reverse", "scan_input_directions"), ("out_axes", "scan_output_axes"),
        ("out_reverse", "scan_output_directions"),
    ):  # fmt: skip
        if a[ours] is not None and any(a[ours]):
            attrs[theirs] = list(a[ours])
    e.call("Scan", [e.value(v) for v in node.args("values")[:n]], attrs, outputs=node.outputs, name=node.name)
