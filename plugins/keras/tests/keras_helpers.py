"""Loading a Keras source without the host, and comparing it with what Keras computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcore.build.opaque import opaque_problems
from convcore.errors import Problem
from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.interpreter.execute import Interpreter
from convcore.ir.graph import Graph
from convcore_keras.load import load

__all__ = ["error_of_range", "load_graph", "problems", "randomise", "run", "saved_forms"]


def load_graph(source: Any, weights: Any = None, **request: Any) -> Graph:
    return load(LoadRequest(source, weights, **{"rules": host().rules("keras"), **request}))


def problems(graph: Graph) -> list[Problem]:
    return opaque_problems(graph)


def run(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    assert not problems(graph), "\n".join(map(str, problems(graph)))
    return Interpreter(graph).run(list(inputs))


def error_of_range(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """The largest error relative to the output's range (to its size where the range is 0)."""
    assert [a.shape for a in got] == [b.shape for b in want]
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype, f"{a.dtype} instead of {b.dtype}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        assert np.isfinite(b).all()
        scale = np.ptp(b) or np.abs(b).max() or 1.0
        worst = max(worst, float(np.abs(a - b).max() / scale)) if b.size else worst
    return worst


def randomise(model: Any, seed: int = 7) -> None:
    """Weights that hide nothing: no zero bias, no unit scale; variances positive."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        a = rng.normal(0, 0.5, v.shape)
        name = getattr(v, "path", v.name)
        if "variance" in name:
            a = rng.uniform(0.5, 2.0, v.shape)
        elif "gamma" in name or "scale" in name:
            a = rng.uniform(0.5, 1.5, v.shape)
        v.assign(a.astype(str(v.dtype)) if "int" not in str(v.dtype) else np.asarray(3).astype(str(v.dtype)))


def saved_forms(model: Any, folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """The model as ``.keras``, legacy ``.h5`` and JSON + ``.weights.h5``."""
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    (folder / "m.json").write_text(model.to_json())
    model.save_weights(folder / "m.weights.h5")
    return {
        "keras": (folder / "m.keras", None),
        "h5": (folder / "m.h5", None),
        "json": (folder / "m.json", folder / "m.weights.h5"),
    }
