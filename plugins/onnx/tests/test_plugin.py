"""The plugin's hooks: light to import, sure of its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from convcore.errors import BadFileError
from convcore.host import host, resolve
from convcore_onnx.plugin import convcore_frameworks, convcore_identify, convcore_options, looks_like_model


def small() -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [info("x", 1, [2])], [info("y", 1, [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, convcore_onnx.plugin; print([m for m in ('onnx', 'google.protobuf', 'onnxruntime') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_everything_named_exists() -> None:
    (f,) = convcore_frameworks()
    for path in (f.rules, f.convention):
        assert resolve(path) is not None
    assert all(host().can("onnx", stage) for stage in ("load", "emit", "runtime"))
    assert {o.name for o in convcore_options("onnx")} == {
        "opset",
        "contrib",
        "ir_version",
        "external_data",
        "keep_training",
        "onnx_functions",
    }
    assert not convcore_options("keras")


def test_files_are_known_by_content(tmp_path: Path) -> None:
    model = small()
    for name, raw, low, high in (
        ("m.onnx", model.SerializeToString(), 90, 100), ("m.bin", model.SerializeToString(), 80, 90),
        ("empty.onnx", b"", 40, 60), ("text.onnx", b"layer { name: 'x' }", 40, 60), ("text.txt", b"hello, world", 0, 0),
        ("zip.keras", b"PK\x03\x04" + b"\0" * 60, 0, 0), ("h.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 60, 0, 0),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(raw)
        claim = convcore_identify(str(path))
        assert low <= (claim.score if claim else 0) <= high, name
    assert convcore_identify(model).score == 100
    assert convcore_identify(3) is None


def test_a_caffemodel_is_not_taken_for_onnx() -> None:
    data = Path(__file__).parents[3] / "tests" / "data"
    models = list(data.rglob("*.caffemodel"))
    assert models
    for path in models:
        assert not looks_like_model(path.read_bytes()[:512], path.stat().st_size), path


def test_the_runtime_quotes_a_refusal(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    (tmp_path / "bad.onnx").write_bytes(b"junk")
    with pytest.raises(BadFileError, match="onnxruntime"):
        open_runtime(tmp_path / "bad.onnx")
    got = open_runtime(small(), optimise=False)
    assert got.inputs == ("x",) and got.outputs == ("y",)


def test_idle_threads_of_the_runtime_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would burn a core while the other side of a check runs."""
    ort = pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    seen = []
    real = ort.InferenceSession

    def session(what, options, **kw):
        seen.append(options.get_session_config_entry("session.intra_op.allow_spinning"))
        return real(what, options, **kw)

    monkeypatch.setattr(ort, "InferenceSession", session)
    open_runtime(small())
    assert seen == ["0"]
