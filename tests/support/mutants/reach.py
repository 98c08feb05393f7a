"""Which test runs which line: a pytest plugin that watches, and what it saw.

``watch`` runs the fast tests under coverage, with the name of the test as context; ``Reach`` reads what that left. Lines that
only run while a module is imported belong to no test, and what a test runs in another process is not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest
from tests.support.mutants.sites import ROOT, texts

PLACE = ROOT / ".mutants"


class Watch:
    """Lines by test, and how long each test took, as files of this process in ``folder``."""

    def __init__(self, folder: str) -> None:
        import coverage

        self.seconds = Path(f"{folder}/seconds-{os.getpid()}.jsonl")
        self.coverage = coverage.Coverage(
            f"{folder}/lines",
            data_suffix=f"{os.getpid()}",
            include=[f"{ROOT}/core/*", f"{ROOT}/plugins/*/src/*"],
            config_file=False,
            messages=False,
        )
        self.coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        try:
            return (yield)
        finally:
            with self.seconds.open("a", encoding="utf-8") as f:
                f.write(json.dumps([item.nodeid, time.process_time() - start]) + "\n")
            self.coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get("CONVCORE_REACH"):
        config.pluginmanager.register(Watch(folder), "reach")


def watch(tests: list[str], jobs: int) -> int:
    """Runs tests (all fast ones where none are named, and then forgets what was seen before); the exit code of pytest."""
    fresh = PLACE / "seen"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    env = {**os.environ, "CONVCORE_REACH": str(fresh), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.mutants.reach",
        "-p",
        "no:cacheprovider",
        "-n",
        str(jobs),
        "-m",
        "not slow",
    ]
    code = subprocess.run([*command, "-q", "--disable-warnings", *tests], cwd=ROOT, env=env).returncode
    gather(fresh, whole=not tests)
    return code


def gather(fresh: Path, whole: bool) -> None:
    """What the processes of a run saw, added to what is known or in its place."""
    import coverage

    seconds = dict(json.loads(line) for p in fresh.glob("seconds-*.jsonl") for line in p.read_text("utf-8").splitlines())
    PLACE.mkdir(exist_ok=True)
    lines = coverage.CoverageData(str(PLACE / "lines"))
    sources = {p: hashlib.sha1(text).hexdigest() for p, text in texts().items()}
    if not whole and (PLACE / "tests.json").exists():
        told = json.loads((PLACE / "tests.json").read_text("utf-8"))
        seconds, sources = {**told["seconds"], **seconds}, told["sources"]
        lines.read()
    else:
        lines.erase()
    for p in fresh.glob("lines.*"):
        part = coverage.CoverageData(str(p))
        part.read()
        lines.update(part)
    lines.write()
    (PLACE / "tests.json").write_text(json.dumps({"seconds": seconds, "sources": sources}), encoding="utf-8")


class Reach:
    """What ``watch`` saw. Of a file that has changed since, every test that ran any of its lines counts for each of them."""

    def __init__(self) -> None:
        with sqlite3.connect(PLACE / "lines") as db:
            self.contexts: dict[int, str] = dict(db.execute("select id, context from context"))
            self.files = {str(Path(p).relative_to(ROOT)): i for i, p in db.execute("select id, path from file")}
        told = json.loads((PLACE / "tests.json").read_text("utf-8"))
        self.seconds: dict[str, float] = told["seconds"]
        self.sources: dict[str, str] = told["sources"]
        self.kept: dict[str, dict[str, set[int]]] = {}

    def lines(self, path: str) -> dict[str, set[int]]:
        """The lines of a file by test; "" are those that ran while modules were imported."""
        if path not in self.kept:
            with sqlite3.connect(PLACE / "lines") as db:
                rows = db.execute("select context_id, numbits from line_bits where file_id = ?", [self.files.get(path, -1)])
                self.kept = {path: {self.contexts[c]: _bits(bits) for c, bits in rows}}
        return self.kept[path]

    @cached_property
    def size(self) -> dict[str, float]:
        """How much each test runs."""
        with sqlite3.connect(PLACE / "lines") as db:
            sizes = db.execute("select context_id, sum(length(numbits)) from line_bits group by context_id")
            return {self.contexts[c]: float(n) for c, n in sizes}

    def tests_of(self, path: str, first: int, last: int) -> set[str]:
        """The tests that ran a line from ``first`` to ``last``."""
        if self.changed(path):
            return self.tests_of_file(path)
        span = range(first, last + 1)
        return {t for t, seen in self.lines(path).items() if t and not seen.isdisjoint(span)}

    def tests_of_file(self, path: str) -> set[str]:
        return {t for t in self.lines(path) if t}

    def ran(self, path: str) -> set[int]:
        """Every line that ran."""
        with sqlite3.connect(PLACE / "lines") as db:
            rows = db.execute("select distinct numbits from line_bits where file_id = ?", [self.files.get(path, -1)])
            return {line for (bits,) in rows for line in _bits(bits)}

    def ran_while_imported(self, path: str, first: int, last: int) -> bool:
        return not self.lines(path).get("", set()).isdisjoint(range(first, last + 1))

    def changed(self, path: str) -> bool:
        return self.sources.get(path) != hashlib.sha1((ROOT / path).read_bytes()).hexdigest()

    def in_folders(self, folders: tuple[str, ...]) -> set[str]:
        return {t for t in self.seconds if t.startswith(folders)}

    @cached_property
    def words(self) -> dict[str, frozenset[str]]:
        """The words in each test's name, and in what it is given."""
        out = {
            t: frozenset(w for w in re.split(r"[^a-z0-9]+|_", t.split("::", 1)[1].lower()) if len(w) > 2) for t in self.seconds
        }
        return {t: w | frozenset(re.findall(r"\w{3,}", t.split("::", 1)[1].lower())) for t, w in out.items()}

    @cached_property
    def rare(self) -> dict[str, float]:
        """How much a word tells: 1 over the number of tests that have it."""
        counts = Counter(w for words in self.words.values() for w in words)
        return {w: 1 / n for w, n in counts.items() if n < 400}

    def likeness(self, test: str, words: frozenset[str]) -> float:
        return sum(self.rare.get(w, 0.0) for w in self.words.get(test, frozenset()) & words)

    def named(self, words: frozenset[str]) -> set[str]:
        """Tests that have any of the words in their names."""
        told = words & self.rare.keys()
        return {t for t, w in self.words.items() if not told.isdisjoint(w)}


def _bits(blob: bytes) -> set[int]:
    """coverage's numbits: line n is bit n % 8 of byte n // 8."""
    return {8 * i + b for i, byte in enumerate(blob) for b in range(8) if byte >> b & 1}
