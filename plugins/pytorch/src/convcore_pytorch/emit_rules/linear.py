"""Products of matrices."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, given


@RULES.emit("linear")
def linear(e: E, node: Node) -> None:
    """With weights that are computed."""
    x, w, b = given(node.arg("x")), given(node.arg("w")), node.arg("b")
    e.call("F.linear", [e.value(x), e.value(w), None if b is None else e.value(b)], outputs=node.outputs)


@RULES.emit("matmul")
def matmul(e: E, node: Node) -> None:
    """As numpy's."""
    a, b = given(node.inputs[0]), given(node.inputs[1])
    if a.dtype is not b.dtype or a.shape is None or b.shape is None:
        raise NotExpressible(f"operands of {a.dtype} and {b.dtype}")
    e.call("torch.matmul", [e.value(a), e.value(b)], outputs=node.outputs)


@RULES.emit("einsum")
def einsum(e: E, node: Node) -> None:
    """The same notation; operands of one type."""
    if len({v.dtype for v in node.inputs if v is not None}) != 1:
        raise NotExpressible("operands of several types")
    equation = node.attrs["equation"].replace(" ", "")
    e.call("torch.einsum", [equation, *(e.value(given(v)) for v in node.inputs)], outputs=node.outputs)


@RULES.emit("embedding")
def embedding(e: E, node: Node) -> None:
    """With a table that is computed."""
    ids, table = given(node.arg("ids")), given(node.arg("table"))
    if ids.dtype is None or str(ids.dtype) not in ("int32", "int64"):
        raise NotExpressible(f"indices of {ids.dtype}")
    e.call("F.embedding", [e.value(ids), e.value(table)], {"padding_idx": node.attrs["padding_idx"]}, outputs=node.outputs)
