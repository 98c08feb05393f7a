"""Recurrent models of Keras as ONNX, run by onnxruntime and compared with Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_helpers import error_of_range, randomise
from rnn_helpers import I, N, T, ids, inputs, mask_patterns

import convcore

keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")
L = keras.layers

RANGE = 1e-5


def from_ids(*layers: Any) -> Any:
    """Layers one after the other on an embedding that masks; every output is compared."""
    x = keras.Input((T,), dtype="int32", name="ids")
    y, outs = L.Embedding(11, I, mask_zero=True)(x), []
    for layer in layers:
        y = layer(y)
        outs.append(y)
    return keras.Model(x, outs), [ids().astype("int32")]


def from_steps(*layers: Any, steps: int | None = T, shape: tuple[int, ...] = (I,)) -> Any:
    x = keras.Input((steps, *shape), name="x")
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y), inputs((N, T, *shape))


def with_states() -> Any:
    x, m = keras.Input((None, I), name="x"), keras.Input((None,), dtype="bool", name="m")
    h = [keras.Input((2,), name=f"h{i}") for i in range(2)]
    y, s = L.GRU(2, return_sequences=True, return_state=True)(x, initial_state=h[0], mask=m)
    z = L.GRU(2, go_backwards=True)(y, initial_state=h[1], mask=m)
    return keras.Model([x, *h, m], [y, s, z]), [*inputs((N, T, I), (N, 2), (N, 2)), mask_patterns()]


MODELS = {
    "lstm": (lambda: from_steps(L.LSTM(2, return_sequences=True), L.LSTM(5)), {"LSTM": 2}),
    "gru": (lambda: from_steps(L.GRU(2, return_sequences=True, go_backwards=True), L.GRU(5, reset_after=False)), {"GRU": 2}),
    "rnn": (lambda: from_steps(L.SimpleRNN(2, return_sequences=True, activation="relu"), L.SimpleRNN(5)), {"RNN": 2}),
    "any_steps": (
        lambda: from_steps(L.Bidirectional(L.LSTM(2, return_sequences=True)), L.GRU(5), steps=None), {"LSTM": 1, "GRU": 1},
    ),
    "ave": (lambda: from_steps(L.Bidirectional(L.GRU(2), merge_mode="ave")), {"GRU": 1}),
    "hard": (lambda: from_steps(L.LSTM(2, recurrent_activation="hard_sigmoid")), {"LSTM": 1}),
    "gelu": (lambda: from_steps(L.LSTM(2, activation="gelu")), {"Scan": 1}),
    "stack": (lambda: from_steps(L.RNN([L.LSTMCell(2), L.GRUCell(5)])), {"LSTM": 1, "GRU": 1}),
    "conv_lstm": (lambda: from_steps(L.ConvLSTM2D(2, 3, return_sequences=True), shape=(5, 7, I)), {"Scan": 1}),
    "frames": (
        lambda: from_steps(L.TimeDistributed(L.Conv2D(2, 3)), L.TimeDistributed(L.Flatten()), L.LSTM(2), shape=(5, 7, I)),
        {"LSTM": 1},
    ),
    "masked": (lambda: from_ids(L.LSTM(2, return_sequences=True), L.GRU(5, return_sequences=True), L.SimpleRNN(3)), {"Scan": 3}),
    "masked_back": (
        lambda: from_ids(L.GRU(2, return_sequences=True, go_backwards=True), L.LSTM(3, go_backwards=True)), {"Scan": 2},
    ),
    "masked_both": (lambda: from_ids(L.Bidirectional(L.LSTM(2, return_sequences=True)), L.Bidirectional(L.GRU(3))), {"Scan": 4}),
    "masked_states": (with_states, {"Scan": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_onnx(name: str, tmp_path: Path) -> None:
    make, ops = MODELS[name]
    model, given = make()
    randomise(model)
    model.save(tmp_path / "m.keras")
    convcore.convert(tmp_path / "m.keras", "onnx", tmp_path / "m.onnx", io_layout="source")
    proto = onnx.load(tmp_path / "m.onnx")
    count = [n.op_type for n in proto.graph.node]
    assert {k: count.count(k) for k in ("LSTM", "GRU", "RNN", "Scan") if k in count} == ops
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    want = model(list(given) if isinstance(model.input, list) else given[0])
    want = [w.detach().numpy() for w in (want if isinstance(want, (list, tuple)) else [want])]
    for rows in (slice(None), slice(1, 2)):
        feeds = {v.name: a[rows] for v, a in zip(session.get_inputs(), given, strict=True)}
        assert error_of_range(session.run(None, feeds), [w[rows] for w in want]) < RANGE


def test_the_names_of_a_layer_survive(tmp_path: Path) -> None:
    model, _ = from_steps(L.LSTM(2, name="memory"), L.Dense(3, name="head"))
    model.save(tmp_path / "m.keras")
    convcore.convert(tmp_path / "m.keras", "onnx", tmp_path / "m.onnx")
    names = {i.name for i in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert any("memory" in n for n in names) and any("head" in n for n in names)
