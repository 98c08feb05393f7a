"""Parts of the onnx package, in a process that is one command, and the whole one anywhere else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx.helper import OP_SET_ID_VERSION_MAP

from convcore_onnx import emit, library

MODEL = Path(__file__).parents[3] / "tests" / "data" / "zoo" / "onnx-cntk-mnist" / "model.onnx"
CODE = """
import sys
from convcore.collector import take
if {taken}:
    take()
{before}
import convcore
done = convcore.convert({model!r}, "onnx", {out!r}, check=False)
print("onnx" in sys.modules, "google.protobuf.json_format" in sys.modules)
import onnx, onnx.checker, onnx.helper, onnx.numpy_helper, onnx.shape_inference, onnx.version_converter
from convcore_onnx.library import messages, newest_opset, schemas
assert onnx.ModelProto is messages().ModelProto and onnx.IR_VERSION == messages().IR_VERSION
assert onnx.onnx_ml_pb2 is messages() and onnx.onnx_cpp2py_export.defs.get_schema is schemas().get_schema
assert newest_opset() == onnx.defs.onnx_opset_version()
assert schemas().SchemaError is onnx.defs.SchemaError
assert onnx.defs.get_schema("Selu").attributes["alpha"].default_value.name == "alpha"
model = onnx.load({out!r})
assert type(model) is messages().ModelProto
onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), full_check=True)
onnx.version_converter.convert_version(model, 21)
assert convcore.load(model).graph.outputs
"""


def told(tmp_path: Path, taken: bool, before: str = "") -> str:
    code = CODE.format(taken=taken, before=before, model=str(MODEL), out=str(tmp_path / "out.onnx"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("taken", [True, False])
def test_a_command_imports_parts_of_onnx_and_others_all_of_it(tmp_path: Path, taken: bool) -> None:
    assert told(tmp_path, taken) == ("False False" if taken else "True True")


@pytest.mark.parametrize(
    "before",
    [
        "import onnx",
        "import convcore_onnx.library as m; m.find_spec = lambda name: None",
        "import types, convcore_onnx.library as m; m.PathFinder = types.SimpleNamespace(find_spec=lambda *a: None)",
        "from importlib.machinery import ExtensionFileLoader as L, SourceFileLoader as S\n"
        "def no(self, module, real={c: c.exec_module for c in (L, S)}):\n"
        "    if module.__name__.startswith('onnx.') and 'onnx' not in sys.modules:\n"
        "        raise ImportError('not alone')\n"
        "    return real[type(self)](self, module)\n"
        "L.exec_module = S.exec_module = no",
    ],
)
def test_a_package_that_cannot_be_had_in_parts_is_imported(tmp_path: Path, before: str) -> None:
    assert told(tmp_path, True, before) == "True True"


def test_only_a_command_asks_for_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(library, "find_spec", lambda name: asked.append(name) or importlib.util.find_spec(name))
    monkeypatch.delitem(sys.modules, "onnx")
    assert library._part("onnx_ml_pb2") is None and not asked


def test_the_ir_version_of_every_opset(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in range(7, newest + 1):
        assert emit._oldest_ir(opset) == OP_SET_ID_VERSION_MAP["ai.onnx", opset]
    monkeypatch.setattr(emit, "IR_VERSIONS", {3: 7, 4: 9})
    assert emit._oldest_ir(newest) == OP_SET_ID_VERSION_MAP["ai.onnx", newest]
