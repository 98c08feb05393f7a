"""Attention as F.scaled_dot_product_attention, whole layers of it as nn.MultiheadAttention, where these mean the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, State, Value, as_tensor

from ..rules.base import RULES
from .base import E, given, shape_of


def _unused(e: E, v: Value) -> bool:
    return not v.uses and v not in e.graph.outputs


@RULES.emit("attention")
def attention(e: E, node: Node) -> None:
    """A query that may look at no key gets 0, as in torch since 2.5; other conventions only where no mask makes such rows."""
    q, k, v, mask, a = *(given(x) for x in node.inputs[:3]), node.arg("mask"), node.attrs
    if a["layout"] != "heads_first" or a["softcap"]:
        raise NotExpressible(f"layout={a['layout']}, softcap={a['softcap']}")
    if a["guard"]:
        raise NotExpressible("weights that are NaN count as 0")
    if a["weights"] and not _unused(e, node.outputs[1]):
        raise NotExpressible("its weights are read")
    if mask is not None and a["causal"]:
        raise NotExpressible("a mask and causal at once")
    if mask is not None and a["empty"] != "zero" and not _sees(mask):
        raise NotExpressible(f"empty={a['empty']}")
    args = [e.value(q), e.value(k), e.value(v)]
    if mask is not None:
        h = e.value(mask)
        for _ in range(2 - len(shape_of(mask))):
            (h,) = e.call(".unsqueeze", [h, 0])
        args.append(h)
    width = shape_of(q)[-1]
    scale = a["scale"]
    if scale is not None and isinstance(width, int) and np.float32(scale) == np.float32(width**-0.5):
        scale = None
    config: dict[str, Any] = {"is_causal": True if a["causal"] else None, "scale": scale}
    if shape_of(q)[1] != shape_of(k)[1]:
        config["enable_gqa"] = True
    e.call("F.scaled_dot_product_attention", args, config, outputs=node.outputs[:1])


def _sees(mask: Value) -> bool:
    """Whether a constant mask leaves every query a key."""
    if mask.tensor is None:
        return False
    m = np.atleast_1d(mask.tensor.numpy())
    return bool((m if m.dtype == bool else ~np.isneginf(m)).any(-1).all())


@RULES.emit("multi_head_attention")
def layer(e: E, node: Node) -> None:
    """Projections of all heads to the width of the query, without mask and own scale."""
    a = node.attrs
    query, key, value = (given(node.arg(n)) for n in ("query", "key", "value"))
    weights = [given(node.arg(n)) for n in ("wq", "wk", "wv", "wo")]
    biases = [node.arg(n) for n in ("bq", "bk", "bv", "bo")]
    if a["guard"]:
        raise NotExpressible("weights that are NaN count as 0")
    if node.arg("mask") is not None or a["causal"] or a["kv_heads"] not in (0, a["heads"]):
        raise NotExpressible("a mask, or fewer heads of keys")
    if any(v is not None and v.tensor is None for v in (*weights, *biases)) or len({v is None for v in biases}) != 1:
        raise NotExpressible("weights that are computed, or some biases only")
    (rows, wide), out = shape_of(weights[0]), shape_of(weights[3])
    if not (rows == wide == shape_of(weights[2])[0] == out[0] == out[1]):
        raise NotExpressible("projections to another width than that of the query")
    if a["scale"] is not None and not math.isclose(a["scale"], (wide // a["heads"]) ** -0.5, rel_tol=1e-6):
        raise NotExpressible(f"scale={a['scale']}")
    widths = [shape_of(w)[1] for w in weights[:3]]
    config: dict[str, Any] = {"embed_dim": wide, "num_heads": a["heads"], "bias": None if biases[0] is not None else False,
                              "batch_first": True if a["layout"] == "batch_major" else None}  # fmt: skip
    states: dict[str, State] = {}
    if widths == [wide] * 3:
        states["in_proj_weight"] = _packed(e, weights[:3])
    else:
        config |= {"kdim": widths[1], "vdim": widths[2]}
        states |= {f"{n}_proj_weight": e.state(w) for n, w in zip("qkv", weights)}
    if biases[0] is not None:
        states["in_proj_bias"] = _packed(e, [given(b) for b in biases[:3]])
    states["out_proj.weight"] = e.state(weights[3])
    if biases[3] is not None:
        states["out_proj.bias"] = e.state(biases[3])
    read = a["weights"] and not _unused(e, node.outputs[1])
    args = [e.value(query), e.value(key), e.value(value)]
    results = (*node.outputs[:1], node.outputs[1] if read else None)
    (y, _) = e.unit("torch.nn.MultiheadAttention", args, config, states, outputs=results)
    if y.call is not None:
        y.call.kwargs = {"average_attn_weights": False} if read else {"need_weights": False}


def _packed(e: E, parts: Sequence[Value]) -> State:
    """Weights one below the other, as one parameter."""
    if len({p.trainable for p in parts}) != 1:
        raise NotExpressible("parts of one parameter that do not all train")
    tensors = [given(p).tensor for p in parts]
    key = f"packed with {' '.join(str(id(t)) for t in tensors[1:])}"
    return e.state(parts[0], key, lambda _: as_tensor(np.concatenate([t.numpy() for t in tensors if t is not None])))
