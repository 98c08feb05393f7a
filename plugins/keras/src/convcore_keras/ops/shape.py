"""Shapes, joining and parting, order of axes (``keras.src.ops.numpy``, ``.core``; Keras 3.15.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import A, Dim, DimLike, DType, ForeignNode, NotExpressible, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .reduce import flat_or_axis
from .spec import operation, operations, to_dtype

__all__ = ["cut", "reshaped"]

RULES.op(operation("ExpandDims", "x"), "unsqueeze", "x=x", axes=A("axis", iso="axis_or_axes"))
RULES.op(
    operation("Concatenate", "xs", "join", tensors="xs*", joined="xs"),
    "concat",
    "xs=xs*",
    axis=A("axis", -1, write_default=True),
    alike=("dtype",),
)
operations("Reshape Squeeze Transpose Swapaxes Moveaxis Ravel BroadcastTo Tile Repeat Roll Flip Flipud Fliplr", "x")
operation("Rot90", "array")
operations("Split ArraySplit Hsplit Vsplit Dsplit Unstack Tril Triu Diag Diagflat Diagonal Trace Size Ndim Vander", "x")
operations("Hstack Vstack Dstack", "xs", "join", tensors="xs*", joined="xs")
operation("Stack", "x", "join", tensors="x*", joined="x")
operation("Append", "x1, x2", "join")
operation("Pad", "x, constant_values?", tensors="x")
operation("Meshgrid", "x", tensors="*x")
operation("ZerosLike", "x")
operation("OnesLike", "x")
operation("EmptyLike", "x")
operation("FullLike", "x, fill_value", tensors="x")
operation("Full", "fill_value")
for _class in ("Linspace", "Logspace", "Geomspace"):
    operation(_class, "start, stop", "float")
operation("Arange", "start, stop?, step?", tensors="")


def reshaped(g: KerasContext, node: ForeignNode, x: Value, target: Sequence[Any]) -> Value:
    """The elements under another shape: -1 (or None) once for what is left."""
    wanted = [-1 if n is None else n for n in target]
    if any(isinstance(n, Value) for n in wanted):
        raise NotExpressible("its shape is computed", "unsupported_call")
    if not all(isinstance(n, (int, Dim)) for n in wanted):
        raise node.refuse(f"the shape {str(tuple(target))[:80]} does not hold sizes", code="invalid_shape")
    if wanted.count(-1) > 1 or any(isinstance(n, int) and n < -1 for n in wanted):
        raise node.refuse(f"the shape {tuple(target)} has more than one unknown size")
    have = product(known_shape(x, sizes=True))
    if -1 in wanted:
        rest = product([n for n in wanted if n != -1])
        if rest == 0 or (isinstance(have, int) and isinstance(rest, int) and have % rest):
            raise node.refuse(f"{have} elements do not divide into {tuple(target)}", code="invalid_shape")
        wanted[wanted.index(-1)] = have // rest
    return g.b.reshape(x, shape=tuple(wanted))


def cut(g: KerasContext, x: Value, axis: int, start: DimLike, stop: DimLike | None) -> Value:
    """A slice along one axis."""
    rank = len(known_shape(x))
    starts: list[DimLike] = [0] * rank
    stops: list[DimLike | None] = [None] * rank
    starts[axis], stops[axis] = start, stop
    return g.b.slice(x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)


@RULES.load("ops.Reshape")
def reshape(g: KerasContext, node: ForeignNode) -> Value:
    """All axes under another shape; the unknown size of a batch follows from the rest."""
    x = node.need(0)
    target = node.attr("newshape", None)
    target = node.attr("shape", None) if target is None else target
    if target is None:
        raise node.refuse("its shape is missing", code="missing_attribute")
    return reshaped(g, node, x, [target] if isinstance(target, int) else target)


@RULES.load("ops.Ravel")
def ravel(g: KerasContext, node: ForeignNode) -> Value:
    """All elements in one line."""
    x = node.need(0)
    return g.b.reshape(x, shape=(product(known_shape(x, sizes=True)),))


@RULES.load("ops.ExpandDims")
def expand_dims(g: KerasContext, node: ForeignNode) -> Value:
    """Axes of size 1 inserted, at positions that count in the result."""
    x, axis = node.need(0), node.attr("axis")
    axes = [axis] if isinstance(axis, int) else list(axis)
    rank = len(known_shape(x)) + len(axes)
    return g.b.unsqueeze(x, axes=tuple(sorted(node.axes_in(axes, rank))))


@RULES.load("ops.Squeeze")
def squeeze(g: KerasContext, node: ForeignNode) -> Value:
    """Without axes of size 1: those named, or all whose size is known to be 1."""
    x, axis = node.need(0), node.attr("axis", None)
    shape = known_shape(x)
    if axis is None:
        return g.b.squeeze(x, axes=tuple(i for i, n in enumerate(shape) if isinstance(n, int) and n == 1))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return g.b.squeeze(x, axes=tuple(sorted(node.axes_in(axes, len(shape)))))


@RULES.load("ops.Transpose", "ops.Swapaxes", "ops.Moveaxis", "ops.Rot90")
def transpose(g: KerasContext, node: ForeignNode) -> Value:
    """Axes in another order: turned round without ``axes``, two swapped, some moved; Rot90 flips one of two that it swaps."""
    x, b = node.need(0), g.b
    rank = len(known_shape(x))
    order = list(range(rank))
    if node.type == "ops.Transpose":
        axes = node.attr("axes", None)
        return b.transpose(x, perm=tuple(reversed(order)) if axes is None else tuple(node.axes_in(axes, rank)))
    if node.type == "ops.Swapaxes":
        i, j = node.axis_in(node.attr("axis1"), rank), node.axis_in(node.attr("axis2"), rank)
        order[i], order[j] = order[j], order[i]
        return b.transpose(x, perm=tuple(order))
    if node.type == "ops.Moveaxis":
        source, to = node.attr("source"), node.attr("destination")
        source, to = (node.axes_in(v, rank) for v in (source, to))
        if len(source) != len(to):
            raise node.refuse(f"moves {len(source)} axes to {len(to)} places")
        rest = [a for a in order if a not in source]
        for place, axis in sorted(zip(to, source)):
            rest.insert(place, axis)
        return b.transpose(x, perm=tuple(rest))
    turns, (i, j) = int(node.attr("k", 1)) % 4, node.axes_in(node.attr("axes", (0, 1)), rank)
    if turns == 2:
        return b.flip(x, axes=(i, j))
    if not turns:
        return b.identity(x)
    order[i], order[j] = order[j], order[i]
    if turns == 1:
        return b.transpose(b.flip(x, axes=(j,)), perm=tuple(order))
    return b.flip(b.transpose(x, perm=tuple(order)), axes=(j,))


@RULES.load("ops.Flip", "ops.Flipud", "ops.Fliplr")
def flip(g: KerasContext, node: ForeignNode) -> Value:
    """Reversed along axes, all of them by default; ``flipud`` the first, ``fliplr`` the second."""
    x = node.need(0)
    rank = len(known_shape(x))
    if node.type != "ops.Flip":
        return g.b.flip(x, axes=(0 if node.type == "ops.Flipud" else 1,))
    axis = node.attr("axis", None)
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    return g.b.flip(x, axes=tuple(sorted(node.axes_in(axes, rank))))


@RULES.load("ops.Roll")
def roll(g: KerasContext, node: ForeignNode) -> Value:
    """Moved cyclically, all elements as one line without an axis."""
    x, shift, axis, b = node.need(0), node.attr("shift"), node.attr("axis", None), g.b
    shape = known_shape(x, sizes=True)
    if axis is None:
        line = b.reshape(x, shape=(product(shape),))
        return b.reshape(b.roll(line, shifts=(int(shift),), axes=(0,)), shape=shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    return b.roll(x, shifts=shifts, axes=tuple(node.axes_in(axes, len(shape))))


@RULES.load("ops.BroadcastTo")
def broadcast_to(g: KerasContext, node: ForeignNode) -> Value:
    """A tensor broadcast to a shape; an unknown size (the batch) is the tensor's own."""
    x = node.need(0)
    have, want = known_shape(x, sizes=True), list(node.attr("shape"))
    for i, n in enumerate(want):
        at = i - len(want) + len(have)
        if n is None and at < 0:
            raise node.refuse(f"broadcasts to the unknown size of axis {i}")
        want[i] = have[at] if n is None else n
    return g.b.expand(x, shape=tuple(want))


@RULES.load("ops.Tile")
def tile(g: KerasContext, node: ForeignNode) -> Value:
    """The whole repeated along each axis; counts are for the last ones."""
    x, repeats = node.need(0), node.attr("repeats")
    repeats = [repeats] if isinstance(repeats, int) else list(repeats)
    rank = len(known_shape(x))
    if len(repeats) > rank:
        x = g.b.unsqueeze(x, axes=tuple(range(len(repeats) - rank)))
    return g.b.tile(x, repeats=(1,) * (rank - len(repeats)) + tuple(int(n) for n in repeats))


@RULES.load("ops.Repeat")
def repeat(g: KerasContext, node: ForeignNode) -> Value:
    """Each element along an axis repeated in place, by one count or one for each."""
    x, repeats = node.need(0), node.attr("repeats")
    x, axis = flat_or_axis(g, node, x)
    repeats = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    if isinstance(repeats, (list, tuple)) and len(repeats) == 1:
        repeats = repeats[0]
    if isinstance(repeats, int):
        return g.b.repeat(x, repeats=repeats, axis=axis)
    if isinstance(repeats, Value):
        raise node.refuse("its counts are computed")
    return g.b.gather(x, g.b.const(np.repeat(np.arange(len(repeats)), repeats).astype(np.int64)), axis=axis)


# ---- joining and parting
@RULES.load("ops.Concatenate", "ops.Append", "ops.Hstack", "ops.Vstack", "ops.Dstack")
def concatenate(g: KerasContext, node: ForeignNode) -> Value:
    """One after another: along an axis, the second (of vectors the only one), the first, or the third; Append of all elements
    without an axis."""
    xs, b = node.needed(), g.b
    kind = node.type.removeprefix("ops.")
    if kind == "Append" and node.attr("axis", None) is None:
        xs = [b.reshape(x, shape=(product(known_shape(x, sizes=True)),)) for x in xs]
        return b.concat(*xs, axis=0)
    if kind in ("Concatenate", "Append"):
        axis = node.attr("axis", 0)
        if axis is None:
            raise node.refuse("axis=None")
        return b.concat(*xs, axis=int(axis))
    least = {"Hstack": 1, "Vstack": 2, "Dstack": 3}[kind]
    xs = [_at_least(g, x, least) for x in xs]
    return b.concat(*xs, axis={"Hstack": min(1, len(known_shape(xs[0])) - 1), "Vstack": 0, "Dstack": 2}[kind])


def _at_least(g: KerasContext, x: Value, rank: int) -> Value:
    """numpy.atleast_nd: a vector becomes a row, and (1, n, 1)."""
    have = len(known_shape(x))
    if have >= rank:
        return x
    axes = {(0, 1): (0,), (0, 2): (0, 1), (0, 3): (0, 1, 2), (1, 2): (0,), (1, 3): (0, 2), (2, 3): (2,)}[have, rank]
    return g.b.unsqueeze(x, axes=axes)


@RULES.load("ops.Stack")
def stack(g: KerasContext, node: ForeignNode) -> Value:
    """Tensors of one shape along a new axis."""
    return g.b.stack(*node.needed(), axis=int(node.attr("axis", 0)))


@RULES.load("ops.Split", "ops.ArraySplit", "ops.Hsplit", "ops.Vsplit", "ops.Dsplit")
def split(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Equal parts (ArraySplit: the first ones longer by one), or parts that begin at indices."""
    x, where = node.need(0), node.attr("indices_or_sections")
    shape = known_shape(x, sizes=True)
    kind = node.type.removeprefix("ops.")
    named = {"Hsplit": min(1, len(shape) - 1), "Vsplit": 0, "Dsplit": 2}
    axis = node.axis_in(named[kind] if kind in named else node.attr("axis", 0), len(shape))
    n = shape[axis]
    where = where.tolist() if hasattr(where, "tolist") else where
    several = where if isinstance(where, (list, tuple)) else [where]
    if any(isinstance(i, bool) or not isinstance(i, int) for i in several) or (isinstance(where, int) and where < 1):
        raise node.refuse(f"indices_or_sections={where!r}")
    if isinstance(where, int):
        if not isinstance(n, int):
            if kind == "ArraySplit":
                raise node.refuse("parts an axis of unknown size", code="unknown_shape")
            return g.b.split(x, axis=axis, sizes=(n // where,) * where)
        if n % where and kind != "ArraySplit":
            raise node.refuse(f"{n} is not {where} equal parts", code="invalid_shape")
        sizes: list[DimLike] = [n // where + (i < n % where) for i in range(where)]
        return g.b.split(x, axis=axis, sizes=tuple(sizes))
    if isinstance(n, int):
        bounds = [0, *(len(range(n)[: int(i)]) for i in where), n]
        return [cut(g, x, axis, a, max(a, e)) for a, e in zip(bounds, bounds[1:])]
    if any(i < 0 for i in where) or list(where) != sorted(where):
        raise node.refuse(f"parts an axis of unknown size at {where}", code="unknown_shape")
    ends: list[int | None] = [*where, None]
    return [cut(g, x, axis, a, e) for a, e in zip([0, *where], ends, strict=True)]


@RULES.load("ops.Unstack")
def unstack(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Every slice along an axis."""
    x, num = node.need(0), node.attr("num", None)
    return g.b.unstack(x, axis=node.axis_in(node.attr("axis", 0), len(known_shape(x))), num=num)


@RULES.load("ops.Meshgrid")
def meshgrid(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Vectors along an axis each, expanded over the others; "xy" swaps the first two."""
    indexing, b = node.attr("indexing", "xy"), g.b
    lines = [b.reshape(x, shape=(product(known_shape(x, sizes=True)),)) for x in node.needed()]
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    sizes = [known_shape(x, sizes=True)[0] for x in lines]
    full: list[DimLike] = [0] * len(lines)
    for i, axis in enumerate(order):
        full[axis] = sizes[i]
    shapes = [tuple(sizes[i] if a == axis else 1 for a in range(len(lines))) for i, axis in enumerate(order)]
    return [b.expand(b.reshape(x, shape=s), shape=tuple(full)) for x, s in zip(lines, shapes, strict=True)]


@RULES.load("ops.Pad")
def pad(g: KerasContext, node: ForeignNode) -> Value:
    """Grown by (before, after) per axis; one pair, or number, is for all axes."""
    x, width, mode = node.need(0), node.attr("pad_width"), node.attr("mode", "constant")
    value = node.attr("constant_values", None)
    rank = len(known_shape(x))
    width = width.tolist() if hasattr(width, "tolist") else width
    if isinstance(width, int):
        pairs = ((width, width),) * rank
    elif all(isinstance(n, int) for n in width):
        pairs = ((width[0], width[-1]),) * rank
    else:
        pairs = tuple((int(p[0]), int(p[-1])) for p in width)
        pairs = pairs * rank if len(pairs) == 1 else pairs
    if len(pairs) != rank:
        raise node.refuse(f"pads {len(pairs)} axes of {rank}")
    if mode not in ("constant", "reflect", "symmetric", "edge", "wrap"):
        raise node.refuse(f"mode={mode!r}")
    if isinstance(value, (np.ndarray, np.generic)) and np.size(value) == 1:
        value = np.asarray(value).item()
    if value is not None and not isinstance(value, (bool, int, float)):
        raise node.refuse("its constant is computed")
    number: Any = 0 if value is None else value
    return g.b.pad(x, pads=pairs, mode=mode, value=bool(number) if x.dtype is DType.BOOL else number)


# ---- triangles and diagonals
@RULES.load("ops.Tril", "ops.Triu")
def triangle(g: KerasContext, node: ForeignNode) -> Value:
    """The lower or upper triangle of the last two axes."""
    x = node.need(0)
    upper, k = node.type == "ops.Triu", int(node.attr("k", 0))
    if x.dtype is DType.BOOL:
        return g.b.cast(g.b.trilu(g.b.cast(x, to="int32"), upper=upper, k=k), to="bool")
    return g.b.trilu(x, upper=upper, k=k)


def _diagonal(g: KerasContext, node: ForeignNode, x: Value, offset: int, i: int, j: int) -> Value:
    """The diagonal of axes ``i`` and ``j`` as the last axis."""
    shape, b = known_shape(x, sizes=True), g.b
    rank = len(shape)
    i, j = node.axes_in((i, j), rank)
    n, m = shape[i], shape[j]
    if not isinstance(n, int) or not isinstance(m, int):
        raise node.refuse("is of an axis of unknown size", code="unknown_shape")
    first, second = max(-offset, 0), max(offset, 0)
    count = max(0, min(n - first, m - second))
    rest = [a for a in range(rank) if a not in (i, j)]
    line = b.transpose(x, perm=(*rest, i, j))
    line = b.reshape(line, shape=(*(shape[a] for a in rest), n * m))
    return b.gather(line, b.const([(first + t) * m + second + t for t in range(count)], "int64"), axis=-1)


@RULES.load("ops.Diagonal")
def diagonal(g: KerasContext, node: ForeignNode) -> Value:
    """The elements of a diagonal of two axes."""
    return _diagonal(g, node, node.need(0), int(node.attr("offset", 0)), int(node.attr("axis1", 0)), int(node.attr("axis2", 1)))


@RULES.load("ops.Trace")
def trace(g: KerasContext, node: ForeignNode) -> Value:
    """The sum of a diagonal; small integers as int32."""
    x = node.need(0)
    line = _diagonal(g, node, x, int(node.attr("offset", 0)), int(node.attr("axis1", 0)), int(node.attr("axis2", 1)))
    if line.dtype is not None and not line.dtype.is_float and line.dtype.itemsize < 4:
        line = g.b.cast(line, to="int32")
    return g.b.sum(line, axes=(-1,), keepdims=False)


@RULES.load("ops.Diag", "ops.Diagflat")
def diag(g: KerasContext, node: ForeignNode) -> Value:
    """A matrix with a vector on its diagonal; Diag of a matrix is its diagonal, Diagflat makes any tensor a vector."""
    x, k, b = node.need(0), int(node.attr("k", 0)), g.b
    shape = known_shape(x, sizes=True)
    if node.type == "ops.Diag" and len(shape) == 2:
        return _diagonal(g, node, x, k, 0, 1)
    if node.type == "ops.Diag" and len(shape) != 1:
        raise node.refuse(f"is of a tensor of {len(shape)} axes")
    n = product(shape)
    if not isinstance(n, int):
        raise node.refuse("is of a vector of unknown size", code="unknown_shape")
    size = n + abs(k)
    line = b.reshape(x, shape=(n,))
    places = np.full((size, size), n, np.int64)
    t = np.arange(n)
    places[t + max(-k, 0), t + max(k, 0)] = t
    number: Any = False if x.dtype is DType.BOOL else 0
    return b.gather(b.pad(line, pads=((0, 1),), value=number), b.const(places), axis=0)


@RULES.load("ops.Vander")
def vander(g: KerasContext, node: ForeignNode) -> Value:
    """Powers of a vector's elements as columns, falling unless ``increasing``."""
    x, n, b = node.need(0), node.attr("N", None), g.b
    (size,) = known_shape(x, sizes=True) if len(known_shape(x)) == 1 else (None,)
    n = size if n is None else n
    if not isinstance(n, int):
        raise node.refuse("the number of columns is not known")
    column, columns = b.unsqueeze(x, axes=(1,)), []
    power = b.fill(shape=known_shape(column, sizes=True), value=1, dtype=x.dtype)
    for _ in range(n):
        columns.append(power)
        power = b.mul(power, column)
    return b.concat(*(columns if node.attr("increasing", False) else reversed(columns)), axis=1)


# ---- constants shaped like a tensor, and sizes
@RULES.load("ops.ZerosLike", "ops.OnesLike")
def constant_like(g: KerasContext, node: ForeignNode) -> Value:
    """Zeros or ones with the shape of a tensor."""
    x = node.need(0)
    dtype = node.attr("dtype", None) or str(x.dtype)
    value: Any = node.type == "ops.OnesLike"
    return g.b.fill(shape=known_shape(x, sizes=True), value=value if dtype == "bool" else int(value), dtype=dtype)


@RULES.load("ops.FullLike", "ops.Full")
def full(g: KerasContext, node: ForeignNode) -> Value:
    """A number, or a tensor broadcast, in the shape of a tensor or a given one."""
    like = node.type == "ops.FullLike"
    x = node.need(0)
    value = node.attr("fill_value") if like else x
    dtype = node.attr("dtype", None) or (str(x.dtype) if like else "float32")
    shape = known_shape(x, sizes=True) if like else tuple(node.attr("shape"))
    return g.b.expand(to_dtype(g, np.asarray(value) if isinstance(value, list) else value, DType(dtype)), shape=shape)


@RULES.load("ops.EmptyLike")
def empty(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: its elements have no value."""
    raise node.refuse("makes a tensor whose elements are not defined")


@RULES.load("ops.Size")
def size(g: KerasContext, node: ForeignNode) -> Value:
    """The number of elements, int32."""
    return g.b.cast(g.b.size_of(node.need(0)), to="int32")


@RULES.load("ops.Ndim")
def ndim(g: KerasContext, node: ForeignNode) -> Value:
    """The number of axes, in the dtype that Keras states (``Ndim.compute_output_spec``: float32, of int32 elsewhere)."""
    raise node.refuse("its result is a Python number when it runs, not a tensor")


@RULES.load("ops.Linspace", "ops.Logspace", "ops.Geomspace")
def spaced(g: KerasContext, node: ForeignNode) -> Any:
    """``num`` numbers from start to stop: evenly, as powers of ``base``, or in even ratio, along a new axis."""
    start, stop, b = node.need(0), node.need(1), g.b
    num, end, to = int(node.attr("num", 50)), bool(node.attr("endpoint", True)), node.attr("dtype", None)
    axis, kind = int(node.attr("axis", 0)), node.type.removeprefix("ops.")
    if kind == "Geomspace":
        sign, start, stop = b.sign(start), b.log(b.abs(start)), b.log(b.abs(stop))
    start, stop = b.add(start, b.mul(stop, b.like(stop, 0.0))), b.add(stop, b.mul(start, b.like(start, 0.0)))
    rank = len(known_shape(start)) + 1
    axis %= rank
    steps = np.arange(num) / max(num - 1 if end else num, 1)
    weights = b.const(steps.reshape(tuple(num if a == axis else 1 for a in range(rank))), start.dtype)
    first, last = b.unsqueeze(start, axes=(axis,)), b.unsqueeze(stop, axes=(axis,))
    y = b.add(b.mul(first, b.sub(b.like(weights, 1.0), weights)), b.mul(last, weights))
    if kind == "Logspace":
        y = b.pow(b.like(y, float(node.attr("base", 10))), y)
    elif kind == "Geomspace":
        y = b.mul(b.exp(y), b.unsqueeze(sign, axes=(axis,)))
    y = y if to is None else b.cast(y, to=DType(to))
    if kind == "Linspace" and node.attr("retstep", False):
        return y, b.div(b.sub(stop, start), b.like(start, float(max(num - 1 if end else num, 1))))
    return y
