"""ATen's recurrent layers, and those live modules are traced with (``convcore.lstm``...): layers and directions one by one.

Gates: LSTM i, f, g, o along 4H as here; GRU r, z, n, here z, r, n; two biases, which LSTM and RNN add.
Source: torch.nn.LSTM/GRU/RNN, torch 2.14; ATen/native/RNN.cpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Builder, Graph, NotExpressible, Tensor, Value, as_tensor, shape_text

from ..biases import Biases
from ..context import AtenNode, TorchContext
from .base import RULES


def constant(v: Value) -> Any:
    if v.tensor is None:
        raise NotExpressible("its weights are computed", "requires_constant_input")
    return v.tensor.numpy()


def is_zero(v: Value) -> bool:
    """Whether it is made of zeros, of whatever size."""
    return v.producer is not None and v.producer.op == "fill" and v.producer.attrs["value"] == 0


def reordered(a: Any) -> Any:
    """GRU's gates r, z, n as z, r, n."""
    r, z, n = np.split(a, 3)
    return np.concatenate([z, r, n])


@RULES.load(*(f"{k}.input" for k in ("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")),
            *(f"convcore.{k}" for k in ("lstm", "gru", "rnn_tanh", "rnn_relu")))  # fmt: skip
def recurrent(g: TorchContext, n: AtenNode) -> Any:
    kind = n.type.split(".")[1]
    x = n.tensor("input")
    hx = n.arg("hx")
    hx = [hx] if isinstance(hx, Value) else n.tensors("hx")
    if all(is_zero(h) for h in hx):
        hx = []  # what a module without an initial state is traced with
    params, biases = n.tensors("params"), bool(n.number("has_biases"))
    layers, both = n.number("num_layers"), bool(n.number("bidirectional"))
    rate, train = float(n.number("dropout")), bool(n.number("train"))
    if train and rate:
        raise NotExpressible("is in training mode", "training_mode")
    layout = "batch_major" if n.number("batch_first") else "time_major"
    if x.rank != 3:
        raise NotExpressible(f"of {x.rank} axes, 3 are known")
    d = 2 if both else 1
    per = 4 if biases else 2
    turned = len(params) == layers * d * (per + 1) and kind == "lstm"
    if not turned and len(params) != layers * d * per:
        raise NotExpressible(f"has {len(params)} weights, {layers * d * per} are known")
    sound(kind, x.shape[2] if x.shape else None, params, per + turned, d)
    if turned:
        return projected(g, n, x, params, layers, d, rate)
    finals: list[list[Value]] = [[], []]
    for layer in range(layers):
        group = params[layer * d * per : (layer + 1) * d * per]
        states = [part(g, h, layer, d, layers) for h in hx]
        x, *last = one(g, n, kind, x, group, per, d, states, layout)
        if rate and layer < layers - 1:
            x = g.b.dropout(x, rate=rate)
        for f, v in zip(finals, last):
            f.append(v)
    return (x, *(g.b.concat(*f, axis=0) if len(f) > 1 else f[0] for f in finals if f))


def sound(kind: str, size: Any, params: list[Value], per: int, d: int) -> None:
    """The weights of every layer and direction fit together, as torch's own check wants them (``torch.nn.RNNBase``)."""
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    hidden = None if not params[0].shape else params[0].shape[0]
    if not isinstance(hidden, int) or hidden < gates or hidden % gates:
        raise NotExpressible(f"its first weight has the shape {shape_text(params[0].shape)}, which is not of {gates} gates")
    wide, hidden = hidden, hidden // gates
    turn = params[per - 1].shape if per % 2 else None
    out: Any = turn[0] if turn else hidden
    for first in range(0, len(params), per):
        size = d * out if first == per * d else size
        wanted = [(wide, size), (wide, out), *[(wide,)] * (per // 2 * 2 - 2), *[(out, hidden)] * (per % 2)]
        for i, (v, shape) in enumerate(zip(params[first : first + per], wanted)):
            found = v.shape
            if found is None or len(found) != len(shape) or any(isinstance(b, int) and a != b for a, b in zip(found, shape)):
                raise NotExpressible(
                    f"its weight {first + i} has the shape {shape_text(found)}, {shape_text(shape)} fits the others"
                )


def part(g: TorchContext, h: Value, layer: int, d: int, layers: int) -> Value:
    """The initial state of one layer."""
    if layers == 1:
        return h
    return g.b.slice(h, starts=[layer * d, 0, 0], stops=[(layer + 1) * d, None, None], steps=[1, 1, 1])


def one(
    g: TorchContext, n: AtenNode, kind: str, x: Value, params: list[Value], per: int, d: int, states: list[Value], layout: str
) -> tuple[Value, ...]:
    groups = [params[i * per : (i + 1) * per] for i in range(d)]
    order = reordered if kind == "gru" else (lambda a: a)
    hidden = constant(groups[0][1]).shape[1]

    def stacked(i: int) -> Any:
        return np.stack([order(constant(gr[i])) for gr in groups])

    def weight(name: str, make: int | tuple[int, int]) -> Value:
        parts = (make,) if isinstance(make, int) else make

        def made() -> Value:
            trainable = {gr[i].trainable for gr in groups for i in parts}
            if len(trainable) > 1:
                where = n.origin.layer or n.name
                g.note(f"{where}: a part of its {name} is frozen; here it is one weight, which is trained as a whole")
            first = groups[0][0]
            owner, _, own = (first.source or first.name).rpartition(".")
            t: Tensor = as_tensor(stacked(make)) if isinstance(make, int) else Biases(*map(stacked, make))
            label = f"{owner}.{name}_{own.rpartition('_')[2]}" if owner else name
            return g.b.weight(t, label, trainable=any(trainable), source=label, role=first.role)

        return g.derived((kind, name), made, of=groups[0][0])

    w, r = weight("weight_ih", 0), weight("weight_hh", 1)
    attrs: dict[str, Any] = {"hidden": hidden, "direction": "bidirectional" if d == 2 else "forward", "layout": layout}
    if kind == "gru":
        b, rb = (weight("bias_ih", 2), weight("bias_hh", 3)) if per == 4 else (None, None)
        return tuple(g.b.op("gru", x, w, r, b, rb, *states, reset_after=True, **attrs))
    bias = weight("bias", (2, 3)) if per == 4 else None
    if kind == "lstm":
        return tuple(g.b.op("lstm", x, w, r, bias, *states, **attrs))
    return tuple(g.b.op("rnn", x, w, r, bias, *states, activation=kind.removeprefix("rnn_"), **attrs))


def projected(g: TorchContext, n: AtenNode, x: Value, params: list[Value], layers: int, d: int, rate: float) -> tuple[Value, ...]:
    """An LSTM whose output is a product with one more matrix (proj_size), step by step: h = (o tanh(c)) W_hr^T."""
    axis = 1 if n.number("batch_first") else 0
    per = len(params) // (layers * d)
    ends: tuple[list[Value], list[Value]] = ([], [])
    for layer in range(layers):
        outs = []
        for i in range(d):
            at = layer * d + i
            w, r, *biases, turn = params[at * per : (at + 1) * per]
            first = [g.b.squeeze(_places(g, v, at), axes=[0]) for v in n.tensors("hx")]
            h, c, y = _steps(g, g.b.linear(x, w, biases[0] if biases else None), r, biases[1:], turn, first, axis, i)
            outs.append(y)
            for found, v in zip(ends, (h, c)):
                found.append(g.b.unsqueeze(v, axes=[0]))
        x = g.b.concat(*outs, axis=2) if d == 2 else outs[0]
        if rate and layer < layers - 1:
            x = g.b.dropout(x, rate=rate)
    return (x, *(g.b.concat(*found, axis=0) if len(found) > 1 else found[0] for found in ends))


def _places(g: TorchContext, v: Value, i: int) -> Value:
    return g.b.slice(v, starts=[i, 0, 0], stops=[i + 1, None, None], steps=[1, 1, 1])


def _steps(
    g: TorchContext, given: Value, r: Value, bias: list[Value], turn: Value, first: list[Value], axis: int, back: int
) -> tuple[Value, ...]:
    """The last states and the outputs of one direction; ``given`` is the input's part of the gates."""
    graph = Graph("step")
    inner = Builder(graph, origin=g.b.origin)
    slice_shape = None if given.shape is None else tuple(s for i, s in enumerate(given.shape) if i != axis)
    h, c = (graph.add_input(name, v.dtype, v.shape) for name, v in zip(("h", "c"), first))
    part_of = graph.add_input("gates", given.dtype, slice_shape)
    own = [graph.add_weight(w.name, w.tensor, like=w) for w in (r, turn, *bias) if w.tensor is not None]
    if len(own) != 2 + len(bias):
        raise NotExpressible("its weights are computed", "requires_constant_input")
    size = constant(r).shape[0] // 4
    gates = inner.add(part_of, inner.linear(h, own[0], own[2] if bias else None))
    i, f, new, o = inner.op("split", gates, axis=1, sizes=(size,) * 4)
    state = inner.add(inner.mul(inner.sigmoid(f), c), inner.mul(inner.sigmoid(i), inner.tanh(new)))
    y = inner.linear(inner.mul(inner.sigmoid(o), inner.tanh(state)), own[1])
    graph.outputs += [y, state, inner.identity(y)]
    return tuple(
        g.b.scan(
            *first, given, n_states=2, n_scanned=1, scan_axis=[axis], reverse=[back], out_axes=[axis], out_reverse=[back],
            regions=[graph],
        )
    )  # fmt: skip


@RULES.load("aten.lstm_cell", "aten.gru_cell", "aten.rnn_tanh_cell", "aten.rnn_relu_cell")
def cell(g: TorchContext, n: AtenNode) -> Any:
    """One step, written out."""
    x, w, r = n.tensor("input"), n.tensor("w_ih"), n.tensor("w_hh")
    hx = n.arg("hx")
    h, *rest = [hx] if isinstance(hx, Value) else n.tensors("hx")
    a, b = g.b.linear(x, w, n.optional("b_ih")), g.b.linear(h, r, n.optional("b_hh"))
    if n.type.startswith("aten.rnn"):
        y = g.b.add(a, b)
        return g.b.tanh(y) if "tanh" in n.type else g.b.relu(y)
    gates = 4 if n.type == "aten.lstm_cell" else 3
    size = (r.shape or (None,))[0]
    if not isinstance(size, int):
        raise NotExpressible("the sizes of its weights are not known", "unknown_shape")
    sizes = (size // gates,) * gates
    if gates == 3:
        (xr, xz, xn), (hr, hz, hn) = (g.b.op("split", v, axis=1, sizes=sizes) for v in (a, b))
        reset, keep = g.b.sigmoid(g.b.add(xr, hr)), g.b.sigmoid(g.b.add(xz, hz))
        new = g.b.tanh(g.b.add(xn, g.b.mul(reset, hn)))
        return g.b.add(g.b.mul(g.b.sub(g.b.like(new, 1), keep), new), g.b.mul(keep, h))
    i, f, c, o = g.b.op("split", g.b.add(a, b), axis=1, sizes=sizes)
    state = g.b.add(g.b.mul(g.b.sigmoid(f), rest[0]), g.b.mul(g.b.sigmoid(i), g.b.tanh(c)))
    return g.b.mul(g.b.sigmoid(o), g.b.tanh(state)), state
