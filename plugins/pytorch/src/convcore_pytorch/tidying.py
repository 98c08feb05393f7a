"""Modules without weights that belong to a layer of the source beside another module are written as functions."""

from __future__ import annotations

from collections import Counter

from convcore.plugin import Plan, Unit

__all__ = ["functions"]

FUNCTIONS = {
    "ReLU": "F.relu", "Sigmoid": "torch.sigmoid", "Tanh": "torch.tanh", "SiLU": "F.silu", "Mish": "F.mish",
    "Softsign": "F.softsign",
    "Tanhshrink": "F.tanhshrink", "Hardswish": "F.hardswish", "LogSigmoid": "F.logsigmoid", "ELU": "F.elu", "CELU": "F.celu",
    "SELU": "F.selu", "LeakyReLU": "F.leaky_relu", "GELU": "F.gelu", "Hardsigmoid": "F.hardsigmoid", "Softshrink": "F.softshrink",
    "Hardshrink": "F.hardshrink", "GLU": "F.glu", "Softmax": "F.softmax", "LogSoftmax": "F.log_softmax",
    "Upsample": "F.interpolate", "PixelShuffle": "F.pixel_shuffle", "PixelUnshuffle": "F.pixel_unshuffle",
    **{f"{kind}{n}d": f"F.{name}{n}d" for n in (1, 2, 3) for kind, name in (
        ("MaxPool", "max_pool"), ("AvgPool", "avg_pool"), ("AdaptiveAvgPool", "adaptive_avg_pool"),
        ("AdaptiveMaxPool", "adaptive_max_pool"))},
}  # fmt: skip


def functions(plan: Plan) -> None:
    """To be run before nesting: what shares its scope with another module, or has none, becomes a function."""
    calls = list(plan.root.all_calls())
    for call in calls:
        call.path = plan.dialect.path(call.node) if call.node is not None else ()
    units = {c.target: c.path for c in calls if isinstance(c.target, Unit)}
    count = Counter(units.values())
    for call in calls:
        t = call.target
        if isinstance(t, Unit) and not t.states and t.type.startswith("torch.nn."):
            name = FUNCTIONS.get(t.type.rpartition(".")[2])
            if name is not None and (count[call.path] > 1 or not call.path):
                call.become(name, t.config)
