"""Keras 3 files from a KerasModel, with json, zipfile and h5py alone: ``.keras``, whole-model ``.h5``, ``.json`` with
``.weights.h5``.

Variables lie where Keras looks for them: the same tables (``variables.py``) and the same order of layers (``order.py``)
that the readers go by. Tensors are read one at a time, while they are written.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from convcore.plugin import DType, Tensor, UsageError

from .model import KerasModel, LayerConfig, ModelConfig
from .order import ordered_layers
from .variables import children, own_variables, snake
from .weights_v3 import PYTHON_NAMES
from .write_config import KERAS_VERSION, model_json

__all__ = ["metadata_json", "write_h5", "write_json", "write_keras", "write_weights"]

_HEADER_LIMIT = 64_512
"""Bytes an HDF5 attribute may have; longer lists are split (``legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT``)."""


# ---- .keras and .weights.h5
def write_keras(model: KerasModel, path: Path) -> None:
    """One ``.keras`` archive: ``metadata.json``, ``config.json``, ``model.weights.h5``, all stored as they are."""
    with (
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=".convcore-", suffix=".h5") as held,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,
    ):
        write_weights(model, Path(held.name))
        archive.writestr(zipfile.ZipInfo("metadata.json"), metadata_json())
        archive.writestr(zipfile.ZipInfo("config.json"), json.dumps(model_json(model)))
        with (
            open(held.name, "rb") as source,
            archive.open(zipfile.ZipInfo("model.weights.h5"), "w", force_zip64=True) as to,
        ):
            shutil.copyfileobj(source, to, 1 << 20)


def metadata_json() -> str:
    """``metadata.json``: the version, and a date that is always the same."""
    return json.dumps({"keras_version": KERAS_VERSION, "date_saved": "1980-01-01@00:00:00"})


def write_json(model: KerasModel, path: Path) -> None:
    """The architecture alone, as ``keras.models.model_from_json`` reads it."""
    path.write_text(json.dumps(model_json(model), indent=1), encoding="utf-8")


def write_weights(model: KerasModel, path: Path) -> None:
    """A ``.weights.h5`` for ``model.load_weights``."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as f:
        _about(f, model)
        _model_variables(f, model.root, "")


def _about(f: h5py.File, model: KerasModel) -> None:
    """What Keras has no place for and ignores there."""
    if model.about:
        f.attrs["convcore"] = model.about.encode()  # of variable length: no limit


def _model_variables(f: h5py.File, model: ModelConfig, path: str) -> None:
    """Every layer's variables in a folder named after its class, numbered in ``model.layers`` order."""
    layers = [x for x in ordered_layers(model) if not x.is_op]
    if model.kind == "sequential" and layers and layers[0].class_name == "InputLayer":
        layers = layers[1:]
    used: dict[str, int] = {}
    for layer in layers:
        bare = layer.class_name.rsplit(">", 1)[-1]
        base = snake(
            "Functional" if layer.model is not None and layer.model.kind != "sequential" else PYTHON_NAMES.get(bare, bare)
        )
        n = used[base] = used.get(base, -1) + 1
        _layer_variables(f, layer, _join(path, f"layers/{base}_{n}" if n else f"layers/{base}"))


def _layer_variables(f: h5py.File, layer: LayerConfig, path: str) -> None:
    if layer.model is not None:
        _model_variables(f, layer.model, path)
        return
    if layer.custom:
        for key, tensor in layer.weights.items():
            folder, _, number = key.rpartition("/")
            group = f.require_group(_join(path, folder, "vars"))
            if not folder:
                group.attrs["name"] = layer.name
            _dataset(group, number, tensor)
        return
    counts: dict[str, int] = {}
    for variable in _own(layer):
        folder = _join(path, variable.folders[0], "vars")
        i = counts[folder] = counts.get(folder, -1) + 1
        group = f.require_group(folder)
        if i == 0:
            group.attrs["name"] = layer.name
        _dataset(group, str(i), layer.weights[variable.name])
    for _, folder, child in children(layer):
        _layer_variables(f, child, f"{path}/{folder}")


def placed(layer: LayerConfig, path: str, prefix: str, trainable: bool) -> Iterator[tuple[str, str, bool]]:
    """(name, path below the layer's folder, whether it is trained) of each variable, in order of creation. The others are what
    holds the layer: its path, its part's name, and whether it is trained."""
    counts: dict[str, int] = {}
    trainable = trainable and layer.trainable
    for variable in _own(layer):
        folder = _join(path, variable.folders[0])
        i = counts[folder] = counts.get(folder, -1) + 1
        yield _join(prefix, variable.name), _join(folder, str(i)), trainable and variable.trainable
    for part, folder, child in children(layer):
        yield from placed(child, _join(path, folder), _join(prefix, part), trainable)


def _own(layer: LayerConfig) -> list[Any]:
    own = own_variables(layer)
    if own is None:
        raise UsageError(f"layer {layer.name!r}: the variables of {layer.class_name} are not known, it cannot be written")
    missing = [v.name for v in own if v.name not in layer.weights]
    if missing:
        raise UsageError(f"layer {layer.name!r} ({layer.class_name}): no value for its variables {', '.join(missing)}")
    return own


def _dataset(group: h5py.Group, name: str, tensor: Tensor) -> None:
    """A contiguous dataset; bfloat16 as raw bytes with its name beside, as ``H5IOStore`` does."""
    array = np.asarray(tensor.numpy(), order="C")
    if tensor.dtype is DType.BFLOAT16:
        data = group.create_dataset(name, data=array.view("V2"))
        data.attrs["dtype"] = "bfloat16"
    else:
        group.create_dataset(name, data=array)


# ---- .h5
def write_h5(model: KerasModel, path: Path) -> None:
    """A whole-model HDF5 file (``legacy_h5_format.save_model_to_hdf5``), architecture and weights.

    bfloat16 variables are stored as float32, exactly. UsageError where an index has an Ellipsis: Keras decodes it before
    the layers are read, and then fails (``json_utils.decode``, 3.15.1).
    """
    for _, layer in model.walk():
        if any(_has_ellipsis(c.args) or _has_ellipsis(c.kwargs) for c in layer.calls):
            raise UsageError(f"layer {layer.name!r}: Keras does not read '...' in an index from HDF5; write a .keras file")
    with h5py.File(path, "w", libver=("earliest", "v110")) as f:
        f.attrs["keras_version"] = KERAS_VERSION
        f.attrs["backend"] = "tensorflow"
        _about(f, model)
        f.attrs["model_config"] = json.dumps(model_json(model)).encode()  # of variable length: no limit
        root = f.create_group("model_weights")
        root.attrs["backend"] = b"tensorflow"
        root.attrs["keras_version"] = KERAS_VERSION.encode()
        layers = [x for x in ordered_layers(model.root) if not x.is_op]
        if model.root.kind == "sequential" and layers and layers[0].class_name == "InputLayer":
            layers = layers[1:]
        _text_list(root, "layer_names", [x.name for x in layers])
        for layer in sorted(layers, key=lambda x: x.name):
            _group(root.create_group(layer.name), layer)
        _text_list(root.create_group("top_level_model_weights"), "weight_names", [])


def _group(group: h5py.Group, layer: LayerConfig) -> None:
    """A layer's arrays: all trainable ones, then all others (``_legacy_weights``), nested models' too."""
    slots = list(_slots(layer, layer.name, layer.trainable))
    slots = [s for s in slots if s[2]] + [s for s in slots if not s[2]]
    names: list[str] = []
    taken: set[str] = set()
    for name, tensor, _ in slots:
        unique, n = name, 0
        while unique in taken:
            n += 1
            unique = f"{name}_{n}"
        taken.add(unique)
        names.append(unique)
        _dataset(group, unique, tensor.cast(DType.FLOAT32) if tensor.dtype is DType.BFLOAT16 else tensor)
    _text_list(group, "weight_names", names)


def _slots(layer: LayerConfig, prefix: str, trainable: bool) -> Iterator[tuple[str, Tensor, bool]]:
    """``(name, tensor, whether it is trained)`` in order of creation."""
    if layer.model is not None:
        for inner in ordered_layers(layer.model):
            if not inner.is_op:
                yield from _slots(inner, f"{prefix}/{inner.name}", trainable and inner.trainable)
        return
    if layer.custom:
        for key, trained in layer.order:
            yield f"{prefix}/{key}", layer.weights[key], trainable and trained
        return
    for variable in _own(layer):
        yield f"{prefix}/{variable.name}", layer.weights[variable.name], trainable and variable.trainable
    for part, _, child in children(layer):
        yield from _slots(child, f"{prefix}/{part}", trainable and child.trainable)


def _text_list(group: h5py.Group, name: str, values: Sequence[str]) -> None:
    """A list of strings as an attribute, in chunks ``name0``, ``name1``... where one would be too large."""
    items = [v.encode() for v in values]
    if any(len(v) > _HEADER_LIMIT for v in items):
        raise UsageError(f"a name is longer than the {_HEADER_LIMIT} bytes HDF5 takes")
    chunks = 1
    array = np.asarray(items) if items else np.asarray([], "S1")
    while any(x.nbytes > _HEADER_LIMIT for x in np.array_split(array, chunks)):
        chunks += 1
    if chunks == 1:
        group.attrs[name] = array
        return
    for i, x in enumerate(np.array_split(array, chunks)):
        group.attrs[f"{name}{i}"] = x


def _has_ellipsis(x: Any) -> bool:
    if isinstance(x, dict):
        x = list(x.values())
    return x is Ellipsis or (isinstance(x, (list, tuple)) and any(map(_has_ellipsis, x)))


def _join(*parts: str) -> str:
    return "/".join(p for p in parts if p)
