"""Shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, Node, NotExpressible, Value

from ..rules.base import RULES
from .base import E, items, pad_list, shape_of, sizes, static


@RULES.emit("reshape")
def reshape(e: E, node: Node) -> None:
    """One symbolic size is -1 where the others leave no doubt; torch.flatten where it is that."""
    x = node.need("x")
    target = tuple(node.attrs["shape"])
    own = x.shape
    h = e.value(x, carry=True)
    if own is not None and len(target) == 2 and len(own) > 2 and target[0] == own[0] and isinstance(target[1], int):
        e.call("torch.flatten", [h, 1], outputs=node.outputs, carry=True)
        return
    free = [i for i, d in enumerate(target) if isinstance(d, Dim)]
    if len(free) == 1 and all(d != 0 for i, d in enumerate(target) if i != free[0]):
        target = tuple(-1 if i == free[0] else d for i, d in enumerate(target))
    e.call(".reshape", [h, *(sizes(e, target, x) or [()])], outputs=node.outputs, carry=True)


def _axes(x: Value, axes: Sequence[int], more: int) -> tuple[int, ...]:
    """Axes counted from the front, in order; those of a tensor whose number of axes is not known must be that already."""
    if x.shape is None and all(a >= 0 for a in axes):
        return tuple(sorted(axes))
    rank = len(shape_of(x)) + more
    return tuple(sorted(a % rank for a in axes))


@RULES.emit("squeeze")
def squeeze(e: E, node: Node) -> None:
    """Axes of size 1. torch keeps an axis of another size without a word: one that may have it is unpacked, which fails then."""
    x = node.need("x")
    axes = _axes(x, node.attrs["axes"], 0)
    open_ = [a for a in axes if x.shape is None or x.shape[a] != 1]
    known = tuple(a - sum(o < a for o in open_) for a in axes if a not in open_)
    h = e.value(x, carry=True)
    if not axes:
        e.alias(node.output, h)
    for a in reversed(open_):
        last = a == open_[0] and not known
        (h,) = e.call(".unbind", [h, a], outputs=node.outputs if last else (), carry=True)
    if known:
        e.call(".squeeze", [h, known[0] if len(known) == 1 else known], outputs=node.outputs, carry=True)


@RULES.emit("unsqueeze")
def unsqueeze(e: E, node: Node) -> None:
    """New axes, one after the other."""
    x = node.need("x")
    axes: tuple[int, ...] = tuple(node.attrs["axes"])
    if len(axes) != 1:  # one alone may count from the end
        axes = _axes(x, axes, len(axes))
    h = e.value(x, carry=True)
    if not axes:
        e.alias(node.output, h)
    for a in axes:
        (h,) = e.call(".unsqueeze", [h, a], outputs=node.outputs if a == axes[-1] else (), carry=True)


@RULES.emit("expand")
def expand(e: E, node: Node) -> None:
    """Broadcast to a shape. Sizes of the other side may be larger, as in numpy."""
    x = node.need("x")
    out = shape_of(node.output)
    e.call(".expand", [e.value(x, carry=True), *(sizes(e, out, x) or [()])], outputs=node.outputs, carry=True)


@RULES.emit("tile")
def tile(e: E, node: Node) -> None:
    """Of a tensor without axes: itself. Any other is a row."""
    if node.attrs["repeats"]:
        raise NotExpressible("it has axes")
    e.alias(node.output, e.value(node.need("x"), carry=True))


MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@RULES.emit("dynamic_reshape")
def dynamic_reshape(e: E, node: Node) -> None:
    """A shape that is computed; a 0 in it may keep a size: see ``reshape`` in ``written.py``."""
    x, shape = node.need("x"), node.need("shape")
    kept = node.attrs["zero_copies"]
    operands = [e.value(x, carry=True), items(e, shape)]
    e.call("reshape" if kept else ".reshape", operands, outputs=node.outputs, carry=True)


@RULES.emit("dynamic_expand")
def dynamic_expand(e: E, node: Node) -> None:
    """Both ways, as numpy broadcasts."""
    x, shape = node.need("x"), node.need("shape")
    h = e.value(x, carry=True)
    (own,) = e.call(".size", [h])
    (full,) = e.call("torch.broadcast_shapes", [own, items(e, shape)])
    e.call(".expand", [h, full], outputs=node.outputs, carry=True)


@RULES.emit("pad")
def pad(e: E, node: Node) -> None:
    """Constants everywhere; other modes by F.pad where it has them, else by reading every place from where it comes."""
    x = node.need("x")
    pads, mode = node.attrs["pads"], node.attrs["mode"]
    if x.dtype is DType.BOOL and mode != "constant":
        raise NotExpressible("truth values repeated at the edge")
    rank = len(shape_of(x))
    flat: tuple[Any, ...] = pad_list(pads)
    if mode == "constant":
        value = node.attrs["value"]
        at = sizes(e, flat, x)
        e.call("F.pad", [e.value(x, carry=True), tuple(at)], {"value": value or None}, outputs=node.outputs, carry=True)
        return
    static(flat, "pads")
    d = max(len(flat) // 2, rank - 2)
    known = MODES.get(mode) and d <= 3 and rank in (d + 1, d + 2) and x.dtype is not None and x.dtype.is_float
    if known and all(n >= 0 for n in flat):
        flat = tuple(n for pair in reversed(pads[rank - d :]) for n in pair)
        e.call("F.pad", [e.value(x, carry=True), flat], {"mode": MODES[mode]}, outputs=node.outputs, carry=True)
        return
    h, todo = e.value(x, carry=True), [i for i, pair in enumerate(pads) if any(pair)]
    if not todo:
        e.alias(node.output, h)
    for i in todo:
        (n,) = static(shape_of(x)[i : i + 1], "sizes")
        where = np.arange(max(-pads[i][0], 0), n - max(-pads[i][1], 0))  # cropped before it grows
        where = np.pad(where, [max(p, 0) for p in pads[i]], mode=mode)
        out = node.outputs if i == todo[-1] else ()
        (h,) = e.call("torch.index_select", [h, i, e.const(where.astype(np.int64))], outputs=out, carry=True)
