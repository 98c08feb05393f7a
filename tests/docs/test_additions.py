"""What docs/architecture.md says of the cost of an addition: a layer of Keras is one file, and so is one of Caffe."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _named(text: str, *folders: str, without: tuple[str, ...] = ()) -> list[str]:
    files = [p for f in folders for p in sorted((ROOT / f).rglob("*.py")) if not {*without} & {*p.parts, p.name}]
    assert files
    return [p.relative_to(ROOT).as_posix() for p in files if text in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", ["UnitNormalization", "GroupNormalization", "RMSNormalization"])
def test_a_keras_layer_is_read_by_one_file(name: str) -> None:
    keras = "plugins/keras/src/convcore_keras"
    assert _named(f'"{name}"', keras, without=("emit_rules",)) == [f"{keras}/layers/norm.py"]


@pytest.mark.parametrize(("name", "family"), [("ELU", "activation"), ("Swish", "activation"), ("Crop", "shape"), ("LRN", "norm")])
def test_a_caffe_layer_is_read_by_one_file(name: str, family: str) -> None:
    """Its messages, its place in old files, its counts, flavors, memory and rules."""
    caffe = "plugins/caffe/src/convcore_caffe"
    found = _named(f'"{name}"', caffe, without=("emit_rules", "opencv.py"))
    assert found == [f"{caffe}/rules/{family}.py"]
    assert _named(name, f"{caffe}/files/schema") == []


def test_rms_norm_is_one_file_for_the_op_and_each_framework() -> None:
    """Caffe writes the body; Keras layers and orders of axes follow from the row and the axis rule; keras.ops has one more.
    com.microsoft's operators that end in one are others, and tidying.py tells how modules and functions of torch are named.

    Finding it in primitives (core/rewrite) is another matter than having it.
    """
    plugins = (f"plugins/{n}/src" for n in ("caffe", "keras", "onnx", "pytorch"))
    found = _named("rms_norm", "core", *plugins, without=("rewrite", "contrib_fused.py", "tidying.py"))
    assert found == [
        "core/ops/norm.py",
        "plugins/keras/src/convcore_keras/layers/norm.py",
        "plugins/keras/src/convcore_keras/ops/nn.py",
        "plugins/onnx/src/convcore_onnx/rules/norm.py",
        "plugins/pytorch/src/convcore_pytorch/rules/norm.py",
    ]
