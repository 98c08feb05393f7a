"""Layers of a Caffe net that go back to Caffe: written as they were, with their blobs' names and all that they say.

What a pass, an override or the user has changed, and what the flavor cannot parse, goes through the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import KeptConfig, Node, Tensor, Value

from .emit_flavors import has_layer
from .files import Layer

__all__ = ["SourceConfig"]

_PARSED_BY_BVLC = {"round_mode"}
"""Fields without a number of their own (forks use it otherwise) that BVLC's Caffe has."""


class SourceConfig(KeptConfig):
    """The parameters of a layer, with the layer and its blobs."""

    def __init__(self, data: Mapping[str, Any], layer: Layer) -> None:
        super().__init__(data)
        self.layer, self.type = layer, layer.type
        self.blobs: list[Tensor] = []

    def note(
        self, nodes: Sequence[Node], bottoms: Sequence[Value | None], results: Sequence[Value], fitted: Mapping[int, Tensor]
    ) -> None:
        """Remember what the layer became; ``fitted`` are its blobs in the shapes it wants, for as many as were asked for."""
        held = self.layer.blobs
        old = {i for i, legacy in enumerate(self.layer.legacy) if legacy} - fitted.keys()
        if not old:
            self.blobs = [fitted[i] if i in fitted else held[i] for i in range(max(len(held), len(fitted)))]
            self.remember(nodes, bottoms, results)

    def fits(self, flavor: str) -> bool:
        """Whether a Caffe of this flavor parses the layer, and has as many tops of it."""
        return self.tops == len(self.layer.tops) and _parsed(self.layer, flavor)


def _parsed(layer: Layer, flavor: str) -> bool:
    """Whether a Caffe of this flavor has the layer and every field it gives, and no blob is lost by being one's own."""
    if layer.unknown or not has_layer(layer, flavor):
        return False
    if layer.type == "Eltwise" and layer.is_inplace():  # its meaning depends on it
        return False
    for message in layer.params.values():
        if message.unknown or not message.known:
            return False
        fields = message.schema.by_name
        odd = {n for n, _ in message.fields() if not fields[n].number}
        if odd and (flavor != "bvlc" or not odd <= _PARSED_BY_BVLC):
            return False
    return True
