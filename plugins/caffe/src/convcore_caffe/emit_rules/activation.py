"""Activation functions that are no row: PReLU, and those made of Caffe's own."""

from __future__ import annotations

import math

import numpy as np

from convcore.plugin import Node, NotExpressible, unsupported

from ..dialect import CaffeScribe, label
from .arithmetic import block_of, power, span_param
from .base import RULES, first, static, weight


@RULES.emit("prelu")
def prelu(e: CaffeScribe, node: Node) -> None:
    """PReLU for a slope per element of axis 1, or one for all; else relu(x) - slope * relu(-x)."""
    x = e.value(first(node))
    if node.need("slope") is None or node.need("slope").tensor is None:
        raise unsupported(node, "its slope is computed, Caffe's PReLU has constant slopes", code="requires_constant_input")
    slope = weight(node.need("slope"), "the slope")
    if slope.size == 1 and e.dialect.flavor == "opencv":  # which reads no blob without axes
        n = x.dims[1] if len(x.dims) > 1 else 1
        slope = slope.reshape((1,)).map(lambda a: np.repeat(a, n), (n,)).reshape((n, *(1,) * (len(x.dims) - 2)))
    if len(x.shape) >= 2 and slope.size == 1 and e.dialect.flavor != "opencv":
        e.unit("PReLU", [x], {"channel_shared": True}, outputs=node.outputs, name=label(node), states=[slope.reshape(())])
        return
    span = block_of(slope.shape, x.shape)
    assert span is not None  # a slope broadcasts to what it is the slope of
    if span == (1, 2) and len(x.shape) >= 2:
        e.unit("PReLU", [x], {}, outputs=node.outputs, name=label(node), states=[slope.reshape((slope.size,))])
        return
    begin, end = span
    want = tuple(x.shape[begin:end])
    wide = slope.reshape(((1,) * (len(x.shape) - slope.ndim) + slope.shape)[begin:end])
    if wide.shape != want:
        wide = wide.map(lambda a: np.broadcast_to(a, want), want)
    (above,) = e.call("ReLU", [x], {}, shapes=[x.shape], name=label(node))
    (below,) = e.call("ReLU", [power(e, x, node, scale=-1.0)], {}, shapes=[x.shape], name=label(node))
    (scaled,) = e.unit("Scale", [below], span_param(begin, end), shapes=[x.shape], name=label(node), states=[wide])
    e.call("Eltwise", [above, scaled], {"coeff": [1.0, -1.0]}, outputs=node.outputs, name=label(node))


@RULES.emit("celu")
def celu(e: CaffeScribe, node: Node) -> None:
    """alpha * elu(x / alpha) for a positive alpha."""
    alpha = node.attrs["alpha"]
    if not (alpha > 0 and math.isfinite(alpha)):
        raise NotExpressible(f"alpha is {alpha}")
    x = e.value(first(node))
    inner = power(e, x, node, scale=1 / alpha) if alpha != 1 else x
    (y,) = e.call("ELU", [inner], {}, outputs=node.outputs if alpha == 1 else (), shapes=[x.shape], name=label(node))
    if alpha != 1:
        power(e, y, node, node.outputs, scale=alpha)


@RULES.emit("thresholded_relu")
def thresholded_relu(e: CaffeScribe, node: Node) -> None:
    """x times (x > alpha)."""
    x = e.value(first(node))
    (above,) = e.call("Threshold", [x], {"threshold": node.attrs["alpha"]}, shapes=[static(node.output)], name=label(node))
    e.call("Eltwise", [x, above], {"operation": "PROD"}, outputs=node.outputs, name=label(node))
