"""Models after ``model.quantize``, and layers that ``keras.applications`` defines, against Keras itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run

keras = pytest.importorskip("keras")
L = keras.layers


def quantised(mode: str, *layers: Any) -> Any:
    model = keras.Sequential(layers)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    model.quantize(mode)
    return model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_int8(suffix: str, tmp_path: Path) -> None:
    model = quantised("int8", keras.Input((13,)), L.Dense(7, activation="tanh"), L.Dense(5, use_bias=False), L.Dense(3))
    model.save(tmp_path / f"m.{suffix}")
    x = np.random.default_rng(1).normal(size=(3, 13)).astype(np.float32)
    assert error_of_range(run(load_graph(tmp_path / f"m.{suffix}"), [x]), [keras.ops.convert_to_numpy(model(x))]) < 1e-5


def test_int8_embedding_and_its_mask(tmp_path: Path) -> None:
    model = quantised("int8", keras.Input((5,), dtype="int32"), L.Embedding(11, 7, mask_zero=True), L.GlobalAveragePooling1D())
    model.save(tmp_path / "m.keras")
    x = np.array([[3, 0, 10, 0, 1], [2, 2, 0, 0, 0]], np.int32)
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [x]), [keras.ops.convert_to_numpy(model(x))]) < 1e-5


@pytest.mark.parametrize(
    ("mode", "layer"), [("int4", L.Dense(4)), ("int8", L.EinsumDense("ab,bc->ac", 4)), ("float8", L.Dense(4))]
)
def test_other_modes_and_layers_are_refused(mode: str, layer: Any, tmp_path: Path) -> None:
    quantised(mode, keras.Input((6,)), layer).save(tmp_path / "m.keras")
    (p,) = problems(load_graph(tmp_path / "m.keras"))
    assert p.code == "unsupported_quantization" and mode in p.why and "quantize" in p.hint


def test_layers_of_applications(tmp_path: Path) -> None:
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    x = keras.Input((5, 7), name="x")
    model = keras.Model(x, CustomScaleLayer(0.17)([x, LayerScale(0.3, 7)(x)]), name="m")
    model.set_weights([np.arange(7).astype(np.float32)])
    model.save(tmp_path / "m.keras")
    given = np.random.default_rng(1).normal(size=(3, 5, 7)).astype(np.float32)
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [given]), [keras.ops.convert_to_numpy(model(given))]) < 1e-6
