"""com.microsoft: attention, of floats or with a projection of stored integers; without a cache of keys and values."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, ForeignNode, NotExpressible, Value, known_shape

from ..context import OnnxContext
from .contrib import contrib, counted
from .contrib_products import integer_product

__all__ = ["CACHE", "three"]

_FILTER = -10000.0
"""What is added to the score of a key that is masked (``mask_filter_value``)."""


@contrib("QAttention")
def q_attention(g: OnnxContext, node: ForeignNode) -> Any:
    """The projection is a product of stored integers."""
    if node.input(8) is not None:
        raise node.refuse(*CACHE)
    qkv = integer_product(
        g, node, node.need(0), node.need(1), node.need(3), node.need(4), node.input(6), node.input(7), node.need(2)
    )
    return _self_attention(g, node, qkv, node.input(5), None)


@contrib("Attention")
def attention(g: OnnxContext, node: ForeignNode) -> Any:
    if any(node.input(i) is not None for i in (4, 6)):
        raise node.refuse(*CACHE)
    sizes = node.attr("qkv_hidden_sizes", None)
    if sizes and len(set(sizes)) != 1:
        raise node.refuse(f"qkv_hidden_sizes={list(sizes)}")
    node.ignore("rotary_embedding_dim")  # do_rotary, without which it means nothing, is refused
    qkv, bias = g.b.matmul(node.need(0), node.need(1)), node.input(2)
    qkv = qkv if bias is None else g.b.add(qkv, bias)
    return _self_attention(g, node, qkv, node.input(3), node.input(5))


def _self_attention(g: OnnxContext, node: ForeignNode, qkv: Value, masked: Value | None, added: Value | None) -> Value:
    """Without a cache. Masks are counts of keys (batch) or 0 and 1 for each key (batch, length)."""
    for name in ("do_rotary", "past_present_share_buffer"):
        if node.attr(name, 0):
            raise node.refuse(f"{name}={node.attr(name)}")
    width = three(qkv, "its input")[2]
    if not isinstance(width, int) or width % 3:
        raise node.refuse(f"{width} features are not queries, keys and values")
    parts = g.b.split(qkv, axis=2, sizes=(width // 3,) * 3)
    return _attended(g, node, parts, masked, added)


@contrib("MultiHeadAttention")
def multi_head_attention(g: OnnxContext, node: ForeignNode) -> Any:
    """Queries, keys and values as (batch, length, features) each."""
    if any(node.input(i) is not None for i in range(6, 10)):
        raise node.refuse(*CACHE)
    parts, bias = [node.need(i) for i in range(3)], node.input(3)
    widths = [three(p, "an input")[2] for p in parts]
    if bias is not None:
        pieces = g.b.split(bias, axis=0, sizes=widths)
        parts = [g.b.add(p, c) for p, c in zip(parts, pieces)]
    return _attended(g, node, parts, node.input(4), node.input(5))


CACHE = ("a cache of keys and values", "", "unsupported_input")


def three(v: Value, what: str) -> tuple[Any, ...]:
    shape = known_shape(v)
    if len(shape) != 3 or any(n is None for n in shape):
        raise NotExpressible(f"{what} has {len(shape)} axes, or a size that is not known", "unknown_shape")
    return shape


def _attended(g: OnnxContext, node: ForeignNode, parts: Any, masked: Value | None, added: Value | None) -> Value:
    """Attention of heads beside each other in (batch, length, features)."""
    b, heads = g.b, node.whole("num_heads")
    scale, causal, value = node.attr("scale", 0.0), bool(node.attr("unidirectional", 0)), node.attr("mask_filter_value", _FILTER)
    if any([*node.outputs, "", "", ""][1:]):
        raise node.refuse(*CACHE)
    shapes = [three(p, "an input") for p in parts]
    if heads < 1 or any(not isinstance(s[2], int) or s[2] % heads for s in shapes):
        raise node.refuse(f"{', '.join(str(s[2]) for s in shapes)} features have {heads} heads")
    if causal and (masked is not None or added is not None or shapes[0][1] != shapes[1][1]):
        raise node.refuse("unidirectional with a mask, or with other keys than queries", code="unsupported_input")
    split = [b.reshape(p, shape=(s[0], s[1], heads, s[2] // heads)) for p, s in zip(parts, shapes)]
    mask = None if masked is None else _added(g, node, masked, shapes[1][0], shapes[1][1], parts[0], value)
    if added is not None:
        mask = added if mask is None else b.add(added, mask)
    y = b.op("attention", *split, mask, scale=scale or None, causal=causal, layout="heads_last")
    first = y[0] if isinstance(y, (tuple, list)) else y
    n, t, _ = shapes[0]
    joined: Value = b.reshape(first, shape=(n, t, shapes[2][2]))
    return joined


def _added(g: OnnxContext, node: ForeignNode, given: Value, n: Any, t: Any, like: Value, value: float) -> Value:
    """(batch, 1, 1, length): 0, or what keys that do not count get."""
    b, shape = g.b, known_shape(given)
    if shape == (n, t):
        counts = b.greater(given, b.like(given, 0))
    elif shape == (n,):
        counts = b.less(counted(g, t), b.unsqueeze(b.cast(given, to=DType.INT64), axes=(1,)))
    else:
        raise node.refuse(f"a mask of shape {list(map(str, shape))}", code="unsupported_input")
    added: Value = b.where(b.unsqueeze(counts, axes=(1, 2)), b.like(like, 0.0), b.like(like, value))
    return added


# ---- angles
@contrib("RotaryEmbedding")
def rotary(g: OnnxContext, node: ForeignNode) -> Any:
    """As the standard's (opset 23), but 4 axes are (batch, heads, length, width), and one place is where the first step is."""
    b, (x, ids, cos, sin) = g.b, (node.need(i) for i in range(4))
    if node.real("scale", 1.0) != 1 or node.attr("is_packed_batching", 0):
        raise node.refuse(f"scale={node.attr('scale', 1.0)}, which onnxruntime does not use, or batches that are packed")
    shape, angles, heads, dim = (
        known_shape(x),
        known_shape(cos),
        node.whole("num_heads", 0),
        node.whole("rotary_embedding_dim", 0),
    )
    if len(shape) not in (3, 4) or len(angles) != 2 or known_shape(sin) != angles or not isinstance(angles[1], int):
        raise node.refuse(f"an input of {len(shape)} axes, tables of {len(angles)} and {sin.rank}")
    if (heads == 0) != (dim == 0) or (dim and 2 * angles[1] != dim):
        raise node.refuse(f"num_heads={heads}, rotary_embedding_dim={dim} with tables of {angles[1]} angles")
    last = len(shape) == 3
    if last:
        if not isinstance(shape[2], int) or shape[2] % (heads or 2 * angles[1]):
            raise node.refuse(f"{shape[2]} features have heads of {2 * angles[1]}")
        count = heads or shape[2] // (2 * angles[1])
        x = b.reshape(x, shape=(*shape[:2], count, shape[2] // count))
    elif (heads and shape[1] != heads) or (not dim and shape[3] != 2 * angles[1]):
        raise node.refuse(f"{shape[1]} heads of {shape[3]} features, num_heads={heads} with tables of {angles[1]} angles")
    if known_shape(ids) in ((), (1,)):
        ids = b.add(counted(g, shape[1 if last else 2]), b.reshape(ids, shape=(1, 1)))
    cos, sin = (b.unsqueeze(b.gather(v, ids, axis=0), axes=(2 if last else 1,)) for v in (cos, sin))
    y = b.rotary_embedding(x, cos, sin, interleaved=bool(node.attr("interleaved", 0)))
    return b.reshape(y, shape=shape) if last else y
