"""Attributes of ops: what kinds there are, and how a value of each is checked and normalised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DeclarationError, ShapeError, UsageError
from ..ir.dims import Dim, DimLike
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.tensors import Tensor
from ..records import dataclass

__all__ = ["REQUIRED", "Attr", "AxesAttr", "AxisAttr", "coerce"]


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()

_KINDS = {
    "int", "float", "bool", "str", "ints", "floats", "strs", "axis", "axes", "perm", "pads", "pairs",
    "shape", "dim", "dims", "dtype", "tensor", "any",
}  # fmt: skip
"""int float bool str: scalars; ints floats strs: tuples; axis axes: normalised to 0..rank-1 of input ``of``; perm: a
permutation; pads: ((begin, end), ...) or "same_upper"/"same_lower"; pairs: ((a, b), ...); shape dims: tuples of sizes,
dim: a size (dims may hold None); dtype: DType; tensor: Tensor; any: JSON-like data."""


@dataclass(frozen=True)
class Attr:
    """One attribute of an op: kind, default (REQUIRED when there is none), allowed values, one line of documentation."""

    kind: str
    default: Any = REQUIRED
    choices: tuple[Any, ...] = ()
    doc: str = ""
    of: str = ""  # for axis/axes: the input whose rank counts (default: the first)
    optional: bool = False  # whether None is allowed (a default of None says so too)
    training: bool = False  # whether it says something about training only: without effect on results, never blocks emission

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DeclarationError(f"unknown attribute kind {self.kind!r}")


def AxisAttr(default: Any = REQUIRED, doc: str = "", of: str = "") -> Attr:
    """An axis, negative counts from the end."""
    return Attr("axis", default, doc=doc, of=of)


def AxesAttr(default: Any = REQUIRED, doc: str = "", of: str = "", optional: bool = False) -> Attr:
    """A tuple of axes; with ``optional``, None means all."""
    return Attr("axes", default, doc=doc, of=of, optional=optional)


def coerce(op: str, name: str, a: Attr, v: Any, x: Value | None) -> Any:
    """A value as an attribute keeps it (axes of ``x`` non-negative, tuples, DType); ShapeError of what it may not be."""
    if v is None:
        if a.optional or a.default is None:
            return None
        raise ShapeError(f"{op}: attribute {name} must not be None")
    kind = a.kind
    try:
        if kind == "int":
            v = _int(v)
        elif kind == "float":
            v = _float(v)
        elif kind == "bool":
            if not isinstance(v, (bool, np.bool_)):
                raise TypeError(f"{v!r} is not a bool")
            v = bool(v)
        elif kind == "str":
            if not isinstance(v, str):
                raise TypeError(f"{v!r} is not a string")
        elif kind in ("ints", "perm"):
            v = tuple(_int(x) for x in v)
        elif kind == "floats":
            v = tuple(_float(x) for x in v)
        elif kind == "strs":
            if isinstance(v, str) or not all(isinstance(x, str) for x in v):
                raise TypeError(f"{v!r} is not a tuple of strings")
            v = tuple(v)
        elif kind == "pads":
            v = v if isinstance(v, str) else tuple((_size(x), _size(y)) for x, y in v)
            if isinstance(v, str) and v not in ("same_upper", "same_lower"):
                raise ValueError(f"{v!r} is neither pairs nor same_upper/same_lower")
        elif kind == "pairs":
            v = tuple((_size(x), _size(y)) for x, y in v)
        elif kind in ("shape", "dims"):
            v = tuple(None if x is None and kind == "dims" else _size(x) for x in v)
        elif kind == "dim":
            v = _size(v)
        elif kind == "dtype":
            v = DType.of(v)
        elif kind in ("axis", "axes"):
            v = _axes(a, v, x)
        elif kind == "tensor" and not isinstance(v, Tensor):
            raise TypeError(f"{v!r} is not a Tensor")
    except (TypeError, ValueError, OverflowError, UsageError) as e:
        raise ShapeError(f"{op}: attribute {name}={str(v)[:200]}: {e}") from None
    if a.choices and v not in a.choices:
        raise ShapeError(f"{op}: attribute {name}={v!r} is not one of {', '.join(map(str, a.choices))}")
    return v


def _axes(a: Attr, v: Any, x: Value | None) -> Any:
    rank = None if x is None else x.rank
    many = a.kind == "axes"
    axes = [_int(n) for n in v] if many else [_int(v)]
    if rank is not None:
        for n in axes:
            if not -rank <= n < rank:
                raise ValueError(f"axis {n} is out of range for {rank} axes")
        axes = [n % rank for n in axes]
        if many and len(set(axes)) != len(axes):
            raise ValueError("an axis is named twice")
    return tuple(axes) if many else axes[0]


def _int(v: Any) -> int:
    if type(v) is int:
        return v
    if isinstance(v, (bool, np.bool_)) or (isinstance(v, float) and not math.isfinite(v)) or int(v) != v:
        raise TypeError(f"{v!r} is not an integer")
    return int(v)


def _float(v: Any) -> float:
    if type(v) is float:
        return v
    if isinstance(v, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{v!r} is not a number")
    return float(v)


def _size(v: Any) -> DimLike:
    return v if isinstance(v, Dim) else _int(v)
