"""Element types: ours, torch's and those of safetensors."""

from __future__ import annotations

from convcore.plugin import DType

__all__ = ["BY_TORCH", "COMPUTES", "HELD", "SAFETENSORS", "STORAGE", "TORCH_TYPES"]

HELD = {
    DType.INT4: DType.INT8, DType.INT2: DType.INT8, DType.UINT4: DType.UINT8, DType.UINT2: DType.UINT8,
    DType.FLOAT4_E2M1FN: DType.FLOAT16,
}  # fmt: skip
"""Types of which torch has the name at most and no operation (2.13), and what their numbers are held as."""

_OWN = (
    "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool complex64 complex128", "uint16 uint32 uint64",
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu",
)  # fmt: skip
COMPUTES = frozenset(map(DType, _OWN[0].split()))
"""The types that torch computes in everywhere; its other unsigned integers and its floats of 8 bits have few operations."""

TORCH_TYPES = {DType(name): name for names in _OWN for name in names.split()}
BY_TORCH = {f"torch.{name}": d for d, name in TORCH_TYPES.items()}
"""By what a tensor says of itself."""
TORCH_TYPES |= {d: TORCH_TYPES[held] for d, held in HELD.items()}
"""torch's names of the types that tensors have in generated code."""

SAFETENSORS = {
    DType.FLOAT16: "F16", DType.BFLOAT16: "BF16", DType.FLOAT32: "F32", DType.FLOAT64: "F64", DType.INT8: "I8",
    DType.INT16: "I16", DType.INT32: "I32", DType.INT64: "I64", DType.UINT8: "U8", DType.BOOL: "BOOL", DType.COMPLEX64: "C64",
    DType.UINT16: "U16", DType.UINT32: "U32", DType.UINT64: "U64", DType.FLOAT8_E4M3FN: "F8_E4M3", DType.FLOAT8_E5M2: "F8_E5M2",
    DType.FLOAT8_E8M0FNU: "F8_E8M0", DType.FLOAT8_E4M3FNUZ: "F8_E4M3FNUZ", DType.FLOAT8_E5M2FNUZ: "F8_E5M2FNUZ",
}  # fmt: skip

STORAGE = {
    DType.FLOAT16: "HalfStorage", DType.BFLOAT16: "BFloat16Storage", DType.FLOAT32: "FloatStorage",
    DType.FLOAT64: "DoubleStorage", DType.INT8: "CharStorage", DType.INT16: "ShortStorage", DType.INT32: "IntStorage",
    DType.INT64: "LongStorage", DType.UINT8: "ByteStorage", DType.BOOL: "BoolStorage",
    DType.COMPLEX64: "ComplexFloatStorage", DType.COMPLEX128: "ComplexDoubleStorage",
}  # fmt: skip
"""Names of torch's storage classes, as pickles of state_dicts name them."""
