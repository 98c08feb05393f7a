"""A file's own framework in a process of its own, which may die of the file without taking the conversion along.

Both sides speak messages: the length of a head in JSON, the head, the bytes of the arrays it lists. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..errors import ConvcoreError, NativeCrashError, Problem, UnsupportedError, ask
from ..hookspecs import Runtime
from ..ir.dtypes import DType

__all__ = ["Child", "open_in_child", "serve"]

Array = NDArray[Any]

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from convcore.verification.child import serve; serve()"


def open_in_child(
    framework: str, source: Path, weights: Path | None, children: dict[str, Child] | None = None
) -> Runtime | None:  # fmt: skip
    """The framework's runtime of a file, in a child process; None where it has none.

    ``children`` holds processes by framework: files that are compared with one another may share one, and what imports cost.
    Raises what opening it raises, and NativeCrashError where the process dies of it, now or while it runs.
    """
    kept = {} if children is None else children
    child = kept[framework] = kept.get(framework) or Child()
    head = {"framework": framework, "source": str(source), "weights": None if weights is None else str(weights)}
    opened, _ = child.ask((framework, source), head)
    return None if opened["name"] is None else _runtime(child, (framework, source), opened)


def _runtime(child: Child, what: tuple[str, Path], opened: dict[str, Any]) -> Runtime:
    number = opened["number"]

    def run(arrays: Sequence[Array]) -> list[Array]:
        return child.ask(what, {"run": number}, arrays)[1]

    def plain() -> Runtime:
        return _runtime(child, what, child.ask(what, {"plain": number})[0])

    names = tuple(opened["inputs"]), tuple(opened["outputs"])
    return Runtime(f"{opened['name']} (its own process)", run, *names, plain if opened["plain"] else None)


class Child:
    """The process, until it is forgotten or dies."""

    def __init__(self) -> None:
        paths = json.dumps([p or os.getcwd() for p in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._end = weakref.finalize(self, _end, self._process)

    def ask(
        self, what: tuple[str, Path], head: dict[str, Any], arrays: Sequence[Array] = ()
    ) -> tuple[dict[str, Any], list[Array]]:
        """The answer to one message about a framework's file."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            _send(stdin, head, arrays)
            answer, results = _receive(stdout)
        except (EOFError, BrokenPipeError):
            self._process.kill()
            raise NativeCrashError(_died(what, self._process.wait())) from None
        if "error" in answer:
            raise _error(answer)
        return answer, results


def _died(what: tuple[str, Path], code: int) -> str:
    how = f"of {signal.Signals(-code).name}" if code < 0 and -code in set(signal.Signals) else f"with exit code {code}"
    framework, source = what
    left_out = ask("--no-check", "check=False")
    return f"the native runtime of {framework} died {how} while it had {source}; check without it, or not at all ({left_out})"


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    process.kill()
    process.wait()


def _error(answer: dict[str, Any]) -> ConvcoreError:
    if answer["problems"]:
        return UnsupportedError([Problem(**p) for p in answer["problems"]])
    kind = getattr(errors, answer["error"], ConvcoreError)
    made: ConvcoreError = kind(answer["text"])
    return made


# ---------------------------------------------------------------- messages
def _send(stream: IO[bytes], head: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    listed, parts = [], []
    for a in map(np.asarray, arrays):
        dtype = DType.of(a.dtype)
        parts.append(json.dumps([str(x) for x in a.ravel()]).encode() if dtype is DType.STRING else a.tobytes())
        listed.append({"dtype": str(dtype), "shape": a.shape, "bytes": len(parts[-1])})
    text = json.dumps({**head, "arrays": listed}).encode()
    stream.write(struct.pack("<Q", len(text)) + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[Array]]:
    head: dict[str, Any] = json.loads(_exactly(stream, struct.unpack("<Q", _exactly(stream, 8))[0]))
    arrays: list[Array] = []
    for a in head.pop("arrays"):
        dtype, data = DType(a["dtype"]), _exactly(stream, a["bytes"])
        flat = np.array(json.loads(data), object) if dtype is DType.STRING else np.frombuffer(data, dtype.numpy).copy()
        arrays.append(flat.reshape(a["shape"]))
    return head, arrays


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


# ---------------------------------------------------------------- the child's side
def serve() -> None:
    """Answer the parent until it is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    opened: list[Runtime] = []
    while True:
        try:
            head, arrays = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            said, results = _answer(head, arrays, opened)
        except ConvcoreError as e:
            problems = [p.to_dict() for p in e.problems] if isinstance(e, UnsupportedError) else []
            said, results = {"error": type(e).__name__, "text": str(e), "problems": problems}, []
        except Exception as e:  # noqa: BLE001 - told to the parent, which raises it as an error of the runtime
            said, results = {"error": "InputError", "text": f"{type(e).__name__}: {e}", "problems": []}, []
        _send(answers, said, results)


def _answer(head: dict[str, Any], arrays: list[Array], opened: list[Runtime]) -> tuple[dict[str, Any], list[Array]]:
    from ..host import host

    if "run" in head:
        return {}, [np.asarray(y) for y in opened[head["run"]].run(arrays)]
    if "plain" in head:
        plain = opened[head["plain"]].plain
        assert plain is not None
        runtime: Runtime | None = plain()
    else:
        weights = None if head["weights"] is None else Path(head["weights"])
        runtime = host().runtime(head["framework"], Path(head["source"]), weights)
    if runtime is None:
        return {"name": None}, []
    opened.append(runtime)
    said = {"name": runtime.name, "inputs": runtime.inputs, "outputs": runtime.outputs, "plain": runtime.plain is not None}
    return {**said, "number": len(opened) - 1}, []
