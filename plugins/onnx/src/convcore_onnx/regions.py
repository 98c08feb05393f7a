"""Subgraphs as regions: what they use from outside becomes an input, or a constant of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import BadFileError, DType, Graph, NotExpressible, Shape, Value

from .attributes import Subgraph
from .scope import Scope, Where
from .structure import MAX_DEPTH, free_names, names_read, ordered

__all__ = ["Regions"]


class Regions:
    """The loader's part that reads subgraphs."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def captures(self, scope: Scope, graphs: Sequence[Subgraph]) -> tuple[list[str], list[Value]]:
        """Names and values that graphs use from outside; constants are copied into the region instead."""
        names: dict[str, None] = {}
        for sub in graphs:
            names.update(dict.fromkeys(sub.where.prefix + n for n in free_names(sub.proto, 0)))
        kept, values = [], []
        for name in names:
            v = self.loader.find(scope, name, "a subgraph's nodes")
            if v.tensor is None and self.constant(scope, v) is None:
                kept.append(name)
                values.append(v)
        return kept, values

    @staticmethod
    def constant(scope: Scope, v: Value) -> Any:
        """Sizes a value holds through shape arithmetic, when few and all known."""
        if v.rank is None or v.rank > 1:
            return None
        a = scope.context.symbolic(v)
        if a is None or a.size > 16 or any(x is None for x in a.ravel()):
            return None
        return a

    def region(
        self, scope: Scope, sub: Subgraph, inputs: Sequence[tuple[DType | None, Shape | None]],
        captured: tuple[list[str], list[Value]],
    ) -> Graph:  # fmt: skip
        proto, where = sub.proto, sub.where
        if scope.depth >= MAX_DEPTH:
            raise BadFileError(f"subgraphs are nested more than {MAX_DEPTH} deep")
        if len(proto.input) != len(inputs):
            raise BadFileError(f"subgraph {proto.name!r} takes {len(proto.input)} inputs, is given {len(inputs)}")
        graph = Graph(proto.name)
        inner = self.loader.scope(graph, scope.depth + 1)
        for info, (dtype, shape) in zip(proto.input, inputs):
            v = graph.add_input(where.prefix + info.name, dtype, shape)
            self.loader.bind(inner, where.prefix + info.name, v)
        self.outer(scope, inner, sub, captured)
        self.body(inner, proto, where)
        return graph

    def outer(self, scope: Scope, inner: Scope, sub: Subgraph, captured: tuple[list[str], list[Value]]) -> None:
        """The values from outside, in a region."""
        for name, v in zip(*captured):
            twin = inner.graph.add_input(name, v.dtype, v.shape)
            inner.values[name] = twin
            inner.driver.named.add(twin)
            if scope.driver.is_tainted(v):
                inner.driver.taint([twin])
        for free in free_names(sub.proto, 0):
            name = sub.where.prefix + free
            if name in inner.values:
                continue
            v = self.loader.find(scope, name, "a subgraph's nodes")
            if v.tensor is not None:
                twin = inner.graph.add_weight(name, v.tensor, like=v)
            else:
                sizes = self.constant(scope, v)
                made = inner.context.constant_of(sizes.ravel())
                if made is None:
                    raise NotExpressible(f"the sizes in {name!r} are not known", "unknown_shape")
                twin = made if v.rank else inner.context.scalar(made)
                if v.dtype is not None and twin.dtype != v.dtype:
                    twin = inner.context.b.cast(twin, to=v.dtype)
            inner.values[name] = twin
            inner.driver.named.add(twin)

    def body(self, inner: Scope, proto: Any, where: Where) -> None:
        """Initializers, nodes and outputs of a subgraph."""
        p = where.prefix
        self.loader.initializers(inner, proto, p, {})
        for info in (*proto.value_info, *proto.output):
            inner.declared[p + info.name] = info
        read = names_read(proto.node)
        inner.used |= {v.name for v in proto.output}.union(*read)
        for n in ordered(proto.node, read, lambda name: inner.known(p + name), f"subgraph {proto.name!r}"):
            self.loader.node(inner, n, where)
        inner.graph.outputs = [self.loader.find(inner, p + v.name, f"subgraph {proto.name!r}") for v in proto.output]
        inner.graph.remove_unused()

    def inline(self, scope: Scope, sub: Subgraph) -> tuple[Value, ...]:
        """A subgraph without inputs as nodes of the graph around it; names stay unless they are taken."""
        proto = sub.proto
        if len(proto.input):
            raise BadFileError(f"subgraph {proto.name!r} has inputs where none are allowed")
        where, p = sub.where, sub.where.prefix
        own = [p + o for n in proto.node for o in n.output if o]
        own += [p + t.name for t in (*proto.initializer, *(s.values for s in proto.sparse_initializer))]
        for name in own:
            if scope.known(name):
                raise BadFileError(f"subgraph {proto.name!r} defines {name!r} again")
            scope.graph.claim_name(name)
        self.loader.initializers(scope, proto, p, {})
        read = names_read(proto.node)
        scope.used |= {v.name for v in proto.output}.union(*read)
        for n in ordered(proto.node, read, lambda name: scope.known(p + name), f"subgraph {proto.name!r}"):
            self.loader.node(scope, n, where)
        results = tuple(self.loader.find(scope, p + v.name, f"subgraph {proto.name!r}") for v in proto.output)
        for name in own:  # another subgraph may use the names again
            scope.values.pop(name, None)
            scope.bad.pop(name, None)
        return results
