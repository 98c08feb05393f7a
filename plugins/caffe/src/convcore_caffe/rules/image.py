"""Interpolation layers of forks."""

from __future__ import annotations

import math

from convcore.plugin import DimLike, Value

from ..context import CaffeContext, CaffeNode
from ..layer_spec import layer
from .base import RULES

# ---- what the layers are

layer(
    "BilinearInterpolate",
    param="""bilinear_interpolate_param 0 BilinearInterpolateParameter:
        dst_h 1 int32; dst_w 2 int32; scale_factor 3 float=1; align_corners 4 bool=true
    """,
    opencv=False,
)
layer("DenseCRF", why="is an iterative solver of its own")
layer(
    "Interp",
    param="""interp_param 0 InterpParameter:
        height 1 int32=0; width 2 int32=0; zoom_factor 3 int32=1; shrink_factor 4 int32=1; pad_beg 5 int32=0
        pad_end 6 int32=0
    """,
)
layer(
    "Resize",
    param="""resize_param 0 ResizeLayerParameter:
        height 1 uint32; width 2 uint32; is_pyramid_test 3 bool=false; out_height_scale 4 float; out_width_scale 5 float
    """,
    opencv=False,
)

# ---- rules


def _image(node: CaffeNode) -> tuple[DimLike, DimLike]:
    shape = node.sizes()
    if len(shape) != 4:
        raise node.invalid(f"the bottom must have 4 axes, it has {len(shape)}")
    return shape[2], shape[3]


@RULES.load("Interp")
def interp(g: CaffeContext, node: CaffeNode) -> Value:
    """Bilinear with corners aligned (DeepLab, PSPNet interp_layer.cpp): of the input less its (negative) padding, to a size that
    is given, or follows from shrink_factor, zoom_factor, or both (shrunk first).
    """
    if len(node.inputs) > 1:
        raise node.refuse("takes its size from a second bottom, which only some forks do", code="ambiguous_layer")
    begin, end = int(node.attr("pad_beg")), int(node.attr("pad_end"))
    if begin > 0 or end > 0:
        raise node.invalid(f"pad_beg {begin} and pad_end {end} must not be positive")
    h, w = (n + begin + end for n in _image(node))
    height, width = int(node.attr("height")), int(node.attr("width"))
    shrink, zoom = int(node.attr("shrink_factor")), int(node.attr("zoom_factor"))
    given = {n for n in ("shrink_factor", "zoom_factor") if n in node.attrs}
    if shrink < 1 or zoom < 1:
        raise node.invalid("shrink_factor and zoom_factor must be positive")
    sizes: tuple[DimLike, ...]
    if given:
        small = tuple((n - 1) // shrink + 1 for n in (h, w))
        sizes = tuple(n + (n - 1) * (zoom - 1) for n in small) if "zoom_factor" in given else small
    elif height > 0 and width > 0:
        sizes = (height, width)
    else:
        raise node.invalid("no size is given: height and width, shrink_factor or zoom_factor")
    x = node.x
    if begin or end:
        x = g.b.pad(x, pads=((0, 0), (0, 0), (begin, end), (begin, end)))
    return g.b.resize(x, sizes=sizes, mode="linear", coordinates="align_corners")


@RULES.load("BilinearInterpolate")
def bilinear(g: CaffeContext, node: CaffeNode) -> Value:
    """Bilinear to dst_h x dst_w, or by a factor (brocolli-caffe)."""
    h, w = _image(node)
    dst_h, dst_w, factor = node.attr("dst_h"), node.attr("dst_w"), node.attr("scale_factor")
    aligned = bool(node.attr("align_corners"))
    if dst_h and dst_w:
        sizes: tuple[DimLike, ...] = (int(dst_h), int(dst_w))
    elif math.isfinite(factor) and factor == int(factor) and factor >= 1:
        sizes = (h * int(factor), w * int(factor))
    else:
        raise node.refuse(f"scale_factor {factor} is not a whole number", "give dst_h and dst_w")
    return g.b.resize(node.x, sizes=sizes, mode="linear", coordinates="align_corners" if aligned else "half_pixel")


@RULES.load("Resize")
def resize(g: CaffeContext, node: CaffeNode) -> Value:
    """Bilinear to height x width at ``i * in / out``, elements past the end counting as 0 (brocolli-caffe)."""
    h, w = _image(node)
    if not node.attr("height") or not node.attr("width"):
        raise node.refuse("its size is not given as height and width")
    height, width = node.number("height", 1), node.number("width", 1)
    h, w = node.integers((h, w), "H and W")
    if not h or not w:
        raise node.invalid("the bottom has no elements")
    scales = (height / h, width / w)
    x = g.b.pad(node.x, pads=((0, 0), (0, 0), (0, 1), (0, 1)))
    y = g.b.resize(x, scales=scales, mode="linear", coordinates="asymmetric")
    stops = (None, None, height, width)
    return g.b.slice(y, starts=(0, 0, 0, 0), stops=stops, steps=(1, 1, 1, 1))
