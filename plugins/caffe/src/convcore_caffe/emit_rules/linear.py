"""Matrix products with weights, and tables of rows."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible, Tensor

from ..emitter import Emitter, Top, label
from .base import RULES, first, reshape, static, weight


def _inner_product(e: Emitter, node: Node, x: Top, w: Tensor, b: Tensor | None) -> None:
    axis = len(x.shape) - 1
    if axis == 0:
        raise NotExpressible("InnerProduct takes blobs of at least 2 axes here")
    param: dict[str, object] = {"num_output": w.shape[0]}
    if b is None:
        param["bias_term"] = False
    if axis != 1:
        param["axis"] = axis
    e.add("InnerProduct", [x], param, outputs=node.outputs, name=label(node), blobs=[w] if b is None else [w, b])


@RULES.emit("linear", foreign=("InnerProduct",))
def linear(e: Emitter, node: Node) -> None:
    """InnerProduct over the last axis."""
    b = node.inputs[2] if len(node.inputs) > 2 else None
    w, bias = weight(node.inputs[1], "its weight"), None if b is None else weight(b, "its bias")
    _inner_product(e, node, e.value(first(node)), w, bias)


@RULES.emit("matmul", foreign=("InnerProduct",))
def matmul(e: Emitter, node: Node) -> None:
    """InnerProduct, when the second factor is a constant matrix."""
    b = node.inputs[1]
    if b is None or b.tensor is None or b.tensor.ndim != 2 or len(static(first(node))) < 2:
        raise NotExpressible("Caffe multiplies matrices with constant weights only (InnerProduct)")
    w = weight(b, "the second factor")
    _inner_product(e, node, e.value(first(node)), w.transpose((1, 0)), None)


@RULES.emit("embedding", foreign=("Embed",))
def embedding(e: Emitter, node: Node) -> None:
    """Embed, whose indices are floats."""
    table = weight(node.inputs[1], "its table")
    rows, out = table.shape
    if rows > 1 << 24:
        raise NotExpressible(f"{rows} rows: a float counts to {1 << 24} only")
    x = e.value(first(node), carry=True)
    param = {"num_output": out, "input_dim": rows, "bias_term": False}
    shape = static(node.output)
    if not x.shape:
        x = reshape(e, x, (1,), label(node), carry=True)
        (y,) = e.add("Embed", [x], param, shapes=[(1, out)], name=label(node), blobs=[table])
        reshape(e, y, shape, label(node), node.outputs)
        return
    e.add("Embed", [x], param, outputs=node.outputs, name=label(node), blobs=[table])
