"""com.microsoft: operators on stored integers. Each is the standard's operator on the numbers they stand for, stored again.

onnxruntime 1.32 computes some of them from tables and some in integers, which gives the same but for one step at halves.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, ForeignNode, known_shape

from ..context import OnnxContext
from .contrib import channels_first, contrib, quantized, real, standard
from .quant import dequantize, quantize

__all__: list[str] = []

_POINTWISE = {
    "QLinearAdd": ("Add", 2, 14), "QLinearMul": ("Mul", 2, 14), "QLinearSigmoid": ("Sigmoid", 1, 13),
    "QLinearLeakyRelu": ("LeakyRelu", 1, 16), "QLinearReduceMean": ("ReduceMean", 1, 13),
}  # fmt: skip
"""The standard's operator, how many operands it has, and the opset it is read in."""


def _of(g: OnnxContext, node: ForeignNode, type: str, operands: int, version: int, **attrs: Any) -> Any:
    """Operands as (stored, scale, zero point) each, then scale and zero point of the result."""
    values = [real(g, node, node.need(3 * i), node.need(3 * i + 1), node.input(3 * i + 2)) for i in range(operands)]
    y = standard(g, node, type, values, version, attrs)
    return quantized(g, node, y, node.need(3 * operands), node.input(3 * operands + 1), node.need(0))


@contrib(*_POINTWISE)
def pointwise(g: OnnxContext, node: ForeignNode) -> Any:
    type_, operands, version = _POINTWISE[node.type.rpartition(".")[2]]
    if operands == 2 and node.need(0).dtype is not node.need(3).dtype:
        raise node.refuse(f"its operands are {node.need(0).dtype} and {node.need(3).dtype}")
    return _of(g, node, type_, operands, version, **{k: node.attr(k) for k in node.attrs})


@contrib("QLinearSoftmax")
def softmax(g: OnnxContext, node: ForeignNode) -> Any:
    """``opset`` tells which Softmax it was: before 13 all axes from ``axis`` on count as one."""
    opset = node.whole("opset")
    if opset < 1:
        raise node.refuse(f"opset={opset}")
    return _of(g, node, "Softmax", 1, opset, axis=node.attr("axis", -1))


@contrib("QLinearAveragePool", "QLinearGlobalAveragePool")
def average_pool(g: OnnxContext, node: ForeignNode) -> Any:
    type_ = node.type.rpartition("QLinear")[2]
    attrs = {k: node.attr(k) for k in node.attrs if k != "channels_last"}
    x = real(g, node, node.need(0), node.need(1), node.input(2))
    y = channels_first(g, node, x, lambda v: standard(g, node, type_, [v], 13, attrs))
    return quantized(g, node, y, node.need(3), node.input(4), node.need(0))


@contrib("QLinearConcat")
def concat(g: OnnxContext, node: ForeignNode) -> Any:
    parts = node.needed(2)
    if len(parts) % 3:
        raise node.refuse(f"its {len(parts)} inputs are not stored integers, scale and zero point each", code="malformed_node")
    values = [real(g, node, *parts[i : i + 3]) for i in range(0, len(parts), 3)]
    y = standard(g, node, "Concat", values, 13, {"axis": node.attr("axis")})
    return quantized(g, node, y, node.need(0), node.need(1), parts[0])


@contrib("QLinearWhere")
def where(g: OnnxContext, node: ForeignNode) -> Any:
    a, b = (real(g, node, *(node.need(i + k) for k in range(3))) for i in (1, 4))
    y = standard(g, node, "Where", [node.need(0), a, b], 16)
    return quantized(g, node, y, node.need(7), node.need(8), node.need(1))


@contrib("QLinearConv")
def conv(g: OnnxContext, node: ForeignNode) -> Any:
    """The standard's, with images whose channels may come last; the filters' order of axes is the same."""
    attrs = {k: node.attr(k) for k in node.attrs if k != "channels_last"}
    rest = node.inputs[1:]
    return channels_first(g, node, node.need(0), lambda v: standard(g, node, "QLinearConv", [v, *rest], 10, attrs))


def _one_axis(node: ForeignNode) -> None:
    """Without ``axis`` scale and zero point are single numbers, not those of axis 1."""
    scale = node.need(1)
    if node.attr("axis", None) is None and known_shape(scale) not in ((), (1,)):
        raise node.refuse("without axis its scale must be one number")


@contrib("QuantizeLinear")
def quantize_linear(g: OnnxContext, node: ForeignNode) -> Any:
    _one_axis(node)
    return quantize(g, node)


@contrib("DequantizeLinear")
def dequantize_linear(g: OnnxContext, node: ForeignNode) -> Any:
    _one_axis(node)
    if node.need(0).dtype not in (*_STORED, None):
        raise node.refuse(f"x is {node.need(0).dtype}")
    return dequantize(g, node)


_STORED = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32, DType.INT4, DType.UINT4)
