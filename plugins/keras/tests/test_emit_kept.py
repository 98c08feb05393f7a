"""What is a layer in Keras comes back as that layer, with its weights, its configuration and its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, randomise

import convcore

keras = pytest.importorskip("keras")
L = keras.layers


def kept(layer: Any, shapes: list[Any], folder: Path, call: Any = None, **options: Any) -> Any:
    """The one layer of the model written from a model of one layer; sizes that are not known are 5 and 7."""
    inputs = [keras.Input(s) for s in shapes]
    model = keras.Model(inputs, call(layer, *inputs) if call else layer(*inputs))
    randomise(model)
    made = convcore.convert(model, "keras", folder / "m.keras", check=False, **options)
    again = keras.models.load_model(made.paths[0])
    for size in (5, 7):
        data = [np.random.default_rng(size).normal(size=[3, *(n or size for n in s)]).astype(np.float32) for s in shapes]
        wants, gots = (keras.tree.flatten(m(data if len(data) > 1 else data[0], training=False)) for m in (model, again))
        for want, got in zip(wants, gots, strict=True):
            assert error_of_range([keras.ops.convert_to_numpy(got)], [keras.ops.convert_to_numpy(want)]) < 1e-6
    (only,) = [x for x in again.layers if not isinstance(x, L.InputLayer)]
    assert sorted(tuple(v.shape) for v in only.trainable_variables) == sorted(tuple(v.shape) for v in layer.trainable_variables)
    return only


FRAMES = {1: (None, 11, 2), 2: (None, 7, 9, 2), 3: (None, 5, 6, 7, 2)}
CONV_LSTM: list[dict[str, Any]] = [
    {},
    {"return_sequences": True, "padding": "same"},
    {"return_state": True, "use_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
    {"return_sequences": True, "return_state": True, "go_backwards": True, "strides": 2},
    {"dilation_rate": 2, "recurrent_activation": "softsign"},
]


@pytest.mark.parametrize("d", FRAMES)
@pytest.mark.parametrize("config", CONV_LSTM)
def test_conv_lstms(d: int, config: dict[str, Any], tmp_path: Path) -> None:
    """Over any number of steps."""
    layer = getattr(L, f"ConvLSTM{d}D")(3, 2, **config)
    again = kept(layer, [FRAMES[d]], tmp_path)
    assert type(again) is type(layer)
    mine, theirs = layer.get_config(), again.get_config()
    keys = {*config, "filters", "kernel_size", "strides", "padding", "activation", "recurrent_activation", "return_sequences"}
    assert {k: mine[k] for k in keys - {"return_state"}} == {k: theirs[k] for k in keys - {"return_state"}}


def test_conv_lstms_given_states(tmp_path: Path) -> None:
    shapes = [FRAMES[2], (6, 8, 3), (6, 8, 3)]
    again = kept(L.ConvLSTM2D(3, 2), shapes, tmp_path, call=lambda layer, x, h, c: layer(x, initial_state=[h, c]))
    assert type(again) is L.ConvLSTM2D


@pytest.mark.parametrize("change", ["gates", "stride", "mixed", "turned"])
def test_what_is_nearly_a_conv_lstm_is_written_out(change: str, tmp_path: Path) -> None:
    """Another order of gates, a stride of the state's convolution, states that change places, or results in the other order:
    no layer, and right."""
    model = keras.Sequential([keras.Input((3, 5, 7, 2)), L.ConvLSTM2D(3, 3, padding="same", return_sequences=True)])
    randomise(model)
    graph = convcore.load(model).graph
    (region,) = [r for n in graph for r in n.regions]
    first, *_ = (n for n in region if n.op == ("split" if change == "gates" else "conv" if change == "stride" else "mul"))
    if change == "gates":
        a, b = first.outputs[0], first.outputs[1]
        users = [(n, i) for n in region for i, v in enumerate(n.inputs) if v is a or v is b]
        for n, i in users:
            ins = list(n.inputs)
            ins[i] = b if ins[i] is a else a
            n.set_inputs(ins)
    elif change == "stride":
        first.attrs = {**first.attrs, "dilations": (2, 2)}
    elif change == "mixed":
        first.set_inputs([first.inputs[0], region.inputs[0]])
    else:
        (scan,) = (n for n in graph if n.op == "scan")
        scan.attrs = {**scan.attrs, "reverse": (1,), "out_reverse": (1,)}
    from convcore.interpreter import Interpreter

    x = np.random.default_rng(3).normal(size=(2, 3, 5, 7, 2)).astype(np.float32)
    (want,) = Interpreter(graph).run([x])
    made = convcore.convert(convcore.Model(graph), "keras", tmp_path / "m.keras", check=False, io_layout="source")
    again = keras.models.load_model(made.paths[0])
    assert not any("ConvLSTM" in type(y).__name__ for y in again.layers)
    assert error_of_range([keras.ops.convert_to_numpy(again(x))], [want]) < 1e-5


EINSUMS = [
    ("abc,cde->abde", (None, 3, 2), "de", (5, 4)), ("abc,cde->abde", (None, 3, 2), "d", (5, 4)),
    ("btc,c->btc", (None, 4), "c", (None, 4)),
    ("bhts,h->bhts", (3, None, None), "h", (3, None, 7)), ("btgi,gio->btgo", (None, 3, 5), None, (None, 3, 4)),
    ("bthd,hdc->btc", (None, 6), "c", (None, 3, 2)), ("ab,bcd->acd", (3, 2), "cd", (5,)),
]  # fmt: skip


@pytest.mark.parametrize("equation, output, bias, shape", EINSUMS)
def test_einsums(equation: str, output: Any, bias: Any, shape: Any, tmp_path: Path) -> None:
    again = kept(L.EinsumDense(equation, output_shape=output, bias_axes=bias, activation="relu"), [shape], tmp_path)
    assert (type(again), again.equation, again.bias_axes) == (L.EinsumDense, equation, bias)


def test_a_bias_that_more_reads_is_added_behind(tmp_path: Path) -> None:
    """Of a sum that something else reads, and of one that is frozen apart, the bias is no part of the layer."""
    x = keras.Input((5, 4))
    first = L.EinsumDense("abc,cde->abde", output_shape=(None, 3, 2))(x)
    both = L.EinsumDense("abcd,c->abcd", output_shape=(None, 3, 2), bias_axes="c")
    both.trainable = False
    model = keras.Model(x, [first + 1.0, both(first)])
    randomise(model)
    made = convcore.convert(model, "keras", tmp_path / "m.keras", check=False)
    again = keras.models.load_model(made.paths[0])
    data = np.random.default_rng(3).normal(size=(3, 5, 4)).astype(np.float32)
    for got, want in zip(again(data), model(data), strict=True):
        assert error_of_range([keras.ops.convert_to_numpy(got)], [keras.ops.convert_to_numpy(want)]) < 1e-6
    assert len(again.trainable_variables) == 1 and len(again.non_trainable_variables) == 2


def test_equations_with_capital_letters(tmp_path: Path) -> None:
    """Keras's own rule for shapes knows small letters alone (torchvision's MaxViT has others)."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, a: Any, b: Any) -> Any:
            return torch.einsum("BGID,BGJD->BGIJ", a, b)

    a, b = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 11, 7)
    made = convcore.convert(Net().eval(), "keras", tmp_path / "m.keras", example_inputs=(a, b), check=False, io_layout="source")
    got = keras.models.load_model(made.paths[0])([a, b])
    assert error_of_range([keras.ops.convert_to_numpy(got)], [torch.einsum("bgid,bgjd->bgij", a, b).numpy()]) < 1e-6


LAYERS: list[tuple[Any, list[Any], type[Any] | None]] = [
    (lambda: L.TimeDistributed(L.Conv2D(3, 3)), [(None, 8, 9, 2)], L.Conv2D),
    (lambda: L.Bidirectional(L.GRU(3), merge_mode="concat"), [(None, 4)], None),
    (lambda: L.MultiHeadAttention(2, 3, value_dim=5), [(None, 4), (None, 4)], None),
    (lambda: L.GroupQueryAttention(3, 4, 2), [(5, 4), (7, 4)], None),
    (lambda: L.SeparableConv2D(3, 3, activation="relu"), [(8, 9, 2)], None),
    (lambda: L.SeparableConv1D(3, 3, depth_multiplier=2), [(8, 2)], None),
    (lambda: L.RMSNormalization(), [(5, 4)], None),
    (lambda: L.GroupNormalization(2), [(5, 4)], None),
]


@pytest.mark.parametrize("make, shapes, kind", LAYERS, ids=[f"{i} {type(m()).__name__}" for i, (m, *_) in enumerate(LAYERS)])
def test_layers(make: Any, shapes: Any, kind: Any, tmp_path: Path) -> None:
    """What is done for every step needs no wrapper: Dense, convolutions and pools do it (TimeDistributed of unknown lengths is
    wrong in TensorFlow's graphs)."""
    layer = make()
    assert type(kept(layer, shapes, tmp_path)) is (kind or type(layer))


RECURRENT: list[tuple[Any, Any]] = [
    (lambda d: L.LSTM(3, return_sequences=True, dtype=d), (5, 4)),
    (lambda d: L.Bidirectional(L.GRU(3, dtype=d), dtype=d), (5, 4)),
    (lambda d: L.SimpleRNN(3, dtype=d), (5, 4)),
    (lambda d: L.ConvLSTM2D(3, 2, dtype=d), (5, 7, 6, 2)),
]


@pytest.mark.parametrize("policy, limit", [("mixed_float16", 5e-3), ("mixed_bfloat16", 4e-2)])
@pytest.mark.parametrize("make, shape", RECURRENT, ids=["lstm", "gru", "rnn", "conv_lstm"])
def test_recurrent_layers_of_half_precision_load(policy: str, limit: float, make: Any, shape: Any, tmp_path: Path) -> None:
    """Orthogonal matrices, from which Keras starts them, are not computed in half precision on a CPU."""
    x = keras.Input(shape)
    model = keras.Model(x, make(policy)(x))
    randomise(model)
    made = convcore.convert(model, "keras", tmp_path / "m.keras", check=False)
    again = keras.models.load_model(made.paths[0])
    data = np.random.default_rng(3).normal(size=(3, *shape)).astype(np.float32)
    got, want = (keras.ops.convert_to_numpy(keras.ops.cast(m(data), "float32")) for m in (again, model))
    assert again.layers[-1].compute_dtype == policy.removeprefix("mixed_") and error_of_range([got], [want]) < limit


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda d: L.Dense(3, dtype=d), (5,)),
        (lambda d: L.Conv2D(6, 2, groups=2, dtype=d), (5, 7, 4)),
        (lambda d: L.SeparableConv2D(3, 2, dtype=d), (5, 7, 4)),
        (lambda d: L.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d", dtype=d), (5, 4)),
    ],
)
def test_mixed_precision_keeps_weights_of_float32(policy: str, make: Any, shape: Any, tmp_path: Path) -> None:
    """What training goes on from: the layer's policy, and every bit of its weights."""
    x = keras.Input(shape)
    model = keras.Model(x, make(policy)(x))
    randomise(model)
    made = convcore.convert(model, "keras", tmp_path / "m.keras", check=False)
    (layer,) = [v for v in keras.models.load_model(made.paths[0]).layers if v.weights]
    assert layer.dtype_policy.name == policy and not any("float32 weights" in n for n in made.report.notes)
    for got, want in zip(layer.weights, model.layers[-1].weights, strict=True):
        assert got.dtype == "float32" and np.array_equal(*(keras.ops.convert_to_numpy(w) for w in (got, want)))


def test_mixed_precision_of_gates_is_said(tmp_path: Path) -> None:
    """Gates are put in order and biases added in the type the layer computes in."""
    x = keras.Input((5, 4))
    made = convcore.convert(
        keras.Model(x, L.GRU(3, dtype="mixed_float16", name="g")(x)), "keras", tmp_path / "m.keras", check=False
    )
    assert "float32 weights of g are written as float16, in which they compute" in made.report.notes


@pytest.mark.parametrize("make", [L.LayerNormalization, L.BatchNormalization, lambda **d: L.GroupNormalization(2, **d)])
def test_norms_of_half_precision_compute_in_float32(make: Any, tmp_path: Path) -> None:
    """As Keras does in the policy float16: the layer has weights of float32, and its result is cast."""
    x = keras.Input((5, 4))
    model = keras.Model(x, make(dtype="float16")(x))
    randomise(model)
    again = keras.models.load_model(convcore.convert(model, "keras", tmp_path / "m.keras", check=False).paths[0])
    data = np.random.default_rng(3).normal(size=(3, 5, 4)).astype(np.float32)
    got, want = (keras.ops.convert_to_numpy(m(data)) for m in (again, model))
    assert got.dtype == want.dtype == np.float16 and error_of_range([got], [want]) < 1e-3
    assert {w.dtype for w in again.weights} == {"float32"}


def adapted() -> Any:
    layer = L.Normalization(axis=-1)
    layer.adapt(np.random.default_rng(5).normal(2, 3, (20, 4)))
    return layer


WHOLE: list[tuple[Any, Any]] = [
    (lambda: L.Rescaling(0.3, 0.1), (5, 4)),
    (lambda: L.Rescaling([1.0, 2.0, 3.0, 4.0]), (5, 4)),
    (lambda: L.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[2.0] * 4, invert=True), (5, 4)),
    (adapted, (5, 4)),
    (lambda: L.Bidirectional(L.ConvLSTM2D(3, 2, return_sequences=True)), (4, 7, 6, 2)),
    (lambda: L.TimeDistributed(L.Conv2D(3, 2, dtype="mixed_float16"), dtype="mixed_float16"), (4, 7, 6, 2)),
    (lambda: L.TimeDistributed(L.BatchNormalization()), (4, 5)),
]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(("make", "shape"), WHOLE)
def test_layers_that_are_several_operations_come_back_as_they_were(make: Any, shape: Any, suffix: str, tmp_path: Path) -> None:
    """Called twice, in a nested model too: one layer."""
    layer, x = make(), keras.Input(shape)
    inside = keras.Input(shape)
    inner = keras.Model(inside, L.Dense(3)(L.Dense(2)(make()(inside))), name="inner")
    model = keras.Model(x, [layer(x), layer(keras.ops.negative(x)), inner(x)])
    layer.trainable = False
    if isinstance(layer, (L.Bidirectional, L.TimeDistributed)):
        randomise(model)
    made = convcore.convert(model, "keras", tmp_path / f"m{suffix}")
    again = keras.models.load_model(made.paths[0], compile=False)
    (one,) = [v for v in again.layers if type(v) is type(layer)]
    assert made.report.ok and one.trainable == isinstance(one, L.Rescaling) and one.dtype_policy.name == layer.dtype_policy.name
    assert type(again.get_layer("inner").layers[1]) is type(layer)
    assert len(again.weights) == len(model.weights)
    data = np.random.default_rng(3).normal(size=(3, *shape)).astype(np.float32)
    for a, b in zip(again(data), model(data), strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


def test_layers_that_do_not_come_back_whole(tmp_path: Path) -> None:
    """Steps whose number is not known (TensorFlow's graphs are wrong), a mask, what is said by hand."""
    steps, masked = keras.Input((None, 7, 6, 2)), keras.Input((4, 5))
    cases: list[tuple[Any, dict[str, Any]]] = [
        (keras.Model(steps, L.TimeDistributed(L.Conv2D(3, 2))(steps)), {}),
        (keras.Model(masked, L.LSTM(3)(L.Rescaling(0.5)(L.Masking()(masked)))), {}),
        (keras.Model(masked, L.Rescaling(0.5, name="r")(masked)), {"overrides": {"r": lambda g, node: g.b.neg(node.need(0))}}),
    ]
    for model, options in cases:
        made = convcore.convert(model, "keras", tmp_path / "m.keras", check=False, **options)
        kinds = {type(v).__name__ for v in keras.models.load_model(made.paths[0]).layers}
        assert not kinds & {"TimeDistributed", "Rescaling"}, kinds
