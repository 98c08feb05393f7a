"""Files written from a KerasModel are read by Keras itself and compute what the model they were read from computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.plugin import UsageError
from convcore_keras.files.reader import read
from convcore_keras.files.write import write_h5, write_json, write_keras, write_weights

keras = pytest.importorskip("keras")
L, O = keras.layers, keras.ops


def randomise(model: Any, seed: int = 7) -> Any:
    rng = np.random.default_rng(seed)
    for v in model.variables:
        if "seed" in v.path:
            continue
        x = rng.normal(0, 0.3, v.shape)
        v.assign(np.abs(x) + 0.5 if "variance" in v.path else x)
    return model


def split_and_merge() -> Any:
    x = keras.Input((11, 7, 6), name="img")
    y = L.Conv2D(10, (3, 5), padding="same", activation="relu", name="conv_a")(x)
    y = L.BatchNormalization(name="bn", momentum=0.8)(y)
    a, b = O.split(y, 2, axis=-1)
    z = L.Concatenate(name="Ü cat:1")([b, a])
    z = O.add(z, y)
    z = L.DepthwiseConv2D(3, name="dw", use_bias=False)(z)
    z = L.SeparableConv2D(4, 3, name="sep")(z)
    w = y[:, 0, 1:5, None]
    return keras.Model(x, [L.GlobalAveragePooling2D(name="gap")(z), w], name="split_and_merge")


def nested_twice() -> Any:
    i = keras.Input((5,), name="inner_in")
    inner = keras.Model(i, L.Dense(5, activation="tanh", name="inner_dense")(i), name="inner")
    seq = keras.Sequential([keras.Input((5,)), L.Dense(3, name="d"), L.PReLU(name="p")], name="seq")
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    shared = L.Dense(5, name="shared")
    a, b = inner(shared(x)), inner(shared(y))
    return keras.Model([x, y], [inner(O.add(a, b)), seq(a)], name="nested_twice")


def recurrent() -> Any:
    x = keras.Input((None, 7), name="x")
    y = L.Bidirectional(L.GRU(5, return_sequences=True), name="bi")(x)
    y = L.LSTM(3, return_sequences=True, name="lstm")(y)
    y = L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True, name="stack")(y)
    y = L.TimeDistributed(L.Dense(5, name="inside"), name="td")(y)
    y = L.MultiHeadAttention(2, 3, name="mha")(y, y)
    return keras.Model(x, L.SimpleRNN(4, name="last")(y), name="recurrent")


def sequential() -> Any:
    layers = [keras.Input((13,)), L.Dense(7, name="a"), L.Dropout(0.25, name="drop"), L.LayerNormalization(name="ln")]
    model = keras.Sequential([*layers, L.Dense(3, activation="softmax", name="z")], name="sequential")
    model.get_layer("a").trainable = False
    return model


def structures() -> Any:
    x = {"b": keras.Input((3,), name="b"), "a": keras.Input((3,), name="a")}
    y = L.Dense(5, name="dense")(O.where(x["a"] > 0.25, x["b"], -x["a"]))
    return keras.Model(x, {"two": y, "one": O.multiply(y, np.asarray([1.0, 2.0, -0.5, 3.0, 0.125], "float32"))}, name="dicts")


def precision() -> Any:
    x = keras.Input((9,), name="x")
    y = L.Dense(5, dtype="mixed_float16", name="half")(x)
    y = L.Dense(4, dtype="float64", name="double")(y)
    return keras.Model(x, L.Dense(2, dtype="bfloat16", name="brain")(y), name="precision")


MODELS: list[Callable[[], Any]] = [split_and_merge, nested_twice, recurrent, sequential, structures, precision]


@pytest.fixture(scope="module", params=MODELS, ids=lambda f: f.__name__)
def saved(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    model = randomise(request.param())
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    model.save(path)
    return model, path


def inputs(model: Any) -> Any:
    rng = np.random.default_rng(3)

    def one(t: Any) -> np.ndarray:
        return rng.normal(size=[4 if d is None else d for d in (2, *t.shape[1:])]).astype("float32")

    return keras.tree.map_structure(one, getattr(model, "_inputs_struct", model.inputs))


def same(path: Path, other: Any) -> None:
    """``other`` is what Keras makes of its own file, to the last bit."""
    model = keras.models.load_model(path, compile=False)
    x = inputs(model)
    want, got = keras.tree.flatten(model(x)), keras.tree.flatten(other(x))
    assert len(want) == len(got)
    for a, b in zip(want, got):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert {x.name: x.trainable for x in other.layers} == {x.name: x.trainable for x in model.layers}
    assert [w.path for w in other.trainable_weights] == [w.path for w in model.trainable_weights]
    assert [w.path for w in other.non_trainable_weights] == [w.path for w in model.non_trainable_weights]


def test_keras_archive(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, path = saved
    write_keras(read(path), tmp_path / "w.keras")
    same(path, keras.models.load_model(tmp_path / "w.keras"))


def test_json_and_weights(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, path = saved
    held = read(path)
    write_json(held, tmp_path / "w.json")
    write_weights(held, tmp_path / "w.weights.h5")
    back = keras.models.model_from_json((tmp_path / "w.json").read_text())
    back.load_weights(tmp_path / "w.weights.h5")
    same(path, back)


def test_h5(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, path = saved
    write_h5(read(path), tmp_path / "w.h5")
    same(path, keras.models.load_model(tmp_path / "w.h5", compile=False))


@pytest.mark.parametrize("write, name", [(write_keras, "w.keras"), (write_h5, "w.h5")])
def test_reads_back_as_it_was(saved: tuple[Any, Path], tmp_path: Path, write: Any, name: str) -> None:
    first = read(saved[1])
    write(first, tmp_path / name)
    again = read(tmp_path / name)
    for (a, x), (b, y) in zip(first.walk(), again.walk(), strict=True):
        assert (a, x.class_name, x.trainable, x.dtype, x.is_op) == (b, y.class_name, y.trainable, y.dtype, y.is_op)
        assert repr(x.calls) == repr(y.calls)
        assert x.weights.keys() == y.weights.keys()
        for k, t in x.weights.items():
            np.testing.assert_array_equal(t.numpy(), y.weights[k].numpy())


def test_layer_order_is_that_of_keras(tmp_path: Path) -> None:
    """Folders are numbered in ``model.layers`` order, which is not the order in the file."""
    x = keras.Input((5,), name="x")
    a, b = L.Dense(5, name="a"), L.Dense(5, name="b")
    model = randomise(keras.Model(x, [a(b(x)), L.Dense(5, name="c")(x)], name="m"))
    model.save(tmp_path / "m.keras")
    held = read(tmp_path / "m.keras")
    held.root.layers.reverse()
    write_keras(held, tmp_path / "w.keras")
    same_values = keras.models.load_model(tmp_path / "w.keras")
    for layer in model.layers:
        for v, w in zip(layer.weights, same_values.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(np.asarray(v.value.detach()), np.asarray(w.value.detach()))


def test_many_names_are_split_into_chunks(tmp_path: Path) -> None:
    names = ["layer_" + "x" * 1500 + str(i) for i in range(47)]
    model = keras.Sequential([keras.Input((2,)), *[L.ReLU(name=n) for n in names], L.Dense(3, name="end")], name="long")
    model.save(tmp_path / "m.keras")
    write_h5(read(tmp_path / "m.keras"), tmp_path / "w.h5")
    same(tmp_path / "m.keras", keras.models.load_model(tmp_path / "w.h5", compile=False))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = randomise(sequential())
    model.save(tmp_path / "m.keras")
    held = read(tmp_path / "m.keras")
    del held.root.layer("a").weights["bias"]
    with pytest.raises(UsageError, match=r"'a'.*bias"):
        write_keras(held, tmp_path / "w.keras")
    held = read(tmp_path / "m.keras")
    held.root.layer("a").config["units"] = object()
    with pytest.raises(UsageError, match="cannot hold object"):
        write_json(held, tmp_path / "w.json")


def test_ellipsis(tmp_path: Path) -> None:
    x = keras.Input((5, 3), name="x")
    keras.Model(x, x[..., 1], name="m").save(tmp_path / "m.keras")
    held = read(tmp_path / "m.keras")
    write_keras(held, tmp_path / "w.keras")
    same(tmp_path / "m.keras", keras.models.load_model(tmp_path / "w.keras"))
    with pytest.raises(UsageError, match=r"write a \.keras file"):
        write_h5(held, tmp_path / "w.h5")
    assert not (tmp_path / "w.h5").exists()


def test_bytes_are_the_same_every_time(saved: tuple[Any, Path], tmp_path: Path) -> None:
    held = read(saved[1])
    for name in ("a.keras", "b.keras"):
        write_keras(held, tmp_path / name)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras", "b.keras"]


def test_no_framework_is_imported(saved: tuple[Any, Path], tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from convcore_keras.files.reader import read; from convcore_keras.files.write import write_keras\n"
        "from pathlib import Path\n"
        f"write_keras(read(Path({str(saved[1])!r})), Path({str(tmp_path / 'w.keras')!r}))\n"
        "bad = {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads(__import__("zipfile").ZipFile(tmp_path / "w.keras").read("config.json"))["class_name"]
