"""What one mutant does: it is refused, or read to its last weight; what is read is converted to ONNX, and what onnxruntime
computes of the result is compared with the interpreter, and of an ONNX mutant with onnxruntime on the mutant itself.

``agrees``, ``read`` (nothing to compare: the word says why) and ``refused`` are right; every other verdict is a fault.
"""

from __future__ import annotations

import json
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convcore
from convcore.checkpoints import read_checkpoint
from convcore.errors import BrokenPluginError, ConvcoreError, DeclarationError, PluginBugError, VerifyError
from convcore.samples import example_inputs, size_choices

CHECKPOINTS = (".pth", ".legacy", ".safetensors")
__all__ = ["RIGHT", "LateError", "Verdict", "judge", "read"]

RIGHT = ("agrees", "read", "refused", "known")
_BUGS = (PluginBugError, VerifyError, DeclarationError, BrokenPluginError)
_MOST = 1 << 18
"""Elements of the inputs of a model that is run."""
_HELD = 1 << 22
"""Elements of one weight that is read (a shape that is only declared may take more than a mutant is worth)."""
Array = NDArray[Any]
Feed = dict[str, Array]


class LateError(BaseException):
    """The time of a mutant is over."""


@dataclass
class Verdict:
    """How it ended, in one word; why, and for a fault where, which make its kind."""

    word: str
    why: str = ""
    where: str = ""

    @property
    def kind(self) -> str:
        return f"{self.word}: {re.sub(r'[0-9]+', '#', self.where or self.why)[:120]}"

    def row(self) -> dict[str, str]:
        return asdict(self)


def _where(e: BaseException) -> str:
    """The innermost line of ours."""
    cause = e.__cause__ if isinstance(e, PluginBugError) and e.__cause__ is not None else e
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        if "convcore" in frame.filename or "/core/" in frame.filename:
            return f"{type(cause).__name__} {'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
    return type(cause).__name__


def _tried(what: Callable[[], Any]) -> tuple[Any, Verdict | None]:
    """A value, or how making it failed."""
    try:
        return what(), None
    except _BUGS as e:
        return None, Verdict("bug", str(e)[:400], _where(e))
    except ConvcoreError as e:
        return None, Verdict("refused", str(e)[:200])
    except LateError as e:
        return None, Verdict("late", "", _where(e))
    except Exception as e:  # noqa: BLE001 - whatever is raised is a fault
        return None, Verdict("foreign", f"{type(e).__name__}: {str(e)[:400]}", _where(e))


def read(files: Sequence[Path], options: Mapping[str, Any]) -> Any:
    """The model, or for weights alone None, with every weight's values read."""
    held = read_checkpoint(files[0]) if files[0].suffix in CHECKPOINTS else None
    model = convcore.load(*files, **options) if held is None else None
    tensors = held.tensors.values() if held is not None else (v.tensor for v in model.graph.values())
    for tensor in tensors:
        if tensor is not None and tensor.size <= _HELD:
            tensor.numpy()
    return model


def judge(files: Sequence[Path], stage: Callable[[str], None], options: Mapping[str, Any], compare: bool = True) -> Verdict:
    """The verdict on the mutant. ``stage`` is told what begins: ``read``, ``convert``, ``native`` (not our code), ``run``."""
    stage("read")
    model, failed = _tried(lambda: read(files, options))
    if failed is not None or model is None or not compare:
        return failed or Verdict("read", "weights")
    stage("convert")
    out = files[0].with_name("result.onnx")
    out.unlink(missing_ok=True)
    _, failed = _tried(lambda: convcore.convert(model, "onnx", out, check=False))
    if failed is not None:
        return Verdict("read", "cannot be written") if failed.word == "refused" else failed
    stage("run")
    inputs, failed = _tried(lambda: _inputs(model))
    if failed is not None or inputs is None:
        return Verdict("read", "no inputs") if failed is None or failed.word == "refused" else failed
    ours, failed = _tried(lambda: model(inputs))
    if failed is not None and failed.word != "refused":
        return failed
    stage("native")
    theirs = _native(files[0], inputs) if files[0].suffix == ".onnx" else None
    made = _native(out, inputs)
    stage("run")
    return _compared(ours, theirs, made, model.graph)


def _inputs(model: Any) -> Feed | None:
    """Seeded inputs of the first sizes that are not too many."""
    for sizes in size_choices(model.graph):
        arrays = example_inputs(model.graph, sizes, low=-1.0)
        if sum(a.size for a in arrays) <= _MOST:
            return {v.name: a for v, a in zip(model.graph.inputs, arrays)}
        return None
    return None


def _native(path: Path, inputs: Feed) -> list[Array] | str:
    """What onnxruntime computes, or why it does not."""
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001 - a native library's own
        return f"load: {type(e).__name__}: {e}"
    names = {i.name for i in session.get_inputs()}
    if "" in inputs and len(names) == len(inputs):  # Caffe takes a blob without a name, which ONNX must give one
        (given,) = names - inputs.keys()
        inputs = {k or given: v for k, v in inputs.items()}
    if names != set(inputs):
        return f"inputs: {sorted(names)} beside {sorted(inputs)}"
    try:
        return list(session.run(None, inputs))
    except Exception as e:  # noqa: BLE001 - a native library's own
        return f"run: {type(e).__name__}: {e}"


def _compared(
    ours: Array | tuple[Array, ...] | None, theirs: list[Array] | str | None, made: list[Array] | str, graph: Any
) -> Verdict:
    """The three against each other; what runs nowhere else cannot be wrong here."""
    if isinstance(made, str):
        if isinstance(theirs, str) or "NotImplemented" in made or made.startswith("run:") or "is not a registered" in made:
            return Verdict(
                "read", "onnxruntime runs neither" if isinstance(theirs, str) else "onnxruntime does not run the result"
            )
        return _known(Verdict("unloadable", made[:400], re.sub(r"\(.*?\)|'[^']*'|m?\d+", "", made)[:120]), graph)
    ran = None if ours is None else list(ours) if isinstance(ours, tuple) else [ours]
    half = any(v.dtype is not None and v.dtype.is_float and v.dtype.numpy.itemsize <= 2 for v in graph.values())
    if isinstance(theirs, list):
        if ran is not None and (why := _different(ran, theirs, half)):
            return _known(Verdict("wrong", f"read: {why}"), graph)
        if why := _different(made, theirs, half):
            return _known(Verdict("wrong", f"written: {why}"), graph)
        return Verdict("agrees")
    if ran is None:
        return Verdict("read", "does not run")
    if why := _different(made, ran, half):
        return _known(Verdict("wrong", f"written: {why}"), graph)
    return Verdict("agrees", "with the interpreter")


def _different(a: Sequence[Any], b: Sequence[Any], half: bool = False) -> str:
    """How two lists of results differ; "" where they agree. ``half``: numbers of 16 bits or fewer are computed with."""
    if len(a) != len(b):
        return f"{len(a)} results and {len(b)}"
    for i, (x, y) in enumerate(zip(a, b)):
        if not isinstance(x, (np.ndarray, np.generic)) or not isinstance(y, (np.ndarray, np.generic)):
            continue
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape:
            return f"result {i} has shape {x.shape} and {y.shape}"
        if x.dtype != y.dtype and x.dtype.itemsize != y.dtype.itemsize:
            return f"result {i} is {x.dtype} and {y.dtype}"
        if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub" or not x.size:
            continue
        if why := _values(x, y, half):
            return f"result {i} {why}"
    return ""


def _values(x: Array, y: Array, half: bool) -> str:
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):
        if (np.isnan(x) != np.isnan(y)).any():
            return "is not a number in other places"
        inf = np.isinf(x) | np.isinf(y)
        if (x[inf] != y[inf]).any():
            return "is infinite in other places"
        span = float(np.nanmax(np.abs(np.where(inf, 0, y)), initial=0))
        most = float(np.nanmax(np.abs(np.where(inf, 0, x - y)), initial=0))
    if most > 1e-6 + (2e-2 if half else 1e-3) * span and not math.isnan(most):
        return f"differs by {most:.3g} of {span:.3g}"
    return ""


def _largest(graph: Any) -> float:
    """The largest weight without its sign; infinite where one is no number."""
    most = 0.0
    for v in graph.values():
        if v.tensor is not None and v.dtype.is_float and 0 < v.tensor.size <= _HELD:
            a = np.abs(v.tensor.numpy().astype(np.float64))
            most = max(most, math.inf if np.isnan(a).any() else float(a.max()))
    return most


@cache
def _differences() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(Path(__file__).with_name("known.json").read_text("utf-8")))


def _known(v: Verdict, graph: Any) -> Verdict:
    """A difference that is on the list, with its reason, else the fault with the graph's operators."""
    ops = sorted({n.op for n in graph.nodes})
    for known in _differences():
        here = known["verdict"] == v.word and re.search(known["why"], v.why) and any(re.fullmatch(known["op"], o) for o in ops)
        if here and _largest(graph) >= known.get("weights", 0):
            return Verdict("known", known["reason"])
    v.where = f"{v.where} {' '.join(ops[:6])}".strip()
    return v
