"""Models of one operator of com.microsoft each, for onnxruntime to judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

__all__ = ["CASES", "MS", "case"]

MS = "com.microsoft"
_R = np.random.default_rng(17)


def i8(*shape: int) -> Any:
    return _R.integers(-128, 128, shape, np.int8)


def u8(*shape: int) -> Any:
    return _R.integers(0, 256, shape, np.uint8)


def f4(*shape: int, low: float = -1.0, high: float = 1.0) -> Any:
    return _R.uniform(low, high, shape).astype(np.float32)


def s(v: float) -> Any:
    return np.float32(v)


def case(type: str, inputs: Sequence[Any], outputs: int = 1, fed: Sequence[int] = (0,), dtype: Any = None, **attrs: Any) -> Any:
    """(model, arrays to feed it): ``inputs`` as arrays, those at ``fed`` are inputs of the model; None is left out."""
    names = [f"i{k}" if a is not None else "" for k, a in enumerate(inputs)]
    outs = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(type, names, outs, "node", domain=MS, **attrs)
    arrays = [None if a is None else np.asarray(a) for a in inputs]
    given, held = [], []
    for k, a in enumerate(arrays):
        if a is None:
            continue
        if k in fed:
            dims = [f"n{k}" if d == 0 and a.ndim > 1 and len(fed) == 1 else n for d, n in enumerate(a.shape)]
            given.append(helper.make_tensor_value_info(names[k], helper.np_dtype_to_tensor_dtype(a.dtype), dims))
        else:
            held.append(numpy_helper.from_array(a, names[k]))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or arrays[0].dtype))
    graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info(o, element, None) for o in outs], held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model, {names[k]: arrays[k] for k in fed}


def _lstm(
    d: int, peephole: bool = False, states: bool = False, per_channel: bool = False, unsigned: bool = False, **attrs: Any
) -> Any:
    t, n, size, h = 5, 3, 7, 4
    w, r = (u8 if unsigned else i8)(d, size, 4 * h), (u8 if unsigned else i8)(d, h, 4 * h)
    wide = (d, 4 * h) if per_channel else (d,)
    zero = np.full(wide, 131, np.uint8) if unsigned else np.zeros(wide, np.int8)
    inputs = [
        f4(t, n, size), w, r, f4(d, 8 * h), None, f4(d, n, h) if states else None, f4(d, n, h) if states else None,
        f4(d, 3 * h) if peephole else None, f4(*wide, low=0.003, high=0.009), zero, f4(*wide, low=0.003, high=0.009), zero,
    ]  # fmt: skip
    return case("DynamicQuantizeLSTM", inputs, 3, hidden_size=h, **attrs)


def _nbits(bits: int, k: int, zeros: str = "", bias: bool = False, flat: bool = False, **attrs: Any) -> Any:
    n, size = 11, 16
    blocks = -(-k // size)
    packed, scales = u8(n, blocks, size * bits // 8), f4(n, blocks, low=0.01, high=0.1)
    zero = {"": None, "stored": u8(n, -(-blocks * bits // 8)), "floats": f4(n, blocks, low=3, high=9)}[zeros]
    inputs = [f4(3, k), packed, scales.reshape(-1) if flat else scales, zero, None, f4(n) if bias else None]
    while inputs[-1] is None:
        inputs.pop()
    return case("MatMulNBits", inputs, K=k, N=n, bits=bits, block_size=size, **attrs)


def _attention(mask: Any = None, **attrs: Any) -> Any:
    inputs = [u8(2, 5, 7), i8(7, 24), f4(24), s(0.02), f4(24, low=0.01, high=0.02), mask, np.uint8(120), i8(24)]
    return case("QAttention", inputs, fed=(0,) if mask is None else (0, 5), dtype=np.float32, num_heads=2, **attrs)


_IMAGE = u8(2, 3, 11, 7)
_LAST = np.ascontiguousarray(_IMAGE.transpose(0, 2, 3, 1))
_GEMM = (u8(3, 5), s(0.02), np.uint8(101), i8(5, 7))
_PER = (f4(7, low=0.01, high=0.03), i8(7))

CASES: dict[str, Any] = {
    "quantize": case("QuantizeLinear", [f4(2, 3, 5), s(0.011), np.int16(7)], dtype=np.int16),
    "quantize axis": case("QuantizeLinear", [f4(2, 3, 5), f4(3, low=0.01, high=0.02), u8(3)], dtype=np.uint8, axis=1),
    "dequantize": case("DequantizeLinear", [u8(2, 3, 5), s(0.011), np.uint8(7)], dtype=np.float32),
    "dequantize axis": case("DequantizeLinear", [i8(2, 3, 5), f4(3, low=0.01, high=0.02), i8(3)], dtype=np.float32, axis=1),
    "add": case(
        "QLinearAdd", [u8(2, 3, 5), s(0.02), np.uint8(99), u8(3, 1), s(0.03), np.uint8(140), s(0.04), np.uint8(121)], fed=(0, 3)
    ),
    "mul": case(
        "QLinearMul", [i8(2, 3, 5), s(0.02), np.int8(9), i8(3, 5), s(0.03), np.int8(-4), s(0.04), np.int8(2)], fed=(0, 3)
    ),
    "sigmoid": case("QLinearSigmoid", [u8(2, 3, 5), s(0.04), np.uint8(111), s(1 / 256), np.uint8(0)]),
    "sigmoid without a zero point": case("QLinearSigmoid", [i8(2, 3, 5), s(0.04), None, s(1 / 256), np.int8(-128)]),
    "leaky": case("QLinearLeakyRelu", [i8(2, 3, 5), s(0.04), np.int8(-11), s(0.05), np.int8(-20)], alpha=0.17),
    "softmax": case("QLinearSoftmax", [u8(2, 3, 5), s(0.04), np.uint8(111), s(1 / 256), np.uint8(0)], axis=-1, opset=13),
    "softmax of a matrix": case(
        "QLinearSoftmax", [u8(2, 3, 5), s(0.02), np.uint8(111), s(1 / 256), np.uint8(0)], axis=1, opset=11
    ),
    "average pool": case(
        "QLinearAveragePool",
        [_IMAGE, s(0.04), np.uint8(111), s(0.05), np.uint8(120)],
        kernel_shape=[3, 2],
        strides=[2, 1],
        pads=[1, 0, 1, 1],
    ),
    "average pool that counts": case(
        "QLinearAveragePool",
        [_IMAGE, s(0.04), np.uint8(111), s(0.05), np.uint8(120)],
        kernel_shape=[3, 2],
        pads=[1, 0, 1, 1],
        count_include_pad=1,
    ),
    "average pool, channels last": case(
        "QLinearAveragePool",
        [_LAST, s(0.04), np.uint8(111), s(0.05), np.uint8(120)],
        kernel_shape=[3, 2],
        strides=[2, 1],
        channels_last=1,
    ),
    "global average pool": case("QLinearGlobalAveragePool", [_IMAGE, s(0.04), np.uint8(111), s(0.013), np.uint8(120)]),
    "global average pool, channels last": case(
        "QLinearGlobalAveragePool", [_LAST, s(0.04), np.uint8(111), s(0.013), np.uint8(120)], channels_last=1
    ),
    "concat": case(
        "QLinearConcat",
        [s(0.04), np.uint8(111), u8(2, 3, 5), s(0.03), np.uint8(99), u8(2, 1, 5), s(0.04), np.uint8(111)],
        fed=(2, 5),
        axis=1,
        dtype=np.uint8,
    ),
    "where": case(
        "QLinearWhere",
        [_R.random((2, 3, 5)) > 0.5, i8(3, 5), s(0.04), np.int8(11), i8(2, 1, 5), s(0.03), np.int8(-9), s(0.05), np.int8(1)],
        fed=(0, 1, 4),
        dtype=np.int8,
    ),
    "conv": case(
        "QLinearConv",
        [
            _IMAGE,
            s(0.03),
            np.uint8(99),
            i8(5, 3, 3, 2),
            f4(5, low=0.01, high=0.02),
            np.zeros(5, np.int8),
            s(0.9),
            np.uint8(120),
            _R.integers(-900, 900, 5, np.int32),
        ],
        strides=[2, 1],
    ),
    "conv, channels last": case(
        "QLinearConv", [_LAST, s(0.03), np.uint8(99), i8(5, 3, 3, 2), s(0.01), np.int8(0), s(0.9), np.uint8(120)], channels_last=1
    ),
    "gemm": case("QGemm", [*_GEMM, s(0.03), np.int8(3), _R.integers(-900, 900, 7, np.int32), s(0.17), np.uint8(120)], alpha=0.7),
    "gemm to floats": case("QGemm", [*_GEMM, s(0.03), np.int8(3)], dtype=np.float32),
    "gemm, turned": case(
        "QGemm", [u8(5, 3), s(0.02), np.uint8(101), i8(7, 5), _PER[0], _PER[1], None, s(0.17), np.uint8(120)], transA=1, transB=1
    ),
    "integers to floats": case(
        "MatMulIntegerToFloat", [u8(2, 3, 5), i8(5, 7), s(0.02), *_PER[:1], np.uint8(101), _PER[1], f4(7)], dtype=np.float32
    ),
    "integers to floats, plain": case("MatMulIntegerToFloat", [i8(3, 5), i8(5, 7), s(0.02), s(0.03)], dtype=np.float32),
    "dynamic": case("DynamicQuantizeMatMul", [f4(2, 3, 5), i8(5, 7), s(0.02), np.int8(3), f4(7)]),
    "dynamic by columns": case("DynamicQuantizeMatMul", [f4(3, 5), u8(5, 7), f4(7, low=0.01, high=0.02), u8(7)]),
    "4 bits": _nbits(4, 32),
    "4 bits, zero points": _nbits(4, 48, "stored", bias=True),
    "8 bits": _nbits(8, 32, "stored"),
    "4 bits, a last block that is not full": _nbits(4, 41, "stored"),
    "4 bits, flat": _nbits(4, 32, flat=True, accuracy_level=1),
    "4 bits, zero points that are floats": _nbits(4, 48, "floats"),
    "2 bits": _nbits(2, 64),
    "lstm": _lstm(1),
    "lstm, both ways": _lstm(2, states=True, direction="bidirectional"),
    "lstm, everything": _lstm(1, True, True, True, direction="reverse", clip=0.7, activations=["Sigmoid", "Softsign", "Tanh"]),
    "fused conv": case("FusedConv", [f4(2, 3, 11, 7), f4(5, 3, 3, 2), f4(5)], activation="Relu", strides=[2, 1]),
    "fused conv, sum": case(
        "FusedConv", [f4(2, 3, 7), f4(5, 3, 3), f4(5), f4(2, 5, 5)], fed=(0, 3), activation="LeakyRelu", activation_params=[0.3]
    ),
    "fused conv, clipped": case("FusedConv", [f4(2, 3, 7), f4(5, 3, 3)], activation="Clip", activation_params=[-0.2, 0.4]),
    "fused conv, hard": case("FusedConv", [f4(2, 3, 7), f4(5, 3, 3)], activation="HardSigmoid", activation_params=[0.3, 0.4]),
    "fused product": case("FusedMatMul", [f4(2, 5, 3), f4(2, 7, 5)], fed=(0, 1), transA=1, transB=1, alpha=0.3),
    "turned product": case("TransposeMatMul", [f4(3, 5), f4(7, 5)], transB=1),
    "gelu": case("Gelu", [f4(2, 3, 5, low=-4, high=4)]),
    "fast gelu": case("FastGelu", [f4(2, 3, 5, low=-4, high=4), f4(5)]),
    "skip norm": case("SkipLayerNormalization", [f4(2, 3, 5), f4(2, 3, 5), f4(5), f4(5), f4(5)], fed=(0, 1), epsilon=1e-5),
    "skip rms norm": case("SkipSimplifiedLayerNormalization", [f4(2, 3, 5), f4(2, 3, 5), f4(5)], fed=(0, 1), epsilon=1e-5),
    "float attention": case("Attention", [f4(2, 5, 7), f4(7, 24), f4(24)], num_heads=2),
    "float attention, mask": case(
        "Attention",
        [f4(2, 5, 7), f4(7, 24), f4(24), np.asarray([3, 5], np.int32), None, f4(2, 2, 5, 5)],
        fed=(0, 3, 5),
        num_heads=2,
    ),
    "heads": case("MultiHeadAttention", [f4(2, 5, 8), f4(2, 3, 8), f4(2, 3, 6), f4(22)], fed=(0, 1, 2), num_heads=2, scale=0.3),
    "heads, mask": case(
        "MultiHeadAttention",
        [f4(2, 5, 8), f4(2, 3, 8), f4(2, 3, 6), None, np.asarray([[1, 0, 1], [1, 1, 0]], np.int32), f4(1, 2, 5, 3)],
        fed=(0, 1, 2, 4, 5),
        num_heads=2,
    ),
    "attention": _attention(),
    "attention, causal": _attention(unidirectional=1, scale=0.3),
    "attention, lengths": _attention(np.asarray([3, 5], np.int32)),
    "attention, mask": _attention(np.asarray([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], np.int32), mask_filter_value=-7.0),
    "lstm of uint8": _lstm(1, unsigned=True, input_forget=1),
}
"""Model and feeds by name."""
