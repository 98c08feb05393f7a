"""One step of a recurrence: what of it is lstm, gru or rnn, with the weights read off the products and sums that make its gates.

A gate is an activation of an affine function of the step's input and the state before it. However the products are put together
(one for all gates or one for each, input and state joined or apart, the input's part computed for all steps at once), what
counts is the matrix each source is multiplied with and the vector added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interpreter.execute import FAILURES
from ..ir.graph import Node, Value
from ..ops.rnn_activations import name_of
from ..opset import Trait, find_op, traits_of
from .axes import axes_of, cells
from .kinds import same
from .region import Rewriter

__all__ = ["Affine", "Cell", "Cells", "Source", "Weights", "through"]

Array = NDArray[Any]

_LARGEST = 1 << 26
"""Elements of constants that are computed."""


def through(v: Value) -> Value:
    """The value before casts that change nothing and identities."""
    while v.producer is not None and v.tensor is None and same(v.producer) and v.producer.inputs[0] is not None:
        v = v.producer.inputs[0]
    return v


@dataclass(frozen=True)
class Source:
    """A value, or element ``index`` along ``axis`` of one: what a step reads."""

    base: Value
    axis: int | None = None
    index: int | None = None


@dataclass
class Affine:
    """The sum of sources times matrices (in, out), and a vector."""

    parts: dict[Source, Array]
    bias: Array

    def plus(self, other: Affine) -> Affine | None:
        parts = dict(self.parts)
        for k, w in other.parts.items():
            if k in parts and parts[k].shape != w.shape:
                return None
            parts[k] = parts[k] + w if k in parts else w
        return Affine(parts, self.bias + other.bias) if self.bias.shape == other.bias.shape else None

    def columns(self, part: slice) -> Affine:
        return Affine({k: w[:, part] for k, w in self.parts.items()}, self.bias[part])


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


@dataclass
class Cells:
    """Reads the values of a graph as steps. ``bound``: what inputs of a region are outside it; ``given``: what inputs are affine
    functions of already."""

    r: Rewriter
    bound: Mapping[Value, Value] = field(default_factory=dict)
    given: Mapping[Value, Affine] = field(default_factory=dict)
    _affine: dict[Value, Affine | None] = field(default_factory=dict)
    _known: dict[Value, Array | None] = field(default_factory=dict)

    # ---- constants
    def known(self, v: Value | None, depth: int = 16) -> Array | None:
        """The elements of what only constants give."""
        if v is None or not depth:
            return None
        if v in self.bound:
            return self.known(self.bound[v], depth - 1)
        if v.tensor is not None:
            return v.tensor.numpy() if v.tensor.size <= _LARGEST else None
        if v not in self._known:
            self._known[v] = self._computed(v, depth)
        return self._known[v]

    def _computed(self, v: Value, depth: int) -> Array | None:
        node = v.producer
        decl = None if node is None else find_op(node.op)
        if node is None or decl is None or decl.reference is None or node.regions or Trait.NO_FOLD in decl.traits:
            return None
        if not node.inputs or v.shape is None or not all(isinstance(n, int) for n in v.shape):
            return None
        ins = [None if x is None else self.known(x, depth - 1) for x in node.inputs]
        if any(a is None and x is not None for a, x in zip(ins, node.inputs)):
            return None
        try:
            out = decl.reference(*ins, **node.attrs)
        except FAILURES:
            return None
        return np.asarray(out[v.index] if isinstance(out, tuple) else out)

    # ---- sources and affine functions of them
    def source(self, v: Value) -> Source:
        """A value as a step of a sequence, where it is one."""
        v = through(v)
        found = self._step(v)
        return Source(v) if found is None else Source(*found)

    def _step(self, v: Value) -> tuple[Value, int, int] | None:
        """(sequence, axis, index) of a value that is one element of it along an axis, all other axes as they are."""
        if v.producer is None or v.tensor is not None:
            return None
        a = axes_of(self.r, v, select=True)
        taken = [(i, x) for i, g in enumerate(a.origin) for x in g if x.index is not None]
        if len(taken) != 1 or a.origin[taken[0][0]] != [taken[0][1]]:
            return None
        axis, atom = taken[0]
        rest = [cells(tuple(g)) for i, g in enumerate(a.origin) if i != axis]
        if [cells(g) for g in a.groups] != rest or atom.index is None:
            return None
        return a.base, axis, atom.index

    def affine(self, v: Value) -> Affine | None:
        v = through(v)
        if v in self.given:
            return self.given[v]
        if v not in self._affine:
            self._affine[v] = None  # what reads itself is none
            self._affine[v] = self._read(v)
        return self._affine[v]

    def _read(self, v: Value) -> Affine | None:
        if v.dtype is None or not v.dtype.is_float or v.shape is None or not v.shape or not isinstance(v.shape[-1], int):
            return None
        constant = self.known(v)
        if constant is not None:
            return self._vector(constant, v)
        node = v.producer
        if node is None:
            return None
        ins = node.inputs
        if node.op in ("matmul", "linear"):
            return self._product(node)
        if node.op == "add" and len(ins) == 2 and ins[0] is not None and ins[1] is not None:
            a, b = (self._addend(x, v) for x in ins)
            return None if a is None or b is None else a.plus(b)
        if node.op in ("slice", "split"):
            part = _last_part(node, v)
            x = None if part is None or ins[0] is None else self.affine(ins[0])
            if x is not None and part is not None:
                return x.columns(part)
        found = self._step(v)
        if found is not None and found[1] != (found[0].rank or 0) - 1:
            base, axis, index = found
            inner = self.affine(base) if base is not v else None
            if inner is not None and all(k.axis is None for k in inner.parts):
                whole = (base.shape or ())[:-1]
                if all(k.base.shape is not None and k.base.shape[:-1] == whole for k in inner.parts):
                    return Affine({Source(k.base, axis, index): w for k, w in inner.parts.items()}, inner.bias)
        return None

    def _addend(self, x: Value | None, out: Value) -> Affine | None:
        if x is None:
            return None
        constant = self.known(x)
        return self._vector(constant, out) if constant is not None else self.affine(x)

    def _vector(self, a: Array, out: Value) -> Affine | None:
        """A constant that is the same in every row."""
        n = (out.shape or (0,))[-1]
        if a.ndim > (out.rank or 0) or a.size == 0 or not isinstance(n, int):
            return None
        if a.ndim and a.shape[-1] not in (1, n):
            return None
        rows = np.broadcast_to(a, (*a.shape[:-1], n)).reshape(-1, n)
        return Affine({}, rows[0].copy()) if np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)) else None

    def _product(self, node: Node) -> Affine | None:
        x, w = node.inputs[0], self.known(node.inputs[1])
        if x is None or w is None or w.ndim != 2:
            return None
        if node.op == "linear":
            w = w.T
        bias = self.known(node.arg("b")) if node.op == "linear" and node.arg("b") is not None else np.zeros(w.shape[1], w.dtype)
        if bias is None or bias.shape != (w.shape[1],):
            return None
        x = through(x)
        constant = self.known(x)
        if constant is not None:
            row = self._vector(constant, x)
            return None if row is None else Affine({}, row.bias @ w + bias)
        joined = x.producer
        if joined is not None and joined.op == "concat" and joined.attrs["axis"] == (x.rank or 0) - 1:
            total, start = Affine({}, bias), 0
            for v in joined.inputs:
                n = None if v is None or v.shape is None else v.shape[-1]
                if v is None or not isinstance(n, int):
                    return None
                more = total.plus(Affine({self.source(v): w[start : start + n]}, np.zeros_like(bias)))
                if more is None:
                    return None
                total, start = more, start + n
            return total
        return Affine({self.source(x): w}, bias)

    # ---- steps
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


def _last_part(node: Node, v: Value) -> slice | None:
    """The columns that a slice or split of the last axis takes."""
    x = node.inputs[0]
    if x is None or x.shape is None or v.shape is None or not isinstance(x.shape[-1], int):
        return None
    if node.op == "split":
        sizes = node.attrs["sizes"]
        if node.attrs["axis"] != len(x.shape) - 1 or not all(isinstance(n, int) for n in sizes):
            return None
        start = sum(sizes[: v.index])
        return slice(start, start + sizes[v.index])
    at = node.attrs
    if x.shape[:-1] != v.shape[:-1] or any(s not in (1,) for s in at["steps"]):
        return None
    start, stop = at["starts"][-1], at["stops"][-1]
    if not isinstance(start, int) or not (stop is None or isinstance(stop, int)):
        return None
    return slice(*slice(start, stop).indices(x.shape[-1]))
