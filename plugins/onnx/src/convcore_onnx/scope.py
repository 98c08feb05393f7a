"""Names while a model is read: the values of a graph by their ONNX names, and how the code around them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convcore.plugin import Graph, Value

if TYPE_CHECKING:
    from .context import OnnxContext
    from .driver import OnnxDriver

__all__ = ["Scope", "Where"]


@dataclass(frozen=True)
class Where:
    """How the nodes of one piece of code are read: opset by domain, attribute bindings and name prefix of a function."""

    opsets: Mapping[str, int]
    bound: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    depth: int = 0


class Scope:
    """The values of one graph by their ONNX names."""

    def __init__(self, graph: Graph, depth: int) -> None:
        self.graph = graph
        self.values: dict[str, Value] = {}
        self.bad: dict[str, str] = {}
        self.declared: dict[str, Any] = {}
        self.outputs: frozenset[str] = frozenset()
        self.made: dict[str, str] = {}
        self.used: frozenset[str] = frozenset()
        self.depth = depth
        self.context: OnnxContext
        self.driver: OnnxDriver

    def known(self, name: str) -> bool:
        return name in self.values or name in self.bad
