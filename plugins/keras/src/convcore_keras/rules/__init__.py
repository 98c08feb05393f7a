"""Mapping rules of Keras layers, one module per op family."""

from __future__ import annotations

from . import activation, conv, linear, merge, norm, pool, preprocessing, regularization, shape
from .ruleset import RULES

__all__ = [
    "RULES",
    "activation",
    "conv",
    "linear",
    "merge",
    "norm",
    "pool",
    "preprocessing",
    "regularization",
    "shape",
]
