"""What a composite takes the place of: the nodes between its result and its inputs, and the exchange itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ..build.builder import Builder, infer_outputs
from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape, dim_min
from ..ir.graph import Graph, Node, Value
from ..ir.tensors import Tensor
from ..opset import op
from ..passes.constants import fold_constants
from ..records import dataclass
from .forms import Form
from .kinds import free
from .view import View

__all__ = ["Fusion", "Rewriter", "fits", "refresh"]

MOST = 400
"""Nodes of the largest composite (an unrolled recurrence aside, which says its own)."""


@dataclass(frozen=True)
class Fusion:
    """One composite that was found: the op, the name of its node, and the nodes (of the source) that it was."""

    op: str
    name: str
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.nodes[:8]) + (f" and {len(self.nodes) - 8} more" if len(self.nodes) > 8 else "")
        return f"{self.op} {self.name!r} from {shown}"


@dataclass
class Rewriter:
    """A graph, its view, and what was found in it so far."""

    graph: Graph
    view: View
    across: bool = False
    only: Collection[str] | None = None  # the ops that are of use; None: all
    found: list[Fusion] = field(default_factory=list)
    outputs: set[Value] = field(default_factory=set)
    made: list[Node] = field(default_factory=list)  # nodes that fusions brought, for the rules that follow
    _views: dict[tuple[Value, object], Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = set(self.graph.outputs)
        self.operators = self.graph.metadata.get("kind") == "graph"

    # ---- which nodes
    def region(self, roots: Sequence[Value], stops: Collection[Form | Value], most: int = MOST) -> list[Node] | None:
        """The nodes that compute ``roots`` from ``stops`` (values, or forms of values); None where something else is needed."""
        nodes: dict[Node, None] = {}
        stack = [r.producer for r in roots if r.producer is not None]
        while stack:
            node = stack.pop()
            if node in nodes:
                continue
            nodes[node] = None
            if len(nodes) > most:
                return None
            for v in node.inputs:
                if v is None or v.tensor is not None or v in stops or self.view.forms.get(v) in stops:
                    continue
                if v.producer is None:
                    return None
                stack.append(v.producer)
        return list(nodes)

    def closed(self, nodes: Sequence[Node], roots: Collection[Value], shared: bool = True) -> bool:
        """Whether nothing else needs what lies between, and one layer of the source has all of it.

        Where the source is a graph of operators these are no layers of anybody's. ``shared``: what costs no
        arithmetic may be used by others too, who keep it.
        """
        inside = set(nodes)
        for node in nodes:
            if shared and free(node):
                continue
            for v in node.outputs:
                if v not in roots and (v in self.outputs or any(user not in inside for user, _ in v.uses)):
                    return False
        return self.one_layer(nodes)

    def one_layer(self, nodes: Sequence[Node]) -> bool:
        return self.operators or len({n.scope for n in nodes}) == 1

    # ---- constants
    def turned(self, w: Value) -> Value:
        """A constant matrix with its axes exchanged: a view, made once."""
        return self._derived(w, "turned", lambda t: t.transpose((1, 0)))

    def shaped(self, w: Value, shape: tuple[int, ...]) -> Value:
        """A constant in another shape."""
        return w if w.tensor is not None and w.tensor.shape == shape else self._derived(w, shape, lambda t: t.reshape(shape))

    def rows(self, w: Value, index: Any) -> Value:
        """Rows of a constant (elements of a vector); itself where that is all of them in order."""
        assert w.tensor is not None
        n, first = len(index), int(index[0])
        if n == w.tensor.shape[0] and np.array_equal(index, np.arange(n)):
            return w
        if np.array_equal(index, np.arange(first, first + n)):
            shape = (n, *w.tensor.shape[1:])
            return self._derived(w, ("rows", first, n), lambda t: t.map(lambda a: a[first : first + n], shape))
        return self._derived(w, ("rows", tuple(index)), lambda t: t.map(lambda a: a[index], (n, *t.shape[1:])))

    def _derived(self, w: Value, how: object, make: Callable[[Tensor], Tensor]) -> Value:
        found = self._views.get((w, how))
        if found is None or found.graph is not self.graph:
            assert w.tensor is not None
            found = self.graph.add_weight(w.name, make(w.tensor), like=w)
            self._views[w, how] = found
            self.graph.on_undo(lambda: self._views.pop((w, how), None))
        return found

    def finish(self) -> None:
        """Drop what nothing uses any more; a constant that is only needed in another form gives its name to that one."""
        self.graph.remove_unused()
        alive = {id(v) for v in self.graph.weights.values()}
        for (old, _), new in self._views.items():
            if id(new) in alive and id(old) not in alive and old.name not in self.graph.weights:
                self.graph.rename(new, old.name)

    # ---- the exchange
    def put(
        self, root: Value, nodes: Sequence[Node], make: Callable[[Builder], Value | Sequence[Value]], roots: Sequence[Value] = (),
        like: Node | None = None, what: str = "",
    ) -> bool:  # fmt: skip
        """Let what ``make`` builds before the producer of ``root`` take the place of ``root`` (or of all ``roots``).

        Nothing is changed, and False the answer, where the shape or dtype would be another, or an op refuses its inputs. The
        new node has the name, scope and origin of the old one (or of ``like``), its value the name of the old value. ``what`` is
        the composite, where more than views of it are made. What needs another of the ``roots`` and stood before the producer
        of ``root`` stands behind the new node afterwards.
        """
        last = root.producer
        olds = list(roots) or [root]
        assert last is not None
        early = _early(last, olds, nodes)
        named = like or last
        b = Builder(self.graph, before=last, origin=named.origin.by("fuse"))
        b.prefix, b.scope = named.name, named.scope
        before = last.previous
        try:
            with self.graph.attempt():
                made = make(b)
                news: list[Value] = [made] if isinstance(made, Value) else list(made)
                for old, new in zip(olds, news, strict=True):
                    if new.dtype is not old.dtype or not fits(new.shape, old.shape):
                        raise ShapeError(f"{new} in place of {old}")
                composite = what or next((n.op for n in _before(last, before) if not free(n)), "")
                if early and any(v is not None and v.producer in early for n in _before(last, before) for v in n.inputs):
                    raise ShapeError("what it is made of needs one of its results")
                if self.only is not None and composite not in self.only:
                    raise ShapeError(f"{composite} is of no use")
                if all(_constant(v, list(_before(last, before))) for v in news):
                    raise ShapeError("what only weights give is computed once and no composite")
        except ShapeError:
            return False
        first = before.next if before is not None else self.graph.first
        between: list[Node] = []
        while first is not None and first is not last:
            between.append(first)
            first = first.next
        fold_constants(self.graph, nodes=between)
        between = [n for n in between if n.graph is self.graph]
        self.made += between
        for old, new in zip(olds, news):
            name = old.name
            old.replace_uses(new)
            if new.shape != old.shape:
                refresh(new)
            self.view.replaced(old, new)
            if old in self.outputs:
                self.outputs.discard(old)
                self.outputs.add(new)
            old.name = f"{name} (fused)"
            if new.producer is not None and new.tensor is None:
                self.graph.rename(new, name)
        for node in early:
            self.graph.detach(node)
            self.graph.insert(node, before=last)
        main = next((n for n in between if n.op == what), news[0].producer)
        assert main is not None
        old_name, named.name = named.name, f"{named.name} (fused)"
        self.graph.rename(main, old_name)
        for n in between:
            for v in n.outputs:
                if v not in self.view.forms:
                    self.view.know(v, self.view.leaf(v))
        names = tuple(dict.fromkeys(n.origin.layer or n.name for n in reversed(nodes)))
        self.found.append(Fusion(composite or main.op, old_name, names))
        self.drop(nodes)
        return True

    def drop(self, nodes: Sequence[Node]) -> None:
        """Remove those of the nodes that nothing uses any more."""
        inside, stack = set(nodes), list(nodes)
        while stack:
            node = stack.pop()
            if node.graph is not self.graph or any(v.uses or v in self.outputs for v in node.outputs):
                continue
            feeders = [v.producer for v in node.inputs if v is not None and v.producer is not None]
            self.view.forget([node])
            self.graph.remove(node)
            stack += [p for p in feeders if p in inside]

    def reached(self, start: Value, steps: Callable[[Node], bool], most: int = 16) -> list[Value]:
        """The values that nodes of that kind make of a value, the last ones first."""
        seen: dict[Value, None] = {start: None}
        order = [start]
        for v in order:
            for user, _ in v.uses:
                if len(seen) < most and len(user.outputs) == 1 and user.outputs[0] not in seen and steps(user):
                    seen[user.outputs[0]] = None
                    order.append(user.outputs[0])
        return [v for v in order[:0:-1] if self.alive(v)] + [start]

    def alive(self, v: Value) -> bool:
        """Whether a value is still made here, and wanted."""
        return v.producer is not None and v.producer.graph is self.graph and (bool(v.uses) or v in self.outputs)


def _before(node: Node, first: Node | None) -> Iterator[Node]:
    """The nodes between two, backwards."""
    at = node.previous
    while at is not None and at is not first:
        yield at
        at = at.previous


def _early(last: Node, olds: Sequence[Value], nodes: Collection[Node]) -> list[Node]:
    """What is not of ``nodes``, stands before ``last`` and needs one of the values, in order."""
    left, span, at = {v.producer for v in olds} - {last}, list[Node](), last.previous
    while left and at is not None:
        span.append(at)
        left.discard(at)
        at = at.previous
    needed, inside, found = set(olds), set(nodes), list[Node]()
    for node in reversed(span):
        if node not in inside and any(v in needed for v in node.inputs):
            found.append(node)
            needed.update(node.outputs)
    return found


def fits(new: Shape | None, old: Shape | None) -> bool:
    """Whether the shapes are the same, or the old sizes the smaller of the new ones and a number: the length of a stored mask,
    beyond which the source has no answer at all."""
    if new == old:
        return True
    if new is None or old is None or len(new) != len(old):
        return False
    return all(a == b or _limited(a, b) for a, b in zip(new, old))


def _limited(a: DimLike | None, b: DimLike | None) -> bool:
    if not isinstance(a, Dim) or not isinstance(b, Dim):
        return False
    return any(b == dim_min(a, n) for n in _limits(b))


def _limits(d: Dim) -> list[int]:
    """The numbers among the arguments of a size that is a minimum."""
    found: list[int] = []
    for _, factors in d.terms:
        for atom, _ in factors:
            for x in atom[1] if isinstance(atom, tuple) and atom[0] in ("min", "max") else ():
                found += [x] if isinstance(x, int) else _limits(x)
    return found


def refresh(v: Value) -> None:
    """Work out the shapes again of what follows a value whose shape has become another."""
    todo = list(v.users)
    while todo:
        node = todo.pop()
        if node.regions:
            continue
        for out, (_, shape) in zip(node.outputs, infer_outputs(op(node.op), node.inputs, node.attrs)):
            if out.shape != shape:
                out.shape = shape
                todo += out.users


def _constant(v: Value, made: Collection[Node]) -> bool:
    """Whether a value follows from weights alone, through nodes just made."""
    if v.tensor is not None:
        return True
    return v.producer in made and all(i is None or _constant(i, made) for i in v.producer.inputs) if v.producer else False
