"""Every Keras 3 layer with variables, saved by Keras itself: names, order and values, in three containers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore_keras.files.reader import read

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", minversion="3.0")
L = keras.layers
S = (5, 7)
IMG = (5, 7, 3)

CASES: dict[str, tuple[tuple[int, ...], Callable[[], Any], int]] = {
    "dense": (S, lambda: L.Dense(3), 1),
    "einsum": (S, lambda: L.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), 1),
    "embedding": ((5,), lambda: L.Embedding(10, 4), 1),
    "conv1d": (S, lambda: L.Conv1D(4, 3), 1),
    "conv2d_groups": ((5, 7, 4), lambda: L.Conv2D(6, (2, 3), groups=2), 1),
    "conv3d": ((5, 7, 3, 2), lambda: L.Conv3D(4, 2), 1),
    "conv1d_transpose": (S, lambda: L.Conv1DTranspose(4, 3), 1),
    "conv2d_transpose": (IMG, lambda: L.Conv2DTranspose(4, (2, 3)), 1),
    "separable1d": (S, lambda: L.SeparableConv1D(4, 2, depth_multiplier=2), 1),
    "separable2d": (IMG, lambda: L.SeparableConv2D(4, 2, depth_multiplier=2, use_bias=False), 1),
    "depthwise1d": (S, lambda: L.DepthwiseConv1D(3, depth_multiplier=2), 1),
    "depthwise2d": (IMG, lambda: L.DepthwiseConv2D(2), 1),
    "lstm": (S, lambda: L.LSTM(3), 1),
    "gru": (S, lambda: L.GRU(3), 1),
    "gru_reset_before": (S, lambda: L.GRU(3, reset_after=False), 1),
    "gru_no_bias": (S, lambda: L.GRU(3, use_bias=False), 1),
    "simple_rnn": (S, lambda: L.SimpleRNN(3), 1),
    "rnn_cell": (S, lambda: L.RNN(L.LSTMCell(3)), 1),
    "rnn_cells": (S, lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2), L.LSTMCell(4)]), 1),
    "rnn_stacked": (S, lambda: L.RNN(L.StackedRNNCells([L.GRUCell(3), L.GRUCell(2)])), 1),
    "bidirectional": (S, lambda: L.Bidirectional(L.LSTM(3)), 1),
    "time_distributed": (S, lambda: L.TimeDistributed(L.Dense(2)), 1),
    "time_distributed_bn": (S, lambda: L.TimeDistributed(L.BatchNormalization()), 1),
    "conv_lstm1d": ((4, 5, 3), lambda: L.ConvLSTM1D(2, 2), 1),
    "conv_lstm2d": ((4, 5, 7, 3), lambda: L.ConvLSTM2D(2, 2), 1),
    "batch_norm": (S, lambda: L.BatchNormalization(), 1),
    "batch_norm_frozen": (S, lambda: L.BatchNormalization(trainable=False), 1),
    "batch_norm_no_scale": (S, lambda: L.BatchNormalization(scale=False), 1),
    "layer_norm": (S, lambda: L.LayerNormalization(axis=[1, 2]), 1),
    "rms_norm": (S, lambda: L.RMSNormalization(), 1),
    "group_norm": ((5, 8), lambda: L.GroupNormalization(2), 1),
    "spectral_norm": (IMG, lambda: L.SpectralNormalization(L.Conv2D(2, 2)), 1),
    "prelu": (S, lambda: L.PReLU(), 1),
    "mha": (S, lambda: L.MultiHeadAttention(2, 3), 2),
    "mha_no_bias": (S, lambda: L.MultiHeadAttention(2, 3, use_bias=False), 2),
    "gqa": (S, lambda: L.GroupQueryAttention(4, 4, 2), 2),
    "normalization": (S, lambda: L.Normalization(), 1),
    "normalization_fixed": (S, lambda: L.Normalization(mean=1.0, variance=2.0), 1),
    "dropout": (S, lambda: L.Dropout(0.5), 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_variables(case: str, tmp_path: Path) -> None:
    shape, make, n_inputs = CASES[case]
    inputs = [keras.Input(shape) for _ in range(n_inputs)]
    layer = make()
    model = keras.Model(inputs, L.Dense(3)(layer(*inputs)))
    rng = np.random.default_rng(5)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape) if "float" in str(v.dtype) else np.ones(v.shape))
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(model.to_json())
    assert json.loads((tmp_path / "m.json").read_text())["class_name"] == "Functional"
    # one by name: Keras's path ends like our variable name (layer/forward_layer/... prefixes apart)
    want = {w.path.split("/", 1)[1]: np.asarray(w) for w in layer.weights}
    for source in ((tmp_path / "m.keras",), (tmp_path / "m.h5",), (tmp_path / "m.json", tmp_path / "m.weights.h5")):
        found = {k: t.numpy() for k, t in read(*source).root.layer(layer.name).weights.items()}
        assert len(found) == len(want)
        free = dict(want)
        for name, value in found.items():
            match = [k for k, v in free.items() if v.shape == value.shape and np.array_equal(v, value)]
            assert len(match) == 1, name
            assert match[0].split("/")[-1] == name.split("/")[-1], (name, match)
            if "attention" in layer.name:
                assert match[0].split("/")[-2].removeprefix("attention_") == name.split("/")[-2]
            del free[match[0]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gated_attention_keeps_its_parts_apart(tmp_path: Path) -> None:
    """With ``use_gate`` (Keras 3.15) the gate's variables come between key and value."""
    try:
        layer = L.MultiHeadAttention(2, 3, use_gate=True)
    except (TypeError, ValueError):
        pytest.skip("this Keras has no gated attention")
    a, b = keras.Input(S), keras.Input(S)
    model = keras.Model([a, b], layer(a, b))
    model.save(tmp_path / "m.h5")
    model.save(tmp_path / "m.keras")
    by_path = {w.path.split("/", 1)[1]: np.asarray(w) for w in layer.weights}
    for name in ("m.h5", "m.keras"):
        found = read(tmp_path / name).root.layer(layer.name).weights
        for part in ("gate", "value", "key"):
            assert np.array_equal(found[f"{part}/kernel"].numpy(), by_path[f"{part}/kernel"])
