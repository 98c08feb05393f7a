"""Every marked block of the pages by task runs, one after the other in one folder, and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convcore

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/tasks").glob("*.md"))
BLOCK = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_page(page: Path, tmp_path: Path):
    missing = {"keras", "onnx", "caffe", "pytorch"} - set(convcore.formats())
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    for name in ("onnxruntime", "torch", "keras"):
        pytest.importorskip(name)
    for name in ("tests", "plugins"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "KERAS_BACKEND": "torch"}
    text = page.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("<!-- run") > 1
    for language, code, output in blocks:
        command = [sys.executable, "-c", code] if language == "python" else ["sh", "-ec", code]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        if output:
            assert done.stdout.strip() == output.strip(), code


def test_every_format_has_its_page():
    assert {p.stem for p in PAGES} == {*convcore.formats(), "custom", "hub"}
