"""Architecture JSON of every era as a ModelConfig (no weights yet)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from convcore.plugin import BadFileError, Problem, UnsupportedError, ask_option, spend_nodes

from ..activations import name_of
from ..layer_spec import canonical, is_known, spec_of
from . import keras1
from .model import Call, LayerConfig, ModelConfig, OpaqueObject, TensorRef
from .nodes import parse_calls, parse_endpoints, resolve
from .normalise import check_shape, decode, dtype_policy, normalise
from .theano import mark_theano_padding

__all__ = ["MAX_NESTING", "Context", "layer_of_entry", "parse_root"]

MAX_NESTING = 64
_MAX_LAYERS = 1_000_000
_OURS = {"keras", "tf_keras", "tensorflow"}
_OPS = re.compile(r"^keras(\.src)?\.ops(\.|$)")
MODEL_CLASSES = {"Sequential", "Functional", "Model", "Container", "Network"}


class UserNames(NamedTuple):
    """The classes and functions of the user's source, with the files that define them."""

    classes: Mapping[str, str] = {}
    functions: Mapping[str, str] = {}


NO_NAMES = UserNames()


@dataclass
class Context:
    """What holds for a whole file: era, version, which backend computed it, the axis order Keras 1 leaves out; ``custom`` is
    what the user's source defines."""

    era: str
    version: tuple[int, ...]
    theano: bool = False
    image_format: str | None = None
    notes: list[str] = field(default_factory=list)
    custom: UserNames = NO_NAMES


def parse_root(obj: Any, ctx: Context, what: str, image_format: str | None = None) -> ModelConfig:
    """The model of a parsed ``config.json``/``model_config``. Raises BadFileError, UnsupportedError."""
    if not isinstance(obj, dict) or not isinstance(obj.get("class_name"), str):
        raise BadFileError(f"{what}: is not a Keras model configuration")
    if not _is_model(obj):
        raise UnsupportedError(
            Problem(
                str(obj.get("class_name"))[:80],
                "model",
                "is a subclassed model: the file does not hold its graph, only Python code would give it one",
                "rebuild it as a Functional or Sequential model and save that",
                "unsupported_model",
            ),
            "cannot be read",
        )
    if ctx.era == "keras1":
        ctx.image_format = _stated_format(obj) or image_format
    model = _model(obj, ctx, what, 0, "model")
    spend_nodes(_expanded(model), f"{what}: its layers and nested models come")
    return model


def _expanded(model: ModelConfig) -> int:
    """How many calls of layers a model comes to when every call of a nested one is written out."""
    return sum(len(x.calls) * (_expanded(x.model) if x.model is not None else 1) for x in model.layers)


def _is_model(entry: dict[str, Any]) -> bool:
    config = entry.get("config")
    if isinstance(config, list):
        return entry.get("class_name") == "Sequential"
    if not isinstance(config, dict) or "layers" not in config:
        return False
    return ("input_layers" in config and "output_layers" in config) or entry.get("class_name") in MODEL_CLASSES


def _model(entry: dict[str, Any], ctx: Context, what: str, depth: int, fallback: str) -> ModelConfig:
    if depth > MAX_NESTING:
        raise BadFileError(f"{what}: models are nested more than {MAX_NESTING} deep")
    config, cls = entry["config"], entry["class_name"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None) or fallback
    if not isinstance(name, str):
        raise BadFileError(f"{what}: a model's name is not a string")
    if cls not in MODEL_CLASSES:
        ctx.notes.append(f"model {name!r} is of class {cls!r}, which is not Keras's; its stored graph is used")
    if isinstance(config, dict) and "input_layers" in config:
        model = _functional(config, name, cls, ctx, what, depth)
    else:
        model = _sequential(entry, config, name, cls, ctx, what, depth)
    if isinstance(config, dict):
        model.trainable = bool(config.get("trainable", True))
    return model


def _entries(layers: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
        raise BadFileError(f"{what}: 'layers' is not a list of layers")
    for x in layers:
        if not isinstance(x, dict) or not isinstance(x.get("class_name"), str) or not isinstance(x.get("config"), (dict, list)):
            raise BadFileError(f"{what}: malformed layer entry {str(x)[:80]}")
    return layers


def _functional(config: dict[str, Any], name: str, cls: str, ctx: Context, what: str, depth: int) -> ModelConfig:
    entries = _entries(config.get("layers"), what)
    layers = []
    names: set[str] = set()
    for entry in entries:
        layer = _layer(entry, ctx, what, depth, "")
        if not layer.name or layer.name in names:
            raise BadFileError(f"{what}: two layers are named {layer.name[:80]!r}" if layer.name else f"{what}: unnamed layer")
        names.add(layer.name)
        layers.append(layer)
    for entry, layer in zip(entries, layers, strict=True):
        calls = parse_calls(entry.get("inbound_nodes") or [], names, layer.name)
        layer.calls = calls or ([Call()] if layer.class_name == "InputLayer" else [])
    model = ModelConfig(name, "functional", cls, layers, None, None)
    model.inputs = parse_endpoints(config["input_layers"], names, name)
    model.outputs = parse_endpoints(config.get("output_layers"), names, name)
    resolve(model, ctx.era)
    return model


def _sequential(entry: dict[str, Any], config: Any, name: str, cls: str, ctx: Context, what: str, depth: int) -> ModelConfig:
    entries = _entries(config if isinstance(config, list) else config.get("layers"), what)
    if ctx.era == "keras1" and entries and entries[0]["class_name"] == "Merge" and entries[0]["config"].get("layers"):
        return _merge_first(entries, name, cls, ctx, what, depth)
    layers = [_layer(x, ctx, what, depth, f"{x['class_name'].lower()}_{i + 1}") for i, x in enumerate(entries)]
    names = {x.name for x in layers}
    if len(names) != len(layers):
        raise BadFileError(f"{what}: two layers of Sequential model {name[:80]!r} have the same name")
    if not layers or layers[0].class_name != "InputLayer":
        layers.insert(0, _synthetic_input(entry, config, entries, layers, names, ctx))
    previous = None
    for layer in layers:
        layer.calls = [Call() if previous is None else Call((TensorRef(previous, 0, 0),))]
        previous = layer.name
    return ModelConfig(name, "sequential", cls, layers, TensorRef(layers[0].name, 0, 0), TensorRef(layers[-1].name, 0, 0))


def _synthetic_input(
    entry: dict[str, Any],
    config: Any,
    entries: list[dict[str, Any]],
    layers: list[LayerConfig],
    names: set[str],
    ctx: Context,
) -> LayerConfig:
    """The InputLayer a Sequential model implies; its shape is None when the file states none."""
    first = layers[0] if layers else None
    shape: Any = None
    dtype: Any = None
    if entries and isinstance(entries[0]["config"], dict):
        own = entries[0]["config"]
        shape, dtype = own.get("batch_input_shape") or own.get("batch_shape"), own.get("input_dtype")
        if shape is None and isinstance(own.get("input_shape"), list):
            shape = [None, *own["input_shape"]]
    if shape is None and first is not None and first.model is not None and len(first.model.input_refs()) == 1:
        inner = first.model.layer(first.model.input_refs()[0].layer).config
        shape, dtype = inner.get("batch_shape"), inner.get("dtype")
    if shape is None and isinstance(config, dict):
        shape = config.get("build_input_shape")
    if shape is None and isinstance(entry.get("build_config"), dict):
        shape = entry["build_config"].get("input_shape")
    if dtype is None:
        dtype = first.dtype.variable if first is not None and first.dtype.quantization is None else "float32"
    base = f"{first.name}_input" if first is not None else "input"
    name = base
    while name in names:
        name += "_"
    batch_shape = None if shape is None else check_shape(shape, name)
    cfg = {"batch_shape": batch_shape, "dtype": dtype, "sparse": False, "ragged": False, "optional": False}
    return LayerConfig(name, "InputLayer", "InputLayer", cfg, dtype=dtype_policy(dtype))


def _merge_first(entries: list[dict[str, Any]], name: str, cls: str, ctx: Context, what: str, depth: int) -> ModelConfig:
    """Keras 1: a Sequential that starts by merging other Sequentials, written out as the graph it is."""
    if depth > MAX_NESTING:
        raise BadFileError(f"{what}: models are nested more than {MAX_NESTING} deep")
    layers: list[LayerConfig] = []
    inputs: list[TensorRef] = []
    ends: list[TensorRef] = []
    for branch in _entries(entries[0]["config"]["layers"], what):
        if branch["class_name"] != "Sequential":
            problem = Problem(name, "Merge", f"merges a {branch['class_name'][:40]!r} as the first layer of a Sequential")
            raise UnsupportedError(problem, "cannot be read")
        inner = _model(branch, ctx, what, depth + 1, "branch")
        layers += inner.layers
        inputs += inner.input_refs()
        ends += inner.output_refs()
    merge = _layer({"class_name": "Merge", "config": entries[0]["config"]}, ctx, what, depth, "merge_1")
    merge.calls = [Call((list(ends),))]
    layers.append(merge)
    for i, x in enumerate(entries[1:]):
        layer = _layer(x, ctx, what, depth, f"{x['class_name'].lower()}_{i + 2}")
        layer.calls = [Call((TensorRef(layers[-1].name, 0, 0),))]
        layers.append(layer)
    if len({x.name for x in layers}) != len(layers):
        raise BadFileError(f"{what}: two layers of Sequential model {name[:80]!r} have the same name")
    return ModelConfig(name, "functional", cls, layers, inputs, TensorRef(layers[-1].name, 0, 0))


# ---- layers
def layer_of_entry(entry: dict[str, Any], ctx: Context) -> LayerConfig:
    """A layer by its class and configuration alone, as code makes it. Raises BadFileError."""
    return _layer(entry, ctx, "the source of a layer", 0, str(entry["class_name"]).lower())


def _layer(entry: dict[str, Any], ctx: Context, what: str, depth: int, fallback: str) -> LayerConfig:
    if depth > MAX_NESTING:
        raise BadFileError(f"{what}: layers are nested more than {MAX_NESTING} deep")
    source, config = entry["class_name"], entry["config"]
    cfg_name = config.get("name") if isinstance(config, dict) else None
    name = entry.get("name") or cfg_name or fallback
    if not isinstance(name, str):
        raise BadFileError(f"{what}: a layer's name is not a string")
    module, registered = _text(entry.get("module")), _text(entry.get("registered_name"))
    cls, custom = _class(source, module, registered, "module" in entry)
    users = "module" not in entry and cls != "InputLayer" and source in ctx.custom.classes
    if users:  # as ``custom_objects`` come before Keras's own (keras.legacy.saving.serialization, Keras 3.15.1)
        cls, custom = f"custom>{source}" if _is_keras(cls) else source, True
    elif ctx.era == "keras3" and not custom and "module" not in entry and spec_of(cls).extinct:
        cls, custom = f"custom>{cls}", True  # a class of the user's, which has the name of one that Keras 3 does not have
    layer = LayerConfig(name, cls, source, {}, module, registered, custom)
    shared = entry.get("shared_object_id")
    layer.shared_object_id = shared if isinstance(shared, int) else None
    build = entry.get("build_config")
    layer.build_config = build if isinstance(build, dict) else None
    if _is_model(entry):
        layer.model = _model({**entry, "name": name}, ctx, what, depth + 1, name)
        layer.class_name = source if source in MODEL_CLASSES else "Functional"
        layer.custom = False
        layer.trainable = layer.model.trainable
        return layer
    if not isinstance(config, dict):
        raise BadFileError(f"{what}: layer {name[:80]!r} has a list as its configuration")
    layer.trainable = bool(config.get("trainable", True))
    layer.is_op = not users and _is_op(config, module, ctx.era, cls, "module" in entry)
    if users:
        _note_users(source, ctx)
    if layer.is_op:
        layer.class_name, layer.custom = source, False
    layer.dtype = dtype_policy(config.get("dtype"))
    if layer.custom or layer.is_op:
        layer.stated = layer.stated & config.keys()
        kept = {k: v for k, v in config.items() if k not in ("name", "trainable")}
        layer.config = {k: decode(v, f"layer {name[:80]!r}") for k, v in kept.items()}
        return layer
    if ctx.era == "keras1":
        layer.class_name, config = keras1.modernise(source, config, name, ctx.image_format)
        layer.class_name = canonical(layer.class_name)
    _fill(layer, config, ctx, what, depth)
    return layer


def _fill(layer: LayerConfig, config: dict[str, Any], ctx: Context, what: str, depth: int) -> None:
    cls = layer.class_name
    config = {k: v for k, v in config.items() if k not in ("name", "trainable")}
    if cls == "Lambda":
        config = _opaque_lambda(config)
    elif spec_of(cls).parts:
        config = _sublayers(cls, config, ctx, what, depth)
    elif spec_of(cls).plain:
        config |= spec_of(cls).defaults
        layer.class_name = cls = spec_of(cls).plain
    if ctx.era != "keras3":
        config |= {k: _users_function(config[k], ctx) for k in ("activation", "recurrent_activation") if k in config}
    keep = {k: v for k, v in config.items() if isinstance(v, (LayerConfig, OpaqueObject)) or k == "cells"}
    plain = {k: decode(v, f"layer {layer.name[:80]!r}") for k, v in config.items() if k not in keep}
    layer.config = {**normalise(cls, {"name": layer.name, **plain}, ctx.era, ctx.version, layer.name), **keep}
    layer.config.pop("name", None)
    if cls == "Bidirectional":
        _backward(layer)
    if ctx.theano:
        mark_theano_padding(layer)


def _users_function(value: Any, ctx: Context) -> Any:
    """An activation by its name: before Keras 3 a function of the user's came before Keras's own (``custom_objects`` in
    ``deserialize_keras_object``, tf.keras 2.15, and ``get_from_module``, Keras 1.2.2); Keras 3 looks for its own first."""
    if not isinstance(value, str) or value not in ctx.custom.functions:
        return value
    if name_of(value) is not None:
        note = f"the activation {value!r} is the function of {ctx.custom.functions[value]} ({ask_option('custom')}), not Keras's"
        if note not in ctx.notes:
            ctx.notes.append(note)
    return OpaqueObject("function", value)


def _opaque_lambda(config: dict[str, Any]) -> dict[str, Any]:
    """A Lambda keeps its code as the file has it: ``function`` (and ``output_shape``, ``mask``) are OpaqueObjects."""
    new = dict(config)
    kind = "function" if config.get("function_type") == "function" and isinstance(config.get("function"), str) else "lambda"
    value = config.get("function")
    if isinstance(value, dict) and value.get("class_name") in ("function", "__typespec__"):
        kind = "function" if value["class_name"] == "function" else "typespec"
    new["function"] = OpaqueObject(kind, value)
    for key in ("output_shape", "mask", "output_mask"):
        if isinstance(config.get(key), dict) or config.get(f"{key}_type") in ("lambda", "function"):
            new[key] = OpaqueObject("lambda", config[key])
    return new


def _sublayers(cls: str, config: dict[str, Any], ctx: Context, what: str, depth: int) -> dict[str, Any]:
    new = dict(config)
    for key in (p.key for p in spec_of(cls).parts):
        value = config.get(key)
        if isinstance(value, dict):
            new[key] = _layer(_entries([value], what)[0], ctx, what, depth + 1, key)
        elif isinstance(value, list):
            new[key] = [_layer(x, ctx, what, depth + 1, f"{key}_{i}") for i, x in enumerate(_entries(value, what))]
        if key == "cell" and isinstance(new.get(key), list):
            cells = new[key]
            new[key] = LayerConfig("stacked_rnn_cells", "StackedRNNCells", "StackedRNNCells", {"cells": cells})
    return new


def _backward(layer: LayerConfig) -> None:
    """Keras makes a missing ``backward_layer`` from the forward one with the direction turned."""
    forward = layer.config.get("layer")
    if (
        isinstance(forward, LayerConfig)
        and "layer" not in forward.config
        and not isinstance(layer.config.get("backward_layer"), LayerConfig)
    ):
        back = copy.deepcopy(forward)
        back.name = f"backward_{forward.name}"
        back.config["go_backwards"] = not forward.config.get("go_backwards")
        layer.config["backward_layer"] = back


def _class(source: str, module: str | None, registered: str | None, has_module: bool) -> tuple[str, bool]:
    """Canonical class name, and whether the class is not Keras's own."""
    bare = source.rsplit(">", 1)[-1]
    own_package = source != bare
    if has_module:
        root = module.split(".")[0] if module else None
        own_package |= root not in _OURS if root else registered is not None
        own_package |= registered is not None and ">" in registered
    cls = canonical(bare)
    if not own_package:
        return cls, not _is_keras(cls) and not (module and _OPS.match(module)) and not (has_module and module)
    if _is_keras(cls):
        return (registered if registered and ">" in registered else f"{module or 'custom'}>{bare}"), True
    return bare, True


def _note_users(source: str, ctx: Context) -> None:
    """Where Keras has a class of that name too, which of them is meant is worth telling."""
    note = (
        f"{source!r} is the class of {ctx.custom.classes.get(source)} ({ask_option('custom')}), not Keras's: the model's file "
        "names no module"
    )
    if note not in ctx.notes and (_is_keras(canonical(source)) or source in _operation_classes()):
        ctx.notes.append(note)


def _is_keras(cls: str) -> bool:
    return cls in MODEL_CLASSES or is_known(cls)


def _is_op(config: dict[str, Any], module: str | None, era: str, cls: str, has_module: bool) -> bool:
    if module is not None:
        return bool(_OPS.match(module))
    if era != "keras3" or has_module or cls == "InputLayer":
        return False
    return "trainable" not in config and "dtype" not in config and cls in _operation_classes()


@cache
def _operation_classes() -> frozenset[str]:
    """The classes of ``keras.ops`` (Keras 3.15.1)."""
    table = json.loads(files(__package__.rpartition(".")[0]).joinpath("code/keras_ops.json").read_text("utf-8"))
    return frozenset(kind for kind, _ in table.values())


def _stated_format(obj: Any) -> str | None:
    """The one axis order that the layers of a Keras 1 model state, else None."""
    found: set[str] = set()
    stack = [obj]
    while stack:
        x = stack.pop()
        if isinstance(x, dict):
            if x.get("dim_ordering") in ("th", "tf"):
                found.add(x["dim_ordering"])
            stack.extend(x.values())
        elif isinstance(x, list):
            stack.extend(x)
    return {"th": "channels_first", "tf": "channels_last"}[found.pop()] if len(found) == 1 else None


def _text(x: Any) -> str | None:
    return x if isinstance(x, str) else None
