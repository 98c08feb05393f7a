"""What each layer is in files of every version of Keras: versions that mean the same stand together.

Where a line begins is where Keras changed. Sources: ``recurrent.py`` and ``K.rnn`` of Keras 1.2.2, 2.0.9 to 2.3.1, TensorFlow
2.0 to 2.15, Keras 3.0 to 3.15.1 (the records of ``layers/`` and ``recurrence.py`` name them one by one).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keras_helpers import problems
from test_layers_told import HEADS, LSTM, MHA, TWICE, graph_of, lone, zeros

from convcore.errors import ConvcoreError
from convcore.ir.graph import Graph

VERSIONS = [
    ("keras1", "1.2.2", ""),
    ("keras2", "2.0.9", "tensorflow"),
    ("keras2", "2.1.6", "tensorflow"),
    ("keras2", "2.2.4", "tensorflow"),
    ("keras2", "2.2.4", "theano"),
    ("keras2", "2.3.1", "tensorflow"),
    ("keras2", "2.3.1", "theano"),
    ("keras2", "2.3.1", ""),
    ("tf.keras", "2.1.6", ""),
    ("tf.keras", "2.2.4", ""),
    ("tf.keras", "2.3.0", ""),
    ("tf.keras", "2.4.0", ""),
    ("tf.keras", "2.5.0", ""),
    ("tf.keras", "2.15.0", ""),
    ("keras3", "3.0.0", ""),
    ("keras3", "3.3.3", ""),
    ("keras3", "3.4.0", ""),
    ("keras3", "3.9.0", ""),
    ("keras3", "3.10.0", ""),
    ("keras3", "3.11.0", ""),
    ("keras3", "3.14.0", ""),
    ("keras3", "3.15.0", ""),
    ("keras3", "", ""),
]
AFTER, AFTER_IMAGES = "GlobalAveragePooling1D", "GlobalAveragePooling2D"
"""Layers that look at the mask they are given."""
SEQ = (None, 5, 3)
FIX = (4, 5, 3)
GRU = zeros(kernel=(3, 6), recurrent_kernel=(2, 6), bias=(6,))
GRU2 = {**GRU, **zeros(bias=(2, 6))}
SIMPLE = zeros(kernel=(3, 2), recurrent_kernel=(2, 2), bias=(2,))
CELLS = lone("StackedRNNCells", {"cells": [lone("SimpleRNNCell", {"units": 2}), lone("SimpleRNNCell", {"units": 2})]})
STACKED = zeros(
    cell__cells__0__kernel=(3, 2), cell__cells__0__recurrent_kernel=(2, 2), cell__cells__0__bias=(2,),
    cell__cells__1__kernel=(2, 2), cell__cells__1__recurrent_kernel=(2, 2), cell__cells__1__bias=(2,),
)  # fmt: skip
DENSE = {f"layer/{k}": v for k, v in zeros(kernel=(3, 2), bias=(2,)).items()}
STATE = (None, 2)
CASES: dict[str, tuple[str, dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "lstm": ("LSTM", {"units": 2}, (SEQ,), {"weights": LSTM}),
    "lstm masked": ("LSTM", {"units": 2}, (SEQ,), {"weights": LSTM, "masked": True}),
    "lstm masked sequences": (
        "LSTM",
        {"units": 2, "return_sequences": True},
        (SEQ,),
        {"weights": LSTM, "masked": True, "behind": AFTER},
    ),
    "lstm masked from states": ("LSTM", {"units": 2}, (SEQ, STATE, STATE), {"weights": LSTM, "masked": True}),
    "lstm masked from states sequences": (
        "LSTM",
        {"units": 2, "return_sequences": True},
        (SEQ, STATE, STATE),
        {"weights": LSTM, "masked": True},
    ),
    "lstm masked from states backwards": (
        "LSTM",
        {"units": 2, "return_sequences": True, "go_backwards": True},
        (SEQ, STATE, STATE),
        {"weights": LSTM, "masked": True},
    ),
    "lstm masked from states unrolled": (
        "LSTM",
        {"units": 2, "return_sequences": True, "unroll": True},
        (SEQ, STATE, STATE),
        {"weights": LSTM, "masked": True},
    ),
    "lstm masked zero": ("LSTM", {"units": 2, "zero_output_for_mask": True}, (SEQ,), {"weights": LSTM, "masked": True}),
    "gru": ("GRU", {"units": 2, "reset_after": False}, (SEQ,), {"weights": GRU}),
    "gru by default": ("GRU", {"units": 2}, (SEQ,), {"weights": GRU2}),
    "gru by default 1": ("GRU", {"units": 2}, (SEQ,), {"weights": GRU}),
    "simple": ("SimpleRNN", {"units": 2}, (SEQ,), {"weights": SIMPLE}),
    "simple masked backwards": (
        "SimpleRNN",
        {"units": 2, "go_backwards": True, "return_sequences": True},
        (SEQ,),
        {"weights": SIMPLE, "masked": True, "behind": AFTER},
    ),
    "stacked": ("RNN", {"cell": CELLS}, (SEQ,), {"weights": STACKED}),
    "stacked masked": ("RNN", {"cell": CELLS}, (SEQ,), {"weights": STACKED, "masked": True}),
    "stacked masked unrolled": ("RNN", {"cell": CELLS, "unroll": True}, (SEQ,), {"weights": STACKED, "masked": True}),
    "stacked states": ("RNN", {"cell": CELLS, "return_state": True}, (SEQ,), {"weights": STACKED}),
    "stacked from states": ("RNN", {"cell": CELLS}, (SEQ, STATE, STATE), {"weights": STACKED}),
    "bidirectional": (
        "Bidirectional",
        {"layer": lone("LSTM", {"units": 2}), "backward_layer": lone("LSTM", {"units": 2, "go_backwards": True})},
        (SEQ,),
        {"weights": TWICE, "masked": True},
    ),
    "bidirectional sequences": (
        "Bidirectional",
        {
            "merge_mode": "ave",
            "layer": lone("LSTM", {"units": 2, "return_sequences": True}),
            "backward_layer": lone("LSTM", {"units": 2, "return_sequences": True, "go_backwards": True}),
        },
        (SEQ,),
        {"weights": TWICE, "masked": True, "behind": AFTER},
    ),
    "distributed": (
        "TimeDistributed",
        {"layer": lone("Dense", {"units": 2})},
        (SEQ,),
        {"weights": DENSE, "masked": True, "behind": AFTER},
    ),
    "distributed fixed": (
        "TimeDistributed",
        {"layer": lone("Dense", {"units": 2})},
        (FIX,),
        {"weights": DENSE, "masked": True, "behind": AFTER},
    ),
    "distributed softmax": ("TimeDistributed", {"layer": lone("Softmax", {})}, (SEQ,), {"masked": True, "behind": AFTER}),
    "distributed softmax 4": ("TimeDistributed", {"layer": lone("Softmax", {})}, ((None, 5, 3, 2),), {"masked": True}),
    "distributed masking": (
        "TimeDistributed",
        {"layer": lone("Masking", {"mask_value": 1.0})},
        ((None, 5, 3, 2),),
        {"behind": AFTER_IMAGES},
    ),
    "distributed masking fixed": (
        "TimeDistributed",
        {"layer": lone("Masking", {"mask_value": 1.0})},
        ((4, 5, 3, 2),),
        {"behind": AFTER_IMAGES},
    ),
    "distributed activation 4": (
        "TimeDistributed",
        {"layer": lone("Activation", {"activation": "relu"})},
        ((None, 5, 3, 2),),
        {"masked": True, "behind": AFTER_IMAGES},
    ),
    "distributed activation 4 fixed": (
        "TimeDistributed",
        {"layer": lone("Activation", {"activation": "relu"})},
        ((4, 5, 3, 2),),
        {"masked": True, "behind": AFTER_IMAGES},
    ),
    "conv lstm masked": (
        "ConvLSTM1D",
        {"filters": 1, "kernel_size": 1},
        ((None, 5, 3, 2),),
        {"weights": zeros(kernel=(1, 2, 4), recurrent_kernel=(1, 1, 4), bias=(4,)), "masked": True},
    ),
    "softmax masked": ("Softmax", {}, (SEQ,), {"masked": True}),
    "softmax masked square": ("Softmax", {}, ((3, 3, 3),), {"masked": True}),
    "softmax by mask": ("Softmax", {}, (SEQ,), {"kwargs": {}, "masked": False}),
    "softmax axes": ("Softmax", {"axis": [1, 2]}, (SEQ,), {}),
    "hard sigmoid": ("Activation", {"activation": "hard_sigmoid"}, (SEQ,), {}),
    "leaky": ("LeakyReLU", {}, (SEQ,), {}),
    "attention masked": ("Attention", {}, (SEQ, SEQ), {"masked": True}),
    "attention masked of fixed": ("Attention", {"score_mode": "dot"}, (FIX, FIX), {"masked": True, "behind": AFTER}),
    "additive masked": ("AdditiveAttention", {"use_scale": False}, (SEQ, SEQ), {"masked": True}),
    "heads": ("MultiHeadAttention", MHA, (SEQ, SEQ), {"weights": HEADS}),
    "heads masked": ("MultiHeadAttention", MHA, (SEQ, SEQ), {"weights": HEADS, "masked": True, "behind": AFTER}),
    "heads causal": (
        "MultiHeadAttention",
        MHA,
        (SEQ, SEQ),
        {"weights": HEADS, "masked": True, "kwargs": {"use_causal_mask": True}},
    ),
    "heads scores": ("MultiHeadAttention", MHA, (SEQ, SEQ), {"weights": HEADS, "kwargs": {"return_attention_scores": True}}),
    "heads dropped": ("MultiHeadAttention", {**MHA, "dropout": 0.5}, (SEQ, SEQ), {"weights": HEADS, "masked": True}),
    "add masked": ("Add", {}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "average masked": ("Average", {}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "maximum masked": ("Maximum", {}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "multiply masked": ("Multiply", {}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "subtract masked": ("Subtract", {}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "concatenate masked": ("Concatenate", {"axis": 1}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "concatenate last masked": ("Concatenate", {"axis": -1}, (SEQ, SEQ), {"masked": True, "behind": AFTER}),
    "dot": ("Dot", {"axes": 2, "normalize": True}, (SEQ, SEQ), {}),
    "dot 4": ("Dot", {"axes": 1}, ((None, 5, 3, 2), (None, 5, 3)), {}),
    "average of steps": (AFTER, {}, (SEQ,), {"masked": True}),
    "average of steps kept": (AFTER, {"keepdims": True, "data_format": "channels_first"}, (SEQ,), {"masked": False}),
    "flatten first": ("Flatten", {"data_format": "channels_first"}, (SEQ,), {}),
    "flatten first of a vector": ("Flatten", {"data_format": "channels_first"}, ((None,),), {}),
    "flatten": ("Flatten", {}, ((None,),), {}),
    "flatten masked": ("Flatten", {}, (SEQ,), {"masked": True}),
    "dense masked": (
        "Dense",
        {"units": 2},
        (SEQ,),
        {"weights": zeros(kernel=(3, 2), bias=(2,)), "masked": True, "behind": AFTER},
    ),
    "conv masked": (
        "Conv1D",
        {"filters": 2, "kernel_size": 1},
        (SEQ,),
        {"weights": zeros(kernel=(1, 3, 2), bias=(2,)), "masked": True, "behind": AFTER},
    ),
    "reshape masked": ("Reshape", {"target_shape": [5, 3]}, (SEQ,), {"masked": True, "behind": AFTER}),
    "permute masked": ("Permute", {"dims": [1, 2]}, (SEQ,), {"masked": True, "behind": AFTER}),
    "pad masked": ("ZeroPadding1D", {"padding": 1}, (SEQ,), {"masked": True, "behind": AFTER}),
    "pool masked": ("MaxPooling1D", {"pool_size": 2}, (SEQ,), {"masked": True, "behind": AFTER}),
    "norm": ("BatchNormalization", {}, (SEQ,), {"weights": zeros(gamma=(3,), beta=(3,), moving_mean=(3,), moving_variance=(3,))}),
    "norm masked": ("LayerNormalization", {}, (SEQ,), {"weights": zeros(gamma=(3,), beta=(3,)), "masked": True, "behind": AFTER}),
    "norm of axes": (
        "BatchNormalization",
        {"axis": [1, 2]},
        (SEQ,),
        {"weights": {k: zeros(a=(1, 5, 3))["a"] for k in ("gamma", "beta", "moving_mean", "moving_variance")}},
    ),
    "norm of virtual batches": (
        "BatchNormalization",
        {"axis": [3], "virtual_batch_size": 2},
        (SEQ,),
        {"weights": {k: zeros(a=(1, 1, 1, 3))["a"] for k in ("gamma", "beta", "moving_mean", "moving_variance")}},
    ),
    "rms": ("LayerNormalization", {"rms_scaling": True}, (SEQ,), {"weights": zeros(gamma=(3,))}),
    "categories": ("CategoryEncoding", {"num_tokens": 4}, ((None, 3),), {"dtype": "int32"}),
    "categories one hot": ("CategoryEncoding", {"num_tokens": 4, "output_mode": "one_hot"}, ((None, 1),), {"dtype": "int32"}),
    "categories of steps": ("CategoryEncoding", {"num_tokens": 4, "output_mode": "one_hot"}, ((None, 3),), {"dtype": "int32"}),
    "categories of images": ("CategoryEncoding", {"num_tokens": 4}, ((None, 3, 2),), {"dtype": "int32"}),
    "crop": ("RandomCrop", {"height": 2, "width": 3}, ((None, 7, 5, 3),), {}),
    "crop whole": ("RandomCrop", {"height": 7, "width": 5}, ((None, 7, 5, 3),), {}),
    "embedding": (
        "Embedding",
        {"input_dim": 7, "output_dim": 2, "mask_zero": True},
        ((None, 5),),
        {"weights": zeros(embeddings=(7, 2)), "dtype": "int32", "behind": AFTER},
    ),
    "upsampling": ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, ((None, 7, 5, 3),), {}),
    "dropout masked": ("Dropout", {"rate": 0.5}, (SEQ,), {"masked": True, "behind": AFTER}),
    "conv of theano": (
        "Conv2D",
        {"filters": 2, "kernel_size": [2, 3], "padding": "same", "same_pads_front": (1, 1)},
        ((None, 7, 5, 3),),
        {"weights": zeros(kernel=(2, 3, 3, 2), bias=(2,))},
    ),
    "conv of one axis of theano": (
        "Conv1D",
        {"filters": 2, "kernel_size": [4], "padding": "same", "strides": [2], "same_pads_front": (2,)},
        (SEQ,),
        {"weights": zeros(kernel=(4, 3, 2), bias=(2,))},
    ),
    "conv that is causal": (
        "Conv1D",
        {"filters": 2, "kernel_size": [3], "padding": "causal", "dilation_rate": [2]},
        (SEQ,),
        {"weights": zeros(kernel=(3, 3, 2), bias=(2,))},
    ),
    "conv same": (
        "Conv1D",
        {"filters": 2, "kernel_size": [3], "padding": "same"},
        (SEQ,),
        {"weights": zeros(kernel=(3, 3, 2), bias=(2,))},
    ),
    "pool of theano": (
        "MaxPooling2D",
        {"pool_size": [2, 3], "padding": "same", "same_pads_front": (1, 1)},
        ((None, 7, 5, 3),),
        {},
    ),
    "mean of theano": ("AveragePooling1D", {"pool_size": 2, "padding": "same", "same_pads_front": (1,)}, (SEQ,), {}),
    "pool same": ("MaxPooling2D", {"pool_size": [2, 3], "padding": "same"}, ((None, 7, 5, 3),), {}),
    "lambda": ("Lambda", {"function": "f"}, (SEQ,), {}),
}
HELD = Path(__file__).parent / "data" / "eras.txt"


def text_of(graph: Graph) -> str:
    """Its nodes in a line: ops, attributes that are numbers or truth values, where inputs come from; or why it is refused."""
    if found := problems(graph):
        return "refused: " + "; ".join(f"{p.layer}: {p.why}" for p in found)
    names: dict[int, str] = {id(v): f"in{i}" for i, v in enumerate(graph.inputs)}
    lines = []
    for i, n in enumerate(graph.nodes):
        names |= {id(v): f"{i}.{j}" if j else f"{i}" for j, v in enumerate(n.outputs)}
        attrs = ",".join(f"{k}={v}" for k, v in sorted(n.attrs.items()) if not isinstance(v, str) and v not in (None, (), False))
        given = ",".join("-" if v is None else names.get(id(v), "w") for v in n.inputs)
        lines.append(f"{n.op}({given}{';' if attrs else ''}{attrs})")
    return " ".join([*lines, "->", *(names.get(id(v), "w") for v in graph.outputs)])


def of(name: str, era: str, version: str, backend: str) -> str:
    cls, config, shapes, more = CASES[name]
    try:
        return text_of(graph_of(cls, config, *shapes, **{**more, "era": era, "version": version, "backend": backend}))
    except ConvcoreError as e:
        return f"{type(e).__name__}: {e}"


def lines(name: str) -> Iterator[str]:
    last, versions = "", list[str]()
    for v in VERSIONS:
        now = of(name, *v)
        if versions and now != last:
            yield f"{', '.join(versions)}: {last}"
            versions = []
        last = now
        versions.append(" ".join(filter(None, v)))
    yield f"{', '.join(versions)}: {last}"


def held() -> dict[str, list[str]]:
    sections = HELD.read_text("utf-8").split("== ")[1:]
    return {s.split("\n", 1)[0]: s.rstrip("\n").split("\n")[1:] for s in sections}


def test_the_record_is_of_these_layers() -> None:
    if os.environ.get("CONVCORE_RECORD"):
        HELD.write_text("".join(f"== {n}\n" + "".join(f"{x}\n" for x in lines(n)) for n in CASES), "utf-8")
    assert held().keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_what_versions_mean(name: str) -> None:
    assert list(lines(name)) == held()[name]
