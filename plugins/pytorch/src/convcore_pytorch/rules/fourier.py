"""ATen's complex numbers and Fourier transforms: torch's functions are composites of three operators that this file reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from convcore.plugin import A, DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known
from .base import RULES, aten, fractions
from .diagonals import fixed

_COMPLEX = (DType.COMPLEX64, DType.COMPLEX128)
_FLOATS = {"x": ("float32", "float64", "complex64", "complex128")}


# ---------------------------------------------------------------- parts
RULES.op("torch.complex", "complex", "real=re, imag=im", types={"re": ("float32", "float64")}, also=aten("complex", "real, imag"))
RULES.op("torch.fft.fft", "dft", "input=x", axis=A("dim", -1), inverse=False, types=_FLOATS)
RULES.op("torch.fft.ifft", "dft", "input=x", when={"norm": "forward"}, axis=A("dim", -1), inverse=True, types=_FLOATS)
for _op in ("real", "imag"):
    RULES.op(f"torch.{_op}", _op, "input=x", also=aten(_op, "self:input"))
for _call in aten("real", "self:x"):
    RULES.op(_call, "identity", "x", types={"x": ("float", "int", "bool")})


@RULES.load("aten.polar")
def polar(g: TorchContext, n: AtenNode) -> Value:
    size, angle = n.tensor("abs"), n.tensor("angle")
    return g.b.complex(g.b.mul(size, g.b.cos(angle)), g.b.mul(size, g.b.sin(angle)))


@RULES.load("aten.view_as_complex", "aten.view_as_complex_copy")
def as_complex(g: TorchContext, n: AtenNode) -> Value:
    """The last axis, of two elements, is real and imaginary part."""
    x, last = n.tensor("self"), n.rank("self") - 1
    parts = g.b.op("unstack", x, axis=last, num=2)
    return g.b.complex(*parts)


@RULES.load("aten.view_as_real", "aten.view_as_real_copy")
def as_real(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.stack(g.b.real(x), g.b.imag(x), axis=n.rank("self"))


@RULES.load("aten.conj", "aten._conj", "aten.conj_physical", "aten._conj_physical", "aten._conj_copy", "aten.mH", "aten.matrix_H")
def conj(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    if n.type in ("aten.mH", "aten.matrix_H"):
        rank = n.rank("self")
        x = g.transpose(x, [*range(rank - 2), rank - 1, rank - 2]) if rank else x
    return g.conjugate(x)


@RULES.load("aten.angle")
def angle(g: TorchContext, n: AtenNode) -> Value:
    """0 or pi of real numbers, and nan of nan (ATen/native/cpu/zmath.h, angle_impl)."""
    x = n.tensor("self")
    if x.dtype in _COMPLEX:
        return g.b.atan2(g.b.imag(x), g.b.real(x))
    (x,) = fractions(g, n, [x])
    turned = g.b.where(g.b.less(x, g.b.like(x, 0)), g.b.like(x, math.pi), g.b.like(x, 0))
    return g.b.where(g.b.isnan(x), x, turned)


# ---------------------------------------------------------------- transforms
def _scaled(
    g: TorchContext, n: AtenNode, y: Value, axes: Sequence[int], sizes: Mapping[int, int] = MappingProxyType({})
) -> Value:
    """By fft_norm_mode (ATen/native/SpectralOpsUtils.h): none, by the root of n, by n. ``sizes``: of axes that are no longer what
    they are in the input."""
    mode = n.number("normalization")
    if mode not in (0, 1, 2):
        raise NotExpressible(f"normalization={mode} is not known")
    if mode == 0:
        return y
    count = math.prod(sizes[a] if a in sizes else fixed(n.shape("self"), (a,), "transforms")[0] for a in axes)
    return g.b.mul(y, g.b.like(y, count**-0.5 if mode == 1 else 1 / count))


def _axes(n: AtenNode) -> list[int]:
    return list(n.axes("dim", n.rank("self")))


def _some_axes(n: AtenNode) -> list[int]:
    axes = _axes(n)
    if not axes:
        raise NotExpressible("along no axis", "invalid_shape")
    return axes


def upto(g: TorchContext, x: Value, axis: int, stop: int, start: int = 0) -> Value:
    """Elements of an axis up to a place, from another."""
    rank = len(known(x))
    return g.b.slice(
        x, starts=[start if a == axis else 0 for a in range(rank)], stops=[stop if a == axis else None for a in range(rank)],
        steps=[1] * rank,
    )  # fmt: skip


@RULES.load("aten._fft_c2c")
def c2c(g: TorchContext, n: AtenNode) -> Value:
    x, axes = n.tensor("self"), _axes(n)
    forward = bool(n.number("forward"))
    for a in axes:
        x = g.b.dft(x, axis=a, inverse=not forward)
    return _scaled(g, n, x if axes else g.b.identity(x), axes)


@RULES.load("aten._fft_r2c")
def r2c(g: TorchContext, n: AtenNode) -> Value:
    """One-sided: along the last of the axes only the frequencies up to the middle."""
    x, axes = n.tensor("self"), _some_axes(n)
    y = g.b.dft(x, axis=axes[-1])
    if n.number("onesided"):
        (size,) = fixed(n.shape("self"), axes[-1:], "transforms")
        y = upto(g, y, axes[-1], size // 2 + 1)
    for a in axes[:-1]:
        y = g.b.dft(y, axis=a)
    return _scaled(g, n, y, axes)


@RULES.load("aten._fft_c2r")
def c2r(g: TorchContext, n: AtenNode) -> Value:
    """The inverse of a one-sided spectrum."""
    x, axes = n.tensor("self"), _some_axes(n)
    last, count = axes[-1], n.size("last_dim_size")
    if not isinstance(count, int) or count < 1:
        raise NotExpressible(f"gives {count} elements", "unsupported_shape")
    (given,) = fixed(n.shape("self"), (last,), "transforms")
    if given < count // 2 + 1:
        raise NotExpressible(f"{given} frequencies for {count} elements", "invalid_shape")
    for a in axes[:-1]:
        x = g.b.dft(x, axis=a, inverse=True)
    return _scaled(g, n, halved(g, x, last, count), axes, {last: count})


def halved(g: TorchContext, x: Value, last: int, count: int) -> Value:
    """The inverse, of ``count`` real elements, along an axis that has the frequencies up to the middle: beyond it are the
    conjugates of those before."""
    x = upto(g, x, last, count // 2 + 1)
    mirrored = (count - 1) // 2
    if mirrored:
        tail = g.conjugate(g.b.flip(upto(g, x, last, mirrored + 1, 1), axes=(last,)))
        x = g.b.concat(x, tail, axis=last)
    return g.b.real(g.b.dft(x, axis=last, inverse=True))


@RULES.load("aten.stft")
def stft(g: TorchContext, n: AtenNode) -> Value:
    """Transforms of windows of ``n_fft`` elements every ``hop_length`` (ATen/native/SpectralOps.cpp); the window in their middle.
    ``torch.stft`` pads before it."""
    if "align_to_window" in n.arguments and n.arg("align_to_window"):
        raise NotExpressible("aligns windows of win_length (align_to_window)")
    x, count = n.tensor("self"), n.count("n_fft")
    hop = count // 4 if n.arg("hop_length") is None else int(n.number("hop_length"))
    if hop < 1:
        raise NotExpressible(f"goes in steps of {hop} (hop_length)", "invalid_shape")
    wide = count if n.arg("win_length") is None else n.count("win_length")
    lone = n.rank("self") == 1
    x = g.b.unsqueeze(x, axes=(0,)) if lone else x
    (length,) = fixed(known(x), (1,), "slides over")
    if x.dtype in _COMPLEX and n.arg("onesided"):
        raise NotExpressible("one-sided, of complex numbers")
    at = hop * np.arange((length - count) // hop + 1)[:, None] + np.arange(count)
    y = g.b.gather(x, g.b.const(at, DType.INT64), axis=1)
    left = (count - wide) // 2
    window = n.optional("window")
    if window is None:
        window = g.b.const(np.ones(wide, (_real(x.dtype) or DType.FLOAT32).numpy), _real(x.dtype))
    if wide < count:
        window = g.b.pad(window, pads=((left, count - wide - left),))
    y = g.b.dft(g.b.mul(y, g.cast(window, y.dtype)), axis=2)
    if x.dtype not in _COMPLEX and n.arg("onesided") in (None, True):
        y = upto(g, y, 2, count // 2 + 1)
    if n.number("normalized"):
        y = g.b.mul(y, g.b.like(y, count**-0.5))
    y = g.transpose(y, [0, 2, 1])
    y = g.b.squeeze(y, axes=(0,)) if lone else y
    if n.arg("return_complex") is False or (n.arg("return_complex") is None and x.dtype not in _COMPLEX):
        y = g.b.stack(g.b.real(y), g.b.imag(y), axis=len(known(y)))
    return y


def _real(dtype: DType | None) -> DType | None:
    return {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}.get(dtype, dtype) if dtype is not None else None
