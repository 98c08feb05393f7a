"""Normalisations as modules where torch has one for the axes and weights at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Value, as_tensor

from ..rules.base import RULES
from .base import E, given, shape_of


def _weight(e: E, v: Value | None, name: str, n: Any, fill: float, like: Value) -> Any:
    """The state of a weight; where only the other one is given, what does nothing, frozen."""
    if v is not None:
        if v.tensor is None:
            raise NotExpressible(f"its {name} is computed")
        return e.state(v)
    return as_tensor(np.full(n, fill, like.dtype.numpy if like.dtype is not None else np.float32))


def _last(node: Node, x: Value) -> tuple[int, ...]:
    """The sizes normalised over, which must be those of the last axes."""
    shape = shape_of(x)
    axes = sorted(a % len(shape) for a in node.attrs["axes"])
    if axes != list(range(len(shape) - len(axes), len(shape))):
        raise NotExpressible(f"axes {node.attrs['axes']} are not the last ones")
    sizes = shape[axes[0] :]
    if any(not isinstance(n, int) for n in sizes):
        raise NotExpressible("a normalised size is not known")
    return tuple(sizes)


@RULES.emit("layer_norm")
def layer_norm(e: E, node: Node) -> None:
    """Over the last axes."""
    x = given(node.arg("x"))
    sizes = _last(node, x)
    scale, bias = node.arg("scale"), node.arg("bias")
    if any(v is not None and tuple(v.shape or ()) != sizes for v in (scale, bias)):
        raise NotExpressible("a weight that is not of the normalised shape")
    if (scale is not None and scale.tensor is None) or (bias is not None and bias.tensor is None):
        args = [e.value(x), sizes, None if scale is None else e.value(scale), None if bias is None else e.value(bias)]
        e.call("F.layer_norm", args, {"eps": node.attrs["epsilon"]}, outputs=node.outputs)
        return
    states = {"weight": _weight(e, scale, "scale", sizes, 1, x)} if scale is not None or bias is not None else {}
    if bias is not None:
        states["bias"] = e.state(bias)
    config: dict[str, Any] = {"normalized_shape": sizes[0] if len(sizes) == 1 else sizes, "eps": node.attrs["epsilon"]}
    config["elementwise_affine"] = None if states else False
    if states and bias is None:
        config["bias"] = False
    e.unit("torch.nn.LayerNorm", [e.value(x)], config, states, outputs=node.outputs)


@RULES.emit("rms_norm")
def rms_norm(e: E, node: Node) -> None:
    """Over the last axes."""
    x, scale = given(node.arg("x")), node.arg("scale")
    sizes = _last(node, x)
    if scale is not None and (scale.tensor is None or tuple(scale.shape or ()) != sizes):
        raise NotExpressible("a weight that is not of the normalised shape")
    config: dict[str, Any] = {"normalized_shape": sizes[0] if len(sizes) == 1 else sizes, "eps": node.attrs["epsilon"]}
    config["elementwise_affine"] = None if scale is not None else False
    states = {} if scale is None else {"weight": e.state(scale)}
    e.unit("torch.nn.RMSNorm", [e.value(x)], config, states, outputs=node.outputs)
