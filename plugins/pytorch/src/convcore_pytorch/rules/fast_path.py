"""What ``nn.TransformerEncoderLayer`` and ``nn.MultiheadAttention`` call in evaluation without gradients: layers as one operator
each, which TorchScript traced there holds. Source: ATen/native/transformers/{transformer,attention}.cpp, torch 2.13."""

from __future__ import annotations

from convcore.plugin import NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES, truth


def _linear(g: TorchContext, x: Value, n: AtenNode, name: str) -> Value:
    return g.b.linear(x, n.tensor(name.format("weight")), n.tensor(name.format("bias")))


def _masked(g: TorchContext, n: AtenNode, scores: Value, name: str = "mask") -> Value:
    """The softmax over the last axis, but where a mask is True; a row that is masked whole gives nan, as it does in torch."""
    mask = n.optional(name)
    kind = n.arg("mask_type")
    if mask is None:
        return g.b.softmax(scores, axis=-1)
    mask = truth(g, mask)  # of numbers, the -inf that torch.nn makes of a mask
    if kind == 1:  # of keys: (batch, keys)
        batch, keys = known(mask)
        mask = g.reshape(mask, (batch, *[1] * (len(known(scores)) - 2), keys))
    elif kind not in (None, 0, 2):
        raise NotExpressible(f"mask_type={kind} is not known")
    return g.b.softmax(g.b.where(mask, g.b.like(scores, float("-inf")), scores), axis=-1)


def _heads(g: TorchContext, n: AtenNode, x: Value, heads: int) -> tuple[Value, Value]:
    """Attention of x (batch, time, width) to itself, and its weights (batch, heads, time, time)."""
    batch, time, wide = known(x)
    if not isinstance(wide, int):
        raise NotExpressible("its last axis is symbolic", "unsupported_shape")
    n.skip("embed_dim")  # the same number, which torch checks
    packed = g.reshape(_linear(g, x, n, "qkv_{}"), (batch, time, 3, heads, wide // heads))
    q, k, v = (g.transpose(t, (0, 2, 1, 3)) for t in g.b.op("unstack", packed, axis=2, num=3))
    scores = g.b.matmul(g.b.mul(q, g.b.like(q, (wide // heads) ** -0.5)), g.transpose(k, (0, 1, 3, 2)))
    weights = _masked(g, n, scores)
    mixed = g.reshape(g.transpose(g.b.matmul(weights, v), (0, 2, 1, 3)), (batch, time, wide))
    return _linear(g, mixed, n, "proj_{}"), weights


@RULES.load("aten._masked_softmax")
def masked_softmax(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    if n.arg("dim") is not None and n.axis("dim", rank) != rank - 1:
        raise NotExpressible("along another axis than the last")
    return _masked(g, n, x)


@RULES.load("aten._native_multi_head_attention")
def multi_head_attention(g: TorchContext, n: AtenNode) -> tuple[Value, Value]:
    x = n.tensor("query")
    if n.tensor("key") is not x or n.tensor("value") is not x:
        raise NotExpressible("of queries that are not the keys and values")
    y, weights = _heads(g, n, x, int(n.number("num_head")))
    if not n.number("need_weights"):
        n.skip("average_attn_weights")
        return y, g.b.fill(shape=(0,), value=0, dtype=y.dtype)  # torch: nothing at all
    return y, g.b.mean(weights, axes=(1,)) if n.number("average_attn_weights") else weights


@RULES.load("aten._transformer_encoder_layer_fwd")
def encoder_layer(g: TorchContext, n: AtenNode) -> Value:
    x, first, eps = n.tensor("src"), bool(n.number("norm_first")), float(n.number("eps"))

    def norm(v: Value, i: int) -> Value:
        return g.b.layer_norm(v, n.tensor(f"norm_weight_{i}"), n.tensor(f"norm_bias_{i}"), axes=(-1,), epsilon=eps)

    def feed(v: Value) -> Value:
        wide = _linear(g, v, n, "ffn_{}_1")
        return _linear(g, g.b.gelu(wide, approximate="none") if n.number("use_gelu") else g.b.relu(wide), n, "ffn_{}_2")

    y, _ = _heads(g, n, norm(x, 1) if first else x, int(n.number("num_heads")))
    y = g.b.add(y, x)
    y = y if first else norm(y, 1)
    z = g.b.add(feed(norm(y, 2) if first else y), y)
    return z if first else norm(z, 2)
