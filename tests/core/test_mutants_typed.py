"""The look of mypy at changes to the source: what would make it blind is an error before the first change."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.mutants.typed import Types


@pytest.fixture
def types(tmp_path: Path) -> Types:
    return Types(tmp_path)


def test_a_planted_error_must_be_seen(types: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        types.used.mkdir(exist_ok=True)
        return ""

    monkeypatch.setattr(types, "_said", said)
    with pytest.raises(RuntimeError, match=r"does not see an error put into core/errors\.py"):
        types.__enter__()


def test_each_error_is_told_of_its_own_file(types: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that one change left in the cache would be told of every other."""

    def said() -> str:
        types.used.mkdir(exist_ok=True)
        planted = "planted:" in (types.top / "core/errors.py").read_text()
        return "core/errors.py:1: error" if planted or types.cache.exists() else ""

    monkeypatch.setattr(types, "_said", said)
    with pytest.raises(RuntimeError, match=r"into plugins/onnx/src/convcore_onnx/rules/conv\.py"):
        types.__enter__()


def test_sources_that_are_wrong_before_any_change(types: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "_said", lambda: "core/errors.py:1: error: as it is")
    with pytest.raises(RuntimeError, match=r"without a change: core/errors\.py:1: error: as it is"):
        types.__enter__()


def test_the_text_is_put_back_and_the_folders_go(types: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list[str]()

    def said() -> str:
        types.used.mkdir(exist_ok=True)
        texts.append((types.top / "core/errors.py").read_text())
        return "said"

    types.cache.mkdir()
    monkeypatch.setattr(types, "_said", said)
    before = (types.top / "core/errors.py").read_text()
    assert types.told("core/errors.py", b"x = 1\n") == "said" and texts == ["x = 1\n"]
    assert (types.top / "core/errors.py").read_text() == before
    types.__exit__()
    assert not any(p.exists() for p in (types.top, types.cache, types.used))
