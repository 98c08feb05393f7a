"""A seeded sample of the sweeps (``python -m sweeps``): every one agrees or is refused with a reason."""

from __future__ import annotations

import inspect
import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, problems, run

from convcore.ir.graph import Graph

keras = pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
from sweeps import layers_cases, networks_cases, ops_cases
from sweeps.judge import Case, judge


@pytest.fixture(autouse=True)
def only_keras():
    """Without the classes that other tests have registered: Keras looks up its own by the same short names (RMSNorm)."""
    known = keras.saving.get_custom_objects()
    others = dict(known)
    known.clear()
    yield
    known.clear()
    known.update(others)


SAMPLE = random.Random(8)
LAYERS = layers_cases.cases()
FIRST = {re.split(r"[ (]", c.name)[0]: c for c in reversed(LAYERS)}
"""One case of each class."""
SAMPLED = {c.name: c for c in (*FIRST.values(), *SAMPLE.sample(LAYERS, 40), *SAMPLE.sample(networks_cases.cases(), 12))}
THROUGH_ONNX = {c.name for c in SAMPLE.sample(ops_cases.cases(), 80)}
REFUSED = {
    "O.inv(a)": "linear algebra",
    "O.gcd(i, j)": "common divisors",
    "O.argpartition(x, 2)": "left open",
    "O.unique(i)": "depends on the data",
    "O.bincount(l, minlength=6)": "depends on the data",
    "O.empty_like(x)": "not defined",
    "O.ndim(x)": "Python number",
    "O.polar(x, y)": "complex numbers",
    "O.quantile(x, 0.3, axis=1, method='nearest')": "computes linear",
    "O.image.gaussian_blur(m, (5, 3), (0.7, 1.3))": "odd square",
    "O.image.resize(m, (9, 11), interpolation='bicubic')": "differs between Keras's backends",
    "O.norm(x, ord=2, axis=(1, 2))": "singular values",
}
REFUSED_BY_NAME = [
    name
    for line in """
    AffineTransform CTCDecode CTCLoss CholeskyInverse Cholesky Det Eig Eigh ElasticTransform ISTFT Inv JVP Lcm Gcd Logdet Lstsq
    LuFactor MatrixRank Nextafter PerspectiveTransform Pinv Polar Qr SSIM SVD ScaleAndTranslate Slogdet Solve SolveTriangular
    ViewAsComplex ViewAsReal Bincount Unique Argpartition EmptyLike Ndim Map Scan Cond WhileLoop ForiLoop Switch AssociativeScan
    VectorizedMap
""".splitlines()
    for name in line.split()
]
OTHERS: list[tuple[str, dict[str, Any], Any]] = [
    ("Abs", {}, lambda x: np.abs(x)),
    ("Fabs", {}, lambda x: np.abs(x)),
    ("Absolute", {}, lambda x: np.abs(x)),
    ("Amax", {"axis": [1]}, lambda x: x.max(1)),
    ("Array", {"dtype": None}, lambda x: x),
    ("ConvertToTensor", {"dtype": "int32"}, lambda x: x.astype(np.int32)),
    ("Conjugate", {}, lambda x: x),
    ("Conj", {}, lambda x: x),
    ("Imag", {}, lambda x: x * 0),
    ("StopGradient", {}, lambda x: x),
    ("Nonzero", {}, lambda x: np.nonzero(x)[0]),
    ("Softmax", {"axis": [1, 2]}, lambda x: np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)),
    ("Meshgrid", {"indexing": "xy"}, lambda x: np.meshgrid(x.ravel())[0]),
    ("Histogram", {"bins": 4, "range": [-1.0, 1.0]}, lambda x: np.histogram(x, 4, (-1.0, 1.0))[0]),
    ("AllClose", {"rtol": 1e-5, "atol": 1e-8, "equal_nan": False}, lambda x, y: np.allclose(x, y)),
    ("Repeat", {"repeats": [1, 0, 2, 1, 3, 1], "axis": 1}, lambda x: np.repeat(x, [1, 0, 2, 1, 3, 1], 1)),
    ("AdaptiveAveragePool", {"output_size": [3], "data_format": "channels_last"}, lambda x: x.reshape(2, 3, 2, 6).mean(2)),
    ("AdaptiveMaxPool", {"output_size": [2], "data_format": "channels_last"}, lambda x: x.reshape(2, 2, 3, 6).max(2)),
    ("Full", {"shape": [2, 6, 6], "dtype": "float32"}, lambda x: x),
    ("Logspace", {"num": 3, "endpoint": True, "base": 2, "dtype": None, "axis": 0}, lambda x, y: np.logspace(x, y, 3, base=2)),
]
BY_NAME: dict[str, Case] = {c.name: c for c in ops_cases.cases()}


@pytest.mark.parametrize("case", ops_cases.cases(), ids=lambda c: c.name)
def test_operations(case: Case) -> None:
    v = judge(case, ("onnx",) if case.name in THROUGH_ONNX else ())
    assert v.what in ("agree", "onnx") or (v.what == "refused" and v.why), v


@pytest.mark.parametrize("name", SAMPLED)
def test_layers_and_networks(name: str) -> None:
    v = judge(SAMPLED[name], ("onnx",) if len(name) % 4 == 0 else ())
    assert v.what in ("agree", "onnx") or (v.what == "refused" and v.why), v


@pytest.mark.parametrize("name", REFUSED)
def test_refused_operations_say_why(name: str) -> None:
    v: Any = judge(BY_NAME[name], ())
    assert v.what == "refused" and REFUSED[name] in v.why, v


# ---- what Keras itself writes rarely, never, or cannot read again
def written(folder: Path, name: str, config: dict[str, Any], tensors: int = 1) -> Graph:
    """A file that applies the operation ``name`` to as many inputs of (batch, 6, 6)."""
    ins = [keras.Input((6, 6), name=f"x{i}") for i in range(tensors)]
    keras.Model(ins, keras.ops.abs(ins[0]) if tensors == 1 else keras.ops.add(*ins), name="m").save(folder / "m.keras")
    with zipfile.ZipFile(folder / "m.keras") as source, zipfile.ZipFile(folder / "n.keras", "w") as to:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "config.json":
                root = json.loads(data)
                for entry in root["config"]["layers"]:
                    if entry["class_name"] in ("Absolute", "Add"):
                        entry["class_name"], entry["config"] = name, {"name": entry["config"]["name"], **config}
                data = json.dumps(root).encode()
            to.writestr(info, data)
    return load_graph(folder / "n.keras")


@pytest.mark.parametrize("name", REFUSED_BY_NAME)
def test_what_no_target_has_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (p,) = problems(written(tmp_path, name, {}))
    assert p.type == f"ops.{name}" and p.code != "unsupported_layer" and p.why, p


@pytest.mark.parametrize(("name", "config", "right"), OTHERS, ids=lambda v: v if isinstance(v, str) else "")
def test_other_names_and_files(name: str, config: dict[str, Any], right: Any, tmp_path: Path) -> None:
    count = len(inspect.signature(right).parameters)
    graph = written(tmp_path, name, config, count)
    arrays = [np.random.default_rng(i).normal(size=(2, 6, 6)).astype(np.float32) for i in range(count)]
    (y,) = run(graph, arrays)[:1]
    np.testing.assert_allclose(y, right(*arrays), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stride", "same"), [(1, False), (2, True), (3, False)])
def test_transposed_convolution(stride: int, same: bool, tmp_path: Path) -> None:
    """``ops.conv_transpose`` cannot run from a file (Keras 3.15.1: ``ConvTranspose.call``); the layer says what is right."""
    x, padding = keras.Input((7, 3), name="x"), "same" if same else "valid"
    kernel = np.random.default_rng(2).normal(size=(4, 5, 3)).astype(np.float32)
    y = keras.ops.conv_transpose(x, kernel, strides=stride, padding=padding, data_format="channels_last")
    keras.Model(x, y, name="m").save(tmp_path / "m.keras")
    layer = keras.layers.Conv1DTranspose(5, 4, strides=stride, padding=padding, use_bias=False)
    given = np.random.default_rng(3).normal(size=(2, 7, 3)).astype(np.float32)
    layer.build(given.shape)
    layer.set_weights([kernel])
    (got,) = run(load_graph(tmp_path / "m.keras"), [given])
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(layer(given)), rtol=1e-5, atol=1e-6)


# ---- layers that need TensorFlow to run: what the documentation of Keras says
@pytest.mark.parametrize(
    ("config", "right"),
    [
        ({"vocabulary": [10, 20, 30]}, [[0, 1], [3, 0]]),
        ({"vocabulary": [10, 20, 30], "mask_token": 7}, [[1, 2], [4, 0]]),
        ({"vocabulary": [10, 20, 30], "num_oov_indices": 3}, [[2, 3], [5, 1]]),
        ({"vocabulary": [10, 20, 30], "output_mode": "multi_hot"}, [[1, 1, 0, 0], [1, 0, 0, 1]]),
        ({"vocabulary": [10, 20], "output_mode": "binary"}, [[1, 1, 0], [1, 0, 0]]),  # multi_hot's name before Keras 2.6
        ({"vocabulary": [10, 20], "output_mode": "count"}, [[1, 1, 0], [2, 0, 0]]),
    ],
)
def test_integer_lookup(config: dict[str, Any], right: Any, tmp_path: Path) -> None:
    """``keras.layers.IntegerLookup``: the vocabulary behind the mask token and places for unknown numbers (their remainder)."""
    graph = layer_written(tmp_path, "IntegerLookup", {"output_mode": "int", **config}, "int64")
    (y,) = run(graph, [np.array([[5, 10], [30, 7]], np.int64)])
    assert np.array_equal(y, right)


@pytest.mark.parametrize("config", [{"num_tokens": 3, "output_mode": "binary"}, {"max_tokens": 3, "output_mode": "multi_hot"}])
def test_old_words_of_category_encoding(config: dict[str, Any], tmp_path: Path) -> None:
    """``keras.layers.CategoryEncoding`` still takes "binary"; Keras 2.6 to 2.15 also ``max_tokens``."""
    assert keras.layers.CategoryEncoding(3, output_mode="binary").output_mode == "multi_hot"
    x = np.array([[1, 1], [2, 0]], np.int64)
    (y,) = run(layer_written(tmp_path, "CategoryEncoding", config, "int64"), [x])
    assert np.array_equal(y, keras.ops.convert_to_numpy(keras.layers.CategoryEncoding(3)(x)))


@pytest.mark.parametrize(
    ("name", "config", "why"),
    [
        ("IntegerLookup", {"vocabulary": [1], "output_mode": "tf-idf"}, "weighs by tf-idf"),
        ("Hashing", {"num_bins": 3}, "text"),
        ("HashedCrossing", {"num_bins": 3}, "text"),
        ("StringLookup", {"vocabulary": ["a"]}, "text"),
        ("TextVectorization", {}, "text"),
        ("IntegerLookup", {"vocabulary": None}, "vocabulary"),
        ("IntegerLookup", {"vocabulary": [1], "invert": True}, "inverted"),
        ("IntegerLookup", {"vocabulary": [1], "num_oov_indices": 0}, "no place"),
        ("CategoryEncoding", {"num_tokens": None}, "num_tokens"),
        ("CategoryEncoding", {"num_tokens": 3, "sparse": True}, "sparse"),
        ("Discretization", {"bin_boundaries": None}, "adapted"),
        ("STFTSpectrogram", {}, "preprocessing"),
        ("Equalization", {}, "preprocessing"),
        ("Pipeline", {"layers": []}, "preprocessing"),
        ("MaxNumBoundingBoxes", {"max_number": 3}, "preprocessing"),
        ("Solarization", {}, "random"),
        ("ContrastLimitedAdaptiveHistogramEqualization", {}, "preprocessing"),
    ],
)
def test_layers_refused_by_name(name: str, config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (p,) = problems(layer_written(tmp_path, name, config, "int64"))
    assert why in p.why and p.type == name, p


@pytest.mark.parametrize("name", ["CutMix", "MixUp", "RandomHeight", "RandomWidth", "RandomShear"])
def test_augmentation_is_the_image_itself(name: str, tmp_path: Path) -> None:
    graph = layer_written(tmp_path, name, {"factor": 0.3, "seed": 1}, "float32")
    x = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    assert np.array_equal(run(graph, [x])[0], x)


def layer_written(folder: Path, name: str, config: dict[str, Any], dtype: str) -> Graph:
    """A file with one layer on (batch, 2) that is not Keras's writing."""
    x = keras.Input((2,), dtype=dtype, name="x")
    keras.Model(x, keras.layers.Identity(name="one", dtype="float32")(x), name="m").save(folder / "m.keras")
    with zipfile.ZipFile(folder / "m.keras") as source, zipfile.ZipFile(folder / "n.keras", "w") as to:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "config.json":
                root = json.loads(data)
                for entry in root["config"]["layers"]:
                    if entry["class_name"] == "Identity":
                        entry["class_name"], entry["config"] = name, {"name": "one", "dtype": "float32", **config}
                data = json.dumps(root).encode()
            to.writestr(info, data)
    return load_graph(folder / "n.keras")
