"""Attribute values of rules: which are the same, what JSON and messages make of them, and which hold a size without a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.rules.foreign import MISSING
from convcore.rules.values import equal, jsonable, symbolic, text

N = Dim("N")
SAME = [
    (1, 1), (1, 1.0), (0.1, float(np.float32(0.1))), ((1, 2), [1, 2]), ((), []), ([(1, 0.1)], ((1.0, np.float32(0.1)),)),
    ("a", "a"), (None, None), (N, Dim("N")), ((N, 2), [N, 2]), (True, True), (True, 1),
]  # fmt: skip
OTHER = [
    (1, 2), (0.1, 0.1001), ((1, 2), (1, 3)), ((1, 2), (1,)), ((1,), (1, 2)), ((1,), 1), ("a", "b"), ("1", 1), (None, 0),
    (0, None), (None, "a"), (N, Dim("T")), (N, 2), (2, N), (N, "N"), ((N,), (2,)), (True, False), ("a", None),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SAME)
def test_the_same(a: Any, b: Any) -> None:
    assert equal(a, b) and equal(b, a)


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_others(a: Any, b: Any) -> None:
    assert not equal(a, b) and not equal(b, a)


def test_as_json_and_as_text() -> None:
    assert jsonable({1: (N, DType.FLOAT32), "s": {"b", "a"}, "f": frozenset({2, 1}), "m": MISSING, "n": None, "x": 1.5}) == {
        "1": ["N", "float32"], "s": ["a", "b"], "f": [1, 2], "m": "unset", "n": None, "x": 1.5,
    }  # fmt: skip
    assert text(((1, N), "a", [])) == "((1, N), a, ())" and text(None) == "None" and text(1.5) == "1.5"


def test_sizes_without_a_number() -> None:
    assert all(map(symbolic, (N, (1, N), [[N]], (1, (2, [N])))))
    assert not any(map(symbolic, (1, "N", None, (1, 2), [[]], ())))
