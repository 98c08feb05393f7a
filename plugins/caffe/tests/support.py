"""Conformance cases: nets run on the real Caffe, with every blob's value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import convcore
from convcore.interpreter import Interpreter

DATA = Path(__file__).parents[3] / "tests" / "data"
CONFORMANCE = DATA / "caffe_conformance"
CASES = [p.parent for p in sorted(CONFORMANCE.glob("*/*/meta.json"))]
REFUSED = [p.parent for p in sorted(CONFORMANCE.glob("_Refused/*/refusal.txt"))]
ZOO = sorted((DATA / "zoo").glob("caffe-*"))


def name_of(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def weights_of(case: Path) -> Path | None:
    found = sorted(case.glob("weights.caffemodel"))
    return found[0] if found else None


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as z:
        return {k: z[k] for k in z.files if k != "__outputs__"}


def options_of(inputs: dict[str, Any]) -> dict[str, Any]:
    """Input shapes as at the recorded run (a net may be reshaped), losses computed."""
    return {"input_shapes": {k: v.shape for k, v in inputs.items()}, "losses": "compute"}


def load_case(case: Path, **extra: Any) -> tuple[convcore.Model, dict[str, Any], dict[str, Any], list[str]]:
    """The model, the inputs, every recorded blob, and the names of the outputs in Caffe's order."""
    inputs, blobs = arrays(case / "inputs.npz"), arrays(case / "outputs.npz")
    with np.load(case / "outputs.npz") as z:
        outputs = [str(n) for n in z["__outputs__"]]
    model = convcore.load(case / "deploy.prototxt", weights_of(case), **{**options_of(inputs), **extra})
    return model, inputs, blobs, outputs


def blob_values(model: convcore.Model, inputs: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """What the interpreter computes for blobs, intermediate ones included."""
    renamed = model.metadata.get("blobs", {})
    by_name = {v.name: v for v in model.graph.values()}
    found = {n: by_name[renamed.get(n, n)] for n in names if renamed.get(n, n) in by_name}
    fed = {v.name: inputs[v.name] for v in model.graph.inputs}
    results = Interpreter(model.graph).run(fed, list(found.values()))
    return dict(zip(found, results, strict=True))


def worst(got: Any, want: Any) -> float:
    """Largest error relative to the largest finite magnitude; infinities and NaN must be at the same places."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return float("inf")
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    finite = np.isfinite(want)
    if not np.array_equal(np.isfinite(got), finite) or not same[~finite].all():
        return float("inf")
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(want[finite]).max()), 1e-30)
    return float(np.abs(got[finite] - want[finite]).max()) / scale
