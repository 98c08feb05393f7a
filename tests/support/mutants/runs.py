"""One change at a time, in a child of a process that has everything else ready.

A change inside a function, or of a default it has, is made to the functions of a process that has imported and collected
everything (``InPlace``): a run costs what its tests cost. What runs while modules are imported is changed as they are imported
anew, by a child of a process that has imported the frameworks only (``anew``). Nothing on disk is changed; processes that a test
starts import the changed text too (``hook``).
"""

from __future__ import annotations

import ast
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.mutants.hook.sitecustomize import CHANGED, import_changed
from tests.support.mutants.sites import ROOT, Mutant

HOOK = Path(__file__).parent / "hook"

PRELOADED = (
    "numpy", "torch", "torch.export", "torch.fx", "onnx", "onnx.reference", "onnxruntime", "h5py", "keras", "cv2", "hypothesis",
    "hypothesis.strategies", "_hypothesis_pytestplugin", "pluggy", "importlib_metadata", "packaging.requirements",
)  # fmt: skip
"""Imported once. Nothing of convcore."""


OPTIONS = ("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow", "--disable-warnings")


@dataclass(frozen=True)
class Outcome:
    """What a run of tests said: the test that failed first, or none."""

    code: int
    failed: str = ""
    why: str = ""


Change = tuple[str, bytes, bytes]
"""A path, its text and the changed text."""
Runs = Callable[[list[str], float, "Change | None"], Outcome]


def preload(folder: Path) -> None:
    """Imports the frameworks, with one thread each."""
    os.environ.update(
        KERAS_BACKEND="torch",
        OMP_NUM_THREADS="1",
        PYTHONDONTWRITEBYTECODE="1",
        HYPOTHESIS_STORAGE_DIRECTORY=str(folder / "hypothesis"),
    )
    sys.dont_write_bytecode = True
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


class First:
    """Notes the test that fails first."""

    def __init__(self) -> None:
        self.failed, self.why = "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed, self.why = report.nodeid, str(getattr(crash, "message", report.longrepr))[:200]


def die_with_parent() -> None:
    """Has this process end when the one that forked it does (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def child(folder: Path, seconds: float, work: Callable[[First], int]) -> Outcome:
    """What ``work`` does in a fork; negative where it died, as of ``seconds`` of its own time; 124 where it stood still."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            die_with_parent()
            os.setpgid(0, 0)
            told = folder / f"outcome-{os.getpid()}.json"
            _silent()
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
            first = First()
            code = work(first)
            told.write_text(json.dumps([first.failed, first.why]), encoding="utf-8")
        finally:
            os._exit(code)
    end, told = time.monotonic() + 60 * seconds, folder / f"outcome-{pid}.json"
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Outcome(124, why="stood still")
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, *json.loads(told.read_text("utf-8"))) if told.exists() else Outcome(code, why=f"died ({code})")


def _silent() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for n in (0, 1, 2):
        os.dup2(null, n)


def changed(folder: Path, path: str, text: bytes) -> None:
    """Has this process, and those it starts, import ``text`` in place of the file."""
    file, held = str((ROOT / path).resolve()), folder / f"changed-{os.getpid()}"
    held.write_bytes(text)
    paths = [str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ.update({"PYTHONPATH": os.pathsep.join(paths), CHANGED: f"{file}{os.pathsep}{held}"})
    import_changed(file, text)


def anew(folder: Path) -> Runs:
    """Runs tests in a process that imports convcore anew."""

    def runs(tests: list[str], seconds: float, change: Change | None) -> Outcome:
        def work(first: First) -> int:
            os.chdir(ROOT)
            if change is not None:
                changed(folder, change[0], change[2])
            options = [
                "-x",
                "-q",
                "--no-header",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                "-m",
                "not slow",
                "--disable-warnings",
            ]
            return int(pytest.main([*options, f"--basetemp={folder}/tmp-{os.getpid()}", *tests], plugins=[first]))

        return child(folder, seconds, work)

    return runs


class InPlace:
    """A pytest plugin that, when the tests are collected, hands over a way to run some of them instead of running all."""

    def __init__(self, folder: Path, then: Callable[[Runs, set[str]], None]) -> None:
        self.folder, self.then = folder, then
        self.items: dict[str, pytest.Item] = {}
        self.functions: defaultdict[tuple[str, str, int], list[types.FunctionType]] = defaultdict(list)
        self.real: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {i.nodeid: i for i in session.items}
        gc.unfreeze()  # what is frozen is not among the objects
        for f in gc.get_objects():
            if isinstance(f, types.FunctionType) and f.__code__.co_filename.startswith(str(ROOT)):
                self.functions[self.place(f.__code__)].append(f)
        if not self.functions:
            raise RuntimeError("no function of the sources is found: every change would be missed")
        gc.collect()
        gc.freeze()
        self.then(self.runs, set(self.items))
        return True

    def place(self, code: types.CodeType) -> tuple[str, str, int]:
        file = self.real.setdefault(code.co_filename, os.path.realpath(code.co_filename))
        return file, getattr(code, "co_qualname", code.co_name), code.co_firstlineno

    def runs(self, tests: list[str], seconds: float, change: Change | None) -> Outcome:
        def work(first: First) -> int:
            if change is not None:
                self.make(*change)
                changed(self.folder, change[0], change[2])
            items = [self.items[t] for t in tests if t in self.items]
            config = items[0].config
            capture = config.pluginmanager.getplugin("capturemanager")
            capture.stop_global_capturing()
            _silent()
            capture.start_global_capturing()
            config.pluginmanager.unregister(name="terminalreporter")
            getattr(config, "_tmp_path_factory")._given_basetemp = self.folder / f"tmp-{os.getpid()}"  # noqa: B009
            config.pluginmanager.register(first)
            for item, following in zip(items, [*items[1:], None]):
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if first.failed:
                    return 1
            return 0

        return child(self.folder, seconds, work)

    def make(self, path: str, old: bytes, new: bytes) -> None:
        """Gives every function that the change is in its changed code, or default."""
        file = str((ROOT / path).resolve())
        for before, after in _differing(
            compile(old, file, "exec", dont_inherit=True), compile(new, file, "exec", dont_inherit=True)
        ):
            for f in self.functions.get(self.place(before), ()):
                f.__code__ = after
        for name, line, positional, named in _defaults(old, new):
            for f in [f for (at, _, n), fs in self.functions.items() if (at, n) == (file, line) for f in fs]:
                if f.__code__.co_name == name:
                    values = f.__defaults__ or ()
                    f.__defaults__ = tuple(positional.get(i, v) for i, v in enumerate(values)) if values else None
                    f.__kwdefaults__ = {**(f.__kwdefaults__ or {}), **named} or None


def _differing(old: types.CodeType, new: types.CodeType) -> Iterator[tuple[types.CodeType, types.CodeType]]:
    """The functions, outer and inner, whose code is another."""
    inner = [[c for c in code.co_consts if isinstance(c, types.CodeType)] for code in (old, new)]
    for a, b in zip(*inner):
        if a != b:
            yield a, b
            yield from _differing(a, b)


def _defaults(old: bytes, new: bytes) -> Iterator[tuple[str, int, dict[int, Any], dict[str, Any]]]:
    """Name and first line of a function whose signature has another default, and that by place and by name."""
    for a, b in zip(ast.walk(ast.parse(old)), ast.walk(ast.parse(new))):
        if isinstance(a, ast.FunctionDef) and isinstance(b, ast.FunctionDef) and ast.dump(a.args) != ast.dump(b.args):
            positional = {i: y for i, (x, y) in enumerate(zip(a.args.defaults, b.args.defaults)) if ast.dump(x) != ast.dump(y)}
            names = zip(b.args.kwonlyargs, a.args.kw_defaults, b.args.kw_defaults)
            named = {n.arg: y for n, x, y in names if x is not None and y is not None and ast.dump(x) != ast.dump(y)}
            line = min([a.lineno, *(d.lineno for d in a.decorator_list)])
            yield a.name, line, *({k: ast.literal_eval(y) for k, y in found.items()} for found in (positional, named))


def judge(m: Mutant, text: bytes, stages: list[tuple[list[str], float]], runs: Runs, broken: set[str]) -> tuple[str, str]:
    """("noticed", by what), ("missed", "") or ("unknown", why); ``broken`` are tests that fail here without any change."""
    change = m.path, text, m.apply(text)
    for tests, seconds in stages:
        for _ in range(12):
            left = [t for t in tests if t not in broken]
            found = runs(left, seconds, change) if left else Outcome(0)
            if found.code in (0, 5) and not found.failed:
                break
            again = runs([found.failed] if found.failed in left else left, seconds, None)
            if again.code == 0:
                return "noticed", f"{found.failed}: {found.why}"
            if not again.failed:
                return "unknown", f"the tests end with {again.code} ({again.why}) without the change"
            broken.add(again.failed)
        else:
            return "unknown", "too many of its tests fail without the change"
    return "missed", ""
