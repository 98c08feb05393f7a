"""Mapping rules of Keras layers, one module per op family; importing a module declares its rules."""

from __future__ import annotations

from . import (
    activation,
    conv,
    conv_lstm,
    embedding,
    linear,
    merge,
    norm,
    operations,
    pool,
    preprocessing,
    regularization,
    rnn,
    shape,
    wrappers,
)
from .ruleset import RULES

__all__ = [
    "RULES", "activation", "conv", "conv_lstm", "embedding", "linear", "merge", "norm", "operations", "pool", "preprocessing",
    "regularization", "rnn", "shape", "wrappers",
]  # fmt: skip
