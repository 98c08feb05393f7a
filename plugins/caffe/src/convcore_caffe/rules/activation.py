"""Activation functions, Softmax and PReLU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcore.plugin import MISSING, A, Value, W

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, Blob, layer
from .base import RULES

# ---- what the layers are


def _slope(node: CaffeNode) -> tuple[int, ...]:
    """One slope per element of axis 1, or one for all."""
    shape = node.shape()
    if len(shape) < 2:
        raise node.invalid(f"the bottom has {len(shape)} axes, must have at least 2")
    return () if node.attr("channel_shared") else node.integers(shape[1:2], "channels")


layer("BNLL", counts=ONE, v1="BNLL 2", v0="bnll", writes=EVERY)
layer("Clip", param="clip_param 148 ClipParameter: min 1 float!; max 2 float!", counts=ONE, writes=("bvlc",), opencv=False)
layer("ELU", param="elu_param 140 ELUParameter: alpha 1 float=1", counts=ONE, memory="in place", writes=EVERY)
layer(
    "Exp",
    param="exp_param 111 ExpParameter: base 1 float=-1; scale 2 float=1; shift 3 float=0",
    counts=ONE,
    v1="EXP 38 41",
    writes=EVERY,
    check=checks.base("exp_param"),
)
layer(
    "HardSigmoid",
    param="hardsigmoid_param 0 HardSigmoidParameter: alpha 1 float=0.2; beta 2 float=0.5",
    also="hard_sigmoid_param 0 HardSigmoidParameter",
)
layer("HardSwish", "SELU", "SeLu")
layer(
    "Log",
    param="log_param 134 LogParameter: base 1 float=-1; scale 2 float=1; shift 3 float=0",
    counts=ONE,
    writes=EVERY,
    check=checks.base("log_param"),
)
layer("Mish", param="mish_param 0 MishParameter: engine 2 Engine=DEFAULT")
layer(
    "PReLU",
    param="prelu_param 131 PReLUParameter: filler 1 FillerParameter; channel_shared 2 bool=false",
    counts=ONE,
    v1="PRELU -4 0",
    blobs=(Blob("slope", _slope, "", "filler", 0.25),),
    memory="in place",
    overwritten=True,
    writes=EVERY,
)
layer(
    "Power",
    param="power_param 122 PowerParameter: power 1 float=1; scale 2 float=1; shift 3 float=0",
    counts=ONE,
    v1="POWER 26 21",
    memory="own",
    writes=EVERY,
)
layer(
    "ReLU",
    param="relu_param 123 ReLUParameter: negative_slope 1 float=0; engine 2 Engine=DEFAULT",
    counts=ONE,
    v1="RELU 18 30",
    v0="relu",
    memory="in place",
    writes=EVERY,
)
layer(
    "ReLU6",
    param="relu6_param 0 ReLU6Parameter: negative_slope 0 float=0; threshold 0 float=6; engine 0 Engine=DEFAULT",
    writes=("opencv",),
)
layer(
    "Sigmoid",
    param="sigmoid_param 124 SigmoidParameter: engine 1 Engine=DEFAULT",
    counts=ONE,
    v1="SIGMOID 19 38",
    v0="sigmoid",
    writes=EVERY,
)
layer(
    "Softmax",
    param="softmax_param 125 SoftmaxParameter: engine 1 Engine=DEFAULT; axis 2 int32=1",
    counts=ONE,
    v1="SOFTMAX 20 39",
    v0="softmax",
    writes=EVERY,
)
layer("Swish", param="swish_param 147 SwishParameter: beta 1 float=1", counts=ONE, writes=("bvlc",))
layer("TanH", param="tanh_param 127 TanHParameter: engine 1 Engine=DEFAULT", counts=ONE, v1="TANH 23 37", v0="tanh", writes=EVERY)
layer(
    "Threshold",
    param="threshold_param 128 ThresholdParameter: threshold 1 float=0",
    counts=ONE,
    v1="THRESHOLD 31 25",
    writes=EVERY,
    opencv=False,
)

# ---- rules

RULES.op("ReLU", "relu", "bottom=x", when={"negative_slope": {MISSING, 0.0}})
RULES.op("ReLU", "leaky_relu", "bottom=x", alpha=A("negative_slope", 0.0), doc="max(x, 0) + slope * min(x, 0)")
RULES.op("Sigmoid", "sigmoid", "bottom=x")
RULES.op("TanH", "tanh", "bottom=x")
RULES.op("BNLL", "softplus", "bottom=x")
RULES.op("ELU", "elu", "bottom=x", alpha=A("alpha", 1.0))
RULES.op("Swish", "silu", "bottom=x", when={"beta": {MISSING, 1.0}})
RULES.op("Swish", "swish", "bottom=x", beta=A("beta", 1.0))
RULES.op("Clip", "clip", "bottom=x", min=A("min"), max=A("max"))
RULES.op("Threshold", "threshold", "bottom=x", value=A("threshold", 0.0))
RULES.op("HardSigmoid", "hard_sigmoid", "bottom=x", alpha=A("alpha", 0.2), beta=A("beta", 0.5))
RULES.op("HardSwish", "hard_swish", "bottom=x", direction="load")
RULES.op("Mish", "mish", "bottom=x", direction="load")


RULES.op("Softmax", "softmax", "bottom=x", axis=A("axis", 1))
for _type in ("SeLu", "SELU"):
    # forks' SeLU with the constants of Klambauer et al. 2017; with others of its own it is refused
    RULES.op(_type, "selu", "bottom=x", direction="load")
RULES.op("ReLU6", "clip", "bottom=x", when={"negative_slope": {MISSING, 0.0}}, direction="load", min=0.0, max=A("threshold", 6.0))


@RULES.load("ReLU6")
def relu6(g: CaffeContext, node: CaffeNode) -> Value:
    """min(max(x, 0) + slope * min(x, 0), threshold)."""
    slope, top = node.attr("negative_slope"), node.attr("threshold", 6.0)
    return g.b.clip(g.b.leaky_relu(node.x, alpha=slope), min=None, max=top)


# max(x, 0) + slope * min(x, 0)
RULES.op("PReLU", "prelu", "bottom=x", when={"channel_shared": True}, slope=W("slope", "->1"))
RULES.op("PReLU", "prelu", "bottom=x", when={"channel_shared": {MISSING, False}}, slope=W("slope", "C->C~"))


# ---- functions with scale and shift


def _pow(base: float, exponent: float) -> float:
    """C's powf: infinities and NaN where they arise."""
    with np.errstate(all="ignore"):
        return float(np.power(np.float32(base), np.float32(exponent)))


def _affine(g: CaffeContext, x: Value, scale: float, shift: float) -> Value:
    if scale != 1:
        x = g.b.mul(x, g.scalar(x, scale))
    return g.b.add(x, g.scalar(x, shift)) if shift != 0 else x


_AS_IS: dict[str, Any] = {"scale": {MISSING, 1.0}, "shift": {MISSING, 0.0}}
for _op, _power in {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}.items():
    # other powers than 2 are loaded as pow, which is what Caffe computes
    RULES.op("Power", _op, "bottom=x", when={"power": _power, **_AS_IS}, direction="both" if _power == 2 else "emit")
RULES.op("Power", "neg", "bottom=x", when={"scale": -1.0, "power": {MISSING, 1.0}, "shift": {MISSING, 0.0}}, direction="emit")
for _op, _type, _base, _direction in [
    ("exp", "Exp", {MISSING, -1.0}, "both"), ("exp2", "Exp", 2.0, "emit"), ("log", "Log", {MISSING, -1.0}, "both"),
    ("log2", "Log", 2.0, "emit"), ("log10", "Log", 10.0, "emit"),
]:  # fmt: skip
    # other bases are loaded as Caffe computes them, from e's
    RULES.op(_type, _op, "bottom=x", when={"base": _base, **_AS_IS}, direction=_direction)


@RULES.load("Power")
def power(g: CaffeContext, node: CaffeNode) -> Value:
    """(shift + scale * x)^power; where scale * power is 0 a constant, whatever x is."""
    p, scale, shift = node.attr("power"), node.attr("scale"), node.attr("shift")
    x = node.x
    if p * scale == 0:
        value = 1.0 if p == 0 else _pow(shift, p)
        return g.b.fill(shape=node.sizes(), value=value, dtype=x.dtype)
    y = _affine(g, x, scale, shift)
    if p == 2:
        y = g.b.square(y)
    elif p != 1:
        y = g.b.pow(y, g.scalar(y, p))
    return y


@RULES.load("Exp")
def exp(g: CaffeContext, node: CaffeNode) -> Value:
    """base^(shift + scale * x), base -1 meaning e, computed as Caffe does: exp(inner * x) * outer."""
    base, scale, shift = node.attr("base"), node.attr("scale"), node.attr("shift")
    log_base = 1.0 if base == -1 else math.log(base)
    y = g.b.exp(_affine(g, node.x, log_base * scale, 0.0))
    outer = 1.0 if shift == 0 else _pow(math.e if base == -1 else base, shift)
    return _affine(g, y, outer, 0.0)


@RULES.load("Log")
def log(g: CaffeContext, node: CaffeNode) -> Value:
    """log(shift + scale * x) to a base, -1 meaning e."""
    base, scale, shift = node.attr("base"), node.attr("scale"), node.attr("shift")
    if base == 1:
        raise node.invalid("base 1 has no logarithm")
    y = g.b.log(_affine(g, node.x, scale, shift))
    return y if base == -1 else _affine(g, y, 1 / math.log(base), 0.0)
