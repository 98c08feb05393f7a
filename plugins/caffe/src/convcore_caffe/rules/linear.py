"""InnerProduct and Embed."""

from __future__ import annotations

from convcore.plugin import Value, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, layer
from .base import RULES

# ---- what the layers are

layer(
    "Embed",
    param="""embed_param 137 EmbedParameter:
        num_output 1 uint32; input_dim 2 uint32; bias_term 3 bool=true; weight_filler 4 FillerParameter
        bias_filler 5 FillerParameter
    """,
    counts=ONE,
    blobs=("weight", "bias"),
    writes=EVERY,
    opencv=False,
    check=checks.positive("embed_param", "num_output", "input_dim"),
)
layer(
    "InnerProduct",
    param="""inner_product_param 117 InnerProductParameter:
        num_output 1 uint32; bias_term 2 bool=true; weight_filler 3 FillerParameter; bias_filler 4 FillerParameter
        axis 5 int32=1; transpose 6 bool=false
    """,
    counts=ONE,
    v1="INNER_PRODUCT 14 17",
    v0="innerproduct",
    blobs=("weight", "bias"),
    memory="own",
    writes=EVERY,
    check=checks.positive("inner_product_param", "num_output"),
)

# ---- rules


@RULES.load("InnerProduct")
def inner_product(g: CaffeContext, node: CaffeNode) -> Value:
    """All axes from ``axis`` on flattened (C, H, W in this order), times the weight; axes before it stay."""
    shape, axis = node.shape(), node.axis()
    out, bias = int(node.attr("num_output")), bool(node.attr("bias_term"))
    (k,) = node.integers((product(shape[axis:]),), "the flattened axes")
    g.count(node, 2 if bias else 1)
    if node.attr("transpose"):
        w = g.weight_of(node, 0, "weight", (k, out), filler="weight_filler", key="transposed", make=lambda t: t.transpose((1, 0)))
    else:
        w = g.weight_of(node, 0, "weight", (out, k), filler="weight_filler")
    b = g.weight_of(node, 1, "bias", (out,), filler="bias_filler") if bias else None
    lead, x = shape[:axis], node.x
    if ((*lead, k) if lead else (1, k)) != shape:
        x = g.b.reshape(x, shape=(*(node.sizes()[:axis] or (1,)), k))
    y: Value = g.b.linear(x, w, b)
    return y if lead else g.b.reshape(y, shape=(out,))


@RULES.load("Embed")
def embed(g: CaffeContext, node: CaffeNode) -> Value:
    """Rows of the weight (input_dim, num_output) by index, which is a truncated float."""
    out, rows, bias = int(node.attr("num_output")), int(node.attr("input_dim")), bool(node.attr("bias_term"))
    g.count(node, 2 if bias else 1)
    table = g.weight_of(node, 0, "weight", (rows, out), filler="weight_filler")
    y = g.b.embedding(g.b.cast(node.x, to="int64"), table)
    return g.b.add(y, g.weight_of(node, 1, "bias", (out,), filler="bias_filler")) if bias else y
