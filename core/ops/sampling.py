"""Reading images where the data say, and putting patches back: roi_align, deform_conv, col2im."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype
from ..opset.traits import Trait

SAMPLING = OpSet("sampling")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


# ---- regions


def _roi_shape(c: InferContext) -> Shapes:
    x, rois = c.shape("x"), c.shape("rois")
    c.rank("x", 4)
    c.rank("rois", 2)
    c.rank("images", 1)
    if len(c["output_size"]) != 2 or min(c["output_size"]) < 1:
        c.fail(f"output_size={c['output_size']} must be positive: (height, width)")
    channels, count = (None if x is None else x[1]), (None if rois is None else rois[0])
    return [(c.dtype("x"), (count, channels, *c["output_size"]))]


def _corners(at: Array, n: int) -> tuple[list[tuple[Array, Array]], Array]:
    """The two elements beside each position of an axis of n with their weights, and whether it is near enough to the axis."""
    inside = (at >= -1) & (at <= n)
    at = np.maximum(at, 0)
    low = np.minimum(at.astype(np.int64), n - 1)
    high, part = np.minimum(low + 1, n - 1), np.where(low >= n - 1, 0, at - low)
    return [(low, 1 - part), (high, part)], inside


def _roi_align(
    x: Array, rois: Array, images: Array, *, output_size: Sequence[int], scale: float, samples: int, mode: str, half_pixel: bool
) -> Array:
    """As the standard and onnxruntime have it: ``max`` is over the weighted elements beside the points, not over their sums, and
    positions are of the regions' type (float32 at least): where a bin ends on an element, its rounding says how many points."""
    h, w = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], *output_size), x.dtype)
    number = np.promote_types(rois.dtype, np.float32).type
    for i, (roi, image) in enumerate(zip(rois.astype(number) * number(scale) - number(0.5 if half_pixel else 0), images)):
        if not 0 <= image < len(x):
            raise IndexError(f"a region of image {image} of {len(x)}")
        size = [roi[3] - roi[1], roi[2] - roi[0]]
        if not half_pixel:
            size = [max(s, number(1)) for s in size]
        grid = [samples if samples > 0 else max(0, math.ceil(s / number(n))) for s, n in zip(size, output_size)]
        ends, inside = [], []
        for start, s, n, k, length in zip((roi[1], roi[0]), size, output_size, grid, (h, w)):
            each = s / number(n)
            at = (start + np.arange(n, dtype=number)[:, None] * each + (np.arange(k, dtype=number) + number(0.5)) * each
                  / number(max(k, 1))).reshape(-1)  # fmt: skip
            two, near = _corners(at, length)
            ends.append(two)
            inside.append(near)
        near = inside[0][:, None] & inside[1]
        parts = [
            x[image][:, r][:, :, c] * np.where(near, wr[:, None] * wc, 0).astype(x.dtype)
            for (r, wr), (c, wc) in itertools.product(*ends)
        ]
        shape = (x.shape[1], output_size[0], grid[0], output_size[1], grid[1])
        if not grid[0] * grid[1]:
            continue
        if mode == "mean":
            y[i] = np.sum(parts, 0).reshape(shape).mean((2, 4))
        else:
            y[i] = np.max(parts, 0).reshape(shape).max((2, 4))
    return y


SAMPLING.op(
    "roi_align", "x:float, rois:float, images:int",
    "Regions (x1, y1, x2, y2), each of the image that images names, divided into output_size bins; the mean (or largest) of "
    "samples x "
    "samples points of each, read between elements; 0 samples: as many as a bin has elements. half_pixel moves regions by "
    "half an "
    "element (ONNX RoiAlign; torchvision's aligned).",
    attrs={
        "output_size": Attr("ints"), "scale": Attr("float", 1.0), "samples": Attr("int", 0),
        "mode": Attr("str", "mean", ("mean", "max")), "half_pixel": Attr("bool", True),
    },
    infer=_roi_shape, reference=_roi_align, axes=Opaque(),
    samples=[
        Sample((2, 3, 11, 13), np.array([[0, 1, 7, 9], [2.5, 2, 20, 5], [3, 3, 3.5, 4]], np.float32), np.array([1, 0, 1]),
            output_size=(3, 2), samples=2),
        Sample((2, 3, 11, 13), np.array([[0, 1, 14, 9], [2.5, 2, 20, 5]], np.float32), np.array([1, 0]), output_size=(2, 3),
            scale=0.5, half_pixel=False, mode="max"),
    ],
    roles={"index": "images"},
)  # fmt: skip


# ---- deformable convolution


def _deform_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    for name, one in (("strides", 1), ("dilations", 1), ("pads", (0, 0))):
        attrs[name] = attrs[name] if attrs[name] is not None else (one, one)
        if len(attrs[name]) != 2:
            raise ShapeError(f"deform_conv: {name}={attrs[name]} must have two entries")
        if name != "pads" and min(attrs[name]) < 1:
            raise ShapeError(f"deform_conv: {name}={attrs[name]} must be positive")


def _deform_shape(c: InferContext) -> Shapes:
    x, w, offset = c.shape("x"), c.shape("w"), c.shape("offset")
    common_dtype(c, "x", "w", "offset", "b", "mask")
    for name in ("x", "w", "offset", "mask"):
        c.rank(name, 4)
    if x is not None and w is not None and w[1] is not None:
        c.same(x[1], w[1] * c["groups"], "channels of x and w (in / groups) * groups")
    space: list[DimLike | None] = [None, None] if offset is None else list(offset[2:])
    if x is not None and w is not None:
        for i, (n, k, pad, d, step) in enumerate(zip(x[2:], w[2:], c["pads"], c["dilations"], c["strides"])):
            if n is not None and k is not None:
                size = (n + sum(pad) - (k - 1) * d - 1) // step + 1
                space[i] = c.same(space[i], size, "sizes of offset and of the output")
    return [(c.dtype("x"), (None if x is None else x[0], None if w is None else w[0], *space))]


def _between(x: Array, rows: Array, columns: Array) -> Array:
    """x (C, H, W) at positions (...): elements outside are 0."""
    y: Any = 0.0
    r0, c0 = np.floor(rows), np.floor(columns)
    for r, c in itertools.product((0, 1), (0, 1)):
        at_r, at_c = (r0 + r).astype(np.int64), (c0 + c).astype(np.int64)
        near = (at_r >= 0) & (at_r < x.shape[1]) & (at_c >= 0) & (at_c < x.shape[2])
        weight = (1 - np.abs(rows - at_r)) * (1 - np.abs(columns - at_c)) * near
        y = y + x[:, np.clip(at_r, 0, x.shape[1] - 1), np.clip(at_c, 0, x.shape[2] - 1)] * weight
    return np.asarray(y)


def _deform_conv(
    x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None, *, strides: Any, dilations: Any,
    pads: Any, groups: int, offset_groups: int,
) -> Array:  # fmt: skip
    n, channels = x.shape[:2]
    kh, kw = w.shape[2:]
    oh, ow = offset.shape[2:]
    want = [
        (size + sum(pad) - (k - 1) * d - 1) // s + 1
        for size, pad, k, d, s in zip(x.shape[2:], pads, (kh, kw), dilations, strides)
    ]
    if [oh, ow] != want or offset.shape[1] != offset_groups * kh * kw * 2 or channels % offset_groups or len(w) % groups:
        raise ValueError(f"offsets of shape {list(offset.shape)} for {want} outputs of a kernel of {kh} x {kw}")
    shifts = offset.reshape(n, offset_groups, kh, kw, 2, oh, ow).astype(np.float64)
    factors = None if mask is None else mask.reshape(n, offset_groups, kh, kw, oh, ow)
    base_r = (np.arange(oh) * strides[0] - pads[0][0])[:, None] + np.zeros(ow)
    base_c = np.zeros((oh, 1)) + np.arange(ow) * strides[1] - pads[1][0]
    read = np.zeros((n, channels, kh, kw, oh, ow))
    each = channels // offset_groups
    for i, g, r, c in itertools.product(range(n), range(offset_groups), range(kh), range(kw)):
        at = shifts[i, g, r, c]
        mine = slice(g * each, (g + 1) * each)
        got = _between(x[i, mine].astype(np.float64), base_r + r * dilations[0] + at[0], base_c + c * dilations[1] + at[1])
        read[i, mine, r, c] = got if factors is None else got * factors[i, g, r, c]
    parts = read.reshape(n, groups, channels // groups, kh, kw, oh, ow)
    filters = w.reshape(groups, -1, *w.shape[1:]).astype(np.float64)
    y = np.einsum("ngcklij,gockl->ngoij", parts, filters).reshape(n, len(w), oh, ow)
    out: Array = (y if b is None else y + b.reshape(-1, 1, 1)).astype(x.dtype)
    return out


SAMPLING.op(
    "deform_conv", "x:float, w:float, offset:float, b:float?, mask:float?",
    "conv of x (N, C, H, W) whose kernel reads each element moved by offset (N, groups of it * kernel * (row, column), "
    "*out), times "
    "mask (N, groups of it * kernel, *out); between elements linearly, 0 outside (ONNX DeformConv, torchvision deform_conv2d).",
    attrs={
        "strides": Attr("ints", None), "dilations": Attr("ints", None), "pads": Attr("pairs", None), "groups": Attr("int", 1),
        "offset_groups": Attr("int", 1),
    },
    infer=_deform_shape, reference=_deform_conv, normalize=_deform_attrs, axes=Opaque(),
    samples=[
        Sample((2, 4, 7, 6), (6, 2, 3, 2), ("float32", (2, 24, 4, 7), -2, 2), (6,), ("float32", (2, 12, 4, 7), 0, 1), groups=2,
            offset_groups=2, strides=(2, 1), pads=((1, 1), (1, 1))),
        Sample((1, 3, 5, 5), (2, 3, 2, 2), ("float32", (1, 8, 3, 3), -1, 1), dilations=(2, 2)),
    ],
    traits=Trait.HEAVY, roles={"parameter": "w b"},
)  # fmt: skip


# ---- patches put back


def _col_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    """Also of a call with the kernel given late, which is then not known yet."""
    d = len(attrs["kernel"])
    for name, one in (("strides", 1), ("dilations", 1), ("pads", (0, 0))):
        attrs[name] = attrs[name] if attrs[name] is not None else (one,) * d
    if any(len(attrs[k]) != d for k in ("image", "strides", "dilations", "pads")):
        raise ShapeError(f"col2im: image, strides, dilations and pads must have {d} entries, as kernel")
    numbers = {k: [n for n in attrs[k] if isinstance(n, int)] for k in ("image", "kernel", "strides", "dilations")}
    wrong = [f"{k}={tuple(attrs[k])}" for k, found in numbers.items() if min(found, default=1) < 1]
    wrong += [f"pads={attrs['pads']}"] if min((n for p in attrs["pads"] for n in p if isinstance(n, int)), default=0) < 0 else []
    if wrong:
        raise ShapeError(f"col2im: {', '.join(wrong)}: sizes must be positive, pads not negative")


def _col_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    c.rank("x", 3)
    taps = math.prod(c["kernel"])
    if x is not None and isinstance(x[1], int) and (not taps or x[1] % taps):
        c.fail(f"{x[1]} channels do not divide into patches of {taps}")
    channels: DimLike | None = None if x is None or x[1] is None else x[1] // taps
    return [(c.dtype("x"), (None if x is None else x[0], channels, *c["image"]))]


def _col2im(x: Array, *, image: Any, kernel: Any, strides: Any, dilations: Any, pads: Any) -> Array:
    taps = math.prod(kernel)
    full = [n + a + b for n, (a, b) in zip(image, pads)]
    out = [(n - (k - 1) * e - 1) // s + 1 for n, k, e, s in zip(full, kernel, dilations, strides)]
    if min(out, default=0) < 1 or x.shape[2] != math.prod(out) or x.shape[1] % taps:
        raise ValueError(f"patches of shape {list(x.shape)} for {out} places of a kernel {kernel}")
    parts = x.reshape(x.shape[0], x.shape[1] // taps, *kernel, *out)
    y = np.zeros((x.shape[0], x.shape[1] // taps, *full), x.dtype)
    every: list[Any] = [slice(None), slice(None)]
    for tap in itertools.product(*(range(k) for k in kernel)):
        at = [slice(t * e, t * e + (o - 1) * s + 1, s) for t, e, o, s in zip(tap, dilations, out, strides)]
        y[tuple(every + at)] += parts[tuple(every + list(tap))]
    cut = [slice(None), slice(None), *(slice(a, a + n) for n, (a, _) in zip(image, pads))]
    out_image: Array = y[tuple(cut)]
    return out_image


SAMPLING.op(
    "col2im", "x:number",
    "Patches (N, C * prod(kernel), places) added up where they lie in images (N, C, *image): the adjoint of im2col with its "
    "places on "
    "one axis (ONNX Col2Im, torch fold).",
    attrs={
        "image": Attr("ints"), "kernel": Attr("ints"), "strides": Attr("ints", None), "dilations": Attr("ints", None),
        "pads": Attr("pairs", None),
    },
    infer=_col_shape, reference=_col2im, normalize=_col_attrs, axes=Opaque(),
    samples=[
        Sample((2, 18, 20), image=(5, 7), kernel=(2, 3), strides=(1, 1)),
        Sample((2, 12, 12), image=(5, 6), kernel=(3, 2), strides=(2, 1), pads=((1, 1), (0, 0)), dilations=(1, 2)),
    ],
)  # fmt: skip
