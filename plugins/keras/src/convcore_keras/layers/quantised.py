"""Layers after ``model.quantize(mode)`` (Keras 3.15.1: ``_int8_call``, ``_int4_call`` and ``_float8_call``).

int8: integers and their scale are weights, ``dequantize`` makes floats of them: w = q / scale. Inputs are rounded to 255 steps of
the largest element of each line. int4: two to a byte, the first in the low half; with a scale and a zero per block of inputs
w = (q - zero) * scale. float8: inputs and kernel become float8_e4m3fn of what they are to their scale, and floats again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, NotExpressible, Tensor, Value

from ..files.model import OpaqueObject
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []


def _mode(node: ForeignNode) -> str:
    """The mode of a layer that is quantised."""
    mode = node.extra.layer.dtype.quantization
    if mode is None:
        raise NotExpressible("its weights are not quantised")
    return str(mode)


def _names(node: ForeignNode, tables: int) -> tuple[list[str], list[str]]:
    """The names of the tables of integers and of the floats, in their order: the bias, if there is one, and what the integers
    stand for. HDF5 files put what is trained (the bias) before everything else, ``.keras`` files the table."""
    held = [n for n, t in node.weights.items() if t.dtype is DType.INT8]
    floats = [n for n, t in node.weights.items() if t.dtype.is_float]
    if len(held) != tables or len(node.weights) != tables + len(floats):
        raise node.refuse("its variables are not tables of int8 and their scales", code="unsupported_quantization")
    return held, floats


def _inverse(t: Tensor) -> Tensor:
    return t.map(lambda a: np.asarray(1 / a, a.dtype))


def _weights(g: KerasContext, node: ForeignNode, turned: bool) -> Value:
    """The dequantised table of int8, by the scale of each unit or row."""
    (table_name,), floats = _names(node, 1)
    table = g.variant(node, table_name, "rows", lambda t: t.transpose((1, 0)) if turned else t)
    return g.b.dequantize(table, g.variant(node, floats[-1], "step", _inverse, label="scale"), axis=0)


def _unpacked(units: int) -> Any:
    """(in, ceil(units / 2)) bytes as (units, in) numbers from -8 to 7."""

    def make(t: Tensor) -> Tensor:
        def halves(a: Any) -> Any:
            low, high = (((a.astype(np.int16) >> s) & 15) for s in (0, 4))
            both = np.stack([low, high], axis=-1).reshape(len(a), -1)[:, :units].T
            return np.ascontiguousarray(np.where(both > 7, both - 16, both).astype(np.int8))

        return t.map(halves, (units, t.shape[0]))

    return make


def _fours(g: KerasContext, node: ForeignNode, units: int) -> Value:
    """The dequantised table of int4, (units, in): by the scale of each unit, or of each block of inputs."""
    blocks = sum(t.dtype is DType.INT8 for t in node.weights.values()) == 2
    tables, floats = _names(node, 2 if blocks else 1)
    if node.weights[tables[0]].shape[1:] != ((units + 1) // 2,):
        raise node.refuse(f"its table has shape {node.weights[tables[0]].shape}, for {units} units", code="weight_shape")
    table = g.variant(node, tables[0], "fours", _unpacked(units))
    if not blocks:
        return g.b.dequantize(table, g.variant(node, floats[-1], "step", _inverse, label="scale"), axis=0)
    index = g.array(node, floats[-1]).numpy()
    size = int((index == 0).sum())
    if not size or not np.array_equal(index, np.arange(len(index)) // size):
        raise node.refuse("its blocks are not one after the other", code="unsupported_quantization")
    scale, zero = (g.variant(node, n, "turned", lambda t: t.transpose((1, 0))) for n in (floats[-2], tables[1]))
    return g.b.dequantize_blocks(table, scale, zero, axis=1, block_size=size)


def _steps(node: ForeignNode) -> tuple[float, float, float] | None:
    """Lowest and highest step of the inputs and what keeps the division from 0; None where inputs are not quantised."""
    config = node.attr("quantization_config", None)
    payload: Any = config.payload if isinstance(config, OpaqueObject) else config
    if payload is None:
        return None if _mode(node) == "int4" else (-127.0, 127.0, 1e-7)
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


def _rounded(g: KerasContext, x: Value, axes: Sequence[int], steps: tuple[float, float, float]) -> tuple[Value, Value]:
    """What is whole of x times its scale, and the scale, which keeps its axes (``AbsMaxQuantizer``)."""
    b = g.b
    low, high, epsilon = steps
    largest = b.max(b.abs(x), axes=tuple(axes), keepdims=True)
    scale = b.div(b.like(x, high), b.add(largest, b.like(x, epsilon)))
    return b.clip(b.round(b.mul(x, scale)), min=low, max=high), scale


@RULES.load("Dense", priority=2, then=("activation",))
def dense(g: KerasContext, node: ForeignNode) -> Value:
    """x W + b of rounded inputs, scaled back."""
    mode = _mode(node)
    units, biased = node.whole("units"), bool(node.attr("use_bias", True))
    node.ignore("use_bias")
    x, b = node.need(0), g.b
    if x.dtype is not DType.FLOAT32:
        raise node.refuse(f"computes in {x.dtype}", code="unsupported_quantization")
    if mode == "float8":
        return _float8(g, node, x, biased)
    w = _weights(g, node, True) if mode == "int8" else _fours(g, node, units)
    steps = _steps(node)
    if steps is None:
        y = b.linear(x, w)
    else:
        whole, scale = _rounded(g, x, (-1,), steps)
        y = b.div(b.linear(whole, w), scale)
    return b.add(y, g.variable(node, _first_float(node))) if biased else y


def _first_float(node: ForeignNode) -> str:
    return next(n for n, t in node.weights.items() if t.dtype.is_float)


_LARGEST = 448.0  # of float8_e4m3fn


def _float8(g: KerasContext, node: ForeignNode, x: Value, biased: bool) -> Value:
    """Inputs and kernel to their scales in float8, a bias in bfloat16; histories and the scale of gradients are for training."""
    node.ignore("quantization_config")
    names = list(node.weights)
    if len(names) != 7 + biased:
        raise node.refuse(f"it has {len(names)} variables, must have {7 + biased}", code="unsupported_quantization")
    if len(node.weights[names[0]].shape) != 2:
        raise node.refuse(f"its kernel has shape {node.weights[names[0]].shape}", code="weight_shape")
    b, first = g.b, 1 + biased
    given, own = g.variable(node, names[first]), g.variable(node, names[first + 2])
    w = g.variant(node, names[0], "turned", lambda t: t.transpose((1, 0)))

    def through(v: Value, scale: Value) -> Value:
        small = b.clip(b.div(v, scale), min=-_LARGEST, max=_LARGEST)
        return b.mul(b.cast(b.cast(small, to=DType.FLOAT8_E4M3FN), to=DType.FLOAT32), scale)

    y = b.linear(through(x, given), through(w, own))
    if not biased:
        return y
    return b.add(y, b.cast(b.cast(g.variable(node, names[1]), to=DType.BFLOAT16), to=DType.FLOAT32))


_EQUATION = re.compile("([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)")  # others are not quantised: Keras takes a number for a shape


@RULES.load("EinsumDense", priority=2, then=("activation",))
def einsum_dense(g: KerasContext, node: ForeignNode) -> Value:
    """The sum of rounded inputs and int8, scaled back; every line is what the equation sums over."""
    _mode(node)
    node.ignore("output_shape", "gptq_unpacked_column_size")
    x, b, biased = node.need(0), g.b, node.attr("bias_axes", None) is not None
    found = _EQUATION.fullmatch(str(node.attr("equation")).replace(" ", ""))
    if found is None or x.dtype is not DType.FLOAT32:
        raise node.refuse("of this equation, or element type", code="unsupported_quantization")
    given, _, made = found.groups()
    (table,), floats = _names(node, 1)
    kernel = g.b.cast(g.variant(node, table, "table", lambda t: t), to=DType.FLOAT32)
    scale, steps, equation = g.variable(node, floats[-1]), _steps(node), found[0]
    if steps is None:
        y = b.div(b.einsum(x, kernel, equation=equation), scale)
    else:
        summed = [i for i, c in enumerate(given) if c not in made]
        whole, step = _rounded(g, x, summed, steps)
        kept = [c for c in given if c in made]
        step = b.transpose(b.squeeze(step, axes=tuple(summed)), perm=tuple(kept.index(c) for c in made if c in kept))
        step = b.unsqueeze(step, axes=tuple(i for i, c in enumerate(made) if c not in kept))
        y = b.div(b.einsum(whole, kernel, equation=equation), b.mul(step, scale))
    return b.add(y, g.variable(node, floats[0])) if biased else y


@RULES.load("Embedding", priority=2)
def embedding(g: KerasContext, node: ForeignNode) -> Value:
    """Rows of the dequantised table."""
    _mode(node)
    node.ignore("input_dim", "output_dim", "quantization_config")
    ids, b = node.need(0), g.b
    if ids.dtype not in (DType.INT32, DType.INT64):
        ids = b.cast(ids, to="int32")
    y: Value = b.gather(_weights(g, node, False), ids, axis=0)
    if node.attr("mask_zero", False):
        g.set_mask(y, b.not_equal(ids, b.like(ids, 0)))
    return y
