"""A ModelConfig as the JSON Keras 3 reads: ``config.json`` of ``.keras``, ``to_json()``, ``model_config`` of ``.h5``.

The reverse of ``config.py`` and ``nodes.py`` for Keras 3 (``models/functional.py``, ``saving/serialization_lib.py`` of
Keras 3.15.1). Every object carries its ``module``, also in HDF5, so that an operation named ``Add`` is not taken for the
layer of that name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import UsageError

from ..layer_spec import spec_of
from .model import Call, KerasModel, LayerConfig, ModelConfig, OpaqueObject, TensorRef
from .order import ordered_layers

__all__ = ["KERAS_VERSION", "model_json"]

KERAS_VERSION = "3.12.0"
"""The version written files state: the oldest whose layers all written configurations are of."""

_LAYERS = "keras.layers"
_MODELS = {"Functional": "keras.src.models.functional", "Sequential": "keras"}


def model_json(model: KerasModel) -> dict[str, Any]:
    """The whole model as JSON data. UsageError for values JSON of Keras cannot hold."""
    return _model(model.root)


def _model(model: ModelConfig) -> dict[str, Any]:
    kind = "Sequential" if model.kind == "sequential" else "Functional"
    config: dict[str, Any] = {"name": model.name, "trainable": model.trainable}
    layers = ordered_layers(model)
    if kind == "Sequential":
        config["layers"] = [_layer(x) for x in layers]
    else:
        nested = {x.name for x in model.layers if x.model is not None and x.model.kind != "sequential"}
        config["layers"] = [
            {
                **_layer(x),
                "name": x.name,
                "inbound_nodes": [] if x.class_name == "InputLayer" else [_call(c, model) for c in x.calls],
            }
            for x in layers
        ]
        config["input_layers"] = _endpoints(model.inputs, nested)
        config["output_layers"] = _endpoints(model.outputs, nested)
    return {
        "module": _MODELS[kind],
        "class_name": kind,
        "config": config,
        "registered_name": kind if kind == "Functional" else None,
    }


def _endpoints(structure: Any, nested: set[str]) -> Any:
    """``[name, node, tensor]`` per tensor; the calls of a nested Functional count from 1, its definition being call 0."""
    if isinstance(structure, TensorRef):
        return [structure.layer, structure.node + (structure.layer in nested), structure.tensor]
    if isinstance(structure, dict):
        return {k: _endpoints(v, nested) for k, v in structure.items()}
    return [_endpoints(v, nested) for v in structure]


def _call(call: Call, model: ModelConfig) -> dict[str, Any]:
    return {"args": [_value(a, model) for a in call.args], "kwargs": {k: _value(v, model) for k, v in call.kwargs.items()}}


def _layer(layer: LayerConfig) -> dict[str, Any]:
    """A layer or operation without its calls."""
    if layer.model is not None:
        return _model(layer.model)
    if layer.custom:
        return _custom(layer)
    config: dict[str, Any] = {"name": layer.name}
    if not layer.is_op:
        if spec_of(layer.class_name).variables != () or spec_of(layer.class_name).parts:
            config["trainable"] = layer.trainable  # SpatialDropout and others take no such argument
        config["dtype"] = _dtype(layer)
    config.update({k: _value(v) for k, v in layer.config.items() if k not in config})
    out: dict[str, Any] = {
        "module": layer.module or _LAYERS,
        "class_name": layer.class_name,
        "config": config,
        "registered_name": layer.registered_name if layer.is_op else None,
    }
    if layer.build_config is not None:
        out["build_config"] = layer.build_config
    if layer.shared_object_id is not None:
        out["shared_object_id"] = layer.shared_object_id
    return out


def _custom(layer: LayerConfig) -> dict[str, Any]:
    """A layer of another package: what the file had of it, its name but where there was none."""
    said = {"name": layer.name, "trainable": layer.trainable}
    config = {k: v for k, v in said.items() if k in layer.stated} | {k: _item(v) for k, v in layer.config.items()}
    registered = layer.registered_name or layer.source_class  # all that HDF5 has of a class
    found = {"module": layer.module, "class_name": layer.source_class.rpartition(">")[2], "config": config}
    found["registered_name"] = registered
    if layer.build_config is not None:
        found["build_config"] = layer.build_config
    return found


def _item(v: Any) -> Any:
    """A value of such a configuration: a tuple stays one."""
    if isinstance(v, tuple):
        return {"class_name": "__tuple__", "items": [_item(x) for x in v]}
    if isinstance(v, dict):
        return {str(k): _item(x) for k, x in v.items()}
    return [_item(x) for x in v] if isinstance(v, list) else _value(v)


def _dtype(layer: LayerConfig) -> Any:
    """The dtype policy by name (``DTypePolicy``): ``"float32"``, ``"mixed_float16"``. An InputLayer has a dtype."""
    policy = layer.dtype
    if layer.class_name == "InputLayer":
        return layer.config.get("dtype", policy.compute)
    if policy.quantization is not None:
        raise UsageError(f"layer {layer.name!r}: a quantised dtype policy ({policy.quantization}) is not written")
    name = policy.variable
    if policy.compute != policy.variable:
        name = f"mixed_{policy.compute}"
        if policy.variable != "float32" or policy.compute not in ("float16", "bfloat16"):
            raise UsageError(
                f"layer {layer.name!r}: no dtype policy computes in {policy.compute} with {policy.variable} variables"
            )
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}


def _value(v: Any, model: ModelConfig | None = None) -> Any:
    """A configuration value or call argument as ``serialize_keras_object`` writes it."""
    if v is None or isinstance(v, (bool, int, float, str)):
        return v
    if isinstance(v, TensorRef):
        shape, dtype = model.specs.get(v, ((), "float32")) if model is not None else ((), "float32")
        history = [v.layer, v.node, v.tensor]
        return {"class_name": "__keras_tensor__", "config": {"shape": list(shape), "dtype": dtype, "keras_history": history}}
    if isinstance(v, LayerConfig):
        return _layer(v)
    if isinstance(v, (list, tuple)):
        return [_value(x, model) for x in v]
    if isinstance(v, dict):
        return {str(k): _value(x, model) for k, x in v.items()}
    if v is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(v, slice):
        return {"class_name": "__slice__", "config": {k: _value(getattr(v, k), model) for k in ("start", "stop", "step")}}
    if isinstance(v, np.generic):
        return _value(v.item(), model)
    if isinstance(v, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": v.tolist(), "dtype": str(v.dtype)}}
    if isinstance(v, OpaqueObject):
        return v.payload
    raise UsageError(f"a Keras file cannot hold {type(v).__name__} {str(v)[:60]!r}")
