"""Linear quantisation in QuantizeLinear / DequantizeLinear form; integer arithmetic is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, Node, Value, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES, dtype_of
from .steps import Steps, dtype_known


def _axis_of(node: ForeignNode, scale: Value) -> int | None:
    """The axis that scale belongs to, None for one number."""
    if node.attr("block_size", 0):
        raise node.refuse("quantisation in blocks is not supported")
    axis = node.attr("axis", 1)
    shape = known_shape(scale)
    if shape in ((), (1,)):
        return None
    if len(shape) != 1:
        raise node.refuse(f"its scale has {len(shape)} axes")
    return int(axis)


def _one(g: OnnxContext, v: Value | None, axis: int | None) -> Any:
    """One number for the whole tensor, without axes."""
    return v if v is None or axis is not None or v.shape == () else g.scalar(v)


@RULES.load("QuantizeLinear", since=10)
def quantize(g: OnnxContext, node: ForeignNode) -> Any:
    x, scale, zero = node.need(0), node.need(1), node.input(2)
    node.ignore("saturate")  # of float8
    axis = _axis_of(node, scale)
    if node.attr("precision", 0) not in (0, 1):
        raise node.refuse(f"division in element type {node.attr('precision')} is not supported")
    wanted = node.attr("output_dtype", 0)
    dtype = dtype_known(zero) if zero is not None else dtype_of(wanted) if wanted else DType.UINT8
    if dtype_known(scale) is not dtype_known(x):
        raise node.refuse(f"x is {x.dtype} and its scale is {scale.dtype}")
    return g.b.quantize(x, _one(g, scale, axis), _one(g, zero, axis), axis=axis, dtype=dtype)


@RULES.load("DequantizeLinear", since=10)
def dequantize(g: OnnxContext, node: ForeignNode) -> Any:
    x, scale, zero = node.need(0), node.need(1), node.input(2)
    axis = _axis_of(node, scale)
    wanted = node.attr("output_dtype", 0)
    if wanted and dtype_of(wanted) is not dtype_known(scale):
        raise node.refuse(f"its result is {dtype_of(wanted)}, but its scale {scale.dtype}")
    return g.b.dequantize(x, _one(g, scale, axis), _one(g, zero, axis), axis=axis)


@RULES.emit("quantize")
def emit_quantize(e: OnnxScribe, node: Node) -> None:
    s, ins, dtype, axis = Steps(e, node), list(node.inputs), node.attrs["dtype"], node.attrs["axis"]
    if len(ins) < 3 or ins[2] is None:
        shape = known_shape(ins[1])
        ins = [*ins[:2], s.const(np.zeros(shape, dtype.numpy), dtype)]
    s.last("QuantizeLinear", *ins, **({} if axis is None else {"axis": axis}))


@RULES.emit("dequantize")
def emit_dequantize(e: OnnxScribe, node: Node) -> None:
    """Of a scale that is one number the axis means nothing, and its default is none."""
    axis = node.attrs["axis"]
    Steps(e, node).last("DequantizeLinear", *node.inputs, **({} if axis is None else {"axis": axis}))


RULES.op("DynamicQuantizeLinear", "dynamic_quantize", "x=x", outputs="y, scale, zero_point", since=11)


@RULES.load("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
def integer_arithmetic(g: OnnxContext, node: ForeignNode) -> Any:
    raise node.refuse(
        "integer (quantised) arithmetic is not supported yet",
        "use the float model, or one quantised in QDQ form (QuantizeLinear / DequantizeLinear pairs)",
        "unsupported_layer",
    )
