"""com.microsoft: operators that onnxruntime's optimisers join of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import ForeignNode, Value, known_shape

from ..context import OnnxContext
from .contrib import channels_first, contrib, standard

__all__: list[str] = []

_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (), "Sigmoid": (), "Tanh": (), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max"),
}  # fmt: skip
"""The standard's operators that may follow, and what their parameters are, in order."""


@contrib("FusedConv", "NhwcFusedConv")
def fused_conv(g: OnnxContext, node: ForeignNode) -> Any:
    """act(Conv(X, W, B) + Z), of images with channels last in NhwcFusedConv."""
    own, last = ("activation", "activation_params"), node.type.endswith("NhwcFusedConv")
    config = {k: node.attr(k) for k in node.attrs if k not in own}
    weights = node.inputs[1:3]
    y: Value = channels_first(g, node, node.need(0), lambda v: standard(g, node, "Conv", [v, *weights], 11, config), last)
    if node.input(3) is not None:
        y = g.b.add(y, node.need(3))
    name, given = node.attr("activation", ""), tuple(node.attr("activation_params", ()))
    if not name and given:
        raise node.refuse(f"activation_params={given} without an activation")
    if name not in ("", *_ACTIVATIONS):
        raise node.refuse(f"activation={name!r}")
    names = _ACTIVATIONS[name] if name else ()
    if len(given) != len(names):
        raise node.refuse(f"activation={name!r} with {len(given)} parameters, it has {len(names)}")
    return standard(g, node, name, [y], 6, dict(zip(names, given))) if name else y


@contrib("FusedGemm")
def fused_gemm(g: OnnxContext, node: ForeignNode) -> Any:
    """act(Gemm(A, B, C)); the parameters of the activation are attributes of their own."""
    own = {f"activation_{k}": node.attr(f"activation_{k}", None) for k in ("alpha", "beta", "gamma")}
    name = node.attr("activation", "")
    config = {k: node.attr(k) for k in node.attrs if k != "activation" and k not in own}
    y: Value = standard(g, node, "Gemm", node.inputs[:3], 11, config)
    if name not in ("", *_ACTIVATIONS) or name == "Clip":
        raise node.refuse(f"activation={name!r}")
    want = [f"activation_{k}" for k in (_ACTIVATIONS[name] if name else ())]
    given = [k for k, v in own.items() if v is not None]
    if given != want:
        raise node.refuse(f"activation={name!r} with {', '.join(given) or 'no parameters'}, it has {', '.join(want) or 'none'}")
    return standard(g, node, name, [y], 6, {k.removeprefix("activation_"): own[k] for k in want}) if name else y


@contrib("NhwcMaxPool")
def nhwc_max_pool(g: OnnxContext, node: ForeignNode) -> Any:
    config = {k: node.attr(k) for k in node.attrs}
    return channels_first(g, node, node.need(0), lambda v: standard(g, node, "MaxPool", [v], 12, config), True)


@contrib("FusedMatMul", "TransposeMatMul")
def fused_matmul(g: OnnxContext, node: ForeignNode) -> Any:
    """alpha * A' B', the last two axes turned where transA or transB says so; before it the first axis is put behind those
    of the batch where transBatchA or transBatchB does."""
    alpha, parts = node.real("alpha", 1.0), []
    if node.attr("transA", 0) and len(known_shape(node.need(0))) > 1 == len(known_shape(node.need(1))):
        raise node.refuse("transA=1 of a product with a vector, for which onnxruntime 1.32 does not turn A")
    for i, name in enumerate("AB"):
        v = node.need(i)
        rank = len(known_shape(v))
        if node.attr(f"transBatch{name}", 0):
            if rank < 3:
                raise node.refuse(f"transBatch{name}=1 of an operand with {rank} axes")
            v = g.b.transpose(v, perm=(*range(1, rank - 1), 0, rank - 1))
        turned = node.attr(f"trans{name}", 0) and rank > 1
        parts.append(g.b.transpose(v, perm=(*range(rank - 2), rank - 1, rank - 2)) if turned else v)
    y = g.b.matmul(*parts)
    return y if alpha == 1 else g.b.mul(y, g.b.like(y, alpha))


@contrib("Gelu", "FastGelu", "BiasGelu", "GemmFastGelu")
def gelu(g: OnnxContext, node: ForeignNode) -> Any:
    """Of the sum of input and bias, which GemmFastGelu has as its third input, of a product."""
    parts = [v for v in node.inputs if v is not None]
    x = parts.pop(0)
    if node.type.endswith("GemmFastGelu"):
        x = g.b.matmul(x, parts.pop(0))
    for bias in parts:
        x = g.b.add(x, bias)
    return g.b.gelu(x, approximate="tanh" if node.type.endswith("FastGelu") else "none")


@contrib("QuickGelu")
def quick_gelu(g: OnnxContext, node: ForeignNode) -> Any:
    """x * sigmoid(alpha x); alpha is 1.702 in float32 where it is not given."""
    return g.b.swish(node.need(0), beta=node.real("alpha", float(np.float32(1.702))))


@contrib("BiasAdd")
def bias_add(g: OnnxContext, node: ForeignNode) -> Any:
    return g.b.add(g.b.add(node.need(0), node.need(1)), node.need(2))


@contrib("BiasSplitGelu")
def bias_split_gelu(g: OnnxContext, node: ForeignNode) -> Any:
    """The left half of X + bias by the gelu of its right half."""
    b, x = g.b, node.need(0)
    width = known_shape(x)[-1] if known_shape(x) else None
    if not isinstance(width, int) or width % 2:
        raise node.refuse(f"{width} features have no two halves")
    left, right = b.split(b.add(x, node.need(1)), axis=-1, sizes=(width // 2,) * 2)
    return b.mul(left, b.gelu(right, approximate="none"))


@contrib("BiasDropout", "BitmaskBiasDropout", "BitmaskDropout")
def bias_dropout(g: OnnxContext, node: ForeignNode) -> Any:
    """Dropout(data + bias) + residual, at inference; the mask is refused where it is used."""
    if any([*node.outputs, ""][1:]):
        raise node.refuse("its mask is a result", code="unsupported_output")
    plain = node.type.endswith("BitmaskDropout")
    x: Value = node.need(0) if plain else g.b.add(node.need(0), node.need(1))
    rest = (node.input(1), node.input(2)) if plain else (node.input(3), node.input(4))
    seed = {} if node.attr("seed", None) is None else {"seed": node.attr("seed")}
    y: Value = standard(g, node, "Dropout", [x, *rest], 13, seed)
    return y if plain or node.input(2) is None else g.b.add(y, node.need(2))


@contrib("GroupNorm", "SkipGroupNorm")
def group_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """The norm of X (+ skip + bias), channels last unless ``channels_last`` is 0; the second result is that sum."""
    b, x, activation = g.b, node.need(0), node.whole("activation")
    last, skip, bias = node.whole("channels_last", 1), node.input(3), node.input(4)
    rank = len(known_shape(x))
    if activation not in (0, 1) or rank != 4:
        raise node.refuse(f"activation={activation} of an input with {rank} axes")
    if not last and (bias is not None or (skip is not None and known_shape(skip)[1:] != known_shape(x)[1:])):
        raise node.refuse("channels_last=0 with a bias, or with another shape of skip than of X")
    if skip is not None:
        if skip.rank == 2:
            skip = b.unsqueeze(skip, axes=(1, 2))
        x = b.add(x, skip)
    if bias is not None:
        x = b.add(x, bias)
    groups, epsilon = node.whole("groups"), node.real("epsilon", 1e-5)
    scale, shift = (v if v.dtype == x.dtype else b.cast(v, to=x.dtype) for v in (node.need(1), node.need(2)))
    y = b.group_norm(x, scale, shift, groups=groups, epsilon=epsilon, axis=3 if last else 1)
    return (b.silu(y) if activation else y), x


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
