"""OpenCV's dnn module as a second opinion on a net, on request: it is not Caffe, and what it gets wrong is excluded by name.

The exclusions were measured against the real Caffe (OpenCV 4.14.0, all conformance cases). Verification itself runs the
interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import FrameworkMissingError, Problem, Runtime, UnsupportedError

from .files import Layer, Net, read_net
from .layer_spec import spec_of

__all__ = ["opencv_problems", "open_runtime"]

_Condition = Callable[[Layer], bool]


def open_runtime(source: Any, weights: Any = None) -> Runtime:
    """The net in ``cv2.dnn``. FrameworkMissingError without OpenCV, UnsupportedError where OpenCV is known to be wrong."""
    try:
        import cv2
    except ImportError as e:
        raise FrameworkMissingError("this needs OpenCV: pip install 'opencv-python-headless<5'") from e
    if not isinstance(source, (str, Path)) or weights is None:
        raise UnsupportedError(Problem("", "Caffe net", "OpenCV reads a prototxt and its caffemodel"))
    net = read_net(source, weights)
    problems = opencv_problems(net)
    if problems:
        raise UnsupportedError(problems, f"{source} is not run by OpenCV")
    try:
        model = cv2.dnn.readNetFromCaffe(str(source), str(weights))
    except cv2.error as e:
        raise UnsupportedError(Problem("", "Caffe net", f"OpenCV cannot read it: {_first_line(e)}")) from e
    inputs = tuple(i.name for i in net.inputs)
    writers = {top: layer.name for layer in net.layers for top in layer.tops}
    wanted = [writers[o] for o in net.outputs]

    def run(arrays: Sequence[Any]) -> list[Any]:
        try:
            for name, a in zip(inputs, arrays, strict=True):
                model.setInput(np.ascontiguousarray(a, np.float32), name)
            return [np.array(y) for y in model.forward(wanted)]
        except cv2.error as e:
            raise UnsupportedError(Problem("", "Caffe net", f"OpenCV cannot run it: {_first_line(e)}")) from e

    return Runtime(f"OpenCV {cv2.__version__}", run, inputs, tuple(net.outputs))


def _first_line(e: Exception) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), "unknown error")


def opencv_problems(net: Net) -> list[Problem]:
    """Why OpenCV would refuse the net or compute something else than Caffe."""
    found = []
    for layer in net.layers:
        found += [Problem(layer.name, layer.type, f"OpenCV {why}", code="known_opencv_error") for why in _wrong(layer)]
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


def _two_bottoms(layer: Layer) -> bool:
    return len(layer.bottoms) == 2


def _fractional(layer: Layer) -> bool:
    p = layer.param("prior_box_param")
    return any(v != int(v) for v in (*p.get("min_size"), *p.get("max_size")))


def _rank(layer: Layer) -> bool:
    return len(layer.blobs[0].shape if layer.blobs else ()) not in (3, 4)


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
    ("Bias", _two_bottoms, "combines two bottoms otherwise"),
    ("Concat", _given("concat_param", "concat_dim"), "ignores concat_dim"),
    ("Convolution", _other("convolution_param", "axis", 1), "ignores axis"),
    ("Convolution", _rank, "misreads convolutions that are not over one or two axes"),
    ("Deconvolution", lambda layer: any(d != 1 for d in layer.param("convolution_param").get("dilation")), "ignores dilation"),
    ("Deconvolution", _rank, "misreads deconvolutions that are not over one or two axes"),
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
    ("Pooling", _given("pooling_param", "round_mode", "ceil_mode"), "misreads round_mode"),
    ("Pooling", _past_the_input, "gives another value for windows past the input"),
    ("PriorBox", _fractional, "keeps fractions of sizes"),
    ("PriorBox", _given("prior_box_param", "img_h", "img_w"), "misreads img_h and img_w"),
    ("Reshape", _other("reshape_param", "axis", 0), "misreads axis"),
    ("Reshape", _other("reshape_param", "num_axes", -1), "misreads num_axes"),
    ("Scale", _two_bottoms, "combines two bottoms otherwise"),
    ("Scale", lambda layer: layer.param("scale_param").get("axis") < 0, "does not count axes from the end"),
    ("Slice", lambda layer: not layer.param("slice_param").get("slice_point"), "misreads a Slice without points"),
    ("Slice", _given("slice_param", "slice_dim"), "ignores slice_dim"),
    ("Swish", _other("swish_param", "beta", 1), "ignores beta"),
)
"""(layer type, when, what OpenCV does)."""


def _wrong(layer: Layer) -> Iterator[str]:
    return (why for kind, when, why in _WRONG if kind in ("*", layer.type) and when(layer))
