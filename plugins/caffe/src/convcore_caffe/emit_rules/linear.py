"""Matrix products with weights, and tables of rows."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible, Ref, Tensor

from ..dialect import CaffeScribe, label
from .base import RULES, first, reshape, static, weight


def _inner_product(e: CaffeScribe, node: Node, x: Ref, w: Tensor, b: Tensor | None) -> None:
    axis = len(x.dims) - 1
    if axis == 0:
        raise NotExpressible("InnerProduct takes blobs of at least 2 axes here")
    param: dict[str, object] = {"num_output": w.shape[0]}
    if b is None:
        param["bias_term"] = False
    if axis != 1:
        param["axis"] = axis
    e.unit("InnerProduct", [x], param, outputs=node.outputs, name=label(node), states=[w] if b is None else [w, b])


@RULES.emit("linear")
def linear(e: CaffeScribe, node: Node) -> None:
    """InnerProduct over the last axis."""
    b = node.arg("b") if len(node.inputs) > 2 else None
    w, bias = weight(node.need("w"), "its weight"), None if b is None else weight(b, "its bias")
    _inner_product(e, node, e.value(first(node)), w, bias)


@RULES.emit("matmul")
def matmul(e: CaffeScribe, node: Node) -> None:
    """InnerProduct, when the second factor is a constant matrix."""
    b = node.need("b")
    if b is None or b.tensor is None or b.tensor.ndim != 2 or len(static(first(node))) < 2:
        raise NotExpressible("Caffe multiplies matrices with constant weights only (InnerProduct)")
    w = weight(b, "the second factor")
    _inner_product(e, node, e.value(first(node)), w.transpose((1, 0)), None)


@RULES.emit("embedding")
def embedding(e: CaffeScribe, node: Node) -> None:
    """Embed, whose indices are floats."""
    table = weight(node.need("table"), "its table")
    rows, out = table.shape
    if rows > 1 << 24:
        raise NotExpressible(f"{rows} rows: a float counts to {1 << 24} only")
    x = e.value(first(node), carry=True)
    param = {"num_output": out, "input_dim": rows, "bias_term": False}
    shape = static(node.output)
    if not x.shape:
        x = reshape(e, x, (1,), label(node), carry=True)
        (y,) = e.unit("Embed", [x], param, shapes=[(1, out)], name=label(node), states=[table])
        reshape(e, y, shape, label(node), node.outputs)
        return
    e.unit("Embed", [x], param, outputs=node.outputs, name=label(node), states=[table])
