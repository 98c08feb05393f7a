"""What older opsets say in another way: attributes that became inputs, broadcasting by axis, flattening softmax."""

import numpy as np
import pytest

rng = np.random.default_rng(7)
X = rng.standard_normal((2, 3, 5, 7)).astype(np.float32)
P = np.abs(X) + np.float32(0.5)


def f32(*values):
    return np.array(values, np.float32)


def soft(x, axis):
    flat = x.reshape(int(np.prod(x.shape[:axis])), -1).astype(np.float64)
    e = np.exp(flat - flat.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).reshape(x.shape).astype(np.float32)


def hard(x, axis):
    flat = x.reshape(int(np.prod(x.shape[:axis])), -1)
    y = np.zeros_like(flat)
    y[np.arange(len(flat)), flat.argmax(1)] = 1
    return y.reshape(x.shape)


B3 = rng.standard_normal(3).astype(np.float32)
B35 = rng.standard_normal((3, 5)).astype(np.float32)
B7 = rng.standard_normal(7).astype(np.float32)
ALL = {"broadcast": 1}

CASES = [
    # id, op, opset, inputs, attributes, wanted
    ("add_axis", "Add", 6, {"x": X, "b": B3}, {**ALL, "axis": 1}, X + B3.reshape(3, 1, 1)),
    ("sub_two_axes", "Sub", 1, {"x": X, "b": B35}, {**ALL, "axis": 1, "consumed_inputs": [0, 0]}, X - B35.reshape(3, 5, 1)),
    ("mul_negative_axis", "Mul", 6, {"x": X, "b": B7}, {**ALL, "axis": -1}, X * B7),
    ("div_suffix", "Div", 6, {"x": X, "b": B7}, ALL, X / B7),
    ("add_scalar", "Add", 6, {"x": X, "b": f32(3.5).reshape(())}, ALL, X + np.float32(3.5)),
    ("add_same", "Add", 6, {"x": X, "b": P}, {}, X + P),
    ("pow_axis", "Pow", 1, {"x": P, "b": B3}, {**ALL, "axis": 1}, P ** B3.reshape(3, 1, 1)),
    ("greater_axis", "Greater", 1, {"x": X, "b": B3}, {**ALL, "axis": 1}, B3.reshape(3, 1, 1) < X),
    ("and_axis", "And", 1, {"x": X > 0, "b": B3 > 0}, {**ALL, "axis": 1}, (X > 0) & (B3 > 0).reshape(3, 1, 1)),
    ("max_3", "Max", 6, {"x": X, "b": P, "c": -X}, {}, np.maximum(np.maximum(X, P), -X)),
    ("max_1", "Max", 8, {"x": X}, {}, X),
    ("min_2", "Min", 1, {"x": X, "b": P}, {"consumed_inputs": [0, 0]}, np.minimum(X, P)),
    ("sum_3", "Sum", 8, {"x": X, "b": P, "c": B7}, {}, X + P + B7),
    ("mean_3", "Mean", 13, {"x": X, "b": P, "c": B7}, {}, (X + P + B7) / np.float32(3)),
    ("mean_1", "Mean", 8, {"x": X}, {}, X),
    ("clip_1", "Clip", 1, {"x": X}, {"min": -0.25}, np.maximum(X, np.float32(-0.25))),
    ("clip_6", "Clip", 6, {"x": f32(-np.inf, -1, 2, np.inf)}, {"max": 1.5}, f32(-np.finfo(np.float32).max, -1, 1.5, 1.5)),
    ("cast_name", "Cast", 1, {"x": X}, {"to": "INT32"}, X.astype(np.int32)),
    ("cast_name_double", "Cast", 1, {"x": X}, {"to": "DOUBLE"}, X.astype(np.float64)),
    ("softmax_flat", "Softmax", 11, {"x": X}, {"axis": 2}, soft(X, 2)),
    ("softmax_default", "Softmax", 1, {"x": X}, {}, soft(X, 1)),
    ("softmax_negative", "Softmax", 11, {"x": X}, {"axis": -1}, soft(X, 3)),
    ("logsoftmax_flat", "LogSoftmax", 11, {"x": X}, {"axis": 1}, np.log(soft(X, 1))),
    ("hardmax_flat", "Hardmax", 11, {"x": X}, {"axis": 2}, hard(X, 2)),
    ("selu_1", "Selu", 1, {"x": X}, {}, np.float32(1.0507) * np.where(X > 0, X, np.float32(1.6732) * np.expm1(X))),
    ("prelu_channel", "PRelu", 6, {"x": X, "s": B3}, {}, np.where(X >= 0, X, X * B3.reshape(3, 1, 1))),
    ("prelu_shared", "PRelu", 1, {"x": X, "s": f32(0.3)}, {}, np.where(X >= 0, X, X * np.float32(0.3))),
    ("reshape_attr", "Reshape", 1, {"x": X}, {"shape": [0, -1, 7]}, X.reshape(2, 15, 7)),
    ("squeeze_attr", "Squeeze", 11, {"x": X[:1, :, :1]}, {"axes": [0, -2]}, X[0, :, 0]),
    ("squeeze_all", "Squeeze", 1, {"x": X[:1, :, :1]}, {}, X[0, :, 0]),
    ("unsqueeze_attr", "Unsqueeze", 11, {"x": X}, {"axes": [-1, 0]}, X[None, ..., None]),
    ("reduce_attr", "ReduceSum", 11, {"x": X}, {"axes": [-1, 1], "keepdims": 0}, X.sum((1, 3))),
    ("reduce_default", "ReduceMax", 1, {"x": X}, {}, X.max(keepdims=True).reshape(1, 1, 1, 1)),
    ("reduce_l2", "ReduceL2", 13, {"x": X}, {"axes": [2]}, np.sqrt((X * X).sum(2, keepdims=True))),
    ("slice_attr", "Slice", 1, {"x": X}, {"starts": [1, -3], "ends": [9, 2147483647], "axes": [1, 3]}, X[:, 1:, :, -3:]),
    ("slice_no_axes", "Slice", 9, {"x": X}, {"starts": [0, 1], "ends": [1, -1]}, X[:1, 1:-1]),
    ("pad_paddings", "Pad", 1, {"x": X}, {"paddings": [0, 1, 0, 0, 0, 0, 2, 3], "value": 1.5},
     np.pad(X, [(0, 0), (1, 0), (0, 2), (0, 3)], constant_values=1.5)),
    ("pad_edge", "Pad", 2, {"x": X}, {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": "edge"},
     np.pad(X, [(0, 0), (0, 0), (1, 2), (2, 1)], "edge")),
    ("pad_negative", "Pad", 10, {"x": X}, {"pads": [0, 0, -1, 2, 0, 0, -2, 0]},
     np.pad(X[:, :, 1:-2], [(0, 0), (0, 0), (0, 0), (2, 0)])),
    ("concat_1", "Concat", 1, {"x": X, "b": P}, {}, np.concatenate([X, P], 1)),
    ("tile_1", "Tile", 1, {"x": X, "t": f32(3).reshape(()), "a": f32(1).reshape(())}, {}, np.tile(X, (1, 3, 1, 1))),
    ("upper", "DepthToSpace", 1, {"x": np.arange(16, dtype=np.float32).reshape(1, 8, 1, 2)}, {"blocksize": 2},
     np.arange(16, dtype=np.float32).reshape(1, 2, 2, 2, 1, 2).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 2, 4)),
    ("flatten_1", "Flatten", 1, {"x": X}, {"axis": 2}, X.reshape(6, 35)),
    ("flatten_0", "Flatten", 9, {"x": X}, {"axis": 0}, X.reshape(1, 210)),
    ("scatter", "Scatter", 9, {"x": X[0, 0], "i": np.array([[1, 3], [0, 2]]), "u": P[0, 0, :2, :2]}, {"axis": 1}, None),
    ("transpose_default", "Transpose", 1, {"x": X}, {}, X.transpose()),
]  # fmt: skip
CONSTANT = {"t", "a"}


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_older_forms(kit, case):
    _, op, opset, inputs, attrs, want = case
    if want is None:
        want = inputs["x"].copy()
        want[np.arange(2)[:, None], inputs["i"]] = inputs["u"]
    model = kit.model(op, inputs, attrs, opset=opset, constants=tuple(n for n in inputs if n in CONSTANT))
    kit.both_ways(model, inputs, [np.asarray(want)])


@pytest.mark.parametrize("opset", [2, 11, 12])
def test_split_by_attribute(kit, opset):
    model = kit.model("Split", {"x": X}, {"axis": 3, "split": [2, 4, 1]}, opset=opset, outputs=3)
    kit.both_ways(model, {"x": X}, np.split(X, [2, 6], 3))


def test_split_equally(kit):
    x = X[:, :, :, :6]
    kit.both_ways(kit.model("Split", {"x": x}, {"axis": -1}, opset=11, outputs=3), {"x": x}, np.split(x, 3, 3))
    kit.both_ways(kit.model("Split", {"x": x}, {"axis": -1}, opset=13, outputs=2), {"x": x}, np.split(x, 2, 3))
    model = kit.model("Split", {"x": X}, {"axis": 3, "num_outputs": 3}, opset=18, outputs=3)
    kit.both_ways(model, {"x": X}, [X[..., :3], X[..., 3:6], X[..., 6:]])
    assert "does not divide by 3" in kit.refused(kit.model("Split", {"x": X}, {"axis": 3}, opset=13, outputs=3))


def test_topk_by_attribute(kit):
    order = np.argsort(-X, 1, kind="stable")[:, :2]
    model = kit.model("TopK", {"x": X}, {"k": 2, "axis": 1}, opset=1, outputs=2)
    kit.both_ways(model, {"x": X}, [np.take_along_axis(X, order, 1), order])


def test_softmax_over_axes_of_size_one_stays_one_op(kit):
    x = X.reshape(2, 105, 1, 1)
    graph = kit.both_ways(kit.model("Softmax", {"x": x}, {}, opset=11), {"x": x}, [soft(x, 1)])
    assert [n.op for n in graph] == ["softmax"] and graph.nodes[0].attrs["axis"] == 1


def test_broadcast_must_be_asked_for(kit):
    assert "broadcast is not set" in kit.refused(kit.model("Add", {"x": X, "b": B7}, {}, opset=6))
    why = kit.refused(kit.model("Add", {"x": X, "b": B35}, {"broadcast": 1, "axis": 3}, opset=6))
    assert "does not place" in why


MIXED = [
    (np.float32, np.int64, [0.5, 2.0, -3.0], [2, 3, 3]),
    (np.float32, np.int8, [0.5, 2.0, -3.0], [2, 3, 3]),
    (np.int32, np.float32, [4, 9, 2], [0.5, 0.5, 3.0]),
    (np.int64, np.int32, [4, 9, -2], [2, 0, 3]),
    (np.float32, np.float64, [4, 9, 2], [0.1, 0.5, 3.0]),
]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("base", "exponent", "x", "y"), MIXED)
def test_powers_of_two_dtypes(kit, base, exponent, x, y, constant):
    x, y = np.array(x, base), np.array(y, exponent)
    want = np.power(x.astype(np.float64), y.astype(np.float64)).astype(base)
    model = kit.model("Pow", {"x": x, "y": y}, opset=13, constants=("y",) if constant else ())
    kit.both_ways(model, {"x": x, "y": y}, [want], (13, 18))
