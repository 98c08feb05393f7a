"""Activation functions of each element (along an axis: softmax.py). Smooth ones do not overflow where inputs are large."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Broadcast, Elementwise
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import broadcast, broadcast_shapes
from ..opset.traits import Trait
from .special import erfc

ACTIVATION = OpSet("activation")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Array) -> Array:
    out: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return out


def _relu(x: Array) -> Array:
    """By clip where numpy has it, which is several times as fast as its maximum."""
    return np.clip(x, 0, np.inf) if x.dtype.kind == "f" and x.dtype.itemsize > 2 else np.maximum(x, 0)


ACTIVATION.unary(
    "relu", _relu, "max(x, 0).", types="number", traits=Trait.NONNEGATIVE,
    samples=[Sample((2, 3, 5)), Sample(("int32", (2, 3), -9, 9))],
)  # fmt: skip
ACTIVATION.unary("sigmoid", sigmoid, "1 / (1 + exp(-x)).", traits=Trait.NONNEGATIVE)
ACTIVATION.unary("softplus", _softplus, "log(1 + exp(x)).", traits=Trait.NONNEGATIVE)
ACTIVATION.unary(
    "softsign",
    lambda x: x / (1 + np.abs(x)),
    "x / (1 + |x|).",
    body=lambda b, x: b.div(x, b.add(b.abs(x), b.like(x, 1))),
    traits=Trait.KEEPS_SIGN,
)


def _leaky_relu_body(b: Any, x: Any, *, alpha: float) -> Any:
    return b.where(b.greater_equal(x, b.like(x, 0)), x, b.mul(x, b.like(x, alpha)))


ACTIVATION.unary(
    "leaky_relu", lambda x, alpha: np.where(x >= 0, x, alpha * x), "x where x >= 0, else alpha * x.",
    attrs={"alpha": Attr("float", doc="slope below zero")}, body=_leaky_relu_body,
    samples=[Sample((2, 3, 5), alpha=0.3)],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip


def _prelu_shape(c: InferContext) -> Shapes:
    result = broadcast("x", "slope")(c)
    x = c.shape("x")
    y = broadcast_shapes(x, c.shape("slope"))
    if x is not None and y is not None and len(y) != len(x):
        c.fail("slope has more axes than x")
    if x is not None and y is not None and any(isinstance(n, int) and n == 1 != m for n, m in zip(x, y)):
        c.fail("slope must broadcast to the shape of x")
    return [(result[0][0], x)]


ACTIVATION.op(
    "prelu", "x:float, slope:float", "x where x >= 0, else slope * x; slope broadcasts to x, right-aligned.",
    infer=_prelu_shape, reference=lambda x, slope: np.asarray(np.where(x >= 0, x, slope * x), x.dtype),
    axes=Broadcast(),
    body=lambda b, x, slope: b.where(b.greater_equal(x, b.like(x, 0)), x, b.mul(x, slope)),
    samples=[Sample((2, 3, 5), (3, 1)), Sample((2, 3, 5), (5,)), Sample((2, 3, 5), (1,)), Sample((2, 3, 5, 7), (3, 1, 1))],
    traits=Trait.KEEPS_SIGN | Trait.POINTWISE, roles={"parameter": "slope"},
)  # fmt: skip


# ---- exponential units


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu_body(b: Any, x: Any, *, alpha: float) -> Any:
    zero = b.like(x, 0)
    return b.where(b.greater(x, zero), x, b.mul(b.expm1(b.minimum(x, zero)), b.like(x, alpha)))


ACTIVATION.unary(
    "elu", _elu, "x where x > 0, else alpha * (exp(x) - 1).", attrs={"alpha": Attr("float", 1.0)}, body=_elu_body,
    samples=[Sample((2, 3, 5), alpha=0.7), Sample((2, 3, 5))],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary(
    "selu", lambda x, alpha, gamma: gamma * _elu(x, alpha), "gamma * elu(x, alpha).",
    attrs={
        "alpha": Attr("float", 1.6732632423543772848170429916717, doc="Klambauer et al. 2017; Keras, torch"),
        "gamma": Attr("float", 1.0507009873554804934193349852946),
    },
    body=lambda b, x, *, alpha, gamma: b.mul(b.elu(x, alpha=alpha), b.like(x, gamma)),
    samples=[Sample((2, 3, 5)), Sample((2, 3, 5), alpha=1.3, gamma=0.7)],
)  # fmt: skip


def _celu_shape(c: InferContext) -> Shapes:
    if c["alpha"] == 0:
        c.fail("alpha must not be 0")
    return [(c.dtype("x"), c.shape("x"))]


def _celu(x: Array, alpha: float) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)), x.dtype)


def _celu_body(b: Any, x: Any, *, alpha: float) -> Any:
    a, zero = b.like(x, alpha), b.like(x, 0)
    return b.add(b.relu(x), b.minimum(zero, b.mul(a, b.expm1(b.div(x, a)))))


ACTIVATION.op(
    "celu", "x:float", "max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)).", attrs={"alpha": Attr("float", 1.0)},
    infer=_celu_shape,
    reference=_celu, axes=Elementwise(), body=_celu_body, samples=[Sample((2, 3, 5), alpha=0.7), Sample((2, 3, 5))],
    traits=Trait.KEEPS_SIGN | Trait.POINTWISE,
)  # fmt: skip


# ---- gates: x times something between 0 and 1

ACTIVATION.unary(
    "silu",
    lambda x: x * sigmoid(x),
    "x * sigmoid(x), also called swish.",
    body=lambda b, x: b.mul(x, b.sigmoid(x)),
    traits=Trait.KEEPS_SIGN,
)
ACTIVATION.unary(
    "swish", lambda x, beta: x * sigmoid(beta * x), "x * sigmoid(beta * x).", attrs={"beta": Attr("float")},
    body=lambda b, x, *, beta: b.mul(x, b.sigmoid(b.mul(x, b.like(x, beta)))), samples=[Sample((2, 3, 5), beta=1.7)],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary(
    "mish",
    lambda x: x * np.tanh(_softplus(x)),
    "x * tanh(softplus(x)).",
    body=lambda b, x: b.mul(x, b.tanh(b.softplus(x))),
    traits=Trait.KEEPS_SIGN,
)

_GELU = math.sqrt(2 / math.pi)


def _gelu(x: Array, approximate: str) -> Array:
    if approximate == "none":
        half = x.astype(np.float64) if x.dtype.itemsize < 8 else x
        return half * 0.5 * erfc(-half * math.sqrt(0.5))
    out: Array = 0.5 * x * (1 + np.tanh(_GELU * (x + 0.044715 * x**3)))
    return out


def _gelu_body(b: Any, x: Any, *, approximate: str) -> Any:
    half, one = b.mul(x, b.like(x, 0.5)), b.like(x, 1)
    if approximate == "none":
        return b.mul(half, b.add(b.erf(b.mul(x, b.like(x, math.sqrt(0.5)))), one))
    cubic = b.mul(b.mul(b.square(x), x), b.like(x, 0.044715))
    return b.mul(half, b.add(b.tanh(b.mul(b.add(x, cubic), b.like(x, _GELU))), one))


ACTIVATION.unary(
    "gelu", _gelu,
    "x times the normal distribution function of x (Hendrycks and Gimpel 2016), exact or by its tanh approximation.",
    attrs={"approximate": Attr("str", choices=("none", "tanh"))}, body=_gelu_body,
    samples=[Sample((2, 3, 5), approximate="none"), Sample((2, 3, 5), approximate="tanh")],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary(
    "hard_sigmoid", lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), "alpha * x + beta limited to [0, 1].",
    attrs={"alpha": Attr("float"), "beta": Attr("float")}, samples=[Sample((2, 3, 5), alpha=0.2, beta=0.4)],
    body=lambda b, x, *, alpha, beta: b.clip(b.add(b.mul(x, b.like(x, alpha)), b.like(x, beta)), min=0, max=1),
    traits=Trait.NONNEGATIVE,
)  # fmt: skip
ACTIVATION.unary(
    "hard_swish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "x * hard_sigmoid(x, 1/6, 1/2) (Howard et al. 2019).",
    body=lambda b, x: b.mul(x, b.hard_sigmoid(x, alpha=1 / 6, beta=0.5)),
    samples=[Sample(("float32", (2, 3, 5), -5, 5))],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary("log_sigmoid", lambda x: -_softplus(-x), "log(sigmoid(x)).", body=lambda b, x: b.neg(b.softplus(b.neg(x))))


# ---- thresholds and shrinkage


def _pick(b: Any, condition: Any, x: Any) -> Any:
    return b.where(condition, x, b.like(x, 0))


ACTIVATION.unary(
    "thresholded_relu", lambda x, alpha: np.where(x > alpha, x, 0), "x where x > alpha, else 0.",
    attrs={"alpha": Attr("float")},
    body=lambda b, x, *, alpha: _pick(b, b.greater(x, b.like(x, alpha)), x), samples=[Sample((2, 3, 5), alpha=0.4)],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary(
    "threshold", lambda x, value: x > value, "1 where x > value, else 0, in the dtype of x (Caffe's Threshold).",
    attrs={"value": Attr("float")}, body=lambda b, x, *, value: b.cast(b.greater(x, b.like(x, value)), to=x.dtype),
    samples=[Sample((2, 3, 5), value=0.3)],
    traits=Trait.NONNEGATIVE,
)  # fmt: skip
ACTIVATION.unary(
    "hard_shrink", lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x), "0 where |x| <= lambd, else x.",
    attrs={"lambd": Attr("float")},
    body=lambda b, x, *, lambd: b.where(b.less_equal(b.abs(x), b.like(x, lambd)), b.like(x, 0), x),
    samples=[Sample((2, 3, 5), lambd=0.5)],
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip
ACTIVATION.unary(
    "soft_shrink", lambda x, lambd: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
    "x moved towards 0 by lambd, at most to 0.",
    attrs={"lambd": Attr("float")}, samples=[Sample((2, 3, 5), lambd=0.5)],
    body=lambda b, x, *, lambd: b.mul(b.sign(x), b.relu(b.sub(b.abs(x), b.like(x, lambd)))),
    traits=Trait.KEEPS_SIGN,
)  # fmt: skip


def _shrink(x: Array, lambd: float, bias: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


def _shrink_body(b: Any, x: Any, *, lambd: float, bias: float) -> Any:
    shift = b.like(x, bias)
    above = _pick(b, b.greater(x, b.like(x, lambd)), b.sub(x, shift))
    return b.where(b.less(x, b.like(x, -lambd)), b.add(x, shift), above)


ACTIVATION.unary(
    "shrink", _shrink, "x + bias where x < -lambd, x - bias where x > lambd, else 0.",
    attrs={"lambd": Attr("float"), "bias": Attr("float")}, body=_shrink_body,
    samples=[Sample((2, 3, 5), lambd=0.4, bias=0.3)],
)  # fmt: skip
ACTIVATION.unary("tanh_shrink", lambda x: x - np.tanh(x), "x - tanh(x).", body=lambda b, x: b.sub(x, b.tanh(x)))


# ---- Keras's sparse and square families


def _squareplus_body(g: Any, x: Any, *, b: float) -> Any:
    root = g.sqrt(g.add(g.square(x), g.like(x, b)))
    return g.mul(g.add(x, root), g.like(x, 0.5))


ACTIVATION.unary(
    "squareplus", lambda x, b: (x + np.sqrt(x * x + b)) / 2, "(x + sqrt(x^2 + b)) / 2.", attrs={"b": Attr("float")},
    body=_squareplus_body, samples=[Sample((2, 3, 5), b=4.0)],
)  # fmt: skip


def _sparse_plus(x: Array) -> Array:
    return np.where(x <= -1, 0, np.where(x < 1, np.square(x + 1) / 4, x))


def _sparse_plus_body(b: Any, x: Any) -> Any:
    one = b.like(x, 1)
    curve = b.mul(b.square(b.add(x, one)), b.like(x, 0.25))
    return b.where(b.less_equal(x, b.like(x, -1)), b.like(x, 0), b.where(b.less(x, one), curve, x))


ACTIVATION.unary(
    "sparse_plus", _sparse_plus, "0 up to -1, x from 1, (x + 1)^2 / 4 between.", body=_sparse_plus_body,
    samples=[Sample(("float32", (2, 3, 5), -2.5, 2.5))],
    traits=Trait.NONNEGATIVE,
)  # fmt: skip
ACTIVATION.unary(
    "sparse_sigmoid", lambda x: np.clip(x / 2 + 0.5, 0, 1), "(x + 1) / 2 limited to [0, 1].",
    body=lambda b, x: b.hard_sigmoid(x, alpha=0.5, beta=0.5), samples=[Sample(("float32", (2, 3, 5), -2.5, 2.5))],
    traits=Trait.NONNEGATIVE,
)  # fmt: skip
