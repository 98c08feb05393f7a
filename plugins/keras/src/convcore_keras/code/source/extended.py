"""Classes that extend a layer of Keras with arithmetic of its own (``class MyDense(layers.Dense)``): the part that Keras's class
does. Its variables are the object's own, between those that the source adds; ``super().call(x)`` is the layer by its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import Tensor

from ...files.variables import children, own_variables
from ...files.weights_legacy import fill_in_order
from ...layer_spec import spec_of
from ..values import CodeRefused, Invocable, Name
from .classes import Property, SourceObject
from .keras_layer import KerasLayer, layer_members
from .state import Variable
from .statements import SourceFunction
from .training import Training
from .weights import Weights

if TYPE_CHECKING:
    from .domain import SourceDomain
    from .layers import Host

__all__ = ["Extended"]

_LAYER = ("name", "trainable", "dtype", "autocast", "dynamic")
_OWN = {
    "__init__", "build", "call", "get_config", "from_config", "compute_output_shape", "compute_output_spec", "compute_mask",
    "count_params", "get_build_config", "build_from_config", "get_weights", "set_weights", "get_quantization_config",
}  # fmt: skip
"""Methods that a class may have in place of Keras's without changing what Keras's ``call`` computes: ``build`` and
``compute_mask`` are followed, the others are for training and files."""


class Extended:
    """``layer`` is Keras's part of ``owner``; ``variables`` are its weights by name, once it is built."""

    def __init__(self, host: Host, owner: SourceObject, class_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        given = {k: v for k, v in kwargs.items() if k not in _LAYER}
        self.layer = KerasLayer(host, class_name, args, given)
        self.layer.extends = self
        self.host, self.owner = host, owner
        self.variables: dict[str, Variable] = {}
        self.changed: dict[str, Any] = {}
        self.built = False
        own = own_variables(self.layer.config)
        if own is None:
            raise CodeRefused(f"extends {class_name}, whose weights convcore does not know by their order")
        self.own = own
        self.inner = bool(children(self.layer.config)) or any(v.folders != ("",) for v in own)
        """Whether its variables are those of layers inside it (LSTM's cell), which files keep apart from the object's own."""
        if self.inner:
            owner.state.children.append(self.layer)

    # ---- weights
    def build(self) -> None:
        """Make the variables, as ``super().build(shape)`` does."""
        if self.built:
            return
        self.built = True
        for v in () if self.inner else self.own:
            made = Variable(v.name, None, v.trainable, owner=self.owner, sizes=v.shape)
            self.owner.state.variables.append(made)
            self.variables[v.name] = made

    def arrays(self, weights: Weights, kept: dict[str, Any]) -> dict[str, Tensor] | None:
        """The arrays by their names in the layer's record; None for a layer whose weights are those of layers inside it."""
        if self.inner:
            return None
        missing = [v.name for v in self.own if v.name not in self.variables]
        if missing:
            raise CodeRefused(f"calls {self.layer.class_name}.call without the weight {missing[0]!r}, which build makes")
        ordered = [v for v in self.own if v.trainable] + [v for v in self.own if not v.trainable]
        tensors = [weights.of(self.variables[v.name]) for v in ordered]
        key = "\0extended" + self.host.label_of(self.owner)
        if key not in kept:
            problems = fill_in_order(self.layer.config, tensors)
            if problems:
                raise CodeRefused(f"extends {self.layer.class_name}, whose weights do not fit: {'; '.join(problems)[:300]}")
            kept[key] = dict(self.layer.config.weights)
        found: dict[str, Tensor] = kept[key]
        return found

    # ---- attributes
    def has(self, name: str) -> bool:
        """Whether Keras's class gives an attribute that convcore knows."""
        return name in self.variables or name in self.layer.given or name in self.layer.config.config

    def attribute(self, d: SourceDomain, name: str) -> Any:
        """An attribute of Keras's class."""
        if name in self.variables:
            return self.variables[name]
        if name.endswith(("_initializer", "_regularizer", "_constraint")):
            return Training("an initialiser" if name.endswith("r") and "initializer" in name else "a regulariser")
        if name == "convolution_op" and self.layer.class_name.startswith(("Conv1D", "Conv2D", "Conv3D")):
            return _Convolution(self)
        if not self.built and any(v.name == name for v in self.own):
            raise CodeRefused(f"reads the weight {name!r} before {self.layer.class_name}.build has made it")
        if any(v.name == name for v in spec_of(self.layer.config.class_name).variables or ()):
            return None  # a weight that this configuration does without (use_bias=False)
        return self.layer.attribute(d, name)

    def assigned(self, name: str, value: Any) -> None:
        """The source sets an attribute that Keras's class may use."""
        if any(v.name == name for v in self.own) and not self.inner and isinstance(value, Variable):
            self.variables[name] = value
        elif name in layer_members() or self.has(name):
            self.changed[name] = value

    # ---- calling
    def invoke(self, d: SourceDomain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """``super().call(...)``. Raises CodeRefused where the class changes what Keras's ``call`` would use."""
        for c in self.owner.cls.mro:
            for name, member in c.members.items():
                if isinstance(member, (SourceFunction, Property)) and name not in _OWN and name in layer_members():
                    raise CodeRefused(f"defines {name!r}, which {self.layer.class_name}.call may use: that is not followed")
        for name, value in self.changed.items():
            if not self._same(d, name, value):
                raise CodeRefused(f"changes {name!r}, which {self.layer.class_name}.call may use: that is not followed")
        args, kwargs = list(args), dict(kwargs)
        if len(args) > 1 and isinstance(args[1], bool):  # call(inputs, training, ...)
            if args[1]:
                raise CodeRefused(f"calls {self.layer.class_name}.call with training=True")
            del args[1]
        return self.layer.invoke(d, args, kwargs)

    def _same(self, d: SourceDomain, name: str, value: Any) -> bool:
        if name in ("supports_masking", "input_spec", "built", "trainable", "_name", "name", "stateful") or isinstance(
            value, Training
        ):
            return True
        try:
            now = self.layer.attribute(d, name)
        except CodeRefused:
            return False
        if isinstance(now, Name) or isinstance(value, (Name, Invocable)):
            return (
                isinstance(now, Name)
                and isinstance(value, Name)
                and self.host.canonical(now.path) == self.host.canonical(value.path)
            )
        return type(now) is type(value) and not d.symbolic([now, value]) and now == value


class _Convolution(Invocable):
    """``convolution_op(inputs, kernel)`` of Keras's convolutions: the layer without bias and activation, by another kernel."""

    def __init__(self, part: Extended) -> None:
        self.part = part

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        given = {**dict(zip(("inputs", "kernel"), args)), **kwargs}
        layer = self.part.layer
        said = {k: layer.attribute(domain, k) for k in ("strides", "padding", "data_format", "dilation_rate")}
        return self.part.host.ops.call("keras.ops.conv", [given["inputs"], given["kernel"]], said)
