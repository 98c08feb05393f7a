"""Right results made wrong on purpose: kernels of an ONNX file shuffled, scaled or disturbed.

    python tests/support/spoil.py [--zoo FOLDER] [--models NAME_OR_FILE ...] [--kernels 8]

sweeps the models of tests/data/zoo (or of another folder of such folders; or those and the files named): kernels,
one at a time, disturbed by 5 % (``--kernels`` of each model, chosen by a seed; 0: every one), then all shuffled, all scaled
by 1.3.
Prints a line for each result and the totals; exits 1 if a spoiled one passes as "ok" or a right one does not pass.
"""

from __future__ import annotations

import argparse
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
    """Names of the float weights of two or more axes with at least four elements that are not all zero."""
    import onnx

    found = [t for t in onnx.load(path).graph.initializer if len(t.dims) >= 2 and t.data_type in (1, 10, 11)]
    return [t.name for t in found if np.prod(t.dims) >= 4 and onnx.numpy_helper.to_array(t).any()]


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


def zoo(folder: Path = ZOO) -> dict[str, Any]:
    """The sources in the folders of a folder, by their names."""
    found: dict[str, Any] = {}
    for d in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = {s: sorted(d.glob(f"*{s}")) for s in (".onnx", ".prototxt", ".caffemodel", ".hdf5", ".h5", ".jit", ".pt", ".pth")}
        weights = [f for s in (".hdf5", ".h5", ".jit", ".pt", ".pth") for f in files[s]]
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


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cases(every: list[str], few: int) -> list[tuple[str, Change, list[str]]]:
    """(what, change, weights): ``few`` kernels one by one (0: every one), and all at once."""
    chosen = every
    if 0 < few < len(every):
        picked = np.random.default_rng(len(every)).choice(len(every), few, replace=False)
        chosen = [every[i] for i in sorted(picked)]
    return [*((k, disturbed, [k]) for k in chosen), ("all", shuffled, every), ("all", scaled, every)]


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--kernels", type=int, default=8)
    asked = parser.parse_args(args)
    known = zoo(asked.zoo)
    sources: dict[str, Any] = {m: known.get(m) or Path(m) for m in asked.models} or known
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            right, wrong = Path(folder) / "right.onnx", Path(folder) / "wrong.onnx"
            try:
                report = convcore.convert(source, "onnx", right).report
            except convcore.MismatchError as e:
                totals["right mismatch"] += 1
                say(f"{name}: right: kept back: {e}")
                continue
            except convcore.ConvcoreError as e:
                say(f"{name}: not converted: {str(e).splitlines()[-1].strip()}")
                continue
            totals[f"right {report.verdict}"] += 1
            say(f"{name}: right: {report.verdict} {report.layers} {'; '.join(report.weak)}{report.unverified}")
            for what, change, names in cases(kernels(right), asked.kernels):
                said, why = verdict(source, spoil(right, wrong, change, names))
                totals[f"spoiled {said}"] += 1
                say(f"{name}: {what} {change.__name__}: {said}: {why[:150]}")
    say(", ".join(f"{k}: {n}" for k, n in sorted(totals.items())))
    return 1 if totals["spoiled ok"] or totals["right mismatch"] or totals["right not verified"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
