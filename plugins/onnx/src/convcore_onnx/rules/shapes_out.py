"""Writing sizes: vectors and scalars of int64, computed at run time where they are symbolic."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Dim, DimLike, DType

from ..dialect import OnnxScribe
from .steps import Steps

__all__ = ["shape_vector", "size_scalar"]


def size_scalar(e: OnnxScribe, size: DimLike) -> Any:
    """The handle of one size as an int64 without axes."""
    if not isinstance(size, Dim):
        return e.const(size, DType.INT64)
    return e.call("Squeeze", [e.size(size), e.const([0], DType.INT64)], {})[0]


def shape_vector(s: Steps, x: Any, start: int, end: int | None = None) -> Any:
    """The sizes of axes ``start`` to ``end`` (not negative) of a tensor."""
    if start == 0 and end is None:
        return s.Shape(x)
    if s.e.dialect.opset >= 15:
        return s.Shape(x, start=start) if end is None else s.Shape(x, start=start, end=end)
    return s.Slice(s.Shape(x), s.ints(start), s.ints(2**63 - 1 if end is None else end), s.ints(0))
