"""Functions that generated code may need for element types of few operations: as in ``written.py``, their text is copied."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float4(x: Tensor) -> Tensor:
    """The nearest numbers of float4_e2m1fn, halves to even, at most 6, as float16."""
    size = x.float().abs().clamp(max=6.0)
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    size = torch.round(size / step) * step
    return torch.where(x.isnan(), -0.0, torch.copysign(size, x.float())).half()


def to_powers_of_two(x: Tensor, rounding: str = "up", saturate: bool = True) -> Tensor:
    """The exponents of numbers as float8_e8m0fnu: signs are dropped, infinities NaN."""
    bits = x.float().view(torch.int32)
    exponent, rest = (bits >> 23) & 255, bits & 0x7FFFFF
    if rounding == "up":
        more = rest > 0
    elif rounding == "nearest":
        more = (rest >= 0x400000) & ((rest > 0x400000) | (exponent > 0))
    else:
        more = torch.zeros_like(rest, dtype=torch.bool)
    more = more & (exponent < (254 if saturate else 255))
    return (exponent + more).to(torch.uint8).view(torch.float8_e8m0fnu)


def shifted_right(x: Tensor, by: Tensor) -> Tensor:
    """A shift of bits held as int64 that moves zeros in: all of them where by, of uint64 too, is 64 or more."""
    half = (x >> 1) & 0x7FFFFFFFFFFFFFFF
    return torch.where(by == 0, x, half >> (by - 1))


def unsigned_divmod(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of uint64 numbers held as int64."""
    half = (x >> 1) & 0x7FFFFFFFFFFFFFFF
    quotient = torch.where(y < 0, 0, half // y * 2)
    rest = x - quotient * y
    lowest = -0x8000000000000000
    more = (rest ^ lowest) >= (y ^ lowest)
    return quotient + more, torch.where(more, rest - y, rest)
