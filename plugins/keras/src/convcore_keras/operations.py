"""The operations of ``keras.ops`` that convcore writes: class name -> module below ``keras.src.ops`` (Keras 3.12 to 3.15).

Only those that were saved, loaded and computed the same again on the torch, TensorFlow and JAX backends (FFT:
on torch alone). How many positional tensors each takes is the writer's business; other arguments are configuration.
"""

from __future__ import annotations

__all__ = ["ARITHMETIC", "BOOLEAN", "HALVED", "OPERATIONS"]

_BY_MODULE = {
    "core": "Cast ScatterUpdate SliceUpdate Unstack",
    "image": "ExtractPatches Resize",
    "math": "Erf FFT Logsumexp Rsqrt",
    "nn": "Celu Conv DepthToSpace DotProductAttention Elu Gelu "
    "Glu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu LogSigmoid LogSoftmax Normalize "
    "Relu Relu6 Selu Sigmoid Silu SoftShrink Softmax Softplus Softsign SpaceToDepth SparsePlus SparseSigmoid Squareplus "
    "TanhShrink Threshold",
    "numpy": "Absolute Add All Any Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argsort BitwiseAnd "
    "BitwiseInvert BitwiseOr BitwiseXor BroadcastTo Cbrt Ceil Clip Concatenate Cos Cosh Cumprod Cumsum Divide Einsum Equal Exp "
    "Exp2 ExpandDims Expm1 Flip Floor FloorDivide Fmod GetItem Greater GreaterEqual Isfinite Isinf Isnan LeftShift Less "
    "LessEqual Log Log10 Log1p Log2 LogicalAnd LogicalNot LogicalOr LogicalXor Matmul Max Maximum Mean Min Minimum Mod Multiply "
    "Negative NotEqual OnesLike Pad Power Prod Reciprocal Repeat Reshape RightShift Roll Round Sign Sin Sinh Split Sqrt "
    "Square Squeeze Stack Std Subtract Sum Take TakeAlongAxis Tan Tanh Tile Transpose Tril Triu Trunc Var Where ZerosLike Sort",
}

OPERATIONS: dict[str, str] = {name: module for module, names in _BY_MODULE.items() for name in names.split()}

_BOOLEAN = (
    "All Any Equal NotEqual Greater GreaterEqual Less LessEqual Isfinite Isinf Isnan LogicalAnd LogicalNot LogicalOr LogicalXor"
)

BOOLEAN = frozenset(_BOOLEAN.split())
"""Operations whose result is boolean whatever they are given."""

ARITHMETIC = frozenset(
    [
        "Absolute",
        "Add",
        "Argsort",
        "Clip",
        "Cumprod",
        "Cumsum",
        "Divide",
        "Dot",
        "Einsum",
        "FloorDivide",
        "Fmod",
        "LeftShift",
        "Matmul",
        "Max",
        "Maximum",
        "Mean",
        "Min",
        "Minimum",
        "Mod",
        "Multiply",
        "Negative",
        "Power",
        "Prod",
        "RightShift",
        "Sign",
        "Sort",
        "Square",
        "Subtract",
        "Sum",
    ]
)
"""Operations, and layers, whose result is not made of elements or bits of what they are given."""

HALVED = frozenset(
    [
        "Arctan2",
        "Ceil",
        "Clip",
        "Cumprod",
        "Cumsum",
        "Dense",
        "Floor",
        "FloorDivide",
        "GroupQueryAttention",
        "Matmul",
        "Max",
        "Maximum",
        "Min",
        "Minimum",
        "MultiHeadAttention",
        "Prod",
        "Std",
        "Var",
    ]
)
"""Operations and layers that the torch backend of Keras 3.15 computes in 32 bits when they are given 64 (``result_type`` of two
float64 is float32 there), measured on all of them."""
