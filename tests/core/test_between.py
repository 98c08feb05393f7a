"""What the comparison of values between is made of, piece by piece: forms, distances, what flows in, rounding, what would show,
what is computed once, and which inputs and outputs of two models belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Value
from convcore.report import Report
from convcore.verification.layers import NOISE, Layers, Tolerance, _error, _forms, _operands, flowing, noise_of
from convcore.verification.models import _accepts, _match
from convcore.verification.reuse import reusing

RNG = np.random.default_rng(3)
LIMIT = Tolerance(1e-4, 0.0, 1.2e-7)


def of(*shape: int) -> Any:
    return RNG.uniform(1, 2, shape).astype("f4")


FORMS = [
    # the shape that is wanted, the one that is there, and how many forms fit
    ((2, 3), (2, 3), 1), ((3, 3), (3, 3), 1), ((2, 3), (3, 2), 0),
    ((2, 3, 5), (2, 5, 3), 1), ((2, 3, 3), (2, 3, 3), 2), ((2, 3, 5, 7), (2, 5, 7, 3), 1), ((2, 2, 2, 2), (2, 2, 2, 2), 24),
    ((2, 3, 5, 7, 11), (2, 5, 7, 11, 3), 1), ((1, 2, 3, 5, 7, 11), (1, 3, 5, 7, 11, 2), 0),
    ((2, 3), (2, 1, 3), 1), ((2, 3), (3, 1, 2), 0), ((6,), (2, 3), 0), ((1, 6), (6,), 1), ((2, 3), (2, 1, 4), 0),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "there", "count"), FORMS)
def test_forms_that_fit(wanted: tuple[int, ...], there: tuple[int, ...], count: int) -> None:
    made = list(_forms(np.zeros(wanted), of(*there)))
    assert len(made) == count and all(x.shape == wanted for x in made)


def test_the_nearest_form_counts() -> None:
    a = of(2, 3, 5)
    assert _error(a, a, 0.0) == 0 and _error(a, a.transpose(0, 2, 1).copy(), 0.0) == 0
    assert _error(a, a + np.float32(0.5), 0.0) == pytest.approx(0.5, rel=1e-6)
    assert _error(a, of(7), 0.0) == float("inf")
    square = of(2, 3, 3)
    assert _error(square, square.transpose(0, 2, 1).copy(), 1e-3) == 0
    assert _error(square, square.transpose(0, 2, 1).copy() + np.float32(0.25), 1e-3) == pytest.approx(0.25, rel=1e-6)


def chained() -> tuple[Graph, Builder, Value]:
    """x * 9, transposed, less 3."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    v = b.transpose(b.mul(x, b.const(9.0)), perm=(1, 0))
    v = b.sub(v, b.const(3.0))
    return g, b, v


def test_operands_are_seen_through_what_moves() -> None:
    g, b, v = chained()
    product = next(n for n in g if n.op == "mul")
    assert _operands(v) == [next(n for n in g if n.op == "transpose").output]
    moved = b.reshape(b.transpose(v, perm=(1, 0)), shape=(6,))
    assert _operands(moved) == _operands(v)
    assert _operands(b.flip(product.output, axes=(0,))) == [g.inputs[0]]
    assert _operands(g.inputs[0]) == [] and _operands(b.transpose(b.const(of(2, 3)), perm=(1, 0))) == []


def test_what_flows_in_within_three_ops() -> None:
    """The input's 9000 is three ops before the third, and four before the fourth."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (3,))
    steps = [b.mul(x, b.const(1e-3))]
    for _ in range(3):
        steps.append(b.mul(steps[-1], b.const(0.5)))
    g.outputs = steps[-1:]
    found = flowing(g, [np.array([9000, -9500, 1], "f4")], [v.name for v in steps] + ["nothing"])
    assert [found[v.name] for v in steps] == pytest.approx([9500, 9500, 9500, 9.5], rel=1e-6) and found["nothing"] == 0


def test_rounding_is_measured_on_both_runs() -> None:
    """A difference of large numbers is off by rounding in float32, and where inputs are off by a unit; a copy by that alone."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (64,))
    far = b.sub(b.add(x, b.const(3e5)), b.const(3e5))
    near = b.relu(x)
    g.outputs = [far, near]
    given = RNG.uniform(1, 2, 64).astype("f4")
    ran = dict(zip((far.name, near.name), Interpreter(g).run([given])))
    found = noise_of(g, [given], ran, 1.2e-7)
    assert found[far.name][0].dtype == np.float64 and np.allclose(found[far.name][0], given, atol=1e-6)
    assert 1e-3 < found[far.name][1] < 0.1
    assert 1e-8 < found[near.name][1] < 1e-6
    assert noise_of(g, [given], {far.name: ran[far.name][:3], "nothing": given}, 1.2e-7) == {}


def network(spoil: Callable[[Any], Any] = lambda a: a) -> tuple[Graph, list[str]]:
    """Three dense layers of 5 with tanh between; ``spoil`` changes the second matrix."""
    g = Graph("g")
    b = Builder(g)
    rng = np.random.default_rng(1)
    v, names = b.input("x", "float32", (4, 5)), []
    for i in range(3):
        w = rng.normal(size=(5, 5)).astype("f4")
        v = b.op(
            "linear", v, b.weight(spoil(w) if i == 1 else w, f"w{i}"), b.weight(np.ones(5, "f4"), f"b{i}"), output_names=[f"h{i}"]
        )
        v = b.op("tanh", v, output_names=[f"t{i}"])
        names += [f"h{i}", f"t{i}"]
    g.outputs = [v]
    return g, names


X = [np.random.default_rng(2).normal(size=(4, 5)).astype("f4")]


def test_the_first_layer_that_differs() -> None:
    ref, names = network()
    same = Layers(ref, network()[0], LIMIT)
    assert same.run(X, X) == "" and sorted(same._off) == sorted(names) and not same.odd
    found = Layers(ref, network(lambda w: w * np.float32(1.01))[0], LIMIT)
    assert "tensor 'h1': relative error" in found.run(X, X)
    (error,) = [e for _, n, e in found.errors() if n == "h1"]
    assert 1e-3 < error < 2e-2 and [n for _, n, e in found.errors() if e == 0] == ["h0", "t0"]
    assert [n for _, n, _ in found.errors()] == names
    lost = Layers(ref, None, LIMIT)
    assert lost.run(X, X) == "" and lost.compared == []
    assert lost.measure(["t2"]).weights and len(lost.compared) == 1


def test_what_is_odd_alone_is_no_difference() -> None:
    """Another value under the name of one between, after which all are right, stands for something else there."""
    ref, _ = network()
    other = network()[0]
    h1 = next(v for v in other.values() if v.name == "h1")
    more = Builder(other).mul(h1, Builder(other).const(1.5))
    other.rename(h1, "inner")
    other.rename(more, "h1")
    other.outputs = [*other.outputs, more]
    layers = Layers(ref, other, LIMIT)
    assert layers.run(X, X) == "" and layers.odd == ["h1"] and "h1" not in layers._off


@pytest.mark.parametrize("how", ["four layers later", "five layers later", "sorted"])
def test_a_name_that_stands_for_what_is_right_elsewhere(how: str) -> None:
    """What a layer within four makes, and the same elements in another order, are not compared by the name."""
    ref, _ = network()
    other = network()[0]
    by_name = {v.name: v for v in other.values()}
    b = Builder(other)
    made = b.flip(by_name["h0"], axes=(1,)) if how == "sorted" else b.identity(by_name["h2" if how[:4] == "four" else "t2"])
    other.rename(by_name["h0"], "inner")
    other.rename(made, "h0")
    other.outputs = [*other.outputs, made]
    layers = Layers(ref, other, LIMIT)
    assert layers.run(X, X) == "" and "h0" not in layers._off and layers.odd == ["h0"] * how.startswith("five")


def test_values_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from convcore.verification import layers as module

    ref, _ = network()
    monkeypatch.setattr(module, "_MEMORY", 3 * X[0].nbytes)
    found = Layers(ref, network()[0], LIMIT)
    found.run(X, X)
    assert sorted(found._off) == ["h0", "h1", "t0", "t2"]  # three between, and the output whatever it takes


def test_what_was_settled_is_for_its_inputs_and_outputs() -> None:
    ref, names = network()
    layers = Layers(ref, network()[0], LIMIT)
    settled = layers.settle(X, X, ["t2"], errors=True)
    assert settled.compared == len(names) and not settled.flat and settled.first == "" and settled.power is not None
    assert [n for _, n, _ in settled.errors] == names
    assert layers.is_settled(X, ["t2"]) and not layers.is_settled(X, []) and not layers.is_settled(list(X), ["t2"])
    assert layers.kept_of is None and layers.compared == []
    flat = Layers(ref, ref.clone(), LIMIT)
    assert flat.settle([np.zeros((4, 5), "f4")], [np.zeros((4, 5), "f4")], [], errors=False).errors == []
    wrong = Layers(ref, network(lambda w: -w)[0], LIMIT)
    assert wrong.settle(X, X, [], errors=False).power is None and wrong.settled is not None and "'h1'" in wrong.settled.first
    assert NOISE > 1


# ---- what is computed once
def pair(op: str = "add", shape: Any = (2, 3), weight: float = 1.0, **attrs: Any) -> Graph:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", shape)
    ins = [x, b.weight(np.full((3,), weight, "f4"), "w")] if op == "add" else [x]
    g.outputs = list(b.node(op, ins, attrs, output_names=["y"]).outputs)
    return g


REUSED: dict[str, tuple[Graph, Any, bool]] = {
    "the same": (pair(), {}, True),
    "another op": (pair("relu"), {}, False),
    "another weight": (pair(weight=1.5), {}, False),
    "another input": (pair(), {"x": np.ones((2, 3), "f4")}, False),
    "another shape": (pair(shape=(3, 3)), {"x": np.zeros((3, 3), "f4")}, False),
    "another type": (pair(), {"x": np.zeros((2, 3))}, False),
    "a zero of another sign": (pair(), {"x": np.full((2, 3), -0.0, "f4")}, False),
}


@pytest.mark.parametrize("what", REUSED)
def test_equal_operations_on_equal_bits(what: str) -> None:
    other, given, same = REUSED[what]
    known = {"x": np.zeros((2, 3), "f4"), "y": np.full((2, 3), 7, "f4")}
    node = next(iter(other))
    args = [given.get("x", known["x"]) if v is not None and v.tensor is None else v.tensor.numpy() for v in node.inputs if v]  # type: ignore[union-attr]
    found = reusing(pair(), known)(node, args)
    assert (found is None) is not same and (found is None or found[0] is known["y"])
    assert reusing(pair(), {"x": known["x"]})(node, args) is None  # nobody kept the result


def test_attributes_of_another_value_and_sizes_are_computed() -> None:
    known = {"x": np.zeros((2, 3), "f4"), "y": np.zeros((2, 3), "f4")}
    for alpha, same in ((0.1, True), (0.2, False)):
        node = next(iter(pair("leaky_relu", alpha=alpha)))
        assert (reusing(pair("leaky_relu", alpha=0.1), known)(node, [known["x"]]) is not None) is same
    named = reshaped()
    assert reusing(named, known)(next(iter(named)), [known["x"]]) is None


def reshaped() -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = list(
        b.node("reshape", [b.input("x", "float32", (Dim("n"), 3))], {"shape": (3, Dim("n"))}, output_names=["y"]).outputs
    )
    return g


# ---- which belong together
def values(*given: tuple[str, Any]) -> list[Value]:
    return [Value(n, DType.FLOAT32, s) for n, s in given]


MATCHES: dict[str, tuple[list[Value], list[Value], list[Any], list[str]]] = {
    "by name": (
        values(("a", (2, 3)), ("b", (2, 3))), values(("b", (2, 3)), ("a", (2, 3))), [(1, None), (0, None)], [],
    ),
    "by place": (values(("a", (2, 3))), values(("z", (None, 3))), [(0, None)], []),
    "by shape": (
        values(("a", (2, 3)), ("b", (2, 5))), values(("y", (2, 5)), ("z", (2, 3))), [(1, None), (0, None)],
        ["input 'a' is compared with 'z'", "input 'b' is compared with 'y'"],
    ),
    "channels first": (
        values(("a", (2, 5, 7, 3))), values(("a", (2, 3, 5, 7))), [(0, (0, 3, 1, 2))],
        ["input 'a' [2, 5, 7, 3] is [2, 3, 5, 7] in the second model: permuted by (0, 3, 1, 2)"],
    ),
    "channels last": (
        values(("a", (2, 3, 5, 7))), values(("z", (Dim("n"), 5, 7, 3))), [(0, (0, 2, 3, 1))],
        ["input 'a' [2, 3, 5, 7] is [n, 5, 7, 3] in the second model: permuted by (0, 2, 3, 1)"],
    ),
    "sequences": (
        values(("a", (2, 5, 3))), values(("a", (2, 3, 5))), [(0, (0, 2, 1))],
        ["input 'a' [2, 5, 3] is [2, 3, 5] in the second model: permuted by (0, 2, 1)"],
    ),
    "volumes": (
        values(("a", (2, 5, 7, 11, 3))), values(("a", (2, 3, 5, 7, 11))), [(0, (0, 4, 1, 2, 3))],
        ["input 'a' [2, 5, 7, 11, 3] is [2, 3, 5, 7, 11] in the second model: permuted by (0, 4, 1, 2, 3)"],
    ),
    "unknown": (values(("a", None), ("b", (2, 3))), values(("a", (5,)), ("b", None)), [(0, None), (1, None)], []),
}  # fmt: skip


@pytest.mark.parametrize("what", MATCHES)
def test_inputs_that_belong_together(what: str) -> None:
    left, right, wanted, notes = MATCHES[what]
    report = Report("a against b")
    assert _match("input", left, right, report) == wanted and report.notes == notes


def test_inputs_that_do_not() -> None:
    report = Report("a against b")
    with pytest.raises(UsageError, match="the models have 1 and 2 inputs"):
        _match("input", values(("a", (2,))), values(("a", (2,)), ("b", (2,))), report)
    for left, right in [((2, 3), (3, 2)), ((2, 3), (2, 3, 1)), ((2, 3, 5, 7), (2, 5, 3, 7)), ((2, 3, 5), (3, 5, 2))]:
        with pytest.raises(UsageError, match=r"output 'a' \[2, 3.*\] fits no output of the second model"):
            _match("output", values(("a", left)), values(("b", right)), report)
    two = values(("a", (2, 3)), ("b", (2, 3)))
    assert _match("output", two, two[::-1], report, named=False) == [(0, None), (1, None)]


def test_batches_of_another_size() -> None:
    assert _accepts((None, 3), None, (7, 3)) and _accepts((Dim("n"), 3), None, (7, 3)) and _accepts(None, None, (7,))
    assert not _accepts((2, 3), None, (7, 3)) and not _accepts((2, 3), None, (2, 3, 1))
    assert _accepts((2, 3, 5), (0, 2, 1), (2, 5, 3)) and not _accepts((2, 3, 5), (0, 2, 1), (2, 3, 5))
