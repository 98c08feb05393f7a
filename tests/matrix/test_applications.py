"""The architectures of keras.applications, built by Keras with random weights, as ONNX against Keras.

Batch normalisation has the statistics of a batch, and every bias a value: what is zero at initialisation would hide mistakes.
NASNet cannot be built by Keras on torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore

keras = pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")

from matrix_kit import LIMIT, convert, error_of_range, orders, ort_session, permuted, run_ort, transposes

A, L = keras.applications, keras.layers
MODELS: dict[str, tuple[Callable[..., Any], int, dict[str, Any]]] = {
    "MobileNet": (A.MobileNet, 96, {"alpha": 0.25}),
    "MobileNetV2": (A.MobileNetV2, 96, {"alpha": 0.35}),
    "MobileNetV3Small": (A.MobileNetV3Small, 96, {}),
    "EfficientNetB0": (A.EfficientNetB0, 64, {}),
    "EfficientNetV2B0": (A.EfficientNetV2B0, 64, {}),
    "ResNet50": (A.ResNet50, 64, {}),
    "ResNet50V2": (A.ResNet50V2, 64, {}),
    "DenseNet121": (A.DenseNet121, 64, {}),
    "Xception": (A.Xception, 96, {}),
    "InceptionV3": (A.InceptionV3, 96, {}),
    "InceptionResNetV2": (A.InceptionResNetV2, 96, {}),
    "VGG16": (A.VGG16, 32, {}),
    "ConvNeXtTiny": (A.ConvNeXtTiny, 64, {}),
}
BETWEEN = {"ConvNeXtTiny": 36}
"""Transposes in the middle: each of its 18 blocks normalises and multiplies along the channels, which ONNX has last for that."""
QUICK = ("MobileNetV2", "EfficientNetB0", "DenseNet121")


def build(name: str) -> Any:
    make, size, options = MODELS[name]
    keras.utils.set_random_seed(5)
    model = make(weights=None, input_shape=(size, size, 3), classes=17, classifier_activation=None, **options)
    rng = np.random.default_rng(7)
    momenta = {}
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            momenta[layer], layer.momentum = layer.momentum, 0.0
        for v in layer.weights:
            kind = v.path.rpartition("/")[2]
            if kind == "gamma":
                v.assign(rng.uniform(0.5, 1.5, v.shape).astype("float32"))
            elif kind in ("beta", "bias"):
                v.assign(rng.normal(0, 0.1, v.shape).astype("float32"))
            elif kind == "mean":
                v.assign(np.array([0.4, 0.5, 0.6], "float32").reshape(v.shape))
            elif kind == "variance":
                v.assign(np.array([0.05, 0.07, 0.11], "float32").reshape(v.shape))
    model(images(model, 11), training=True)  # the moving statistics become those of these images
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    return model


def images(model: Any, n: int) -> np.ndarray:
    """Coarse patterns: independent pixels would look alike to a network that averages."""
    _, h, w, c = model.input_shape
    rng = np.random.default_rng(n)
    coarse = rng.uniform(0, 255, (n, 4, 4, c))
    return coarse.repeat(-(-h // 4), 1).repeat(-(-w // 4), 2)[:, :h, :w].astype("float32")


def names() -> list[Any]:
    return [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in MODELS]


@pytest.mark.filterwarnings("ignore:The structure of:UserWarning")
@pytest.mark.parametrize("name", names())
def test_application(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.save(tmp_path / "m.keras")
    x = images(model, 2)
    want = [model(x, training=False).detach().numpy()]
    assert np.abs(want[0][0] - want[0][1]).max() > 0.01 * np.ptp(want[0]), "the output must depend on the input"
    for layout in ("source", "target"):
        proto, report = convert(tmp_path / "m.keras", tmp_path / "m.onnx", io_layout=layout)
        ins, outs = orders(report)
        given, expected = permuted([x], ins), permuted(want, outs)
        assert transposes(proto) == (layout == "source") + BETWEEN.get(name, 0)
        session, plain = ort_session(tmp_path / "m.onnx"), ort_session(tmp_path / "m.onnx", optimise=False)
        errors = [error_of_range(run_ort(s, given), expected) for s in (session, plain)]
        errors.append(error_of_range(run_ort(plain, [given[0][:1]]), [expected[0][:1]]))
        assert min(errors[:2]) < LIMIT and errors[1] < LIMIT and errors[2] < 10 * LIMIT, errors
        if layout == "source":
            loaded = convcore.load(tmp_path / "m.keras")
            assert error_of_range([np.asarray(loaded(x))], want) < LIMIT
