"""Activations that are no module of their own."""

from __future__ import annotations

import math

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
    """A slope per channel is nn.PReLU, or a function of what PyTorch holds in another shape; any other broadcasts."""
    x, slope = node.need("x"), node.need("slope")
    shape, s = shape_of(x), shape_of(slope)
    n = math.prod(d for d in s if isinstance(d, int))
    padded = (1,) * (len(shape) - len(s)) + tuple(s)
    if len(shape) < 2 or n not in (1, shape[1]) or len(padded) != len(shape) or any(d != 1 for d in (padded[0], *padded[2:])):
        raise NotExpressible("a slope that is not one per channel")
    held = slope
    while held.producer is not None and held.producer.op == "reshape":
        held = held.producer.need("x")
    if held.tensor is None or (e.dialect.of_torch and held.shape != (n,)):
        flat = e.value(slope) if s == (n,) else e.call(".reshape", [e.value(slope), n])[0]
        e.call("F.prelu", [e.value(x), flat], outputs=node.outputs)
        return
    state = e.state(held, "flat", lambda t: t.reshape((n,))) if held.shape != (n,) else e.state(held)
    e.unit("torch.nn.PReLU", [e.value(x)], {"num_parameters": n}, {"weight": state}, outputs=node.outputs)
