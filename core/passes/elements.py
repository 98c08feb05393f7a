"""Arithmetic on the elements of shape tensors: integers, sizes, and their quotients before rounding; None is unknown."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ..ir.dims import Dim, DimLike, bounds, ceil_div, dim_max, dim_min
from ..records import dataclass

__all__ = ["EACH", "Element", "Ratio", "fraction", "int_div", "pick", "rational", "to_bool", "true_div", "trunc"]

_EXACT = 4096  # largest denominator for which float32 arithmetic on sizes cannot cross an integer


@dataclass(frozen=True)
class Ratio:
    """A size divided by an integer: what a float tensor of shape arithmetic holds before it is rounded."""

    num: Dim
    den: int


Element = Any  # int | Dim | Fraction | Ratio | None


def fraction(x: float) -> Element:
    if not np.isfinite(x):
        return None
    return int(x) if x == int(x) else Fraction(x)


def _ratio(num: DimLike | Fraction, den: int) -> Element:
    """num / den in lowest terms that matter; None where floats could round across an integer."""
    if isinstance(num, (int, Fraction)):
        f = Fraction(num) / den
        return int(f) if f.denominator == 1 else f
    if den < 0:
        num, den = -num, -den
        if isinstance(num, int):
            return _ratio(num, den)
    q = num // den
    if q * den == num:
        return q
    return Ratio(num, den) if den <= _EXACT else None


def _parts(x: Element) -> tuple[DimLike, int]:
    """Numerator and denominator."""
    if isinstance(x, Ratio):
        return x.num, x.den
    if isinstance(x, Fraction):
        return x.numerator, x.denominator
    return x, 1


def rational(fn: Callable[..., Any]) -> Callable[[Element, Element], Element]:
    """+, - and * also of ratios."""

    def apply(x: Element, y: Element) -> Element:
        if isinstance(x, (int, Dim)) and isinstance(y, (int, Dim)):
            return fn(x, y)
        (a, p), (b, q) = _parts(x), _parts(y)
        return _ratio(a * b, p * q) if fn is operator.mul else _ratio(fn(a * q, b * p), p * q)

    return apply


def true_div(x: Element, y: Element) -> Element:
    (a, p), (b, q) = _parts(x), _parts(y)
    if isinstance(b, int):
        return None if b == 0 else _ratio(a * q, p * b)
    if not _positive(b) and not _positive(-b):  # it may be 0
        return None
    num, den = a * q, p * b
    exact = num // den
    return exact if exact * den == num else None


def _nonnegative(x: DimLike) -> bool:
    low = bounds(x)[0]
    return low is not None and low >= 0


def _positive(x: DimLike) -> bool:
    low = bounds(x)[0]
    return low is not None and low > 0


def int_div(x: DimLike, y: DimLike) -> Element:
    """Towards zero."""
    if isinstance(x, int) and isinstance(y, int):
        return None if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    if not _positive(y):
        return None
    if _nonnegative(x) or (x // y) * y == x:
        return x // y
    return None


def _floor_div(x: Element, y: Element) -> Element:
    if isinstance(x, int) and isinstance(y, int):
        return None if y == 0 else x // y
    if isinstance(x, (int, Dim)) and isinstance(y, (int, Dim)):
        return x // y if _positive(y) else None
    return _floor(true_div(x, y))


def _mod(x: Element, y: Element) -> Element:
    if not isinstance(x, (int, Dim)) or not isinstance(y, (int, Dim)):
        return None
    if isinstance(x, int) and isinstance(y, int):
        return None if y == 0 else x % y
    return x % y if _positive(y) else None


def _fmod(x: Element, y: Element) -> Element:
    if isinstance(x, int) and isinstance(y, int):
        return None if y == 0 else abs(x) % abs(y) * (-1 if x < 0 else 1)
    return _mod(x, y) if isinstance(x, (int, Dim)) and _nonnegative(x) else None


def _floor(x: Element) -> Element:
    if x is None or isinstance(x, (int, Dim)):
        return x
    num, den = _parts(x)
    return num // den


def _ceil(x: Element) -> Element:
    if x is None or isinstance(x, (int, Dim)):
        return x
    num, den = _parts(x)
    return ceil_div(num, den)


def trunc(x: Element) -> Element:
    if isinstance(x, Fraction):
        return int(x)
    return x if isinstance(x, (int, Dim)) else _floor(x) if _nonnegative(x.num) else None


def _round(x: Element) -> Element:
    """Halves to even."""
    return round(x) if isinstance(x, Fraction) else x if isinstance(x, (int, Dim)) else None


def _pow(x: Element, y: Element) -> Element:
    if not isinstance(y, int) or not isinstance(x, (int, Dim)) or not 0 <= y <= 16:
        return None
    out: DimLike = 1
    for _ in range(y):
        out = out * x
    return out


def pick(fn: Callable[..., DimLike]) -> Callable[[Element, Element], Element]:
    def apply(x: Element, y: Element) -> Element:
        if isinstance(x, (int, Fraction)) and isinstance(y, (int, Fraction)):
            return (max if fn is dim_max else min)(x, y)
        return fn(x, y) if isinstance(x, (int, Dim)) and isinstance(y, (int, Dim)) else None

    return apply


def _compare(lower: int, upper: int) -> Callable[[Element, Element], Element]:
    """1 when the difference is certainly in (lower, upper) in sign, 0 when certainly not; sign -1, 0 or 1.

    ``lower``/``upper`` name the signs for which the comparison holds, both inclusive.
    """

    def apply(x: Element, y: Element) -> Element:
        (a, p), (b, q) = _parts(x), _parts(y)
        low, high = bounds(a * q - b * p)
        smallest = -1 if low is None or low < 0 else min(low, 1)
        largest = 1 if high is None or high > 0 else max(high, -1)
        if lower <= smallest and largest <= upper:
            return 1
        return 0 if smallest > upper or largest < lower else None

    return apply


def _not(x: Element) -> Element:
    return None if x is None else 1 - x


def to_bool(x: Element) -> Element:
    return _not(_compare(0, 0)(x, 0))


_not_equal = lambda x, y: _not(_compare(0, 0)(x, y))  # noqa: E731


EACH: dict[str, Callable[..., Element]] = {
    "add": rational(operator.add),
    "sub": rational(operator.sub),
    "mul": rational(operator.mul),
    "neg": lambda x: rational(operator.mul)(x, -1),
    "abs": lambda x: abs(x) if isinstance(x, (int, Fraction)) else x if isinstance(x, Dim) and _nonnegative(x) else None,
    "square": lambda x: rational(operator.mul)(x, x),
    "floor_div": _floor_div,
    "floor_mod": _mod,
    "fmod": _fmod,
    "pow": _pow,
    "floor": _floor,
    "ceil": _ceil,
    "trunc": trunc,
    "round": _round,
    "maximum": pick(dim_max),
    "minimum": pick(dim_min),
    "equal": _compare(0, 0),
    "not_equal": _not_equal,
    "less": _compare(-1, -1),
    "less_equal": _compare(-1, 0),
    "greater": _compare(1, 1),
    "greater_equal": _compare(0, 1),
    "not": _not,
    "xor": lambda x, y: x ^ y,
}
