"""What the references of ops give for their samples, as sums with weights: what no other judge is asked about is noticed too.

The values themselves are judged by torch, ONNX, Keras and Caffe elsewhere; here a change of any of them is told, within rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ops.test_unknown import OPS, computed, inferred
from tests.support.held import Held

GIVEN = Held(Path(__file__).parent / "references.json")


def summed(a: Any) -> list[Any]:
    """Type, shape, the sum of the finite elements each with a weight of its place, and how many others there are."""
    a = np.asarray(a)
    told: list[Any] = [str(a.dtype), list(a.shape)]
    if a.dtype == object:
        items = [a.item()] if not a.ndim else list(a)
        return [*told, *(summed(x) if isinstance(x, np.ndarray) else str(x)[:80] for x in items)]
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64).ravel()
    wide = wide.real + 3 * wide.imag if a.dtype.kind == "c" else wide
    finite = np.isfinite(wide)
    weights = 1 + np.arange(wide.size) % 97
    kept = np.where(finite, wide, 0) * weights
    return [*told, float(f"{kept.sum():.7g}"), float(f"{np.abs(kept).sum():.7g}"), int((~finite * weights).sum())]


def near(found: Any, held: Any) -> bool:
    """The same but for rounding: sums within 1e-4 of the sum of magnitudes."""
    if isinstance(found, list) and isinstance(held, list):
        if len(found) == 5 and all(isinstance(x[2], (int, float)) and isinstance(x[3], (int, float)) for x in (found, held)):
            return found[:2] == held[:2] and found[4] == held[4] and abs(found[2] - held[2]) <= 1e-4 * held[3] + 1e-9
        return len(found) == len(held) and all(map(near, found, held))
    return bool(found == held)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, decl in OPS.items() if decl.reference is not None])
def test_references_give_what_they_gave(name: str) -> None:
    decl = OPS[name]
    found = []
    for sample in decl.samples:
        arrays = sample.arrays()
        node = inferred(decl, sample, arrays, -1, None)
        assert node.graph is not None
        node.graph.outputs = list(node.outputs)
        found.append([summed(a) for a in computed(node, arrays)])
    held = GIVEN.known.get(name, found)
    GIVEN.check(name, held if near(found, held) else found)
