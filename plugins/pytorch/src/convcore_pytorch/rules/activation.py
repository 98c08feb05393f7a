"""Activations: modules, and the functions that mean the same."""

from __future__ import annotations

from convcore.plugin import A, Call

from .base import RULES

for _module, _op, _function in (
    ("ReLU", "relu", "relu"), ("Sigmoid", "sigmoid", "sigmoid"), ("Tanh", "tanh", "tanh"), ("SiLU", "silu", "silu"),
    ("Mish", "mish", "mish"), ("Softsign", "softsign", ""), ("Tanhshrink", "tanh_shrink", ""), ("Hardswish", "hard_swish",
    "hardswish"), ("LogSigmoid", "log_sigmoid", "log_sigmoid"),
):  # fmt: skip
    RULES.op(
        f"torch.nn.{_module}", _op, "input=x", types={"x": "float"},
        also=[Call(f"aten.{_function}", "input")] if _function else [],
    )  # fmt: skip

_F: dict[str, tuple[str, ...]] = {"x": ("float",)}
RULES.op("torch.nn.ELU", "elu", "input=x", alpha=A("alpha", 1.0), types=_F)
RULES.op("torch.nn.CELU", "celu", "input=x", alpha=A("alpha", 1.0), types=_F, also=Call("aten.celu", "input, alpha=1.0"))
RULES.op("torch.nn.SELU", "selu", "input=x", types=_F, also=Call("aten.selu", "input"))
RULES.op(
    "torch.nn.LeakyReLU", "leaky_relu", "input=x", alpha=A("negative_slope", 0.01), types=_F,
    also=Call("aten.leaky_relu", "input, negative_slope=0.01"),
)  # fmt: skip
RULES.op(
    "torch.nn.GELU", "gelu", "input=x", approximate=A("approximate", "none"), types=_F,
    also=Call("aten.gelu", "input, *, approximate='none'"),
)  # fmt: skip
RULES.op(
    "torch.nn.Hardsigmoid", "hard_sigmoid", "input=x", alpha=1 / 6, beta=0.5, types=_F, also=Call("aten.hardsigmoid", "input")
)
RULES.op(
    "torch.nn.Softshrink",
    "soft_shrink",
    "input=x",
    lambd=A("lambd", 0.5),
    types=_F,
    also=Call("aten.softshrink", "input, lambd=0.5"),
)
RULES.op(
    "torch.nn.Hardshrink",
    "hard_shrink",
    "input=x",
    lambd=A("lambd", 0.5),
    types=_F,
    also=Call("aten.hardshrink", "input, lambd=0.5"),
)
RULES.op("torch.nn.GLU", "glu", "input=x", axis=A("dim", -1), types=_F, also=Call("aten.glu", "input, dim=-1"))
RULES.op("torch.nn.Softmax", "softmax", "input=x", axis=A("dim", write_default=True), types=_F)
RULES.op("torch.nn.LogSoftmax", "log_softmax", "input=x", axis=A("dim", write_default=True), types=_F)
