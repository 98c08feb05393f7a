"""LSTM and RNN with Caffe's sequence continuation, written as a scan; LSTMUnit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convcore.plugin import Builder, DimLike, Graph, Value, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, layer
from .base import RULES

# ---- what the layers are

layer(
    "LSTM",
    param="""recurrent_param 146 RecurrentParameter:
        num_output 1 uint32=0; weight_filler 2 FillerParameter; bias_filler 3 FillerParameter; debug_info 4 bool=false
        expose_hidden 5 bool=false
    """,
    counts=(2, 5, 1, 3),
    blobs=("weight_x", "bias", "weight_static", "weight_h"),
    writes=EVERY,
    opencv=False,
    check=checks.positive("recurrent_param", "num_output"),
)
layer("LSTMUnit", counts=(3, 3, 2, 2), opencv=False)
layer(
    "RNN",
    reads=("recurrent_param",),
    counts=(2, 4, 1, 2),
    blobs=("weight_xh", "bias_h", "weight_static", "weight_hh", "weight_ho", "bias_o"),
    writes=EVERY,
    opencv=False,
    check=checks.positive("recurrent_param", "num_output"),
)

# ---- rules

Step = Callable[[Builder, Sequence[Value], Value, Value, Value], Sequence[Value]]


class _Sequence:
    """What both layers share: bottoms x (T, N, ...), cont (T, N)[, x_static (N, ...)][, initial states], and their blobs."""

    def __init__(self, g: CaffeContext, node: CaffeNode, gates: int, states: int, tail: int) -> None:
        self.g, self.node = g, node
        self.hidden = int(node.attr("num_output"))
        self.exposed = bool(node.attr("expose_hidden"))
        x, cont = node.sizes(0), node.sizes(1)
        if len(x) < 3 or len(cont) != 2:
            raise node.invalid(f"x must be (T, N, ...) and cont (T, N); they have {len(x)} and {len(cont)} axes")
        for a, b in zip(x[:2], cont, strict=True):
            if isinstance(a, int) and isinstance(b, int) and a != b:
                raise node.invalid(f"x has {x[0]} steps of {x[1]} sequences, cont {cont[0]} of {cont[1]}")
        self.steps, self.batch = x[0], x[1]
        rest = len(node.inputs) - 2 - (states if self.exposed else 0)
        if rest not in (0, 1):
            raise node.invalid(
                f"{len(node.inputs)} bottoms are given, expected {2 + (states if self.exposed else 0)} or one more"
            )
        wanted = 1 + (states if self.exposed else 0)
        if len(node.outputs) != wanted:
            raise node.invalid(f"{len(node.outputs)} tops are given, expected {wanted}")
        self.static = bool(rest)
        g.count(node, 3 + rest + tail)
        (features,) = node.integers((product(x[2:]),), "the features of x")
        flat = node.x if len(x) == 3 else g.b.reshape(node.x, shape=(*x[:2], features))
        w = self.blob(0, "weight_x", (gates * self.hidden, features))
        self.projected: Value = g.b.linear(flat, w, self.blob(1, "bias", (gates * self.hidden,)))
        if self.static:
            self.projected = g.b.add(self.projected, self._static(gates))
        self.recurrent = self.blob(2 + rest, "weight_h", (gates * self.hidden, self.hidden))
        first = len(node.inputs) - states
        given = node.needed(first) if self.exposed else []
        self.start = [self._state(v, first + i) for i, v in enumerate(given)] or [self._zero() for _ in range(states)]
        if not self.exposed:
            g.note(
                f"layer {node.name!r} ({node.type}): Caffe starts a Forward from the state the one before it left, unless cont "
                "is 0; here every run starts from zeros"
            )

    def blob(self, i: int, name: str, shape: tuple[int, ...]) -> Value:
        filler = "bias_filler" if name.startswith("bias") else "weight_filler"
        return self.g.weight_of(self.node, i, name, shape, filler=filler, constant=0.0)

    def _static(self, gates: int) -> Value:
        sizes = self.node.sizes(2, 1)
        (features,) = self.node.integers((product(sizes[1:]),), "the features of x_static")
        v: Value = self.g.b.reshape(self.node.bottom(2), shape=(sizes[0], features))
        return self.g.b.linear(v, self.blob(2, "weight_static", (gates * self.hidden, features)))

    def _state(self, v: Value, i: int) -> Value:
        want: tuple[DimLike, ...] = (1, self.batch, self.hidden)
        got = self.node.sizes(i)
        if len(got) != 3 or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(got, want, strict=True)):
            raise self.node.invalid(
                f"bottom {i} is an initial state and must be (1, N, {self.hidden}), it is {tuple(map(str, got))}"
            )
        return self.g.b.squeeze(v, axes=(0,))

    def _zero(self) -> Value:
        return self.g.b.fill(shape=(self.batch, self.hidden), value=0.0, dtype=self.node.x.dtype)

    def scan(self, step: Step) -> tuple[Value, list[Value]]:
        """The stacked first state (T, N, H) and the final states (1, N, H)."""
        g = self.g
        cont = g.b.unsqueeze(self.node.bottom(1), axes=(2,))
        region = Graph("step")
        inner = Builder(region)
        states = [inner.input(f"state{i}", s.dtype, s.shape) for i, s in enumerate(self.start)]
        x = inner.input("x", self.projected.dtype, (self.batch, *(self.projected.shape or ())[2:]))
        keep = inner.input("cont", cont.dtype, (self.batch, 1))
        w = inner.input("w", self.recurrent.dtype, self.recurrent.shape)
        new = list(step(inner, states, x, keep, w))
        region.outputs = [*new, new[0]]
        results = g.b.scan(*self.start, self.projected, cont, self.recurrent, regions=[region], n_states=len(states), n_scanned=2)
        return results[-1], [g.b.unsqueeze(v, axes=(0,)) for v in results[: len(states)]]


def lstm_step(b: Builder, states: Sequence[Value], x: Value, cont: Value, w: Value) -> Sequence[Value]:
    """c = cont f c + i g, h = o tanh(c); the gates see cont h. Order i, f, o, g (lstm_unit_layer.cpp)."""
    h, c = states
    gates = b.add(x, b.linear(b.mul(h, cont), w))
    return _unit(b, c, gates, cont)


def _unit(b: Builder, c: Value, gates: Value, cont: Value) -> tuple[Any, Any]:
    axis = len(gates.shape or ()) - 1
    size: Any = (c.shape or ())[-1]
    i, f, o, g = b.split(gates, axis=axis, sizes=(size,) * 4)
    c = b.add(b.mul(b.mul(b.sigmoid(f), cont), c), b.mul(b.sigmoid(i), b.tanh(g)))
    return b.mul(b.sigmoid(o), b.tanh(c)), c


def rnn_step(b: Builder, states: Sequence[Value], x: Value, cont: Value, w: Value) -> Sequence[Value]:
    return [b.tanh(b.add(x, b.linear(b.mul(states[0], cont), w)))]


@RULES.load("LSTM")
def lstm(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Where cont is 0 a sequence begins: the states before it do not count. Tops h[, h_T, c_T]."""
    s = _Sequence(g, node, 4, 2, 0)
    y, finals = s.scan(lstm_step)
    return [y, *finals] if s.exposed else [y]


@RULES.load("RNN")
def rnn(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """h = tanh(W_hh cont h + W_xh x + b_h); the top is o = tanh(W_ho h + b_o)[, h_T]."""
    s = _Sequence(g, node, 1, 1, 2)
    y, finals = s.scan(rnn_step)
    at = 3 + int(s.static)
    w = s.blob(at, "weight_ho", (s.hidden, s.hidden))
    o = g.b.tanh(g.b.linear(y, w, s.blob(at + 1, "bias_o", (s.hidden,))))
    return [o, *finals] if s.exposed else [o]


@RULES.load("LSTMUnit")
def lstm_unit(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """One step: bottoms c (1, N, D), gates (1, N, 4D), cont (1, N); tops c, h."""
    c, gates, cont = node.sizes(0), node.sizes(1), node.sizes(2)
    right = len(c) == len(gates) == 3 and len(cont) == 2 and gates[2] == c[2] * 4
    if not right or (isinstance(c[0], int) and c[0] != 1):
        raise node.invalid("takes c (1, N, D), gates (1, N, 4D) and cont (1, N)")
    keep = g.b.unsqueeze(node.bottom(2), axes=(2,))
    h, new = _unit(g.b, node.x, node.bottom(1), keep)
    return [new, h]
