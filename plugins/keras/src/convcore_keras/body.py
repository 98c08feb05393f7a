"""The body of a loop, built by the same rules as the graph around it: what it uses from outside becomes an input of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from convcore.plugin import Builder, Graph, Node, Value

__all__ = ["Body", "building"]


class Body(Builder):
    """``outer`` builds the graph around; ``captured`` are its values that the body uses, with the inputs they are in it.
    Constants and weights are copied: a region's weights are its own."""

    def __init__(self, outer: Builder, name: str) -> None:
        super().__init__(Graph(name), origin=outer.origin)
        self.outer, self.prefix = outer, outer.prefix
        self.captured: dict[Value, Value] = {}
        self._weights: dict[Value, Value] = {}

    def bring(self, v: Value) -> Value:
        """A value as one of the body's."""
        if v.graph is self.graph:
            return v
        if v.tensor is not None:
            if v not in self._weights:
                self._weights[v] = self.graph.add_weight(v.name, v.tensor, like=v)
                self.graph.on_undo(lambda: self._weights.pop(v, None))
            return self._weights[v]
        around = self.outer.bring(v) if isinstance(self.outer, Body) else v
        if around not in self.captured:
            self.captured[around] = self.input(v.name, v.dtype, v.shape)
            self.graph.on_undo(lambda: self.captured.pop(around, None))
        return self.captured[around]

    def node(self, name: str, inputs: Sequence[Value | None], attrs: Mapping[str, Any] | None = None, **more: Any) -> Node:
        return super().node(name, [None if v is None else self.bring(v) for v in inputs], attrs, **more)

    def results(self, values: Sequence[Value]) -> list[Value]:
        """Values as outputs of the body, each a value of its own."""
        found: list[Value] = []
        for v in values:
            inner = self.bring(v)
            found.append(self.identity(inner) if inner.producer is None or inner in found else inner)
        return found


class _Context(Protocol):
    b: Builder


@contextmanager
def building(g: _Context, name: str) -> Iterator[Body]:
    """Let a context build a body."""
    outer = g.b
    g.b = made = Body(outer, name)
    try:
        yield made
    finally:
        g.b = outer
