"""com.microsoft.QAttention: self-attention whose projection is a product of stored integers; the rest of it is of floats."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, ForeignNode, NotExpressible, Value, known_shape

from ..context import OnnxContext
from .contrib import contrib
from .contrib_products import integer_product

__all__: list[str] = []

_FILTER = -10000.0
"""What is added to the score of a key that is masked (``mask_filter_value``)."""


@contrib("QAttention")
def q_attention(g: OnnxContext, node: ForeignNode) -> Any:
    """Without a cache. Masks are counts of keys (batch) or 0 and 1 for each key (batch, length)."""
    b, x, w = g.b, node.need(0), node.need(1)
    heads, scale, causal = node.whole("num_heads"), node.attr("scale", 0.0), bool(node.attr("unidirectional", 0))
    outs = [*node.outputs, ""]
    if node.input(8) is not None or outs[1]:
        raise node.refuse("a cache of keys and values", code="unsupported_input")
    for name in ("do_rotary", "past_present_share_buffer"):
        if node.attr(name, 0):
            raise node.refuse(f"{name}={node.attr(name)}")
    qkv = integer_product(g, node, x, w, node.need(3), node.need(4), node.input(6), node.input(7), node.need(2))
    shape = known_shape(qkv)
    if len(shape) != 3 or any(n is None for n in shape):
        raise NotExpressible(f"its input has {len(shape)} axes, or a size that is not known", "unknown_shape")
    n, t, width = shape
    if heads < 1 or not isinstance(width, int) or width % (3 * heads):
        raise node.refuse(f"{width} features are not queries, keys and values of {heads} heads")
    hidden = width // 3
    parts = [b.reshape(p, shape=(n, t, heads, hidden // heads)) for p in b.split(qkv, axis=2, sizes=(hidden,) * 3)]
    masked, value = node.input(5), node.attr("mask_filter_value", _FILTER)
    if masked is not None and causal:
        raise node.refuse("both a mask and unidirectional", code="unsupported_input")
    mask = None if masked is None else _added(g, node, masked, n, t, parts[0], value)
    y = b.op("attention", *parts, mask, scale=scale or None, causal=causal, layout="heads_last")
    first = y[0] if isinstance(y, (tuple, list)) else y
    return b.reshape(first, shape=(n, t, hidden))


def _added(g: OnnxContext, node: ForeignNode, given: Value, n: Any, t: Any, like: Value, value: float) -> Value:
    """(batch, 1, 1, length): 0, or what keys that do not count get."""
    b, shape = g.b, known_shape(given)
    if shape == (n, t):
        counts = b.greater(given, b.like(given, 0))
    elif shape == (n,):
        steps = b.range(b.const(0, "int64"), b.dim_value(value=t), b.const(1, "int64"))
        counts = b.less(b.unsqueeze(steps, axes=(0,)), b.unsqueeze(b.cast(given, to=DType.INT64), axes=(1,)))
    else:
        raise node.refuse(f"a mask of shape {list(map(str, shape))}", code="unsupported_input")
    added: Value = b.where(b.unsqueeze(counts, axes=(1, 2)), b.like(like, 0.0), b.like(like, value))
    return added
