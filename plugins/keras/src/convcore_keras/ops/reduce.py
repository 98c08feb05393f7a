"""Reductions, statistics and running totals (``keras.src.ops.numpy``, ``.math``, ``.nn``; Keras 3.15.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convcore.plugin import A, DType, ForeignNode, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .arithmetic import truth
from .elementwise import is_float
from .spec import operation, operations

__all__ = ["axes_of", "flat_or_axis"]

_PLAIN = {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min", "Prod": "prod", "Std": "std", "Var": "variance"}
for _class, _op in _PLAIN.items():
    RULES.op(
        operation(_class, "x", "float" if _class in ("Mean", "Std", "Var") else "keep"),
        _op,
        "x=x",
        types={"x": "float"},
        when={"initial": None, "dtype": None},
        axes=A("axis", None, iso="axes_or_all"),
        keepdims=A("keepdims", False),
        direction="load" if _class == "Prod" else "both",
    )
RULES.op(
    operation("Logsumexp", "x", "float"),
    "logsumexp",
    "x=x",
    axes=A("axis", None, iso="axes_or_all"),
    keepdims=A("keepdims", False),
)
operations("Amax Amin Any All CountNonzero Nanmax Nanmin Nansum Nanprod Argmax Argmin Nanargmax Nanargmin Ptp", "x")
operations("Nanmean Nanstd Nanvar Moments Median Nanmedian Corrcoef", "x", "float")
operation("Norm", "x", "float")
operation("Average", "x, weights?", "float")
operations("Quantile Percentile Nanquantile Nanpercentile", "x, q", tensors="x")
operations("Cumsum Cumprod Nancumsum Nancumprod", "x")
operation("Trapezoid", "y, x?", "float", tensors="y")
operation("Diff", "a")


def axes_of(node: ForeignNode, x: Value, key: str = "axis") -> tuple[int, ...] | None:
    """``axis`` as ascending axes from 0; None stands for all."""
    axis = node.attr(key, None)
    if axis is None:
        return None
    rank = len(known_shape(x))
    return tuple(sorted(node.axes_in(axis, rank)))


def flat_or_axis(g: KerasContext, node: ForeignNode, x: Value, default: Any = None) -> tuple[Value, int]:
    """The tensor and its axis; without one (None) as one line, and 0."""
    axis = node.attr("axis", default)
    if axis is None:
        return g.b.reshape(x, shape=(product(known_shape(x, sizes=True)),)), 0
    return x, int(axis) % max(len(known_shape(x)), 1)


def _wide(g: KerasContext, node: ForeignNode, x: Value) -> Value:
    """What is summed up: small integers and booleans as int32 (``Sum.compute_output_spec``), or ``dtype``."""
    to = node.attr("dtype", None)
    if to is not None:
        return g.b.cast(x, to=DType(to))
    if x.dtype is DType.BOOL or (x.dtype is not None and x.dtype.is_int and x.dtype.itemsize < 4):
        return g.b.cast(x, to="int32")
    return x


def _filled(g: KerasContext, x: Value, value: float) -> Value:
    """A number where NaN is."""
    return g.b.where(g.b.isnan(x), g.b.like(x, value), x) if is_float(x) else x


@RULES.load("ops.Sum", "ops.Prod", "ops.Nansum", "ops.Nanprod")
def total(g: KerasContext, node: ForeignNode) -> Value:
    """Sum or product; NaN counts as 0 or 1 in those that are named so."""
    x = _wide(g, node, node.need(0))
    product_of = node.type.lower().endswith("prod")
    if "Nan" in node.type:
        x = _filled(g, x, float(product_of))
    y: Value = g.b.op("prod" if product_of else "sum", x, axes=axes_of(node, x), keepdims=bool(node.attr("keepdims", False)))
    return y


@RULES.load("ops.Max", "ops.Min", "ops.Amax", "ops.Amin")
def extreme(g: KerasContext, node: ForeignNode) -> Value:
    """Largest or smallest element, of booleans ANY or ALL; ``initial`` is one more."""
    x, largest, initial = node.need(0), "ax" in node.type, node.attr("initial", None)
    axes, keep, b = axes_of(node, x), bool(node.attr("keepdims", False)), g.b
    if x.dtype is DType.BOOL:
        if initial is not None:
            raise node.refuse(f"initial={initial} of booleans")
        return b.any(x, axes=axes, keepdims=keep) if largest else b.all(x, axes=axes, keepdims=keep)
    y = b.max(x, axes=axes, keepdims=keep) if largest else b.min(x, axes=axes, keepdims=keep)
    if initial is None:
        return y
    return b.maximum(y, b.like(y, initial)) if largest else b.minimum(y, b.like(y, initial))


@RULES.load("ops.Nanmax", "ops.Nanmin")
def extreme_of_numbers(g: KerasContext, node: ForeignNode) -> Value:
    """Largest or smallest element that is a number; NaN where none is."""
    x, largest, b = node.need(0), node.type == "ops.Nanmax", g.b
    axes, keep = axes_of(node, x), bool(node.attr("keepdims", False))
    if x.dtype is DType.BOOL:
        return b.any(x, axes=axes, keepdims=keep) if largest else b.all(x, axes=axes, keepdims=keep)
    if not is_float(x):
        return b.max(x, axes=axes, keepdims=keep) if largest else b.min(x, axes=axes, keepdims=keep)
    filled = _filled(g, x, -math.inf if largest else math.inf)
    y = b.max(filled, axes=axes, keepdims=keep) if largest else b.min(filled, axes=axes, keepdims=keep)
    return b.where(b.all(b.isnan(x), axes=axes, keepdims=keep), b.like(y, math.nan), y)


@RULES.load("ops.Any", "ops.All")
def reduction(g: KerasContext, node: ForeignNode) -> Value:
    """Whether any or all elements along axes are true."""
    x = truth(g, node.need(0))
    reduce = g.b.any if node.type == "ops.Any" else g.b.all
    return reduce(x, axes=axes_of(node, x), keepdims=bool(node.attr("keepdims", False)))


@RULES.load("ops.CountNonzero")
def count_nonzero(g: KerasContext, node: ForeignNode) -> Value:
    """How many elements are not 0, int32."""
    x = node.need(0)
    return g.b.sum(g.b.cast(truth(g, x), to="int32"), axes=axes_of(node, x), keepdims=False)


@RULES.load("ops.Argmax", "ops.Argmin", "ops.Nanargmax", "ops.Nanargmin")
def index_of_extreme(g: KerasContext, node: ForeignNode) -> Value:
    """The index of the first of the largest or smallest elements, int32; of all elements, in their order, without an axis.

    Where a NaN counts as nothing, a line of NaN alone has -1 (``nanargmax`` of Keras 3.15.1).
    """
    x, b = node.need(0), g.b
    keep, largest = bool(node.attr("keepdims", False)), node.type.endswith("max")
    rank = len(known_shape(x))
    everything = node.attr("axis", None) is None
    x, axis = flat_or_axis(g, node, x)
    if x.dtype is DType.BOOL:
        x = b.cast(x, to="int32")
    numbers = _filled(g, x, -math.inf if largest else math.inf) if "Nan" in node.type else x
    find = b.argmax if largest else b.argmin
    y: Value = find(numbers, axis=axis, keepdims=keep and not everything, dtype="int32")
    if numbers is not x:
        empty = b.all(b.isnan(x), axes=(axis,), keepdims=keep and not everything)
        y = b.where(empty, b.like(y, -1), y)
    return b.reshape(y, shape=(1,) * rank) if keep and everything else y


@RULES.load("ops.Ptp")
def peak_to_peak(g: KerasContext, node: ForeignNode) -> Value:
    """The largest less the smallest."""
    x = node.need(0)
    axes, keep = axes_of(node, x), bool(node.attr("keepdims", False))
    return g.b.sub(g.b.max(x, axes=axes, keepdims=keep), g.b.min(x, axes=axes, keepdims=keep))


@RULES.load("ops.Nanmean", "ops.Nanvar", "ops.Nanstd")
def moments_of_numbers(g: KerasContext, node: ForeignNode) -> Value:
    """Mean, variance or deviation of what is not NaN; NaN where nothing is."""
    x, b = node.need(0), g.b
    axes, keep = axes_of(node, x), bool(node.attr("keepdims", False))
    seen = b.not_(b.isnan(x))

    def mean(v: Value, keepdims: bool) -> Value:
        part = b.where(seen, v, b.like(v, 0.0))
        count = b.sum(b.cast(seen, to=v.dtype), axes=axes, keepdims=keepdims)
        return b.div(b.sum(part, axes=axes, keepdims=keepdims), count)

    if node.type == "ops.Nanmean":
        return mean(x, keep)
    variance = mean(b.square(b.sub(x, mean(x, True))), keep)
    return b.sqrt(variance) if node.type == "ops.Nanstd" else variance


@RULES.load("ops.Moments")
def moments(g: KerasContext, node: ForeignNode) -> Any:
    """Mean and variance; float16 is computed in float32 (``nn.moments``)."""
    x, b = node.need(0), g.b
    if node.attr("synchronized", False):
        raise node.refuse("synchronizes moments between devices")
    axes, keep, kind = axes_of(node, x, "axes"), bool(node.attr("keepdims", False)), x.dtype
    wide = b.cast(x, to="float32") if kind is DType.FLOAT16 else x
    out = (b.mean(wide, axes=axes, keepdims=keep), b.variance(wide, axes=axes, keepdims=keep))
    if wide is x:
        return out
    return tuple(b.cast(b.clip(v, min=-65504.0, max=65504.0), to=kind) for v in out)


@RULES.load("ops.Average")
def average(g: KerasContext, node: ForeignNode) -> Value:
    """The mean, weighted by a tensor of the same shape or by a vector along the axis."""
    x, w, b = node.need(0), node.input(1), g.b
    axes = axes_of(node, x)
    if w is None:
        return b.mean(x, axes=axes, keepdims=False)
    if w.rank != x.rank:
        if axes is None or len(axes) != 1 or w.rank != 1:
            raise node.refuse("its weights are neither of its shape nor a vector along one axis")
        w = b.reshape(w, shape=tuple(known_shape(w, sizes=True)[0] if a == axes[0] else 1 for a in range(len(known_shape(x)))))
        w = b.expand(w, shape=known_shape(x, sizes=True))
    return b.div(b.sum(b.mul(x, w), axes=axes, keepdims=False), b.sum(w, axes=axes, keepdims=False))


# ---- order statistics
@RULES.load("ops.Median", "ops.Nanmedian", "ops.Quantile", "ops.Percentile", "ops.Nanquantile", "ops.Nanpercentile")
def quantile(g: KerasContext, node: ForeignNode) -> Value:
    """Elements at fractions of the sorted ones; NaN wins, or counts as nothing in those that are named so.

    ``q`` is a number or a list of them, whose axis comes first in the result (``backend/torch/numpy.py``: quantile).
    """
    x, b = node.need(0), g.b
    if not is_float(x):
        x = b.cast(x, to="float32")
    keep, axes = bool(node.attr("keepdims", False)), axes_of(node, x)
    q = node.attr("q", 0.5)
    q = q.tolist() if hasattr(q, "tolist") else q
    listed = isinstance(q, (list, tuple))
    many = [float(v) for v in q] if listed else [float(q)]
    if "ercentile" in node.type:
        many = [v / 100 for v in many]
    method = node.attr("method", "linear")
    if method != "linear" and node.type == "ops.Quantile":
        raise node.refuse(f"states method={method!r}, but Keras (3.15.1) computes linear when it runs the model")
    shape = known_shape(x, sizes=True)
    rank = len(shape)
    axes = tuple(range(rank)) if axes is None else axes
    rest = [a for a in range(rank) if a not in axes]
    line = b.transpose(x, perm=(*rest, *axes)) if axes != (rank - 1,) or rest != list(range(rank - 1)) else x
    line = b.reshape(line, shape=(*(shape[a] for a in rest), product([shape[a] for a in axes])))
    ordered = b.sort(line, axis=-1)
    bad = b.isnan(line)
    ignoring = "Nan" in node.type or "nan" in node.type
    if ignoring:
        count = b.sum(b.cast(b.not_(bad), to="int32"), axes=(-1,), keepdims=True)
        last = b.maximum(b.sub(b.cast(count, to="float32"), b.const(1.0, "float32")), b.const(0.0, "float32"))
        empty = b.all(bad, axes=(-1,), keepdims=True)
    else:
        n = known_shape(line, sizes=True)[-1]
        if not isinstance(n, int):
            raise node.refuse("the number of elements is not known before it runs", code="unknown_shape")
        last = b.fill(shape=(*(shape[a] for a in rest), 1), value=float(n - 1), dtype="float32")
        empty = b.any(bad, axes=(-1,), keepdims=True)
    results = [b.where(empty, b.like(x, math.nan), _at_fraction(g, node, ordered, last, f, method)) for f in many]
    kept = tuple(1 if a in axes else shape[a] for a in range(rank)) if keep else tuple(shape[a] for a in rest)
    results = [b.reshape(r, shape=kept) for r in results]
    return b.stack(*results, axis=0) if listed else results[0]


def _at_fraction(g: KerasContext, node: ForeignNode, ordered: Value, last: Value, f: float, method: str) -> Value:
    """The element at fraction ``f`` of 0 to ``last`` (an index, as float32), between two by the method."""
    b = g.b
    at = b.mul(last, b.const(f, "float32"))
    low, high = b.floor(at), b.ceil(at)

    def take(index: Value) -> Value:
        return b.take_along_axis(ordered, b.cast(index, to="int64"), axis=-1)

    if method in ("lower", "higher", "nearest"):
        return take({"lower": low, "higher": high, "nearest": b.round(at)}[method])
    if method == "midpoint":
        return b.mul(b.add(take(low), take(high)), b.like(ordered, 0.5))
    if method != "linear":
        raise node.refuse(f"method={method!r}")
    share = b.cast(b.sub(at, low), to=ordered.dtype)
    return b.add(b.mul(take(low), b.sub(b.like(share, 1.0), share)), b.mul(take(high), share))


# ---- running totals
@RULES.load("ops.Cumsum", "ops.Cumprod", "ops.Nancumsum", "ops.Nancumprod")
def running(g: KerasContext, node: ForeignNode) -> Value:
    """Running sum or product along an axis, of all elements in their order without one."""
    x, b = node.need(0), g.b
    x, axis = flat_or_axis(g, node, x)
    to = node.attr("dtype", None)
    if to is not None:
        x = b.cast(x, to=DType(to))
    elif x.dtype is DType.BOOL:
        x = b.cast(x, to="int32")
    multiply = node.type.endswith("prod")
    if "Nan" in node.type:
        x = _filled(g, x, float(multiply))
    return b.cumprod(x, axis=axis) if multiply else b.cumsum(x, axis=axis)


@RULES.load("ops.Diff")
def diff(g: KerasContext, node: ForeignNode) -> Value:
    """Differences of neighbours, ``n`` times; of booleans whether they differ."""
    x, b = node.need(0), g.b
    axis = node.axis_in(node.attr("axis", -1), len(known_shape(x)))
    for _ in range(int(node.attr("n", 1))):
        after, before = _cut(g, x, axis, 1, None), _cut(g, x, axis, 0, -1)
        x = b.xor(after, before) if x.dtype is DType.BOOL else b.sub(after, before)
    return x


def _cut(g: KerasContext, x: Value, axis: int, start: int, stop: int | None) -> Value:
    rank = len(known_shape(x))
    starts: list[int] = [0] * rank
    stops: list[int | None] = [None] * rank
    starts[axis], stops[axis] = start, stop
    return g.b.slice(x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)


@RULES.load("ops.Trapezoid")
def trapezoid(g: KerasContext, node: ForeignNode) -> Value:
    """The integral of ``y`` by trapezoids, at places ``x`` or steps ``dx``."""
    y, b = node.need(0), g.b
    rank = len(known_shape(y))
    axis, places = node.axis_in(node.attr("axis", -1), rank), node.attr("x", None)
    pair = b.add(_cut(g, y, axis, 1, None), _cut(g, y, axis, 0, -1))
    step: Value
    if places is None:
        step = b.like(y, float(node.attr("dx", 1.0)))
    else:
        where = places if isinstance(places, Value) else b.const(places)
        where = where if where.dtype is y.dtype else b.cast(where, to=y.dtype)
        along = axis if where.rank == rank else 0
        if where.rank not in (1, rank):
            raise node.refuse("its x is neither a vector nor of the shape of y")
        step = b.sub(_cut(g, where, along, 1, None), _cut(g, where, along, 0, -1))
        if where.rank == 1 and rank > 1:
            step = b.reshape(step, shape=tuple(known_shape(step, sizes=True)[0] if a == axis else 1 for a in range(rank)))
    return b.mul(b.sum(b.mul(pair, step), axes=(axis,), keepdims=False), b.like(y, 0.5))


@RULES.load("ops.Corrcoef")
def corrcoef(g: KerasContext, node: ForeignNode) -> Value:
    """Correlation of the rows of a matrix."""
    x, b = node.need(0), g.b
    if len(known_shape(x)) != 2:
        raise node.refuse("is of a tensor that is no matrix")
    apart = b.sub(x, b.mean(x, axes=(1,), keepdims=True))
    products = b.matmul(apart, b.transpose(apart, perm=(1, 0)))
    squares = b.sum(b.square(apart), axes=(1,), keepdims=True)
    size = b.sqrt(squares)
    return b.clip(b.div(products, b.mul(size, b.transpose(size, perm=(1, 0)))), min=-1.0, max=1.0)


@RULES.load("ops.Norm")
def norm(g: KerasContext, node: ForeignNode) -> Value:
    """Norm of vectors (one axis) or matrices (two) of an ``ord``; without both, the 2-norm of all elements."""
    x, b = node.need(0), g.b
    order, keep, axes = node.attr("ord", None), bool(node.attr("keepdims", False)), axes_of(node, x)
    rank = len(known_shape(x))
    axis = node.attr("axis", None)
    if order is None and (axes is None or len(axes) <= 2):
        return b.l2_norm(x, axes=axes, keepdims=keep)
    axes = tuple(range(rank)) if axes is None else axes
    if len(axes) == 1:
        return _vector_norm(g, node, x, order, axes, keep)
    if len(axes) != 2:
        raise node.refuse(f"is over {len(axes)} axes")
    if order in (None, "fro"):
        return b.l2_norm(x, axes=axes, keepdims=keep)
    if order not in (1, -1, math.inf, -math.inf):
        raise node.refuse(f"ord={order!r} of matrices needs their singular values")
    row, column = axes if axis is None else node.axes_in(axis, rank)
    inner, outer = (row, column) if order in (1, -1) else (column, row)
    sums = b.l1_norm(x, axes=(inner,), keepdims=True)
    y = b.max(sums, axes=(outer,), keepdims=True) if order in (1, math.inf) else b.min(sums, axes=(outer,), keepdims=True)
    return y if keep else b.squeeze(y, axes=axes)


def _vector_norm(g: KerasContext, node: ForeignNode, x: Value, order: Any, axes: Sequence[int], keep: bool) -> Value:
    b = g.b
    if order == 2:
        return b.l2_norm(x, axes=axes, keepdims=keep)
    if order == 1:
        return b.l1_norm(x, axes=axes, keepdims=keep)
    if not isinstance(order, (int, float)):
        raise node.refuse(f"ord={order!r} of vectors")
    if order == 0:
        return b.sum(b.cast(truth(g, x), to=x.dtype), axes=axes, keepdims=keep)
    size = b.abs(x)
    if math.isinf(order):
        return b.max(size, axes=axes, keepdims=keep) if order > 0 else b.min(size, axes=axes, keepdims=keep)
    powers = b.sum(b.pow(size, b.like(x, float(order))), axes=axes, keepdims=keep)
    return b.pow(powers, b.like(x, 1.0 / order))
