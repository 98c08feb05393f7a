"""Moves between channels and space: depth_to_space, space_to_depth, shuffle_channels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..opset.axes import CHANNELS, Axis
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import axis_sizes
from ..opset.traits import Trait

BLOCKS = OpSet("blocks")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

_ATTRS = {
    "block": Attr("int", doc="side of a block in pixels"),
    "mode": Attr(
        "str", "DCR", ("DCR", "CRD"),
        doc="deep channels are (row, column, channel): DCR, TensorFlow, ONNX; or (channel, row, column): CRD, torch",
    ),
    "layout": Attr("str", "channels_first", ("channels_first", "channels_last"), doc="order of the axes of x and y"),
}  # fmt: skip


def _divided(c: InferContext, n: DimLike | None, k: int, what: str) -> DimLike | None:
    if isinstance(n, int) and n % k:
        c.fail(f"{n} {what} do not divide by {k}")
    return None if n is None else n // k


def _sizes(c: InferContext, up: bool) -> Shapes:
    x, k = c.shape("x"), c["block"]
    if k < 1:
        c.fail(f"block={k} must be positive")
    c.rank("x", 4)
    if x is None:
        return [(c.dtype("x"), None)]
    n, ch, (h, w) = axis_sizes(x, c["layout"])
    if up:
        ch = _divided(c, ch, k * k, "channels")
        h, w = (None if d is None else d * k for d in (h, w))
    else:
        ch = None if ch is None else ch * (k * k)
        h, w = _divided(c, h, k, "rows"), _divided(c, w, k, "columns")
    return [(c.dtype("x"), (n, ch, h, w) if c["layout"] == "channels_first" else (n, h, w, ch))]


def _plan(shape: Any, block: int, mode: str, layout: str, up: bool) -> tuple[Any, Any, Any]:
    """``(first shape, permutation, last shape)``: reshape, transpose, reshape. Every size of ``shape`` is known."""
    k = block
    n, c, h, w = shape if layout == "channels_first" else (shape[0], shape[3], shape[1], shape[2])
    first = layout == "channels_first"
    if up:
        d = c // (k * k)
        deep = (k, k, d) if mode == "DCR" else (d, k, k)
        rows, cols, chan = (1, 2, 3) if mode == "DCR" else (2, 3, 1)  # positions of the deep axes, channels first
        if first:
            return (n, *deep, h, w), (0, chan, 4, rows, 5, cols), (n, d, h * k, w * k)
        return (n, h, w, *deep), (0, 1, rows + 2, 2, cols + 2, chan + 2), (n, h * k, w * k, d)
    a, b = h // k, w // k
    if first:  # n c a k b k
        perm = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return (n, c, a, k, b, k), perm, (n, c * k * k, a, b)
    perm = (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4)  # n a k b k c
    return (n, a, k, b, k, c), perm, (n, a, b, c * k * k)


def _move(up: bool) -> Any:
    def reference(x: Array, block: int, mode: str, layout: str) -> Array:
        first, perm, last = _plan(x.shape, block, mode, layout, up)
        y: Array = x.reshape(first).transpose(perm).reshape(last)
        return y

    return reference


def _move_body(up: bool) -> Any:
    def body(b: Any, x: Any, **attrs: Any) -> Any:
        b.require(x.shape is not None and None not in x.shape, "needs the shape of its input")
        first, perm, last = _plan(x.shape, attrs["block"], attrs["mode"], attrs["layout"], up)
        return b.reshape(b.transpose(b.reshape(x, shape=first), perm=perm), shape=last)

    return body


BLOCKS.op(
    "depth_to_space", "x", "Groups of block*block channels become blocks of pixels (pixel shuffle).", attrs=_ATTRS,
    infer=lambda c: _sizes(c, True), reference=_move(True), axes=CHANNELS("x", "y"), body=_move_body(True),
    samples=[
        Sample((2, 12, 3, 5), block=2), Sample((2, 12, 3, 5), block=2, mode="CRD"),
        Sample((2, 3, 5, 12), block=2, layout="channels_last"),
        Sample((2, 3, 5, 27), block=3, mode="CRD", layout="channels_last"),
    ],
    traits=Trait.MOVES,
)  # fmt: skip
BLOCKS.op(
    "space_to_depth", "x", "Blocks of pixels become channels; undoes depth_to_space.", attrs=_ATTRS,
    infer=lambda c: _sizes(c, False), reference=_move(False), axes=CHANNELS("x", "y"), body=_move_body(False),
    samples=[
        Sample((2, 3, 10, 14), block=2), Sample((2, 3, 10, 14), block=2, mode="CRD"),
        Sample((2, 10, 14, 3), block=2, layout="channels_last"),
        Sample((2, 9, 15, 5), block=3, mode="CRD", layout="channels_last"),
    ],
    traits=Trait.MOVES,
)  # fmt: skip


def _shuffle_shape(c: InferContext) -> Shapes:
    x, g = c.shape("x"), c["groups"]
    if g < 1:
        c.fail(f"groups={g} must be positive")
    if x is not None:
        _divided(c, x[c["axis"]], g, "channels")
    return [(c.dtype("x"), x)]


def _shuffle(x: Array, groups: int, axis: int) -> Array:
    split = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    y: Array = x.reshape(split).swapaxes(axis, axis + 1).reshape(x.shape)
    return y


def _shuffle_body(b: Any, x: Any, *, groups: int, axis: int) -> Any:
    b.require(x.shape is not None and None not in x.shape, "shuffle_channels needs the shape of x")
    split = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    perm = [*range(axis), axis + 1, axis, *range(axis + 2, x.rank + 1)]
    return b.reshape(b.transpose(b.reshape(x, shape=split), perm=perm), shape=x.shape)


BLOCKS.op(
    "shuffle_channels", "x",
    "Channels split into groups, the two axes swapped and merged again (ShuffleNet; torch.nn.ChannelShuffle).",
    attrs={"groups": Attr("int"), "axis": AxisAttr(1)}, infer=_shuffle_shape, reference=_shuffle, axes=Axis("axis"),
    body=_shuffle_body,
    samples=[Sample((2, 6, 5, 7), groups=2), Sample((2, 5, 7, 6), groups=3, axis=-1)],
    traits=Trait.MOVES,
)  # fmt: skip
