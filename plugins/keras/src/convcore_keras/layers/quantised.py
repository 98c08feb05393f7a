"""Layers after ``model.quantize("int8")`` (Keras 3.15.1, ``Dense._int8_call``, ``Embedding._int8_call``).

Integers and their scale are weights, ``dequantize`` makes floats of them: w = q / scale. Inputs of Dense are rounded to 255 steps
of the largest element of each line.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, NotExpressible, Value

from ..files.model import OpaqueObject
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []


def _int8(node: ForeignNode) -> None:
    if node.extra.layer.dtype.quantization != "int8":
        raise NotExpressible("its weights are not quantised")


def _names(node: ForeignNode) -> tuple[str, list[str]]:
    """The names of the table of integers and of the floats, in their order: the bias, if there is one, and the scale. HDF5 files
    put what is trained (the bias) before everything else, ``.keras`` files the table."""
    tables = [n for n, t in node.weights.items() if t.dtype is DType.INT8]
    floats = [n for n, t in node.weights.items() if t.dtype.is_float]
    if len(tables) != 1 or len(node.weights) != 1 + len(floats):
        raise node.refuse("its variables are not a table of int8 and its scale", code="unsupported_quantization")
    return tables[0], floats


def _weights(g: KerasContext, node: ForeignNode, turned: bool) -> Value:
    """The dequantised table, by the scale of each unit or row."""
    table_name, floats = _names(node)
    table = g.variant(node, table_name, "rows", lambda t: t.transpose((1, 0)) if turned else t)
    scale = g.variant(node, floats[-1], "step", lambda t: t.map(lambda a: np.asarray(1 / a, a.dtype)), label="scale")
    return g.b.dequantize(table, scale, axis=0)


def _steps(node: ForeignNode) -> tuple[float, float, float] | None:
    """Lowest and highest step of the inputs and what keeps the division from 0; None where inputs are not quantised."""
    config = node.attr("quantization_config", None)
    payload: Any = config.payload if isinstance(config, OpaqueObject) else config
    if payload is None:
        return -127.0, 127.0, 1e-7
    found = payload.get("config", {}) if isinstance(payload, dict) else {}
    quantizer = found.get("activation_quantizer") if isinstance(found, dict) else None
    if quantizer is None:
        return None
    if not isinstance(quantizer, dict) or quantizer.get("class_name") != "AbsMaxQuantizer":
        raise node.refuse("its inputs are quantised by something else than AbsMaxQuantizer", code="unsupported_quantization")
    own = quantizer.get("config", {})
    span, epsilon = (own.get("value_range", (-127, 127)), own.get("epsilon", 1e-7)) if isinstance(own, dict) else (None, None)
    numbers = (*span, epsilon) if isinstance(span, (list, tuple)) and len(span) == 2 else ()
    if not numbers or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        raise node.refuse(f"its quantizer's configuration {own!r}")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


@RULES.load("Dense", priority=2, then=("activation",))
def dense(g: KerasContext, node: ForeignNode) -> Value:
    """x W + b of rounded inputs, scaled back."""
    _int8(node)
    node.ignore("units", "use_bias")
    x, b = node.need(0), g.b
    biased = bool(node.attr("use_bias", True))
    w = _weights(g, node, True)
    steps = _steps(node)
    if x.dtype is not DType.FLOAT32:
        raise node.refuse(f"computes in {x.dtype}", code="unsupported_quantization")
    if steps is None:
        y = b.linear(x, w)
    else:
        low, high, epsilon = steps
        largest = b.max(b.abs(x), axes=(-1,), keepdims=True)
        scale = b.div(b.like(x, high), b.add(largest, b.like(x, epsilon)))
        y = b.div(b.linear(b.clip(b.round(b.mul(x, scale)), min=low, max=high), w), scale)
    return b.add(y, g.variable(node, _names(node)[1][0])) if biased else y


@RULES.load("Embedding", priority=2)
def embedding(g: KerasContext, node: ForeignNode) -> Value:
    """Rows of the dequantised table."""
    _int8(node)
    node.ignore("input_dim", "output_dim", "quantization_config")
    ids, b = node.need(0), g.b
    if ids.dtype not in (DType.INT32, DType.INT64):
        ids = b.cast(ids, to="int32")
    y: Value = b.gather(_weights(g, node, False), ids, axis=0)
    if node.attr("mask_zero", False):
        g.set_mask(y, b.not_equal(ids, b.like(ids, 0)))
    return y
