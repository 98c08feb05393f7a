"""Lambda layers and TensorFlow's operation layers in models: what they compute, against Keras and NumPy; what they refuse."""

from __future__ import annotations

import base64
import inspect
import json
import marshal
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run
from tests.support.keras_files import input_layer, layer, tensor, write

import convcore
from convcore.rules.foreign import MISSING
from convcore_keras.code.names import MODULES, canonical_path, lookup, signatures
from convcore_keras.code.tensors import MEANINGS
from convcore_keras.ops.spec import OPERATIONS

keras = pytest.importorskip("keras")
ops = keras.ops

SHAPE = (5, 7, 3)


def stored(text: str, **extra: Any) -> dict[str, Any]:
    """A Lambda's function as Keras 3 stores it."""
    module = compile(text if text.startswith("def") else f"f = {text}", "f.py", "exec")
    (code,) = [c for c in module.co_consts if isinstance(c, types.CodeType)]
    config = {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None, **extra}
    return {"class_name": "__lambda__", "config": config}


def lambda_file(path: Path, text: str, of: str = "float32", **config: Any) -> Path:
    layers = [
        input_layer("x", [None, *SHAPE], of),
        layer("Lambda", "l", {"function": stored(text), "arguments": {}, **config}, [tensor("x", [None, *SHAPE], of)]),
    ]
    return write(path / "m.keras", layers, ["l"], {})


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def one_hot(i: np.ndarray, n: int) -> np.ndarray:
    return np.eye(n, dtype="float32")[i.astype(int)]


CASES: dict[str, Callable[[np.ndarray], Any]] = {
    "lambda x: x / 127.5 - 1": lambda x: x / 127.5 - 1,
    "lambda x: 1 - x ** 2": lambda x: 1 - x**2,
    "lambda x: x // 2 + x % 3": lambda x: x // 2 + np.mod(x, 3),
    "lambda x: -x[..., ::-1]": lambda x: -x[..., ::-1],
    "lambda x: x[:, 1:-1, None, 0]": lambda x: x[:, 1:-1, None, 0],
    "lambda x: K.l2_normalize(x, axis=-1)": lambda x: x / np.sqrt(np.maximum((x**2).sum(-1, keepdims=True), 1e-12)),
    "lambda x: tf.nn.l2_normalize(x, [1, 2])": lambda x: x / np.sqrt(np.maximum((x**2).sum((1, 2), keepdims=True), 1e-12)),
    "lambda x: K.mean(x, axis=[1, 2])": lambda x: x.mean((1, 2)),
    "lambda x: tf.reduce_max(x, 1, keepdims=True)": lambda x: x.max(1, keepdims=True),
    "lambda x: tf.math.reduce_std(x, axis=-1)": lambda x: x.std(-1),
    "lambda x: K.var(x, axis=1, keepdims=True)": lambda x: x.var(1, keepdims=True),
    "lambda x: K.batch_flatten(x)": lambda x: x.reshape(len(x), -1),
    "lambda x: K.reshape(x, (-1, K.int_shape(x)[1] * K.int_shape(x)[2], 3))": lambda x: x.reshape(-1, 35, 3),
    "lambda x: tf.reshape(x, (tf.shape(x)[0], -1))": lambda x: x.reshape(len(x), -1),
    "lambda x: tf.reshape(x, [-1] + x.shape[2:].as_list())": lambda x: x.reshape(-1, 7, 3),
    "lambda x: K.permute_dimensions(x, (0, 3, 1, 2))": lambda x: x.transpose(0, 3, 1, 2),
    "lambda x: tf.transpose(x, perm=[0, 2, 1, 3])": lambda x: x.transpose(0, 2, 1, 3),
    "lambda x: K.concatenate([x, x * 2], axis=-1)": lambda x: np.concatenate([x, x * 2], -1),
    "lambda x: tf.concat([x, -x], 1)": lambda x: np.concatenate([x, -x], 1),
    "lambda x: tf.stack(tf.split(x, 3, axis=-1), axis=1)": lambda x: np.stack(np.split(x, 3, -1), 1),
    "lambda x: tf.split(x, [2, 5], axis=2)[1]": lambda x: x[:, :, 2:],
    "lambda x: tf.unstack(x, axis=3)[2]": lambda x: x[..., 2],
    "lambda x: K.relu(x, alpha=0.1, max_value=2.0)": lambda x: np.minimum(np.where(x > 0, x, 0.1 * x), 2),
    "lambda x: K.relu(x, threshold=1.0)": lambda x: np.where(x >= 1, x, 0),
    "lambda x: tf.nn.relu6(x) + tf.nn.leaky_relu(x)": lambda x: np.clip(x, 0, 6) + np.where(x > 0, x, 0.2 * x),
    "lambda x: x * tf.sigmoid(x)": lambda x: x * sigmoid(x),
    "lambda x: tf.nn.softmax(x, axis=1)": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "lambda x: K.hard_sigmoid(x)": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "lambda x: tf.clip_by_value(x, x[:, :1] - 0.5, x[:, :1] + 0.25)": lambda x: np.clip(x, x[:, :1] - 0.5, x[:, :1] + 0.25),
    "lambda x: K.clip(tf.cast(x * 8, 'int32'), [0.5, 1.5, 2.5], 7)": lambda x: np.clip(
        (x * 8).astype("int32").astype("float32"), np.float32([0.5, 1.5, 2.5]), 7
    ),
    "lambda x: tf.norm(x, axis=[2, 3])": lambda x: np.sqrt((x**2).sum((2, 3))),
    "lambda x: K.clip(x, -0.5, 0.5)": lambda x: np.clip(x, -0.5, 0.5),
    "lambda x: tf.clip_by_value(x, clip_value_min=0., clip_value_max=1.)": lambda x: np.clip(x, 0, 1),
    "lambda x: tf.math.squared_difference(x, 2.0)": lambda x: (x - 2) ** 2,
    "lambda x: K.cast(x > 0.5, 'float32')": lambda x: (x > 0.5).astype("float32"),
    "lambda x: tf.where(x > 0, x, tf.zeros_like(x))": lambda x: np.where(x > 0, x, 0),
    "lambda x: tf.cast(tf.argmax(x, axis=-1), tf.float32)": lambda x: x.argmax(-1).astype("float32"),
    "lambda x: tf.one_hot(tf.argmax(x, axis=-1), depth=4)": lambda x: one_hot(x.argmax(-1), 4),
    "lambda x: K.repeat_elements(x, 2, axis=1)": lambda x: x.repeat(2, 1),
    "lambda x: K.tile(x, [1, 1, 2, 1])": lambda x: np.tile(x, (1, 1, 2, 1)),
    "lambda x: K.reverse(x, axes=[1, 2])": lambda x: x[:, ::-1, ::-1],
    "lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], 'REFLECT')": lambda x: np.pad(
        x, ((0, 0), (1, 2), (0, 1), (0, 0)), "reflect"
    ),
    "lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=3.)": lambda x: np.pad(
        x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=3
    ),
    "lambda x: K.spatial_2d_padding(x, ((1, 0), (2, 1)))": lambda x: np.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0))),
    "lambda x: tf.gather(x, [2, 0], axis=3)": lambda x: x[..., [2, 0]],
    "lambda x: tf.slice(x, [0, 1, 0, 0], [-1, 2, -1, 2])": lambda x: x[:, 1:3, :, :2],
    "lambda x: tf.matmul(x, x, transpose_b=True)": lambda x: x @ x.swapaxes(-1, -2),
    "lambda x: K.batch_dot(K.batch_flatten(x), K.batch_flatten(x), axes=1)": lambda x: (x**2).sum((1, 2, 3))[:, None],
    "lambda x: K.batch_dot(x[:, 0], x[:, 1], axes=[2, 2])": lambda x: np.einsum("nij,nkj->nik", x[:, 0], x[:, 1]),
    "lambda x: K.dot(x, K.constant([[1., 2.], [3., 4.], [5., 6.]]))": lambda x: x @ np.float32([[1, 2], [3, 4], [5, 6]]),
    "lambda x: tf.einsum('nhwc,nhkc->nhwk', x, x)": lambda x: np.einsum("nhwc,nhkc->nhwk", x, x),
    "lambda x: tf.norm(x, axis=-1, keepdims=True)": lambda x: np.sqrt((x**2).sum(-1, keepdims=True)),
    "lambda x: tf.nn.bias_add(x, tf.constant([1., 2., 3.]))": lambda x: x + np.float32([1, 2, 3]),
    "lambda x: K.sqrt(x + K.epsilon())": lambda x: np.sqrt(np.maximum(x + 1e-7, 0)),
    "lambda x: tf.cumsum(x, axis=1)": lambda x: x.cumsum(1),
    "lambda x: K.resize_images(x, 2, 3, 'channels_last')": lambda x: x.repeat(2, 1).repeat(3, 2),
    "lambda x: tf.image.resize(x, (10, 14), method='nearest')": lambda x: x.repeat(2, 1).repeat(2, 2),
    "lambda x: K.repeat(x[:, 0, 0], 4)": lambda x: np.repeat(x[:, 0, :1], 4, 1),
    "lambda x: keras.activations.swish(x) if K.ndim(x) == 4 else x": lambda x: x * sigmoid(x),
    "lambda x: x * np.sqrt(4.0) + math.pi + len([1, 2])": lambda x: x * 2 + np.float32(np.pi) + 2,
    "lambda x: keras.ops.mean(x, (1, 2), True)": lambda x: x.mean((1, 2), keepdims=True),
    "lambda x: ops.reshape(ops.moveaxis(x, -1, 1), (-1, 3 * 5, 7))": lambda x: x.transpose(0, 3, 1, 2).reshape(-1, 15, 7),
    "lambda x: x.get_shape()[1] * x": lambda x: 5 * x,
    "lambda x: sum([x, x, x]) + x.sum(axis=1, keepdims=True)": lambda x: 3 * x + x.sum(1, keepdims=True),
    "def f(x):\n a, b, c = tf.unstack(x, axis=-1)\n return a * b + c": lambda x: x[..., 0] * x[..., 1] + x[..., 2],
    "def f(x, training=None, mask=None):\n if training: x = x + 1\n return x if mask is None else x * 2": lambda x: x,
}
CASES["lambda x: K.repeat(x[:, 0, 0], 4)"] = lambda x: np.repeat(x[:, 0, 0][:, None], 4, 1)


@pytest.mark.parametrize("text", CASES)
def test_lambda(text: str, tmp_path: Path) -> None:
    graph = load_graph(lambda_file(tmp_path, text))
    for n in (2, 3):
        x = np.random.default_rng(n).normal(size=(n, *SHAPE)).astype("float32")
        want = np.asarray(CASES[text](x)).astype("float32")
        got = run(graph, [x])
        assert error_of_range(got, [want]) < 1e-6


def test_lambdas_of_keras_itself(tmp_path: Path) -> None:
    """Written by Keras 3, computed by Keras 3."""
    scale, first = 0.3, 2

    functions = {
        "closure": lambda x: x * scale + first,
        "mean": lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
        "norm": lambda x: x / ops.maximum(ops.norm(x, axis=-1, keepdims=True), 1e-6),
        "swish": lambda x: x * ops.sigmoid(x),
        "split": lambda x: ops.concatenate(ops.split(x, 3, axis=-1)[::-1], axis=-1),
        "pick": lambda x: ops.take(x, [0, 2], axis=3),
        "compare": lambda x: ops.where(ops.greater(x, 0.0), x, 0.5 * x),
    }
    x = keras.Input(SHAPE, name="x")
    model = keras.Model(x, [keras.layers.Lambda(f, name=n)(x) for n, f in functions.items()], name="m")
    for form in ("m.keras", "m.h5"):
        model.save(tmp_path / form)
        graph = load_graph(tmp_path / form)
        given = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
        want = [ops.convert_to_numpy(y) for y in model(given)]
        assert error_of_range(run(graph, [given]), want) < 1e-6


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    x = tensor("x", [None, *SHAPE])
    given = {"function": stored("lambda z, k=2: [z[0] + z[1] * k, z[0]]", defaults=[2]), "arguments": {"k": 3}}
    layers = [input_layer("x", [None, *SHAPE]), input_layer("y", [None, *SHAPE]),
              layer("Lambda", "l", given, [[x, tensor("y", [None, *SHAPE])]]),
              layer("Activation", "a", {"activation": "linear"}, [tensor("l", [None, *SHAPE])])]  # fmt: skip
    graph = load_graph(write(tmp_path / "m.keras", layers, ["a"], {}))
    a, b = (np.random.default_rng(i).normal(size=(2, *SHAPE)).astype("float32") for i in (1, 2))
    assert error_of_range(run(graph, [a, b]), [a + b * 3]) < 1e-6


REFUSED = {
    "lambda x: K.random_normal(K.shape(x)) + x": "draws random numbers",
    "lambda x: K.dropout(x, 0.5)": "drops values at random",
    "lambda x: K.in_train_phase(x, x)": "computes otherwise in training",
    "lambda x: tf.foo(x)": "calls tensorflow.foo, which convcore does not know",
    "lambda x: K.image_data_format()": "image_data_format",
    "lambda x: 3 if x.shape[0] is None else x": "asks whether a size that is not known is None",
    "lambda x: x if x.shape[0] > 3 else -x": "compares a size that is not known",
    "lambda x: x[[0, 1]]": "takes items of a tensor by a list",
    "lambda x: x[x > 0]": "by a list, a tensor or a truth value",
    "lambda x: 3": "^",
    "lambda x: 'a'": "returns something else than tensors",
    "lambda x: x << 2": "computes << of tensors",
    "lambda x: x & 1": "computes & of tensors that are not boolean",
    "lambda x: ~x": "computes ~ of a tensor that is not boolean",
    "lambda x: x.foo": "reads the attribute 'foo' of a tensor",
    "lambda x: x.dimshuffle(0, 1)": "calls the method 'dimshuffle'",
    "lambda x: list(x)": "iterates over a tensor whose first size is not known",
    "lambda x: float(x)": "makes a Python number of a tensor",
    "lambda x: tf.reduce_mean(x, keep_dims=True)": "has an argument 'keep_dims'",
    "lambda x: tf.cumsum(x, exclusive=True)": "with exclusive",
    "lambda x: tf.gather(x, [0], axis=1, batch_dims=1)": "batch_dims",
    "lambda x: tf.split(x, [1, 1], axis=-1)": "splits an axis of 3 into parts of",
    "lambda x: tf.one_hot(x, 3)": "encodes numbers that are not integers",
    "lambda x: tf.one_hot(tf.argmax(x, -1), 3, on_value=2.)": "other values than 1 and 0",
    "lambda x: tf.norm(x, ord=1)": "another norm",
    "lambda x: tf.matmul(x, x, adjoint_b=True)": "adjoint",
    "lambda x: K.batch_dot(x, x, axes=0)": "contracts the batch axis",
    "lambda x: K.batch_dot(x[:, 0, 0, 0], x)": "fewer than 2 axes",
    "lambda x: tf.nn.bias_add(x, x, data_format='NCHW')": "channels first",
    "lambda x: K.spatial_2d_padding(x, data_format='channels_first')": "channels first",
    "lambda x: K.resize_images(x, 2, 2, 'channels_last', 'bilinear')": "otherwise than by the nearest",
    "lambda x: tf.image.resize(x, (2, 2), preserve_aspect_ratio=True)": "by the aspect ratio",
    "lambda x: K.l2_normalize(x, axis=7)": "does not have",
    "lambda x: K.repeat(x, 2)": "something else than a matrix",
    "lambda x: K.any(x)": "K.any or K.all",
    "lambda x: tf.compat.v1.where(x > 0, x, x)": "calls tensorflow.compat.v1.where, which convcore does not know",
    "lambda x: tf.compat.v1.image.resize(x, (2, 2))": "calls tensorflow.compat.v1.image.resize",
    "lambda x: x if isinstance(x, keras.KerasTensor) else -x": "asks whether something is a keras.KerasTensor",
    "lambda x: tf.constant(['a'])": "something else than a few numbers",
    "lambda x: tf.constant([[1.], [1., 2.]])": "rows of different length|something else",
    "lambda x: keras.activations.relu(x, 0.1)": "arguments that convcore does not know",
    "lambda x: keras.activations.foo(x)": "arguments that convcore does not know",
    "lambda x: keras.layers.Dense(3)(x)": "calls keras.layers.Dense",
    "lambda x: tf.constant([1., 2.], shape=(4,))": "shape or element type that does not fit",
    "lambda x: tf.constant([1., 2.], dtype=tf.complex64)": "shape or element type that does not fit",
    "lambda x: tf.reshape(x[0], tf.shape(x)[1:2] * 3)": "sizes as a tensor",
    "lambda x: tf.reshape(x[0], tf.shape(x)[1:2] + tf.shape(x)[2:])": "sizes as a tensor",
    "lambda x: tf.norm(x, ord=2, axis=[2, 3])": "needs their singular values",
    "lambda x: tf.split(1, 5, x)": "an axis that is no number",
    "lambda x: tf.slice(x, 0, 1)": "bounds are no sequences",
    "lambda x: tf.reverse(x, [False, True])": "truth values for axes",
    "lambda x: x if isinstance(x.shape, tuple) else -x": "whether sizes, or a captured sequence",
    "lambda x: tf.slice(x, tf.shape(x), [1, 1, 1, 1])": "whose bounds are not known",
    "lambda x: math.sqrt(-1.0) * x": "fails",
    "lambda x: x / None": "computes with a tensor and None",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_names_the_layer_and_the_reason(text: str, tmp_path: Path) -> None:
    found = problems(load_graph(lambda_file(tmp_path, text)))
    if REFUSED[text] == "^":  # a number is a size
        assert not found
        return
    assert [(p.layer, p.type, p.code) for p in found] == [("l", "Lambda", "code_in_model")]
    assert re.search(REFUSED[text], found[0].why), found[0].why
    assert "overrides" in found[0].hint


INTEGERS = {
    "lambda x: x / 2": "divides integers",
    "lambda x: x ** 2": "raises integers to a power",
    "lambda x: K.mean(x, axis=1)": "with integers",
    "lambda x: K.sum(K.cast(x, 'uint8'), axis=1)": "small integers",
    "lambda x: K.relu(x)": "a tensor of integers",
    "lambda x: keras.activations.relu(x)": "something else than a floating tensor",
}


@pytest.mark.parametrize("text", INTEGERS)
def test_integers_whose_meaning_depends_on_the_backend(text: str, tmp_path: Path) -> None:
    (found,) = problems(load_graph(lambda_file(tmp_path, text, "int32", dtype="int32")))
    assert INTEGERS[text] in found.why


NAMED = {"class_name": "function", "config": "f", "registered_name": "f", "module": "builtins"}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"mask": stored("lambda x, m: m")}, "makes a mask of its own"),
        ({"function": NAMED}, "names but does not hold"),
        ({"arguments": [3]}, "arguments in an unknown form"),
    ],
)
def test_forms_of_the_layer_that_are_refused(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (found,) = problems(load_graph(lambda_file(tmp_path, "lambda x: x", **config)))
    assert why in found.why


def test_nothing_of_the_model_is_run_or_imported(tmp_path: Path) -> None:
    text = "def f(x):\n import tensorflow as tf\n from keras import backend as K\n return K.sum(tf.abs(x), 1)"
    source = lambda_file(tmp_path, text)
    load_graph(source)  # convcore's own imports are done
    seen: list[str] = []
    on = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if on and event in ("exec", "import", "marshal.loads", "subprocess.Popen", "os.system"):
            seen.append(event)

    sys.addaudithook(hook)
    graph = load_graph(source)
    on = False
    assert not problems(graph) and seen == []


# ---- TFOpLambda
def tf_model(path: Path, layers: list[dict[str, Any]]) -> Path:
    """A functional model as tf.keras 2.8 writes it."""
    import h5py

    x = {"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
         "config": {"batch_input_shape": [None, *SHAPE], "dtype": "float32", "sparse": False, "name": "x"}}  # fmt: skip
    last = layers[-1]["name"]
    config = {"name": "m", "layers": [x, *layers], "input_layers": [["x", 0, 0]], "output_layers": [[last, 0, 0]]}
    with h5py.File(path / "m.h5", "w") as f:
        f.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        f.attrs["keras_version"], f.attrs["backend"] = "2.8.0", "tensorflow"
        g = f.create_group("model_weights")
        g.attrs["layer_names"] = np.array([n["name"] for n in config["layers"]], dtype="S")  # type: ignore[index]
        for n in config["layers"]:
            g.create_group(n["name"]).attrs["weight_names"] = np.array([], dtype="S")  # type: ignore[index]
    return path / "m.h5"


def op(name: str, function: str, inbound: list[Any], kind: str = "TFOpLambda") -> dict[str, Any]:
    return {"class_name": kind, "name": name, "inbound_nodes": inbound,
            "config": {"name": name, "trainable": True, "dtype": "float32", "function": function}}  # fmt: skip


Y = {"y": 2.0, "name": None}
TF: dict[str, tuple[list[dict[str, Any]], Callable[[np.ndarray], Any]]] = {
    "operators": (
        [op("a", "math.multiply", [["x", 0, 0, Y]]), op("b", "__operators__.add", [["a", 0, 0, Y]]),
         op("c", "__operators__.rsub", [["b", 0, 0, Y]]), op("d", "math.truediv", [["c", 0, 0, Y]])],
        lambda x: (2 - (x * 2 + 2)) / 2,
    ),
    "constant first": ([op("a", "math.subtract", [["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0]}]])], lambda x: 1 - x),
    "slice": (
        [op("a", "__operators__.getitem", [["x", 0, 0, {"slice_spec": [{"start": None, "stop": None, "step": None}, -1]}]],
            "SlicingOpLambda")],
        lambda x: x[:, -1],
    ),
    "sizes": (
        [op("s", "compat.v1.shape", [["x", 0, 0, {}]]),
         op("n", "__operators__.getitem", [["s", 0, 0, {"slice_spec": 0}]], "SlicingOpLambda"),
         op("m", "math.multiply", [["n", 0, 0, {"y": 7, "name": None}]]),
         op("r", "reshape", [["x", 0, 0, {"shape": [["m", 0, 0], 5, 3]}]])],
        lambda x: x.reshape(-1, 5, 3),
    ),
    "lists": ([op("a", "concat", [[["x", 0, 0, {"axis": -1}], ["x", 0, 0, {"axis": -1}]]])],
              lambda x: np.concatenate([x, x], -1)),
    "keras backend": ([op("a", "keras.backend.mean", [["x", 0, 0, {"axis": 1, "keepdims": True}]])],
                      lambda x: x.mean(1, keepdims=True)),
    "relu": ([op("a", "nn.relu", [["x", 0, 0, {"name": None}]])], lambda x: np.maximum(x, 0)),
    "cast": ([op("a", "cast", [["x", 0, 0, {"dtype": "int32"}]])], lambda x: x.astype("int32")),
}  # fmt: skip


@pytest.mark.parametrize("name", TF)
def test_tensorflow_operation_layers(name: str, tmp_path: Path) -> None:
    layers, formula = TF[name]
    graph = load_graph(tf_model(tmp_path, layers))
    for n in (2, 3):
        x = np.random.default_rng(n).normal(size=(n, *SHAPE)).astype("float32") * 3
        assert error_of_range(run(graph, [x]), [np.asarray(formula(x))]) < 1e-6


@pytest.mark.parametrize("version", ["2.2.4-tf", "2.2.4", "1.2.2", "2.8.0"])
def test_what_tensorflow_1_meant_otherwise(version: str, tmp_path: Path) -> None:
    """The file of a version that may be TensorFlow 1's."""
    import h5py

    resize = op("a", "image.resize", [["x", 0, 0, {"size": [10, 14]}]])
    source = tf_model(tmp_path, [resize])
    with h5py.File(source, "r+") as f:
        f.attrs["keras_version"] = version
    found = problems(load_graph(source))
    assert (not found) if version == "2.8.0" else "TensorFlow" in found[0].why


def test_an_unknown_tensorflow_function_is_named(tmp_path: Path) -> None:
    (found,) = problems(load_graph(tf_model(tmp_path, [op("a", "raw_ops.Foo", [["x", 0, 0, {}]])])))
    assert (found.layer, found.type) == ("a", "TFOpLambda") and "raw_ops.Foo" in found.why
    (found,) = problems(load_graph(tf_model(tmp_path, [op("a", "__operators__.add", [["x", 0, 0, {}]])])))
    assert "an operator with 1 arguments" in found.why


# ---- the tables
def test_every_name_leads_to_an_operation() -> None:
    from convcore_keras.code.names import _backend, _keras_ops, _tensorflow

    for table in (_tensorflow(), _backend(), _keras_ops()):
        assert len(table) > 50
        for name, entry in table.items():
            assert f"ops.{entry.kind}" in OPERATIONS or entry.kind in MEANINGS, name
            known = signatures().get(entry.kind)
            if known is not None and entry.kind not in MEANINGS:
                allowed = {p.name for p in known.parameters}
                ours = {p.ours for p in entry.call.parameters} - {"name", "output_type"}
                given = {p.ours for p in entry.call.parameters if p.default is MISSING}
                assert given <= allowed, (name, given - allowed)
                assert ours & allowed, name


def test_signatures_are_those_of_keras() -> None:
    """Of the version that the table is of."""
    if keras.__version__.split(".")[:2] != ["3", "15"]:
        pytest.skip("the table is of Keras 3.15")
    table = json.loads(Path(sys.modules["convcore_keras.code.names"].__file__ or "").with_name("keras_ops.json").read_text())
    for name, (_, signature) in table.items():
        function = getattr(keras.ops, name, None) or getattr(keras.ops.image, name)
        have = [f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in inspect.signature(function).parameters.values()]
        assert have == [p.partition("=")[0] for p in re.split(r", (?=[\w*]+(?:=|,|$))", signature)], name


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("tensorflow.math.reduce_sum", "tensorflow.reduce_sum"),
        ("tensorflow.compat.v1.nn.relu", "tensorflow.relu"),
        ("tensorflow.keras.backend.sum", "keras.backend.sum"),
        ("tensorflow.python.keras.backend.sum", "keras.backend.sum"),
        ("tf_keras.backend.sum", "keras.backend.sum"),
        ("keras.src.backend.sum", "keras.backend.sum"),
        ("keras.ops.numpy.mean", "keras.ops.mean"),
        ("tensorflow.image.resize", "tensorflow.image.resize"),
    ],
)
def test_spellings(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical
    assert path.split(".")[0] in MODULES
    assert lookup(canonical) is not None or canonical in MEANINGS


@pytest.mark.parametrize(("version", "times"), [("2.2.4", 2), ("2.3.1", 2), ("2.15.0", 1)])
def test_the_phase_is_an_argument_since_keras_2_4(version: str, times: int, tmp_path: Path) -> None:
    """``Lambda.call`` of Keras before (``keras/layers/core.py``, 2.2.4 and 2.3.1) hands ``mask`` on, not ``training``."""
    (code,) = [
        c
        for c in compile("def f(x, training=True): return x * 2 if training else x", "f.py", "exec").co_consts
        if isinstance(c, types.CodeType)
    ]
    function = [base64.b64encode(marshal.dumps(code)).decode(), [True], None]
    layers = [
        {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"}},
        {"class_name": "Lambda", "name": "l", "config": {"function": function, "function_type": "lambda", "name": "l"}},
    ]
    for entry, before in zip(layers, ([], [[["x", 0, 0, {}]]])):
        entry["inbound_nodes"] = before
    config = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["l", 0, 0]]}
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"class_name": "Model", "config": config, "keras_version": version, "backend": "tensorflow"}))
    x = np.float32([[1, 2, 3]])
    np.testing.assert_array_equal(convcore.load(path)(x), x * times)
