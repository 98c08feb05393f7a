"""Every example runs, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convcore.host import host

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(p.name for p in EXAMPLES.glob("*.py"))
NEEDS = {"caffe_to_keras.py": {"caffe", "keras"}, "caffe_to_onnx.py": {"caffe", "onnx"}, "keras_to_caffe.py": {"keras", "caffe"},
         "pytorch_both_ways.py": {"pytorch", "onnx"}}  # fmt: skip
SAYS = {
    "convert_keras.py": "written: emotion.onnx",
    "caffe_to_keras.py": "inputs: input: float32[1, 240, 320, 3]",
    "caffe_to_onnx.py": "of the range away from Caffe's output",
    "compare_two_models.py": ": different",
    "inspect_ir.py": "loads back to the same graph",
    "keras_to_caffe.py": "num_output: 8",
    "override_a_layer.py": "refused: 'attention' (AttentionWeightedAverage)",
    "pytorch_both_ways.py": "the keys are the same",
    "run_part_of_a_model.py": "up to max_pooling2d_1: (1, 30, 30, 16)",
}


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, tmp_path: Path):
    missing = NEEDS.get(name, {"keras", "onnx"}) - set(host().frameworks)
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    if "pytorch" in NEEDS.get(name, ()):
        pytest.importorskip("torch")
    done = subprocess.run([sys.executable, EXAMPLES / name, tmp_path], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
    assert "convcore:" not in done.stderr
    assert not list(tmp_path.glob(".convcore-*"))


def test_differences_to_recorded_outputs_are_small(tmp_path: Path):
    """The numbers the examples print are those of frameworks, not of convcore."""
    for name in ("run_part_of_a_model.py", "override_a_layer.py"):
        out = subprocess.run([sys.executable, EXAMPLES / name, tmp_path], capture_output=True, text=True, check=True).stdout
        assert float(out.strip().rpartition(" ")[2]) < 1e-4


def test_readme_lists_them_all():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{n}]({n})" in text for n in NAMES)
    assert sorted(SAYS) == NAMES
