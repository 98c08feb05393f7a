"""A model as a plain list of layers with named values between them: what small formats hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from ..records import dataclass
from .dims import Shape
from .dtypes import DType

__all__ = ["FlatValue", "FlatLayer", "FlatModel"]


@dataclass
class FlatValue:
    """A value; None for a dtype or shape that is not known. A size of ``shape`` is a number, a Dim or None."""

    name: str
    shape: Shape | None
    dtype: DType | str | None = DType.FLOAT32


@dataclass
class FlatLayer:
    """A layer: type, name, the names of the values it takes (None: one left out) and gives, attributes, and weights by name.

    A weight is a Tensor or an array; written (:func:`convcore.plugin.flatten`) it is a Tensor.
    """

    type: str
    name: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class FlatModel:
    """Inputs, layers in an order in which they can run, names of the outputs; ``constants`` are values nobody computes.

    ``values`` says what is known of every value, by name; a loader leaves it out.
    """

    inputs: Sequence[FlatValue]
    layers: Sequence[FlatLayer]
    outputs: Sequence[str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, FlatValue] = field(default_factory=dict)
