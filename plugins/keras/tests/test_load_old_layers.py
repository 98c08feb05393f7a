"""Layers and meanings that only old files have, on hand-made configurations.

Truth: PyTorch and the formulas of keras 1.2.2 and 2.3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, problems, run

from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.ir.graph import Graph
from convcore.ir.tensors import ArrayTensor
from convcore_keras.files.model import Call, KerasModel, LayerConfig, ModelConfig, TensorRef
from convcore_keras.load_graph import GraphLoader


def rand(*shape: int, seed: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def graph_of(
    cls: str, config: dict[str, Any], weights: dict[str, np.ndarray], *shapes: tuple[int | None, ...],
    era: str = "keras1", version: str = "1.2.2", kwargs: dict[str, Any] | None = None,
) -> Graph:  # fmt: skip
    """One layer of an old model, as the file layer hands it over."""
    inputs = [
        LayerConfig(f"in{i}", "InputLayer", "InputLayer", {"batch_shape": s, "dtype": "float32"}, calls=[Call()])
        for i, s in enumerate(shapes)
    ]
    refs = [TensorRef(x.name, 0, 0) for x in inputs]
    args: Any = refs[0] if len(refs) == 1 else refs
    tensors = {k: ArrayTensor(v) for k, v in weights.items()}
    layer = LayerConfig("layer", cls, cls, config, calls=[Call((args,), kwargs or {})], weights=tensors)
    model = ModelConfig("m", "functional", "Model", [*inputs, layer], refs, TensorRef("layer", 0, 0))
    return GraphLoader(
        KerasModel(model, version, era, None, "hdf5", None, ("m.h5",), True), LoadRequest(None, rules=host().rules("keras"))
    ).run()


def test_maxout() -> None:
    w, b, x = rand(3, 7, 5), rand(3, 5), rand(2, 7, seed=2)
    config = {"units": 5, "nb_feature": 3, "use_bias": True}
    want = (np.einsum("ni,fiu->nfu", x, w) + b).max(1)
    assert error_of_range(run(graph_of("MaxoutDense", config, {"kernel": w, "bias": b}, (None, 7)), [x]), [want]) < 1e-5


def test_highway() -> None:
    w, wc, b, bc, x = rand(7, 7), rand(7, 7, seed=3), rand(7), rand(7, seed=4), rand(2, 7, seed=2)
    gate = 1 / (1 + np.exp(-(x @ wc + bc)))
    want = gate * np.tanh(x @ w + b) + (1 - gate) * x
    weights = {"kernel": w, "carry_kernel": wc, "bias": b, "carry_bias": bc}
    config = {"activation": "tanh", "use_bias": True}
    assert error_of_range(run(graph_of("Highway", config, weights, (None, 7)), [x]), [want]) < 1e-5


def test_parametric_softplus_and_thresholded_relu() -> None:
    alpha, beta, x = rand(5, 7), rand(5, 7, seed=3), rand(2, 5, 7, seed=2)
    want = alpha * np.log1p(np.exp(beta * x))
    got = run(graph_of("ParametricSoftplus", {}, {"alpha": alpha, "beta": beta}, (None, 5, 7)), [x])
    assert error_of_range(got, [want]) < 1e-5
    got = run(graph_of("ThresholdedReLU", {"theta": 0.4}, {}, (None, 5, 7)), [x])
    assert error_of_range(got, [np.where(x > 0.4, x, 0)]) == 0


def test_cosine_merge() -> None:
    x, y = rand(2, 7), rand(2, 7, seed=3)
    want = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    got = run(graph_of("Merge", {"mode": "cos", "dot_axes": 1}, {}, (None, 7), (None, 7)), [x, y])
    assert error_of_range(got, [want.reshape(2, 1, 1)]) < 1e-5
    (problem,) = problems(graph_of("Merge", {"mode": {"code": "..."}}, {}, (None, 7), (None, 7)))
    assert "Python function" in problem.why


def transposed(x: np.ndarray, w: np.ndarray, stride: int, crop: tuple[int, int]) -> np.ndarray:
    """channels_last transposed convolution by torch: everything, then cropped."""
    torch = pytest.importorskip("torch")
    y = torch.nn.functional.conv_transpose2d(
        torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(w.transpose(3, 2, 0, 1)), stride=stride
    )
    y = np.pad(y.numpy().transpose(0, 2, 3, 1), ((0, 0), (0, 4), (0, 4), (0, 0)))
    h, v = x.shape[1], x.shape[2]
    return y[:, crop[0] : crop[0] + h * stride, crop[0] : crop[0] + v * stride]


@pytest.mark.parametrize(("stride", "front"), [(2, 0), (1, 1)])
def test_deconvolution_with_a_stated_output_shape(stride: int, front: int) -> None:
    """Keras 1 Deconvolution2D: the adjoint of a TensorFlow SAME convolution from the stated size."""
    x, w = rand(2, 5, 7, 3), rand(3, 3, 4, 3, seed=3)
    config = {
        "filters": 4, "kernel_size": (3, 3), "strides": (stride, stride), "padding": "same", "dilation_rate": (1, 1),
        "use_bias": False,
        "activation": "linear", "data_format": "channels_last", "output_padding": None,
        "legacy_output_shape": [None, 5 * stride, 7 * stride, 4],
    }  # fmt: skip
    got = run(graph_of("Conv2DTranspose", config, {"kernel": w}, (None, 5, 7, 3)), [x])
    assert error_of_range(got, [transposed(x, w, stride, (front, front))]) < 1e-5
    config["legacy_output_shape"] = [None, 3, 7 * stride, 4]
    assert problems(
        graph_of("Conv2DTranspose", {**config, "legacy_output_shape": [None, 99, 99, 4]}, {"kernel": w}, (None, 5, 7, 3))
    )


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 1)])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_theano_pooling(kind: str, size: int, stride: int) -> None:
    """``theano_backend.pool2d`` of keras 2.3.1: ``k - 2`` (odd) or ``k - 1`` in front, outputs ``ceil(n / stride)``."""
    x = rand(1, 11, 1)
    front = size - 2 if size > 2 and size % 2 else size - 1
    config = {
        "pool_size": (size,), "strides": (stride,), "padding": "same", "data_format": "channels_last",
        "same_pads_front": (front,),
    }  # fmt: skip
    got = run(graph_of(f"{kind}Pooling1D", config, {}, (None, 11, 1)), [x])
    want = []
    for i in range(-(-11 // stride)):
        window = [x[0, j, 0] for j in range(i * stride - front, i * stride - front + size) if 0 <= j < 11]
        want.append(max(window) if kind == "Max" else np.mean(window))
    assert error_of_range(got, [np.array(want, np.float32).reshape(1, -1, 1)]) < 1e-6


UP = {"size": (2, 3), "data_format": "channels_last", "interpolation": "bilinear"}


def test_bilinear_upsampling_by_version() -> None:
    """``resize_bilinear`` samples at i / scale; ``resize_images_v2`` at pixel centres."""
    x = rand(2, 5, 7, 3)

    def sampled(n: int, scale: int, centres: bool) -> np.ndarray:
        at = (np.arange(n * scale) + 0.5) / scale - 0.5 if centres else np.arange(n * scale) / scale
        at = np.clip(at, 0, n - 1)
        low = np.floor(at).astype(int)
        m = np.zeros((n * scale, n))
        m[np.arange(n * scale), low] += 1 - (at - low)
        m[np.arange(n * scale), np.minimum(low + 1, n - 1)] += at - low
        return m

    for era, version, centres in (
        ("keras2", "2.3.1", False), ("tf.keras", "2.1.6-tf", False), ("tf.keras", "2.3.0-tf", True), ("keras3", "3.0.0", True),
    ):  # fmt: skip
        want = np.einsum("ah,bw,nhwc->nabc", sampled(5, 2, centres), sampled(7, 3, centres), x).astype(np.float32)
        got = run(graph_of("UpSampling2D", UP, {}, (None, 5, 7, 3), era=era, version=version), [x])
        assert error_of_range(got, [want]) < 1e-5
    (problem,) = problems(graph_of("UpSampling2D", UP, {}, (None, 5, 7, 3), era="tf.keras", version="2.2.4-tf"))
    assert problem.code == "ambiguous_version" and "2.2.4-tf" in problem.why


def test_rms_scaling_of_early_keras_3() -> None:
    """``LayerNormalization(rms_scaling=True)`` of Keras 3.0: scaled by the variance about the mean, not centred."""
    x, gamma = rand(2, 5, 7), rand(7, seed=3)
    config = {"axis": -1, "epsilon": 0.01, "center": False, "scale": True, "rms_scaling": True}
    want = gamma * x / np.sqrt(x.var(-1, keepdims=True) + 0.01)
    got = run(graph_of("LayerNormalization", config, {"gamma": gamma}, (None, 5, 7), era="keras3", version="3.0.5"), [x])
    assert error_of_range(got, [want]) < 1e-5
    got = run(graph_of("LayerNormalization", {**config, "rms_scaling": False}, {"gamma": gamma}, (None, 5, 7), era="keras3"), [x])
    assert error_of_range(got, [gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.01)]) < 1e-5


def test_hard_sigmoid_of_two_eras() -> None:
    x = rand(2, 7) * 4
    for name, want in (("hard_sigmoid", np.clip(x / 6 + 0.5, 0, 1)), ("hard_sigmoid_keras2", np.clip(0.2 * x + 0.5, 0, 1))):
        got = run(graph_of("Activation", {"activation": name}, {}, (None, 7)), [x])
        assert error_of_range(got, [want.astype(np.float32)]) < 1e-6


def test_dot_of_many_axes_before_keras_2_3_is_refused() -> None:
    shapes = ((None, 3, 5, 7), (None, 7, 2))
    assert problems(graph_of("Dot", {"axes": [3, 1]}, {}, *shapes, era="keras2", version="2.2.4"))
    assert not problems(graph_of("Dot", {"axes": [3, 1]}, {}, *shapes, era="keras2", version="2.3.1"))


@pytest.mark.parametrize("kwargs", [{"foo": 3}, {"training": True}])
def test_unknown_call_arguments_are_refused(kwargs: dict[str, Any]) -> None:
    assert problems(graph_of("Dropout", {"rate": 0.5}, {}, (None, 7), kwargs=kwargs))
    assert not problems(graph_of("Dropout", {"rate": 0.5}, {}, (None, 7), kwargs={"training": False}))
    assert not problems(
        graph_of("ReLU", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}, {}, (None, 7), kwargs={"training": True})
    )
