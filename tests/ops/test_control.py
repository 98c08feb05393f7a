"""Scan, if and loop against onnxruntime running the same thing, and against torch where a loop has a closed form."""

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import InputError, ShapeError
from convcore.interpreter.execute import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph

RNG = np.random.default_rng(19)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def region(*inputs, make):
    """A graph over inputs (name, dtype, shape) with the outputs ``make(builder, *values)``."""
    g = Graph("region")
    b = Builder(g)
    g.outputs = list(make(b, *(b.input(*i) for i in inputs)))
    return g


def run(graph, *arrays):
    return Interpreter(graph).run(arrays)


def ort(nodes, inputs, outputs):
    onnx = pytest.importorskip("onnx")
    rt = pytest.importorskip("onnxruntime")
    h = onnx.helper

    def info(name, a):
        return h.make_tensor_value_info(name, h.np_dtype_to_tensor_dtype(a.dtype), a.shape)

    graph = h.make_graph(
        nodes,
        "g",
        [info(n, a) for n, a in inputs.items()],
        [h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 22)], ir_version=10)
    session = rt.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("reverse", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("out_reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_scan_is_onnxruntime(reverse, out_reverse, axis, out_axis):
    """s, t = 0.5 s + x_t * w, outputs s - y_t and x_t, with the captured w."""
    onnx = pytest.importorskip("onnx")
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    s0, x, y, w = rand(3), rand(5, 3), rand(5, 3), rand(3)
    if axis:
        x, y = x.T.copy(), y.T.copy()
    half = h.make_node("Constant", [], ["half"], value_float=0.5)
    body = h.make_graph(
        [
            half,
            h.make_node("Mul", ["s", "half"], ["a"]),
            h.make_node("Mul", ["x", "w"], ["b"]),
            h.make_node("Add", ["a", "b"], ["new"]),
            h.make_node("Sub", ["new", "y"], ["out"]),
            h.make_node("Identity", ["x"], ["seen"]),
        ],
        "body",
        [h.make_tensor_value_info(n, f, [3]) for n in ("s", "x", "y")],
        [h.make_tensor_value_info(n, f, [3]) for n in ("new", "out", "seen")],
    )
    node = h.make_node(
        "Scan", ["s0", "xs", "ys"], ["last", "outs", "seens"], body=body, num_scan_inputs=2, scan_input_axes=[axis, axis],
        scan_input_directions=list(reverse), scan_output_axes=[out_axis, out_axis], scan_output_directions=[out_reverse, 0],
    )  # fmt: skip
    truth = ort([node], {"s0": s0, "xs": x, "ys": y, "w": w}, ["last", "outs", "seens"])

    def make(b, s, x, y, w):
        new = b.add(b.mul(s, b.like(s, 0.5)), b.mul(x, w))
        return new, b.sub(new, y), b.identity(x)

    v = ("float32", (3,))
    g = Graph()
    b = Builder(g)
    args = [b.input(n, "float32", a.shape) for n, a in (("s0", s0), ("xs", x), ("ys", y), ("w", w))]
    g.outputs = list(
        b.scan(
            *args, regions=[region(("s", *v), ("x", *v), ("y", *v), ("w", *v), make=make)], n_states=1, n_scanned=2,
            scan_axis=(axis, axis), reverse=reverse, out_axes=(out_axis, out_axis), out_reverse=(out_reverse, 0),
        )
    )  # fmt: skip
    got = run(g, s0, x, y, w)
    for value, a, e in zip(g.outputs, got, truth):
        assert value.shape == a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=1e-6)


def cumsum_scan(b, x, s, size=3):
    body = region(
        ("s", "float32", (size,)), ("x", "float32", (size,)), make=lambda b, s, x: (b.add(s, x), b.mul(b.add(s, x), b.like(s, 2)))
    )  # fmt: skip
    return b.scan(s, x, regions=[body], n_states=1, n_scanned=1)


def test_scan_over_a_named_length():
    g = Graph()
    b = Builder(g)
    x, s = b.input("x", "float32", (Dim("T"), 3)), b.input("s", "float32", (3,))
    g.outputs = list(cumsum_scan(b, x, s))
    assert [str(d) for d in g.outputs[1].shape] == ["T", "3"]
    for t in (5, 1, 0):
        xs, s0 = rand(t, 3), rand(3)
        last, ys = run(g, xs, s0)
        total = s0 + np.cumsum(xs, 0) if t else np.zeros((0, 3), np.float32)
        np.testing.assert_allclose(ys, 2 * total, rtol=1e-5)
        np.testing.assert_allclose(last, total[-1] if t else s0, rtol=1e-5)
        assert ys.dtype == np.float32


def test_named_sizes_reach_the_region():
    """A region may use a size that only an input of the outer graph fixes."""
    g = Graph()
    b = Builder(g)
    x, s = b.input("x", "float32", (5, 3)), b.input("s", "float32", (Dim("N"), 3))

    def make(b, s, x):
        return b.add(s, x), b.reshape(s, shape=(Dim("N") * 3,))

    body = region(("s", "float32", (Dim("N"), 3)), ("x", "float32", (3,)), make=make)
    g.outputs = list(b.scan(s, x, regions=[body], n_states=1, n_scanned=1))
    last, ys = run(g, rand(5, 3), rand(2, 3))
    assert last.shape == (2, 3) and ys.shape == (5, 6)


def test_regions_nest():
    g = Graph()
    b = Builder(g)
    x, s = b.input("x", "float32", (2, 5, 3)), b.input("s", "float32", (3,))

    def make(b, s, x):
        return cumsum_scan(b, x, s)

    outer = region(("s", "float32", (3,)), ("x", "float32", (5, 3)), make=make)
    g.outputs = list(b.scan(s, x, regions=[outer], n_states=1, n_scanned=1))
    xs = rand(2, 5, 3)
    last, ys = run(g, xs, np.zeros(3, np.float32))
    np.testing.assert_allclose(ys, 2 * np.cumsum(xs.reshape(10, 3), 0).reshape(2, 5, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, xs.sum((0, 1)), rtol=1e-5, atol=1e-6)


def test_a_clone_with_regions_runs():
    g = Graph()
    b = Builder(g)
    x, s = b.input("x", "float32", (5, 3)), b.input("s", "float32", (3,))
    g.outputs = list(cumsum_scan(b, x, s))
    a = rand(5, 3), rand(3)
    for got, want in zip(run(g.clone(), *a), run(g, *a)):
        assert np.array_equal(got, want)


def if_graph(then, other, shape=(2, 3)):
    g = Graph()
    b = Builder(g)
    cond, x = b.input("cond", "bool", ()), b.input("x", "float32", shape)
    arms = [region(("x", "float32", shape), make=arm) for arm in (then, other)]
    g.outputs = list(b.op("if", cond, x, regions=arms))
    return g


def test_if():
    g = if_graph(lambda b, x: [b.neg(x)], lambda b, x: [b.exp(x)])
    x = rand(2, 3)
    assert np.array_equal(run(g, np.asarray(True), x)[0], -x)
    np.testing.assert_allclose(run(g, np.asarray(False), x)[0], np.exp(x), rtol=1e-6)
    assert g.outputs[0].shape == (2, 3)


def test_if_with_two_shapes_knows_what_they_share():
    g = if_graph(lambda b, x: [b.concat(x, x, axis=1)], lambda b, x: [x])
    assert g.outputs[0].shape == (2, None)
    assert run(g, np.asarray(True), rand(2, 3))[0].shape == (2, 6)
    g = if_graph(lambda b, x: [b.reshape(x, shape=(6,))], lambda b, x: [x])
    assert g.outputs[0].shape is None


@pytest.mark.parametrize("trips, start", [(5, True), (50, True), (5, False), (0, True)])
def test_loop_is_onnxruntime(trips, start):
    """s = s * 1.5 + w while the sum is below 20; stacks the step number."""
    onnx = pytest.importorskip("onnx")
    h, t = onnx.helper, onnx.TensorProto
    s0, w = np.abs(rand(3)) + 0.1, np.abs(rand(3))
    body = h.make_graph(
        [
            h.make_node("Constant", [], ["k"], value_float=1.5),
            h.make_node("Constant", [], ["limit"], value_float=20.0),
            h.make_node("Mul", ["s", "k"], ["a"]),
            h.make_node("Add", ["a", "w"], ["new"]),
            h.make_node("ReduceSum", ["new"], ["total"], keepdims=0),
            h.make_node("Less", ["total", "limit"], ["go"]),
            h.make_node("Cast", ["i"], ["step"], to=t.FLOAT),
            h.make_node("Mul", ["new", "step"], ["out"]),
        ],
        "body",
        [
            h.make_tensor_value_info("i", t.INT64, []),
            h.make_tensor_value_info("c", t.BOOL, []),
            h.make_tensor_value_info("s", t.FLOAT, [3]),
        ],
        [
            h.make_tensor_value_info("go", t.BOOL, []),
            h.make_tensor_value_info("new", t.FLOAT, [3]),
            h.make_tensor_value_info("out", t.FLOAT, [3]),
        ],
    )
    node = h.make_node("Loop", ["m", "cond", "s0"], ["last", "outs"], body=body)
    m, cond = np.asarray(trips, np.int64), np.asarray(start)
    truth = ort([node], {"m": m, "cond": cond, "s0": s0, "w": w}, ["last", "outs"])

    def make(b, i, c, s, w):
        new = b.add(b.mul(s, b.like(s, 1.5)), w)
        go = b.less(b.sum(new), b.like(new, 20.0))
        return go, new, b.mul(new, b.cast(i, to="float32"))

    g = Graph()
    b = Builder(g)
    v = ("float32", (3,))
    args = [b.input("m", "int64", ()), b.input("cond", "bool", ()), b.input("s0", *v), b.input("w", *v)]
    inner = region(("i", "int64", ()), ("c", "bool", ()), ("s", *v), ("w", *v), make=make)
    g.outputs = list(b.loop(*args, regions=[inner], n_states=1))
    got = run(g, m, cond, s0, w)
    assert g.outputs[0].shape == (3,) and g.outputs[1].shape == (None, 3)
    for a, e in zip(got, truth):
        assert a.shape == e.shape and a.dtype == e.dtype
        np.testing.assert_allclose(a, e, rtol=1e-6)


def test_loop_without_trip_count_or_condition():
    def make(b, i, c, s):
        new = b.add(s, b.like(s, 1))
        return b.less(new, b.like(new, 4)), new

    inner = region(("i", "int64", ()), ("c", "bool", ()), ("s", "float32", ()), make=make)
    g = Graph()
    b = Builder(g)
    cond, s = b.input("cond", "bool", ()), b.input("s", "float32", ())
    g.outputs = list(b.loop(None, cond, s, regions=[inner], n_states=1))
    assert run(g, np.asarray(True), np.asarray(0.5, np.float32))[0] == 4.5
    g = Graph()
    b = Builder(g)
    m, s = b.input("m", "int64", ()), b.input("s", "float32", ())
    g.outputs = list(b.loop(m, None, s, regions=[inner], n_states=1))
    assert run(g, np.asarray(2), np.asarray(0.5, np.float32))[0] == 2.5


V = ("float32", (3,))


@pytest.mark.parametrize(
    "inner, kw, why",
    [
        ({"inputs": [("s", *V)]}, {}, "takes 1 inputs, is given 2"),
        ({"inputs": [("s", *V), ("x", "float32", (4,))]}, {}, "input 'x': 4 != 3"),
        ({"inputs": [("s", *V), ("x", "int32", (3,))]}, {}, "input 'x' is int32, is given float32"),
        ({"inputs": [("s", *V), ("x", *V)], "out": lambda b, s, x: [b.cast(s, to="int32")]}, {}, "becomes int32"),
        ({"inputs": [("s", *V), ("x", *V)], "out": lambda b, s, x: [b.concat(s, x, axis=0)]}, {}, "becomes"),
        ({"inputs": [("s", *V), ("x", *V)]}, {"n_scanned": 3}, "do not fit"),
        ({"inputs": [("s", *V), ("x", *V)]}, {"scan_axis": (2,)}, "out of range"),
        ({"inputs": [("s", *V), ("x", *V)]}, {"reverse": (0, 1)}, "one entry per scanned"),
        ({"inputs": [("s", *V), ("x", *V)]}, {"out_axes": (0, 1)}, "one entry per stacked"),
    ],
)
def test_scan_refuses(inner, kw, why):
    body = region(*inner["inputs"], make=inner.get("out", lambda b, s, *x: [s]))
    b = Builder(Graph())
    s, x = b.input("s", *V), b.input("x", "float32", (5, 3))
    with pytest.raises(ShapeError, match=why):
        b.scan(s, x, regions=[body], **({"n_states": 1, "n_scanned": 1} | kw))


def test_if_refuses_branches_that_differ():
    with pytest.raises(ShapeError, match="1 and 2 outputs"):
        if_graph(lambda b, x: [x], lambda b, x: [x, x])
    with pytest.raises(ShapeError, match="branches give"):
        if_graph(lambda b, x: [x], lambda b, x: [b.cast(x, to="int32")])


def test_number_of_regions():
    b = Builder(Graph())
    with pytest.raises(ShapeError, match="takes 2 regions, got 0"):
        b.op("if", b.input("c", "bool", ()))


def test_lengths_that_differ_at_run_time():
    g = Graph()
    b = Builder(g)
    x, y, s = b.input("x", "float32", (None, 3)), b.input("y", "float32", (None, 3)), b.input("s", "float32", (3,))
    body = region(("s", *V), ("x", *V), ("y", *V), make=lambda b, s, x, y: [b.add(s, b.mul(x, y))])
    g.outputs = list(b.scan(s, x, y, regions=[body], n_states=1, n_scanned=2)[:1])
    with pytest.raises(InputError, match="different lengths"):
        run(g, rand(5, 3), rand(2, 3), rand(3))


# ---- written out step by step
def spelled_out(graph):
    """The graph with its first control node replaced by its body."""
    from convcore.emit.legalise import expand

    other = graph.clone()
    node = next(n for n in other if n.regions)
    expand(other, node)
    assert not any(n.regions for n in other)
    return other


@pytest.mark.parametrize("reverse", [(0, 0), (1, 0)])
@pytest.mark.parametrize(("axis", "out_axis", "out_reverse"), [(0, 0, 1), (1, -1, 0)])
def test_a_scan_of_known_length_is_its_steps(reverse, axis, out_axis, out_reverse):
    def body(b, s, x, y, w):
        t = b.add(b.mul(s, b.const(np.full(3, 0.5, np.float32))), b.mul(x, w))
        return t, b.sub(t, y)

    inner = region(("s", "float32", (3,)), ("x", "float32", (3,)), ("y", "float32", (3,)), ("w", "float32", (3,)), make=body)
    g = Graph("g")
    b = Builder(g)
    wide = (5, 3) if axis == 0 else (3, 5)
    ins = [
        b.input("s0", "float32", (3,)),
        b.input("a", "float32", wide),
        b.input("b", "float32", wide),
        b.input("w", "float32", (3,)),
    ]
    g.outputs = list(
        b.op("scan", *ins, regions=[inner], n_states=1, n_scanned=2, scan_axis=(axis, axis), reverse=reverse,
             out_axes=(out_axis,), out_reverse=(out_reverse,))
    )  # fmt: skip
    arrays = [rand(3), rand(*wide), rand(*wide), rand(3)]
    for got, want in zip(run(spelled_out(g), *arrays), run(g, *arrays), strict=True):
        np.testing.assert_array_equal(got, want)


def loop(trip, make, cond=None):
    """x summed by a loop whose body is ``make(b, step, go, x)``."""
    inner = region(("i", "int64", ()), ("go", "bool", ()), ("x", "float32", (3,)), make=make)
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (3,))
    count = b.input("n", "int64", ()) if trip is None else b.const(trip, "int64")
    g.outputs = list(b.op("loop", count, None if cond is None else b.const(cond, "bool"), x, regions=[inner], n_states=1))
    return g


def step(b, i, go, x):
    y = b.add(x, b.cast(i, to="float32"))
    return b.identity(go), y, y


def test_a_loop_of_a_constant_count_is_its_steps():
    g, x = loop(7, step), rand(3)
    for got, want in zip(run(spelled_out(g), x), run(g, x), strict=True):
        np.testing.assert_array_equal(got, want)


def ends(b, i, go, x):
    return b.less(i, b.const(3, "int64")), x, x


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda: loop(None, step), "not known before it runs"),
        (lambda: loop(7, ends), "condition is computed"),
        (lambda: loop(7, step, cond=False), "condition is computed"),
        (lambda: loop(0, step), "0 steps"),
        (lambda: loop(2000, step), "2000 steps"),
    ],
)
def test_loops_that_stay_loops(graph, why):
    with pytest.raises(ShapeError, match=why):
        spelled_out(graph())


@pytest.mark.parametrize("constant", [None, True, False])
def test_both_branches_and_a_choice(constant):
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (3,))
    cond = b.input("cond", "bool", ()) if constant is None else b.const(constant, "bool")
    then = region(("x", "float32", (3,)), make=lambda b, x: [b.exp(x)])
    other = region(("x", "float32", (3,)), make=lambda b, x: [x])
    g.outputs = list(b.op("if", cond, x, regions=[then, other]))
    data = rand(3)
    for flag in (True, False):
        feed = [data] if constant is not None else [data, np.asarray(flag)]
        np.testing.assert_array_equal(run(spelled_out(g), *feed)[0], run(g, *feed)[0])


def test_branches_of_different_shapes_stay():
    g = Graph("g")
    b = Builder(g)
    x, cond = b.input("x", "float32", (3,)), b.input("cond", "bool", ())
    then = region(("x", "float32", (3,)), make=lambda b, x: [b.concat(x, x, axis=0)])
    g.outputs = list(b.op("if", cond, x, regions=[then, region(("x", "float32", (3,)), make=lambda b, x: [x])]))
    with pytest.raises(ShapeError, match="one shape"):
        spelled_out(g)
