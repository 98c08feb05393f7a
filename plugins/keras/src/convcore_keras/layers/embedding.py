"""Embedding and Masking: the layers masks come from."""

from __future__ import annotations

import math

import numpy as np

from convcore.plugin import DType, ForeignNode, Size, Value, W

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..recurrence import main_input
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer(
    "Embedding",
    defaults={"mask_zero": False},
    required=("input_dim", "output_dim"),
    variables=(V("embeddings", ("input_dim", "output_dim")),),
    masks="own",
    any_dtype=True,
)
layer("Masking", defaults={"mask_value": 0.0}, masks="own", any_dtype=True)
layer(
    "ReversibleEmbedding",
    defaults={"tie_weights": True, "mask_zero": False, "reverse_dtype": None, "logit_soft_cap": None},
    required=("input_dim", "output_dim"),
    variables=(
        V("embeddings", ("input_dim", "output_dim")),
        V("reverse_embeddings", ("output_dim", "input_dim"), when="!tie_weights"),
    ),
    call=("reverse",),
    masks="own",
)

# ---- rules


RULES.op(
    "Embedding",
    "embedding",
    "inputs=ids",
    when={"mask_zero": False},
    types={"ids": ("int32", "int64")},
    table=W("embeddings"),
    input_dim=Size("table", 0),
    output_dim=Size("table", 1),
    ignore=("input_length", "sparse"),
    direction="load",
)


@RULES.load("Embedding")
def embedding(g: KerasContext, node: ForeignNode) -> Value:
    """Rows of the table; ids that are not int32 or int64 are cast to int32. ``mask_zero`` masks ids equal to 0."""
    node.ignore("input_dim", "output_dim", "input_length", "sparse")
    ids, b = main_input(node), g.b
    mask = b.not_equal(ids, b.like(ids, 0)) if node.attr("mask_zero", False) else None
    if ids.dtype not in (DType.INT32, DType.INT64):
        ids = b.cast(ids, to="int32")
    y: Value = b.embedding(ids, g.variable(node, "embeddings"))
    g.set_mask(y, mask)
    return y


@RULES.load("ReversibleEmbedding")
def reversible_embedding(g: KerasContext, node: ForeignNode) -> Value:
    """Rows of the table; ``reverse=True``: products with the table, or with one of its own, limited by ``logit_soft_cap``."""
    b = g.b
    node.ignore("tie_weights")
    cap, to = node.attr("logit_soft_cap", None), node.attr("reverse_dtype", None)
    if not node.attr("call.reverse", False):
        return embedding(g, node)
    node.ignore("input_dim", "output_dim", "mask_zero")
    x = node.need(0)
    tied = node.attr("tie_weights", True)
    w = g.variable(node, "embeddings") if tied else g.variable(node, "reverse_embeddings", "IO->OI")
    if to is not None:
        x, w = b.cast(x, to=DType(str(to))), b.cast(w, to=DType(str(to)))
    y = b.linear(x, w)
    return y if cap is None else b.mul(b.tanh(b.div(y, b.like(y, float(cap)))), b.like(y, float(cap)))


@RULES.load("Masking")
def masking(g: KerasContext, node: ForeignNode) -> Value:
    """Steps whose every feature equals ``mask_value`` are masked and become 0.

    Keras 3.15 selects, older versions multiply by the mask, which differs for an infinite ``mask_value`` only: refused.
    """
    x, b = main_input(node), g.b
    value = node.attr("mask_value", 0.0)
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise node.refuse(f"mask_value={value!r} is not a finite number")
    if x.dtype is not None and not x.dtype.is_float and value != int(value):
        raise node.refuse(f"mask_value={value!r} is compared with integers")
    mask = b.any(b.not_equal(x, b.like(x, value)), axes=(-1,), keepdims=False)
    y: Value = b.where(b.unsqueeze(mask, axes=(-1,)), x, b.like(x, 0))
    g.set_mask(y, mask)
    return y
