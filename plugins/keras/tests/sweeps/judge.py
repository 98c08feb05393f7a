"""One case: what Keras computes against what convcore makes of the file."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras_helpers import load_graph, problems, randomise

import convcore
from convcore.interpreter.execute import Interpreter

__all__ = ["Case", "Verdict", "differs", "judge"]

TOLERANCE = 1e-4
"""Of the range of an output."""


@dataclass(frozen=True)
class Case:
    """``build`` makes the model; ``feed(rng, batch)`` its inputs; ``reference(arrays)`` what is right where Keras's torch
    backend is not (``why`` says so)."""

    name: str
    build: Callable[[], Any]
    feed: Callable[[np.random.Generator, int], Sequence[np.ndarray]] | None = None
    why: str = ""
    reference: Callable[..., Any] | None = None
    custom: str = ""
    """The folder of the source of its custom layers; they are read from ``.keras`` and, with ``hdf5``, from HDF5."""
    hdf5: bool = True


@dataclass(frozen=True)
class Verdict:
    """``what``: agree, reference (agree, but ONNX's own evaluator ran the ONNX model: onnxruntime lacks what ``why`` says), a
    target (which refuses what the interpreter has right), refused, wrong, unmade (Keras cannot run it)."""

    name: str
    what: str
    why: str = ""


def judge(case: Case, targets: Sequence[str] = ("onnx",), seed: int = 3) -> Verdict:
    """What becomes of a case in the interpreter and in ``targets``, each run by its own framework."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        return _judge(case, Path(folder), targets, seed)


def _judge(case: Case, folder: Path, targets: Sequence[str], seed: int) -> Verdict:
    path = folder / "m.keras"
    try:
        keras.utils.set_random_seed(seed)
        model = case.build()
        randomise(model, seed)
        feeds = [_feed(case, model, batch, seed) for batch in (1, 3)]
        model.save(path)
        model = keras.models.load_model(path, compile=False)  # what the file says, where Keras forgets to say something
        wants = [_flat(case.reference(*f) if case.reference else model(_nested(model, f), training=False)) for f in feeds]
    except Exception as e:  # noqa: BLE001 - whatever Keras raises
        return Verdict(case.name, "unmade", f"{type(e).__name__}: {str(e)[:150]}")
    forms = [path]
    if case.custom and case.hdf5:
        with contextlib.suppress(ValueError):  # Keras writes no HDF5 of two variables of one name
            model.save(folder / "m.h5")
            forms.append(folder / "m.h5")
    for form in forms:
        verdict = _interpreted(case, form, feeds, wants)
        if verdict is not None:
            return verdict
    lacks = ""
    for target in targets:
        verdict = _through(case, target, path, feeds, wants)
        if verdict is not None and verdict.what != "reference":
            return verdict
        lacks = verdict.why if verdict is not None else lacks
    return Verdict(case.name, "reference" if lacks else "agree", lacks)


def _interpreted(case: Case, path: Path, feeds: Sequence[Any], wants: Sequence[Any]) -> Verdict | None:
    """What is wrong with what the interpreter makes of a file; None if nothing is."""
    options = {"options": {"custom": [case.custom]}} if case.custom else {}
    try:
        graph = load_graph(path, **options)
    except convcore.UnsupportedError as e:
        return Verdict(case.name, "refused", f"{path.suffix}: " + "; ".join(p.why for p in e.problems))
    except Exception as e:  # noqa: BLE001 - a bug, which is told with the others
        return Verdict(case.name, "wrong", f"{path.suffix}: {type(e).__name__}: {e}")
    found = problems(graph)
    if found:
        return Verdict(case.name, "refused", f"{path.suffix}: " + "; ".join(dict.fromkeys(p.why for p in found)))
    for feed, want in zip(feeds, wants, strict=True):
        why = differs(Interpreter(graph).run(list(feed)), want)
        if why:
            return Verdict(case.name, "wrong", f"{path.suffix}: {why}")
    return None


def _through(case: Case, target: str, path: Path, feeds: Sequence[Any], wants: Sequence[Any]) -> Verdict | None:
    """What is wrong with what a target's own framework makes of the converted file; None if nothing is. An ONNX model for which
    onnxruntime has no kernel is run by ``onnx.reference``."""
    out = path.with_name(f"out{_SUFFIX[target]}")
    try:
        convcore.convert(
            str(path), target, str(out), check=False, io_layout="source", **({"custom": [case.custom]} if case.custom else {})
        )
    except convcore.UnsupportedError as e:
        return Verdict(case.name, target, "; ".join(p.why for p in e.problems))
    lacks = ""
    for runner in _RUN[target]:
        try:
            run = runner(out)
            for feed, want in zip(feeds, wants, strict=True):
                why = differs(run(feed), want)
                if why:
                    return Verdict(case.name, "wrong", f"{target}: {why}")
            return Verdict(case.name, "reference", lacks) if runner is _reference else None
        except Exception as e:  # noqa: BLE001 - the framework's own classes
            lacks = f"{type(e).__name__}: {str(e)[:200]}"
            if not any(told in lacks for told in _NO_KERNEL):
                break
    return Verdict(case.name, target, lacks)


Run = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
_SUFFIX = {"onnx": ".onnx", "pytorch": ".py", "keras": ".keras"}
_NO_KERNEL = ("NOT_IMPLEMENTED : Could not find an implementation", "No corresponding Numpy type for Tensor Type")
"""What onnxruntime says of element types that it has no kernel for, or that it cannot hand out."""


def _onnx(path: Path) -> Run:
    import onnxruntime as rt

    options = rt.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = rt.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, {i.name: a for i, a in zip(session.get_inputs(), feed, strict=True)})


def _reference(path: Path) -> Run:
    import onnx
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(str(path), full_check=True)
    evaluator = ReferenceEvaluator(str(path))
    return lambda feed: evaluator.run(None, dict(zip(evaluator.input_names, feed, strict=True)))


def _pytorch(path: Path) -> Run:
    import ml_dtypes
    import torch

    names: dict[str, Any] = {"__name__": "converted", "__file__": str(path)}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
    model = names["load"](path.with_suffix(".safetensors"))

    def run(feed: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        with torch.no_grad():
            y = model(*(torch.from_numpy(a) for a in feed))
        given = y if isinstance(y, (list, tuple)) else [y]
        return [v.float().numpy().astype(ml_dtypes.bfloat16) if v.dtype is torch.bfloat16 else v.numpy() for v in given]

    return run


def _keras(path: Path) -> Run:
    model = keras.models.load_model(path, compile=False)
    return lambda feed: _flat(model(_nested(model, feed), training=False))


_RUN: dict[str, tuple[Callable[[Path], Run], ...]] = {"onnx": (_onnx, _reference), "pytorch": (_pytorch,), "keras": (_keras,)}


def _feed(case: Case, model: Any, batch: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed + batch)
    if case.feed is not None:
        return list(case.feed(rng, batch))
    out = []
    for x in keras.tree.flatten(model.inputs):
        shape = tuple(batch if n is None and i == 0 else 5 if n is None else n for i, n in enumerate(x.shape))
        if "int" in x.dtype:
            out.append(rng.integers(0, 5, shape).astype(x.dtype))
        elif x.dtype == "bool":
            out.append(rng.random(shape) > 0.4)
        else:
            out.append(rng.normal(0, 1, shape).astype(x.dtype))
    return out


def _nested(model: Any, feed: Sequence[np.ndarray]) -> Any:
    return keras.tree.pack_sequence_as(model.input, [keras.ops.convert_to_tensor(a) for a in feed])


def _flat(y: Any) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in keras.tree.flatten(y)]


def differs(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> str:
    """Where the first difference is; "" where there is none. NaN equals NaN."""
    if len(got) != len(want):
        return f"{len(got)} outputs, Keras has {len(want)}"
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if a.shape != b.shape:
            return f"output {i} has the shape {a.shape}, Keras {b.shape}"
        if a.dtype != b.dtype and not {str(a.dtype), str(b.dtype)} <= {"int32", "int64"}:
            return f"output {i} is {a.dtype}, Keras {b.dtype}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isnan(a), np.isnan(b)) or not np.array_equal(np.isinf(a), np.isinf(b)):
            return f"output {i}: other elements are not finite"
        if not np.array_equal(a[np.isinf(a)], b[np.isinf(b)]):
            return f"output {i}: infinities of another sign"
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        if not b.size:
            continue
        scale = float(np.ptp(b)) or float(np.abs(b).max()) or 1.0
        # units in the last place are 2^-10 and 2^-7 of a number: 5 of float16, and 2.5 of bfloat16, of the range
        tolerance = {"float16": 5e-3, "bfloat16": 2e-2}.get(str(want[i].dtype), TOLERANCE)
        worst = float(np.abs(a - b).max()) / scale
        if worst > tolerance:
            return f"output {i} differs by {worst:.2g} of its range"
    return ""
