"""The one way from a foreign node to values: by a rule, or as an opaque node that keeps the reason.

    driver = Driver("toy", LoadContext(Builder(graph)), request.rules, request.overrides)
    name = driver.layer_name(layer.name)
    node = ForeignNode(layer.type, name, inputs, layer.attributes, outputs=layer.outputs, origin=Origin("toy", name, layer.type))
    with driver.b.at(node.origin):
        for output, value in zip(node.outputs, driver.load(node)):
            driver.name(driver.own(value), output)

A rule gives values, raises NotExpressible (the next rule is tried) or refuses; then the node becomes opaque with its problem.
What a rule that gave up has made is undone. Anything else that a rule raises is a bug, which is named as one
(:class:`~convcore.errors.PluginBugError`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Problem, ShapeError, UnsupportedError
from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..rules.foreign import ForeignNode, LoadContext
from ..rules.isomorphisms import NotExpressible
from ..rules.ruleset import RuleSet

__all__ = ["Driver"]

UNKNOWN = frozenset({"unknown_shape", "unknown_dtype", "invalid_shape", "unsupported_shape"})
"""Codes of problems that may come only from inputs of which nothing is known."""
COMPUTED = "requires_constant_input"


class Driver:
    """One graph being loaded. Plugins override what is theirs: :meth:`apply`, :meth:`problem`, :meth:`kept`, :meth:`held`,
    :meth:`declared`."""

    def __init__(self, framework: str, context: LoadContext, rules: RuleSet[Any, Any], overrides: Mapping[str, Any]) -> None:
        self.framework, self.g = framework, context
        self.b, self.graph = context.b, context.b.graph
        self.rules, self.overrides = rules, overrides
        self.named: set[Value] = set()
        """Values that have a name of the source."""
        self._taken: set[str] = set()
        self._layers: dict[str, int] = {}
        self._tainted: set[Value] = set()

    # ---- what a plugin may say
    def apply(self, node: ForeignNode) -> Sequence[Value]:
        """The values of a node by its rule; UnsupportedError, NotExpressible or ShapeError where there are none."""
        return self.rules.apply_load(self.g, node, self.overrides)

    def problem(self, node: ForeignNode, error: UnsupportedError) -> Problem:
        """One problem for one opaque node."""
        first = error.problems[0]
        return Problem(node.name, node.type, "; ".join(dict.fromkeys(p.why for p in error.problems)), first.hint, first.code)

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        """What an opaque node keeps of the source, as JSON-like data; ``given`` the attributes as a rule reads them, where what
        is kept is something else."""
        return node.attrs

    def held(self, node: ForeignNode) -> Sequence[Value]:
        """Weights of a node that are not among its inputs: an opaque node keeps them behind those."""
        return ()

    def declared(self, node: ForeignNode) -> Sequence[tuple[DType | None, Shape | None]]:
        """Dtypes and shapes that the file itself states for the results of a node."""
        return ()

    # ---- values
    def has_rule(self, node: ForeignNode) -> bool:
        """Whether a rule or override is there for a node."""
        return node.type in self.rules.load_rules or self.overridden(node)

    def overridden(self, node: ForeignNode) -> bool:
        return node.name in self.overrides or node.type in self.overrides

    def load(self, node: ForeignNode, count: int | None = None) -> tuple[Value, ...]:
        """At least ``count`` values (default: one per output) of a node: by its rule, else of an opaque node."""
        wanted = len(node.outputs) if count is None else count
        given = list(node.inputs)
        try:
            with self.graph.attempt():
                values = tuple(self.apply(node))
                if len(values) < wanted:
                    why = f"output {wanted - 1} is used, but the layer is known to have {len(values)}"
                    raise node.refuse(why, code="unsupported_output")
        except UnsupportedError as e:
            error = e
        except NotExpressible as e:
            error = node.refuse(str(e), e.hint, e.code)
        except ShapeError as e:
            error = node.refuse(str(e).removeprefix(f"layer {node.origin}: "), code="invalid_shape")
        else:
            if self._tainted and not self._tainted.isdisjoint(given):
                self._tainted.update(v for v in values if v.tensor is None)
            return values
        node.inputs = given
        return self.opaque(node, error, wanted)

    def opaque(self, node: ForeignNode, error: UnsupportedError, count: int) -> tuple[Value, ...]:
        """The results of an opaque node that keeps the node and its problem."""
        p = self.problem(node, error)
        inputs = [*node.inputs, *self.held(node)]
        values = self.b.opaque(
            self.framework, node.type, inputs, count, self.kept(node), why=p.why, hint=p.hint, code=p.code,
            follows=self.has_rule(node) and self._follows(node, error), results=self.declared(node),
        )  # fmt: skip
        self.taint(values)
        return values

    def taint(self, values: Sequence[Value]) -> None:
        """Say that these values are unknown because of an opaque node."""
        self._tainted.update(values)

    def is_tainted(self, v: Value) -> bool:
        """Whether a value comes, on any way, from an opaque node."""
        return v in self._tainted

    def _follows(self, node: ForeignNode, error: UnsupportedError) -> bool:
        """Whether a node with a rule is unknown only because an opaque node before it is: then it has no problem of its own."""
        tainted = [v for v in node.inputs if v is not None and v in self._tainted]
        codes = {p.code for p in error.problems}
        if not tainted or not codes <= UNKNOWN | {COMPUTED}:
            return False
        return COMPUTED in codes or any(v.dtype is None or v.shape is None or None in v.shape for v in tainted)

    # ---- names
    def layer_name(self, base: str) -> str:
        """A name no other layer has: ``base``, else ``base_1``, ``base_2``..."""
        n, name = self._layers.get(base), base
        while n is not None:
            n += 1
            name = f"{base}_{n}"
            if name not in self._layers:
                self._layers[base] = n
                break
        self._layers[name] = 0
        return name

    def fresh(self, v: Value) -> bool:
        """Whether a value is a node's and has no name of the source yet."""
        return v.producer is not None and v not in self.named

    def own(self, v: Value) -> Value:
        """The value itself where it is fresh, else a copy of it (identity): what is passed through gets its own name."""
        if self.fresh(v):
            return v
        copy: Value = self.b.identity(v)
        if v in self._tainted:
            self._tainted.add(copy)
        return copy

    def name(self, v: Value, name: str) -> None:
        """Give a value its name in the source: exactly that, unless a value of the source has it already."""
        if name in self._taken:
            self.graph.rename(v, self.graph.fresh_name(name))
        elif v.name != name:
            self.graph.rename(v, name)
        self._taken.add(v.name)
        self.named.add(v)

    def has_name(self, name: str) -> bool:
        """Whether a value of the source has this name."""
        return name in self._taken

    def name_node(self, values: Sequence[Value], layer: str) -> None:
        """The node that makes a layer's first result carries the layer's name."""
        node = values[0].producer if values else None
        if node is not None and node.name != layer and node.origin.layer == layer and node.graph is self.graph:
            self.graph.rename(node, layer)
