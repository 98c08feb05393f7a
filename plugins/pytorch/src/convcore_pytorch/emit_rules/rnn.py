"""Recurrent layers as torch.nn.LSTM, GRU and RNN, where equation and activations are torch's.

Gates of an LSTM lie as torch's (i, f, g, o); a GRU's are z, r, n here and r, z, n there. torch adds two biases: where the source
has one, the other is zeros that do not train.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, State, Value, as_tensor, op

from ..rules.base import RULES
from .base import E, given

_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}


def _inputs(node: Node) -> set[str]:
    return {a.name for a in op(node.op).inputs}


def _check(node: Node) -> dict[str, Any]:
    """The configuration that says the activations; NotExpressible for what torch's layers do not compute."""
    for name in ("mask", "lengths", "peephole"):
        if name in _inputs(node) and node.arg(name) is not None:
            raise NotExpressible(f"it has {name}")
    a = node.attrs
    act, gate, out = a["activation"], a.get("recurrent_activation", "sigmoid"), a.get("output_activation")
    if a["clip"] is not None or a.get("input_forget") or gate != "sigmoid" or out not in (None, act):
        raise NotExpressible(f"activation={act}, recurrent_activation={gate}, clip={a['clip']}")
    if node.op == "gru" and not a["reset_after"]:
        raise NotExpressible("its reset gate acts before the product")
    if act == "relu" and node.op == "rnn":
        return {"nonlinearity": "relu"}
    if act != "tanh":
        raise NotExpressible(f"activation={act}")
    return {}


def _part(e: E, v: Value, i: int, node: Node) -> State:
    """The weights of one direction with torch's order of gates."""
    order, h = _GATES[node.op], node.attrs["hidden"]
    if v.tensor is None:
        raise NotExpressible("its weights are computed")

    def make(a: Any) -> Any:
        one = a[i]
        return np.ascontiguousarray(one.reshape(len(order), h, *one.shape[1:])[list(order)].reshape(one.shape))

    return e.state(v, f"torch {node.op} {h} {i}", lambda t: t.map(make, t.shape[1:]))


@RULES.emit("lstm", "gru", "rnn")
def recurrent(e: E, node: Node) -> None:
    """One layer, in one or both directions; one that runs backwards is turned round before and after."""
    config = _check(node)
    x, w, r = (given(node.arg(n)) for n in ("x", "w", "r"))
    if w.tensor is None or x.dtype is not w.dtype:
        raise NotExpressible("its weights are computed")
    direction, first = node.attrs["direction"], node.attrs["layout"] == "batch_major"
    b, rb = node.arg("b"), node.arg("rb") if node.op == "gru" else None
    states: dict[str, Any] = {}
    for i in range(2 if direction == "bidirectional" else 1):
        end = f"l0{'_reverse' if i else ''}"
        states[f"weight_ih_{end}"] = _part(e, w, i, node)
        states[f"weight_hh_{end}"] = _part(e, r, i, node)
        if b is not None or rb is not None:
            for name, v in (("ih", b), ("hh", rb)):
                zeros = as_tensor(np.zeros(w.tensor.shape[1], w.tensor.dtype.numpy))
                states[f"bias_{name}_{end}"] = zeros if v is None else _part(e, v, i, node)
    full = {"input_size": int(w.tensor.shape[2]), "hidden_size": node.attrs["hidden"], **config, "batch_first": first or None,
            "bidirectional": direction == "bidirectional" or None}  # fmt: skip
    if b is None and rb is None:
        full["bias"] = False
    names = ("h0", "c0") if node.op == "lstm" else ("h0",)
    given_states = [node.arg(n) for n in names]
    args: list[Any] = [e.value(x)]
    if any(v is not None for v in given_states):
        like = e.value(next(v for v in given_states if v is not None))
        start = [e.call("torch.zeros_like", [like])[0] if v is None else e.value(v) for v in given_states]
        args.append(tuple(start) if len(start) > 1 else start[0])
    type_ = f"torch.nn.{node.op.upper()}"
    if direction != "reverse":
        e.unit(type_, args, full, states, outputs=node.outputs)
        return
    time = 1 if first else 0
    (args[0],) = e.call("torch.flip", [args[0], (time,)])
    y = e.unit(type_, args, full, states, outputs=(None, *node.outputs[1:]))[0]
    e.call("torch.flip", [y, (time,)], outputs=node.outputs[:1])
