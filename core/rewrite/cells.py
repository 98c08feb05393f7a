"""One step of a recurrence: what of it is lstm, gru or rnn, with the weights read off the products and sums that make its gates.

A gate is an activation of an affine function (:mod:`convcore.rewrite.affine`) of the step's input and the state before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Node, Value
from ..ops.rnn_activations import name_of
from ..opset import Trait, traits_of
from ..records import dataclass
from .affine import Affine, Affines, Source, through

__all__ = ["Cell", "Cells", "Weights"]

Array = NDArray[Any]


@dataclass
class Weights:
    """As the ops take them, without the axis of directions: (gates * hidden, input), (gates * hidden, hidden), vectors."""

    w: Array
    r: Array | None
    b: Array
    rb: Array | None = None
    open: slice | None = None  # rows that make no difference: the forget gate of a step without a state before it

    @property
    def hidden(self) -> int:
        """The size of the state."""
        return 0 if self.r is None else int(self.r.shape[1])

    def same(self, other: Weights) -> bool:
        """Whether both are one cell's; a step without a state before it says nothing about what that is multiplied by."""

        def equal(a: Array | None, b: Array | None) -> bool:
            if a is None or b is None:
                return True
            left = np.ones(len(a), bool)
            if self.open is not None:
                left[self.open] = False
            return a.shape == b.shape and np.array_equal(a[left], b[left])

        return all(equal(a, b) for a, b in ((self.w, other.w), (self.r, other.r), (self.b, other.b), (self.rb, other.rb)))


@dataclass
class Cell:
    """A step: ``h`` is what it gives; gates in the op's order; ``c`` and ``before`` the new and old cell state of an lstm,
    ``mixed`` the state before that a gru mixes in; ``inner`` the part of a gru's new state that the reset gate is applied to."""

    op: str
    h: Value
    gates: list[Affine]
    attrs: dict[str, Any]
    c: Value | None = None
    before: Value | None = None
    mixed: Value | None = None
    inner: Affine | None = None
    reset: Source | None = None  # r * h, where that is what a gru's new state is computed of

    def sources(self) -> list[Source]:
        """What the gates are computed of."""
        found = dict.fromkeys(k for g in (*self.gates, *((self.inner,) if self.inner else ())) for k in g.parts)
        return [k for k in found if k != self.reset]

    def weights(self, x: Source, h: Source | None) -> Weights | None:
        """The weights for an input and a state; None where something else is read, too, or sizes do not fit."""
        hidden = self.gates[0].bias.shape[0]
        if any(g.bias.shape != (hidden,) for g in self.gates) or any(s not in (x, h) for s in self.sources()):
            return None
        width = next((g.parts[x].shape[0] for g in self.gates if x in g.parts), None)
        if width is None:
            return None
        ws, rs, bs = [], [], []
        for i, g in enumerate(self.gates):
            other = self.inner if self.inner is not None and i == 2 else g
            key = self.reset if self.reset is not None and i == 2 else h
            dtype = g.bias.dtype
            if self.inner is not None and i == 2 and (h in g.parts or x in self.inner.parts):
                return None
            if self.reset is not None and (h if i == 2 else self.reset) in g.parts:
                return None  # a gate of r * h, or a new state of h alone
            ws.append(g.parts.get(x, np.zeros((width, hidden), dtype)).T)
            r = None if key is None else other.parts.get(key)
            rs.append(np.zeros((hidden, hidden), dtype) if r is None else r.T)
            bs.append(g.bias)
        if any(w.shape != (hidden, width) for w in ws) or any(r.shape != (hidden, hidden) for r in rs):
            return None
        rb = None
        if self.op == "gru":
            rb = np.zeros(3 * hidden, bs[0].dtype)
            if self.inner is not None:
                rb[2 * hidden :] = self.inner.bias
        stated = h is not None or self.reset is not None
        free = slice(hidden, 2 * hidden) if self.op == "lstm" and self.before is None else None
        return Weights(np.concatenate(ws), np.concatenate(rs) if stated else None, np.concatenate(bs), rb, free)


class Cells(Affines):
    """Reads the values of a graph as steps."""

    def cell(self, h: Value) -> Cell | None:
        """The step that gives a value."""
        h = through(h)
        node = h.producer
        if node is None or h.rank != 2:
            return None
        if node.op == "mul":
            return self._lstm(node)
        if node.op == "add":
            return self._gru(node)
        gate = self._gate(h)
        return None if gate is None else Cell("rnn", h, [gate[1]], {"activation": gate[0]})

    def _gate(self, v: Value | None) -> tuple[str, Affine] | None:
        """(activation, its argument)."""
        name, x = _activation(v)
        a = None if x is None else self.affine(x)
        return None if a is None else (name, a)

    def _lstm(self, node: Node) -> Cell | None:
        for o, y in _pairs(node):
            gate, (out_name, c) = self._gate(o), _activation(y)
            if gate is None or c is None or not out_name:
                continue
            c = through(c)
            for (f, before), (i, g) in self._cell_states(c):
                if {x[0] for x in (i, gate) if x} != {gate[0]} or (f is not None and f[0] != gate[0]) or i is None or g is None:
                    continue
                forget = f[1] if f is not None else Affine({}, np.zeros_like(i[1].bias))
                attrs = {"activation": g[0], "recurrent_activation": gate[0]}
                if out_name != g[0]:
                    attrs["output_activation"] = out_name
                cell = Cell("lstm", node.output, [i[1], forget, g[1], gate[1]], attrs, c=c, before=before)
                return cell
        return None

    def _cell_states(self, c: Value) -> Iterator[tuple[Any, Any]]:
        """((forget gate, state before), (input gate, candidate)) in all readings."""
        node = c.producer
        if node is None:
            return
        if node.op == "mul":  # there was no state before
            for i, g in _pairs(node):
                yield (None, None), (self._gate(i), self._gate(g))
            return
        if node.op != "add":
            return
        for p, q in _pairs(node):
            kept, new = (through(v).producer if v is not None else None for v in (p, q))
            if kept is None or new is None or kept.op != "mul" or new.op != "mul":
                continue
            for f, before in _pairs(kept):
                forget = self._gate(f)
                if forget is None or before is None:
                    continue
                for i, g in _pairs(new):
                    yield (forget, through(before)), (self._gate(i), self._gate(g))

    def _gru(self, node: Node) -> Cell | None:
        for p, q in _pairs(node):
            for z, h, n in self._mixtures(p, q):
                update, (act, inside) = self._gate(z), _activation(n)
                if update is None or inside is None or not act or h is None:
                    continue
                attrs: dict[str, Any] = {"activation": act, "recurrent_activation": update[0]}
                found = self._candidate(through(inside), through(h), update[0])
                if found is None:
                    continue
                reset, new, inner, key = found
                attrs["reset_after"] = inner is not None
                return Cell("gru", node.output, [update[1], reset, new], attrs, mixed=through(h), inner=inner, reset=key)
        return None

    def _mixtures(self, p: Value | None, q: Value | None) -> Iterator[tuple[Any, Any, Any]]:
        """(z, h, n) where the sum is z h + (1 - z) n, or n + z (h - n)."""
        a, b = (None if v is None else through(v).producer for v in (p, q))
        if a is not None and b is not None and a.op == "mul" and b.op == "mul":
            for z, h in _pairs(a):
                for rest, n in _pairs(b):
                    up = None if rest is None else through(rest).producer
                    if up is None or z is None or up.op != "sub" or up.inputs[1] is None or up.inputs[0] is None:
                        continue
                    one = self.known(up.inputs[0])
                    if one is not None and one.size and np.all(one == 1) and through(up.inputs[1]) is through(z):
                        yield z, h, n
        if a is not None and a.op == "mul" and q is not None:
            for z, apart in _pairs(a):
                up = None if apart is None else through(apart).producer
                if up is not None and up.op == "sub" and up.inputs[1] is not None and through(up.inputs[1]) is through(q):
                    yield z, up.inputs[0], q

    def _candidate(self, inside: Value, h: Value, gate: str) -> Any:
        """(reset gate, affine part, what the reset gate is applied to, r * h): the argument of a gru's new state."""
        whole = self.affine(inside)
        if whole is not None:  # of r * h
            for key in whole.parts:
                node = key.base.producer if key.axis is None else None
                for r, state in _pairs(node) if node is not None and node.op == "mul" else ():
                    reset = self._gate(r)
                    if reset is not None and reset[0] == gate and state is not None and through(state) is h:
                        return reset[1], whole, None, key
            return None
        node = inside.producer
        if node is None or node.op != "add":
            return None
        for x, y in _pairs(node):
            new = None if x is None else self._addend(x, inside)
            node = None if y is None else through(y).producer
            if new is None or node is None or node.op != "mul":
                continue
            for r, inner in _pairs(node):
                reset, of_h = self._gate(r), None if inner is None else self.affine(inner)
                if reset is not None and of_h is not None and reset[0] == gate:
                    return reset[1], new, of_h, None
        return None


def _pairs(node: Node) -> Iterator[tuple[Value | None, Value | None]]:
    """Both orders of two operands."""
    if len(node.inputs) == 2:
        yield node.inputs[0], node.inputs[1]
        if Trait.COMMUTES in traits_of(node.op):
            yield node.inputs[1], node.inputs[0]


def _activation(v: Value | None) -> tuple[str, Value | None]:
    """The name that recurrent layers have for an activation, and its argument."""
    node = None if v is None else through(v).producer
    if node is None or len(node.inputs) != 1:
        return "", None
    return name_of(node.op, node.attrs) or "", node.inputs[0]
