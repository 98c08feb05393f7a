"""``keras.ops`` in functional models, by family: every operation's signature (``spec.py``) beside the rules that map it."""

from __future__ import annotations

from . import (
    arithmetic,
    constants,
    conv,
    diagonals,
    elementwise,
    image,
    indexing,
    joining,
    linear,
    nn,
    reduce,
    shape,
    signal,
)

__all__ = [
    "arithmetic",
    "constants",
    "conv",
    "diagonals",
    "elementwise",
    "image",
    "indexing",
    "joining",
    "linear",
    "nn",
    "reduce",
    "shape",
    "signal",
]
