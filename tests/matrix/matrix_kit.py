"""Running what was converted, and measuring how far it is from what another runtime computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = [
    "ERAS",
    "LIMIT",
    "ZOO",
    "as_list",
    "convert",
    "era_models",
    "error_of_range",
    "float_graph",
    "orders",
    "ort_session",
    "permuted",
    "recorded",
    "run_ort",
    "transposes",
]

DATA = Path(__file__).parents[1] / "data"
ERAS, ZOO = DATA / "keras_eras", DATA / "zoo"
LIMIT = 1e-4
"""Largest error allowed, as a part of the output's range."""


def as_list(x: Any) -> list[np.ndarray]:
    return list(x) if isinstance(x, (tuple, list)) else [x]


def error_of_range(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """The largest error relative to the output's range (to its size where the range is 0)."""
    assert [(a.shape, a.dtype) for a in got] == [(b.shape, b.dtype) for b in want]
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        assert np.isfinite(b).all()
        scale = np.ptp(b) or np.abs(b).max() or 1.0
        worst = max(worst, float(np.abs(a - b).max() / scale)) if b.size else worst
    return worst


def ort_session(path: Path | str, optimise: bool = True) -> Any:
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_ort(session: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs for inputs by position, of the dtypes that the model declares."""
    floats = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    feeds = {i.name: a.astype(floats.get(i.type, a.dtype)) for i, a in zip(session.get_inputs(), arrays, strict=True)}
    return list(session.run(None, feeds))


def convert(source: Any, out: Path, **options: Any) -> tuple[Any, Any]:
    """An ONNX file without convcore's own check, for the test is the judge: (ModelProto, report). It passes onnx's full check."""
    import onnx

    import convcore

    done = convcore.convert(source, "onnx", out, check=False, **options)
    assert [str(p) for p in done.paths] == [str(out)]
    onnx.checker.check_model(str(out), full_check=True)
    return onnx.load(out), done.report


def permuted(arrays: Sequence[np.ndarray], layout: Sequence[tuple[int, ...] | None], back: bool = False) -> list[np.ndarray]:
    """Arrays in the order of axes of a converted model's inputs, or back from that of its outputs."""
    turned = []
    for a, p in zip(arrays, layout, strict=True):
        if p is not None and back:
            p = tuple(p.index(i) for i in range(len(p)))
        turned.append(a if p is None else np.ascontiguousarray(a.transpose(p)))
    return turned


def orders(report: Any) -> tuple[list[tuple[int, ...] | None], list[tuple[int, ...] | None]]:
    """What the report says of inputs and outputs: axis i is axis perm[i] of the source's; None where nothing moved."""
    (section,) = [s.data for s in report.sections if s.title == "layout"]

    def of(kind: str) -> list[tuple[int, ...] | None]:
        perms = [tuple(x["perm"]) for x in section["io"] if x["kind"] == kind]
        return [None if p == tuple(range(len(p))) else p for p in perms]

    return of("input"), of("output")


def transposes(model: Any) -> int:
    return sum(n.op_type == "Transpose" for n in model.graph.node)


def float_graph(graph: Any) -> bool:
    from convcore.ir.dtypes import DType

    return not any(v.dtype in (DType.FLOAT16, DType.BFLOAT16) for v in graph.values())


def recorded(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    with np.load(path) as z:
        return [z[k] for k in z.files if k.startswith("in")], [z[k] for k in z.files if k.startswith("out")]


def era_models(eras: Path = ERAS) -> list[tuple[str, str, str]]:
    """(era, model, form) of every complete source: h5, keras, and json with its weights."""
    found = []
    for p in sorted(eras.glob("*/*")):
        if p.name.endswith((".weights.h5", ".weights.json")):
            continue
        if p.suffix in (".h5", ".keras") or (p.suffix == ".json" and p.with_suffix(".weights.h5").exists()):
            found.append((p.parent.name, p.stem, p.suffix[1:]))
    return found
