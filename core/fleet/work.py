"""One model in a process of its own: started, limited, waited for, and its row read. Runs alike here and on a dask worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from . import places
from .task import Limits, Row, Task

__all__ = ["convert_one", "stop_all"]

_running: set[subprocess.Popen[bytes]] = set()


def convert_one(task: Task, limits: Limits) -> Row:
    """Convert one model. Whatever happens to its process is a row; what is behind URLs is fetched first, results sent back."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="convcore-batch-") as folder:
        try:
            near = places.fetched(task, Path(folder))
            places.make_folder(os.path.dirname(near.out))
        except (OSError, UsageError) as e:
            return Row(task.source, "error", task.out, task.key, message=f"cannot be fetched: {e}")
        row = _in_a_process(near, task, limits, Path(folder))
        row = replace(row, source=task.source, out=task.out, key=task.key)
        try:
            row.reports = places.sent(task, row.reports)
            row.files = places.sent(task, row.files)
        except OSError as e:
            row = replace(row, status="error", message=f"the result cannot be sent: {e}", files=[], reports=[])
    return replace(row, seconds=time.monotonic() - start)


def _in_a_process(task: Task, asked: Task, limits: Limits, folder: Path) -> Row:
    """The row of a task whose files are here; ``asked`` is what it was before they were fetched."""
    answer, log = folder / "row.json", folder / "log.txt"
    job = {
        "source": task.source, "weights": task.weights, "to": task.to, "out": task.out, "options": dict(task.options),
        "each": list(task.each), "memory": limits.memory, "flags": limits.flags, "overwrite": limits.overwrite,
        "fetched": {a: b for a, b in ((task.source, asked.source), (task.weights, asked.weights)) if a != b}, "row": str(answer),
    }  # fmt: skip
    command = [sys.executable, "-m", "convcore.fleet.child", json.dumps(job)]
    with log.open("wb") as f:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=f, stderr=f, start_new_session=os.name == "posix",
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )  # fmt: skip
        _running.add(process)
        try:
            code: int | None = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    if code is None:
        return Row(task.source, "timeout", message=f"took longer than {limits.seconds:g} s")
    if answer.is_file():
        return Row(task.source, **json.loads(answer.read_text(encoding="utf-8")))
    return _died(task.source, code, _tail(log))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started, and let go of it."""
    if process.poll() is None:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
    _running.discard(process)


def stop_all() -> None:
    """Kill every process that is running for this one."""
    for process in list(_running):
        _end(process)


def _died(source: str, code: int, said: str) -> Row:
    """The row of a process that left none."""
    if "MemoryError" in said or "bad_alloc" in said or "Cannot allocate memory" in said:
        return Row(source, "out of memory", message="the memory limit was reached")
    how = f"exit code {code}"
    if code < 0:
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"signal {-code}"
    return Row(source, "crashed", message=how + (f": {said}" if said else ""))


def _tail(log: Path) -> str:
    """The last line that a process said, at most 300 characters."""
    with log.open("rb") as f:
        f.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in f.read().decode("utf-8", "replace").splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("Fatal Python error")), "")
    return (first or (lines[-1] if lines else ""))[:300]
