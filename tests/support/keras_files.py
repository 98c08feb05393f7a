"""Keras 3 files written by hand (json + h5py): tests need no Keras to make a model, also one with unknown layers."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def tensor(layer: str, shape: Sequence[int | None], dtype: str = "float32") -> dict[str, Any]:
    """The output of a layer, as an argument of another."""
    return {"class_name": "__keras_tensor__", "config": {"shape": list(shape), "dtype": dtype, "keras_history": [layer, 0, 0]}}


def layer(
    class_name: str,
    name: str,
    config: Mapping[str, Any],
    args: Sequence[Any],
    *,
    module: str = "keras.layers",
    registered: str | None = None,
) -> dict[str, Any]:
    """One layer of a functional model."""
    return {
        "module": module, "class_name": class_name, "config": {"name": name, **config}, "registered_name": registered,
        "name": name, "inbound_nodes": [{"args": list(args), "kwargs": {}}],
    }  # fmt: skip


def input_layer(name: str, shape: Sequence[int | None], dtype: str = "float32") -> dict[str, Any]:
    """An InputLayer."""
    config = {"batch_shape": list(shape), "dtype": dtype, "name": name}
    return {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": config,
        "registered_name": None,
        "name": name,
        "inbound_nodes": [],
    }


def write(path: Path, layers: Sequence[Mapping[str, Any]], outputs: Sequence[str], weights: Mapping[str, np.ndarray]) -> Path:
    """A functional model as a ``.keras`` file; ``weights`` by path, e.g. ``layers/dense/vars/0``."""
    import h5py

    inputs = [x["name"] for x in layers if x["class_name"] == "InputLayer"]
    config = {
        "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {
            "name": "model", "trainable": True, "layers": list(layers), "input_layers": [[n, 0, 0] for n in inputs],
            "output_layers": [[n, 0, 0] for n in outputs],
        },
    }  # fmt: skip
    data = io.BytesIO()
    with h5py.File(data, "w") as f:
        for k, v in weights.items():
            f[k] = v
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("metadata.json", json.dumps({"keras_version": "3.12.0", "date_saved": "2026-01-01@00:00:00"}))
        z.writestr("config.json", json.dumps(config))
        z.writestr("model.weights.h5", data.getvalue())
    return path


def nameless_functions(path: Path) -> Path:
    """A model with three Lambda layers whose functions the file names but does not hold: none of them can be mapped."""
    shape = [None, 8, 8, 3]
    layers, last = [input_layer("x", shape)], "x"
    for i in range(3):
        function = {"class_name": "function", "config": f"f{i}", "registered_name": f"f{i}", "module": "builtins"}
        layers.append(layer("Lambda", f"lambda_{i}", {"function": function, "arguments": {}}, [tensor(last, shape)]))
        last = f"lambda_{i}"
    return write(path, layers, [last], {})
