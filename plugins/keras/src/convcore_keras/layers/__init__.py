"""Keras's layers, a module per family: the record of every layer (``layer_spec.py``) beside the rules that map it."""

from __future__ import annotations

from . import (
    activation,
    attention,
    augmentation,
    code,
    conv,
    conv_lstm,
    embedding,
    encoding,
    linear,
    merge,
    norm,
    pool,
    preprocessing,
    regularization,
    rnn,
    shape,
    wrappers,
)

__all__ = [
    "activation",
    "attention",
    "augmentation",
    "code",
    "conv",
    "conv_lstm",
    "embedding",
    "encoding",
    "linear",
    "merge",
    "norm",
    "pool",
    "preprocessing",
    "regularization",
    "rnn",
    "shape",
    "wrappers",
]
