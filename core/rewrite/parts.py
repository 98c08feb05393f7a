"""Parts of a value put together again: what they are parts of, looked at with other axes at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..build.builder import Builder
from ..errors import ShapeError
from ..ir.graph import Node, Value
from .axes import Atom, Axes, axes_of, cells, materialise
from .region import Rewriter

__all__ = ["find", "stands"]


def find(r: Rewriter, node: Node) -> bool:
    """Let the value whose parts along an axis a concat puts one behind the other, all of them in order, take its place (two
    directions of a recurrence taken apart and joined, steps of a sequence)."""
    y, parts = node.output, list[Axes]()
    if y.shape is None or None in y.shape or len(node.inputs) < 2 or not r.one_layer([node]):
        return False
    for v in node.inputs:
        a = None if v is None or v.tensor is not None else axes_of(r, v, select=True)
        taken = [] if a is None else [x for g in a.origin for x in g if x.index is not None]
        if a is None or len(taken) != 1 or taken[0].size != len(node.inputs) or taken[0].index != len(parts):
            return False
        if parts and (a.base is not parts[0].base or _places(a) != _places(parts[0])):
            return False
        parts.append(a)
    a = parts[0]
    lead = next(x for g in a.origin for x in g if x.index is not None)
    lead.index = None
    groups = [tuple(x for x in g if x is not lead) for g in a.groups]
    axis = node.attrs["axis"]
    groups[axis] = (lead, *groups[axis])
    return stands(r, node, lambda b: materialise(b, a, groups))


def stands(r: Rewriter, node: Node, make: Callable[[Builder], Value]) -> bool:
    """Let what ``make`` builds, elements of what is there, take the place of a node's result; False where it is not the same."""
    y = node.output
    b = Builder(r.graph, before=node, origin=node.origin.by("fuse"))
    b.prefix, b.scope = node.name, node.scope
    try:
        with r.graph.attempt():
            new = make(b)
            taken_name = y.is_output and (new.producer is None or new.is_output or new.tensor is not None)
            if new.shape != y.shape or new.dtype is not y.dtype or taken_name:
                raise ShapeError(f"{new} in place of {y}")
    except ShapeError:
        return False
    name, result = y.name, y.is_output
    y.replace_uses(new)
    r.view.replaced(y, new)
    if result:
        r.outputs.discard(y)
        r.outputs.add(new)
        y.name = f"{name} (parts)"
        r.graph.rename(new, name)
    if new.producer is not None and new not in r.view.forms:
        r.view.know(new, r.view.leaf(new))
    r.drop([node])
    return True


def _places(a: Axes) -> Any:
    """Which parts of the base's axes make each axis; the selected one is left out."""
    where: dict[Atom, tuple[int, int]] = {x: (i, j) for i, g in enumerate(a.origin) for j, x in enumerate(g)}
    sizes = [[x.size for x in g] for g in a.origin]
    taken = [where[x] for x in where if x.index is not None]
    return sizes, taken, [[where[x] for x in cells(g)] for g in a.groups]
