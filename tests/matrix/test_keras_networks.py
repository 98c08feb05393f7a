"""Small networks in which orders of axes, sharing, several inputs and outputs, and unknown sizes meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError

keras = pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")

from keras_helpers import randomise
from matrix_kit import transposes
from test_keras_to_onnx import check

L = keras.layers
FIRST = "channels_first"
pytestmark = pytest.mark.filterwarnings("ignore:The structure of:UserWarning")

Made = tuple[Any, list[Any]]
NETWORKS: dict[str, tuple[Callable[[], Made], int]] = {}
"""name -> (function, transposes left when inputs and outputs may have the target's order)."""


def network(left: int) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def add(fn: Callable[[], Made]) -> Callable[[], Made]:
        NETWORKS[fn.__name__] = fn, left
        return fn

    return add


def inputs(*shapes: tuple[int | None, ...]) -> list[Any]:
    return [keras.Input(s, name=f"in{i}") for i, s in enumerate(shapes)]


@network(0)
def flatten_after_convolution() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Conv2D(5, 3, padding="same", strides=2)(x)
    y = L.LeakyReLU()(L.BatchNormalization()(y))
    y = L.Dropout(0.5)(L.Flatten()(y))
    return x, [L.Dense(13, activation="softmax")(L.BatchNormalization()(y))]


@network(0)
def flatten_used_twice() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Flatten()(L.MaxPooling2D(2)(x))
    return x, [L.Dense(13)(y), L.Dense(2)(y)]


@network(1)
def flatten_channels_first() -> Made:
    (x,) = inputs((3, 11, 7))
    y = L.Conv2D(5, 3, data_format=FIRST)(x)
    return x, [L.Dense(2)(L.Flatten(data_format=FIRST)(y)), L.Dense(13)(L.Flatten()(y))]


@network(0)
def squeeze_and_excite() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Conv2D(5, 3, padding="same")(x)
    s = L.GlobalAveragePooling2D()(y)
    s = L.Conv2D(2, 1, activation="relu")(L.Reshape((1, 1, 5))(s))
    s = L.Conv2D(5, 1, activation="hard_sigmoid")(s)
    return x, [L.Add()([L.Multiply()([y, s]), y])]


@network(2)
def squeeze_and_excite_dense() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Conv2D(5, 3, padding="same")(x)
    s = L.GlobalMaxPooling2D(keepdims=True)(y)
    s = L.Dense(5, activation="sigmoid")(L.Dense(2, activation="relu")(s))
    return x, [L.Multiply()([y, s])]


@network(0)
def dense_block() -> Made:
    (x,) = inputs((11, 7, 3))
    y = x
    for n in (2, 5, 7):
        z = L.Conv2D(n, 3, padding="same")(L.Activation("relu")(L.BatchNormalization()(y)))
        y = L.Concatenate()([y, z])
    return x, [L.GlobalAveragePooling2D()(y)]


@network(0)
def concatenation_over_height() -> Made:
    a, b = inputs((11, 7, 3), (5, 7, 3))
    conv = L.Conv2D(3, 3, padding="same")
    return [a, b], [L.Conv2D(2, 2)(L.Concatenate(axis=1)([conv(a), conv(b)]))]


@network(0)
def u_net() -> Made:
    (x,) = inputs((None, None, 3))
    a = L.Conv2D(5, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(7, 3, padding="same")(L.MaxPooling2D(2)(a))
    c = L.Conv2DTranspose(5, 2, strides=2, padding="same")(b)
    d = L.UpSampling2D(2, interpolation="bilinear")(b)
    return x, [L.Conv2D(2, 1, activation="sigmoid")(L.Concatenate()([a, c, d]))]


@network(0)
def softmax_over_axes() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Conv2D(5, 3)(x)
    return x, [L.Softmax()(y), L.Softmax(axis=1)(y), L.Softmax(axis=[1, 2])(y)]


@network(0)
def parameters_over_axes() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.PReLU(shared_axes=[1, 2])(L.Conv2D(5, 3)(x))
    y = L.PReLU()(L.BatchNormalization(axis=1)(y))
    return x, [L.PReLU(shared_axes=[2])(L.LayerNormalization()(y))]


@network(2)
def reshape_and_permute() -> Made:
    (x,) = inputs((11, 7, 3))
    y = L.Reshape((77, 5))(L.Conv2D(5, 3, padding="same")(x))
    y = L.Permute((2, 1))(y)
    return x, [L.Dense(2)(y)]


@network(0)
def both_formats() -> Made:
    (x,) = inputs((3, 11, 7))
    y = L.Conv2D(5, 3, data_format=FIRST)(x)
    y = L.Conv2D(7, 3)(L.Permute((2, 3, 1))(y))
    return x, [L.MaxPooling2D(2, data_format=FIRST)(L.Permute((3, 1, 2))(y))]


@network(0)
def depthwise_tower() -> Made:
    (x,) = inputs((13, 11, 3))
    y = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
    y = L.DepthwiseConv2D(3, strides=2, use_bias=False)(y)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = L.SeparableConv2D(5, 3, padding="same", dilation_rate=2)(y)
    return x, [L.Conv2D(2, 3, padding="same", strides=2, groups=1)(L.Cropping2D(((1, 0), (0, 1)))(y))]


@network(0)
def one_dimension() -> Made:
    (x,) = inputs((None, 3))
    y = L.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="tanh")(x)
    y = L.Multiply()([y, L.Conv1D(5, 1, activation="sigmoid")(x)])
    return x, [L.GlobalMaxPooling1D()(L.AveragePooling1D(2, padding="same")(y))]


@network(0)
def three_dimensions() -> Made:
    (x,) = inputs((5, 7, 11, 3))
    y = L.Conv3D(2, 3, padding="same", strides=2)(x)
    return x, [L.Dense(5)(L.Flatten()(L.MaxPooling3D(2, padding="same")(L.BatchNormalization()(y))))]


@network(0)
def outputs_in_odd_order() -> Made:
    """An intermediate result, the same output twice, an input as output; the order is that of the list."""
    a, b = inputs((7,), (7,))
    y = L.Dense(7, name="first")(a)
    z = L.Add(name="second")([y, b])
    return [b, a], [z, y, z, L.Activation("linear", name="third")(a)]


@network(0)
def shared_model() -> Made:
    p, q = keras.Input((11, 7, 3), name="p"), keras.Input((11, 7, 3), name="q")
    i = keras.Input((11, 7, 3))
    inner = keras.Model(i, L.GlobalAveragePooling2D()(L.Conv2D(5, 3)(i)), name="tower")
    d = L.Subtract()([inner(p), inner(q)])
    return [p, q], [L.Dense(1, activation="sigmoid")(L.Multiply()([d, d]))]


@network(0)
def images_and_numbers() -> Made:
    x, n = inputs((11, 7, 3), (5,))
    y = L.Flatten()(L.Conv2D(2, 3)(x))
    return [x, n], [L.Dense(3)(L.Concatenate()([y, n, L.Dense(2)(n)]))]


@network(0)
def broadcasting() -> Made:
    x, v, w = inputs((11, 7, 3), (3,), (7, 1))
    y = L.Conv2D(3, 1)(x)
    v4, w4 = L.Reshape((1, 1, 3))(v), L.Reshape((1, 7, 1))(w)
    return [x, v, w], [L.Maximum()([L.Multiply()([y, v4]), w4]), L.Average()([y, v4, w4])]


@network(0)
def numbers_to_image() -> Made:
    (z,) = inputs((5,))
    y = L.Reshape((3, 2, 7))(L.Dense(42)(z))
    y = L.Conv2DTranspose(5, 4, strides=2, padding="same", activation="relu")(y)
    return z, [L.Conv2DTranspose(3, 3, strides=(3, 1), padding="valid", activation="tanh")(y)]


def arrays(model: Any, n: int, free: int) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    return [rng.normal(size=(n, *(free if d is None else d for d in v.shape[1:]))).astype(np.float32) for v in model.inputs]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", ["keras", "h5"])
def test_network(name: str, form: str, tmp_path: Path) -> None:
    make, left = NETWORKS[name]
    ins, outs = make()
    model = keras.Model(ins, outs if len(outs) > 1 else outs[0], name="m")
    randomise(model)
    made = check(model, [arrays(model, 2, 8), arrays(model, 13, 12)], tmp_path, form)
    assert transposes(made["target"]) <= left


@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (2, 3), (3, 2), (2, 2), (5, 3), ((1, 2), (2, 3)), (3, 5), ((1, 3), 2)])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "max", "average"])
def test_same_padding_of_unknown_sizes(kind: str, kernel: Any, stride: Any, tmp_path: Path) -> None:
    """ONNX's auto_pad crops where a stride exceeds the window: then padding is spelled out, or refused for want of sizes."""
    x = keras.Input((None, None, 3), name="x")
    options = {"strides": stride, "padding": "same"}
    y = {
        "conv": lambda: L.Conv2D(2, kernel, **options),
        "depthwise": lambda: L.DepthwiseConv2D(kernel, **options),
        "max": lambda: L.MaxPooling2D(kernel, **options),
        "average": lambda: L.AveragePooling2D(kernel, **options),
    }[kind]()(x)
    model = keras.Model(x, y)
    randomise(model)
    if (kernel, stride) in ((3, 5), ((1, 3), 2)):
        model.save(tmp_path / "m.keras")
        with pytest.raises(UnsupportedError, match="known sizes"):
            convcore.convert(tmp_path / "m.keras", "onnx", tmp_path / "m.onnx")
        convcore.convert(tmp_path / "m.keras", "onnx", tmp_path / "m.onnx", input_shapes={"x": ("batch", 12, 13, 3)})
        return
    # Keras on torch counts what it pads unevenly as elements of an average; sizes that pad evenly are the same everywhere
    sizes = (9, 15, 27) if kind == "average" else (8, 9, 10, 11, 12)
    if kind == "average" and kernel in (2, (1, 2), 5):
        sizes = (6, 12, 18) if kernel != 5 else (9, 15)
    check(model, [arrays(model, 2, n) for n in sizes], tmp_path)


def test_fixed_batch(tmp_path: Path) -> None:
    x = keras.Input(batch_shape=(5, 11, 7, 3))
    model = keras.Model(x, L.Dense(2)(L.Flatten()(L.Conv2D(3, 2)(x))))
    randomise(model)
    made = check(model, [arrays(model, 5, 0)], tmp_path)
    assert made["source"].graph.input[0].type.tensor_type.shape.dim[0].dim_value == 5


def test_sequential_with_names_like_ours(tmp_path: Path) -> None:
    """Layer names that look like the names convcore makes up for what it puts in."""
    model = keras.Sequential(
        [
            keras.Input((11, 7, 3), name="x"),
            L.Conv2D(5, 3, name="const"),
            L.ReLU(name="x_to_channels_first"),
            L.Conv2D(2, 3, name="batch"),
            L.Flatten(name="const_1"),
            L.Dense(3, name="shape"),
        ]
    )
    randomise(model)
    check(model, [arrays(model, 2, 0), arrays(model, 3, 0)], tmp_path)
