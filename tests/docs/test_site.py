"""The site is built without a warning or a dead link, and its search finds what people look for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("material")


def test_the_site(tmp_path: Path):
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    found = json.loads((tmp_path / "site/search/search_index.json").read_text(encoding="utf-8"))["docs"]
    texts = [(d["title"] + d["text"]).lower() for d in found]
    for word in ("BatchNormalization", "Res2Net", "--io-layout", "custom layer"):
        assert any(word.lower() in t for t in texts), word
    assert (tmp_path / "site/tasks/keras/index.html").is_file()
