"""SSD's boxes."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, NotExpressible

from ..dialect import CaffeScribe, label
from ..files import Message
from .base import RULES, channels_first, first


@RULES.emit("prior_box")
def prior_box(e: CaffeScribe, node: Node) -> None:
    """PriorBox. Sizes are whole numbers (the layer drops the rest); clip is written out, its default differs between forks."""
    channels_first(node)
    a = node.attrs
    if any(s != int(s) for s in (*a["min_sizes"], *a["max_sizes"])):
        raise NotExpressible("Caffe's PriorBox truncates min_size and max_size to whole numbers")
    param: dict[str, Any] = {"min_size": list(a["min_sizes"])}
    if a["max_sizes"]:
        param["max_size"] = list(a["max_sizes"])
    if a["aspect_ratios"]:
        param["aspect_ratio"] = list(a["aspect_ratios"])
    param.update(flip=bool(a["flip"]), clip=bool(a["clip"]), variance=list(a["variances"]))
    if a["image_size"] is not None:
        param["img_h"], param["img_w"] = a["image_size"]
    if a["step"] is not None:
        param["step_h"], param["step_w"] = a["step"]
        if param["step_h"] == param["step_w"]:
            param["step"] = param.pop("step_h")
            del param["step_w"]
    if a["offset"] != 0.5:
        param["offset"] = a["offset"]
    x = e.value(first(node))
    image = node.arg("image") if len(node.inputs) > 1 else None
    e.call("PriorBox", [x, x if image is None else e.value(image)], param, outputs=node.outputs, name=label(node))


@RULES.emit("detection_output")
def detection_output(e: CaffeScribe, node: Node) -> None:
    """DetectionOutput, whose number of rows depends on what is found."""
    a = node.attrs
    nms = Message("NonMaximumSuppressionParameter", nms_threshold=a["nms_threshold"])
    if a["nms_top_k"] != -1:
        nms.set("top_k", a["nms_top_k"])
    if a["nms_eta"] != 1:
        nms.set("eta", a["nms_eta"])
    param: dict[str, Any] = {"num_classes": a["num_classes"], "share_location": bool(a["share_location"])}
    param.update(background_label_id=a["background"], nms_param=nms, code_type=a["code_type"].upper())
    if a["variance_encoded_in_target"]:
        param["variance_encoded_in_target"] = True
    param["keep_top_k"] = a["keep_top_k"]
    if a["confidence_threshold"] is not None:
        param["confidence_threshold"] = a["confidence_threshold"]
    if a["share_location"] and a["background"] == -1:
        raise NotExpressible('background -1 with share_location: Caffe stops ("label -1")')
    bottoms = [e.value(v) for v in node.inputs if v is not None]
    e.call("DetectionOutput", bottoms, param, outputs=node.outputs, shapes=[(1, 1, 1, 7)], name=label(node))
