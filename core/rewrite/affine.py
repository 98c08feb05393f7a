"""Values as affine functions of others: the matrix that each source is multiplied with, and the vector added.

However products are put together (one for all gates of a recurrence or one for each, input and state joined or apart, the input's
part computed for all steps at once), these are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interpreter.execute import FAILURES
from ..ir.graph import Node, Value
from ..opset import Trait, find_op
from ..records import dataclass
from .axes import axes_of, cells
from .kinds import same
from .region import Rewriter

__all__ = ["Affine", "Affines", "Source", "through"]

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
class Affines:
    """Reads the values of a graph as affine functions. ``bound``: what inputs of a region are outside it; ``given``: what inputs
    are affine functions of already."""

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
