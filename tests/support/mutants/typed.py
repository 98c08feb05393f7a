"""mypy, which ``make test`` runs before the tests, on a copy of the sources with one change in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.mutants.sites import PARTS, ROOT


class Types:
    """A mypy daemon that has checked everything: another look after a change takes less than a second. A context."""

    def __init__(self, folder: Path) -> None:
        self.top, self.status = folder / "typed", folder / "typed.json"
        for part in PARTS.values():
            shutil.copytree(ROOT / part, self.top / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.top)
        (self.top / ".dev").mkdir()
        (self.top / ".dev" / "convcore").symlink_to("../core")
        self.paths = os.pathsep.join(str(self.top / p) for p in (".dev", *(p for p in PARTS.values() if p != "core")))

    def __enter__(self) -> Types:
        if told := self._command("run", "--timeout", "900", "--", "--config-file", "pyproject.toml"):
            raise RuntimeError(f"mypy, without a change: {told}")
        return self

    def __exit__(self, *_: object) -> None:
        self._command("stop")
        shutil.rmtree(self.top)

    def _command(self, *words: str) -> str:
        command = [sys.executable, "-m", "mypy.dmypy", "--status-file", str(self.status), *words]
        done = subprocess.run(command, cwd=self.top, env={**os.environ, "MYPYPATH": self.paths}, capture_output=True, text=True)
        return _first_error(done.returncode, (done.stdout + done.stderr).strip())

    def told(self, path: str, changed: bytes) -> str:
        """What mypy says first of the file with another text."""
        from mypy.dmypy.client import request

        held = self.top / path
        before = held.read_bytes()
        held.write_bytes(changed)
        try:
            said = request(str(self.status), "recheck", timeout=600, is_tty=False, terminal_width=200, export_types=False)
        finally:
            held.write_bytes(before)
        if "error" in said:
            raise RuntimeError(f"mypy: {said['error']}")
        return _first_error(said["status"], (said["out"] + said["err"]).strip())


def _first_error(status: int, said: str) -> str:
    """The first error that mypy tells, else nothing."""
    if status not in (0, 1):
        raise RuntimeError(f"mypy ended with {status}: {said[-500:]}")
    return said.split("\n", 1)[0] if status else ""
