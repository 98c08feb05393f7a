"""Old formats to the current one, as Caffe's upgrade does it: V0 -> V1 -> V2, data transformations, ``input`` fields,
BatchNorm.

Works on what was parsed from text or binary alike and returns a NetParameter that holds only ``layer``.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import BadFileError

from .message import Message
from .schema import message_type
from .types import V0_FIELDS, V0_TRANSFORM, v0_types, v1_types

__all__ = ["upgrade"]

_DATA_PARAMS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_COPIED = ("name", "bottom", "top", "include", "exclude", "blobs", "loss_weight")


def upgrade(net: Message, path: str, notes: list[str]) -> Message:
    """``net`` in the current format; what Caffe drops is told in ``notes``. BadFileError where Caffe refuses."""
    old = net.get("layers")
    if old and net.has("layer"):
        raise BadFileError(f"{path}: both 'layer' (current format) and 'layers' (V1) are given; Caffe reads only one of them")
    out = net.copy()
    if old:
        if any(layer.has("layer") for layer in old):
            old = _v0_to_v1(out, old, path, notes)
        for layer in old:
            _move_transformation(layer)
        out.clear("layers")
        out.set("layer", [_v1_to_v2(layer) for layer in old])
    _inputs(out, path, notes)
    if out.has("layer"):
        out.set("layer", [_batch_norm(layer) for layer in out.get("layer")])
    return out


# ---- V0
def _v0_to_v1(net: Message, layers: list[Message], path: str, notes: list[str]) -> list[Message]:
    for name in ("input_shape", "state", "debug_info"):  # Caffe's V0 upgrade does not carry these over
        if net.has(name):
            notes.append(f"{name} is dropped: Caffe ignores it in a net of V0 layers")
            net.clear(name)
    return [_v0_layer(layer, path, notes) for layer in _fold_padding(net, layers, path)]


def _v0_of(layer: Message) -> Message:
    v0: Message = layer.get("layer")
    return v0


def _fold_padding(net: Message, layers: list[Message], path: str) -> list[Message]:
    """Remove V0 ``padding`` layers: their pad goes to the one convolution or pooling that may follow."""
    source: dict[str, Message | None] = dict.fromkeys(net.get("input"))
    out = []
    for layer in layers:
        v0 = _v0_of(layer)
        name, kind = v0.get("name"), v0.get("type")
        folded = layer
        for i, bottom in enumerate(layer.get("bottom")):
            if bottom not in source:
                raise BadFileError(f"{path}:{layer.line}: layer {name!r} ({kind}): unknown bottom blob {bottom!r}")
            above = source[bottom]
            if above is None or _v0_of(above).get("type") != "padding":
                continue
            if kind not in ("conv", "pool"):
                raise BadFileError(f"{path}:{layer.line}: layer {name!r} ({kind}): only conv and pool may follow a padding layer")
            if len(layer.get("bottom")) != 1 or len(above.get("bottom")) != 1 or len(above.get("top")) != 1:
                raise BadFileError(
                    f"{path}:{layer.line}: layer {name!r} ({kind}): a padding layer must have one bottom and one reader"
                )
            folded = layer.copy()
            padded = v0.copy()
            padded.set("pad", _v0_of(above).get("pad"))
            folded.set("layer", padded)
            folded.get("bottom")[i] = above.get("bottom")[0]
        if kind != "padding":
            out.append(folded)
        source.update(dict.fromkeys(layer.get("top"), layer))
    return out


def _v0_layer(layer: Message, path: str, notes: list[str]) -> Message:
    out = Message("V1LayerParameter", layer.line)
    out.lines = dict(layer.lines)
    out.unknown = dict(layer.unknown)
    for name in ("bottom", "top"):
        if layer.has(name):
            out.put(name, layer.get(name))
    if not layer.has("layer"):
        return out
    v0 = _v0_of(layer)
    out.unknown.update(v0.unknown)
    kind = v0.get("type")
    name = v0.get("name")
    if v0.has("type"):
        if kind not in v0_types():
            raise BadFileError(f"{path}:{layer.line}: layer {name!r}: unknown V0 layer type {kind!r}")
        out.put("type", v0_types()[kind])
    for field, value in v0.fields():
        if field in ("name", "blobs", "blobs_lr", "weight_decay"):
            out.put(field, value)
        elif field in V0_TRANSFORM:
            _sub(out, "transform_param").set(V0_TRANSFORM[field], value)
        elif field in V0_FIELDS and kind in V0_FIELDS[field]:
            param, new = V0_FIELDS[field][kind]
            if not new:
                out.put(param, value)
                continue
            target = _sub(out, param)
            repeated = target.schema.by_name[new].repeated
            target.put(new, [value] if repeated else value)
        elif field not in ("type", "new_num", "new_channels"):
            notes.append(f"layer {name!r}: {field} is dropped: Caffe ignores it on a V0 layer of type {kind!r}")
    return out


def _sub(message: Message, name: str) -> Message:
    """The nested message ``name``, created if absent."""
    if not message.has(name):
        message.put(name, Message(message.schema.by_name[name].type, message.line))
    sub: Message = message.get(name)
    return sub


# ---- V1
def _move_transformation(layer: Message) -> None:
    param = _DATA_PARAMS.get(layer.get("type") or "")
    if param is None or not layer.has(param):
        return
    data = layer.get(param).copy()
    for field in _TRANSFORM_FIELDS:
        if data.has(field):
            transform = _sub(layer, "transform_param").copy()
            transform.set(field, data.get(field))
            layer.put("transform_param", transform)
            data.clear(field)
    layer.put(param, data)


def _v1_to_v2(layer: Message) -> Message:
    out = Message("LayerParameter", layer.line)
    out.lines = dict(layer.lines)
    out.unknown = dict(layer.unknown)
    declared = message_type("LayerParameter").by_name
    for name, value in layer.fields():
        if name in _COPIED or (name.endswith("_param") and name in declared):
            out.put(name, value)
    if layer.has("type"):
        out.put("type", v1_types()[layer.get("type")])
    specs: list[dict[str, Any]] = []
    for new, old in (
        ("name", "param"),
        ("share_mode", "blob_share_mode"),
        ("lr_mult", "blobs_lr"),
        ("decay_mult", "weight_decay"),
    ):
        for i, value in enumerate(layer.get(old)):
            while len(specs) <= i:
                specs.append({})
            specs[i][new] = value
    if specs:
        out.put("param", [Message("ParamSpec", layer.line, **s) for s in specs])
    return out


# ---- inputs and BatchNorm
def _inputs(net: Message, path: str, notes: list[str]) -> None:
    names, shapes, dims = net.get("input"), net.get("input_shape"), net.get("input_dim")
    if names and (shapes or dims):
        if shapes and len(shapes) != len(names):
            raise BadFileError(f"{path}: {len(names)} inputs with {len(shapes)} input_shape; give one per input")
        if not shapes and len(dims) != 4 * len(names):
            raise BadFileError(f"{path}: {len(names)} inputs with {len(dims)} input_dim; give four per input")
        if shapes and dims:
            notes.append("input_dim is ignored: input_shape is given")
        shapes = shapes or [Message("BlobShape", dim=dims[i : i + 4]) for i in range(0, len(dims), 4)]
        layer = Message("LayerParameter", net.lines.get("input", net.line), name="input", type="Input", top=names)
        layer.put("input_param", Message("InputParameter", layer.line, shape=shapes))
        net.put("layer", [layer, *net.get("layer")])
    elif names:
        notes.append(f"input {', '.join(map(repr, names[:8]))} is dropped: Caffe ignores inputs without a shape")
    elif shapes or dims:
        notes.append("input_shape or input_dim is ignored: no input is named")
    for name in ("input", "input_shape", "input_dim"):
        net.clear(name)


def _batch_norm(layer: Message) -> Message:
    if layer.get("type") == "BatchNorm" and len(layer.get("param")) == 3:
        layer = layer.copy()
        layer.clear("param")
    return layer
