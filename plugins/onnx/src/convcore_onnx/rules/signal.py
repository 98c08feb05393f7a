"""Fourier transforms and the mel scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, ForeignNode, Node, NotExpressible, Value, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .shapes_in import scalar_size
from .shapes_out import size_scalar
from .steps import Steps


def _number(g: OnnxContext, v: Value | None, default: Any) -> Any:
    """The one integer that an input holds; NotExpressible where the data tell it."""
    if v is None:
        return default
    a = g.known(v)
    if a is None or a.size != 1:
        raise NotExpressible("one of its numbers depends on the data", "requires_constant_input")
    return int(np.asarray(a).reshape(-1)[0])


def _sides(node: ForeignNode) -> dict[str, Any]:
    return {"inverse": bool(node.attr("inverse", 0)), "onesided": bool(node.attr("onesided", 0))}


@RULES.load("DFT", since=17, until=19)
def dft_along_an_attribute(g: OnnxContext, node: ForeignNode) -> Any:
    length = None if node.input(1) is None else scalar_size(g, node, 1, "dft_length")
    return g.b.dft_pairs(node.need(0), axis=node.attr("axis", 1), length=length, **_sides(node))


@RULES.load("DFT", since=17, until=19, priority=-1)
def dft_of_a_length(g: OnnxContext, node: ForeignNode) -> Any:
    return g.b.dynamic_dft_pairs(node.need(0), node.need(1), g.b.const(node.attr("axis", 1), "int64"), **_sides(node))


@RULES.load("DFT", since=20)
def dft(g: OnnxContext, node: ForeignNode) -> Any:
    length = None if node.input(1) is None else scalar_size(g, node, 1, "dft_length")
    return g.b.dft_pairs(node.need(0), axis=_number(g, node.input(2), -2), length=length, **_sides(node))


RULES.op(
    "DFT", "dynamic_dft_pairs", "input=x, dft_length=length, axis=axis", since=20, priority=-1,
    inverse=A("inverse", 0, "bool_int"), onesided=A("onesided", 0, "bool_int"),
)  # fmt: skip


@RULES.emit("dft_pairs", since=17)
def emit_dft(e: OnnxScribe, node: Node) -> None:
    s, a = Steps(e, node), node.attrs
    if a["inverse"] and a["onesided"]:
        raise NotExpressible("onnxruntime 1.31 has no one-sided inverse transform")
    if a["onesided"] and known_shape(node.need("x"))[-1] != 1:
        raise NotExpressible("a one-sided transform is of real signals")
    sides = {k: 1 for k in ("inverse", "onesided") if a[k]}
    length = None if a["length"] is None else size_scalar(e, a["length"])
    if e.dialect.opset < 20:
        s.last("DFT", node.need("x"), *([] if length is None else [length]), axis=a["axis"], **sides)
    else:
        s.last("DFT", node.need("x"), length, size_scalar(e, a["axis"]), **sides)


@RULES.load("STFT", since=17)
def stft(g: OnnxContext, node: ForeignNode) -> Any:
    size = None if node.input(3) is None else scalar_size(g, node, 3, "frame_length")
    step = _number(g, node.need(1), None)
    return g.b.stft(node.need(0), node.input(2), step=step, size=size, onesided=bool(node.attr("onesided", 1)))


RULES.op(
    "STFT", "dynamic_stft", "signal=x, frame_step=step, window=window, frame_length=size", since=17, priority=-1,
    onesided=A("onesided", 1, "bool_int"),
)  # fmt: skip


@RULES.emit("stft", since=17)
def emit_stft(e: OnnxScribe, node: Node) -> None:
    s, a = Steps(e, node), node.attrs
    size = [] if a["size"] is None else [size_scalar(e, a["size"])]
    s.last("STFT", node.need("x"), size_scalar(e, a["step"]), node.arg("window"), *size, onesided=int(a["onesided"]))


RULES.op(
    "MelWeightMatrix", "mel_weight_matrix",
    "num_mel_bins=bins, dft_length=length, sample_rate=rate, lower_edge_hertz=low, upper_edge_hertz=high", since=17,
    dtype=A("output_datatype", 1, "onnx_dtype"),
)  # fmt: skip
