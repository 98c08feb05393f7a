"""LSTM over a sequence that starts from zeros (or given states)."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Node, Tensor, unsupported

from ..dialect import CaffeScribe, blob_shape, label
from .base import RULES, constant, first, weight

_ORDER = (0, 1, 3, 2)
"""Gates i, f, g, o as Caffe's i, f, o, g."""


def _gates(t: Tensor, hidden: int, shape: tuple[int, ...]) -> Tensor:
    """(1, 4H, ...) in Caffe's order of gates."""

    def order(a: Any) -> Any:
        return a[0].reshape(4, hidden, *a.shape[2:])[list(_ORDER)].reshape(shape)

    return t.map(order, shape)


@RULES.emit("lstm")
def lstm(e: CaffeScribe, node: Node) -> None:
    """One direction over (T, N, ...). The continuation blob is 0 at the first step, so that every run starts afresh; with initial
    or final states it is 1 throughout and they are bottoms and tops (expose_hidden)."""
    a = node.attrs
    names = ("x", "w", "r", "b", "h0", "c0", "mask", "lengths", "peephole")
    given = dict(zip(names, [*node.inputs, *[None] * (len(names) - len(node.inputs))]))
    for name in ("mask", "lengths", "peephole"):
        if given[name] is not None:
            raise unsupported(node, f"Caffe's LSTM has no {name}")
    if a["layout"] != "time_major" or a["direction"] != "forward":
        raise unsupported(node, f"Caffe's LSTM runs forward over (T, N, ...), this one {a['direction']} ({a['layout']})")
    plain = {"activation": "tanh", "recurrent_activation": "sigmoid", "clip": None, "input_forget": False}
    odd = [k for k, v in plain.items() if a[k] != v]
    if odd or a["output_activation"] not in (None, "tanh"):
        raise unsupported(node, f"Caffe's LSTM has fixed activations and no {', '.join(odd) or 'output_activation'}")
    x = e.value(first(node))
    steps, batch, features = x.shape
    h = a["hidden"]
    w = _gates(weight(given["w"], "its input weights"), h, (4 * h, features))
    r = _gates(weight(given["r"], "its recurrent weights"), h, (4 * h, h))
    zero = constant(lambda: np.zeros(4 * h), (4 * h,))
    bias = zero if given["b"] is None else _gates(weight(given["b"], "its bias"), h, (4 * h,))

    states = [given["h0"], given["c0"]]
    exposed = any(v is not None for v in states) or any(v.uses or v.is_output for v in node.outputs[1:])

    def cont() -> Any:
        c = np.ones((steps, batch), np.float32)
        c[0] = exposed
        return c

    source = label(node)
    bottoms = [x, e.const(constant(cont, (steps, batch)), name=f"{source}_cont")]
    param: dict[str, Any] = {"num_output": h}
    if exposed:
        param["expose_hidden"] = True
        for v in states:
            zeros = {"shape": [blob_shape((1, batch, h))]}
            if v is None:
                bottoms += e.call("DummyData", [], zeros, shapes=[(1, batch, h)], name=f"{source}_zeros")
            else:
                bottoms.append(e.value(v))
    outputs = node.outputs if exposed else node.outputs[:1]
    e.unit("LSTM", bottoms, param, outputs=outputs, name=label(node), states=[w, bias, r])


@RULES.emit("gru", "rnn")
def other_recurrent(e: CaffeScribe, node: Node) -> None:
    """Caffe's RNN puts a second matrix and tanh behind every step, which nothing undoes; it has no GRU."""
    raise unsupported(node, f"Caffe's only plain recurrent layer is LSTM, this is {node.op}", code="unsupported_op")
