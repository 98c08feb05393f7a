"""InnerProduct and Embed."""

from __future__ import annotations

from convcore.plugin import MISSING, Given, Size, Value, W, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import BIAS, EVERY, ONE, Blob, layer
from .base import RULES

# ---- what the layers are


def _matrix(node: CaffeNode) -> tuple[int, ...]:
    """(out, in), or (in, out) with ``transpose``; all axes from ``axis`` on are one."""
    (k,) = node.integers((product(node.shape()[node.axis() :]),), "the flattened axes")
    out = int(node.attr("num_output"))
    return (k, out) if node.attr("transpose") else (out, k)


def _table(node: CaffeNode) -> tuple[int, ...]:
    return (int(node.attr("input_dim")), int(node.attr("num_output")))


layer(
    "Embed",
    param="""embed_param 137 EmbedParameter:
        num_output 1 uint32; input_dim 2 uint32; bias_term 3 bool=true; weight_filler 4 FillerParameter
        bias_filler 5 FillerParameter
    """,
    counts=ONE,
    blobs=(Blob("weight", _table, "", "weight_filler"), BIAS),
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
    blobs=(Blob("weight", _matrix, "", "weight_filler"), BIAS),
    memory="own",
    overwritten=True,
    writes=EVERY,
    check=checks.positive("inner_product_param", "num_output"),
)

# ---- rules

for _rank in range(2, 6):  # over the last axis; over several of them they are flattened first
    _axis = {"axis": {MISSING, 1} if _rank == 2 else _rank - 1, "transpose": {MISSING, False}}
    RULES.op(
        "InnerProduct", "linear", "bottom=x", rank=_rank, when=_axis, w=W("weight"), b=W("bias", optional=True),
        num_output=Size("w", 0), bias_term=Given("b", True),
    )  # fmt: skip


@RULES.load("InnerProduct")
def inner_product(g: CaffeContext, node: CaffeNode) -> Value:
    """All axes from ``axis`` on flattened (C, H, W in this order), times the weight; axes before it stay."""
    shape, axis = node.shape(), node.axis()
    w = g.own(node, "weight", (lambda t: t.transpose((1, 0))) if node.attr("transpose") else None)
    b = g.own(node, "bias") if node.attr("bias_term") else None
    lead, x = shape[:axis], node.x
    k = product(shape[axis:])
    if ((*lead, k) if lead else (1, k)) != shape:
        x = g.b.reshape(x, shape=(*(node.sizes()[:axis] or (1,)), product(node.sizes()[axis:])))
    y: Value = g.b.linear(x, w, b)
    return y if lead else g.b.reshape(y, shape=(int(node.attr("num_output")),))


@RULES.load("Embed")
def embed(g: CaffeContext, node: CaffeNode) -> Value:
    """Rows of the weight (input_dim, num_output) by index, which is a truncated float."""
    y = g.b.embedding(g.b.cast(node.x, to="int64"), g.own(node, "weight"))
    return g.b.add(y, g.own(node, "bias")) if node.attr("bias_term") else y
