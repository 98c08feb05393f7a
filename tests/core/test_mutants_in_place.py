"""Changes made in place need the functions of the sources: a run that finds none would call every change missed."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.mutants import reach, runs
from tests.support.mutants.runs import InPlace

NOTHING: Any = SimpleNamespace(items=[])


def test_functions_are_found_though_they_are_frozen(tmp_path: Path) -> None:
    """As the tests freeze what was collected (``conftest.py``), and the collector's list is without it."""
    found = list[set[str]]()
    place = InPlace(tmp_path, lambda *_: found.append({name for _, name, _ in place.functions}))
    gc.freeze()
    assert place.pytest_runtestloop(NOTHING) and "test_functions_are_found_though_they_are_frozen" in found[0]


def test_a_run_without_functions_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="every change would be missed"):
        InPlace(tmp_path, lambda *_: None).pytest_runtestloop(NOTHING)


def test_the_first_watch_has_seen_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no folder of what was seen yet, and no test in it that could be gone."""
    monkeypatch.setattr(reach, "PLACE", tmp_path / "mutants")
    monkeypatch.setattr(
        reach.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="tests/a.py::f[1]\ntests/a.py::f[2]\ntests/a.py::g\n")
    )
    assert reach.unseen([]) == ["tests/a.py::f[1]", "tests/a.py::g", "tests/a.py::f[2]"]
