"""Recurrent layers as torch.nn.LSTM, GRU and RNN, where equation and activations are torch's.

Gates of an LSTM lie as torch's (i, f, g, o); a GRU's are z, r, n here and r, z, n there. torch adds two biases: where the source
has one, the other is zeros that do not train; a source in PyTorch has both.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, State, Tensor, Value, as_tensor, op

from ..biases import Biases
from ..rules.base import RULES
from .base import E, given, picked, shape_of, sizes

_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}


def _inputs(node: Node) -> set[str]:
    return {a.name for a in op(node.op).inputs}


def _check(node: Node) -> dict[str, Any]:
    """The configuration that says the activations; NotExpressible for what torch's layers do not compute."""
    if "peephole" in _inputs(node) and node.arg("peephole") is not None:
        raise NotExpressible("it has peephole")
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


def _states(e: E, node: Node, i: int, end: str) -> dict[str, Any]:
    """The weights of one direction by torch's names."""
    w, r, b = given(node.arg("w")), given(node.arg("r")), node.arg("b")
    rb = node.arg("rb") if node.op == "gru" else None
    states: dict[str, Any] = {f"weight_ih_{end}": _part(e, w, i, node), f"weight_hh_{end}": _part(e, r, i, node)}
    if b is not None or rb is not None:
        if b is not None and isinstance(b.tensor, Biases):  # of a source in PyTorch, whose other gates lie as they are
            for name, part in (("ih", b.tensor.input), ("hh", b.tensor.hidden)):
                made = as_tensor(np.ascontiguousarray(part[i]))
                states[f"bias_{name}_{end}"] = e.state(b, f"torch {name} {i}", partial(_instead, made))
            return states
        for name, v in (("ih", b), ("hh", rb)):
            zeros = as_tensor(np.zeros(w.tensor.shape[1], w.tensor.dtype.numpy)) if w.tensor is not None else None
            states[f"bias_{name}_{end}"] = zeros if v is None else _part(e, v, i, node)
    return states


def _instead(made: Tensor, _: Tensor) -> Tensor:
    return made


def _config(node: Node, first: bool) -> dict[str, Any]:
    w, rb = given(node.arg("w")), node.arg("rb") if node.op == "gru" else None
    full = {"input_size": shape_of(w)[2], "hidden_size": node.attrs["hidden"], **_check(node), "batch_first": first or None}
    if node.arg("b") is None and rb is None:
        full["bias"] = False
    return full


@RULES.emit("lstm", "gru", "rnn")
def recurrent(e: E, node: Node) -> None:
    """One layer, in one or both directions; one that runs backwards is turned round before and after."""
    x, w = given(node.arg("x")), given(node.arg("w"))
    if w.tensor is None or x.dtype is not w.dtype:
        raise NotExpressible("its weights are computed")
    direction, first = node.attrs["direction"], node.attrs["layout"] == "batch_major"
    if node.arg("mask") is not None or node.arg("lengths") is not None:
        _masked(e, node)
        return
    full = _config(node, first)
    states = _states(e, node, 0, "l0")
    if direction == "bidirectional":
        states |= _states(e, node, 1, "l0_reverse")
        full["bidirectional"] = True
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


def _masked(e: E, node: Node) -> None:
    """Steps that count are moved to the front, each direction runs over them, and outputs go back to their times: exact, as a
    masked step keeps the state. What an LSTM's cell ends with is not among its outputs."""
    a = node.attrs
    mask, lengths = node.arg("mask"), node.arg("lengths")
    if node.op == "lstm" and (node.outputs[2].uses or node.outputs[2] in e.graph.outputs):
        raise NotExpressible("its last cell state is read, under a mask")
    if node.op == "lstm" and node.arg("c0") is not None:
        raise NotExpressible("it starts from a cell state, under a mask")
    first = a["layout"] == "batch_major"
    x = given(node.arg("x"))
    h = e.value(x) if first else e.call(".transpose", [e.value(x), 0, 1])[0]
    if mask is not None:
        keep = e.value(mask) if first else e.call(".t", [e.value(mask)])[0]
    else:
        (count,) = e.call(".unsqueeze", [e.value(given(lengths)), 1])
        (step,) = e.call("torch.arange", sizes(e, [shape_of(x)[1 if first else 0]]))
        (keep,) = e.call("<", [step, count])
    again = mask is not None and not a["zero_output_for_mask"]
    backs = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[a["direction"]]
    start = node.arg("h0")
    ys, ends = [], []
    for i, back in enumerate(backs):
        one, valid = h, keep
        if back:
            (one,), (valid,) = e.call("torch.flip", [h, (1,)]), e.call("torch.flip", [keep, (1,)])
        (one,) = e.call("gathered", [one, valid])
        begin: Any = None
        if start is not None:
            begin = e.value(start) if len(backs) == 1 else picked(e, e.value(start), 0, i, i + 1)
        if node.op == "lstm" and begin is not None:
            begin = (begin, e.call("torch.zeros_like", [begin])[0])
        args = [one] if begin is None else [one, begin]
        type_, n = f"torch.nn.{node.op.upper()}", len(node.outputs)
        out = e.unit(type_, args, _config(node, True), _states(e, node, i, "l0"), n_outputs=n)[0]
        begin = begin[0] if isinstance(begin, tuple) else begin
        y, end = e.call("spread", [out, valid, again, *([] if begin is None else [begin])], n_outputs=2)
        ys.append(e.call("torch.flip", [y, (1,)])[0] if back else y)
        ends.append(end)
    y = e.call("torch.cat", [tuple(ys)], {"dim": 2})[0] if len(ys) > 1 else ys[0]
    e.alias(node.outputs[0], y if first else e.call(".transpose", [y, 0, 1])[0])
    e.alias(node.outputs[1], e.call("torch.cat", [tuple(ends)], {"dim": 0})[0] if len(ends) > 1 else ends[0])
