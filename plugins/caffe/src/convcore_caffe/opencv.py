"""What OpenCV's dnn importer refuses or computes otherwise than Caffe, for the runtime and for nets that are written for it.

Measured against the real Caffe (OpenCV 4.14.0, all conformance cases).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convcore.plugin import Problem

from .files import Layer, Net
from .layer_spec import spec_of

__all__ = ["faults", "opencv_problems"]

_Condition = Callable[[Layer], bool]


def opencv_problems(net: Net) -> list[Problem]:
    """Why OpenCV would refuse the net or compute something else than Caffe."""
    found = []
    for layer in net.layers:
        found += [Problem(layer.name, layer.type, f"OpenCV {why}", code="known_opencv_error") for why in faults(layer)]
    tops = {top: layer for layer in net.layers for top in layer.tops}
    for name in net.outputs:
        layer = tops[name]
        if len(layer.tops) > 1:
            why = f"OpenCV cannot be asked for {name!r}, one of several tops"
            found.append(Problem(layer.name, layer.type, why, code="known_opencv_error"))
    return found


def _given(param: str, *fields: str) -> _Condition:
    """Whether the layer gives one of the fields."""
    return lambda layer: layer.has_param(param) and any(layer.param(param).has(f) for f in fields)


def _other(param: str, field: str, usual: Any) -> _Condition:
    """Whether a field, or Caffe's default for it, differs from the usual value."""
    return lambda layer: bool(layer.param(param).get(field) != usual)


def _scalar(param: str) -> _Condition:
    """Whether one number stands for all channels, as a blob without axes (old files give it four)."""
    return lambda layer: bool(layer.param(param).get("channel_shared")) and (not layer.blobs or not layer.blobs[0].shape)


def _image_norm(layer: Layer) -> bool:
    p = layer.param("norm_param")
    return bool(p.get("across_spatial") and not p.get("channel_shared"))


def _fractional(layer: Layer) -> bool:
    p = layer.param("prior_box_param")
    return any(v != int(v) for v in (*p.get("min_size"), *p.get("max_size")))


def _rank(*ranks: int) -> _Condition:
    """Whether the kernel, where it is known, has another number of axes."""
    return lambda layer: bool(layer.blobs) and len(layer.blobs[0].shape) not in ranks


def _past_the_input(layer: Layer) -> bool:
    p = layer.param("pooling_param")
    kernel = max(p.get(n) or 0 for n in ("kernel_size", "kernel_h", "kernel_w"))
    return not p.get("global_pooling") and max(p.get(n) or 0 for n in ("stride", "stride_h", "stride_w")) > kernel


def _coefficients(layer: Layer) -> bool:
    p = layer.param("eltwise_param")
    return p.get("operation") != "SUM" and bool(p.get("coeff"))


_WRONG: tuple[tuple[str, _Condition, str], ...] = (
    ("*", lambda layer: not spec_of(layer.type).opencv, "has no such layer, or does not read it"),
    ("*", lambda layer: bool(layer.include or layer.exclude), "ignores include and exclude rules"),
    ("*", lambda layer: layer.own_phase is not None, "ignores a layer's own phase"),
    ("BatchNorm", lambda layer: layer.param("batch_norm_param").get("use_global_stats") is False, "refuses batch statistics"),
    ("Concat", _given("concat_param", "concat_dim"), "ignores concat_dim"),
    ("Convolution", _other("convolution_param", "axis", 1), "ignores axis"),
    ("Convolution", _rank(3, 4), "misreads convolutions that are not over one or two axes"),
    ("Deconvolution", lambda layer: any(d != 1 for d in layer.param("convolution_param").get("dilation")), "ignores dilation"),
    ("Deconvolution", _rank(4), "misreads deconvolutions that are not over two axes"),
    ("DetectionOutput", lambda layer: True, "returns keep_top_k rows in another order"),
    ("Eltwise", Layer.is_inplace, "computes the mathematical result where Caffe overwrites its first bottom"),
    ("Eltwise", _coefficients, "refuses coefficients of a maximum"),
    ("Flatten", _other("flatten_param", "axis", 1), "may keep an axis of size 1"),
    ("InnerProduct", _other("inner_product_param", "axis", 1), "may keep an axis of size 1"),
    ("InnerProduct", _other("inner_product_param", "transpose", False), "ignores transpose"),
    ("Input", lambda layer: len(layer.tops) > 1, "does not read an Input layer with several tops"),
    ("LRN", _other("lrn_param", "k", 1), "ignores k"),
    ("LRN", lambda layer: not layer.has_param("lrn_param"), "has other defaults"),
    ("Log", _other("log_param", "base", -1), "ignores the base"),
    ("MVN", _given("mvn_param", "eps"), "adds eps inside the root"),
    ("Permute", lambda layer: len(layer.param("permute_param").get("order")) < 4, "needs every axis in order"),
    ("Normalize", _scalar("norm_param"), "reads no blob without axes"),
    ("Normalize", _image_norm, "takes no scale per channel for a norm per image"),
    ("PReLU", _scalar("prelu_param"), "reads no blob without axes"),
    ("Pooling", _given("pooling_param", "round_mode", "ceil_mode"), "misreads round_mode"),
    ("Pooling", _past_the_input, "gives another value for windows past the input"),
    ("PriorBox", _fractional, "keeps fractions of sizes"),
    ("PriorBox", _given("prior_box_param", "img_h", "img_w"), "misreads img_h and img_w"),
    ("ReLU6", _given("relu6_param", "negative_slope", "threshold"), "ignores relu6_param"),
    ("Reshape", _other("reshape_param", "axis", 0), "misreads axis"),
    ("Reshape", _other("reshape_param", "num_axes", -1), "misreads num_axes"),
    ("Reshape", lambda layer: not layer.param("reshape_param").get("shape").get("dim"), "has no blobs without axes"),
    ("Scale", lambda layer: len(layer.bottoms) == 2, "combines two bottoms otherwise"),
    ("Scale", lambda layer: layer.param("scale_param").get("axis") < 0, "does not count axes from the end"),
    ("Slice", lambda layer: not layer.param("slice_param").get("slice_point"), "misreads a Slice without points"),
    ("Slice", _given("slice_param", "slice_dim"), "ignores slice_dim"),
    ("Swish", _other("swish_param", "beta", 1), "ignores beta"),
)
"""(layer type, when, what OpenCV does)."""


def faults(layer: Layer) -> Iterator[str]:
    """What OpenCV does otherwise with one layer; convolutions without blobs pass for those of images."""
    return (why for kind, when, why in _WRONG if kind in ("*", layer.type) and when(layer))
