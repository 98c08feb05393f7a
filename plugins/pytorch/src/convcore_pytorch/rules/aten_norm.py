"""ATen's normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known
from .base import RULES


@RULES.load("aten.batch_norm", "aten._native_batch_norm_legit_no_training", "aten._batch_norm_no_update")
def batch_norm(g: TorchContext, n: AtenNode) -> Any:
    x = n.tensor("input")
    n.skip("cudnn_enabled")
    mean, var = n.optional("running_mean"), n.optional("running_var")
    training = bool(n.number("training")) if "training" in n.arguments else False
    if mean is None or var is None:
        return of_batch(g, n, x)
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


def of_batch(g: TorchContext, n: AtenNode, x: Value) -> Any:
    """With the statistics of the batch at hand, in evaluation, too (``track_running_stats=False``)."""
    n.skip("training", "momentum")
    rank = n.rank("input")
    axes = tuple(a for a in range(rank) if a != 1)
    y, mean, scale = normalised(g, x, axes, n.number("eps"))
    tail = [1] * (rank - 2)
    for name, op in (("weight", "mul"), ("bias", "add")):
        v = n.optional(name)
        y = y if v is None else g.b.op(op, y, g.reshape(v, (*known(v), *tail)))
    flat = [g.b.squeeze(v, axes=axes) for v in (mean, scale)]
    return y if n.type == "aten.batch_norm" else (y, *flat)


def normalised(g: TorchContext, x: Value, axes: Sequence[int], eps: float) -> tuple[Value, Value, Value]:
    """(x - mean) / sqrt(variance + eps), the mean and the reciprocal of the root, which keep their axes."""
    mean = g.b.mean(x, axes=tuple(axes), keepdims=True)
    var = g.b.variance(x, axes=tuple(axes), keepdims=True, ddof=0)
    scale = g.b.rsqrt(g.b.add(var, g.b.like(var, eps)))
    return g.b.mul(g.b.sub(x, mean), scale), mean, scale


@RULES.load("aten.native_layer_norm", "aten.native_group_norm")
def native_norm(g: TorchContext, n: AtenNode) -> Any:
    """With the mean and the reciprocal deviation beside: those of a group (N, group), or of what a layer goes over."""
    x, w, b, eps = n.tensor("input"), n.optional("weight"), n.optional("bias"), n.number("eps")
    shape = known(x)
    if n.type == "aten.native_layer_norm":
        first = len(shape) - len(n.sizes("normalized_shape"))
        y, mean, scale = normalised(g, x, range(first, len(shape)), eps)
        for v, op in ((w, "mul"), (b, "add")):
            y = y if v is None else g.b.op(op, y, v)
        return y, mean, scale
    n.skip("N", "C", "HxW")
    groups = n.count("group")
    flat = g.reshape(x, (shape[0], groups, product(shape[1:]) // groups))
    y, mean, scale = normalised(g, flat, (2,), eps)
    y = g.reshape(y, shape)
    for v, op in ((w, "mul"), (b, "add")):
        y = y if v is None else g.b.op(op, y, g.reshape(v, (*known(v), *[1] * (len(shape) - 2))))
    return y, g.b.squeeze(mean, axes=(2,)), g.b.squeeze(scale, axes=(2,))


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
