"""Keras files of every era, read without Keras or TensorFlow into plain data.

>>> model = read("model.keras")                     # .keras, legacy .h5, or a folder
>>> model = read("model.json", "model.weights.h5")  # architecture and weights apart

Nothing in a file is executed or imported; Lambda code and unknown functions come out as :class:`OpaqueObject`.
"""

from __future__ import annotations

from .model import Call, KerasModel, LayerConfig, LayerDType, ModelConfig, OpaqueObject, TensorRef, iter_refs
from .normalise import HARD_SIGMOID_KERAS2
from .reader import architecture, read
from .sniff import FileKind, sniff
from .write import write_h5, write_json, write_keras, write_weights
from .write_code import write_code

__all__ = [
    "HARD_SIGMOID_KERAS2",
    "Call",
    "FileKind",
    "KerasModel",
    "LayerConfig",
    "LayerDType",
    "ModelConfig",
    "OpaqueObject",
    "TensorRef",
    "architecture",
    "iter_refs",
    "read",
    "sniff",
    "write_code",
    "write_h5",
    "write_json",
    "write_keras",
    "write_weights",
]
