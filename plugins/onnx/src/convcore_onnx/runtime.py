"""Running ONNX models natively, with onnxruntime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, DType, InputError, Problem, Runtime, UnsupportedError, as_sequence, host

from .typecheck import text_type

__all__ = ["REQUIRES", "open_runtime"]

REQUIRES = ("onnxruntime>=1.16",)


def open_runtime(source: Any, weights: Any = None, *, optimise: bool = True) -> Runtime:
    """A session on ``source`` (a path or a ModelProto).

    ``optimise=False`` switches every graph optimisation off: 1.31.1 folds a zero Pad into the MaxPool after it and is wrong
    by 2e-3 then, so a failed comparison is repeated without, and a model it fails to open with them is opened without.
    FrameworkMissingError when onnxruntime is not installed; UnsupportedError when it lacks a kernel the model needs;
    BadFileError quotes why it refuses the model.
    """
    host().require(REQUIRES, "running ONNX models")
    import onnxruntime as ort

    ort.disable_telemetry_events()  # what a session would tell its maker (onnxruntime's Privacy.md)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads that spin cost more than the runs
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    what = _path_or_bytes(source) if isinstance(source, (str, os.PathLike)) else source.SerializeToString()
    try:
        session = ort.InferenceSession(what, options, providers=["CPUExecutionProvider"])
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as e:
        why = str(e).partition("NOT_IMPLEMENTED : ")[2] or str(e)
        raise UnsupportedError(Problem("", f"onnxruntime {ort.__version__}", why, code="unsupported_by_runtime")) from e
    except _errors(ort) as e:
        if "is not a registered function/op" in str(e):
            why = str(e).rpartition("Error: ")[2] or str(e)
            raise UnsupportedError(Problem("", f"onnxruntime {ort.__version__}", why, code="unsupported_by_runtime")) from e
        if optimise:  # its own rewriting may be what fails
            return open_runtime(source, weights, optimise=False)
        raise BadFileError(f"onnxruntime {ort.__version__} refuses the model: {e}") from e
    names = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    types = [text_type(o.type) for o in session.get_outputs()]

    def run(arrays: Any) -> list[Any]:
        if len(arrays) != len(names):
            raise InputError(f"{len(names)} inputs expected ({', '.join(names)}), got {len(arrays)}")
        try:
            made = session.run(outputs, {n: _given(a) for n, a in zip(names, arrays)})
            return [_value(y, t) for y, t in zip(made, types)]
        except _errors(ort) as e:
            raise InputError(f"onnxruntime: {e}") from e

    name = f"onnxruntime {ort.__version__}" + ("" if optimise else " without optimisations")
    plain = (lambda: open_runtime(source, weights, optimise=False)) if optimise else None
    return Runtime(name, run, tuple(names), tuple(outputs), plain)


def _given(a: Any) -> Any:
    """A value as onnxruntime takes it: sequences as lists, what may be absent as itself or None."""
    if not (isinstance(a, np.ndarray) and a.dtype.hasobject):
        return a
    if a.ndim == 0 and not isinstance(a.item(), str):
        return None if a.item() is None else _given(a.item())
    return list(a) if a.ndim == 1 and any(hasattr(x, "dtype") for x in a) else a


def _value(y: Any, dtype: DType | None) -> Any:
    """A result in our types: lists as sequences; bytes that stand for float8."""
    if isinstance(y, list):
        return as_sequence(y)
    return y.view(dtype.numpy) if dtype is not None and dtype.is_small and y.dtype == "uint8" else y


def _path_or_bytes(source: str | os.PathLike[str]) -> str | bytes:
    """The path, or where its name is no UTF-8, which onnxruntime cannot open, what the file holds."""
    path = os.fspath(source)
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(path).read_bytes()
    return path


def _errors(ort: Any) -> tuple[type[BaseException], ...]:
    state = ort.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented", "RuntimeException",
             "EPFail", "NoModel", "ModelLoaded", "EngineError")  # fmt: skip
    return (*(getattr(state, n) for n in names if hasattr(state, n)), RuntimeError, ValueError)
