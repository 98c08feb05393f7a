"""What the check runs, what it says to scripts, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from spoil import scaled, shuffled, spoil, verdict

import convcore
from convcore.build.builder import Builder
from convcore.interpreter import Interpreter, execute
from convcore.ir.graph import Graph
from convcore.verification.conversion import _first_divergence
from convcore.verification.layers import Tolerance
from convcore.verification.power import counts, disturbed

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")
helper, numpy_helper, N = onnx.helper, onnx.numpy_helper, onnx.helper.make_node
R = np.random.default_rng(11)


def model(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, Any]) -> Path:
    io = [[helper.make_tensor_value_info(n, *spec) for n, spec in d.items()] for d in (inputs, outputs)]
    inits = [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", *io, inits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def normal(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype("f4")


def dense(path: Path, weights: dict[str, np.ndarray] | None = None) -> Path:
    given = weights or {"a": normal(5, 7), "b": normal(7), "c": normal(7, 3)}
    nodes = [N("MatMul", ["x", "a"], ["h"]), N("Add", ["h", "b"], ["i"]), N("Relu", ["i"], ["r"]), N("MatMul", ["r", "c"], ["y"])]
    return model(path, nodes, {"x": (1, ["n", 5])}, {"y": (1, ["n", 3])}, given)


# ---------------------------------------------------------------- how often the source runs
@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, bool]]:
    """Every run of the interpreter: (framework of the graph, in float64, with weights disturbed)."""
    seen: list[tuple[str, bool, bool]] = []
    real = Interpreter.run

    def run(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        framework = str(self.graph.metadata.get("framework", ""))
        seen.append((framework, self.precise, self.read is not None))
        return real(self, inputs, *args, **kwargs)

    monkeypatch.setattr(Interpreter, "run", run)
    return seen


def test_runs_of_the_source(tmp_path: Path, runs: list[tuple[str, bool, bool]]) -> None:
    """Two sets of inputs, and no more where all is right: the power of the check takes the values of the first run."""
    source = dense(tmp_path / "a.onnx")
    report = convcore.convert(source, "onnx", tmp_path / "b.onnx").report
    assert report.verdict == "ok" and len(report.differences) == 2
    assert [r for r in runs if r[1] or r[2]] == []
    assert len(runs) == 3, "source on two sets of inputs, the result read back on one"


def test_runs_where_few_values_are_compared(
    tmp_path: Path, runs: list[tuple[str, bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where evaluating weights alone takes too long, all that is left costs one run of the source."""
    from convcore.verification import power

    monkeypatch.setattr(power, "_EFFORT", -1000)
    report = convcore.convert(dense(tmp_path / "a.onnx"), "onnx", tmp_path / "b.onnx").report
    assert report.layers["together"] == report.layers["weights"] == 3
    assert len([r for r in runs if r[2]]) == 1 and not [r for r in runs if r[1]]


def test_float64_only_where_it_fails(tmp_path: Path, runs: list[tuple[str, bool, bool]]) -> None:
    right = dense(tmp_path / "a.onnx")
    wrong = spoil(right, tmp_path / "b.onnx", scaled, ["c"])
    assert convcore.verify(right, right).verdict == "ok" and not [r for r in runs if r[1]]
    assert convcore.verify(right, wrong).verdict == "mismatch" and [r for r in runs if r[1]]


# ---------------------------------------------------------------- what scripts see
def test_weak_is_no_plain_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from convcore.cli import main

    source = dense(tmp_path / "a.onnx", {"a": normal(5, 7), "b": np.full(7, -1e4, "f4"), "c": normal(7, 3)})
    assert main(["convert", str(source), "-o", str(tmp_path / "b.onnx"), "--report", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["verdict"], said["weak"]) == (True, "weak", len(said["verification"]["weak"]))
    assert said["weak"] > 0 and said["verification"]["layers"]["uncovered"] > 0
    layers = said["verification"]["layers"]
    assert layers["covered"] + layers["uncovered"] == layers["weights"]
    right = convcore.convert(dense(tmp_path / "c.onnx"), "onnx", tmp_path / "d.onnx").report.to_dict()
    assert (right["ok"], right["verdict"], right["weak"]) == (True, "ok", 0)
    unchecked = convcore.convert(dense(tmp_path / "c.onnx"), "onnx", tmp_path / "d.onnx", check=False).report.to_dict()
    assert unchecked["verdict"] == "not verified"


# ---------------------------------------------------------------- what is disturbed
QUANTISED = {
    "w": R.integers(-100, 100, (5, 7)).astype("i1"), "s": np.float32(0.01), "z": np.int8(0), "sx": np.float32(0.02),
    "zx": np.uint8(128),
}  # fmt: skip


def quantised(path: Path, low: float = 0.0) -> Path:
    nodes = [
        N("QuantizeLinear", ["x", "sx", "zx"], ["q"]), N("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
        N("Sub", ["d", "low"], ["l"]), N("Relu", ["l"], ["r"]), N("DequantizeLinear", ["w", "s", "z"], ["k"]),
        N("MatMul", ["r", "k"], ["y"]),
    ]  # fmt: skip
    return model(path, nodes, {"x": (1, ["n", 5])}, {"y": (1, ["n", 7])}, {**QUANTISED, "low": np.float32(low)})


def _integers(path: Path, out: Path, change: Any) -> Path:
    held = onnx.load(path)
    for t in held.graph.initializer:
        if t.name == "w":
            t.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(t)), "w"))
    onnx.save(held, out)
    return out


def test_quantised_kernels(tmp_path: Path) -> None:
    source = quantised(tmp_path / "a.onnx")
    graph = convcore.load(source).graph
    assert counts(graph.weights["w"]) and counts(graph.weights["s"])
    report = convcore.convert(source, "onnx", tmp_path / "b.onnx").report
    assert report.verdict == "ok" and report.layers["weights"] == 5, "kernel, two scales and two zero points"
    for change in (lambda a: shuffled(a, R), lambda a: (a * 1.05).astype("i1")):
        assert verdict(source, _integers(source, tmp_path / "c.onnx", change))[0] == "mismatch"


def test_a_quantised_kernel_that_nothing_reaches_is_weak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the outputs are compared, and nothing positive enters the product: its kernel could be any."""
    from convcore.verification.layers import Layers

    def compare(self: Any, node: Any, results: Any) -> None:
        return None

    monkeypatch.setattr(Layers, "_compare", compare)
    report = convcore.convert(quantised(tmp_path / "a.onnx", 1e4), "onnx", tmp_path / "b.onnx").report
    assert report.verdict == "weak"
    assert "'k' (DequantizeLinear)" in report.weak[0] or "no value compared" in report.weak[0]


def test_integers_that_index_are_left(tmp_path: Path) -> None:
    nodes = [N("Gather", ["t", "i"], ["g"], axis=0), N("Mul", ["x", "g"], ["y"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": (1, ["n", 3])}, {"y": (1, ["n", 3])},
                 {"t": normal(5, 3), "i": np.array(2)})  # fmt: skip
    graph = convcore.load(path).graph
    assert not any(counts(v) for v in graph.weights.values() if v.dtype is not None and v.dtype.is_int)


def test_rounding_leaves_integers(tmp_path: Path) -> None:
    """A unit in the last place is no step of an integer, or the noise of a quantised model would excuse anything."""
    v = convcore.load(quantised(tmp_path / "a.onnx")).graph.weights["w"]
    held = v.tensor.numpy()  # type: ignore[union-attr]
    np.testing.assert_array_equal(disturbed(1e-7, counts)(v), held)
    off = disturbed(0.01, counts)(v).astype(int) - held
    assert (np.abs(off) == 1).all() and {-1, 1} == set(off.ravel())


@pytest.mark.parametrize("shape", [(7,), (1, 7)])
def test_a_bias_that_is_as_good_as_zero(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Nobody could tell it from none: the question is then whether another in its place would show."""
    tiny = {"a": normal(5, 7), "b": np.full(shape, 1e-7, "f4"), "c": normal(7, 3)}
    source = dense(tmp_path / "a.onnx", tiny)
    report = convcore.convert(source, "onnx", tmp_path / "b.onnx").report
    assert report.verdict == "ok" and report.layers["uncovered"] == 0
    assert verdict(source, dense(tmp_path / "c.onnx", {**tiny, "b": np.full(shape, 0.1, "f4")}))[0] == "mismatch"


# ---------------------------------------------------------------- threads
def test_blas_gets_half_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a run, and not again for the bodies inside it; without threadpoolctl nothing happens."""
    asked: list[Any] = []

    class Controller:
        def limit(self, **what: Any) -> Any:
            asked.append(what)
            from contextlib import nullcontext

            return nullcontext()

    graph = convcore.load(dense(tmp_path / "a.onnx")).graph
    monkeypatch.setattr(execute, "_blas", Controller)
    monkeypatch.setattr(execute.os, "sched_getaffinity", lambda pid: set(range(13)), raising=False)
    Interpreter(graph).run([normal(2, 5)])
    assert asked == [{"limits": 6, "user_api": "blas"}]
    with execute.few_threads():
        Interpreter(graph).run([normal(2, 5)])
    assert len(asked) == 2
    monkeypatch.setattr(execute, "_blas", lambda: None)
    Interpreter(graph).run([normal(2, 5)])
    assert len(asked) == 2


def test_a_kept_layer_hides_no_difference() -> None:
    """What the interpreter cannot run (a layer written as it was) ends the search for the first difference, and says nothing
    else: the mismatch is what is told."""

    def graph(factor: float, kept: bool) -> Graph:
        g = Graph("g")
        b = Builder(g)
        y = b.mul(b.input("x", "float32", (2, 3)), b.const(factor, "float32"))
        z = b.opaque("own", "Own", [y], 1, {})[0] if kept else b.tanh(y)
        g.outputs = [z]
        return g

    x = [np.ones((2, 3), np.float32)]
    for factor, told in ((2.0, ""), (3.0, "relative error")):
        job: Any = SimpleNamespace(reference=graph(2.0, False), graph=graph(factor, True))
        found = _first_divergence(job, x, x, Tolerance(1e-3, 1e-5, 1e-7))
        assert (told in found) if told else not found
