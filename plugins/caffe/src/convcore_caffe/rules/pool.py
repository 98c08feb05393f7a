"""Pooling with Caffe's sizes and divisors, spatial pyramids, unpooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from convcore.plugin import MISSING, A, Dim, DimLike, Value

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..files import pooling_rounding
from ..layer_spec import EVERY, ONE, WINDOW, layer
from .base import RULES

# ---- what the layers are

layer("MaxUnPool", param="max_unpool_param 0 MaxUnPoolParameter: dst_h 1 uint32; dst_w 2 uint32", opencv=False)
layer(
    "Pooling",
    param="""pooling_param 121 PoolingParameter:
        pool 1 PoolMethod=MAX; pad 4 uint32=0; pad_h 9 uint32=0; pad_w 10 uint32=0; kernel_size 2 uint32
        kernel_h 5 uint32; kernel_w 6 uint32; stride 3 uint32=1; stride_h 7 uint32; stride_w 8 uint32
        engine 11 Engine=DEFAULT; global_pooling 12 bool=false; round_mode 0 RoundMode=CEIL; ceil_mode 0 bool=true
    """,
    enums={"RoundMode": "CEIL 0; FLOOR 1"},
    counts=(1, 1, 1, 2),
    v1="POOLING 17 19",
    v0="pool",
    spatial={k: n for k, n in WINDOW.items() if k != "dilation"},
    memory="own",
    overwritten=True,
    writes=EVERY,
    check=checks.pooling,
)
layer(
    "SPP",
    param="spp_param 132 SPPParameter: pyramid_height 1 uint32; pool 2 PoolMethod=MAX; engine 6 Engine=DEFAULT",
    counts=ONE,
    writes=EVERY,
    opencv=False,
    check=checks.positive("spp_param", "pyramid_height"),
)
layer("Unpooling", why="DeconvNet's unpooling is not certain enough to be converted exactly")
layer(
    "Upsample",
    param="""upsample_param 0 UpsampleParameter:
        scale 0 float=?; scale_h 0 uint32; scale_w 0 uint32; pad_out_h 0 bool=false; pad_out_w 0 bool=false
        upsample_h 0 uint32; upsample_w 0 uint32; stride 0 int32; stride_h 0 int32; stride_w 0 int32; dims_num 0 int32=4
    """,
    v1="UPSAMPLE -2 0",
    opencv=False,
)

# ---- rules

_STOCHASTIC = "pool STOCHASTIC is not implemented on the CPU in Caffe; on the GPU it is random in training"


def _four_axes(node: CaffeNode) -> tuple[DimLike | None, ...]:
    shape = node.shape()
    if len(shape) != 4:
        raise node.invalid(f"the bottom must have 4 axes (N, C, H, W), it has {len(shape)}")
    return shape


def _windows(
    node: CaffeNode,
    sizes: Sequence[DimLike | None],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    ceil: bool,
) -> tuple[tuple[int, ...], Literal["floor", "ceil", "ceil_full"]]:
    """Kernel and ceil mode that give Caffe's windows (pooling_layer.cpp, Reshape).

    The size is rounded up; if there is any padding, a last window that starts past the input and its first padding is dropped:
    the "ceil" of PyTorch and ONNX. Without padding nothing is dropped, which differs only when the stride exceeds the kernel.
    """
    kernel = list(kernel)
    exact, empty = True, False
    for i, n in enumerate(sizes):
        if n is None or isinstance(n, Dim):
            exact = False
            empty = empty or strides[i] > kernel[i]
            continue
        room = n + 2 * pads[i] - kernel[i]
        if room < 0:
            # Caffe rounds (room / stride) up and adds one: a single window cut to the padded input, or none
            count = (-(-room // strides[i]) if ceil else int(room / strides[i])) + 1
            if count < 1:
                raise node.invalid(f"a kernel of {kernel[i]} does not fit {n} elements with padding {pads[i]}")
            kernel[i], room = n + 2 * pads[i], 0
        if room % strides[i]:
            exact = False
            last = -(-room // strides[i]) * strides[i]
            empty = empty or last >= n + pads[i]
    if not ceil or exact:
        return tuple(kernel), "floor"
    return tuple(kernel), "ceil_full" if empty and not any(pads) else "ceil"


def _pool(
    g: CaffeContext, node: CaffeNode, kind: str, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], ceil: bool
) -> Value:
    kernel, mode = _windows(node, node.shape()[2:], kernel, strides, pads, ceil)
    pairs = tuple((p, p) for p in pads)
    if kind == "MAX":
        return g.b.max_pool(node.x, kernel=kernel, strides=strides, pads=pairs, ceil_mode=mode)
    return g.b.avg_pool(node.x, kernel=kernel, strides=strides, pads=pairs, ceil_mode=mode, count_include_pad=any(pads))


_WINDOW = tuple(f"{name}{part}" for name in ("kernel", "stride", "pad") for part in ("_h", "_w"))
for _kind, _op, _written in [("MAX", "max", "both"), ({"MAX", MISSING}, "max", "load"), ("AVE", "mean", "both")]:
    RULES.op(
        "Pooling", _op, "bottom=x", rank=4, when={"pool": _kind, "global_pooling": True}, direction=_written, axes=(2, 3),
        ignore=("kernel_size", "stride", "pad", "round_mode", "ceil_mode", *_WINDOW), keepdims=True,
    )  # fmt: skip


@RULES.load("Pooling")
def pooling(g: CaffeContext, node: CaffeNode) -> Value | list[Value]:
    """Over H and W. The mean counts padding in its divisor, but not what overhangs the padded input."""
    shape = _four_axes(node)
    node.ignore("round_mode", "ceil_mode")
    kind, ceil = node.attr("pool"), pooling_rounding(node.layer) == "CEIL"
    everything, strides, pads = node.attr("global_pooling"), node.attr("stride"), node.attr("pad")
    if kind == "STOCHASTIC":
        raise node.refuse(_STOCHASTIC, code="stochastic_pooling")
    node.ignore("kernel_size", "kernel_h", "kernel_w")
    kernel = node.integers(shape[2:], "with global_pooling and a mask, H and W") if everything else node.attr("kernel_size")
    if len(node.outputs) == 1:
        return _pool(g, node, kind, kernel, strides, pads, ceil)
    size, mode = _windows(node, shape[2:], kernel, strides, pads, ceil)
    if mode == "ceil_full":
        raise node.refuse("its mask has windows without any element (stride beyond the kernel)", code="empty_window")
    y, at = g.b.max_pool_with_indices(
        node.x, kernel=size, strides=strides, pads=tuple((p, p) for p in pads), ceil_mode=mode, index_order="plane"
    )
    return [y, g.b.cast(at, to=node.x.dtype)]


@RULES.load("SPP")
def spp(g: CaffeContext, node: CaffeNode) -> Value:
    """A pyramid of poolings into 1, 2, 4, ... bins per axis, flattened and joined; one level keeps its 4 axes."""
    shape = _four_axes(node)
    kind, height = node.attr("pool"), int(node.attr("pyramid_height"))
    if kind == "STOCHASTIC":
        raise node.refuse(_STOCHASTIC, code="stochastic_pooling")
    sizes = node.integers(shape[2:], "H and W of a spatial pyramid")
    (channels,) = node.integers(shape[1:2], "channels")
    if height > 16:
        raise node.invalid(f"pyramid_height {height} is more than any input has room for")
    parts = []
    for level in range(height):
        bins = 2**level
        kernel = [-(-n // bins) for n in sizes]
        pads = [(k * bins - n + 1) // 2 for k, n in zip(kernel, sizes, strict=True)]
        if any(p >= k for p, k in zip(pads, kernel, strict=True)):
            raise node.invalid(f"level {level} pads by {pads}, not less than its windows of {kernel}: the input is too small")
        y = _pool(g, node, kind, kernel, kernel, pads, True)
        if height > 1:
            count = 1
            for n in y.shape[2:] if y.shape is not None else ():
                count *= node.integers((n,), "bins")[0]
            y = g.b.reshape(y, shape=(node.sizes()[0], channels * count))
        parts.append(y)
    return parts[0] if height == 1 else g.b.concat(*parts, axis=1)


def _unpool(g: CaffeContext, node: CaffeNode, size: Sequence[DimLike]) -> Value:
    x, mask = node.bottom(0), node.bottom(1)
    if len(node.shape(1)) != 4:
        raise node.invalid("takes a bottom and its mask, both with 4 axes")
    at = g.b.cast(mask, to="int64")
    y: Value = g.b.max_unpool(x, at, kernel=(1, 1), output_shape=tuple(size), index_order="plane")
    return y


@RULES.load("MaxUnPool")
def max_unpool(g: CaffeContext, node: CaffeNode) -> Value:
    """Every element at its place in an output of dst_h x dst_w, zeros elsewhere."""
    _four_axes(node)
    if len(node.inputs) != 2:
        raise node.invalid(f"takes 2 bottoms, {len(node.inputs)} given")
    return _unpool(g, node, (node.number("dst_h", 1), node.number("dst_w", 1)))


_TIMES = A("scale", iso="caffe_whole")
RULES.op(
    "Upsample", "upsample_nearest", "bottom=x", rank=4, direction="load", scales=(_TIMES, _TIMES),
    when={"pad_out_h": {MISSING, False}, "pad_out_w": {MISSING, False}, "dims_num": {MISSING, 4}},
)  # fmt: skip


@RULES.load("Upsample")
def upsample(g: CaffeContext, node: CaffeNode) -> Value:
    """One bottom: every element repeated scale times. Two: unpooling by the second, a Pooling mask (SegNet, ENet)."""
    _four_axes(node)
    if len(node.inputs) == 1:
        scale = node.attr("scale")
        if not math.isfinite(scale) or scale != int(scale) or scale < 1:
            raise node.refuse(f"scale {scale} is not a whole number: forks interpolate it differently")
        return g.b.upsample_nearest(node.x, scales=(int(scale),) * 2)
    if len(node.inputs) != 2:
        raise node.invalid(f"takes 1 or 2 bottoms, {len(node.inputs)} given")
    h, w = node.sizes()[2:]
    sizes: list[DimLike] = []
    for n, axis in ((h, "h"), (w, "w")):
        fixed, pad = node.attr(f"upsample_{axis}"), node.attr(f"pad_out_{axis}")
        factor = node.attr(f"scale_{axis}", None)
        if fixed:
            node.ignore("scale")
            sizes.append(int(fixed))
            continue
        factor = node.number("scale", 1) if factor is None else node.number(f"scale_{axis}", 1)
        node.ignore("scale")
        sizes.append(n * factor - int(bool(pad)))
    return _unpool(g, node, sizes)
