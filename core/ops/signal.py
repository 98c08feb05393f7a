"""Fourier transforms of signals given as real and imaginary parts along a last axis (ONNX DFT and STFT)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..opset.axes import Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype
from ..opset.traits import Trait

SIGNAL = OpSet("signal")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _length(n: DimLike | None, length: DimLike | None, inverse: bool, onesided: bool) -> DimLike | None:
    if length is not None:
        return length
    return None if n is None else 2 * (n - 1) if inverse and onesided else n


def _transformed(z: Array, n: int, axis: int, inverse: bool, onesided: bool) -> Array:
    """Complex numbers transformed along an axis; the real signal of a one-sided inverse."""
    if inverse:
        return np.fft.irfft(z, n, axis) if onesided else np.fft.ifft(z, n, axis)
    y = np.fft.fft(z, n, axis)
    return np.take(y, range(n // 2 + 1), axis) if onesided else y


def _dft(x: Array, *, axis: int, length: int | None, inverse: bool, onesided: bool) -> Array:
    axis %= x.ndim
    n = _length(x.shape[axis], length, inverse, onesided)
    if not isinstance(n, int) or n < 1 or axis == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise ValueError(f"a transform of length {n} along axis {axis} of {list(x.shape)}")
    wide = x
    y = _transformed(wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0], n, axis, inverse, onesided)
    parts = [y] if y.dtype.kind == "f" else [y.real, y.imag]
    return np.stack(parts, -1).astype(x.dtype)


def _dft_shape(c: InferContext) -> Shapes:
    x, axis = c.shape("x"), c["axis"]
    if x is None:
        return [(c.dtype("x"), None)]
    if axis == len(x) - 1:
        c.fail("the last axis holds real and imaginary parts")
    if x[-1] not in (1, 2, None) and isinstance(x[-1], int):
        c.fail(f"the last axis has size {x[-1]}, must be 1 (real) or 2 (complex)")
    n = _length(x[axis], c["length"], c["inverse"], c["onesided"])
    real = c["inverse"] and c["onesided"]
    if isinstance(n, int) and n < 1:
        c.fail(f"a transform of length {n}")
    size = n if n is None or not c["onesided"] or real else n // 2 + 1
    return [(c.dtype("x"), (*x[:axis], size, *x[axis + 1 : -1], 1 if real else 2))]


def _dft_body(b: Any, x: Any, *, axis: int, length: Any, inverse: bool, onesided: bool) -> Any:
    """Products with the matrices of what the transform does to the unit vectors and to i times them."""
    known = x.shape is not None and isinstance(x.shape[axis], int) and x.shape[-1] in (1, 2)
    b.require(known, "dft_pairs: the sizes of its axis and of the last one must be known")
    have = x.shape[axis]
    n: Any = _length(have, length, inverse, onesided)
    b.require(isinstance(n, int) and 0 < n <= 4096, f"dft_pairs: a transform of length {n} is not spelled out")
    one = np.eye(have, dtype=np.complex128)
    maps = [_transformed(one, n, 1, inverse, onesided), _transformed(1j * one, n, 1, inverse, onesided)][: x.shape[-1]]
    last = x.rank - 2
    parts = b.unstack(x, axis=-1)
    parts = parts if isinstance(parts, (tuple, list)) else (parts,)
    perm = [*(i for i in range(last + 1) if i != axis), axis]
    back = [perm.index(i) for i in range(last + 1)]
    moved = [p if axis == last else b.transpose(p, perm=tuple(perm)) for p in parts]
    results = []
    for pick in (np.real,) if inverse and onesided else (np.real, np.imag):
        total = None
        for p, m in zip(moved, maps):
            y = b.matmul(p, b.const(pick(m), x.dtype))
            total = y if total is None else b.add(total, y)
        results.append(total if axis == last else b.transpose(total, perm=tuple(back)))
    return b.stack(*results, axis=-1)


SIGNAL.op(
    "dft_pairs", "x:float",
    "The discrete Fourier transform along an axis of signals whose last axis holds the real part, or real and imaginary "
    "parts; so "
    "does the result's. length cuts the axis or fills it with zeros; inverse divides by it. onesided gives the first length "
    "// 2 + 1 "
    "frequencies, or with inverse the real signal that these are of.",
    attrs={
        "axis": Attr("axis", -2), "length": Attr("dim", None), "inverse": Attr("bool", False),
        "onesided": Attr("bool", False),
    },
    infer=_dft_shape, reference=_dft, axes=Opaque(), body=_dft_body,
    samples=[
        Sample((2, 7, 3, 1), axis=1), Sample((2, 7, 2), length=5, onesided=True), Sample((2, 3, 7, 2), inverse=True, length=11),
        Sample((2, 5, 3, 2), axis=1, inverse=True, onesided=True),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


def _frames(length: int, step: int, size: int) -> Array:
    """Positions (frame, element of it)."""
    if step < 1 or not 0 < size <= length:
        raise ValueError(f"frames of {size} elements every {step} of {length}")
    return np.arange(0, length - size + 1, step)[:, None] + np.arange(size)


def _stft(x: Array, window: Array | None = None, *, step: int, size: int | None, onesided: bool) -> Array:
    n = int(size if size is not None else x.shape[1] if window is None else len(window))
    framed = x[:, _frames(x.shape[1], step, n)]
    if window is not None:
        framed = framed * window.reshape(-1, 1)
    return _dft(framed, axis=2, length=None, inverse=False, onesided=onesided)


def _stft_shape(c: InferContext) -> Shapes:
    x, window = c.shape("x"), c.shape("window")
    c.rank("x", 3)
    c.rank("window", 1)
    common_dtype(c, "x", "window")
    if c["step"] < 1:
        c.fail(f"step={c['step']}")
    whole = window if c.has("window") else None if x is None else x[1:]
    n = c["size"] if c["size"] is not None else None if whole is None else whole[0]
    if c["size"] is not None and window is not None:
        c.same(window[0], c["size"], "window and size")
    if isinstance(n, int) and n < 1:
        c.fail(f"frames of {n} elements")
    if x is None:
        return [(c.dtype("x"), (None, None, None, 2))]
    frames = None if n is None or x[1] is None else (x[1] - n) // c["step"] + 1
    if isinstance(frames, int) and frames < 1:
        c.fail(f"frames of {n} of {x[1]} elements")
    return [(c.dtype("x"), (x[0], frames, n if n is None or not c["onesided"] else n // 2 + 1, 2))]


def _stft_body(b: Any, x: Any, window: Any = None, *, step: int, size: Any, onesided: bool) -> Any:
    whole = (None if x.shape is None else x.shape[1:]) if window is None else window.shape
    n: Any = size if size is not None else None if whole is None else whole[0]
    known = x.shape is not None and isinstance(x.shape[1], int) and isinstance(n, int)
    b.require(known, "stft: the length of the signal and of the frames must be known")
    framed = b.gather(x, b.const(_frames(x.shape[1], step, n), DType.INT64), axis=1)
    if window is not None:
        framed = b.mul(framed, b.unsqueeze(window, axes=(1,)))
    return b.dft_pairs(framed, axis=2, onesided=onesided)


SIGNAL.op(
    "stft", "x:float, window:float?",
    "dft of the frames of size elements (default: those of window, else the whole) that begin every step elements of x (batch, "
    "length, 1 or 2), multiplied by window: (batch, frames, frequencies, 2) (ONNX STFT).",
    attrs={"step": Attr("int"), "size": Attr("dim", None), "onesided": Attr("bool", True)},
    infer=_stft_shape, reference=_stft, axes=Opaque(), body=_stft_body,
    samples=[Sample((2, 23, 1), (7,), step=3), Sample((2, 23, 2), step=5, size=11, onesided=False)],
    traits=Trait.HEAVY,
)  # fmt: skip


_MEL = (
    DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8,
    DType.UINT16, DType.UINT32, DType.UINT64,
)  # fmt: skip
"""T3 of the standard's schema."""


def _mel_shape(c: InferContext) -> Shapes:
    c.not_half("low", "high")
    return [(c["dtype"], (None, None))]


def _mel(bins: Array, length: Array, rate: Array, low: Array, high: Array, *, dtype: DType) -> Array:
    n, size = int(bins), int(length)
    if n < 1 or size < 1 or int(rate) < 1:
        raise ValueError(f"{n} bins of a transform of length {size} at rate {int(rate)}")
    first, last = (2595 * np.log1p(float(f) / 700) / np.log(10) for f in (low, high))
    at = np.arange(n + 2)
    mel = at * ((last - first) / len(at)) + first
    edges = (((size + 1) * (700 * np.expm1(mel / 2595 * np.log(10)))) // int(rate)).astype(np.int64)
    y = np.zeros((size // 2 + 1, n))
    for i in range(n):
        left, centre, right = edges[i : i + 3]
        if left == centre:
            y[centre, i] = 1
        else:
            rise = np.arange(left, centre + 1)
            y[rise, i] = (rise - left) / (centre - left)
        fall = np.arange(centre, right)
        if len(fall):
            y[fall, i] = (right - fall) / (right - centre)
    return y.astype(dtype.numpy)


SIGNAL.op(
    "mel_weight_matrix", "bins:int, length:int, rate:int, low:float, high:float",
    "The matrix that turns length // 2 + 1 frequencies, of a signal of a sample rate, into bins on the mel scale between two "
    "frequencies, all given as scalars (ONNX MelWeightMatrix, whose steps are (high - low) / (bins + 2)).",
    attrs={"dtype": Attr("dtype", DType.FLOAT32, choices=_MEL)}, infer=_mel_shape, reference=_mel,
    axes=Opaque(),
    samples=[Sample(np.array(8), np.array(16), np.array(8192), np.float32(0), np.float32(4096))],
    roles={"index": "bins length rate"},
)  # fmt: skip
