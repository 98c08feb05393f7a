"""com.microsoft: operators that onnxruntime's optimisers join of several."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode, Value, known_shape

from ..context import OnnxContext
from .contrib import contrib, standard

__all__: list[str] = []

_ACTIVATIONS = {
    "Relu": ("Relu", ()), "Sigmoid": ("Sigmoid", ()), "Tanh": ("Tanh", ()), "LeakyRelu": ("LeakyRelu", ("alpha",)),
    "HardSigmoid": ("HardSigmoid", ("alpha", "beta")), "Clip": ("Clip", ("min", "max")),
}  # fmt: skip
"""Those that FusedConv has: the standard's operator, and what its parameters are, in order."""


@contrib("FusedConv")
def fused_conv(g: OnnxContext, node: ForeignNode) -> Any:
    """act(Conv(X, W, B) + Z)."""
    own = ("activation", "activation_params")
    y = standard(g, node, "Conv", node.inputs[:3], 11, {k: node.attr(k) for k in node.attrs if k not in own})
    if node.input(3) is not None:
        y = g.b.add(y, node.need(3))
    name, given = node.attr("activation", ""), tuple(node.attr("activation_params", ()))
    if not name:
        if given:
            raise node.refuse(f"activation_params={given} without an activation")
        return y
    if name not in _ACTIVATIONS:
        raise node.refuse(f"activation={name!r}")
    type_, names = _ACTIVATIONS[name]
    if len(given) != len(names):
        raise node.refuse(f"activation={name!r} with {len(given)} parameters, it has {len(names)}")
    return standard(g, node, type_, [y], 6, dict(zip(names, given)))


@contrib("FusedMatMul", "TransposeMatMul")
def fused_matmul(g: OnnxContext, node: ForeignNode) -> Any:
    """alpha * A' B', the last two axes turned where transA or transB says so."""
    alpha, parts = node.real("alpha", 1.0), []
    for i, name in enumerate("AB"):
        if node.attr(f"transBatch{name}", 0):
            raise node.refuse(f"transBatch{name}=1")
        v = node.need(i)
        rank = len(known_shape(v))
        turned = node.attr(f"trans{name}", 0) and rank > 1
        parts.append(g.b.transpose(v, perm=(*range(rank - 2), rank - 1, rank - 2)) if turned else v)
    y = g.b.matmul(*parts)
    return y if alpha == 1 else g.b.mul(y, g.b.like(y, alpha))


@contrib("Gelu", "FastGelu")
def gelu(g: OnnxContext, node: ForeignNode) -> Any:
    x, bias = node.need(0), node.input(1)
    x = x if bias is None else g.b.add(x, bias)
    return g.b.gelu(x, approximate="tanh" if node.type.endswith("FastGelu") else "none")


@contrib("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def skip_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """The norm of input + skip + bias, and (fourth) that sum; what training keeps is refused where it is used."""
    if any([*node.outputs, "", "", ""][1:3]):
        raise node.refuse("its mean or deviation is a result", code="unsupported_output")
    plain = node.type.endswith("SimplifiedLayerNormalization")
    shift, bias = (None, node.input(3)) if plain else (node.input(3), node.input(4))
    total: Value = g.b.add(node.need(0), node.need(1))
    if bias is not None:
        total = g.b.add(total, bias)
    axes, epsilon = (len(known_shape(total)) - 1,), node.real("epsilon", 1e-12)
    gamma = node.need(2)
    norm = g.b.rms_norm(total, gamma, axes=axes, epsilon=epsilon) if plain else g.b.layer_norm(
        total, gamma, shift, axes=axes, epsilon=epsilon
    )  # fmt: skip
    return norm, norm, norm, total
