"""What a load rule works with: the builder, constants and symbolic shapes, and subgraphs as regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import Builder, Dim, DType, Graph, LoadContext, Shape, ShapeTracker, Value

from .attributes import Subgraph

if TYPE_CHECKING:
    from .load import Loader
    from .scope import Scope

__all__ = ["OnnxContext"]


class OnnxContext(LoadContext):
    """The context of one scope: the main graph, or a region."""

    def __init__(self, builder: Builder, loader: Loader, scope: Scope) -> None:
        super().__init__(builder)
        self.loader, self.scope = loader, scope
        self._tracker = ShapeTracker()

    def symbolic(self, v: Value | None) -> Any:
        """The integers a value holds, as an object array of int, Dim and None (unknown element); None when nothing is known."""
        return None if v is None else self._tracker.get(v)

    def known(self, v: Value | None) -> Any:
        """The array of a value that is constant, given as one or through shape arithmetic; else None."""
        if v is None:
            return None
        if v.tensor is not None:
            return v.tensor.numpy()
        a = self.symbolic(v)
        if a is None or any(type(x) is not int for x in np.ravel(a)):
            return None
        return np.asarray(a, dtype=(v.dtype or DType.INT64).numpy)

    def sizes(self, v: Value | None) -> tuple[Any, ...] | None:
        """The sizes (int, Dim or None each) a shape-like vector holds; None when even their number is unknown."""
        if v is None:
            return None
        a = self.symbolic(v)
        if a is None:
            if v.tensor is not None and v.dtype is not None and v.dtype.is_int:
                return tuple(int(x) for x in v.tensor.numpy().ravel())
            return None
        return tuple(np.ravel(a))

    def scalar(self, v: Value) -> Value:
        """A one-element value with no axes."""
        return v if v.shape == () else self.b.reshape(v, shape=())

    def constant(self, v: Value | None) -> Any:
        """The array of a constant value, the results of shape arithmetic included; else None."""
        return self.known(v)

    # ---- subgraphs
    def captures(self, graphs: Sequence[Subgraph]) -> tuple[list[str], list[Value]]:
        """Names and values that subgraphs use from outside and that a region must be given; constants need not be."""
        return self.loader.regions.captures(self.scope, graphs)

    def region(
        self,
        sub: Subgraph,
        inputs: Sequence[tuple[DType | None, Shape | None]],
        captured: tuple[list[str], list[Value]],
    ) -> Graph:
        """A subgraph as a region: its own inputs (with these types) followed by the captured values."""
        return self.loader.regions.region(self.scope, sub, inputs, captured)

    def inline(self, sub: Subgraph) -> tuple[Value, ...]:
        """A subgraph without inputs as part of this graph."""
        return self.loader.regions.inline(self.scope, sub)

    def constant_of(self, sizes: Sequence[Any]) -> Value | None:
        """A vector of sizes as a value: a constant, or made of ``dim_value``; None when one is unknown."""
        if any(n is None for n in sizes):
            return None
        if not any(isinstance(n, Dim) for n in sizes):
            return self.b.const([int(n) for n in sizes], DType.INT64)
        parts = [
            self.b.unsqueeze(self.b.dim_value(value=n), axes=(0,)) if isinstance(n, Dim) else self.b.const([n], DType.INT64)
            for n in sizes
        ]
        return parts[0] if len(parts) == 1 else self.b.concat(*parts, axis=0)
