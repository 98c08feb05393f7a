"""Comparing what is no single tensor: sequences, and what may be absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.ops.sequences import as_optional, as_sequence
from convcore.report import OutputDifference, compare_outputs

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
