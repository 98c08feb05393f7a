"""Boxes and regions: torch itself has none of it, so the functions are written into the code (``written.py``)."""

from __future__ import annotations

from typing import Any

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


@RULES.emit("roi_align")
def roi_align(e: E, node: Node) -> None:
    """``roi_align``."""
    x, a = node.need("x"), node.attrs
    operands = [e.value(v) for v in (x, node.need("rois"), node.need("images"))]
    config = {"scale": None if a["scale"] == 1 else a["scale"], "samples": a["samples"] or None,
              "mode": None if a["mode"] == "mean" else a["mode"], "half_pixel": None if a["half_pixel"] else False}  # fmt: skip
    e.call("roi_align", [*operands, tuple(a["output_size"])], config, outputs=node.outputs)


@RULES.emit("deform_conv")
def deform_conv(e: E, node: Node) -> None:
    """``deform_conv``, whose offsets say how many places there are: padding behind follows."""
    a = node.attrs
    bias, mask = (None if v is None else e.value(v) for v in (node.arg("b"), node.arg("mask")))
    operands = [e.value(node.need(name)) for name in ("x", "w", "offset")]
    config: dict[str, Any] = {
        "stride": tuple(a["strides"]), "padding": tuple(before for before, _ in a["pads"]), "dilation": tuple(a["dilations"]),
        "groups": a["groups"], "offset_groups": a["offset_groups"],
    }  # fmt: skip
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "offset_groups": 1}
    config = {k: None if v == plain[k] else v for k, v in config.items()}
    e.call("deform_conv", [*operands, bias, mask], config, outputs=node.outputs)
