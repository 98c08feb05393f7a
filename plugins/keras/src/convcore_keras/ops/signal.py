"""Fourier transforms (``keras.src.ops.math``; Keras 3.15.1), as products with constant matrices. Complex tensors are pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convcore.plugin import DType, ForeignNode, Value, known_shape

from ..load_context import KerasContext
from ..ruleset import RULES
from .elementwise import is_float
from .shape import cut
from .spec import operation, operations

__all__ = ["LONGEST", "frames", "spectrum", "window"]

operations("FFT FFT2 IFFT2 IRFFT", "x", "float", tensors="x*")
operations("RFFT STFT", "x", "float")
operation("ExtractSequences", "x")

LONGEST = 4096
"""The longest line that is transformed by a matrix; one more would be slow where a fast transform is not."""


def _length(node: ForeignNode, x: Value, axis: int) -> int:
    n = known_shape(x)[axis]
    if not isinstance(n, int) or n > LONGEST:
        raise node.refuse(f"its length {n} is not known, or more than {LONGEST}", code="unknown_shape")
    return n


def _turn(g: KerasContext, x: Value, matrix: np.ndarray) -> Value:
    return g.b.matmul(x, g.b.const(matrix, x.dtype or DType.FLOAT32))


def _transform(g: KerasContext, node: ForeignNode, re: Value, im: Value, axis: int, sign: int) -> tuple[Value, Value]:
    """The discrete Fourier transform along an axis (sign -1), or its inverse without 1 / n (+1)."""
    b, rank = g.b, len(known_shape(re))
    n = _length(node, re, axis)
    angle = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    if axis != rank - 1:
        re, im = (b.transpose(v, perm=tuple(order)) for v in (re, im))
    c, s = np.cos(angle), sign * np.sin(angle)
    out = (b.sub(_turn(g, re, c), _turn(g, im, s)), b.add(_turn(g, re, s), _turn(g, im, c)))
    return out if axis == rank - 1 else (b.transpose(out[0], perm=tuple(order)), b.transpose(out[1], perm=tuple(order)))


@RULES.load("ops.FFT", "ops.FFT2", "ops.IFFT2")
def fft(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Over the last axis, or the last two; real and imaginary part."""
    re, im = node.needed()
    inverse, rank = node.type == "ops.IFFT2", len(known_shape(re))
    axes = (rank - 1,) if node.type == "ops.FFT" else (rank - 2, rank - 1)
    count = 1
    for axis in axes:
        count *= _length(node, re, axis)
        re, im = _transform(g, node, re, im, axis, 1 if inverse else -1)
    if not inverse:
        return re, im
    scale = g.b.like(re, 1 / count)
    return g.b.mul(re, scale), g.b.mul(im, scale)


def spectrum(g: KerasContext, node: ForeignNode, x: Value, n: int) -> tuple[Value, Value]:
    """Half the spectrum of real lines of ``n`` numbers (n // 2 + 1)."""
    angle = 2 * np.pi * np.outer(np.arange(n), np.arange(n // 2 + 1)) / n
    return _turn(g, x, np.cos(angle)), _turn(g, x, -np.sin(angle))


def _fitted(g: KerasContext, x: Value, have: int, want: int) -> Value:
    """The last axis cut, or with zeros behind."""
    rank = len(known_shape(x))
    if want < have:
        return cut(g, x, rank - 1, 0, want)
    return g.b.pad(x, pads=(*((0, 0),) * (rank - 1), (0, want - have))) if want > have else x


@RULES.load("ops.RFFT")
def rfft(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Half the spectrum of the last axis, cut or with zeros to ``fft_length``."""
    x = node.need(0)
    have = _length(node, x, -1)
    n = int(node.attr("fft_length", None) or have)
    return spectrum(g, node, _fitted(g, x, have, n), n)


@RULES.load("ops.IRFFT")
def irfft(g: KerasContext, node: ForeignNode) -> Value:
    """Real lines of ``fft_length`` (2 (m - 1)) from half a spectrum; the imaginary parts of the ends do not count."""
    re, im = node.needed()
    b, have = g.b, _length(node, re, -1)
    n = int(node.attr("fft_length", None) or 2 * (have - 1))
    m = n // 2 + 1
    re, im = _fitted(g, re, have, m), _fitted(g, im, have, m)
    angle = 2 * np.pi * np.outer(np.arange(m), np.arange(n)) / n
    twice = np.full((m, 1), 2.0)
    twice[0] = 1
    if n % 2 == 0:
        twice[-1] = 1
    sines = -np.sin(angle)
    sines[0] = 0
    if n % 2 == 0:
        sines[-1] = 0
    return b.add(_turn(g, re, twice * np.cos(angle) / n), _turn(g, im, twice * sines / n))


def frames(g: KerasContext, node: ForeignNode, x: Value, length: int, stride: int) -> Value:
    """(..., how many, length): pieces of the last axis that begin ``stride`` apart."""
    n = _length_of_signal(node, x)
    count = (n - length) // stride + 1
    if count < 1:
        raise node.refuse(f"{n} elements hold no sequence of {length}", code="invalid_shape")
    places = np.arange(count)[:, None] * stride + np.arange(length)
    return g.b.gather(x, g.b.const(places.astype(np.int64)), axis=len(known_shape(x)) - 1)


def _length_of_signal(node: ForeignNode, x: Value) -> int:
    n = known_shape(x)[-1]
    if not isinstance(n, int):
        raise node.refuse("the length of its signal is not known before it runs", code="unknown_shape")
    return n


@RULES.load("ops.ExtractSequences")
def extract_sequences(g: KerasContext, node: ForeignNode) -> Value:
    """Pieces of the last axis."""
    return frames(g, node, node.need(0), int(node.attr("sequence_length")), int(node.attr("sequence_stride")))


def window(node: ForeignNode, given: object, length: int, full: int) -> np.ndarray:
    """A periodic window of ``length`` (hann, hamming, ones for None, or an array) in the middle of ``full`` zeros."""
    at = 2 * np.pi * np.arange(length) / length
    if given is None:
        found = np.ones(length)
    elif given == "hann":
        found = 0.5 - 0.5 * np.cos(at)
    elif given == "hamming":
        found = 0.54 - 0.46 * np.cos(at)
    elif isinstance(given, (list, tuple, np.ndarray)):
        found = np.asarray(given, np.float64)
    else:
        raise node.refuse(f"window={given!r}")
    before = (full - length) // 2
    return np.pad(found, (before, full - length - before))


@RULES.load("ops.STFT")
def stft(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Half the spectra of windowed pieces of ``fft_length``; with ``center`` the signal is mirrored at its ends."""
    x, b = node.need(0), g.b
    length, stride, n = (int(node.attr(k)) for k in ("sequence_length", "sequence_stride", "fft_length"))
    if not is_float(x) or n < length or n > LONGEST:
        raise node.refuse(f"fft_length={n} of sequences of {length}")
    if node.attr("center", True):
        rank = len(known_shape(x))
        x = b.pad(x, pads=(*((0, 0),) * (rank - 1), (n // 2, n // 2)), mode="reflect")
    pieces = frames(g, node, x, n, stride)
    shape = b.const(window(node, node.attr("window", "hann"), length, n), x.dtype or DType.FLOAT32)
    return spectrum(g, node, b.mul(pieces, shape), n)


@RULES.load("ops.ISTFT", "ops.Polar", "ops.ViewAsComplex", "ops.ViewAsReal")
def complex_numbers(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: the IR has no complex numbers."""
    raise node.refuse("makes or takes complex numbers, which no target has", code="unsupported_dtype")
