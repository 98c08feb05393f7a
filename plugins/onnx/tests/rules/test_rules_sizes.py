"""Shapes that are computed: they become symbolic sizes on loading, and arithmetic on Shape again where ONNX needs it."""

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from convcore.build.builder import Builder
from convcore.ir.dims import Dim, dim_max
from convcore.ir.graph import Graph

N, M = Dim("N"), Dim("M")
rng = np.random.default_rng(3)


def data(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def const(name, values):
    return numpy_helper.from_array(np.asarray(values, np.int64), name)


def model(kit, nodes, shape, weights=(), outputs=("y",), opset=18, more=()):
    infos = [helper.make_tensor_value_info("x", T.FLOAT, shape), *more]
    return kit.wrap(nodes, infos, [helper.make_empty_tensor_value_info(o) for o in outputs], weights, opset)


def node(op, ins, outs="y", **attrs):
    return helper.make_node(op, ins, [outs] if isinstance(outs, str) else outs, **attrs)


def check(kit, m, feeds, want, ops, opsets=(13, 18, 26)):
    """Loads to ``ops`` (no shape arithmetic left), agrees for every feed, and again when emitted."""
    graph = kit.load(m)
    graph.remove_unused()
    assert [n.op for n in graph] == ops
    for x in feeds:
        kit.agree(kit.run(graph, {"x": x}), want(x), "loaded")
    for opset in opsets:
        again = kit.emit(kit.load(m), opset)
        for x in feeds:
            kit.agree(kit.native(again, {"x": x}), want(x), f"opset {opset}")
    return graph, again


SIZE = [node("Shape", ["x"], "s"), node("Gather", ["s", "zero"], "n", axis=0)]
ZERO = const("zero", [0])


def test_a_batch_taken_from_shape(kit):
    nodes = [*SIZE, node("Concat", ["n", "rest"], "to", axis=0), node("Reshape", ["x", "to"])]
    m = model(kit, nodes, ["N", 3, 5, 7], [ZERO, const("rest", [3, -1])])
    graph, again = check(kit, m, [data(2, 3, 5, 7), data(11, 3, 5, 7)], lambda x: [x.reshape(len(x), 3, 35)], ["reshape"])
    assert graph.outputs[0].shape == (N, 3, 35)
    assert [n.op_type for n in again.graph.node] == ["Reshape"]  # the batch is copied, nothing computed


def test_flattening_is_flatten(kit):
    for nodes, weights in [
        ([*SIZE, node("Concat", ["n", "rest"], "to", axis=0), node("Reshape", ["x", "to"])], [ZERO, const("rest", [-1])]),
        ([node("Flatten", ["x"])], []),
        ([node("Reshape", ["x", "to"])], [const("to", [0, -1])]),
    ]:
        m = model(kit, nodes, ["N", 3, 5, 7], weights)
        graph, again = check(kit, m, [data(2, 3, 5, 7), data(11, 3, 5, 7)], lambda x: [x.reshape(len(x), 105)], ["reshape"])
        assert graph.outputs[0].shape == (N, 105) and [n.op_type for n in again.graph.node] == ["Flatten"]


def test_merging_the_batch(kit):
    m = model(kit, [node("Reshape", ["x", "to"])], ["N", 3, 5], [const("to", [-1, 5])])
    graph, again = check(kit, m, [data(2, 3, 5), data(7, 3, 5)], lambda x: [x.reshape(-1, 5)], ["reshape"])
    assert graph.outputs[0].shape == (3 * N, 5) and len(again.graph.node) == 1


def test_two_free_sizes(kit):
    m = model(kit, [node("Reshape", ["x", "to"])], ["N", "M", 6], [const("to", [0, 0, 2, -1])])
    check(kit, m, [data(2, 5, 6), data(7, 3, 6)], lambda x: [x.reshape(*x.shape[:2], 2, 3)], ["reshape"])
    nodes = [
        node("Shape", ["x"], "s"), node("Gather", ["s", "zero"], "n"), node("Gather", ["s", "one"], "m"),
        node("Mul", ["m", "two"], "mm"), node("Concat", ["mm", "n", "three"], "to", axis=0), node("Reshape", ["x", "to"]),
    ]  # fmt: skip
    m = model(kit, nodes, ["N", "M", 6], [ZERO, const("one", [1]), const("two", [2]), const("three", [3])])
    graph, _ = check(kit, m, [data(2, 5, 6), data(7, 3, 6)], lambda x: [x.reshape(2 * x.shape[1], len(x), 3)], ["reshape"])
    assert graph.outputs[0].shape == (2 * M, N, 3)


def test_a_size_of_zero(kit):
    m = model(kit, [node("Reshape", ["x", "to"], allowzero=1)], [0, 3], [const("to", [3, 0])], opset=18)
    check(kit, m, [data(0, 3)], lambda x: [x.reshape(3, 0)], ["reshape"], (18, 26))


def test_expand_to_a_computed_shape(kit):
    nodes = [*SIZE, node("Concat", ["n", "rest"], "to", axis=0), node("Expand", ["w", "to"], "e"), node("Add", ["x", "e"])]
    w = numpy_helper.from_array(data(1, 3, 1), "w")
    m = model(kit, nodes, ["N", 3, 5], [ZERO, const("rest", [3, 5]), w])
    want = numpy_helper.to_array(w)
    check(kit, m, [data(2, 3, 5), data(7, 3, 5)], lambda x: [x + want], ["expand", "add"])


def test_expand_keeps_sizes_where_the_shape_says_one(kit):
    m = model(kit, [node("Expand", ["x", "to"])], ["N", 3, 1], [const("to", [2, 1, 3, 5])])
    graph, _ = check(kit, m, [data(7, 3, 1)], lambda x: [np.broadcast_to(x, (2, len(x), 3, 5))], ["expand"])
    assert graph.outputs[0].shape == (2, N, 3, 5)


def test_tile_by_a_size(kit):
    nodes = [*SIZE, node("Concat", ["n", "rest"], "to", axis=0), node("Tile", ["x", "to"])]
    m = model(kit, nodes, ["N", 3], [ZERO, const("rest", [2])])
    check(kit, m, [data(2, 3), data(5, 3)], lambda x: [np.tile(x, (len(x), 2))], ["tile"])


def test_slice_to_a_size(kit):
    nodes = [
        node("Shape", ["x"], "s"), node("Gather", ["s", "one"], "m"), node("Div", ["m", "two"], "half"),
        node("Slice", ["x", "zero", "half", "one"], "a"), node("Slice", ["x", "half", "far", "one"], "b"),
        node("Sub", ["a", "b"]),
    ]  # fmt: skip
    m = model(kit, nodes, ["N", "M"], [ZERO, const("one", [1]), const("two", [2]), const("far", [2**63 - 1])])
    feeds = [data(2, 6), data(3, 10)]
    check(kit, m, feeds, lambda x: [x[:, : x.shape[1] // 2] - x[:, x.shape[1] // 2 :]], ["slice", "slice", "sub"])


def test_slice_from_the_end_by_a_size(kit):
    nodes = [*SIZE, node("Neg", ["n"], "back"), node("Slice", ["x", "back", "far", "one"])]
    m = model(kit, nodes, ["N", 7], [ZERO, const("one", [1]), const("far", [2**63 - 1])])
    graph, _ = check(kit, m, [data(2, 7), data(5, 7)], lambda x: [x[:, -len(x) :]], ["slice"])
    assert graph.outputs[0].shape == (N, 7 - dim_max(7 - N, 0))


def test_slices_with_steps(kit):
    weights = [const("a", [-1, 1]), const("b", [-(2**63), 2**31 - 1]), const("c", [1, 2]), const("d", [-2, 3])]
    m = model(kit, [node("Slice", ["x", "a", "b", "c", "d"])], ["N", 7, 11], weights)
    check(kit, m, [data(2, 7, 11)], lambda x: [x[:, ::-2, 1::3]], ["slice"])


def test_slice_backward_between_counted_places(kit):
    """ONNX limits a start to the first element and an end to the place before it; a Python slice counts both from the end."""
    nodes = [
        *SIZE, node("Sub", ["three", "n"], "start"), node("Neg", ["n"], "end"),
        node("Slice", ["x", "start", "low", "one", "back"], "a"), node("Slice", ["x", "last", "end", "one", "back"], "b"),
    ]  # fmt: skip
    consts = {"three": 3, "one": 1, "back": -1, "low": -(2**63), "last": 2**62}
    m = model(kit, nodes, ["N", 5], [ZERO, *(const(k, [v]) for k, v in consts.items())], ["a", "b"])

    def want(x):
        n = len(x)
        start = max(3 - n + (5 if n > 3 else 0), 0)
        return [x[:, start::-1], x[:, ::-1] if n > 5 else x[:, : 5 - n : -1]]

    ops = ["shape_of", "gather", "sub", "neg", "dynamic_slice", "dynamic_slice"]
    check(kit, m, [data(n, 5) for n in (2, 4, 7, 11)], want, ops)


def test_padding_to_a_multiple(kit):
    nodes = [
        node("Shape", ["x"], "s"), node("Gather", ["s", "one"], "m"), node("Neg", ["m"], "neg"),
        node("Mod", ["neg", "four"], "more"),
        node("Concat", ["zeros", "more"], "pads", axis=0), node("Pad", ["x", "pads"]),
    ]  # fmt: skip
    m = model(kit, nodes, ["N", "M"], [const("one", [1]), const("four", [4]), const("zeros", [0, 0, 0])])
    check(kit, m, [data(2, 6), data(3, 8)], lambda x: [np.pad(x, [(0, 0), (0, -x.shape[1] % 4)])], ["pad"])


def test_pads_of_some_axes(kit):
    weights = [const("p", [1, 2, 0, 3]), numpy_helper.from_array(np.float32(2.5), "v"), const("a", [-1, 0])]
    m = model(kit, [node("Pad", ["x", "p", "v", "a"])], ["N", 3, 5], weights)
    want = lambda x: [np.pad(x, [(2, 3), (0, 0), (1, 0)], constant_values=2.5)]  # noqa: E731
    graph, _ = check(kit, m, [data(2, 3, 5)], want, ["pad"])
    assert graph.outputs[0].shape == (N + 5, 3, 6)


def test_zeros_of_a_computed_shape(kit):
    value = helper.make_tensor("v", T.FLOAT, [1], [2.5])
    nodes = [
        *SIZE,
        node("Concat", ["n", "rest"], "to", axis=0),
        node("ConstantOfShape", ["to"], "z", value=value),
        node("Add", ["x", "z"]),
    ]
    m = model(kit, nodes, ["N", 3], [ZERO, const("rest", [3])])
    check(kit, m, [data(2, 3), data(5, 3)], lambda x: [x + np.float32(2.5)], ["fill", "add"])


def test_range_up_to_a_size(kit):
    scalar = [node("Squeeze", ["n", "zero"], "k")]
    nodes = [*SIZE, *scalar, node("Range", ["start", "k", "step"], "r"), node("Cast", ["r"], "f", to=1), node("Mul", ["x", "f"])]
    weights = [ZERO, numpy_helper.from_array(np.int64(0), "start"), numpy_helper.from_array(np.int64(1), "step")]
    m = model(kit, nodes, ["N"], weights)
    graph = kit.load(m)
    for x in (data(2), data(7)):
        want = [x * np.arange(len(x), dtype=np.float32)]
        kit.agree(kit.run(graph, {"x": x}), want)
        for opset in (13, 18, 26):
            kit.agree(kit.native(kit.emit(kit.load(m), opset), {"x": x}), want)
    assert graph.outputs[0].shape == (N,)


def test_split_of_a_symbolic_axis(kit):
    m = model(kit, [node("Split", ["x"], ["a", "b"], axis=0, num_outputs=2)], ["N", 3], outputs=("a", "b"))
    for n in (4, 5):
        x = data(n, 3)
        half = -(-n // 2)
        want = [x[:half], x[half:]]
        kit.agree(kit.run(kit.load(m), {"x": x}), want)
        for opset in (13, 18, 26):
            kit.agree(kit.native(kit.emit(kit.load(m), opset), {"x": x}), want)


def test_top_k_of_half(kit):
    nodes = [
        node("Shape", ["x"], "s"),
        node("Gather", ["s", "one"], "m"),
        node("Div", ["m", "two"], "k"),
        node("TopK", ["x", "k"], ["y", "i"]),
    ]
    m = model(kit, nodes, ["N", "M"], [const("one", [1]), const("two", [2])], outputs=("y", "i"))

    def want(x):
        order = np.argsort(-x, 1, kind="stable")[:, : x.shape[1] // 2]
        return [np.take_along_axis(x, order, 1), order]

    check(kit, m, [data(2, 7), data(3, 4)], want, ["topk"])


def test_one_hot_of_a_computed_depth(kit):
    ids = helper.make_tensor_value_info("ids", T.INT64, ["M"])
    values = numpy_helper.from_array(np.array([0.5, 3], np.float32), "v")
    nodes = [*SIZE, node("OneHot", ["ids", "n", "v"], axis=0)]
    m = kit.wrap(
        nodes,
        [helper.make_tensor_value_info("x", T.FLOAT, ["N"]), ids],
        [helper.make_empty_tensor_value_info("y")],
        [ZERO, values],
    )
    x, i = data(5), np.array([0, 4, -1, 5, -6, 2, -5])
    wrapped = np.where(i < 0, i + 5, i)
    want = [np.where(wrapped[None] == np.arange(5)[:, None], np.float32(3), np.float32(0.5))]
    kit.agree(kit.run(kit.load(m), {"x": x, "ids": i}), want)
    for opset in (13, 18, 26):
        kit.agree(kit.native(kit.emit(kit.load(m), opset), {"x": x, "ids": i}), want)


# ---- truly computed from data


def test_shapes_that_depend_on_data_stay_dynamic(kit):
    to = helper.make_tensor_value_info("to", T.INT64, [2])
    for op, want, ops in [
        ("Reshape", lambda x: x.reshape(5, 6), ["dynamic_reshape"]),
        ("Expand", lambda x: np.broadcast_to(x[:, :1], (5, 6)), ["slice", "dynamic_expand"]),
    ]:
        first = [node("Slice", ["x", "zero", "one", "one"], "h")] if op == "Expand" else []
        m = model(kit, [*first, node(op, ["h" if first else "x", "to"])], [5, 6], [ZERO, const("one", [1])], more=[to])
        feed = {"x": data(5, 6), "to": np.array([5, 6])}
        graph = kit.both_ways(m, feed, [want(feed["x"])])
        assert [n.op for n in graph] == ops


def test_slices_by_data(kit):
    ends = [helper.make_tensor_value_info(n, T.INT64, [1]) for n in ("a", "b")]
    m = model(kit, [node("Slice", ["x", "a", "b", "one"])], ["N", 7], [const("one", [1])], more=ends)
    feed = {"x": data(2, 7), "a": np.array([1]), "b": np.array([-2])}
    graph = kit.both_ways(m, feed, [feed["x"][:, 1:-2]])
    assert [n.op for n in graph] == ["dynamic_slice"]
    m = model(kit, [node("Slice", ["x", "a", "b"])], ["N", 7], more=ends)
    kit.both_ways(m, feed, [feed["x"][1:-2]])


# ---- writing sizes


@pytest.mark.parametrize("opset", [13, 14, 15, 18, 26])
def test_arithmetic_on_sizes(kit, opset):
    """Floor division and remainder of a difference, which is negative for small sizes; maximum; products."""
    sizes = [(N - 5) // 3 + 2, (N - 5) % 3, dim_max(N - 4, 2), 2 * N * M + 1, M * M, N * 0 + 7]
    for n, m in ((1, 2), (4, 3), (11, 5)):
        g = Graph("g")
        b = Builder(g)
        b.input("x", "float32", (N, 3)), b.input("w", "float32", (2, M))
        g.outputs = [b.dim_value(value=d) for d in sizes]
        made = kit.emit(g, opset)
        got = kit.native(made, {"x": data(n, 3), "w": data(2, m)})
        want = [(n - 5) // 3 + 2, (n - 5) % 3, max(n - 4, 2), 2 * n * m + 1, m * m, 7]
        assert [int(v) for v in got] == want and all(v.shape == () and v.dtype == np.int64 for v in got)


@pytest.mark.parametrize("opset", [13, 15])
def test_parts_of_a_shape(kit, opset):
    x = data(2, 3, 5, 7)
    for start, end in [(0, None), (1, None), (1, 3), (-2, None), (0, -1), (3, 2)]:
        g = Graph("g")
        b = Builder(g)
        v = b.input("x", "float32", (N, 3, M, 7))
        g.outputs = [b.shape_of(v, start=start, end=end)]
        kit.agree(kit.native(kit.emit(g, opset), {"x": x}), [np.array(x.shape[start:end], np.int64)])


def test_sizes_no_input_has_are_refused(kit):
    from convcore.errors import UnsupportedError

    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (6, 5))
    g.outputs = [b.reshape(x, shape=(Dim("A"), Dim("B"), 5))]
    with pytest.raises(UnsupportedError, match="'A' is not the size of any input"):
        kit.emit(g, 18)
