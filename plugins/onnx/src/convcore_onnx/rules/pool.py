"""Pooling over windows and over everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import MISSING, A, Dim, DType, ForeignNode, Node, NotExpressible, Rest, isomorphism, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .windows import EXPLICIT, PADDINGS, channels_first, emit_pads, spelled_out


def _whole(v: float) -> int:
    if v != int(v):
        raise NotExpressible(f"{v} is not an integer")
    return int(v)


isomorphism("onnx_whole", float, _whole, "an integer (in the first opset a float) as a float")


_CEIL = A("ceil_mode", 0, ("enum", {0: "floor", 1: "ceil"}))
_WINDOW: dict[str, Any] = {
    "kernel": A("kernel_shape", iso="int_tuple"), "strides": A("strides", None, "int_tuple"),
    "dilations": A("dilations", None, "int_tuple"), "layout": "channels_first",
}  # fmt: skip
for _when, _pads in PADDINGS:
    # SAME fixes the size at ceil(n / stride), whatever ceil_mode says
    _same = any(str(m).startswith("SAME") for m in _when["auto_pad"])
    _all: dict[str, Any] = {**_WINDOW, "pads": _pads, "ceil_mode": "floor" if _same else _CEIL}
    _skip = ("ceil_mode",) if _same else ()
    RULES.op("MaxPool", "max_pool", "X=x", when=_when, ignore=("storage_order", *_skip), direction="load", **_all)
    RULES.op(
        "MaxPool", "max_pool_with_indices", "X=x", outputs="y, indices", when=_when, ignore=_skip, direction="load", priority=-1,
        index_order=A("storage_order", 0, ("enum", {0: "flat_nchw"})), **_all,
    )  # fmt: skip
    RULES.op(
        "AveragePool", "avg_pool", "X=x", when=_when, ignore=_skip, direction="load",
        count_include_pad=A("count_include_pad", 0, "bool_int"), **_all,
    )  # fmt: skip
    RULES.op("LpPool", "lp_pool", "X=x", when=_when, ignore=_skip, direction="load", p=A("p", 2, "onnx_whole"), **_all)

# ---- written: padding that is given and sizes rounded down; the rest by functions
_FIXED: dict[str, Any] = {"direction": "emit", **{k: v for k, v in _WINDOW.items() if k != "dilations"}, "pads": EXPLICIT}
_PLAIN: dict[str, Any] = {"auto_pad": frozenset({"NOTSET", MISSING}), "ceil_mode": frozenset({0, MISSING})}
_OF: dict[str, Any] = {"types": {"x": ("float32", "float64", "float16", "int8", "uint8")}}
_FLAT: dict[str, Any] = {"outputs": "y, indices", "index_order": A("storage_order", 0, ("enum", {0: "flat_nchw"}))}
_KINDS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("MaxPool", "max_pool", 10, {**_OF, "ignore": ("storage_order",)}),
    ("MaxPool", "max_pool_with_indices", 10, {**_OF, **_FLAT}),
    ("AveragePool", "avg_pool", 19, {"count_include_pad": A("count_include_pad", 0, "bool_int")}),
    ("LpPool", "lp_pool", 18, {"p": A("p", 2, "onnx_whole", write_default=True)}),
]
for _type, _op, _since, _more in _KINDS:  # dilations are a later version's, and left out where there are none
    RULES.op(_type, _op, "X=x", priority=1, when=_PLAIN, **_more, **_FIXED)
    RULES.op(_type, _op, "X=x", since=_since, when=_PLAIN, dilations=_WINDOW["dilations"], **_more, **_FIXED)


@RULES.load("MaxPool", when={"storage_order": 1}, priority=-2)
def load_max_pool_by_columns(g: OnnxContext, node: ForeignNode) -> Any:
    """Indices that count down the columns of a plane first: those of rows, turned."""
    if len(known_shape(node.need(0))) != 4:
        raise node.refuse("storage_order=1 of other than two spatial axes")
    node.attr("storage_order")
    rows, columns = known_shape(node.need(0))[2:]
    d, flat = 2, node.attr("pads", None)
    if node.attr("auto_pad", "NOTSET") not in ("NOTSET", "") or node.attr("ceil_mode", 0) or rows is None or columns is None:
        raise node.refuse("storage_order=1 with auto_pad, ceil_mode or unknown sizes")
    b = g.b
    y, at = b.max_pool_with_indices(
        node.need(0), kernel=tuple(node.attr("kernel_shape")), strides=node.attr("strides", None),
        dilations=node.attr("dilations", None), pads=None if flat is None else tuple((flat[i], flat[d + i]) for i in range(d)),
        index_order="flat_nchw", layout="channels_first",
    )  # fmt: skip
    high, wide, plane = (b.dim_value(value=n) for n in (rows, columns, rows * columns))
    inside = b.floor_mod(at, plane)
    turned = b.add(b.mul(b.floor_mod(inside, wide), high), b.floor_div(inside, wide))
    return y, b.add(b.sub(at, inside), turned)


@RULES.load("MaxUnpool")
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
        b, rank = g.b, len(known_shape(x))
        more = b.sub(node.need(2), b.shape_of(y))
        return b.dynamic_pad(y, b.concat(b.const([0] * rank, DType.INT64), more, axis=0))
    ends = []
    for n, size in zip(want[2:], y.shape[2:]):
        if not isinstance(size, int) or n < size:
            raise node.refuse(
                f"output_shape={list(want)} is smaller than the default size or that is unknown", code="unknown_shape"
            )
        ends.append((0, n - size))
    return g.b.pad(y, pads=((0, 0), (0, 0), *ends)) if any(e for _, e in ends) else y


_GLOBAL = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}
for _op, _type in _GLOBAL.items():
    RULES.op(_type, _op, "X=x", direction="load", axes=Rest(2), keepdims=True)


@RULES.emit("mean", "max", priority=1)
def emit_global_pool(e: OnnxScribe, node: Node) -> None:
    """Pooling by name where the source has pooling, else over the plane of images. A mean that is part of a normalization, or of
    sequences, is a reduction: the layer norms that onnxruntime finds (layer_norm_fusion.cc) begin with a ReduceMean."""
    x, origin = node.need("x"), node.origin
    rank = len(known_shape(x))
    if not node.attrs["keepdims"] or tuple(node.attrs["axes"] or ()) != tuple(range(2, rank)):
        raise NotExpressible("it is not over all spatial axes")
    if "pool" not in origin.type.lower() and (rank < 4 or "decompose" in origin.passes or origin.type.startswith("Reduce")):
        raise NotExpressible("it is no pooling")
    e.call(_GLOBAL[node.op], [e.value(x)], outputs=node.outputs, name=node.name)


for _p, _op in {1: "l1_norm", 2: "l2_norm"}.items():
    RULES.op(
        "GlobalLpPool", _op, "X=x", when={"p": {_p, MISSING} if _p == 2 else _p}, direction="load", axes=Rest(2), keepdims=True
    )


@RULES.load("GlobalLpPool")
def global_lp(g: OnnxContext, node: ForeignNode) -> Any:
    """Any other p."""
    x, b, p = node.need(0), g.b, node.attr("p")
    axes = tuple(range(2, len(known_shape(x))))
    return b.pow(b.sum(b.pow(b.abs(x), b.like(x, p)), axes=axes, keepdims=True), b.like(x, 1 / p))


def _window(e: OnnxScribe, node: Node) -> tuple[Any, dict[str, Any]]:
    """The input of a pooling node, cropped where that is needed, and its attributes."""
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
    if a["ceil_mode"] == "floor" or "auto_pad" in attrs or isinstance(a["pads"], str):
        return e.value(x), attrs
    clipped = _clipped(node) if e.dialect.opset < 22 else None
    if clipped is None:
        return e.value(x), {**attrs, "ceil_mode": 1}
    used, ends, up = clipped
    attrs["pads"][len(ends) :] = ends
    if not up:
        return e.value(x), attrs
    axes = [i for i, (n, m) in enumerate(zip(known_shape(x)[2:], used)) if n != m]
    if not axes:
        return e.value(x), {**attrs, "ceil_mode": 1}
    of = [e.const(v, DType.INT64) for v in ([0] * len(axes), [used[i] for i in axes], [2 + i for i in axes])]
    shape = (*known_shape(x)[:2], *used)
    return e.call("Slice", [e.value(x), *of], name=f"{node.name}/used", shapes=[shape])[0], {**attrs, "ceil_mode": 1}


def _clipped(node: Node) -> tuple[list[int], list[int], bool] | None:
    """(sizes of the input that windows reach, end pads, whether to round up) where a window starting after the input is left out.

    The standard's shape inference counted that window before opset 22, so along such an axis the windows are made to end
    exactly. Along the others, what a last window has beyond the padding is more of it, unless averages count the padding.
    """
    a, clipped, up = node.attrs, False, False
    used: list[int] = []
    ends: list[int] = []
    for n, k, s, d, (begin, end) in zip(known_shape(node.need("x"))[2:], a["kernel"], a["strides"], a["dilations"], a["pads"]):
        if not isinstance(n, int):
            return None
        reach = d * (k - 1) + 1
        count = -(-(n + begin + end - reach) // s) + 1
        last = (count - 1) * s >= n + begin
        needed = (count - 1 - last) * s + reach - n - begin
        if not last and ((needed > end and a.get("count_include_pad")) or needed >= k):
            up, needed = True, end
        clipped = clipped or last
        used.append(min(n, n + needed) if last else n)
        ends.append(max(needed, 0))
    return (used, ends, up) if clipped else None


def _dilated(e: OnnxScribe, node: Node, attrs: dict[str, Any], since: int) -> dict[str, Any]:
    if any(d != 1 for d in node.attrs["dilations"]):
        if e.dialect.opset < since:
            raise NotExpressible(f"dilations need opset {since}")
        attrs["dilations"] = list(node.attrs["dilations"])
    return attrs


@RULES.emit("max_pool", "max_pool_with_indices")
def emit_max_pool(e: OnnxScribe, node: Node) -> None:
    x = node.need("x")
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.INT8, DType.UINT8) and not (
        x.dtype is DType.BFLOAT16 and e.dialect.opset >= 22
    ):
        raise NotExpressible(f"MaxPool of {x.dtype}")
    pooled, attrs = _window(e, node)
    attrs = _dilated(e, node, attrs, 10)
    if node.op == "max_pool_with_indices" and attrs.get("ceil_mode") and pooled is not e.value(x):
        raise NotExpressible("indices would count in what is left of the input")
    if node.op == "max_pool" or node.attrs["index_order"] == "flat_nchw":
        e.call("MaxPool", [pooled], attrs, outputs=node.outputs, name=node.name)
        return
    shape = known_shape(x)
    if any(not isinstance(n, int) for n in shape[2:]):
        raise NotExpressible("indices within the plane need known spatial sizes")
    plane = 1
    for n in shape[2:]:
        plane *= n
    _, flat = e.call("MaxPool", [pooled], attrs, outputs=node.outputs[:1], n_outputs=2, name=node.name)
    e.call("Mod", [flat, e.const(plane, DType.INT64)], {}, outputs=[node.outputs[1]], name=f"{node.name}/plane")


@RULES.emit("max_pool", priority=-1)
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


@RULES.emit("avg_pool")
def emit_avg_pool(e: OnnxScribe, node: Node) -> None:
    x, attrs = _window(e, node)
    attrs = _dilated(e, node, attrs, 19)
    if node.attrs["count_include_pad"]:
        attrs["count_include_pad"] = 1
    e.call("AveragePool", [x], attrs, outputs=node.outputs, name=node.name)


@RULES.emit("lp_pool")
def emit_lp_pool(e: OnnxScribe, node: Node) -> None:
    p = node.attrs["p"]
    if p != int(p):
        raise NotExpressible(f"p={p} is not an integer")
    if node.attrs["ceil_mode"] != "floor":
        raise NotExpressible("runtimes disagree on LpPool with ceil_mode")
    x, attrs = _window(e, node)
    attrs = _dilated(e, node, attrs, 18)
    e.call("LpPool", [x], {**attrs, "p": int(p)}, outputs=node.outputs, name=node.name)


@RULES.emit("max_unpool")
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
