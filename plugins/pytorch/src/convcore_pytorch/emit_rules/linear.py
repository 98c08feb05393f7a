"""Products of matrices."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, given


@RULES.emit("einsum")
def einsum(e: E, node: Node) -> None:
    """The same notation; operands of one type."""
    if len({v.dtype for v in node.inputs if v is not None}) != 1:
        raise NotExpressible("operands of several types")
    equation = node.attrs["equation"].replace(" ", "")
    e.call("torch.einsum", [equation, *(e.value(given(v)) for v in node.inputs)], outputs=node.outputs)
