"""ATen's operators on images: resizing, sampling, shuffles of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, DType, NotExpressible, Rank, Value, coordinates, nearest_index

from ..context import AtenNode, TorchContext
from .base import FLOAT, RULES

_MODES = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
for _n in (1, 2, 3):
    RULES.op(
        "torch.nn.Upsample", "upsample_nearest", "input=x", scales=A("scale_factor", iso=("torch_ints", _n)),
        layout="channels_first", rank=Rank(_n + 2), types=FLOAT,
    )  # fmt: skip
for _n in (2, 3):
    RULES.op(
        "F.grid_sample", "grid_sample", "input=x, grid=grid", layout="channels_first", rank=Rank(_n + 2),
        mode=A("mode", "bilinear", ("enum", {k: v for k, v in _MODES.items() if _n == 2 or v != "cubic"}), write_default=True),
        padding=A("padding_mode", "zeros", write_default=True), align_corners=A("align_corners", False, write_default=True),
    )  # fmt: skip

_RESIZE = {
    "upsample_nearest1d": ("nearest", "asymmetric", "floor"), "upsample_nearest2d": ("nearest", "asymmetric", "floor"),
    "upsample_nearest3d": ("nearest", "asymmetric", "floor"),
    "_upsample_nearest_exact1d": ("nearest", "half_pixel", "round_prefer_ceil"),
    "_upsample_nearest_exact2d": ("nearest", "half_pixel", "round_prefer_ceil"),
    "_upsample_nearest_exact3d": ("nearest", "half_pixel", "round_prefer_ceil"),
    "upsample_linear1d": ("linear", "half_pixel", ""), "upsample_bilinear2d": ("linear", "half_pixel", ""),
    "upsample_trilinear3d": ("linear", "half_pixel", ""), "upsample_bicubic2d": ("cubic", "half_pixel", ""),
    "_upsample_bilinear2d_aa": ("linear", "half_pixel", ""), "_upsample_bicubic2d_aa": ("cubic", "half_pixel", ""),
}  # fmt: skip


@RULES.load(*(f"aten.{k}{o}" for k in _RESIZE for o in ("", ".vec")))
def upsample(g: TorchContext, n: AtenNode) -> Value:
    """Exactly one of size and scales is given (``.vec``); the other form has the size and perhaps the scales."""
    name = n.type.split(".")[1]
    mode, coordinates, nearest = _RESIZE[name]
    x = n.tensor("input" if "input" in n.arguments else "self")
    attrs: dict[str, Any] = {"mode": mode, "coordinates": coordinates}
    if nearest:
        attrs["nearest"] = nearest
    if name.endswith("_aa"):
        attrs |= {"antialias": True, "exclude_outside": True}
        if mode == "cubic":
            attrs["cubic_a"] = -0.5
    if "align_corners" in n.arguments and n.number("align_corners"):
        if name.endswith("_aa"):
            raise NotExpressible("is antialiased with align_corners, whose windows are others than those of resize")
        attrs["coordinates"] = "align_corners"
    scales = n.arg("scale_factors") if "scale_factors" in n.arguments else None
    own = [n.arg(k) for k in ("scales", "scales_d", "scales_h", "scales_w") if k in n.arguments]
    own = [s if s is None or s > 0 else None for s in own]  # UpSample.h, compute_scales_value
    if scales is None and own and all(s is not None for s in own):
        scales = own
    elif any(s is not None for s in own) and not ("align_corners" in n.arguments and n.number("align_corners")):
        raise NotExpressible("has factors of some axes and not of others")
    size = n.arg("output_size")
    if scales is not None:
        scales = [float(s) for s in scales]
    whole = [int(s) for s in scales or () if s == int(s) >= 1]
    if size is not None:  # the size counts; the factors say which elements
        fits = x.shape is not None and [*n.sizes("output_size")] == [
            d if d is None else d * s for d, s in zip(x.shape[2:], whole)
        ]
        whole = whole if fits else []
    if coordinates == "asymmetric" and scales is not None and len(whole) == len(scales):
        return g.b.upsample_nearest(x, scales=whole)
    if size is not None:
        attrs["sizes"] = n.sizes("output_size")
        if scales is not None and attrs["coordinates"] != "align_corners":
            attrs["scales"] = scales
    elif scales is not None:
        if attrs["coordinates"] == "align_corners":
            attrs["sizes"] = _sizes(n, x, scales)
        else:
            attrs["scales"] = scales
    else:
        raise NotExpressible("has neither a size nor scales")
    if nearest and x.shape is not None:
        out = traced[2:] if (traced := _traced(n)) is not None else attrs.get("sizes", [None] * (len(x.shape) - 2))
        picks = [
            other_picks(size, want, None if scales is None else scales[i], attrs["coordinates"], nearest, x.dtype)
            for i, (size, want) in enumerate(zip(x.shape[2:], out))
        ]
        if any(p is not None for p in picks):
            return _picked(g, x, [(p, size, want) for p, size, want in zip(picks, x.shape[2:], out)], name, scales)
    return g.b.resize(x, **attrs)


def torch_picks(n: int, m: int, scale: float | None, exact: bool, real: Any = np.float32) -> Any:
    """The elements that torch takes of n for m (UpSample.h, ``nearest_neighbor_compute_source_index`` and its exact kind): a
    float32 factor, 1 / scale where a scale is given."""
    by = real(n) / real(m) if scale is None else real(1.0 / scale)
    at = (np.arange(m, dtype=real) + real(0.5 if exact else 0)) * by
    return np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), n - 1)


def other_picks(n: Any, m: Any, scale: float | None, how: str, rounding: str, dtype: DType | None) -> Any:
    """torch's elements where they are not those of ``resize``; None where they are, or the sizes are not known.

    Of float64 some of torch's kernels have a float64 factor (UpSampleKernel.cpp, torch 2.14: ``HelperInterpNearest``), others
    not, by size and memory format: NotExpressible where that takes other elements.
    """
    if not (isinstance(n, int) and isinstance(m, int) and n and m):
        return None
    theirs = torch_picks(n, m, scale, how != "asymmetric")
    if dtype is DType.FLOAT64 and not np.array_equal(theirs, torch_picks(n, m, scale, how != "asymmetric", np.float64)):
        why = f"{m} of {n} elements of float64: which ones depends on how they lie in memory; convert the model in float32"
        raise NotExpressible(why, "undefined")
    ours = np.clip(nearest_index(coordinates(n, m, scale, how), rounding), 0, n - 1)
    return None if np.array_equal(theirs, ours) else theirs


def _picked(g: TorchContext, x: Value, axes: Any, name: str, scales: Any) -> Value:
    """Axis by axis, by number."""
    for i, (_, n, m) in enumerate(axes):
        if not (isinstance(n, int) and isinstance(m, int)):
            raise NotExpressible("which elements it takes depends on how a size that is not known is rounded", "unknown_shape")
        picks = torch_picks(n, m, None if scales is None else scales[i], "exact" in name)
        x = g.b.gather(x, g.b.const(picks, "int64"), axis=i + 2)
    return x


def _traced(n: AtenNode) -> Any:
    shape = n.results[0][1] if n.results else None
    return None if shape is None or None in shape else shape


def _sizes(n: AtenNode, x: Value, scales: Any) -> Any:
    if (traced := _traced(n)) is not None:
        return traced[2:]
    shape = x.shape
    if shape is None or not all(isinstance(d, int) for d in shape[2:]):
        raise NotExpressible("the size of the result is not known", "unknown_shape")
    return [int(d * s) for d, s in zip(shape[2:], scales)]


@RULES.load("aten.pixel_shuffle", "aten.pixel_unshuffle")
def pixel_shuffle(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    if rank != 4:
        raise NotExpressible(f"of {rank} axes, 4 are known")
    if n.type == "aten.pixel_shuffle":
        return g.b.depth_to_space(x, block=n.number("upscale_factor"), mode="CRD")
    r = n.count("downscale_factor")
    b, c, h, w = n.shape("self")
    y = g.reshape(x, (b, c, h // r, r, w // r, r))
    return g.reshape(g.transpose(y, (0, 1, 3, 5, 2, 4)), (b, c * r * r, h // r, w // r))


@RULES.load("aten.channel_shuffle", "aten.native_channel_shuffle")
def channel_shuffle(g: TorchContext, n: AtenNode) -> Value:
    return g.b.shuffle_channels(n.tensor("self"), groups=n.number("groups"))


@RULES.load("aten.grid_sampler", "aten.grid_sampler_2d", "aten.grid_sampler_3d")
def grid_sampler(g: TorchContext, n: AtenNode) -> Value:
    mode: Any = {0: "linear", 1: "nearest", 2: "cubic"}.get(n.number("interpolation_mode"))
    padding: Any = {0: "zeros", 1: "border", 2: "reflection"}.get(n.number("padding_mode"))
    if mode is None or padding is None:
        raise NotExpressible(f"interpolation_mode={n.number('interpolation_mode')}, padding_mode={n.number('padding_mode')}")
    return g.b.grid_sample(
        n.tensor("input"), n.tensor("grid"), mode=mode, padding=padding, align_corners=bool(n.number("align_corners"))
    )


@RULES.load("aten.affine_grid_generator")
def affine_grid(g: TorchContext, n: AtenNode) -> Value:
    return g.b.affine_grid(n.tensor("theta"), size=n.sizes("size")[2:], align_corners=bool(n.number("align_corners")))


@RULES.load("aten.im2col")
def im2col(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    kernel, pads = n.ints("kernel_size", 2), n.ints("padding", 2)
    if rank != 4:
        raise NotExpressible(f"of {rank} axes, 4 are known")
    return columns(g, x, kernel, n.ints("stride", 2), n.ints("dilation", 2), pads)


@RULES.load("aten.col2im")
def col2im(g: TorchContext, n: AtenNode) -> Value:
    """``F.fold``: its padding is the same at both ends."""
    pads = [(p, p) for p in n.ints("padding", 2)]
    if n.rank("self") != 3:
        raise NotExpressible(f"of {n.rank('self')} axes, 3 are known")
    return g.b.col2im(
        n.tensor("self"), image=n.ints("output_size", 2), kernel=n.ints("kernel_size", 2), strides=n.ints("stride", 2),
        dilations=n.ints("dilation", 2), pads=pads,
    )  # fmt: skip


def columns(g: TorchContext, x: Value, kernel: Any, stride: Any, dilation: Any, pads: Any) -> Value:
    y = g.b.im2col(x, kernel=kernel, strides=stride, dilations=dilation, pads=[(p, p) for p in pads])
    s = y.shape
    if s is None or None in s:
        raise NotExpressible("the shape is not known", "unknown_shape")
    return g.reshape(y, (s[0], s[1], -1)) if len(s) == 4 else y  # type: ignore[arg-type]
