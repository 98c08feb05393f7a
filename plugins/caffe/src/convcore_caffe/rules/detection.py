"""SSD's and R-FCN's layers."""

from __future__ import annotations

import math

import numpy as np

from convcore.plugin import A, Rank, Value, product, rows_or_none

from ..context import CaffeContext, CaffeNode
from ..layer_spec import layer
from .base import RULES

# ---- what the layers are

layer(
    "DetectionEvaluate",
    param="""detection_evaluate_param 205 DetectionEvaluateParameter:
        num_classes 1 uint32; background_label_id 2 uint32=0; overlap_threshold 3 float=0.5
        evaluate_difficult_gt 4 bool=true; name_size_file 5 string; resize_param 6 ResizeParameter
    """,
)
layer(
    "DetectionOutput",
    param="""detection_output_param 204 DetectionOutputParameter:
        num_classes 1 uint32; share_location 2 bool=true; background_label_id 3 int32=0
        nms_param 4 NonMaximumSuppressionParameter; save_output_param 5 SaveOutputParameter; code_type 6 CodeType=CORNER
        variance_encoded_in_target 8 bool=false; keep_top_k 7 int32=-1; confidence_threshold 9 float
        visualize 10 bool=false; visualize_threshold 11 float; save_file 0 string; objectness_score 0 float
    """,
    messages={
        "SaveOutputParameter": """
            output_directory 1 string; output_name_prefix 2 string; output_format 3 string; label_map_file 4 string
            name_size_file 5 string; num_test_image 6 uint32; resize_param 7 ResizeParameter
        """
    },
    writes=("ssd",),
)
layer(
    "PSROIPooling",
    param="""psroi_pooling_param 0 PSROIPoolingParameter:
        spatial_scale 1 float!; output_dim 2 int32!; group_size 3 int32!
    """,
)
layer(
    "PriorBox",
    param="""prior_box_param 203 PriorBoxParameter:
        min_size 1 float*; max_size 2 float*; aspect_ratio 3 float*; flip 4 bool=true; clip 5 bool=?; variance 6 float*
        img_size 7 uint32; img_h 8 uint32; img_w 9 uint32; step 10 float; step_h 11 float; step_w 12 float
        offset 13 float=0.5
    """,
    writes=("ssd",),
)
layer(
    "Proposal",
    param="""proposal_param 0 ProposalParameter:
        feat_stride 0 uint32=16; base_size 0 uint32=16; min_size 0 uint32=16; ratio 0 float*; scale 0 float*
        pre_nms_topn 0 uint32=6000; post_nms_topn 0 uint32=300; nms_thresh 0 float=0.7
    """,
    why="region proposals differ between forks (Python and C++ layers) in rounding and order",
)
layer(
    "ROIPooling",
    param="""roi_pooling_param 0 ROIPoolingParameter:
        pooled_h 1 uint32=0; pooled_w 2 uint32=0; spatial_scale 3 float=1
    """,
    v1="ROI_POOLING -5 0",
)
layer(
    "YoloDetectionOutput",
    param="""yolo_detection_output_param 0 YoloDetectionOutputParameter:
        side 1 uint32=13; num_classes 2 uint32=20; num_box 3 uint32=5; coords 4 uint32=4
        confidence_threshold 5 float=0.01; nms_threshold 6 float=0.45; biases 7 float*; label_map_file 8 string
    """,
    why="two public sources differ, and the prototxt does not say which it is from: eric612/MobileNet-YOLO writes corners and "
    "labels from 1, by the thresholds given; Caffe's OpenCL branch centres and sizes and labels from 0, by 0.3 and 0.05",
)
layer(
    "Yolov3DetectionOutput",
    param="""yolov3_detection_output_param 0 Yolov3DetectionOutputParameter:
        num_classes 1 uint32=20; num_box 2 uint32=3; confidence_threshold 3 float=?; nms_threshold 4 float=?
        biases 5 float*; anchors_scale 6 uint32*; mask_group_num 7 uint32=?; mask 8 uint32*
    """,
)

# ---- rules


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
    shape = node.sizes(i, 1)
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


@RULES.load("Yolov3DetectionOutput")
def yolov3_detection_output(g: CaffeContext, node: CaffeNode) -> Value:
    """YOLO v3's boxes of several feature maps, the best first, without those that overlap a better one, of whatever class.

    eric612/MobileNet-YOLO and what is made of it (Caffe-YOLOv3-Windows, PerfXLab, caffe_train) agree for one image and square
    maps: earlier versions take the width for the height, all number every image 0. Rows (0, label from 1, score, x1, y1, x2,
    y2)."""
    b, classes, boxes = g.b, node.number("num_classes", 1), node.number("num_box", 1)
    scales, masks, anchors = (list(node.attr(k)) for k in ("anchors_scale", "mask", "biases"))
    score, overlap, maps = node.attr("confidence_threshold"), node.attr("nms_threshold"), len(node.inputs)  # given, or refused
    if int(node.attr("mask_group_num")) != maps or len(scales) != maps or len(masks) != boxes * maps:
        raise node.invalid(f"{len(scales)} anchors_scale and {len(masks)} masks for {maps} bottoms and {boxes} boxes")
    if any(2 * int(m) + 1 >= len(anchors) for m in masks) or not all(s > 0 for s in scales):
        raise node.invalid("a mask names no pair of biases, or an anchors_scale is 0")
    corners, scores = [], []
    for t in range(maps):
        n, depth, height, width = node.integers(node.shape(t), "sizes")
        if depth != boxes * (5 + classes):
            raise node.invalid(f"{depth} channels of bottom {t}, {boxes} * (5 + {classes}) are needed")
        if n != 1 or height != width:
            raise node.refuse(
                f"of {n} images of {height} x {width}: its public sources agree for one image and square maps only (earlier ones "
                "take the width for the height, all give every image the number 0)", code="ambiguous_layer",
            )  # fmt: skip
        x = b.reshape(node.bottom(t), shape=(boxes, 5 + classes, height * width))
        xy, wh, sure, kinds = b.split(b.transpose(x, perm=(2, 0, 1)), axis=2, sizes=(2, 2, 1, classes))
        cell = np.stack([np.tile(np.arange(width), height), np.repeat(np.arange(height), width)], 1)[:, None]
        pair = np.array([[anchors[2 * int(m)], anchors[2 * int(m) + 1]] for m in masks[t * boxes : (t + 1) * boxes]])
        centre = b.mul(b.add(b.sigmoid(xy), b.const(cell, x.dtype)), b.like(x, 1 / width))
        reach = b.mul(b.exp(wh), b.const(pair[None] / (width * scales[t]) / 2, x.dtype))
        box = b.concat(b.sub(centre, reach), b.add(centre, reach), axis=2)
        each = b.expand(b.unsqueeze(box, axes=(2,)), shape=(height * width, boxes, classes, 4))
        corners.append(b.reshape(each, shape=(height * width * boxes * classes, 4)))
        scores.append(b.reshape(b.mul(b.sigmoid(kinds), b.sigmoid(sure)), shape=(height * width * boxes * classes,)))
    every, value = b.concat(*corners, axis=0), b.concat(*scores, axis=0)
    (count,) = node.integers(value.shape or (None,), "boxes")
    limit = float(np.nextafter(np.float32(overlap), np.float32(-1)))  # which goes where it overlaps as much, in nms by more
    chosen = b.nms(
        b.unsqueeze(every, axes=(0,)), b.unsqueeze(value, axes=(0, 1)), max_per_class=count, iou_threshold=limit,
        score_threshold=float(score),
    )  # fmt: skip
    at = b.split(chosen, axis=1, sizes=(2, 1))[1]
    label = b.add(b.floor_mod(at, b.const(classes, "int64")), b.const(1, "int64"))
    best = b.unsqueeze(b.gather_nd(value, at), axes=(1,))
    found = b.concat(b.mul(best, b.like(best, 0.0)), b.cast(label, to=best.dtype), best, b.gather_nd(every, at), axis=1)
    return b.unsqueeze(rows_or_none(b, found, 1), axes=(0, 1))
