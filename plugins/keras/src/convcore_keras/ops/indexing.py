"""Slices, gathering, scattering, sorting, counting (``keras.src.ops.numpy``, ``.core``, ``.math``, ``.nn``; Keras 3.15.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DimLike, DType, ForeignNode, NotExpressible, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .elementwise import is_float
from .reduce import flat_or_axis
from .spec import operation, operations

__all__ = ["item"]

operation("GetItem", "x, key", tensors="x")
operation("Take", "x, indices")
operation("TakeAlongAxis", "x, indices")
operation("Slice", "inputs, start_indices", tensors="inputs")
operation("SliceUpdate", "inputs, start_indices, updates", tensors="inputs updates")
operation("Scatter", "indices, values")
operation("ScatterUpdate", "inputs, indices, updates")
operations("Argsort Sort Argpartition TopK OneHot Unique Histogram", "x")
operation("Bincount", "x, weights?", tensors="x")
operation("MultiHot", "inputs")
operation("InTopK", "targets, predictions")
operation("UnravelIndex", "indices")
operation("SearchSorted", "sorted_sequence, values", "join")
operation("Digitize", "x, bins", "join")
operation("IsIn", "x1, x2", "join")
operations("SegmentMax SegmentMin SegmentProd SegmentSum", "data, segment_ids")


# ---- slices
def item(g: KerasContext, node: ForeignNode, x: Value, key: Any) -> Value:
    """``x[key]``: numbers, slices, None (a new axis) and one Ellipsis."""
    b = g.b
    keys = list(key) if isinstance(key, (list, tuple)) else [key]
    rank = len(known_shape(x))
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if keys.count(Ellipsis) > 1 or used > rank:
        raise node.refuse(f"has {used} indices for a tensor of {rank} axes", code="invalid_shape")
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (rank - used)
    starts: list[DimLike] = []
    stops: list[DimLike | None] = []
    steps: list[int] = []
    dropped: list[int] = []
    added: list[int] = []
    out = 0
    for k in keys:
        if k is None:
            added.append(out)
            out += 1
            continue
        if isinstance(k, bool) or not isinstance(k, (int, slice, np.integer)):
            raise NotExpressible("its index is a tensor or an array" if hasattr(k, "shape") else f"its index holds {k!r}",
                                 "unsupported_call")  # fmt: skip
        if isinstance(k, slice):
            parts = (k.start, k.stop, k.step)
            if any(p is not None and (isinstance(p, bool) or not isinstance(p, int)) for p in parts):
                raise NotExpressible("a bound of its slice is computed", "unsupported_call")
            step = 1 if k.step is None else k.step
            starts.append(k.start if k.start is not None else 0 if step > 0 else -1)
            stops.append(k.stop)
            steps.append(step)
            out += 1
        else:
            dropped.append(len(starts))
            starts.append(int(k))
            stops.append(int(k) + 1 if k != -1 else None)
            steps.append(1)
    y = x if all(s == 0 for s in starts) and stops == [None] * rank and set(steps) <= {1} else b.slice(
        x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps)
    )  # fmt: skip
    if dropped:
        y = b.squeeze(y, axes=tuple(dropped))
    return b.unsqueeze(y, axes=tuple(added)) if added else y if y is not x else b.identity(x)


@RULES.load("ops.GetItem")
def get_item(g: KerasContext, node: ForeignNode) -> Value:
    """``x[key]``."""
    return item(g, node, node.need(0), node.attr("key"))


def _starts(node: ForeignNode) -> tuple[int, ...]:
    starts = node.attr("start_indices")
    starts = starts.tolist() if hasattr(starts, "tolist") else starts
    if isinstance(starts, Value) or any(not isinstance(s, int) for s in starts):
        raise NotExpressible("its start is computed", "unsupported_call")
    return tuple(starts)


@RULES.load("ops.Slice")
def slice_(g: KerasContext, node: ForeignNode) -> Value:
    """A block of ``shape`` from ``start_indices`` on (``core.slice``: constant starts only)."""
    x, starts, shape = node.need(0), _starts(node), node.attr("shape")
    have = known_shape(x)
    if len(starts) != len(have) or len(shape) != len(have):
        raise node.refuse(f"has {len(starts)} starts for a tensor of {len(have)} axes", code="invalid_shape")
    stops = tuple(None if n is None or n == -1 else s + n for s, n in zip(starts, shape, strict=True))
    return g.b.slice(x, starts=starts, stops=stops, steps=(1,) * len(have))


@RULES.load("ops.SliceUpdate")
def slice_update(g: KerasContext, node: ForeignNode) -> Value:
    """A copy with a block replaced from ``start_indices`` on: its elements scattered to their indices."""
    x, updates, starts, b = node.need(0), node.need(1), _starts(node), g.b
    have, block = known_shape(x, sizes=True), known_shape(updates, sizes=True)
    updates = updates if updates.dtype is x.dtype else b.cast(updates, to=x.dtype)
    for axis in reversed(range(len(have))):
        n, part = have[axis], block[axis]
        before, after = starts[axis], None
        if isinstance(n, int) and isinstance(part, int):
            after = n - before - part
        elif n == part and before == 0:
            after = 0
        if after is None or before < 0 or after < 0:
            raise node.refuse(f"updates {part} elements of {n} from {before} on", code="invalid_shape")
    pads = tuple(
        (s, n - s - p) if isinstance(n, int) and isinstance(p, int) else (0, 0)
        for s, n, p in zip(starts, have, block, strict=True)
    )
    if not any(v for pair in pads for v in pair):
        return b.identity(updates)
    inside = b.pad(b.fill(shape=block, value=True, dtype="bool"), pads=pads, value=False)
    number: Any = False if x.dtype is DType.BOOL else 0
    return b.where(inside, b.pad(updates, pads=pads, value=number), x)


# ---- gathering and scattering
@RULES.load("ops.Take")
def take(g: KerasContext, node: ForeignNode) -> Value:
    """Elements at indices along an axis, of all in one line without one; negative ones count from the end."""
    x, indices = node.need(0), node.need(1)
    x, axis = flat_or_axis(g, node, x)
    if is_float(indices):
        indices = g.b.cast(indices, to="int32")
    return g.b.gather(x, indices, axis=axis)


@RULES.load("ops.TakeAlongAxis")
def take_along_axis(g: KerasContext, node: ForeignNode) -> Value:
    """y[i, j] = x[i, indices[i, j]]: both broadcast on the other axes."""
    x, indices, b = node.need(0), node.need(1), g.b
    if node.attr("axis", None) is None:
        indices = b.reshape(indices, shape=(product(known_shape(indices, sizes=True)),))
    x, axis = flat_or_axis(g, node, x)
    have, want = known_shape(x, sizes=True), known_shape(indices, sizes=True)
    if len(have) != len(want):
        raise node.refuse(f"its index has {len(want)} axes, its input {len(have)}", code="invalid_shape")
    full = tuple(h if w == 1 else w for h, w in zip(have, want, strict=True))
    mine, theirs = (tuple(s[a] if a == axis else full[a] for a in range(len(s))) for s in (have, want))
    x, indices = x if mine == have else b.expand(x, shape=mine), indices if theirs == want else b.expand(indices, shape=theirs)
    return b.take_along_axis(x, indices, axis=axis)


@RULES.load("ops.Scatter")
def scatter(g: KerasContext, node: ForeignNode) -> Value:
    """Zeros of ``shape`` with values added at index vectors."""
    indices, values, b = node.need(0), node.need(1), g.b
    return b.scatter_nd(b.fill(shape=tuple(node.attr("shape")), value=0, dtype=values.dtype), indices, values, reduction="add")


@RULES.load("ops.ScatterUpdate")
def scatter_update(g: KerasContext, node: ForeignNode) -> Value:
    """A copy with values written, or joined by ``reduction``, at index vectors."""
    x, indices, updates = node.needed()
    how = node.attr("reduction", None)
    if how not in (None, "add", "mul", "max", "min"):
        raise node.refuse(f"reduction={how!r}")
    updates = updates if updates.dtype is x.dtype else g.b.cast(updates, to=x.dtype)
    return g.b.scatter_nd(x, indices, updates, reduction=how or "none")


@RULES.load("ops.SegmentSum", "ops.SegmentMax", "ops.SegmentMin", "ops.SegmentProd")
def segments(g: KerasContext, node: ForeignNode) -> Value:
    """Rows joined by the id of their segment. An empty one is the neutral element of the reduction."""
    x, ids, b = node.need(0), node.need(1), g.b
    count = node.attr("num_segments", None)
    node.ignore("sorted")
    if count is None or x.dtype is None:
        raise node.refuse("num_segments is not given, the size of its result depends on the data")
    kind = node.type.removeprefix("ops.Segment").lower()
    if kind in ("max", "min"):
        low, high = (-np.inf, np.inf) if x.dtype.is_float else (np.iinfo(x.dtype.numpy).min, np.iinfo(x.dtype.numpy).max)
        start = low if kind == "max" else high
    else:
        start = int(kind == "prod")
    empty = b.fill(shape=(int(count), *known_shape(x, sizes=True)[1:]), value=start, dtype=x.dtype)
    how = {"sum": "add", "max": "max", "min": "min", "prod": "mul"}
    return b.scatter_nd(empty, b.unsqueeze(ids, axes=(1,)), x, reduction=how[kind])  # type: ignore[arg-type]


# ---- order
@RULES.load("ops.Argsort", "ops.Sort")
def in_order(g: KerasContext, node: ForeignNode) -> Value:
    """Ascending order along an axis: the indices (int32, stable) or the elements."""
    x, kind = node.need(0), node.need(0).dtype
    x, axis = flat_or_axis(g, node, x, -1)
    if kind is DType.BOOL:
        x = g.b.cast(x, to="int32")
    if node.type == "ops.Sort":
        y = g.b.sort(x, axis=axis)
        return g.b.cast(y, to="bool") if kind is DType.BOOL else y
    return g.b.cast(g.b.argsort(x, axis=axis), to="int32")


@RULES.load("ops.Argpartition")
def argpartition(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: backends leave the order on both sides of the element open, and differ."""
    raise node.refuse("the order of what it returns is left open, and differs between backends", "use argsort")


@RULES.load("ops.TopK")
def top_k(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """The k largest along the last axis, and their indices (int32)."""
    node.ignore("sorted")
    values, indices = g.b.topk(node.need(0), k=int(node.attr("k")), axis=-1)
    return values, g.b.cast(indices, to="int32")


@RULES.load("ops.InTopK")
def in_top_k(g: KerasContext, node: ForeignNode) -> Value:
    """Whether fewer than k predictions are above that of the target (``torch/math.py``: at least the k-th largest)."""
    targets, scores = node.needed()
    b = g.b
    own = b.take_along_axis(scores, b.unsqueeze(b.cast(targets, to="int64"), axes=(1,)), axis=1)
    values, _ = b.topk(scores, k=int(node.attr("k")), axis=-1)
    return b.squeeze(b.greater_equal(own, cut_last(g, values)), axes=(1,))


def cut_last(g: KerasContext, x: Value) -> Value:
    """The last element of the last axis, which stays."""
    rank = len(known_shape(x))
    return g.b.slice(x, starts=(*(0,) * (rank - 1), -1), stops=(None,) * rank, steps=(1,) * rank)


@RULES.load("ops.SearchSorted", "ops.Digitize")
def search_sorted(g: KerasContext, node: ForeignNode) -> Value:
    """How many elements of a sorted vector are below a value (side "left"), or not above it; int32."""
    line, values = node.needed()
    if node.type == "ops.Digitize":
        line, values, side = values, line, "right"
    else:
        side = node.attr("side", "left")
    if side not in ("left", "right"):
        raise node.refuse(f"side={side!r} is not left or right")
    if len(known_shape(line)) != 1:
        raise node.refuse("its sorted sequence is no vector")
    b = g.b
    apart = b.unsqueeze(values, axes=(len(known_shape(values)),))
    before = b.less(line, apart) if side == "left" else b.less_equal(line, apart)
    return b.sum(b.cast(before, to="int32"), axes=(-1,), keepdims=False)


@RULES.load("ops.IsIn")
def is_in(g: KerasContext, node: ForeignNode) -> Value:
    """Whether an element is one of the second tensor's."""
    x, y = node.needed()
    b = g.b
    node.ignore("assume_unique")
    line = b.reshape(y, shape=(product(known_shape(y, sizes=True)),))
    found = b.any(b.equal(b.unsqueeze(x, axes=(len(known_shape(x)),)), line), axes=(-1,), keepdims=False)
    return b.not_(found) if node.attr("invert", False) else found


@RULES.load("ops.Unique")
def unique(g: KerasContext, node: ForeignNode) -> Any:
    """Refused: how many there are depends on the data, and backends pad differently."""
    raise node.refuse("the size of its result depends on the data")


# ---- counting and encoding
@RULES.load("ops.OneHot")
def one_hot(g: KerasContext, node: ForeignNode) -> Value:
    """1 at the position of an id, along a new axis; nothing for an id outside."""
    x, n = node.need(0), int(node.attr("num_classes"))
    if node.attr("sparse", False):
        raise node.refuse("makes a sparse tensor")
    x = x if x.dtype is not None and x.dtype.is_int else g.b.cast(x, to="int32")
    return g.b.one_hot(x, depth=n, axis=int(node.attr("axis", -1)), dtype=DType(node.attr("dtype", None) or "float32"))


@RULES.load("ops.MultiHot")
def multi_hot(g: KerasContext, node: ForeignNode) -> Value:
    """1 at the positions of all ids of a line (``nn.multi_hot``: the maximum of their one-hot rows over axis 1, or 0 of one)."""
    x, n, b = node.need(0), node.attr("num_classes", None), g.b
    n = node.attr("num_tokens", None) if n is None else n
    if n is None or node.attr("sparse", False):
        raise node.refuse("num_classes is missing" if n is None else "makes a sparse tensor")
    x = x if x.dtype is not None and x.dtype.is_int else b.cast(x, to="int32")
    rank = len(known_shape(x))
    rows = b.one_hot(x, depth=int(n), axis=int(node.attr("axis", -1)), dtype=DType(node.attr("dtype", None) or "float32"))
    return b.max(rows, axes=(0 if rank == 1 else 1,), keepdims=False)


@RULES.load("ops.Bincount")
def bincount(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: the size of its result depends on the data (``minlength`` is only the least)."""
    raise node.refuse("the size of its result depends on the data")


@RULES.load("ops.Histogram")
def histogram(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Counts in equal bins over a range (the data's by default), the last one closed; and the edges."""
    x, bins, span, b = node.need(0), node.attr("bins", 10), node.attr("range", None), g.b
    if not isinstance(bins, int):
        raise node.refuse("its bins are given as edges")
    line = b.reshape(x, shape=(product(known_shape(x, sizes=True)),))
    line = line if is_float(line) else b.cast(line, to="float32")
    if span is None:
        low, high = b.min(line, axes=None, keepdims=False), b.max(line, axes=None, keepdims=False)
    else:
        low, high = b.like(line, float(span[0])), b.like(line, float(span[1]))
    steps = b.const(np.arange(bins + 1) / bins, line.dtype)
    edges = b.add(low, b.mul(b.sub(high, low), steps))
    column = b.unsqueeze(line, axes=(1,))
    lower = b.slice(edges, starts=(0,), stops=(-1,), steps=(1,))
    upper = b.slice(edges, starts=(1,), stops=(None,), steps=(1,))
    last = b.const(np.arange(bins) == bins - 1)
    below = b.or_(b.less(column, upper), b.and_(last, b.equal(column, upper)))
    inside = b.and_(b.greater_equal(column, lower), below)
    counts = b.sum(b.cast(inside, to="int32"), axes=(0,), keepdims=False)
    return b.cast(counts, to=line.dtype), edges


@RULES.load("ops.UnravelIndex")
def unravel_index(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Indices into a line as indices of each axis of ``shape``."""
    x, shape, b = node.need(0), [int(n) for n in node.attr("shape")], g.b
    total = int(np.prod(shape))
    x = b.where(b.less(x, b.like(x, 0)), b.add(x, b.like(x, total)), x)
    out = []
    for n in reversed(shape):
        out.append(b.floor_mod(x, b.like(x, n)))
        x = b.floor_div(x, b.like(x, n))
    return tuple(reversed(out))
