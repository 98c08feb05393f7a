"""Complex numbers and the discrete Fourier transform; targets without complex tensors refuse a model that has one."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dtypes import DType
from ..opset.axes import Axis, Broadcast, Elementwise
from ..opset.declare import Attr, AxisAttr, OpSet, Sample, uniform
from ..opset.infer import InferContext, Inferred
from ..opset.shapes import broadcast_shapes
from ..opset.traits import Trait

FOURIER = OpSet("fourier")

Array = NDArray[Any]

_PARTS = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}
_WHOLE = {part: whole for whole, part in _PARTS.items()}
_Z = uniform(Random(7), -1, 1, 2, 3, 5, 2).astype(np.float32).view(np.complex64)[..., 0]


def _complex_dtype(c: InferContext, name: str) -> DType | None:
    d = c.dtype(name)
    if d is None or d in _PARTS:
        return d
    if d not in _WHOLE:
        c.fail(f"there are no complex numbers made of {d}")
    return _WHOLE[d]


def _complex(re: Array, im: Array) -> Array:
    """Without products: i times an infinity has no real part that is a number."""
    out = np.empty(np.broadcast_shapes(re.shape, im.shape), np.complex64 if re.dtype == np.float32 else np.complex128)
    out.real, out.imag = re, im
    return out


FOURIER.op(
    "complex", "re:float, im:float", "re + i im, of float32 or float64.", axes=Broadcast(),
    infer=lambda c: [(_complex_dtype(c, "re"), broadcast_shapes(c.shape("re"), c.shape("im")))],
    reference=_complex, traits=Trait.POINTWISE,
    samples=[Sample((2, 3, 5), (2, 3, 5)), Sample((2, 3, 5), (3, 1))],
)  # fmt: skip


def _part(c: InferContext) -> Inferred:
    d = c.dtype("x")
    return [(None if d is None else _PARTS[d], c.shape("x"))]


for _name, _word in (("real", "real"), ("imag", "imaginary")):
    FOURIER.op(
        _name, "x:complex", f"The {_word} part.", axes=Elementwise(), infer=_part,
        reference=lambda x, _name=_name: np.array(getattr(x, _name)), samples=[Sample(_Z)],
        traits=Trait.POINTWISE,
    )  # fmt: skip


def _dft(x: Array, axis: int, inverse: bool) -> Array:
    """numpy computes in the precision of its input from 2.0 on, in float64 before."""
    if not x.shape[axis]:
        raise ValueError("the transform of no elements")
    wide = np.fft.ifft(x, axis=axis, norm="forward") if inverse else np.fft.fft(x, axis=axis)
    return np.asarray(wide, np.complex128 if x.dtype in (np.float64, np.complex128) else np.complex64)


def _dft_shape(c: InferContext) -> Inferred:
    x = c.shape("x")
    if x is not None and x[c["axis"]] == 0:
        c.fail("the transform of no elements")
    return [(_complex_dtype(c, "x"), x)]


FOURIER.op(
    "dft", "x:number",
    "Discrete Fourier transform along an axis, of real or complex numbers: the sum over k of x[k] exp(-2 pi i j k / n), with "
    "inverse of x[k] exp(2 pi i j k / n), neither divided by n.",
    attrs={"axis": AxisAttr(-1), "inverse": Attr("bool", False)}, infer=_dft_shape, reference=_dft, axes=Axis("axis"),
    samples=[
        Sample((2, 3, 5), axis=1), Sample((2, 3, 5), inverse=True), Sample(_Z), Sample(_Z, axis=0, inverse=True),
    ],
)  # fmt: skip
