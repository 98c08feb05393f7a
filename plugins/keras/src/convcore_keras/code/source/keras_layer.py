"""Layers of Keras that the source makes and calls: their configuration, their call, their weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from convcore.plugin import ForeignNode, NotExpressible, ShapeError, UnsupportedError, Value

from ...activations import name_of
from ...files.config import layer_of_entry
from ...files.model import Call, LayerConfig, TensorRef
from ...files.variables import children, own_variables
from ...layer_spec import canonical, is_known, spec_of
from ...load_calls import call_attributes, positional
from ...load_context import UNKNOWN_SHAPE
from ..values import CodeRefused, Invocable, Name, what_is
from .weights import layer_label

if TYPE_CHECKING:
    from .extended import Extended
    from .layers import Host

__all__ = ["Chain", "Held", "KerasLayer", "as_activation", "holds_weights", "keras_class", "layer_members"]

_WINDOWS = ("kernel_size", "strides", "dilation_rate", "pool_size", "size", "output_padding", "padding", "cropping")
_WEIGHTS = {
    "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings", "recurrent_kernel", "depthwise_kernel",
    "pointwise_kernel",
}  # fmt: skip
"""Names that only weights have."""
_LATE = ("build", "build_from_config", "add_loss", "add_metric")


@cache
def _arguments() -> Mapping[str, Sequence[str]]:
    """The arguments of each class of Keras 3.15.1, in order."""
    table = json.loads(files(__package__).joinpath("layer_arguments.json").read_text("utf-8"))
    return {k: v.split() for k, v in table.items()}


def holds_weights(layer: LayerConfig) -> bool:
    """Whether a layer of Keras, or one inside it, has variables."""
    own = own_variables(layer)
    return own is None or bool(own) or any(holds_weights(c) for _, _, c in children(layer))


def keras_class(path: str) -> str:
    """The class of Keras that a dotted name stands for, "" for another name: ``keras.layers.core.Dense``."""
    parts = path.split(".")
    if parts[0] != "keras" or len(parts) < 2 or parts[1] not in ("layers", "engine", "src", "legacy", "models"):
        return ""
    name = canonical(parts[-1])
    return name if is_known(name) else ""


class KerasLayer(Invocable):
    """A layer of Keras. ``entry`` is its configuration as a file would have it."""

    is_keras_layer = True
    always_true = True

    def __init__(self, host: Host, class_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.host, self.class_name = host, class_name
        given = dict(kwargs)
        names = _arguments().get(class_name, ())
        if len(args) > len(names):
            raise CodeRefused(f"makes a {class_name} with {len(args)} arguments by position")
        for n, v in zip(names, args):
            if n in given:
                raise CodeRefused(f"gives {class_name} the argument {n!r} twice")
            given[n] = v
        self.after: Any = None
        self.extends: Extended | None = None
        if isinstance(given.get("activation"), Invocable) and not isinstance(given["activation"], KerasLayer):
            if not class_name.endswith(("Dense", "Conv1D", "Conv2D", "Conv3D", "Activation", "Transpose")):
                raise CodeRefused(f"makes a {class_name} with a function of its own as activation")
            self.after, given["activation"] = given["activation"], "linear"  # which is applied to what the layer gives
        self.given = given
        self.label = ""
        self.keys: list[str] = []
        self._config: LayerConfig | None = None

    # ---- configuration
    def entry(self) -> dict[str, Any]:
        """Class and configuration as JSON."""
        config = {"name": self.label or self.class_name.lower(), **self._plain()}
        return {"module": "keras.layers", "class_name": self.class_name, "config": config, "registered_name": None}

    def _plain(self) -> dict[str, Any]:
        return {
            k: _plain(v, f"{self.class_name}({k}=)")
            for k, v in self.given.items()
            if k not in ("name", "trainable") and not k.endswith(("_initializer", "_regularizer", "_constraint"))
            and not (k == "dtype" and v is None) and k not in ("input_shape", "batch_input_shape", "weights", "seed")
        }  # fmt: skip

    @property
    def config(self) -> LayerConfig:
        """Its configuration as a file's would be read."""
        if self._config is None:
            self.given.pop("autocast", None)
            config = layer_of_entry(self.entry(), self.host.context())
            if isinstance(self.given.get("trainable"), bool):
                config.trainable = self.given["trainable"]
            if "dtype" not in self.given:
                config.dtype = self.host.layer.dtype
            self._config = config
        return self._config

    # ---- calls
    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Apply it. Raises CodeRefused with the layer's reasons."""
        if not domain.settling:
            raise CodeRefused(f"calls the layer {layer_label(self)} while it is being built")
        config, g = self.config, self.host.g
        label = self.host.label_of(self)
        config.name = label.rpartition("/")[2]
        refs: dict[TensorRef, Value] = {}

        def ref(x: Any) -> Any:
            if isinstance(x, Value):
                r = TensorRef(str(len(refs)), 0, 0)
                refs[r] = x
                return r
            if isinstance(x, (list, tuple)):
                return [ref(v) for v in x]
            if isinstance(x, dict):
                return {k: ref(v) for k, v in x.items()}
            if x is None or isinstance(x, (bool, int, float, str)):
                return x
            raise CodeRefused(f"calls the layer {layer_label(self)} with something that is no tensor")

        given = list(args)
        named = dict(kwargs)
        for name, value in zip(spec_of(config.class_name).call, given[1:]):
            named[name] = value
        if spec_of(config.class_name).call:
            given = given[:1]
        if named.get("training") is False or named.get("training") is None:
            named.pop("training", None)
        call = positional(Call(tuple(ref(a) for a in given), {k: ref(v) for k, v in named.items()}))
        attrs, mask = call_attributes(config, call, refs)
        inputs: list[Value | None] = [refs[r] for r in Call(call.args).refs()]
        name = f"{self.host.node.name}/{label}"
        options = self.host.weights.options_of(self) if holds_weights(config) else iter([{}])
        try:
            outs = self._applied(lambda weights: g.node(config, inputs, name, weights=weights, attrs=attrs, mask=mask), options)
        except UnsupportedError as e:
            if any(p.code == UNKNOWN_SHAPE for p in e.problems):
                raise
            whys = "; ".join(dict.fromkeys(p.why for p in e.problems))
            raise CodeRefused(f"calls the layer {label} ({self.class_name}), which {whys}") from e
        except NotExpressible as e:
            raise CodeRefused(f"calls the layer {label} ({self.class_name}), which {e}") from e
        if self.after is not None:
            return domain.call(self.after, [outs[0]], {})
        return outs[0] if len(outs) == 1 else list(outs)

    def _applied(self, node: Callable[[Any], ForeignNode], options: Iterator[Any]) -> Sequence[Value]:
        """The results with the first arrays that fit: there is a choice only where it is surveyed what the layer builds."""
        g = self.host.g
        for weights in options:
            try:
                with g.b.attempt(), g.b.within(g.enter(self.config)):
                    return self.host.apply(node(weights))
            except (UnsupportedError, NotExpressible, ShapeError):
                if not self.host.weights.surveying:
                    raise
        raise CodeRefused(f"has the layer {layer_label(self)}, whose weights no arrays of the file fit")

    def attribute(self, domain: Any, name: str) -> Any:
        """A variable of it, or an argument it was made with."""
        if name in _LATE:
            return _Nothing()
        if name == "built":
            return True
        if name == "trainable":
            return self.given.get("trainable", True)
        if name == "name":
            return self.given.get("name") or self.label or self.class_name.lower()
        if name in ("call", "__call__"):
            return self
        if name in self._weights() and not any(v.name == name for v in own_variables(self.config) or ()):
            return None
        weights = next(self.host.weights.options_of(self)) if domain.settling and holds_weights(self.config) else {}
        if name in weights:
            g = self.host.g
            node = g.node(self.config, [], f"{self.host.node.name}/{self.host.label_of(self)}", weights=weights)
            return g.weight(node, name, weights[name])
        if not domain.settling and name in self._weights():
            return Held(self, name)
        if name.endswith("activation") and (name in self.given or name in self.config.config):
            return self.after if self.after is not None and name == "activation" else as_activation(self._said(name))
        if name in self.given or self.config.config.get(name).__class__ in (int, float, str, bool, tuple):
            return self._said(name)
        if name in ("weights", "trainable_weights", "trainable_variables", "variables", "non_trainable_weights"):
            return [_Whole(self)]
        if name == "supports_masking":
            raise CodeRefused(f"asks the layer {layer_label(self)} for its masks")
        raise CodeRefused(f"reads the attribute {name!r} of the layer {layer_label(self)}")

    def has(self, name: str) -> bool:
        """Whether it has an attribute. Raises CodeRefused for one that is no weight's name and none of its arguments'."""
        known = self._weights() | self.given.keys() | self.config.config.keys()
        if name in known or name in ("built", "trainable", "name", "call", "build", "weights", "variables", "get_config"):
            return True
        if name not in _WEIGHTS:
            raise CodeRefused(f"asks whether the layer {layer_label(self)} has {name!r}")
        return False

    def _weights(self) -> set[str]:
        """Names of its weights, those it does without (use_bias=False) too: they are None."""
        return {v.name for v in spec_of(self.config.class_name).variables or ()}

    def _said(self, name: str) -> Any:
        """An argument as the layer keeps it: windows as one number an axis, paddings as one pair (of one axis: the pair)."""
        if name in self.given and name not in _WINDOWS:
            return self.given[name]
        value = self.config.config[name]
        return value[0] if name in ("padding", "cropping") and len(value) == 1 else value

    def assign_attribute(self, domain: Any, name: str, value: Any) -> None:
        if name in ("trainable", "built", "name", "_name"):
            if name == "trainable":
                self.given["trainable"] = bool(value)
            return
        raise CodeRefused(f"sets the attribute {name!r} of the layer {layer_label(self)}")


class Held(Invocable):
    """A weight of a layer of Keras, before it is read: its shape is known, its values are taken in ``call``."""

    always_true = True

    def __init__(self, layer: KerasLayer, name: str) -> None:
        self.layer, self.name = layer, name

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused(f"calls the weight {self.name!r}")

    def attribute(self, domain: Any, name: str) -> Any:
        if name in ("shape", "_keras_shape", "dtype"):
            tensor = next(self.layer.host.weights.options_of(self.layer)).get(self.name)
            if tensor is not None:
                return str(tensor.dtype) if name == "dtype" else tuple(tensor.shape)
        raise CodeRefused(f"reads the attribute {name!r} of the weight {self.name!r} of {layer_label(self.layer)}")


@cache
def layer_members() -> frozenset[str]:
    """Names that any layer of Keras has (3.15.1, tf_keras 2.21, 2.2.5, 1.2.2), so that a class may stand in for them."""
    return frozenset(json.loads(files(__package__).joinpath("layer_members.json").read_text("utf-8")))


class _Nothing(Invocable):
    """A method that only prepares what is prepared already."""

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return None


class _Whole(Invocable):
    """All weights of a layer, in a list of weights."""

    def __init__(self, layer: KerasLayer) -> None:
        self.layer = layer

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused("calls a weight")


class Chain(Invocable):
    """``keras.Sequential``: layers one after another."""

    is_keras_layer = True
    always_true = True
    class_name = "Sequential"

    def __init__(self, host: Host, layers: Sequence[Any]) -> None:
        self.host, self.layers = host, list(layers)
        self.label = ""

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if len(args) != 1 or any(v not in (None, False) for k, v in kwargs.items() if k == "training"):
            raise CodeRefused("calls a Sequential with other than one argument")
        x = args[0]
        for layer in self.layers:
            x = domain.call(layer, [x], {})
        return x

    def attribute(self, domain: Any, name: str) -> Any:
        if name == "layers":
            return list(self.layers)
        if name == "add":
            return _Adds(self)
        if name in ("call", "__call__"):
            return self
        if name in _LATE:
            return _Nothing()
        if name in ("built", "trainable"):
            return True
        raise CodeRefused(f"reads the attribute {name!r} of a Sequential")


class _Adds(Invocable):
    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        self.chain.layers += [x for x in args if not (isinstance(x, KerasLayer) and x.class_name == "InputLayer")]


def _plain(x: Any, where: str) -> Any:
    """An argument of a layer as its configuration would have it."""
    if isinstance(x, KerasLayer):
        return x.entry()
    if isinstance(x, Name):
        parts = x.path.split(".")
        if len(parts) > 1 and parts[0] in ("keras", "tensorflow"):
            return parts[-1]
        raise CodeRefused(f"makes a layer with {where}{x}, which is no function of Keras")
    if isinstance(x, (list, tuple)):
        return [_plain(v, where) for v in x]
    if isinstance(x, dict):
        return {k: _plain(v, where) for k, v in x.items()}
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    raise CodeRefused(f"makes a layer with {where}something that a configuration does not hold")


def as_activation(x: Any) -> Any:
    """An activation by name, configuration, layer or function."""
    if x is None:
        return Name("keras.activations.linear")
    if isinstance(x, dict):
        config = x.get("config")
        if isinstance(config, str):
            x = config
        elif isinstance(x.get("class_name"), str) and isinstance(config, dict):
            raise CodeRefused(f"takes the activation {x['class_name']}, a layer by its configuration")
    if isinstance(x, str):
        bare = x.rpartition(">")[2]
        if name_of(bare) is None:
            raise CodeRefused(f"takes the activation {x!r}, which convcore does not know")
        return Name(f"keras.activations.{bare}")
    if isinstance(x, (Name, Invocable)):
        return x
    raise CodeRefused(f"takes {what_is(x)} as an activation")
