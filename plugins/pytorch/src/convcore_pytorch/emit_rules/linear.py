"""Products of matrices."""

from __future__ import annotations

from convcore.plugin import Node

from ..rules.base import RULES
from .base import E, given


@RULES.emit("einsum")
def einsum(e: E, node: Node) -> None:
    """The same notation; operands of one type."""
    equation = node.attrs["equation"].replace(" ", "")
    e.call("torch.einsum", [equation, *(e.value(given(v)) for v in node.inputs)], outputs=node.outputs)
