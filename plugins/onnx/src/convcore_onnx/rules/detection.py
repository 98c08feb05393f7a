"""Pooling of regions, non-maximum suppression."""

from __future__ import annotations

from convcore.plugin import A, I

from .base import RULES

RULES.op(
    "MaxRoiPool", "roi_pool", "X=x, rois=rois", output_size=A("pooled_shape", iso="int_tuple"),
    spatial_scale=A("spatial_scale", 1.0), layout="channels_first",
)  # fmt: skip

RULES.op(
    "NonMaxSuppression", "nms",
    "boxes=boxes, scores=scores, max_output_boxes_per_class?=_, iou_threshold?=_, score_threshold?=_",
    max_per_class=I("max_output_boxes_per_class", 0, "scalar"), iou_threshold=I("iou_threshold", 0.0, "scalar", dtype="float32"),
    score_threshold=I("score_threshold", None, "scalar", dtype="float32"), centre_form=A("center_point_box", 0, "bool_int"),
)  # fmt: skip
RULES.op(
    "NonMaxSuppression", "dynamic_nms",
    "boxes=boxes, scores=scores, max_output_boxes_per_class=max_per_class, iou_threshold=iou_threshold, "
    "score_threshold=score_threshold",
    priority=-1, centre_form=A("center_point_box", 0, "bool_int"),
)  # fmt: skip
