"""Half precision (float16, bfloat16): what ops compute of it is computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dtypes import DType
from ..ir.graph import Value

__all__ = ["body_in_float32", "in_float32"]

Array = NDArray[Any]


def _half(a: Array | None) -> bool:
    """Whether an array is float16 or bfloat16 (of kind V to numpy)."""
    return a is not None and a.dtype.itemsize == 2 and a.dtype.kind in "fV"


def in_float32(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that computes half-precision arrays in float32 and rounds once, at the end.

    That is what torch (2.14, CPU: opmath_t and acc_type of ATen) and onnxruntime (1.31, which inserts casts) do; numpy adds up
    float16 along an outer axis, and bfloat16 always, in the dtype itself: a sum of ones ends at 256. Results have the dtype of
    the first float input.
    """

    @wraps(reference)
    def wide(*arrays: Array | None, **attrs: Any) -> Any:
        if not any(map(_half, arrays)):
            return reference(*arrays, **attrs)
        to = next(a.dtype for a in arrays if a is not None and ((a.dtype.kind == "f" and a.dtype.itemsize > 1) or _half(a)))
        out = reference(*(a.astype(np.float32) if a is not None and _half(a) else a for a in arrays), **attrs)
        outs = out if isinstance(out, tuple) else (out,)
        with np.errstate(all="ignore"):
            results = tuple(r.astype(to) if r.dtype == np.float32 else r for r in map(np.asarray, outs))
        return results if isinstance(out, tuple) else results[0]

    return wide


def body_in_float32(body: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a body: half-precision values are cast to float32, and its float32 results back."""

    @wraps(body)
    def wide(b: Any, *values: Value | None, **attrs: Any) -> Any:
        half = (DType.FLOAT16, DType.BFLOAT16)
        if not any(v is not None and v.dtype in half for v in values):
            return body(b, *values, **attrs)
        to = next(v.dtype for v in values if v is not None and v.dtype is not None and v.dtype.is_float)
        made: dict[int, Value] = {}
        for v in values:
            if v is not None and v.dtype in half and id(v) not in made:
                made[id(v)] = b.cast(v, to=DType.FLOAT32)
        out = body(b, *(v if v is None else made.get(id(v), v) for v in values), **attrs)
        results = [
            b.cast(r, to=to) if r.dtype is DType.FLOAT32 and to in half else r
            for r in (out if isinstance(out, tuple) else (out,))
        ]
        return tuple(results) if isinstance(out, tuple) else results[0]

    return wide
