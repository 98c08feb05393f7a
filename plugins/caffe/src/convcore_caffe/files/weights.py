"""Weight files, and how Caffe matches them to a net: by layer name, with shared parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from convcore.plugin import BadFileError, Tensor, reading

from ..layer_spec import spec_of
from .blobs import Blob
from .hdf5 import read_hdf5
from .net import Layer, Net, Owner, quote_list
from .sniff import sniff
from .types import v0_types, v1_types
from .wire import read_blob_file, read_message_file

__all__ = ["LayerWeights", "attach", "read_mean", "read_weights"]


@dataclass
class LayerWeights:
    """One layer of a weight file.

    A blob is None where HDF5 leaves out one that another layer owns. ``legacy``: see Layer.
    """

    name: str
    type: str
    blobs: list[Tensor | None] = field(default_factory=list)
    legacy: list[bool] = field(default_factory=list)


def read_weights(path: str | Path) -> list[LayerWeights]:
    """The layers of a caffemodel (V0, V1 or current) or HDF5 weight file in file order, layers without blobs included.

    Reads no values: blobs are lazy float32 tensors. ``type`` is "" for HDF5. Raises BadFileError.
    """
    with reading():
        return _read_weights(path)


def _read_weights(path: str | Path) -> list[LayerWeights]:
    kind = sniff(path)
    if kind == "hdf5":
        return [LayerWeights(name, "", blobs, [False] * len(blobs)) for name, blobs in read_hdf5(path)]
    if kind in ("prototxt", "binaryproto"):
        raise BadFileError(f"{path}: holds no weights: it is a {'net definition' if kind == 'prototxt' else 'mean file'}")
    net = read_message_file(path, "NetParameter")
    if net.has("layer") and net.has("layers"):
        raise BadFileError(f"{path}: both current and V1 layers; Caffe reads only one of them")
    if not any(net.has(field) for field in ("layer", "layers", "name")):  # Caffe saves a net of no weights with its name
        raise BadFileError(f"{path}: no layers: not a caffemodel")
    found = []
    for layer in [*net.get("layer"), *net.get("layers")]:
        inner = layer.get("layer") if layer.type == "V1LayerParameter" and layer.has("layer") else layer
        kind = inner.get("type") or ""
        if inner.type == "V0LayerParameter":
            kind = v0_types().get(kind, "")
        if inner.type != "LayerParameter":
            kind = v1_types().get(kind, "")
        blobs: list[Blob] = inner.get("blobs")
        found.append(LayerWeights(inner.get("name") or "", kind, [b.tensor for b in blobs], [b.legacy for b in blobs]))
    return found


def read_mean(path: str | Path) -> Tensor:
    """The mean image of a ``.binaryproto`` file, usually (1, C, H, W), BGR, 0..255, float32."""
    kind = sniff(path)
    if kind not in ("binaryproto", "caffemodel"):
        raise BadFileError(f"{path}: not a mean file (.binaryproto)")
    blob = read_blob_file(path)
    if not blob.tensor.size:
        raise BadFileError(f"{path}: the mean file is empty")
    return blob.tensor


# ---- matching
_Held = tuple[Tensor, bool]  # a blob and whether its shape is legacy


def find_owners(layers: list[Layer]) -> None:
    """Fill ``Layer.shared``: the first layer that names a parameter owns it."""
    owners: dict[str, Owner] = {}
    for i, layer in enumerate(layers):
        for j, spec in enumerate(layer.param_specs):
            if not spec.name:
                continue
            if spec.name in owners:
                layer.shared[j] = owners[spec.name]
            else:
                owners[spec.name] = Owner(i, layer.name, j)


def attach(net: Net, source: list[LayerWeights], path: str, *, hdf5: bool) -> None:
    """Give the net's layers their weights as Net::ShareWeights and Net::CopyTrainedLayersFrom do.

    A weight layer goes to the first layer of its name (HDF5: the last); unknown names are listed in ``net.extra``. A
    blob that layers share gets the value that is copied last, in each one's own shape. Raises BadFileError where
    Caffe refuses.
    """
    target: dict[str, int] = {}
    for i, layer in enumerate(net.layers):
        if hdf5:
            target[layer.name] = i
        else:
            target.setdefault(layer.name, i)
    held: list[list[_Held | None]] = [list(zip(layer.blobs, layer.legacy)) for layer in net.layers]  # inline blobs
    copied: dict[tuple[int, int], _Held] = {
        (i, j): blob for i, row in enumerate(held) for j, blob in enumerate(row) if blob and j not in net.layers[i].shared
    }
    problems = []
    for weights in source:
        at = target.get(weights.name)
        if at is None:
            if weights.blobs:
                net.extra.append(weights.name)
            continue
        layer = net.layers[at]
        if layer.weights == "file" and len(held[at]) != len(weights.blobs):
            problems.append(f"layer {layer.name!r} is there twice, with {len(held[at])} and {len(weights.blobs)} blobs")
        elif weights.blobs:
            layer.weights = "file"
            held[at] = [None if b is None else (b, old) for b, old in zip(weights.blobs, weights.legacy, strict=True)]
            copied.update({_home(net, at, j): blob for j, blob in enumerate(held[at]) if blob})
        elif layer.takes_weights and not (hdf5 and layer.shared):
            problems.append(f"layer {layer.name!r} ({layer.type}) has no blobs in the weights")
    _share(net, held, copied, problems)
    for layer, row in zip(net.layers, held, strict=True):
        layer.blobs = [blob[0] for blob in row if blob]
        layer.legacy = [blob[1] for blob in row if blob]
        if layer.blobs and spec_of(layer.type).upstream and len(layer.param_specs) > len(layer.blobs):
            problems.append(
                f"layer {layer.name!r} ({layer.type}) has {len(layer.param_specs)} param for {len(layer.blobs)} blobs"
            )
    if problems:
        raise BadFileError("\n  ".join([f"{path}: Caffe refuses these weights for this net", *problems[:50]]))
    if net.extra:
        net.notes.append(f"weights of layers the net does not have are ignored: {quote_list(net.extra)}")


def _home(net: Net, layer: int, blob: int) -> tuple[int, int]:
    owner = net.layers[layer].shared.get(blob)
    return (owner.layer_index, owner.blob_index) if owner else (layer, blob)


def _share(net: Net, held: list[list[_Held | None]], copied: dict[tuple[int, int], _Held], problems: list[str]) -> None:
    """Put the value copied last into every member of a shared parameter, and fill what HDF5 leaves to the owner."""
    homes = {(o.layer_index, o.blob_index) for layer in net.layers for o in layer.shared.values()}
    for i, (layer, row) in enumerate(zip(net.layers, held, strict=True)):
        who = f"layer {layer.name!r} ({layer.type})"
        while len(row) in layer.shared and _home(net, i, len(row)) in copied:  # absent altogether: all its blobs are shared
            row.append(None)
            layer.weights = layer.weights or "shared"
        for j, own in enumerate(row):
            home = _home(net, i, j)
            if home not in homes and own is not None:
                continue
            value = copied.get(home)
            if value is None:
                problems.append(f"{who}: blob {j} is neither in the weights nor shared by a layer that is")
            elif own is None:
                row[j] = value
            else:
                strict = home != (i, j) and layer.param_specs[j].share_mode != "PERMISSIVE"
                row_of_owner = held[home[0]]
                owned = row_of_owner[home[1]] if home[1] < len(row_of_owner) else None
                owner = owned or value
                strict = strict and not (own[1] or owner[1])  # legacy shapes are compared when the layers ask
                if own[0].size != value[0].size or (strict and own[0].shape != owner[0].shape):
                    name, had = layer.param_specs[j].name, list(own[0].shape)
                    problems.append(f"{who}: shared blob {j} ({name!r}) has shape {had}, its owner's {list(owner[0].shape)}")
                else:
                    row[j] = (value[0].reshape(own[0].shape), own[1])
