"""Element types: ours, torch's and those of safetensors."""

from __future__ import annotations

from convcore.plugin import DType

__all__ = ["SAFETENSORS", "STORAGE", "TORCH_TYPES"]

TORCH_TYPES = {
    DType.FLOAT16: "float16", DType.BFLOAT16: "bfloat16", DType.FLOAT32: "float32", DType.FLOAT64: "float64", DType.INT8: "int8",
    DType.INT16: "int16", DType.INT32: "int32", DType.INT64: "int64", DType.UINT8: "uint8", DType.BOOL: "bool",
    DType.COMPLEX64: "complex64", DType.COMPLEX128: "complex128",
}  # fmt: skip
"""The types that torch computes in everywhere (its other unsigned integers have few operations)."""

SAFETENSORS = {
    DType.FLOAT16: "F16", DType.BFLOAT16: "BF16", DType.FLOAT32: "F32", DType.FLOAT64: "F64", DType.INT8: "I8",
    DType.INT16: "I16", DType.INT32: "I32", DType.INT64: "I64", DType.UINT8: "U8", DType.BOOL: "BOOL", DType.COMPLEX64: "C64",
}  # fmt: skip

STORAGE = {
    DType.FLOAT16: "HalfStorage", DType.BFLOAT16: "BFloat16Storage", DType.FLOAT32: "FloatStorage",
    DType.FLOAT64: "DoubleStorage", DType.INT8: "CharStorage", DType.INT16: "ShortStorage", DType.INT32: "IntStorage",
    DType.INT64: "LongStorage", DType.UINT8: "ByteStorage", DType.BOOL: "BoolStorage",
    DType.COMPLEX64: "ComplexFloatStorage", DType.COMPLEX128: "ComplexDoubleStorage",
}  # fmt: skip
"""Names of torch's storage classes, as pickles of state_dicts name them."""
