"""Linear layers."""

from __future__ import annotations

from convcore.plugin import Call, Given, Size, W

from .base import RULES

RULES.op(
    "torch.nn.Linear", "linear", "input=x", w=W("weight"), b=W("bias", optional=True), in_features=Size("w", 1),
    out_features=Size("w", 0), bias=Given("b"), also=Call("aten.linear", "input, weight, bias?"),
)  # fmt: skip
