"""Resizing and sampling of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import CHANNELS
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import axis_sizes
from ..opset.traits import Trait
from .conv import LAYOUT
from .resampling import axis_matrix, grid_sample, resize, resized, resized_axes
from .windows import Array

IMAGE = OpSet("image")

Shapes = list[tuple[DType | None, Shape | None]]
COORDINATES = (
    "half_pixel",
    "align_corners",
    "asymmetric",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "half_pixel_symmetric",
)


def _resize_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    x = inputs[0] if inputs else None
    if attrs["sizes"] is None and attrs["scales"] is None:
        raise ShapeError("resize needs sizes or scales")
    for name in ("sizes", "scales"):
        v = attrs[name]
        if v is not None and x is not None and x.rank is not None and len(v) != x.rank - 2:
            raise ShapeError(f"resize: {name}={v} must have one entry for each of {x.rank - 2} spatial axes")
    if attrs["scales"] is not None and any(not 0 < s < math.inf for s in attrs["scales"]):
        raise ShapeError(f"resize: scales={attrs['scales']} must be positive")
    if attrs["sizes"] is not None and any(isinstance(n, int) and n < 1 for n in attrs["sizes"]):
        raise ShapeError(f"resize: sizes={attrs['sizes']} must be positive")
    if attrs["antialias"] and attrs["mode"] == "nearest":
        raise ShapeError("resize: antialias does not apply to mode nearest")


def _scaled(n: DimLike | None, scale: float) -> DimLike | None:
    """floor(n * scale); a symbolic size allows it for a scale that is an exact small fraction, else the result is unknown."""
    if n is None:
        return None
    if isinstance(n, int):
        return resized(n, scale)
    exact = Fraction(scale)
    return n * exact.numerator // exact.denominator if exact.denominator <= 1 << 10 else None


def _resize_shape(c: InferContext) -> Shapes:
    x, dtype = c.shape("x"), c.dtype("x")
    if c["mode"] != "nearest" and dtype is not None and not dtype.is_float:
        c.fail(f"mode {c['mode']} of {dtype}: how it is rounded differs (onnxruntime cuts, ONNX's reference rounds); cast first")
    if x is None:
        return [(c.dtype("x"), None)]
    n, channels, space = axis_sizes(x, c["layout"])
    out: list[DimLike | None] = []
    for i, size in enumerate(space):
        want = None if c["sizes"] is None else c["sizes"][i]
        if want is None:
            want = size if c["scales"] is None else _scaled(size, c["scales"][i])
        if want == 0:
            c.fail(f"spatial axis {i} would have no elements")
        out.append(want)
    return [(c.dtype("x"), (n, channels, *out) if c["layout"] == "channels_first" else (n, *out, channels))]


_SPELLED = 1 << 26
"""Elements of the matrix that a resize of one axis is spelled out as."""


def _resize_body(
    b: Any, x: Any, *, sizes: Any, scales: Any, mode: str, coordinates: str, nearest: str, cubic_a: float, exclude_outside: bool,
    antialias: bool, layout: str,
) -> Any:  # fmt: skip
    """Each axis by itself: the nearest elements gathered, or a product with the matrix of weights. Sizes must be known."""
    b.require(x.shape is not None, "resize: the number of axes must be known")
    for axis, n, out, scale in resized_axes(x.shape, sizes, scales, layout):
        b.require(isinstance(n, int) and isinstance(out, int), "resize: the sizes must be known")
        b.require(n * out <= _SPELLED, f"resize: {n} elements to {out} are too many to be spelled out")
        matrix = axis_matrix(
            n, out, scale, mode=mode, coordinates=coordinates, nearest=nearest, cubic_a=cubic_a, exclude_outside=exclude_outside,
            antialias=antialias,
        )  # fmt: skip
        if mode == "nearest":
            x = b.gather(x, b.const(matrix.argmax(axis=0), "int64"), axis=axis)
            continue
        last = x.rank - 1
        perm = list(range(x.rank))
        perm[axis], perm[last] = perm[last], perm[axis]
        x = x if axis == last else b.transpose(x, perm=tuple(perm))
        x = b.matmul(x, b.const(matrix, x.dtype))
        x = x if axis == last else b.transpose(x, perm=tuple(perm))
    return b.identity(x) if x.producer is None else x


IMAGE.op(
    "resize", "x:number",
    "Interpolated over the spatial axes. sizes: the sizes of the result (None keeps one); scales: output / input, sizes "
    "floor(n * "
    "scale). With both, sizes are the result's and scales place the samples. Coordinates and rounding are those of ONNX Resize; "
    "linear and cubic are separable (bilinear, bicubic), cubic_a is Keys' a (-0.75 PyTorch, -0.5 TensorFlow and PIL). Elements "
    "outside repeat the edge unless exclude_outside; antialias stretches the filter when shrinking (with exclude_outside as "
    "PIL, PyTorch).",
    attrs={
        "sizes": Attr("dims", None), "scales": Attr("floats", None),
        "mode": Attr("str", "nearest", ("nearest", "linear", "cubic")), "coordinates": Attr("str", "half_pixel", COORDINATES),
        "nearest": Attr("str", "round_prefer_floor", ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
        "cubic_a": Attr("float", -0.75), "exclude_outside": Attr("bool", False), "antialias": Attr("bool", False),
        "layout": LAYOUT,
    },
    infer=_resize_shape, reference=resize, body=_resize_body, normalize=_resize_attrs, axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 5, 7), sizes=(11, 13), coordinates="asymmetric", nearest="floor"),
        Sample((2, 5, 7, 3), scales=(2.0, 1.5), mode="linear", layout="channels_last"),
        Sample((2, 3, 5, 7), sizes=(11, 4), mode="linear", coordinates="align_corners"),
        Sample((2, 3, 5, 7), sizes=(13, 4), mode="cubic", exclude_outside=True),
        Sample((2, 3, 11, 13), sizes=(5, 17), mode="linear", antialias=True, exclude_outside=True),
        Sample((2, 3, 11), sizes=(None,)), Sample((2, 3, 5, 7, 11), scales=(2.0, 0.5, 0.75), mode="linear",
        coordinates="half_pixel_symmetric"),
        Sample((2, 3, 5, 7), sizes=(8, None), scales=(1.7, 2.0), coordinates="tf_half_pixel_for_nn", nearest="floor"),
    ],
)  # fmt: skip


def _upsample_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    x, scales = inputs[0] if inputs else None, attrs["scales"]
    if any(s < 1 for s in scales) or (x is not None and x.rank is not None and len(scales) != x.rank - 2):
        raise ShapeError(f"upsample_nearest: scales={scales} must hold a positive factor for each spatial axis")


def _upsample_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    start = 2 if c["layout"] == "channels_first" else 1
    out = list(x)
    for i, s in enumerate(c["scales"]):
        size = out[start + i]
        out[start + i] = None if size is None else size * s
    return [(c.dtype("x"), tuple(out))]


def _upsample(x: Array, scales: Any, layout: str) -> Array:
    start = 2 if layout == "channels_first" else 1
    for i, s in enumerate(scales):
        x = np.repeat(x, s, start + i)
    return x


def _upsample_body(b: Any, x: Any, *, scales: Any, layout: str) -> Any:
    start, y = 2 if layout == "channels_first" else 1, x
    for i, s in enumerate(scales):
        if s > 1:
            y = b.repeat(y, repeats=s, axis=start + i)
    return b.identity(x) if y is x else y


IMAGE.op(
    "upsample_nearest", "x", "Every element repeated scales[i] times along spatial axis i (Keras UpSampling, torch nearest by "
    "an integer).",
    attrs={"scales": Attr("ints"), "layout": LAYOUT}, infer=_upsample_shape, reference=_upsample, body=_upsample_body,
    normalize=_upsample_attrs, axes=CHANNELS("x", "y"),
    samples=[Sample((2, 3, 5, 7), scales=(2, 3)), Sample((2, 5, 7, 3), scales=(3, 1), layout="channels_last"), Sample((2, 5,
    3), scales=(1,))],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip


def _grid_shape(c: InferContext) -> Shapes:
    x, grid = c.shape("x"), c.shape("grid")
    if x is None or grid is None:
        return [(c.dtype("x"), None)]
    if len(x) < 3 or len(grid) != len(x):
        c.fail("x (N, C, *spatial) and grid (N, *out, spatial axes) need the same number of axes, at least 3")
    c.same(grid[-1], len(x) - 2, "the last axis of grid and the number of spatial axes")
    n, (_, channels, _) = c.same(x[0], grid[0], "batch sizes"), axis_sizes(x, c["layout"])
    return [(c.dtype("x"), (n, channels, *grid[1:-1]) if c["layout"] == "channels_first" else (n, *grid[1:-1], channels))]


IMAGE.op(
    "grid_sample", "x:float, grid:float",
    "x (N, C, *spatial, or channels last) read at grid (N, *out, d), always in this order: last axis (x, y[, z]), -1 to 1 "
    "across the image, edges at element centres with align_corners, at outer borders without (torch grid_sample, ONNX "
    "GridSample). Nearest rounds halves to even; cubic is Keys' with a = -0.75.",
    attrs={
        "mode": Attr("str", "linear", ("linear", "nearest", "cubic")), "padding": Attr("str", "zeros", ("zeros", "border",
        "reflection")),
        "align_corners": Attr("bool", False), "layout": LAYOUT,
    },
    infer=_grid_shape, reference=grid_sample, axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 5, 7), ("float32", (2, 11, 13, 2), -1.5, 1.5)),
        Sample((2, 3, 5, 7), ("float32", (2, 11, 13, 2), -1.5, 1.5), mode="cubic", padding="reflection", align_corners=True),
        Sample((2, 3, 5, 7, 11), ("float32", (2, 4, 6, 8, 3), -1.5, 1.5), mode="nearest", padding="border"),
        Sample((2, 5, 7, 3), ("float32", (2, 11, 13, 2), -1.5, 1.5), padding="reflection", layout="channels_last"),
    ],
)  # fmt: skip


def _affine_shape(c: InferContext) -> Shapes:
    theta, d = c.shape("theta"), len(c["size"])
    if d not in (2, 3):
        c.fail(f"size={c['size']} must have 2 or 3 entries")
    if any(isinstance(n, int) and n < 0 for n in c["size"]):
        c.fail(f"size={c['size']} has a negative entry")
    if theta is not None:
        if len(theta) != 3:
            c.fail("theta must have shape (N, d, d + 1)")
        c.same(theta[1], d, "the second axis of theta")
        c.same(theta[2], d + 1, "the third axis of theta")
    return [(c.dtype("theta"), (None if theta is None else theta[0], *c["size"], d))]


def _affine_grid(theta: Array, size: Any, align_corners: bool) -> Array:
    d = len(size)
    axes = []
    for n in size:
        edge = np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1
        axes.append((np.zeros(1) if align_corners and n == 1 else edge).astype(theta.dtype))
    points = np.meshgrid(*axes, indexing="ij")[::-1]  # x first
    base = np.stack([*points, np.ones_like(points[0])], -1).reshape(-1, d + 1)
    y: Array = (base @ theta.transpose(0, 2, 1)).reshape(len(theta), *size, d)
    return y


IMAGE.op(
    "affine_grid", "theta:float",
    "The grid for grid_sample that theta (N, d, d + 1) maps the target's points (x, y[, z], 1) to: (N, *size, d). With "
    "align_corners -1 and 1 are the centres of the edge elements, else their outer borders (torch affine_grid, ONNX AffineGrid).",
    attrs={"size": Attr("shape", doc="spatial sizes of the target"), "align_corners": Attr("bool", False)},
    infer=_affine_shape, reference=_affine_grid,
    samples=[Sample((2, 2, 3), size=(5, 7)), Sample((2, 3, 4), size=(5, 7, 11), align_corners=True)],
)  # fmt: skip
