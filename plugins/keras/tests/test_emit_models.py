"""Models of other formats and eras as Keras 3 files: loaded by plain ``load_model``, equal to the source."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import FrameworkMissingError, UnsupportedError, UsageError
from convcore.ir.dims import Dim
from convcore.ir.graph import PARAMETER, Graph, Origin

keras = pytest.importorskip("keras")
from keras_helpers import error_of_range, randomise

L, O = keras.layers, keras.ops
RNG = np.random.default_rng(5)
DATA = Path(__file__).parents[3] / "tests" / "data"


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def layers(model: Any) -> Iterator[Any]:
    """Every layer and operation, those of nested models too."""
    for x in model.operations:
        yield x
        if isinstance(x, keras.Model):
            yield from layers(x)


def types(model: Any) -> list[str]:
    return [type(x).__name__ for x in layers(model) if type(x).__name__ not in ("InputLayer", "Functional")]


def numbers(model: Any, *xs: Any) -> list[Any]:
    y = model(list(xs) if len(xs) > 1 else xs[0], training=False)
    return [np.asarray(keras.ops.convert_to_numpy(t)) for t in keras.tree.flatten(y)]


Build = Callable[[Builder, Any], Any]


def written(tmp_path: Path, shape: tuple[Any, ...], build: Build, **options: Any) -> Any:
    """The Keras model of ``build(b, x)``, checked by convert on two batch sizes."""
    graph = Graph("net")
    b = Builder(graph, origin=Origin("test", "layer", "Test"))
    y = build(b, b.input("x", "float32", shape))
    graph.outputs = list(y) if isinstance(y, (tuple, list)) else [y]
    result = convcore.convert(convcore.Model(graph, "test"), "keras", tmp_path / "net.keras", **options)
    assert result.report.ok
    assert "Keras 3" in str(result.report.runtimes[1])
    return keras.models.load_model(tmp_path / "net.keras")


N = Dim("N")


# ---- families
def test_padding_that_has_a_name_needs_no_layer(tmp_path: Path) -> None:
    same = written(tmp_path, (N, 3, 13, 11), lambda b, x: b.conv(x, b.weight(array(5, 3, 3, 5), "w"), pads=((1, 1), (2, 2))))
    assert types(same) == ["Conv2D"]
    odd = written(tmp_path, (N, 3, 13, 11), lambda b, x: b.conv(x, b.weight(array(5, 3, 3, 2), "w"), pads=((1, 2), (0, 1))))
    assert types(odd) == ["ZeroPadding2D", "Conv2D"]
    causal = written(tmp_path, (N, 3, 13), lambda b, x: b.conv(x, b.weight(array(5, 3, 3), "w"), pads=((4, 0),), dilations=(2,)))
    assert types(causal) == ["Conv1D"]


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("kernel", [(3, 2), (5, 4)])
@pytest.mark.parametrize(("pads", "extra"), [(((0, 0), (0, 0)), (0, 0)), (((1, 0), (0, 1)), (0, 0)), (((1, 1), (0, 0)), (1, 0))])
def test_transposed_convolutions(tmp_path: Path, strides: Any, kernel: Any, pads: Any, extra: Any) -> None:
    if any(e and e >= s for e, s in zip(extra, strides)):
        pytest.skip("output padding is less than the stride")
    w = array(3, 7, *kernel)
    model = written(
        tmp_path, (N, 3, 11, 13),
        lambda b, x: b.conv_transpose(
            x, b.weight(w, "w"), b.weight(array(7), "b"), strides=strides, pads=pads, output_padding=extra
        ),
    )  # fmt: skip
    assert "Conv2DTranspose" in types(model)


def test_both_stride_and_dilation(tmp_path: Path) -> None:
    w = array(5, 3, 3, 2)
    written(
        tmp_path,
        (N, 3, 13, 11),
        lambda b, x: b.conv(x, b.weight(w, "w"), strides=(2, 1), dilations=(2, 3), pads=((1, 2), (0, 1))),
    )


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("ceil", ["floor", "ceil"])
def test_averages_count_what_the_source_counts(tmp_path: Path, counted: bool, ceil: str) -> None:
    written(
        tmp_path, (N, 3, 11, 13),
        lambda b, x: b.avg_pool(
            x, kernel=(3, 2), strides=(2, 2), pads=((1, 1), (0, 1)), ceil_mode=ceil, count_include_pad=counted
        ),
    )  # fmt: skip


def test_sizes_of_several_kinds_unknown(tmp_path: Path) -> None:
    """(N, T, 6) -> (N * T, 6) and back, N and T only known when it runs."""
    t = Dim("T")

    def build(b: Builder, x: Any) -> Any:
        flat = b.reshape(x, shape=(N * t, 6))
        y = b.linear(flat, b.weight(array(5, 6), "w"), b.weight(array(5), "b"))
        return b.reshape(y, shape=(N, t, 5))

    model = written(tmp_path, (N, t, 6), build)
    assert numbers(model, array(2, 7, 6))[0].shape == (2, 7, 5)


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (2, 5), (4, 3)])
def test_bilinear_of_a_size_only_known_when_it_runs(tmp_path: Path, factors: tuple[int, int]) -> None:
    """Layers, since TensorFlow's own bilinear upsampling fails in a graph then."""
    scales = tuple(map(float, factors))
    model = written(tmp_path, (N, 3, Dim("H"), Dim("W")), lambda b, x: b.resize(x, scales=scales, mode="linear"))
    x = array(2, 5, 7, 3)
    want = numbers(written(tmp_path, (N, 3, 5, 7), lambda b, x: b.resize(x, scales=scales, mode="linear")), x)
    assert error_of_range(numbers(model, x), want) < 1e-5


def test_sequences_of_several_lengths(tmp_path: Path) -> None:
    """Masks from an Embedding: the layer is given them as a tensor."""
    i = keras.Input((11,), dtype="int32", name="ids")
    y = L.Embedding(7, 5, mask_zero=True, name="table")(i)
    y = L.LSTM(3, return_sequences=True, name="first")(y)
    model = keras.Model(i, L.Bidirectional(L.GRU(2), name="both")(y), name="masked")
    randomise(model)
    convcore.convert(model, "keras", tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    ids = RNG.integers(0, 7, (3, 11)).astype(np.int32)
    ids[1, 5:] = 0
    assert error_of_range(numbers(again, ids), numbers(model, ids)) < 1e-5


def test_parameters_outside_layers_stay_trainable(tmp_path: Path) -> None:
    """A bare parameter is a weight of a layer, never a constant; a constant is no weight."""
    p = array(7, 5)

    def build(b: Builder, x: Any) -> Any:
        w = b.weight(p, "p", trainable=True, role=PARAMETER)
        return b.mul(b.add(x, w), b.const(array(5), "float32"))

    model = written(tmp_path, (N, 7, 5), build)
    assert [v.shape for v in model.trainable_variables] == [(1, 7, 5)]
    np.testing.assert_array_equal(np.asarray(keras.ops.convert_to_numpy(model.trainable_variables[0]))[0], p)


def test_constants_of_the_batch_size(tmp_path: Path) -> None:
    """Constants spread over a batch that is only known when it runs, -0, infinity and booleans as they are."""
    c = np.array([[1.5, -0.0, np.inf, 2.0, -3.0]], np.float32)

    def build(b: Builder, x: Any) -> Any:
        rows = b.expand(b.const(c), shape=(N, 5))
        kept = b.expand(b.const(c[0] > 0), shape=(N, 5))
        return [b.where(kept, x, b.like(x, 0)), b.minimum(b.add(x, rows), b.like(x, 99)), b.reciprocal(rows)]

    written(tmp_path, (N, 5), build)


def test_large_constants_are_frozen_weights(tmp_path: Path) -> None:
    c = array(400, 300)
    model = written(tmp_path, (N, 400, 300), lambda b, x: b.add(x, b.const(c, "float32")))
    assert not model.trainable_variables and [v.shape for v in model.variables] == [(1, 400, 300)]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_recurrent_layers(tmp_path: Path, op: str, direction: str) -> None:
    """From time-major ONNX order, all results used, initial states given."""
    d, h = (2 if direction == "bidirectional" else 1), 5
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[op]

    def build(b: Builder, x: Any) -> Any:
        rest = [b.weight(array(d, gates * h, 7), "w"), b.weight(array(d, gates * h, h), "r"), b.weight(array(d, gates * h), "b")]
        attrs: dict[str, Any] = {"hidden": h, "direction": direction, "layout": "time_major"}
        if op == "gru":
            rest.append(b.weight(array(d, gates * h), "rb"))
            attrs["reset_after"] = True
        return b.op(op, x, *rest, **attrs)

    model = written(tmp_path, (11, N, 7), build)
    assert ("Bidirectional" if d == 2 else {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}[op]) in types(model)


def channel_shuffle(b: Builder, x: Any) -> Any:
    y = b.conv(x, b.weight(array(6, 3, 1, 1), "w"))
    y = b.transpose(b.reshape(y, shape=(N, 2, 3, 5, 7)), perm=(0, 2, 1, 3, 4))
    return b.conv(b.reshape(y, shape=(N, 6, 5, 7)), b.weight(array(4, 6, 1, 1), "v"))


def branches(b: Builder, x: Any) -> Any:
    """Stacked branches weighted by their own softmax (SKNet), a channel picked, an equation over channels."""
    both = b.stack(*(b.conv(x, b.weight(array(6, 3, 1, 1), f"w{i}")) for i in range(2)), axis=1)
    weights = b.softmax(b.mean(both, axes=(3, 4), keepdims=True), axis=1)
    first, second = b.unstack(b.mul(both, weights), axis=1)
    y = b.add(b.sub(first, second), b.unsqueeze(b.gather(first, b.const(2, "int64"), axis=1), axes=(1,)))
    y = b.einsum(y, b.const(array(6, 4)), equation="bchw,cd->bdhw")
    return b.conv(b.gather(y, b.const([3, 1], "int64"), axis=1), b.weight(array(5, 2, 1, 1), "v"))


def squeezed(b: Builder, x: Any) -> Any:
    """Axes of size 1 are moved by a reshape."""
    y = b.mean(b.conv(x, b.weight(array(6, 3, 1, 1), "w")), axes=(2, 3), keepdims=True)
    return b.reshape(b.transpose(y, perm=(0, 2, 3, 1)), shape=(N, 6))


@pytest.mark.parametrize("build", [channel_shuffle, branches, squeezed])
def test_no_transposes_inside(tmp_path: Path, build: Build) -> None:
    assert not {"Permute", "Transpose"} & set(types(written(tmp_path, (N, 3, 5, 7), build)))


@pytest.mark.parametrize("shared", [2, 6])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_layers(tmp_path: Path, shared: int, masked: bool) -> None:
    """A layer of attention is the Keras layer, its kernels split into heads."""
    t, heads, width = Dim("T"), 6, 5
    sizes = [(heads * width, 8), (shared * width, 8), (shared * width, 8), (8, heads * width)]

    def build(b: Builder, x: Any) -> Any:
        ws = [b.weight(array(*s), f"w{i}", role=PARAMETER, trainable=True) for i, s in enumerate(sizes)]
        bs = [b.weight(array(s[0]), f"b{i}", role=PARAMETER, trainable=True) for i, s in enumerate(sizes)]
        mask = None
        if masked:
            mask = b.greater(b.unsqueeze(b.sum(x, axes=(2,)), axes=(1, 2)), b.const(-99.0, "float32"))
        return b.multi_head_attention(x, x, x, *ws, *bs, mask, heads=heads, kv_heads=shared, causal=True, empty="mean")

    model = written(tmp_path, (N, t, 8), build)
    kind = "MultiHeadAttention" if shared == heads else "GroupedQueryAttention"
    assert kind in types(model) and len(model.trainable_variables) == 8


# ---- Keras to Keras
def network() -> Any:
    x = keras.Input((13, 11, 3), name="image")
    y = L.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    y = L.BatchNormalization(momentum=0.83, name="norm")(y)
    y = L.SpatialDropout2D(0.2, name="spatial")(y)
    y = L.SeparableConv2D(7, 3, name="apart")(y)
    y = L.LayerNormalization(name="ln")(y)
    y = L.MaxPooling2D(2, name="pool")(y)
    y = L.Flatten(name="flat")(y)
    y = L.Dropout(0.35, name="drop")(y)
    model = keras.Model(x, L.Dense(5, activation="softmax", name="last")(y), name="network")
    model.get_layer("first").trainable = False
    randomise(model)
    return model


def executed(path: Path) -> Any:
    """The model that written code builds, with its weights."""
    space: dict[str, Any] = {"__file__": str(path), "__name__": "written"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space["load_model"]()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".json", ".py"])
def test_every_container(tmp_path: Path, suffix: str) -> None:
    """Names, frozen layers, rates and momentum are carried, in all three."""
    model = network()
    result = convcore.convert(model, "keras", tmp_path / f"net{suffix}")
    assert result.report.ok
    if suffix == ".json":
        again = keras.models.model_from_json((tmp_path / "net.json").read_text())
        again.load_weights(tmp_path / "net.weights.h5")
    elif suffix == ".py":
        again = executed(tmp_path / "net.py")
    else:
        again = keras.models.load_model(tmp_path / f"net{suffix}", compile=False)
    assert [x.name for x in again.layers] == [x.name for x in model.layers]
    assert [type(x) for x in again.layers] == [type(x) for x in model.layers]
    assert not again.get_layer("first").trainable and again.get_layer("last").trainable
    assert again.get_layer("drop").rate == pytest.approx(0.35) and again.get_layer("spatial").rate == pytest.approx(0.2)
    assert again.get_layer("norm").momentum == pytest.approx(0.83)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    x = array(2, 13, 11, 3)
    assert error_of_range(numbers(again, x), numbers(model, x)) < 1e-5


def test_nested_models_stay_nested_and_shared(tmp_path: Path) -> None:
    i = keras.Input((6,), name="inner_in")
    inner = keras.Model(i, L.Dense(6, activation="tanh", name="inside")(L.Dense(7, name="wide")(i)), name="block")
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    model = keras.Model([a, b], L.Add(name="sum")([inner(a), inner(b)]), name="twice")
    randomise(model)
    convcore.convert(model, "keras", tmp_path / "n.keras")
    again = keras.models.load_model(tmp_path / "n.keras")
    assert isinstance(again.get_layer("block"), keras.Model) and len(again.variables) == len(model.variables) == 4
    assert [x.name for x in again.get_layer("block").layers][1:] == ["wide", "inside"]
    x = [array(2, 6), array(2, 6)]
    assert error_of_range(numbers(again, *x), numbers(model, *x)) < 1e-5
    convcore.convert(model, "keras", tmp_path / "f.keras", flat=True)
    flat = keras.models.load_model(tmp_path / "f.keras")
    assert not any(isinstance(x, keras.Model) for x in flat.layers) and len(flat.variables) == 4


def test_code_of_nested_shared_and_constant(tmp_path: Path) -> None:
    """A nested model is a function, a shared layer a variable, large constants a file; names that Keras gives operations
    itself are no layer's."""
    i = keras.Input((6,), name="inner_in")
    inner = keras.Model(i, L.Dense(6, name="inside")(L.Dense(7, name="wide")(i)), name="block")
    x = keras.Input((6,), name="class")
    both = L.Dense(6, name="both")
    y = L.Concatenate(name="joined")([both(inner(x)), both(inner(both(x)))])
    model = keras.Model(x, L.Dense(4, name="last")(y), name="net")
    randomise(model)
    convcore.convert(model, "keras", tmp_path / "n.py")
    text = (tmp_path / "n.py").read_text()
    assert "def block_block():" in text and "both = layers.Dense(6, " in text
    again = executed(tmp_path / "n.py")
    data = array(3, 6)
    assert len(again.variables) == len(model.variables)
    assert error_of_range(numbers(again, data), numbers(model, data)) < 1e-5


def test_code_of_constants_and_names(tmp_path: Path) -> None:
    graph = Graph("net")
    b = Builder(graph)
    x = b.input("x", "float32", (N, 6))
    with b.at(Origin("test", "min_97", "Linear")):
        y = b.linear(x, b.weight(array(6, 6), "w"))
    y = b.mul(b.unsqueeze(y, axes=(1,)), b.const(array(40, 6), "float32"))
    graph.outputs = [b.min(b.add(y, b.const(array(6), "float32")), axes=(1,))]
    assert convcore.convert(convcore.Model(graph, "test"), "keras", tmp_path / "n.py").report.ok
    again = executed(tmp_path / "n.py")
    assert "min_97_layer" in {x.name for x in again.layers} and (tmp_path / "n.constants.npz").exists()


def test_equal_layers_stay_two(tmp_path: Path) -> None:
    """Two layers without weights and of one configuration are no shared layer; one that is called twice is."""
    x = keras.Input((6,), name="x")
    shared = L.ReLU(name="shared")
    y = L.ReLU(name="b")(L.Dense(6, name="d")(L.ReLU(name="a")(x)))
    model = keras.Model(x, [shared(y), shared(x)], name="m")
    randomise(model)
    convcore.convert(model, "keras", tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert {t.name for t in again.layers} == {"x", "a", "d", "b", "shared"}
    assert types(again).count("ReLU") == 3


def test_without_keras_the_file_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcore_keras.runtime.keras3", lambda: None)
    report = convcore.convert(DATA / "keras_eras/tf215/seq_cnn.keras", "keras", tmp_path / "n.keras").report
    assert report.ok and "read back" in str(report.runtimes[1])
    with pytest.raises(FrameworkMissingError):
        monkeypatch.setattr("convcore_keras.emit.keras3", lambda: None)
        assert convcore.convert(DATA / "keras_eras/tf215/seq_cnn.keras", "keras", check=False).model


def test_live_model(tmp_path: Path) -> None:
    model = network()
    made = convcore.convert(model, "keras")
    assert isinstance(made.model, keras.Model)
    x = array(2, 13, 11, 3)
    assert error_of_range(numbers(made.model, x), numbers(model, x)) < 1e-5


def test_no_code_in_files(tmp_path: Path) -> None:
    convcore.convert(network(), "keras", tmp_path / "net.keras")
    text = zipfile.ZipFile(tmp_path / "net.keras").read("config.json").decode()
    assert "Lambda" not in text and "__lambda__" not in text
    modules = {x["module"] for x in json.loads(text)["config"]["layers"]}
    assert all(m == "keras.layers" or m.startswith("keras.src.ops.") for m in modules)


def test_suffixes(tmp_path: Path) -> None:
    for name in ("net.weights.h5", "net.model"):
        with pytest.raises(UsageError):
            convcore.convert(network(), "keras", tmp_path / name)
    assert not list(tmp_path.iterdir())


# ---- other formats
def test_onnx_images_have_their_channels_last(tmp_path: Path) -> None:
    """The default for Keras, said in the report; ``io_layout="source"`` keeps the order."""
    pytest.importorskip("onnx")
    x = keras.Input((13, 11, 3), name="image")
    model = keras.Model(x, L.Conv2D(5, 3, name="conv")(x))
    convcore.convert(model, "onnx", tmp_path / "net.onnx", io_layout="target")
    result = convcore.convert(tmp_path / "net.onnx", "keras", tmp_path / "net.keras")
    made = keras.models.load_model(tmp_path / "net.keras")
    assert made.inputs[0].shape == (None, 13, 11, 3) and types(made) == ["Conv2D"]
    assert result.report.ok and "axes 0, 2, 3, 1 of the source (target)" in str(result.report)
    convcore.convert(tmp_path / "net.onnx", "keras", tmp_path / "src.keras", io_layout="source")
    assert keras.models.load_model(tmp_path / "src.keras").inputs[0].shape == (None, 3, 13, 11)


APPS = [("MobileNetV2", 96, {"alpha": 0.35}), ("DenseNet121", 64, {})]
SLOW = [("EfficientNetB0", 64, {}), ("ResNet50V2", 64, {}), ("InceptionV3", 96, {}), ("Xception", 96, {})]


@pytest.mark.parametrize(
    ("name", "size", "options"), [APPS[0], *(pytest.param(*a, marks=pytest.mark.slow) for a in [*APPS[1:], *SLOW])]
)
def test_applications_from_onnx(tmp_path: Path, name: str, size: int, options: Any) -> None:
    """Back from ONNX without a transpose inside, with every parameter."""
    pytest.importorskip("onnx")
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=11, **options)
    rng = np.random.default_rng(3)
    for v in model.variables:
        if "moving_variance" in v.path or "gamma" in v.path:
            v.assign(rng.uniform(0.7, 1.3, v.shape))
        elif v.path.endswith(("bias", "beta", "moving_mean")):
            v.assign(rng.normal(0, 0.1, v.shape))
    convcore.convert(model, "onnx", tmp_path / "net.onnx", check=False)
    assert convcore.convert(tmp_path / "net.onnx", "keras", tmp_path / "net.keras").report.ok
    again = keras.models.load_model(tmp_path / "net.keras")
    assert not {"Permute", "Transpose"} & set(types(again))
    x = rng.random((2, size, size, 3)).astype(np.float32)
    assert error_of_range(numbers(again, x), numbers(model, x)) < 1e-4


ZOO = [
    "keras_eras/tf215/seq_cnn.keras", "keras_eras/tf213/shared_nested.h5", "keras_eras/k122/conv2.h5", "keras_eras/tf23/cudnn.h5",
    "keras_eras/tf215/norm_axes.keras", "keras_eras/misc3/bf.keras",
    "zoo/onnx-cntk-mnist/model.onnx",
    "zoo/onnx-pytorch03/pytorch_net1.onnx",
    "zoo/onnx-basic-pitch/nmp.onnx", "zoo/onnx-mesonet-tf2onnx/model.onnx",
]  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_recorded_models(name: str, tmp_path: Path) -> None:
    if not (DATA / name).exists():
        pytest.skip("not among the data")
    result = convcore.convert(DATA / name, "keras", tmp_path / "net.keras")
    assert result.report.ok and "Keras 3" in str(result.report.runtimes[1])


CAFFE = sorted(p.parent for p in (DATA / "caffe_conformance").glob("[!_]*/*/deploy.prototxt"))


@pytest.mark.parametrize("case", CAFFE[::6], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_caffe_layers(case: Path, tmp_path: Path) -> None:
    """A sixth of the recorded Caffe layers: equal, or refused by name."""
    weights = case / "weights.caffemodel"
    try:
        source = (case / "deploy.prototxt", weights) if weights.exists() else case / "deploy.prototxt"
        result = convcore.convert(source, "keras", tmp_path / "net.keras")
    except UnsupportedError as e:
        assert all(p.layer and p.why for p in e.problems)
        return
    assert result.report.ok


def test_keras_is_not_imported_to_write(tmp_path: Path) -> None:
    """Without the check, neither Keras nor a backend."""
    source = DATA / "keras_eras/tf215/seq_cnn.keras"
    code = (
        "import sys, convcore\n"
        f"convcore.convert({str(source)!r}, 'keras', {str(tmp_path / 'o.keras')!r}, check=False)\n"
        "assert not {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_have_names_that_tensorflow_takes(tmp_path: Path) -> None:
    """ONNX nodes without a name are called by their operator and place, as ``Conv@0``: no scope of a TensorFlow graph."""
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 0, 0, 1])
    info = onnx.helper.make_tensor_value_info
    w = onnx.numpy_helper.from_array(np.ones((5, 3, 2, 2), np.float32), "w")
    graph = onnx.helper.make_graph([node], "g", [info("x", 1, ["n", 3, 7, 11])], [info("y", 1, None)], [w])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    convcore.convert(tmp_path / "m.onnx", "keras", tmp_path / "m.keras")
    names = [layer.name for layer in keras.models.load_model(tmp_path / "m.keras").layers]
    assert len(names) > 2 and all(re.fullmatch("[A-Za-z0-9_>-]+", n) for n in names), names


def test_names_that_not_every_backend_takes_are_said(tmp_path: Path) -> None:
    """What TensorFlow 2.21 refused as a scope: every character but letters, digits, "_" and "-"; at the front of a model's name
    these two."""
    x = keras.Input((3,), name="the input")
    model = keras.Model(x, keras.layers.Dense(2, name="a:b")(keras.layers.Dense(4, name="c>")(x)), name="_net")
    made = convcore.convert(model, "keras", tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [v.name for v in again.layers] == ["the_input", "c_", "a_b"] and again.name == "net"
    (note,) = [n for n in made.report.notes if "not every backend" in n]
    assert note.endswith("are others: '_net' is 'net', 'the input' is 'the_input', 'a:b' is 'a_b' and 1 more")
