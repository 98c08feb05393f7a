"""Normalisation layers at inference."""

from __future__ import annotations

import math

from convcore.plugin import MISSING, A, ForeignNode, Given, NotExpressible, Value, W, known_shape

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer(
    "BatchNormalization",
    defaults={
        "axis": -1,
        "momentum": 0.99,
        "epsilon": 0.001,
        "center": True,
        "scale": True,
        "renorm": False,
        "renorm_clipping": None,
        "renorm_momentum": 0.99,
        "synchronized": False,
    },
    variables=(
        V("gamma", ("~axis",), when="scale"),
        V("beta", ("~axis",), when="center"),
        V("moving_mean", ("~axis",), trainable=False),
        V("moving_variance", ("~axis",), trainable=False),
        V("moving_stddev", ("~axis",), when="renorm", trainable=False),
        V("renorm_mean", ("~axis",), when="renorm", trainable=False),
        V("renorm_stddev", ("~axis",), when="renorm", trainable=False),
    ),
    masks="pass",
    float32=True,
    casts_integers=True,
    training=True,
    aliases=("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"),
)
layer(
    "GroupNormalization",
    defaults={"groups": 32, "axis": -1, "epsilon": 0.001, "center": True, "scale": True},
    variables=(V("gamma", when="scale"), V("beta", when="center")),
    masks="pass",
    float32=True,
)
layer(
    "LayerNormalization",
    defaults={"axis": -1, "epsilon": 0.001, "center": True, "scale": True},
    variables=(V("gamma", when="scale"), V("beta", when="center")),
    masks="pass",
    float32=True,
    casts_integers=True,
)
layer("RMSNormalization", defaults={"axis": -1, "epsilon": 1e-06}, variables=(V("scale"),))
layer("UnitNormalization", defaults={"axis": -1}, masks="pass")

# ---- rules

_TRAINING = ("renorm", "renorm_clipping", "renorm_momentum", "synchronized", "adjustment")

RULES.op(
    "BatchNormalization",
    "batch_norm",
    "inputs=x",
    scale=W("gamma", optional=True),
    bias=W("beta", optional=True),
    scale_=Given("scale"),
    center=Given("bias"),
    mean=W("moving_mean"),
    var=W("moving_variance"),
    axis=A("axis", -1, iso="item_or_number"),
    epsilon=A("epsilon", 0.001),
    momentum=A("momentum", 0.99),
    ignore=_TRAINING,
)


@RULES.load("BatchNormalization", priority=1)
def batch_norm_over_several_axes(g: KerasContext, node: ForeignNode) -> Value:
    """tf.keras (``BatchNormalizationBase.build``, 2.15): over several axes, or with ``virtual_batch_size``, the variables have
    all axes of the input, of size 1 where it does not normalise; with the latter one more at place 1, which ``axis`` counts."""
    x, b = node.need(0), g.b
    axes = node.attr("axis", -1)
    if not isinstance(axes, (list, tuple)):
        raise NotExpressible("over one axis: a row")
    shape = known_shape(x)
    virtual = node.attr("virtual_batch_size", None) is not None
    node.ignore(*_TRAINING, "momentum", "scale", "center")
    rank = len(shape) + virtual
    if not axes or not all(type(a) is int and -rank <= a < rank for a in axes) or any(a % rank <= virtual for a in axes):
        raise node.refuse(f"axis={list(axes)} of {len(shape)} axes", code="unsupported_attribute")
    chosen = {a % rank for a in axes}
    want = [(1, *shape[1:])[i - virtual] if i in chosen else 1 for i in range(rank)]

    def held(name: str) -> Value:
        t = node.weights[name]
        if len(t.shape) != rank or any(isinstance(n, int) and n != m for n, m in zip(want, t.shape)):
            why = f"{name} has shape {tuple(t.shape)}, {tuple(map(str, want))} fits its axes"
            raise node.refuse(why, code="weight_shape")
        return g.weight(node, name, t.reshape((1, *t.shape[1 + virtual :])))

    y = b.sub(x, held("moving_mean"))
    y = b.div(y, b.sqrt(b.add(held("moving_variance"), b.like(x, float(node.attr("epsilon", 0.001))))))
    y = b.mul(y, held("gamma")) if "gamma" in node.weights else y
    return b.add(y, held("beta")) if "beta" in node.weights else y


RULES.op(
    "LayerNormalization",
    "layer_norm",
    "inputs=x",
    when={"rms_scaling": frozenset({MISSING, False})},
    scale=W("gamma", optional=True),
    bias=W("beta", optional=True),
    scale_=Given("scale"),
    center=Given("bias"),
    axes=A("axis", -1, iso="axis_or_axes"),
    epsilon=A("epsilon", 0.001),
    direction="load",
)
RULES.op(
    "GroupNormalization",
    "group_norm",
    "inputs=x",
    scale=W("gamma", optional=True),
    bias=W("beta", optional=True),
    scale_=Given("scale"),
    center=Given("bias"),
    groups=A("groups", 32),
    axis=A("axis", -1, iso="item_or_number"),
    epsilon=A("epsilon", 0.001),
)
RULES.op(
    "RMSNormalization",
    "rms_norm",
    "inputs=x",
    scale=W("scale"),
    axes=A("axis", -1, iso="axis_or_axes"),
    epsilon=A("epsilon", 1e-6),
    direction="load",
)
RULES.op("UnitNormalization", "l2_normalize", "inputs=x", axes=A("axis", -1, iso="axis_or_axes"), epsilon=1e-12, mode="max_norm")


@RULES.load("LayerNormalization")
def layer_norm_unordered(g: KerasContext, node: ForeignNode) -> Value:
    """Axes in any order: Keras makes gamma and beta with sizes in the order given and then reshapes (does not transpose) them
    to the order of the axes (``keras.ops.layer_normalization`` 3.15.1, ``LayerNormalization._broadcast`` of tf.keras)."""
    node.ignore("scale", "center")
    if node.attr("rms_scaling", None):
        raise NotExpressible("rms_scaling")
    x = node.need(0)
    shape = known_shape(x, sizes=True)
    axis = node.attr("axis", -1)
    axes = sorted(node.axes_in(axis, len(shape)))
    sizes = [shape[a] for a in axes]

    def parameter(name: str) -> Value | None:
        if name not in node.weights:
            return None
        fixed = [n for n in sizes if isinstance(n, int)]
        if len(fixed) != len(sizes) or math.prod(fixed) != g.array(node, name).size:
            have = list(g.array(node, name).shape)
            raise node.refuse(f"{name} of shape {have} does not fit axes {axes} of sizes {sizes}", code="invalid_shape")
        return g.variant(node, name, tuple(fixed), lambda t: t.reshape(fixed))

    return g.b.layer_norm(x, parameter("gamma"), parameter("beta"), axes=tuple(axes), epsilon=node.real("epsilon", 0.001))


def last_axes(node: ForeignNode, rank: int) -> list[int]:
    """The axes of an RMS normalisation with a scale, which Keras sorts as they are listed; refused where they are not the last
    ones (``ops.rms_normalization``, 3.15.1): TensorFlow and JAX then multiply the scale along the last axes, torch normalises
    over these."""
    axis = node.attr("axis", -1)
    axes = node.axes_in(sorted(axis) if isinstance(axis, (list, tuple)) else axis, rank)
    if list(axes) != list(range(rank - len(axes), rank)):
        raise node.refuse(f"axis={axis}: with a scale, Keras's backends differ over axes that are not the last of {rank}")
    return list(axes)


@RULES.load("RMSNormalization", priority=1)
def rms_norm_unordered(g: KerasContext, node: ForeignNode) -> Value:
    """Axes listed in any order, whose scale has their sizes in ascending order."""
    x, axis = node.need(0), node.attr("axis", -1)
    axes = last_axes(node, len(known_shape(x)))
    if isinstance(axis, int) or list(axis) == sorted(axis):
        raise NotExpressible("its axes are in order")
    scale = g.weight(node, "scale", node.weights["scale"])
    return g.b.rms_norm(x, scale, axes=tuple(axes), epsilon=node.real("epsilon", 1e-6))


@RULES.load("LayerNormalization", priority=1, when={"rms_scaling": True})
def rms_scaled(g: KerasContext, node: ForeignNode) -> Value:
    """``rms_scaling`` of Keras 3.0-3.9: ``gamma * x / sqrt(variance(x) + epsilon)``, the mean only enters the variance."""
    node.ignore("scale", "center", "rms_scaling")
    x, b = node.need(0), g.b
    rank = len(known_shape(x))
    axis = node.attr("axis", -1)
    axes = sorted(node.axes_in(axis, rank))
    spread = b.variance(x, axes=tuple(axes), keepdims=True)
    y = b.mul(x, b.rsqrt(b.add(spread, b.like(x, node.real("epsilon", 0.001)))))
    gamma = g.variable(node, "gamma")
    missing = tuple(a - axes[0] for a in range(axes[0], rank) if a not in axes)
    return b.mul(y, b.unsqueeze(gamma, axes=missing) if missing else gamma)
