"""What the pipeline, its inputs, the interpreter and the check refuse: each by its own sentence, each with a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore import budget, output, pipeline, samples, writing
from convcore.build.builder import Builder
from convcore.errors import (
    BadFileError,
    DeclarationError,
    InputError,
    OutputError,
    PluginBugError,
    ShapeError,
    UnsupportedError,
    UsageError,
)
from convcore.hookspecs import Option
from convcore.interpreter import Interpreter, execute
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.model import Model
from convcore.opset.declare import Attr, OpSet, parse_signature
from convcore.pipeline import Conversion
from convcore.report import Report
from convcore.sources import split_source, stage_options
from convcore.testing.ops import run_op

onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_onnx")
N = Dim("N")


def graph(op: str = "relu", *inputs: tuple[str, Any]) -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.op(op, *(b.input(f"x{i}", *spec) for i, spec in enumerate(inputs or [("float32", (N, 3))])))]
    return g


def saved(path: Path, op: str = "Relu", n: int = 1, domain: str = "", dtype: int = 1) -> Path:
    """An ONNX file of one node with n inputs."""
    names = [f"x{i}" for i in range(n)]
    node = onnx.helper.make_node(op, names, ["y"], domain=domain, name="node")
    ends = [onnx.helper.make_tensor_value_info(v, dtype, ["N", 3]) for v in (*names, "y")]
    opsets = [onnx.helper.make_opsetid(d, 17 if not d else 1) for d in dict.fromkeys(("", domain))]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:-1], ends[-1:]), opset_imports=opsets), path)
    return path


# ---- calls
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"check": "nativ"}, "check='nativ' is neither"), ({"check": 2}, "check=2 is neither"), ({"rtol": -1e-3}, "rtol=-0.001"),
        ({"rtol": float("nan")}, "rtol=nan"), ({"atol": -1.0}, "atol=-1.0"), ({"io_layout": "channels"}, "io_layout='channels'"),
    ],
)  # fmt: skip
def test_wrong_calls_of_convert(given: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        convcore.convert(Model(graph()), "onnx", tmp_path / "a.onnx", **given)
    assert not os.listdir(tmp_path)


def test_targets_and_live_objects(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name the target"):
        convcore.convert(Model(graph()))
    with pytest.raises(UsageError, match="x has no live object"):
        _ = Conversion((), Report(""), "x").model
    with pytest.raises(UsageError, match="would overwrite"):
        pipeline.default_out(tmp_path / "a.onnx", "onnx")
    with pytest.raises(UsageError, match="cannot fill a module"):
        convcore.load_into(onnx.load(saved(tmp_path / "a.onnx")), tmp_path / "a.onnx")


def test_sources_and_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a pair"):
        split_source(("a", "b", "c"), None)
    with pytest.raises(UsageError, match="a pair"):
        split_source(("a", "b"), "c")
    options = [Option("level", "onnx", "emit", int, 1, choices=(1, 2), aliases=("depth",))]
    monkeypatch.setattr("convcore.sources.host", lambda: type("H", (), {"options": staticmethod(lambda f: options)})())
    assert stage_options("onnx", "emit", {"depth": "2"}, set()) == {"level": 2}
    for given, why in (
        ({"level": 1, "depth": 1}, "level and depth are the same"), ({"level": 3}, "level=3 is not one of 1, 2"),
        ({"level": "x"}, "is not a int"), ({"level": 1.5}, "is not a int"), ({"level": True}, "is not a int"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            stage_options("onnx", "emit", given, set())


def test_models() -> None:
    model = Model(graph("add", ("float32", (N, 3)), ("float32", (N, 3))))
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(InputError, match="either in order or by name"):
        model(x, x1=x)
    with pytest.raises(UsageError, match="not float"):
        model[1.5]  # type: ignore[index]
    with pytest.raises(UsageError, match=r"saved as \.ccir"):
        model.save("a.onnx")


# ---- what can be run
def test_sizes_that_contradict() -> None:
    two = Interpreter(graph("add", ("float32", (N, 3)), ("float32", (N, 3))))
    with pytest.raises(InputError, match="axis 0 is 5, but N is 2 elsewhere"):
        two.run([np.zeros((2, 3), np.float32), np.zeros((5, 3), np.float32)])
    g = Graph("g")
    b = Builder(g)
    x, y = b.input("x", "float32", (N,)), b.input("y", "float32", (2 * N,))
    g.outputs = [b.concat(x, y, axis=0)]
    with pytest.raises(InputError, match=r"axis 0 must be 2\*N = 6, got 7"):
        Interpreter(g).run([np.zeros(3, np.float32), np.zeros(7, np.float32)])


def test_what_does_not_fit_into_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "_memory", lambda: 64)
    for size, kind in ((N, InputError), (1000, execute.TooLargeError)):
        with pytest.raises(kind, match="more than this machine has"):
            Interpreter(graph("relu", ("float32", (size,)))).run([np.zeros(1000, np.float32)])
    monkeypatch.undo()

    def none_left(*_: Any, **__: Any) -> Any:
        raise MemoryError("no more")

    from convcore.opset import op

    monkeypatch.setitem(op("relu").__dict__, "reference", none_left)
    with pytest.raises(InputError, match="relu needs more memory than there is: no more"):
        Interpreter(graph()).run([np.zeros((2, 3), np.float32)])


def loop(trips: Any, state: Any, size: Any = 3) -> Graph:
    inner = Graph("body")
    i = Builder(inner)
    i.input("step", "int64", ())
    go, s = i.input("go", "bool", ()), i.input("s", "float32", state)
    inner.outputs = [go, s, s]
    g = Graph("g")
    b = Builder(g)
    g.outputs = list(b.loop(b.const(trips, "int64"), None, b.input("x", "float32", state), regions=[inner], n_states=1))
    return g


def test_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapeError, match="makes no step and the shape of its output"):
        Interpreter(loop(0, (None,))).run([np.zeros(3, np.float32)])
    assert Interpreter(loop(0, (3,))).run([np.zeros(3, np.float32)])[1].shape == (0, 3)
    monkeypatch.setattr(execute, "STEPS", 4)
    assert Interpreter(loop(4, (3,))).run([np.zeros(3, np.float32)])[1].shape == (4, 3)
    with pytest.raises(execute.TooLargeError, match="a loop makes more than 4 steps"):
        Interpreter(loop(5, (3,))).run([np.zeros(3, np.float32)])


def test_values_of_another_graph() -> None:
    other = graph()
    with pytest.raises(ShapeError, match="is not computed by this graph"):
        Interpreter(graph()).run([np.zeros((2, 3), np.float32)], targets=[other.inputs[0]])


# ---- inputs that are made up
def test_inputs_that_cannot_be_made_up() -> None:
    for spec, why in ((("string", (N,)), "dtype string"), (("float32", None), "has no known number of axes")):
        with pytest.raises(samples.SampleError, match=why):
            samples.example_inputs(graph("identity", spec), {"N": 2})
    for shape in ((1 << 29,), (1,) * 65):
        with pytest.raises(samples.SampleError, match="axes and"):
            samples.example_inputs(graph("identity", ("float32", shape)) if len(shape) < 60 else _ranked(shape), {})


def _ranked(shape: tuple[int, ...]) -> Graph:
    g = Graph("g")
    g.outputs = [g.add_input("x", None, shape)]
    return g


def test_a_first_set_that_runs_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another batch would be too large to make up: the first set stands alone."""
    monkeypatch.setattr(samples, "_MOST", 8)
    g = graph("relu", ("float32", (N, 7)))
    sets, results = next(samples.candidates(g, Interpreter(g).run))
    assert [x.shape for x in sets[0]] == [(1, 7)] and len(results) == len(sets) >= 1


def test_what_is_too_large_for_any_inputs_is_said_at_once() -> None:
    def run(xs: Any) -> Any:
        raise execute.TooLargeError("never")

    with pytest.raises(execute.TooLargeError, match="never"):
        next(samples.candidates(graph(), run))


# ---- the check
def test_models_that_cannot_be_compared(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a.onnx"), saved(tmp_path / "b.onnx", "Add", 2)
    with pytest.raises(UsageError, match="the models have 1 and 2 inputs"):
        convcore.verify(a, b, native=False)
    with pytest.raises(UsageError, match="outputs names nothing"):
        convcore.verify(a, a, outputs=[])
    unknown = saved(tmp_path / "c.onnx", "Unheard", 1, "com.example")
    with pytest.raises(UnsupportedError, match="cannot be run"):
        convcore.verify(unknown, unknown, native=False)


def test_a_result_that_takes_none_of_the_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from convcore.hookspecs import Runtime
    from convcore.verification import conversion

    def refuse(xs: Any) -> Any:
        raise InputError("not these")

    monkeypatch.setattr(conversion, "native", lambda *_, **__: Runtime("picky", refuse))
    with pytest.raises(InputError, match="not these; the inputs were made up"):
        convcore.convert(Model(graph()), "onnx", tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"^not these$"):
        convcore.convert(Model(graph()), "onnx", tmp_path / "a.onnx", example_inputs=np.zeros((2, 3), np.float32))
    assert not os.listdir(tmp_path)


# ---- files
def test_folders_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file" / "x")
    with pytest.raises(OutputError, match="is not a folder"):
        output.check_output(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="not a regular file"):
        output.check_output(tmp_path / "pipe")
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: not Path(p).is_dir() and access(p, mode))
    with pytest.raises(OutputError, match="no permission to write in"):
        output.check_output(tmp_path / "new")
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p).is_dir())
    with pytest.raises(OutputError, match="write-protected"):
        output.check_output(tmp_path / "file")


def test_a_disk_that_fails_while_publishing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The weights are in place when the main file fails: they go, too."""
    published: list[Path] = []

    def publish(staged: Path, final: Path) -> None:
        if published:
            raise OSError(28, "No space left on device")
        published.append(final)
        output.publish(staged, final)

    monkeypatch.setattr(writing, "publish", publish)
    w = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.linear(b.input("x", "float32", (N, 3)), b.weight(w, "w", trainable=True))]
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        convcore.convert(Model(g), "caffe", tmp_path / "m.prototxt", input_shapes=None, batch=1)
    assert published and not os.listdir(tmp_path)


def test_a_folder_that_takes_no_staging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(folder: Path) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(writing, "staging", fail)
    with pytest.raises(OutputError, match=r"a\.onnx cannot be written: Read-only file system"):
        convcore.convert(Model(graph()), "onnx", tmp_path / "a.onnx")


def test_budgets_add_up() -> None:
    for spend, most in ((budget.spend_nodes, budget.NODES), (budget.spend_bytes, budget.BYTES)):
        with budget.spending():
            spend(most - 1, "it grows")
            spend(1, "it grows")
            with pytest.raises(BadFileError, match="it grows"):
                spend(1, "it grows")
        spend(most, "an account of its own")
    assert budget.bounded_results(budget.RESULTS, "x") == budget.RESULTS
    with pytest.raises(BadFileError, match="inputs or results of one layer"):
        budget.bounded_results(budget.RESULTS + 1, "x")


# ---- declarations and constants
def test_declarations() -> None:
    for text, why in (("x:flot", "bad signature"), ("x y", "bad signature"), ("xs*, y", "only the last input")):
        with pytest.raises(DeclarationError, match=why):
            parse_signature(text)
    with pytest.raises(DeclarationError, match="unknown attribute kind"):
        Attr("integer")
    family = OpSet("mine", "test")
    with pytest.raises(DeclarationError, match="needs a reference or a body"):
        family.op("mine", "x")
    made = family.op("mine", "x", reference=np.abs)
    with pytest.raises(DeclarationError, match="declared twice"):
        family.op("mine", "x", reference=np.abs)
    with pytest.raises(DeclarationError, match="has no input 'y'"):
        made.position("y")


def test_constants_are_what_they_are() -> None:
    """numpy cuts 1.5 to 1 and wraps 300 to 44: a rule that says so has made a mistake."""
    b = Builder(Graph("g"))
    x = b.input("x", "int32", (3,))
    for value, dtype in ((1.5, "int64"), ([1, 2.5], "int32"), (300, "uint8"), (np.asarray(300), "uint8"), (float("nan"), "int32"),
                         (float("inf"), "int64"), (2**70, "int64"), (-1, "uint64")):  # fmt: skip
        with pytest.raises(ShapeError, match="is no"):
            b.const(value, dtype)
    with pytest.raises(ShapeError, match=r"the constant 0\.5 is no int32"):
        b.like(x, 0.5)
    held = ((2.0, "int64", 2), (255, "uint8", 255), (2, "bool", True), (2**63, "uint64", 2**63), (0.1, "float16", 0.1))
    for value, dtype, want in held:
        got = b.const(value, dtype).tensor
        assert got is not None and str(got.dtype) == dtype and got.numpy() == pytest.approx(want, rel=1e-3)
    assert run_op("relu", np.asarray([-1, 2]))[0].tolist() == [0, 2]


def test_arrays_that_are_not_what_is_declared() -> None:
    model = Interpreter(graph("relu", ("int8", (N, 3))))
    with pytest.raises(InputError, match="has 2 axes"):
        Interpreter(graph("exp")).run([np.zeros(3, np.float32)])
    with pytest.raises(InputError, match="is int8, which does not hold what is given"):
        model.run([np.full((2, 3), 300)])
    assert model.run([np.full((2, 3), 100)])[0].dtype == np.int8


def test_what_is_no_fault_of_the_disk_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from convcore.host import Host

    def emit(self: Host, framework: str, request: Any) -> Any:
        raise PluginBugError("acme", "writing", ValueError("a bug of the writer"))

    monkeypatch.setattr(Host, "emit", emit)
    with pytest.raises(PluginBugError, match="a bug of the writer"):
        convcore.convert(Model(graph()), "onnx", tmp_path / "a.onnx")
    assert not os.listdir(tmp_path)
