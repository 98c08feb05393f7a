"""Images (``keras.src.ops.image`` and ``backend/*/image.py``; Keras 3.15.1). Only what the backends agree about."""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal

import numpy as np

from convcore.plugin import DType, ForeignNode, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .elementwise import is_float
from .shape import cut
from .spec import operation, operations, order_of, padding_of

__all__ = ["resized_images"]

operations("Resize CropImages PadImages ExtractPatches RGBToGrayscale RGBToHSV HSVToRGB GaussianBlur SobelEdges", "images")
operation("MapCoordinates", "inputs, coordinates", "join", joined="coordinates")


def _plane(x: Value, order: str) -> tuple[int, int]:
    """The axes of height and width."""
    rank = len(known_shape(x))
    return (rank - 2, rank - 1) if order == "channels_first" else (rank - 3, rank - 2)


def _sizes(node: ForeignNode, x: Value, order: str) -> tuple[int, int]:
    shape = known_shape(x)
    h, w = (shape[a] for a in _plane(x, order))
    if not isinstance(h, int) or not isinstance(w, int):
        raise node.refuse("needs the height and width of its images, which are not known before it runs", code="unknown_shape")
    return h, w


def resized_images(g: KerasContext, node: ForeignNode, x: Value, size: tuple[int, int]) -> Value:
    """Images of another size, by pixel centres as TensorFlow and JAX; of the crop or of the padded image of its aspect ratio."""
    order, b, method = order_of(node), g.b, node.attr("interpolation", "bilinear")
    crop, pad = bool(node.attr("crop_to_aspect_ratio", False)), bool(node.attr("pad_to_aspect_ratio", False))
    fill, mode = node.attr("fill_value", 0.0), node.attr("fill_mode", "constant")
    smooth = bool(node.attr("antialias", False))
    if method not in ("bilinear", "nearest"):
        raise node.refuse(f"interpolation={method!r} differs between Keras's backends", "use bilinear or nearest")
    if mode != "constant":
        raise node.refuse(f"fill_mode={mode!r} is not constant")
    if not is_float(x):
        raise node.refuse("of integers backends round differently", code="unsupported_dtype")
    rank = len(known_shape(x))
    if rank not in (3, 4):
        raise node.refuse("is known for images (3 axes) and batches of them (4)")
    if rank == 3:
        x = b.unsqueeze(x, axes=(0,))
    if crop or pad:
        h, w = _sizes(node, x, order)
        th, tw = size
        top, left = _plane(x, order)
    if crop:
        inner = max(min(h, int(float(w * th) / tw)), 1), max(min(w, int(float(h * tw) / th)), 1)
        start = int(float(h - inner[0]) / 2), int(float(w - inner[1]) / 2)
        for axis, s, n in zip((top, left), start, inner, strict=True):
            x = cut(g, x, axis, s, s + n)
    elif pad:
        outer = max(h, int(float(w * th) / tw)), max(w, int(float(h * tw) / th))
        around = int(float(outer[0] - h) / 2), int(float(outer[1] - w) / 2)
        pads = [(0, 0)] * 4
        pads[top], pads[left] = (around[0], around[0]), (around[1], around[1])
        x = b.pad(x, pads=tuple(pads), value=float(fill))
    if method == "nearest":
        y = b.resize(x, sizes=size, mode="nearest", coordinates="tf_half_pixel_for_nn", nearest="floor", layout=order)
    else:
        y = b.resize(
            x, sizes=size, mode="linear", coordinates="half_pixel", antialias=smooth, exclude_outside=smooth, layout=order
        )
    return b.squeeze(y, axes=(0,)) if rank == 3 else y


@RULES.load("ops.Resize")
def resize(g: KerasContext, node: ForeignNode) -> Value:
    """To ``size`` (height, width)."""
    size = [int(n) for n in node.attr("size")]
    return resized_images(g, node, node.need(0), (size[0], size[1]))


@RULES.load("ops.CropImages", "ops.PadImages")
def crop_or_pad(g: KerasContext, node: ForeignNode) -> Value:
    """Rows and columns taken off, or zeros around; two of begin, end and target of each axis say the third."""
    x, order, pads = node.need(0), order_of(node), node.type == "ops.PadImages"
    word = "padding" if pads else "cropping"
    sizes, axes = _sizes(node, x, order), _plane(x, order)
    amounts: list[tuple[int, int]] = []
    for n, (first, last, target) in zip(sizes, (("top", "bottom", "height"), ("left", "right", "width")), strict=True):
        begin, end, want = (node.attr(k, None) for k in (f"{first}_{word}", f"{last}_{word}", f"target_{target}"))
        change = None if want is None else want - n if pads else n - want
        if change is None and (begin is None or end is None):
            raise node.refuse(f"{first}_{word} does not follow from what is given")
        if begin is None and end is None:
            raise node.refuse(f"{first}_{word} does not follow from what is given")
        begin = change - end if begin is None else begin
        end = change - begin if end is None else end
        if begin < 0 or end < 0:
            raise node.refuse(f"its {word} ({begin}, {end}) is negative", code="invalid_shape")
        amounts.append((int(begin), int(end)))
    if pads:
        around = [(0, 0)] * len(known_shape(x))
        for axis, pair in zip(axes, amounts, strict=True):
            around[axis] = pair
        return g.b.pad(x, pads=tuple(around))
    for axis, n, (begin, end) in zip(axes, sizes, amounts, strict=True):
        x = cut(g, x, axis, begin, n - end)
    return x


@RULES.load("ops.ExtractPatches")
def extract_patches(g: KerasContext, node: ForeignNode) -> Value:
    """Every patch as channels (row, column, channel): a convolution with the identity as its kernel."""
    x, b, order = node.need(0), g.b, order_of(node)
    size = node.attr("size")
    d = 2 if isinstance(size, int) else len(size)
    size = (size,) * d if isinstance(size, int) else tuple(size)
    strides, dilation = node.attr("strides", None) or size, node.attr("dilation_rate", 1)
    strides = (strides,) * d if isinstance(strides, int) else tuple(strides)
    dilation = (dilation,) * d if isinstance(dilation, int) else tuple(dilation)
    single = len(known_shape(x)) == d + 1
    if single:
        x = b.unsqueeze(x, axes=(0,))
    if len(known_shape(x)) != d + 2:
        raise node.refuse(f"of {d} axes takes images of {d + 1} or {d + 2}")
    channels = known_shape(x)[1 if order == "channels_first" else -1]
    if not isinstance(channels, int):
        raise node.refuse("the number of channels is not known", code="unknown_shape")
    depth = channels * int(np.prod(size))
    kernel = np.eye(depth).reshape(*size, channels, depth).transpose(d + 1, d, *range(d))
    y = b.conv(
        x, b.const(kernel, x.dtype or DType.FLOAT32), strides=strides, dilations=dilation,
        pads=padding_of(node), layout=order,
    )  # fmt: skip
    return b.squeeze(y, axes=(0,)) if single else y


# ---- colours
def _planes(g: KerasContext, node: ForeignNode, x: Value) -> tuple[list[Value], int]:
    """Red, green, blue (or hue, saturation, value), and the axis they were."""
    axis = len(known_shape(x)) - (3 if order_of(node) == "channels_first" else 1)
    if known_shape(x)[axis] != 3:
        raise node.refuse("its images have no three channels")
    return list(g.b.unstack(x, axis=axis, num=3)), axis


@RULES.load("ops.RGBToGrayscale")
def grayscale(g: KerasContext, node: ForeignNode) -> Value:
    """0.2989 R + 0.587 G + 0.114 B; one channel stays."""
    x, b = node.need(0), g.b
    axis = len(known_shape(x)) - (3 if order_of(node) == "channels_first" else 1)
    if known_shape(x)[axis] == 1:
        return b.identity(x)
    if not is_float(x):
        raise node.refuse("of integers backends round differently", code="unsupported_dtype")
    planes, axis = _planes(g, node, x)
    parts = [b.mul(p, b.like(x, k)) for p, k in zip(planes, (0.2989, 0.587, 0.114), strict=True)]
    return b.unsqueeze(b.add(b.add(parts[0], parts[1]), parts[2]), axes=(axis,))


@RULES.load("ops.RGBToHSV")
def rgb_to_hsv(g: KerasContext, node: ForeignNode) -> Value:
    """Hue, saturation and value, each of 0 to 1 (``rgb_to_hsv`` of the backends, after dm_pix)."""
    x, b = node.need(0), g.b
    zero, one = b.like(x, 0.0), b.like(x, 1.0)
    tiny = {DType.FLOAT16: 2.0**-10, DType.BFLOAT16: 2.0**-7, DType.FLOAT64: 2.0**-52}.get(x.dtype or DType.FLOAT32, 2.0**-23)
    (red, green, blue), axis = _planes(g, node, b.where(b.less(b.abs(x), b.like(x, tiny)), zero, x))
    value = b.maximum(b.maximum(red, green), blue)
    span = b.sub(value, b.minimum(b.minimum(red, green), blue))
    bright, coloured = b.greater(value, zero), b.greater(span, zero)
    saturation = b.where(bright, b.div(span, b.where(bright, value, one)), zero)
    norm = b.div(b.like(x, 1 / 6), b.where(coloured, span, one))

    def sector(p: Value, q: Value, start: float) -> Value:
        return b.add(b.mul(norm, b.sub(p, q)), b.like(x, start))

    hue = b.where(b.equal(value, green), sector(blue, red, 2 / 6), sector(red, green, 4 / 6))
    hue = b.where(b.equal(value, red), sector(green, blue, 0.0), hue)
    hue = b.add(b.where(coloured, hue, zero), b.cast(b.less(hue, zero), to=x.dtype))
    return b.stack(hue, saturation, value, axis=axis)


@RULES.load("ops.HSVToRGB")
def hsv_to_rgb(g: KerasContext, node: ForeignNode) -> Value:
    """Red, green and blue (``hsv_to_rgb`` of the backends, after dm_pix)."""
    x, b = node.need(0), g.b
    (hue, saturation, value), axis = _planes(g, node, x)
    one, two = b.like(x, 1.0), b.like(x, 2.0)
    turn = b.mul(b.floor_mod(hue, one), b.like(x, 6.0))

    def from_centre(at: float) -> Value:
        return b.abs(b.sub(turn, b.like(x, at)))

    ramps = [b.sub(from_centre(3.0), one), b.sub(two, from_centre(2.0)), b.sub(two, from_centre(4.0))]
    grey = b.sub(one, saturation)
    planes = [b.mul(value, b.add(grey, b.mul(saturation, b.clip(r, min=0.0, max=1.0)))) for r in ramps]
    return b.stack(*planes, axis=axis)


# ---- filters
def _filtered(g: KerasContext, x: Value, kernel: np.ndarray, order: Literal["channels_first", "channels_last"]) -> Value:
    """Every channel by one kernel, zeros around."""
    channels = known_shape(x)[1 if order == "channels_first" else -1]
    k, m = kernel.shape
    w = g.b.const(np.broadcast_to(kernel, (int(channels or 0), 1, k, m)), x.dtype or DType.FLOAT32)
    return g.b.conv(x, w, groups=int(channels or 0), pads=((k // 2, k // 2), (m // 2, m // 2)), layout=order)


@RULES.load("ops.GaussianBlur")
def gaussian_blur(g: KerasContext, node: ForeignNode) -> Value:
    """A Gaussian of ``sigma`` over a square of odd size (over others, backends differ)."""
    x, order = node.need(0), order_of(node)
    size, sigma = [int(n) for n in node.attr("kernel_size", (3, 3))], [float(s) for s in node.attr("sigma", (1.0, 1.0))]
    if size[0] != size[1] or size[0] % 2 == 0:
        raise node.refuse(f"kernel_size={size}: backends differ where it is no odd square")
    if len(known_shape(x)) != 4 or not isinstance(known_shape(x)[1 if order == "channels_first" else -1], int):
        raise node.refuse("is known for batches of images with known channels")
    at = np.arange(size[0]) - (size[0] - 1) / 2
    columns, rows = (np.exp(-0.5 * (at / s) ** 2) for s in sigma)
    return _filtered(g, x, np.outer(rows / rows.sum(), columns / columns.sum()), order)


@RULES.load("ops.SobelEdges")
def sobel_edges(g: KerasContext, node: ForeignNode) -> Value:
    """Gradients down and across as a last axis of 2, zeros around."""
    x, order = node.need(0), order_of(node)
    if len(known_shape(x)) != 4 or not isinstance(known_shape(x)[1 if order == "channels_first" else -1], int):
        raise node.refuse("is known for batches of images with known channels")
    across = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return g.b.stack(_filtered(g, x, across.T, order), _filtered(g, x, across, order), axis=4)


@RULES.load("ops.MapCoordinates")
def map_coordinates(g: KerasContext, node: ForeignNode) -> Value:
    """The tensor read at points: the nearest element, or between the corners (order 1); outside a constant, the nearest one,
    or round."""
    x, points, b = node.need(0), node.need(1), g.b
    order, mode, fill = node.attr("order"), node.attr("fill_mode", "constant"), node.attr("fill_value", 0)
    shape = known_shape(x)
    if order not in (0, 1) or mode not in ("constant", "nearest", "wrap"):
        raise node.refuse(f"order={order!r}, fill_mode={mode!r}")
    if any(not isinstance(n, int) for n in shape) or not is_float(x):
        raise node.refuse("needs floats of known sizes", code="unknown_shape")
    places = b.unstack(points, axis=0, num=len(shape))
    corners: list[tuple[list[Value], Value | None, Value | None]] = [([], None, None)]
    for n, at in zip(shape, places, strict=True):
        low = b.floor(at) if order else b.round(at)
        share = b.sub(at, low)
        steps = [(low, b.sub(b.like(at, 1.0), share)), (b.add(low, b.like(at, 1.0)), share)] if order else [(low, None)]
        after: list[tuple[list[Value], Value | None, Value | None]] = []
        for indices, weight, inside in corners:
            for index, part in steps:
                whole = b.cast(index, to="int64")
                if mode == "wrap":
                    whole = b.floor_mod(whole, b.like(whole, int(n)))
                within = b.and_(b.greater_equal(whole, b.like(whole, 0)), b.less(whole, b.like(whole, int(n))))
                safe = b.clip(whole, min=0, max=int(n) - 1)
                joined = part if weight is None else weight if part is None else b.mul(weight, part)
                after.append(([*indices, safe], joined, within if inside is None else b.and_(inside, within)))
        corners = after
    values = []
    for indices, weight, inside in corners:
        value = b.gather_nd(x, b.stack(*indices, axis=-1))
        if mode == "constant" and inside is not None:
            value = b.where(inside, value, b.like(x, float(fill)))
        values.append(value if weight is None else b.mul(value, b.cast(weight, to=x.dtype)))
    return reduce(b.add, values)


@RULES.load("ops.AffineTransform", "ops.PerspectiveTransform", "ops.ElasticTransform", "ops.ScaleAndTranslate", "ops.SSIM")
def transforms(g: KerasContext, node: ForeignNode) -> Any:
    """Refused by name."""
    raise node.refuse("resamples or compares images in a way that convcore does not map")
