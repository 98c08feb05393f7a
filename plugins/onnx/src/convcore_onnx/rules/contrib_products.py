"""com.microsoft: matrix products of stored integers, and of weights stored in blocks of few bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, NotExpressible, Value, known_shape

from ..context import OnnxContext
from .contrib import contrib, number

__all__ = ["few_bits", "half_way", "integer_product"]


def _columns(node: ForeignNode, v: Value, width: Any, what: str) -> Value:
    """A scale, zero point or bias of the right operand: one number, or one for each column."""
    if known_shape(v) not in ((), (1,), (width,)):
        raise node.refuse(f"its {what} is neither one number nor one for each of {width} columns")
    return v


def _floats(g: OnnxContext, sums: Value, scale: Value, bias: Value | None) -> Value:
    y = g.b.mul(g.b.cast(sums, to=scale.dtype), scale)
    made: Value = y if bias is None else g.b.add(y, bias)
    return made


def integer_product(
    g: OnnxContext, node: ForeignNode, a: Value, w: Value, a_scale: Value, w_scale: Value, a_zero: Value | None,
    w_zero: Value | None, bias: Value | None,
) -> Value:  # fmt: skip
    """A product of stored integers as floats; of A scale and zero point are one number (onnxruntime's kernels take no more)."""
    width = known_shape(w)[-1]
    a_zero = None if a_zero is None else number(g, node, a_zero, "zero point of A")
    w_zero = None if w_zero is None else _columns(node, w_zero, width, "zero point of B")
    bias = None if bias is None else _columns(node, bias, width, "bias")
    scale = g.b.mul(number(g, node, a_scale, "scale of A"), _columns(node, w_scale, width, "scale of B"))
    return _floats(g, g.b.matmul_integer(a, w, a_zero, w_zero), scale, bias)


@contrib("MatMulIntegerToFloat")
def matmul_integer_to_float(g: OnnxContext, node: ForeignNode) -> Any:
    a, w, a_scale, w_scale = (node.need(i) for i in range(4))
    return integer_product(g, node, a, w, a_scale, w_scale, node.input(4), node.input(5), node.input(6))


@contrib("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(g: OnnxContext, node: ForeignNode) -> Any:
    stored, scale, zero = g.b.dynamic_quantize(node.need(0))
    return integer_product(g, node, stored, node.need(1), scale, node.need(2), zero, node.input(3), node.input(4))


@contrib("QGemm")
def gemm(g: OnnxContext, node: ForeignNode) -> Any:
    """alpha * a_scale * b_scale * (A' B' + C), stored with y_scale and y_zero_point where these are given."""
    b, alpha = g.b, node.real("alpha", 1.0)
    a, a_scale, a_zero, w, w_scale, w_zero = (node.need(i) for i in range(6))
    c, y_scale, y_zero = node.input(6), node.input(7), node.input(8)
    if (y_scale is None) != (y_zero is None):
        raise node.refuse("of scale and zero point of its result only one is given", code="missing_input")
    a, w = (b.transpose(v, perm=(1, 0)) if node.attr(f"trans{n}", 0) else v for v, n in ((a, "A"), (w, "B")))
    if len(known_shape(a)) != 2 or len(known_shape(w)) != 2:
        raise node.refuse(f"its operands have {a.rank} and {w.rank} axes, not 2")
    width = known_shape(w)[1]
    a_zero = number(g, node, a_zero, "zero point of A")
    sums = b.matmul_integer(a, w, a_zero, _columns(node, w_zero, width, "zero point of B"))
    if c is not None:
        sums = b.add(sums, c)
    scale = b.mul(number(g, node, a_scale, "scale of A"), _columns(node, w_scale, width, "scale of B"))
    if alpha != 1:
        scale = b.mul(scale, b.like(scale, alpha))
    y = _floats(g, sums, scale, None)
    if y_scale is None or y_zero is None:
        return y
    if y_zero.dtype is None:
        raise node.refuse("the element type of its result is not known", code="unknown_dtype")
    zero = number(g, node, y_zero, "zero point of Y")
    return b.quantize(y, number(g, node, y_scale, "scale of Y"), zero, axis=None, dtype=y_zero.dtype)


# ---- weights of few bits
_TYPES = {2: DType.UINT2, 4: DType.UINT4, 8: DType.UINT8}


def _unpacked(packed: Any, bits: int, count: int) -> Any:
    """Numbers of ``bits`` bits, the low bits of a byte first, along the last axis: the first ``count`` of them."""
    parts = [(packed >> k) & ((1 << bits) - 1) for k in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*packed.shape[:-1], -1)[..., :count]


def few_bits(g: OnnxContext, node: ForeignNode, packed: Value, bits: int, shape: tuple[int, ...], *, wide: bool) -> Value:
    """A constant of bytes as the numbers of 2, 4 or 8 bits in them, of that type or ``wide`` of uint8, row by row; refused
    where a row has too few bytes."""
    if bits not in _TYPES:
        raise node.refuse(f"{bits} bits: 2, 4 and 8 are read")
    type_, rows = DType.UINT8 if wide else _TYPES[bits], int(np.prod(shape[:-1]))
    size = None if packed.tensor is None else packed.tensor.size
    if size is not None and (size % max(rows, 1) or size < rows * -(-shape[-1] * bits // 8)):
        raise node.refuse(f"its {size} bytes do not hold {list(shape)} numbers of {bits} bits", code="invalid_shape")
    made: Value = g.view(
        packed,
        ("unpacked", bits, shape, wide),
        lambda t: t.map(lambda p: _unpacked(p.reshape(*shape[:-1], -1), bits, shape[-1]).astype(type_.numpy), shape, type_),
    )
    return made


def half_way(g: OnnxContext, bits: int, shape: tuple[int, ...], *, wide: bool) -> Value:
    """The zero points of numbers of few bits where none are given."""
    type_ = DType.UINT8 if wide else _TYPES[bits]
    made: Value = g.derived(("half", bits, shape, wide), lambda: g.b.const(np.full(shape, 1 << (bits - 1), type_.numpy), type_))
    return made


@contrib("MatMulNBits")
def matmul_nbits(g: OnnxContext, node: ForeignNode) -> Any:
    """A @ W', W stored by rows (N, K) in blocks along K."""
    a, packed, scales = (node.need(i) for i in range(3))
    zeros, order, bias = node.input(3), node.input(4), node.input(5)
    k, n, bits, size = node.whole("K"), node.whole("N"), node.whole("bits", 4), node.whole("block_size")
    if node.whole("weight_prepacked", 0):
        raise node.refuse("its weights are packed for one kind of hardware")
    level = node.whole("accuracy_level", 0)
    if level not in (0, 1):
        raise node.refuse(
            f"accuracy_level={level} lets a runtime round A: what it computes depends on the runtime",
            "set accuracy_level to 0 or 1 to have the exact product",
        )
    if order is not None:
        raise node.refuse("g_idx, which onnxruntime no longer documents, says which block each row belongs to")
    if bits not in _TYPES:
        raise node.refuse(f"{bits} bits: 2, 4 and 8 are read")
    if k < 1 or n < 1 or size < 16 or size & (size - 1):
        raise node.refuse(f"K={k}, N={n}, block_size={size}")
    blocks = -(-k // size)
    want = (n, blocks, size * bits // 8)
    if known_shape(packed) != want or packed.dtype is not DType.UINT8:
        raise node.refuse(f"B is {packed.dtype} of shape {list(map(str, known_shape(packed)))}, must be uint8 of {list(want)}")
    stored = few_bits(g, node, packed, bits, (n, k), wide=False)
    scale = _shaped(g, node, scales, (n, blocks), "scales")
    if zeros is not None and zeros.dtype is not DType.UINT8:
        w = _by_floats(g, stored, scale, _shaped(g, node, zeros, (n, blocks), "zero_points"), k, size)
    else:
        if zeros is None:
            zero = half_way(g, bits, (n, blocks), wide=False)
        else:
            packed_zeros = _shaped(g, node, zeros, (n, -(-blocks * bits // 8)), "zero_points")
            zero = few_bits(g, node, packed_zeros, bits, (n, blocks), wide=False)
        w = g.b.dequantize_blocks(stored, scale, zero, axis=1, block_size=size)
    return g.b.linear(a, w, bias)


def _shaped(g: OnnxContext, node: ForeignNode, v: Value, shape: tuple[int, ...], what: str) -> Value:
    """A constant of as many elements, in one shape: files have it flat, too."""
    if v.tensor is None:
        raise NotExpressible(f"its {what} are computed", "requires_constant_input")
    if v.tensor.size != shape[0] * shape[1]:
        raise node.refuse(f"its {what} have the shape {list(v.tensor.shape)}, must be {list(shape)}")
    found: Value = v if v.tensor.shape == shape else g.view(v, shape, lambda t: t.reshape(shape))
    return found


def _by_floats(g: OnnxContext, stored: Value, scale: Value, zero: Value, k: int, size: int) -> Value:
    """Zero points that are no integers: the same formula, block by block."""
    b, at = g.b, g.b.const([i // size for i in range(k)], DType.INT64)
    less = b.sub(b.cast(stored, to=scale.dtype), b.gather(zero, at, axis=1))
    made: Value = b.mul(less, b.gather(scale, at, axis=1))
    return made


_FP4 = (0, 1 / 192, 2 / 3, 1, 1 / 3, 0.5, 1 / 6, 0.25)
_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_TABLES = np.asarray([[*_FP4, *(-v for v in _FP4)], _NF4], np.float32)
"""What the codes of FP4 (whose last bit but three is the sign) and NF4 mean (arXiv 2305.14314 and bitsandbytes; onnxruntime 1.32
multiplies an identity to the same)."""


@contrib("MatMulBnb4")
def matmul_bnb4(g: OnnxContext, node: ForeignNode) -> Any:
    """A @ W', W (N, K) stored flat, the high half of a byte first, in blocks of one scale each."""
    a, packed, absmax = (node.need(i) for i in range(3))
    k, n, size, kind = (node.whole(name) for name in ("K", "N", "block_size", "quant_type"))
    node.ignore("training_mode")  # where gradients go
    if not node.attr("transB", 1):
        raise node.refuse("transB=0, which onnxruntime 1.32 takes as 1 on processors")
    if kind not in (0, 1) or k < 1 or n < 1 or size < 16 or size & (size - 1):
        raise node.refuse(f"K={k}, N={n}, block_size={size}, quant_type={kind}")
    blocks = -(-n * k // size)
    for v, what, count in ((packed, "B", -(-n * k // 2)), (absmax, "absmax", blocks)):
        if v.tensor is None:
            raise NotExpressible(f"its {what} is computed", "requires_constant_input")
        if v.tensor.size != count:
            raise node.refuse(f"its {what} has {v.tensor.size} elements, must have {count}")
    if packed.dtype is not DType.UINT8 or absmax.dtype is None or not absmax.dtype.is_float:
        raise node.refuse(f"B is {packed.dtype} and absmax {absmax.dtype}")
    dtype, table = absmax.dtype, _TABLES[kind]

    def means(p: Any) -> Any:
        codes = np.stack([p.reshape(-1) >> 4, p.reshape(-1) & 15], axis=-1).reshape(-1)[: n * k]
        return np.pad(table[codes], (0, blocks * size - n * k)).reshape(blocks, size).astype(dtype.numpy)

    stored = g.view(packed, ("means", kind, k, n, size, dtype), lambda t: t.map(means, (blocks, size), dtype))
    scale = g.view(absmax, "column", lambda t: t.reshape((blocks, 1)))
    w = g.b.reshape(g.b.mul(stored, scale), shape=(blocks * size,))
    if blocks * size != n * k:
        w = g.b.split(w, axis=0, sizes=(n * k, blocks * size - n * k))[0]
    w = g.b.reshape(w, shape=(n, k))
    return g.b.linear(a, w, None)
