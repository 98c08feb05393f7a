"""Picking elements: slice, gather, take_along_axis, masks; scatter is in scatter.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape, ceil_div, dim_max, dim_min
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Axis, LastAxes, Opaque, PerAxis, Pick
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait

INDEXING = OpSet("indexing")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]
Range = tuple[DimLike, "DimLike | None", int]

_FAR = 2**31 - 1  # exporters write "to the end" as INT32_MAX or INT64_MAX


# ---- slice


def normal_range(n: DimLike | None, start: DimLike, stop: DimLike | None, step: int) -> Range:
    """One axis of a slice in normal form: stop None for "to the end", non-negative where the size ``n`` is known."""
    if isinstance(n, int) and n >= 1 << 63:
        raise ShapeError(f"an axis of {n} elements is longer than any array's")
    if isinstance(n, int) and isinstance(start, int) and (stop is None or isinstance(stop, int)):
        first, last, _ = slice(start, stop, step).indices(n)
        if not range(first, last, step):  # len() is for numbers of 64 bits
            return 0, 0, 1
        if step > 0:
            return first, None if last >= n else last, step
        return first, None if last < 0 else last, step
    if isinstance(start, int):
        start = 0 if step > 0 and start <= -_FAR else -1 if step < 0 and start >= _FAR else start
    if isinstance(stop, int):
        stop = None if (step > 0 and stop >= _FAR) or (step < 0 and stop <= -_FAR) else stop
    elif stop is not None and step > 0 and stop == n:
        stop = None
    return start, stop, step


def range_size(n: DimLike | None, start: DimLike, stop: DimLike | None, step: int) -> DimLike | None:
    """How many elements a slice of an axis of size ``n`` has, as Python's slice counts them."""
    if start == 0 and stop is None and step == 1:
        return n
    if n is None:
        return None
    size: DimLike = n

    def negative(i: DimLike) -> bool:
        return isinstance(i, int) and i < 0

    # A start past the end of a forward slice (or a stop past it of a backward one) needs no limit: the difference is negative.
    if step > 0:
        begin = dim_max(size + start, 0) if negative(start) else start
        end = size if stop is None else dim_max(size + stop, 0) if negative(stop) else dim_min(stop, size)
        return ceil_div(dim_max(end - begin, 0), step)
    begin = dim_max(size + start, -1) if negative(start) else dim_min(start, size - 1)
    end = -1 if stop is None else dim_max(size + stop, -1) if negative(stop) else stop
    return ceil_div(dim_max(begin - end, 0), -step)


def _normal_slice(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    starts, stops, steps = attrs["starts"], attrs["stops"], attrs["steps"]
    x = inputs[0] if inputs else None
    if not len(starts) == len(stops) == len(steps) or (x is not None and x.rank not in (None, len(starts))):
        raise ShapeError(f"slice: starts={starts}, stops={stops}, steps={steps} need one entry per axis of {x}")
    if 0 in steps:
        raise ShapeError("slice: a step is 0")
    shape = (None,) * len(starts) if x is None or x.shape is None else x.shape
    ranges = [normal_range(*r) for r in zip(shape, starts, stops, steps)]
    attrs["starts"], attrs["stops"], attrs["steps"] = (tuple(r[i] for r in ranges) for i in range(3))


def _slice_shape(c: InferContext) -> Shapes:
    shape = c.shape("x")
    ranges = zip(shape if shape is not None else (None,) * len(c["starts"]), c["starts"], c["stops"], c["steps"])
    return [(c.dtype("x"), tuple(range_size(*r) for r in ranges))]


def _slice(x: Array, starts: Any, stops: Any, steps: Any) -> Array:
    out: Array = x[tuple(slice(*r) for r in zip(starts, stops, steps))]
    return out


INDEXING.op(
    "slice", "x",
    "x[start:stop:step] on every axis, as Python slices; a negative integer counts from the end, stop None is the end "
    "in the "
    "direction of the step.",
    attrs={"starts": Attr("shape"), "stops": Attr("dims"), "steps": Attr("ints")}, normalize=_normal_slice,
    infer=_slice_shape,
    reference=_slice, axes=PerAxis(attrs=("starts", "stops", "steps")),
    samples=[
        Sample((2, 7, 5), starts=(0, 1, 0), stops=(None, -1, 3), steps=(1, 2, 1)),
        Sample((2, 7, 5), starts=(0, -1, 4), stops=(None, None, 0), steps=(1, -1, -2)),
        Sample((2, 7, 5), starts=(1, -3, 2), stops=(2, 2**63 - 1, 2), steps=(1, 1, 1)),
    ],
    traits=Trait.MOVES,
)  # fmt: skip


def _dynamic_slice_shape(c: InferContext) -> Shapes:
    x, axes = c.shape("x"), c["axes"]
    if (axes is None) != c.has("on"):
        c.fail("needs its axes, once")
    for name in ("starts", "stops", "steps"):
        if c.has(name):
            c.rank(name, 1)
            n = c.shape(name)
            if axes is not None:
                c.same(n[0] if n else None, len(axes), f"{name} and axes")
    return [(c.dtype("x"), None if x is None else tuple(None if axes is None or i in axes else d for i, d in enumerate(x)))]


def _dynamic_slice(
    x: Array, starts: Array, stops: Array, steps: Array | None = None, on: Array | None = None, *, axes: tuple[int, ...] | None
) -> Array:
    index: list[Any] = [slice(None)] * x.ndim
    at = axes if axes is not None else tuple(int(a) for a in on) if on is not None else ()
    if len({a % x.ndim for a in at}) != len(at) or not len(at) == len(starts) == len(stops):
        raise ValueError(f"{len(starts)} starts and {len(stops)} stops for the axes {at}")
    for i, a in enumerate(at):
        n, start, stop, step = x.shape[a], int(starts[i]), int(stops[i]), 1 if steps is None else int(steps[i])
        start, stop = (p + n if p < 0 else p for p in (start, stop))
        if step < 0:
            start, stop = min(max(start, 0), n - 1), min(max(stop, -1), n - 1)
            index[a] = slice(start, None if stop < 0 else stop, step) if n else slice(0)
        else:
            index[a] = slice(min(max(start, 0), n), min(max(stop, 0), n), step)
    out: Array = x[tuple(index)]
    return out


INDEXING.op(
    "dynamic_slice", "x, starts:int, stops:int, steps:int?, on:int?",
    "slice with bounds computed at run time, on the axes of the attribute or of the input ``on``; bounds past the ends are "
    "limited to "
    "them. With a negative step a start before the beginning is the first element (ONNX Slice), where Python has none.",
    attrs={"axes": Attr("axes", None)}, infer=_dynamic_slice_shape, reference=_dynamic_slice, axes=Opaque(),
    samples=[
        Sample((2, 7, 5), np.array([1, -3]), np.array([5, 99]), axes=(1, 2)),
        Sample((2, 7, 5), np.array([5]), np.array([-99]), np.array([-2]), axes=(1,)),
        Sample((2, 7, 5), np.array([1, 5]), np.array([5, -99]), np.array([1, -2]), np.array([-1, 1])),
    ],
    traits=Trait.MOVES, roles={"index": "starts stops steps on"},
)  # fmt: skip


# ---- gather


def _gather_shape(c: InferContext) -> Shapes:
    x, i, axis = c.shape("x"), c.shape("indices"), c["axis"]
    if x is None or i is None:
        return [(c.dtype("x"), None)]
    return [(c.dtype("x"), (*x[:axis], *i, *x[axis + 1 :]))]


INDEXING.op(
    "gather", "x, indices:int",
    "numpy.take: x[..., indices, ...] along an axis; the axes of indices replace it. Negative indices count from the "
    "end, others "
    "outside are an error.",
    attrs={"axis": AxisAttr(0)}, infer=_gather_shape, reference=lambda x, indices, axis: np.take(x, indices, axis),
    axes=Pick(fixed=("indices",)),
    samples=[
        Sample((2, 7, 5), ("int64", (3, 11), -7, 7), axis=1), Sample((7, 5), np.array([2, 0, -1]), axis=0),
        Sample((2, 7, 5), np.array(-2), axis=-1),
    ],
    traits=Trait.MOVES, roles={"index": "indices"},
)  # fmt: skip


def _gather_nd_shape(c: InferContext) -> Shapes:
    x, i, b = c.shape("x"), c.shape("indices"), c["batch_dims"]
    if x is None or i is None:
        return [(c.dtype("x"), None)]
    if not i or len(x) <= b or len(i) <= b or b < 0:
        c.fail(f"batch_dims={b} with {len(x)} and {len(i)} axes")
    for a, d in zip(x[:b], i[:b]):
        c.same(a, d, "batch axes")
    k = i[-1]
    if not isinstance(k, int):
        return [(c.dtype("x"), None)]
    if not 0 < k <= len(x) - b:
        c.fail(f"index vectors of {k} for {len(x) - b} axes")
    return [(c.dtype("x"), (*i[:-1], *x[b + k :]))]


def _gather_nd(x: Array, indices: Array, batch_dims: int) -> Array:
    b = batch_dims
    lead = tuple(np.indices(indices.shape[:-1], sparse=True)[:b]) if b else ()
    index = (*lead, *np.moveaxis(indices, -1, 0))
    out: Array = x[index]
    return out


INDEXING.op(
    "gather_nd", "x, indices:int",
    "x[indices[..., 0], indices[..., 1], ...] for every index vector, batch axes in step (ONNX GatherND).",
    attrs={"batch_dims": Attr("int", 0)}, infer=_gather_nd_shape, reference=_gather_nd, axes=Opaque(),
    samples=[
        Sample((2, 3, 5), ("int64", (7, 2), 0, 2)), Sample((2, 3, 5), ("int64", (2, 11, 1), 0, 3), batch_dims=1),
        Sample((2, 3, 5), ("int64", (2, 3, 1), 0, 5), batch_dims=2),
    ],
    traits=Trait.MOVES, roles={"index": "indices"},
)  # fmt: skip


def _along_shape(c: InferContext) -> Shapes:
    x, i, axis = c.shape("x"), c.shape("indices"), c["axis"]
    if x is not None and i is not None:
        if len(x) != len(i):
            c.fail("x and indices must have the same number of axes")
        if any(isinstance(n, int) and isinstance(m, int) and n > m for a, (n, m) in enumerate(zip(i, x)) if a != axis):
            c.fail("indices are larger than x on another axis")
    return [(c.dtype("x"), i)]


def along(shape: tuple[int, ...], indices: Array, axis: int) -> tuple[Array, ...]:
    """The index of every element that ``indices`` along ``axis`` of an array of ``shape`` point to."""
    n = shape[axis]
    if indices.size and (indices.min() < -n or indices.max() >= n):
        raise IndexError(f"indices span {indices.min()}..{indices.max()} on an axis of {n}")
    grid: list[Any] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = indices
    return tuple(grid)


INDEXING.op(
    "take_along_axis", "x, indices:int",
    "y[i, j, k] = x[i, indices[i, j, k], k] for axis 1 (ONNX GatherElements, torch.gather): nothing broadcasts; on "
    "the other axes indices may be smaller than x.",
    attrs={"axis": AxisAttr()}, infer=_along_shape,
    reference=lambda x, indices, axis: x[along(x.shape, indices, axis)], axes=Axis("axis"),
    samples=[Sample((2, 3, 5), ("int64", (2, 7, 5), -3, 3), axis=1), Sample((3, 5), ("int64", (2, 7), 0, 5), axis=-1)],
    traits=Trait.MOVES, roles={"index": "indices"},
)  # fmt: skip


def _reverse_shape(c: InferContext) -> Shapes:
    x, n = c.shape("x"), c.shape("lengths")
    if c["batch_axis"] == c["time_axis"]:
        c.fail("batch_axis and time_axis are the same")
    c.rank("lengths", 1)
    if x is not None and n is not None:
        c.same(x[c["batch_axis"]], n[0], "the batch axis and lengths")
    return [(c.dtype("x"), x)]


def _reverse(x: Array, lengths: Array, batch_axis: int, time_axis: int) -> Array:
    t = x.shape[time_axis]
    if lengths.size and (lengths.min() < 0 or lengths.max() > t):
        raise ValueError(f"lengths span {lengths.min()}..{lengths.max()}, the time axis has {t}")
    step = np.arange(t)
    source = np.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    v = np.moveaxis(x, (batch_axis, time_axis), (0, 1))
    return np.moveaxis(v[np.arange(len(lengths))[:, None], source], (0, 1), (batch_axis, time_axis))


INDEXING.op(
    "reverse_sequence", "x, lengths:int",
    "The first lengths[i] steps of batch element i in reverse, the rest as it is.",
    attrs={"batch_axis": AxisAttr(), "time_axis": AxisAttr()}, infer=_reverse_shape, reference=_reverse, axes=Opaque(),
    samples=[
        Sample((3, 5, 2), np.array([5, 2, 0]), batch_axis=0, time_axis=1),
        Sample((5, 3, 2), np.array([1, 4, 3]), batch_axis=1, time_axis=0),
    ],
    roles={"index": "lengths"},
)  # fmt: skip


# ---- results whose size depends on the data


def _nonzero_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    return [(DType.INT64, (None if x is None else len(x), None))]


INDEXING.op(
    "nonzero", "x", "Indices of the elements that are not zero, (rank of x, how many), in C order (ONNX NonZero).",
    infer=_nonzero_shape, reference=lambda x: np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1), axes=Opaque(),
    samples=[Sample(("int32", (3, 5), 0, 2))],
)  # fmt: skip


def _compress_shape(c: InferContext) -> Shapes:
    x, axis = c.shape("x"), c["axis"]
    c.rank("condition", 1)
    if axis is None:
        return [(c.dtype("x"), (None,))]
    return [(c.dtype("x"), None if x is None else (*x[:axis], None, *x[axis + 1 :]))]


INDEXING.op(
    "compress", "x, condition:bool",
    "Slices of x where the condition holds; without axis, of x flattened. A short condition counts as False at the "
    "end.",
    attrs={"axis": Attr("axis", None)}, infer=_compress_shape,
    reference=lambda x, condition, axis: np.compress(condition, x, axis), axes=Opaque(),
    samples=[Sample((3, 5), np.array([True, False, True]), axis=0),
        Sample((3, 5), np.array([True, False, True, True]))],
)  # fmt: skip


def _unique_shape(c: InferContext) -> Shapes:
    x, axis = c.shape("x"), c["axis"]
    values: Shape | None = (None,) if axis is None else None if x is None else (*x[:axis], None, *x[axis + 1 :])
    length = x[axis] if x is not None and axis is not None else None
    return [(c.dtype("x"), values), (DType.INT64, (None,)), (DType.INT64, (length,)), (DType.INT64, (None,))]


def _unique(x: Array, axis: int | None, sorted: bool) -> tuple[Array, ...]:
    v, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.argsort(order, kind="stable")
        v, first, counts, inverse = np.take(v, order, axis or 0), first[order], counts[order], rank[inverse]
    return v, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


INDEXING.op(
    "unique", "x",
    "Distinct elements (or slices along an axis), the index of each one's first occurrence, the inverse map and "
    "counts; "
    "ascending, or in order of first occurrence.",
    outputs="values, indices, inverse, counts",
    attrs={"axis": Attr("axis", None), "sorted": Attr("bool", True)},
    infer=_unique_shape, reference=_unique, axes=Opaque(),
    samples=[Sample(("int32", (3, 7), 0, 5)), Sample(("int32", (11,), 0, 5), sorted=False),
        Sample(np.array([[1, 0], [1, 0], [2, 3]]), axis=0)],
)  # fmt: skip


# ---- triangles


def _trilu(x: Array, upper: bool, k: int) -> Array:
    return np.triu(x, k) if upper else np.tril(x, k)


def _trilu_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is not None and len(x) < 2:
        c.fail("x needs at least two axes")
    return [(c.dtype("x"), x)]


INDEXING.op(
    "trilu", "x",
    "The upper or lower triangle of the last two axes, the rest 0; k counts diagonals to the right of the main one.",
    attrs={"upper": Attr("bool"), "k": Attr("dim", 0)}, infer=_trilu_shape, reference=_trilu, axes=LastAxes(2),
    samples=[Sample((2, 3, 5), upper=True), Sample((2, 5, 3), upper=False, k=-1), Sample((2, 3, 5), upper=False, k=2)],
)  # fmt: skip
