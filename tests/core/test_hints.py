"""Hints can be followed: flags they name are there, and what they advise works."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import convcore
from convcore.cli.parser import _COMMANDS, parse
from convcore.errors import UnsupportedError, UsageError

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def flags(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Every flag of every command, plugins' options included, as the commands' help names them."""
    found: set[str] = set()
    for command in _COMMANDS:
        with pytest.raises(SystemExit):
            parse([command, "--help"])
        found.update(FLAG.findall(capsys.readouterr().out))
    return found | {"--version"}


def test_flags_named_in_messages_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    known, wrong = flags(capsys), []
    own = ROOT / "core" / "testing"  # a command line of its own
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]:
        if own in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                wrong += [f"{path.name}:{node.lineno} {f}" for f in FLAG.findall(node.value) if f not in known]
    assert not wrong, "\n".join(wrong)


def onnx_node(op: str, opset: int, shape: Any, out: Any, **attrs: Any) -> Any:
    helper = pytest.importorskip("onnx").helper
    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, out)
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], "node", **attrs)], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_an_opset_that_is_named_works() -> None:
    """``choose opset=`` names one that can be written."""
    source = onnx_node("RandomNormalLike", 17, ["n", 3], ["n", 3])
    assert convcore.load(source).problems
    with pytest.raises(UnsupportedError, match=r"choose opset=17") as e:
        convcore.convert(source, "onnx", opset=22)
    named = re.findall(r"choose opset=(\d+)", str(e.value))
    assert convcore.convert(source, "onnx", opset=int(named[0])).report.ok
    old = onnx_node("Scan", 8, ["n", 3], ["n"])
    with pytest.raises(convcore.ConvcoreError) as old_error:
        convcore.convert(old, "onnx")
    assert "choose opset=8" not in str(old_error.value)


def test_a_newer_opset_takes_the_type() -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("convcore_onnx")
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")(x))
    with pytest.raises(UnsupportedError, match=r"before opset \d+ \(opset=\d+, --opset \d+\)") as e:
        convcore.convert(model, "onnx", check=False)
    named = {int(n) for n in re.findall(r"\(opset=(\d+)", str(e.value))}
    assert convcore.convert(model, "onnx", opset=max(named), check=False).model.opset_import[0].version == max(named)


def test_a_registered_class_by_the_name_the_file_has(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    @keras.saving.register_keras_serializable("hints")
    class Square(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            return x * x

    x = keras.Input((4,))
    keras.Model(x, Square(name="sq")(keras.layers.Dense(3)(x))).save(tmp_path / "m.keras")
    square = {"Square": lambda g, n: g.b.mul(n.inputs[0], n.inputs[0])}
    with pytest.raises(UsageError, match="the file calls it 'hints>Square'") as e:
        convcore.convert(tmp_path / "m.keras", "onnx", overrides=square)
    named = re.findall(r"calls it '([^']+)'", str(e.value))
    assert convcore.convert(tmp_path / "m.keras", "onnx", overrides={named[0]: square["Square"]}).report.ok


def test_wanted_values_are_said_once(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    x = keras.Input((4, 4, 2))
    keras.Model(x, keras.layers.UpSampling2D(2, interpolation="bicubic")(x)).save(tmp_path / "m.keras")
    try:
        convcore.convert(tmp_path / "m.keras", "onnx")
    except UnsupportedError as e:
        assert "wants None" not in str(e) and str(e).count("interpolation is 'bicubic'") == 1
