"""Changes made in place need the functions of the sources: a run that finds none would call every change missed."""

from __future__ import annotations

import gc
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.mutants import reach, runs
from tests.support.mutants.hook.sitecustomize import import_changed
from tests.support.mutants.runs import InPlace

NOTHING: Any = SimpleNamespace(items=[])


def test_functions_are_found_though_they_are_frozen(tmp_path: Path) -> None:
    """As the tests freeze what was collected (``conftest.py``), and the collector's list is without it."""
    found = list[set[str]]()
    place = InPlace(tmp_path, lambda *_: found.append({name for _, name, _ in place.functions}))
    gc.freeze()
    assert place.pytest_runtestloop(NOTHING) and "test_functions_are_found_though_they_are_frozen" in found[0]


def given(a: int = 1, b: int = 2, *, c: bool = False, d: int | None = None) -> tuple[Any, ...]:
    return a, b, c, d


@pytest.mark.parametrize(("old", "new", "found"), [
    ("a: int = 1", "a: int = 7", (7, 2, False, None)), ("b: int = 2", "b: int = 0", (1, 0, False, None)),
    ("c: bool = False", "c: bool = True", (1, 2, True, None)), ("return a, b", "return b, a", (2, 1, False, None)),
])  # fmt: skip
def test_defaults_are_changed_in_place(old: str, new: str, found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = InPlace(tmp_path, lambda *_: None)
    place.functions[place.place(given.__code__)].append(given)
    text = Path(__file__).read_bytes()
    for name in ("__defaults__", "__kwdefaults__", "__code__"):
        monkeypatch.setattr(given, name, getattr(given, name))
    head = text.index(b"def given(")
    changed = text[:head] + text[head:].replace(old.encode(), new.encode(), 1)
    place.make(str(Path(__file__).relative_to(runs.ROOT)), text, changed)
    assert given() == found


def test_a_changed_file_is_read_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``written.py`` is not imported by what uses it: its text is copied."""
    for name in ("read_text",):
        monkeypatch.setattr(Path, name, getattr(Path, name))
    monkeypatch.setattr(SourceFileLoader, "get_code", SourceFileLoader.get_code)
    for name in "ab":
        (tmp_path / name).write_text(name, "utf-8")
    import_changed(str((tmp_path / "a").resolve()), b"changed")
    assert [(tmp_path / name).read_text("utf-8") for name in "ab"] == ["changed", "b"]


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
