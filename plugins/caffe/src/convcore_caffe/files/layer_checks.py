"""What Caffe CHECKs in LayerSetUp of single upstream layers and needs no shapes (BVLC master 9b891540); which layer has which
check is in the layers' records."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..layer_spec import spec_of
from .net import Layer

__all__ = [
    "alias", "axes", "base", "batch_norm", "check_layer", "convolution", "dummy", "eltwise", "filter_", "input_", "lrn",
    "pooling", "positive", "reshape", "slice_",
]  # fmt: skip

Check = Callable[[Layer], Iterator[str]]


def check_layer(layer: Layer) -> Iterator[str]:
    """Every reason Caffe refuses this layer whatever its inputs' shapes are."""
    spec = spec_of(layer.type)
    if spec.memory == "never in place" and layer.is_inplace():
        yield "does not allow in-place computation"
    if spec.check is not None:
        yield from spec.check(layer)


def convolution(layer: Layer) -> Iterator[str]:
    p = layer.param("convolution_param")
    for name in ("kernel_size", "stride", "pad"):
        short = name.removesuffix("_size")
        if p.has(name) and (p.has(f"{short}_h") or p.has(f"{short}_w")):
            yield f"either {name} or {short}_h and {short}_w, not both"
    pairs = [(f"{n}_h", f"{n}_w") for n in ("kernel", "stride")]
    for h, w in pairs:
        if (p.has(h) or p.has(w)) and 0 in (p.get(h) or 0, p.get(w) or 0):
            yield f"{h} and {w} must both be given and positive"
    for name in ("kernel_size", "stride"):
        if 0 in p.get(name):
            yield f"{name} must be positive"
    outputs, group = p.get("num_output") or 0, p.get("group")
    if layer.type == "Im2col":
        return
    if outputs < 1:
        yield "num_output must be positive"
    if group < 1 or outputs % group:
        yield f"num_output {outputs} is no multiple of group {group}"
    if len(layer.bottoms) != len(layer.tops):
        yield f"{len(layer.bottoms)} bottoms and {len(layer.tops)} tops; there must be as many"


def pooling(layer: Layer) -> Iterator[str]:
    p = layer.param("pooling_param")
    two = p.has("kernel_h") and p.has("kernel_w")
    any_kernel = p.has("kernel_size") or p.has("kernel_h") or p.has("kernel_w")
    for name in ("pad", "stride"):
        h, w = p.has(f"{name}_h"), p.has(f"{name}_w")
        if (h or w) and (p.has(name) or not (h and w)):
            yield f"{name} is either {name} or both {name}_h and {name}_w"
    pads = [p.get("pad_h"), p.get("pad_w")] if p.has("pad_h") else [p.get("pad")] * 2
    strides = [p.get("stride_h"), p.get("stride_w")] if p.has("stride_h") else [p.get("stride")] * 2
    if 0 in strides:
        yield "stride must be positive"
    if p.get("global_pooling"):
        if any_kernel:
            yield "with global_pooling the filter size cannot be given"
        if pads != [0, 0] or strides != [1, 1]:
            yield "with global_pooling only pad 0 and stride 1 are allowed"
    elif p.has("kernel_size") == two or (any_kernel and not p.has("kernel_size") and not two):
        yield "the filter size is either kernel_size or both kernel_h and kernel_w"
    else:
        kernels = [p.get("kernel_h"), p.get("kernel_w")] if two else [p.get("kernel_size")] * 2
        if 0 in kernels:
            yield "filter dimensions cannot be zero"
        elif any(pad >= k for pad, k in zip(pads, kernels, strict=True) if pad is not None):
            yield f"pad {pads} must be smaller than the kernel {kernels}"
        if pads != [0, 0] and p.get("pool") == "STOCHASTIC":
            yield "padding is implemented only for average and max pooling"
    if len(layer.tops) > 1 and p.get("pool") != "MAX":
        yield "a second top (the mask) exists only for MAX pooling"


def eltwise(layer: Layer) -> Iterator[str]:
    p = layer.param("eltwise_param")
    coeffs = p.get("coeff")
    if coeffs and len(coeffs) != len(layer.bottoms):
        yield f"takes one coefficient per bottom blob: {len(coeffs)} for {len(layer.bottoms)}"
    if coeffs and p.get("operation") == "PROD":
        yield "takes coefficients only for summation"


def alias(param: str, old: str) -> Check:
    def check(layer: Layer) -> Iterator[str]:
        p = layer.param(param)
        if p.has("axis") and p.has(old):
            yield f"either axis or {old} should be given, not both"
        if p.has(old) and p.get(old) > 31:
            yield f"{old} is out of range"

    return check


def slice_(layer: Layer) -> Iterator[str]:
    yield from alias("slice_param", "slice_dim")(layer)
    points = layer.param("slice_param").get("slice_point")
    if points and len(points) != len(layer.tops) - 1:
        yield f"{len(points)} slice_point for {len(layer.tops)} tops; there must be one less than tops"
    elif any(b <= a for a, b in zip([0, *points], points)):
        yield f"slice_point must be strictly increasing from above 0: {points}"


def reshape(layer: Layer) -> Iterator[str]:
    p = layer.param("reshape_param")
    dims = p.get("shape").get("dim")
    if dims.count(-1) > 1:
        yield f"more than one -1 in shape {dims}"
    if any(d < -1 for d in dims):
        yield f"negative size in shape {dims}"
    if p.get("num_axes") < -1:
        yield "num_axes must be -1 or more"


def positive(param: str, *names: str) -> Check:
    def check(layer: Layer) -> Iterator[str]:
        p = layer.param(param)
        for name in names:
            if (p.get(name) or 0) < 1:
                yield f"{name} must be given and positive"

    return check


def base(param: str) -> Check:
    def check(layer: Layer) -> Iterator[str]:
        base = layer.param(param).get("base")
        if base != -1 and not base > 0:
            yield f"base must be positive (or -1 for e): {base}"

    return check


def lrn(layer: Layer) -> Iterator[str]:
    size = layer.param("lrn_param").get("local_size")
    if size % 2 != 1:
        yield f"local_size must be odd: {size}"


def axes(param: str) -> Check:
    def check(layer: Layer) -> Iterator[str]:
        if len(layer.bottoms) == 1 and layer.param(param).get("num_axes") < -1:
            yield "num_axes must be -1 or more"

    return check


def batch_norm(layer: Layer) -> Iterator[str]:
    if any(spec.lr_mult != 0 for spec in layer.param_specs):
        yield "batch statistics cannot be learned: every param needs lr_mult 0"


def input_(layer: Layer) -> Iterator[str]:
    shapes = layer.param("input_param").get("shape")
    if len(shapes) not in (0, 1, len(layer.tops)):
        yield f"{len(shapes)} shapes for {len(layer.tops)} tops: give one, or one per top"
    for shape in shapes:
        yield from _shape(shape.get("dim"))


def _shape(dims: list[int]) -> Iterator[str]:
    if len(dims) > 32:
        yield f"a shape of {len(dims)} axes; Caffe has at most 32"
    if any(d < 0 for d in dims):
        yield f"negative size in shape {dims}"
    count = 1
    for d in dims:
        count *= d
    if count > 0x7FFFFFFF:
        yield f"shape {dims} has more than 2147483647 elements, the most a Caffe blob can have"


def dummy(layer: Layer) -> Iterator[str]:
    p = layer.param("dummy_data_param")
    n = len(layer.tops)
    if len(p.get("data_filler")) not in (0, 1, n):
        yield f"{len(p.get('data_filler'))} data_filler for {n} tops"
    old = [len(p.get(name)) for name in ("num", "channels", "height", "width")]
    if any(old) and p.has("shape"):
        yield "both shape and the old num, channels, height, width are given"
    elif any(old) and any(k not in (1, n) for k in old):
        yield f"num, channels, height and width must be given once, or once per top ({n})"
    elif not any(old) and len(p.get("shape")) not in (1, n):
        yield f"{len(p.get('shape'))} shapes for {n} tops"
    for shape in p.get("shape"):
        yield from _shape(shape.get("dim"))


def filter_(layer: Layer) -> Iterator[str]:
    if len(layer.bottoms) != len(layer.tops) + 1:
        yield f"{len(layer.bottoms)} bottoms and {len(layer.tops)} tops; the last bottom selects for the others"
