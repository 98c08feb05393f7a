"""mypy, which ``make test`` runs before the tests, on a copy of the sources with one change in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.mutants.sites import PARTS, ROOT

_ERROR = b'\nplanted: int = "text"\n'


class Types:
    """mypy with a cache of all files as they are, which is copied for each change: what one change left is not seen by the next.

    (Its daemon is quicker, and was tried: version 2 does not look again at files that were written after its first run.)
    """

    def __init__(self, folder: Path) -> None:
        self.top, self.cache, self.used = folder / "typed", folder / "cache", folder / "used"
        for part in PARTS.values():
            shutil.copytree(ROOT / part, self.top / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.top)
        (self.top / ".dev").mkdir()
        (self.top / ".dev" / "convcore").symlink_to("../core")
        self.paths = os.pathsep.join(str(self.top / p) for p in (".dev", *(p for p in PARTS.values() if p != "core")))

    def __enter__(self) -> Types:
        if said := self._said():
            raise RuntimeError(f"mypy, without a change: {said}")
        shutil.move(self.used, self.cache)
        for path in ("core/errors.py", "plugins/onnx/src/convcore_onnx/rules/conv.py"):  # it sees changes, each its own
            if Path(path).name not in self.told(path, (self.top / path).read_bytes() + _ERROR):
                raise RuntimeError(f"mypy does not see an error put into {path}")
        return self

    def __exit__(self, *_: object) -> None:
        for made in (self.top, self.cache, self.used):
            shutil.rmtree(made, ignore_errors=True)

    def told(self, path: str, changed: bytes) -> str:
        """What mypy says first of the file with another text."""
        held = self.top / path
        before = held.read_bytes()
        held.write_bytes(changed)
        shutil.rmtree(self.used, ignore_errors=True)
        shutil.copytree(self.cache, self.used)
        try:
            return self._said()
        finally:
            held.write_bytes(before)

    def _said(self) -> str:
        """The first error that mypy tells, else nothing."""
        flags = ["--config-file", "pyproject.toml", "--sqlite-cache", "--cache-dir", str(self.used)]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *flags], cwd=self.top, env={**os.environ, "MYPYPATH": self.paths},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise RuntimeError(f"mypy ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
        return (done.stdout + done.stderr).strip().split("\n", 1)[0] if done.returncode else ""
