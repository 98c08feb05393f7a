"""Regions read from images, deformed convolutions, patches put back, determinants."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, DType, ForeignNode, I, Node, NotExpressible, Size, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .steps import Steps
from .windows import EXPLICIT

_BINS: dict[str, Any] = {
    "scale": A("spatial_scale", 1.0), "samples": A("sampling_ratio", 0),
    "mode": A("mode", "avg", ("enum", {"avg": "mean", "max": "max"})),
}  # fmt: skip


@RULES.load("RoiAlign", since=10)
def roi_align(g: OnnxContext, node: ForeignNode) -> Any:
    """Before opset 16 regions are not moved by half an element."""
    since = (node.version or 16) >= 16
    how = node.attr("coordinate_transformation_mode", "half_pixel") if since else "output_half_pixel"
    mode = str(node.attr("mode", "avg"))
    if how not in ("half_pixel", "output_half_pixel") or mode not in ("avg", "max"):
        raise node.refuse(f"coordinate_transformation_mode={how!r}, mode={mode!r}")
    x, rois, images = node.needed()
    return g.b.roi_align(
        x, rois, images, output_size=(node.attr("output_height", 1), node.attr("output_width", 1)),
        scale=node.attr("spatial_scale", 1.0), samples=node.attr("sampling_ratio", 0), mode="mean" if mode == "avg" else "max",
        half_pixel=how == "half_pixel",
    )  # fmt: skip


@RULES.emit("roi_align", since=10)
def emit_roi_align(e: OnnxScribe, node: Node) -> None:
    a, s, images = node.attrs, Steps(e, node), node.need("images")
    if a["half_pixel"] and e.dialect.opset < 16:
        raise NotExpressible("half_pixel needs opset 16")
    attrs: dict[str, Any] = {
        "output_height": a["output_size"][0], "output_width": a["output_size"][1], "spatial_scale": a["scale"],
        "sampling_ratio": a["samples"], "mode": "avg" if a["mode"] == "mean" else "max",
    }  # fmt: skip
    if e.dialect.opset >= 16:
        attrs["coordinate_transformation_mode"] = "half_pixel" if a["half_pixel"] else "output_half_pixel"
    at = images if images.dtype is DType.INT64 else s.Cast(images, to=DType.INT64)
    s.last("RoiAlign", node.need("x"), node.need("rois"), at, **attrs)


RULES.op(
    "DeformConv", "deform_conv", "X=x, W=w, offset=offset, B=b, mask=mask", since=19, kernel_shape=Size("w", "2:"),
    strides=A("strides", None, "int_tuple"), dilations=A("dilations", None, "int_tuple"), pads=EXPLICIT, groups=A("group", 1),
    offset_groups=A("offset_group", 1),
)  # fmt: skip

_COLUMNS: dict[str, Any] = {
    "strides": A("strides", None, "int_tuple"), "dilations": A("dilations", None, "int_tuple"), "pads": EXPLICIT,
}  # fmt: skip


RULES.op(
    "Col2Im", "col2im", "input=x, image_shape=_, block_shape=_", since=18, image=I("image_shape", iso="onnx_ints"),
    kernel=I("block_shape", iso="onnx_ints"), **_COLUMNS,
)  # fmt: skip
RULES.op(
    "Col2Im", "dynamic_col2im", "input=x, image_shape=image, block_shape=kernel", since=18, priority=-1, **_COLUMNS,
)  # fmt: skip

RULES.op("Det", "det", "X=x", since=11)


@RULES.load("TensorScatter", since=24)
def tensor_scatter(g: OnnxContext, node: ForeignNode) -> Any:
    """An update written along an axis of a cache, from a place that each batch element has; circular begins anew at the end."""
    b, cache, update, start = g.b, node.need(0), node.need(1), node.input(2)
    mode, axis, rank = node.attr("mode", "linear"), node.attr("axis", -2), len(known_shape(cache))
    axis += rank if axis < 0 else 0
    if mode not in ("linear", "circular") or not 0 < axis < rank or len(known_shape(update)) != rank:
        raise node.refuse(f"mode={mode!r} along axis {axis} of {rank} axes, the update has {len(known_shape(update))}")
    size, steps = known_shape(cache)[axis], known_shape(update)[axis]
    if size is None or steps is None:
        raise node.refuse(f"the size of axis {axis} is not known", code="unknown_shape")
    at = b.range(b.const(0, DType.INT64), b.dim_value(value=steps), b.const(1, DType.INT64))
    if start is not None:
        at = b.add(b.unsqueeze(start if start.dtype is DType.INT64 else b.cast(start, to="int64"), axes=(1,)), at)
    else:
        at = b.unsqueeze(at, axes=(0,))
    if mode == "circular":
        at = b.floor_mod(at, b.dim_value(value=size))
    at = b.unsqueeze(at, axes=tuple(i for i in range(rank) if i not in (0, axis)))
    return b.scatter_elements(cache, b.dynamic_expand(at, b.shape_of(update)), update, axis=axis)
