"""Convolutions: weights lie as torch holds them, padding is the same on both sides (else see ``emit_rules/conv.py``).
The calls ``aten.conv*`` are in ``aten_layers.py``: they take numbers for lists, texts for padding and inputs without a batch."""

from __future__ import annotations

from convcore.plugin import A, Given, Rank, Size, W

from .base import RULES

for _n in (1, 2, 3):
    RULES.op(
        f"torch.nn.Conv{_n}d", "conv", "input=x", w=W("weight"), b=W("bias", optional=True),
        in_channels=Size("w", 1, times="groups"), out_channels=Size("w", 0), kernel_size=Size("w", "2:"), bias=Given("b"),
        strides=A("stride", 1, ("torch_ints", _n)), pads=A("padding", 0, ("torch_pads", _n)),
        dilations=A("dilation", 1, ("torch_ints", _n)), groups=A("groups", 1), rank=Rank(_n + 2),
    )  # fmt: skip
