"""Element types. The names are numpy's, plus the ones numpy lacks."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import UsageError

__all__ = ["DType", "exact_array", "type_of"]


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
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT8_E8M0FNU = "float8_e8m0fnu"
    FLOAT6_E2M3FN = "float6_e2m3fn"
    FLOAT6_E3M2FN = "float6_e3m2fn"
    FLOAT4_E2M1FN = "float4_e2m1fn"
    INT4 = "int4"
    UINT4 = "uint4"
    INT2 = "int2"
    UINT2 = "uint2"
    _ignore_ = ["_held"]
    for _held in (*(v for k, v in list(vars().items()) if k.isupper()),):  # what holds tensors of one of these: SEQUENCE_FLOAT32
        vars()[f"SEQUENCE_{_held.upper()}"] = f"sequence_{_held}"
        vars()[f"OPTIONAL_{_held.upper()}"] = f"optional_{_held}"
        vars()[f"OPTIONAL_SEQUENCE_{_held.upper()}"] = f"optional_sequence_{_held}"

    def __str__(self) -> str:
        return str(self.value)

    __hash__ = str.__hash__  # Enum's own is Python, and types are looked up for every node

    @classmethod
    def of(cls, dtype: Any) -> DType:
        """The DType of a numpy dtype (or anything ``numpy.dtype`` accepts); raises UsageError for others."""
        if isinstance(dtype, DType):
            return dtype
        if isinstance(dtype, str) and dtype in cls._value2member_map_:
            return cls(dtype)
        known = _OF.get(dtype) if isinstance(dtype, np.dtype) else None
        if known is not None:
            return known
        try:
            nd = np.dtype(dtype)
        except (TypeError, ValueError):
            raise UsageError(f"{str(dtype)[:60]!r} is no dtype") from None
        if nd.kind in "OSU":
            return cls.STRING
        if nd.name in cls._value2member_map_:
            found = _OF[nd] = cls(nd.name)
            return found
        raise UsageError(f"dtype {nd.name!r} has no counterpart in convcore")

    # ---- sequences of tensors, and values that may be absent
    @cached_property
    def is_sequence(self) -> bool:
        return str(self.value).startswith("sequence_")

    @cached_property
    def is_optional(self) -> bool:
        return str(self.value).startswith("optional_")

    @cached_property
    def is_container(self) -> bool:
        """Whether it is no type of the elements of a tensor."""
        return str(self.value).startswith(("sequence_", "optional_"))

    @property
    def element(self) -> DType | None:
        """The type of the tensors of a sequence; None of anything else."""
        return DType(str(self.value).removeprefix("sequence_")) if self.is_sequence else None

    @property
    def held(self) -> DType:
        """What an optional value holds; any other type is its own."""
        return DType(str(self.value).removeprefix("optional_")) if self.is_optional else self

    @property
    def sequence(self) -> DType:
        """The type of sequences of such tensors; UsageError for what tensors are not made of."""
        if self.is_container:
            raise UsageError(f"there are no sequences of {self}")
        return DType(f"sequence_{self.value}")

    @property
    def optional(self) -> DType:
        """The type of such a value that may be absent."""
        return self if self.is_optional else DType(f"optional_{self.value}")

    @cached_property
    def _native(self) -> np.dtype[Any] | None:
        """numpy's own dtype that holds it; None where that is none of numpy's."""
        if self in _FOREIGN:
            return None
        return np.dtype("O") if self is DType.STRING or self.is_container else np.dtype(str(self.value))

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype that holds it, of whole bytes. What numpy lacks (bfloat16 and the types below 16 bits that are no int8)
        needs the package ml_dtypes (onnx and jax bring it)."""
        if self._native is not None:
            return self._native
        try:
            import ml_dtypes
        except ImportError as e:
            raise UsageError(f"{self} tensors need the package ml_dtypes (pip install ml_dtypes)") from e
        held = getattr(ml_dtypes, self.value, None)
        if held is None:
            raise UsageError(f"{self} tensors need a newer version of the package ml_dtypes (pip install -U ml_dtypes)")
        foreign: np.dtype[Any] = np.dtype(held)
        return foreign

    @cached_property
    def itemsize(self) -> int:
        """Bytes per element in memory (0 for strings and for what holds tensors); types of fewer than 8 bits take a byte each."""
        if self in _FOREIGN:
            return _FOREIGN[self] // 8 or 1
        return 0 if self is DType.STRING or self.is_container else int(self.numpy.itemsize)

    @cached_property
    def bits(self) -> int:
        """Bits per element (0 for strings): what files pack types of fewer than 8 bits to."""
        return _FOREIGN.get(self, 8 * self.itemsize)

    @cached_property
    def is_foreign(self) -> bool:
        """Whether numpy has no such type."""
        return self in _FOREIGN

    @cached_property
    def is_small(self) -> bool:
        """Whether it is a type of at most 8 bits that numpy lacks: values are stored in it, hardly anything computes in it."""
        return self.bits <= 8 and self in _FOREIGN

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest finite value of a float or integer type."""
        known, kind = self._info(), int if self.is_int else float
        return kind(known.min), kind(known.max)

    @property
    def tiny(self) -> float:
        """The smallest positive normal number of a float type: those below it have fewer digits."""
        return float(self._info().smallest_normal)

    def _info(self) -> Any:
        """numpy's (or ml_dtypes's) iinfo or finfo."""
        if self in _FOREIGN:
            import ml_dtypes

            return (ml_dtypes.iinfo if self.is_int else ml_dtypes.finfo)(self.numpy)
        return np.iinfo(self.numpy) if self.is_int else np.finfo(self.numpy)

    @cached_property
    def is_float(self) -> bool:
        return str(self.value).startswith(("float", "bfloat"))

    @cached_property
    def is_int(self) -> bool:
        return str(self.value).startswith(("int", "uint"))


_FOREIGN: dict[DType, int] = {DType.BFLOAT16: 16} | {
    d: int(d.value.partition("_")[0].removeprefix("u").removeprefix("float").removeprefix("int"))
    for d in list(DType)[list(DType).index(DType.STRING) + 1 : list(DType).index(DType.UINT2) + 1]
}
"""The types that numpy lacks, with their bits."""
_OF: dict[np.dtype[Any], DType] = {}
"""What :meth:`DType.of` has found."""


def type_of(a: np.ndarray[Any, Any]) -> DType:
    """The type of a value of the interpreter: that of a tensor's elements, or of a sequence of tensors. UsageError for an empty
    sequence and for what is absent, which do not tell it."""
    if a.dtype.hasobject and a.ndim == 1 and any(isinstance(x, np.ndarray) for x in a):
        return DType.of(a[0].dtype).sequence
    return DType.of(a.dtype)


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
