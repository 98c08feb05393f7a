"""Normalisation across channels."""

from __future__ import annotations

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, shape_of


@RULES.emit("lrn")
def lrn(e: E, node: Node) -> None:
    """nn.LocalResponseNorm. Of even sizes it looks at size // 2 channels before (torch.nn.functional.local_response_norm, torch
    2.14), lrn at one less."""
    x, a = node.need("x"), node.attrs
    if a["size"] % 2 == 0 or a["axis"] != 1 or len(shape_of(x)) < 3 or x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"size={a['size']}, axis={a['axis']} of {x.dtype}, {len(shape_of(x))} axes")
    config = {"size": a["size"], "alpha": a["alpha"], "beta": a["beta"], "k": a["bias"]}
    e.unit("torch.nn.LocalResponseNorm", [e.value(x)], config, outputs=node.outputs)
