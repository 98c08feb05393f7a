"""Right results made wrong on purpose: kernels of an ONNX file shuffled, scaled or disturbed.

    python tests/support/spoil.py [MODEL ...]

runs the whole sweep: every kernel of the models of tests/data/zoo (or of the files given), one at a time disturbed by 5 %, all
shuffled, all scaled by 1.3; prints a line for each that passes as "ok" and the totals; exits 1 if any does.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import convcore

ZOO = Path(__file__).parents[1] / "data" / "zoo"

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def shuffled(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(a.ravel()).reshape(a.shape)


def scaled(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (a * 1.3).astype(a.dtype)


def disturbed(a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (a * (1 + 0.05 * rng.choice([-1.0, 1.0], a.shape))).astype(a.dtype)


def kernels(path: Path) -> list[str]:
    """Names of the float weights of two or more axes with at least four elements."""
    import onnx

    found = onnx.load(path).graph.initializer
    return [t.name for t in found if len(t.dims) >= 2 and t.data_type in (1, 10, 11) and np.prod(t.dims) >= 4]


def spoil(path: Path, out: Path, change: Change, names: Sequence[str]) -> Path:
    """The ONNX file with the named weights changed."""
    import onnx

    model = onnx.load(path)
    rng = np.random.default_rng(0)
    for t in model.graph.initializer:
        if t.name in names:
            a = onnx.numpy_helper.to_array(t)
            t.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(a, rng)), t.name))
    onnx.save(model, out)
    return out


def zoo() -> dict[str, Any]:
    """The sources of tests/data/zoo that convert to ONNX, by folder."""
    found: dict[str, Any] = {}
    for d in sorted(p for p in ZOO.iterdir() if p.is_dir()):
        files = {s: sorted(d.glob(f"*{s}")) for s in (".onnx", ".prototxt", ".caffemodel", ".json", ".hdf5", ".h5")}
        weights = files[".hdf5"] + files[".h5"]
        if files[".onnx"]:
            found[d.name] = files[".onnx"][0]
        elif files[".prototxt"]:
            found[d.name] = (files[".prototxt"][0], files[".caffemodel"][0])
        elif weights and (d / "architecture.json").exists():
            found[d.name] = (d / "architecture.json", weights[0])
        elif weights:
            found[d.name] = weights[0]
    return found


def verdict(source: Any, result: Path) -> tuple[str, str]:
    """What verify says of a result, and why."""
    report = convcore.verify(source, result)
    why = report.first_divergence or "; ".join(report.weak)
    assert report.verdict != "weak" or why, "weak without a reason"
    return report.verdict, why


def main(models: Sequence[str]) -> int:
    sources: dict[str, Any] = {m: Path(m) for m in models} or zoo()
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            right, wrong = Path(folder) / "right.onnx", Path(folder) / "wrong.onnx"
            try:
                report = convcore.convert(source, "onnx", right).report
            except convcore.UnsupportedError:
                continue
            totals[f"right: {report.verdict}"] += 1
            every = kernels(right)
            cases: list[tuple[str, Change, list[str]]] = [(k, disturbed, [k]) for k in every]
            cases += [("all", shuffled, every), ("all", scaled, every)]
            for what, change, names in cases:
                said, why = verdict(source, spoil(right, wrong, change, names))
                totals[f"{change.__name__}: {said}"] += 1
                if said == "ok":
                    sys.stdout.write(f"{name}: {what} {change.__name__} passes as ok\n")
                elif said == "weak":
                    sys.stdout.write(f"{name}: {what} {change.__name__}: weak: {why[:150]}\n")
            sys.stdout.flush()
    sys.stdout.write("".join(f"{k}: {n}\n" for k, n in sorted(totals.items())))
    return 1 if any(k.endswith(": ok") and not k.startswith("right") for k in totals) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
