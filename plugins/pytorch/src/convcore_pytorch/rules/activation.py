"""Activations: modules, and the functions that mean the same."""

from __future__ import annotations

from convcore.plugin import A

from .base import FLOAT, NUMBER, RULES, aten

_ANY = ("sigmoid", "tanh")
"""Those that take integers."""
for _module, _op, _function in (
    ("ReLU", "relu", ""), ("Sigmoid", "sigmoid", "sigmoid special_expit"), ("Tanh", "tanh", "tanh"), ("SiLU", "silu", "silu"),
    ("Mish", "mish", "mish"), ("Softsign", "softsign", ""), ("Tanhshrink", "tanh_shrink", ""), ("Hardswish", "hard_swish",
    "hardswish"), ("LogSigmoid", "log_sigmoid", "log_sigmoid"),
):  # fmt: skip
    RULES.op(
        f"torch.nn.{_module}", _op, "input=x", types=FLOAT, also=aten(_function, "self:input", "float" if _op in _ANY else ""),
    )  # fmt: skip

RULES.op("F.relu", "relu", "input=x", types={"x": "int"}, direction="emit")
RULES.op("torch.nn.ELU", "elu", "input=x", alpha=A("alpha", 1.0), types=FLOAT)
RULES.op("torch.nn.CELU", "celu", "input=x", alpha=A("alpha", 1.0), types=FLOAT, also=aten("celu", "self:input, alpha=1.0"))
RULES.op("torch.nn.SELU", "selu", "input=x", types=FLOAT, also=aten("selu", "self:input"))
RULES.op(
    "torch.nn.LeakyReLU", "leaky_relu", "input=x", alpha=A("negative_slope", 0.01), types=FLOAT,
    also=aten("leaky_relu", "self:input, negative_slope=0.01"),
)  # fmt: skip
RULES.op(
    "torch.nn.GELU", "gelu", "input=x", approximate=A("approximate", "none"), types=FLOAT,
    also=aten("gelu", "self:input, *, approximate='none'"),
)  # fmt: skip
RULES.op(
    "torch.nn.Hardsigmoid", "hard_sigmoid", "input=x", alpha=1 / 6, beta=0.5, types=FLOAT, also=aten("hardsigmoid", "self:input")
)
RULES.op(
    "torch.nn.Softshrink",
    "soft_shrink",
    "input=x",
    lambd=A("lambd", 0.5),
    types=FLOAT,
    also=aten("softshrink", "self:input, lambd=0.5"),
)
RULES.op(
    "torch.nn.Hardshrink",
    "hard_shrink",
    "input=x",
    lambd=A("lambd", 0.5),
    types=FLOAT,
    also=aten("hardshrink", "self:input, lambd=0.5"),
)
RULES.op("torch.nn.GLU", "glu", "input=x", axis=A("dim", -1), types=FLOAT, also=aten("glu", "self:input, dim=-1"))
RULES.op("torch.nn.Softmax", "softmax", "input=x", axis=A("dim", write_default=True), types=FLOAT)
RULES.op("torch.nn.LogSoftmax", "log_softmax", "input=x", axis=A("dim", write_default=True), types=FLOAT)
RULES.op(aten("relu", "self:input")[0], "relu", "input=x", types=NUMBER)
RULES.op(aten("relu6", "self:input")[0], "clip", "input=x", min=0, max=6, types=FLOAT)
