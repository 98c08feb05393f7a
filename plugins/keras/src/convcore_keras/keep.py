"""Layers of a Keras source that go back to Keras under their own class, their configuration and arrays as they were: custom ones
where that is asked for, and those of Keras that are no layer in the representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convcore.plugin import BadFileError, Graph, KeptConfig, Tensor, UsageError, ask, ask_option, keep_layers

from .files.model import Call, LayerConfig, TensorRef
from .layer_spec import spec_of

__all__ = ["Arrays", "Kept", "SourceLayer", "call_of", "goes_back", "keep_custom", "keep_whole", "layer_of"]

Arrays = Sequence[tuple[str, bool, Tensor]]
"""Path in the layer's folder, whether it is trained, and the array, in the order of HDF5."""


class SourceLayer(KeptConfig):
    """A use of a layer. ``call`` is how it was called, ``reading`` what reads its class, ``why`` why it cannot be kept."""

    def __init__(self, data: Mapping[str, Any], layer: LayerConfig) -> None:
        super().__init__(data)
        self.layer, self.type = layer, layer.class_name
        self.call = Call()
        self.arrays: Arrays = ()
        self.reading: Mapping[str, Any] = {}
        self.why = f"its source is not given ({ask_option('custom')})" if layer.custom else ""
        self.ordered = False
        """Whether the order of its arrays in HDF5 is known."""

    def hold(self, listed: Arrays | None, by_path: bool) -> None:
        """Keep the arrays: those of the file (``by_path``: by their places), in the order of HDF5 where it is known."""
        own = self.layer.weights
        if not by_path:
            self.ordered, self.arrays = listed is not None, listed or ()
            if listed is None:
                self.why = self.why or "the file tells its weights by their order only, and where Keras 3 keeps them is not known"
            return
        self.ordered = listed is not None and {k for k, _, _ in listed} == {*own}
        self.arrays = [(k, t, own[k]) for k, t, _ in listed or ()] if self.ordered else [(k, True, t) for k, t in own.items()]

    @property
    def name(self) -> str:
        """Its class, as ``custom_objects`` names it."""
        return (self.layer.registered_name or self.layer.source_class).removeprefix("Custom>")


@dataclass
class Kept:
    """What became of the custom layers of a graph: those that are kept, by class, and why others are not, by name."""

    layers: dict[str, SourceLayer] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """What the report says of them."""
        if not self.layers:
            return []
        given = ", ".join(f"{n!r}: {n.rpartition('>')[2]}" for n in self.layers)
        lines = [
            f"custom layers are written under their own class: load it with custom_objects={{{given}}}; Keras did not run it"
        ]
        return lines + [f"{k} is written as layers and operations: {v}" for k, v in self.spelled.items()]

    def reading(self) -> dict[str, Any]:
        """Options with which convcore reads back what was written."""
        return {k: v for layer in self.layers.values() for k, v in layer.reading.items()}


def goes_back(layer: LayerConfig) -> bool:
    """Whether a layer of Keras is kept as a whole: by its record, or by the layer inside it."""
    if layer.custom or layer.model is not None:
        return False
    inner = layer.config.get("layer")
    if isinstance(inner, LayerConfig):
        plain = not inner.custom and inner.model is None and not spec_of(inner.class_name).parts
        return plain and (spec_of(layer.class_name).whole or inner.class_name.startswith("ConvLSTM"))
    return spec_of(layer.class_name).whole


def keep_whole(graph: Graph, overrides: Mapping[str, Any]) -> None:
    """Make those layers opaque nodes, where they are as they were loaded."""
    keep_layers(graph, "keras", overrides, lambda c: isinstance(c, SourceLayer) and not c.layer.custom and not c.why)


def keep_custom(graph: Graph, overrides: Mapping[str, Any]) -> Kept:
    """Make the custom layers of a graph opaque nodes, where they are as they were loaded. Raises UsageError where none is."""
    every = [s for s in graph.scopes() if isinstance(s.config, SourceLayer) and s.config.layer.custom]
    if not every:
        raise UsageError(f"{ask_option('keep_custom', True)}: the source has no custom layer of Keras")
    done = keep_layers(graph, "keras", overrides, lambda c: isinstance(c, SourceLayer) and c.layer.custom and not c.why)
    kept = Kept()
    for scope in every:
        config = scope.config
        assert isinstance(config, SourceLayer)
        if id(config) in done:
            kept.layers[config.name] = config
        else:
            kept.spelled[scope.text] = config.why or _changed()
    if not kept.layers:
        why = "; ".join(f"{k}: {v}" for k, v in kept.spelled.items())
        raise UsageError(f"{ask_option('keep_custom', True)}: no custom layer can be kept: {why}")
    return kept


def _changed() -> str:
    whole = ask("--no-fuse", "fuse=False")
    return (
        f"it was changed (a composite found in it does so: {whole}), or it takes or gives more than its "
        "arguments and results (a mask)"
    )


def layer_of(kept: SourceLayer, name: str) -> LayerConfig:
    """The layer as it is written."""
    if not kept.layer.custom:
        return replace(kept.layer, name=name, calls=[], shared_object_id=None)
    order = tuple((path, trained) for path, trained, _ in kept.arrays)
    return replace(kept.layer, name=name, calls=[], weights={path: t for path, _, t in kept.arrays}, order=order)


def call_of(kept: SourceLayer, refs: Sequence[TensorRef]) -> Call:
    """How it is called, on other tensors."""
    rest = iter(refs)

    def now(x: Any) -> Any:
        if isinstance(x, TensorRef):
            return next(rest)
        if isinstance(x, (list, tuple)):
            return type(x)(now(v) for v in x)
        return {k: now(x[k]) for k in sorted(x)} if isinstance(x, dict) else x

    try:
        return Call(tuple(now(a) for a in kept.call.args), {k: now(kept.call.kwargs[k]) for k in sorted(kept.call.kwargs)})
    except StopIteration as e:
        raise BadFileError(f"layer {kept.layer.name!r}: it is called with fewer tensors than before") from e
