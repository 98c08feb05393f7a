"""Softmax, normalisation, attention and losses (``keras.src.ops.nn``; Keras 3.15.1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcore.plugin import A, DType, ForeignNode, Value, known_shape, product

from ..layers.norm import last_axes
from ..load_context import KerasContext
from ..ruleset import RULES
from .arithmetic import truth
from .reduce import axes_of
from .spec import operation

__all__ = ["EPSILON"]

EPSILON = 1e-7
"""``keras.backend.epsilon()`` as it is unless a program changes it; no file says it."""

for _class, _op in {"Softmax": "softmax", "LogSoftmax": "log_softmax"}.items():
    RULES.op(operation(_class, "x", "float"), _op, "x=x", types={"x": "float"}, axis=A("axis", -1, iso="item_or_number"))
RULES.op(operation("Glu", "x", "float"), "glu", "x=x", axis=A("axis", -1))
RULES.op(operation("Sparsemax", "x", "float"), "sparsemax", "x=x", axis=A("axis", -1), tau="keras", direction="load")
for _class, _op in {"DepthToSpace": "depth_to_space", "SpaceToDepth": "space_to_depth"}.items():
    RULES.op(
        operation(_class, "x"), _op, "x=x", block=A("block_size"), mode="DCR", layout=A("data_format", "channels_last"),
        direction="load",
    )  # fmt: skip
operation("BatchNorm", "x, mean, variance, offset?, scale?", "float")
operation("LayerNorm", "x, gamma?, beta?", "float")
operation("RMSNorm", "x, scale?", "float")
operation("Normalize", "x", "float")
operation("DotProductAttention", "query, key, value, bias?, mask?, scale?", "float", tensors="query key value bias mask",
          joined="query key value bias")  # fmt: skip
operation("BinaryCrossentropy", "target, output", "float")
operation("CategoricalCrossentropy", "target, output", "float")
operation("SparseCategoricalCrossentropy", "target, output", "float", joined="output")
operation("PSNR", "x1, x2", "float")
operation("Fold", "x", "float")
operation("Unfold", "x", "float")


@RULES.load("ops.Softmax", "ops.LogSoftmax")
def softmax_over_axes(g: KerasContext, node: ForeignNode) -> Value:
    """Over several axes, or all (None): these as one line at the end."""
    x, b = node.need(0), g.b
    axes = axes_of(node, x)
    shape = known_shape(x, sizes=True)
    axes = tuple(range(len(shape))) if axes is None else axes
    rest = tuple(a for a in range(len(shape)) if a not in axes)
    order = (*rest, *axes)
    line = b.reshape(b.transpose(x, perm=order), shape=(*(shape[a] for a in rest), product([shape[a] for a in axes])))
    y = b.softmax(line, axis=-1) if node.type == "ops.Softmax" else b.log_softmax(line, axis=-1)
    back = tuple(order.index(a) for a in range(len(shape)))
    return b.transpose(b.reshape(y, shape=tuple(shape[a] for a in order)), perm=back)


def _shaped(g: KerasContext, v: Value | None, x: Value, axes: tuple[int, ...]) -> Value | None:
    """A vector along one axis (or a tensor of some) broadcast against x."""
    if v is None or v.rank == x.rank or axes == (len(known_shape(x)) - 1,):
        return v
    shape = known_shape(x, sizes=True)
    return g.b.reshape(v, shape=tuple(shape[a] if a in axes else 1 for a in range(len(shape))))


@RULES.load("ops.BatchNorm")
def batch_norm(g: KerasContext, node: ForeignNode) -> Value:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, vectors along ``axis``."""
    x, mean, variance, offset, scale = (node.input(i) for i in range(5))
    if x is None or mean is None or variance is None:
        raise node.refuse("its mean or variance is missing", code="missing_input")
    axis = node.axis_in(node.attr("axis"), len(known_shape(x)))
    return g.b.batch_norm(x, scale, offset, mean, variance, epsilon=float(node.attr("epsilon", 1e-3)), axis=axis)


@RULES.load("ops.LayerNorm", "ops.RMSNorm")
def layer_norm(g: KerasContext, node: ForeignNode) -> Value:
    """Moments over axes; half precision is computed in float32. ``rms_scaling``: over the deviation, the mean stays."""
    x, b = node.need(0), g.b
    kind = x.dtype
    epsilon = node.attr("epsilon", None)
    eps = EPSILON if epsilon is None else float(epsilon)
    axis = node.attr("axis", -1)
    rank = len(known_shape(x))
    axes = tuple(sorted(node.axes_in(axis, rank)))
    if node.type == "ops.RMSNorm" and node.input(1) is not None:
        last_axes(node, rank)
    half = kind is not None and kind.itemsize < 4
    wide = [None if v is None else b.cast(v, to="float32") if half else v for v in (node.input(i) for i in range(3))]
    first = wide[0] if wide[0] is not None else x
    if node.type == "ops.LayerNorm" and node.attr("rms_scaling", False):
        deviation = b.sqrt(b.add(b.variance(first, axes=axes, keepdims=True), b.like(first, eps)))
        y = b.div(first, deviation)
        scale = _shaped(g, wide[1], x, axes)
        y = y if scale is None else b.mul(y, scale)
    elif any(v is not None and v.rank != len(axes) for v in wide[1:]):
        apart = (
            b.rms_norm(first, axes=axes, epsilon=eps)
            if node.type == "ops.RMSNorm"
            else b.layer_norm(first, axes=axes, epsilon=eps)
        )
        y = apart if wide[1] is None else b.mul(apart, wide[1])
        y = y if wide[2] is None else b.add(y, wide[2])
    elif node.type == "ops.RMSNorm":
        y = b.rms_norm(first, wide[1], axes=axes, epsilon=eps)
    else:
        y = b.layer_norm(first, wide[1], wide[2], axes=axes, epsilon=eps)
    return b.cast(y, to=kind) if half else y


@RULES.load("ops.Normalize")
def normalize(g: KerasContext, node: ForeignNode) -> Value:
    """x over its norm of an order along axes, at least epsilon; order 2 by the reciprocal root (``nn._normalize``)."""
    x, b, order = node.need(0), g.b, node.attr("order", 2)
    epsilon = node.attr("epsilon", None)
    eps = EPSILON if epsilon is None else float(epsilon)
    axis = node.attr("axis", -1)
    axes = None if axis is None else axes_of(node, x) if node.has("axis") else (len(known_shape(x)) - 1,)
    if not isinstance(order, int) or order < 1:
        raise node.refuse(f"order={order!r}")
    if order == 2:
        inverse = b.rsqrt(b.sum(b.square(x), axes=axes, keepdims=True))
        return b.mul(x, b.minimum(inverse, b.like(x, 1.0 / eps)))
    if axes is None or len(axes) != 1:
        raise node.refuse(f"order={order} over several axes is a norm of matrices")
    size = b.abs(x)
    if order == 1:
        norm = b.sum(size, axes=axes, keepdims=True)
    else:
        norm = b.pow(b.sum(b.pow(size, b.like(x, float(order))), axes=axes, keepdims=True), b.like(x, 1.0 / order))
    return b.div(x, b.maximum(norm, b.like(x, eps)))


@RULES.load("ops.DotProductAttention")
def dot_product_attention(g: KerasContext, node: ForeignNode) -> Value:
    """Attention of (batch, length, heads, width). A bool mask keeps where it is true; where it keeps nothing the mean is of all
    values, as scores are then finite and equal (``_get_large_negative``). ``bias`` is added."""
    q, k, v = (node.need(i) for i in range(3))
    bias, mask, b = node.input(3), node.input(4), g.b
    node.ignore("flash_attention")
    scale, cap = node.attr("scale", None), node.attr("attn_logits_soft_cap", None)
    if cap is not None:
        raise node.refuse("attn_logits_soft_cap: Keras's backends differ in where they apply it")
    if scale is not None and not isinstance(scale, (int, float)):
        raise node.refuse("its scale is computed")
    if bias is not None and mask is not None:
        raise node.refuse("has a bias and a mask")
    causal = bool(node.attr("is_causal", False))
    if bias is not None and causal:
        raise node.refuse("has a bias and is causal, which Keras's backends treat differently")
    given = bias if mask is None else truth(g, mask)
    (y,) = b.attention(
        q, k, v, given, scale=None if scale is None else float(scale), causal=causal, empty="mean", layout="heads_last"
    )
    return y


# ---- losses
@RULES.load("ops.BinaryCrossentropy")
def binary_crossentropy(g: KerasContext, node: ForeignNode) -> Value:
    """-(t log p + (1 - t) log(1 - p)), p limited to [epsilon, 1 - epsilon]; of logits without limits."""
    t, p = node.needed()
    b = g.b
    one = b.like(p, 1.0)
    if node.attr("from_logits", False):
        top = b.maximum(p, b.like(p, 0.0))
        return b.add(b.sub(top, b.mul(p, t)), b.log1p(b.exp(b.neg(b.abs(p)))))
    p = b.clip(p, min=EPSILON, max=1.0 - EPSILON)
    return b.neg(b.add(b.mul(t, b.log(p)), b.mul(b.sub(one, t), b.log(b.sub(one, p)))))


def _log_probability(g: KerasContext, node: ForeignNode, p: Value, axis: int) -> Value:
    b = g.b
    if node.attr("from_logits", False):
        return b.log_softmax(p, axis=axis)
    p = b.div(p, b.sum(p, axes=(axis,), keepdims=True))
    return b.log(b.clip(p, min=EPSILON, max=1.0 - EPSILON))


@RULES.load("ops.CategoricalCrossentropy", "ops.SparseCategoricalCrossentropy")
def categorical_crossentropy(g: KerasContext, node: ForeignNode) -> Value:
    """-sum t log p along an axis, p divided by its sum and limited; sparse targets are class numbers."""
    t, p = node.needed()
    b = g.b
    rank = len(known_shape(p))
    axis = node.axis_in(node.attr("axis", -1), rank)
    logs = _log_probability(g, node, p, axis)
    if node.type == "ops.CategoricalCrossentropy":
        return b.neg(b.sum(b.mul(t, logs), axes=(axis,), keepdims=False))
    if t.rank != rank:
        t = b.unsqueeze(t, axes=(axis,))
    elif known_shape(t)[axis] != 1:
        raise node.refuse("its targets are not one class number each")
    return b.neg(b.squeeze(b.take_along_axis(logs, b.cast(t, to="int64"), axis=axis), axes=(axis,)))


@RULES.load("ops.PSNR")
def psnr(g: KerasContext, node: ForeignNode) -> Value:
    """20 log10(max_val) - 10 log10(mean squared difference)."""
    x, y = node.needed()
    b = g.b
    error = b.mean(b.square(b.sub(x, y)), axes=None, keepdims=False)
    top = b.like(x, 20 * math.log10(float(node.attr("max_val"))))
    return b.sub(top, b.mul(b.like(x, 10.0), b.log10(error)))


# ---- patches
def _two(v: Any) -> tuple[int, int]:
    return (int(v), int(v)) if isinstance(v, int) else (int(v[0]), int(v[1]))


@RULES.load("ops.Unfold")
def unfold(g: KerasContext, node: ForeignNode) -> Value:
    """Patches of (N, C, H, W) as (N, C * kernel, how many)."""
    x, b = node.need(0), g.b
    kernel, dilation, pad, stride = (
        _two(node.attr(k, d)) for k, d in (("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1))
    )
    y = b.im2col(x, kernel=kernel, strides=stride, dilations=dilation, pads=tuple((n, n) for n in pad))
    n, c, h, w = known_shape(y, sizes=True)
    return b.reshape(y, shape=(n, c, h * w))


@RULES.load("ops.Fold")
def fold(g: KerasContext, node: ForeignNode) -> Value:
    """Patches (N, C * kernel, how many) added up at their places in (N, C, *output_size): a transposed convolution that moves
    each element of a patch to its place."""
    x, b = node.need(0), g.b
    size, kernel, dilation, pad, stride = (
        _two(node.attr(k, d)) for k, d in (("output_size", 1), ("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1))
    )
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, pad, stride, strict=True)]
    n, depth, _ = known_shape(x, sizes=True)
    area = kernel[0] * kernel[1]
    if not isinstance(depth, int) or depth % area:
        raise node.refuse(f"{depth} rows are no patches of {kernel}", code="invalid_shape")
    channels = depth // area
    w = np.zeros((channels, area, channels, area), np.float32)
    for c in range(channels):
        w[c, np.arange(area), c, np.arange(area)] = 1
    w = w.reshape(depth, channels, *kernel)
    grid = b.reshape(x, shape=(n, depth, *counts))
    rests = [m + 2 * p - ((c - 1) * s + d * (k - 1) + 1)
             for m, p, c, s, d, k in zip(size, pad, counts, stride, dilation, kernel, strict=True)]  # fmt: skip
    return b.conv_transpose(
        grid, b.const(w, x.dtype or DType.FLOAT32), strides=stride, dilations=dilation, pads=tuple((p, p) for p in pad),
        output_padding=tuple(rests),
    )  # fmt: skip


@RULES.load("ops.CTCDecode", "ops.CTCLoss")
def ctc(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: a search over paths whose lengths depend on the data."""
    raise node.refuse("is a search over sequences whose lengths depend on the data")
