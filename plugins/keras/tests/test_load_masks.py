"""Masks travel as in Keras: which layers pass, merge, use and stop them. Judge: Keras 3 on torch.

The layer that makes the mask is given as an override here, so that these tests hold whatever ``rules/`` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, randomise, run

from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.rules import NotExpressible
from convcore_keras.files.model import LayerConfig
from convcore_keras.files.reader import read
from convcore_keras.layer_spec import spec_of
from convcore_keras.load_graph import GraphLoader

keras = pytest.importorskip("keras")
L = keras.layers


def masking(g: Any, node: Any) -> Any:
    """``keras.layers.Masking``: steps whose features all equal ``mask_value`` are zeroed and masked."""
    x, b = node.inputs[0], g.b
    mask = b.any(b.not_equal(x, b.like(x, float(node.attr("mask_value", 0.0)))), axes=(-1,), keepdims=False)
    y = b.mul(x, b.cast(b.unsqueeze(mask, axes=(2,)), to=x.dtype))
    g.set_mask(y, mask)
    return y


def data(seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(0, 1, (2, 5, 3)).astype(np.float32)
    x[0, 3:], x[1, 1] = 0, 0
    if seed:
        x[0, 2], x[1, 4] = 0, 0
    return x


POOL = L.GlobalAveragePooling1D
ONE: dict[str, Callable[[Any], Any]] = {
    "masking": lambda x: POOL()(x),
    "keepdims": lambda x: POOL(keepdims=True)(x),
    "dense": lambda x: POOL()(L.Dense(7)(x)),
    "activation": lambda x: POOL()(L.Activation("tanh")(L.LeakyReLU()(L.ReLU(threshold=0.2)(x)))),
    "dropout": lambda x: POOL()(L.Dropout(0.3)(L.SpatialDropout1D(0.2)(L.GaussianNoise(0.3)(x)))),
    "batchnorm": lambda x: POOL()(L.BatchNormalization()(x)),
    "layernorm": lambda x: POOL()(L.LayerNormalization()(x)),
    "prelu": lambda x: POOL()(L.PReLU()(L.ELU()(x))),
    "identity": lambda x: POOL()(L.Identity()(L.ActivityRegularization(0.1)(x))),
    "rescaling": lambda x: POOL()(L.Rescaling(0.5)(x)),
    "unit": lambda x: POOL()(L.UnitNormalization()(x)),
    "stopped-by-conv": lambda x: POOL()(L.Conv1D(7, 3, padding="same")(x)),
    "stopped-by-pool": lambda x: POOL()(L.MaxPooling1D(1)(x)),
    "stopped-by-reshape": lambda x: POOL()(L.Reshape((5, 3))(x)),
    "stopped-by-padding": lambda x: POOL()(L.ZeroPadding1D(1)(x)),
    "stopped-by-pool-out": lambda x: L.Dense(7)(POOL()(x)),
    "flatten-after": lambda x: L.Dense(7)(L.Flatten()(x)),
    "max-ignores": lambda x: L.GlobalMaxPooling1D()(x),
    "concat-unmasked": lambda x: POOL()(L.Concatenate()([x, L.Conv1D(3, 1)(x)])),
    "concat-time-unmasked": lambda x: POOL()(L.Concatenate(axis=1)([x, L.Conv1D(3, 2)(x)])),
    "add-unmasked": lambda x: POOL()(L.Add()([x, L.Conv1D(3, 1)(x)])),
    "max-unmasked": lambda x: POOL()(L.Maximum()([x, L.Conv1D(3, 1)(x)])),
    "mul-unmasked": lambda x: POOL()(L.Multiply()([L.Conv1D(3, 1)(x), x])),
    "add-same": lambda x: POOL()(L.Add()([x, L.Dense(3)(x)])),
    "nested": lambda x: POOL()(keras.Sequential([keras.Input((5, 3)), L.Dense(3), L.Dropout(0.1)], name="n")(x)),
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: POOL()(L.Add()([x, y])),
    "subtract": lambda x, y: POOL()(L.Subtract()([x, y])),
    "average": lambda x, y: POOL()(L.Average()([x, y])),
    "multiply": lambda x, y: POOL()(L.Multiply()([x, y])),
    "maximum": lambda x, y: POOL()(L.Maximum()([x, y])),
    "minimum": lambda x, y: POOL()(L.Minimum()([x, y])),
    "maximum-values": lambda x, y: L.Maximum()([x, y]),
    "multiply-values": lambda x, y: L.Multiply()([x, y]),
    "concat": lambda x, y: POOL()(L.Concatenate()([x, y])),
    "concat-time": lambda x, y: POOL()(L.Concatenate(axis=1)([x, y])),
    "dot": lambda x, y: POOL()(L.Dot(axes=2)([x, y])),
}


def compare(model: Any, arrays: list[np.ndarray], folder: Path) -> None:
    randomise(model)
    model.save(folder / "m.keras")
    want = [np.asarray(model(arrays if len(arrays) > 1 else arrays[0], training=False).detach().numpy())]
    graph = load_graph(folder / "m.keras", overrides={"Masking": masking})
    assert error_of_range(run(graph, arrays), want) < 1e-5


@pytest.mark.parametrize("name", ONE)
def test_one_mask(name: str, tmp_path: Path) -> None:
    a = keras.Input((5, 3), name="a")
    compare(keras.Model(a, ONE[name](L.Masking()(a))), [data()], tmp_path)


@pytest.mark.parametrize("name", TWO)
def test_two_masks(name: str, tmp_path: Path) -> None:
    a, b = keras.Input((5, 3), name="a"), keras.Input((5, 3), name="b")
    compare(keras.Model([a, b], TWO[name](L.Masking()(a), L.Masking()(b))), [data(), data(1)], tmp_path)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_with_a_mask(axis: int, tmp_path: Path) -> None:
    """A mask (batch, steps) meets scores (batch, steps) only as a call argument, or where the features were summed away."""
    a, m = keras.Input((5,), name="a"), keras.Input((5,), dtype="bool", name="m")
    model = keras.Model([a, m], L.Softmax(axis=axis)(a, mask=m))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(2).normal(0, 1, (3, 5)).astype(np.float32)
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    want = [np.asarray(model([x, mask]).detach().numpy())]
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [x, mask]), want) < 1e-6


def test_explicit_mask_of_pooling(tmp_path: Path) -> None:
    a, m = keras.Input((5, 3), name="a"), keras.Input((5,), dtype="bool", name="m")
    model = keras.Model([a, m], L.GlobalAveragePooling1D()(a, mask=m))
    model.save(tmp_path / "m.keras")
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], bool)
    want = [np.asarray(model([data(), mask]).detach().numpy())]
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [data(), mask]), want) < 1e-5


def test_the_table_is_keras_own(tmp_path: Path) -> None:
    """Every class that has a rule and supports masking in Keras says so in its record, and no other does."""
    from convcore_keras.rules import RULES

    args: dict[str, tuple[Any, ...]] = {
        "Activation": ("relu",), "Reshape": ((1,),), "Permute": ((1,),), "Resizing": (1, 1),
        **dict.fromkeys(("Dense", "Rescaling", "Dot", "RepeatVector"), (1,)), "MultiHeadAttention": (1, 1),
        "GroupQueryAttention": (1, 1, 1), "EinsumDense": ("ab,bc->ac", 1), "CategoryEncoding": (2,), "Lambda": (abs,),
        "Discretization": ([0.0, 1.0],), "SpectralNormalization": (L.Dense(1),), "CenterCrop": (1, 1), "RandomCrop": (1, 1),
        "ReversibleEmbedding": (1, 1), "RandomPosterization": (4,), "MaxNumBoundingBoxes": (3,), "Pipeline": ([],),
        "RandomFlip": (), "RandomTranslation": (0.1, 0.1),
    }  # fmt: skip
    for name in RULES.load_rules:
        cls = getattr(L, name, None)
        if cls is None or spec_of(name).masks == "own" or name.endswith("Cell") or name == "StackedRNNCells":
            continue
        if name in ("IntegerLookup", "StringLookup", "TextVectorization", "Hashing", "HashedCrossing", "STFTSpectrogram"):
            continue  # Keras makes none without TensorFlow or scipy
        default: tuple[Any, ...] = ()
        if name.startswith(("Conv", "Separable")):
            default = (1, 1)
        elif name.startswith(("Depthwise", "Average", "Adaptive")) and name != "Average":
            default = (1,)
        elif "Dropout" in name or "Noise" in name or name.startswith("Random"):
            default = (0.1,)
        layer = cls(*args.get(name, default))
        no_mask_out = name in ("Dot", "GlobalAveragePooling1D")  # their compute_mask returns None
        assert (spec_of(name).masks != "stop") == (layer.supports_masking and not no_mask_out), name


def test_old_keras_joins_masks_with_all(tmp_path: Path) -> None:
    """``Concatenate.compute_mask`` reduced with ALL before Keras 3.4, and Maximum did not look at masks."""
    a, b = keras.Input((5, 3), name="a"), keras.Input((5, 3), name="b")
    x, y = L.Masking()(a), L.Masking()(b)
    ends = [L.GlobalAveragePooling1D()(L.Concatenate()([x, y])), L.Maximum()([x, y])]
    keras.Model([a, b], ends).save(tmp_path / "m.keras")
    x, y = data(), data(1)
    m = x.any(-1) & y.any(-1)
    joined = np.concatenate([x, y], -1)
    want = ((joined * m[..., None]).sum(1) / m.sum(1)[:, None]).astype(np.float32)
    model = read(tmp_path / "m.keras")
    model.era, model.keras_version = "tf.keras", "2.15.0"
    for _, layer in model.walk():  # Keras 3 writes masks out, older Keras leaves them to the layers
        for call in layer.calls:
            call.kwargs.pop("mask", None)
    graph = GraphLoader(model, LoadRequest(None, overrides={"Masking": masking}, rules=host().rules("keras"))).run()
    got = run(graph, [x, y])
    assert error_of_range(got, [want, np.maximum(x, y)]) < 1e-5


def test_sublayers_get_their_own_variables(tmp_path: Path) -> None:
    """``g.sublayer`` for wrappers: the inner layer's weights are the wrapper's under a prefix, its mask is what it is given."""
    model = keras.Sequential([keras.Input((5, 3)), L.TimeDistributed(L.Dense(7, activation="relu"), name="td")])
    randomise(model)
    model.save(tmp_path / "m.keras")

    def wrapper(g: Any, node: Any) -> Any:
        layer = node.attr("layer")
        assert isinstance(layer, LayerConfig)
        (y,) = g.sublayer(node, layer, "layer", node.inputs)
        return y

    graph = load_graph(tmp_path / "m.keras", overrides={"TimeDistributed": wrapper})
    x = data()
    assert error_of_range(run(graph, [x]), [np.asarray(model(x).detach().numpy())]) < 1e-5
    assert sorted(graph.weights) == ["td/dense/bias", "td/dense/kernel"] or all(k.startswith("td/") for k in graph.weights)


O = keras.ops
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "equal": lambda x, y: O.equal(x, y),
    "equal-number": lambda x, y: O.equal(x, 0.0),
    "not-equal": lambda x, y: O.not_equal(x, y),
    "and": lambda x, y: O.logical_and(O.not_equal(x, 0.0), O.not_equal(y, 0.0)),
    "or": lambda x, y: O.logical_or(O.not_equal(x, 0.0), O.not_equal(y, 0.0)),
    "any": lambda x, y: O.any(O.not_equal(x, 0.0), axis=-1),
    "any-all-axes": lambda x, y: O.any(O.not_equal(x, 0.0)),
    "any-float": lambda x, y: O.any(x, axis=(1, 2), keepdims=True),
    "all": lambda x, y: O.all(O.not_equal(x, 0.0), axis=[1], keepdims=True),
    "expand": lambda x, y: O.expand_dims(x, 1),
    "expand-last": lambda x, y: O.expand_dims(x, -1),
    "zeros": lambda x, y: O.logical_or(O.zeros_like(x, dtype="bool"), O.not_equal(x, 0.0)),
    "zeros-float": lambda x, y: O.concatenate([x, O.zeros_like(x)], axis=1),
    "ones": lambda x, y: O.concatenate([O.ones_like(x, dtype="bool"), O.not_equal(x, 0.0)], axis=-1),
    "ones-float": lambda x, y: O.concatenate([O.ones_like(x), y], axis=2),
    "broadcast": lambda x, y: O.broadcast_to(O.any(O.not_equal(x, 0.0), axis=-1, keepdims=True), (2, 5, 7)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_compute_masks(name: str, tmp_path: Path) -> None:
    a, b = keras.Input((5, 3), name="a", batch_size=2), keras.Input((5, 3), name="b", batch_size=2)
    model = keras.Model([a, b], OPERATIONS[name](a, b))
    model.save(tmp_path / "m.keras")
    arrays = [data(), data(1)]
    want = [np.asarray(model(arrays).detach().numpy())]
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), arrays), want) == 0


def test_a_wrapper_that_fails_leaves_no_uses_and_no_masks(tmp_path: Path) -> None:
    """What a rule did beside the graph before it gave up is undone: numbers of calls do not skip, masks stay."""
    model = keras.Sequential([keras.Input((5, 3)), L.Dense(7, name="dense")])
    model.save(tmp_path / "m.keras")
    loaded = read(tmp_path / "m.keras")
    g = GraphLoader(loaded, LoadRequest(None, rules=host().rules("keras"))).g
    layer = loaded.root.layer("dense")
    g.list_layers([layer])
    x, mask = g.b.input("x", "float32", (2, 5, 3)), g.b.input("m", "bool", (2, 5))
    g.set_mask(x, mask)
    with pytest.raises(NotExpressible), g.b.attempt():
        assert [g.enter(layer).call, g.enter(layer).call] == [0, 1]
        g.set_mask(x, None)
        raise NotExpressible("gives up")
    assert g.mask(x) is mask
    assert [g.enter(layer).call, g.enter(layer).call] == [0, 1]
