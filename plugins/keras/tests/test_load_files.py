"""Files of every Keras era and trained models, against the outputs recorded from the Keras of their time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run

import convcore
from convcore.errors import BadFileError

DATA = Path(__file__).parents[3] / "tests" / "data"
ERAS = DATA / "keras_eras"
ZOO = DATA / "zoo"
RANGE = 1e-4  # the largest error allowed, of the output's range

# Every fixture with recorded outputs whose layers have rules here; recurrent ones are in test_rnn.py.
COVERED = {
    "convs": ("k231", "tf115", "tf213", "tf215", "tf23", "tf24", "tf28"),
    "lambda": ("k231", "tf115", "tf23", "tf24"),
    "merge_dot": ("k231", "tf115", "tf213", "tf215", "tf23", "tf24", "tf28"),
    "merge_masks": ("k333",),
    "merge_seq": ("k122",),
    "noinput_seq": ("tf213", "tf215", "tf23", "tf24", "tf28"),
    "norm_axes": ("k231", "tf213", "tf215", "tf23", "tf24", "tf28"),
    "prep": ("tf213", "tf215", "tf23", "tf24", "tf28"),
    "seq_cnn": ("k231", "tf115", "tf213", "tf215", "tf23", "tf24", "tf28"),
    "shared_nested": ("k231", "tf115", "tf213", "tf215", "tf23", "tf24", "tf28"),
    "tfops": ("tf213", "tf215", "tf24", "tf28"),
}


def recorded(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    arrays = np.load(path)
    return tuple([arrays[k] for k in sorted(arrays.files) if k.startswith(p)] for p in ("in", "out"))  # type: ignore[return-value]


def forms(base: Path) -> list[tuple[Path, Path | None]]:
    found: list[tuple[Path, Path | None]] = []
    for suffix in (".h5", ".keras"):
        if (path := base.with_name(base.name + suffix)).exists():
            found.append((path, None))
    pair = (base.with_name(base.name + ".json"), base.with_name(base.name + ".weights.h5"))
    return [*found, pair] if all(p.exists() for p in pair) else found


FORMS = [(s, w) for stem, eras in COVERED.items() for era in eras for s, w in forms(ERAS / era / stem)]


def test_every_form_is_there() -> None:
    assert {s.suffix for s, _ in FORMS} == {".h5", ".keras", ".json"}
    assert {(s.parent.name, s.name.split(".")[0]) for s, _ in FORMS} == {(e, k) for k, v in COVERED.items() for e in v}


@pytest.mark.parametrize(("source", "weights"), FORMS, ids=[f"{s.parent.name}-{s.name}" for s, _ in FORMS])
def test_era_file_agrees_with_its_keras(source: Path, weights: Path | None) -> None:
    inputs, outputs = recorded(source.with_name(source.name.split(".")[0] + ".io.npz"))
    graph = load_graph(source, weights)
    assert error_of_range(run(graph, inputs), outputs) < RANGE
    if graph.metadata["version"]:
        assert graph.metadata["version"].split(".")[0] == {"k122": "1", "k333": "3"}.get(source.parent.name, "2")


def normalised(g: Any, node: Any) -> Any:
    """The Lambda of these files: x / 127.5 - 1."""
    x = node.inputs[0]
    return g.b.sub(g.b.div(x, g.b.like(x, 127.5)), g.b.like(x, 1.0))


@pytest.mark.parametrize("form", ["h5", "json"])
@pytest.mark.parametrize("stem", ["conv2", "cnn_th", "cnn_tf"])
def test_keras1_computed_with_theano(stem: str, form: str) -> None:
    """Keras 1.2.2 on Theano: kernels flipped, even ``same`` kernels padded in front; the file does not say so."""
    inputs, outputs = recorded(ERAS / "k122" / f"{stem}.io.npz")
    source, weights = dict(zip(("h5", "json"), forms(ERAS / "k122" / stem), strict=True))[form]
    given: dict[str, Any] = {"overrides": {"Lambda": normalised}}
    graph = load_graph(source, weights, options={"kernels": "theano"}, **given)
    assert error_of_range(run(graph, inputs), outputs) < RANGE
    other = load_graph(source, weights, options={"kernels": "tensorflow"}, **given)
    assert error_of_range(run(other, inputs), outputs) > 100 * RANGE


TRAINED = {
    "keras2-fer-minixception": ("emotion_model.hdf5", None),
    "keras2-kdef-tiny": ("tiny_XCEPTION_KDEF.hdf5", None),
    "keras2-meso4_df": ("architecture.json", "Meso4_DF.h5"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_model_agrees_with_its_keras(name: str) -> None:
    folder = ZOO / name
    source, weights = TRAINED[name]
    graph = load_graph(folder / source, None if weights is None else folder / weights)
    inputs, outputs = recorded(folder / "inputs.npz")[0], recorded(folder / "ref_old.npz")[1]
    assert error_of_range(run(graph, inputs), outputs) < RANGE


@pytest.mark.parametrize("era", ["tf24", "tf28", "tf213", "tf215"])
def test_mixed_float16_agrees_within_half_precision(era: str) -> None:
    """Dense(3) in float16, Dense(2) in float32. How a float16 matrix product rounds its partial sums depends on the hardware:
    every addition and multiplication may be off by half a unit in the last place, 2^-11, of its operands."""
    for source, weights in forms(ERAS / era / "mixed_precision"):
        inputs, outputs = recorded(ERAS / era / "mixed_precision.io.npz")
        graph = load_graph(source, weights)
        assert [str(n.attrs["to"]) for n in graph if n.op == "cast"] == ["float16", "float32"]
        assert any("float16" in note for note in graph.metadata["notes"])
        got = run(graph, inputs)[0]
        w1, b1, w2, _ = (v.tensor.numpy().astype(np.float64) for v in graph.weights.values() if v.tensor is not None)
        x = np.abs(inputs[0].astype(np.float64))
        steps = 2 * x.shape[1] + 2
        bound = (steps * 2.0**-11 * (x @ np.abs(w1).T + np.abs(b1))) @ np.abs(w2).T
        assert got.dtype == np.float32
        assert (np.abs(got - outputs[0]) <= bound).all()
        assert np.abs(got - outputs[0]).max() < 0.01 * np.ptp(outputs[0])


# ---- what is refused
REFUSED = {
    "tf213/lambda.h5": "Lambda",
    "tf215/textvec.keras": "TextVectorization",
    "misc3/q_int4.keras": "Embedding",
}


@pytest.mark.parametrize("name", REFUSED)
def test_unknown_layers_are_listed_all_at_once(name: str) -> None:
    graph = load_graph(ERAS / name)
    found = problems(graph)
    assert REFUSED[name] in {p.type for p in found}
    assert len({p.layer for p in found}) == len(found)
    for p in found:
        assert p.layer in {layer.name for layer in graph.layers} and p.why and p.code
    opaque = [n for n in graph if n.op == "opaque"]
    named = {n.origin.layer for n in opaque if not n.attrs.get("follows")}
    assert {p.layer for p in found} == named


def test_custom_layer_is_named_with_its_package() -> None:
    folder = ZOO / "keras2-textgenrnn"
    found = problems(load_graph(folder / "architecture.json", folder / "textgenrnn_weights.hdf5"))
    custom = [p for p in found if p.type == "AttentionWeightedAverage"]
    assert [p.code for p in custom] == ["custom_layer"]
    assert "custom layer" in custom[0].why and "overrides" in custom[0].hint


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(BadFileError):
        load_graph(ERAS / "tf215" / "convs.json", ERAS / "tf215" / "seq_cnn.weights.h5")


def test_missing_weights_are_refused() -> None:
    with pytest.raises(BadFileError, match=r"only the architecture, and \d+ layers .* have weights"):
        load_graph(ERAS / "tf215" / "seq_cnn.json")


def test_theano_option_is_refused_for_keras_3() -> None:
    from convcore.errors import UsageError

    with pytest.raises(UsageError, match="theano"):
        load_graph(ERAS / "misc3" / "seq.keras", options={"kernels": "theano"})


def test_saved_model_folders_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(convcore.UnsupportedError, match="SavedModel") as e:
        convcore.load(tmp_path / "m")
    assert "save('model.keras')" in e.value.problems[0].hint


def test_renorm_and_a_virtual_batch_mean_nothing_at_inference(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3, 5)), keras.layers.BatchNormalization(renorm=True, axis=1)])
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(0.5, 2, w.shape).astype(np.float32) for w in model.get_weights()])
    x = rng.normal(size=(2, 3, 5)).astype(np.float32)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        (y,) = run(load_graph(tmp_path / name), [x])
        np.testing.assert_allclose(y, keras.ops.convert_to_numpy(model(x)), rtol=1e-5, atol=1e-6)


def test_an_architecture_as_json_inside_json(tmp_path: Path) -> None:
    """``json.dump(model.to_json(), file)``, frequent in projects of Keras 1 and 2: a string that holds the JSON, once."""
    source = ERAS / "tf28" / "seq_cnn.json"
    weights = source.with_suffix(".weights.h5")
    (tmp_path / "m.json").write_text(json.dumps(source.read_text()))
    inputs, outputs = recorded(source.with_suffix(".io.npz"))
    assert error_of_range(run(load_graph(tmp_path / "m.json", weights), inputs), outputs) < RANGE
    assert convcore.load(tmp_path / "m.json", weights=weights).num_params > 0  # told by its first bytes
    (tmp_path / "n.json").write_text(json.dumps(json.dumps(source.read_text())))
    with pytest.raises(convcore.BadFileError):
        convcore.load(tmp_path / "n.json", weights=weights)


@pytest.mark.parametrize(
    ("axis", "shape", "more"),
    [
        ([1, 2], (1, 3, 5), {}), ([1, 3], (1, 3, 1, 7), {}), ([3], (1, 1, 1, 5), {"virtual_batch_size": 2}),
        ([2], (1, 1, 3, 1), {"virtual_batch_size": 2}), ([2, 3], (1, 1, 3, 5), {"virtual_batch_size": 2}),
        ([-1], (5,), {"virtual_batch_size": None}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cls", ["BatchNormalization", "SyncBatchNormalization"])
def test_batch_normalization_over_several_axes_and_virtual_batches(
    cls: str, axis: list[int], shape: tuple[int, ...], more: dict[str, Any], tmp_path: Path
) -> None:
    """Files of tf.keras: sound ones are read (by the layer's own formula), and others are refused by what their axes say."""
    rng = np.random.default_rng(3)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    values = {n: rng.uniform(0.5, 2, shape).astype(np.float32) for n in names}
    config = {"name": "bn", "dtype": "float32", "axis": axis, "momentum": 0.99, "epsilon": 0.001, "scale": True, "center": True}
    sizes = (3, 5, 7) if len(shape) == 4 and not more.get("virtual_batch_size") else (3, 5)

    def write(values: dict[str, Any], axis: list[int]) -> Path:
        path = tmp_path / "m.h5"
        x = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *sizes], "dtype": "float32", "name": "x"}}
        layers = [x, {"class_name": cls, "config": {**config, **more, "axis": axis}}]
        with h5py.File(path, "w") as f:
            f.attrs["keras_version"], f.attrs["backend"] = "2.10.0", "tensorflow"
            f.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": layers}})
            group = f.create_group("model_weights")
            group.attrs["layer_names"] = np.array([b"x", b"bn"])
            group.create_group("x").attrs["weight_names"] = np.array([], "S1")
            group.create_group("bn").attrs["weight_names"] = np.array([f"bn/{n}:0".encode() for n in values])
            for n, v in values.items():
                group[f"bn/bn/{n}:0"] = v
        return path

    x = rng.normal(size=(2, *sizes)).astype(np.float32)
    gamma, beta, mean, variance = (v if v.ndim == 1 else v.reshape((1, *v.shape[-len(sizes) :])) for v in values.values())
    want = (x - mean) / np.sqrt(variance + 0.001) * gamma + beta
    np.testing.assert_allclose(convcore.load(write(values, axis))(x), want, rtol=1e-5, atol=1e-5)
    assert convcore.convert(tmp_path / "m.h5", "onnx", tmp_path / "m.onnx").report.ok
    if len(shape) > 1:
        wrong = {n: v.repeat(2, axis=v.shape.index(1, 1) if 1 in v.shape[1:] else 1) for n, v in values.items()}
        assert "fits its axes" in convcore.load(write(wrong, axis)).problems[0].why
        assert "axes" in convcore.load(write(values, [*axis, 9])).problems[0].why
