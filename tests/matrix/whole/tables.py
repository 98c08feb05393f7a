"""What each table runs, model by model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matrix_kit import LIMIT, error_of_range

from . import models, onnx_models, sources
from .judge import SUFFIX, Row, judged, moved
from .sources import Case, Source

FORMATS = tuple(SUFFIX)
Jobs = Iterator[tuple[str, Iterator[tuple[str, Callable[[Path], Row]]]]]


def _made(make: Callable[[], Source]) -> Source | Row:
    try:
        return make()
    except Exception as e:  # noqa: BLE001 - a model that its own framework cannot build or export is no finding here
        return {"result": "not made", "why": f"{type(e).__name__}: {e}".splitlines()[0][:160]}


# ---- from every format to every format
def crossed(make: Callable[[], Source], folder: Path) -> Row:
    """A row for each cell, ``from>to``: the model is written into the other three formats, and that is the source there."""
    source = _made(make)
    if isinstance(source, dict):
        return source
    cells: dict[str, Row] = {}
    from_format: dict[str, Source] = {source.framework: source}
    own = source.framework
    for start in (own, *(f for f in FORMATS if f != own)):
        for target in FORMATS:
            cell = f"{start}>{target}"
            if start not in from_format:
                cells[cell] = {"result": "no source"}
                continue
            out = folder / f"{start}-{target}"
            out.mkdir()
            try:
                cells[cell], written = judged(from_format[start], target, out)
            except Exception as e:  # noqa: BLE001 - told in its cell
                cells[cell], written = {"result": "failed", "why": f"{type(e).__name__}: {e}".splitlines()[0][:200]}, None
            if start == own and target != own and written is not None and cells[cell]["result"] == "agrees":
                from_format[target] = written.source()
    return {"framework": own, "cells": cells}


def matrix(groups: Sequence[str]) -> Jobs:
    kinds = {"trained": models.TRAINED, "architectures": models.ARCHITECTURES}
    for kind, names in kinds.items():
        if not groups or kind in groups:
            yield kind, ((n, lambda folder, n=n: crossed(models.MODELS[n], folder)) for n in names)


# ---- one source to some targets
def through(make: Callable[[], Source], targets: Sequence[str], folder: Path) -> Row:
    source = _made(make)
    if isinstance(source, dict):
        return source
    rows: dict[str, Row] = {}
    for target in targets:
        rows[target], written = judged(source, target, folder)
        if target == "keras" and written is not None:
            rows[target] |= moved(written)
    return rows if len(targets) > 1 else rows[targets[0]]


def _cases(cases: Iterator[Case], targets: Sequence[str]) -> Iterator[tuple[str, Callable[[Path], Row]]]:
    for name, make in cases:
        yield name, lambda folder, m=make: through(m, targets, folder)


def applications(groups: Sequence[str]) -> Jobs:
    yield "applications", _cases(sources.applications(), ("onnx", "pytorch", "keras"))


def written(groups: Sequence[str]) -> Jobs:
    for group in groups or [g for g in sources.GROUPS if g != "applications"]:
        yield group, _cases(sources.GROUPS[group](), ("keras",))


# ---- one Keras file, other backends
def on_backends(make: Callable[[], Source], names: Sequence[str], folder: Path) -> Row:
    """The Keras file of a model, opened and run by each backend in a process of its own: error as a part of the range."""
    source = _made(make)
    if isinstance(source, dict):
        return source
    row, written = judged(source, "keras", folder)
    rows: dict[str, Row] = {"torch": row}
    if written is None or written.inputs is None or written.outputs is None:
        return rows
    given, made = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(given, *written.inputs)
    for name in names:
        made.unlink(missing_ok=True)
        command = [
            os.environ.get(f"PYTHON_{name.upper()}", sys.executable),
            str(Path(__file__).parent / "backend_run.py"),
            str(written.made.paths[0]),
            str(given),
            str(made),
        ]
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or command[0] == sys.executable}
        done = subprocess.run(command, env={**env, "KERAS_BACKEND": name}, capture_output=True, text=True)
        if done.returncode:
            rows[name] = {"result": "failed", "why": (done.stderr.strip().splitlines() or ["?"])[-1][:200]}
            continue
        with np.load(made) as z:
            error = error_of_range([z[k] for k in z.files], written.outputs)
        rows[name] = {"result": "agrees" if error < LIMIT else "WRONG", "error": float(f"{error:.2g}")}
    return rows


def backends(groups: Sequence[str]) -> Jobs:
    names = groups or [n for n in ("jax", "tensorflow") if find_spec(n) is not None or f"PYTHON_{n.upper()}" in os.environ]
    yield "backends", ((n, lambda folder, m=m: on_backends(m, names, folder)) for n, m in models.MODELS.items())


# ---- ONNX models in three opsets
def onnx(groups: Sequence[str]) -> Jobs:
    for group in groups or onnx_models.GROUPS:
        yield group, onnx_models.GROUPS[group]()


TABLES: dict[str, Callable[[Sequence[str]], Jobs]] = {
    "matrix": matrix,
    "applications": applications,
    "written": written,
    "backends": backends,
    "onnx": onnx,
}
