"""Element types by their TensorProto.DataType codes."""

from __future__ import annotations

from dataclasses import dataclass

from convcore.plugin import DType, NotExpressible

__all__ = ["DTYPES", "DTYPE_NAMES", "TypeOf", "dtype_code", "dtype_of"]

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
    17: DType.FLOAT8_E4M3FN,
    18: DType.FLOAT8_E4M3FNUZ,
    19: DType.FLOAT8_E5M2,
    20: DType.FLOAT8_E5M2FNUZ,
    21: DType.UINT4,
    22: DType.INT4,
    23: DType.FLOAT4_E2M1FN,
    24: DType.FLOAT8_E8M0FNU,
    25: DType.UINT2,
    26: DType.INT2,
    27: DType.FLOAT6_E2M3FN,
    28: DType.FLOAT6_E3M2FN,
}
"""TensorProto.DataType codes."""

DTYPE_NAMES: dict[DType, str] = {
    DType.FLOAT32: "float", DType.FLOAT64: "double", DType.FLOAT8_E4M3FN: "float8e4m3fn", DType.FLOAT8_E4M3FNUZ: "float8e4m3fnuz",
    DType.FLOAT8_E5M2: "float8e5m2", DType.FLOAT8_E5M2FNUZ: "float8e5m2fnuz", DType.FLOAT8_E8M0FNU: "float8e8m0",
    DType.FLOAT6_E2M3FN: "float6e2m3", DType.FLOAT6_E3M2FN: "float6e3m2", DType.FLOAT4_E2M1FN: "float4e2m1",
}  # fmt: skip
"""What the standard's schemas call a type where it is not our name."""

_CODES = {d: c for c, d in DTYPES.items()}


def dtype_of(code: int) -> DType:
    """The DType of a TensorProto.DataType code; NotExpressible names one that convcore lacks."""
    found = DTYPES.get(code)
    if found is None:
        raise NotExpressible(f"element type {code} is not supported")
    return found


def dtype_code(dtype: DType | str) -> int:
    """The TensorProto.DataType code of a DType."""
    return _CODES[DType(dtype)]


@dataclass(frozen=True)
class TypeOf:
    """An attribute that is a type, of a tensor or of what holds tensors."""

    dtype: DType
