"""Caffe's conformance cases as PyTorch: what the real Caffe computed, or a refusal by name. All that go to ONNX come here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError
from convcore_pytorch.runtime import open_runtime

pytest.importorskip("torch")
pytest.importorskip("convcore_caffe")

DATA = Path(__file__).parents[3] / "tests" / "data" / "caffe_conformance"
CASES = [p.parent for p in sorted(DATA.glob("*/*/meta.json"))]
REFUSED = {
    "Python/user": "user's Python code",
}
"""ONNX refuses Pooling/empty_window_ave too, which this target has."""


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as z:
        return {k: z[k] for k in z.files}


def worst(got: Any, want: Any) -> float:
    """The largest error relative to the largest magnitude; infinities and NaN must be in the same places."""
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), finite):
        return float("inf")
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(a - b)[finite].max(initial=0)) / max(float(np.abs(b[finite]).max(initial=0)), 1e-30)


@pytest.mark.parametrize("case", CASES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_case(case: Path) -> None:
    inputs, recorded = arrays(case / "inputs.npz"), arrays(case / "outputs.npz")
    outputs = sorted(str(n) for n in recorded.pop("__outputs__"))
    weights = case / "weights.caffemodel"
    shapes = {k: v.shape for k, v in inputs.items() if k != "__outputs__"}
    model = convcore.load(case / "deploy.prototxt", weights if weights.exists() else None, input_shapes=shapes, losses="compute")
    reason = REFUSED.get(f"{case.parent.name}/{case.name}")
    if reason:
        with pytest.raises(UnsupportedError, match=reason):
            convcore.convert(model, "pytorch", check=False)
        return
    made = convcore.convert(model, "pytorch", check=False, io_layout="source")
    got = open_runtime(made.model).run([inputs[v.name] for v in model.graph.inputs])
    names = [v.name for v in model.graph.outputs]
    assert len(got) == len(outputs)
    for name, y in zip(names, got):
        want = recorded[name].reshape(y.shape) if name == "label" else recorded[name]
        assert worst(y, want) <= 1e-5, name
