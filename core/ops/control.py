"""Control flow. The bodies are graphs of their own (regions); what they use from outside is passed to them explicitly.

A region's weights are its own constants. Names of symbolic sizes mean the same inside and outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Graph, Value
from ..opset.declare import Attr, OpSet
from ..opset.infer import InferContext
from ..opset.traits import Trait
from .unrolled import if_body, loop_body, scan_body
from .windows import Array

CONTROL = OpSet("control")

Shapes = list[tuple[DType | None, Shape | None]]


def _check_region(c: InferContext, region: Graph, given: Sequence[tuple[DType | None, Shape | None]], what: str) -> None:
    """The region's inputs must fit what they are bound to."""
    if len(region.inputs) != len(given):
        c.fail(f"{what} takes {len(region.inputs)} inputs, is given {len(given)}")
    for inner, (dtype, shape) in zip(region.inputs, given):
        if inner.dtype is not None and dtype is not None and inner.dtype != dtype:
            c.fail(f"{what}: input {inner.name!r} is {inner.dtype}, is given {dtype}")
        if inner.shape is not None and shape is not None:
            if len(inner.shape) != len(shape):
                c.fail(f"{what}: input {inner.name!r} has {len(inner.shape)} axes, is given {len(shape)}")
            for a, b in zip(inner.shape, shape):
                c.same(a, b, f"{what}: input {inner.name!r}")


def _merge(a: Shape | None, b: Shape | None) -> Shape | None:
    """What both shapes agree on."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(m if m == n else None for m, n in zip(a, b))


def _insert(shape: Shape | None, axis: int, size: DimLike | None) -> Shape | None:
    if shape is None:
        return None
    at = axis % (len(shape) + 1)
    return (*shape[:at], size, *shape[at:])


# ---- scan
def _scan_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    states, scanned = attrs["n_states"], attrs["n_scanned"]
    if states < 0 or scanned < 1 or states + scanned > len(inputs):
        raise ShapeError(f"scan: {states} states and {scanned} scanned inputs do not fit {len(inputs)} inputs")
    if any(v is None for v in inputs):
        raise ShapeError("scan: no input may be omitted")
    for name in ("scan_axis", "reverse"):
        if attrs[name] is None:
            attrs[name] = (0,) * scanned
        if len(attrs[name]) != scanned:
            raise ShapeError(f"scan: {name}={attrs[name]} must have one entry per scanned input ({scanned})")
    axes = []
    for a, v in zip(attrs["scan_axis"], inputs[states : states + scanned]):
        rank = None if v is None else v.rank
        if rank is not None and not -rank <= a < rank:
            raise ShapeError(f"scan: scan_axis {a} is out of range for {rank} axes")
        axes.append(a if rank is None else a % rank)
    attrs["scan_axis"] = tuple(axes)


def _stacked(c: InferContext, count: int) -> tuple[Sequence[int], Sequence[int]]:
    axes = c["out_axes"] or (0,) * count
    reverse = c["out_reverse"] or (0,) * count
    if len(axes) != count or len(reverse) != count:
        c.fail(f"out_axes={axes} and out_reverse={reverse} must have one entry per stacked output ({count})")
    return axes, reverse


def _scan_shape(c: InferContext) -> Shapes:
    n_states, n_scanned = c["n_states"], c["n_scanned"]
    values = c.all("values")
    region: Graph = c["regions"][0]
    states, scanned, captures = (
        values[:n_states],
        values[n_states : n_states + n_scanned],
        values[n_states + n_scanned :],
    )
    length: DimLike | None = None
    given = [(v.dtype, v.shape) for v in states]
    for v, axis in zip(scanned, c["scan_axis"]):
        shape = v.shape
        if shape is not None:
            length = c.same(length, shape[axis], "lengths of the scanned inputs")
            shape = (*shape[:axis], *shape[axis + 1 :])
        given.append((v.dtype, shape))
    given += [(v.dtype, v.shape) for v in captures]
    _check_region(c, region, given, "the body")
    if len(region.outputs) < n_states:
        c.fail(f"the body has {len(region.outputs)} outputs for {n_states} states")
    results: Shapes = []
    for v, out in zip(states, region.outputs):
        if v.dtype != out.dtype:
            c.fail(f"the state {v} becomes {out.dtype}")
        if v.shape is not None and out.shape is not None:
            if len(v.shape) != len(out.shape):
                c.fail(f"the state {v} becomes {out}")
            for a, b in zip(v.shape, out.shape):
                c.same(a, b, f"the state {v} becomes {out}")
        results.append((v.dtype, v.shape))
    stacked = region.outputs[n_states:]
    axes, _ = _stacked(c, len(stacked))
    return results + [(v.dtype, _insert(v.shape, a, length)) for v, a in zip(stacked, axes)]


def _scan(
    *values: Array,
    n_states: int,
    n_scanned: int,
    scan_axis: Any,
    reverse: Any,
    out_axes: Any,
    out_reverse: Any,
    run: Any,
) -> Any:
    states, captures = list(values[:n_states]), values[n_states + n_scanned :]
    scanned = [np.moveaxis(x, a, 0) for x, a in zip(values[n_states : n_states + n_scanned], scan_axis)]
    scanned = [x[::-1] if r else x for x, r in zip(scanned, reverse)]
    lengths = {len(x) for x in scanned}
    if len(lengths) != 1:
        raise ValueError(f"scanned inputs have different lengths {sorted(lengths)}")
    body = run[0]
    rows: list[list[Array]] = []
    for t in range(lengths.pop()):
        out = body(*states, *(x[t] for x in scanned), *captures)
        states = out[:n_states]
        rows.append(out[n_states:])
    return (*states, *_stack(rows, body, n_states, out_axes, out_reverse))


def _stack(rows: list[list[Array]], body: Any, skip: int, axes: Any = None, reverse: Any = None) -> list[Array]:
    """Rows of outputs as arrays; with no row at all the body's declared shapes give empty ones."""
    columns = [list(c) for c in zip(*rows)] if rows else [[] for _ in body.outputs[skip:]]
    result = []
    for i, column in enumerate(columns):
        axis = axes[i] if axes else 0
        if not column:
            dtype, shape = body.outputs[skip + i]
            axis %= len(shape) + 1
            result.append(np.empty((*shape[:axis], 0, *shape[axis:]), dtype))
        else:
            result.append(np.stack(column[::-1] if reverse and reverse[i] else column, axis))
    return result


CONTROL.op(
    "scan", "values:value*",
    "values = states, scanned, captures. For t over the scanned axis: body(states, slices at t, captures) gives the new states "
    "and "
    "one slice per stacked output. Results: final states, then the stacked outputs. ``reverse`` (0 or 1 per scanned input) takes "
    "slices from the end; ``out_reverse`` puts the first step's slice last.",
    outputs="ys*", regions=1,
    attrs={
        "n_states": Attr("int"), "n_scanned": Attr("int"),
        "scan_axis": Attr("ints", None, doc="scanned axis per scanned input (default 0)"),
        "reverse": Attr("ints", None, doc="0 or 1 per scanned input (default 0)"),
        "out_axes": Attr("ints", None, doc="stacked axis per stacked output (default 0)"),
        "out_reverse": Attr("ints", None, doc="0 or 1 per stacked output (default 0)"),
    },
    infer=_scan_shape, reference=_scan, normalize=_scan_attrs, body=scan_body,
    traits=Trait.NO_FOLD | Trait.HEAVY,
)  # fmt: skip


# ---- if
def _if_shape(c: InferContext) -> Shapes:
    c.rank("cond", 0)
    then, other = c["regions"]
    captures = [(v.dtype, v.shape) for v in c.all("captures")]
    _check_region(c, then, captures, "the then branch")
    _check_region(c, other, captures, "the else branch")
    if len(then.outputs) != len(other.outputs):
        c.fail(f"the branches have {len(then.outputs)} and {len(other.outputs)} outputs")
    results: Shapes = []
    for a, b in zip(then.outputs, other.outputs):
        if a.dtype != b.dtype:
            c.fail(f"the branches give {a} and {b}")
        results.append((a.dtype, _merge(a.shape, b.shape)))
    return results


def _if(cond: Array, *captures: Array, run: Any) -> Any:
    if cond.size != 1:
        raise ValueError(f"the condition has shape {cond.shape}, must be a scalar")
    return tuple(run[0 if bool(cond.reshape(())) else 1](*captures))


CONTROL.op(
    "if", "cond:bool, captures:value*",
    "The outputs of the first region where cond (a scalar) holds, else of the second; both take the captures.",
    outputs="ys*", regions=2, infer=_if_shape, reference=_if, body=if_body,
    traits=Trait.NO_FOLD,
)  # fmt: skip


# ---- loop
def _loop_shape(c: InferContext) -> Shapes:
    c.rank("trip_count", 0)
    c.rank("cond", 0)
    n, values, region = c["n_states"], c.all("values"), c["regions"][0]
    if not 0 <= n <= len(values):
        c.fail(f"{n} states do not fit {len(values)} values")
    scalars: Shapes = [(DType.INT64, ()), (DType.BOOL, ())]
    states = [(v.dtype, inner.shape) for v, inner in zip(values[:n], region.inputs[2:])]
    _check_region(c, region, scalars + states + [(v.dtype, v.shape) for v in values[n:]], "the body")
    if len(region.outputs) < 1 + n:
        c.fail(f"the body has {len(region.outputs)} outputs, needs the condition and {n} states")
    if region.outputs[0].dtype not in (None, DType.BOOL):
        c.fail(f"the body's first output, the condition, is {region.outputs[0].dtype}")
    results: Shapes = []
    for v, out in zip(values[:n], region.outputs[1:]):
        if v.dtype != out.dtype:
            c.fail(f"the state {v} becomes {out.dtype}")
        results.append((v.dtype, _merge(v.shape, out.shape)))
    return results + [(v.dtype, _insert(v.shape, 0, None)) for v in region.outputs[1 + n :]]


def _loop(trip_count: Array | None, cond: Array | None, *values: Array, n_states: int, run: Any) -> Any:
    states, captures = list(values[:n_states]), values[n_states:]
    limit = None if trip_count is None else int(trip_count.reshape(()))
    go, body = True if cond is None else bool(cond.reshape(())), run[0]
    rows: list[list[Array]] = []
    t = 0
    while go and (limit is None or t < limit):
        out = body(np.asarray(t, np.int64), np.asarray(go), *states, *captures)
        go, states = bool(np.asarray(out[0]).reshape(())), out[1 : 1 + n_states]
        rows.append(out[1 + n_states :])
        t += 1
    return (*states, *_stack(rows, body, 1 + n_states))


CONTROL.op(
    "loop", "trip_count:int?, cond:bool?, values:value*",
    "values = states, captures. While the condition holds (and fewer than trip_count steps are done): body(step, condition, "
    "states, "
    "captures) gives the next condition, the new states and slices. Results: final states, then the slices stacked along axis 0 "
    "(ONNX Loop). Without trip_count and condition it does not end by itself.",
    outputs="ys*", regions=1, attrs={"n_states": Attr("int")}, infer=_loop_shape, reference=_loop, body=loop_body,
    traits=Trait.NO_FOLD | Trait.HEAVY, roles={"index": "trip_count"},
)  # fmt: skip
