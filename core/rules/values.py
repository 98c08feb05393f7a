"""Attribute values of rules: as JSON, as text, compared, and whether they are symbolic."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import Dim
from ..ir.dtypes import DType
from .foreign import MISSING

__all__ = ["equal", "jsonable", "symbolic", "text"]


def jsonable(v: Any) -> Any:
    """A value as JSON holds it; sets sorted, sizes and dtypes as text, MISSING as "unset"."""
    if isinstance(v, dict):
        return {str(k): jsonable(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [jsonable(x) for x in v]
    if isinstance(v, (set, frozenset)):
        return sorted((jsonable(x) for x in v), key=repr)
    if isinstance(v, (DType, Dim)):
        return str(v)
    return "unset" if v is MISSING else v


def symbolic(v: Any) -> bool:
    """Whether a symbolic size is in it."""
    return isinstance(v, Dim) or (isinstance(v, (list, tuple)) and any(symbolic(x) for x in v))


def text(v: Any) -> str:
    """A value as messages show it."""
    return "(" + ", ".join(map(text, v)) + ")" if isinstance(v, (list, tuple)) else str(v)


def equal(a: Any, b: Any) -> bool:
    """Whether two attribute values are the same; lists equal tuples, floats count as float32 (what files hold)."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    if isinstance(a, Dim) or isinstance(b, Dim):
        return isinstance(a, Dim) and isinstance(b, Dim) and a == b
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and bool(a == b) if a is None or b is None else bool(a == b)
    return bool(np.float32(a) == np.float32(b)) if isinstance(a, float) or isinstance(b, float) else bool(a == b)
