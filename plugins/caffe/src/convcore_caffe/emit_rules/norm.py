"""Normalisation: BatchNorm and Scale, LRN, MVN, Normalize."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, as_tensor

from ..dialect import CaffeScribe, label
from .arithmetic import span_param
from .base import RULES, constant, first, weight


@RULES.emit("batch_norm")
def batch_norm(e: CaffeScribe, node: Node) -> None:
    """BatchNorm with the stored statistics, then Scale where it has parameters of its own.

    BatchNorm is along axis 1; along another one it is the Scale that its numbers make.
    """
    a, x = node.attrs, e.value(first(node))
    scale, bias = (None if v is None else weight(v, "its parameter") for v in (node.arg("scale"), node.arg("bias")))
    mean, var = weight(node.need("mean"), "its mean"), weight(node.need("var"), "its variance")
    axis, eps = a["axis"], a["epsilon"]
    param: dict[str, Any]
    kept = a["momentum"]
    if axis != 1 or len(x.shape) < 2:

        def factor() -> Any:
            f = 1 / np.sqrt(var.numpy().astype(np.float64) + eps)
            return f if scale is None else f * scale.numpy()

        def shift() -> Any:
            return (0 if bias is None else bias.numpy()) - mean.numpy() * factor()

        blobs = [constant(factor, mean.shape), constant(shift, mean.shape)]
        param = {**span_param(axis, axis + 1), "bias_term": True}
        if kept is not None:
            e.leave_out("momentum", node)
        e.unit("Scale", [x], param, outputs=node.outputs, name=label(node), states=blobs)
        return
    param = {"use_global_stats": True}
    if np.float32(eps) != np.float32(1e-5):
        param["eps"] = eps
    if kept is not None and np.float32(kept) != np.float32(0.999):
        param["moving_average_fraction"] = kept
    plain = scale is None and bias is None
    (y,) = e.unit(
        "BatchNorm", [x], param, outputs=node.outputs if plain else (), shapes=[x.shape], name=label(node),
        states=[mean, var, as_tensor(np.ones(1, np.float32))],
    )  # fmt: skip
    if plain:
        return
    if scale is None:  # as Caffe's users write it: every BatchNorm has its Scale
        scale = constant(lambda: np.ones(mean.shape), mean.shape)
    blobs = [scale] if bias is None else [scale, bias]
    e.unit("Scale", [y], {} if bias is None else {"bias_term": True}, outputs=node.outputs, name=label(node), states=blobs)


@RULES.emit("mean_variance_norm")
def batch_statistics(e: CaffeScribe, node: Node) -> None:
    """With the epsilon under the root over all but the channels: BatchNorm's batch statistics."""
    a, x = node.attrs, e.value(first(node))
    axes, rank = tuple(sorted(a["axes"])), len(x.shape)
    if axes != tuple(i for i in range(rank) if i != 1) or a["epsilon_on"] != "var" or not a["normalize_variance"] or rank < 2:
        raise NotExpressible(f"BatchNorm's batch statistics are over all axes but 1, not over {axes} of {rank}")
    param: dict[str, Any] = {"use_global_stats": False}
    if np.float32(a["epsilon"]) != np.float32(1e-5):
        param["eps"] = a["epsilon"]
    zeros = [as_tensor(np.zeros(n, np.float32)) for n in (x.shape[1], x.shape[1], 1)]
    e.unit("BatchNorm", [x], param, outputs=node.outputs, name=label(node), states=zeros)


@RULES.emit("l2_normalize")
def l2_normalize(e: CaffeScribe, node: Node) -> None:
    """SSD's Normalize with a scale of one; a Scale after it becomes its own."""
    a, x = node.attrs, e.value(first(node))
    axes = tuple(sorted(a["axes"]))
    if len(x.shape) != 4 or axes not in ((1,), (1, 2, 3)) or a["mode"] != "add_square":
        raise NotExpressible("Normalize is over axis 1 or (1, 2, 3) of (N, C, H, W), epsilon added to the sum of squares")
    shared = e.dialect.flavor != "opencv"  # which reads no blob without axes
    param: dict[str, Any] = {"across_spatial": axes == (1, 2, 3), "channel_shared": shared}
    if np.float32(a["epsilon"]) != np.float32(1e-10):
        param["eps"] = a["epsilon"]
    one = as_tensor(np.ones(() if shared else x.dims[1:2], np.float32))
    e.unit("Normalize", [x], param, outputs=node.outputs, name=label(node), states=[one])
