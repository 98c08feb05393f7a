"""``--keep-custom``: custom layers of a Keras 3 source written back under their own class, judged by Keras with the classes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import randomise
from sweeps import recorded
from sweeps.custom_cases import ROOT, cases

import convcore
from convcore.cli import main

SOURCE = str(ROOT / "keras3")
CASES = {c.name: c for c in cases()}
NAMES = ["EncoderStack", "CBAM", "GCN", "TinyDecoder", "SwinBlock", "MultiGateMixture", "FilterResponse", "BahdanauAttention",
         "MaskedHead", "AdaptivePool", "InferenceBatchNorm", "ReversedLSTM"]  # fmt: skip


def _saved(folder: Path, name: str, form: str = ".keras", wrap: Any = None) -> tuple[Path, Any]:
    model = CASES[name].build()
    if wrap is not None:
        model = wrap(model)
    randomise(model, 3)
    path = folder / f"m{form}"
    model.save(path)
    return path, keras.models.load_model(path, compile=False)


def _feed(model: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    found = []
    for x in model.inputs:
        shape = tuple(2 if n is None else n for n in x.shape)
        found.append(rng.integers(0, 3, shape).astype(x.dtype) if "int" in x.dtype else rng.normal(size=shape).astype(x.dtype))
    return found


def _run(model: Any, feed: list[np.ndarray]) -> list[np.ndarray]:
    y = model(feed if len(feed) > 1 else feed[0], training=False)
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in keras.tree.flatten(y)]


def _same(a: Any, b: Any) -> None:
    feed = _feed(a)
    for x, y in zip(_run(a, feed), _run(b, feed), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_comes_back_by_its_name(tmp_path: Path, name: str) -> None:
    path, model = _saved(tmp_path, name)
    out = tmp_path / "out.keras"
    done = convcore.convert(str(path), "keras", str(out), custom=SOURCE, keep_custom=True)
    assert done.report.ok and any("custom_objects={" in n for n in done.report.notes)
    back = keras.models.load_model(out, compile=False)
    own, new = ([x for x in m.layers if x.__module__.startswith("keras3.")] for m in (model, back))
    assert [type(x) for x in own] == [type(x) for x in new] and own
    assert [x.get_config() for x in own] == [x.get_config() for x in new]
    _same(model, back)


@pytest.mark.parametrize(("form", "to"), [(".h5", ".keras"), (".keras", ".h5"), (".h5", ".h5"), (".keras", ".json")])
@pytest.mark.parametrize("name", ["TinyDecoder", "CBAM"])
def test_weights_find_their_places_in_every_form(tmp_path: Path, name: str, form: str, to: str) -> None:
    path, model = _saved(tmp_path, name, form)
    out = tmp_path / f"out{to}"
    assert convcore.convert(str(path), "keras", str(out), custom=SOURCE, keep_custom=True).report.ok
    if to == ".json":
        back = keras.models.model_from_json(out.read_text())
        back.load_weights(tmp_path / "out.weights.h5")
    else:
        back = keras.models.load_model(out, compile=False)
    _same(model, back)


def test_one_layer_called_twice_in_a_nested_model(tmp_path: Path) -> None:
    def wrap(model: Any) -> Any:
        x = keras.Input(model.input_shape[1:], name="outer")
        inner = keras.Model(model.input, model.output, name="inner")
        return keras.Model(x, keras.layers.Add(name="sum")([inner(x), inner(keras.layers.Activation("tanh")(x))]))

    path, model = _saved(tmp_path, "DynamicTanh", wrap=wrap)
    out = tmp_path / "out.keras"
    assert convcore.convert(str(path), "keras", str(out), custom=SOURCE, keep_custom=True).report.ok
    back = keras.models.load_model(out, compile=False)
    _same(model, back)
    assert sum(np.prod(w.shape) for w in model.weights) == sum(np.prod(w.shape) for w in back.weights)


def test_what_is_not_asked_for_is_written_as_layers(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path, "CBAM")
    out = tmp_path / "out.keras"
    assert main(["convert", str(path), "-o", str(out), "--custom", SOURCE]) == 0
    assert "CBAM" not in {x["class_name"] for x in _layers(out)}
    assert main(["convert", str(path), "-o", str(tmp_path / "kept.keras"), "--custom", SOURCE, "--keep-custom"]) == 0
    assert "CBAM" in {x["class_name"] for x in _layers(tmp_path / "kept.keras")}


def _layers(path: Path) -> list[dict[str, Any]]:
    return json.loads(zipfile.ZipFile(path).read("config.json"))["config"]["layers"]


def test_a_configuration_without_a_name_stays_without(tmp_path: Path) -> None:
    """A class whose ``__init__`` takes none of Layer's arguments."""
    text = BARE
    (tmp_path / "bare.py").write_text(text)
    names: dict[str, Any] = {"__name__": "bare"}
    exec(text, names)
    try:
        x = keras.Input((3,), name="x")
        model = keras.Model(x, names["Scale"]()(x))
        model.save(tmp_path / "m.keras")
        out = tmp_path / "out.keras"
        done = convcore.convert(str(tmp_path / "m.keras"), "keras", str(out), custom=str(tmp_path / "bare.py"), keep_custom=True)
        assert done.report.ok
        assert [x["config"] for x in _layers(out) if x["class_name"] == "Scale"] == [
            x["config"] for x in _layers(tmp_path / "m.keras") if x["class_name"] == "Scale"
        ]
        _same(model, keras.models.load_model(out))
    finally:
        keras.saving.get_custom_objects().pop("bare>Scale", None)


BARE = """
import keras

@keras.saving.register_keras_serializable(package="bare")
class Scale(keras.layers.Layer):
    def __init__(self, sizes=(2, 3)):
        super().__init__()
        self.sizes = sizes

    def call(self, x):
        return x * self.sizes[0]

    def get_config(self):
        return {"sizes": self.sizes}
"""
IDLE = """
import keras

@keras.saving.register_keras_serializable(package="idle")
class Pair(keras.layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw)
        self.a, self.b = (keras.layers.Dense(3) for _ in "ab")

    def build(self, shape):
        self.a.build(shape)
        self.b.build(shape)

    def call(self, x):
        return self.a(x)
"""


# ---- refused, or said
def _refused(path: Path, out: Path, **options: Any) -> str:
    with pytest.raises(convcore.UsageError) as e:
        convcore.convert(str(path), "keras", str(out), keep_custom=True, **options)
    assert not out.exists()
    return str(e.value)


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "plain.keras")
    assert "has no custom layer" in _refused(tmp_path / "plain.keras", tmp_path / "o.keras")
    old = recorded.DATA / "EncoderLayer.keras"
    assert "Keras before 3" in _refused(old, tmp_path / "o.keras", custom=str(recorded.SOURCE))
    path, _ = _saved(tmp_path, "CBAM")
    assert ".keras, .h5 or .json" in _refused(path, tmp_path / "o.py", custom=SOURCE)
    with pytest.raises(convcore.UsageError, match="live model"):
        convcore.convert(str(path), "keras", custom=SOURCE, keep_custom=True)
    by_hand = {keras.models.load_model(path).layers[-1].name: lambda g, node: g.b.identity(node.input(0))}
    assert "source is not given" in _refused(path, tmp_path / "o.keras", overrides=by_hand)
    both = _refused(path, tmp_path / "o.keras", custom=SOURCE, overrides=by_hand)
    assert "no custom layer can be kept" in both


def test_masks(tmp_path: Path) -> None:
    """One that a layer is given is an argument of its call in Keras 3; one that it gives on is written as operations."""
    path, model = _saved(tmp_path, "MaskedMeanAttention")
    out = tmp_path / "out.keras"
    assert convcore.convert(str(path), "keras", str(out), custom=SOURCE, keep_custom=True).report.ok
    ids = np.array([[1, 2, 0, 0, 3, 4, 0]])
    np.testing.assert_array_equal(_run(model, [ids])[0], _run(keras.models.load_model(out), [ids])[0])
    text = MASKING
    (tmp_path / "masking.py").write_text(text)
    names: dict[str, Any] = {"__name__": "masking"}
    exec(text, names)
    try:
        x = keras.Input((4,), name="x")
        y = names["Gives"](name="gives")(keras.layers.Embedding(5, 3, mask_zero=True)(x))
        keras.Model(x, keras.layers.GlobalAveragePooling1D()(y)).save(path)
        assert "gives a mask on" in _refused(path, tmp_path / "o.keras", custom=str(tmp_path / "masking.py"))
    finally:
        keras.saving.get_custom_objects().pop("masking>Gives", None)


MASKING = """
import keras

@keras.saving.register_keras_serializable(package="masking")
class Gives(keras.layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw)
        self.supports_masking = True

    def call(self, x):
        return x * 2
"""


def test_half_precision_is_written_as_layers(tmp_path: Path) -> None:
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        path, _ = _saved(tmp_path, "DynamicTanh")
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert "another element type" in _refused(path, tmp_path / "o.keras", custom=SOURCE)


def test_a_changed_layer_is_spelled_out_and_the_others_kept(tmp_path: Path) -> None:
    from keras3 import sequence

    x = keras.Input((7, 4), name="x")
    y = sequence.DynamicTanh(name="first")(x)
    model = keras.Model(x, sequence.RMSNorm(name="second")(y))
    randomise(model, 2)
    model.save(tmp_path / "m.keras")
    loaded = convcore.load(str(tmp_path / "m.keras"), custom=SOURCE, fuse=False)
    node = next(n for n in loaded.graph if n.scope.name == "first" and n.op == "tanh")
    node.op = "sigmoid"
    out = tmp_path / "o.keras"
    done = convcore.convert(loaded, "keras", str(out), keep_custom=True)
    assert done.report.ok
    assert any("first is written as layers and operations: it was changed" in n for n in done.report.notes)
    kept = {x["class_name"] for x in _layers(out)}
    assert "RMSNorm" in kept and "DynamicTanh" not in kept


def test_weights_of_a_layer_that_is_never_called_are_kept_but_not_in_hdf5(tmp_path: Path) -> None:
    text = IDLE
    source = tmp_path / "idle.py"
    source.write_text(text)
    names: dict[str, Any] = {"__name__": "idle"}
    exec(text, names)
    try:
        x = keras.Input((3,), name="x")
        model = keras.Model(x, names["Pair"]()(x))
        randomise(model)
        model.save(tmp_path / "m.keras")
        out = tmp_path / "o.keras"
        assert convcore.convert(str(tmp_path / "m.keras"), "keras", str(out), custom=str(source), keep_custom=True).report.ok
        back = keras.models.load_model(out, compile=False)
        assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(model.weights, back.weights, strict=True))
        assert "order of the weights" in _refused(tmp_path / "m.keras", tmp_path / "o.h5", custom=str(source))
    finally:
        keras.saving.get_custom_objects().pop("idle>Pair", None)
