"""Merge layers. Inputs of lower rank get axes of size 1 after the batch axis, as ``Merge.call`` of Keras does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convcore.plugin import A, ForeignNode, NotExpressible, Value, known_shape

from ..layer_spec import layer
from ..load_context import KerasContext
from ..masks import masked_merges
from ..ruleset import RULES

__all__ = ["aligned"]

# ---- what the layers are
layer("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", masks="merge")
layer("Concatenate", defaults={"axis": -1}, masks="concat")
layer("Merge", extinct=True)

# ---- rules

_OPS = {"Add": "add", "Subtract": "sub", "Multiply": "mul", "Maximum": "maximum", "Minimum": "minimum"}


def aligned(g: KerasContext, node: ForeignNode) -> list[Value]:
    """The inputs with equal rank and dtype."""
    xs = [x for x in node.inputs if x is not None]
    if not xs:
        raise node.refuse("takes at least 1 input, has none")
    ranks = [len(known_shape(x)) for x in xs]
    rank = max(ranks)
    out = [g.b.unsqueeze(x, axes=tuple(range(1, 1 + rank - r))) if r < rank else x for x, r in zip(xs, ranks, strict=True)]
    return _same_dtype(g, out)


def _same_dtype(g: KerasContext, xs: Sequence[Value]) -> list[Value]:
    """Integers join floating tensors in the floating dtype, as Keras's type promotion has it."""
    dtypes = {x.dtype for x in xs if x.dtype is not None}
    if len(dtypes) < 2:
        return list(xs)
    floats = sorted((d for d in dtypes if d.is_float), key=lambda d: d.itemsize)
    to = floats[-1] if floats else max(dtypes, key=lambda d: np.dtype(d.numpy).itemsize)
    return [g.b.cast(x, to=to) if x.dtype is not to else x for x in xs]


for _layer, _op in _OPS.items():
    RULES.op(_layer, _op, "a=x, b=y", alike=("rank", "dtype"), doc="of two inputs that need no alignment")
RULES.op("Concatenate", "concat", "inputs=xs*", axis=A("axis", -1), alike=("rank", "dtype"))


@RULES.load("Add", "Multiply", "Maximum", "Minimum")
def merge(g: KerasContext, node: ForeignNode) -> Value:
    """The inputs combined from the first to the last."""
    xs = aligned(g, node)
    y = xs[0]
    for x in xs[1:]:
        y = g.b.op(_OPS[node.type], y, x)
    return y


@RULES.load("Subtract")
def subtract(g: KerasContext, node: ForeignNode) -> Value:
    """The first input less the second."""
    xs = aligned(g, node)
    if len(xs) != 2:
        raise node.refuse(f"takes 2 inputs, has {len(xs)}")
    return g.b.sub(*xs)


@RULES.load("Average")
def average(g: KerasContext, node: ForeignNode) -> Value:
    """The sum divided by the number of inputs."""
    xs = aligned(g, node)
    y = xs[0]
    for x in xs[1:]:
        y = g.b.add(y, x)
    if y.dtype is not None and not y.dtype.is_float:
        y = g.b.cast(y, to="float32")
    return g.b.div(y, g.b.like(y, len(xs)))


@RULES.load("Concatenate")
def concatenate(g: KerasContext, node: ForeignNode) -> Value:
    """The inputs one after another."""
    xs = [x for x in node.inputs if x is not None]
    for x in xs:
        known_shape(x)
    return g.b.concat(*_same_dtype(g, xs), axis=node.attr("axis", -1))


@RULES.load("Merge")
def keras1_merge(g: KerasContext, node: ForeignNode) -> Value:
    """Keras 1 ``Merge`` in a mode that no Keras 2 layer has: cosine; functions are code."""
    node.ignore("concat_axis", "arguments", "output_shape", "output_mask", "node_indices", "tensor_indices")
    mode, axes = node.attr("mode"), node.attr("dot_axes", -1)
    if mode != "cos" or len(node.inputs) != 2:
        raise node.refuse("its mode is a Python function" if not isinstance(mode, str) else f"mode={mode!r} is not known")
    pair = (axes, axes) if isinstance(axes, int) else tuple(axes[0] if isinstance(axes[0], (list, tuple)) else axes)
    x, y = node.needed()
    if [len(known_shape(v)) for v in (x, y)] != [2, 2] or len(pair) != 2:
        raise node.refuse("mode='cos' is known for two tensors of 2 axes")
    b = g.b
    squares = b.mul(b.batch_dot(x, x, axes=(pair[0], pair[0])), b.batch_dot(y, y, axes=(pair[1], pair[1])))
    norm = b.maximum(b.sqrt(squares), b.like(x, 1e-7))
    return b.reshape(b.div(b.batch_dot(x, y, axes=pair), norm), shape=(known_shape(x, sizes=True)[0], 1, 1))


# ---- masks: from Keras 3.4 these three look at the masks of their inputs
@RULES.load("Maximum", "Minimum", priority=1)
def masked_extreme(g: KerasContext, node: ForeignNode) -> Value:
    """``Merge._apply_merge_op_and_or_mask``: a masked step takes the other input's value."""
    pairs = _masked_inputs(g, node)
    b = g.b
    y, seen = pairs[0]
    for x, mask in pairs[1:]:
        if mask is not None:
            x = b.where(mask, x, y)
        if seen is not None:
            y = b.where(seen, y, x)
        seen = b.op("or", seen, mask) if mask is not None and seen is not None else None
        y = b.op(_OPS[node.type], y, x)
    return y


@RULES.load("Multiply", priority=1)
def masked_product(g: KerasContext, node: ForeignNode) -> Value:
    """Masked steps count as 1; where all inputs are masked the result is 0 (``Multiply._merge_function``)."""
    pairs = _masked_inputs(g, node)
    b = g.b
    y: Value | None = None
    for x, mask in pairs:
        x = x if mask is None else b.where(mask, x, b.like(x, 1))
        y = x if y is None else b.mul(y, x)
    masks = [m for _, m in pairs if m is not None]
    if y is None or len(masks) < len(pairs):
        return y if y is not None else pairs[0][0]
    seen = masks[0]
    for m in masks[1:]:
        seen = b.op("or", seen, m)
    return b.where(seen, y, b.like(y, 0))


def _masked_inputs(g: KerasContext, node: ForeignNode) -> list[tuple[Value, Value | None]]:
    """Inputs with their masks as (..., 1); NotExpressible when none has a mask or this Keras does not look at them."""
    masks = [g.input_mask(node, i) for i in range(len(node.inputs))]
    if not masked_merges(g) or all(m is None for m in masks):
        raise NotExpressible("no mask")
    xs = aligned(g, node)
    if any(x.shape is None or a is None or a.rank != x.rank for x, a in zip(xs, node.inputs, strict=True)):
        raise node.refuse("merges masked inputs of different ranks")
    out = []
    for x, m in zip(xs, masks, strict=True):
        rank = len(known_shape(x)) - 1
        if m is not None and m.rank != rank:
            raise node.refuse("a mask's number of axes does not fit its input")
        out.append((x, None if m is None else g.b.unsqueeze(m, axes=(rank,))))
    return out
