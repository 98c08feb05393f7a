"""The methods and attributes that ``keras.layers.Layer`` gives to a layer of the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..values import CodeRefused
from .classes import SourceObject
from .extended import Extended
from .state import LayerState, Variable

if TYPE_CHECKING:
    from .domain import SourceDomain
    from .layers import Host

__all__ = ["ATTRIBUTES", "FLAGS", "LAYERS", "METHODS", "MODELS"]

LAYERS = {"Layer", "Wrapper", "AbstractRNNCell", "StackedRNNCells", "Recurrent", "Operation"}
MODELS = {"Model", "Network", "Container"}
FLAGS = ("trainable", "dtype", "name", "dynamic", "autocast", "input_shape", "batch_input_shape", "batch_size", "weights",
          "activity_regularizer", "implementation", "input_dim", "input_length", "input_dtype", "batch_shape")  # fmt: skip


Work = Callable[["Host", Any, SourceObject, list[Any], dict[str, Any]], Any]


def _init(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    state: LayerState = x.state
    state.ready = True
    base = h.base_class(x)
    if base:
        state.base = Extended(h, x, base, args, kwargs)
        h.labels[id(state.base.layer)] = (state.base.layer, x, base.lower())
        args, kwargs = [], {k: v for k, v in kwargs.items() if k in FLAGS}
    wraps = [f.rpartition(".")[2] for f in x.cls.foreign]
    if "Wrapper" in wraps:
        inner = args[0] if args else kwargs.pop("layer", None)
        args = args[1:]
        x.assign(d, "layer", inner)
    if args:
        raise CodeRefused("calls Layer.__init__ with arguments by position")
    if any(w in MODELS for w in wraps) and {"inputs", "outputs"} & kwargs.keys():
        raise CodeRefused("makes a functional model of its own")
    unknown = [k for k in kwargs if k not in FLAGS]
    if unknown:
        raise CodeRefused(f"gives Layer.__init__ the argument {unknown[0]!r}")
    if isinstance(kwargs.get("name"), str):
        state.name = kwargs["name"]
    if kwargs.get("trainable") is False:
        state.trainable = False
    if kwargs.get("weights") is not None:
        raise CodeRefused("is given its weights as an argument")


def _add_weight(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Variable:
    """``add_weight(name, shape, ...)`` of tf.keras, ``(shape, initializer, ...)`` of Keras 3, Keras 1's and 2's."""
    given = dict(kwargs)
    rest = list(args)
    if rest and (isinstance(rest[0], str) or rest[0] is None):
        given["name"] = rest.pop(0)
    if rest:
        given["shape"] = rest.pop(0)
    if rest and isinstance(rest[0], str) and "name" not in given and h.g.era == "keras1":
        given["name"] = rest.pop(0)
    shape = given.get("shape", ())
    shape = (
        ()
        if shape is None
        else (shape,)
        if isinstance(shape, int)
        else tuple(shape)
        if isinstance(shape, (list, tuple))
        else shape
    )
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in shape):
        raise CodeRefused(f"makes a weight of the shape {shape}, which is not known")
    trainable = given.get("trainable")
    name = given.get("name")
    dtype = given.get("dtype")
    v = Variable(
        str(name) if name else f"variable_{len(x.state.variables)}", shape, trainable is not False,
        dtype if isinstance(dtype, str) else "float32", owner=x,
    )  # fmt: skip
    x.state.variables.append(v)
    return v


def _build(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if x.state.base is not None:
        x.state.base.build()


def _nothing(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return None


def _get_config(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return {"name": x.state.name, "trainable": x.state.trainable, "dtype": "float32"}


def _compute_mask(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("mask", kwargs.get("previous_mask"))


def _call(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    raise CodeRefused("calls Layer.call, which has no meaning of its own")


def _call_itself(h: Host, d: SourceDomain, x: SourceObject, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return h.call_layer(d, x, args, kwargs)


METHODS: dict[str, Work] = {
    "__init__": _init, "add_weight": _add_weight, "add_variable": _add_weight, "build": _build, "build_from_config": _nothing,
    "add_loss": _nothing, "add_metric": _nothing, "add_update": _nothing, "get_config": _get_config,
    "compute_mask": _compute_mask, "call": _call, "__call__": _call_itself, "_assert_input_compatibility": _nothing,
    "assert_input_compatibility": _nothing,
}  # fmt: skip
ATTRIBUTES: dict[str, Callable[[Host, LayerState], Any]] = {
    "name": lambda h, s: s.name,
    "_name": lambda h, s: s.name,
    "dtype": lambda h, s: h.layer.dtype.variable,
    "variable_dtype": lambda h, s: h.layer.dtype.variable,
    "compute_dtype": lambda h, s: h.layer.dtype.compute,
    "_compute_dtype": lambda h, s: h.layer.dtype.compute,
    "trainable": lambda h, s: s.trainable,
    "built": lambda h, s: s.built,
    "supports_masking": lambda h, s: bool(s.supports_masking),
    "weights": lambda h, s: list(s.variables),
    "variables": lambda h, s: list(s.variables),
    "trainable_weights": lambda h, s: [v for v in s.variables if v.trainable],
    "_trainable_weights": lambda h, s: [v for v in s.variables if v.trainable],
    "non_trainable_weights": lambda h, s: [v for v in s.variables if not v.trainable],
    "input_spec": lambda h, s: None,
    "activity_regularizer": lambda h, s: None,
    "losses": lambda h, s: [],
    "stateful": lambda h, s: False,
    "layers": lambda h, s: list(s.children),
    "dynamic": lambda h, s: False,
}
