"""Pooling of regions."""

from __future__ import annotations

from convcore.rules import A

from .base import RULES

RULES.op(
    "MaxRoiPool", "roi_pool", "X=x, rois=rois", output_size=A("pooled_shape", iso="int_tuple"),
    spatial_scale=A("spatial_scale", 1.0), layout="channels_first",
)  # fmt: skip
