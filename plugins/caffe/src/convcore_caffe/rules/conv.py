"""Convolutions over any number of spatial axes, plain and transposed, and Im2col."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convcore.plugin import MISSING, A, DimLike, Given, Size, Value, W, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import BIAS, EVERY, ONE, WINDOW, Blob, layer
from .base import RULES


class _Geometry:
    """What the convolution_param says for a bottom: where channels are, and the window per spatial axis."""

    def __init__(self, node: CaffeNode) -> None:
        self.shape = node.shape()
        self.axis = node.axis()
        self.n = len(self.shape) - self.axis - 1
        self.kernel, self.strides, self.pads, self.dilations = (
            node.attr(name) for name in ("kernel_size", "stride", "pad", "dilation")
        )
        for name, values in (("kernel_size", self.kernel), ("stride", self.strides)):
            if any(v < 1 for v in values):
                raise node.invalid(f"{name} must be positive: {list(values)}")
        (self.channels,) = node.integers(self.shape[self.axis : self.axis + 1], "channels")

    def window(self) -> dict[str, Any]:
        return {"strides": self.strides, "dilations": self.dilations, "pads": tuple((p, p) for p in self.pads)}

    def groups(self, node: CaffeNode) -> int:
        group, out = int(node.attr("group")), int(node.attr("num_output"))
        if node.type in ("ConvolutionDepthwise", "DepthwiseConvolution") and "group" not in node.attrs:
            group = self.channels
        if self.channels % group:
            raise node.invalid(f"{self.channels} input channels are no multiple of group {group}")
        if out % group:
            raise node.invalid(f"num_output {out} is no multiple of group {group}")
        return group


def _kernel(node: CaffeNode) -> tuple[int, ...]:
    """(out, in / group, *kernel); of a Deconvolution (in, out / group, *kernel)."""
    geometry = _Geometry(node)
    groups, out = geometry.groups(node), int(node.attr("num_output"))
    if node.type == "Deconvolution":
        return (geometry.channels, out // groups, *geometry.kernel)
    return (out, geometry.channels // groups, *geometry.kernel)


_BLOBS = (Blob("weight", _kernel, "", "weight_filler"), BIAS)

# ---- what the layers are

layer(
    "Convolution",
    param="""convolution_param 106 ConvolutionParameter:
        num_output 1 uint32; bias_term 2 bool=true; pad 3 uint32*; kernel_size 4 uint32*; stride 6 uint32*
        dilation 18 uint32*; pad_h 9 uint32=0; pad_w 10 uint32=0; kernel_h 11 uint32; kernel_w 12 uint32
        stride_h 13 uint32; stride_w 14 uint32; group 5 uint32=1; weight_filler 7 FillerParameter
        bias_filler 8 FillerParameter; engine 15 Engine=DEFAULT; axis 16 int32=1; force_nd_im2col 17 bool=false
    """,
    counts=(1, None, 1, None),
    v1="CONVOLUTION 4 10",
    v0="conv",
    blobs=_BLOBS,
    memory="own",
    overwritten=True,
    spatial=WINDOW,
    writes=EVERY,
    check=checks.convolution,
)
layer("ConvolutionDepthwise", "DepthwiseConvolution", reads=("convolution_param",), blobs=_BLOBS, spatial=WINDOW)
layer(
    "Deconvolution",
    reads=("convolution_param",),
    counts=(1, None, 1, None),
    v1="DECONVOLUTION 39",
    blobs=_BLOBS,
    memory="own",
    overwritten=True,
    spatial=WINDOW,
    writes=EVERY,
    check=checks.convolution,
)
layer(
    "Im2col",
    reads=("convolution_param",),
    counts=ONE,
    v1="IM2COL 11",
    v0="im2col",
    spatial=WINDOW,
    writes=EVERY,
    opencv=False,
    check=checks.convolution,
)

# ---- rules

_PLAIN: dict[str, Any] = {"when": {"axis": {MISSING, 1}}}
_WINDOW: dict[str, Any] = {
    "strides": A("stride", iso="caffe_spatial"), "dilations": A("dilation", iso="caffe_spatial"),
    "pads": A("pad", iso="caffe_pads"),
}  # fmt: skip
_WEIGHTS: dict[str, Any] = {
    "w": W("weight"), "b": W("bias", optional=True), "bias_term": Given("b", True), "groups": A("group", 1),
    "kernel_size": Size("w", "2:"), "layout": "channels_first",
}  # fmt: skip
RULES.op("Convolution", "conv", "bottom=x", **_PLAIN, **_WINDOW, **_WEIGHTS, num_output=Size("w", 0))
RULES.op("Deconvolution", "conv_transpose", "bottom=x", **_PLAIN, **_WINDOW, **_WEIGHTS, num_output=Size("w", 1, times="groups"))
RULES.op(
    "Im2col", "im2col", "bottom=x", **_PLAIN, **_WINDOW, kernel=A("kernel_size", iso="caffe_spatial"),
    ignore=("num_output", "bias_term", "group"),
)  # fmt: skip


def _batched(g: CaffeContext, x: Value, shape: Sequence[DimLike], axis: int) -> Value:
    """All axes before the channels as one batch axis."""
    if axis == 1:
        return x
    y: Value = g.b.reshape(x, shape=(product(shape[:axis]), *shape[axis:]))
    return y


def _unbatched(g: CaffeContext, y: Value, shape: Sequence[DimLike], axis: int) -> Value:
    if axis == 1:
        return y
    inner: tuple[Any, ...] = (y.shape or ())[1:]
    return g.b.reshape(y, shape=(*shape[:axis], *inner))


def _apply(g: CaffeContext, node: CaffeNode, transposed: bool) -> list[Value]:
    geometry = _Geometry(node)
    lead = node.sizes() if geometry.axis != 1 else ()
    for i in range(1, len(node.inputs)):
        other = node.shape(i)
        if len(other) != len(geometry.shape) or other[geometry.axis :] != geometry.shape[geometry.axis :]:
            raise node.invalid(f"all bottoms must have one shape, bottom {i} has {list(map(str, other))}")
    groups = geometry.groups(node)
    w, b = g.own(node, "weight"), g.own(node, "bias") if node.attr("bias_term") else None
    if transposed and not geometry.n:
        raise node.refuse("has no spatial axes")
    results = []
    for v in node.needed():
        x = _batched(g, v, lead, geometry.axis)
        if transposed:
            y = g.b.conv_transpose(x, w, b, groups=groups, **geometry.window())
        elif not geometry.n and groups == 1:
            y = g.b.linear(x, w, b)
        else:
            y = g.b.conv(x, w, b, groups=groups, **geometry.window())
        results.append(_unbatched(g, y, lead, geometry.axis))
    return results


@RULES.load("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution")
def convolution(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Output sizes round down. Without spatial axes a matrix product; axes before ``axis`` are all batch."""
    return _apply(g, node, False)


@RULES.load("Deconvolution")
def deconvolution(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Transposed convolution, weight (in, out / group, *kernel); dilation counts."""
    return _apply(g, node, True)


@RULES.load("Im2col")
def im2col(g: CaffeContext, node: CaffeNode) -> Value:
    """Patches as channels, C varying slowest."""
    node.ignore("num_output", "bias_term", "group")
    geometry = _Geometry(node)
    sizes = node.sizes()
    if math.prod(geometry.kernel) < 1 or not geometry.n:
        raise node.invalid("needs spatial axes")
    x = _batched(g, node.x, sizes, geometry.axis)
    y = g.b.im2col(x, kernel=geometry.kernel, **geometry.window())
    return _unbatched(g, y, sizes, geometry.axis)
