"""Reading shape-like inputs: sizes that may be symbolic, known through constants or shape arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Dim, DimLike, ForeignNode, NotExpressible

from ..context import OnnxContext

__all__ = ["FAR", "known_ints", "scalar_size", "size_list", "spread"]

FAR = 2**31 - 1
"""Exporters write "to the end" as INT32_MAX or INT64_MAX."""

_COMPUTED = "requires_constant_input"


def size_list(g: OnnxContext, node: ForeignNode, i: int, what: str) -> tuple[DimLike, ...]:
    """The sizes of input ``i``, every one known; NotExpressible if one depends on the data."""
    v = node.input(i)
    if v is None:
        raise NotExpressible(f"its input {what!r} is missing", "missing_input")
    sizes: tuple[DimLike | None, ...] | None = g.sizes(v)
    if sizes is None or any(n is None for n in sizes):
        raise NotExpressible(f"its input {what!r} depends on the data", _COMPUTED)
    return tuple(n if isinstance(n, Dim) else int(n) for n in sizes if n is not None)


def known_ints(g: OnnxContext, node: ForeignNode, i: int, what: str) -> tuple[int, ...] | None:
    """The integers of input ``i``, None when it is omitted; NotExpressible if one is not constant."""
    if node.input(i) is None:
        return None
    sizes = size_list(g, node, i, what)
    if any(isinstance(n, Dim) for n in sizes):
        raise NotExpressible(f"its input {what!r} is symbolic: ({', '.join(map(str, sizes))})", _COMPUTED)
    return tuple(n for n in sizes if isinstance(n, int))


def scalar_size(g: OnnxContext, node: ForeignNode, i: int, what: str) -> DimLike:
    """The one size of input ``i``."""
    sizes = size_list(g, node, i, what)
    if len(sizes) != 1:
        raise NotExpressible(f"its input {what!r} must hold one number, it has {len(sizes)}")
    return sizes[0]


def spread(node: ForeignNode, values: Sequence[Any], axes: Sequence[int] | None, rank: int, fill: Any) -> list[Any]:
    """One entry per axis: ``values`` at ``axes`` (None: the first ones), ``fill`` elsewhere."""
    places = list(range(len(values))) if axes is None else [a + rank if a < 0 else a for a in axes]
    if len(places) != len(values) or len(set(places)) != len(places) or any(not 0 <= a < rank for a in places):
        raise node.refuse(f"{len(values)} values for the axes {list(axes or places)} of {rank}")
    out = [fill] * rank
    for a, v in zip(places, values):
        out[a] = v
    return out
