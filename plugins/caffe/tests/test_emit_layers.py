"""Elementwise ops, activations and moves as a Caffe user would have written them; names, blobs in place, outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin, Value

from .emit_kit import array as _array
from .emit_kit import fields, only, types, written


# ---- elementwise
def test_numbers_are_power_layers_and_chains_of_them_one(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3), lambda b, x: b.square(b.add(b.mul(x, b.const(0.5)), b.const(3.0))))
    assert types(net) == ["Power"] and fields(net.layers[1]) == {"power": 2.0, "scale": 0.5, "shift": 3.0}
    net = written(tmp_path, (2, 3), lambda b, x: b.mul(b.add(x, b.const(3.0)), b.const(0.3)))
    assert [fields(x) for x in net.layers[1:]] == [{"shift": 3.0}, {"scale": 0.3}]  # one layer would round differently


def test_what_lies_along_channels_is_scale_and_bias(tmp_path: Path) -> None:
    f, s = _array(3, 1, 1), _array(1, 3, 1, 1)
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.add(b.mul(x, b.const(f)), b.const(s))))
    assert layer.type == "Scale" and fields(layer) == {"bias_term": True} and [t.shape for t in layer.blobs] == [(3,), (3,)]
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.add(x, b.const(_array(5, 7)))))
    assert layer.type == "Bias" and fields(layer) == {"axis": 2, "num_axes": 2}


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum", "minimum"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 1, 1), (7,), (5, 1), (2, 1, 5, 1), (1, 1, 1, 1), (1,), (2, 3, 1, 1)])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("flavor", ["bvlc", "ssd"])
def test_elementwise_with_constants_of_every_shape(op: str, shape: Any, swap: bool, flavor: str, tmp_path: Path) -> None:
    c = np.abs(_array(*shape)) + np.float32(0.5)

    def build(b: Builder, x: Value) -> Any:
        x = b.add(x, b.const(0.7))
        return b.op(op, b.const(c), x) if swap else b.op(op, x, b.const(c))

    net = written(tmp_path, (2, 3, 5, 7), build, caffe_flavor=flavor)
    assert not set(types(net)) & ({"Swish", "Clip"} if flavor == "ssd" else {"ReLU6"})


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum"])
@pytest.mark.parametrize(("small", "layers"), [((2, 3, 1, 1), 2), ((2, 1, 5, 7), 2), ((2, 3, 5, 7), 1), ((1, 3, 5, 1), 3)])
def test_blobs_are_laid_along_each_other(op: str, small: Any, layers: int, tmp_path: Path) -> None:
    def build(b: Builder, x: Value) -> Any:
        y = b.slice(x, starts=(0,) * 4, stops=small, steps=(1,) * 4)
        return b.op(op, b.relu(x), b.add(b.abs(y), b.const(1.0)))

    written(tmp_path, (2, 3, 5, 7), build)


def test_squeeze_and_excite_scales_by_a_matrix(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.mul(x, b.sigmoid(b.mean(x, axes=(2, 3), keepdims=True))))
    assert types(net) == ["Pooling", "Sigmoid", "Flatten", "Scale"]
    assert fields(net.layers[-1]) == {"axis": 0}


def test_sums_of_many_blobs_with_factors_are_one_eltwise(tmp_path: Path) -> None:
    def build(b: Builder, x: Value) -> Any:
        y, z = b.abs(x), b.sigmoid(x)
        return b.sub(b.add(x, b.mul(y, b.const(0.5))), z)

    net = written(tmp_path, (2, 3), build)
    assert types(net) == ["AbsVal", "Sigmoid", "Eltwise"]
    assert fields(net.layers[-1]) == {"coeff": [1.0, 0.5, -1.0]}


def test_batch_norm_is_two_layers(tmp_path: Path) -> None:
    p = [_array(3), _array(3), _array(3), np.abs(_array(3)) + np.float32(0.5)]
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.batch_norm(x, *map(b.const, p), epsilon=1e-3, axis=1))
    assert types(net) == ["BatchNorm", "Scale"] and [x.name for x in net.layers[1:]] == ["layer", "layer_scale"]
    assert fields(net.layers[1]) == {"use_global_stats": True, "eps": 0.001} and net.layers[1].blobs[2].numpy().tolist() == [1.0]
    assert net.layers[2].tops == net.layers[1].tops == ["out"]  # in place
    net = written(tmp_path, (2, 5, 3), lambda b, x: b.batch_norm(x, *map(b.const, p), epsilon=1e-3, axis=2), atol=1e-5)
    assert types(net) == ["Scale"] and fields(net.layers[1]) == {"axis": 2, "bias_term": True}
    net = written(tmp_path, (2, 3), lambda b, x: b.batch_norm(x, None, None, *map(b.const, p[2:]), epsilon=1e-5, axis=1))
    assert types(net) == ["BatchNorm"] and fields(net.layers[1]) == {"use_global_stats": True}


def test_in_place_only_where_nothing_else_reads(tmp_path: Path) -> None:
    w = _array(3, 3, 1, 1)

    def chain(b: Builder, x: Value) -> Any:
        return b.abs(b.leaky_relu(b.relu(b.conv(x, b.const(w))), alpha=0.3))

    net = written(tmp_path, (1, 3, 5, 5), chain)
    assert [x.is_inplace() for x in net.layers[1:]] == [False, True, False, False]  # ReLU's backward reads what it put out
    p = [np.abs(_array(3)) + np.float32(0.5) for _ in range(4)]

    def normalised(b: Builder, x: Value) -> Any:
        return b.abs(b.batch_norm(b.relu(b.conv(x, b.const(w))), *map(b.const, p), epsilon=1e-3, axis=1))

    net = written(tmp_path, (1, 3, 5, 5), normalised)
    assert types(net) == ["Convolution", "ReLU", "BatchNorm", "Scale", "AbsVal"]
    assert [x.is_inplace() for x in net.layers[1:]] == [False, True, False, True, False]

    def fork(b: Builder, x: Value) -> Any:
        y = b.conv(x, b.const(w))
        return b.add(b.relu(y), y)

    assert not any(x.is_inplace() for x in written(tmp_path, (1, 3, 5, 5), fork))

    def shared(b: Builder, x: Value) -> Any:  # Reshape shares its bottom's memory
        return b.add(b.reshape(b.relu(b.reshape(x, shape=(1, 75))), shape=(1, 3, 5, 5)), x)

    assert not any(x.is_inplace() for x in written(tmp_path, (1, 3, 5, 5), shared))
    assert not any(x.is_inplace() for x in written(tmp_path, (1, 3, 5, 5), lambda b, x: b.relu(x)))  # an input

    def outputs(b: Builder, x: Value) -> Any:
        y = b.conv(x, b.const(w))
        return [b.relu(y), y]

    assert not any(x.is_inplace() for x in written(tmp_path, (1, 3, 5, 5), outputs))


# ---- activations
@pytest.mark.parametrize("flavor", ["bvlc", "ssd"])
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 6.0), (-0.5, 0.7), (None, 0.3), (0.2, None), (0.0, None), (0.0, 0.4), (None, -0.3)]
)
def test_limits(low: Any, high: Any, flavor: str, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5), lambda b, x: b.clip(b.add(x, b.const(-0.5)), min=low, max=high), caffe_flavor=flavor)
    found = types(net)[1:]
    if (low, high) == (0.0, None):
        assert found == ["ReLU"]
    elif flavor == "bvlc":
        assert found == ["Clip"]
    else:
        assert set(found) <= {"Power", "ReLU", "Eltwise"} and "Eltwise" in found


@pytest.mark.parametrize("far", [1e4, 1e6, 3e38, float("inf"), float(np.finfo(np.float32).max)])
def test_far_limits_lose_nothing(far: float, tmp_path: Path) -> None:
    """weiliu89's Caffe has no Clip: relu(x - far) + far would round x away, an infinite bound would give NaN."""
    written(tmp_path, (2, 3, 5), lambda b, x: b.clip(x, min=0.25, max=far), caffe_flavor="ssd", atol=0, rtol=1e-7)
    written(tmp_path, (2, 3, 5), lambda b, x: b.clip(x, min=-far, max=0.25), caffe_flavor="ssd", atol=0, rtol=1e-7)


def test_what_weilius_branch_lacks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot parse round_mode: choose pool_rounding='crop'"):
        written(tmp_path, (2, 3, 5), lambda b, x: b.relu(x), caffe_flavor="ssd", pool_rounding="round_mode")


def test_names_have_no_slash_and_stand_on_what_makes_the_blob(tmp_path: Path) -> None:
    w = _array(4, 1, 3, 3)

    def build(b: Builder, x: Value) -> Any:
        with b.at(Origin("t", "c", "Conv")):
            y = b.relu(b.conv(b.transpose(x, perm=(0, 3, 1, 2)), b.const(w)))
        with b.at(Origin("t", "last", "Act")):
            return b.elu(y)

    net = written(tmp_path, (1, 6, 5, 1), build)
    named = {x.name: x.type for x in net.layers}
    assert named["c"] == "Convolution" and named["last"] == "ELU" and not any("/" in n for n in named)


def test_what_is_no_weight_does_not_learn(tmp_path: Path) -> None:
    """Caffe trains every blob that it is not told to leave: constants of the way, and weights that are frozen in the source."""
    w, k = _array(4, 3), _array(2, 4)

    def build(b: Builder, x: Value) -> Any:
        y = b.linear(x, b.weight(w, "w", trainable=True), b.const(_array(4)))
        return b.maximum(y, b.weight(k, "k"))

    net = written(tmp_path, (2, 3), build)
    specs = {x.type: [(s.lr_mult, s.decay_mult) for s in x.param_specs] for x in net.layers if x.blobs}
    assert specs == {"InnerProduct": [(1, 1), (0, 0)], "Parameter": [(0, 0)]}


def test_a_matrix_and_a_constant_are_one_layer(tmp_path: Path) -> None:
    w, v = _array(3, 4), _array(4)
    net = written(tmp_path, (2, 3), lambda b, x: b.add(b.matmul(x, b.const(w)), b.const(v)))
    assert types(net) == ["InnerProduct"] and len(net.layers[-1].blobs) == 2
    net = written(tmp_path, (2, 4), lambda b, x: b.add(b.matmul(x, b.const(_array(4, 4))), b.const(_array(2, 4))))
    assert types(net)[0] == "InnerProduct" and len(types(net)) == 2


@pytest.mark.parametrize(
    ("op", "attrs", "bvlc", "ssd"),
    [
        ("relu", {}, ["ReLU"], ["ReLU"]), ("silu", {}, ["Swish"], ["Sigmoid", "Eltwise"]),
        ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}, ["Power", "Clip"], ["Power", "ReLU", "Power", "Power", "Eltwise", "Power"]),
        ("mish", {}, ["BNLL", "TanH", "Eltwise"], ["BNLL", "TanH", "Eltwise"]), ("elu", {"alpha": 0.7}, ["ELU"], ["ELU"]),
        ("softmax", {"axis": 1}, ["Softmax"], ["Softmax"]), ("softplus", {}, ["BNLL"], ["BNLL"]),
    ],
)  # fmt: skip
def test_activations(op: str, attrs: Any, bvlc: list[str], ssd: list[str], tmp_path: Path) -> None:
    for flavor, want in (("bvlc", bvlc), ("ssd", ssd)):
        assert types(written(tmp_path, (2, 3, 5), lambda b, x: b.op(op, x, **attrs), caffe_flavor=flavor)) == want


def test_prelu(tmp_path: Path) -> None:
    slope = _array(3, 1, 1)
    layer = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.prelu(b.sub(x, b.const(0.5)), b.const(slope))).layers[2]
    assert layer.type == "PReLU" and layer.blobs[0].shape == (3,)
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.prelu(x, b.const(np.float32(0.3)))))
    assert fields(layer) == {"channel_shared": True} and layer.blobs[0].shape == ()
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.prelu(b.sub(x, b.const(0.5)), b.const(_array(5, 7))))
    assert types(net) == ["Power", "ReLU", "Power", "ReLU", "Scale", "Eltwise"]


# ---- moving
def test_reshapes_keep_the_batch_open(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.reshape(x, shape=(2, 105)))
    assert types(net) == ["Flatten"]
    net = written(tmp_path, (2, 6, 5), lambda b, x: b.reshape(x, shape=(2, 3, 2, 5)))
    assert fields(only(net))["shape"].get("dim") == [0, 3, 2, 5]
    net = written(tmp_path, (2, 6, 5), lambda b, x: b.reshape(x, shape=(12, 5)))
    assert fields(only(net))["shape"].get("dim") == [-1, 5]


def test_parts_nobody_reads_are_silenced(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 7, 5), lambda b, x: b.split(x, axis=1, sizes=(2, 4, 1))[1])
    assert types(net) == ["Slice", "Silence", "Silence"] and fields(net.layers[1]) == {"slice_point": [2, 6]}
    assert net.outputs == ["out"]


def test_slices_of_one_blob_are_one_layer(tmp_path: Path) -> None:
    def build(b: Builder, x: Value) -> Any:
        parts = [b.slice(x, starts=(0, i), stops=(None, i + 3), steps=(1, 1)) for i in (0, 3)]
        return b.mul(parts[0], b.sigmoid(parts[1]))

    assert types(written(tmp_path, (2, 6), build)) == ["Slice", "Sigmoid", "Eltwise"]


def test_every_second_pixel_is_a_pooling(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 9, 12), lambda b, x: b.slice(x, starts=(0, 0, 1, 0), stops=(None,) * 4, steps=(1, 1, 2, 3)))
    assert types(net)[-1] in ("Pooling", "Silence") and "Pooling" in types(net)


@pytest.mark.parametrize(
    ("value", "pads"),
    [
        (0.0, ((0, 0), (1, 2), (0, 1), (2, 0))), (0.5, ((0, 0), (0, 0), (1, 0), (0, 2))),
        (0.0, ((1, 0), (0, 0), (-1, 2), (0, 0))),
    ],
)  # fmt: skip
def test_padding_with_numbers(value: float, pads: Any, tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.pad(x, pads=pads, value=value))
    assert set(types(net)) <= {"Convolution", "Concat", "Power", "Slice", "Silence"}


def test_pixels_repeated_are_a_deconvolution(tmp_path: Path) -> None:
    layer = only(written(tmp_path, (2, 3, 5, 7), lambda b, x: b.upsample_nearest(x, scales=(2, 2))))
    assert layer.type == "Deconvolution"
    assert fields(layer) == {"num_output": 3, "bias_term": False, "kernel_size": 2, "stride": 2, "group": 3}


def test_transposes_are_permute_in_ssd_and_reshape_where_only_ones_move(tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3, 5, 7), lambda b, x: b.transpose(x, perm=(0, 2, 3, 1)), caffe_flavor="ssd")
    assert types(net) == ["Permute"] and fields(net.layers[1]) == {"order": [0, 2, 3, 1]}
    assert types(written(tmp_path, (2, 3, 1, 7), lambda b, x: b.transpose(x, perm=(0, 2, 1, 3)))) == ["Reshape"]


@pytest.mark.parametrize(
    ("index", "found"),
    [
        (-1, ["Slice", "Silence", "Flatten"]),
        ([2, 3], ["Slice", "Silence", "Silence"]),
        ([4, 0, 1, 0], ["Slice", "Silence", "Concat"]),
    ],
)
def test_fixed_places_are_a_slice(index: Any, found: list[str], tmp_path: Path) -> None:
    at = np.asarray(index, np.int64)
    net = written(tmp_path, (2, 5, 3), lambda b, x: b.gather(x, b.const(at, "int64"), axis=1))
    assert types(net) == found


def test_first_of_equals(tmp_path: Path) -> None:
    x = np.array([[1, 3, 3, 0], [2, 2, 2, 2]], np.float32)
    for found, attrs in ((["ArgMax", "Reshape"], {"last": True}), (["Slice", "Concat", "ArgMax", "Power", "Reshape"], {})):
        net = written(tmp_path, (2, 4), lambda b, v, a=attrs: b.argmax(v, axis=1, **a), example_inputs={"data": x})  # type: ignore[misc]
        assert types(net) == found


def test_lstm_over_time(tmp_path: Path) -> None:
    w, r, c = _array(1, 8, 7), _array(1, 8, 2), _array(1, 8)
    h0, c0 = _array(1, 3, 2), _array(1, 3, 2)

    def build(b: Builder, x: Value, states: bool, finals: bool) -> Any:
        extra = [b.const(h0), b.const(c0)] if states else []
        y, h, c_n = b.lstm(x, b.const(w), b.const(r), b.const(c), *extra, hidden=2, layout="time_major")
        return [y, h, c_n] if finals else y

    net = written(tmp_path, (5, 3, 7), lambda b, x: build(b, x, False, False))
    assert types(net) == ["Reduction", "Slice", "Power", "Power", "Concat", "LSTM"]
    h0, c0 = _array(1, 1, 2), _array(1, 1, 2)
    net = written(tmp_path, (5, 1, 7), lambda b, x: build(b, x, False, False))
    assert types(net) == ["Parameter", "LSTM"]
    np.testing.assert_array_equal(net.layers[1].blobs[0].numpy(), [[0]] + [[1]] * 4)
    for states, finals in ((True, False), (False, True), (True, True)):
        net = written(tmp_path, (5, 1, 7), lambda b, x: build(b, x, states, finals))  # noqa: B023
        assert fields(next(x for x in net if x.type == "LSTM")) == {"num_output": 2, "expose_hidden": True}
        assert types(net).count("DummyData") == (0 if states else 2)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", ["none", "given", "results"])
def test_an_lstm_over_several_sequences_can_be_resized_to_others(states: str, direction: str, steps: int, tmp_path: Path) -> None:
    """Where a sequence begins, and that it begins with zeros, is made of the data (Power of a scale of 0), whatever they are."""
    d = 2 if direction == "bidirectional" else 1
    w, r, c = _array(d, 8, 7), _array(d, 8, 2), _array(d, 8)

    def build(b: Builder, x: Value) -> Any:
        extra = [b.input(n, "float32", (d, x.shape[1], 2)) for n in ("h0", "c0")] if states == "given" else []  # type: ignore[index]
        made = b.lstm(x, b.const(w), b.const(r), b.const(c), *extra, hidden=2, layout="time_major", direction=direction)
        return list(made) if states == "results" else made[0]

    written(tmp_path, (steps, 3, 7), build)
    text = (tmp_path / "net.prototxt").read_text()
    assert "Parameter" not in text and "DummyData" not in text and text.count("dim: 3") == (3 if states == "given" else 1)
    (tmp_path / "net.prototxt").write_text(text.replace("dim: 3", "dim: 4"))
    graph = Graph("other")
    b = Builder(graph)
    made = build(b, b.input("data", "float32", (steps, 4, 7)))
    graph.outputs = list(made) if isinstance(made, list) else [made]
    inputs = {v.name: _array(*v.shape) for v in graph.inputs}  # type: ignore[misc]
    inputs["data"][0, 0, 0] = 1e30
    got = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").run(inputs)
    with np.errstate(over="ignore"):
        want = Interpreter(graph).run(list(inputs.values()))
    assert len(got) == len(want)
    for a, y in zip(got.values(), want):
        np.testing.assert_allclose(a, y, atol=1e-6)


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
@pytest.mark.parametrize("states", [False, True])
def test_lstm_from_the_end_and_in_both_directions(direction: str, states: bool, tmp_path: Path) -> None:
    d = 2 if direction == "bidirectional" else 1
    w, r, c, h0, c0 = _array(d, 8, 7), _array(d, 8, 2), _array(d, 8), _array(d, 3, 2), _array(d, 3, 2)

    def build(b: Builder, x: Value) -> Any:
        extra = [b.const(h0), b.const(c0)] if states else []
        made = b.lstm(x, b.const(w), b.const(r), b.const(c), *extra, hidden=2, layout="time_major", direction=direction)
        return list(made) if states else made[0]

    found = types(written(tmp_path, (5, 3, 7), build))
    assert found.count("LSTM") == d and found.count("Parameter") == (2 if states else 0)
    torch = pytest.importorskip("torch")
    x = _array(5, 3, 7)
    judge = torch.nn.LSTM(7, 2, bidirectional=True)
    for k, v in judge.named_parameters():  # torch's gates are i, f, g, o as well
        i = min(int(k.endswith("reverse")), d - 1)
        held = {"weight_ih": w[i], "weight_hh": r[i], "bias_ih": c[i], "bias_hh": np.zeros(8, np.float32)}[k.split("_l0")[0]]
        v.data = torch.from_numpy(np.ascontiguousarray(held))
    start = [torch.from_numpy(np.concatenate([a] * (3 - d))) for a in (h0, c0)] if states else None
    want = judge(torch.from_numpy(x), start)[0].detach().numpy()
    got = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel").run({"data": x})["out"]
    np.testing.assert_allclose(got, want if d == 2 else want[..., 2:], atol=1e-6)


@pytest.mark.parametrize(("swap", "blobs"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("op", ["greater", "less"])
def test_comparisons_are_threshold(op: str, swap: bool, blobs: bool, tmp_path: Path) -> None:
    x = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), -2, np.inf, -np.inf, np.nan]], np.float32)
    y = x[:, ::-1].copy()

    def build(b: Builder, v: Value) -> Any:
        pair = (v, b.neg(b.neg(b.mul(v, b.const(np.float32(2.0)))))) if blobs else (v, b.const(np.float32(0.5)))
        return b.cast(b.op(op, *(pair[::-1] if swap else pair)), to="float32")

    net = written(tmp_path, y.shape, build, check=False)
    assert types(net).count("Threshold") == 1
    other = x * 2 if blobs else np.float32(0.5)
    above = (x > other) if (op == "greater") != swap else (x < other)
    got = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")(x)
    np.testing.assert_array_equal(got, above.astype(np.float32))


def test_not_is_one_less(tmp_path: Path) -> None:
    net = written(
        tmp_path, (2, 3), lambda b, x: b.cast(b.op("not", b.greater(x, b.const(np.float32(0.25)))), to="float32"), check=False
    )
    assert types(net) == ["Threshold", "Power"]
    x = np.array([[0.25, 0.5, np.nan], [-1, 0.2, np.inf]], np.float32)
    got = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")(x)
    np.testing.assert_array_equal(got, [[1, 0, 1], [1, 1, 0]])


def test_padding_with_a_number_has_the_sizes_of_what_it_pads(tmp_path: Path) -> None:
    net = written(tmp_path, (1, 3, 5, 7), lambda b, x: b.pad(x, pads=((0, 0), (2, 7), (0, 0), (1, 0)), value=1.5))
    assert "DummyData" not in types(net)
    x = _array(4, 3, 11, 2)
    back = convcore.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", input_shapes={"data": x.shape})
    np.testing.assert_array_equal(back(x), np.pad(x, ((0, 0), (2, 7), (0, 0), (1, 0)), constant_values=1.5))


def test_indices_are_floats(tmp_path: Path) -> None:
    table = _array(11, 3)
    net = written(tmp_path, (2, 5), lambda b, x: b.embedding(x, b.const(table)), dtype="int64")
    assert types(net) == ["Embed"] and fields(net.layers[1]) == {"num_output": 3, "input_dim": 11, "bias_term": False}


# ---- inputs and outputs
def test_an_open_batch_is_one_unless_asked_otherwise(tmp_path: Path) -> None:
    w = _array(4, 105)

    def build(b: Builder, x: Value) -> Any:
        return b.linear(b.reshape(x, shape=(x.shape[0], 105)), b.const(w))  # type: ignore[index]

    for batch in (1, 3):
        net = written(tmp_path, (Dim("N"), 3, 5, 7), build, batch=batch)
        assert net.inputs[0].shape == (batch, 3, 5, 7) and types(net) == ["InnerProduct"]


def test_outputs_that_are_read_or_given_twice_are_split_off(tmp_path: Path) -> None:
    def build(b: Builder, x: Value) -> Any:
        y = b.abs(x)
        return [y, b.sigmoid(y), y, x]

    net = written(tmp_path, (2, 3), build)
    assert types(net).count("Split") == 3 and len(net.outputs) == 4


def test_rows_of_a_constant_table_are_embed(tmp_path: Path) -> None:
    table = _array(11, 4)
    net = written(tmp_path, (2, 3), lambda b, ids: b.gather(b.const(table), ids, axis=0), dtype="int64")
    assert types(net) == ["Embed"] and fields(net.layers[-1]) == {"num_output": 4, "input_dim": 11, "bias_term": False}
