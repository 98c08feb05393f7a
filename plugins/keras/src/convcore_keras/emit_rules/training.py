"""What only acts in training."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []

_LAYERS = {"bernoulli": "Dropout", "alpha": "AlphaDropout", "gaussian": "GaussianDropout"}


@RULES.emit("dropout", priority=1)
def dropout(s: KerasScribe, node: Node) -> None:
    """Dropout with its rate; nothing where the source does not say how much. Axes that share a draw are those of space."""
    w, a = Writer(s, node), node.attrs
    x = w.carried()
    rate = a["rate"]
    if rate is None or not w.dtype().is_float:
        w.end(x)
        return
    shape = known(w.input(0))
    config: dict[str, Any] = {"rate": float(rate)}
    shared = sorted(n % len(shape) for n in a["shared"])
    if a["seed"] is not None:
        config["seed"] = a["seed"]
    kind = _LAYERS.get(a["kind"])
    if kind is None or not 0 <= float(rate) <= 1:
        w.end(x)
        return
    if shared and kind == "Dropout" and shared == list(range(1, len(shape) - 1)) and len(shared) in (1, 2, 3):
        kind = f"SpatialDropout{len(shared)}D"
    elif shared:
        config["noise_shape"] = [1 if i in shared else None for i in range(len(shape))]
    w.end(w.layer(kind, w.ref(), config, shape=shape))


@RULES.emit("gaussian_noise", priority=1)
def gaussian_noise(s: KerasScribe, node: Node) -> None:
    """Left out where its amount is not known, or is more than Keras takes."""
    if node.attrs["stddev"] is not None:
        s.leave_out("stddev", node)
    w = Writer(s, node)
    w.end(w.carried())
