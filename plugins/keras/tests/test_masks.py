"""Masks: where they come from, what recurrent layers do with them, where they go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run
from rnn_helpers import FLOAT32, I, N, T, agree, graph_of, ids, inputs, mask_patterns

from convcore.errors import BadFileError

keras = pytest.importorskip("keras")
L = keras.layers

ERAS = Path(__file__).parents[3] / "tests/data/keras_eras"

LAYERS = {
    "lstm": lambda **k: L.LSTM(2, **k), "gru": lambda **k: L.GRU(2, **k),
    "gru_before": lambda **k: L.GRU(2, reset_after=False, **k), "rnn": lambda **k: L.SimpleRNN(2, **k),
    "stack": lambda **k: L.RNN([L.LSTMCell(2), L.GRUCell(5)], **k),
}  # fmt: skip
OPTIONS = [
    {}, {"return_sequences": True}, {"go_backwards": True}, {"go_backwards": True, "return_sequences": True},
    {"zero_output_for_mask": True}, {"zero_output_for_mask": True, "return_sequences": True},
    {"zero_output_for_mask": True, "go_backwards": True},
]  # fmt: skip


def embedded() -> tuple[Any, Any]:
    x = keras.Input((T,), dtype="int32", name="ids")
    return x, L.Embedding(11, I, mask_zero=True)(x)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o) or "plain")
def test_masked_steps(kind: str, options: dict[str, bool], tmp_path: Path) -> None:
    x, e = embedded()
    layer = LAYERS[kind](**options)
    agree(keras.Model(x, layer(e)), tmp_path, [ids().astype("int32")])


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_states_after_masked_steps(kind: str, tmp_path: Path) -> None:
    x, e = embedded()
    outs = LAYERS[kind](return_state=True, return_sequences=True)(e)
    agree(keras.Model(x, list(outs)), tmp_path, [ids().astype("int32")])


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("zero", [True, False])
def test_explicit_mask_with_initial_state(sequences: bool, back: bool, zero: bool, tmp_path: Path) -> None:
    """Steps before the first valid one put out zeros, not the initial state; rows without any keep it."""
    x, h, m = keras.Input((T, I), name="x"), keras.Input((2,), name="h"), keras.Input((T,), dtype="bool", name="m")
    layer = L.GRU(2, return_sequences=sequences, return_state=True, go_backwards=back, zero_output_for_mask=zero)
    model = keras.Model([x, h, m], layer(x, initial_state=h, mask=m))
    agree(model, tmp_path, [*inputs((N, T, I), (N, 2)), mask_patterns()])


@pytest.mark.parametrize("kind", ["gru", "both", "conv", "norm"])
@pytest.mark.parametrize(("version", "passes"), [("3.15.1", True), ("3.11.0", True), ("3.10.0", False), ("3.3.3", False)])
def test_an_explicit_mask_goes_on_since_3_11(kind: str, version: str, passes: bool, tmp_path: Path) -> None:
    """keras-team/keras pull request 21449; a layer without masks in between is the judge for the versions before.

    Keras 3.15.1 writes the mask that arrives at the second layer into its call; it is taken out, to be found anew.
    """
    shape = (T, 5, I) if kind == "conv" else (T, I)
    x, m = keras.Input(shape, name="x"), keras.Input((T,), dtype="bool", name="m")
    layer = {
        "gru": lambda: L.GRU(2, return_sequences=True), "both": lambda: L.Bidirectional(L.GRU(2, return_sequences=True)),
        "conv": lambda: L.ConvLSTM1D(2, 3, return_sequences=True), "norm": lambda: L.BatchNormalization(),
    }[kind]()  # fmt: skip
    y, second = layer(x, mask=m), L.ConvLSTM1D(3, 1) if kind == "conv" else L.LSTM(3)
    model = keras.Model([x, m], second(y))
    judge = model if passes else keras.Model([x, m], second(L.Reshape(y.shape[1:])(y)))
    graph_of(model, tmp_path)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = version
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1]["inbound_nodes"][0]["kwargs"].pop("mask", None)
        file.attrs["model_config"] = json.dumps(config)
    given = [*inputs((N, *shape)), mask_patterns()]
    assert error_of_range(run(load_graph(tmp_path / "m.h5"), given), [judge(given).detach().numpy()]) < 5e-6


def test_a_mask_that_travels_is_not_used_with_initial_state(tmp_path: Path) -> None:
    """Keras 3 fills in ``mask`` only for calls with one tensor argument; the output still carries it."""
    x, e = embedded()
    h = keras.Input((2,), name="h")
    y = L.GRU(2, return_sequences=True)(e, initial_state=h)
    model = keras.Model([x, h], [y, L.LSTM(5)(y)])
    graph = agree(model, tmp_path, [ids().astype("int32"), *inputs((N, 2))])
    assert [len(n.inputs) > 6 for n in graph if n.op in ("gru", "lstm")] == [False, True]


@pytest.mark.parametrize("value", [0.0, -1.5, 7])
def test_masking(value: float, tmp_path: Path) -> None:
    """A step is masked when every feature equals the value; one equal feature is not enough."""
    x = keras.Input((T, I), name="x")
    y = L.Masking(value)(x)
    model = keras.Model(x, [y, L.LSTM(2, return_sequences=True)(y), L.Bidirectional(L.GRU(2))(y)])
    (a,) = inputs((N, T, I))
    a[~mask_patterns()] = value
    a[0, 0, 0] = a[1, 2, 1] = value
    agree(model, tmp_path, [a])


def test_masking_of_integers(tmp_path: Path) -> None:
    x = keras.Input((T, I), dtype="int32", name="x")
    model = keras.Model(x, L.Masking(2)(x))
    given = np.random.default_rng(0).integers(0, 3, (N, T, I)).astype("int32") * mask_patterns()[..., None].astype("int32") + 2
    agree(model, tmp_path, [given])


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"x"', "true"])
def test_masking_by_what_is_no_number_is_refused(value: str, tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    text = keras.Model(x, L.Masking(3.25, name="hide")(x)).to_json().replace("3.25", value)
    (tmp_path / "m.json").write_text(text)
    try:
        (p,) = problems(load_graph(tmp_path / "m.json"))
    except BadFileError as e:
        assert "m.json" in str(e)
    else:
        assert (p.layer, p.type) == ("hide", "Masking") and "mask_value" in p.why


def test_layers_between_pass_masks_on_or_stop_them(tmp_path: Path) -> None:
    x, e = embedded()
    passed = L.Dense(2)(L.Dropout(0.5)(L.LayerNormalization()(L.LSTM(5, return_sequences=True)(e))))
    stopped = L.Conv1D(2, 1)(e)
    model = keras.Model(x, [L.LSTM(2)(passed), L.LSTM(3)(stopped)])
    graph = agree(model, tmp_path, [ids().astype("int32")])
    assert [len(n.inputs) > 6 for n in graph if n.op == "lstm"] == [True, True, False]


def test_masks_in_nested_models(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((T, I)), L.Dense(5), L.LSTM(2, return_sequences=True)], name="inner")
    x, e = embedded()
    agree(keras.Model(x, L.GRU(3)(inner(e))), tmp_path, [ids().astype("int32")])


def test_merged_masks(tmp_path: Path) -> None:
    x, e = embedded()
    z = keras.Input((T,), dtype="int32", name="others")
    f = L.Embedding(7, I, mask_zero=True)(z)
    model = keras.Model([x, z], [L.LSTM(2)(L.Add()([e, f])), L.GRU(2)(L.Concatenate()([e, f]))])
    agree(model, tmp_path, [ids().astype("int32"), ids(7)[::-1].astype("int32").copy()])


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_ids_of_other_types(dtype: str, tmp_path: Path) -> None:
    x = keras.Input((T,), dtype=dtype, name="ids")
    model = keras.Model(x, L.LSTM(2)(L.Embedding(11, I, mask_zero=True)(x)))
    agree(model, tmp_path, [ids().astype(dtype)])


@pytest.mark.parametrize("shape", [(T,), (T, 2), ()])
def test_embedding_without_mask(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = keras.Input(shape, dtype="int32", name="ids")
    given = np.random.default_rng(1).integers(0, 13, (N, *shape)).astype("int32")
    graph = agree(keras.Model(x, L.Embedding(13, 5)(x)), tmp_path, [given])
    assert [n.op for n in graph] == ["embedding"]


def test_a_mask_of_three_axes_is_refused(tmp_path: Path) -> None:
    x = keras.Input((T, 2, I), name="x")
    y = L.TimeDistributed(L.Flatten())(L.Masking()(x))
    model = keras.Sequential([keras.Input((T, 6)), L.LSTM(2, name="reads")])
    whole = keras.Model(x, L.Dense(2)(y))
    assert not problems(graph_of(whole, tmp_path))
    config = json.loads(whole.to_json())
    lstm = json.loads(model.to_json())["config"]["layers"][1]
    lstm |= {"name": "reads", "inbound_nodes": config["config"]["layers"][-1]["inbound_nodes"]}
    config["config"]["layers"][-1] = lstm
    config["config"]["output_layers"] = ["reads", 0, 0]
    (tmp_path / "m.json").write_text(json.dumps(config))
    model.save_weights(tmp_path / "m.weights.h5")
    (p,) = problems(load_graph(tmp_path / "m.json", _weights(model, tmp_path)))
    assert p.layer == "reads" and "mask of 3 axes" in p.why


def _weights(model: Any, folder: Path) -> Path:
    model.save_weights(folder / "w.weights.h5")
    return folder / "w.weights.h5"


@pytest.mark.parametrize(
    ("era", "file"),
    [
        (p.parent.name, p.name) for p in sorted(ERAS.glob("*/embedding_mask.*"))
        if p.suffix in (".h5", ".keras") and not p.name.endswith(".weights.h5")
    ],
)  # fmt: skip
def test_older_versions(era: str, file: str) -> None:
    z = np.load(ERAS / era / "embedding_mask.io.npz")
    graph = load_graph(ERAS / era / file)
    assert error_of_range(run(graph, [z["in0"]]), [z["out0"]]) < FLOAT32


# ---- older versions, as their to_json writes models; weights from a model of Keras 3 with the same layers
def old_input(name: str, dtype: str, *shape: int | None) -> dict[str, Any]:
    return {"class_name": "InputLayer", "name": name, "inbound_nodes": [],
            "config": {"name": name, "batch_input_shape": [None, *shape], "dtype": dtype}}  # fmt: skip


def old_layer(class_name: str, name: str, given: list[str], **config: Any) -> dict[str, Any]:
    nodes = [[[g, 0, 0, {}] for g in given]]
    return {"class_name": class_name, "name": name, "inbound_nodes": nodes, "config": {"name": name, **config}}


def old_graph(tmp_path: Path, model: Any, version: str, backend: str, layers: list[dict[str, Any]], outputs: list[str]) -> Any:
    """Load layers of an older version with the weights of ``model``."""
    graph_of(model, tmp_path)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        for place in (file, file["model_weights"]):
            place.attrs["backend"], place.attrs["keras_version"] = backend, version
    given = [[x["name"], 0, 0] for x in layers if x["class_name"] == "InputLayer"]
    config = {"name": "old", "layers": layers, "input_layers": given, "output_layers": [[n, 0, 0] for n in outputs]}
    text = {"class_name": "Model", "keras_version": version, "backend": backend, "config": config}
    (tmp_path / "old.json").write_text(json.dumps(text))
    return load_graph(tmp_path / "old.json", tmp_path / "m.h5")


def keras2_decoder(tmp_path: Path, backend: str, **options: Any) -> tuple[Any, Any]:
    """A GRU of Keras 2 with a mask and an initial state."""
    x = keras.Input((T,), dtype="int32", name="ids")
    e, h = L.Embedding(11, I, mask_zero=True, name="words")(x), keras.Input((2,), name="h")
    model = keras.Model([x, h], L.GRU(2, return_sequences=True, reset_after=False, name="gru")(e, initial_state=h))
    layers = [
        old_input("ids", "int32", T), old_input("h", "float32", 2),
        old_layer("Embedding", "words", ["ids"], input_dim=11, output_dim=I, mask_zero=True),
        old_layer("GRU", "gru", ["words", "h"], units=2, return_sequences=True, recurrent_activation="sigmoid", **options),
    ]  # fmt: skip
    return model, old_graph(tmp_path, model, "2.3.1", backend, layers, ["gru"])


def numpy_gru(model: Any, h: np.ndarray, repeat_state: bool) -> np.ndarray:
    """The documented equations, step by step, with the masked output of K.rnn in Keras 2.3.1."""
    table, kernel, recurrent, bias = (v.value.detach().numpy() for v in model.weights)
    given = ids()
    out, previous = [], np.zeros_like(h)
    for t in range(T):
        x = table[given[:, t]] @ kernel + bias
        z, r = (1 / (1 + np.exp(-(x[:, s] + h @ recurrent[:, s]))) for s in (slice(0, 2), slice(2, 4)))
        new = z * h + (1 - z) * np.tanh(x[:, 4:] + (r * h) @ recurrent[:, 4:])
        on = given[:, t : t + 1] != 0
        previous = np.where(on, new, h if repeat_state else previous)
        h = np.where(on, new, h)
        out.append(previous)
    return np.stack(out, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("backend", "options", "repeats"), [("tensorflow", {}, True), ("tensorflow", {"unroll": True}, False), ("theano", {}, False)]
)
def test_masked_outputs_of_keras_2(backend: str, options: dict[str, Any], repeats: bool, tmp_path: Path) -> None:
    """K.rnn for TensorFlow repeats the state where others repeat the output: that differs before the first step."""
    model, graph = keras2_decoder(tmp_path, backend, **options)
    (h,) = inputs((N, 2))
    got = run(graph, [ids().astype("int32"), h])
    assert error_of_range(got, [numpy_gru(model, h, repeats)]) < FLOAT32
    assert error_of_range(got, [numpy_gru(model, h, not repeats)]) > 0.01


def test_masked_outputs_of_keras_2_on_another_backend_are_refused(tmp_path: Path) -> None:
    (p,) = problems(keras2_decoder(tmp_path, "cntk")[1])
    assert p.layer == "gru" and "cntk" in p.why


@pytest.mark.parametrize(("version", "zero"), [("2.3.1", False), ("2.2.4-tf", True), ("2.15.0", True)])
def test_masked_steps_in_both_directions(version: str, zero: bool, tmp_path: Path) -> None:
    """Keras 2 repeats the output of each direction; tf.keras, from TensorFlow 1.14 on, puts zeros."""
    x = keras.Input((T,), dtype="int32", name="ids")
    e = L.Embedding(11, I, mask_zero=True, name="words")(x)
    both = L.Bidirectional(L.LSTM(2, return_sequences=True), name="both")
    model = keras.Model(x, both(e))
    front, back = L.LSTM(2, return_sequences=True), L.LSTM(2, return_sequences=True, go_backwards=True)
    single = keras.Model(x, [front(e), back(e)])
    inner = {"name": "lstm", "units": 2, "return_sequences": True, "recurrent_activation": "sigmoid", "go_backwards": False}
    layers = [
        old_input("ids", "int32", T), old_layer("Embedding", "words", ["ids"], input_dim=11, output_dim=I, mask_zero=True),
        old_layer("Bidirectional", "both", ["words"], merge_mode="concat", layer={"class_name": "LSTM", "config": inner}),
    ]  # fmt: skip
    graph = old_graph(tmp_path, model, version, "tensorflow", layers, ["both"])
    front.set_weights(both.forward_layer.get_weights())
    back.set_weights(both.backward_layer.get_weights())
    given = ids().astype("int32")
    f, b = (y.detach().numpy() for y in single(given))
    repeated = np.concatenate([f, b[:, ::-1]], -1)
    zeroed = repeated * mask_patterns()[..., None].astype("float32")
    got = run(graph, [given])
    assert error_of_range(got, [zeroed if zero else repeated]) < FLOAT32
    assert error_of_range(got, [repeated if zero else zeroed]) > 0.01


def test_time_first(tmp_path: Path) -> None:
    """tf.keras's time_major: inputs, outputs and masks have the steps first."""
    x = keras.Input((T, I), name="x")
    y = L.Masking(name="hide")(x)
    model = keras.Model(x, [L.GRU(2, return_sequences=True, reset_after=False, name="all")(y), L.LSTM(3, name="last")(y)])
    gates = {"recurrent_activation": "sigmoid", "time_major": True}
    layers = [
        old_input("x", "float32", None, I), old_layer("Masking", "hide", ["x"]),
        old_layer("GRU", "all", ["hide"], units=2, return_sequences=True, reset_after=False, **gates),
        old_layer("LSTM", "last", ["hide"], units=3, **gates),
    ]  # fmt: skip
    graph = old_graph(tmp_path, model, "2.15.0", "tensorflow", layers, ["all", "last"])
    (a,) = inputs((N, T, I))
    a[~mask_patterns()] = 0
    y, last = (v.detach().numpy() for v in model(a))
    assert error_of_range(run(graph, [a.swapaxes(0, 1).copy()]), [y.swapaxes(0, 1), last]) < FLOAT32


def test_constants_are_refused(tmp_path: Path) -> None:
    x = keras.Input((T, I), name="x")
    cell = {"class_name": "GRUCell", "config": {"name": "c", "units": 2, "recurrent_activation": "sigmoid"}}
    model = keras.Model(x, L.RNN(L.GRUCell(2, reset_after=False), name="rnn")(x))
    layers = [old_input("x", "float32", T, I), old_layer("RNN", "rnn", ["x"], cell=cell, num_constants=1)]
    (p,) = problems(old_graph(tmp_path, model, "2.3.1", "tensorflow", layers, ["rnn"]))
    assert p.layer == "rnn" and "constants" in p.why
    layers[1]["config"]["num_constants"] = None
    assert not problems(old_graph(tmp_path, model, "2.3.1", "tensorflow", layers, ["rnn"]))


def sentences(tmp_path: Path, version: str, batch: int | None = None) -> tuple[Any, Any, np.ndarray]:
    """Words to sentences by TimeDistributed(LSTM), sentences to a GRU, with masks; Keras 3 gets the second mask explicitly."""
    x, m = keras.Input((T, 5), dtype="int32", name="ids"), keras.Input((T,), dtype="bool", name="m")
    y = L.TimeDistributed(L.LSTM(2), name="words")(L.Embedding(11, I, mask_zero=True, name="table")(x))
    model = keras.Model([x, m], L.GRU(3, reset_after=False, name="text")(y, mask=m))
    inner = {"class_name": "LSTM", "config": {"name": "lstm", "units": 2, "recurrent_activation": "sigmoid"}}
    layers = [
        old_input("ids", "int32", T, 5), old_layer("Embedding", "table", ["ids"], input_dim=11, output_dim=I, mask_zero=True),
        old_layer("TimeDistributed", "words", ["table"], layer=inner),
        old_layer("GRU", "text", ["words"], units=3, recurrent_activation="sigmoid", reset_after=False),
    ]  # fmt: skip
    layers[0]["config"]["batch_input_shape"][0] = batch
    given = np.random.default_rng(2).integers(0, 3, (N, T, 5)).astype("int32") * mask_patterns()[..., None].astype("int32")
    given[1, 2] = 0
    return model, old_graph(tmp_path, model, version, "tensorflow", layers, ["text"]), given


@pytest.mark.parametrize("version", ["2.3.1", "2.2.4-tf", "2.15.0"])
def test_masks_of_sentences(version: str, tmp_path: Path) -> None:
    """A sentence is masked when all its words are (TimeDistributed.compute_mask of tf.keras and Keras 2.3)."""
    model, graph, given = sentences(tmp_path, version)
    want = model([given, given.any(-1)]).detach().numpy()
    assert error_of_range(run(graph, [given]), [want]) < FLOAT32


@pytest.mark.parametrize(("version", "batch"), [("2.1.6", None), ("2.3.1", N), ("2.2.4-tf", N)])
def test_masks_of_sentences_that_depend_on_the_version_are_refused(version: str, batch: int | None, tmp_path: Path) -> None:
    (p,) = problems(sentences(tmp_path, version, batch)[1])
    assert p.layer == "words" and "version of Keras" in p.why


MERGED = {
    "Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Maximum": np.maximum, "Minimum": np.minimum,
    "Average": lambda a, b: (a + b) / 2,
}  # fmt: skip


def pooled(y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What GlobalAveragePooling1D makes of steps with a mask."""
    return ((y * mask[..., None]).sum(1) / mask.sum(1)[:, None]).astype(np.float32)


@pytest.mark.parametrize("version", ["2.2.4", "2.3.1", "2.3.0-tf", "2.15.0"])
@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("kind", MERGED)
def test_merges_before_keras_3_join_masks_with_and(kind: str, second: bool, version: str, tmp_path: Path) -> None:
    """``_Merge.compute_mask`` of keras 2.0.9 to 2.15.0: ``K.all`` of the masks that are not None."""
    a, b = keras.Input((T,), dtype="int32", name="a"), keras.Input((T,), dtype="int32", name="b")
    tables = [L.Embedding(11, I, name=n) for n in ("ea", "eb")]
    model = keras.Model([a, b], [tables[0](a), tables[1](b)])
    words = {"input_dim": 11, "output_dim": I}
    layers = [
        old_input("a", "int32", T), old_input("b", "int32", T),
        old_layer("Embedding", "ea", ["a"], mask_zero=True, **words),
        old_layer("Embedding", "eb", ["b"], mask_zero=second, **words),
        old_layer(kind, "both", ["ea", "eb"]), old_layer("GlobalAveragePooling1D", "pool", ["both"], data_format="channels_last"),
    ]  # fmt: skip
    graph = old_graph(tmp_path, model, version, "tensorflow", layers, ["pool"])
    x, y = ids()[:-1].astype("int32"), np.full((N - 1, T), 3, "int32")
    y[0, 2] = y[2, 5] = x[3, 0] = 0
    y[3, 1] = 0
    masks = [x != 0, y != 0] if second else [x != 0]
    e, f = (t.get_weights()[0][i] for t, i in zip(tables, (x, y), strict=True))
    got = run(graph, [x, y])
    assert error_of_range(got, [pooled(MERGED[kind](e, f), np.logical_and.reduce(masks))]) < FLOAT32
    assert error_of_range(got, [pooled(MERGED[kind](e, f), np.ones(x.shape, bool))]) > 0.01


@pytest.mark.parametrize("kind", ["Identity", "Rescaling", "Normalization"])
@pytest.mark.parametrize("version", ["2.15.0", "2.6.0"])
def test_layers_that_pass_masks_since_keras_3(kind: str, version: str, tmp_path: Path) -> None:
    """tf.keras's do not support masks (keras 2.6.0, 2.10.0 and 2.15.0 read); Keras 3's do, see test_load_masks."""
    x = keras.Input((T,), dtype="int32", name="ids")
    table = L.Embedding(11, I, name="words")
    config = {"Rescaling": {"scale": 2.0, "offset": 0.0}, "Normalization": {"mean": 0.0, "variance": 0.25, "axis": None}}
    layers = [
        old_input("ids", "int32", T), old_layer("Embedding", "words", ["ids"], mask_zero=True, input_dim=11, output_dim=I),
        old_layer(kind, "between", ["words"], **config.get(kind, {})),
        old_layer("GlobalAveragePooling1D", "pool", ["between"], data_format="channels_last"),
    ]  # fmt: skip
    graph = old_graph(tmp_path, keras.Model(x, table(x)), version, "tensorflow", layers, ["pool"])
    given = ids()[:-1].astype("int32")
    y = table.get_weights()[0][given] * (1 if kind == "Identity" else 2)
    want = [pooled(y, np.ones(given.shape, bool)), pooled(y, given != 0)]
    got = run(graph, [given])
    assert error_of_range(got, want[:1]) < FLOAT32
    assert error_of_range(got, want[1:]) > 0.01
