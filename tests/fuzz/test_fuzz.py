"""Damaged files end in a ConvcoreError or a model, in every reader: never in another exception, a bug of ours, a long time, much
memory, or a model that computes something else.

``make test`` makes a few mutants a reader, always the same; ``make fuzz COUNT=20000`` makes many, of seeds of the moment (see
``python -m tests.fuzz --help``). The tests after that are of the fuzzer: it notices what it is there for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz import judge, worker
from tests.fuzz.mutate import mutant
from tests.fuzz.readers import READERS, Seed

import convcore
from convcore.errors import BadFileError, PluginBugError

COUNT = int(os.environ.get("CONVCORE_FUZZ", "") or 60)
forks = pytest.mark.skipif(sys.platform != "linux", reason="children are forked and looked at through /proc")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
@forks
def test_damaged_files(reader: str, tmp_path: Path) -> None:
    pytest.importorskip(READERS[reader].package)
    if reader in ("pt", "pth", "safetensors", "pt2", "legacy"):
        pytest.importorskip("torch")
    seeds = READERS[reader].seeds(tmp_path)
    assert seeds
    worker.preload(seeds)
    rows = list(worker.batch(seeds, [(i, f"{reader}:7:{i}") for i in range(COUNT)]))
    assert [r["i"] for r in rows] == list(range(COUNT))
    assert not [r for r in rows if r["word"] not in judge.RIGHT]
    assert {r["word"] for r in rows} - {"refused"}  # some are read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", ["ccir", "pt", "pt2", "pth", "legacy", "safetensors"])
def test_what_mutants_are_made_of_is_sound(reader: str, tmp_path: Path) -> None:
    pytest.importorskip(READERS[reader].package)
    if reader != "ccir":
        pytest.importorskip("torch")
    for seed in READERS[reader].seeds(tmp_path):
        model = judge.read(seed.files, seed.options)
        assert model is None or not model.problems


# ---------------------------------------------------------------- the fuzzer notices
@pytest.fixture
def seeds() -> list[Seed]:
    pytest.importorskip("convcore_onnx")
    return READERS["onnx"].seeds(Path())[:3]


def _rows(seeds: list[Seed], count: int = 3) -> list[dict[str, object]]:
    return list(worker.batch(seeds, [(i, f"notice:{i}") for i in range(count)]))


def _busy() -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass


@forks
def test_exceptions_and_bugs_are_faults(seeds: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(*_: object, **__: object) -> None:
        raise KeyError("w")

    monkeypatch.setattr(convcore, "load", foreign)
    assert [(r["word"], r["why"]) for r in _rows(seeds)] == [("foreign", "KeyError: 'w'")] * 3

    def bug(*_: object, **__: object) -> None:
        raise PluginBugError("p", "reading", KeyError("w"))

    monkeypatch.setattr(convcore, "load", bug)
    assert [r["word"] for r in _rows(seeds)] == ["bug"] * 3


@forks
def test_time_and_memory_are_faults(seeds: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LATE", 0.2)
    monkeypatch.setattr(convcore, "load", lambda *_, **__: _busy())
    (row,) = _rows(seeds, 1)
    assert row["word"] == "late"

    def large(*_: object, **__: object) -> None:
        raise BadFileError(str(np.ones(8 << 20, np.float64).sum()))

    monkeypatch.setattr(worker, "LATE", 10)
    monkeypatch.setattr(worker, "GROWTH", 20 << 10)
    monkeypatch.setattr(convcore, "load", large)
    assert _rows(seeds, 1)[0]["word"] == "large"  # what a second one takes may be memory that the first gave back


@forks
def test_a_child_that_dies_or_is_silent_is_replaced(seeds: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convcore, "load", lambda *_, **__: os.kill(os.getpid(), signal.SIGSEGV))
    assert [(r["i"], r["word"], r["why"]) for r in _rows(seeds)] == [(i, "died", "exit code -11 at read") for i in range(3)]

    def stuck(*_: object, **__: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
        _busy()

    monkeypatch.setattr(worker, "SILENT", 0.3)
    for silent in (stuck, lambda *_, **__: time.sleep(60)):
        monkeypatch.setattr(convcore, "load", silent)
        assert [r["word"] for r in _rows(seeds, 1)] == ["late"]


@forks
@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_child_never_comes_back(seeds: list[Seed], raised: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.setattr(worker, "make", broken)
    assert [(r["word"], r["why"]) for r in _rows(seeds, 2)] == [("died", "exit code 70 at make")] * 2


@forks
def test_other_people_s_crashes_are_theirs(seeds: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.readers.mutant", lambda _rng, data, _suffix: data)
    monkeypatch.setattr(judge, "_native", lambda *_: os.kill(os.getpid(), signal.SIGFPE))
    assert {(r["word"], r["why"]) for r in _rows(seeds)} == {("read", "onnxruntime died of it or of the result")}


@forks
def test_what_computes_something_else_is_a_fault(seeds: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.readers.mutant", lambda _rng, data, _suffix: data)
    assert {r["word"] for r in _rows(seeds)} == {"agrees"}
    run = convcore.Model.__call__
    monkeypatch.setattr(convcore.Model, "__call__", lambda self, x: run(self, x) * 1.01 + 0.01)
    rows = _rows(seeds)
    assert {r["word"] for r in rows} == {"wrong"}
    known = {"verdict": "wrong", "op": ".*", "why": "read: result 0 differs", "reason": "for the test"}
    monkeypatch.setattr(judge, "_differences", lambda: (known,))
    assert {(r["word"], r["why"]) for r in _rows(seeds)} == {("known", "for the test")}


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([1.0], [1.0, 1.0], "shape"), ([1.0], [1.1], "differs by 0.1"), ([1.0, np.nan], [1.0, 2.0], "not a number"),
        ([np.inf], [-np.inf], "infinite"), ([1], [2], "differs by 1"), ([True], [False], "differs by 1"),
    ],
)  # fmt: skip
def test_results_that_differ(a: list[object], b: list[object], why: str) -> None:
    assert why in judge._different([np.asarray(a)], [np.asarray(b)])
    assert not judge._different([np.asarray(a)], [np.asarray(a)])
    assert judge._different([np.asarray(a)], []) == "1 results and 0"


def test_known_differences_have_a_reason() -> None:
    for known in judge._differences():
        assert set(known) - {"weights"} == {"verdict", "op", "why", "reason"} and known["reason"].endswith(".")


def test_differences_of_huge_weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is for weights of a size says nothing of others."""
    pytest.importorskip("convcore_onnx")
    seed = next(s for s in READERS["onnx"].seeds(Path()) if s.files[0].name.startswith("linear"))
    graph = convcore.load(*seed.files).graph
    most = judge._largest(graph)
    assert 0 < most < 100
    for weights, word in ((most * 0.9, "known"), (most * 1.1, "wrong")):
        entry = {"verdict": "wrong", "op": "linear", "why": "differs", "weights": weights, "reason": "for the test"}
        monkeypatch.setattr(judge, "_differences", lambda entry=entry: (entry,))
        assert judge._known(judge.Verdict("wrong", "result 0 differs by 1"), graph).word == word


@forks
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("convcore_keras")
    from tests.fuzz import __main__ as run

    monkeypatch.setattr(run, "BATCH", 8)
    argv = ["fuzz", "json", "--seed", "s", "--out", str(tmp_path / "a"), "--count"]
    monkeypatch.setattr(sys, "argv", [*argv, "8"])
    assert run.main() == 0
    monkeypatch.setattr(sys, "argv", [*argv, "19"])
    assert run.main() == 0
    monkeypatch.setattr(sys, "argv", [*argv[:-2], str(tmp_path / "b"), "--count", "19"])
    assert run.main() == 0
    one, other = (json.loads((tmp_path / x / "s" / "summary.json").read_text("utf-8"))["readers"]["json"] for x in "ab")
    assert one["mutants"] == other["mutants"] == 19 and one["words"] == other["words"]


@forks
def test_a_fault_is_kept_with_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("convcore_keras")
    from tests.fuzz import __main__ as run

    def foreign(*_: object, **__: object) -> None:
        raise KeyError("w")

    monkeypatch.setattr(run, "preload", lambda _: None)
    monkeypatch.setattr(convcore, "load", foreign)
    monkeypatch.setattr(sys, "argv", ["fuzz", "json", "--seed", "s", "--out", str(tmp_path), "--count", "2"])
    assert run.main() == 1
    kept = tmp_path / "s" / "faults" / "json-0"
    assert json.loads((kept / "row.json").read_text("utf-8"))["word"] == "foreign" and (kept / "m.json").exists()


@pytest.mark.parametrize("suffix", [".onnx", ".caffemodel", ".json", ".prototxt", ".h5", ".keras", ".ccir"])
def test_mutants_stay_in_the_format(suffix: str, tmp_path: Path) -> None:
    """Most changes leave a file that its container's reader takes; none leaves it as it was."""
    reader = READERS[suffix[1:]]
    pytest.importorskip(reader.package)
    data = reader.seeds(tmp_path)[0].files[0].read_bytes()
    made = {mutant(random.Random(i), data, suffix) for i in range(40)}
    assert data not in made and len(made) > 20
