"""Activation functions."""

from __future__ import annotations

from typing import Any

from convcore.plugin import MISSING, A, ForeignNode, known_shape, product

from ..context import OnnxContext
from .base import RULES

for _type, _op, _since in [
    ("Relu", "relu", None),
    ("Sigmoid", "sigmoid", None),
    ("Softplus", "softplus", None),
    ("Softsign", "softsign", None),
    ("HardSwish", "hard_swish", 14),
    ("Mish", "mish", 18),
]:
    RULES.op(_type, _op, "X=x", since=_since)
RULES.op("LeakyRelu", "leaky_relu", "X=x", alpha=A("alpha", 0.01))
RULES.op("Elu", "elu", "X=x", alpha=A("alpha", 1.0))
RULES.op("Celu", "celu", "X=x", since=12, alpha=A("alpha", 1.0))
RULES.op("Selu", "selu", "X=x", until=5, direction="load", alpha=A("alpha", 1.6732), gamma=A("gamma", 1.0507))
RULES.op(
    "Selu", "selu", "X=x", since=6,
    alpha=A("alpha", 1.67326319217681884765625), gamma=A("gamma", 1.05070102214813232421875),
)  # fmt: skip
RULES.op("HardSigmoid", "hard_sigmoid", "X=x", alpha=A("alpha", 0.2), beta=A("beta", 0.5))
RULES.op("ThresholdedRelu", "thresholded_relu", "X=x", alpha=A("alpha", 1.0))
RULES.op("Shrink", "shrink", "input=x", since=9, lambd=A("lambd", 0.5), bias=A("bias", 0.0))
RULES.op("Gelu", "gelu", "X=x", since=20, approximate=A("approximate", "none"))
RULES.op("Swish", "silu", "X=x", since=24, when={"alpha": frozenset({1.0, MISSING})})
RULES.op("Swish", "swish", "X=x", since=24, beta=A("alpha", 1.0))
RULES.op("PRelu", "prelu", "X=x, slope=slope", since=7)


@RULES.load("PRelu", until=6)
def prelu_per_channel(g: OnnxContext, node: ForeignNode) -> Any:
    """Before opset 7 the slope is one number, or one per channel (axis 1)."""
    x, slope = node.needed()
    rank = len(known_shape(x))
    if len(known_shape(slope)) == 1 and slope.shape != (1,) and rank > 2:
        slope = g.b.unsqueeze(slope, axes=tuple(range(1, rank - 1)))
    return g.b.prelu(x, slope)


@RULES.load("SwiGLU", since=28)
def swiglu(g: OnnxContext, node: ForeignNode) -> Any:
    gate, value = node.needed()
    alpha = node.attr("alpha", 1.0)
    return g.b.mul(g.b.silu(gate) if alpha == 1 else g.b.swish(gate, beta=alpha), value)


# ---- along an axis


def _before_13(op_name: str) -> Any:
    """The axes from ``axis`` on count as one (the input is seen as a matrix)."""

    def load(g: OnnxContext, node: ForeignNode) -> Any:
        x = node.need(0)
        shape, axis = known_shape(x), node.attr("axis", 1)
        axis += len(shape) if axis < 0 else 0
        if not 0 <= axis <= len(shape):
            raise node.refuse(f"axis={axis} is out of range for {len(shape)} axes")
        tail = [i for i in range(axis, len(shape)) if shape[i] != 1]
        if len(tail) <= 1 and axis < len(shape):
            return g.b.op(op_name, x, axis=tail[0] if tail else axis)
        merged = product(shape[axis:])
        if merged is None or any(d is None for d in shape):
            raise node.refuse("the size of an axis is not known", code="unknown_shape")
        rows = g.b.reshape(x, shape=(*shape[:axis], merged))
        return g.b.reshape(g.b.op(op_name, rows, axis=axis), shape=shape)

    return load


for _type, _op in {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "hardmax"}.items():
    RULES.op(_type, _op, "input=x", since=13, axis=A("axis", -1))
    RULES.load(_type, until=12)(_before_13(_op))
