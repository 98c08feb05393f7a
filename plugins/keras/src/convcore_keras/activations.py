"""Keras's activation functions: one table for configurations, layers, and cells of recurrent layers.

Names are Keras 3's; parameters are the defaults of ``keras.activations`` of Keras 3.15.1. ``hard_sigmoid`` is that of Keras 3,
``relu6(x + 3) / 6``; that of Keras 1, Keras 2 and tf.keras, ``clip(0.2 x + 0.5, 0, 1)``, is named :data:`HARD_SIGMOID_KERAS2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ACTIVATIONS", "HARD_SIGMOID_KERAS2", "Activation", "name_of"]

HARD_SIGMOID_KERAS2 = "hard_sigmoid_keras2"


@dataclass(frozen=True)
class Activation:
    """``op`` and ``attrs``: the op it is ("" for one that needs arguments or is several ops); ``inside``: its name among
    ``convcore.ops.rnn_activations``, None where a cell cannot have it; ``aliases``: other names of Keras's own."""

    op: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    inside: str | None = None
    aliases: tuple[str, ...] = ()


ACTIVATIONS: dict[str, Activation] = {
    "celu": Activation("celu", {"alpha": 1.0}, "celu"),
    "elu": Activation("elu", {"alpha": 1.0}, "elu"),
    "exponential": Activation("exp", {}, "exponential"),
    "gelu": Activation("gelu", {"approximate": "none"}, "gelu"),
    "glu": Activation("glu", {"axis": -1}),
    "hard_shrink": Activation("hard_shrink", {"lambd": 0.5}, "hard_shrink"),
    "hard_sigmoid": Activation("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}, "hard_sigmoid"),
    HARD_SIGMOID_KERAS2: Activation("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}, "hard_sigmoid_legacy"),
    "hard_silu": Activation("hard_swish", {}, "hard_silu", ("hard_swish",)),
    "hard_tanh": Activation("clip", {"min": -1.0, "max": 1.0}, "hard_tanh"),
    "leaky_relu": Activation("leaky_relu", {"alpha": 0.2}, "leaky_relu(0.2)"),
    "linear": Activation("identity", {}, "linear", ("identity",)),
    "log_sigmoid": Activation("log_sigmoid", {}, "log_sigmoid"),
    "log_softmax": Activation("log_softmax", {"axis": -1}, "log_softmax"),
    "mish": Activation("mish", {}, "mish"),
    "relu": Activation("relu", {}, "relu"),
    "relu6": Activation("clip", {"min": 0.0, "max": 6.0}, "relu6"),
    "selu": Activation("selu", {}, "selu"),
    "sigmoid": Activation("sigmoid", {}, "sigmoid"),
    "silu": Activation("silu", {}, "silu", ("swish",)),
    "soft_shrink": Activation("soft_shrink", {"lambd": 0.5}, "soft_shrink"),
    "softmax": Activation("softmax", {"axis": -1}, "softmax", ("softmax_v2",)),
    "softplus": Activation("softplus", {}, "softplus"),
    "softsign": Activation("softsign", {}, "softsign"),
    "sparse_plus": Activation("sparse_plus", {}, "sparse_plus"),
    "sparse_sigmoid": Activation("sparse_sigmoid", {}, "sparse_sigmoid"),
    "sparsemax": Activation("sparsemax", {"axis": -1, "tau": "keras"}),
    "squareplus": Activation("squareplus", {"b": 4.0}, "squareplus"),
    "tanh": Activation("tanh", {}, "tanh"),
    "tanh_shrink": Activation("tanh_shrink", {}, "tanh_shrink"),
    "threshold": Activation(""),
}

_BY_NAME = {n: name for name, a in ACTIVATIONS.items() for n in (name, *a.aliases) if name != HARD_SIGMOID_KERAS2}


def name_of(text: str) -> str | None:
    """The name in the table of a name in a file; None for one that is not Keras's."""
    return _BY_NAME.get(text)
