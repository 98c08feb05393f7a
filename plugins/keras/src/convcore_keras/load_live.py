"""A live Keras model, read through the file it saves itself as."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import ArrayTensor, Tensor, passing

from .files.config import NO_NAMES, UserNames
from .files.model import KerasModel
from .files.reader import read
from .trace import is_subclassed, traced

__all__ = ["read_copied", "read_live"]


def read_live(model: Any, shapes: Any = None, custom: UserNames = NO_NAMES) -> KerasModel:
    """Save ``model`` to a temporary ``.keras`` file, read it with all weights in memory, and delete the file. A
    subclassed model is traced before (``trace.py``); ``shapes`` are its input shapes where it was never built; ``custom``
    is what :func:`read` takes.

    tf.keras before 2.12 has no ``.keras`` archive and writes HDF5 under that name, which reads as well.
    """
    name = type(model).__name__
    if is_subclassed(model):
        model = traced(model, shapes)
    with passing(), tempfile.TemporaryDirectory(prefix="convcore-keras-") as folder:
        path = Path(folder) / "model.keras"
        model.save(str(path))
        result = read_copied(path, custom)
    result.paths = (f"<live {name}>",)
    result.container = "live"
    return result


def read_copied(path: Path, custom: UserNames = NO_NAMES) -> KerasModel:
    """A file that will not be there for long: read with all weights in memory."""
    result = read(path, custom=custom)
    copies: dict[int, tuple[Tensor, Tensor]] = {}  # the original is kept, so that its id stays its own
    for _, layer in result.walk():
        for name, tensor in layer.weights.items():
            if id(tensor) not in copies:
                copies[id(tensor)] = (tensor, ArrayTensor(np.array(tensor.numpy())))
            layer.weights[name] = copies[id(tensor)][1]
    return result
