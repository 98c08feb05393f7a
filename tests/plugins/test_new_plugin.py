"""``convcore new-plugin``: what it writes works, passes its own tests, is typed and formatted; what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_folders import installed, run

from convcore.cli import main
from convcore.cli.new_plugin import KINDS

ROOT = Path(__file__).parents[2]
NAMES = {"layer": "ScaledTanh", "framework": "mlp"}


def _made(kind: str, folder: Path, name: str = "") -> Path:
    assert main(["new-plugin", kind, name or NAMES[kind], "-o", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _made(kind, tmp_path / "new")
    said = capsys.readouterr().out
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert files and all(str(p) in said for p in files) and "pip install -e ." in said
    assert not any(re.search("@(snake|dash|Pascal)@", f"{p} {p.read_text()}") for p in files)
    env = {**installed(tmp_path / "site", folder), "KERAS_BACKEND": "torch"}
    out = run(env, folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml").stdout
    assert "2 passed" in out or "1 passed, 1 skipped" in out


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_typed_and_formatted(kind: str, tmp_path: Path) -> None:
    folder = _made(kind, tmp_path / "new")
    config = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["ruff", "check", "--ignore", "I001", *config], ["ruff", "format", "--check", *config]):
        pytest.importorskip("ruff")
        done = subprocess.run([sys.executable, "-m", *command, str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names(tmp_path: Path) -> None:
    folder = _made("layer", tmp_path / "new", "my-RMSNorm2")
    assert (folder / "src/convcore_my_rmsnorm2/ops.py").exists() or (folder / "src/convcore_my_rms_norm2/ops.py").exists()
    (package,) = (folder / "src").iterdir()
    assert f'{package.name.removeprefix("convcore_")} = "{package.name}.plugin"' in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("layer", "3d", "cannot be the name"),
        ("layer", "class", "cannot be the name"),
        ("layer", "a/b", "cannot be the name"),
        ("layer", "relu", "an op 'relu' already"),
        ("layer", "LayerNorm", "an op 'layer_norm' already"),
        ("framework", "onnx", "a framework 'onnx' already"),
    ],
)
def test_names_it_refuses(kind: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "onnx":
        pytest.importorskip("convcore_onnx")
    assert main(["new-plugin", kind, name, "-o", str(tmp_path / "new")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert main(["new-plugin", "layer", "ScaledTanh", "-o", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]
