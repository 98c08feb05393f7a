"""Picking elements: slice, gather, masks, triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, Dim, DimLike, DType, ForeignNode, I, Node, NotExpressible, dim_max, isomorphism, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .shapes_in import FAR, known_ints, scalar_size, size_list, spread
from .shapes_out import size_scalar
from .steps import Steps, dtype_known

# ---- slice


def _bound(n: Any, v: DimLike) -> DimLike:
    """A position; a symbolic one that is negative by its signs counts from the end of an axis of size ``n``. What may be either
    (64 - time) stays: where it is run, it counts as it does in ONNX."""
    if not isinstance(v, Dim) or any(c > 0 for c, _ in v.terms):
        return v
    if n is None:
        raise NotExpressible(f"the position {v} counts from the end of an axis of unknown size", "unknown_shape")
    return dim_max(n + v, 0)


def _sliced(g: OnnxContext, node: ForeignNode, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    x = node.need(0)
    shape = known_shape(x)
    rank = len(shape)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(steps):
        raise node.refuse(f"{len(starts)} starts, {len(ends)} ends and {len(steps)} steps")
    first = spread(node, starts, axes, rank, 0)
    last: list[Any] = spread(node, ends, axes, rank, None)
    by = spread(node, steps, axes, rank, 1)
    for i in range(rank):
        if by[i] < 0 and any(isinstance(v, Dim) for v in (first[i], last[i])):
            raise NotExpressible("it goes backward from or to a counted position, which may be before the first", "unknown_shape")
        first[i] = _bound(shape[i], first[i])
        if by[i] < 0 and isinstance(first[i], int) and isinstance(shape[i], int) and first[i] < -shape[i]:
            first[i] = 0  # ONNX limits a backward start to the first element; Python's slice would be empty
        if isinstance(last[i], int) and (last[i] >= FAR if by[i] > 0 else last[i] <= -FAR):
            last[i] = None
        elif last[i] is not None:
            last[i] = _bound(shape[i], last[i])
    return g.b.slice(x, starts=first, stops=last, steps=by)


@RULES.load("Slice", until=9)
def slice_by_attributes(g: OnnxContext, node: ForeignNode) -> Any:
    return _sliced(g, node, node.attr("starts"), node.attr("ends"), node.attr("axes", None), None)


@RULES.load("Slice", since=10, priority=1)
def slice_of_sizes(g: OnnxContext, node: ForeignNode) -> Any:
    starts, ends = size_list(g, node, 1, "starts"), size_list(g, node, 2, "ends")
    return _sliced(g, node, starts, ends, known_ints(g, node, 3, "axes"), known_ints(g, node, 4, "steps"))


RULES.op(
    "Slice", "dynamic_slice", "data=x, starts=starts, ends=stops, axes=_, steps=steps", since=10,
    axes=I("axes", iso="int_tuple"), types={"starts": "int64"},
)  # fmt: skip


@RULES.load("Slice", since=10, priority=-1)
def slice_by_other_bounds(g: OnnxContext, node: ForeignNode) -> Any:
    """Bounds of int32 as int64, which is what the axes are written as (one type for all, Tind); without axes they are of the
    first ones."""
    x, bounds = node.need(0), [node.need(1), node.need(2), node.input(4)]
    starts, ends, steps = (v if v is None or v.dtype is DType.INT64 else g.b.cast(v, to="int64") for v in bounds)
    assert starts is not None and ends is not None
    given = node.input(3)
    if given is not None and g.known(given) is None:
        return g.b.dynamic_slice(x, starts, ends, steps, given if given.dtype is DType.INT64 else g.b.cast(given, to="int64"))
    if given is not None:
        return g.b.dynamic_slice(x, starts, ends, steps, axes=known_ints(g, node, 3, "axes") or ())
    n = starts.shape[0] if starts.shape else None
    if not isinstance(n, int):
        raise node.refuse("how many axes it slices is not known", code="unknown_shape")
    rank = x.rank
    if n > (64 if rank is None else rank):  # numpy's limit
        raise node.refuse(f"slices {n} axes of an input with {'fewer' if rank is None else rank}")
    return g.b.dynamic_slice(x, starts, ends, steps, axes=tuple(range(n)))


@RULES.emit("dynamic_slice", since=10)
def emit_slice_by_other_bounds(e: OnnxScribe, node: Node) -> None:
    """Bounds of another integer type as int64."""
    s = Steps(e, node)
    bounds = [node.need("starts"), node.need("stops"), node.arg("steps"), node.arg("on")]
    starts, stops, steps, axes = (
        v if v is None or v.dtype is DType.INT64 else s.add("Cast", v, to=DType.INT64) for v in bounds
    )  # fmt: skip
    at = axes if node.attrs["axes"] is None else s.ints(*node.attrs["axes"])
    s.last("Slice", node.need("x"), starts, stops, at, *([] if steps is None else [steps]))


@RULES.emit("slice")
def emit_slice(e: OnnxScribe, node: Node) -> None:
    s, a = Steps(e, node), node.attrs
    ranges = [(i, *r) for i, r in enumerate(zip(a["starts"], a["stops"], a["steps"])) if r != (0, None, 1)]
    if not ranges:
        s.last("Identity", node.need("x"))
        return
    starts = [start for _, start, _, _ in ranges]
    ends = [(2**63 - 1 if step > 0 else -(2**63)) if stop is None else stop for _, _, stop, step in ranges]
    ins = [e.sizes(starts), e.sizes(ends), s.ints(*(i for i, *_ in ranges))]
    steps = [step for *_, step in ranges]
    if any(step != 1 for step in steps):
        ins.append(s.ints(*steps))
    s.last("Slice", node.need("x"), *ins)


# ---- gather

RULES.op("Gather", "gather", "data=x, indices=indices", axis=A("axis", 0))
RULES.op("GatherElements", "take_along_axis", "data=x, indices=indices", since=11, axis=A("axis", 0))
RULES.op("GatherND", "gather_nd", "data=x, indices=indices", since=11, until=11, direction="load")
RULES.op("GatherND", "gather_nd", "data=x, indices=indices", since=12, batch_dims=A("batch_dims", 0))


def _first_two(v: int) -> int:
    if v not in (0, 1):
        raise NotExpressible(f"ReverseSequence has its batch and time along the first two axes, here one is {v}")
    return v


isomorphism("onnx_first_two", lambda v: v, _first_two, "the same, written where it is 0 or 1")
RULES.op(
    "ReverseSequence", "reverse_sequence", "input=x, sequence_lens=lengths", since=10,
    batch_axis=A("batch_axis", 1, "onnx_first_two"), time_axis=A("time_axis", 0, "onnx_first_two"),
)  # fmt: skip

# ---- results whose size depends on the data

RULES.op("NonZero", "nonzero", "X=x", since=9)
RULES.op("Compress", "compress", "input=x, condition=condition", since=9, axis=A("axis", None))
RULES.op(
    "Unique", "unique", "X=x", outputs="values, indices, inverse, counts", since=11,
    axis=A("axis", None), sorted=A("sorted", 1, "bool_int"),
)  # fmt: skip

# ---- triangles

RULES.op("Trilu", "trilu", "input=x, k=_", since=14, upper=A("upper", 1, "bool_int"), k=I("k", 0, "scalar"))


@RULES.load("Trilu", since=14)
def trilu_of_a_size(g: OnnxContext, node: ForeignNode) -> Any:
    return g.b.trilu(node.need(0), upper=bool(node.attr("upper", 1)), k=scalar_size(g, node, 1, "k"))


RULES.op("Trilu", "dynamic_trilu", "input=x, k=k", since=14, priority=-1, upper=A("upper", 1, "bool_int"))


@RULES.emit("trilu", since=14)
def emit_trilu_of_a_size(e: OnnxScribe, node: Node) -> None:
    upper = {} if node.attrs["upper"] else {"upper": 0}
    Steps(e, node).last("Trilu", node.need("x"), size_scalar(e, node.attrs["k"]), **upper)


@RULES.emit("trilu", until=13)
def emit_trilu_by_mask(e: OnnxScribe, node: Node) -> None:
    """Before opset 14: a constant mask, which needs the sizes of the last two axes."""
    s, x, a = Steps(e, node), node.need("x"), node.attrs
    rows, columns = known_shape(x)[-2:]
    if not all(isinstance(n, int) for n in (rows, columns, a["k"])):
        raise NotExpressible(f"a triangle of {rows} x {columns} from diagonal {a['k']} before opset 14 needs fixed sizes")
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, a["k"]) if a["upper"] else np.tril(ones, a["k"])
    s.last("Where", s.const(mask, DType.BOOL), x, s.const(0, dtype_known(x)))
