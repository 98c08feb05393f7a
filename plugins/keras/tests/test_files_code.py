"""Models that Keras saved, converted to code: what the code builds is the same model to Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import randomise

import convcore

L, O = keras.layers, keras.ops


def frozen() -> Any:
    x = keras.Input((6, 3), name="x")
    inner = keras.Model(x, L.Dense(4, name="in_dense")(L.Conv1D(3, 2, name="conv")(x)), name="inner")
    inner.trainable = False
    y = keras.Input((6, 3), name="y")
    z = L.Dense(2, trainable=False, use_bias=False, name="still")(inner(y))
    return keras.Model(y, L.Dense(3, activation="relu", name="moves")(z), name="outer")


def shared() -> Any:
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    dense = L.Dense(4, name="dense")
    x, y = dense(a), dense(b)
    both = L.Concatenate(axis=-1, name="both")([x, y])
    return keras.Model([a, b], [both, L.Dot(axes=1, name="dot")([x, y])], name="shared")


def structured() -> Any:
    a = keras.Input((5, 4), name="a", dtype="float32")
    b = keras.Input((5, 4), batch_size=2, name="b")
    y, h, c = L.LSTM(3, return_state=True, return_sequences=True, name="lstm")(a)
    z = L.GRU(3, reset_after=False, go_backwards=True, name="gru")(b)
    return keras.Model({"a": a, "b": b}, {"y": y, "h": h, "z": z, "c": c}, name="structured")


def operations() -> Any:
    x = keras.Input((4, 6), name="x")
    y = O.transpose(x, (0, 2, 1))[:, 1:-1, None]
    y = O.add(O.multiply(y, 2.5), np.arange(4, dtype=np.float32))
    y = O.where(O.greater(y, 0.5), y, O.negative(y))
    y = L.Dropout(0.25, name="divide")(y)
    parts = O.split(y, 2, axis=-1)
    return keras.Model(x, [O.sum(parts[0], axis=(1, 2), keepdims=True), O.concatenate(parts[::-1], axis=1)], name="operations")


def pools() -> Any:
    x = keras.Input((12, 12, 3), name="x")
    y = L.Conv2D(4, (3, 2), strides=2, padding="same", dilation_rate=1, name="conv")(x)
    y = L.MaxPooling2D(2, name="plain")(y)
    y = L.AveragePooling2D(3, strides=(1, 1), padding="same", name="mean")(y)
    y = L.ZeroPadding2D(((0, 1), (2, 0)), name="pad")(y)
    y = L.Cropping2D(((1, 0), (0, 1)), name="crop")(y)
    y = L.BatchNormalization(epsilon=0.01, scale=False, name="norm")(y)
    y = L.UpSampling2D((2, 3), interpolation="bilinear", name="up")(y)
    y = L.Conv2D(8, 2, activation="tanh", name="wide")(y)
    return keras.Model(x, L.GlobalAveragePooling2D(keepdims=True, name="last")(y), name="pools")


def precision() -> Any:
    x = keras.Input((5,), name="x", dtype="int32")
    y = L.Embedding(7, 3, mask_zero=True, name="words")(x)
    y = L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="sum", name="both")(y)
    y = L.TimeDistributed(L.Dense(3, activation="elu"), name="each")(y)
    y = L.Dense(4, dtype="mixed_float16", name="half")(y)
    return keras.Model(x, L.LeakyReLU(negative_slope=0.125, name="leaky")(y), name="precision")


def in_a_row() -> Any:
    layers = [keras.Input((4,)), L.Dense(3, name="dense"), L.ReLU(max_value=2.0, name="relu"), L.Reshape((3, 1), name="shape")]
    return keras.Sequential(layers, name="row")


MODELS: list[Callable[[], Any]] = [frozen, shared, structured, operations, pools, precision, in_a_row]


@pytest.mark.parametrize("make", MODELS, ids=lambda m: m.__name__)
def test_the_code_builds_the_same_model(make: Callable[[], Any], tmp_path: Path) -> None:
    keras.backend.clear_session()
    model = make()
    randomise(model)
    model.save(tmp_path / "m.keras")
    convcore.convert(str(tmp_path / "m.keras"), "keras", str(tmp_path / "net.py"), check=False, io_layout="source")
    names: dict[str, Any] = {"__name__": "net", "__file__": str(tmp_path / "net.py")}
    keras.backend.clear_session()
    exec(compile((tmp_path / "net.py").read_text(), "net.py", "exec"), names)
    again = names["load_model"]()
    shapes = [(w.shape, w.dtype, w.trainable) for w in model.weights]
    assert [(w.shape, w.dtype, w.trainable) for w in again.weights] == shapes
    rng = np.random.default_rng(4)
    feeds = [
        rng.integers(0, 7, (2, *t.shape[1:])).astype(t.dtype)
        if "int" in t.dtype
        else rng.normal(size=(2, *t.shape[1:])).astype("f4")
        for t in model.inputs
    ]
    got, want = (
        keras.tree.flatten(m(keras.tree.pack_sequence_as(m.input, feeds) if len(feeds) > 1 else feeds[0])) for m in (again, model)
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-4)
