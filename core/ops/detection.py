"""Object detection: prior boxes, their decoding with non-maximum suppression, and pooling of regions.

Boxes are (x1, y1, x2, y2). The semantics are those of the layers that introduced them: SSD's PriorBox and DetectionOutput
(weiliu89/caffe, branch ssd), Fast R-CNN's ROIPooling (which ONNX MaxRoiPool repeats), R-FCN's PSROIPooling.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from ..ir.dims import product
from ..ir.dtypes import DType
from ..opset.axes import CHANNELS, Opaque
from ..opset.declare import Attr, OpSet, Sample, uniform
from ..opset.infer import InferContext, Inferred
from ..opset.shapes import axis_sizes, is_static
from .boxes import detections, nms, prior_boxes, prior_count, psroi_pool, roi_pool
from .conv import LAYOUT
from .detection_bodies import detection_output_body
from .windows import Array

__all__ = ["DETECTION"]

DETECTION = OpSet("detection")

_PRIORS: dict[str, Attr] = {
    "min_sizes": Attr("floats", doc="sides of the square boxes, in pixels of the image"),
    "max_sizes": Attr("floats", (), doc="one per min_size: a further square of side sqrt(min * max)"),
    "aspect_ratios": Attr("floats", (), doc="width / height of further boxes; 1 is always there"),
    "flip": Attr("bool", True, doc="also 1 / aspect_ratio"),
    "clip": Attr("bool", False, doc="limit coordinates to [0, 1]"),
    "variances": Attr("floats", (0.1,), doc="one for all or one per coordinate"),
    "image_size": Attr("ints", None, doc="(height, width); None: that of image"),
    "step": Attr("floats", None, doc="(height, width) of a cell in pixels; None: image size / size of x"),
    "offset": Attr("float", 0.5, doc="where in its cell a box is centred"),
    "layout": LAYOUT,
}


def _prior_sizes(shape: Any, layout: str) -> tuple[Any, Any]:
    space = axis_sizes(shape, layout)[2]
    return space[0], space[1]


def _prior_shape(c: InferContext) -> Inferred:
    x = c.shape("x")
    c.rank("x", 4)
    if c["max_sizes"] and len(c["max_sizes"]) != len(c["min_sizes"]):
        c.fail(f"max_sizes={c['max_sizes']} must have one entry per min_size")
    if any(b <= a for a, b in zip(c["min_sizes"], c["max_sizes"])):
        c.fail("every max_size must exceed its min_size")
    for name in ("min_sizes", "max_sizes", "aspect_ratios"):
        if not all(0 < r < math.inf for r in c[name]):
            c.fail(f"{name}={c[name]} must be positive")
    if len(c["variances"]) not in (1, 4):
        c.fail(f"variances={c['variances']} must have 1 or 4 entries")
    for name in ("image_size", "step"):
        if c[name] is not None and len(c[name]) != 2:
            c.fail(f"{name}={c[name]} must be (height, width)")
    if c["image_size"] is None:
        c.rank("image", 4)
        if not c.has("image"):
            c.fail("needs image or image_size")
    if x is None:
        return [(c.dtype("x"), (1, 2, None))]
    count = prior_count(c["min_sizes"], c["max_sizes"], c["aspect_ratios"], c["flip"])
    h, w = _prior_sizes(x, c["layout"])
    return [(c.dtype("x"), (1, 2, product((h, w, count * 4))))]


def _prior_box(x: Array, image: Array | None = None, *, layout: str, image_size: Any, **attrs: Any) -> Array:
    if image_size is None and image is not None:
        image_size = _prior_sizes(image.shape, layout)
    return prior_boxes(_prior_sizes(x.shape, layout), image_size, **attrs).astype(x.dtype)


def _prior_body(b: Any, x: Any, image: Any = None, *, layout: str, image_size: Any, **attrs: Any) -> Any:
    b.require(is_static(x.shape), "prior_box: the sizes of x must be fixed numbers")
    if image_size is None:
        b.require(is_static(image.shape), "prior_box: the sizes of the image must be fixed numbers")
        image_size = _prior_sizes(image.shape, layout)
    boxes = prior_boxes(_prior_sizes(x.shape, layout), image_size, **attrs)
    return b.identity(b.const(boxes.astype(x.dtype.numpy)))


DETECTION.op(
    "prior_box", "x:float, image:float?",
    "Default boxes of SSD for every cell of x, as fractions of the image, and their variances: (1, 2, H * W * boxes * 4). Per "
    "min_size the square, the square of sqrt(min * max), then min * sqrt(r) x min / sqrt(r) for each ratio r. Only the sizes of "
    "x and image count.",
    attrs=_PRIORS, infer=_prior_shape, reference=_prior_box, body=_prior_body, axes=CHANNELS("x", "image"),
    samples=[
        Sample(
            (2, 3, 5, 7), (2, 11, 37, 41), min_sizes=(9.0, 13.0), max_sizes=(17.0, 19.0), aspect_ratios=(2.0, 3.0),
            variances=(0.1, 0.1, 0.2, 0.2),
        ),
        Sample(
            (2, 5, 7, 3), image_size=(53, 61), min_sizes=(11.0,), aspect_ratios=(2.0,), flip=False, clip=True, step=(8.0, 7.0),
            offset=0.3, layout="channels_last",
        ),
    ],
)  # fmt: skip


def _nms_shape(c: InferContext) -> Inferred:
    boxes, scores = c.shape("boxes"), c.shape("scores")
    c.rank("boxes", 3)
    c.rank("scores", 3)
    if c["max_per_class"] < 0:
        c.fail(f"max_per_class={c['max_per_class']} is negative")
    if boxes is not None and scores is not None:
        c.same(boxes[0], scores[0], "images of boxes and scores")
        c.same(boxes[1], scores[2], "boxes and scores per class")
        c.same(boxes[2], 4, "numbers of a box")
    return [(DType.INT64, (None, 3))]


def _nms_samples() -> list[Sample]:
    rng = Random(7)
    low = uniform(rng, 0, 5, 2, 11, 2)
    boxes = np.concatenate([low, low + uniform(rng, 1, 4, 2, 11, 2)], 2).astype(np.float32)
    boxes[0, 3] = boxes[0, 3, [2, 3, 0, 1]]
    scores = np.round(uniform(rng, 0, 1, 2, 3, 11), 1).astype(np.float32)
    return [
        Sample(boxes, scores, max_per_class=5, iou_threshold=0.3, score_threshold=0.2),
        Sample(boxes, scores, max_per_class=11, iou_threshold=0.6, centre_form=True),
    ]


DETECTION.op(
    "nms", "boxes:float, scores:float",
    "Non-maximum suppression per image and class (ONNX NonMaxSuppression): boxes (N, P, 4) as any two opposite corners, or with "
    "centre_form (x, y, width, height); scores (N, classes, P). Best first, a box that overlaps a kept one by more than "
    "iou_threshold is dropped; rows (image, class, box) by image, class and falling score, at most max_per_class each.",
    outputs="selected",
    attrs={
        "max_per_class": Attr("int"), "iou_threshold": Attr("float", 0.0),
        "score_threshold": Attr("float", None, doc="None: no bound"), "centre_form": Attr("bool", False),
    },
    infer=_nms_shape, reference=nms, axes=Opaque(), samples=_nms_samples(),
)  # fmt: skip


def _detection_shape(c: InferContext) -> Inferred:
    if c["num_classes"] < 1:
        c.fail(f"num_classes={c['num_classes']} must be positive")
    priors, conf, loc = c.shape("priors"), c.shape("conf"), c.shape("loc")
    c.rank("priors", 3)
    if priors is not None and priors[1] is not None:
        c.same(priors[1], 2, "rows of priors (boxes, variances)")
    if priors is not None and isinstance(priors[2], int):
        n = priors[2] // 4
        for name, shape, want in (
            ("conf", conf, n * c["num_classes"]),
            ("loc", loc, n * 4 * (1 if c["share_location"] else c["num_classes"])),
        ):
            each = None if shape is None else product(shape[1:])
            if isinstance(each, int) and each != want:
                c.fail(f"{name} has {each} numbers per image, {want} are needed for {n} priors")
    return [(c.dtype("loc"), (1, 1, None, 7))]


def _detection_output(loc: Array, conf: Array, priors: Array, **attrs: Any) -> Array:
    return detections(loc, conf, priors, **attrs).astype(loc.dtype)


def _detection_sample(**attrs: Any) -> Sample:
    rng = Random(3)
    n, classes = 7, 3
    low = uniform(rng, 0, 0.5, n, 2)
    boxes = np.concatenate([low, low + uniform(rng, 0.2, 0.5, n, 2)], 1).reshape(-1)
    priors = np.stack([boxes, np.tile([0.1, 0.1, 0.2, 0.2], n)])[None].astype(np.float32)
    locations = 1 if attrs.get("share_location", True) else classes
    loc = uniform(rng, -1, 1, 2, n * 4 * locations).astype(np.float32)
    scores = uniform(rng, 0, 1, 2, n, classes)
    conf = (scores / scores.sum(-1, keepdims=True)).reshape(2, -1).astype(np.float32)
    return Sample(loc, conf, priors, num_classes=classes, **attrs)


DETECTION.op(
    "detection_output", "loc:float, conf:float, priors:float",
    "Boxes decoded from loc (N, priors * 4) relative to priors (1, 2, priors * 4) from prior_box, with scores conf (N, priors * "
    "classes): per class those above confidence_threshold (the best nms_top_k), without those that overlap a better one by more "
    "than nms_threshold; per image the best keep_top_k. Rows (image, class, score, x1, y1, x2, y2) in (1, 1, rows, 7): by image, "
    "class ascending, score; where no image has any, one row (image, -1, ...) each (SSD DetectionOutput).",
    attrs={
        "num_classes": Attr("int"), "share_location": Attr("bool", True, doc="False: loc is (N, priors * classes * 4)"),
        "background": Attr("int", 0, doc="class that is left out; -1 for none"),
        "code_type": Attr("str", "center_size", ("corner", "center_size", "corner_size")),
        "variance_encoded_in_target": Attr("bool", False), "nms_threshold": Attr("float", 0.3), "nms_top_k": Attr("int", -1),
        "nms_eta": Attr("float", 1.0, doc="the threshold shrinks by it after every box kept, while above 0.5"),
        "keep_top_k": Attr("int", -1), "confidence_threshold": Attr("float", None, doc="None: no bound"),
    },
    infer=_detection_shape, reference=_detection_output, body=detection_output_body, axes=Opaque(),
    samples=[
        _detection_sample(nms_threshold=0.4, confidence_threshold=0.2, keep_top_k=5),
        _detection_sample(share_location=False, code_type="corner"), _detection_sample(confidence_threshold=2.0),
        _detection_sample(code_type="corner_size", variance_encoded_in_target=True, nms_top_k=3),
    ],
)  # fmt: skip


def _roi_shape(c: InferContext) -> Inferred:
    x, rois, size = c.shape("x"), c.shape("rois"), c["output_size"]
    c.rank("x", 4)
    c.rank("rois", 2)
    if len(size) != 2 or min(size) < 1:
        c.fail(f"output_size={size} must be positive: (height, width)")
    h, w = size
    if rois is not None:
        c.same(rois[1], 5, "columns of rois (batch index, x1, y1, x2, y2)")
    channels = None if x is None else axis_sizes(x, c["layout"])[1]
    n = None if rois is None else rois[0]
    return [(c.dtype("x"), (n, channels, h, w) if c["layout"] == "channels_first" else (n, h, w, channels))]


_ROIS = np.array([[0, 1, 1, 5, 3], [1, 0, 2, 3.6, 4.4], [1, 4, 0, 2, 1], [0, 5.5, 3.5, 9, 9]], np.float32)
_ROI_ATTRS = {"output_size": Attr("ints", doc="(height, width)"), "spatial_scale": Attr("float", 1.0), "layout": LAYOUT}

DETECTION.op(
    "roi_pool", "x:float, rois:float",
    "Largest element of each bin of each region of x; rois (R, 5): batch index, x1, y1, x2, y2, scaled and rounded, both ends "
    "included; an empty bin is 0 (Fast R-CNN ROIPooling, ONNX MaxRoiPool).",
    attrs=_ROI_ATTRS, infer=_roi_shape, reference=roi_pool, axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 5, 7), _ROIS, output_size=(2, 3)),
        Sample((2, 5, 7, 3), _ROIS, output_size=(3, 2), spatial_scale=0.6, layout="channels_last"),
    ],
)  # fmt: skip


def _psroi_shape(c: InferContext) -> Inferred:
    x, rois, k = c.shape("x"), c.shape("rois"), c["group"]
    c.rank("x", 4)
    c.rank("rois", 2)
    if k < 1:
        c.fail(f"group={k} must be positive")
    channels = None if x is None else axis_sizes(x, c["layout"])[1]
    if isinstance(channels, int) and channels % (k * k):
        c.fail(f"{channels} channels do not divide by {k} * {k}")
    out = None if channels is None else channels // (k * k)
    n = None if rois is None else rois[0]
    return [(c.dtype("x"), (n, out, k, k) if c["layout"] == "channels_first" else (n, k, k, out))]


DETECTION.op(
    "psroi_pool", "x:float, rois:float",
    "Mean of each of group * group bins of each region, every bin over channels of its own: x has out * group * group channels, "
    "out slowest; rois as in roi_pool, x2 and y2 plus 1 before scaling; an empty bin is 0 (R-FCN PSROIPooling).",
    attrs={"group": Attr("int"), "spatial_scale": Attr("float", 1.0), "layout": LAYOUT}, infer=_psroi_shape, reference=psroi_pool,
    axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 12, 5, 7), _ROIS, group=2), Sample((2, 5, 7, 8), _ROIS, group=2, spatial_scale=0.6, layout="channels_last"),
    ],
)  # fmt: skip
