"""ONNX models as published, and quantised by onnxruntime, back to ONNX in three opsets and to PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matrix_kit import LIMIT, ZOO, error_of_range, run_ort

import convcore
from convcore.errors import ConvcoreError

__all__ = ["GROUPS", "STEP", "cells", "opset_of"]

Row = dict[str, Any]
FOLDER = Path(os.environ.get("ONNX_ZOO", ZOO))
"""A folder for each model: the file, ``inputs.npz``, ``ref.npz``."""
STEP = 1 / 255
"""A step of a quantised output: of its range."""


def opset_of(path: Path) -> int:
    import onnx

    model = onnx.load(path, load_external_data=False)
    return max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _run(path: Path, inputs: Sequence[Any]) -> list[Any] | None:
    """By onnxruntime, on one thread, as the file is written; None where it lacks the opset, or a kernel of it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        if "opset" in str(e).lower() or "NOT_IMPLEMENTED" in str(e):
            return None
        raise
    return run_ort(session, inputs)


def _evaluated(path: Path, inputs: Sequence[Any]) -> list[Any]:
    """By the standard's evaluator."""
    from onnx.reference import ReferenceEvaluator

    judge = ReferenceEvaluator(str(path))
    return [np.asarray(a) for a in judge.run(None, dict(zip(judge.input_names, inputs)))]


def _module(made: Any, inputs: Sequence[Any]) -> list[Any]:
    import torch

    from .sources import arrays_of

    with torch.no_grad():
        return arrays_of(made.model(*(torch.from_numpy(np.array(a, order="C")) for a in inputs)))


def cells(path: Path, inputs: Sequence[Any], want: Sequence[Any], limit: float, folder: Path, noise: float | None = None) -> Row:
    """The model at its own opset (7 at least), at 13 and at the newest, and as a module: the error as a part of the range.
    With ``noise``, that of a quantised source itself, also in operators of the standard, at opset 21."""
    import onnx

    own, newest = max(opset_of(path), 7), onnx.defs.onnx_opset_version()
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "own": ("onnx", {"opset": own}), "13": ("onnx", {"opset": 13}),
        "standard": ("onnx", {"opset": 21, "contrib": "standard"}),
        "newest": ("onnx", {"opset": newest, "contrib": "standard"}), "pytorch": ("pytorch", {"io_layout": "source"}),
    }  # fmt: skip
    if noise is None:
        del asked["standard"]
    row: Row = {"opset": opset_of(path)}
    for name, (target, options) in asked.items():
        out = folder / f"{name}{'.onnx' if target == 'onnx' else '.py'}"
        try:
            made = convcore.convert(path, target, out, **options)
        except ConvcoreError as e:
            problems = [f"{p.type}: {p.why}" for p in getattr(e, "problems", ())] or [" ".join(str(e).split())]
            kind = "WRONG" if type(e).__name__ == "MismatchError" else "refused"
            row[name] = {"result": kind, "why": problems[0][:200]}
            continue
        wanted, by = want, {}
        try:
            got = _run(out, inputs) if target == "onnx" else _module(made, inputs)
            if got is None:  # the evaluator compares it with the file that onnxruntime has judged
                by = {"by": "onnx.reference"}
                got, wanted = _evaluated(out, inputs), _evaluated(folder / "standard.onnx", inputs)
        except Exception as e:  # noqa: BLE001 - the row says what the judge could not run
            row[name] = {"result": "not run", "why": " ".join(f"{type(e).__name__}: {e}".split())[:160]}
            continue
        error = error_of_range(got, wanted)
        kind = "agrees" if error <= limit else "WRONG"
        if noise is not None and kind == "WRONG" and error <= max(noise, 3 * limit):
            kind = "unsteady" if error <= noise else "over"
        row[name] = {"result": kind, "error": float(f"{error:.2g}"), **by}
    return row


# ---- the models
def _published() -> Iterator[tuple[str, Path, list[Any], list[Any]]]:
    for folder in sorted(FOLDER.glob("onnx-*")):
        if (folder / "inputs.npz").exists() and (folder / "ref.npz").exists():
            (path,) = folder.glob("*.onnx")
            import onnx

            graph = onnx.load(path, load_external_data=False).graph
            held = {t.name for t in graph.initializer}
            names = [v.name for v in graph.input if v.name not in held]
            with np.load(folder / "inputs.npz") as given, np.load(folder / "ref.npz") as ref:
                inputs = [given[n] for n in names] if set(names) <= set(given.files) else [given[k] for k in given.files]
                yield folder.name, path, inputs, [ref[k] for k in ref.files]


def published() -> Iterator[tuple[str, Callable[[Path], Row]]]:
    for name, path, inputs, want in _published():
        yield name, lambda folder, a=(path, inputs, want): cells(*a, LIMIT, folder)


class _Fed:
    """The recorded inputs as what calibrates."""

    def __init__(self, feeds: dict[str, Any]) -> None:
        self.left = [feeds]

    def get_next(self) -> dict[str, Any] | None:
        return self.left.pop() if self.left else None


def _quantised(path: Path, inputs: Sequence[Any], kind: str, folder: Path) -> Row:
    import onnx
    from onnxruntime import quantization as q

    made, names = folder / "quantised.onnx", [v.name for v in onnx.load(path).graph.input]
    held = {t.name for t in onnx.load(path).graph.initializer}
    names = [n for n in names if n not in held]
    try:
        if kind == "dynamic":
            options = {"EnableSubgraph": True, "MatMulConstBOnly": True}
            q.quantize_dynamic(path, made, weight_type=q.QuantType.QInt8, extra_options=options)
        else:
            form = q.QuantFormat.QOperator if kind == "QOperator" else q.QuantFormat.QDQ
            q.quantize_static(
                path, made, _Fed(dict(zip(names, inputs))), quant_format=form, activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
            )  # fmt: skip
        want = _run(made, inputs)
        if want is None:
            raise ValueError("onnxruntime does not run what it made")
    except Exception as e:  # noqa: BLE001 - what onnxruntime cannot quantise or run is no finding here
        return {"result": "not made", "why": f"{type(e).__name__}: {e}".splitlines()[0][:160]}
    found = {n.op_type for n in _nodes(onnx.load(made).graph)}
    stored = sorted(k for k in found if any(part in k for part in ("Q", "uantize", "Integer")))
    own = noise(made, inputs, want)
    return {
        "types": stored,
        **({"noise": float(f"{own:.2g}")} if own > STEP else {}),
        **cells(made, inputs, want, STEP, folder, own),
    }


def noise(path: Path, inputs: Sequence[Any], want: Sequence[Any]) -> float:
    """How far a quantised file's own results go when its inputs move by a unit in the last place: ranges that are worked out
    while it runs turn that into steps, layer after layer."""
    seeded, worst = np.random.default_rng(0), 0.0
    for _ in range(4):
        moved = [
            np.nextafter(a, a + seeded.choice([-1, 0, 1], a.shape).astype(a.dtype)) if a.dtype.kind == "f" else a for a in inputs
        ]
        got = _run(path, moved)
        worst = max(worst, 0.0 if got is None else error_of_range(got, want))
    return worst


def _nodes(graph: Any) -> Iterator[Any]:
    for n in graph.node:
        yield n
        for a in n.attribute:
            if a.HasField("g"):
                yield from _nodes(a.g)


def quantised() -> Iterator[tuple[str, Callable[[Path], Row]]]:
    for name, path, inputs, _ in _published():
        for kind in ("dynamic", "QOperator", "QDQ"):
            yield f"{name}, {kind}", lambda folder, a=(path, inputs, kind): _quantised(*a, folder)


GROUPS: dict[str, Callable[[], Iterator[tuple[str, Callable[[Path], Row]]]]] = {"published": published, "quantised": quantised}
