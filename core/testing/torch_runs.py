"""One sample of torch's tables of tests: by torch, exported, by convcore, and whether the results agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedError
from ..host import host
from ..interpreter import Interpreter
from ..pipeline import convert, load

__all__ = [
    "array",
    "by_reference",
    "differs",
    "exported",
    "filled",
    "leaves",
    "run_program",
    "run_strictly",
    "run_torch",
    "untied",
]

Array = NDArray[Any]


def exported(module: Any, inputs: tuple[Any, ...]) -> Any:
    """The ExportedProgram, or why torch makes none."""
    import contextlib
    import io
    import logging

    import torch

    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return torch.export.export(module, inputs, strict=False)
    except Exception as e:  # noqa: BLE001 - torch.export decides what it takes
        return f"torch.export: {type(e).__name__}"
    finally:
        logger.setLevel(level)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from leaves(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from leaves(v)
    elif value is not None:
        yield value


def filled(value: Any, tensors: Iterator[Any]) -> Any:
    """Nested arguments with their tensors replaced in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        made = [filled(v, tensors) for v in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return {k: filled(v, tensors) for k, v in value.items()} if isinstance(value, dict) else value


def run_torch(module: Any, inputs: tuple[Any, ...], seed: int) -> list[Array]:
    import torch

    torch.manual_seed(seed)
    made = module(*(t.clone() for t in inputs))
    return [array(v) for v in leaves(made)]


def run_strictly(module: Any, inputs: tuple[Any, ...]) -> list[Array]:
    """With another seed and torch's deterministic algorithms: ties in a stable order, memory that nobody wrote filled."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        return run_torch(module, inputs, 2)
    finally:
        torch.use_deterministic_algorithms(False)


def array(v: Any) -> Array:
    import torch

    if not isinstance(v, torch.Tensor):
        return np.asarray(v)
    if v.layout != torch.strided:
        raise TypeError(f"a result of layout {v.layout}")
    return np.array(v.detach().resolve_conj().resolve_neg().numpy())


def run_program(program: Any, inputs: tuple[Any, ...], target: str) -> list[Array]:
    """What convcore makes of an ExportedProgram gives for inputs; UnsupportedError where anything is refused."""
    arrays = [array(t) for t in inputs]  # layouts without arrays are outside, see _outcome
    if target == "interpreter":
        model = load(program)
        if model.problems:
            raise UnsupportedError(model.problems)
        return [np.asarray(a) for a in Interpreter(model.graph).run(arrays)]
    made = convert(program, target, check=False, io_layout="source")
    runtime = host().runtime(target, made.model, None)
    if runtime is None:
        raise RuntimeError(f"{target} has no runtime here")
    return [np.asarray(a) for a in runtime.run(arrays)]


def by_reference(program: Any, inputs: tuple[Any, ...]) -> list[Array]:
    """What the standard's own evaluator gives for the ONNX model of an ExportedProgram; nothing where it does not run it."""
    from onnx.reference import ReferenceEvaluator

    model = convert(program, "onnx", check=False, io_layout="source").model
    feeds = {i.name: array(t) for i, t in zip(model.graph.input, inputs)}
    try:
        return [np.asarray(a) for a in ReferenceEvaluator(model).run(None, feeds)]
    except Exception:  # noqa: BLE001 - a second judge that does not run says nothing
        return []


def untied(got: list[Array], want: Sequence[Array], inputs: tuple[Any, ...]) -> list[Array]:
    """Indices beside the values they pick from the first input: among equals any is right (torch.topk, median, mode say so)."""
    out = list(got)
    for i in range(1, min(len(got), len(want))):
        a, b, values = got[i], want[i], want[i - 1]
        if b.dtype != np.int64 or a.shape != b.shape or b.shape != values.shape or np.array_equal(a, b) or not inputs:
            continue
        x = array(inputs[0])
        for axis in range(x.ndim):
            full = [v if v.ndim == x.ndim else np.expand_dims(v, axis) for v in (a, values)]
            if full[0].ndim != x.ndim or full[0].size == 0 or full[0].min() < 0 or full[0].max() >= x.shape[axis]:
                continue
            rest = [n for k, n in enumerate(x.shape) if k != axis]
            if [n for k, n in enumerate(full[0].shape) if k != axis] != rest:
                continue
            if np.array_equal(np.take_along_axis(x, full[0], axis), full[1], equal_nan=x.dtype.kind == "f"):
                out[i] = b
    return out


def differs(got: Sequence[Array], want: Sequence[Array], tolerance: float) -> str:
    """Why results differ; "" where they agree in number, type, shape and value. The tolerance is relative to the range."""
    if len(got) != len(want):
        return f"{len(got)} results, not {len(want)}"
    for i, (a, b) in enumerate(zip(got, want)):
        if a.shape != b.shape or (a.dtype != b.dtype and b.ndim):
            return f"result {i} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if b.dtype.kind not in "fc":
            if not np.array_equal(a, b):
                return f"result {i}: values differ in {int((a != b).sum())} of {b.size} places"
            continue
        x, y = a.astype(np.complex128), b.astype(np.complex128)
        finite = np.isfinite(y)
        if not np.array_equal(finite, np.isfinite(x)) or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return f"result {i}: other infinities or NaNs"
        scale = float(np.abs(y[finite]).max()) if finite.any() else 0.0
        worst = float(np.abs(x[finite] - y[finite]).max()) if finite.any() else 0.0
        if worst > tolerance * max(scale, 1e-3):
            return f"result {i} differs by {worst:.3g} at a range of {scale:.3g}"
    return ""
