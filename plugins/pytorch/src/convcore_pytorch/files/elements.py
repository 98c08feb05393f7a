"""Element types of torch: names, widths and how their bytes become numpy arrays.

A type numpy lacks is read exactly into a wider one: float8 into float32 (every float8 value is a float32), complex32 into
complex64. bfloat16 stays bfloat16 (``ml_dtypes``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcore.plugin import BadFileError, DType

__all__ = ["BY_CODE", "BY_EXPORT", "BY_NAME", "BY_SAFETENSORS", "BY_STORAGE", "Element", "element"]


@dataclass(frozen=True)
class Element:
    """One element type. ``name`` is torch's, ``dtype`` is what :meth:`array` returns, ``raw`` numpy's code of the bytes."""

    name: str
    dtype: DType
    width: int
    raw: str

    def array(self, raw: NDArray[Any], big_endian: bool) -> NDArray[Any]:
        """Values of an array of ``raw`` elements (any strides, little- or big-endian), in native byte order."""
        if self.name == "complex32":
            halves = np.ascontiguousarray(raw).reshape(-1).view(">f2" if big_endian else "<f2")
            return halves.astype(np.float32).view(np.complex64).reshape(raw.shape)
        if big_endian and self.width > 1:
            raw = raw.view(raw.dtype.newbyteorder(">")).astype(raw.dtype)
        if self.name == "bfloat16":
            return raw.view(DType.BFLOAT16.numpy)
        if self.name.startswith("float8"):
            values: NDArray[Any] = float8_values(self.name)[raw]
            return values
        return raw != 0 if self.name == "bool" else raw


@functools.cache
def float8_values(name: str) -> NDArray[Any]:
    """The 256 values of a float8 type as float32 (OCP FP8 and MX formats; ``fnuz``: bias one higher, -0 is nan)."""
    byte = np.arange(256, dtype=np.int64)
    if name == "float8_e8m0fnu":
        return np.where(byte == 255, np.nan, np.exp2(np.minimum(byte, 254).astype(np.float64) - 127)).astype(np.float32)
    bits = 3 if "e4m3" in name else 2
    bias = (7 if bits == 3 else 15) + name.endswith("fnuz")
    exponent, fraction = (byte & 127) >> bits, byte & ((1 << bits) - 1)
    normal = np.ldexp(1 + fraction / (1 << bits), exponent - bias)
    value = np.where(exponent == 0, np.ldexp(fraction / (1 << bits), 1 - bias), normal)
    value = np.where(byte >= 128, -value, value)
    if name.endswith("fnuz"):
        value[128] = np.nan
    elif name == "float8_e4m3fn":
        value[[127, 255]] = np.nan
    else:  # e5m2 has infinities and nan as IEEE has
        value[[124, 252]] = np.inf, -np.inf
        value[[125, 126, 127, 253, 254, 255]] = np.nan
    return value.astype(np.float32)


_ROWS = [  # torch's name, core's type, width, raw bytes, storage class, number in c10, in torch.export's schema, safetensors
    ("uint8", DType.UINT8, 1, "u1", "Byte", 0, 1, "U8"),
    ("int8", DType.INT8, 1, "i1", "Char", 1, 2, "I8"),
    ("int16", DType.INT16, 2, "i2", "Short", 2, 3, "I16"),
    ("int32", DType.INT32, 4, "i4", "Int", 3, 4, "I32"),
    ("int64", DType.INT64, 8, "i8", "Long", 4, 5, "I64"),
    ("float16", DType.FLOAT16, 2, "f2", "Half", 5, 6, "F16"),
    ("float32", DType.FLOAT32, 4, "f4", "Float", 6, 7, "F32"),
    ("float64", DType.FLOAT64, 8, "f8", "Double", 7, 8, "F64"),
    ("complex32", DType.COMPLEX64, 4, "u4", "", 8, 9, ""),
    ("complex64", DType.COMPLEX64, 8, "c8", "ComplexFloat", 9, 10, "C64"),
    ("complex128", DType.COMPLEX128, 16, "c16", "ComplexDouble", 10, 11, ""),
    ("bool", DType.BOOL, 1, "u1", "Bool", 11, 12, "BOOL"),
    ("bfloat16", DType.BFLOAT16, 2, "u2", "BFloat16", 15, 13, "BF16"),
    ("float8_e5m2", DType.FLOAT32, 1, "u1", "", 23, 30, "F8_E5M2"),
    ("float8_e4m3fn", DType.FLOAT32, 1, "u1", "", 24, 29, "F8_E4M3"),
    ("float8_e5m2fnuz", DType.FLOAT32, 1, "u1", "", 25, 32, "F8_E5M2FNUZ"),
    ("float8_e4m3fnuz", DType.FLOAT32, 1, "u1", "", 26, 31, "F8_E4M3FNUZ"),
    ("uint16", DType.UINT16, 2, "u2", "", 27, 28, "U16"),
    ("uint32", DType.UINT32, 4, "u4", "", 28, 34, "U32"),
    ("uint64", DType.UINT64, 8, "u8", "", 29, 35, "U64"),
    ("float8_e8m0fnu", DType.FLOAT32, 1, "u1", "", 44, 33, "F8_E8M0"),
]

BY_NAME = {name: Element(name, dtype, width, "<" + raw) for name, dtype, width, raw, *_ in _ROWS}
BY_STORAGE = {f"{row[4]}Storage": BY_NAME[row[0]] for row in _ROWS if row[4]}  # classes torch.FloatStorage...
BY_CODE = {row[5]: BY_NAME[row[0]] for row in _ROWS}  # c10::ScalarType, as TorchScript source writes dtypes
BY_EXPORT = {row[6]: BY_NAME[row[0]] for row in _ROWS}  # torch._export.serde.schema.ScalarType, as .pt2 writes them
BY_SAFETENSORS = {row[7]: BY_NAME[row[0]] for row in _ROWS if row[7]}


def element(name: str) -> Element:
    """The element type of torch's name for it; BadFileError for one that is not read (quantised, sub-byte)."""
    found = BY_NAME.get(
        {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32"}.get(name, name)
    )
    if found is None:
        raise BadFileError(f"element type torch.{name} is not read")
    return found
