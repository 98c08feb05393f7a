"""Recurrent layers against Keras 3 on torch, and against what older versions recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run
from rnn_helpers import FLOAT32, I, N, T, agree, graph_of, ids, inputs, mask_patterns

import convcore

keras = pytest.importorskip("keras")
L = keras.layers

ERAS = Path(__file__).parents[3] / "tests/data/keras_eras"


def build(layer: Any, *state_sizes: int, shape: tuple[int, ...] = (T, I)) -> Any:
    x = keras.Input(shape, name="x")
    states = [keras.Input((n,), name=f"s{i}") for i, n in enumerate(state_sizes)]
    if states:
        y = layer(x, initial_state=states if len(states) > 1 else states[0])
    else:
        y = layer(x)
    return keras.Model([x, *states], y)


KINDS = {
    "lstm": (lambda **k: L.LSTM(2, **k), 2), "gru": (lambda **k: L.GRU(2, **k), 1),
    "gru_before": (lambda **k: L.GRU(2, reset_after=False, **k), 1), "rnn": (lambda **k: L.SimpleRNN(2, **k), 1),
    "cell": (lambda **k: L.RNN(L.LSTMCell(2), **k), 2),
}  # fmt: skip
OPTIONS = [
    {}, {"return_sequences": True}, {"return_state": True}, {"go_backwards": True},
    {"go_backwards": True, "return_sequences": True},
    {"return_sequences": True, "return_state": True, "go_backwards": True, "unroll": True},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o) or "plain")
def test_outputs(kind: str, options: dict[str, bool], tmp_path: Path) -> None:
    make, _ = KINDS[kind]
    graph = agree(build(make(**options)), tmp_path, inputs((N, T, I)))
    assert [n.op for n in graph].count({"cell": "lstm", "gru_before": "gru"}.get(kind, kind)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [OPTIONS[1], OPTIONS[5], {"return_state": True}], ids=lambda o: "+".join(o))
def test_initial_state(kind: str, options: dict[str, bool], tmp_path: Path) -> None:
    make, n = KINDS[kind]
    agree(build(make(**options), *[2] * n), tmp_path, inputs((N, T, I), *[(N, 2)] * n))


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before", "rnn"])
def test_without_bias_and_with_dropout(kind: str, tmp_path: Path) -> None:
    make, _ = KINDS[kind]
    layer = make(use_bias=False, dropout=0.5, recurrent_dropout=0.5, return_sequences=True)
    agree(build(layer), tmp_path, inputs((N, T, I)))


@pytest.mark.parametrize(
    "name",
    [
        "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
        "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
        "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink",
    ],
)  # fmt: skip
def test_activations(name: str, tmp_path: Path) -> None:
    """As the activation of the cell, and of the gates."""
    x = keras.Input((2, I))
    model = keras.Model(x, [L.LSTM(3, activation=name)(x), L.GRU(2, recurrent_activation=name)(x)])
    agree(model, tmp_path, [0.1 * v for v in inputs((N, 2, I))], 5e-6)


def test_sparsemax_is_refused(tmp_path: Path) -> None:
    (p,) = problems(graph_of(build(L.SimpleRNN(2, activation="sparsemax", name="odd")), tmp_path))
    assert p.code == "unsupported_activation" and "sparsemax" in p.why


CELLS = {
    "two": lambda: [L.LSTMCell(2), L.GRUCell(5)],
    "three": lambda: [L.SimpleRNNCell(3), L.LSTMCell(2), L.GRUCell(5, reset_after=False)],
    "one": lambda: [L.LSTMCell(2)],
}  # fmt: skip
SIZES = {"two": (2, 2, 5), "three": (3, 2, 2, 5), "one": (2, 2)}


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "go_backwards": True}], ids=["plain", "back"])
def test_stacked_cells(cells: str, options: dict[str, bool], tmp_path: Path) -> None:
    graph = agree(build(L.RNN(CELLS[cells](), **options)), tmp_path, inputs((N, T, I)))
    assert sum(n.op in ("lstm", "gru", "rnn") for n in graph) == len(CELLS[cells]())


@pytest.mark.parametrize("cells", ["two", "three"])
def test_states_of_stacked_cells(cells: str, tmp_path: Path) -> None:
    """Every cell's states, in the order of the cells; Keras gives them nested."""
    x = keras.Input((T, I))
    y, *states = L.RNN(CELLS[cells](), return_state=True, return_sequences=True)(x)
    flat = [s for group in states for s in (group if isinstance(group, (list, tuple)) else [group])]
    assert tuple(s.shape[-1] for s in flat) == SIZES[cells]
    agree(keras.Model(x, [y, *flat]), tmp_path, inputs((N, T, I)))


def test_steps_of_unknown_number(tmp_path: Path) -> None:
    x = keras.Input((None, I), name="x")
    y, h, c = L.LSTM(2, return_sequences=True, return_state=True)(x)
    model = keras.Model(x, [L.GRU(5, go_backwards=True, return_sequences=True)(y, initial_state=L.Dense(5)(h)), c])
    graph = agree(model, tmp_path, inputs((N, 11, I)))
    assert run(graph, inputs((2, 13, I)))[0].shape == (2, 13, 5)


def test_encoder_and_decoder(tmp_path: Path) -> None:
    """States passed on by position, as one list."""
    x, z = keras.Input((T, I), name="x"), keras.Input((11, I), name="z")
    _, h, c = L.LSTM(2, return_state=True)(x)
    y = L.LSTM(2, return_sequences=True)(z, [h, c])
    agree(keras.Model([x, z], y), tmp_path, inputs((N, T, I), (N, 11, I)))


def test_shared_layer(tmp_path: Path) -> None:
    a, b = keras.Input((T, I), name="a"), keras.Input((11, I), name="b")
    layer = L.Bidirectional(L.LSTM(2))
    graph = agree(keras.Model([a, b], L.Concatenate()([layer(a), layer(b)])), tmp_path, inputs((N, T, I), (N, 11, I)))
    assert len(graph.weights) == 3 and all(v.trainable for v in graph.weights.values())


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_half_precision(kind: str, tmp_path: Path) -> None:
    """Inputs and states are cast to the compute dtype; Keras on torch multiplies float16 on the CPU too."""
    x, h = keras.Input((T, I), name="x"), keras.Input((2,), name="h")
    make, n = KINDS[kind]
    layer = make(return_sequences=True, dtype="mixed_float16")
    model = keras.Model([x, h], layer(x, initial_state=[h] * n if n > 1 else h))
    graph = agree(model, tmp_path, inputs((N, T, I), (N, 2)), 4 * np.finfo(np.float16).eps)
    assert str(graph.outputs[0].dtype) == "float16"


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.LSTM(3, stateful=True, return_sequences=True, name="kept"),
        lambda: L.GRU(3, stateful=True, return_state=True, go_backwards=True, name="kept"),
        lambda: L.SimpleRNN(3, stateful=True, name="kept"),
        lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)], stateful=True, return_sequences=True, name="kept"),
    ],
)
def test_states_are_inputs_and_outputs_on_request(make: Any, tmp_path: Path) -> None:
    """Three calls in a row, each begun with what the one before gave, are what Keras's three calls give."""
    x = keras.Input((T, I), batch_size=N, name="x")
    model = keras.Model(x, make()(x))
    for v in model.weights:
        v.assign(np.random.default_rng(len(v.shape)).normal(0, 0.5, v.shape))
    made = convcore.convert(model, "onnx", tmp_path / "n.onnx", explicit_states=True)
    assert made.report.ok
    loaded = convcore.load(tmp_path / "n.onnx")
    states = [np.zeros(v.shape, np.float32) for v in loaded.inputs[1:]]
    names = [f"kept_state_{i}" for i in range(len(states))]
    assert [v.name for v in loaded.inputs] == ["x", *names]
    assert [v.name for v in loaded.outputs[-len(states) :]] == [f"{n}_out" for n in names]
    for step in range(3):
        data = np.random.default_rng(step).normal(size=(N, T, I)).astype(np.float32)
        want = [keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(model(data))]
        (*got,) = loaded(data, *states)
        got, states = got[: -len(states)], got[-len(states) :]
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_states_that_cannot_be_carried_are_refused(tmp_path: Path) -> None:
    x = keras.Input((T, I), batch_size=N, name="x")
    twice = L.GRU(I, stateful=True, return_sequences=True, name="kept")
    begun = L.GRU(3, stateful=True, name="kept")
    models = {
        "called several times": keras.Model(x, twice(twice(x))),
        "with an initial state": keras.Model([x, h := keras.Input((3,), batch_size=N)], begun(x, initial_state=h)),
    }
    for why, model in models.items():
        (p,) = [p for p in convcore.load(model, explicit_states=True).problems if p.code == "unsupported_stateful"]
        assert p.layer.startswith("kept") and why in p.why
    model = keras.Model(x, L.Bidirectional(L.GRU(2, stateful=True), name="both")(x))
    assert [p.code for p in convcore.load(model, explicit_states=True).problems] == ["unsupported_stateful"]


def test_stateful_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((T, I), batch_size=N), L.LSTM(2, stateful=True, name="kept"), L.Dense(2)])
    (p,) = problems(graph_of(model, tmp_path))
    assert (p.layer, p.type, p.code) == ("kept", "LSTM", "unsupported_stateful")
    assert "stateful=False" in p.hint


def test_a_cell_of_ones_own_is_refused(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Minimal(L.Layer):
        def __init__(self, units: int = 2, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = self.state_size = units

        def call(self, x: Any, states: Any) -> Any:
            return states[0] + x[:, :2], [states[0] + x[:, :2]]

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"units": self.units}

    (p,) = problems(graph_of(build(L.RNN(Minimal(), name="odd")), tmp_path))
    assert p.layer == "odd" and p.code == "unsupported_cell" and "Minimal" in p.why


def test_a_mask_given_by_position_is_not_taken_for_a_state(tmp_path: Path) -> None:
    """``gru(x, None, mask)`` in a file: the omitted argument says that the tensor is no initial state."""
    x, m = keras.Input((T, I), name="x"), keras.Input((T,), dtype="float32", name="m")
    model = keras.Model([x, m], L.GRU(T, name="gru")(x, None, m))
    assert [p.layer for p in problems(graph_of(model, tmp_path))] == ["gru"]


def test_wrong_number_of_states_is_refused(tmp_path: Path) -> None:
    model = build(L.LSTM(2, name="short"), 2, 2)
    graph_of(model, tmp_path)
    config = json.loads(model.to_json())
    for layer in config["config"]["layers"]:
        for node in layer["inbound_nodes"]:
            node["kwargs"]["initial_state"] = node["kwargs"]["initial_state"][:1]
    (tmp_path / "m.json").write_text(json.dumps(config))
    model.save_weights(tmp_path / "m.weights.h5")
    (p,) = problems(load_graph(tmp_path / "m.json", tmp_path / "m.weights.h5"))
    assert p.layer == "short" and "1 initial states, it has 2" in p.why


# ---- ConvLSTM
@pytest.mark.parametrize(
    ("rank", "options"),
    [
        (1, {}), (1, {"data_format": "channels_first", "padding": "same"}), (2, {"strides": 2, "return_sequences": True}),
        (2, {"go_backwards": True, "return_sequences": True, "return_state": True}),
        (2, {"data_format": "channels_first", "recurrent_activation": "hard_sigmoid", "use_bias": False}),
        (3, {"padding": "same"}),
    ],
)  # fmt: skip
def test_conv_lstm(rank: int, options: dict[str, Any], tmp_path: Path) -> None:
    layer = getattr(L, f"ConvLSTM{rank}D")(2, 3, **options)
    sizes = (5, 7, 11)[:rank]
    shape = (T, I, *sizes) if options.get("data_format") == "channels_first" else (T, *sizes, I)
    agree(build(layer, shape=shape), tmp_path, inputs((2, *shape)), 5e-6)


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "go_backwards": True}, {"return_state": True}])
def test_conv_lstm_with_states_and_mask(options: dict[str, Any], tmp_path: Path) -> None:
    x, m = keras.Input((T, 5, I), name="x"), keras.Input((T,), dtype="bool", name="m")
    states = [keras.Input((3, 2), name=f"s{i}") for i in range(2)]
    layer = L.ConvLSTM1D(2, 3, **options)
    outs = [layer(x, initial_state=states, mask=m), L.ConvLSTM1D(2, 3, zero_output_for_mask=True, **options)(x, mask=m)]
    flat = [y for o in outs for y in (o if isinstance(o, (list, tuple)) else [o])]
    agree(keras.Model([x, *states, m], flat), tmp_path, [*inputs((N, T, 5, I), (N, 3, 2), (N, 3, 2)), mask_patterns()], 5e-6)


# ---- older versions
def recorded(era: str, name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    z = np.load(ERAS / era / f"{name}.io.npz")
    return [z[k] for k in z if k.startswith("in")], [z[k] for k in z if k.startswith("out")]


def forms(name: str) -> list[tuple[str, str]]:
    return [(p.parent.name, p.name) for p in sorted(ERAS.glob(f"*/{name}.*")) if p.suffix in (".h5", ".keras")]


@pytest.mark.parametrize(("era", "file"), [f for f in forms("rnn") if not f[1].endswith(".weights.h5")])
def test_older_versions(era: str, file: str) -> None:
    options = {"kernels": "theano"} if era == "k122" else {}
    graph = load_graph(ERAS / era / file, options=options)
    given, want = recorded(era, "rnn")
    assert error_of_range(run(graph, given), want) < FLOAT32


@pytest.mark.parametrize("era", sorted(p.parent.name for p in ERAS.glob("*/rnn.weights.h5")))
def test_older_versions_in_two_files(era: str) -> None:
    options = {"kernels": "theano"} if era == "k122" else {}
    graph = load_graph(ERAS / era / "rnn.json", ERAS / era / "rnn.weights.h5", options=options)
    given, want = recorded(era, "rnn")
    assert error_of_range(run(graph, given), want) < FLOAT32


def test_hard_sigmoid_of_keras_1_is_not_that_of_keras_3() -> None:
    graph = load_graph(ERAS / "tf115/rnn.h5")
    used = {n.attrs["recurrent_activation"] for n in graph if n.op in ("lstm", "gru")}
    assert used == {"hard_sigmoid_legacy"}


@pytest.mark.parametrize("file", ["tf215/cudnn.h5", "tf28/cudnn.h5", "tf213/cudnn.keras"])
def test_cudnn_layers_become_plain_ones(file: str) -> None:
    """Their outputs could not be recorded without a GPU; the conversion of their weights is tested in test_files_eras."""
    graph = load_graph(ERAS / file)
    assert not problems(graph)
    found = [(n.op, n.attrs["direction"], n.attrs["recurrent_activation"]) for n in graph if n.op in ("lstm", "gru")]
    assert sorted(found) == [("gru", "forward", "sigmoid"), ("lstm", "bidirectional", "sigmoid"), ("lstm", "forward", "sigmoid")]
    assert all(n.attrs["reset_after"] for n in graph if n.op == "gru")


def test_ids_cover_every_pattern() -> None:
    assert (ids() == 0).any(1).sum() == 4 and (ids()[0] > 0).all() and not ids()[4].any()
