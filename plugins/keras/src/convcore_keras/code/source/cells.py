"""Cells of the source inside ``keras.layers.RNN``: one step worked through as the body of a scan.

Masks are those of ``keras.src.backend.common`` rnn (3.15.1) and ``K.rnn`` (2.15): a masked step keeps the states and repeats the
previous output, zeros before the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Builder, ForeignNode, Graph, Value, known_shape

from ...files.model import LayerConfig
from ...load_context import KerasContext, LayerCall
from ...recurrence import initial_states, main_input, sequence_mask, to_flags
from ..values import CodeRefused
from .custom import CustomCode, refusal
from .domain import SourceDomain

__all__ = ["run_cell"]


def run_cell(g: KerasContext, node: ForeignNode, cell: LayerConfig, code: CustomCode) -> Sequence[Value]:
    """The results of an RNN over a cell of the source. Raises UnsupportedError."""
    try:
        with g.b.attempt():
            return _run(g, node, cell, code)
    except CodeRefused as e:
        raise refusal(node, e) from e


def _run(g: KerasContext, node: ForeignNode, cell: LayerConfig, code: CustomCode) -> Sequence[Value]:
    flags = to_flags(node)
    node.attr("cell")
    if flags["time_major"]:
        raise CodeRefused("runs over sequences with the time first")
    x, b = main_input(node), g.b
    weights = {k[5:]: t for k, t in node.weights.items() if k.startswith("cell/")}
    inner = ForeignNode(node.type, f"{node.name}/{cell.name}", [], {}, weights=weights, origin=node.origin, extra=LayerCall(cell))
    d, obj = code.made(g, inner, cell)
    n, steps = known_shape(x, sizes=True)[:2]
    sizes = _sizes(d, obj, "state_size")
    given = initial_states(g, node, len(sizes))
    mask = sequence_mask(g, node, bool(given))
    if mask is not None and g.era in ("keras1", "keras2"):
        raise CodeRefused("is given a mask, which Keras 2 treats otherwise in each backend")
    d.settling = True
    if given:
        start = list(given)
    elif obj.cls.defines("get_initial_state"):
        start = _initial(d, obj, x, n)
    else:
        start = [b.fill(shape=(n, *s), value=0.0, dtype=x.dtype) for s in sizes]
    count = len(start)
    scanned = [x]
    if mask is not None:
        out = _sizes(d, obj, "output_size")[0] if obj.has(d, "output_size") else sizes[0]
        start.append(b.fill(shape=(n, *out), value=0.0, dtype=x.dtype))
        scanned.append(b.unsqueeze(mask, axes=(2,)))
    region = Graph("step")
    r = Builder(region, origin=node.origin)
    now = [r.input(f"state{i}", v.dtype, v.shape) for i, v in enumerate(start)]
    x_t = r.input("x", x.dtype, (n, *known_shape(x, sizes=True)[2:]))
    valid = [r.input("valid", "bool", (n, 1)) for _ in scanned[1:]]
    g.b = r
    try:
        result = d.call(obj, [x_t, now[:count]], {})
        d.host.weights.finish()
    finally:
        g.b = b
    y, new = _stepped(result, count)
    if valid:
        y = r.where(valid[0], y, r.like(y, 0) if flags["zero_output"] else now[count])
        new = [*(r.where(valid[0], a, s) for a, s in zip(new, now)), y]
    region.outputs = [*new, r.identity(y)]
    *ends, stacked = b.scan(
        *start, *scanned, regions=[region], n_states=len(start), n_scanned=len(scanned), scan_axis=(1,) * len(scanned),
        reverse=(int(flags["go_backwards"]),) * len(scanned), out_axes=(1,),
    )  # fmt: skip
    if flags["return_sequences"]:
        out_value = stacked
        g.set_mask(out_value, g.previous_mask(node))
    else:
        at = [slice(None)] * (stacked.rank or 3)
        out_value = _last(g, stacked, steps, len(at))
    states = ends[:count]
    return [out_value, *states] if flags["return_state"] else [out_value]


def _last(g: KerasContext, y: Value, steps: Any, rank: int) -> Value:
    starts, stops = [0] * rank, [None] * rank
    starts[1] = -1
    part = g.b.slice(y, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)
    out: Value = g.b.squeeze(part, axes=(1,))
    return out


def _sizes(d: SourceDomain, obj: Any, name: str) -> list[tuple[int, ...]]:
    """``state_size`` or ``output_size`` as a shape for each."""
    found = d.attribute(obj, name)
    items = list(found) if isinstance(found, (list, tuple)) else [found]
    shapes = [tuple(s) if isinstance(s, (list, tuple)) else (s,) for s in items]
    if not all(isinstance(k, int) for s in shapes for k in s):
        raise CodeRefused(f"has a {name} that is not known")
    return shapes


def _initial(d: SourceDomain, obj: Any, x: Value, n: Any) -> list[Value]:
    method = obj.find(d, "get_initial_state")
    names = method.function.parameters().names[1:]
    known = {"batch_size": n, "inputs": x, "dtype": str(x.dtype)}
    if not set(names) <= set(known):
        raise CodeRefused("has a get_initial_state with arguments that convcore does not know")
    made = d.call(method, [], {k: known[k] for k in names})
    items = list(made) if isinstance(made, (list, tuple)) else [made]
    if not all(isinstance(v, Value) for v in items):
        raise CodeRefused("starts with states that are no tensors")
    return items


def _stepped(result: Any, count: int) -> tuple[Value, list[Value]]:
    """What ``call`` of a cell gave: the output and the states."""
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        raise CodeRefused("is a cell whose call does not give an output and states")
    y, states = result
    new = list(states) if isinstance(states, (list, tuple)) else [states]
    if len(new) != count or not all(isinstance(v, Value) for v in (y, *new)):
        raise CodeRefused(f"is a cell that gives {len(new)} states instead of {count}")
    return y, new
