"""What small integer tensors hold: symbolic evaluation against running the same graph at several sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.errors import InputError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin
from convcore.ir.tensors import LazyTensor
from convcore.passes.shapes import ShapeTracker, fold_constants, symbolic_value

N, T = Dim("N"), Dim("T")


@pytest.fixture
def b():
    return Builder(Graph())


def held(v):
    a = symbolic_value(v)
    return None if a is None else a.tolist()


def ints(b, *xs):
    return b.const(np.array(xs, np.int64))


def test_flatten_of_an_exporter(b):
    """Shape -> Gather -> Unsqueeze -> Concat with a product: the new shape of a reshape."""
    x = b.input("x", "float32", (N, 3, T, 7))
    shape = b.shape_of(x)
    n = b.gather(shape, b.const(np.int64(0)), axis=0)
    rest = b.prod(b.slice(shape, starts=(1,), stops=(3,), steps=(1,)), keepdims=True)
    target = b.concat(b.unsqueeze(n, axes=(0,)), rest, ints(b, 7), axis=0)
    assert held(target) == [N, 3 * T, 7]
    assert all(type(e) is int or isinstance(e, Dim) for e in symbolic_value(target))


def test_minus_one_replaced_before_expand(b):
    """torch's export of expand(-1, 5): Where(Equal(shape, -1), ones, shape)."""
    x = b.input("x", "float32", (N, 1))
    want = b.concat(b.unsqueeze(b.gather(b.shape_of(x), ints(b, 0), axis=0), axes=(0,)), b.const(np.array([[5]])), axis=1)
    flat = b.reshape(want, shape=(2,))
    y = b.where(b.equal(flat, b.const(np.int64(-1))), b.fill(shape=(2,), value=1, dtype="int64"), flat)
    assert held(y) == [N, 5]


def test_upsample_sizes_through_floats(b):
    """Shape -> Cast -> Mul by a scale -> Floor -> Cast."""
    x = b.input("x", "float32", (N, 3, T, 11))
    sizes = b.cast(b.slice(b.shape_of(x), starts=(2,), stops=(4,), steps=(1,)), to="float32")
    assert held(b.cast(b.floor(b.mul(sizes, b.const([2.0, 1.5]))), to="int64")) == [2 * T, 16]
    assert held(b.cast(b.floor(b.mul(sizes, b.const([0.5, 0.5]))), to="int64")) == [T // 2, 5]
    assert held(b.cast(b.ceil(b.div(sizes, b.const([2.0, 2.0]))), to="int64")) == [(T + 1) // 2, 6]
    # 0.7 is no exact float32: T * 0.7 may round across an integer, so only the constant is known
    assert held(b.cast(b.mul(sizes, b.const([0.7, 0.7])), to="int64")) == [None, 7]


def test_float_constants_round_as_the_dtype_does(b):
    y = b.floor(b.mul(b.const([10.0]), b.const([0.7])))
    assert held(b.cast(y, to="int64")) == [int(np.floor(np.float32(10) * np.float32(0.7)))] == [7]


def test_integer_division(b):
    x = b.input("x", "float32", (N, T))
    s = b.shape_of(x)
    minus = b.sub(s, ints(b, 5, 5))
    assert held(b.div(s, ints(b, 2, 3))) == [N // 2, T // 3]
    assert held(b.div(minus, ints(b, 2, 3))) == [None, None]  # the sign of N-5 is open, so is the rounding
    assert held(b.floor_div(minus, ints(b, 2, 3))) == [(N - 5) // 2, (T - 5) // 3]
    assert held(b.div(ints(b, -7, 7), ints(b, 2, -2))) == [-3, -3]
    assert held(b.floor_mod(ints(b, -7, 7), ints(b, 3, 3))) == [2, 1]
    assert held(b.fmod(ints(b, -7, 7), ints(b, 3, 3))) == [-1, 1]
    assert held(b.div(s, ints(b, 0, 1))) == [None, T]


def test_unknown_parts_stay_unknown(b):
    x = b.input("x", "float32", (N, None, 5))
    k = b.input("k", "int64", (1,))
    s = b.concat(b.shape_of(x), k, axis=0)
    assert held(s) == [N, None, 5, None]
    assert held(b.prod(s)) is None
    assert held(b.mul(s, b.const(np.int64(2)))) == [2 * N, None, 10, None]
    assert held(b.input("free", "int64", (None,))) is None
    assert held(b.equal(s, b.const(np.int64(5)))) == [None, None, 1, None]


def test_comparisons_only_when_decidable(b):
    x = b.input("x", "float32", (N, T))
    s = b.shape_of(x)
    assert held(b.equal(s, ints(b, 0, 1))) == [0, None]
    assert held(b.greater(s, ints(b, 0, 1))) == [1, None]
    assert held(b.less(s, b.add(s, b.const(np.int64(1))))) == [1, 1]
    assert held(b.greater_equal(b.mul(s, b.const(np.int64(2))), s)) == [1, 1]
    assert held(b.where(b.less(s, ints(b, 1, 9)), ints(b, 7, 7), s)) == [N, None]
    assert held(b.and_(b.greater(s, ints(b, 0, 3)), b.equal(s, ints(b, 0, 0)))) == [0, 0]


def test_moves(b):
    x = b.input("x", "float32", (N, 3, T, 7))
    s = b.shape_of(x)
    first, second = b.split(s, axis=0, sizes=(1, 3))
    assert held(first) == [N]
    assert held(b.flip(second, axes=(0,))) == [7, T, 3]
    assert held(b.transpose(b.reshape(s, shape=(2, 2)), perm=(1, 0))) == [[N, T], [3, 7]]
    assert held(b.expand(b.unsqueeze(first, axes=(1,)), shape=(1, 2))) == [[N, N]]
    assert held(b.tile(first, repeats=(3,))) == [N, N, N]
    assert held(b.scatter_nd(s, b.const(np.array([[2]])), b.reshape(first, shape=(1,)), reduction="none")) == [N, 3, N, 7]
    assert held(b.squeeze(first, axes=(0,))) == N
    assert held(b.dynamic_reshape(s, ints(b, 2, -1))) == [[N, 3], [T, 7]]
    assert held(b.dynamic_slice(s, ints(b, -1), ints(b, -99), ints(b, -2), axes=(0,))) == [7, 3]
    assert held(b.stack(b.size_of(x), b.dim_value(value=T + 1), axis=0)) == [21 * N * T, T + 1]


def test_constants(b):
    assert held(b.range(b.const(np.int64(2)), b.const(np.int64(11)), b.const(np.int64(4)))) == [2, 6, 10]
    assert held(b.nonzero(b.dynamic_fill(ints(b, 3), value=1, dtype="int64"))) == [[0, 1, 2]]
    assert held(b.const(np.array([True, False]))) == [1, 0]
    assert held(b.const(np.zeros(5000, np.int64))) is None
    assert held(b.max(ints(b, 3, 8, 5))) == 8
    assert held(b.clip(ints(b, -3, 8), min=0, max=5)) == [0, 5]


def test_overflow_is_not_known(b):
    big = b.const(np.array([2**62, 5], np.int64))
    assert held(b.mul(big, b.const(np.int64(4)))) == [None, 20]
    assert held(b.cast(b.const(np.array([300, 7], np.int64)), to="uint8")) == [None, 7]


def test_float_values_give_only_their_whole_elements(b):
    assert held(b.const([2.0, 0.5])) == [2, None]


def test_long_chains_do_not_recurse(b):
    v = b.shape_of(b.input("x", "float32", (N,)))
    for _ in range(3000):
        v = b.add(v, ints(b, 1))
    assert held(v) == [N + 3000]


def test_answers_are_remembered(b):
    t = ShapeTracker()
    v = b.add(b.shape_of(b.input("x", "float32", (N,))), ints(b, 1))
    assert t.get(v).tolist() == [N + 1]
    assert t.get(v).tolist() == [N + 1]


UNARY = ["neg", "abs", "square", "identity"]
BINARY = ["add", "sub", "mul", "div", "floor_div", "floor_mod", "fmod", "maximum", "minimum"]


@st.composite
def programs(draw):
    """Random integer programs over the shape of one input."""
    return [
        (draw(st.sampled_from([*UNARY, *BINARY, "where", "cast"])), *(draw(st.integers(*r)) for r in ((0, 9), (0, 9), (1, 5))))
        for _ in range(draw(st.integers(1, 8)))
    ]


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(1, 9), st.integers(1, 9))
def test_every_known_element_is_what_runs(program, n, t):
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", (N, 3, T))
    values = [b.shape_of(x), ints(b, 2, -3, 5)]
    for name, i, j, k in program:
        u, v = values[i % len(values)], values[j % len(values)]
        if name in UNARY:
            y = b.op(name, u)
        elif name == "where":
            y = b.where(b.less(u, v), u, v)
        elif name == "cast":
            y = b.cast(b.floor(b.div(b.cast(u, to="float64"), b.const(np.float64(k)))), to="int64")
        else:
            y = b.op(name, u, ints(b, k, k + 1, k) if name in ("div", "floor_div", "floor_mod", "fmod") else v)
        values.append(y)
    g.outputs = values
    ran = Interpreter(g).run([np.zeros((n, 3, t), np.float32)])
    tracker = ShapeTracker()
    for v, a in zip(values, ran):
        for e, got in zip(tracker.get(v), a):
            if e is not None and abs(int(got)) < 2**40:
                assert (e.evaluate({"N": n, "T": t}) if isinstance(e, Dim) else e) == got, v


# ---- constant folding


def run(g, *xs):
    return Interpreter(g).run(list(xs))


def test_folds_everything_but_what_depends_on_inputs():
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", (N, 5))
    w = b.weight(np.arange(15, dtype=np.float32).reshape(3, 5), "w", trainable=True, source="fc.weight")
    wt = b.transpose(w, perm=(1, 0))
    scale = b.exp(b.const([0.5, 0.25, 1.0]))
    g.outputs = [b.mul(b.matmul(x, wt), scale)]
    data = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    before = run(g, data)[0]
    name = wt.name
    assert fold_constants(g) == 2
    assert [n.op for n in g] == ["matmul", "mul"]
    np.testing.assert_array_equal(run(g, data)[0], before)
    folded = g.weights[name]
    assert folded.trainable and folded.source == "fc.weight" and folded.shape == (5, 3)
    assert "w" not in g.weights


def test_keeps_quantisation_outputs_symbols_and_large_results():
    g = Graph()
    b = Builder(g)
    q = b.dequantize(b.const(np.array([1, 2, 3], np.int8)), b.const(0.5))
    out = b.neg(b.const([1.0, 2.0]))
    symbolic = b.add(b.dim_value(value=N), b.const(np.int64(1)))
    wide = b.expand(b.const([1.0]), shape=(1 << 20,))
    x = b.input("x", "float32", (N,))
    g.outputs = [q, out, symbolic, b.mul(wide, b.const(2.0)), b.identity(x)]
    assert fold_constants(g) == 0


def test_large_results_are_computed_when_asked_for_and_each_step_once(monkeypatch):
    g = Graph()
    b = Builder(g)
    v = b.weight(np.full((200, 300), 1.0, np.float32), "w")
    for _ in range(20):
        v = b.mul(b.add(v, v), b.const(np.float32(0.5)))
    x = b.input("x", "float32", (200, 300))
    g.outputs = [b.add(x, v)]
    calls = []
    from convcore.passes import constants

    real = constants._compute
    monkeypatch.setattr(constants, "_compute", lambda *a: calls.append(1) or real(*a))
    assert fold_constants(g) == 40
    tensor = next(n for n in g if n.op == "add").inputs[1].tensor
    assert isinstance(tensor, LazyTensor) and not calls
    np.testing.assert_array_equal(tensor.numpy(), np.ones((200, 300), np.float32))
    assert len(calls) == 40


def test_an_impossible_node_is_left_for_the_run_to_report():
    g = Graph()
    b = Builder(g)
    bad = b.gather(b.const([1.0, 2.0]), ints(b, 7), axis=0)
    g.outputs = [b.neg(bad)]
    assert fold_constants(g) == 0


def test_a_large_result_that_cannot_be_computed_names_its_layer():
    """Computed when asked for, far from the pass: numpy's own IndexError would come out of a writer."""
    g = Graph("g")
    b = Builder(g)
    with b.at(Origin("onnx", "pick", "Gather")):
        y = b.gather(b.const(np.ones((300, 300)), "float32"), b.const(np.full(300, 999), "int64"), axis=0)
    g.outputs = [b.add(b.input("x", "float32", (300, 300)), y)]
    assert fold_constants(g) == 1
    with pytest.raises(InputError, match=r"pick.*gather\(float32\[300, 300\], int64\[300\]\) cannot be computed: index 999"):
        run(g, np.ones((300, 300), np.float32))


def test_what_cannot_be_computed_is_left_for_the_run_to_say():
    """Whatever a reference raises of constants: the node stays."""
    b = Builder(Graph("g"))
    bad = b.gather(b.const(np.zeros((3,), np.float32)), b.const(np.array([5])), axis=0)
    b.graph.outputs = [b.relu(bad)]
    assert fold_constants(b.graph) == 0 and [n.op for n in b.graph] == ["gather", "relu"]


@pytest.mark.parametrize("op", ["floor_div", "floor_mod", "div"])
def test_division_by_what_may_be_0_is_not_known(op: str) -> None:
    b = Builder(Graph("g"))
    n = b.shape_of(b.input("x", "float32", (Dim("n"),)))
    less, seven, two = b.sub(n, b.const(np.array([2]))), b.const(np.array([7])), b.const(np.array([2]))
    for x in (seven, n):
        found = symbolic_value(b.op(op, x, less))
        assert found is not None and found.tolist() == [None]
    assert symbolic_value(b.op(op, n, two)) is not None
    known = symbolic_value(b.floor_div(seven, n))
    assert known is not None and known.tolist() == [7 // Dim("n")]


@pytest.mark.parametrize(("name", "decides"), [("and", 0), ("or", 1)])
def test_what_one_side_decides_needs_no_other(b, name, decides):
    """Whatever the other is, known or not; else both must be known."""
    size = b.shape_of(b.input("x", "float32", (N,)))
    sides = {0: b.greater(ints(b, 2), ints(b, 3)), 1: b.greater(ints(b, 3), ints(b, 2)), None: b.greater(size, ints(b, 5))}
    assert {k: held(v) for k, v in sides.items()} == {0: [0], 1: [1], None: [None]}
    for x, one in sides.items():
        for y, other in sides.items():
            want = decides if decides in (x, y) else None if None in (x, y) else 1 - decides
            assert held(b.op(name, one, other)) == [want], (x, y)


def test_what_a_reduction_of_sizes_begins_with(b):
    s = b.shape_of(b.input("x", "float32", (N, T, 3)))
    assert held(b.sum(s, keepdims=True)) == [N + T + 3] and held(b.prod(s, keepdims=True)) == [3 * N * T]
    unknown = b.concat(s, b.input("k", "int64", (1,)), axis=0)
    assert held(b.prod(unknown, keepdims=True)) == held(b.sum(unknown, keepdims=True)) == [None]
    assert held(b.prod(b.concat(unknown, ints(b, 0), axis=0), keepdims=True)) == [0]
