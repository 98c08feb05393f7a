"""Pooling over windows and over everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, ForeignNode, Node, NotExpressible, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .windows import channels_first, emit_pads, spatial_rank, spelled_out, window_attrs


def _pool_attrs(node: ForeignNode) -> dict[str, Any]:
    """Attributes common to every windowed pooling."""
    kernel = node.attr("kernel_shape")
    out = window_attrs(node, spatial_rank(node, node.input(0), kernel))
    out["kernel"] = tuple(kernel)
    out["ceil_mode"] = "ceil" if node.attr("ceil_mode", 0) else "floor"
    if isinstance(out["pads"], str):
        out["ceil_mode"] = "floor"  # SAME fixes the size: ceil(n / stride)
    out["layout"] = "channels_first"
    return out


@RULES.load("MaxPool", ops=("max_pool", "max_pool_with_indices"))
def load_max_pool(g: OnnxContext, node: ForeignNode) -> Any:
    attrs = _pool_attrs(node)
    column_major = node.attr("storage_order", 0)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return g.b.max_pool(node.need(0), **attrs)
    if column_major:
        raise node.refuse("its indices are in column-major order (storage_order=1)")
    return g.b.max_pool_with_indices(node.need(0), index_order="flat_nchw", **attrs)


@RULES.load("AveragePool", ops=("avg_pool",))
def load_average_pool(g: OnnxContext, node: ForeignNode) -> Any:
    count = bool(node.attr("count_include_pad", 0))
    return g.b.avg_pool(node.need(0), count_include_pad=count, **_pool_attrs(node))


@RULES.load("LpPool", ops=("lp_pool",))
def load_lp_pool(g: OnnxContext, node: ForeignNode) -> Any:
    p = node.attr("p", 2)
    return g.b.lp_pool(node.need(0), p=float(p), **_pool_attrs(node))


@RULES.load("MaxUnpool", ops=("max_unpool", "pad"))
def load_max_unpool(g: OnnxContext, node: ForeignNode) -> Any:
    """Indices count in the default output; a larger output_shape is that with zeros after it (the standard's test case)."""
    x, indices = node.need(0), node.need(1)
    kernel = tuple(node.attr("kernel_shape"))
    d = len(kernel)
    strides = tuple(node.attr("strides", None) or (1,) * d)
    flat = node.attr("pads", None) or (0,) * (2 * d)
    if len(strides) != d or len(flat) != 2 * d:
        raise node.refuse(f"strides={list(strides)} and pads={list(flat)} do not fit {d} spatial axes")
    pads = tuple((flat[i], flat[d + i]) for i in range(d))
    y = g.b.max_unpool(x, indices, kernel=kernel, strides=strides, pads=pads, index_order="flat_nchw", layout="channels_first")
    if node.input(2) is None:
        return y
    want = g.sizes(node.input(2))
    if want is None or any(not isinstance(n, int) for n in want) or y.shape is None:
        raise node.refuse("its output_shape must be a constant", code="requires_constant_input")
    ends = []
    for n, size in zip(want[2:], y.shape[2:]):
        if not isinstance(size, int) or n < size:
            raise node.refuse(
                f"output_shape={list(want)} is smaller than the default size or that is unknown", code="unknown_shape"
            )
        ends.append((0, n - size))
    return g.b.pad(y, pads=((0, 0), (0, 0), *ends)) if any(e for _, e in ends) else y


@RULES.load("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", ops=("mean", "max", "l1_norm", "l2_norm", "pow"))
def load_global(g: OnnxContext, node: ForeignNode) -> Any:
    x, b = node.need(0), g.b
    axes = tuple(range(2, len(known_shape(x))))
    if node.type == "GlobalAveragePool":
        return b.mean(x, axes=axes, keepdims=True)
    if node.type == "GlobalMaxPool":
        return b.max(x, axes=axes, keepdims=True)
    p = node.attr("p", 2)
    if p in (1, 2):
        return b.op("l1_norm" if p == 1 else "l2_norm", x, axes=axes, keepdims=True)
    return b.pow(b.sum(b.pow(b.abs(x), b.like(x, p)), axes=axes, keepdims=True), b.like(x, 1 / p))


def _window(e: OnnxScribe, node: Node) -> dict[str, Any]:
    """The attributes of a pooling node."""
    channels_first(node)
    a, x = node.attrs, node.need("x")
    spelled_out(node)
    attrs: dict[str, Any] = {"kernel_shape": list(a["kernel"]), "strides": list(a["strides"]), **emit_pads(node, x, a["kernel"])}
    if a["ceil_mode"] == "ceil_full":
        space = known_shape(x)[2:]
        for n, k, s, d in zip(space, a["kernel"], a["strides"], a["dilations"]):
            reach = d * (k - 1) + 1
            if reach < s and not (isinstance(n, int) and -(-(n - reach) // s) * s < n):
                raise NotExpressible(f"Caffe's last window (kernel {k}, stride {s}, size {n}) may lie outside the input")
    if a["ceil_mode"] != "floor" and "auto_pad" not in attrs and not isinstance(a["pads"], str):
        ends = _clipped(node) if e.dialect.opset < 22 else None
        if ends is None:
            attrs["ceil_mode"] = 1
        else:
            attrs["pads"][len(ends) :] = ends
    return attrs


def _clipped(node: Node) -> list[int] | None:
    """End pads that give the same windows without ceil_mode, when a window starting after the input is left out.

    The standard's shape inference counted that window before opset 22. The last window that remains lies within the padding,
    so nothing else changes.
    """
    a, ends, clipped = node.attrs, [], False
    for n, k, s, d, (begin, end) in zip(known_shape(node.need("x"))[2:], a["kernel"], a["strides"], a["dilations"], a["pads"]):
        if not isinstance(n, int):
            return None
        reach = d * (k - 1) + 1
        count = -(-(n + begin + end - reach) // s) + 1
        if (count - 1) * s >= n + begin:
            clipped = True
            ends.append(max((count - 2) * s + reach - n - begin, 0))
        elif (n + begin + end - reach) % s == 0:
            ends.append(end)
        else:
            return None
    return ends if clipped else None


def _dilated(e: OnnxScribe, node: Node, attrs: dict[str, Any], since: int) -> dict[str, Any]:
    if any(d != 1 for d in node.attrs["dilations"]):
        if e.dialect.opset < since:
            raise NotExpressible(f"dilations need opset {since}")
        attrs["dilations"] = list(node.attrs["dilations"])
    return attrs


@RULES.emit("max_pool", "max_pool_with_indices", foreign=("MaxPool",))
def emit_max_pool(e: OnnxScribe, node: Node) -> None:
    attrs = _dilated(e, node, _window(e, node), 10)
    x = node.need("x")
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.INT8, DType.UINT8) and not (
        x.dtype is DType.BFLOAT16 and e.dialect.opset >= 22
    ):
        raise NotExpressible(f"MaxPool of {x.dtype}")
    if node.op == "max_pool":
        e.call("MaxPool", [e.value(x)], attrs, outputs=node.outputs, name=node.name)
        return
    if node.attrs["index_order"] == "flat_nchw":
        e.call("MaxPool", [e.value(x)], attrs, outputs=node.outputs, name=node.name)
        return
    shape = known_shape(x)
    if any(not isinstance(n, int) for n in shape[2:]):
        raise NotExpressible("indices within the plane need known spatial sizes")
    plane = 1
    for n in shape[2:]:
        plane *= n
    _, flat = e.call("MaxPool", [e.value(x)], attrs, outputs=node.outputs[:1], n_outputs=2, name=node.name)
    e.call("Mod", [flat, e.const(plane, DType.INT64)], {}, outputs=[node.outputs[1]], name=f"{node.name}/plane")


@RULES.emit("max_pool", priority=-1, foreign=("Pad", "MaxPool"))
def emit_full_max_pool(e: OnnxScribe, node: Node) -> None:
    """Caffe's last windows, even empty ones, as windows over an input grown by the most negative number."""
    channels_first(node)
    a, x = node.attrs, node.need("x")
    if a["ceil_mode"] != "ceil_full" or not (x.dtype and x.dtype.is_float):
        raise NotExpressible("ceil_mode is not Caffe's")
    ends = []
    for n, k, s, d in zip(known_shape(x)[2:], a["kernel"], a["strides"], a["dilations"]):
        if not isinstance(n, int):
            raise NotExpressible("Caffe's last window needs fixed sizes")
        reach = d * (k - 1) + 1
        ends.append(max(-(-(n - reach) // s) * s + reach - n, 0))
    zeros = [0] * (len(ends) + 2)
    (grown,) = e.call(
        "Pad", [e.value(x), e.const([*zeros, 0, 0, *ends], DType.INT64), e.const(np.finfo(x.dtype.numpy).min, x.dtype)], {},
        name=f"{node.name}/grown",
    )  # fmt: skip
    attrs = _dilated(e, node, {"kernel_shape": list(a["kernel"]), "strides": list(a["strides"])}, 10)
    e.call("MaxPool", [grown], attrs, outputs=node.outputs, name=node.name)


@RULES.emit("avg_pool", foreign=("AveragePool",))
def emit_avg_pool(e: OnnxScribe, node: Node) -> None:
    attrs = _dilated(e, node, _window(e, node), 19)
    if node.attrs["count_include_pad"]:
        attrs["count_include_pad"] = 1
    e.call("AveragePool", [e.value(node.need("x"))], attrs, outputs=node.outputs, name=node.name)


@RULES.emit("lp_pool", foreign=("LpPool",))
def emit_lp_pool(e: OnnxScribe, node: Node) -> None:
    p = node.attrs["p"]
    if p != int(p):
        raise NotExpressible(f"p={p} is not an integer")
    if node.attrs["ceil_mode"] != "floor":
        raise NotExpressible("runtimes disagree on LpPool with ceil_mode")
    attrs = _dilated(e, node, _window(e, node), 18)
    e.call("LpPool", [e.value(node.need("x"))], {**attrs, "p": int(p)}, outputs=node.outputs, name=node.name)


@RULES.emit("max_unpool", foreign=("MaxUnpool",))
def emit_max_unpool(e: OnnxScribe, node: Node) -> None:
    channels_first(node)
    a, x = node.attrs, node.need("x")
    if a["index_order"] != "flat_nchw":
        raise NotExpressible("MaxUnpool's indices count in the whole output")
    default = [(n - 1) * s + k - b - c for n, s, k, (b, c) in zip(known_shape(x)[2:], a["strides"], a["kernel"], a["pads"])]
    if any(not isinstance(n, (int, Dim)) for n in default) or tuple(default) != tuple(a["output_shape"]):
        raise NotExpressible(f"output_shape={a['output_shape']} is not the default {default}: runtimes disagree on it")
    attrs = {
        "kernel_shape": list(a["kernel"]), "strides": list(a["strides"]),
        "pads": [b for b, _ in a["pads"]] + [c for _, c in a["pads"]],
    }  # fmt: skip
    e.call("MaxUnpool", [e.value(x), e.value(node.need("indices"))], attrs, outputs=node.outputs, name=node.name)
