"""Element types. The names are numpy's, plus the ones numpy lacks."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from ..errors import UsageError

__all__ = ["DType", "exact_array"]


class DType(str, Enum):
    """The element type of a tensor. ``DType("float32")``, ``DType.of(array.dtype)``."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def of(cls, dtype: Any) -> DType:
        """The DType of a numpy dtype (or anything ``numpy.dtype`` accepts); raises UsageError for others."""
        if isinstance(dtype, DType):
            return dtype
        if isinstance(dtype, str) and dtype in cls._value2member_map_:
            return cls(dtype)
        try:
            nd = np.dtype(dtype)
        except (TypeError, ValueError):
            raise UsageError(f"{str(dtype)[:60]!r} is no dtype") from None
        if nd.kind in "OSU":
            return cls.STRING
        if nd.name in cls._value2member_map_:
            return cls(nd.name)
        raise UsageError(f"dtype {nd.name!r} has no counterpart in convcore")

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype that holds it. bfloat16 needs the package ml_dtypes (onnx and jax bring it)."""
        if self is DType.BFLOAT16:
            try:
                import ml_dtypes
            except ImportError as e:
                raise UsageError("bfloat16 tensors need the package ml_dtypes (pip install ml_dtypes)") from e
            bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return bfloat16
        if self is DType.STRING:
            return np.dtype("O")
        return np.dtype(str(self.value))

    @property
    def itemsize(self) -> int:
        """Bytes per element (0 for strings)."""
        return 2 if self is DType.BFLOAT16 else 0 if self is DType.STRING else self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_int(self) -> bool:
        return self.value.startswith(("int", "uint"))


def exact_array(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """A number, list or array as an array of a dtype; ValueError where an integer dtype does not hold it (1.5, 300 as uint8),
    which numpy cuts or wraps."""
    a = np.asarray(value)
    if dtype is None:
        return a
    try:
        with np.errstate(all="ignore"):
            out = a.astype(dtype.numpy)
    except (OverflowError, ValueError, TypeError):
        out = None
    if out is None or (dtype.is_int and a.dtype.kind in "iufcO" and not np.array_equal(out, a)):
        raise ValueError(f"the constant {str(value)[:60]} is no {dtype}")
    return out
