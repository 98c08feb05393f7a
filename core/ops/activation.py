"""Activation functions. Smooth ones are written so that large inputs do not overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .axes import Axis
from .declare import Attr, AxisAttr, OpSet, Sample

ACTIVATION = OpSet("activation")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ACTIVATION.unary("relu", lambda x: np.maximum(x, 0), "max(x, 0).", types="number")
ACTIVATION.unary("sigmoid", _sigmoid, "1 / (1 + exp(-x)).")
ACTIVATION.unary("softplus", _softplus, "log(1 + exp(x)).")
ACTIVATION.unary("softsign", lambda x: x / (1 + np.abs(x)), "x / (1 + |x|).")
ACTIVATION.unary(
    "leaky_relu", lambda x, alpha: np.where(x >= 0, x, alpha * x), "x where x >= 0, else alpha * x.",
    attrs={"alpha": Attr("float", doc="slope below zero")}, samples=[Sample((2, 3, 5), alpha=0.3)],
)  # fmt: skip


def _silu_body(b: Any, x: Any) -> Any:
    return b.mul(x, b.sigmoid(x))


ACTIVATION.unary("silu", lambda x: x * _sigmoid(x), "x * sigmoid(x), also called swish.", body=_silu_body)


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True), x.dtype)


def _softmax_body(b: Any, x: Any, *, axis: int) -> Any:
    e = b.exp(b.sub(x, b.max(x, axes=(axis,), keepdims=True)))
    return b.div(e, b.sum(e, axes=(axis,), keepdims=True))


ACTIVATION.op(
    "softmax", "x:float", "exp(x) normalised to sum 1 along one axis.",
    attrs={"axis": AxisAttr(-1)}, reference=_softmax, axes=Axis("axis"), body=_softmax_body,
    samples=[Sample((2, 3, 5), axis=1), Sample((2, 3, 5), axis=-1)],
)  # fmt: skip
