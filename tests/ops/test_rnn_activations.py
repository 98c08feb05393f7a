"""The activations that recurrent layers name, beside torch's functions (Keras's formulas where torch has none)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.graph import Graph
from convcore.ops.rnn_activations import _OPS, _STEPS, activation

X = np.linspace(-7, 7, 57).reshape(3, 19)


def _torch(name: str, **more: Any) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        torch = pytest.importorskip("torch")
        made = getattr(torch.nn.functional, name, None) or getattr(torch, name)
        return made(torch.from_numpy(x), **more).numpy()

    return call


WANTED: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x, "tanh": np.tanh, "sigmoid": _torch("sigmoid"), "relu": _torch("relu"), "relu6": _torch("relu6"),
    "softsign": _torch("softsign"), "softplus": _torch("softplus"), "silu": _torch("silu"), "exponential": np.exp,
    "mish": _torch("mish"), "log_sigmoid": _torch("logsigmoid"), "softmax": _torch("softmax", dim=-1),
    "log_softmax": _torch("log_softmax", dim=-1), "gelu": _torch("gelu"), "gelu_tanh": _torch("gelu", approximate="tanh"),
    "hard_tanh": _torch("hardtanh"), "elu": _torch("elu"), "elu(0.3)": _torch("elu", alpha=0.3), "celu": _torch("celu"),
    "celu(0.3)": _torch("celu", alpha=0.3), "selu": _torch("selu"), "leaky_relu(0.03)": _torch("leaky_relu", negative_slope=0.03),
    "thresholded_relu(0.7)": _torch("threshold", threshold=0.7, value=0.0), "hard_sigmoid": _torch("hardsigmoid"),
    "hard_sigmoid(0.3, 0.7)": lambda x: np.clip(0.3 * x + 0.7, 0, 1), "hard_silu": _torch("hardswish"),
    "hard_shrink": _torch("hardshrink"), "hard_shrink(0.3)": _torch("hardshrink", lambd=0.3),
    "soft_shrink": _torch("softshrink"), "soft_shrink(0.3)": _torch("softshrink", lambd=0.3), "tanh_shrink": _torch("tanhshrink"),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1), "hard_sigmoid_legacy": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "affine(0.3, 0.7)": lambda x: 0.3 * x + 0.7, "scaled_tanh(0.3, 0.7)": lambda x: 0.3 * np.tanh(0.7 * x),
}  # fmt: skip


def test_every_name_is_here() -> None:
    assert {w.partition("(")[0] for w in WANTED} == {*_OPS, *_STEPS}


@pytest.mark.parametrize("name", WANTED)
def test_what_it_computes(name: str) -> None:
    made = activation(name)
    g = Graph("g")
    b = Builder(g)
    g.outputs = [made.body(b, b.input("x", "float64", X.shape))]
    want = WANTED[name](X)
    np.testing.assert_allclose(made.numpy(X), want, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(run(g, X)[0], want, rtol=1e-6, atol=1e-9)
