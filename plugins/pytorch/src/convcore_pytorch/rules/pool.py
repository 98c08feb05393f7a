"""Pools of a given size, and whole factors; everything else is in ``emit_rules/pool.py``."""

from __future__ import annotations

from convcore.plugin import A, Rank

from .base import RULES

for _n in (1, 2, 3):
    RULES.op(
        f"torch.nn.AdaptiveAvgPool{_n}d", "adaptive_avg_pool", "input=x", output_size=A("output_size", iso=("torch_ints", _n)),
        rank=Rank(_n + 2), types={"x": "float"},
    )  # fmt: skip
    RULES.op(
        f"torch.nn.AdaptiveMaxPool{_n}d", "adaptive_max_pool", "input=x", output_size=A("output_size", iso=("torch_ints", _n)),
        rank=Rank(_n + 2), types={"x": "float"},
    )  # fmt: skip
