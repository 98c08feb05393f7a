"""SSD's and R-FCN's layers."""

from __future__ import annotations

import math

from convcore.plugin import A, Rank, Value, product

from ..context import CaffeContext, CaffeNode
from .base import RULES


@RULES.load("PriorBox")
def prior_box(g: CaffeContext, node: CaffeNode) -> Value:
    """Default boxes of a feature map. min_size and max_size lose their fraction (prior_box_layer.cpp: ``int min_size_``)."""
    if len(node.inputs) != 2 or len(node.shape(0)) != 4 or len(node.shape(1)) != 4:
        raise node.invalid("takes a feature map and the image, both with 4 axes")
    if not all(math.isfinite(v) for f in ("min_size", "max_size", "aspect_ratio") for v in node.attr(f)):
        raise node.invalid("sizes and ratios must be finite")
    small, large = (tuple(float(math.floor(v)) for v in node.attr(f)) for f in ("min_size", "max_size"))
    if not small or any(v <= 0 for v in (*small, *large)):
        raise node.invalid("min_size must be given, and every size positive")
    variances = tuple(node.attr("variance")) or (0.1,)
    if len(variances) not in (1, 4):
        raise node.invalid(f"variance is given {len(variances)} times; give 1 or 4")
    image: tuple[int, int] | None = None
    if node.has("img_h") or node.has("img_w"):
        if node.has("img_size"):
            raise node.invalid("either img_size or img_h and img_w, not both")
        image = (int(node.attr("img_h") or 0), int(node.attr("img_w") or 0))
    elif node.has("img_size"):
        image = (int(node.attr("img_size")),) * 2
    step: tuple[float, float] | None = None
    if node.has("step_h") or node.has("step_w"):
        if node.has("step"):
            raise node.invalid("either step or step_h and step_w, not both")
        step = (float(node.attr("step_h") or 0), float(node.attr("step_w") or 0))
    elif node.has("step"):
        step = (float(node.attr("step")),) * 2
    if image is not None and 0 in image:
        image = None  # the layer then takes the size of the second bottom
    if step is not None and 0 in step:
        step = None
    return g.b.prior_box(
        node.x, node.bottom(1), min_sizes=small, max_sizes=large, aspect_ratios=tuple(node.attr("aspect_ratio")),
        flip=bool(node.attr("flip")), clip=bool(node.attr("clip")), variances=variances, image_size=image, step=step,
        offset=node.attr("offset"),
    )  # fmt: skip


@RULES.load("DetectionOutput")
def detection_output(g: CaffeContext, node: CaffeNode) -> Value:
    """Decoding, suppression per class, the best of every image. Files it would write are not written."""
    node.ignore("visualize", "visualize_threshold", "save_file")
    if len(node.inputs) != 3:
        raise node.refuse(f"has {len(node.inputs)} bottoms; only loc, conf and prior boxes are known", code="ambiguous_layer")
    if node.has("objectness_score"):
        raise node.refuse("objectness_score belongs to a fork's five-bottom form", code="ambiguous_layer")
    if node.has("save_output_param"):
        node.ignore("save_output_param")
        g.note(f"layer {node.name!r} (DetectionOutput): save_output_param writes files in Caffe and is left out")
    classes, background = node.attr("num_classes"), int(node.attr("background_label_id"))
    shared = bool(node.attr("share_location"))
    if not classes:
        raise node.invalid("num_classes is not given")
    if shared and background == -1:
        raise node.invalid('background_label_id -1 with share_location: Caffe stops ("label -1")')
    nms = node.attr("nms_param")
    threshold, eta, top_k = nms.get("nms_threshold"), nms.get("eta"), nms.get("top_k")
    if not 0 < eta <= 1 or threshold < 0:
        raise node.invalid(f"nms_threshold {threshold} must not be negative and eta {eta} in (0, 1]")
    loc, conf = (_flat(g, node, i) for i in (0, 1))
    return g.b.detection_output(
        loc, conf, node.bottom(2), num_classes=int(classes), share_location=shared, background=background,
        code_type=node.attr("code_type").lower(), variance_encoded_in_target=bool(node.attr("variance_encoded_in_target")),
        nms_threshold=threshold, nms_eta=eta, nms_top_k=-1 if top_k is None else int(top_k),
        keep_top_k=int(node.attr("keep_top_k")), confidence_threshold=node.attr("confidence_threshold"),
    )  # fmt: skip


def _flat(g: CaffeContext, node: CaffeNode, i: int) -> Value:
    shape = node.sizes(i)
    v = node.bottom(i)
    if len(shape) == 2:
        return v
    return g.b.reshape(v, shape=(shape[0], product(shape[1:])))


def _regions(g: CaffeContext, node: CaffeNode) -> Value:
    """(R, 5), also from a blob (R, 5, 1, 1)."""
    if len(node.inputs) != 2 or len(node.shape(0)) != 4:
        raise node.invalid("takes a feature map with 4 axes and the regions")
    shape = node.sizes(1)
    if len(shape) < 2 or product(shape[1:]) != 5:
        raise node.invalid(f"the regions must be (R, 5), they are {tuple(map(str, shape))}")
    return _flat(g, node, 1)


RULES.op(
    "ROIPooling", "roi_pool", "bottom=x, rois=rois", rank=Rank(2, "rois"), direction="load",
    output_size=(A("pooled_h", 0, "caffe_whole"), A("pooled_w", 0, "caffe_whole")), spatial_scale=A("spatial_scale", 1.0),
)  # fmt: skip


@RULES.load("ROIPooling")
def roi_pooling(g: CaffeContext, node: CaffeNode) -> Value:
    """Maximum over each bin of each region (Fast R-CNN)."""
    size = (int(node.attr("pooled_h")), int(node.attr("pooled_w")))
    if 0 in size:
        raise node.invalid("pooled_h and pooled_w must be positive")
    return g.b.roi_pool(node.x, _regions(g, node), output_size=size, spatial_scale=node.attr("spatial_scale"))


@RULES.load("PSROIPooling")
def psroi_pooling(g: CaffeContext, node: CaffeNode) -> Value:
    """Mean over each bin of each region, every bin over channels of its own (R-FCN)."""
    group, out = int(node.attr("group_size")), int(node.attr("output_dim"))
    (channels,) = node.integers(node.shape()[1:2], "channels")
    if channels != out * group * group:
        raise node.invalid(f"{channels} input channels, output_dim {out} * group_size {group}^2 are needed")
    return g.b.psroi_pool(node.x, _regions(g, node), group=group, spatial_scale=node.attr("spatial_scale"))
