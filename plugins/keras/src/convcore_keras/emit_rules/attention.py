"""Attention: layers with their projections, and the scaled dot product of computed queries, keys and values."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Ref, State, Tensor

from ..dialect import KerasScribe
from .base import RULES, Writer, known
from .places import Places

__all__: list[str] = []


def _usual_scale(scale: float | None, width: Any) -> bool:
    return scale is None or (isinstance(width, int) and math.isclose(scale, width**-0.5, rel_tol=1e-6))


@RULES.emit("multi_head_attention")
def multi_head_attention(s: KerasScribe, node: Node) -> None:
    """MultiHeadAttention, or GroupQueryAttention where queries share heads of keys; kernels are (in, heads, width)."""
    w, a = Writer(s, node), node.attrs
    if a["guard"]:
        raise NotExpressible("its weights that are NaN count as 0, in Keras they stay")
    if a["layout"] != "batch_major":
        raise NotExpressible("its time is the first axis")
    given = {n: node.arg(n) for n in ("wq", "wk", "wv", "wo", "bq", "bk", "bv", "bo")}
    for name, v in given.items():
        if v is not None and v.tensor is None:
            raise NotExpressible(f"Keras's layer holds {name} as a weight, here it is computed")
    biases = [given[n] is not None for n in ("bq", "bk", "bv", "bo")]
    if any(biases) != all(biases):
        raise NotExpressible("only some of its projections have a bias")
    heads, shared = a["heads"], a["kv_heads"] or a["heads"]
    shapes = {n: tuple(int(d) for d in v.tensor.shape) for n, v in given.items() if v is not None and v.tensor is not None}
    width, value_width, out = shapes["wq"][0] // heads, shapes["wv"][0] // shared, shapes["wo"][0]
    if not _usual_scale(a["scale"], width):
        raise NotExpressible(f"its scores are scaled by {a['scale']}, Keras's layer by {width}**-0.5")
    mask = node.arg("mask")
    if mask is not None and (mask.tensor is not None or mask.dtype is not DType.BOOL or len(known(mask)) != 4):
        raise NotExpressible("Keras's layer takes a computed mask of booleans over (batch, heads, queries, keys)")
    if mask is not None and a["empty"] != "mean":
        raise NotExpressible(f"a query that may look at nothing gives {a['empty']} here, a mean in Keras")
    config: dict[str, Any] = {}
    if shared != heads:
        if width != value_width or out != shapes["wq"][1]:
            raise NotExpressible("GroupQueryAttention has one width, and gives what it is given")
        kind = "GroupQueryAttention"
        config = {"head_dim": width, "num_query_heads": heads, "num_key_value_heads": shared}
    else:
        kind = "MultiHeadAttention"
        config = {"num_heads": heads, "key_dim": width}
        if value_width != width:
            config["value_dim"] = value_width
        if out != shapes["wq"][1]:
            config["output_shape"] = out
    config["use_bias"] = all(biases)
    states: dict[str, Any] = {}
    for part, n, size in (("query", heads, width), ("key", shared, width), ("value", shared, value_width)):
        states[f"{part}/kernel"] = s.state(given[f"w{part[0]}"], f"{n} heads", _split(n, size))  # type: ignore[arg-type]
        if config["use_bias"]:
            states[f"{part}/bias"] = s.state(given[f"b{part[0]}"], f"{n} heads", lambda t, n=n, size=size: t.reshape((n, size)))  # type: ignore[misc, arg-type]
    states["output/kernel"] = s.state(given["wo"], f"{heads} heads", _joined(heads, value_width))  # type: ignore[arg-type]
    if config["use_bias"]:
        states["output/bias"] = s.state(given["bo"])  # type: ignore[arg-type]
    query, key, value = (w.ref(i) for i in range(3))
    args = [query, value, None if key is value else key, None, None, None, None if mask is None else s.value(mask),
            True if a["weights"] else None, None, True if a["causal"] else None]  # fmt: skip
    made = s.unit(kind, args, config, states, shapes=[known(v) for v in node.outputs], n_outputs=len(node.outputs), name=w.name)
    for r in made:
        s.journal.set(r, "dtype", w.dtype())
    w.end(*made)


def _split(heads: int, width: int) -> Any:
    """(heads * width, in) as (in, heads, width)."""

    def turn(t: Tensor) -> Tensor:
        return t.transpose((1, 0)).reshape((t.shape[1], heads, width))

    return turn


def _joined(heads: int, width: int) -> Any:
    """(out, heads * width) as (heads, width, out)."""

    def turn(t: Tensor) -> Tensor:
        return t.transpose((1, 0)).reshape((heads, width, t.shape[0]))

    return turn


@RULES.emit("attention")
def attention(s: KerasScribe, node: Node) -> None:
    """The operation where there is no mask; else scores, softmax and sum as products over named axes, in whatever layout."""
    w, a = Writer(s, node), node.attrs
    if a["guard"]:
        raise NotExpressible("its weights that are NaN count as 0, in Keras they stay")
    q, k, v = (w.ref(i) for i in range(3))
    first = a["layout"] == "heads_first"
    shape, keys = known(w.input(0)), known(w.input(1))
    h, t = (1, 2) if first else (2, 1)
    width, n, mask = shape[3], shape[h], node.arg("mask")
    if not isinstance(width, int) and a["scale"] is None:
        raise NotExpressible("the width of its queries is not known")
    scale = float(width) ** -0.5 if a["scale"] is None else float(a["scale"])  # type: ignore[arg-type]
    plain = mask is None and not a["weights"] and not a["softcap"] and not first and n == keys[h]
    out = known(node.outputs[0])
    if plain and out[3] == width and (not a["causal"] or shape[t] == keys[t]):
        config = {"is_causal": True} if a["causal"] else {}
        scaled = [] if _usual_scale(a["scale"], width) else [None, None, scale]
        w.end(w.op("DotProductAttention", q, k, v, *scaled, shape=out, dtype=w.dtype(), **config))
        return
    if n != keys[h]:
        shared = keys[h]
        if not isinstance(n, int) or not isinstance(shared, int):
            raise NotExpressible("its numbers of heads are not known")
        k, v = (w.op("Repeat", x, shape=tuple(n if i == h else d for i, d in enumerate(x.shape or ())),
                     repeats=n // shared, axis=h) for x in (k, v))  # fmt: skip
    side = "bhqd,bhkd->bhqk" if first else "bqhd,bkhd->bhqk"
    full = (shape[0], n, shape[t], keys[t])
    scores = w.op("Einsum", q, k, shape=full, subscripts=side)
    if scale != 1:
        scores = w.op("Multiply", scores, scale)
    if a["softcap"]:
        scores = w.op("Multiply", w.op("Tanh", w.op("Divide", scores, a["softcap"])), a["softcap"])
    scores = _masked(w, scores, None if mask is None else s.value(mask), a["causal"], full)
    weights = _softmax(w, scores, mask is not None and a["empty"] != "nan", a["empty"])
    y = w.op("Einsum", weights, v, shape=out, subscripts="bhqk,bhkd->bhqd" if first else "bhqk,bkhd->bqhd")
    w.end(y, *([weights] if a["weights"] else []))


def _masked(w: Writer, scores: Ref, mask: Any, causal: bool, full: tuple[Any, ...]) -> Ref:
    if mask is not None and mask.dtype is not DType.BOOL:
        scores = w.op("Add", scores, mask, shape=full)
    keep = mask if mask is not None and mask.dtype is DType.BOOL else None
    if causal:
        p = Places(w)
        below = p.do("LessEqual", p.axis(scores, 3)[0], p.axis(scores, 2)[0])
        lower = below if isinstance(below, Ref) else w.s.const(below)
        keep = lower if keep is None else w.op("LogicalAnd", keep, lower, dtype=DType.BOOL) if _any(keep, lower) else w.s.const(
            keep.tensor.numpy() & below
        )  # fmt: skip
    return scores if keep is None else w.op("Where", keep, scores, float("-inf"), shape=full, dtype=scores.dtype)


def _any(*xs: Any) -> bool:
    return any(isinstance(x, Ref) for x in xs if not isinstance(x, State))


def _softmax(w: Writer, scores: Ref, guarded: bool, empty: str) -> Ref:
    """Over the keys; a query that may look at none gives a mean or zeros."""
    if not guarded:
        return w.op("Softmax", scores, shape=scores.shape, axis=-1)
    column = (*(scores.shape or ())[:3], 1)
    dead = w.op("Equal", w.op("Max", scores, shape=column, axis=[3], keepdims=True), float("-inf"), shape=column)
    p = w.op("Softmax", w.op("Where", dead, 0.0, scores, shape=scores.shape, dtype=scores.dtype), shape=scores.shape, axis=-1)
    return p if empty == "mean" else w.op("Where", dead, 0.0, p, shape=scores.shape, dtype=scores.dtype)
