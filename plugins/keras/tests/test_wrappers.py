"""Bidirectional and TimeDistributed against Keras 3 on torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import problems, randomise
from rnn_helpers import I, N, T, agree, graph_of, ids, inputs, mask_patterns

keras = pytest.importorskip("keras")
L = keras.layers

WRAPPED = {
    "lstm": (lambda **k: L.LSTM(2, **k), 2), "gru": (lambda **k: L.GRU(2, **k), 1),
    "gru_before": (lambda **k: L.GRU(2, reset_after=False, **k), 1), "rnn": (lambda **k: L.SimpleRNN(2, **k), 1),
    "cell": (lambda **k: L.RNN(L.GRUCell(2), **k), 1),
}  # fmt: skip
MERGES = ["concat", "sum", "mul", "ave", None]
OPS = ("lstm", "gru", "rnn")


def many(y: Any) -> list[Any]:
    return list(y) if isinstance(y, (list, tuple)) else [y]


# ---- Bidirectional
@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("sequences", [True, False])
def test_bidirectional(kind: str, merge: str | None, sequences: bool, tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    layer = L.Bidirectional(WRAPPED[kind][0](return_sequences=sequences), merge_mode=merge)
    graph = agree(keras.Model(x, many(layer(x))), tmp_path, inputs((N, T, I)))
    assert [n.attrs["direction"] for n in graph if n.op in OPS] == ["bidirectional"]


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("merge", ["concat", None])
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_states(kind: str, merge: str | None, sequences: bool, given: bool, tmp_path: Path) -> None:
    make, n = WRAPPED[kind]
    x = keras.Input((T, I), name="x")
    states = [keras.Input((2,), name=f"s{i}") for i in range(2 * n)] if given else []
    layer = L.Bidirectional(make(return_sequences=sequences, return_state=True), merge_mode=merge)
    outs = layer(x, initial_state=states) if given else layer(x)
    agree(keras.Model([x, *states], list(outs)), tmp_path, inputs((N, T, I), *[(N, 2)] * len(states)))


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda **k: L.LSTM(2, **k), lambda **k: L.LSTM(5, **k)), (lambda **k: L.LSTM(2, **k), lambda **k: L.GRU(2, **k)),
        (lambda **k: L.GRU(2, **k), lambda **k: L.GRU(2, activation="relu", **k)),
        (lambda **k: L.SimpleRNN(2, **k), lambda **k: L.SimpleRNN(2, use_bias=False, **k)),
    ],
)  # fmt: skip
def test_layers_that_differ(sequences: bool, forward: Any, backward: Any, tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    f, b = forward(return_sequences=sequences), backward(return_sequences=sequences, go_backwards=True)
    graph = agree(keras.Model(x, L.Bidirectional(f, backward_layer=b)(x)), tmp_path, inputs((N, T, I)))
    assert [n.attrs["direction"] for n in graph if n.op in OPS] == ["forward", "reverse"]


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_first_layer_that_goes_backwards(sequences: bool, merge: str, tmp_path: Path) -> None:
    """The second layer's outputs are reversed whatever its direction, so here everything comes out reversed."""
    x = keras.Input((T, I), name="x")
    back, front = (L.GRU(2, return_sequences=sequences, go_backwards=b) for b in (True, False))
    layer = L.Bidirectional(back, backward_layer=front, merge_mode=merge)
    agree(keras.Model(x, layer(x)), tmp_path, inputs((N, T, I)))


def test_stacked_cells_in_both_directions(tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    layer = L.Bidirectional(L.RNN([L.LSTMCell(2), L.GRUCell(5)], return_sequences=True))
    graph = agree(keras.Model(x, layer(x)), tmp_path, inputs((N, T, I)))
    assert sum(n.op in OPS for n in graph) == 4


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "differ"])
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("merge", ["concat", "ave", None])
def test_masked(kind: str, sequences: bool, merge: str | None, tmp_path: Path) -> None:
    """Masked steps of returned sequences are zero, not the last output; the mask goes on to the next layer."""
    x = keras.Input((T,), dtype="int32", name="ids")
    e = L.Embedding(11, I, mask_zero=True)(x)
    if kind == "differ":
        back = L.GRU(2, return_sequences=sequences, go_backwards=True)
        layer = L.Bidirectional(L.LSTM(2, return_sequences=sequences), backward_layer=back, merge_mode=merge)
    else:
        layer = L.Bidirectional(WRAPPED[kind][0](return_sequences=sequences), merge_mode=merge)
    outs = many(layer(e))
    if sequences:
        outs += [L.SimpleRNN(3)(y) for y in outs]
    agree(keras.Model(x, outs), tmp_path, [ids().astype("int32")])


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_explicit_mask_and_initial_state(sequences: bool, merge: str, tmp_path: Path) -> None:
    x, m = keras.Input((T, I), name="x"), keras.Input((T,), dtype="bool", name="m")
    h = [keras.Input((2,), name=f"h{i}") for i in range(2)]
    layer = L.Bidirectional(L.GRU(2, return_sequences=sequences, return_state=True), merge_mode=merge)
    model = keras.Model([x, *h, m], list(layer(x, initial_state=h, mask=m)))
    agree(model, tmp_path, [*inputs((N, T, I), (N, 2), (N, 2)), mask_patterns()])


def test_what_bidirectional_cannot_wrap_is_refused(tmp_path: Path) -> None:
    x, m = keras.Input((T, 5, 7, I), name="x"), keras.Input((T,), dtype="bool", name="m")
    model = keras.Model([x, m], L.Bidirectional(L.ConvLSTM2D(2, 3), name="both")(x, mask=m))
    (p,) = problems(graph_of(model, tmp_path))
    assert (p.layer, p.type) == ("both", "Bidirectional") and "ConvLSTM2D" in p.why and "mask" in p.why


def test_stateful_layers_are_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((T, I), batch_size=N), L.Bidirectional(L.GRU(2, stateful=True), name="both")])
    (p,) = problems(graph_of(model, tmp_path))
    assert p.layer.startswith("both") and p.code == "unsupported_stateful"


def test_weights_keep_their_names(tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    graph = graph_of(keras.Model(x, L.Bidirectional(L.GRU(2), name="both")(x)), tmp_path)
    assert {k: v.shape for k, v in graph.weights.items()} == {
        "both/kernel": (2, 6, I), "both/recurrent_kernel": (2, 6, 2), "both/bias": (2, 6), "both/recurrent_bias": (2, 6),
    }  # fmt: skip


# ---- TimeDistributed
def nested() -> Any:
    a, b = keras.Input((5, 7, I)), L.Conv2D(2, 3)
    return keras.Model(a, L.Flatten()(L.BatchNormalization()(b(a))), name="inner")


STEPS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (lambda: L.Dense(2, activation="relu"), (I,)),
    "dense_of_images": (lambda: L.Dense(2), (5, I)),
    "dropout": (lambda: L.Dropout(0.5), (I,)),
    "softmax": (lambda: L.Softmax(), (I,)),
    "activation": (lambda: L.Activation("softmax"), (5, I)),
    "conv": (lambda: L.Conv2D(2, 3, padding="same"), (5, 7, I)),
    "conv_first": (lambda: L.Conv2D(2, 3, data_format="channels_first"), (I, 5, 7)),
    "pool": (lambda: L.MaxPooling2D(2), (5, 7, I)),
    "global": (lambda: L.GlobalAveragePooling1D(), (5, I)),
    "flatten": (lambda: L.Flatten(), (5, I)),
    "reshape": (lambda: L.Reshape((I, 5)), (5, I)),
    "norm": (lambda: L.BatchNormalization(axis=1), (5, I)),
    "layer_norm": (lambda: L.LayerNormalization(), (5, I)),
    "repeat": (lambda: L.RepeatVector(2), (I,)),
    "lstm": (lambda: L.LSTM(2), (5, I)),
    "bidirectional": (lambda: L.Bidirectional(L.GRU(2, return_sequences=True)), (5, I)),
    "twice": (lambda: L.TimeDistributed(L.Dense(2)), (5, I)),
    "twice_pool": (lambda: L.TimeDistributed(L.GlobalMaxPooling1D()), (5, 11, I)),
    "model": (nested, (5, 7, I)),
    "sequential": (lambda: keras.Sequential([keras.Input((5, I)), L.LSTM(2), L.Dense(3)]), (5, I)),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("known", [True, False], ids=["steps", "any_steps"])
def test_time_distributed(name: str, known: bool, tmp_path: Path) -> None:
    make, shape = STEPS[name]
    x = keras.Input((T if known else None, *shape), name="x")
    graph = agree(keras.Model(x, L.TimeDistributed(make())(x)), tmp_path, inputs((N, T, *shape)), 5e-6)
    if name in ("dense", "dropout", "activation"):
        assert not any(n.op == "reshape" for n in graph)


def test_time_distributed_embedding(tmp_path: Path) -> None:
    """Keras 3 hands on the mask of the wrapper's input, of which there is none."""
    x = keras.Input((T, 5), dtype="int32", name="ids")
    y = L.TimeDistributed(L.Embedding(11, I, mask_zero=True))(x)
    given = np.random.default_rng(2).integers(0, 11, (N, T, 5)).astype("int32")
    agree(keras.Model(x, [y, L.TimeDistributed(L.LSTM(2))(y)]), tmp_path, [given])


def test_masks_pass_through(tmp_path: Path) -> None:
    x = keras.Input((T,), dtype="int32", name="ids")
    e = L.Embedding(11, I, mask_zero=True)(x)
    a = L.TimeDistributed(L.Dense(2))(e)
    b = L.TimeDistributed(L.Reshape((I,)))(e)
    agree(keras.Model(x, [L.LSTM(2)(a), L.GRU(3, return_sequences=True)(b)]), tmp_path, [ids().astype("int32")])


def test_masks_of_sentences_of_words(tmp_path: Path) -> None:
    """A mask per word reaches the wrapped layer, sentence by sentence."""
    x = keras.Input((T, 5), dtype="int32", name="ids")
    e = L.Embedding(11, I, mask_zero=True)(x)
    y = L.TimeDistributed(L.LSTM(2, go_backwards=True))(e)
    z = L.TimeDistributed(L.GlobalAveragePooling1D())(e)
    given = np.random.default_rng(2).integers(0, 3, (N, T, 5)).astype("int32")
    given[0, :2], given[0, :2, 0] = 0, 1
    given[..., 4] += given.sum(-1) == 0
    agree(keras.Model(x, [y, z]), tmp_path, [given])


def test_a_mask_the_wrapped_layer_cannot_use_is_refused(tmp_path: Path) -> None:
    x = keras.Input((T, 5, 7), name="x")
    m = L.Masking()(L.Reshape((T, 35))(x))
    flat = keras.Model(x, L.TimeDistributed(L.Dense(6))(m))
    model = keras.Model(x, L.TimeDistributed(L.Softmax(), name="each")(flat(x)))
    assert [(p.layer, p.type) for p in problems(graph_of(model, tmp_path))] == [("each", "TimeDistributed")]


def test_shared_wrapper(tmp_path: Path) -> None:
    a, b = keras.Input((T, 5, 7, I), name="a"), keras.Input((11, 5, 7, I), name="b")
    layer = L.TimeDistributed(nested())
    graph = agree(keras.Model([a, b], [layer(a), layer(b)]), tmp_path, inputs((N, T, 5, 7, I), (N, 11, 5, 7, I)), 5e-6)
    assert len(graph.weights) == 6


def test_unknown_layers_inside_are_all_named(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Odd(L.Layer):
        def call(self, x: Any) -> Any:
            return x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inner = keras.Sequential([keras.Input((I,)), L.Dense(2), Odd(name="odd"), L.Dense(3), Odd(name="again")], name="inner")
    x = keras.Input((T, I), name="x")
    model = keras.Model(x, L.Dense(2)(L.TimeDistributed(Odd(name="alone"))(L.TimeDistributed(inner, name="each")(x))))
    randomise(model)
    found = {p.layer for p in problems(graph_of(model, tmp_path))}
    assert {"each/inner/odd", "each/inner/again"} <= found and len(found) in (2, 3)
