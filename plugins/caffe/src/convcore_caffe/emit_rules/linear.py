"""Matrix products with weights, and tables of rows."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible, Value

from ..dialect import CaffeScribe, label
from .base import RULES, first, reshape, static, weight


@RULES.emit("matmul")
def matmul(e: CaffeScribe, node: Node) -> None:
    """InnerProduct, when the second factor is a constant matrix."""
    b = node.need("b")
    if b.tensor is None or b.tensor.ndim != 2 or len(static(first(node))) < 2:
        raise NotExpressible("Caffe multiplies matrices with constant weights only (InnerProduct)")
    w, x = weight(b, "the second factor").transpose((1, 0)), e.value(first(node))
    axis = len(x.dims) - 1
    param = {"num_output": w.shape[0], "bias_term": False, **({"axis": axis} if axis != 1 else {})}
    e.unit("InnerProduct", [x], param, outputs=node.outputs, name=label(node), states=[w])


@RULES.emit("embedding")
def embedding(e: CaffeScribe, node: Node) -> None:
    """Embed, whose indices are floats."""
    embed(e, node, node.need("table"), first(node))


def embed(e: CaffeScribe, node: Node, held: Value, ids: Value) -> None:
    """Rows of a constant table; Caffe CHECKs that no index is negative."""
    table = weight(held, "its table")
    rows, out = table.shape
    if rows > 1 << 24:
        raise NotExpressible(f"{rows} rows: a float counts to {1 << 24} only")
    x = e.value(ids, carry=True)
    param = {"num_output": out, "input_dim": rows, "bias_term": False}
    shape = static(node.output)
    if not x.shape:
        x = reshape(e, x, (1,), label(node))
        (y,) = e.unit("Embed", [x], param, shapes=[(1, out)], name=label(node), states=[table])
        reshape(e, y, shape, label(node), node.outputs)
        return
    e.unit("Embed", [x], param, outputs=node.outputs, name=label(node), states=[table])
