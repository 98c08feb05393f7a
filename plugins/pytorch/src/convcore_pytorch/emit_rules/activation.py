"""Activations that are no module of their own."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, shape_of


@RULES.emit("softplus")
def softplus(e: E, node: Node) -> None:
    """torch's turns linear beyond a threshold; this is exact: log(exp(x) + 1)."""
    x = e.value(node.need("x"))
    (zero,) = e.call("torch.zeros_like", [x])
    e.call("torch.logaddexp", [x, zero], outputs=node.outputs)


@RULES.emit("prelu")
def prelu(e: E, node: Node) -> None:
    """A slope per channel is nn.PReLU; any other broadcasts."""
    x, slope = node.need("x"), node.need("slope")
    shape, s = shape_of(x), shape_of(slope)
    if slope.tensor is not None and len(shape) > 1 and slope.tensor.size in (1, shape[1]):
        padded = (1,) * (len(shape) - len(s)) + tuple(s)
        if all(n == 1 for i, n in enumerate(padded) if i != 1) and len(padded) == len(shape):
            n = slope.tensor.size
            state = e.state(slope, "flat", lambda t: t.reshape((n,))) if s != (n,) else e.state(slope)
            e.unit("torch.nn.PReLU", [e.value(x)], {"num_parameters": n}, {"weight": state}, outputs=node.outputs)
            return
    raise NotExpressible("a slope that is not one per channel")
