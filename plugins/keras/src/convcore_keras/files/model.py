"""What a Keras file says, as plain data: the same shape for every era, Keras 3 names, nothing executed.

Everything here is filled by :func:`convcore_keras.files.read`; nothing depends on how the file was stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from convcore.plugin import Tensor

__all__ = [
    "Call",
    "KerasModel",
    "LayerConfig",
    "LayerDType",
    "ModelConfig",
    "OpaqueObject",
    "named_function",
    "TensorRef",
    "iter_refs",
]


@dataclass(frozen=True)
class TensorRef:
    """Output ``tensor`` of the ``node``-th call (0-based, in ``LayerConfig.calls``) of the layer named ``layer``."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True, eq=False)
class OpaqueObject:
    """Something in the file that only code could give a meaning to; kept as it is and never decoded.

    ``kind``: ``"lambda"`` (``__lambda__`` or a legacy Lambda's bytecode), ``"function"`` (a function named by the
    file), ``"typespec"``, or ``"object"`` (an object of a class this reader does not know). ``payload`` is the file's
    JSON.
    """

    kind: str
    payload: Any

    @property
    def description(self) -> str:
        """A few words for messages; never the payload itself."""
        if isinstance(self.payload, str) and self.kind == "function":
            return f"function {self.payload[:80]!r}"
        if isinstance(self.payload, dict):
            named = self.payload.get("registered_name") or self.payload.get("config") or self.payload.get("class_name")
            if self.kind != "lambda" and isinstance(named, str):
                return f"{self.kind} {named[:80]!r}"
        return "Python bytecode" if self.kind == "lambda" else self.kind


def named_function(stored: Any) -> tuple[str, str] | None:
    """Name and module of a function that a Lambda or an activation names; None where it holds its code."""
    if not isinstance(stored, OpaqueObject) or stored.kind != "function":
        return None
    if isinstance(stored.payload, Mapping):
        name, module = stored.payload.get("config"), stored.payload.get("module")
        return (name, module if isinstance(module, str) else "") if isinstance(name, str) else None
    return (stored.payload, "") if isinstance(stored.payload, str) else None


@dataclass(frozen=True)
class LayerDType:
    """The dtype policy: what the layer computes in, what its variables are stored in.

    ``quantization`` is the mode (``"int8"``, ``"int4"``, ``"float8"``, ``"gptq"``, ``"awq"``) of a quantised policy,
    else None.
    """

    compute: str = "float32"
    variable: str = "float32"
    quantization: str | None = None


@dataclass
class Call:
    """One use of a layer. Leaves of ``args``/``kwargs``: TensorRef, constants, numpy arrays, slices, Ellipsis,
    OpaqueObject."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def refs(self) -> list[TensorRef]:
        """The tensors it takes, in Keras's flattening order (args, then kwargs by sorted key)."""
        return [*iter_refs(self.args), *iter_refs(self.kwargs)]


@dataclass
class LayerConfig:
    """A layer, its configuration in Keras 3 terms, its calls and its weights.

    ``config`` holds neither ``name`` nor ``trainable``; sub-layers in it (``layer``, ``backward_layer``, ``cell``,
    ``cells``, an activation that is a layer) are LayerConfigs. ``weights`` is keyed by variable name
    (``files/variables.py``), wrappers with a prefix (``"layer/kernel"``); a class without a table has keys ``"0"``,
    ``"1"``, ... in file order. ``custom`` is True for classes of other packages: then ``class_name`` is never the bare
    name of a Keras class. ``is_op`` is True for a Keras 3 operation (``keras.ops.split`` -> class ``Split``), which is
    not a layer.
    """

    name: str
    class_name: str
    source_class: str
    config: dict[str, Any]
    module: str | None = None
    registered_name: str | None = None
    custom: bool = False
    is_op: bool = False
    dtype: LayerDType = field(default_factory=LayerDType)
    trainable: bool = True
    calls: list[Call] = field(default_factory=list)
    model: ModelConfig | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    shared_object_id: int | None = None
    build_config: dict[str, Any] | None = None
    stated: frozenset[str] = frozenset({"name", "trainable"})
    """Which of these the configuration of a custom layer has."""
    order: tuple[tuple[str, bool], ...] = ()
    """Of a custom layer that is written: the keys of its arrays in the order of HDF5, and whether each is trained."""


@dataclass
class ModelConfig:
    """A graph of layers. Sequential models are given as an explicit chain that starts at an InputLayer.

    The InputLayer of a Sequential that states no input shape has ``batch_shape`` None. ``inputs``/``outputs`` keep the
    file's structure (a TensorRef, a list, or a dict of them). ``layers`` is in the file's order. ``specs`` are shape and
    dtype of tensors where they are known: a writer notes them beside each use.
    """

    name: str
    kind: str
    class_name: str
    layers: list[LayerConfig]
    inputs: Any
    outputs: Any
    trainable: bool = True
    specs: dict[TensorRef, tuple[tuple[int | None, ...], str]] = field(default_factory=dict)

    def input_refs(self) -> list[TensorRef]:
        """Inputs in model order (dicts by sorted key, as Keras flattens them)."""
        return list(iter_refs(self.inputs))

    def output_refs(self) -> list[TensorRef]:
        """Outputs in model order (dicts by sorted key, as Keras flattens them)."""
        return list(iter_refs(self.outputs))

    def layer(self, name: str) -> LayerConfig:
        """The layer of that name; KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)


@dataclass
class KerasModel:
    """A whole file (or pair of files).

    ``keras_version`` is ``""`` when the file does not say; ``backend`` is what the file says, else None; ``kernels`` is
    ``"theano"`` when convolution kernels were flipped while reading. ``notes`` are things worth telling the user. ``about`` is
    the text of labels, preprocessing and the like (``convcore.plugin.about_text``): the attribute ``convcore`` of the HDF5 file.
    """

    root: ModelConfig
    keras_version: str
    era: str
    backend: str | None
    container: str
    training_config: dict[str, Any] | None
    paths: tuple[str, ...]
    has_weights: bool
    kernels: str = "tensorflow"
    notes: list[str] = field(default_factory=list)
    about: str = ""

    def walk(self) -> Iterator[tuple[str, LayerConfig]]:
        """Every layer with its path, nested models and wrapped layers included.

        A wrapper and the layer it wraps hold the same tensors, so summing over all layers counts those twice.
        """
        stack: list[tuple[str, LayerConfig]] = [(x.name, x) for x in reversed(self.root.layers)]
        while stack:
            path, layer = stack.pop()
            yield path, layer
            inner = list(layer.model.layers) if layer.model else []
            for v in layer.config.values():
                inner += [v] if isinstance(v, LayerConfig) else []
                inner += [x for x in v if isinstance(x, LayerConfig)] if isinstance(v, list) else []
            stack += [(f"{path}/{x.name}", x) for x in reversed(inner)]


def iter_refs(structure: Any) -> Iterator[TensorRef]:
    """The TensorRefs of a nested structure in Keras's flattening order: sequences in order, dicts by sorted key."""
    stack = [structure]
    while stack:
        x = stack.pop()
        if isinstance(x, TensorRef):
            yield x
        elif isinstance(x, (list, tuple)):
            stack.extend(reversed(x))
        elif isinstance(x, dict):
            stack.extend(x[k] for k in sorted(x, reverse=True))
