"""Models of the zoo as modules: they agree with the source, train, and their code is as a formatter leaves it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore

torch = pytest.importorskip("torch")

ZOO = Path(__file__).parents[3] / "tests" / "data" / "zoo"
CASES = {
    "keras2-kdef-tiny": (None, None),
    "caffe-mtcnn-det1": ("det1.prototxt", "det1.caffemodel"),
    "caffe-mtcnn-det2": ("det2.prototxt", "det2.caffemodel"),
    "onnx-mesonet-tf2onnx": ("model.onnx", None),
    "onnx-cntk-mnist": (None, None),
}


def converted(name: str, out: Path) -> Any:
    source, weights = CASES[name]
    folder = ZOO / name
    if source is None:
        source = next(f.name for f in sorted(folder.iterdir()) if f.suffix in (".h5", ".hdf5", ".onnx"))
    given = {} if weights is None else {"weights": folder / weights}
    return convcore.convert(folder / source, to="pytorch", out=out, **given)


@pytest.mark.parametrize("name", CASES)
def test_agrees_trains_and_is_formatted(name: str, tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    made = converted(name, out)
    assert made.report.verdict in ("ok", "weak"), str(made.report)
    assert any("torch" in r for r in made.report.runtimes)
    ruff = [sys.executable, "-m", "ruff"]
    if subprocess.run([*ruff, "--version"], capture_output=True).returncode == 0:
        done = subprocess.run([*ruff, "check", "--isolated", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        done = subprocess.run([*ruff, "format", "--isolated", "--diff", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    model = made.model
    assert isinstance(model, torch.nn.Module) and not model.training
    _trains(model, name, {x["name"]: x["perm"] for x in made.report.to_dict()["sections"]["layout"]["io"]})


def _trains(model: Any, name: str, moved: dict[str, Any]) -> None:
    """One step along the gradient lowers a loss."""
    given = [a for _, a in sorted(np.load(ZOO / name / "inputs.npz").items())]
    laid = [a.transpose(p) for a, p in zip(given, moved.values())]
    inputs = [torch.from_numpy(np.array(a, order="C")) for a in laid]
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        pytest.skip("the source freezes all")

    def loss() -> Any:
        out = model(*inputs)
        outs = out if isinstance(out, tuple) else (out,)
        return sum(((o - 0.3) ** 2).mean() for o in outs)

    first = loss()
    first.backward()
    with torch.no_grad():
        scale = sum(float((p.grad**2).sum()) for p in parameters if p.grad is not None)
        step = 0.01 * float(first) / max(scale, 1e-30)
        for p in parameters:
            if p.grad is not None:
                p -= step * p.grad
        assert float(loss()) < float(first)
