"""One layer's configuration in Keras 3 argument names and value types, with every default of its era spelt out.

Conventions a consumer may rely on:

* ``kernel_size``, ``strides``, ``pool_size``, ``dilation_rate``, and ``size`` of 2-D/3-D UpSampling are tuples with
  one int per
  spatial axis; ``padding``/``cropping`` of ZeroPadding/Cropping are ``((before, after), ...)`` per axis, 1-D
  ``(before, after)``.
* Activations are a Keras 3 function name, ``{"class_name", "config"}`` for a layer used as an activation, or an
  :class:`OpaqueObject`. ``None`` becomes ``"linear"``. ``"hard_sigmoid"`` has its Keras 3 meaning ``relu6(x + 3) /
  6``; the hard sigmoid of Keras 1, Keras 2 and tf.keras, ``clip(0.2 x + 0.5, 0, 1)``, is named
  ``"hard_sigmoid_keras2"``.
* ``same_pads_front``: only for models computed with Theano whose ``padding="same"`` differs from TensorFlow's: the
  padding before
  each spatial axis; the output length stays ``ceil(n / stride)`` and the rest of the padding is behind.
* ``legacy_output_shape``: the explicit output shape of a Keras 1 Deconvolution layer.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from convcore.plugin import BadFileError

from ..activations import HARD_SIGMOID_KERAS2, name_of
from ..layer_spec import canonical, is_known, spec_of
from .model import LayerDType, OpaqueObject

__all__ = ["HARD_SIGMOID_KERAS2", "decode", "dtype_policy", "normalise", "normalise_activation"]

_ACTIVATION_KEYS = ("activation", "recurrent_activation")
_OURS = {"keras", "tf_keras", "tensorflow", "builtins"}

# Keys that say how a model is trained or how Keras runs it, never what it computes at inference.
_DROP = {
    "batch_input_shape", "input_dtype", "input_shape", "fused", "implementation",
    "activity_regularizer",
    "shared_object_id", "build_input_shape",
}  # fmt: skip
_PER_AXIS = ("kernel_size", "strides", "pool_size", "dilation_rate", "size")


def normalise(cls: str, config: dict[str, Any], era: str, version: tuple[int, ...], layer: str) -> dict[str, Any]:
    """``config`` (already in Keras 2 or 3 words) with Keras 3 names, types and explicit defaults."""
    new = {k: v for k, v in config.items() if k not in _DROP}
    new.pop("time_major", None) if new.get("time_major") is False else None
    if cls == "InputLayer":
        return _input_layer(config, new)
    if cls not in ("Embedding", "TextVectorization"):
        new.pop("input_dim", None)
    new.pop("input_length", None)
    new.pop("batch_shape", None)
    if cls == "LeakyReLU" and "alpha" in new:
        new["negative_slope"] = new.pop("alpha")
    if cls == "ReLU" and new.get("negative_slope") is None and "negative_slope" in new:
        new["negative_slope"] = 0.0
    if cls in ("DepthwiseConv1D", "DepthwiseConv2D"):
        new.pop("filters", None)
    if new.get("groups") == 1 and "groups" not in spec_of(cls).defaults:
        del new["groups"]
    if "virtual_batch_size" in new and new["virtual_batch_size"] is None:
        del new["virtual_batch_size"]  # tf.keras's: one that is given says how the variables lie
    one = isinstance(new.get("axis"), list) and len(new["axis"]) == 1 and "virtual_batch_size" not in new
    if cls in ("BatchNormalization", "LayerNormalization") and one:
        new["axis"] = new["axis"][0]
    if "Lookup" in cls or cls in ("TextVectorization", "CategoryEncoding"):
        _output_mode(cls, new)
    _defaults(cls, new, era, version)
    if "data_format" in new and new["data_format"] is None:
        new["data_format"] = "channels_last"
    # in any case (standardize_data_format, standardize_padding, UpSampling2D, Keras 3.15.1; get_interpolation, tf.keras 2.15)
    for key in ("data_format", "padding", "interpolation"):
        if isinstance(new.get(key), str):
            new[key] = new[key].lower()
    rank = spec_of(cls).spatial
    if rank:
        _per_axis(cls, new, rank, layer)
    for key in _ACTIVATION_KEYS:
        if key in new:
            new[key] = normalise_activation(new[key], era, version)
    if cls == "Reshape" and isinstance(new.get("target_shape"), (list, tuple)):
        new["target_shape"] = _ints(new["target_shape"], None, layer, "target_shape")
    return new


def _input_layer(config: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    shape = next((config[k] for k in ("batch_shape", "batch_input_shape") if config.get(k) is not None), None)
    if shape is None and isinstance(config.get("shape"), (list, tuple)):
        shape = [config.get("batch_size"), *config["shape"]]
    new.pop("shape", None), new.pop("batch_size", None)
    new["batch_shape"] = None if shape is None else check_shape(shape, str(config.get("name")))
    dtype = config.get("dtype") or config.get("input_dtype") or "float32"
    new["dtype"] = dtype_policy(dtype).compute if isinstance(dtype, dict) else dtype
    new["sparse"], new["ragged"] = bool(new.get("sparse")), bool(new.get("ragged"))
    new["optional"] = bool(new.get("optional"))
    return new


def check_shape(shape: Any, layer: str) -> tuple[int | None, ...]:
    """A shape of ints and None; BadFileError otherwise."""
    if not isinstance(shape, (list, tuple)) or len(shape) > 32:
        raise BadFileError(f"layer {layer[:80]!r}: {str(shape)[:80]} is not a shape")
    for n in shape:
        if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
            raise BadFileError(f"layer {layer[:80]!r}: {str(shape)[:80]} is not a shape")
    return tuple(shape)


def _output_mode(cls: str, new: dict[str, Any]) -> None:
    """Words from before Keras 2.6, which it still takes (``IndexLookup``, ``CategoryEncoding``: "deprecated names")."""
    if new.get("output_mode") in ("binary", "tf-idf"):
        new["output_mode"] = "multi_hot" if new["output_mode"] == "binary" else "tf_idf"
    if cls == "CategoryEncoding" and "max_tokens" in new:
        new.setdefault("num_tokens", new.pop("max_tokens"))


def _defaults(cls: str, new: dict[str, Any], era: str, version: tuple[int, ...]) -> None:
    for key, value in spec_of(cls).config(era, version).items():
        if key not in new:
            new[key] = copy.copy(value)
    if era == "keras1" and cls == "SimpleRNN":
        new.setdefault("activation", "tanh")


def _per_axis(cls: str, new: dict[str, Any], rank: int, layer: str) -> None:
    if "Pooling" in cls and not cls.startswith(("Global", "Adaptive")) and new.get("strides") is None:
        new["strides"] = new.get("pool_size")
    for key in _PER_AXIS:
        if new.get(key) is not None:
            new[key] = _ints(new[key], rank, layer, key)
    if cls == "UpSampling1D" and "size" in new:
        new["size"] = new["size"][0]
    if new.get("output_padding") is not None:
        new["output_padding"] = _ints(new["output_padding"], rank, layer, "output_padding")
    for key in ("padding", "cropping"):
        if cls.startswith(("ZeroPadding", "Cropping")) and key in new:
            new[key] = _pairs(new[key], rank, layer, key)


def _pairs(value: Any, rank: int, layer: str, key: str) -> Any:
    if isinstance(value, dict):  # Keras 1: {"top_pad": 1, "bottom_pad": 1, "left_pad": 1, "right_pad": 1}
        sides = [["left_pad", "right_pad"]] if rank == 1 else [["top_pad", "bottom_pad"], ["left_pad", "right_pad"]]
        value = [[value.get(k, 0) for k in pair] for pair in sides]
        value = value[0] if rank == 1 else value
    if rank == 1:
        value = [value, value] if isinstance(value, int) else value
        return _ints(value, 2, layer, key)
    if isinstance(value, int):
        value = [value] * rank
    if isinstance(value, (list, tuple)) and len(value) == 2 * rank == 4:
        value = [value[:2], value[2:]]
    if not isinstance(value, (list, tuple)) or len(value) != rank:
        raise BadFileError(f"layer {layer[:80]!r}: {key}={str(value)[:80]} does not fit {rank} axes")
    return tuple(_ints([v, v] if isinstance(v, int) else v, 2, layer, key) for v in value)


def _ints(value: Any, n: int | None, layer: str, key: str) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and n is not None:
        value = [value] * n
    ok = isinstance(value, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not ok or (n is not None and len(value) != n):
        raise BadFileError(f"layer {layer[:80]!r}: {key}={str(value)[:80]} is not {n or 'a list of'} integers")
    return tuple(value)


# ---- objects inside a configuration
def normalise_activation(value: Any, era: str, version: tuple[int, ...]) -> Any:
    """An activation as a name, ``{"class_name", "config"}`` or OpaqueObject (module docstring)."""
    if value is None:
        return "linear"
    if isinstance(value, OpaqueObject):
        named = _builtin_function(value.payload) if value.kind == "function" else None
        return value if named is None else normalise_activation(named, era, version)
    if isinstance(value, str):
        name = name_of(value)
        if name is not None:
            return HARD_SIGMOID_KERAS2 if name == "hard_sigmoid" and era != "keras3" else name
        cls = canonical(value)
        if spec_of(cls).activation:
            return {"class_name": cls, "config": normalise(cls, {}, era, version, cls)}
        return OpaqueObject("function", value)
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        cls, config = value["class_name"], value.get("config")
        root = str(value.get("module") or "keras").split(".")[0]
        if (
            root in _OURS
            and not value.get("registered_name")
            and isinstance(config, dict)
            and is_known(cls)
            and not spec_of(cls).extinct
        ):
            kept = {k: v for k, v in config.items() if k not in ("name", "trainable")}
            return {"class_name": cls, "config": normalise(cls, kept, era, version, cls)}
    return OpaqueObject("object", value)


def _builtin_function(payload: Any) -> str | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("config"), str):
        return None
    name = payload["config"]
    if str(payload.get("module") or "builtins").split(".")[0] not in _OURS:
        return None
    return name if name_of(name) is not None and payload.get("registered_name") in (None, name) else None


def decode(value: Any, where: str) -> Any:
    """Keras's special dicts (``__numpy__``, ``__slice__``, ``__lambda__``, ...) as Python values or OpaqueObject."""
    if isinstance(value, list):
        return [decode(v, where) for v in value]
    if not isinstance(value, dict):
        return value
    cls = value.get("class_name")
    if not isinstance(cls, str):
        return {k: decode(v, where) for k, v in value.items()}
    config = value.get("config")
    if cls in ("__numpy__", "__tensor__") and isinstance(config, dict):
        try:
            return np.asarray(config["value"], dtype=_numpy_dtype(config.get("dtype")))
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise BadFileError(f"{where}: malformed array constant: {e}") from e
    if cls == "__slice__" and isinstance(config, dict):
        parts = [decode(config.get(k), where) for k in ("start", "stop", "step")]
        return slice(*parts)
    if cls in ("__ellipsis__", "Ellipsis"):
        return Ellipsis
    if cls == "__bytes__" and isinstance(config, dict) and isinstance(config.get("value"), str):
        return config["value"].encode("utf-8", "surrogateescape")
    if cls in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return tuple(decode(v, where) for v in value["items"])
    if cls == "__lambda__":
        return OpaqueObject("lambda", value)
    if cls == "function":
        return OpaqueObject("function", value)
    if cls in ("__typespec__", "TypeSpec"):
        return OpaqueObject("typespec", value)
    return {k: decode(v, where) for k, v in value.items()}


def _numpy_dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in (
        "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "bool",
    ):  # fmt: skip
        raise ValueError(f"element type {str(name)[:40]!r}")
    return np.dtype(name)


_QUANTIZED = {
    "QuantizedDTypePolicy",
    "Int4DTypePolicy",
    "QuantizedFloat8DTypePolicy",
    "GPTQDTypePolicy",
    "AWQDTypePolicy",
}


def dtype_policy(value: Any) -> LayerDType:
    """The dtypes of a policy given as a string or a serialised policy object (Keras: ``mixed_float16`` computes in
    float16)."""
    if isinstance(value, str):
        if value in ("infer", "_infer", "infer_with_float32_vars"):
            return LayerDType()
        if "_from_" in value:  # "int8_from_float32", "float8_from_mixed_bfloat16"
            mode, source = value.split("_from_", 1)
            base = dtype_policy(source)
            return LayerDType(base.compute, base.variable, mode.split("/")[0])
        return LayerDType(value[6:], "float32") if value.startswith("mixed_") else LayerDType(value, value)
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        cls, config = str(value.get("class_name")), value["config"]
        if cls == "DTypePolicyMap":
            return dtype_policy(config.get("default_policy"))
        if cls in _QUANTIZED:
            base = dtype_policy(config.get("source_name"))
            return LayerDType(base.compute, base.variable, str(config.get("mode", cls)).split("/")[0])
        return dtype_policy(config.get("name"))
    return LayerDType()
