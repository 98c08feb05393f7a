"""Shapes, joining and parting, order of axes (``keras.src.ops.numpy``, ``.core``; Keras 3.15.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import A, Dim, DimLike, DType, ForeignNode, NotExpressible, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .reduce import flat_or_axis
from .spec import operation, operations

__all__ = ["cut", "reshaped"]

RULES.op(operation("ExpandDims", "x"), "unsqueeze", "x=x", axes=A("axis", iso="axis_or_axes"))
operations("Reshape Squeeze Transpose Swapaxes Moveaxis Ravel BroadcastTo Flip Flipud Fliplr", "x")
RULES.op(operation("Tile", "x"), "tile", "x=x", repeats=A("repeats", iso="tuple"), direction="emit")
RULES.op(operation("Repeat", "x"), "repeat", "x=x", repeats=A("repeats"), axis=A("axis"), direction="emit")
RULES.op(operation("Roll", "x"), "roll", "x=x", shifts=A("shift", iso="tuple"), axes=A("axis", iso="tuple"), direction="emit")
operation("Rot90", "array")
operation("Pad", "x, constant_values?", tensors="x")


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
    if isinstance(target, Value):
        raise NotExpressible("its shape is computed", "unsupported_call")
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
