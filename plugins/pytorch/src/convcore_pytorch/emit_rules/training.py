"""What acts in training only."""

from __future__ import annotations

from convcore.plugin import Node

from ..rules.base import RULES
from .base import E, shape_of


@RULES.emit("dropout")
def dropout(e: E, node: Node) -> None:
    """nn.Dropout, or that of whole channels, or of selu networks; other kinds are left out and said."""
    x = node.need("x")
    rate, kind, shared = node.attrs["rate"], node.attrs["kind"], node.attrs["shared"]
    shape = shape_of(x)
    axes = {a % len(shape) for a in shared} if shape else set()
    name = ""
    if rate is not None and x.dtype is not None and x.dtype.is_float:
        if not axes:
            name = {"bernoulli": "Dropout", "alpha": "AlphaDropout"}.get(kind, "")
        elif kind == "bernoulli" and axes == set(range(2, len(shape))) and 3 <= len(shape) <= 5:
            name = f"Dropout{len(shape) - 2}d"
    if not name:
        e.pass_on(node, f"{kind} dropout")
        return
    e.unit(f"torch.nn.{name}", [e.value(x)], {"p": rate}, outputs=node.outputs)


@RULES.emit("gaussian_noise")
def gaussian_noise(e: E, node: Node) -> None:
    """Left out and said."""
    e.pass_on(node, "noise")
