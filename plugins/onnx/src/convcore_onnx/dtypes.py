"""Element types by their TensorProto.DataType codes."""

from __future__ import annotations

from convcore.plugin import DType, NotExpressible

__all__ = ["DTYPES", "DTYPE_NAMES", "dtype_code", "dtype_of"]

DTYPES: dict[int, DType] = {
    1: DType.FLOAT32,
    2: DType.UINT8,
    3: DType.INT8,
    4: DType.UINT16,
    5: DType.INT16,
    6: DType.INT32,
    7: DType.INT64,
    8: DType.STRING,
    9: DType.BOOL,
    10: DType.FLOAT16,
    11: DType.FLOAT64,
    12: DType.UINT32,
    13: DType.UINT64,
    14: DType.COMPLEX64,
    15: DType.COMPLEX128,
    16: DType.BFLOAT16,
}
"""TensorProto.DataType codes that convcore holds; float8 and 4-bit types are not among them."""

DTYPE_NAMES: dict[int, str] = {
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
    27: "float6e2m3",
    28: "float6e3m2",
}
"""Names of the codes convcore does not hold, to say which one was met."""

_CODES = {d: c for c, d in DTYPES.items()}


def dtype_of(code: int) -> DType:
    """The DType of a TensorProto.DataType code; NotExpressible names the ones convcore lacks (float8, int4)."""
    found = DTYPES.get(code)
    if found is None:
        raise NotExpressible(f"element type {DTYPE_NAMES.get(code, code)} is not supported")
    return found


def dtype_code(dtype: DType | str) -> int:
    """The TensorProto.DataType code of a DType."""
    return _CODES[DType(dtype)]
