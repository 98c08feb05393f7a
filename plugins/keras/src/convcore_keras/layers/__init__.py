"""Keras's layers, a module per family: the record of every layer (``layer_spec.py``) beside the rules that map it."""

from __future__ import annotations

from . import (
    activation,
    applications,
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
    quantised,
    regularization,
    rnn,
    shape,
    wrappers,
)

__all__ = [
    "activation",
    "applications",
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
    "quantised",
    "regularization",
    "rnn",
    "shape",
    "wrappers",
]
