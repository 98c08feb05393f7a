"""A Caffe net after normalisation: current-format layers that are in the net for one phase, with their weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from convcore.plugin import BadFileError, Problem, Tensor, UnsupportedError

from ..layer_spec import spec_of
from .blobs import fit_shape
from .message import Message
from .schema import message_type

__all__ = ["ABOUT", "Layer", "Net", "NetInput", "Owner", "ParamSpec", "pooling_rounding"]

ABOUT = "# convcore "
"""What a comment begins with that says what a net has no fields for."""


@dataclass
class ParamSpec:
    """One ``param { }``: training multipliers and sharing. ``name`` "" is not shared."""

    name: str = ""
    share_mode: str = "STRICT"
    lr_mult: float = 1.0
    decay_mult: float = 1.0


@dataclass(frozen=True)
class Owner:
    """Where a shared parameter lives: the first layer (in net order) that names it."""

    layer_index: int
    layer_name: str
    blob_index: int


@dataclass
class Layer:
    """One layer.

    ``params`` holds the parameter messages the file gives, by field name; :meth:`param` also gives an absent one with
    all of Caffe's defaults. ``unknown`` holds other fields of a fork's layer type that no schema knows (name ->
    values). ``blobs`` are the weights in Caffe's order, float32; where ``legacy`` is true the shape is four axes
    padded in front, so ask :meth:`blob` for the shape the layer wants. ``shared[i]`` names the owner of a blob this
    layer shares. ``phase`` is the layer's effective phase, ``own_phase`` the one it sets itself. ``line`` is 0 for
    binary files.
    """

    name: str
    type: str
    bottoms: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    params: dict[str, Message] = field(default_factory=dict)
    blobs: list[Tensor] = field(default_factory=list)
    param_specs: list[ParamSpec] = field(default_factory=list)
    phase: str = "TEST"
    own_phase: str | None = None
    include: list[Message] = field(default_factory=list)
    exclude: list[Message] = field(default_factory=list)
    loss_weight: list[float] = field(default_factory=list)
    propagate_down: list[bool] = field(default_factory=list)
    line: int = 0
    unknown: dict[str, list[Any]] = field(default_factory=dict)
    legacy: list[bool] = field(default_factory=list)
    shared: dict[int, Owner] = field(default_factory=dict)
    weights: str = ""  # "file", "inline", "shared" or "" (none found)

    def param(self, name: str) -> Message:
        """The parameter message ``name``, all defaults if the file does not give it; KeyError if Caffe has no such
        field."""
        if name in self.params:
            return self.params[name]
        return Message(message_type("LayerParameter").by_name[name].type)

    def has_param(self, name: str) -> bool:
        return name in self.params

    def is_inplace(self, top: int = 0) -> bool:
        """Whether top ``top`` overwrites the bottom of the same index."""
        return top < min(len(self.tops), len(self.bottoms)) and self.tops[top] == self.bottoms[top]

    @property
    def takes_weights(self) -> bool:
        """Whether a layer of this type (upstream or a known fork's) holds weights."""
        spec = spec_of(self.type)
        return bool(spec.blobs) and not (spec.or_bottom and len(self.bottoms) != 1)

    def blob(self, index: int, shape: Sequence[int]) -> Tensor:
        """Weight blob ``index`` in the shape the layer wants, by Caffe's rules; BadFileError where Caffe refuses.

        Shapes must be equal, except that legacy four-axis blobs may have leading ones, and that a permissively shared
        blob needs only the same number of values.
        """
        who = f"layer {self.name!r} ({self.type})"
        if index >= len(self.blobs):
            raise BadFileError(f"{who} needs weight blob {index}, the weights hold {len(self.blobs)} for it")
        tensor = self.blobs[index]
        fitted = fit_shape(tensor, index < len(self.legacy) and self.legacy[index], shape)
        permissive = index in self.shared and self.param_specs[index].share_mode == "PERMISSIVE"
        if fitted is None and permissive and math.prod(shape) == tensor.size:
            fitted = tensor.reshape(shape)
        if fitted is None:
            had = list(tensor.shape)
            raise BadFileError(f"{who}: weight blob {index} has shape {had}, the layer wants {list(shape)}")
        return fitted


@dataclass(frozen=True)
class NetInput:
    """A top of an Input layer: blob name, shape (None where the layer gives none) and layer name."""

    name: str
    shape: tuple[int, ...] | None
    layer: str


@dataclass
class Net:
    """Layers in execution order. ``outputs``: blobs no layer consumes, in Caffe's (byte-wise alphabetical) order.

    ``missing``: layers that hold weights but got none; ``extra``: weight layers the net does not have; ``notes``:
    what was dropped or repaired on reading, for the report; ``about``: labels, preprocessing and the like as one line
    (``convcore.plugin.about_text``), the comment a prototxt of ours begins with.
    """

    name: str = ""
    layers: list[Layer] = field(default_factory=list)
    phase: str = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()
    outputs: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    path: str = ""
    about: str = ""

    @property
    def inputs(self) -> list[NetInput]:
        """Tops of the Input layers, in order. Data layers' tops are not here: see ``data_layers``."""
        found = []
        for layer in self.layers:
            if layer.type == "Input":
                shapes = [tuple(s.get("dim")) for s in layer.param("input_param").get("shape")]
                for i, top in enumerate(layer.tops):
                    shape = None if not shapes else shapes[0] if len(shapes) == 1 else shapes[i]
                    found.append(NetInput(top, shape, layer.name))
        return found

    @property
    def data_layers(self) -> list[Layer]:
        return [layer for layer in self.layers if spec_of(layer.type).source]

    def layer(self, name: str) -> Layer:
        """The first layer of that name; KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


def pooling_rounding(layer: Layer) -> str:
    """ "CEIL" or "FLOOR" for a Pooling layer: BVLC's ``round_mode`` or the forks' ``ceil_mode``, default CEIL.

    Both share wire field 13 with opposite meaning, so only the prototxt's names count. UnsupportedError if they
    disagree.
    """
    p = layer.param("pooling_param")
    mode: str = p.get("round_mode")
    if p.has("ceil_mode"):
        fork = "CEIL" if p.get("ceil_mode") else "FLOOR"
        if p.has("round_mode") and fork != mode:
            why = f"round_mode is {mode} and ceil_mode is {str(p.get('ceil_mode')).lower()}"
            raise UnsupportedError(Problem(layer.name, layer.type, why, "keep one of them", "contradiction"))
        return fork
    return mode


def quote_list(names: Iterable[str]) -> str:
    """Names for a message: the first eight, quoted."""
    shown = list(names)
    return ", ".join(repr(name[:200]) for name in shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
