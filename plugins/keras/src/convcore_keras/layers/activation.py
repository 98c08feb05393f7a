"""Activation functions: by name, as layers, and as the fused ``activation`` of other layers.

The functions themselves are in ``activations.py``.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, ForeignNode, NotExpressible, Value, W, ask, known_shape

from ..activations import ACTIVATIONS, HARD_SIGMOID_KERAS2
from ..files.model import LayerConfig, OpaqueObject, named_function
from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__ = ["activate"]

# ---- what the layers are
layer("Activation", required=("activation",), masks="pass", stepwise=True)
layer("ELU", defaults={"alpha": 1.0}, masks="pass", stepwise=True, activation=True)
layer("LeakyReLU", defaults={"negative_slope": 0.3}, masks="pass", stepwise=True, activation=True)
layer("PReLU", defaults={"shared_axes": None}, variables=(V("alpha"),), masks="pass")
layer("ParametricSoftplus", variables=(V("alpha"), V("beta")), masks="pass", extinct=True)
layer(
    "ReLU",
    defaults={"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    masks="pass",
    stepwise=True,
    activation=True,
)
layer("SReLU", variables=(V("t_left"), V("a_left"), V("t_right"), V("a_right")), extinct=True)
layer("Softmax", defaults={"axis": -1}, masks="pass", takes_mask=True, activation=True)
layer("ThresholdedReLU", masks="pass", stepwise=True, activation=True, extinct=True)

# ---- rules


def activate(g: KerasContext, node: ForeignNode, x: Value, activation: Any) -> Value:
    """Apply an activation given as a name, as ``{"class_name", "config"}`` of a layer, or refuse it by name."""
    known = ACTIVATIONS.get(activation) if isinstance(activation, str) else None
    if known is not None and known.op:
        if known.op == "identity":
            return x
        y: Value = g.b.op(known.op, x, **known.attrs)
        return y
    if isinstance(activation, dict) and isinstance(activation.get("class_name"), str):
        cls, config = activation["class_name"], activation.get("config") or {}
        inner = LayerConfig(node.name, cls, cls, dict(config))
        return g.rules.apply_load(g, g.node(inner, [x], node.name))[0]
    named = named_function(activation)
    if named is not None and g.custom is not None and g.custom.defines(named[0]):
        return g.custom.activation(g, node, *named, x)
    raise node.refuse(
        f"its activation {_text(activation)} is not one of Keras's",
        f"give the file of the function: {ask('--custom PATH', 'custom=PATH')}",
        "unsupported_activation",
    )


def _text(activation: Any) -> str:
    return activation.description if isinstance(activation, OpaqueObject) else repr(activation)[:80]


@RULES.post("activation")
def fused(g: KerasContext, node: ForeignNode, value: Value) -> Value:
    """The ``activation`` a layer applies to its result."""
    return activate(g, node, value, node.attr("activation", "linear"))


_OPERATIONS = ("identity", "exp", "glu")
"""Written as operations, which they are more often than activations."""

for _name, _known in ACTIVATIONS.items():
    if _known.op:
        _direction = "load" if _name == HARD_SIGMOID_KERAS2 or _known.op in _OPERATIONS else "both"
        RULES.op("Activation", _known.op, "inputs=x", when={"activation": _name}, direction=_direction, **_known.attrs)


@RULES.load("Activation")
def activation_layer(g: KerasContext, node: ForeignNode) -> Value:
    """An activation that is a layer (``Activation(LeakyReLU())``), or one nobody knows."""
    x = node.need(0)
    return activate(g, node, x, node.attr("activation"))


# ---- layers
RULES.op("ReLU", "relu", "inputs=x", when={"max_value": None, "negative_slope": 0.0, "threshold": 0.0})
RULES.op("ReLU", "clip", "inputs=x", when={"negative_slope": 0.0, "threshold": 0.0}, min=0.0, max=A("max_value", iso="a_number"))
RULES.op(
    "ReLU", "leaky_relu", "inputs=x", when={"max_value": None, "threshold": 0.0}, alpha=A("negative_slope", 0.0), direction="load"
)
RULES.op("ReLU", "thresholded_relu", "inputs=x", when={"max_value": None, "negative_slope": 0.0}, alpha=A("threshold", 0.0))
RULES.op("LeakyReLU", "leaky_relu", "inputs=x", alpha=A("negative_slope", 0.3))
RULES.op("ELU", "elu", "inputs=x", alpha=A("alpha", 1.0))
RULES.op("ThresholdedReLU", "thresholded_relu", "inputs=x", alpha=A("theta", 1.0), direction="load")
RULES.op("PReLU", "prelu", "inputs=x", slope=W("alpha"), ignore=("shared_axes",), direction="load")
RULES.op("Softmax", "softmax", "inputs=x", axis=A("axis", -1, iso="item_or_number"))


def _number(node: ForeignNode, key: str, default: float) -> float:
    value = node.attr(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise node.refuse(f"{key}={str(value)[:60]} is not a number", code="unsupported_attribute")
    return float(value)


@RULES.load("ReLU")
def general_relu(g: KerasContext, node: ForeignNode) -> Value:
    """``x if threshold < x else slope * (x - threshold)``, limited to ``max_value`` (keras.activations.relu)."""
    x, b = node.need(0), g.b
    slope, threshold = (_number(node, k, 0.0) for k in ("negative_slope", "threshold"))
    limit = None if node.attr("max_value", None) is None else _number(node, "max_value", 0.0)
    y = b.thresholded_relu(x, alpha=threshold) if threshold else b.relu(x)
    if limit is not None:
        y = b.minimum(y, b.like(x, limit))
    if slope:
        below = b.relu(b.sub(b.like(x, threshold), x))
        y = b.sub(y, b.mul(below, b.like(x, slope)))
    return y


@RULES.load("Softmax", priority=1)
def softmax_masked_or_many(g: KerasContext, node: ForeignNode) -> Value:
    """Softmax that sees a mask, or over several axes at once.

    Keras 1 and 2 and tf.keras up to TensorFlow 2.2 do not look at masks; TensorFlow 2.3 and 2.4 both state version 2.4.0, and
    only the second does.
    """
    mask = g.input_mask(node) if g.era == "keras3" or (g.era == "tf.keras" and g.version >= (2, 4)) else None
    if mask is not None and g.era == "tf.keras" and g.version == (2, 4) and mask is g.mask(node.need(0)):
        raise node.refuse("its input has a mask, which TensorFlow 2.3 ignores and 2.4 uses: both state version 2.4.0")
    axis = node.attr("axis", -1)
    axes = [axis] if isinstance(axis, int) else list(axis)
    if mask is None and len(axes) == 1:
        raise NotExpressible("no mask, one axis")
    x, b = node.need(0), g.b
    known_shape(x)
    zeroed = g.era == "keras3" and (not g.version or g.version >= (3, 10))
    if mask is not None:
        low = b.like(x, -3e4 if str(x.dtype) == "float16" else -1e9)
        if zeroed:
            x = b.where(mask, x, low)
        else:
            x = b.add(x, b.mul(b.cast(b.op("not", mask), to=x.dtype), low))
    if len(axes) == 1:
        y = b.softmax(x, axis=axes[0])
    else:
        y = b.exp(b.sub(x, b.logsumexp(x, axes=tuple(axes), keepdims=True)))
    return b.where(mask, y, b.like(y, 0)) if zeroed and mask is not None else y


# ---- Keras 1
@RULES.load("ParametricSoftplus")
def parametric_softplus(g: KerasContext, node: ForeignNode) -> Value:
    """``alpha * softplus(beta * x)``."""
    node.ignore("alpha_init", "beta_init", "shared_axes")
    alpha, beta = g.variable(node, "alpha"), g.variable(node, "beta")
    return g.b.mul(alpha, g.b.softplus(g.b.mul(beta, node.need(0))))
