"""Which test runs which line: a pytest plugin that watches, and what it saw.

``watch`` runs the fast tests under coverage, with the name of the test as context; ``Reach`` reads what that left. Lines that
only run while a module is imported belong to no test, and what a test runs in another process is not seen.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pytest
from tests.support.mutants.sites import ROOT, texts

PLACE = ROOT / ".mutants"
CHUNK = 900
FRESHNESS = ("tests/docs/", "tests/packaging/", "tests/viewing/", "tests/core/test_interfaces.py")
"""Tests that a generated page is up to date do not count: who changes the source by mistake makes the page anew as well."""

FAST = ("-q", "--disable-warnings", "-p", "no:cacheprovider", "-m", "not slow")
ENV = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}


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
        self.coverage.set_option("run:relative_files", True)
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


def watch(tests: list[str], jobs: int, anew: bool = False) -> int:
    """Runs the fast tests, or those named, that it has not seen yet, some hundred at a time; the worst exit code of pytest.

    What was seen stays, at the lines where the text of that time stands now; ``anew`` forgets it.
    """
    if anew:
        shutil.rmtree(PLACE, ignore_errors=True)
    fresh, worst = PLACE / f"seen-{os.getpid()}", 0
    todo = unseen(tests)
    for part in [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        named = fresh / "tests.txt"
        named.write_text("\n".join(part), encoding="utf-8")
        env = {**ENV, "CONVCORE_REACH": str(fresh)}
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.mutants.reach", *FAST]
        command += ["-n", str(jobs)] if jobs > 1 else ["-p", "no:xdist"]
        before = texts()
        code = subprocess.run([*command, f"@{named}"], cwd=ROOT, env=env).returncode
        worst = max(worst, code)
        gather(fresh, before)
    shutil.rmtree(fresh, ignore_errors=True)
    return worst


def unseen(tests: Sequence[str]) -> list[str]:
    """The fast tests, of those named, that ``watch`` has not seen, one of each function before a second of any."""
    command = [sys.executable, "-m", "pytest", *FAST, "-p", "no:xdist", "--collect-only", *tests]
    said = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, text=True).stdout
    turn, before = dict[str, int](), Counter[str]()
    for test in (line for line in said.splitlines() if "::" in line and not line.startswith(FRESHNESS)):
        function = test.split("[", 1)[0]
        turn[test] = before[function]
        before[function] += 1
    seen = Reach().seconds if (PLACE / "tests.json").exists() else {}
    if not tests and turn and seen:  # all of them: what was seen of tests that are gone names nothing that runs
        seen = {t: s for t, s in seen.items() if t in turn}
        (PLACE / "tests.json").write_text(json.dumps({"seconds": seen}), encoding="utf-8")
    return sorted(turn.keys() - seen.keys(), key=lambda t: (turn[t], t))


def gather(fresh: Path, now: dict[str, bytes]) -> None:
    """Adds what the processes of a run saw, when the sources were ``now``, to what is known."""
    import coverage

    seconds = dict(json.loads(line) for p in fresh.glob("seconds-*.jsonl") for line in p.read_text("utf-8").splitlines())
    carry(now)
    lines = coverage.CoverageData(str(PLACE / "lines"))
    lines.read()
    told = json.loads((PLACE / "tests.json").read_text("utf-8"))["seconds"] if (PLACE / "tests.json").exists() else {}
    for p in fresh.glob("lines.*"):
        part = coverage.CoverageData(str(p))
        part.read()
        lines.update(part)
    lines.write()
    (PLACE / "tests.json").write_text(json.dumps({"seconds": {**told, **seconds}}), encoding="utf-8")
    for path, text in now.items():
        (PLACE / "texts" / path).parent.mkdir(parents=True, exist_ok=True)
        (PLACE / "texts" / path).write_bytes(text)


def carry(texts: dict[str, bytes]) -> None:
    """Moves what was seen of a file that has changed since to where the same lines stand in ``texts``, and forgets the others."""
    from coverage.numbits import numbits_to_nums, nums_to_numbits

    if not (PLACE / "lines").exists():
        return
    with sqlite3.connect(PLACE / "lines") as db:
        for i, file in db.execute("select id, path from file").fetchall():
            old, text = PLACE / "texts" / file, texts.get(file, b"")
            if not old.exists() or text == old.read_bytes():
                continue
            at = moved(old.read_bytes(), text)
            for context, bits in db.execute("select context_id, numbits from line_bits where file_id = ?", [i]).fetchall():
                new = nums_to_numbits({at[n] for n in numbits_to_nums(bits) if n in at})
                db.execute("update line_bits set numbits = ? where file_id = ? and context_id = ?", [new, i, context])
            old.write_bytes(text)


def moved(old: bytes, new: bytes) -> dict[int, int]:
    """The lines of one text that stand in another, by their numbers."""
    match = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    return {a + i + 1: b + i + 1 for a, b, n in match.get_matching_blocks() for i in range(n)}


class Reach:
    """What ``watch`` saw, at the lines where they stand now."""

    def __init__(self) -> None:
        carry(texts())
        with sqlite3.connect(PLACE / "lines") as db:
            self.contexts: dict[int, str] = dict(db.execute("select id, context from context"))
            self.files = {p: i for i, p in db.execute("select id, path from file")}
        self.seconds: dict[str, float] = json.loads((PLACE / "tests.json").read_text("utf-8"))["seconds"]
        self.kept: dict[str, dict[str, set[int]]] = {}

    def lines(self, path: str) -> dict[str, set[int]]:
        """The lines of a file by test; "" are those that ran while modules were imported."""
        if path not in self.kept:
            with sqlite3.connect(PLACE / "lines") as db:
                rows = db.execute("select context_id, numbits from line_bits where file_id = ?", [self.files.get(path, -1)])
                seen = ((self.contexts[c], bits) for c, bits in rows)
                self.kept = {path: {t: _bits(bits) for t, bits in seen if not t or t in self.seconds}}  # others are gone
        return self.kept[path]

    @cached_property
    def size(self) -> dict[str, float]:
        """How much each test runs."""
        with sqlite3.connect(PLACE / "lines") as db:
            sizes = db.execute("select context_id, sum(length(numbits)) from line_bits group by context_id")
            return {self.contexts[c]: float(n) for c, n in sizes}

    def tests_of(self, path: str, first: int, last: int) -> set[str]:
        """The tests that ran a line from ``first`` to ``last``."""
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
