"""Running Keras models for verification: live ones, and files that convcore has just written, where Keras 3 is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, Problem, Runtime, UnsupportedError

from .plugin import is_live

__all__ = ["keras3", "open_runtime", "run_written"]


def open_runtime(source: Any, weights: Any = None) -> Runtime | None:
    """The model itself when ``source`` is live; UnsupportedError for a file, which the interpreter verifies.

    A file is not handed to an installed Keras, because Keras 3 gives files of other eras another meaning (it fails on many
    files of Keras 2.12-2.15 and reads the ``hard_sigmoid`` of Keras 2 as its own), and imports modules that a file names.
    """
    if not is_live(source):
        why = "it reads files of other versions differently and imports what they name; give the live model to have Keras run it"
        raise UnsupportedError(Problem("", "Keras", why, code="unsupported_by_runtime"))
    return _runtime(source, f"{type(source).__module__.split('.')[0]} (live)")


def run_written(path: str, weights: str | None = None) -> Runtime | None:
    """What convcore has just written, loaded by Keras 3; None where that, or a backend, is not installed."""
    keras = keras3()
    if keras is None:
        return None
    return _runtime(load_written(keras, path, weights), f"Keras {keras.__version__} ({keras.backend.backend()})")


def load_written(keras: Any, path: str, weights: str | None = None) -> Any:
    """The file as a ``keras.Model``, in safe mode and without custom objects."""
    if path.endswith(".py"):
        return _load_code(path)
    if not path.endswith(".json"):
        return keras.models.load_model(path, compile=False)
    with open(path, encoding="utf-8") as f:
        model = keras.models.model_from_json(f.read())
    if weights is not None:
        model.load_weights(weights)
    return model


def _load_code(path: str) -> Any:
    """The model that code which convcore has just written builds, with its weights."""
    spec = importlib.util.spec_from_file_location("convcore_written", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load_model()


def keras3() -> Any:
    """The module ``keras`` of version 3 with a backend that is installed; None without."""
    if "keras" not in sys.modules:
        if importlib.util.find_spec("keras") is None or not _version("keras").startswith("3."):
            return None
        if "KERAS_BACKEND" not in os.environ:
            found = [b for b in ("torch", "jax", "tensorflow") if importlib.util.find_spec(b) is not None]
            if not found:
                return None
            os.environ["KERAS_BACKEND"] = found[0]
    keras = importlib.import_module("keras")
    return keras if str(getattr(keras, "__version__", "")).startswith("3.") else None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _runtime(model: Any, name: str) -> Runtime:
    def run(arrays: Sequence[Any]) -> list[Any]:
        result = model(list(arrays) if len(arrays) != 1 else arrays[0], training=False)
        return [np.asarray(_numpy(t)) for t in _flat(result)]

    names = tuple(t.name for t in _flat(model.inputs))
    outputs = tuple(t.name for t in _flat(model.outputs))
    return Runtime(name, run, names, outputs)


def _flat(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [t for k in sorted(x) for t in _flat(x[k])]
    return [t for v in x for t in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def _numpy(t: Any) -> Any:
    if not hasattr(t, "detach"):
        return t
    t = t.detach().cpu()
    if str(t.dtype) == "torch.bfloat16":  # numpy has none of its own
        return t.float().numpy().astype(DType.BFLOAT16.numpy)
    return t.numpy()
