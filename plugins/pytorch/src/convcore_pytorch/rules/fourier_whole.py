"""ATen's Fourier transforms as ``torch.fft`` has them, which ``.pt2`` and TorchScript files hold whole
(ATen/native/SpectralOps.cpp, torch 2.13): transforms along one, two or more axes, of given lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES
from .diagonals import fixed
from .fourier import halved, upto

_COMPLEX = (DType.COMPLEX64, DType.COMPLEX128)


def _input(g: TorchContext, n: AtenNode) -> Value:
    """Integers are transformed as float32."""
    x = n.tensor("self")
    return x if x.dtype in _COMPLEX else g.float(x, None)


def _complex(g: TorchContext, x: Value) -> Value:
    return x if x.dtype in _COMPLEX else g.b.complex(x, g.b.like(x, 0))


def _long(g: TorchContext, x: Value, axis: int, count: int | None) -> Value:
    """Cut, or filled with zeros, to a length; None leaves it."""
    if count is None or count == -1:
        return x
    if count < 1:
        raise NotExpressible(f"of {count} elements", "invalid_shape")
    (size,) = fixed(known(x), (axis,), "cuts or fills")
    if size == count:
        return x
    if size > count:
        return upto(g, x, axis, count)
    shape = list(known(x))
    shape[axis] = count - size
    return g.b.concat(x, g.b.cast(g.b.fill(shape=tuple(shape), value=0, dtype=DType.FLOAT32), to=x.dtype), axis=axis)


def _normed(g: TorchContext, n: AtenNode, y: Value, counts: Mapping[int, Any], forward: bool) -> Value:
    """By the sizes of axes: the default scales backward transforms, "forward" the others, "ortho" both by the root."""
    mode = n.arg("norm")
    if mode not in (None, "backward", "ortho", "forward"):
        raise NotExpressible(f"norm={mode!r} is not known")
    if mode != "ortho" and (mode == "forward") is not forward:
        return y
    for a, c in counts.items():
        if not isinstance(c, int):
            raise NotExpressible(f"transforms axis {a}, whose size {c} is symbolic", "unsupported_shape")
    count = math.prod(counts.values())
    return g.b.mul(y, g.b.like(y, count**-0.5 if mode == "ortho" else 1 / count))


def _axes(n: AtenNode, rank: int) -> tuple[list[int], list[int | None]]:
    """The axes of a transform and their lengths: one by ``dim`` and ``n``, else by ``dim`` and ``s``, the last ones, or all."""
    if "n" in n.arguments:
        return [n.axis("dim", rank)], [None if n.arg("n") is None else n.ints("n")[0]]
    sizes = None if n.arg("s") is None else list(n.ints("s"))
    if n.arg("dim") is None:
        axes = list(range(rank - len(sizes), rank)) if sizes is not None else list(range(rank))
    else:
        axes = list(n.axes("dim", rank))
    if sizes is not None and len(sizes) != len(axes):
        raise NotExpressible(f"{len(sizes)} lengths for {len(axes)} axes", "invalid_shape")
    if len(set(axes)) != len(axes):
        raise NotExpressible("an axis twice", "invalid_shape")
    return axes, [None if s == -1 else s for s in sizes] if sizes is not None else [None] * len(axes)


@RULES.load(*(f"aten.fft_{i}fft{d}" for i in ("", "i") for d in ("", "2", "n")))
def both_complex(g: TorchContext, n: AtenNode) -> Value:
    x, rank, forward = _complex(g, _input(g, n)), n.rank("self"), "fft_i" not in n.type
    axes, counts = _axes(n, rank)
    for a, c in zip(axes, counts):
        x = _long(g, x, a, c)
    lengths = {a: known(x)[a] for a in axes}
    for a in axes:
        x = g.b.dft(x, axis=a, inverse=not forward)
    return _normed(g, n, x, lengths, forward)


@RULES.load(*(f"aten.fft_{i}fft{d}" for i in ("r", "ih") for d in ("", "2", "n")))
def from_real(g: TorchContext, n: AtenNode) -> Value:
    """One-sided along the last of the axes; ``ihfft`` is the conjugate, along the others the inverse."""
    x, rank, forward = _input(g, n), n.rank("self"), "fft_i" not in n.type
    if x.dtype in _COMPLEX:
        raise NotExpressible("of complex numbers", "unsupported_dtype")
    axes, counts = _axes(n, rank)
    if not axes:
        raise NotExpressible("along no axis", "invalid_shape")
    for a, c in zip(axes, counts):
        x = _long(g, x, a, c)
    lengths = {a: known(x)[a] for a in axes}
    (size,) = fixed(known(x), axes[-1:], "transforms")
    y = upto(g, g.b.dft(x, axis=axes[-1], inverse=not forward), axes[-1], size // 2 + 1)
    for a in axes[:-1]:
        y = g.b.dft(y, axis=a, inverse=not forward)
    return _normed(g, n, y, lengths, forward)


@RULES.load(*(f"aten.fft_{i}fft{d}" for i in ("ir", "h") for d in ("", "2", "n")))
def to_real(g: TorchContext, n: AtenNode) -> Value:
    """Of a one-sided spectrum; by default of an even length. ``hfft`` transforms forward, along the last axis the conjugate
    backward."""
    x, rank, forward = _complex(g, _input(g, n)), n.rank("self"), "fft_h" in n.type
    axes, counts = _axes(n, rank)
    if not axes:
        raise NotExpressible("along no axis", "invalid_shape")
    last, count = axes[-1], counts[-1]
    if count is None:
        (size,) = fixed(known(x), (last,), "transforms")
        count = 2 * (size - 1)
    if count < 1:
        raise NotExpressible(f"gives {count} elements", "invalid_shape")
    for a, c in zip(axes, [*counts[:-1], count // 2 + 1]):
        x = _long(g, x, a, c)
    lengths = {**{a: known(x)[a] for a in axes[:-1]}, last: count}
    for a in axes[:-1]:
        x = g.b.dft(x, axis=a, inverse=not forward)
    return _normed(g, n, halved(g, g.conjugate(x) if forward else x, last, count), lengths, forward)


@RULES.load("aten.fft_fftshift", "aten.fft_ifftshift")
def shifted(g: TorchContext, n: AtenNode) -> Value:
    """The frequency 0 in the middle, and back."""
    x, rank = n.tensor("self"), n.rank("self")
    for a in range(rank) if n.arg("dim") is None else n.axes("dim", rank):
        (size,) = fixed(known(x), (a,), "turns")
        at = size - size // 2 if n.type.endswith("fft_fftshift") else size // 2
        if 0 < at < size:
            x = g.b.concat(upto(g, x, a, size, at), upto(g, x, a, at), axis=a)
    return g.b.identity(x) if x is n.tensor("self") else x


@RULES.load("aten.fft_fftfreq", "aten.fft_rfftfreq")
def frequencies(g: TorchContext, n: AtenNode) -> Value:
    """Whole numbers, those past the middle less than 0, by 1 / (n d)."""
    count, dtype = n.ints("n")[0], n.element("dtype") or n.dtype or DType.FLOAT32
    if count < 1 or not dtype.is_float:
        raise NotExpressible(f"{count} numbers of {dtype}")
    at = np.arange(count // 2 + 1 if n.type.endswith("rfftfreq") else count)
    at = at if n.type.endswith("rfftfreq") else np.where(at < (count + 1) // 2, at, at - count)
    own = np.float64 if dtype is DType.FLOAT64 else np.float32
    made = at.astype(own) * own(1 / (count * float(n.number("d"))))
    return g.b.const(made.astype(dtype.numpy), dtype)
