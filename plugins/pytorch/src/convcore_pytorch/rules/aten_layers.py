"""ATen's operators of layers: convolution, pooling, normalisation, linear algebra, activations with parameters, dropout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known, promoted
from .base import RULES


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
    return g.b.einsum(*n.tensors("tensors"), equation=text)


@RULES.load("aten.bilinear")
def bilinear(g: TorchContext, n: AtenNode) -> Value:
    a, b, w, bias = n.tensor("input1"), n.tensor("input2"), n.tensor("weight"), n.optional("bias")
    y = g.b.einsum(a, w, b, equation="...i,oij,...j->...o")
    return y if bias is None else g.b.add(y, bias)


@RULES.load("aten.scaled_dot_product_attention")
def attention(g: TorchContext, n: AtenNode) -> Value:
    """softmax(q k' scale + mask) v (torch.nn.functional.scaled_dot_product_attention, torch 2.14): a bool mask keeps where it is
    True, and a row that keeps nothing gives 0."""
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
        rows, columns = n.shape("query")[-2], n.shape("key")[-2]
        ones = g.b.fill(shape=(rows, columns), value=1, dtype=DType.INT32)
        mask = g.b.equal(g.b.trilu(ones, upper=False), g.b.const(1, DType.INT32))
    if mask is None:
        return g.b.matmul(g.b.softmax(scores, axis=-1), v)
    if mask.dtype is not DType.BOOL:
        return g.b.matmul(g.b.softmax(g.b.add(scores, g.cast(mask, scores.dtype)), axis=-1), v)
    low = g.b.like(scores, float("-inf"))
    weights = g.b.softmax(g.b.where(mask, scores, low), axis=-1)
    if not causal:
        weights = g.b.where(mask, weights, g.b.like(weights, 0))
    return g.b.matmul(weights, v)


# ---------------------------------------------------------------- convolution
def unbatched(g: TorchContext, x: Value, n: int) -> tuple[Value, bool]:
    """With a batch axis where there is none, and whether there was none."""
    if x.rank is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    return (g.b.unsqueeze(x, axes=(0,)), True) if x.rank == n + 1 else (x, False)


@RULES.load("aten._convolution_mode", *(f"aten.conv{d}d{o}" for d in (1, 2, 3) for o in ("", ".padding")))
def conv(g: TorchContext, n: AtenNode) -> Value:
    d = n.rank("weight") - 2
    pads: Any = n.arg("padding")
    if isinstance(pads, str):
        pads = "same_upper" if pads == "same" else [(0, 0)] * d
    else:
        pads = [(p, p) for p in n.ints("padding", d)]
    x, lone = unbatched(g, n.tensor("input"), d)
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
    y = g.b.conv_transpose(
        x, n.tensor("weight"), n.optional("bias"), strides=n.ints("stride", d), pads=[(p, p) for p in n.ints("padding", d)],
        output_padding=n.ints("output_padding", d), groups=n.number("groups"), dilations=n.ints("dilation", d),
    )  # fmt: skip
    return g.b.squeeze(y, axes=(0,)) if lone else y


# ---------------------------------------------------------------- pooling
def window(n: AtenNode, d: int) -> dict[str, Any]:
    kernel = n.ints("kernel_size", d)
    return {
        "kernel": kernel, "strides": n.ints("stride", d) or kernel, "pads": [(p, p) for p in n.ints("padding", d)],
        "ceil_mode": "ceil" if n.number("ceil_mode") else "floor",
    }  # fmt: skip


@RULES.load("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d")
def max_pool(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    y = g.b.max_pool(x, dilations=n.ints("dilation", d), **window(n, d))
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices", "aten.max_pool1d_with_indices")
def max_pool_indices(g: TorchContext, n: AtenNode) -> Any:
    """torch's indices count in one plane, those of the IR in the whole tensor."""
    d = int(n.type[13])
    x = n.tensor("self")
    if x.rank != d + 2:
        raise NotExpressible("of a tensor without a batch axis")
    s = n.shape("self")
    y, at = g.b.op("max_pool_with_indices", x, dilations=n.ints("dilation", d), **window(n, d))
    plane: Any = 1
    for size in s[2:]:
        plane = plane * size
    return y, g.b.floor_mod(at, g.scalar(plane, at.dtype))


@RULES.load("aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d")
def avg_pool(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    divisor = n.arg("divisor_override") if "divisor_override" in n.arguments else None
    shape = window(n, d)
    if divisor is None:
        y = g.b.avg_pool(x, count_include_pad=bool(n.number("count_include_pad")), **shape)
    else:  # the sum of a window, which an average over all of it is but for a factor; a window past the end is cut
        n.skip("count_include_pad")
        if shape["ceil_mode"] != "floor":
            raise NotExpressible("divisor_override with ceil_mode")
        y = g.b.avg_pool(x, count_include_pad=True, **shape)
        y = g.b.mul(y, g.b.like(y, math.prod(shape["kernel"]) / float(divisor)))
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load(*(f"aten.adaptive_avg_pool{d}d" for d in (1, 2, 3)), *(f"aten._adaptive_avg_pool{d}d" for d in (2, 3)))
def adaptive(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    sizes = n.sizes("output_size") * (d if len(n.sizes("output_size")) == 1 else 1)
    if all(isinstance(s, int) and s == 1 for s in sizes):
        y = g.b.mean(x, axes=tuple(range(2, 2 + d)), keepdims=True)
    else:
        y = g.b.adaptive_avg_pool(x, output_size=sizes)
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def adaptive_max(g: TorchContext, n: AtenNode) -> Any:
    """The indices count in one plane: the largest element of each window, picked from a table of the windows' places."""
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    sizes = n.sizes("output_size")
    sizes = sizes * (d if len(sizes) == 1 else 1)
    y = g.b.adaptive_max_pool(x, output_size=sizes)
    if len(n.results) < 2:  # nobody reads the indices
        return (g.b.squeeze(y, axes=(0,)) if lone else y,)
    plane = known(x)[2:]
    fixed = [s for s in (*plane, *sizes) if isinstance(s, int)]
    if len(fixed) != 2 * d:
        return (g.b.squeeze(y, axes=(0,)) if lone else y,)
    table = windows(fixed[:d], fixed[d:])
    flat = g.reshape(x, (*known(x)[:2], product(plane)))
    picked = g.b.argmax(g.b.gather(flat, g.b.const(table, DType.INT64), axis=2), axis=3)
    steps = g.b.const(np.arange(len(table)) * table.shape[1], DType.INT64)
    at = g.b.gather(g.b.const(table.reshape(-1), DType.INT64), g.b.add(picked, steps), axis=0)
    at = g.reshape(at, (*known(x)[:2], *sizes))
    return tuple(g.b.squeeze(v, axes=(0,)) if lone else v for v in (y, at))


def windows(plane: Sequence[int], sizes: Sequence[int]) -> Any:
    """The flat places of every window of an adaptive pool (from floor(i L / O) to ceil((i + 1) L / O)) in C order, short ones
    filled up with their first."""
    spans = [[range(i * n // o, -(-(i + 1) * n // o)) for i in range(o)] for n, o in zip(plane, sizes)]
    rows = [[int(np.ravel_multi_index(at, plane)) for at in itertools.product(*window)] for window in itertools.product(*spans)]
    most = max(map(len, rows))
    return np.asarray([[*r, *[r[0]] * (most - len(r))] for r in rows], np.int64)


# ---------------------------------------------------------------- normalisation
@RULES.load("aten.batch_norm", "aten._native_batch_norm_legit_no_training", "aten._batch_norm_no_update")
def batch_norm(g: TorchContext, n: AtenNode) -> Any:
    x = n.tensor("input")
    n.skip("cudnn_enabled")
    mean, var = n.optional("running_mean"), n.optional("running_var")
    training = bool(n.number("training")) if "training" in n.arguments else False
    if mean is None or var is None:
        raise NotExpressible("normalises with the statistics of the batch at hand (track_running_stats=False)")
    if training:
        raise NotExpressible("is in training mode", "training_mode")
    momentum = n.number("momentum")
    if momentum == 0:
        g.note(
            f"{n.name}: momentum=0, which stands for 0 and for None (the average of all batches) in an exported program: its "
            "statistics stay as they are in training"
        )
    y = g.b.batch_norm(
        x, n.optional("weight"), n.optional("bias"), mean, var, epsilon=n.number("eps"), momentum=1 - momentum
    )  # new = momentum old + (1 - momentum) batch here, torch the other way round
    return y if n.type == "aten.batch_norm" else (y, g.b.fill(shape=(0,), value=0), g.b.fill(shape=(0,), value=0))


@RULES.load("aten.layer_norm", "aten.rms_norm")
def layer_norm(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("input"), n.rank("input")
    axes = tuple(range(rank - len(n.sizes("normalized_shape")), rank))
    if n.type == "aten.rms_norm":
        eps = n.arg("eps")
        if eps is None:
            if x.dtype is None or x.dtype is DType.BFLOAT16:
                raise NotExpressible("its epsilon is that of a type numpy does not know")
            eps = float(np.finfo(x.dtype.numpy).eps)
        return g.b.rms_norm(x, n.optional("weight"), axes=axes, epsilon=eps)
    n.skip("cudnn_enable")
    return g.b.layer_norm(x, n.optional("weight"), n.optional("bias"), axes=axes, epsilon=n.number("eps"))


@RULES.load("aten.instance_norm")
def instance_norm(g: TorchContext, n: AtenNode) -> Value:
    x, w, b = n.tensor("input"), n.optional("weight"), n.optional("bias")
    n.skip("cudnn_enabled")
    if n.number("use_input_stats"):
        n.skip("running_mean", "running_var", "momentum")
        return g.b.instance_norm(x, w, b, epsilon=n.number("eps"))
    g.note(
        f"{n.name}: an instance normalisation with running statistics is a batch normalisation here, the same in evaluation only"
    )
    momentum = 1 - n.number("momentum")
    mean, var = n.tensor("running_mean"), n.tensor("running_var")
    return g.b.batch_norm(x, w, b, mean, var, epsilon=n.number("eps"), momentum=momentum)


@RULES.load("aten._weight_norm")
def weight_norm(g: TorchContext, n: AtenNode) -> Value:
    v, w = n.tensor("v"), n.tensor("g")
    rank = n.rank("v")
    dim = n.number("dim")
    axes = tuple(a for a in range(rank) if dim == -1 or a != dim % rank)
    return g.b.mul(v, g.b.div(w, g.b.l2_norm(v, axes=axes, keepdims=True)))


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
    if n.number("train"):
        raise NotExpressible("is in training mode", "training_mode")
    base = n.type.split(".")[1]
    rank = n.rank(name)
    kind: Any = "alpha" if "alpha" in base else "bernoulli"
    shared = tuple(range(2, rank)) if base.startswith("feature") else ()
    y = g.b.dropout(x, rate=rate, kind=kind, shared=shared)
    return (y, g.b.fill(shape=n.shape("input"), value=True, dtype=DType.BOOL)) if base == "native_dropout" else y
