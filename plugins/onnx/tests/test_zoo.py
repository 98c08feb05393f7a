"""Trained public models: loaded, run by the interpreter, written again in three opsets and run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_kit import emit_model, load_model

import convcore
from convcore.build.opaque import opaque_problems
from convcore.build.verify import problems as broken
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter

ZOO = Path(__file__).parents[3] / "tests" / "data" / "zoo"
MODELS = sorted(p.parent.name for p in ZOO.glob("onnx-*/inputs.npz"))


def material(name: str) -> tuple[str, dict[str, Any], list[Any]]:
    folder = ZOO / name
    (path,) = folder.glob("*.onnx")
    inputs, ref = np.load(folder / "inputs.npz"), np.load(folder / "ref.npz")
    return str(path), {k: inputs[k] for k in inputs.files}, [ref[k] for k in ref.files]


def feeds(names: list[str], given: dict[str, Any]) -> list[Any]:
    return [given[n] for n in names] if set(names) <= given.keys() else list(given.values())


def close(got: Any, want: Any) -> None:
    """1e-4 of the output's range."""
    assert got.shape == want.shape and got.dtype == want.dtype
    span = float(np.abs(want).max()) if want.size else 0.0
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * max(span, 1e-6))


def test_there_are_models() -> None:
    assert len(MODELS) >= 7


@pytest.mark.parametrize("name", MODELS)
def test_interpreter_agrees(name: str) -> None:
    path, given, want = material(name)
    g = load_model(path)
    assert not opaque_problems(g) and not broken(g)
    got = Interpreter(g).run(feeds([v.name for v in g.inputs], given))
    for a, b in zip(got, want):
        close(a, b)


OWN = "own"
SINCE = {"onnx-basic-pitch": 9, "onnx-silero-half": 11, "onnx-silero-op15": 11}
"""Where opsets before that lack what a model has: Where of sizes that are not fixed, axes from the end of an unknown rank."""


@pytest.mark.parametrize("opset", [OWN, 9, 13, 18, 23])
@pytest.mark.parametrize("name", MODELS)
def test_written_again_onnxruntime_agrees(name: str, opset: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    path, given, want = material(name)
    out = tmp_path / "again.onnx"
    opset = max(own_opset(path), 7) if opset == OWN else opset
    if opset < SINCE.get(name, 7):
        with pytest.raises(UnsupportedError, match=f"needs opset {SINCE[name]} "):
            emit_model(load_model(path), opset, out)
        return
    emit_model(load_model(path), opset, out)
    assert own_opset(str(out)) == opset
    onnx.checker.check_model(str(out))
    runtime = open_runtime(str(out))
    for a, b in zip(runtime.run(feeds(list(runtime.inputs), given)), want):
        close(a, b)
    source = onnx.load(path)
    own = {t.name for t in source.graph.initializer}
    assert list(runtime.inputs) == [i.name for i in source.graph.input if i.name not in own]
    assert list(runtime.outputs) == [o.name for o in source.graph.output]


# ---- whole conversions
def own_opset(path: str) -> int:
    return max(o.version for o in onnx.load(path).opset_import if o.domain in ("", "ai.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("which", ["own", "13", "newest"])
def test_converted_at_each_opset(name: str, which: str, tmp_path: Path) -> None:
    """At its own opset where that is written (7 and newer), at 13 and at the newest; simplified, checked by convcore itself and
    run by onnxruntime, or by the standard's evaluator where the opset is newer than onnxruntime's."""
    ort = pytest.importorskip("onnxruntime")
    path, given, want = material(name)
    newest = onnx.defs.onnx_opset_version()
    opset = {"own": own_opset(path), "13": 13, "newest": newest}[which]
    out = tmp_path / "again.onnx"
    done = convcore.convert(path, "onnx", out, opset=max(opset, 7))
    assert done.report.ok and own_opset(str(out)) == max(opset, 7)
    names = [i.name for i in onnx.load(out).graph.input]
    feed = dict(zip(names, feeds(names, given)))
    try:
        session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001 - onnxruntime says it is too new
        assert which == "newest" and "opset" in str(e).lower(), e
        got = ReferenceEvaluator(str(out)).run(None, feed)
    else:
        got = session.run(None, feed)
    for a, b in zip(got, want, strict=True):
        close(np.asarray(a), b)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_converted_to_pytorch(name: str) -> None:
    """As a module that gives the recorded outputs, or refused with what is in the way."""
    torch = pytest.importorskip("torch")
    path, given, want = material(name)
    module = convcore.convert(path, "pytorch", io_layout="source").model
    names = [v.name for v in convcore.load(path).graph.inputs]
    with torch.no_grad():
        got = module(*(torch.from_numpy(a) for a in feeds(names, given)))
    for a, b in zip(got if isinstance(got, (list, tuple)) else [got], want, strict=True):
        close(a.numpy(), b)
