"""Attention layers (Keras 3.15.1; ``keras/layers/attention`` of tf.keras 2.15 where eras differ)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, Tensor, Value, known_shape, product

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are

layer(
    "AdditiveAttention",
    defaults={"use_scale": True, "dropout": 0.0, "causal": False},
    variables=(V("scale", (None,), when="use_scale"),),
    masks="own",
    takes_mask=True,
    training=True,
)
layer(
    "Attention",
    defaults={"use_scale": False, "score_mode": "dot", "dropout": 0.0, "causal": False},
    variables=(V("scale", (), when="use_scale"), V("concat_score_weight", (), when="score_mode=concat")),
    masks="own",
    takes_mask=True,
    training=True,
)
_CALL = (
    "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask", "return_attention_scores", "training",
    "use_causal_mask",
)  # fmt: skip

layer(
    "GroupQueryAttention",
    call=_CALL,
    defaults={"dropout": 0.0, "use_bias": True, "sliding_window": None, "use_gate": False},
    required=("head_dim", "num_query_heads", "num_key_value_heads"),
    variables=(
        V("query/kernel", (None, "num_query_heads", "head_dim"), folders=("_query_dense",)),
        V("query/bias", ("num_query_heads", "head_dim"), when="use_bias", folders=("_query_dense",)),
        V("key/kernel", (None, "num_key_value_heads", "head_dim"), folders=("_key_dense",)),
        V("key/bias", ("num_key_value_heads", "head_dim"), when="use_bias", folders=("_key_dense",)),
        V("gate/kernel", when="use_gate", folders=("_gate_dense",)),
        V("gate/bias", when="use_gate&use_bias", folders=("_gate_dense",)),
        V("value/kernel", (None, "num_key_value_heads", "head_dim"), folders=("_value_dense",)),
        V("value/bias", ("num_key_value_heads", "head_dim"), when="use_bias", folders=("_value_dense",)),
        V("output/kernel", folders=("_output_dense",)),
        V("output/bias", when="use_bias", folders=("_output_dense",)),
    ),
    aliases=("GroupedQueryAttention",),
    masks="pass",
    takes_mask=True,
    training=True,
)
layer(
    "MultiHeadAttention",
    call=_CALL,
    defaults={
        "value_dim": None,
        "dropout": 0.0,
        "use_bias": True,
        "output_shape": None,
        "attention_axes": None,
        "sliding_window": None,
        "use_gate": False,
    },
    required=("num_heads", "key_dim"),
    variables=(
        V("query/kernel", (None, "num_heads", "key_dim"), folders=("query_dense", "_query_dense")),
        V("query/bias", ("num_heads", "key_dim"), when="use_bias", folders=("query_dense", "_query_dense")),
        V("key/kernel", (None, "num_heads", "key_dim"), folders=("key_dense", "_key_dense")),
        V("key/bias", ("num_heads", "key_dim"), when="use_bias", folders=("key_dense", "_key_dense")),
        V("gate/kernel", when="use_gate", folders=("_gate_dense",)),
        V("gate/bias", when="use_gate&use_bias", folders=("_gate_dense",)),
        V("value/kernel", (None, "num_heads", None), folders=("value_dense", "_value_dense")),
        V("value/bias", ("num_heads", None), when="use_bias", folders=("value_dense", "_value_dense")),
        V("output/kernel", folders=("output_dense", "_output_dense")),
        V("output/bias", when="use_bias", folders=("output_dense", "_output_dense")),
    ),
    masks="pass",
    takes_mask=True,
    training=True,
)

# ---- rules


def _call(node: ForeignNode, key: str, default: Any = None) -> Any:
    """A keyword argument of the call; a list of Values for one that takes a list."""
    return node.attr(f"call.{key}", default)


def _scores_wanted(node: ForeignNode) -> bool:
    return bool(_call(node, "return_attention_scores", False))


def _and(g: KerasContext, masks: Sequence[Value | None]) -> Value | None:
    out: Value | None = None
    for m in masks:
        if m is not None:
            out = m if out is None else g.b.and_(out, m)
    return out


def _as_bool(g: KerasContext, m: Value | None) -> Value | None:
    return m if m is None or m.dtype is DType.BOOL else g.b.cast(m, to="bool")


def _lower(g: KerasContext, rows: Any, columns: Any) -> Value:
    """(1, rows, columns), true on and below the diagonal."""
    ones = g.b.fill(shape=(1, rows, columns), value=1, dtype=DType.INT32)
    return g.b.equal(g.b.trilu(ones, upper=False), g.b.const(1, DType.INT32))


def _band(g: KerasContext, node: ForeignNode, rows: Any, columns: Any, width: int) -> Value:
    """(1, rows, columns), true less than ``width`` off the diagonal."""
    ones = g.b.fill(shape=(1, rows, columns), value=1, dtype=DType.INT32)
    inside = g.b.trilu(g.b.trilu(ones, upper=False, k=width - 1), upper=True, k=1 - width)
    return g.b.equal(inside, g.b.const(1, DType.INT32))


# ---- Attention, AdditiveAttention
@RULES.load("Attention", "AdditiveAttention")
def attention(g: KerasContext, node: ForeignNode) -> Any:
    """softmax(scores) v of [query, value, key]; masked scores are far below (1e9, of float16 65504), so that where all are masked
    every value counts alike; masked queries give 0.

    Scores: products, times ``scale``; "concat" sums of tanh(scale (q + k)) times a weight; additive: of scale tanh(q + k).
    """
    b = g.b
    xs = node.needed()
    if len(xs) not in (2, 3):
        raise node.refuse(f"takes query, value and key, has {len(xs)} inputs")
    q, v, k = xs[0], xs[1], xs[2] if len(xs) > 2 else xs[1]
    if any(len(known_shape(x)) != 3 for x in xs):
        raise node.refuse("is known for (batch, steps, features)")
    node.ignore("dropout")
    causal = bool(node.attr("causal", False)) or bool(_call(node, "use_causal_mask", False))
    if g.era == "keras3" and node.has("call.mask"):
        given = [_as_bool(g, m) for m in (_call(node, "mask") or ())]
    else:
        given = [g.mask(x) for x in node.inputs]
    given += [None] * (2 - len(given))
    scale = g.variable(node, "scale") if node.attr("use_scale", node.type == "AdditiveAttention") else None
    if node.type == "Attention" and node.attr("score_mode", "dot") == "dot":
        scores = b.matmul(q, b.transpose(k, perm=(0, 2, 1)))
        scores = scores if scale is None else b.mul(scores, scale)
    else:
        together = b.add(b.unsqueeze(q, axes=(2,)), b.unsqueeze(k, axes=(1,)))
        if node.type == "Attention":
            together = together if scale is None else b.mul(together, scale)
            scores = b.mul(g.variable(node, "concat_score_weight"), b.sum(b.tanh(together), axes=(-1,), keepdims=False))
        else:
            wide = b.tanh(together)
            scores = b.sum(wide if scale is None else b.mul(wide, scale), axes=(-1,), keepdims=False)
    _, rows, columns = known_shape(scores, sizes=True)
    keep = None if given[1] is None else b.unsqueeze(given[1], axes=(1,))
    keep = _and(g, [keep, _lower(g, rows, columns) if causal else None])
    if keep is not None:
        low = b.like(scores, 65504.0 if scores.dtype is DType.FLOAT16 else 1e9)
        scores = b.sub(scores, b.mul(low, b.cast(b.not_(keep), to=scores.dtype)))
    weights = b.softmax(scores, axis=-1)
    y = b.matmul(weights, v)
    if given[0] is not None:
        y = b.where(b.unsqueeze(given[0], axes=(2,)), y, b.like(y, 0))
        g.set_mask(y, given[0])
    return (y, weights) if _scores_wanted(node) else y


# ---- MultiHeadAttention, GroupQueryAttention
def _matrix(t: Tensor) -> Tensor:
    """(in, heads, width) as (heads * width, in)."""
    n = t.shape[-2] * t.shape[-1]
    return t.reshape((t.shape[0], n)).transpose((1, 0))


def _output(t: Tensor) -> Tensor:
    """(heads, width, *out) as (out, heads * width)."""
    n = t.shape[0] * t.shape[1]
    return t.reshape((n, int(np.prod(t.shape[2:])))).transpose((1, 0))


def _inputs(node: ForeignNode) -> tuple[Value, Value, Value]:
    """Query, value, key of a call: by position, or by name."""
    by_name = [_call(node, k) for k in ("query", "value", "key")]
    xs = list(node.inputs)
    found = [by_name[i] if isinstance(by_name[i], Value) else xs.pop(0) if xs else None for i in range(3)]
    query, value, key = found
    if query is None or value is None:
        raise node.refuse("takes a query and a value", code="missing_input")
    return query, value, value if key is None else key


def _mask_of(g: KerasContext, node: ForeignNode, q: Value, v: Value, k: Value) -> tuple[Value | None, bool]:
    """The mask of the scores (batch, 1 or heads, queries, keys), and whether they are causal beside it."""
    b, shape_q, shape_v = g.b, known_shape(q, sizes=True), known_shape(v, sizes=True)
    steps, keys = product(shape_q[1:-1]), product(shape_v[1:-1])
    causal, window = bool(_call(node, "use_causal_mask", False)), node.attr("sliding_window", None)
    if len(shape_q) != 3 and (causal or window is not None):
        raise node.refuse("is causal, or has a window, over more than one axis")
    masks: list[Value | None] = []
    seen = g.mask(q), g.mask(v), g.mask(k) if k is not v else None
    given = [_call(node, f"{name}_mask") for name in ("query", "value", "key")]
    first, second, third = (_as_bool(g, m if isinstance(m, Value) else old) for m, old in zip(given, seen, strict=True))
    if g.era == "keras3" and node.type == "MultiHeadAttention" and not isinstance(given[2], Value):
        third = None
    if len(shape_q) != 3 and any(m is not None for m in (first, second, third)):
        raise node.refuse("its inputs of more than 3 axes have masks")
    masks += [None if first is None else b.unsqueeze(first, axes=(2,))]
    masks += [None if m is None else b.unsqueeze(m, axes=(1,)) for m in (second, third)]
    if window is not None:
        masks.append(_band(g, node, steps, keys, int(window)))
    extra = _as_bool(g, _call(node, "attention_mask"))
    if extra is None and not any(m is not None for m in masks):
        return None, causal
    if causal:
        masks.append(_lower(g, steps, keys))
    auto = _and(g, masks)
    if extra is None:
        return (None if auto is None else b.unsqueeze(auto, axes=(1,))), False
    rank = len(known_shape(extra))
    if len(shape_q) != 3:
        if rank != 1 + 2 * (len(shape_q) - 2):
            raise node.refuse("its mask does not have the axes of queries and keys")
        batch = known_shape(extra, sizes=True)[0]
        extra, rank = b.reshape(extra, shape=(batch, steps, keys)), 3
    if auto is not None and rank == 4:
        auto = b.unsqueeze(auto, axes=(1,))
    both = extra if auto is None else b.and_(extra, auto)
    return (both if known_shape(both).__len__() == 4 else b.unsqueeze(both, axes=(1,) if rank == 3 else (0, 1))), False


_IN_THE_SHAPES = (
    "dropout", "flash_attention", "seed", "key_dim", "value_dim", "head_dim", "use_bias", "output_shape", "num_heads",
    "num_query_heads", "num_key_value_heads", "query_shape", "key_shape", "value_shape",
)  # fmt: skip
"""What the weights' shapes say again, and what only training and kernels use."""


@RULES.load("MultiHeadAttention", "GroupQueryAttention")
def multi_head_attention(g: KerasContext, node: ForeignNode) -> Any:
    """Projections of query, key and value, attention over heads, and a projection of all heads; over several axes they count as
    one, over some of them the others are batches.

    A query that sees no key gets the mean of all values, but 0 where Keras computes the scores itself (dropout, scores asked for,
    more axes) by its masked Softmax of 3.10 and later.
    """
    b = g.b
    q, v, k = _inputs(node)
    node.ignore(*_IN_THE_SHAPES, "call.query", "call.value", "call.key")
    wanted = _scores_wanted(node)
    rank = len(known_shape(q))
    explicit = wanted or rank != 3 or node.real("dropout", 0.0) > 0 or g.era != "keras3"
    zero = explicit and g.era == "keras3" and (not g.version or g.version >= (3, 10))
    first, second, third = q, k, v
    axes = node.attr("attention_axes", None)
    if axes is not None:
        axes = [axes] if isinstance(axes, int) else list(axes)
        axes = sorted(node.axes_in(axes, rank))
    batches = [a for a in range(1, rank - 1) if axes is not None and a not in axes]
    mask, causal = _mask_of(g, node, q, v, k)
    if batches and (mask is not None or wanted):
        raise node.refuse("attends over some axes only, with a mask or with scores asked for")
    lines = [_as_line(g, x, batches) for x in (first, second, third)]
    names = ("query", "key", "value")
    heads, width = g.array(node, "query/kernel").shape[-2:]
    shared = g.array(node, "key/kernel").shape[-2]
    ws = [g.variant(node, f"{n}/kernel", "heads", _matrix) for n in names]
    bs = [_bias(g, node, n) for n in names]
    common: dict[str, Any] = {"scale": width**-0.5, "causal": causal, "empty": "zero" if zero else "mean", "weights": wanted}
    out = g.array(node, "output/kernel")
    if out.ndim < 3:  # the other kernels' shapes are the record's
        raise node.refuse(f"its weight 'output/kernel' has shape {list(out.shape)}, not that of heads", code="invalid_shape")
    wo = g.variant(node, "output/kernel", "heads", _output)
    bo = _bias(g, node, "output")
    if not node.attr("use_gate", False):
        results = b.op(
            "multi_head_attention",
            *lines,
            *ws,
            wo,
            *bs,
            bo,
            mask,
            heads=heads,
            kv_heads=0 if shared == heads else shared,
            **common,
        )
    else:
        results = _gated(g, node, lines, ws, bs, wo, bo, mask, heads, shared, common)
    y = _as_before(g, results[0], q, batches, out.shape[2:])
    if not wanted:
        return y
    scores = results[1]
    if rank != 3:
        n = known_shape(scores, sizes=True)[:2]
        scores = b.reshape(scores, shape=(*n, *known_shape(q, sizes=True)[1:-1], *known_shape(k, sizes=True)[1:-1]))
    return y, scores


def _bias(g: KerasContext, node: ForeignNode, name: str) -> Value | None:
    if f"{name}/bias" not in node.weights:
        return None
    return g.variant(node, f"{name}/bias", "line", lambda t: t.reshape((int(np.prod(t.shape)),)))


def _gated(
    g: KerasContext, node: ForeignNode, lines: Sequence[Value], ws: Sequence[Value], bs: Sequence[Value | None], wo: Value,
    bo: Value | None, mask: Value | None, heads: int, shared: int, common: dict[str, Any],
) -> tuple[Value, ...]:  # fmt: skip
    """Attention whose heads are multiplied by sigmoid gates of the query before they are projected (``use_gate``)."""
    b = g.b

    def split(x: Value, w: Value, bias: Value | None, n: int) -> Value:
        y = b.linear(x, w, bias)
        batch, steps, width = known_shape(y, sizes=True)
        return b.reshape(y, shape=(batch, steps, n, width // n))

    parts = [split(x, w, bias, n) for x, w, bias, n in zip(lines, ws, bs, (heads, shared, shared), strict=True)]
    results = b.op("attention", *parts, mask, layout="heads_last", **common)
    gate = b.sigmoid(b.linear(lines[0], g.variant(node, "gate/kernel", "heads", _matrix), _bias(g, node, "gate")))
    batch, steps, n, width = known_shape(results[0], sizes=True)
    joined = b.mul(b.reshape(results[0], shape=(batch, steps, n * width)), gate)
    return (b.linear(joined, wo, bo), *results[1:])


def _as_line(g: KerasContext, x: Value, batches: Sequence[int]) -> Value:
    """(batch, ..., features) as (batch, steps, features), the ``batches`` among its axes counted to the batch."""
    shape = known_shape(x, sizes=True)
    if len(shape) == 3 and not batches:
        return x
    rest = [a for a in range(1, len(shape) - 1) if a not in batches]
    if batches:
        x = g.b.transpose(x, perm=(0, *batches, *rest, len(shape) - 1))
    lead = product([shape[0], *(shape[a] for a in batches)])
    return g.b.reshape(x, shape=(lead, product([shape[a] for a in rest]), shape[-1]))


def _as_before(g: KerasContext, y: Value, q: Value, batches: Sequence[int], width: Sequence[int]) -> Value:
    """The axes of the query, and those of the output's projection."""
    shape = known_shape(q, sizes=True)
    if len(shape) == 3 and not batches and len(width) == 1:
        return y
    rest = [a for a in range(1, len(shape) - 1) if a not in batches]
    order = [0, *batches, *rest]
    y = g.b.reshape(y, shape=(*(shape[a] for a in order), *width))
    if order == sorted(order):
        return y
    back = [order.index(a) for a in range(len(order))]
    return g.b.transpose(y, perm=(*back, *range(len(order), len(order) + len(width))))
