"""Boxes and regions: torch itself has none of it, so the functions are written into the code (``written.py``)."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E


@RULES.emit("nms")
def nms(e: E, node: Node) -> None:
    """``nms``."""
    boxes, scores = node.need("boxes"), node.need("scores")
    a = node.attrs
    config = {"score": a["score_threshold"], "centred": True if a["centre_form"] else None}
    operands = [e.value(boxes), e.value(scores), a["max_per_class"], a["iou_threshold"]]
    e.call("nms", operands, config, outputs=node.outputs)


@RULES.emit("roi_pool")
def roi_pool(e: E, node: Node) -> None:
    """``roi_pool``."""
    x, rois, a = node.need("x"), node.need("rois"), node.attrs
    if a["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    operands = [e.value(x), e.value(rois), tuple(a["output_size"]), float(a["spatial_scale"])]
    e.call("roi_pool", operands, outputs=node.outputs)


@RULES.emit("psroi_pool")
def psroi_pool(e: E, node: Node) -> None:
    """``psroi_pool``."""
    x, rois, a = node.need("x"), node.need("rois"), node.attrs
    if a["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    e.call("psroi_pool", [e.value(x), e.value(rois), a["group"], float(a["spatial_scale"])], outputs=node.outputs)
