"""``--run-custom-code PATH``: the user's own code, which reading does not understand, run in a child process by Keras.

Only ever because it is asked for, and only what is at PATH: code inside a model file stays refused (``safe_mode``). The child has
limits, imports the files that define the model's custom layers, loads the model, calls the layers on symbolic tensors and writes
a model of Keras's own layers, which is read as any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convcore.plugin import BadFileError, Problem, UnsupportedError, UsageError, ask_option, host

__all__ = ["limits", "ran", "serve"]

REQUIRES = ("keras>=3",)
SECONDS = 600
BYTES = 16 << 30
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from convcore_keras.run_code import serve; serve()"


@contextmanager
def ran(source: Any, weights: Any, paths: Sequence[str]) -> Iterator[Path]:
    """A ``.keras`` file of the model with its custom layers entered, while the context lasts.

    Raises UsageError (no file, no source), UnsupportedError (a layer's code needs values) and BadFileError (Keras, or the code,
    fails), each with what the child says.
    """
    from .code.source.library import library

    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"{ask_option('run_custom_code')} is for files: the classes of a live model are there already")
    host().require(REQUIRES, "running custom code")
    files = library(paths)
    defined = [
        {"file": str(d.file.path), "root": str(d.file.root), "module": ".".join(d.file.dotted), "name": d.name, "as": name}
        for name, definitions in files.index.items()
        for d in definitions
    ]
    with tempfile.TemporaryDirectory(prefix="convcore-keras-") as folder:
        out = Path(folder) / "model.keras"
        task = {
            "source": os.path.abspath(source), "weights": None if weights is None else os.path.abspath(weights), "out": str(out),
            "defined": defined,
        }  # fmt: skip
        said = _child(task, folder)
        if said.get("unsupported"):
            raise UnsupportedError(Problem(**said["unsupported"]), "cannot be read")
        if said.get("failed") or not out.is_file():
            raise BadFileError(
                f"{source}: {ask_option('run_custom_code')}: {said.get('failed') or 'the child process wrote nothing'}"
            )
        yield out


def _child(task: dict[str, Any], folder: str) -> dict[str, Any]:
    paths = json.dumps([p or os.getcwd() for p in sys.path])
    command = [sys.executable, "-c", _START, paths]
    try:
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, timeout=SECONDS, cwd=folder, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"it takes more than {SECONDS} s"}
    answer = next((line[8:] for line in reversed(done.stdout.splitlines()) if line.startswith("ANSWER: ")), None)
    if answer is None:
        last = (done.stderr.strip().splitlines() or ["nothing is said"])[-1]
        return {"failed": f"the child process ends with {done.returncode}: {last[:300]}"}
    found: dict[str, Any] = json.loads(answer)
    return found


# ---- in the child
def limits(seconds: int = SECONDS, size: int = BYTES) -> None:
    """Bound what this process may use: processor time, memory, size of files; no core dumps."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        for what, most in (("RLIMIT_CPU", seconds), ("RLIMIT_AS", size), ("RLIMIT_FSIZE", size), ("RLIMIT_CORE", 0)):
            resource.setrlimit(getattr(resource, what), (most, most))


def serve() -> None:
    """The child: read the task, answer with one line."""
    limits()
    task = json.load(sys.stdin)
    try:
        _run(task)
        answer: dict[str, Any] = {}
    except UnsupportedError as e:
        p = e.problems[0]
        answer = {"unsupported": {"layer": p.layer, "type": p.type, "why": p.why, "hint": p.hint, "code": p.code}}
    except BaseException as e:  # noqa: BLE001 - whatever the user's code raises is what is told
        answer = {"failed": f"{type(e).__name__}: {str(e)[:500]}"}
    sys.stdout.write(f"\nANSWER: {json.dumps(answer)}\n")


def _run(task: dict[str, Any]) -> None:
    import importlib

    from .trace import entered

    keras: Any = importlib.import_module("keras")

    needed = _named(Path(task["source"]))
    objects: dict[str, Any] = {}
    for d in task["defined"]:
        if d["as"] in needed or d["name"] in needed:
            found = getattr(_imported(d), d["name"])
            objects.update({d["as"]: found, d["name"]: found})
    source = task["source"]
    if source.endswith(".json"):
        model = keras.models.model_from_json(Path(source).read_text("utf-8"), custom_objects=objects)
    else:
        model = keras.models.load_model(source, custom_objects=objects, compile=False, safe_mode=True)
    if task["weights"]:
        model.load_weights(task["weights"])
    entered(model).save(task["out"])


def _named(source: Path) -> set[str]:
    """The classes and functions that a model's configuration names."""
    from .files.reader import architecture

    found: set[str] = set()

    def walk(x: Any) -> None:
        if isinstance(x, dict):
            found.update(
                v for k, v in x.items() if k in ("class_name", "registered_name", "config", "activation") and isinstance(v, str)
            )
            for v in x.values():
                walk(v)
        elif isinstance(x, list):
            for v in x:
                walk(v)

    walk(architecture(source)[2])
    return found | {n.rpartition(">")[2] for n in found}


def _imported(d: dict[str, str]) -> Any:
    import importlib

    if d["root"] not in sys.path:
        sys.path.insert(0, d["root"])
    parent = str(Path(d["root"]).parent)
    if (Path(d["root"]) / "__init__.py").is_file():  # the folder is a package itself
        if parent not in sys.path:
            sys.path.insert(0, parent)
        return importlib.import_module(".".join(filter(None, (Path(d["root"]).name, d["module"]))))
    return importlib.import_module(d["module"])
