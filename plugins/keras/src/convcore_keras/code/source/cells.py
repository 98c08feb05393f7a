"""Cells of the source inside ``keras.layers.RNN``: one step worked through as the body of a scan.

Masks are those of ``keras.src.backend.common`` rnn (3.15.1) and ``K.rnn`` (2.15): a masked step keeps the states and repeats the
previous output, zeros before the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value, known_shape

from ...files.model import LayerConfig
from ...load_context import KerasContext, LayerCall
from ...recurrence import initial_states, main_input, sequence_mask, to_flags
from ..scans import recur
from ..values import CodeRefused
from .custom import refusal
from .domain import SourceDomain

__all__ = ["run_cells", "source_cells"]


def source_cells(g: KerasContext, cell: Any) -> list[tuple[LayerConfig, str]]:
    """The cells of an RNN with the prefixes of their variables, where the source defines all of them; else nothing."""
    stacked = isinstance(cell, LayerConfig) and cell.class_name == "StackedRNNCells" and not cell.custom
    found = cell.config.get("cells") if stacked else [cell]
    cells = [c for c in found or () if isinstance(c, LayerConfig) and g.source_of(c) is not None]
    if not found or len(cells) != len(found):
        return []
    return [(c, f"cell/cells/{i}/" if stacked else "cell/") for i, c in enumerate(cells)]


def run_cells(g: KerasContext, node: ForeignNode, cells: Sequence[tuple[LayerConfig, str]]) -> Sequence[Value]:
    """The results of an RNN over cells of the source, each given the output of the one before. Raises UnsupportedError."""
    try:
        with g.b.attempt():
            return _run(g, node, cells)
    except CodeRefused as e:
        raise refusal(node, e) from e


class _Cell:
    """One cell as an object of its source, with the sizes of its states."""

    def __init__(self, g: KerasContext, node: ForeignNode, cell: LayerConfig, prefix: str) -> None:
        code = g.source_of(cell)
        assert code is not None
        weights = {k.removeprefix(prefix): t for k, t in node.weights.items() if k.startswith(prefix)}
        place = f"{node.name}/{cell.name}"
        inner = ForeignNode(node.type, place, [], {}, weights=weights, origin=node.origin, extra=LayerCall(cell))
        self.d, self.object = code.made(g, inner, cell)
        self.sizes = _sizes(self.d, self.object, "state_size")

    def start(self, x: Value, n: Any) -> list[Value]:
        """The states before the first step."""
        if self.object.cls.defines("get_initial_state"):
            return _initial(self.d, self.object, x, n)
        return [self.d.host.g.b.fill(shape=(n, *s), value=0.0, dtype=x.dtype) for s in self.sizes]


def _run(g: KerasContext, node: ForeignNode, given_cells: Sequence[tuple[LayerConfig, str]]) -> Sequence[Value]:
    flags = to_flags(node, False)
    stack = node.attr("cell")
    if flags["time_major"]:
        raise CodeRefused("runs over sequences with the time first")
    if len(given_cells) > 1 and (g.era not in ("tf.keras", "keras3") or stack.config.get("reverse_state_order")):
        raise CodeRefused("is one of stacked cells, whose states Keras before 2.3 has in another order")
    x = main_input(node)
    cells = [_Cell(g, node, c, prefix) for c, prefix in given_cells]
    n, steps = known_shape(x, sizes=True)[:2]
    sizes = [s for c in cells for s in c.sizes]
    given = initial_states(g, node, len(sizes))
    mask = sequence_mask(g, node, bool(given))
    if mask is not None and g.era in ("keras1", "keras2"):
        raise CodeRefused("is given a mask, which Keras 2 treats otherwise in each backend")
    for c in cells:
        c.d.settling = True
    starts = _parts(given, [len(c.sizes) for c in cells]) if given else [c.start(x, n) for c in cells]
    start = [v for part in starts for v in part]

    def step(now: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        y, new = parts[0], []
        for c, states in zip(cells, _parts(now, [len(p) for p in starts]), strict=True):
            y, after = _stepped(c.d.call(c.object, [y, states], {}), len(states))
            new += after
            c.d.host.weights.finish()
        return new, [y]

    ends, stacked = recur(g, x, start, step, mask=mask, zero=flags["zero_output"], reverse=flags["go_backwards"])
    if flags["return_sequences"]:
        out_value = stacked
        g.set_mask(out_value, g.previous_mask(node))
    else:
        at = [slice(None)] * (stacked.rank or 3)
        out_value = _last(g, stacked, steps, len(at))
    return [out_value, *ends] if flags["return_state"] else [out_value]


def _last(g: KerasContext, y: Value, steps: Any, rank: int) -> Value:
    starts, stops = [0] * rank, [None] * rank
    starts[1] = -1
    part = g.b.slice(y, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)
    out: Value = g.b.squeeze(part, axes=(1,))
    return out


def _parts(items: Sequence[Value], sizes: Sequence[int]) -> list[list[Value]]:
    rest = iter(items)
    return [[next(rest) for _ in range(n)] for n in sizes]


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
