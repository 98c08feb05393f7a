"""ATen's operators of layers: convolution, linear algebra, activations with parameters, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known, promoted
from .base import RULES, unbatched
from .diagonals import fixed
from .windows import convolved, is_whole, transposed


# ---------------------------------------------------------------- linear algebra
@RULES.load("aten.inner")
def inner(g: TorchContext, n: AtenNode) -> Value:
    a, b = n.tensor("self"), n.tensor("other")
    if a.rank != 1 or b.rank != 1:
        if not a.rank or not b.rank:
            return g.b.mul(a, b)
        raise NotExpressible("of tensors with several axes")
    return g.b.matmul(a, b)


@RULES.load("aten.addmm", "aten.baddbmm", "aten.addmv", "aten.addbmm")
def addmm(g: TorchContext, n: AtenNode) -> Value:
    a, b = [v for k, v in n.arguments.items() if isinstance(v, Value) and k != "self"]
    n.skip(*(k for k, v in n.arguments.items() if v is a or v is b))
    y = g.b.matmul(a, b)
    if n.type == "aten.addbmm":
        y = g.b.sum(y, axes=(0,))
    x = n.tensor("self")
    alpha, beta = n.arg("alpha"), n.arg("beta")
    if alpha != 1:
        y = g.b.mul(y, g.scalar(alpha, y.dtype))
    if beta == 0:
        return y
    return g.b.add(x if beta == 1 else g.b.mul(x, g.scalar(beta, x.dtype)), y)


@RULES.load("aten.outer", "aten.ger")
def outer(g: TorchContext, n: AtenNode) -> Value:
    a, b = n.tensor("self"), n.tensor("vec2")
    a, b = g.operands(n.dtype or promoted([a, b]), a, b)
    a, b = g.b.unsqueeze(a, axes=(1,)), g.b.unsqueeze(b, axes=(0,))
    return g.b.and_(a, b) if a.dtype is DType.BOOL else g.b.mul(a, b)


@RULES.load("aten.einsum")
def einsum(g: TorchContext, n: AtenNode) -> Value:
    n.skip("path")
    text = str(n.arg("equation"))
    if "->" not in text and any(c.isupper() for c in text):
        raise NotExpressible(f"{text!r}: torch orders capital letters of an implicit output its own way")
    tensors = n.tensors("tensors")
    dtype = n.dtype or promoted(tensors)
    if n.dtype is None and dtype is not None and dtype.is_int and dtype is not DType.INT64:
        raise NotExpressible(f"of {dtype}: whether sums are int64 depends on how torch computes them", "unsupported_dtype")
    return g.b.einsum(*g.operands(dtype, *tensors), equation=text)


@RULES.load("aten.bilinear")
def bilinear(g: TorchContext, n: AtenNode) -> Value:
    a, b, w, bias = n.tensor("input1"), n.tensor("input2"), n.tensor("weight"), n.optional("bias")
    y = g.b.einsum(a, w, b, equation="...i,oij,...j->...o")
    return y if bias is None else g.b.add(y, bias)


@RULES.load("aten.scaled_dot_product_attention")
def attention(g: TorchContext, n: AtenNode) -> Value:
    """softmax(q k' scale + mask) v (torch.nn.functional.scaled_dot_product_attention, torch 2.14): a bool mask keeps where it is
    True, and a row that keeps nothing, or has nothing but -inf, gives 0 (its _safe_softmax)."""
    q, k, v = n.tensor("query"), n.tensor("key"), n.tensor("value")
    mask, causal = n.optional("attn_mask"), bool(n.number("is_causal"))
    if n.number("dropout_p"):  # torch.nn's own modules give 0 in evaluation
        raise NotExpressible("drops at random, in evaluation too (dropout_p)", "random")
    if n.number("enable_gqa"):
        heads, groups = n.shape("query")[-3], n.shape("key")[-3]
        if not isinstance(heads, int) or not isinstance(groups, int):
            raise NotExpressible("the numbers of heads are not known", "unknown_shape")
        k, v = (g.b.repeat(t, repeats=heads // groups, axis=n.rank("key") - 3) for t in (k, v))
    width = n.shape("query")[-1]
    scale = n.arg("scale")
    if scale is None:
        if not isinstance(width, int):
            raise NotExpressible("the width of a head is not known", "unknown_shape")
        scale = width**-0.5
    rank = n.rank("key")
    scores = g.b.matmul(q, g.transpose(k, [*range(rank - 2), rank - 1, rank - 2]))
    scores = g.b.mul(scores, g.scalar(scale, scores.dtype))
    if causal:
        if mask is not None:
            raise NotExpressible("has a mask beside is_causal, which torch's kernels take in different ways", "undefined")
        rows, columns = n.shape("query")[-2], n.shape("key")[-2]
        ones = g.b.fill(shape=(rows, columns), value=1, dtype=DType.INT32)
        mask = g.b.equal(g.b.trilu(ones, upper=False), g.b.const(1, DType.INT32))
    if mask is None:
        return g.b.matmul(g.b.softmax(scores, axis=-1), v)
    if mask.dtype is not DType.BOOL:
        scores = g.b.add(scores, g.cast(mask, scores.dtype))
        if mask.tensor is not None and mask.dtype is scores.dtype and np.isfinite(mask.tensor.numpy()).all():
            return g.b.matmul(g.b.softmax(scores, axis=-1), v)
        dead = g.b.equal(g.b.max(scores, axes=(-1,), keepdims=True), g.b.like(scores, float("-inf")))
        weights = g.b.softmax(g.b.where(dead, g.b.like(scores, 0), scores), axis=-1)
        return g.b.matmul(g.b.where(dead, g.b.like(weights, 0), weights), v)
    low = g.b.like(scores, float("-inf"))
    weights = g.b.softmax(g.b.where(mask, scores, low), axis=-1)
    if not causal:
        weights = g.b.where(mask, weights, g.b.like(weights, 0))
    return g.b.matmul(weights, v)


# ---------------------------------------------------------------- convolution
@RULES.load("aten._convolution_mode", *(f"aten.conv{d}d{o}" for d in (1, 2, 3) for o in ("", ".padding")))
def conv(g: TorchContext, n: AtenNode) -> Value:
    d = n.rank("weight") - 2
    pads: Any = n.arg("padding")
    if isinstance(pads, str):
        pads = "same_upper" if pads == "same" else [(0, 0)] * d
    else:
        pads = [(p, p) for p in n.ints("padding", d)]
    x, lone = unbatched(g, n.tensor("input"), d)
    if is_whole(x):
        steps, spread = n.ints("stride", d), n.ints("dilation", d)
        if pads == "same_upper":
            spans = [e * (k - 1) for e, k in zip(spread, fixed(n.shape("weight"), range(2, 2 + d), "goes over"))]
            pads = [(s // 2, s - s // 2) for s in spans]
        y = convolved(g, x, n.tensor("weight"), n.optional("bias"), steps, pads, spread, n.number("groups"))
        return g.b.squeeze(y, axes=(0,)) if lone else y
    y = g.b.conv(
        x, n.tensor("weight"), n.optional("bias"), strides=n.ints("stride", d), pads=pads, dilations=n.ints("dilation", d),
        groups=n.number("groups"),
    )  # fmt: skip
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.convolution", "aten._convolution", "aten._convolution.deprecated")
def convolution(g: TorchContext, n: AtenNode) -> Value:
    n.skip("benchmark", "deterministic", "cudnn_enabled", "allow_tf32")
    x, w = n.tensor("input"), n.tensor("weight")
    if w.rank is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    d = w.rank - 2
    pads, out = [(p, p) for p in n.ints("padding", d)], n.ints("output_padding", d)
    attrs: dict[str, Any] = {
        "strides": n.ints("stride", d),
        "dilations": n.ints("dilation", d),
        "groups": n.number("groups"),
        "pads": pads,
    }
    x, lone = unbatched(g, x, d)
    if n.number("transposed"):
        y = g.b.conv_transpose(x, w, n.optional("bias"), output_padding=out, **attrs)
    else:
        y = g.b.conv(x, w, n.optional("bias"), **attrs)
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.conv_transpose1d", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
def conv_transpose(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[19])
    x, lone = unbatched(g, n.tensor("input"), d)
    w, b, steps, spread, more = (
        n.tensor("weight"), n.optional("bias"), n.ints("stride", d), n.ints("dilation", d), n.ints("output_padding", d),
    )  # fmt: skip
    pads = [(p, p) for p in n.ints("padding", d)]
    if is_whole(x):
        y = transposed(g, x, w, b, steps, pads, spread, n.number("groups"), more)
    else:
        y = g.b.conv_transpose(
            x, w, b, strides=steps, pads=pads, output_padding=more, groups=n.number("groups"), dilations=spread
        )
    return g.b.squeeze(y, axes=(0,)) if lone else y


# ---------------------------------------------------------------- activations
@RULES.load("aten.elu")
def elu(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    alpha, scale, inner = n.number("alpha"), n.number("scale"), n.number("input_scale")
    if inner != 1:
        raise NotExpressible(f"input_scale={inner} is not known")
    y = g.b.elu(x, alpha=alpha)
    return y if scale == 1 else g.b.mul(y, g.b.like(y, scale))


@RULES.load("aten.softplus")
def softplus(g: TorchContext, n: AtenNode) -> Value:
    """x where beta x > threshold (torch.nn.Softplus): there softplus differs from x by less than exp(-threshold) / beta."""
    x, beta, most = n.tensor("self"), n.number("beta"), n.number("threshold")
    scaled = x if beta == 1 else g.b.mul(x, g.b.like(x, beta))
    y = g.b.softplus(scaled)
    y = y if beta == 1 else g.b.div(y, g.b.like(y, beta))
    return y if most >= 20 else g.b.where(g.b.greater(scaled, g.b.like(x, most)), x, y)


@RULES.load("aten.threshold")
def threshold(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.where(g.b.less_equal(x, g.b.like(x, n.number("threshold"))), g.b.like(x, n.number("value")), x)


@RULES.load("aten.prelu", "aten._prelu_kernel")
def prelu(g: TorchContext, n: AtenNode) -> Value:
    x, w = n.tensor("self"), n.tensor("weight")
    rank = n.rank("self")
    if w.rank == 1 and known(w)[0] != 1 and rank > 2:
        w = g.reshape(w, (known(w)[0], *[1] * (rank - 2)))
    return g.b.prelu(x, w)


@RULES.load("aten.rrelu")
def rrelu(g: TorchContext, n: AtenNode) -> Value:
    if n.number("training"):
        raise NotExpressible("is in training mode", "training_mode")
    n.skip("generator")
    return g.b.leaky_relu(n.tensor("self"), alpha=(n.number("lower") + n.number("upper")) / 2)


@RULES.load(
    "aten.softmax.int",
    "aten._softmax",
    "aten.log_softmax.int",
    "aten._log_softmax",
    "aten.special_softmax",
    "aten.special_log_softmax",
    "aten._safe_softmax",
)
def softmax(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    x = g.cast(x, n.element("dtype")) if "dtype" in n.arguments else x
    n.skip("half_to_float")
    if n.type == "aten._safe_softmax":
        raise NotExpressible("gives 0 for rows without any finite element")
    x = g.float(x, n.dtype)
    if not n.rank("self"):
        x, axis = g.b.unsqueeze(x, axes=(0,)), 0
        n.skip("dim")
    else:
        axis = n.axis("dim", n.rank("self"))
    y: Value = g.b.op("log_softmax" if "log" in n.type else "softmax", x, axis=axis)
    return y if n.rank("self") else g.b.squeeze(y, axes=(0,))


# ---------------------------------------------------------------- dropout
@RULES.load("aten.dropout", "aten.feature_dropout", "aten.alpha_dropout", "aten.feature_alpha_dropout", "aten.native_dropout")
def dropout(g: TorchContext, n: AtenNode) -> Any:
    name = "input" if "input" in n.arguments else "self"  # the operators in place name it otherwise (torch 2.13)
    x, rate = n.tensor(name), float(n.number("p"))
    if n.number("train") and (rate not in (0.0, 1.0) or (rate == 1.0 and n.type == "aten.native_dropout")):
        raise NotExpressible("is in training mode", "training_mode")
    if n.number("train") and rate == 1.0:
        return g.b.mul(x, g.b.like(x, 0))
    base = n.type.split(".")[1]
    rank = n.rank(name)
    kind: Any = "alpha" if "alpha" in base else "bernoulli"
    shared = tuple(range(2, rank)) if base.startswith("feature") else ()
    y = g.b.dropout(x, rate=rate, kind=kind, shared=shared)
    return (y, g.b.fill(shape=n.shape("input"), value=True, dtype=DType.BOOL)) if base == "native_dropout" else y


# ---------------------------------------------------------------- losses
@RULES.load("aten.multilabel_margin_loss")
def multilabel_margin_loss(g: TorchContext, n: AtenNode) -> Value:
    """sum max(0, 1 - (x[label] - x[i])) / C over the labels before the first -1 and over the i that are none of them
    (ATen/native/LossMultiLabelMargin.cpp). torch 2.13's decomposition also counts what stands behind the -1."""
    x, labels, how = n.tensor("self"), n.tensor("target"), n.number("reduction")
    lone = n.rank("self") < 2
    if lone and how == 0:
        raise NotExpressible("gives a number where torch's own trace of it has a vector of one", "undefined")
    (count,) = fixed(known(x)[-1:], (0,), "compares") if known(x) else (1,)
    x, labels = (g.reshape(v, (1, count)) if lone else v for v in (x, labels))
    ended = g.cast(g.b.equal(labels, g.b.like(labels, -1)), DType.INT64)
    counted = g.b.equal(g.b.cumsum(ended, axis=1), g.b.like(ended, 0))
    at = g.b.where(counted, labels, g.b.like(labels, 0))
    mine = g.b.unsqueeze(g.b.take_along_axis(x, at, axis=1), axes=(2,))
    here = g.b.equal(g.b.unsqueeze(at, axes=(2,)), g.b.const(np.arange(count), at.dtype))
    taken = g.b.any(g.b.and_(here, g.b.unsqueeze(counted, axes=(2,))), axes=(1,), keepdims=True)
    gap = g.b.sub(g.b.like(x, 1), g.b.sub(mine, g.b.unsqueeze(x, axes=(1,))))
    valid = g.b.and_(g.b.unsqueeze(counted, axes=(2,)), g.b.not_(taken))
    loss = g.b.where(valid, g.b.maximum(gap, g.b.like(gap, 0)), g.b.like(gap, 0))
    loss = g.b.div(g.b.sum(loss, axes=(1, 2)), g.b.like(x, count))
    return loss if how == 0 else g.b.mean(loss, axes=(0,)) if how == 1 else g.b.sum(loss, axes=(0,))
