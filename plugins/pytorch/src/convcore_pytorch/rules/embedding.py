"""Embeddings. ``padding_idx`` only matters for gradients."""

from __future__ import annotations

from convcore.plugin import Size, W

from .base import RULES

RULES.op(
    "torch.nn.Embedding", "embedding", "input=ids", table=W("weight"), num_embeddings=Size("table", 0),
    embedding_dim=Size("table", 1), types={"ids": ("int32", "int64")},
)  # fmt: skip
