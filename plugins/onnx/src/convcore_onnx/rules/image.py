"""Resizing and sampling of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import (
    A,
    DType,
    ForeignNode,
    Node,
    NotExpressible,
    Value,
    coordinates,
    known_shape,
    nearest_index,
    resized,
)

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .steps import Steps
from .windows import channels_first

_OLD = {"coordinates": "asymmetric", "nearest": "floor", "layout": "channels_first"}


def _resize(
    g: OnnxContext, node: ForeignNode, x: Value, scales: Sequence[float] | None, sizes: Sequence[Any] | None, **attrs: Any
) -> Any:
    """A resize with one scale or size per axis of x; where batch or channels change too, two axes are put before them."""
    shape, b = known_shape(x), g.b
    n = len(scales if scales is not None else sizes or ())
    if scales is not None and attrs["coordinates"] == "align_corners":
        if any(isinstance(d, int) and (d * s) % 1 for d, s in zip(shape, scales)):
            raise node.refuse(
                f"scales {list(scales)} of {list(map(str, shape))} elements are not whole: with align_corners the "
                "standard's evaluator (onnx 1.23) reads other places than onnxruntime 1.31"
            )
    if n != len(shape):
        raise node.refuse(f"{n} scales or sizes for {len(shape)} axes")
    if scales is not None:
        fixed = len(shape) > 2 and all(s == 1 for s in scales[:2])
    else:
        fixed = len(shape) > 2 and sizes is not None and all(a == c for a, c in zip(sizes[:2], shape[:2]))
    skip = 2 if fixed else 0
    if scales is None and attrs["mode"] == "nearest" and not _agree(shape, sizes, attrs["coordinates"], attrs["nearest"]):
        scales = [1.0 if n == m else float(np.float32(m) / np.float32(n)) for n, m in zip(shape, sizes or ())]
    spatial: dict[str, Any] = {
        "scales": None if scales is None else tuple(scales[skip:]),
        "sizes": None if sizes is None else tuple(sizes[skip:]),
    }
    if fixed:
        return b.resize(x, **spatial, **attrs)
    return b.squeeze(b.resize(b.unsqueeze(x, axes=(0, 1)), **spatial, **attrs), axes=(0, 1))


def _agree(shape: Sequence[Any], sizes: Sequence[Any] | None, how: str, rounding: str) -> bool:
    """Whether onnxruntime, which makes a float32 scale of sizes (ParseScalesDataAndAdjustOutputSize), takes the elements that
    exact arithmetic does; for sizes that are known."""
    for n, m in zip(shape, sizes or ()):
        if isinstance(n, int) and isinstance(m, int) and n != m and n and m:
            theirs = coordinates(n, m, float(np.float32(m) / np.float32(n)), how)
            exact = nearest_index(coordinates(n, m, None, how), rounding)
            if not np.array_equal(np.clip(nearest_index(theirs, rounding), 0, n - 1), np.clip(exact, 0, n - 1)):
                return False
    return True


def _scales(g: OnnxContext, node: ForeignNode, i: int) -> tuple[float, ...] | None:
    """The scales, None when the input is omitted or empty."""
    v = node.input(i)
    if v is None or v.shape == (0,):
        return None
    a = g.known(v)
    if a is None:
        raise NotExpressible("its scales depend on the data", "requires_constant_input")
    return tuple(float(s) for s in a.ravel())


def _mode(node: ForeignNode) -> str:
    mode = str(node.attr("mode", "nearest")).lower()
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear", "cubic"):
        raise node.refuse(f"mode={mode!r}")
    return mode


@RULES.load("Upsample")
def load_upsample(g: OnnxContext, node: ForeignNode) -> Any:
    version = node.version or 7
    x = node.need(0)
    if version < 7:
        scales: Sequence[float] | None = (1.0, 1.0, node.attr("height_scale"), node.attr("width_scale"))
    elif version < 9:
        scales = node.attr("scales")
    else:
        scales = _scales(g, node, 1)
    if scales is None:
        raise node.refuse("its scales are missing", code="missing_input")
    return _resize(g, node, x, scales, None, mode=_mode(node), **_OLD)


@RULES.load("Resize", until=10)
def load_resize_10(g: OnnxContext, node: ForeignNode) -> Any:
    """The nearest element is the next one along an axis that shrinks, the one before along one that grows (onnxruntime's
    ``ResizeNearestMode::SIMPLE``; the standard's own example of version 10 has [[1, 3]] for 2 x 4 by 0.6)."""
    scales, mode, x = _scales(g, node, 1), _mode(node), node.need(0)
    shrinks = mode == "nearest" and scales is not None and any(s < 1 for s in scales)
    if scales is None or not shrinks:
        return _resize(g, node, x, scales, None, mode=mode, **_OLD)
    y = _resize(g, node, x, [min(s, 1.0) for s in scales], None, mode=mode, **{**_OLD, "nearest": "ceil"})
    grows = [max(s, 1.0) for s in scales]
    return y if all(s == 1 for s in grows) else _resize(g, node, y, grows, None, mode=mode, **_OLD)


@RULES.load("Resize", since=11)
def load_resize(g: OnnxContext, node: ForeignNode) -> Any:
    """Scales or sizes, over all axes or (opset 18) those named by ``axes``."""
    x = node.need(0)
    shape = known_shape(x)
    mode = _mode(node)
    how = node.attr("coordinate_transformation_mode", "half_pixel")
    node.attr("extrapolation_value", 0.0)
    if how == "tf_crop_and_resize":
        raise NotExpressible("coordinate_transformation_mode=tf_crop_and_resize")
    attrs: dict[str, Any] = {"mode": mode, "coordinates": how, "layout": "channels_first"}
    nearest, cubic = node.attr("nearest_mode", "round_prefer_floor"), node.attr("cubic_coeff_a", -0.75)
    exclude, antialias = bool(node.attr("exclude_outside", 0)), bool(node.attr("antialias", 0))
    if mode == "nearest":
        attrs["nearest"] = nearest
    else:
        attrs |= {"exclude_outside": exclude, "antialias": antialias}
    if mode == "cubic":
        attrs["cubic_a"] = cubic
    scales = _scales(g, node, 2)
    given = node.input(3)
    sizes = None if given is None or given.shape == (0,) else g.sizes(given)
    if scales is None and (sizes is None or any(n is None for n in sizes)):
        raise NotExpressible("its sizes depend on the data", "requires_constant_input")
    if scales is not None and sizes:
        raise node.refuse("both scales and sizes are given")
    axes = node.attr("axes", None)
    axes = tuple(range(len(shape))) if axes is None else tuple(node.axes_in(axes, len(shape)))
    if len(scales or sizes or ()) != len(axes):
        raise node.refuse(f"{len(scales or sizes or ())} scales or sizes for {len(axes)} axes")
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and sizes:
        return _both(g, node, x, axes, *_kept_ratio(node, shape, axes, sizes, policy), attrs)
    if scales is not None:
        full_scales = [1.0] * len(shape)
        for a, s in zip(axes, scales):
            full_scales[a] = s
        return _resize(g, node, x, full_scales, None, **attrs)
    full: list[Any] = list(shape)
    for a, n in zip(axes, sizes or ()):
        full[a] = n
    if any(n is None for n in full):
        raise NotExpressible("a size of its input is unknown", "unknown_shape")
    return _resize(g, node, x, None, full, **attrs)


def _kept_ratio(node: ForeignNode, shape: Any, axes: Sequence[int], sizes: Any, policy: str) -> tuple[list[int], float]:
    """Sizes and the one scale under not_larger / not_smaller."""
    if policy not in ("not_larger", "not_smaller"):
        raise node.refuse(f"keep_aspect_ratio_policy={policy!r}")
    now = [shape[a] for a in axes]
    if any(not isinstance(n, int) for n in (*now, *sizes)):
        raise node.refuse(f"keep_aspect_ratio_policy={policy} with unknown sizes", code="unknown_shape")
    scale = (min if policy == "not_larger" else max)(n / m for n, m in zip(sizes, now))
    return [math.floor(m * scale + 0.5) for m in now], scale


def _both(
    g: OnnxContext, node: ForeignNode, x: Value, axes: Sequence[int], sizes: Sequence[int], scale: float, attrs: dict[str, Any]
) -> Any:
    """Sizes and scale at once."""
    rank = len(known_shape(x))
    if any(a < 2 for a in axes):
        raise node.refuse("keep_aspect_ratio_policy over batch or channels")
    full_sizes: list[Any] = list(known_shape(x)[2:])
    full_scales = [1.0] * (rank - 2)
    for a, n in zip(axes, sizes):
        full_sizes[a - 2], full_scales[a - 2] = n, scale
    return g.b.resize(x, sizes=tuple(full_sizes), scales=tuple(full_scales), **attrs)


@RULES.load("Resize", since=11, priority=-1)
def load_resize_by_data(g: OnnxContext, node: ForeignNode) -> Any:
    """Sizes or scales that the data tell, and crops."""
    x, roi, scales, sizes = node.need(0), node.input(1), node.input(2), node.input(3)
    scales, sizes = (None if v is None or v.shape == (0,) else v for v in (scales, sizes))
    how, mode = node.attr("coordinate_transformation_mode", "half_pixel"), _mode(node)
    axes = node.attr("axes", None)
    rank = len(known_shape(x))
    attrs: dict[str, Any] = {
        "mode": mode, "coordinates": how, "nearest": node.attr("nearest_mode", "round_prefer_floor"),
        "cubic_a": node.attr("cubic_coeff_a", -0.75), "exclude_outside": bool(node.attr("exclude_outside", 0)),
        "antialias": bool(node.attr("antialias", 0)), "outside": node.attr("extrapolation_value", 0.0),
        "policy": node.attr("keep_aspect_ratio_policy", "stretch") if sizes is not None else "stretch",
        "axes": None if axes is None else tuple(node.axes_in(axes, rank)),
    }  # fmt: skip
    if mode == "nearest":
        attrs |= {"exclude_outside": False, "antialias": False}
    node.ignore("keep_aspect_ratio_policy")
    return g.b.dynamic_resize(x, sizes, scales, roi if how == "tf_crop_and_resize" else None, **attrs)


@RULES.load("Upsample", since=9, priority=-1)
def load_upsample_by_data(g: OnnxContext, node: ForeignNode) -> Any:
    how: dict[str, Any] = {"mode": _mode(node), "coordinates": "asymmetric", "nearest": "floor"}
    return g.b.dynamic_resize(node.need(0), None, node.need(1), **how)


def _coordinates(node: Node, opset: int) -> str:
    """How a resize counts, where the opset has that word."""
    how: str = node.attrs["coordinates"]
    if how == "tf_half_pixel_for_nn":
        raise NotExpressible(f"coordinates {how} exist in opset 11 only")
    if how == "half_pixel_symmetric" and opset < 19:
        raise NotExpressible(f"coordinates {how} need opset 19")
    return how


@RULES.emit("dynamic_resize", since=11)
def emit_dynamic_resize(e: OnnxScribe, node: Node) -> None:
    s, a, opset = Steps(e, node), node.attrs, e.dialect.opset
    how, sizes = _coordinates(node, opset), node.arg("sizes")
    if opset < 18 and (a["antialias"] or a["axes"] is not None or a["policy"] != "stretch"):
        raise NotExpressible("antialias, axes and keep_aspect_ratio_policy need opset 18")
    attrs: dict[str, Any] = {"mode": a["mode"], "coordinate_transformation_mode": how}
    if a["mode"] == "nearest":
        attrs["nearest_mode"] = a["nearest"]
    else:
        attrs |= {"exclude_outside": int(a["exclude_outside"]) or None, "antialias": int(a["antialias"]) or None}
    if a["mode"] == "cubic":
        attrs["cubic_coeff_a"] = a["cubic_a"]
    if how == "tf_crop_and_resize":
        attrs["extrapolation_value"] = a["outside"]
    if a["axes"] is not None:
        attrs["axes"] = list(a["axes"])
    if a["policy"] != "stretch":
        attrs["keep_aspect_ratio_policy"] = a["policy"]
    if sizes is not None and sizes.dtype is not DType.INT64:
        sizes = s.Cast(sizes, to=DType.INT64)
    elif sizes is not None:
        sizes = e.value(sizes)
    roi, scales = (None if v is None else e.value(v) for v in (node.arg("roi"), node.arg("scales")))
    ins = [e.value(node.need("x")), roi, scales, *([] if sizes is None else [sizes])]
    e.call("Resize", ins, attrs, outputs=node.outputs, name=node.name)


@RULES.emit("upsample_nearest")
def emit_upsample(e: OnnxScribe, node: Node) -> None:
    """Asymmetric coordinates rounded down repeat every element."""
    channels_first(node)
    scales = e.const([1.0, 1.0, *map(float, node.attrs["scales"])], DType.FLOAT32)
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    e.call("Resize", [e.value(node.need("x")), None, scales], attrs, outputs=node.outputs, name=node.name)


@RULES.emit("resize")
def emit_resize(e: OnnxScribe, node: Node) -> None:
    channels_first(node)
    a, x = node.attrs, node.need("x")
    how = _coordinates(node, e.dialect.opset)
    if a["antialias"] and e.dialect.opset < 18:
        raise NotExpressible("antialias needs opset 18")
    attrs: dict[str, Any] = {"mode": a["mode"], "coordinate_transformation_mode": how}
    if a["mode"] == "nearest":
        attrs["nearest_mode"] = a["nearest"]
    if a["mode"] == "cubic":
        attrs["cubic_coeff_a"] = a["cubic_a"]
    if a["mode"] != "nearest":
        attrs["exclude_outside"] = int(a["exclude_outside"]) or None
        attrs["antialias"] = int(a["antialias"]) or None
    space = known_shape(x)[2:]
    scales, sizes = a["scales"], a["sizes"]
    if scales is not None and sizes is not None:
        ints = [(n, n if m is None else m, s) for n, m, s in zip(space, sizes, scales)]
        known = all(isinstance(n, int) and isinstance(m, int) for n, m, _ in ints)
        if known and all(np.float32(m) / np.float32(n) == np.float32(s) for n, m, s in ints):
            scales = None  # onnxruntime makes the same of the sizes
        elif known and all(resized(n, s) == m for n, m, s in ints):
            sizes = None
        else:
            raise NotExpressible("both sizes and scales are given and differ")
    elif sizes is not None and a["mode"] == "nearest" and not _agree(space, sizes, how, a["nearest"]):
        raise NotExpressible("onnxruntime's float32 takes other elements")
    if scales is not None:
        handle = e.const([1.0, 1.0, *scales], DType.FLOAT32)
        e.call("Resize", [e.value(x), None, handle], attrs, outputs=node.outputs, name=node.name)
        return
    want = [n if w is None else w for n, w in zip(space, sizes)]
    outer = list(known_shape(x)[:2])
    if e.dialect.opset >= 18 and None in outer:  # else without ``axes``: onnxruntime 1.31.1 cannot move a Transpose through it
        attrs["axes"] = list(range(2, 2 + len(want)))
        outer = []
    handle = e.sizes([*outer, *want])
    e.call("Resize", [e.value(x), None, None, handle], attrs, outputs=node.outputs, name=node.name)


_SAMPLE: dict[str, Any] = {"padding": A("padding_mode", "zeros"), "align_corners": A("align_corners", 0, "bool_int"),
                           "layout": "channels_first"}  # fmt: skip
RULES.op(
    "GridSample", "grid_sample", "X=x, grid=grid", since=16, until=19,
    mode=A("mode", "bilinear", ("enum", {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"})), **_SAMPLE,
)  # fmt: skip
RULES.op("GridSample", "grid_sample", "X=x, grid=grid", since=20, mode=A("mode", "linear"), **_SAMPLE)


@RULES.load("AffineGrid", since=20)
def load_affine_grid(g: OnnxContext, node: ForeignNode) -> Any:
    """``size`` holds batch, channels and the spatial sizes."""
    sizes = g.sizes(node.input(1))
    if sizes is None or any(n is None for n in sizes):
        raise NotExpressible("its size depends on the data", "requires_constant_input")
    return g.b.affine_grid(node.need(0), size=tuple(sizes[2:]), align_corners=bool(node.attr("align_corners", 0)))


RULES.op(
    "AffineGrid", "dynamic_affine_grid", "theta=theta, size=size", since=20, priority=-1,
    align_corners=A("align_corners", 0, "bool_int"),
)  # fmt: skip


@RULES.emit("affine_grid", since=20)
def emit_affine_grid(e: OnnxScribe, node: Node) -> None:
    theta = node.need("theta")
    size = e.sizes([known_shape(theta)[0], 1, *node.attrs["size"]])
    attrs = {"align_corners": int(node.attrs["align_corners"])}
    e.call("AffineGrid", [e.value(theta), size], attrs, outputs=node.outputs, name=node.name)
