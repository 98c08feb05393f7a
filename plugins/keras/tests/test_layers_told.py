"""What a layer is refused for, in its own words: what no file of a working model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras_helpers import problems, run

from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.ir.graph import Graph
from convcore.ir.tensors import ArrayTensor
from convcore_keras.code.source.custom import custom_code
from convcore_keras.files.model import Call, KerasModel, LayerConfig, ModelConfig, TensorRef
from convcore_keras.files.normalise import normalise
from convcore_keras.load_graph import GraphLoader

Shape = tuple[int | None, ...]


def zeros(**shapes: Shape) -> dict[str, np.ndarray]:
    return {k.replace("__", "/"): np.zeros(s, np.float32) for k, s in shapes.items()}


def lone(cls: str, config: dict[str, Any]) -> LayerConfig:
    return LayerConfig("inner", cls, cls, normalise(cls, config, "keras3", (3, 15), "inner"))


def graph_of(
    cls: str, config: dict[str, Any], *shapes: Shape, weights: dict[str, np.ndarray] | None = None, dtype: str = "float32",
    version: str = "3.15.1", era: str = "keras3", kwargs: dict[str, Any] | None = None, masked: bool = False,
    backend: str = "", behind: str = "", custom: Any = None, container: str = "keras-zip",
) -> Graph:  # fmt: skip
    """One layer, as the files hand it over, on inputs of these shapes (``masked``: the first behind a Masking; ``behind``: a
    layer after it; ``custom``: the source, if the layer is of its class ``Mine``)."""
    number = tuple(int(n) for n in version.split(".")[:2] if n)
    inputs = [
        LayerConfig(f"in{i}", "InputLayer", "InputLayer", {"batch_shape": s, "dtype": dtype}, calls=[Call()])
        for i, s in enumerate(shapes)
    ]
    refs = [TensorRef(x.name, 0, 0) for x in inputs]
    front = LayerConfig("front", "Masking", "Masking", {"mask_value": 0.0}, calls=[Call((refs[0],))])
    given = [TensorRef("front", 0, 0), *refs[1:]] if masked else refs
    plain = normalise(cls, config, era, number, "layer")
    held = {k: ArrayTensor(v) for k, v in (weights or {}).items()}
    layer = LayerConfig(
        "layer",
        cls,
        cls,
        plain,
        calls=[Call((given[0] if len(given) == 1 else given,), kwargs or {})],
        weights=held,
        custom=cls == "Mine",
    )
    layers = [*inputs, *([front] if masked else []), layer]
    if behind:
        layers.append(
            LayerConfig(
                "behind", behind, behind, normalise(behind, {}, era, number, "behind"), calls=[Call((TensorRef("layer", 0, 0),))]
            )
        )
    model = ModelConfig("m", "functional", "Functional", layers, refs, TensorRef(layers[-1].name, 0, 0))
    loader = GraphLoader(
        KerasModel(model, version, era, backend or None, container, None, ("m.keras",), True),
        LoadRequest(None, rules=host().rules("keras"), options={"custom": custom} if custom else {}),
        custom_code(custom) if custom else None,
    )
    return loader.run()


IMAGE: Shape = (None, 7, 5, 3)
MHA = {"num_heads": 2, "key_dim": 3}
HEADS = zeros(query__kernel=(3, 2, 3), key__kernel=(3, 2, 3), value__kernel=(3, 2, 3), output__kernel=(2, 3, 3))
HEADS |= zeros(query__bias=(2, 3), key__bias=(2, 3), value__bias=(2, 3), output__bias=(3,))
LSTM = zeros(kernel=(3, 8), recurrent_kernel=(2, 8), bias=(8,))
TWICE = {f"{side}_layer/{k}": v for side in ("forward", "backward") for k, v in LSTM.items()}
BN = {"moving_mean": (1, 1, 3), "moving_variance": (1, 1, 3)}


def both(**backward: Any) -> dict[str, Any]:
    """A Bidirectional's configuration with a backward layer of its own."""
    return {"layer": lone("LSTM", {"units": 2}), "backward_layer": lone("LSTM", {"units": 2, **backward})}


TOLD: dict[str, tuple[Callable[[], Graph], str]] = {
    # ---- shapes
    "sizes": (lambda: graph_of("Reshape", {"target_shape": "a"}, (None, 6)), "target_shape='a' is not a list of sizes"),
    "two unknown": (
        lambda: graph_of("Reshape", {"target_shape": [-1, -1]}, (None, 6)),
        "target_shape=(-1, -1) has more than one unknown",
    ),
    "negative": (
        lambda: graph_of("Reshape", {"target_shape": [-2, 3]}, (None, 6)),
        "target_shape=(-2, 3) has more than one unknown",
    ),
    "divides": (
        lambda: graph_of("Reshape", {"target_shape": [-1, 4]}, (None, 6)),
        "6 elements do not divide into target_shape=(-1, 4)",
    ),
    "nothing": (
        lambda: graph_of("Reshape", {"target_shape": [-1, 0]}, (None, 6)),
        "6 elements do not divide into target_shape=(-1, 0)",
    ),
    "elements": (lambda: graph_of("Reshape", {"target_shape": [5]}, (None, 6)), "6 elements cannot become target_shape=(5,)"),
    "repeats": (lambda: graph_of("RepeatVector", {"n": 2}, (None, 5, 3)), "takes 2 axes, its input has 3"),
    "crops": (lambda: graph_of("Cropping1D", {"cropping": (1, 1)}, IMAGE), "cropping=((1, 1),) does not fit an input of 4 axes"),
    "negative crop": (lambda: graph_of("Cropping1D", {"cropping": (-1, 1)}, (None, 5, 3)), "cropping=((-1, 1),) is negative"),
    "all": (lambda: graph_of("Cropping1D", {"cropping": (2, 3)}, (None, 5, 3)), "leaves nothing of the input"),
    "causal": (
        lambda: graph_of(
            "Conv2D", {"filters": 2, "kernel_size": 2, "padding": "causal"}, IMAGE, weights=zeros(kernel=(2, 2, 3, 2), bias=(2,))
        ),
        "padding='causal' is not valid or same",
    ),
    # ---- joining
    "one": (lambda: graph_of("Subtract", {}, (None, 3)), "takes 2 inputs, has 1"),
    "three": (lambda: graph_of("Subtract", {}, (None, 3), (None, 3), (None, 3)), "takes 2 inputs, has 3"),
    "dot of one": (lambda: graph_of("Dot", {"axes": 1}, (None, 3)), "takes 2 inputs, has 1"),
    "axes of dot": (lambda: graph_of("Dot", {"axes": "a"}, (None, 3), (None, 3)), "axes='a' are not one axis per input"),
    "three axes": (
        lambda: graph_of("Dot", {"axes": [1, 1, 1]}, (None, 3), (None, 3)),
        "axes=[1, 1, 1] are not one axis per input",
    ),
    "dot of old": (
        lambda: graph_of("Dot", {"axes": 1}, IMAGE, IMAGE, era="keras2", version="2.2.4"),
        "Keras before 2.3 gives Dot of more",
    ),
    "cosine": (
        lambda: graph_of("Merge", {"mode": "cos"}, (None, 3, 2), (None, 3, 2), era="keras1", version="1.2.2"),
        "mode='cos' is known for two tensors of 2 axes",
    ),
    "mode": (
        lambda: graph_of("Merge", {"mode": "odd"}, (None, 3), (None, 3), era="keras1", version="1.2.2"),
        "mode='odd' is not known",
    ),
    "masked ranks": (
        lambda: graph_of("Maximum", {}, (None, 5, 3), (None, 3), masked=True),
        "merges masked inputs of different ranks",
    ),
    # ---- attention
    "query alone": (lambda: graph_of("Attention", {}, (None, 5, 3)), "takes query, value and key, has 1 inputs"),
    "four": (lambda: graph_of("Attention", {}, *[(None, 5, 3)] * 4), "takes query, value and key, has 4 inputs"),
    "image": (lambda: graph_of("Attention", {}, IMAGE, IMAGE), "is known for (batch, steps, features)"),
    "no value": (lambda: graph_of("MultiHeadAttention", MHA, (None, 5, 3), weights=HEADS), "takes a query and a value"),
    "causal image": (
        lambda: graph_of("MultiHeadAttention", MHA, IMAGE, IMAGE, weights=HEADS, kwargs={"use_causal_mask": True}),
        "is causal, or has a window, over more than one axis",
    ),
    "window": (
        lambda: graph_of("MultiHeadAttention", {**MHA, "sliding_window": 2}, IMAGE, IMAGE, weights=HEADS),
        "is causal, or has a window, over more than one axis",
    ),
    "some axes": (
        lambda: graph_of(
            "MultiHeadAttention",
            {**MHA, "attention_axes": [2]},
            IMAGE,
            IMAGE,
            weights=HEADS,
            kwargs={"return_attention_scores": True},
        ),
        "attends over some axes only, with a mask or with scores",
    ),
    # ---- normalisation
    "batch axis": (
        lambda: graph_of("BatchNormalization", {"axis": [0, 1]}, (None, 5, 3), weights=zeros(**BN)),
        "axis=[0, 1] of 3 axes",
    ),
    "beyond": (
        lambda: graph_of("BatchNormalization", {"axis": [1, 3]}, (None, 5, 3), weights=zeros(**BN)),
        "axis=[1, 3] of 3 axes",
    ),
    "no axes": (lambda: graph_of("BatchNormalization", {"axis": []}, (None, 5, 3), weights=zeros(**BN)), "axis=[] of 3 axes"),
    "sizes of axes": (
        lambda: graph_of("BatchNormalization", {"axis": [1, 2]}, (None, 5, 3), weights=zeros(**BN)),
        "moving_mean has shape (1, 1, 3), ('1', '5', '3') fits its axes",
    ),
    "gamma": (
        lambda: graph_of("LayerNormalization", {"axis": [2, 1]}, (None, 5, 3), weights=zeros(gamma=(5, 2), beta=(5, 3))),
        "gamma of shape [5, 2] does not fit axes [1, 2] of sizes [5, 3]",
    ),
    # ---- numbers and categories
    "text": (lambda: graph_of("Masking", {"mask_value": "a"}, (None, 5, 3)), "mask_value='a' is not a finite number"),
    "truth": (lambda: graph_of("Masking", {"mask_value": True}, (None, 5, 3)), "mask_value=True is not a finite number"),
    "infinite": (lambda: graph_of("Masking", {"mask_value": np.inf}, (None, 5, 3)), "mask_value=inf is not a finite number"),
    "half": (
        lambda: graph_of("Masking", {"mask_value": 0.5}, (None, 5, 3), dtype="int32"),
        "mask_value=0.5 is compared with integers",
    ),
    "scale": (lambda: graph_of("Rescaling", {"scale": "a"}, (None, 3)), "scale is not a number or a list of numbers"),
    "scale of nan": (
        lambda: graph_of("Rescaling", {"scale": [1.0, np.nan]}, (None, 2)),
        "scale is not a number or a list of numbers",
    ),
    "size of axis": (
        lambda: graph_of("Normalization", {"axis": 1, "mean": 0.0, "variance": 1.0}, (None, None, 3)),
        "the size of axis 1 of its input is not known",
    ),
    "mean": (
        lambda: graph_of("Normalization", {"axis": -1, "mean": [1.0, 2.0], "variance": 1.0}, (None, 3)),
        "mean of shape [2] does not fit axes [1] of sizes [3]",
    ),
    "sparse": (
        lambda: graph_of("CategoryEncoding", {"num_tokens": 3, "sparse": True}, (None, 5), dtype="int32"),
        "makes a sparse tensor",
    ),
    "tokens": (lambda: graph_of("CategoryEncoding", {}, (None, 5), dtype="int32"), "num_tokens is not stated"),
    "categories of old": (
        lambda: graph_of(
            "CategoryEncoding",
            {"num_tokens": 3, "output_mode": "one_hot"},
            (None, 5),
            dtype="int32",
            era="tf.keras",
            version="2.15.0",
        ),
        "encodes categories, which Keras before 3 gave other axes",
    ),
    "bins": (
        lambda: graph_of("Discretization", {"num_bins": 3}, (None, 5)),
        "its boundaries are not in the file: it was never adapted",
    ),
    "vocabulary": (lambda: graph_of("IntegerLookup", {}, (None, 5), dtype="int64"), "its vocabulary is not in its configuration"),
    "inverted": (
        lambda: graph_of("IntegerLookup", {"vocabulary": [3, 5], "invert": True}, (None, 5), dtype="int64"),
        "is inverted, weighs by",
    ),
    "tf-idf": (
        lambda: graph_of("IntegerLookup", {"vocabulary": [3, 5], "output_mode": "tf_idf"}, (None, 5), dtype="int64"),
        "is inverted, weighs by tf-idf or hashes unknown numbers",
    ),
    "hashes": (
        lambda: graph_of("IntegerLookup", {"vocabulary": [3, 5], "oov_method": "farmhash"}, (None, 5), dtype="int64"),
        "is inverted, weighs by tf-idf or hashes unknown numbers",
    ),
    "unknown": (
        lambda: graph_of("IntegerLookup", {"vocabulary": [3, 5], "num_oov_indices": 0}, (None, 5), dtype="int64"),
        "has no place for unknown numbers, and fails on them",
    ),
    "strings": (
        lambda: graph_of("Hashing", {"num_bins": 3}, (None, 5), dtype="int32"),
        "works on text, or on the digits of numbers as text",
    ),
    # ---- images
    "solarization": (lambda: graph_of("Solarization", {}, IMAGE), "inverts at random thresholds, at inference too"),
    "equalization": (lambda: graph_of("Equalization", {}, IMAGE), "is preprocessing that convcore does not map"),
    "crop": (
        lambda: graph_of("CenterCrop", {"height": 2, "width": 3}, (None, None, 5, 3)),
        "needs the height and width of its images",
    ),
    "random crop": (
        lambda: graph_of("RandomCrop", {"height": 2, "width": 3}, IMAGE, version="3.14.0"),
        "is of images of another size, which Keras before 3.15 resizes at inference and later ones do not",
    ),
    # ---- wrappers
    "constants": (
        lambda: graph_of("Bidirectional", {**both(go_backwards=True), "num_constants": 1}, (None, 5, 3), weights=TWICE),
        "its layers take constants beside the steps",
    ),
    "directions": (
        lambda: graph_of("Bidirectional", both(), (None, 5, 3), weights=TWICE),
        "both of its layers have go_backwards=False",
    ),
    "sequences": (
        lambda: graph_of("Bidirectional", both(go_backwards=True, return_sequences=True), (None, 5, 3), weights=TWICE),
        "its layers differ in return_sequences",
    ),
    "states": (
        lambda: graph_of("Bidirectional", both(go_backwards=True, return_state=True), (None, 5, 3), weights=TWICE),
        "its layers differ in return_state",
    ),
    "wrapped": (
        lambda: graph_of(
            "Bidirectional", {"layer": lone("Dense", {"units": 2}), "backward_layer": lone("Dense", {"units": 2})}, (None, 5, 3)
        ),
        "wraps 'Dense', which is not LSTM, GRU, SimpleRNN or RNN",
    ),
    "distributed": (lambda: graph_of("TimeDistributed", {"layer": None}, (None, 5, 3)), "its layer is missing or unknown"),
    "no time": (lambda: graph_of("TimeDistributed", {"layer": lone("Flatten", {})}, (None,)), "its input has no time axis"),
    "stateful": (
        lambda: graph_of(
            "ConvLSTM1D",
            {"filters": 1, "kernel_size": 1, "stateful": True},
            (None, 5, 3, 2),
            weights=zeros(kernel=(1, 2, 4), recurrent_kernel=(1, 1, 4), bias=(4,)),
        ),
        "is stateful: Keras carries its state from one call to the next",
    ),
    "stateful inside": (
        lambda: graph_of(
            "Bidirectional",
            {**both(go_backwards=True), "layer": lone("LSTM", {"units": 2, "stateful": True})},
            (None, 5, 3),
            weights=TWICE,
        ),
        "is stateful: Keras carries its state from one call to the next",
    ),
    "mask of samples": (
        lambda: graph_of("TimeDistributed", {"layer": lone("Softmax", {})}, (None, 5, 3), masked=True),
        "passes 'Softmax' one mask value per sample, which Keras cannot use",
    ),
    "spectral": (lambda: graph_of("SpectralNormalization", {"layer": None}, (None, 5, 3)), "its layer is not in the file"),
    # ---- masks that do not fit
    "heads of images masked": (
        lambda: graph_of("MultiHeadAttention", MHA, IMAGE, IMAGE, weights=HEADS, masked=True),
        "its inputs of more than 3 axes have masks",
    ),
    "mask of heads": (
        lambda: graph_of(
            "MultiHeadAttention",
            MHA,
            IMAGE,
            IMAGE,
            (None, 7, 5),
            weights=HEADS,
            kwargs={"attention_mask": TensorRef("in2", 0, 0)},
        ),
        "its mask does not have the axes of queries and keys",
    ),
    # ---- sizes
    "output shape": (
        lambda: graph_of(
            "Conv2DTranspose",
            {"filters": 2, "kernel_size": 3, "legacy_output_shape": [None, 9, 7, 2]},
            (None, None, 5, 3),
            weights=zeros(kernel=(3, 3, 2, 3), bias=(2,)),
            era="keras1",
            version="1.2.2",
        ),
        "its output_shape is fixed, so the input's sizes must be fixed too",
    ),
    "output does not follow": (
        lambda: graph_of(
            "Conv2DTranspose",
            {"filters": 2, "kernel_size": 3, "legacy_output_shape": [None, 19, 7, 2]},
            (None, 7, 5, 3),
            weights=zeros(kernel=(3, 3, 2, 3), bias=(2,)),
            era="keras1",
            version="1.2.2",
        ),
        "an output of 19 does not follow from an input of 7, kernel 3 and stride 1",
    ),
    "rms of other axes": (
        lambda: graph_of("RMSNormalization", {"axis": [1]}, (None, 5, 3), weights=zeros(scale=(5,))),
        "axis=[1]: with a scale, Keras's backends differ over axes that are not the last of 3",
    ),
    # ---- recurrent layers
    "no cell": (lambda: graph_of("RNN", {"cell": None}, (None, 5, 3)), "its cell is missing or unknown"),
    "no cells": (lambda: graph_of("RNN", {"cell": lone("StackedRNNCells", {"cells": []})}, (None, 5, 3)), "it has no cells"),
    "cell of another class": (
        lambda: graph_of("RNN", {"cell": lone("Dense", {"units": 2})}, (None, 5, 3)),
        "its cell 'Dense' is not LSTMCell, GRUCell or SimpleRNNCell",
    ),
    "constants of a cell": (
        lambda: graph_of("LSTM", {"units": 2, "num_constants": 1}, (None, 5, 3), weights=LSTM),
        "its cell takes constants beside the steps",
    ),
    "states of an lstm": (
        lambda: graph_of("LSTM", {"units": 2}, (None, 5, 3), (None, 2), weights=LSTM),
        "it is called with 1 initial states, it has 2",
    ),
    "activation of an lstm": (
        lambda: graph_of("LSTM", {"units": 2, "activation": "sparsemax"}, (None, 5, 3), weights=LSTM),
        "its activation 'sparsemax' has no counterpart inside a recurrent layer",
    ),
    "mask of images": (
        lambda: graph_of(
            "ConvLSTM1D",
            {"filters": 1, "kernel_size": 1},
            (None, 5, 3, 2),
            masked=True,
            weights=zeros(kernel=(1, 2, 4), recurrent_kernel=(1, 1, 4), bias=(4,)),
        ),
        "it is given a mask of 3 axes, Keras's recurrent layers take (samples, steps)",
    ),
    # ---- wrappers
    "bidirectional of a dense": (
        lambda: graph_of("Bidirectional", {"layer": None, "backward_layer": None}, (None, 5, 3)),
        "which is not LSTM, GRU, SimpleRNN or RNN",
    ),
    "merge mode": (
        lambda: graph_of("Bidirectional", {**both(go_backwards=True), "merge_mode": "odd"}, (None, 5, 3), weights=TWICE),
        "merge_mode",
    ),
    "unknown inside": (
        lambda: graph_of(
            "Bidirectional",
            {
                "layer": lone("LSTM", {"units": 2, "strange": 1}),
                "backward_layer": lone("LSTM", {"units": 2, "go_backwards": True}),
            },
            (None, 5, 3),
            weights=TWICE,
        ),
        "attributes of its layer 'inner' with unknown meaning: strange=1",
    ),
    "both ways alike": (
        lambda: graph_of(
            "Bidirectional",
            {
                "layer": lone("ConvLSTM1D", {"filters": 1, "kernel_size": 1}),
                "backward_layer": lone("ConvLSTM1D", {"filters": 1, "kernel_size": 1}),
            },
            (None, 5, 3, 2),
        ),
        "its layers do not run forwards and backwards alike",
    ),
    "both ways masked": (
        lambda: graph_of(
            "Bidirectional",
            {
                "layer": lone("ConvLSTM1D", {"filters": 1, "kernel_size": 1}),
                "backward_layer": lone("ConvLSTM1D", {"filters": 1, "kernel_size": 1, "go_backwards": True}),
            },
            (None, 5, 3, 2),
            masked=True,
        ),
        "wraps ConvLSTM1D, and its input has a mask",
    ),
    # ---- code
    "mask by code": (lambda: graph_of("Lambda", {"function": "f", "mask": 3}, (None, 3)), "makes a mask of its own by code"),
    "named": (
        lambda: graph_of("Lambda", {"function": "f"}, (None, 3)),
        "calls a function that the file names but does not hold ('f')",
    ),
}
"""By name: what makes it, and why it is refused."""


@pytest.mark.parametrize("name", TOLD)
def test_why_it_is_refused(name: str) -> None:
    make, why = TOLD[name]
    (p,) = problems(make())
    assert why in p.why and p.layer == "layer" and p.code


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_layers_that_drop_are_refused_in_training_where_they_drop(drop: float) -> None:
    """``training=True`` in the call itself: with a rate of 0 Keras computes the same."""
    said = {"training": True}
    attend = graph_of("MultiHeadAttention", {**MHA, "dropout": drop}, (None, 5, 3), (None, 5, 3), weights=HEADS, kwargs=said)
    recur = graph_of("LSTM", {"units": 2, "recurrent_dropout": drop}, (None, 5, 3), weights=LSTM, kwargs=said)
    plain = graph_of("Attention", {"dropout": drop}, (None, 5, 3), (None, 5, 3), kwargs=said)
    for found in (attend, recur, plain):
        whys = [p.why for p in problems(found)]
        assert whys == (["is called with training=True, so it behaves at inference as in training"] if drop else [])
    (p,) = problems(graph_of("BatchNormalization", {}, (None, 3), weights=zeros(gamma=(3,), beta=(3,), moving_mean=(3,),
                                                                                moving_variance=(3,)), kwargs=said))  # fmt: skip
    assert "is called with training=True" in p.why


def test_a_layer_of_every_step_sees_the_mask_of_its_steps() -> None:
    """Behind steps of zeros, which are masked, an LSTM gives what it gives without them (``TimeDistributed.call``, 3.15.1)."""
    rng = np.random.default_rng(5)
    weights = {f"layer/{k}": rng.normal(0, 1, v.shape).astype(np.float32) for k, v in LSTM.items()}
    config = {"layer": lone("LSTM", {"units": 2})}
    x = rng.normal(0, 1, (2, 5, 7, 3)).astype(np.float32)
    x[:, :, 4:] = 0
    (seen,) = run(graph_of("TimeDistributed", config, (None, 5, 7, 3), weights=weights, masked=True), [x])
    (short,) = run(graph_of("TimeDistributed", config, (None, 5, 4, 3), weights=weights), [x[:, :, :4]])
    (whole,) = run(graph_of("TimeDistributed", config, (None, 5, 7, 3), weights=weights), [x])
    assert np.allclose(seen, short, atol=1e-6) and not np.allclose(seen, whole, atol=1e-3)


def test_near_what_is_refused() -> None:
    """The nearest that is taken, for those limits that have one."""
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert np.array_equal(run(graph_of("Reshape", {"target_shape": [-1, 3]}, (None, 6)), [x])[0], x.reshape(2, 2, 3))
    assert np.array_equal(run(graph_of("Reshape", {"target_shape": [6, 1]}, (None, 6)), [x])[0], x.reshape(2, 6, 1))
    steps = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    assert np.array_equal(run(graph_of("Cropping1D", {"cropping": (2, 2)}, (None, 5, 3)), [steps])[0], steps[:, 2:3])
    assert np.array_equal(run(graph_of("Cropping1D", {"cropping": (0, 4)}, (None, 5, 3)), [steps])[0], steps[:, :1])
    assert np.array_equal(run(graph_of("Subtract", {}, (None, 6), (None, 6)), [x, 3 * x])[0], -2 * x)
    zero = np.where(steps == 3.0, 0, steps)
    whole = (steps.astype(np.int32),)
    (masked,) = run(graph_of("Masking", {"mask_value": 3.0}, (None, 5, 3), dtype="int32"), list(whole))
    assert np.array_equal(masked, whole[0]) and not np.array_equal(zero, steps)  # a step is masked where all of it is 3
    got = run(graph_of("RandomCrop", {"height": 7, "width": 5}, IMAGE, version="3.14.0"), [np.ones((1, 7, 5, 3), np.float32)])
    assert got[0].shape == (1, 7, 5, 3)
    wide = graph_of("RandomCrop", {"height": 2, "width": 3}, IMAGE, version="3.15.0")
    assert run(wide, [np.ones((1, 7, 5, 3), np.float32)])[0].shape == (1, 7, 5, 3)
    assert not problems(graph_of("Bidirectional", both(go_backwards=True), (None, 5, 3), weights=TWICE))
