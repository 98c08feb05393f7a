"""Attention and RotaryEmbedding (opset 23) as the ops they are; with a cache or scores as results, as their definition."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import LEFT_OUT, DType, ForeignNode, Node, NotExpressible, Role, Trait, Value, every, op, traits_of

from ..context import OnnxContext
from ..dialect import OnnxScribe
from ..dtypes import dtype_code
from .base import BY_DEFINITION, RULES

__all__: list[str] = []


def _whole(v: Value, what: str) -> tuple[Any, ...]:
    """The shape, sizes by name at least."""
    if v.shape is None or None in v.shape:
        raise NotExpressible(f"the shape of {what} is not known", "unknown_shape")
    return tuple(v.shape)


def _heads(g: OnnxContext, v: Value, count: int, what: str) -> Value:
    """(batch, length, heads * width) as (batch, length, heads, width)."""
    if len(_whole(v, what)) != 3:
        raise NotExpressible(f"{what} has {v.rank} axes, not 3", "invalid_shape")
    n, t, width = _whole(v, what)
    if count < 1 or not isinstance(width, int) or width % count:
        raise NotExpressible(f"{what} of {width} features has {count} heads", "invalid_shape")
    split: Value = g.b.reshape(v, shape=(n, t, count, width // count))
    return split


@RULES.load("Attention", since=23)
def load_attention(g: OnnxContext, node: ForeignNode) -> Any:
    """Without a cache: is_causal is then aligned at the first key (onnx 1.23, Attention). A query without a key gets 0."""
    q, k, v = (node.need(i) for i in range(3))
    mask, heads, shared = node.input(3), node.attr("q_num_heads", 0), node.attr("kv_num_heads", 0)
    mode, precision, causal = (
        node.attr("qk_matmul_output_mode", 0),
        node.attr("softmax_precision", None),
        node.attr("is_causal", 0),
    )
    scale, softcap = node.attr("scale", None), node.attr("softcap", 0.0)
    outs = [*node.outputs, "", "", "", ""]
    if any(node.input(i) is not None for i in (4, 5, 6)) or outs[1] or outs[2]:
        raise NotExpressible("a cache of keys and values", BY_DEFINITION)
    if any(node.attr(f"{side}_window_size", -1) != -1 for side in ("left", "right")):
        raise NotExpressible("a window", BY_DEFINITION)
    if outs[3] and mode != 3:
        raise NotExpressible("the scores are a result", BY_DEFINITION)
    if precision is not None and q.dtype is not None and precision != dtype_code(q.dtype):
        raise NotExpressible("a softmax of another precision", BY_DEFINITION)
    if softcap < 0 or (scale is not None and not scale >= 0):  # the definition takes the root of the scale
        raise node.refuse(f"softcap={softcap}, scale={scale}")
    if {len(_whole(x, n)) for x, n in ((q, "Q"), (k, "K"), (v, "V"))} not in ({3}, {4}):
        raise NotExpressible(f"Q, K and V have {q.rank}, {k.rank} and {v.rank} axes, not 3 or 4 each", "invalid_shape")
    last = q.rank == 3
    if last:
        q, k, v = (_heads(g, x, n, w) for x, n, w in ((q, heads, "Q"), (k, shared, "K"), (v, shared, "V")))
    keys = _whole(k, "K")[1 if last else 2]
    if mask is not None and ((_whole(mask, "the mask") or (1,))[-1] != keys or mask.dtype not in (DType.BOOL, q.dtype)):
        raise NotExpressible("a mask of fewer keys, or of another type", BY_DEFINITION)
    made = g.b.op(
        "attention", q, k, v, mask, scale=scale, causal=bool(causal), softcap=softcap, weights=bool(outs[3]),
        layout="heads_last" if last else "heads_first",
    )  # fmt: skip
    y, *weights = made
    if last:
        n, t, h, width = _whole(y, "the result")
        y = g.b.reshape(y, shape=(n, t, h * width))
    return (y, y, y, weights[0]) if weights else y  # those between have no name


@RULES.load("RotaryEmbedding", since=23)
def load_rotary(g: OnnxContext, node: ForeignNode) -> Any:
    x, cos, sin, ids = node.need(0), node.need(1), node.need(2), node.input(3)
    dim, heads, b = node.attr("rotary_embedding_dim", 0), node.attr("num_heads", 0), g.b
    interleaved, shape = bool(node.attr("interleaved", 0)), _whole(x, "X")
    if len(shape) not in (3, 4) or len(_whole(cos, "cos_cache")) != len(_whole(sin, "sin_cache")) or not cos.rank:
        raise NotExpressible(f"X has {x.rank} axes, cos_cache {cos.rank} and sin_cache {sin.rank}", "invalid_shape")
    last = len(shape) == 3
    turned = _heads(g, x, heads, "X") if last else x
    width, half = _whole(turned, "X")[-1], _whole(cos, "cos_cache")[-1]
    if not isinstance(half, int) or 2 * half != (dim or width):
        raise NotExpressible(f"caches of {half} angles for {dim or width} features", "invalid_shape")
    if ids is not None:
        cos, sin = (b.gather(c, ids, axis=0) for c in (cos, sin))
    cos, sin = (b.unsqueeze(c, axes=(2 if last else 1,)) for c in (cos, sin))
    y = b.rotary_embedding(turned, cos, sin, interleaved=interleaved)
    return b.reshape(y, shape=shape) if last else y


# ---- out
def _flat(e: OnnxScribe, v: Value, name: str) -> Any:
    """(batch, length, heads, width) as ONNX takes it with its number of heads, (batch, length, features)."""
    n, t, h, width = _whole(v, name)
    up = v.producer
    before = up.inputs[0] if up is not None and up.op == "reshape" else None
    if before is not None and before.shape == (n, t, h * width):
        return e.value(before)
    return e.call("Reshape", [e.value(v), e.const([0, 0, h * width], DType.INT64)], {}, name=f"{v.name}/{name}")[0]


def _joined_by(y: Value) -> Value | None:
    """What only joins the heads of a result again, if nothing else reads it."""
    user = y.users[0] if len(y.uses) == 1 and not y.is_output else None
    n, t, h, width = _whole(y, "the result")
    ok = user is not None and user.op == "reshape" and user.output.shape == (n, t, h * width)
    return user.output if ok and user is not None else None


def _give(e: OnnxScribe, type: str, args: list[Any], config: dict[str, Any], node: Node, last: bool, more: list[Any]) -> None:
    """The call, and where ONNX's result has the heads joined what takes them apart, unless only that is wanted."""
    y = node.outputs[0]
    if not last:
        e.call(type, args, config, outputs=[y, *more], name=node.name)
        return
    joined = _joined_by(y)
    if joined is not None:
        e.call(type, args, config, outputs=[joined, *more], name=node.name)
        e.given(joined)
        return
    h, width = _whole(y, "the result")[2:]
    (raw, *_) = e.call(type, args, config, outputs=[None, *more], name=f"{node.name}/joined")
    e.call("Reshape", [raw, e.const([0, 0, h, width], DType.INT64)], {}, outputs=[y], name=node.name)


def _far_from_lowest(v: Value, lowest: float) -> bool:
    """Whether no element can be the lowest number of its type: sums and choices of constants that are far above it."""

    def parts(v: Value) -> Any:
        node = v.producer
        if v.tensor is not None or node is None:
            few = v.tensor is not None and v.tensor.size <= 1 << 20
            return few and v.tensor is not None and not bool(np.any(v.tensor.numpy().astype(np.float64) < lowest / 64))
        if node.op in ("add", "where"):
            return node.inputs[-2:]
        if node.op == "embedding":
            return [node.arg("table")]
        if Trait.MOVES not in traits_of(node.op) or node.attrs.get("reduction", "none") != "none":
            return False
        return [x for i, x in enumerate(node.inputs) if op(node.op).role(i) is not Role.INDEX]

    return every(v, parts)


def _mask(e: OnnxScribe, node: Node, mask: Value, whole: tuple[Any, Any], name: str) -> Any:
    """A mask over all queries and keys: one of fewer keys means that the others are not seen (onnxruntime 1.32 pads one of 1).

    The lowest number in an added one becomes the next: onnxruntime 1.32 gives 0 to a query all of whose keys have it,
    where by the definition they count alike (transformers' masks). What was ONNX's Attention stays as it was."""
    shape, x, dtype = _whole(mask, "the mask"), e.value(mask), mask.dtype
    theirs = (node.origin.framework, node.origin.type) == ("onnx", "Attention")
    if dtype is not None and dtype.is_float and not theirs:
        lowest = dtype.limits[0]
        if not _far_from_lowest(mask, lowest):
            after = e.const(np.nextafter(dtype.numpy.type(lowest), dtype.numpy.type(0)), dtype)
            (least,) = e.call("Equal", [x, e.const(lowest, dtype)], {}, name=f"{name}/lowest")
            (x,) = e.call("Where", [least, after, x], {}, name=f"{name}/finite")
    if shape[-2:] == whole:
        return x
    return e.call("Expand", [x, e.sizes([*shape[:-2], *whole])], {}, name=name)[0]


@RULES.emit("attention", since=23)
def emit_attention(e: OnnxScribe, node: Node) -> None:
    a, mask = node.attrs, node.arg("mask")
    if a["guard"]:
        raise NotExpressible("weights that are NaN count as 0")
    if mask is not None and a["empty"] != "zero":
        raise NotExpressible(f"empty={a['empty']}")
    if a["scale"] is not None and not a["scale"] > 0:
        raise NotExpressible(f"scale={a['scale']}, of which ONNX takes the root, onnxruntime not even of 0")
    last = a["layout"] == "heads_last"
    parts = [node.need(n) for n in "qkv"]
    shapes = [_whole(p, n) for p, n in zip(parts, "QKV")]
    args: list[Any] = [_flat(e, p, n) if last else e.value(p) for p, n in zip(parts, "qkv")]
    config: dict[str, Any] = {"is_causal": int(a["causal"])} if a["causal"] else {}
    if last:
        counts = [s[2] for s in shapes]
        if not all(isinstance(n, int) for n in counts) or not all(isinstance(s[3], int) for s in shapes):
            raise NotExpressible("the number of heads is not known", "unknown_shape")
        config |= {"q_num_heads": counts[0], "kv_num_heads": counts[1]}
    if a["scale"] is not None:
        config["scale"] = float(a["scale"])
    if a["softcap"]:
        config["softcap"] = float(a["softcap"])
    if mask is not None:
        args.append(_mask(e, node, mask, (shapes[0][1 if last else 2], shapes[1][1 if last else 2]), f"{node.name}/mask"))
    more: list[Any] = []
    if a["weights"]:
        config["qk_matmul_output_mode"] = 3
        more = [LEFT_OUT, LEFT_OUT, node.outputs[1]]
    _give(e, "Attention", args, config, node, last, more)


@RULES.emit("rotary_embedding", since=23)
def emit_rotary(e: OnnxScribe, node: Node) -> None:
    x, cos, sin = node.need("x"), node.need("cos"), node.need("sin")
    shape, angles = _whole(x, "x"), _whole(cos, "cos")
    if len(shape) != 4 or len(angles) != 4 or _whole(sin, "sin") != angles:
        raise NotExpressible("ONNX turns (batch, heads, length, width)")
    half, width = angles[3], shape[3]
    first = angles == (shape[0], 1, shape[2], half)
    last = not first and angles == (*shape[:2], 1, half)
    heads = shape[2 if last else 1]
    if not (first or last) or not isinstance(width, int) or not isinstance(half, int) or (last and not isinstance(heads, int)):
        raise NotExpressible("its angles are not one for each element of the batch and each step")
    config: dict[str, Any] = {"interleaved": int(node.attrs["interleaved"])} if node.attrs["interleaved"] else {}
    if last:
        config["num_heads"] = heads
    if 2 * half != width:
        if not isinstance(heads, int):
            raise NotExpressible("the number of heads is not known", "unknown_shape")
        config |= {"rotary_embedding_dim": 2 * half, "num_heads": heads}
    args = [_flat(e, x, "x") if last else e.value(x)]
    tables = [_looked_up(v, 2 if last else 1) for v in (cos, sin)]
    (c, ids), (s, others) = tables
    if c is not None and s is not None and ids is others:
        args += [e.value(c), e.value(s), e.value(ids)]
    else:
        squeeze = e.const([2 if last else 1], DType.INT64)
        args += [
            e.call("Squeeze", [e.value(v), squeeze], {}, name=f"{node.name}/{n}")[0] for v, n in ((cos, "cos"), (sin, "sin"))
        ]
    _give(e, "RotaryEmbedding", args, config, node, last, [])


def _looked_up(v: Value, axis: int) -> tuple[Any, Any]:
    """(table, ids) of rows of a table with an axis of one put in; (None, None) of anything else."""
    up = v.producer
    rows = up.inputs[0] if up is not None and up.op == "unsqueeze" and tuple(up.attrs["axes"]) == (axis,) else None
    at = None if rows is None else rows.producer
    if at is None or at.op != "gather" or at.attrs["axis"] != 0 or at.need("x").rank != 2:
        return None, None
    ids = at.inputs[1]
    return (at.need("x"), ids) if ids is not None and ids.dtype is DType.INT64 and ids.rank == 2 else (None, None)
