"""Sizes that a file fixes and the caller changed: allowed where nothing depends on them, as on a batch that an exporter froze."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import UsageError
from ..ir.dims import Dim, DimLike, Shape, shape_text
from ..ir.graph import Graph
from ..passes.batch import what_mixes

__all__ = ["let_go"]

Freed = Mapping[str, Mapping[int, tuple[int, DimLike]]]


def let_go(graph: Graph, freed: Freed, load: Callable[[Mapping[str, Shape]], Graph]) -> str:
    """What to note of the sizes that were changed: nothing depends on them. UsageError names what does.

    ``freed`` is :attr:`InputShapes.freed`; ``load`` reads the same file for other shapes, to follow numbers under a name.
    """
    named = _named(graph, freed)
    _refuse_mixing(graph if named is None else load(named), freed)
    what = "; ".join(f"{v.name!r} {shape_text(v.shape)}" for v in graph.inputs if v.name in freed)
    seen = "nothing depends on them that can be seen (a number made of one when the file was, as x / x.shape[0], is a constant)"
    return f"sizes that the file fixes are as they were given, {seen}: {what}"


def _named(graph: Graph, freed: Freed) -> dict[str, Shape] | None:
    """The shapes of all inputs, with names for the numbers that were given, equal ones where old and new are equal; None where
    only names were given."""
    if all(isinstance(new, Dim) for axes in freed.values() for _, new in axes.values()):
        return None
    taken = {n for v in graph.inputs for d in v.shape or () if isinstance(d, Dim) for n in d.names}
    out: dict[str, Shape] = {}
    for v in graph.inputs:
        axes = freed.get(v.name, {})
        sizes = [axes[i][1] if i in axes else d for i, d in enumerate(v.shape or ())]
        for i, (old, new) in axes.items():
            if isinstance(new, int):
                name = f"given_{old}_{new}"
                while name in taken:
                    name += "_"
                sizes[i] = Dim(name)
        if v.shape is not None:
            out[v.name] = tuple(sizes)
    return out


def _refuse_mixing(graph: Graph, freed: Freed) -> None:
    """UsageError where something depends on a size that was changed; ``graph`` has names for all of them."""
    shapes = {v.name: v.shape or () for v in graph.inputs}
    for name, axes in freed.items():
        for axis, (old, new) in axes.items():
            size = shapes[name][axis]
            starts = [(v, i) for v in graph.inputs for i, d in enumerate(v.shape or ()) if d == size]
            why = "" if isinstance(size, Dim) and size.is_name else f"{size} is no name of its own"
            if len({v for v, _ in starts}) < len(starts):
                why = f"one input has the size {size} twice"
            if isinstance(size, Dim) and not why:
                why = what_mixes(graph, dict(starts), size)
            if why:
                raise UsageError(
                    f"input {name!r} has the fixed size {old} along axis {axis} where the shape given has {new}, and something "
                    f"depends on it: {why}"
                )
