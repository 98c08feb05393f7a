"""Many mutants in one forked child of a process that has imported everything: bounded in memory and time, replaced when it dies.

The child says which mutant it is at and at what stage; a child that dies or stays silent is blamed on that mutant, and the next
child goes on behind it. Death inside onnxruntime is onnxruntime's.
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.judge import LateError, Verdict, judge, read
from tests.fuzz.readers import Seed, make

import convcore
from convcore.errors import ConvcoreError

try:
    import resource
except ImportError:  # Windows, where there is no fork either
    resource = None  # type: ignore[assignment]

__all__ = ["LATE", "batch", "preload"]

LATE = 10
"""Seconds of CPU that a mutant may take, reading and converting; onnxruntime has as long again."""
SILENT = 40
"""Seconds of CPU after which a child that no signal reaches is ended; ten times as many of any."""
GROWTH = 1 << 20
"""What the process may grow by for one mutant, in KiB."""
LIMIT = 4 << 30
"""What a child may take at all, in bytes beyond what it starts with."""


def preload(seeds: list[Seed]) -> None:
    """Import all that a mutant needs, so that children start ready, by converting some seeds. Sessions of onnxruntime and their
    threads are made in children only."""
    importlib.import_module("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="convcore-fuzz-") as folder:
        for seed in seeds[:: max(1, len(seeds) // 8)]:
            try:
                model = read(seed.files, seed.options)
                if model is not None:
                    convcore.convert(model, "onnx", Path(folder) / "ready.onnx", check=False)
            except ConvcoreError:
                continue


def batch(seeds: list[Seed], names: list[tuple[int, str]], compare: bool = True) -> Iterator[dict[str, Any]]:
    """A row for each mutant of those names (number, what it is made of): number, verdict, seconds, KiB."""
    todo = list(names)
    while todo:
        done = 0
        for row in _child(seeds, todo, compare):
            done += 1
            yield row
        todo = todo[done:]


def _child(seeds: list[Seed], todo: list[tuple[int, str]], compare: bool) -> Iterator[dict[str, Any]]:
    """Rows as a child gives them, the last about what killed it."""
    with tempfile.TemporaryDirectory(prefix="convcore-fuzz-") as folder:
        r, w = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            os.close(r)
            _work(seeds, todo, compare, Path(folder), w)
        os.close(w)
        at, why = (todo[0][0], "read"), ""
        text = b""
        spoke, spent = time.monotonic(), 0.0
        while True:
            if not select.select([r], [], [], min(SILENT, 1))[0]:
                if _cpu(pid) - spent > SILENT or time.monotonic() - spoke > 10 * SILENT:
                    why = f"silent for {SILENT} s"
                    os.kill(pid, signal.SIGKILL)
                continue
            spoke, spent = time.monotonic(), _cpu(pid)
            data = os.read(r, 1 << 16)
            if not data:
                break
            *lines, text = (text + data).split(b"\n")
            for line in lines:
                row = json.loads(line)
                if "stage" in row:
                    at = row["i"], row["stage"]
                    continue
                at = (row["i"] + 1, "")
                yield row
        os.close(r)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code or why:
            i, stage = at
            native = Verdict("read", "onnxruntime died of it or of the result")
            v = native if stage == "native" else Verdict("late" if why else "died", why or f"exit code {code} at {stage}", stage)
            yield {"i": i, "s": SILENT if why else 0.0, "kb": 0, "seed": "", "hash": f"died {i}", **v.row()}


def _work(seeds: list[Seed], todo: list[tuple[int, str]], compare: bool, folder: Path, w: int) -> None:
    """The child, which never comes back: whatever it raises ends it, and is told as its death."""
    code = 70
    try:
        _bounded()
        out = os.fdopen(w, "w")

        def say(row: dict[str, Any]) -> None:
            out.write(json.dumps(row) + "\n")
            out.flush()

        for i, name in todo:
            say(_row(i, name, seeds, folder, say, compare))
        code = 0
    finally:
        os._exit(code)


def _bounded() -> None:
    """Nothing is printed, memory and the time of a mutant have limits, no core is dumped."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    faulthandler.disable()
    held = _kib("VmData") << 10
    resource.setrlimit(resource.RLIMIT_DATA, (held + LIMIT, held + LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _late)


def _row(
    i: int, name: str, seeds: list[Seed], folder: Path, say: Callable[[dict[str, Any]], None], compare: bool
) -> dict[str, Any]:
    """One mutant, made and judged."""

    def stage(at: str) -> None:
        say({"i": i, "stage": at})
        if at == "native":
            signal.setitimer(signal.ITIMER_PROF, 2 * LATE)

    stage("make")
    seed, files = make(seeds, name, folder)
    digest = hashlib.blake2b(files[seed.damaged].read_bytes(), digest_size=8).hexdigest()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    before, began = _kib("VmHWM"), time.process_time()
    try:
        try:
            signal.setitimer(signal.ITIMER_PROF, LATE)
            v = judge(files, stage, seed.options, compare)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except LateError:  # also where the time was over just when the timer was stopped
        v = Verdict("late", "between two stages")
    grown = _kib("VmHWM") - before
    if grown > GROWTH:
        v = Verdict("large", f"{grown >> 10} MiB; else {v.word}: {v.why[:100]}")
    took = round(time.process_time() - began, 3)
    return {"i": i, "s": took, "kb": max(grown, 0), "seed": seed.files[0].name, "hash": digest, **v.row()}


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken (proc(5): utime and stime, behind the name in brackets)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kib(what: str) -> int:
    """A line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1])
    return 0


def _late(*_: object) -> None:
    raise LateError
