"""What late arguments share: shapes that files declare, choices by data, and results that only fitting data gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np

from convcore.plugin import Builder, DType, Graph, Node, NotExpressible, Trait, Value, traits_of

__all__ = ["Late", "choose", "held", "int32", "known_sizes", "scalar", "tell", "whole"]

Late: TypeAlias = Callable[[Builder, Node], Sequence[Value]]

_MOST = 1 << 30


def tell(graph: Graph, late: Collection[str]) -> None:
    """Sizes that inference left open, from the declarations of the source's file, where a ``late`` op can be held to them;
    through what is computed element by element."""
    stated = graph.metadata.get("declared", {})
    for node in graph:
        if node.op not in late and not _each(node):
            continue
        for v, shape in zip(node.outputs, stated.get(node.name, ())):
            if shape is not None and v.shape is not None and len(shape) == len(v.shape):
                v.shape = tuple(m if n is None else n for n, m in zip(v.shape, shape))
    for node in reversed(list(graph)):
        if len(node.outputs) != 1 or not _each(node):
            continue
        wide = [v for v in node.inputs if v is not None and v.shape != () and (v.tensor is None or v.tensor.size != 1)]
        y = node.output
        for v in wide:  # of several, one of a single element would be told by what holds it to the shape given here
            if v.tensor is None and v.shape is not None and y.shape is not None and len(v.shape) == len(y.shape):
                v.shape = tuple(m if n is None and (len(wide) == 1 or m != 1) else n for n, m in zip(v.shape, y.shape))


def _each(node: Node) -> bool:
    return Trait.POINTWISE in traits_of(node.op)


def known_sizes(v: Value, what: str = "its result") -> tuple[int, ...]:
    """A shape of integers above 0; NotExpressible where one is not known."""
    if v.shape is None or not all(isinstance(n, int) and n > 0 for n in v.shape):
        raise NotExpressible(f"the shape of {what} is not known", "unknown_shape")
    return tuple(int(n) for n in v.shape)  # type: ignore[arg-type]


def whole(v: Value) -> tuple[int, ...]:
    """A shape of which every size is known, 0 as well."""
    if v.shape is None or not all(isinstance(n, int) for n in v.shape):
        raise NotExpressible("a shape is not known", "unknown_shape")
    return tuple(int(n) for n in v.shape)  # type: ignore[arg-type]


def int32(b: Builder, v: Value) -> Value:
    """Integers as int32, far ones as 2^30 (no axis is that long)."""
    if v.dtype is DType.INT64:
        v = b.clip(v, min=-_MOST, max=_MOST)
    return v if v.dtype is DType.INT32 else b.cast(v, to=DType.INT32)


def scalar(b: Builder, v: Value) -> Value:
    """A value of one element, without axes."""
    if whole(v) not in ((), (1,)):
        raise NotExpressible("it has several elements")
    return v if v.shape == () else b.reshape(v, shape=())


def held(b: Builder, y: Value, fits: Value) -> Value:
    """``y`` where the scalar ``fits`` is true, else an error: an index out of range."""
    return b.gather(b.unsqueeze(y, axes=(0,)), b.cast(b.not_(fits), to=DType.INT32), axis=0)


def choose(b: Builder, options: Sequence[Value], index: Value) -> Value:
    """The option at a scalar index; as many as there are is an error."""
    rows = [b.unsqueeze(y, axes=(0,)) for y in options]
    return b.gather(rows[0] if len(rows) == 1 else b.concat(*rows, axis=0), index, axis=0)


def vector(b: Builder, numbers: Sequence[int]) -> Value:
    """A constant of int32."""
    return b.const(np.asarray(numbers, np.int32))
