"""Ops as Keras 3 layers and operations, by op family, where no row of ``layers/`` says it."""

from __future__ import annotations

from . import (
    activation,
    arithmetic,
    attention,
    constants,
    conv,
    conv_rnn,
    fourier,
    image,
    indexing,
    joining,
    linear,
    norm,
    pool,
    reduce,
    refused,
    rnn,
    sampling,
    scatter,
    shape,
    training,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "constants",
    "conv",
    "conv_rnn",
    "fourier",
    "image",
    "indexing",
    "joining",
    "linear",
    "norm",
    "pool",
    "reduce",
    "refused",
    "rnn",
    "sampling",
    "scatter",
    "shape",
    "training",
]
