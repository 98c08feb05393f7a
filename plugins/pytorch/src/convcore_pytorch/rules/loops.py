"""Loops that rules make: a step as a region, repeated a number of times or while something holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convcore.plugin import Builder, DimLike, DType, Graph, Value

from ..context import TorchContext

__all__ = ["repeat", "while_any"]

Step = Callable[[TorchContext, Value, list[Value], list[Value]], Sequence[Value]]
"""(context, number of the step, states, captures) -> new states."""


def repeat(g: TorchContext, times: DimLike, states: Sequence[Value], captures: Sequence[Value], step: Step) -> list[Value]:
    """The states after so many steps. Types and shapes of the states stay."""
    if isinstance(times, int) and times <= 0:
        return list(states)
    graph, inner, go, index, held, given = _region(g, states, captures)
    made = step(inner, index, held, given)
    for v in (go, *made):
        graph.outputs.append(inner.b.identity(v))
    return _loop(g, g.scalar(times, DType.INT64), None, states, captures, graph)


def while_any(
    g: TorchContext, holds: Callable[[TorchContext, list[Value]], Value], states: Sequence[Value], step: Step
) -> list[Value]:
    """The states after steps that are repeated while any element of ``holds(states)``, which are truth values, is true."""

    def again(c: TorchContext, vs: list[Value]) -> Value:
        return c.b.any(holds(c, vs))

    graph, inner, _, index, held, _ = _region(g, states, ())
    made = list(step(inner, index, held, []))
    for v in (again(inner, made), *made):
        graph.outputs.append(inner.b.identity(v))
    return _loop(g, None, again(g, list(states)), states, (), graph)


def _region(
    g: TorchContext, states: Sequence[Value], captures: Sequence[Value]
) -> tuple[Graph, TorchContext, Value, Value, list[Value], list[Value]]:
    graph = Graph("step")
    inner = TorchContext(Builder(graph, origin=g.b.origin), g.loader)
    index, go = graph.add_input("step", DType.INT64, ()), graph.add_input("go", DType.BOOL, ())
    held = [graph.add_input(f"state_{i}", v.dtype, v.shape) for i, v in enumerate(states)]
    given = [graph.add_input(f"outer_{i}", v.dtype, v.shape) for i, v in enumerate(captures)]
    return graph, inner, go, index, held, given


def _loop(
    g: TorchContext, times: Value | None, first: Value | None, states: Sequence[Value], captures: Sequence[Value], graph: Graph
) -> list[Value]:
    outs = g.b.op("loop", times, first, *states, *captures, n_states=len(states), regions=(graph,))
    made = list(outs) if isinstance(outs, (tuple, list)) else [outs]
    for v, s in zip(made, states):
        v.shape = s.shape
    return made
