"""Linear quantisation in QuantizeLinear / DequantizeLinear form (products of integers: integer.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, DType, ForeignNode, Node, NotExpressible, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES, dtype_of
from .steps import Steps, dtype_known


def _where(g: OnnxContext, node: ForeignNode) -> tuple[dict[str, Any], Any, Any]:
    """The attributes that say what scale and zero point belong to, with both: one number, one for each slice of an axis, or for
    each block."""
    scale, zero, size = node.need(1), node.input(2), node.attr("block_size", 0)
    axis = node.attr("axis", 1)
    if size:
        return {"axis": axis, "block_size": size}, scale, zero
    shape = known_shape(scale)
    if shape in ((), (1,)):
        return {"axis": None}, g.scalar(scale), None if zero is None else g.scalar(zero)
    if len(shape) != 1:
        raise node.refuse(f"its scale has {len(shape)} axes")
    return {"axis": axis}, scale, zero


@RULES.load("QuantizeLinear", since=10)
def quantize(g: OnnxContext, node: ForeignNode) -> Any:
    x = node.need(0)
    where, scale, zero = _where(g, node)
    if node.attr("precision", 0) not in (0, 1):
        raise node.refuse(f"division in element type {node.attr('precision')} is not supported")
    wanted = node.attr("output_dtype", 0)
    dtype = dtype_known(zero) if zero is not None else dtype_of(wanted) if wanted else DType.UINT8
    if dtype_known(scale) is not dtype_known(x):
        raise node.refuse(f"x is {x.dtype} and its scale is {scale.dtype}")
    op = "quantize_blocks" if "block_size" in where else "quantize"
    return g.b.op(op, x, scale, zero, dtype=dtype, saturate=bool(node.attr("saturate", 1)), **where)


@RULES.load("DequantizeLinear", since=10)
def dequantize(g: OnnxContext, node: ForeignNode) -> Any:
    x, wanted = node.need(0), node.attr("output_dtype", 0)
    where, scale, zero = _where(g, node)
    if wanted and dtype_of(wanted) is not dtype_known(scale):
        raise node.refuse(f"its result is {dtype_of(wanted)}, but its scale {scale.dtype}")
    return g.b.op("dequantize_blocks" if "block_size" in where else "dequantize", x, scale, zero, **where)


def _written(node: Node, *more: str) -> dict[str, Any]:
    """Attributes as ONNX has them: of a scale that is one number the axis means nothing, and its default is none."""
    return {k: node.attrs[k] for k in ("axis", *more) if node.attrs[k] is not None}


def _emit_quantize(e: OnnxScribe, node: Node, attrs: dict[str, Any]) -> None:
    s, ins, dtype = Steps(e, node), list(node.inputs), node.attrs["dtype"]
    if len(ins) < 3 or ins[2] is None:
        shape = known_shape(ins[1])
        if not all(isinstance(n, int) for n in shape):  # the zero point, which says the type, has the scale's shape
            raise NotExpressible("the scale has a size that is not known, and there is no zero point of its shape")
        ins = [*ins[:2], s.const(np.zeros(shape, dtype.numpy), dtype)]
    if dtype.is_float and not node.attrs["saturate"]:
        attrs["saturate"] = 0
    s.last("QuantizeLinear", *ins, **attrs)


@RULES.emit("quantize")
def emit_quantize(e: OnnxScribe, node: Node) -> None:
    _emit_quantize(e, node, _written(node))


@RULES.emit("quantize_blocks", since=21)
def emit_quantize_blocks(e: OnnxScribe, node: Node) -> None:
    _emit_quantize(e, node, _written(node, "block_size"))


@RULES.emit("dequantize")
def emit_dequantize(e: OnnxScribe, node: Node) -> None:
    Steps(e, node).last("DequantizeLinear", *node.inputs, **_written(node))


RULES.op(
    "DequantizeLinear", "dequantize_blocks", "x=x, x_scale=scale, x_zero_point=zero_point", since=21, direction="emit",
    axis=A("axis", 1), block_size=A("block_size"), ignore=("output_dtype",),
)  # fmt: skip
RULES.op("DynamicQuantizeLinear", "dynamic_quantize", "x=x", outputs="y, scale, zero_point", since=11)
