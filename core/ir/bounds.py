"""Integers between which a symbolic size certainly lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dim_atoms import Call, Monomial
    from .dims import DimLike

__all__ = ["bounds"]


def bounds(x: DimLike) -> tuple[int | None, int | None]:
    """Integers between which a size certainly lies, named sizes being at least 1; None where there is no such integer."""
    if isinstance(x, int):
        return x, x
    low: int | None = 0
    high: int | None = 0
    for mono, c in x._terms:
        lo, hi = _mono_bounds(mono)
        if c < 0:
            lo, hi = hi, lo
        low = None if low is None or lo is None else low + c * lo
        high = None if high is None or hi is None else high + c * hi
    return low, high


def _mono_bounds(mono: Monomial) -> tuple[int | None, int | None]:
    low, high = 1, 1
    bounded = True
    for atom, p in mono:
        lo, hi = (1, None) if isinstance(atom, str) else _call_bounds(atom)
        if lo is None or lo < 0:
            return (lo, hi) if len(mono) == 1 and p == 1 else (None, None)
        low *= lo**p
        if hi is None:
            bounded = False
        elif bounded:
            high *= hi**p
    return low, high if bounded else None


def _call_bounds(call: Call) -> tuple[int | None, int | None]:
    parts = [bounds(a) for a in call.args]
    lows, highs = [lo for lo, _ in parts], [hi for _, hi in parts]
    known_lows, known_highs = [n for n in lows if n is not None], [n for n in highs if n is not None]
    if call.fn == "max":
        return max(known_lows, default=None), max(known_highs) if len(known_highs) == len(highs) else None
    if call.fn == "min":
        return min(known_lows) if len(known_lows) == len(lows) else None, min(known_highs, default=None)
    (low, high), (least, most) = parts
    if least is None or least < 1:
        return None, None
    if call.fn == "%":
        return 0, None if most is None else most - 1
    if least == most:
        return None if low is None else low // least, None if high is None else high // least
    return (0, None if high is None else high // least) if low is not None and low >= 0 else (None, None)
