"""Every layer, over its arguments, against Keras 3 (torch) itself. Sizes are pairwise distinct primes, weights seeded."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, randomise, run, saved_forms

keras = pytest.importorskip("keras")
from sweeps import layers_cases

L = keras.layers
LAST, FIRST = "channels_last", "channels_first"

Case = tuple[str, Callable[[], Any], list[tuple[int | None, ...]]]
CASES: list[Case] = []


def case(name: str, make: Callable[[], Any], *shapes: tuple[int | None, ...]) -> None:
    CASES.append((name, make, list(shapes)))


def spatial(d: int, layout: str, channels: int = 3) -> tuple[int, ...]:
    sizes = ((13,), (11, 13), (7, 11, 5))[d - 1]
    return (*sizes, channels) if layout == LAST else (channels, *sizes)


# ---- dense
case("dense", lambda: L.Dense(5, activation="relu"), (7,))
case("dense-rank3", lambda: L.Dense(5, use_bias=False), (3, 7))
case("dense-rank4", lambda: L.Dense(5, activation="softmax"), (3, 2, 7))
case("dense-unknown-size", lambda: L.Dense(5), (None, 7))
for _axes in (1, -1, (1, 1), (2, 1), (1, 2)):
    case(f"dot-{_axes}", lambda a=_axes: L.Dot(axes=a), (5, 5), (5, 5))
case("dot-2d", lambda: L.Dot(axes=1), (5,), (5,))
case("dot-2d-normal", lambda: L.Dot(axes=-1, normalize=True), (5,), (5,))
case("dot-3d-2d", lambda: L.Dot(axes=(1, 1)), (5, 7), (5,))
case("dot-2d-3d", lambda: L.Dot(axes=(1, 2)), (5,), (7, 5))
case("dot-4d", lambda: L.Dot(axes=(3, 1), normalize=True), (3, 7, 5), (5, 2))

# ---- convolutions
for _d, _Conv in ((1, L.Conv1D), (2, L.Conv2D), (3, L.Conv3D)):
    for _fmt in (LAST, FIRST):
        for _pad in ("valid", "same"):
            for _s, _dil in ((1, 1), (2, 1), (3, 1), (1, 2)):
                case(
                    f"conv{_d}d-{_fmt}-{_pad}-s{_s}-d{_dil}",
                    lambda C=_Conv, f=_fmt, p=_pad, s=_s, r=_dil: C(5, 3, strides=s, padding=p, dilation_rate=r, data_format=f),
                    spatial(_d, _fmt),
                )
case("conv2d-even", lambda: L.Conv2D(5, (2, 4), strides=(3, 2), padding="same", activation="elu"), (11, 13, 3))
case("conv2d-1x1", lambda: L.Conv2D(5, 1, strides=2, padding="same", use_bias=False), (11, 13, 3))
case("conv2d-groups", lambda: L.Conv2D(10, (3, 2), groups=2, padding="same"), (11, 13, 6))
case("conv2d-groups-first", lambda: L.Conv2D(6, 3, groups=3, data_format=FIRST), (6, 11, 13))
case("conv2d-unknown-size", lambda: L.Conv2D(5, 3, strides=2, padding="same"), (None, None, 3))
for _fmt in (LAST, FIRST):
    case(
        f"conv1d-causal-{_fmt}",
        lambda f=_fmt: L.Conv1D(5, 3, padding="causal", dilation_rate=2, data_format=f, activation="tanh"),
        spatial(1, _fmt),
    )
case("conv1d-causal-stride", lambda: L.Conv1D(5, 3, padding="causal", strides=2), (13, 3))
for _fmt in (LAST, FIRST):
    for _pad in ("valid", "same"):
        for _s in (1, 2):
            kw: dict[str, Any] = {"padding": _pad, "strides": _s, "data_format": _fmt}
            case(f"depthwise1d-{_fmt}-{_pad}-{_s}", lambda k=kw: L.DepthwiseConv1D(3, depth_multiplier=2, **k), spatial(1, _fmt))
            case(
                f"depthwise2d-{_fmt}-{_pad}-{_s}",
                lambda k=kw: L.DepthwiseConv2D((3, 2), depth_multiplier=2, **k),
                spatial(2, _fmt),
            )
            case(
                f"separable1d-{_fmt}-{_pad}-{_s}", lambda k=kw: L.SeparableConv1D(5, 3, depth_multiplier=2, **k), spatial(1, _fmt)
            )
            case(
                f"separable2d-{_fmt}-{_pad}-{_s}",
                lambda k=kw: L.SeparableConv2D(5, (3, 2), depth_multiplier=2, activation="relu", **k),
                spatial(2, _fmt),
            )
case("depthwise2d-dilated", lambda: L.DepthwiseConv2D(3, dilation_rate=2, use_bias=False, activation="relu6"), (11, 13, 3))
case("separable2d-dilated", lambda: L.SeparableConv2D(5, 3, dilation_rate=2, padding="same"), (11, 13, 3))
for _d, _ConvT in ((1, L.Conv1DTranspose), (2, L.Conv2DTranspose), (3, L.Conv3DTranspose)):
    for _fmt in (LAST, FIRST):
        for _pad in ("valid", "same"):
            for _k, _s, _dil, _op in (
                (3, 1, 1, None),
                (3, 2, 1, None),
                (4, 2, 1, None),
                (2, 3, 1, None),
                (3, 3, 1, None),
                (5, 2, 1, None),
                (3, 1, 2, None),
                (3, 2, 1, 1),
                (4, 3, 1, 2),
                (3, 3, 1, 0),
                (4, 2, 1, 0),
            ):
                if _d == 3 and (_k, _s) not in ((3, 2), (4, 3)):
                    continue
                case(
                    f"transpose{_d}d-{_fmt}-{_pad}-k{_k}-s{_s}-d{_dil}-o{_op}",
                    lambda C=_ConvT, f=_fmt, p=_pad, k=_k, s=_s, r=_dil, o=_op: C(
                        5, k, strides=s, padding=p, dilation_rate=r, output_padding=o, data_format=f, activation="tanh"
                    ),
                    spatial(_d, _fmt),
                )

# ---- pooling
for _d, _kinds in (
    (1, (L.MaxPooling1D, L.AveragePooling1D)),
    (2, (L.MaxPooling2D, L.AveragePooling2D)),
    (3, (L.MaxPooling3D, L.AveragePooling3D)),
):
    for _Pool in _kinds:
        for _fmt in (LAST, FIRST):
            for _pad in ("valid", "same"):
                for _k, _s in ((2, None), (3, 2), (2, 1), (3, 5)):
                    if "Average" in _Pool.__name__ and (_d, _pad, _s) == (3, "same", 5):
                        continue  # Keras on torch counts replicated edges as elements where it pads unevenly; TensorFlow does not
                    case(
                        f"{_Pool.__name__}-{_fmt}-{_pad}-{_k}-{_s}",
                        lambda P=_Pool, f=_fmt, p=_pad, k=_k, s=_s: P(k, strides=s, padding=p, data_format=f),
                        spatial(_d, _fmt),
                    )
    for _name in ("Average", "Max"):
        for _fmt in (LAST, FIRST):
            for _keep in (False, True):
                _Global = getattr(L, f"Global{_name}Pooling{_d}D")
                case(
                    f"{_Global.__name__}-{_fmt}-{_keep}",
                    lambda P=_Global, f=_fmt, k=_keep: P(data_format=f, keepdims=k),
                    spatial(_d, _fmt),
                )
case("global-unknown-size", lambda: L.GlobalAveragePooling2D(), (None, None, 3))
case("maxpool-uneven", lambda: L.MaxPooling2D((2, 3), strides=(3, 1), padding="same"), (11, 13, 3))
for _fmt in (LAST, FIRST):
    case(f"adaptive-average-{_fmt}", lambda f=_fmt: L.AdaptiveAveragePooling2D((5, 3), data_format=f), spatial(2, _fmt))
    case(f"adaptive-max-{_fmt}", lambda f=_fmt: L.AdaptiveMaxPooling1D(5, data_format=f), spatial(1, _fmt))

# ---- normalisation
for _axis in (-1, 1, 2):
    case(f"batchnorm-{_axis}", lambda a=_axis: L.BatchNormalization(axis=a, epsilon=0.01), (5, 7, 3))
case("batchnorm-2d", lambda: L.BatchNormalization(), (7,))
case("batchnorm-noscale", lambda: L.BatchNormalization(scale=False), (5, 3))
case("batchnorm-nocenter", lambda: L.BatchNormalization(center=False), (5, 3))
case("batchnorm-bare", lambda: L.BatchNormalization(center=False, scale=False), (5, 3))
for _axis in (-1, [2, 3], [-2, -1], [1, 2, 3]):  # Keras on torch refuses others: test_layer_norm_over_any_axes
    case(f"layernorm-{_axis}", lambda a=_axis: L.LayerNormalization(axis=a, epsilon=0.01), (5, 7, 3))
case("layernorm-noscale", lambda: L.LayerNormalization(scale=False), (5, 3))
case("layernorm-nocenter", lambda: L.LayerNormalization(center=False), (5, 3))
case("layernorm-bare", lambda: L.LayerNormalization(center=False, scale=False), (5, 3))
case("groupnorm", lambda: L.GroupNormalization(3), (5, 7, 6))
case("groupnorm-first", lambda: L.GroupNormalization(2, axis=1, scale=False), (6, 5, 7))
case("groupnorm-instance", lambda: L.GroupNormalization(-1), (5, 7, 6))
case("rmsnorm", lambda: L.RMSNormalization(epsilon=0.01), (5, 7))
case("rmsnorm-2", lambda: L.RMSNormalization(axis=[1, 2], epsilon=0.01), (5, 7))
case("unitnorm", lambda: L.UnitNormalization(axis=[1, 2]), (5, 7))
case("unitnorm-1", lambda: L.UnitNormalization(), (5, 7))

# ---- activations
for _a in (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
):
    case(f"activation-{_a}", lambda a=_a: L.Activation(a), (5, 7))
    case(f"fused-{_a}", lambda a=_a: L.Dense(5, activation=a), (7,))
case("activation-glu", lambda: L.Activation("glu"), (5, 14))
case("fused-layer", lambda: L.Dense(5, activation=L.LeakyReLU(negative_slope=0.17)), (7,))
case("activation-layer", lambda: L.Activation(L.ReLU(max_value=1.5)), (7,))
for _m in (None, 1.5, 6.0):
    for _n in (0.0, 0.3):
        for _t in (0.0, 0.4):
            case(f"relu-{_m}-{_n}-{_t}", lambda m=_m, n=_n, t=_t: L.ReLU(max_value=m, negative_slope=n, threshold=t), (5, 7))
case("leaky", lambda: L.LeakyReLU(), (5, 7))
case("elu", lambda: L.ELU(alpha=0.6), (5, 7))
case("prelu", lambda: L.PReLU(), (5, 7))
case("prelu-shared", lambda: L.PReLU(shared_axes=[1, 2]), (5, 7, 3))
for _axis in (-1, 1, [1, 2], [2]):
    case(f"softmax-{_axis}", lambda a=_axis: L.Softmax(axis=a), (5, 7, 3))

# ---- merging
for _Merge in (L.Add, L.Multiply, L.Average, L.Maximum, L.Minimum):
    case(f"{_Merge.__name__}-2", lambda M=_Merge: M(), (5, 7), (5, 7))
    case(f"{_Merge.__name__}-3", lambda M=_Merge: M(), (5, 7), (5, 7), (5, 7))
    case(f"{_Merge.__name__}-broadcast", lambda M=_Merge: M(), (5, 7), (1, 7), (5, 1))
    case(f"{_Merge.__name__}-ranks", lambda M=_Merge: M(), (3, 5, 7), (7,), (5, 7))
case("Subtract", lambda: L.Subtract(), (5, 7), (5, 7))
case("Subtract-ranks", lambda: L.Subtract(), (7,), (5, 7))
for _axis in (-1, 1, 2):
    case(f"Concatenate-{_axis}", lambda a=_axis: L.Concatenate(axis=a), (5, 7), (5, 7), (5, 7))
case("Concatenate-sizes", lambda: L.Concatenate(axis=1), (5, 7), (3, 7), (11, 7))

# ---- shapes
case("flatten", lambda: L.Flatten(), (5, 7, 3))
case("flatten-first", lambda: L.Flatten(data_format=FIRST), (3, 5, 7))
case("flatten-flat", lambda: L.Flatten(), (7,))
case("reshape", lambda: L.Reshape((7, 15)), (5, 7, 3))
case("reshape-rest", lambda: L.Reshape((7, -1, 3)), (5, 7, 3))
case("reshape-unknown", lambda: L.Reshape((-1, 3)), (None, 7, 3))
case("permute", lambda: L.Permute((3, 1, 2)), (5, 7, 3))
case("repeatvector", lambda: L.RepeatVector(5), (7,))
case("zeropad1", lambda: L.ZeroPadding1D((2, 3)), (7, 3))
case("zeropad1-first", lambda: L.ZeroPadding1D((2, 1), data_format=FIRST), (3, 7))
case("zeropad2", lambda: L.ZeroPadding2D(((1, 2), (3, 0))), (5, 7, 3))
case("zeropad2-int", lambda: L.ZeroPadding2D(2), (5, 7, 3))
case("zeropad2-first", lambda: L.ZeroPadding2D((1, 2), data_format=FIRST), (3, 5, 7))
case("zeropad3", lambda: L.ZeroPadding3D(((1, 2), (3, 0), (0, 1))), (5, 7, 2, 3))
case("crop1", lambda: L.Cropping1D((2, 3)), (11, 3))
case("crop1-unknown", lambda: L.Cropping1D((2, 0)), (None, 3))
case("crop2", lambda: L.Cropping2D(((1, 2), (3, 0))), (5, 7, 3))
case("crop2-first", lambda: L.Cropping2D((1, 2), data_format=FIRST), (3, 5, 7))
case("crop3", lambda: L.Cropping3D(((1, 2), (3, 0), (0, 1))), (5, 7, 2, 3))
case("up1", lambda: L.UpSampling1D(3), (7, 3))
case("up2", lambda: L.UpSampling2D((2, 3)), (5, 7, 3))
case("up2-first", lambda: L.UpSampling2D((2, 3), data_format=FIRST), (3, 5, 7))
case("up2-bilinear", lambda: L.UpSampling2D((2, 3), interpolation="bilinear"), (5, 7, 3))
case("up2-bilinear-first", lambda: L.UpSampling2D((3, 2), interpolation="bilinear", data_format=FIRST), (3, 5, 7))
case("up3", lambda: L.UpSampling3D((2, 3, 1)), (5, 7, 2, 3))
case("up3-first", lambda: L.UpSampling3D((2, 1, 3), data_format=FIRST), (3, 5, 7, 2))

# ---- identities at inference
for _name, _make in {
    "dropout": lambda: L.Dropout(0.5),
    "spatial1": lambda: L.SpatialDropout1D(0.5),
    "gaussian": lambda: L.GaussianDropout(0.5),
    "noise": lambda: L.GaussianNoise(0.5),
    "alpha": lambda: L.AlphaDropout(0.5),
    "identity": lambda: L.Identity(),
    "activity": lambda: L.ActivityRegularization(0.1, 0.2),
}.items():
    case(_name, _make, (5, 7))
case("spatial2", lambda: L.SpatialDropout2D(0.5), (5, 7, 3))
case("spatial3", lambda: L.SpatialDropout3D(0.5, data_format=FIRST), (3, 5, 7, 2))

# ---- preprocessing
case("rescaling", lambda: L.Rescaling(1 / 127.5, offset=-1.0), (5, 7, 3))
case("rescaling-list", lambda: L.Rescaling([0.5, 0.2, 3.0], offset=[1.0, 2.0, 0.5]), (5, 7, 3))
case("normalization-given", lambda: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.5, 1.5, 2.5]), (5, 3))
case("normalization-scalar", lambda: L.Normalization(axis=None, mean=1.5, variance=2.5), (5, 3))
case("normalization-invert", lambda: L.Normalization(mean=1.5, variance=2.5, invert=True), (5, 3))
case("normalization-axis1", lambda: L.Normalization(axis=1), (5, 3))
case("normalization-axes", lambda: L.Normalization(axis=(1, -1)), (5, 7, 3))
for _size in ((11, 13), (3, 4), (5, 2)):
    case(f"resizing-{_size}", lambda s=_size: L.Resizing(*s), (5, 7, 3))
    case(f"resizing-nearest-{_size}", lambda s=_size: L.Resizing(*s, interpolation="nearest"), (5, 7, 3))
case("resizing-first", lambda: L.Resizing(11, 4, data_format=FIRST), (3, 5, 7))


@pytest.mark.parametrize(("name", "make", "shapes"), CASES, ids=[c[0] for c in CASES])
def test_layer_agrees_with_keras(name: str, make: Callable[[], Any], shapes: list[Any], tmp_path: Path) -> None:
    inputs = [keras.Input(s, name=f"in{i}") for i, s in enumerate(shapes)]
    layer = make()
    if isinstance(layer, L.Normalization) and layer.input_mean is None:
        layer.build((None, *shapes[0]))
    model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]), name="m")
    randomise(model)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    arrays = [rng.normal(0, 2, (2, *(9 if n is None else n for n in s))).astype(np.float32) for s in shapes]
    want = [np.asarray(model(arrays if len(arrays) > 1 else arrays[0], training=False).detach().numpy())]
    for source, weights in saved_forms(model, tmp_path).values():
        graph = load_graph(source, weights)
        got = run(graph, arrays)
        assert error_of_range(got, want) < 1e-5
        assert [v.name for v in graph.outputs] == [layer.name]
        shape = graph.outputs[0].shape
        assert shape is not None and all(not isinstance(n, int) or n == m for n, m in zip(shape, want[0].shape, strict=True))


@pytest.mark.parametrize("axis", [1, 2, [1, 2], [-1, 1], [3, 1]])
def test_layer_norm_over_any_axes(axis: Any, tmp_path: Path) -> None:
    """Against numpy: gamma and beta are made with the sizes of ``sorted(axis)`` and reshaped to the order of the axes."""
    model = keras.Sequential([keras.Input((5, 7, 3)), L.LayerNormalization(axis=-1, epsilon=0.01)])
    model.save(tmp_path / "last.keras")
    rank, sizes = 4, (2, 5, 7, 3)
    axes = sorted(a % rank for a in ([axis] if isinstance(axis, int) else axis))
    rng = np.random.default_rng(5)
    order = sorted(axis) if isinstance(axis, list) else [axis]
    gamma, beta = (rng.normal(1, 0.5, [sizes[a] for a in order]).astype(np.float32) for _ in range(2))
    x = rng.normal(0, 2, sizes).astype(np.float32)
    wide = [sizes[i] if i in axes else 1 for i in range(rank)]
    y = (x - x.mean(tuple(axes), keepdims=True)) / np.sqrt(x.var(tuple(axes), keepdims=True) + 0.01)
    want = y * gamma.reshape(wide) + beta.reshape(wide)
    config = json.loads(model.to_json())
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "LayerNormalization":
            layer["config"]["axis"] = order if isinstance(axis, list) else axis
    (tmp_path / "m.json").write_text(json.dumps(config))
    with h5py.File(tmp_path / "m.weights.h5", "w") as f:
        f["layers/layer_normalization/vars/0"], f["layers/layer_normalization/vars/1"] = gamma, beta
    assert error_of_range(run(load_graph(tmp_path / "m.json", tmp_path / "m.weights.h5"), [x]), [want]) < 1e-5


@pytest.mark.parametrize("axis", [[-1, -2], [2, 1]])
def test_rms_norm_whose_axes_are_listed_in_another_order(axis: Any, tmp_path: Path) -> None:
    """Keras sorts them before it makes the scale: of a square, its shape does not tell."""
    model = keras.Sequential([keras.Input((5, 5), name="x"), L.RMSNormalization(axis=axis, epsilon=0.01)])
    randomise(model)
    x = np.random.default_rng(4).normal(0, 2, (2, 5, 5)).astype(np.float32)
    want = np.asarray(model(x).detach().numpy())
    model.save_weights(tmp_path / "m.weights.h5")
    config = json.loads(model.to_json())
    (layer,) = [c for c in config["config"]["layers"] if c["class_name"] == "RMSNormalization"]
    assert layer["config"]["axis"] == sorted(axis)
    layer["config"]["axis"] = axis
    (tmp_path / "m.json").write_text(json.dumps(config))
    assert error_of_range(run(load_graph(tmp_path / "m.json", tmp_path / "m.weights.h5"), [x]), [want]) < 1e-5


@pytest.mark.parametrize("axis", [1, [1], [0, 1], -2])
def test_rms_norm_over_axes_that_are_not_the_last(axis: Any, tmp_path: Path) -> None:
    """TensorFlow and JAX multiply the scale along the last axis, torch normalises over that (Keras 3.15.1): no one meaning."""
    x = keras.Input(batch_shape=(5, 5, 5), name="x")
    layer = L.RMSNormalization(axis=axis)
    keras.Model(x, layer(x), name="m").save(tmp_path / "m.keras")
    (p,) = problems(load_graph(tmp_path / "m.keras"))
    assert "Keras's backends differ" in p.why and p.layer == layer.name


def test_the_table_covers_every_stateless_and_stateful_class_with_a_rule() -> None:
    """A rule nobody runs is no rule."""
    from convcore_keras.rules import RULES

    seen = {type(make()).__name__ for _, make, _ in CASES}
    elsewhere = {
        "ThresholdedReLU",
        "ParametricSoftplus",
        "MaxoutDense",
        "Highway",
        "Merge",  # extinct: test_load_files.py
        "TensorFlowOpLayer",  # TensorFlow 2.3 and older: test_node_def.py
        "AdaptiveAveragePooling1D",
        "AdaptiveAveragePooling3D",
        "AdaptiveMaxPooling2D",
        "AdaptiveMaxPooling3D",
        # test_rnn.py, test_masks.py
        "Embedding",
        "Masking",
        "LSTM",
        "GRU",
        "SimpleRNN",
        "RNN",
        "Bidirectional",
        "TimeDistributed",
        "ConvLSTM1D",
        "ConvLSTM2D",
        "ConvLSTM3D",
        "LSTMCell",
        "GRUCell",
        "SimpleRNNCell",
        "StackedRNNCells",
        "CustomScaleLayer",
        "LayerScale",
        # test_load_code.py
        "Lambda",
        "SlicingOpLambda",
        "TFOpLambda",
    }
    layers = {name for name in RULES.load_rules if not name.startswith("ops.")}  # operations: test_load_masks.py
    swept = {name for name in layers if name in (Path(__file__).parent / "test_sweeps.py").read_text(encoding="utf-8")}
    swept |= {re.split(r"[ (]", c.name.removeprefix("L."))[0] for c in layers_cases.cases()}
    assert layers - seen - elsewhere - swept == set()
