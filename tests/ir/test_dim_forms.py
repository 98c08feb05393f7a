"""The canonical forms of sizes, held: every operation on every two of some, their bounds, and that the numbers are right."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.held import Held

from convcore.errors import ShapeError
from convcore.ir.dims import Dim, DimLike, bounds, ceil_div, dim_max, dim_min, evaluate
from convcore.ir.parse_dims import parse_dim

FORMS = Held(Path(__file__).parent / "dim_forms.json")
N, T = Dim("N"), Dim("T")
SIZES: list[DimLike] = [
    1, 2, 6, N, N + 1, 2 * N, 6 * N + 3, N - 5, N * T, N // 2, 2 * (N // 2), N % 3, dim_max(N, T), (4 * N + 2) // 4,
]  # fmt: skip
AT = [{"N": n, "T": t} for n in (1, 2, 3, 5, 8, 13) for t in (1, 4, 7)]

OPERATIONS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[int, int], int]]] = {
    "+": (lambda a, b: a + b, lambda a, b: a + b),
    "-": (lambda a, b: a - b, lambda a, b: a - b),
    "*": (lambda a, b: a * b, lambda a, b: a * b),
    "//": (lambda a, b: a // b, lambda a, b: a // b),
    "%": (lambda a, b: a % b, lambda a, b: a % b),
    "ceil": (ceil_div, lambda a, b: -(-a // b)),
    "max": (dim_max, max),
    "min": (dim_min, min),
}


@pytest.mark.parametrize("op", OPERATIONS)
def test_forms_of_two(op: str) -> None:
    make, judge = OPERATIONS[op]
    divides = op in ("//", "%", "ceil")
    found: dict[str, str] = {}
    for a, b in itertools.product(SIZES, repeat=2):
        if isinstance(a, int) and isinstance(b, int):
            continue
        try:
            made = make(a, b)
        except ShapeError as e:
            found[f"{a} {op} {b}"] = str(e)
            continue
        low, high = bounds(made)
        found[f"{a} {op} {b}"] = f"{made} in {low}..{high}"
        for at in AT:
            x, y = evaluate(a, at), evaluate(b, at)
            if divides and y <= 0:
                continue
            wanted = judge(x, y)
            assert evaluate(made, at) == wanted, f"{a} {op} {b} at {at}: {made}"
            assert (low is None or low <= wanted) and (high is None or wanted <= high), f"{a} {op} {b} at {at}: {low}..{high}"
        assert parse_dim(str(made)) == made or "//" in str(made)
    FORMS.check(op, found)


def test_forms_of_one() -> None:
    found = {}
    for d in (s for s in SIZES if isinstance(s, Dim)):
        low, high = bounds(d)
        other = d.substitute({"N": T + 1})
        found[str(d)] = [
            repr(d),
            d.is_name,
            sorted(d.names),
            str(d.terms),
            low,
            high,
            str(other),
            str(-d),
            str(d.substitute({"N": 4, "T": 6})),
        ]
        for at in AT:
            assert evaluate(other, at) == evaluate(d, {**at, "N": at["T"] + 1})
    FORMS.check("one", found)
