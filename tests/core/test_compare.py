"""Comparing what is no single tensor: sequences, and what may be absent."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import UsageError
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Value
from convcore.ops.sequences import as_optional, as_sequence
from convcore.report import OutputDifference, Report, compare_outputs
from convcore.report.compare import EPS, RTOL, compare_one, distance, tolerance
from convcore.verification.models import _match
from convcore.verification.sides import HALF, precision

A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(5, dtype=np.float32)


def one(a: Any, b: Any) -> OutputDifference:
    (found,) = compare_outputs(["y"], [a], [b], 1e-4, 0.0)
    return found


@pytest.mark.parametrize("a", [[A, B], [A, A], [A], []])
def test_the_worst_tensor_of_a_sequence(a: Any) -> None:
    s = as_sequence(a)
    same = one(s, as_sequence([x.copy() for x in a]))
    assert same.ok and same.max_abs == 0 and same.shape == (len(a),)
    for i in range(len(a)):
        changed = as_sequence([x + np.float32(2 * (i == k)) for k, x in enumerate(a)])
        d = one(s, changed)
        assert not d.ok and d.max_abs == 2 and d.name == "y"
    longer = one(s, as_sequence([*a, B]))
    assert not longer.ok and longer.note == f"{len(a) + 1} tensors, the reference has {len(a)} tensors"
    assert not one(s, A).ok and not one(A, s).ok
    assert not a or not one(s, as_sequence([x[..., :-1] for x in a])).ok


def test_what_may_be_absent() -> None:
    none = as_optional(None)
    assert one(none, as_optional(None)).ok and one(as_optional(A), as_optional(A + 0)).ok
    assert (
        not one(none, as_optional(A)).ok and not one(as_optional(A), none).ok and not one(as_optional(A), as_optional(A + 1)).ok
    )
    s = as_optional(as_sequence([A, B]))
    assert one(s, s).ok and not one(s, as_optional(as_sequence([A, B + 1]))).ok


def test_text_is_no_sequence() -> None:
    a = np.asarray(["a", "b"], object)
    assert one(a, a.copy()).ok and not one(a, np.asarray(["a", "c"], object)).ok


# ---- one output
INF, NAN = np.inf, np.nan
SAME = {"rtol": 0.0, "atol": 0.0, "eps": 0.0}
JUDGED: list[tuple[Any, Any, dict[str, float], bool, float, float, str]] = [
    # reference, result, tolerances, whether it passes, the largest error, relative to the range, and the note
    ([1.0, 3.0], [1.0, 3.0], SAME, True, 0, 0, ""), ([1.0, 3.0], [1.0, 3.5], SAME, False, 0.5, 0.25, ""),
    ([1.0, 3.0], [1.0, 2.5], {"rtol": 0.25, "atol": 0, "eps": 0}, True, 0.5, 0.25, ""),
    ([1.0, 3.0], [1.0, 2.5], {"rtol": 0.2, "atol": 0, "eps": 0}, False, 0.5, 0.25, ""),
    ([1.0, 3.0], [1.0, 2.5], {"rtol": 0, "atol": 0.5, "eps": 0}, True, 0.5, 0.25, ""),
    ([1.0, 3.0], [1.0, 2.5], {"rtol": 0, "atol": 0.4, "eps": 0}, False, 0.5, 0.25, ""),
    ([1.0, 4.0], [1.0, 4.5], {"rtol": 0, "atol": 0, "eps": 2.0**-5}, True, 0.5, 0.5 / 3, ""),
    ([-4.0, 1.0], [-4.5, 1.0], {"rtol": 0, "atol": 0, "eps": 2.0**-5}, True, 0.5, 0.1, ""),
    ([1.0, 4.0], [1.0, 4.5], {"rtol": 0, "atol": 0, "eps": 0.03}, False, 0.5, 0.5 / 3, ""),
    ([1.0, 3.0], [1.0, 3.5], {"rtol": 0.125, "atol": 0.25, "eps": 0}, True, 0.5, 0.25, ""),
    ([2.0, 2.0], [2.0, 2.5], {"rtol": 0.25, "atol": 0, "eps": 0}, True, 0.5, 0.25, ""),
    ([0.0, 0.0], [0.0, 0.5], {"rtol": 9, "atol": 0, "eps": 9}, False, 0.5, 0.5, ""),
    ([1.0, 3.0], [[1.0, 3.0]], SAME, False, INF, INF, "reference has shape [2]"),
    ([], [], SAME, True, 0, 0, ""), ([NAN, INF, 1.0, 2.0], [NAN, INF, 1.0, 2.0], SAME, True, 0, 0, ""),
    ([NAN, 1.0], [1.0, 1.0], SAME, False, INF, INF, "NaN or infinity at different places"),
    ([1.0, 1.0], [INF, 1.0], SAME, False, INF, INF, "NaN or infinity at different places"),
    ([INF, 1.0], [-INF, 1.0], SAME, False, INF, INF, "NaN or infinity at different places"),
    ([NAN, 1.0], [INF, 1.0], SAME, False, INF, INF, "NaN or infinity at different places"),
    ([NAN, INF], [NAN, INF], SAME, True, 0, 0, "no finite value to compare"),
    ([INF, 1.0, 3.0], [INF, 1.0, 3.5], SAME, False, 0.5, 0.25, ""),
    ([1, 3], [1, 3], SAME, True, 0, 0, ""), ([1, 3], [1, 4], {"rtol": 9, "atol": 9, "eps": 9}, False, 1, 0.5, ""),
    ([1, 4], [1.0, 4.5], {"rtol": 0, "atol": 0, "eps": 2.0**-5}, True, 0.5, 0.5 / 3, ""),
    ([1, 4], [1.0, 4.5], {"rtol": 9, "atol": 9, "eps": 0.03}, False, 0.5, 0.5 / 3, ""),
    ([True, False], [True, True], SAME, False, 1, 1, ""), ([1 + 2j], [1 + 2j], SAME, True, 0, 0, ""),
    ([1 + 2j, 3], [1 + 2.5j, 3], SAME, False, 0.5, 0.5 / 3, ""), (["a", "b"], ["a", "b"], SAME, True, 0, 0, ""),
    (["a", "b"], ["a", "c"], SAME, False, INF, INF, ""),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(JUDGED)))
def test_one_output(i: int) -> None:
    a, b, how, ok, off, part, note = JUDGED[i]
    found = compare_one("y", np.asarray(a), np.asarray(b), **how)
    assert (found.ok, found.note, found.shape) == (ok, note, np.shape(b))
    assert found.max_abs == off and found.max_rel == pytest.approx(part)
    assert (str(found).startswith(f"y {list(np.shape(b))}: ") and str(found).rstrip(f" ({note})").endswith("ok") is ok) or note


def test_what_an_element_may_be_off() -> None:
    x = np.asarray([-3.0, 1.0, 5.0], np.float32)
    for dtype in (np.float16, np.float32, np.float64):
        assert tolerance(x.astype(dtype), 0.5, 0.25, 2.0**-4) == 0.25 + 0.5 * 8 + 4 * 2.0**-4 * 5
        holes = np.asarray([-3.0, np.nan, 5.0, np.inf, -np.inf], dtype)
        assert tolerance(holes, 0.5, 0.25, 2.0**-4) == 0.25 + 0.5 * 8 + 4 * 2.0**-4 * 5
        assert tolerance(np.asarray([np.nan], dtype), 0.5, 0.25, 1) == tolerance(np.zeros(0, dtype), 0.5, 0.25, 1) == 0.25
        assert tolerance(np.asarray([-2.0, -2.0], dtype), 0.5, 0.25, 0) == 0.25 + 0.5 * 2
        assert tolerance(np.asarray([-7.0, 1.0], dtype), 0, 0, 1) == 28


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_the_largest_difference(dtype: str) -> None:
    a = np.asarray([1, 5, -3], dtype)
    for b, off in (([1, 5, -3], 0), ([2, 5, -3], 1), ([1, 2, -3], 3), ([1, 5, 4], 7), ([1, 9, -4], 4)):
        assert distance(a, np.asarray(b, dtype)) == off == distance(np.asarray(b, dtype), a)
    assert distance(a[:0], a[:0]) == 0
    if dtype != "i4":
        b = np.asarray([NAN, INF, 2], dtype)
        assert distance(b, b) == 0 and distance(b, np.asarray([NAN, INF, 4], dtype)) == 2
        for c in ([0, INF, 2], [NAN, 1, 2], [NAN, -INF, 2], [NAN, INF, NAN]):
            assert distance(b, np.asarray(c, dtype)) == INF


# ---- two models
@pytest.mark.parametrize("rank", [2, 3, 4, 5, 6])
def test_what_is_turned_to_fit_the_other_model(rank: int) -> None:
    """Channels first or last, of one to three axes of space; any other order fits nothing."""
    sizes = (2, 3, 5, 7, 11, 13)[:rank]
    last, first = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
    for perm in itertools.permutations(range(rank)):
        left, right = Value("x", DType.FLOAT32, sizes), Value("y", DType.FLOAT32, tuple(sizes[i] for i in perm))
        report = Report("")
        if perm == tuple(range(rank)):
            assert _match("input", [left], [right], report) == [(0, None)] and not report.notes
        elif perm in (last, first) and 3 <= rank <= 5:
            assert _match("input", [left], [right], report) == [(0, perm)] and f"permuted by {perm}" in report.notes[0]
        else:
            with pytest.raises(UsageError, match=r"input 'x' .* fits no input of the second model"):
                _match("input", [left], [right], report)


def test_the_tolerance_of_half_precision() -> None:
    """Five units in the last place, which numpy and ml_dtypes tell; the least precise type of the graphs counts."""
    half = {d: float(np.finfo(np.float16).eps) if d is DType.FLOAT16 else 2.0**-7 for d in HALF}
    assert half.keys() == {DType.FLOAT16, DType.BFLOAT16}
    for dtype, unit in half.items():
        rtol, eps = HALF[dtype]
        assert eps == unit and rtol == pytest.approx(5 * unit, rel=0.03)
    graphs = []
    for dtype in (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16):
        graphs.append(Graph(str(dtype)))
        b = Builder(graphs[-1])
        graphs[-1].outputs = [b.relu(b.input("x", dtype, (2,)))]
    assert precision(*graphs[:1]) == (RTOL, EPS) and np.finfo(np.float32).eps == EPS
    assert precision(*graphs[:2]) == HALF[DType.FLOAT16] and precision(*graphs) == HALF[DType.BFLOAT16]
