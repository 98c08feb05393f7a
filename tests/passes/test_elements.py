"""Every rule of shape arithmetic on every pair of elements: what it tells is what numbers give, at whatever sizes the names have,
and what it does not tell is no more than is listed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.passes.elements import EACH, Ratio, fraction, int_div, to_bool, true_div, trunc
from convcore.passes.shapes import LIMIT, symbolic_value

N, T = Dim("N"), Dim("T")
WHOLE = [-7, -1, 0, 1, 2, 7, N, T, N + 1, 2 * N, N * T, N - 5, 7 - N, T // 2]
PARTS = [Fraction(1, 2), Fraction(5, 2), Fraction(-3, 2), Ratio(N, 2), Ratio(N - 5, 3), Ratio(T, 4096)]  # type: ignore[arg-type]
SIZES = [{"N": n, "T": t} for n in (1, 2, 3, 5, 6, 8, 13) for t in (1, 2, 4, 7)]


def number(x: Any, at: dict[str, int]) -> Any:
    if isinstance(x, Ratio):
        return Fraction(x.num.evaluate(at), x.den)
    return x.evaluate(at) if isinstance(x, Dim) else x


def towards_zero(a: Any, b: Any) -> int:
    return math.trunc(Fraction(a) / b)


BINARY: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Any], bool]] = {
    "add": (EACH["add"], lambda a, b: a + b, True),
    "sub": (EACH["sub"], lambda a, b: a - b, True),
    "mul": (EACH["mul"], lambda a, b: a * b, True),
    "div": (true_div, lambda a, b: Fraction(a) / b, True),
    "integer div": (int_div, towards_zero, False),
    "floor_div": (EACH["floor_div"], lambda a, b: a // b, True),
    "floor_mod": (EACH["floor_mod"], lambda a, b: a % b, False),
    "fmod": (EACH["fmod"], lambda a, b: a - b * towards_zero(a, b), False),
    "pow": (EACH["pow"], lambda a, b: a**b, False),
    "maximum": (EACH["maximum"], max, True),
    "minimum": (EACH["minimum"], min, True),
    "equal": (EACH["equal"], lambda a, b: a == b, True),
    "not_equal": (EACH["not_equal"], lambda a, b: a != b, True),
    "less": (EACH["less"], lambda a, b: a < b, True),
    "less_equal": (EACH["less_equal"], lambda a, b: a <= b, True),
    "greater": (EACH["greater"], lambda a, b: a > b, True),
    "greater_equal": (EACH["greater_equal"], lambda a, b: a >= b, True),
}
UNARY: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], bool]] = {
    "neg": (EACH["neg"], lambda a: -a, True),
    "abs": (EACH["abs"], abs, True),
    "square": (EACH["square"], lambda a: a * a, True),
    "floor": (EACH["floor"], math.floor, True),
    "ceil": (EACH["ceil"], math.ceil, True),
    "trunc": (trunc, math.trunc, True),
    "round": (EACH["round"], round, True),
    "bool": (to_bool, bool, True),
}
UNKNOWN = {
    "add": 11, "sub": 10, "mul": 11, "div": 223, "integer div": 96, "floor_div": 182, "floor_mod": 72, "fmod": 98, "pow": 140,
    "maximum": 159, "minimum": 159, "equal": 198, "not_equal": 198, "less": 190, "less_equal": 190, "greater": 190,
    "greater_equal": 190, "abs": 5, "square": 1, "trunc": 1, "round": 3, "bool": 4,
}  # fmt: skip
"""How many of the pairs (or elements) are not told."""


def told(fn: Callable[..., Any], judge: Callable[..., Any], *xs: Any) -> bool:
    """Whether the element is told, which it may only be where it is right at every size."""
    found = fn(*xs)
    for at in SIZES if found is not None else ():
        wanted = judge(*(number(x, at) for x in xs))
        assert number(found, at) == wanted, f"{found} of {xs} at {at}, {wanted} wanted"
    return found is not None


def operands(parts: bool) -> list[Any]:
    return WHOLE + (PARTS if parts else [])


@pytest.mark.parametrize("name", [*BINARY, *UNARY])
def test_what_is_told_is_right(name: str) -> None:
    fn, judge, parts = {**BINARY, **UNARY}[name]
    many = itertools.product(operands(parts), repeat=2 if name in BINARY else 1)
    unknown = sum(not told(fn, judge, *xs) for xs in many)
    assert unknown == UNKNOWN.get(name, 0)


LIMITS: list[tuple[Any, Any]] = [
    (EACH["pow"](N, 16) is not None, EACH["pow"](N, 17)),
    (EACH["pow"](N, 0) == 1, EACH["pow"](N, -1)),
    (true_div(N, 4096) == Ratio(N, 4096), true_div(N, 4097)),  # type: ignore[arg-type]
    (true_div(N, -2) == Ratio(-N, 2), true_div(N, 0)),  # type: ignore[arg-type]
    (fraction(2.5) == Fraction(5, 2) and type(fraction(2.0)) is int, fraction(math.inf)),
    (to_bool(N) == 1 and to_bool(0) == 0, to_bool(N - 5)),
]


@pytest.mark.parametrize(("known", "unknown"), LIMITS)
def test_up_to_where_elements_are_told(known: bool, unknown: Any) -> None:
    assert known and unknown is None


def held(make: Callable[[Builder], Any]) -> list[Any] | None:
    a = symbolic_value(make(Builder(Graph("g"))))
    return None if a is None else a.ravel().tolist()


def counted(b: Builder, start: Any, stop: Any, step: Any) -> Any:
    return b.range(*(b.const(np.int64(n)) if isinstance(n, int) else n for n in (start, stop, step)))


SIZED: dict[str, tuple[Callable[[Builder, int], Any], list[Any]]] = {
    "a constant": (lambda b, n: b.const(np.full(n, 3, np.int64)), [3]),
    "filled": (lambda b, n: b.fill(shape=(n,), value=2, dtype="int64"), [2]),
    "filled with halves": (
        lambda b, n: b.cast(b.mul(b.fill(shape=(n,), value=2.5, dtype="float32"), b.const(2.0)), to="int64"),
        [5],
    ),
    "counted": (lambda b, n: counted(b, 0, 2 * n, 2), [0, 2]),
    "counted down": (lambda b, n: counted(b, n, 0, -1), []),
    "an input": (lambda b, n: b.input("k", "int64", (n,)), [None]),
    "moved": (lambda b, n: b.reshape(b.const(np.full(n, 3, np.int64)), shape=(1, n)), [3]),
}


@pytest.mark.parametrize("make", [s[0] for s in SIZED.values()], ids=list(SIZED))
def test_how_many_elements_are_followed(make: Callable[[Builder, int], Any]) -> None:
    first = next(s[1] for s in SIZED.values() if s[0] is make)
    found = held(lambda b: make(b, LIMIT))
    assert found is not None and len(found) == LIMIT and found[: len(first)] == first
    assert held(lambda b: make(b, LIMIT + 1)) is None


def ints(b: Builder, *xs: int) -> Any:
    return b.const(np.array(xs, np.int64))


def small(b: Builder, dtype: str, *xs: int) -> Any:
    return b.const(np.array(xs, dtype))


def flags(b: Builder, *xs: bool) -> Any:
    return b.const(np.array(xs))


def open_flags(b: Builder) -> Any:
    """Known, not known."""
    return b.equal(b.shape_of(b.input("x", "float32", (Dim("N"), Dim("N") + 3))), ints(b, 5, 2))


def sizes(b: Builder, *shape: Any) -> Any:
    return b.shape_of(b.input("x", "float32", shape))


RULES: dict[str, tuple[Callable[[Builder], Any], list[Any] | None]] = {
    "part of a shape": (lambda b: b.shape_of(b.input("x", "float32", (2, N, T, 5)), start=1, end=3), [N, T]),
    "a shape nobody knows": (lambda b: b.shape_of(b.input("x", "float32", None)), None),
    "as many as": (lambda b: b.size_of(b.input("x", "float32", (2, N))), [2 * N]),
    "as many as nobody knows": (lambda b: b.size_of(b.input("x", "float32", None)), [None]),
    "filled with sizes": (lambda b: b.fill(shape=(N,), value=1, dtype="int64"), None),
    "filled with truth": (lambda b: b.dynamic_fill(ints(b, 2), value=True, dtype="bool"), [1, 1]),
    "filled with unknown sizes": (lambda b: b.dynamic_fill(sizes(b, N, 2), value=1, dtype="int64"), None),
    "filled with nothing": (lambda b: b.fill(shape=(0, 3), value=1, dtype="int64"), []),
    "counted by sizes": (lambda b: counted(b, 0, b.squeeze(sizes(b, N), axes=(0,)), 1), None),
    "clipped": (lambda b: b.clip(ints(b, -3, 2, 9), min=-1, max=None), [-1, 2, 9]),
    "clipped above": (lambda b: b.clip(ints(b, -3, 2, 9), min=None, max=3), [-3, 2, 3]),
    "clipped sizes": (lambda b: b.clip(sizes(b, N), min=1, max=None), [N]),
    "where they are": (lambda b: b.nonzero(ints(b, 0, 3, 0, 5)), [1, 3]),
    "where sizes are": (lambda b: b.nonzero(sizes(b, N, 2)), None),
    "summed": (lambda b: b.sum(sizes(b, N, T, 3), keepdims=False), [N + T + 3]),
    "summed, kept": (lambda b: b.sum(b.reshape(ints(b, 1, 2, 3, 4, 5, 6), shape=(2, 3)), axes=(1,), keepdims=True), [6, 15]),
    "summed down": (lambda b: b.sum(b.reshape(ints(b, 1, 2, 3, 4, 5, 6), shape=(2, 3)), axes=(0,), keepdims=False), [5, 7, 9]),
    "multiplied": (lambda b: b.prod(sizes(b, N, None, 0), keepdims=False), [0]),
    "multiplied with what is unknown": (lambda b: b.prod(sizes(b, N, None), keepdims=True), [None]),
    "the largest": (lambda b: b.max(sizes(b, N, N + 2), keepdims=False), [N + 2]),
    "the smallest": (lambda b: b.min(sizes(b, N, N + 2), keepdims=False), [N]),
    "the sum of nothing": (lambda b: b.sum(b.const(np.zeros((0,), np.int64)), keepdims=True), [None]),
    "all of them": (lambda b: b.all(flags(b, True, False), keepdims=False), [0]),
    "any of them": (lambda b: b.any(flags(b, True, False), keepdims=False), [1]),
    "and": (lambda b: b.and_(open_flags(b), flags(b, False, True)), [0, 0]),
    "and, open": (lambda b: b.and_(flags(b, True, True), open_flags(b)), [None, 0]),
    "or": (lambda b: b.or_(open_flags(b), flags(b, True, False)), [1, 0]),
    "or, open": (lambda b: b.or_(flags(b, False, True), open_flags(b)), [None, 1]),
    "and of two shapes": (lambda b: b.and_(flags(b, True), flags(b, True, False)), [1, 0]),
    "not": (lambda b: b.not_(open_flags(b)), [None, 1]),
    "xor": (lambda b: b.xor(flags(b, True, False), flags(b, True, True)), [0, 1]),
    "chosen": (lambda b: b.where(flags(b, True, False), ints(b, 3, 4), ints(b, 5, 6)), [3, 6]),
    "chosen, open": (lambda b: b.where(open_flags(b), ints(b, 3, 4), ints(b, 5, 6)), [None, 6]),
    "chosen, either way": (lambda b: b.where(open_flags(b), ints(b, 3, 4), ints(b, 3, 6)), [3, 6]),
    "cast to truth": (lambda b: b.cast(b.concat(sizes(b, N), ints(b, 0), axis=0), to="bool"), [1, 0]),
    "cast to whole numbers": (lambda b: b.cast(b.const([-1.5, 2.75]), to="int64"), [-1, 2]),
    "cast to half": (lambda b: b.cast(b.cast(ints(b, 2049, 7), to="float16"), to="int64"), [2048, 7]),
    "at its type's end": (lambda b: b.add(small(b, "int8", 126, 127), small(b, "int8", 1, 1)), [127, None]),
    "at its type's beginning": (lambda b: b.sub(small(b, "uint8", 1, 0), small(b, "uint8", 1, 1)), [0, None]),
    "picked": (lambda b: b.gather(sizes(b, N, T), ints(b, 1), axis=0), [T]),
    "picked by sizes": (lambda b: b.gather(ints(b, 5, 6), sizes(b, N), axis=0), [None]),
    "repeated by sizes": (lambda b: b.expand(sizes(b, N), shape=(T,)), None),
    "picked beyond the end": (lambda b: b.gather(ints(b, 5, 6), ints(b, 2), axis=0), [None]),
    "texts": (lambda b: b.const(np.array(["a"], object)), None),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_what_the_rules_tell(rule: str) -> None:
    make, wanted = RULES[rule]
    assert held(make) == wanted
