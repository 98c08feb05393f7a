"""Plugins that are not installed: their folders made known to Python and to convcore's discovery, as pip would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def installed(site: Path, *projects: Path) -> dict[str, str]:
    """An environment in which these projects are installed: their code on the path, their metadata in ``site``."""
    paths = [str(site)]
    for project in projects:
        text = (project / "pyproject.toml").read_text(encoding="utf-8")
        name, version = (re.search(rf'^{key} = "(.*)"$', text, re.M)[1] for key in ("name", "version"))  # type: ignore[index]
        points = re.search(r"^\[project\.entry-points\.convcore\]\n((?:\w+ = .*\n)+)", text, re.M)
        assert points is not None
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[convcore]\n{points[1].replace(chr(34), '')}")
        paths.append(str(project / "src" if (project / "src").is_dir() else project))
    old = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *([old] if old else [])]), "PYTHONDONTWRITEBYTECODE": "1"}


def run(env: dict[str, str], cwd: Path, *args: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """``python args`` in that environment; its exit code must be ``code`` where one is given."""
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert code is None or done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done
