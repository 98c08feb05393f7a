"""Sizes that are no known numbers: those of inputs are asked for by name, others are computed with the data."""

from __future__ import annotations

import numpy as np

from convcore.plugin import NotExpressible, Value, ask

from ..context import AtenNode, TorchContext
from .base import RULES

__all__: list[str] = []


@RULES.load("aten.size.int", "aten.len.Tensor")
def size(g: TorchContext, n: AtenNode) -> Value:
    name = "self" if "self" in n.arguments else "t"
    rank = n.rank(name)
    if not rank:
        raise NotExpressible("asks for the size of a tensor without axes", "raises")
    axis = n.axis("dim", rank) if name == "self" else 0
    _named(g, f"the size of axis {axis} of what it is given has no name")
    made: Value = g.b.gather(g.b.shape_of(n.tensor(name)), g.b.const(np.int64(axis)), axis=0)
    return made


@RULES.load("aten.numel", "aten.size")
def sizes(g: TorchContext, n: AtenNode) -> Value:
    n.tensor("self")
    _named(g, "sizes of what it is given have no name")
    raise NotExpressible("sizes of what it is given depend on the data", "unknown_shape")


def _named(g: TorchContext, why: str) -> None:
    """NotExpressible where inputs have sizes without a name: with one, all that follows from them is known."""
    unnamed = [v for v in g.b.graph.inputs if v.shape is not None and None in v.shape]
    if unnamed:
        told = [[f"n{i}" if d is None else str(d) for i, d in enumerate(v.shape or ())] for v in unnamed]
        lines = [f"{v.name}:{','.join(t)}" for v, t in zip(unnamed, told)]
        given = {v.name: tuple(int(d) if d.isdigit() else d for d in t) for v, t in zip(unnamed, told)}
        hint = ask(" ".join(f"--input-shape {x}" for x in lines), f"input_shapes={given}")
        raise NotExpressible(why, "unknown_shape", f"give the sizes names: {hint}")
