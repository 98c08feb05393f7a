"""What Keras keeps of a layer of the source: its weights, the layers inside it, and how far it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..values import CodeRefused, Invocable

__all__ = ["PLAIN", "Key", "LayerState", "Run", "Variable"]

Key = tuple[str, str, int]
"""A weight of a layer of the source by the layer's label and its number there, or an array of a layer of Keras."""


@dataclass(eq=False)
class Variable(Invocable):
    """A weight that a layer makes: ``shape`` as it says (None where it does not), ``initial`` the value it starts with."""

    name: str
    shape: tuple[int, ...] | None
    trainable: bool = True
    dtype: str = "float32"
    initial: Any = None
    owner: Any = None
    sizes: tuple[int | None, ...] | None = None
    """What is known of the shape of a weight that a layer of Keras makes, as far as its configuration tells."""

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused(f"calls the weight {self.name!r}")

    def attribute(self, domain: Any, name: str) -> Any:
        if name in ("shape", "_keras_shape") and self.shape is not None:
            return tuple(self.shape)
        if name in ("dtype", "name", "trainable"):
            return getattr(self, name)
        if name == "value":
            return Value_(self)
        raise CodeRefused(f"reads the attribute {name!r} of the weight {self.name!r}")

    def assign_attribute(self, domain: Any, name: str, value: Any) -> None:
        if name not in ("constraint", "regularizer", "name"):
            raise CodeRefused(f"sets the attribute {name!r} of the weight {self.name!r}")


@dataclass(eq=False)
class Value_(Invocable):
    """``variable.value``, an attribute in Keras 3 and a method before."""

    variable: Variable

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.variable


@dataclass(eq=False)
class LayerState:
    """What Keras keeps of a layer of the source."""

    name: str
    variables: list[Variable] = field(default_factory=list)
    children: list[Any] = field(default_factory=list)
    """Layers it has, in the order Keras found them."""
    listed: list[Any] | None = None
    """What it set as ``trainable_weights`` itself (Keras 1 and 2)."""
    trainable: bool = True
    built: bool = False
    ready: bool = False
    """Whether ``Layer.__init__`` has run."""
    supports_masking: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    base: Any = None
    """The layer of Keras that its class extends, if it is one."""

    def own(self) -> list[Variable]:
        """Its variables as ``.keras`` orders them."""
        return [v for v in self.variables if v.trainable] + [v for v in self.variables if not v.trainable]


@dataclass(frozen=True)
class Run:
    """What one working through of a layer takes for granted: see :class:`.weights.Weights`."""

    left_out: frozenset[str] = frozenset()
    order: tuple[Key, ...] | None = None
    surveying: bool = False
    unknown_is_none: bool | None = None


PLAIN = Run()
