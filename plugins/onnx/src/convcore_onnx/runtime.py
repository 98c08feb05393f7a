"""Running ONNX models natively, with onnxruntime on the CPU."""

from __future__ import annotations

import os
from typing import Any

from convcore.errors import BadFileError, InputError
from convcore.hookspecs import Runtime
from convcore.host import host

__all__ = ["REQUIRES", "open_runtime"]

REQUIRES = ("onnxruntime>=1.16",)


def open_runtime(source: Any, weights: Any = None, *, optimise: bool = True) -> Runtime:
    """A session on ``source`` (a path or a ModelProto).

    ``optimise=False`` switches every graph optimisation off: 1.31.1 folds a zero Pad into the MaxPool after it and is wrong
    by 2e-3 then, so a failed comparison is repeated without. FrameworkMissingError when onnxruntime is not installed;
    BadFileError quotes why it refuses the model.
    """
    host().require(REQUIRES, "running ONNX models")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    what = os.fspath(source) if isinstance(source, (str, os.PathLike)) else source.SerializeToString()
    try:
        session = ort.InferenceSession(what, options, providers=["CPUExecutionProvider"])
    except _errors(ort) as e:
        raise BadFileError(f"onnxruntime {ort.__version__} refuses the model: {e}") from e
    names = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]

    def run(arrays: Any) -> list[Any]:
        if len(arrays) != len(names):
            raise InputError(f"{len(names)} inputs expected ({', '.join(names)}), got {len(arrays)}")
        try:
            return list(session.run(outputs, dict(zip(names, arrays))))
        except _errors(ort) as e:
            raise InputError(f"onnxruntime: {e}") from e

    return Runtime(f"onnxruntime {ort.__version__}", run, tuple(names), tuple(outputs))


def _errors(ort: Any) -> tuple[type[BaseException], ...]:
    state = ort.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented", "RuntimeException",
             "EPFail", "NoModel", "ModelLoaded", "EngineError")  # fmt: skip
    return (*(getattr(state, n) for n in names if hasattr(state, n)), RuntimeError, ValueError)
