"""Convolution and pooling with kernels as arguments (``keras.src.ops.nn``; Keras 3.15.1). Data are channels_last unless said."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .spec import operation, order_of, padding_of

__all__: list[str] = []

operation("Conv", "inputs, kernel", "float")
operation("ConvTranspose", "inputs, kernel", "float")
operation("DepthwiseConv", "inputs, kernel", "float")
operation("SeparableConv", "inputs, depthwise_kernel, pointwise_kernel", "float")
operation("MaxPool", "inputs")
operation("AveragePool", "inputs", "float")
operation("AdaptiveMaxPool", "inputs")
operation("AdaptiveAveragePool", "inputs", "float")


def _each(node: ForeignNode, name: str, default: Any, n: int) -> tuple[int, ...]:
    """One whole number for each of n axes, where the attribute gives one or n; refused where it is anything else."""
    v = node.attr(name, default)
    found = tuple(v) if isinstance(v, (list, tuple)) else (v,)
    if len(found) not in (1, n) or any(isinstance(k, bool) or not isinstance(k, int) for k in found):
        raise node.refuse(f"{name}={str(v)[:60]} is not one whole number, or one for each of {n} axes")
    return found * n if len(found) == 1 else found


def _kernel(g: KerasContext, w: Value, kind: str) -> Value:
    """(*kernel, in, out) as (out, in, *kernel); "transpose": (*kernel, out, in) as (in, out, *kernel); "depthwise":
    (*kernel, channels, multiplier) as (channels * multiplier, 1, *kernel)."""
    shape = known_shape(w, sizes=True)
    d = len(shape) - 2
    if kind == "depthwise":
        turned = g.b.transpose(w, perm=(d, d + 1, *range(d)))
        return g.b.reshape(turned, shape=(shape[d] * shape[d + 1], 1, *shape[:d]))
    return g.b.transpose(w, perm=(d + 1, d, *range(d)))


@RULES.load("ops.Conv", "ops.DepthwiseConv", "ops.SeparableConv")
def conv(g: KerasContext, node: ForeignNode) -> Value:
    """A convolution, its groups by the channels that the kernel takes; depthwise; depthwise, then pointwise."""
    x, w = node.need(0), node.need(1)
    shape, order = known_shape(x), order_of(node)
    d = len(shape) - 2
    common: Any = {
        "strides": _each(node, "strides", 1, d),
        "dilations": _each(node, "dilation_rate", 1, d),
        "pads": padding_of(node),
        "layout": order,
    }
    channels = shape[1 if order == "channels_first" else -1]
    taken = known_shape(w)[d]
    if not isinstance(channels, int) or not isinstance(taken, int):
        raise node.refuse("the number of channels is not known", code="unknown_shape")
    if node.type == "ops.Conv":
        return g.b.conv(x, _kernel(g, w, ""), groups=channels // taken, **common)
    if node.type == "ops.DepthwiseConv":
        return g.b.conv(x, _kernel(g, w, "depthwise"), groups=channels, **common)
    return g.b.separable_conv(x, _kernel(g, w, "depthwise"), _kernel(g, node.need(2), ""), **common)


@RULES.load("ops.ConvTranspose")
def conv_transpose(g: KerasContext, node: ForeignNode) -> Value:
    """The adjoint of a convolution; sizes and crops as of the layers (``layers/conv.py``: conv_transpose)."""
    x, w = node.need(0), node.need(1)
    d = len(known_shape(x)) - 2
    strides, dilations = _each(node, "strides", 1, d), _each(node, "dilation_rate", 1, d)
    same = padding_of(node) is not None
    added = (None,) * d if node.attr("output_padding", None) is None else _each(node, "output_padding", None, d)
    pads, grow = [], []
    for k, s, r, p in zip(known_shape(w)[:d], strides, dilations, added, strict=True):
        if not isinstance(k, int):
            raise node.refuse("the size of its kernel is not known", code="unknown_shape")
        reach = (k - 1) * r + 1
        if same:
            crop = reach - s if p is None else reach - reach % 2 - p
        else:
            crop = min(reach - s, 0) if p is None else -p
        begin = max(crop, 0) // 2 if same else 0
        pads.append((begin, max(crop - begin, 0)))
        grow.append(max(begin - crop, 0))
    return g.b.conv_transpose(
        x, _kernel(g, w, "transpose"), strides=strides, dilations=dilations, pads=tuple(pads), output_padding=tuple(grow),
        layout=order_of(node),
    )  # fmt: skip


@RULES.load("ops.MaxPool", "ops.AveragePool")
def pool(g: KerasContext, node: ForeignNode) -> Value:
    """The largest element or the mean of windows; padding does not count."""
    x = node.need(0)
    d = len(known_shape(x)) - 2
    kernel = _each(node, "pool_size", None, d)
    strides = kernel if node.attr("strides", None) is None else _each(node, "strides", None, d)
    op = "max_pool" if node.type == "ops.MaxPool" else "avg_pool"
    y: Value = g.b.op(op, x, kernel=kernel, strides=strides, pads=padding_of(node), layout=order_of(node))
    return y


@RULES.load("ops.AdaptiveMaxPool", "ops.AdaptiveAveragePool")
def adaptive_pool(g: KerasContext, node: ForeignNode) -> Value:
    """Windows that share an axis out among the outputs."""
    x = node.need(0)
    size = _each(node, "output_size", None, len(known_shape(x)) - 2)
    op = "adaptive_max_pool" if node.type == "ops.AdaptiveMaxPool" else "adaptive_avg_pool"
    y: Value = g.b.op(op, x, output_size=size, layout=order_of(node))
    return y
