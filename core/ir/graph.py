"""Graphs: nodes in a linked list with regions, named inputs, weights and outputs.

A :class:`Graph` holds its nodes in execution order, so nodes may be inserted and removed while iterating. A
node's regions (bodies of control flow) are graphs of their own whose inputs are bound to inputs of the node: captures are
explicit, an inner node never refers to an outer value.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import VerifyError
from .attempts import Attempt
from .dims import Shape
from .dtypes import DType
from .nodes import BUFFER, CONSTANT, NOWHERE, PARAMETER, Node, Origin, Value, place_of
from .scopes import Layer, Path, Scope, count_layers, derive_layers
from .tensors import Tensor

__all__ = ["BUFFER", "CONSTANT", "PARAMETER", "Graph", "Layer", "Node", "Origin", "Scope", "Value"]


class Graph:
    """A graph in single-assignment form: inputs, weights, nodes in execution order, outputs."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.weights: dict[str, Value] = {}
        self.root = Scope(None, "")
        self.metadata: dict[str, Any] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._count = 0
        self._names: dict[str, int] = {}
        self._scopes: dict[tuple[Path, int], Scope] = {}
        self._log: list[tuple[str, Any, Any]] | None = None  # what was added since the outermost attempt began

    # ---- scopes
    def scope(
        self, name: str, type: str = "", config: Mapping[str, Any] | None = None, *, parent: Scope | None = None, call: int = 0
    ) -> Scope:
        """The scope ``name`` in ``parent`` (default: the root), made when it is asked for first.

        ``call`` is the number of the use of this path. VerifyError if that use is known with another parent.
        """
        inside = self.root if parent is None else parent
        key = ((*inside.path, name), call)
        found = self._scopes.get(key)
        if found is None:
            found = self._scopes[key] = Scope(inside, name, type, config, call, key[0])
            self.note("scope", key, None)
        elif found.parent is not inside:
            raise VerifyError(f"use {call} of scope {found.text!r} is asked for in two uses of its parent")
        return found

    def uses_of(self, path: Path) -> int:
        """How many uses of a path there are, which is the number of the next."""
        n = 0
        while (path, n) in self._scopes:
            n += 1
        return n

    def scopes(self) -> Iterator[Scope]:
        """All scopes but the root, in the order in which they were made."""
        return iter(self._scopes.values())

    def set_results(self, scope: Scope, values: Iterable[Value]) -> None:
        """Say what a scope gives: its results in order. Values that other scopes give as well may be among them."""
        for i, v in enumerate(values):
            self.note("results", v, v.results)
            v.results = (*v.results, (scope, i))

    def regroup(self, places: Mapping[Scope, tuple[Sequence[tuple[str, int]], str]]) -> None:
        """Put scopes into blocks: ``places`` gives the blocks around a scope, from outside, as (name, call), and the name it has
        there. The order of scopes stays."""
        old, self._scopes = list(self.scopes()), {}
        new = {self.root: self.root}
        for s in old:
            blocks, name = places.get(s, ((), s.name))
            parent = self.root if s.parent is None else new[s.parent]
            for block, call in blocks:
                parent = self.scope(block, parent=parent, call=call)
            new[s] = self.scope(name, s.type, s.config, parent=parent, call=s.call)
        for node in self:
            node.scope = new[node.scope]
        for v in self.values():
            v.results = tuple((new[s], i) for s, i in v.results)

    def adopt_scopes(self, other: Graph) -> None:
        """Take over the scopes of another graph (they never change, so they are shared), for nodes that come from it."""
        self.root, self._scopes = other.root, dict(other._scopes)

    @property
    def layers(self) -> list[Layer]:
        """The layers of the source in its order, read from the scopes: see :class:`Layer`."""
        return derive_layers(self)

    @property
    def layer_count(self) -> int:
        """The length of :attr:`layers`, for less."""
        return count_layers(self)

    def source_weights(self) -> Iterator[Value]:
        """The weights that came from the source, once each; those of branches and loops come last."""
        own = [v for v in self.weights.values() if v.tensor is not None and v.source]
        seen = {place_of(v) for v in own}
        yield from own
        for node in self:
            for v in node.inner_weights():
                if place_of(v) not in seen:
                    yield v

    @property
    def num_params(self) -> int:
        """Number of elements of :meth:`source_weights`."""
        return sum(v.tensor.size for v in self.source_weights() if v.tensor is not None)

    # ---- attempts
    def attempt(self) -> Attempt:
        """A context that undoes what was done inside when an exception leaves it. Attempts nest.

        Nodes, inputs, weights, scopes and names made inside go; inputs of nodes, outputs replaced by
        :meth:`Value.replace_uses`, results of scopes and names are as before. Not undone are a removal of what was there before
        and an attribute or ``outputs`` set by hand: leave those alone inside, or say how to undo them with :meth:`on_undo`.
        """
        return Attempt(self)

    def note(self, what: str, thing: Any, old: Any = None) -> None:
        """Remember, within an attempt, what is added or changed: see :mod:`.attempts`."""
        if self._log is not None:
            self._log.append((what, thing, old))

    def on_undo(self, undo: Callable[[], object]) -> None:
        """Let ``undo`` be called if the attempt around is undone: for what a loader notes beside the graph."""
        self.note("call", undo, None)

    # ---- names
    def rename(self, item: Value | Node, name: str) -> None:
        """Give a value or a node of this graph a name, exactly; the one way to do so.

        VerifyError if another weight has the name. That no other value has it is the caller's business, as :meth:`fresh_name`
        sees to it.
        """
        if item.name == name:
            self.claim_name(name)
            return
        self.note("rename", item, item.name)
        if isinstance(item, Value) and self.weights.get(item.name) is item:
            if name in self.weights:
                raise VerifyError(f"weight %{item.name} cannot be renamed to %{name}: that is another weight")
            del self.weights[item.name]
            self.weights[name] = item
        self.claim_name(name)
        item.name = name

    def fresh_name(self, base: str) -> str:
        """``base`` if it is free among values and nodes named so far, else ``base_1``, ``base_2``..."""
        n = self._names.get(base)
        self.note("name", base, n)
        if n is None:
            self._names[base] = 0
            return base
        while True:
            n += 1
            name = f"{base}_{n}"
            if name not in self._names:
                self.note("name", name, None)
                self._names[base] = n
                self._names[name] = 0
                return name

    def claim_name(self, name: str) -> None:
        """Reserve a name that is used as it is."""
        if name not in self._names:
            self.note("name", name, None)
            self._names[name] = 0

    # ---- values
    def add_input(self, name: str, dtype: DType | None, shape: Shape | None) -> Value:
        v = Value(self.fresh_name(name), dtype, shape)
        v.graph = self
        self.inputs.append(v)
        self.note("input", v, None)
        return v

    def add_weight(
        self, name: str, tensor: Tensor, *, trainable: bool = False, source: str = "", role: str = "", like: Value | None = None
    ) -> Value:
        """Register an array; the name is made unique.

        ``role`` defaults to "parameter" where ``trainable``, else "constant"; ``like`` gives role, trainable and source of
        another weight, of which this one is a form.
        """
        v = Value(self.fresh_name(name), tensor.dtype, tensor.shape, tensor)
        v.graph = self
        if like is not None:
            v.role, v.trainable, v.source = like.role, like.trainable, like.source
        else:
            v.role, v.trainable, v.source = role or (PARAMETER if trainable else CONSTANT), trainable, source
        self.weights[v.name] = v
        self.note("weight", v, None)
        return v

    def remove_weight(self, v: Value) -> None:
        if v._uses or v.is_output:
            raise VerifyError(f"weight {v} is still in use")
        del self.weights[v.name]
        v.graph = None

    def prune_weights(self) -> None:
        """Drop weights that nothing uses, but for those that the source has unused, too: ``metadata["unread"]`` names them."""
        kept = {id(v) for v in self.outputs}
        unread = frozenset(self.metadata.get("unread") or ())
        self.weights = {k: v for k, v in self.weights.items() if v._uses or id(v) in kept or v.source in unread}

    # ---- nodes
    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Node]:
        """Nodes in order. The current node may be removed and nodes may be inserted while iterating."""
        node = self._first
        while node is not None:
            following = node._next
            yield node
            if node.graph is self:
                following = node._next
            node = following

    def __reversed__(self) -> Iterator[Node]:
        node = self._last
        while node is not None:
            before = node._prev
            yield node
            if node.graph is self:
                before = node._prev
            node = before

    @property
    def first(self) -> Node | None:
        """The first node in execution order."""
        return self._first

    @property
    def last(self) -> Node | None:
        """The last node in execution order."""
        return self._last

    @property
    def nodes(self) -> list[Node]:
        return list(self)

    def insert(self, node: Node, *, before: Node | None = None, after: Node | None = None) -> Node:
        """Put a node in: at the end, or before/after another node of this graph."""
        if node.graph is not None:
            raise VerifyError(f"{node} is already in a graph")
        if after is not None:
            before = after._next
            prev: Node | None = after
        else:
            prev = self._last if before is None else before._prev
        node.graph, node._prev, node._next = self, prev, before
        if node.scope is NOWHERE:
            node.scope = self.root
        if prev is None:
            self._first = node
        else:
            prev._next = node
        if before is None:
            self._last = node
        else:
            before._prev = node
        for v in node.outputs:
            v.graph = self
        self._count += 1
        self.note("node", node, None)
        return node

    def append(self, node: Node) -> Node:
        return self.insert(node)

    def remove(self, node: Node) -> None:
        """Take a node out; its outputs must be unused."""
        for v in node.outputs:
            if v._uses or v.is_output:
                raise VerifyError(f"{node} is removed but its output {v} is still used")
        self.detach(node)
        node.set_inputs(())

    def detach(self, node: Node) -> None:
        """Unlink a node without touching its uses, e.g. to put it elsewhere."""
        if node.graph is not self:
            raise VerifyError(f"{node} is not in graph {self.name!r}")
        if node._prev is None:
            self._first = node._next
        else:
            node._prev._next = node._next
        if node._next is None:
            self._last = node._prev
        else:
            node._next._prev = node._prev
        node.graph = None
        self._count -= 1

    def remove_unused(self) -> int:
        """Drop nodes whose outputs nobody uses, then unused weights; returns how many nodes went."""
        removed = 0
        outs = {id(v) for v in self.outputs}
        for node in reversed(self):
            if not any(v._uses or id(v) in outs for v in node.outputs):
                self.detach(node)
                node.set_inputs(())
                removed += 1
        self.prune_weights()
        return removed

    def sort(self) -> None:
        """Put nodes into execution order (stable); VerifyError names the nodes of a cycle."""
        nodes = self.nodes
        waiting = {n: sum(1 for v in n.inputs if v is not None and v.producer is not None) for n in nodes}
        ready = [n for n in nodes if not waiting[n]]
        order: list[Node] = []
        rank = {n: i for i, n in enumerate(nodes)}
        heap = [rank[n] for n in ready]
        heapq.heapify(heap)
        while heap:
            n = nodes[heapq.heappop(heap)]
            order.append(n)
            for v in n.outputs:
                for user, _ in v._uses:
                    if user in waiting:
                        waiting[user] -= 1
                        if not waiting[user]:
                            heapq.heappush(heap, rank[user])
        if len(order) != len(nodes):
            stuck = [n for n in nodes if waiting[n]][:5]
            raise VerifyError("cycle through " + ", ".join(map(repr, stuck)))
        if order != nodes:
            for n in nodes:
                self.detach(n)
            for n in order:
                self.insert(n)

    def values(self) -> Iterator[Value]:
        """Inputs, weights and node outputs."""
        yield from self.inputs
        yield from self.weights.values()
        for node in self:
            yield from node.outputs

    def find(self, name: str) -> Value | None:
        """The value of that name (linear search)."""
        return next((v for v in self.values() if v.name == name), None)

    def clone(self) -> Graph:
        """A copy that shares nothing but tensors."""
        return copy_graph(self)

    def __str__(self) -> str:
        from .printing import to_text

        return to_text(self)


def copy_graph(graph: Graph) -> Graph:
    """A deep copy of the structure; tensors, which never change, are shared."""
    new = Graph(graph.name)
    m: dict[int, Value] = {}

    def value(v: Value) -> Value:
        c = Value(v.name, v.dtype, v.shape, v.tensor)
        c.role, c.trainable, c.source, c.results, c.graph = v.role, v.trainable, v.source, v.results, new
        m[id(v)] = c
        return c

    new.inputs = [value(v) for v in graph.inputs]
    new.weights = {k: value(v) for k, v in graph.weights.items()}
    for node in graph:
        new.insert(
            Node(
                node.op,
                [None if v is None else m[id(v)] for v in node.inputs],
                [value(v) for v in node.outputs],
                node.attrs,
                name=node.name,
                regions=[copy_graph(r) for r in node.regions],
                origin=node.origin,
                scope=node.scope,
            )
        )
    new.outputs = [m[id(v)] for v in graph.outputs]
    new.metadata = dict(graph.metadata)
    new._names = dict(graph._names)
    new.adopt_scopes(graph)
    return new
