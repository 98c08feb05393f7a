"""Embeddings."""

from __future__ import annotations

from convcore.plugin import A, Size, W

from .base import RULES

_PLACES = {"ids": ("int32", "int64")}
RULES.op(
    "torch.nn.Embedding", "embedding", "input=ids", table=W("weight"), num_embeddings=Size("table", 0),
    embedding_dim=Size("table", 1), padding_idx=A("padding_idx", default=None), types=_PLACES,
)  # fmt: skip
RULES.op(
    "F.embedding", "embedding", "input=ids, weight=table", padding_idx=A("padding_idx", default=None), types=_PLACES,
    direction="emit",
)  # fmt: skip
