"""What has no exact counterpart is refused by name, with the reason; and details of single rules."""

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from convcore.build.builder import Builder
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph

X = np.random.default_rng(5).standard_normal((2, 3, 5)).astype(np.float32)
I3 = np.array([0, 2, 1])


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "opset", "why"),
    [
        ("Cast", {"x": X}, {"to": 8}, 13, "casting to string is not supported"),
        ("Cast", {"x": X}, {"to": 99}, 19, "element type 99 is not supported"),
        ("Cast", {"x": X}, {"to": "FLOAT9"}, 5, "element type 'float9' is not supported"),
        ("Relu", {"x": X}, {"slope": 2.0}, 14, "attribute with unknown meaning: slope=2.0"),
        ("Relu", {"x": X, "y": X}, {}, 14, "has 2 inputs, Relu takes 1"),
        ("ReduceSum", {"x": X}, {"keepdims": 1, "axis": 3}, 13, "unknown meaning: axis=3"),
        ("ReduceSum", {"x": X}, {"axes": [7]}, 11, "axis 7 is out of range"),
        ("Pad", {"x": X, "p": np.zeros(6, np.int64)}, {"mode": "mirror"}, 18, "'mirror'"),
        ("Resize", {"x": X[None], "r": None, "s": np.array([1, 1, 0.6, 0.6], np.float32)},
            {"coordinate_transformation_mode": "align_corners"}, 19, "are not whole"),
        ("Transpose", {"x": X}, {"perm": [0, 0, 1]}, 13, "not a permutation"),
        ("Concat", {"x": X, "y": X.astype(np.int32)}, {"axis": 0}, 13, "different dtypes"),
        ("Add", {"x": X, "y": np.ones(7, np.float32)}, {}, 13, "do not broadcast"),
        ("Mod", {"x": X, "y": X}, {"fmod": 2}, 13, "fmod is 2"),
        ("BitShift", {"x": I3.astype(np.uint8), "y": I3.astype(np.uint8)}, {"direction": "UP"}, 11, "not one of LEFT, RIGHT"),
        ("Gelu", {"x": X}, {"approximate": "erf"}, 20, "'erf' is not one of none, tanh"),
        ("Flatten", {"x": X}, {"axis": 5}, 13, "axis=5 is out of range"),
        ("Reshape", {"x": X, "s": np.array([7, -1])}, {}, 13, "30 elements do not divide by 7"),
        ("Reshape", {"x": X, "s": np.array([-1, -1])}, {}, 13, "more than one -1"),
        ("Reshape", {"x": X, "s": np.array([4, 8])}, {}, 13, "30 elements against 32"),
        ("Split", {"x": X, "s": np.array([1, 2])}, {"axis": 1}, 13, "2 sizes for 1 outputs"),
        ("Slice", {"x": X, "s": np.array([0, 1]), "e": np.array([1, 2]), "a": np.array([1, -2])}, {}, 13, "2 values for"),
        ("Slice", {"x": X, "s": np.array([0]), "e": np.array([1]), "a": np.array([1]), "t": I3[:1]}, {}, 13, "a step is 0"),
        ("QLinearMatMul", dict.fromkeys("abcdefgh", X), {}, 10, "must be int"),
        ("ConvInteger", {"x": X, "w": X}, {}, 10, "must be int"),
        ("QuantizeLinear", {"x": X, "s": np.float32(2)}, {"block_size": 2}, 21, "scale has 0 axes"),
        ("RegexFullMatch", {"x": np.array(["a"], object)}, {"pattern": "a*"}, 20, "RE2"),
        ("TfIdfVectorizer", {"x": I3}, {"max_gram_length": 1, "max_skip_count": 0, "min_gram_length": 1, "mode": "TF",
            "ngram_counts": [0], "ngram_indexes": [0], "pool_int64s": [2, 3]}, 9, "2 n-grams, ngram_indexes 1"),
        ("DFT", {"x": X}, {}, 20, "must be 1 (real) or 2 (complex)"),
        ("DequantizeLinear", {"x": I3.astype(np.int8), "s": np.ones((3, 1), np.float32)}, {}, 13, "scale has 2 axes"),
        ("OneHot", {"i": I3, "d": np.int64(3), "v": X[0, 0, :2]}, {"axis": 5}, 11, "axis 5 is out of range"),
        ("Celu", {"x": X}, {"alpha": 0.0}, 12, "alpha must not be 0"),
        ("BitCast", {"x": X}, {"to": 7}, 26, "same number of bits"),
    ],
    ids=lambda v: v if isinstance(v, str) and " " not in v else None,
)  # fmt: skip
def test_refusals_say_why(kit, op, inputs, attrs, opset, why):
    constants = {"Reshape": "s", "Split": "s", "Slice": "seat", "OneHot": "dv", "Resize": "s"}.get(op, "")
    model = kit.model(op, inputs, attrs, opset=opset, constants=tuple(constants))
    text = kit.refused(model)
    assert why in text and f"'node' ({op})" in text


def test_every_problem_is_listed(kit):
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], "first", to=8), helper.make_node("Warp", ["x"], ["b"], "second"),
        helper.make_node("Relu", ["b"], ["c"], "third"),
    ]  # fmt: skip
    infos = [helper.make_tensor_value_info("x", T.FLOAT, [2, 3])]
    text = kit.refused(kit.wrap(nodes, infos, [helper.make_empty_tensor_value_info(o) for o in "ac"]))
    assert "'first' (Cast)" in text and "'second' (Warp)" in text and "third" not in text


def test_clip_limits(kit):
    low, high = np.float32(-0.3), np.float32(0.4)
    feed = {"x": X, "low": low, "high": high}
    want = [np.clip(X, low, high)]
    graph = kit.both_ways(kit.model("Clip", feed, opset=13, constants=("low", "high")), feed, want)
    assert [n.op for n in graph] == ["clip"]
    graph = kit.both_ways(kit.model("Clip", feed, opset=13, constants=("low",)), feed, want)
    assert [n.op for n in graph] == ["maximum", "minimum"]
    only = {"x": X, "low": None, "high": high}
    graph = kit.both_ways(kit.model("Clip", only, opset=13, constants=("high",)), only, [np.minimum(X, high)])
    assert graph.nodes[0].attrs["min"] is None


def test_integer_limits_are_exact(kit):
    x = np.array([2**62 + 1, 5, -(2**62) - 1])
    feed = {"x": x, "low": np.int64(-(2**62) + 1), "high": np.int64(2**62 - 1)}
    kit.both_ways(kit.model("Clip", feed, opset=13, constants=("low", "high")), feed, [np.clip(x, feed["low"], feed["high"])])


def test_reductions_over_no_axes(kit):
    none = np.zeros(0, np.int64)
    for op, want in [("ReduceSum", X), ("ReduceSumSquare", X * X), ("ReduceL1", np.abs(X)), ("ReduceLogSumExp", X)]:
        model = kit.model(op, {"x": X, "a": none}, {"noop_with_empty_axes": 1}, opset=18, constants=("a",))
        kit.both_ways(model, {"x": X}, [want])
        model = kit.model(op, {"x": X, "a": none}, {}, opset=18, constants=("a",))
        whole = {"ReduceSum": X.sum(), "ReduceSumSquare": (X * X).sum(), "ReduceL1": np.abs(X).sum()}.get(
            op, np.log(np.exp(X).sum())
        )
        kit.both_ways(model, {"x": X}, [np.full((1, 1, 1), whole, np.float32)])


def test_one_hot_of_values_and_types(kit):
    ids = np.array([[0, -1], [2, 3]], np.int32)
    for values in (np.array([2, 7], np.int64), np.array([0.5, 1.5], np.float32)):
        feed = {"i": ids, "d": np.int64(3), "v": values}
        wrapped = np.where(ids < 0, ids + 3, ids)
        want = np.where(wrapped[:, None, :] == np.arange(3)[None, :, None], values[1], values[0])
        kit.both_ways(kit.model("OneHot", feed, {"axis": 1}, opset=11, constants=("d", "v")), feed, [want])
    floats = {"i": ids.astype(np.float32), "d": np.float32(3), "v": np.array([0, 1], np.float32)}
    want = (np.where(ids < 0, ids + 3, ids)[..., None] == np.arange(3)).astype(np.float32)
    kit.both_ways(kit.model("OneHot", floats, {}, opset=11, constants=("d", "v")), floats, [want], ())


def test_negative_ids_that_mean_outside(kit):
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.one_hot(b.input("i", "int32", (4,)), depth=3)]
    ids = np.array([0, -1, 2, 5], np.int32)
    want = (ids[:, None] == np.arange(3)).astype(np.float32)
    for opset in (13, 26):
        kit.agree(kit.native(kit.emit(g.clone(), opset), {"i": ids}), [want])


def test_quantisation_per_axis_and_whole(kit):
    scale, zero = np.array([0.1, 0.2, 0.05], np.float32), np.array([3, -4, 0], np.int8)
    feed = {"x": X, "s": scale, "z": zero}
    q = np.clip(np.rint(X / scale[:, None]) + zero[:, None], -128, 127).astype(np.int8)
    graph = kit.both_ways(kit.model("QuantizeLinear", feed, opset=13, constants=("s", "z")), feed, [q])
    assert graph.nodes[0].attrs["axis"] == 1 and graph.nodes[0].attrs["dtype"] is DType.INT8
    back = {"x": q, "s": scale, "z": zero}
    want = (q.astype(np.float32) - zero[:, None]) * scale[:, None]
    kit.both_ways(kit.model("DequantizeLinear", back, opset=13, constants=("s", "z")), back, [want])
    one = {"x": X, "s": np.array([0.1], np.float32)}
    q = np.clip(np.rint(X / np.float32(0.1)), 0, 255).astype(np.uint8)
    graph = kit.both_ways(kit.model("QuantizeLinear", one, opset=13, constants=("s",)), one, [q])
    assert graph.nodes[-1].attrs["axis"] is None


def test_a_range_of_halves_counts_in_single(kit):
    ends = {"a": np.float16(0), "b": np.float16(3000), "c": np.float16(1)}
    graph = kit.load(kit.model("Range", ends, {}, opset=27, constants=("a", "b", "c")))
    want = np.arange(0, 3000, 1, np.float32).astype(np.float16)
    kit.agree(kit.run(graph, {}), [want])


def test_fills_keep_their_type(kit):
    for dtype, value in ((T.INT64, 7), (T.BOOL, 1), (T.FLOAT16, 0.5)):
        t = helper.make_tensor("v", dtype, [1], [value])
        model = kit.model("ConstantOfShape", {"s": np.array([2, 3])}, {"value": t}, opset=9, constants=("s",))
        kit.both_ways(model, {}, [np.full((2, 3), numpy_helper.to_array(t)[0])])


def test_an_even_lrn_reaches_further_to_the_end(kit):
    """onnxruntime refuses even sizes; the standard's reference fills as many channels as the batch has items: as many here."""
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(6).standard_normal((5, 5, 2, 3)).astype(np.float32)
    for size in (2, 4):
        model = kit.model("LRN", {"x": x}, {"size": size, "alpha": 0.7, "beta": 0.6, "bias": 1.5}, opset=13)
        graph = kit.load(model)
        want = ReferenceEvaluator(model).run(None, {"x": x})
        kit.agree(kit.run(graph, {"x": x}), want)
        again = kit.emit(graph, 13)
        assert [n.op_type for n in again.graph.node] == ["LRN"]
        kit.agree(ReferenceEvaluator(again).run(None, {"x": x}), want)


@pytest.mark.parametrize("spatial", [1, 2, 4])
def test_auto_pad_goes_with_pads_of_zeros_only(kit, spatial):
    x = np.ones((1, 2, *(7, 5, 3, 2)[:spatial]), np.float32)
    attrs = {"kernel_shape": [2] * spatial, "auto_pad": "SAME_UPPER"}
    assert kit.load(kit.model("MaxPool", {"x": x}, attrs, opset=12)).nodes[0].attrs["pads"] == "same_upper"
    zeros = kit.model("MaxPool", {"x": x}, {**attrs, "pads": [0] * 2 * spatial}, opset=12)
    assert kit.load(zeros).nodes[0].attrs["pads"] == "same_upper"
    ones = kit.model("MaxPool", {"x": x}, {**attrs, "pads": [1] * 2 * spatial}, opset=12)
    assert "both auto_pad and pads=[1" in kit.refused(ones)
