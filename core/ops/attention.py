"""Attention: the scaled dot product, whole layers of it with their projections, and rotary position embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..opset.axes import TIME, LastAxes, Layout
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype
from ..opset.traits import Trait
from .windows import Array

ATTENTION = OpSet("attention")

Shapes = list[tuple[DType | None, Shape | None]]

_ORDER = {"heads_first": "NHTC", "heads_last": "NTHC"}
HEADS = Layout(
    "layout", "heads", {form: dict.fromkeys(("q", "k", "v", "y"), order) for form, order in _ORDER.items()}
)  # fmt: skip
"""heads_first: (batch, heads, length, width), as torch and ONNX; heads_last: (batch, length, heads, width), as Keras."""

EMPTY = Attr(
    "str", "zero", ("zero", "nan", "mean"),
    doc="what a query that may look at no key gets: 0 (torch scaled_dot_product_attention 2.14, ONNX 1.23), NaN (a softmax "
    "of -inf: torch MultiheadAttention with weights), or the mean of all values (a softmax of equal finite numbers: Keras's "
    "Softmax layer, masks of finfo.min)",
)  # fmt: skip
_COMMON = {
    "scale": Attr("float", None, doc="factor of the scores; None: 1 / sqrt(width of a query)"),
    "causal": Attr("bool", False, doc="query i looks at keys 0..i only (aligned at the first key and query)"),
    "empty": EMPTY,
    "guard": Attr(
        "bool",
        False,
        doc="whether weights that are NaN, whatever made them so, are taken as 0: where(isnan(p), 0, p) "
        "of torch's exporters; else NaN in the data stays NaN",
    ),
    "weights": Attr("bool", False, doc="whether the weights (batch, heads, queries, keys) are a second result"),
}


def _mask_fits(c: InferContext, n: Any, heads: Any, rows: Any, columns: Any) -> None:
    mask = c.value("mask")
    if mask is None:
        return
    if mask.dtype not in (None, DType.BOOL, c.dtype(c.op.inputs[0].name)):
        c.fail(f"mask is {mask.dtype}, must be bool (True keeps) or of the type of the scores (added to them)")
    if mask.shape is None:
        return
    if len(mask.shape) > 4:
        c.fail(f"mask has {len(mask.shape)} axes, must broadcast to (batch, heads, queries, keys)")
    whole = (n, heads, rows, columns)[4 - len(mask.shape) :]
    for size, full, what in zip(mask.shape, whole, ("batch", "heads", "queries", "keys")[4 - len(mask.shape) :]):
        if size != 1:
            c.same(size, full, f"{what} of mask and of the scores")


def _groups(c: InferContext, heads: DimLike | None, shared: DimLike | None) -> None:
    if isinstance(heads, int) and isinstance(shared, int) and (not shared or heads % shared):
        c.fail(f"{heads} heads of queries do not share {shared} heads of keys equally")


def _attention_shape(c: InferContext) -> Shapes:
    dtype = common_dtype(c, "q", "k", "v")
    for name in ("q", "k", "v"):
        c.rank(name, 4)
    if c["softcap"] < 0:
        c.fail(f"softcap={c['softcap']} must not be negative")
    q, k, v = c.shape("q"), c.shape("k"), c.shape("v")
    count = 2 if c["weights"] else 1
    if q is None or k is None or v is None:
        return [(dtype, None)] * count
    h, t = (1, 2) if c["layout"] == "heads_first" else (2, 1)
    c.same(q[0], k[0], "batch of q and k")
    c.same(k[0], v[0], "batch of k and v")
    c.same(q[3], k[3], "widths of q and k")
    c.same(k[h], v[h], "heads of k and v")
    keys = c.same(k[t], v[t], "lengths of k and v")
    _groups(c, q[h], k[h])
    _mask_fits(c, q[0], q[h], q[t], keys)
    y = (q[0], q[h], q[t], v[3]) if h == 1 else (q[0], q[t], q[h], v[3])
    results: Shapes = [(dtype, y), (dtype, (q[0], q[h], q[t], keys))]
    return results[:count]


def _softmaxed(s: Array, empty: str, guard: bool) -> Array:
    """Softmax over the last axis; rows of nothing but -inf as ``empty`` says, NaN as 0 where ``guard``."""
    top = s.max(-1, keepdims=True, initial=-np.inf)
    dead = np.isneginf(top)
    e = np.exp(np.where(dead, 0, s - np.where(dead, 0, top)))
    p: Array = e / e.sum(-1, keepdims=True)
    p = p if empty == "mean" else np.where(dead, np.nan if empty == "nan" else 0, p)
    return np.where(np.isnan(p), 0, p) if guard else p


def _attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float | None, causal: bool, empty: str, guard: bool,
    weights: bool, softcap: float, layout: str,
) -> Any:  # fmt: skip
    dtype = q.dtype
    if layout == "heads_last":
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    if q.shape[1] != k.shape[1]:
        k, v = (np.repeat(x, q.shape[1] // k.shape[1], 1) for x in (k, v))
    with np.errstate(all="ignore"):
        s = q @ k.swapaxes(-1, -2) * np.asarray(q.shape[-1] ** -0.5 if scale is None else scale, dtype)
        if softcap:
            s = np.asarray(softcap, dtype) * np.tanh(s / np.asarray(softcap, dtype))
        if mask is not None and mask.dtype != np.bool_:
            s = s + mask
        elif mask is not None:
            s = np.where(mask, s, -np.inf)
        if causal:
            s = np.where(np.tri(*s.shape[-2:], dtype=np.bool_), s, -np.inf)
        p = _softmaxed(s, empty, guard).astype(dtype, copy=False)
        y = p @ v
    y = y.transpose(0, 2, 1, 3) if layout == "heads_last" else y
    return (y, p) if weights else y


def _scores(b: Any, q: Any, k: Any, scale: float | None, softcap: float) -> Any:
    if scale is None:
        width: Any = None if q.shape is None else q.shape[-1]
        b.require(isinstance(width, int), "attention: the width of a query must be known where scale is not given")
        scale = width**-0.5
    s = b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2)))
    s = s if scale == 1 else b.mul(s, b.like(s, scale))
    return b.mul(b.tanh(b.div(s, b.like(s, softcap))), b.like(s, softcap)) if softcap else s


def _lower(b: Any, s: Any) -> Any:
    """True on and below the diagonal of the last two axes of ``s``."""
    b.require(s.shape is not None and None not in s.shape[-2:], "attention: the lengths must be known where causal")
    ones = b.fill(shape=s.shape[-2:], value=1, dtype=DType.INT32)
    return b.equal(b.trilu(ones, upper=False), b.const(1, DType.INT32))


def _attention_body(
    b: Any, q: Any, k: Any, v: Any, mask: Any = None, *, scale: float | None, causal: bool, empty: str, guard: bool,
    weights: bool, softcap: float, layout: str,
) -> Any:  # fmt: skip
    if layout == "heads_last":
        q, k, v = (b.transpose(x, perm=(0, 2, 1, 3)) for x in (q, k, v))
    b.require(q.shape is not None and k.shape is not None, "attention: the shapes must be known")
    heads, shared = q.shape[1], k.shape[1]
    if heads != shared:
        b.require(isinstance(heads, int) and isinstance(shared, int), "attention: the numbers of heads must be known")
        k, v = (b.repeat(x, repeats=heads // shared, axis=1) for x in (k, v))
    s = _scores(b, q, k, scale, softcap)
    if mask is not None and mask.dtype is not DType.BOOL:
        s = b.add(s, mask)
    keep = mask if mask is not None and mask.dtype is DType.BOOL else None
    if causal:
        keep = _lower(b, s) if keep is None else b.and_(keep, _lower(b, s))
    if keep is not None:
        s = b.where(keep, s, b.like(s, float("-inf")))
    if mask is None or empty == "nan":  # without a mask every query sees the first key
        p = b.softmax(s, axis=-1)
    else:
        dead = b.equal(b.max(s, axes=(3,), keepdims=True), b.like(s, float("-inf")))
        p = b.softmax(b.where(dead, b.like(s, 0), s), axis=-1)
        p = p if empty == "mean" else b.where(dead, b.like(s, 0), p)
    p = b.where(b.isnan(p), b.like(p, 0), p) if guard else p
    y = b.matmul(p, v)
    y = b.transpose(y, perm=(0, 2, 1, 3)) if layout == "heads_last" else y
    return (y, p) if weights else y


_NINF = np.asarray([[0, 1, -np.inf], [-np.inf, -np.inf, -np.inf], [2, 0, -1], [0, 0, 0], [-np.inf, 0, 0]], np.float32)
_KEEP = np.asarray([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1]], bool)
ATTENTION.op(
    "attention", "q:float, k:float, v:float, mask?",
    "softmax(q k^T scale + mask) v, scaled dot-product attention of 4 axes. Heads of k and v may be fewer: head h of q looks at "
    "head h // (heads of q / heads of k). A bool mask keeps where it is True, another is added; it broadcasts to (batch, heads, "
    "queries, keys). softcap c > 0: scores become c tanh(scores / c) before the mask.",
    outputs="y, weights*",
    attrs={**_COMMON, "softcap": Attr("float", 0.0, doc="0: none"), "layout": Attr("str", "heads_first", tuple(_ORDER))},
    infer=_attention_shape, reference=_attention, body=_attention_body, axes=HEADS,
    samples=[
        Sample((2, 3, 5, 7), (2, 3, 11, 7), (2, 3, 11, 13)),
        Sample((2, 6, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7), causal=True, scale=0.3),
        Sample((2, 3, 5, 7), (2, 3, 3, 7), (2, 3, 3, 2), _KEEP, weights=True),
        Sample((2, 3, 5, 7), (2, 3, 3, 7), (2, 3, 3, 2), _NINF, empty="mean"),
        Sample((2, 3, 5, 7), (2, 3, 3, 7), (2, 3, 3, 2), _NINF, empty="nan", weights=True),
        Sample((2, 3, 5, 7), (2, 3, 3, 7), (2, 3, 3, 2), _NINF, empty="nan", guard=True, weights=True),
        Sample((2, 5, 6, 7), (2, 3, 2, 7), (2, 3, 2, 11), ("bool", (2, 1, 5, 3)), layout="heads_last", causal=True),
        Sample((2, 5, 3, 7), (2, 11, 3, 7), (2, 11, 3, 7), (11,), layout="heads_last", softcap=0.5),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


# ---- a whole layer


def _layer_shape(c: InferContext) -> Shapes:
    names = ("query", "key", "value")
    dtype = common_dtype(c, *names, "wq", "wk", "wv", "wo")
    heads, shared = c["heads"], c["kv_heads"] or c["heads"]
    if heads < 1 or shared < 1:
        c.fail(f"heads={heads}, kv_heads={shared} must be positive")
    _groups(c, heads, shared)
    out: Any = None
    widths: list[Any] = []
    for name, w, bias, n in zip((*names, ""), ("wq", "wk", "wv", "wo"), ("bq", "bk", "bv", "bo"), (heads, shared, shared, 0)):
        c.rank(w, 2)
        c.rank(bias, 1)
        x, weight, b = c.shape(name) if name else None, c.shape(w), c.shape(bias)
        if name:
            c.rank(name, 3)
        if weight is None:
            widths.append(None)
            continue
        if x is not None:
            c.same(x[-1], weight[1], f"the last axis of {name} and the second axis of {w} (out, in)")
        if b is not None:
            c.same(b[0], weight[0], f"{bias} and the first axis of {w}")
        if n and isinstance(weight[0], int) and weight[0] % n:
            c.fail(f"the {weight[0]} rows of {w} do not divide into {n} heads")
        widths.append(weight[0] // n if n and weight[0] is not None else None)
        out = weight[0] if not n else out
    c.same(widths[0], widths[1], "widths of a head of queries and of keys")
    wo = c.shape("wo")
    if wo is not None and widths[2] is not None:
        c.same(wo[1], widths[2] * heads, "the second axis of wo and the width of all heads")
    q, k, v = (c.shape(n) for n in names)
    if q is None or k is None or v is None:
        return [(dtype, None)] * (2 if c["weights"] else 1)
    n, t = (0, 1) if c["layout"] == "batch_major" else (1, 0)
    c.same(q[n], k[n], "batch of query and key")
    c.same(k[n], v[n], "batch of key and value")
    keys = c.same(k[t], v[t], "lengths of key and value")
    _mask_fits(c, q[n], heads, q[t], keys)
    results: Shapes = [(dtype, (*q[:2], out)), (dtype, (q[n], heads, q[t], keys))]
    return results[: 2 if c["weights"] else 1]


def _layer_body(
    b: Any, query: Any, key: Any, value: Any, wq: Any, wk: Any, wv: Any, wo: Any, bq: Any = None, bk: Any = None, bv: Any = None,
    bo: Any = None, mask: Any = None, *, heads: int, kv_heads: int, scale: float | None, causal: bool, empty: str, guard: bool,
    weights: bool, layout: str,
) -> Any:  # fmt: skip
    def split(x: Any, w: Any, bias: Any, n: int) -> Any:
        x = b.linear(x, w, bias)
        s = x.shape
        b.require(s is not None and None not in s, "multi_head_attention: the shapes must be known, if only by name")
        return b.reshape(x, shape=(s[0], s[1], n, s[2] // n))

    if layout == "time_major":
        same = {id(x): b.transpose(x, perm=(1, 0, 2)) for x in (query, key, value)}
        query, key, value = (same[id(x)] for x in (query, key, value))
    shared = kv_heads or heads
    q, k, v = split(query, wq, bq, heads), split(key, wk, bk, shared), split(value, wv, bv, shared)
    rest = {"scale": scale, "causal": causal, "empty": empty, "guard": guard, "weights": weights, "layout": "heads_last"}
    results = b.attention(q, k, v, mask, **rest)
    y = results[0]
    y = b.reshape(y, shape=(y.shape[0], y.shape[1], y.shape[2] * y.shape[3]))
    y = b.linear(y, wo, bo)
    y = b.transpose(y, perm=(1, 0, 2)) if layout == "time_major" else y
    return (y, results[1]) if weights else y


_LAYER = [(14, 5), (14, 11), (6, 13), (17, 6)]
ATTENTION.op(
    "multi_head_attention",
    "query:float, key:float, value:float, wq:float, wk:float, wv:float, wo:float, bq:float?, bk:float?, bv:float?, bo:float?, "
    "mask?",
    "A layer of attention: linear projections of query, key and value (weights (out, in), the rows of a head together), "
    "`attention` over ``heads`` heads (``kv_heads`` of keys and values; 0: as many), the heads joined, and the projection wo: "
    "torch.nn.MultiheadAttention, Keras MultiHeadAttention and GroupedQueryAttention over one axis. The mask is that of "
    "`attention`.",
    outputs="y, weights*",
    attrs={
        "heads": Attr("int"), "kv_heads": Attr("int", 0), **_COMMON,
        "layout": Attr("str", "batch_major", ("batch_major", "time_major")),
    },
    infer=_layer_shape, body=_layer_body, axes=TIME(query="NTC", key="NTC", value="NTC", y="NTC"),
    samples=[
        Sample((2, 3, 5), (2, 7, 11), (2, 7, 13), *_LAYER, (14,), (14,), (6,), (17,), heads=2),
        Sample((3, 2, 5), (7, 2, 11), (7, 2, 13), *_LAYER, None, None, (6,), None, ("bool", (2, 1, 1, 7)), heads=2,
               layout="time_major", weights=True, scale=0.7),
        Sample((2, 3, 5), (2, 7, 11), (2, 7, 13), (28, 5), (14, 11), (6, 13), (17, 12), heads=4, kv_heads=2, causal=True),
    ],
    traits=Trait.HEAVY, roles={"parameter": "wq wk wv wo bq bk bv bo"},
)  # fmt: skip


# ---- rotary position embedding


def _rotary_shape(c: InferContext) -> Shapes:
    dtype = common_dtype(c, "x", "cos", "sin")
    x, cos, sin = c.shape("x"), c.shape("cos"), c.shape("sin")
    if x is not None and not x:
        c.fail("x must have at least one axis")
    for name, s in (("cos", cos), ("sin", sin)):
        if s is None or x is None:
            continue
        if not s or len(s) > len(x):
            c.fail(f"{name} has {len(s)} axes, x {len(x)}")
        for a, e in zip(s[:-1], x[len(x) - len(s) : -1]):
            if a != 1:
                c.same(a, e, f"leading sizes of {name} and x")
        if isinstance(s[-1], int) and isinstance(x[-1], int) and 2 * s[-1] > x[-1]:
            c.fail(f"{name} turns {2 * s[-1]} elements, the last axis of x has {x[-1]}")
    if cos is not None and sin is not None:
        c.same(cos[-1], sin[-1], "the last axes of cos and sin")
    return [(dtype, x)]


def _rotary(x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    n = cos.shape[-1]
    a, b = (x[..., : 2 * n : 2], x[..., 1 : 2 * n : 2]) if interleaved else (x[..., :n], x[..., n : 2 * n])
    y = np.array(x)
    turned = (a * cos - b * sin, b * cos + a * sin)
    y[..., : 2 * n] = np.stack(turned, -1).reshape(*x.shape[:-1], 2 * n) if interleaved else np.concatenate(turned, -1)
    return y


def _rotary_body(b: Any, x: Any, cos: Any, sin: Any, *, interleaved: bool) -> Any:
    b.require(x.shape is not None and None not in x.shape and cos.shape is not None, "rotary_embedding: the shapes must be known")
    n, width, rank = cos.shape[-1], x.shape[-1], len(x.shape)
    b.require(isinstance(n, int) and isinstance(width, int), "rotary_embedding: the widths must be known")

    def part(start: int, stop: int, step: int = 1) -> Any:
        zeros, ones = (0,) * (rank - 1), (1,) * (rank - 1)
        return b.slice(x, starts=(*zeros, start), stops=(*x.shape[:-1], stop), steps=(*ones, step))

    first, second = (part(0, 2 * n, 2), part(1, 2 * n, 2)) if interleaved else (part(0, n), part(n, 2 * n))
    turned = [b.sub(b.mul(first, cos), b.mul(second, sin)), b.add(b.mul(second, cos), b.mul(first, sin))]
    if interleaved:
        y = b.reshape(b.stack(*turned, axis=rank), shape=(*x.shape[:-1], 2 * n))
        return y if width == 2 * n else b.concat(y, part(2 * n, width), axis=-1)
    return b.concat(*turned, *([] if width == 2 * n else [part(2 * n, width)]), axis=-1)


ATTENTION.op(
    "rotary_embedding", "x:float, cos:float, sin:float",
    "Pairs (a, b) of the last axis of x turned by an angle: (a cos - b sin, b cos + a sin). cos and sin (..., n) broadcast to "
    "the leading axes of x; pair i is elements i and n + i, or with ``interleaved`` 2 i and 2 i + 1; elements from 2 n on stay "
    "(ONNX RotaryEmbedding).",
    attrs={"interleaved": Attr("bool", False)}, infer=_rotary_shape, reference=_rotary, body=_rotary_body, axes=LastAxes(1),
    samples=[
        Sample((2, 3, 5, 14), (5, 7), (5, 7)), Sample((2, 5, 3, 14), (2, 5, 1, 7), (2, 5, 1, 7), interleaved=True),
        Sample((2, 3, 11), (1, 3, 4), (3, 4)), Sample((3, 11), (4,), (3, 4), interleaved=True),
    ],
)  # fmt: skip
