"""The check measures its own power: what is spoiled is a mismatch, or weak with the reason, never ok; what is right is kept.

The whole sweep over the zoo is ``python tests/support/spoil.py``; here is a sample of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spoil import disturbed, kernels, scaled, shuffled, spoil, verdict, zoo

import convcore
from convcore.interpreter import Interpreter
from convcore.report.compare import compare_one
from convcore.verification.power import disturbed_array

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
R = np.random.default_rng(7)


def model(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, Any]) -> Path:
    io = [[helper.make_tensor_value_info(n, *spec) for n, spec in d.items()] for d in (inputs, outputs)]
    inits = [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", *io, inits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def mlp(path: Path, gain: float, last: float) -> Path:
    """Five dense layers of random weights and a softmax: saturated for a large ``last``, all but constant for a small one."""
    sizes, nodes, weights, x = [11, 23, 19, 17, 13, 7], [], {}, "x"
    for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
        weights[f"w{i}"] = (R.normal(size=(n, m)) * gain / np.sqrt(n) * (last if m == 7 else 1)).astype("f4")
        nodes.append(helper.make_node("MatMul", [x, f"w{i}"], [f"h{i}"]))
        x = f"h{i}"
        if m != 7:
            nodes.append(helper.make_node("Relu", [x], [f"r{i}"]))
            x = f"r{i}"
    nodes.append(helper.make_node("Softmax", [x], ["y"], axis=1))
    return model(path, nodes, {"x": (1, ["n", 11])}, {"y": (1, ["n", 7])}, weights)


@pytest.mark.parametrize("change", [shuffled, scaled, disturbed])
@pytest.mark.parametrize(("gain", "last"), [(1.0, 1.0), (1.5, 1e5), (0.05, 0.01)])
def test_random_weights(tmp_path: Path, gain: float, last: float, change: Any) -> None:
    """Saturated, and of a vanishing range: a fixed absolute tolerance, or the outputs alone, would let these pass."""
    right = mlp(tmp_path / "a.onnx", gain, last)
    assert convcore.convert(right, "onnx", tmp_path / "b.onnx").report.verdict == "ok"
    every = kernels(right)
    for names in ([every], [[n] for n in every])[change is disturbed]:
        said, why = verdict(right, spoil(right, tmp_path / "c.onnx", change, names))
        assert said in ("mismatch", "weak"), f"{change.__name__} {names}: {said}"
        assert said == "mismatch", why  # every layer here is compared by itself


@pytest.mark.parametrize("name", ["onnx-cntk-mnist", "keras2-fer-minixception", "caffe-mtcnn-det3"])
def test_trained_models(tmp_path: Path, name: str) -> None:
    source = zoo()[name]
    right = tmp_path / "right.onnx"
    assert convcore.convert(source, "onnx", right).report.verdict == "ok"
    every = kernels(right)
    for names, change in [([every[0]], disturbed), ([every[-1]], disturbed), (every, shuffled), (every, scaled)]:
        said, why = verdict(source, spoil(right, tmp_path / "wrong.onnx", change, names))
        assert said in ("mismatch", "weak") and why, f"{change.__name__} {names}: {said}"


def test_verify_names_the_layer(tmp_path: Path) -> None:
    right = mlp(tmp_path / "a.onnx", 1.0, 1.0)
    wrong = spoil(right, tmp_path / "b.onnx", scaled, ["w2"])
    assert "'h2'" in convcore.verify(right, wrong).first_divergence


def test_a_wrong_emit_rule_is_blamed_on_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convcore.host import Host

    real = Host.emit

    def emit(self: Any, framework: str, request: Any) -> Any:
        done = real(self, framework, request)
        written = onnx.load(done.paths[0])
        next(n for n in written.graph.node if n.op_type == "Relu").op_type = "Sigmoid"
        onnx.save(written, done.paths[0])
        return done

    monkeypatch.setattr(Host, "emit", emit)
    with pytest.raises(convcore.MismatchError) as e:
        convcore.convert(mlp(tmp_path / "a.onnx", 1.0, 1.0), "onnx", tmp_path / "b.onnx")
    assert "'r0'" in e.value.report.first_divergence and "onnxruntime" not in e.value.report.first_divergence


def test_dead_layers_are_weak(tmp_path: Path) -> None:
    """Nothing enters the last product: whatever its weights are, the outputs stay."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Sub", ["h", "big"], ["low"]),
        helper.make_node("Relu", ["low"], ["dead"]),
        helper.make_node("MatMul", ["dead", "b"], ["y"]),
    ]
    weights = {"a": R.normal(size=(5, 3)).astype("f4"), "big": np.float32(1e4), "b": R.normal(size=(3, 2)).astype("f4")}
    path = model(tmp_path / "a.onnx", nodes, {"x": (1, ["n", 5])}, {"y": (1, ["n", 2])}, weights)
    report = convcore.convert(path, "onnx", tmp_path / "b.onnx").report
    assert report.ok and report.verdict == "weak" and "'y'" in report.weak[0]
    assert "verdict: weak" in str(report)
    assert json.loads(report.to_json())["verification"]["verdict"] == "weak"
    assert verdict(path, spoil(path, tmp_path / "c.onnx", scaled, ["b"]))[0] == "weak"


def test_rounding_is_no_mismatch(tmp_path: Path) -> None:
    """A right model that amplifies rounding: (x + 3000) - 3000, then the log of its square."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "big"], ["up"]),
        helper.make_node("Sub", ["up", "big"], ["down"]),
        helper.make_node("MatMul", ["down", "v"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    weights = {"w": R.normal(size=(307, 31)).astype("f4"), "big": np.float32(3e5), "v": R.normal(size=(31, 2)).astype("f4")}
    path = model(tmp_path / "a.onnx", nodes, {"x": (1, ["n", 307])}, {"y": (1, ["n", 2])}, weights)
    report = convcore.convert(path, "onnx", tmp_path / "b.onnx").report
    assert report.ok
    wrong = spoil(path, tmp_path / "c.onnx", scaled, ["v"])
    assert verdict(path, wrong)[0] == "mismatch", "rounding must not excuse an error"


def test_precise_runs_compute_in_float64(tmp_path: Path) -> None:
    path = mlp(tmp_path / "a.onnx", 1.0, 1.0)
    graph, x = convcore.load(path, fuse=False).graph, R.uniform(size=(2, 11)).astype("f4")
    (y,) = Interpreter(graph, precise=True).run([x])
    h = x.astype("f8")
    for i in range(5):
        h = h @ graph.weights[f"w{i}"].tensor.numpy().astype("f8")  # type: ignore[union-attr]
        h = h if i == 4 else np.maximum(h, 0)
    e = np.exp(h - h.max(1, keepdims=True))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-13)


def test_integers_have_no_tolerance() -> None:
    """A range of 30,000 allowed the wrong token by 3, and one beyond 2^53 any."""
    ids = np.asarray([17, 29999, 4, 12000])
    assert compare_one("ids", ids, ids.astype("i4"), 1e-4, 0.0).ok
    assert not compare_one("ids", ids, ids + [0, 1, 0, 0], 1e-4, 0.0).ok
    assert not compare_one("ids", ids, (ids + [0, 1, 0, 0]).astype("f4"), 1e-4, 0.0).ok
    assert compare_one("ids", ids, ids.astype("f4"), 1e-4, 0.0).ok, "a target without integers"
    assert not compare_one("ids", np.asarray([2**60]), np.asarray([2**60 + 1]), 1e-4, 0.0).ok
    assert not compare_one("flags", np.asarray([True, False]), np.asarray([True, True]), 1e-4, 0.0).ok


def test_wrong_token_of_many_is_a_mismatch(tmp_path: Path) -> None:
    """Through the whole check, where rounding might excuse what is not rounding."""
    int64 = onnx.TensorProto.INT64
    for name, add in (("a", 3_000_000), ("b", 3_000_001)):
        nodes = [helper.make_node("Add", ["x", "shift"], ["y"])]
        model(tmp_path / f"{name}.onnx", nodes, {"x": (int64, ["n"])}, {"y": (int64, ["n"])}, {"shift": add})
    assert not convcore.verify(tmp_path / "a.onnx", tmp_path / "b.onnx").ok
    assert convcore.verify(tmp_path / "a.onnx", tmp_path / "a.onnx").ok


def test_a_run_near_the_first_that_cannot_be_computed_is_left_out(tmp_path: Path) -> None:
    """The weight 3 off by a unit in the last place is an index past the end of the table."""
    paths = []
    for name, factor in (("a", 2.0), ("b", 2.5)):
        nodes = [
            helper.make_node("Ceil", ["w"], ["c"]), helper.make_node("Cast", ["c"], ["i"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["table", "i"], ["r"]), helper.make_node("Mul", ["x", "f"], ["h"]),
            helper.make_node("Add", ["h", "r"], ["y"]),
        ]  # fmt: skip
        weights = {"w": np.full(3, 3, "f4"), "table": np.arange(4, dtype="f4"), "f": np.full(3, factor, "f4")}
        io = {"x": (1, ["n", 3])}, {"y": (1, ["n", 3])}
        paths.append(model(tmp_path / f"{name}.onnx", nodes, *io, weights))
    report = convcore.verify(*paths)
    assert not report.ok and "tensor 'h'" in report.first_divergence


def test_bfloat16_has_the_tolerance_of_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a = np.linspace(-1, 1, 33).astype(ml_dtypes.bfloat16)
    b = np.nextafter(a, ml_dtypes.bfloat16(2))
    assert compare_one("y", a, b, 4e-2, 0.0, 2.0**-7).ok and not compare_one("y", a, -a, 4e-2, 0.0, 2.0**-7).ok


def test_small_ranges_differ() -> None:
    a = np.full(5, 1e-3) + np.arange(5) * 1e-7
    assert not compare_one("y", a, a[::-1], 1e-4, 0.0).ok
    assert not compare_one("y", np.zeros(3), np.full(3, 1e-9), 1e-4, 0.0).ok
    assert compare_one("y", a.astype("f4"), a.astype("f4") * np.float32(1 + 1e-7), 1e-4, 0.0).ok


# ---------------------------------------------------------------- made-up inputs
IO = (1, ["n", 5])
N = helper.make_node
LOOP_IO = [helper.make_tensor_value_info(*v) for v in [("it", 7, []), ("go", 9, []), ("acc", 1, ["m", 2]), ("still", 9, []),
                                                      ("more", 1, ["k", 2])]]  # fmt: skip
BODY = helper.make_graph(
    [N("Concat", ["acc", "x"], ["more"], axis=0), N("Identity", ["go"], ["still"])], "b", LOOP_IO[:3], LOOP_IO[3:]
)
LSTM = {"w": R.normal(size=(1, 12, 4)).astype("f4"), "r": R.normal(size=(1, 12, 3)).astype("f4")}
FITS: dict[str, Any] = {
    "scalar bool": ([N("Where", ["flag", "x", "k"], ["y"])], {"x": IO, "flag": (9, [])}, {"k": np.float32(2)}),
    "lengths": (
        [N("LSTM", ["x", "w", "r", "", "len"], ["", "y"], hidden_size=3)], {"x": (1, ["t", "n", 4]), "len": (6, ["n"])}, LSTM,
    ),
    "k": ([N("TopK", ["x", "k"], ["y", "i"])], {"x": IO, "k": (7, [1])}, {}),
    "gather_nd": ([N("GatherND", ["x", "i"], ["y"])], {"x": (1, [4, 5]), "i": (7, ["k", 2])}, {}),
    "elements": ([N("GatherElements", ["x", "i"], ["y"], axis=1)], {"x": (1, [2, 5]), "i": (7, [2, 3])}, {}),
    "reverse": ([N("ReverseSequence", ["x", "l"], ["y"])], {"x": (1, ["t", "n", 2]), "l": (7, ["n"])}, {}),
    "shape": ([N("Reshape", ["x", "s"], ["y"])], {"x": (1, ["n", 6]), "s": (7, [3])}, {}),
    "trip count": ([N("Loop", ["steps", "", "x"], ["y"], body=BODY)], {"x": (1, [1, 2]), "steps": (7, [])}, {}),
    "frame of 400": ([N("Conv", ["x", "w"], ["y"])], {"x": (1, ["b", 1, "n"])}, {"w": R.normal(size=(4, 1, 400)).astype("f4")}),
    "sizes that go together": (
        [N("Unsqueeze", ["x", "ax"], ["xx"]), N("Slice", ["s", "a", "e", "ax"], ["h"]), N("Concat", ["h", "xx"], ["y"], axis=2)],
        {"x": (1, [None, None]), "s": (1, [2, None, 8])}, {"a": np.array([0]), "e": np.array([1]), "ax": np.array([0])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FITS)
def test_made_up_inputs_fit(tmp_path: Path, what: str) -> None:
    nodes, inputs, weights = FITS[what]
    path = model(tmp_path / "a.onnx", nodes, inputs, {"y": (1, None)}, weights)
    handed_on = bool(convcore.load(path).problems)  # a file is run by its own framework only when asked
    report = convcore.convert(path, "onnx", tmp_path / "b.onnx", check="native" if handed_on else True).report
    assert report.ok and report.verified and not report.unverified


def test_where_no_inputs_can_be_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result is written, says that it is not verified and what helps, and the exit code is 6; given inputs verify it."""
    from convcore.cli import main

    nodes = [N("Reshape", ["x", "s"], ["y"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": (1, ["n"])}, {"y": (1, None)}, {"s": np.array([-1, 97, 89])})
    out = tmp_path / "b.onnx"
    report = convcore.convert(path, "onnx", out).report
    assert out.exists() and report.ok and report.verdict == "not verified" and "example_inputs=" in report.unverified
    assert main(["convert", str(path), "-o", str(out)]) == 6
    assert "not verified" in capsys.readouterr().err
    np.save(tmp_path / "x.npy", R.uniform(size=97 * 89 * 2).astype("f4"))
    assert main(["convert", str(path), "-o", str(out), "--input", str(tmp_path / "x.npy")]) == 0


def test_overrides_are_named_as_the_users(tmp_path: Path) -> None:
    path = mlp(tmp_path / "a.onnx", 1.0, 1.0)
    done = convcore.convert(path, "onnx", tmp_path / "b.onnx", overrides={"Softmax": lambda g, n: g.b.sigmoid(n.inputs[0])})
    assert any("'y' computes what its override says" in n for n in done.report.notes)


def _power(graph: Any, x: Any, limit: float) -> Any:
    """What a comparison of every value would notice that allows each to be ``limit`` off."""
    from convcore.verification.power import Power

    known: dict[str, Any] = {}
    Interpreter(graph).run([x], watch=lambda n, ys: known.update(zip([v.name for v in n.outputs], ys)))
    power = Power(graph, [x], known, known.keys(), lambda name: limit)
    power.measure()
    return power


def _affine(kind: str, w: Any, b: Any) -> tuple[Any, Any]:
    from convcore.build.builder import Builder
    from convcore.ir.graph import Graph

    g = Graph()
    make = Builder(g)
    shape = (1, 3, 29, 31) if kind == "conv" else (2, 41, 3)
    x = make.input("x", "float32", shape)
    w, b = (make.const(a, "float32") for a in (w, b))
    g.outputs = [make.conv(x, w, b, pads="same_upper") if kind == "conv" else make.linear(x, w, b)]
    return g, np.full(shape, 1.0, "f4")


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize(
    ("channel", "size", "limit", "whole", "covered"),
    [
        (0, 1.0, 1e-3, 0, 2),  # what 16 channels and the middle show needs no whole run, nor does b
        (20, 1.0, 1e-3, 1, 2),  # a channel that is not among them does
        (0, 1e-6, 1e-3, 1, 1),  # nor is anything seen there that the whole does not show
        (0, 1e-6, 1.0, 3, 0),  # b is too small as well: it, and another in its place
    ],
)
def test_parts_of_affine_ops(
    kind: str, channel: int, size: float, limit: float, whole: int, covered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = np.zeros((23, 3, 3, 3) if kind == "conv" else (23, 3), "f4")
    w[channel] = size
    graph, x = _affine(kind, w, np.full(23, 0.1, "f4"))
    runs: list[int] = []
    real = Interpreter.apply

    def apply(self: Any, node: Any, args: Any, env: Any, **instead: Any) -> Any:
        runs.append(args[1].shape[0] == 23 and args[2] is not None)
        return real(self, node, args, env, **instead)

    run = _power
    monkeypatch.setattr(Interpreter, "apply", apply)
    power = run(graph, x, limit)
    assert sum(runs) - 1 == whole  # the first run is the reference's own
    assert (power.weights, power.covered) == (2, covered)


def test_padding_shows_nothing_that_no_window_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle of the input is cut without padding: a sum over the edge of a cut is no value of the model."""
    from convcore.verification import power

    w = np.zeros((2, 3, 3, 3), "f4")
    w[0, 0, 1, 0], w[0, 0, 1, 2] = 1, -1  # a difference: nothing of a constant, but at an edge
    graph, x = _affine("conv", w, np.zeros(2, "f4"))
    node = next(iter(graph))
    ones = np.ones_like(power._signs())
    monkeypatch.setattr(power, "_signs", lambda: ones)
    measured = power.Power(graph, [x], {}, (), lambda name: 0.003)
    assert not measured._part_shows(node, [node.inputs[1]], Interpreter(graph), 0.0)
    at, instead = measured._middle(node, x, (3, 3))
    assert instead == {"pads": ((0, 0), (0, 0))} and x[tuple(at)].shape == (1, 3, 5, 5)
    assert measured._middle(node, x[:, :, :2], (3, 3))[1] == {}  # too small to cut


def test_zeros_are_not_counted() -> None:
    graph, x = _affine("linear", np.ones((23, 3), "f4"), np.zeros(23, "f4"))
    assert _power(graph, x, 1e-3).weights == 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("least", [0.0, 0.01])
@pytest.mark.filterwarnings("error")
def test_the_ends_of_a_range_are_disturbed_to_no_infinite_number(dtype: str, least: float) -> None:
    """Masks hold the lowest number, or infinite ones: no warning is shown, and nothing is infinite or NaN that was not."""
    ends = np.finfo(dtype)
    a = np.asarray([ends.min, ends.max, 1, -2, -np.inf, np.inf, np.nan] * 20, dtype)
    off = disturbed_array(a, 0.01, "mask", least)
    assert off.dtype == a.dtype
    np.testing.assert_array_equal(np.isfinite(off), np.isfinite(a))
    usual = (a == 1) | (a == -2)
    assert np.all(off[usual] != a[usual]) and np.any(off[np.abs(a) == ends.max] != a[np.abs(a) == ends.max])
    np.testing.assert_array_equal(off[~np.isfinite(a)], a[~np.isfinite(a)])
