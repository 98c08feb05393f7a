"""Running Keras models for verification: live ones, and files of Keras 3, convcore's own among them, where it is installed."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, DType, Problem, Runtime, UnsupportedError

from .files.reader import architecture
from .plugin import is_live

__all__ = ["keras3", "open_runtime", "run_written"]


def open_runtime(source: Any, weights: Any = None) -> Runtime | None:
    """A live model itself; a file of Keras 3 loaded by the installed Keras 3 (``--check native`` asks for it).

    UnsupportedError, and the interpreter verifies, for a file that would not come out as what it means: of another era (Keras 3
    reads the ``hard_sigmoid`` of Keras 2 as its own), of Keras 1 and 2 in general, or that names anything but Keras's own
    layers, initializers and the like, since Keras imports what a file names. None where Keras 3 or a backend is not installed.
    """
    if is_live(source):
        return _runtime(source, f"{type(source).__module__.split('.')[0]} (live)")
    path = os.fspath(source[0] if isinstance(source, (list, tuple)) else source)
    try:
        era, version, config = architecture(path)
    except BadFileError as e:
        raise _cannot(str(e)) from e
    why = _why_not(era, version, config)
    if why:
        raise _cannot(f"{why}; give the live model to have Keras run it")
    keras = keras3()
    if keras is None:
        raise _cannot("Keras 3 with a backend is not installed")
    try:
        model = load_written(keras, path, None if weights is None else os.fspath(weights))
    except Exception as e:  # Keras raises what it likes; the interpreter takes over and the report says why
        raise _cannot(
            f"Keras {keras.__version__} does not load it: {type(e).__name__}: {str(e).strip().splitlines()[0][:200]}"
        ) from e
    return _runtime(model, f"keras {keras.__version__} ({keras.backend.backend()})")


def _cannot(why: str) -> UnsupportedError:
    return UnsupportedError(Problem("", "Keras", why, code="unsupported_by_runtime"))


_MODULES = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|activations))?|"
    r"keras\.src\.(ops\.(core|image|linalg|math|nn|numpy)|models\.(functional|sequential)|layers\.[a-z_0-9.]+)"
)
"""Modules a file may name for it to be handed to Keras."""


def _why_not(era: str, version: str, config: Any) -> str:
    """What keeps a file from being handed to Keras 3; "" for nothing."""
    if era != "keras3":
        return f"it is of Keras {version or 'before 3'}, and Keras 3 reads files of other versions differently"
    stack = [config]
    while stack:
        x = stack.pop()
        if isinstance(x, dict):
            module, name = x.get("module"), x.get("class_name")
            if name in ("__lambda__", "Lambda", "function") or (module is not None and not _MODULES.fullmatch(str(module))):
                return f"it names {'.'.join(str(p) for p in (module, name) if p)!r}, and Keras imports or runs what a file names"
            stack += [v for k, v in x.items() if k != "compile_config"]
        elif isinstance(x, list):
            stack += x
    return ""


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


class _Uncached(importlib.machinery.SourceFileLoader):
    """Compiles the text itself: Python's cached bytecode would be that of an older file of the same second and size."""

    def path_stats(self, path: Any) -> Any:
        raise OSError(f"{path} has no cached bytecode")


def _load_code(path: str) -> Any:
    """The model that code which convcore has just written builds, with its weights."""
    spec = importlib.util.spec_from_file_location("convcore_written", path, loader=_Uncached("convcore_written", path))
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
