"""Taking back what was added to a graph: the transaction behind :meth:`Graph.attempt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .nodes import Value

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["Attempt"]


class Attempt:
    """One transaction on a graph; see :meth:`Graph.attempt`."""

    __slots__ = ("_graph", "_mark", "_outer")

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._mark, self._outer = 0, False

    def __enter__(self) -> None:
        graph = self._graph
        self._outer = graph._log is None
        if graph._log is None:
            graph._log = []
        self._mark = len(graph._log)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        graph = self._graph
        log = graph._log if graph._log is not None else []
        if self._outer:
            graph._log = None
        if kind is not None:
            for what, thing, old in reversed(log[self._mark :]):
                _undo(graph, what, thing, old)
            del log[self._mark :]


def _undo(graph: Graph, what: str, thing: Any, old: Any) -> None:
    """Take one entry of a graph's log back."""
    if what == "name":
        if old is None:
            graph._names.pop(thing, None)
        else:
            graph._names[thing] = old
    elif what == "call":
        thing()
    elif what == "scope":
        graph._scopes.pop(thing, None)
    elif what == "inputs":
        thing.set_inputs(old)
    elif what == "outputs":
        thing.outputs[:] = old
    elif what == "results":
        thing.results = old
    elif what == "rename":
        if isinstance(thing, Value) and graph.weights.get(thing.name) is thing:
            graph.weights[old] = graph.weights.pop(thing.name)
        thing.name = old
    elif what == "node":
        if thing.graph is graph:
            graph.remove(thing)
        for v in thing.outputs:
            v.graph = None
    elif what == "input":
        graph.inputs[:] = [v for v in graph.inputs if v is not thing]
        thing.graph = None
    elif thing.graph is graph:
        graph.remove_weight(thing)
