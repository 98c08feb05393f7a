"""Dense layers and Dot."""

from __future__ import annotations

import re

from convcore.plugin import ForeignNode, Given, Size, Value, W, known_shape

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer(
    "Dense",
    defaults={"activation": None, "use_bias": True},
    required=("units",),
    variables=(V("kernel", (None, "units")), V("bias", ("units",), when="use_bias")),
    masks="pass",
    casts_integers=True,
    stepwise=True,
    aliases=("TimeDistributedDense",),
)
layer("Dot", defaults={"normalize": False}, required=("axes",))
layer(
    "EinsumDense",
    defaults={"activation": None, "bias_axes": None, "gptq_unpacked_column_size": None},
    required=("equation", "output_shape"),
    variables=(V("kernel"), V("bias", when="bias_axes")),
)
layer(
    "Highway",
    variables=(V("kernel"), V("carry_kernel"), V("bias", when="use_bias"), V("carry_bias", when="use_bias")),
    extinct=True,
)
layer(
    "MaxoutDense",
    variables=(V("kernel", ("nb_feature", None, "units")), V("bias", ("nb_feature", "units"), when="use_bias")),
    extinct=True,
)

# ---- rules

RULES.op(
    "Dense",
    "linear",
    "inputs=x",
    w=W("kernel", "IO->OI"),
    b=W("bias", optional=True),
    units=Size("w", 0),
    use_bias=Given("b"),
    then=("activation",),
    direction="load",
)


@RULES.load("Dot")
def dot(g: KerasContext, node: ForeignNode) -> Value:
    """Sum of products over one axis of each input.

    With ``normalize`` norms are at least 1e-7 (``keras.ops.normalize``), before Keras 3 1e-6 (``tf.nn.l2_normalize``: squares
    at least 1e-12).
    """
    if len(node.inputs) != 2:
        raise node.refuse(f"takes 2 inputs, has {len(node.inputs)}")
    axes = node.attr("axes")
    pair = (axes, axes) if isinstance(axes, int) else tuple(axes) if isinstance(axes, (list, tuple)) else ()
    normalize = bool(node.attr("normalize", False))
    if len(pair) != 2 or not all(isinstance(a, int) for a in pair):
        raise node.refuse(f"axes={axes!r} are not one axis per input")
    ranks = [len(known_shape(x)) for x in node.inputs]
    if g.era in ("keras1", "keras2") and g.version < (2, 3) and max(ranks) > 3:
        raise node.refuse("Keras before 2.3 gives Dot of more than 3 axes another meaning")
    epsilon = 1e-7 if g.era == "keras3" else 1e-6
    if len(node.inputs) != 2:
        raise node.refuse(f"multiplies {len(node.inputs)} inputs, not two", code="unsupported_input")
    return g.b.batch_dot(*node.needed(), axes=pair, normalize=normalize, epsilon=epsilon)


_DENSE = re.compile(r"([a-z.]+)([a-z]),\2([a-z])->\1\3")
_HELD = re.compile(r"([a-z])([a-z]),\2([a-z]*)->\1\3")


@RULES.load("EinsumDense", then=("activation",))
def einsum_dense(g: KerasContext, node: ForeignNode) -> Value:
    """An Einstein sum of input and kernel, plus a bias that broadcasts (``EinsumDense.call``).

    A product over the last axis is ``linear``; a layer that is called on a one is how a parameter of no layer is held (``1 * w``,
    ``dialect.parameter``): the parameter itself.
    """
    node.ignore("output_shape", "bias_axes", "use_bias", "gptq_unpacked_column_size")
    equation = str(node.attr("equation")).replace(" ", "")
    x, bias = node.need(0), g.optional(node, "bias")
    letters = len(set(equation) - set("->,."))
    if bias is None and _is_one(x) and (held := _HELD.fullmatch(equation)) and letters == 2 + len(held[3]):
        return g.variable(node, "kernel")
    if (dense := _DENSE.fullmatch(equation)) and letters == len(dense[1].replace(".", "")) + 2:
        if bias is None or len(known_shape(bias)) == 1:
            return g.b.linear(x, g.variable(node, "kernel", "IO->OI"), bias)
    y = g.b.einsum(x, g.variable(node, "kernel"), equation=equation)
    return y if bias is None else g.b.add(y, bias)


def _is_one(x: Value) -> bool:
    """Whether it is a single one, (1, 1)."""
    return x.shape == (1, 1) and x.producer is not None and x.producer.op == "fill" and x.producer.attrs["value"] == 1


@RULES.load("MaxoutDense", then=())
def maxout(g: KerasContext, node: ForeignNode) -> Value:
    """Keras 1: the largest of ``nb_feature`` dense layers. kernel (features, in, units), bias (features, units)."""
    node.ignore("units", "nb_feature", "use_bias", "input_dim")
    features, size, units = g.array(node, "kernel").shape
    w = g.variant(node, "kernel", "maxout", lambda t: t.transpose((0, 2, 1)).reshape((features * units, size)))
    b = g.variant(node, "bias", "maxout", lambda t: t.reshape((features * units,))) if "bias" in node.weights else None
    x = node.need(0)
    y = g.b.reshape(g.b.linear(x, w, b), shape=(*known_shape(x, sizes=True)[:-1], features, units))
    return g.b.max(y, axes=(-2,), keepdims=False)


@RULES.load("Highway")
def highway(g: KerasContext, node: ForeignNode) -> Value:
    """Keras 1: ``t * activation(x W + b) + (1 - t) * x`` with ``t = sigmoid(x Wc + bc)``."""
    from .activation import activate

    node.ignore("use_bias", "input_dim", "transform_bias")
    x, b = node.need(0), g.b
    gate = b.sigmoid(b.linear(x, g.variable(node, "carry_kernel", "IO->OI"), g.optional(node, "carry_bias")))
    y = b.linear(x, g.variable(node, "kernel", "IO->OI"), g.optional(node, "bias"))
    y = activate(g, node, y, node.attr("activation", "linear"))
    return b.add(b.mul(y, gate), b.mul(b.sub(b.like(x, 1), gate), x))
