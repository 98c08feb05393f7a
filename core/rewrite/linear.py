"""Dense layers: a product with a constant matrix, the constant added to it, and the reshapes around both; embeddings."""

from __future__ import annotations

import math
from typing import Any

from ..ir.graph import Node, Value
from ..passes.constants import fold_constants
from ..passes.signs import never_negative
from .numbers import varies
from .region import Rewriter

__all__ = ["einsum", "embedding", "linear", "unflatten"]


def sole(r: Rewriter, v: Value) -> Node | None:
    """The only reader of a value; None where there are others, or it is a result of the graph."""
    return v.users[0] if len(v.uses) == 1 and v not in r.outputs else None


def other(r: Rewriter, node: Node, v: Value) -> Value | None:
    """The constant that a node of two inputs combines a value with, folded where it is made of constants."""
    if len(node.inputs) != 2:
        return None
    w = node.inputs[1] if node.inputs[0] is v else node.inputs[0]
    if w is not None and w.tensor is None and w.producer is not None and sole(r, w) is node:
        made_by = w.producer
        if all(i is not None and i.tensor is not None for i in made_by.inputs):
            fold_constants(r.graph, nodes=[made_by])
            w = node.inputs[1] if node.inputs[0] is v else node.inputs[0]
    return w if w is not None and w.tensor is not None else None


def _power_of_two(x: float) -> bool:
    return x > 0 and math.frexp(x)[0] == 0.5


def _flattened(x: Value) -> Value | None:
    """What was reshaped to (all but the last axis, the last axis)."""
    p = x.producer
    before = None if p is None or p.op != "reshape" else p.inputs[0]
    if before is None or before.shape is None or x.shape is None or len(x.shape) != 2 or len(before.shape) < 2:
        return None
    return before if before.shape[-1] == x.shape[-1] else None


class _Layer:
    """A product and what follows it, as far as it is one dense layer."""

    def __init__(self, r: Rewriter, node: Node, x: Value, out: Any, bias: bool) -> None:
        self.r, self.x, self.out = r, x, out
        self.nodes, self.root = [node], node.output
        self.scale, self.bias = 1.0, None if bias else False  # type: Any, Any
        self.flat = _flattened(x)
        self.split: Any = None  # the shape in which the bias is added, where the last axis was split
        self._follow(node.output)

    def _follow(self, y: Value) -> None:
        pending: list[Node] = []
        scale = 1.0
        restored = False
        while True:
            user = sole(self.r, y)
            if user is None or len(user.outputs) != 1:
                return
            z = user.output
            pending.append(user)
            if user.op == "cast" and user.attrs["to"] is y.dtype:
                y = z
                continue
            w = other(self.r, user, y) if user.op in ("mul", "add") else None
            if user.op == "mul" and w is not None and self.bias is None and w.tensor is not None and w.tensor.size == 1:
                number = float(w.tensor.numpy().reshape(()))
                if not _power_of_two(number) or z.shape != y.shape:
                    return
                scale *= number
            elif user.op == "reshape" and self.flat is not None and not restored and self._restores(z):
                restored = True
                if scale == 1:
                    self._commit(pending, z)
                    self.x = self.flat
            elif user.op == "reshape" and self.bias is None and scale == 1 and self._splits(y, z) and self.r.operators:
                self.split = z.shape
            elif user.op == "add" and w is not None and self.bias is None and z.shape == y.shape and self._is_bias(w, y):
                self.bias = w
                self.scale = scale
                self._commit(pending, z)
                if restored and self.flat is not None:
                    self.x = self.flat
                if self.split is not None:
                    return
            else:
                return
            y = z

    def _commit(self, pending: list[Node], z: Value) -> None:
        self.nodes += pending
        pending.clear()
        self.root = z

    def _restores(self, z: Value) -> bool:
        assert self.flat is not None and self.flat.shape is not None
        return z.shape == (*self.flat.shape[:-1], self.out)

    def _splits(self, y: Value, z: Value) -> bool:
        """Whether a reshape only splits the last axis, in two."""
        a, b = y.shape, z.shape
        if a is None or b is None or len(b) != len(a) + 1:
            return False
        return b[:-2] == a[:-1] and all(isinstance(n, int) for n in b[-2:])

    def _is_bias(self, w: Value, y: Value) -> bool:
        rank = len(y.shape or ())
        places = varies(w, rank)
        want = (rank - 2, rank - 1) if self.split is not None else (rank - 1,)
        return places is not None and set(places) <= set(want) and w.tensor is not None and w.tensor.size == self.out

    def put(self, make_weight: Any) -> bool:
        bias, x, split = self.bias or None, self.x, self.split if self.bias else None
        if not self.r.one_layer(self.nodes):
            return False
        if x is self.flat and x is not None and x.shape is not None and None in x.shape[:-1]:
            return False

        def make(b: Any) -> Value:
            w = make_weight(b)
            if self.scale != 1:
                w = b.mul(w, b.like(w, self.scale))
            y: Value = b.linear(x, w, None if bias is None else self.r.shaped(bias, (bias.tensor.size,)))
            return b.reshape(y, shape=split) if split is not None else y

        return self.r.put(self.root, self.nodes[::-1], make)


def linear(r: Rewriter, node: Node) -> bool:
    """matmul(x, W) with a constant W of two axes."""
    x, w = node.inputs
    if x is None or w is None or w.tensor is None or x.tensor is not None or w.rank != 2 or x.rank is None or x.rank < 2:
        return False
    if x.dtype is None or not x.dtype.is_float or min(w.tensor.shape) < 2:
        return False
    return _Layer(r, node, x, w.tensor.shape[1], True).put(lambda b: r.turned(w))


def unflatten(r: Rewriter, node: Node) -> bool:
    """A dense layer between a reshape to two axes and the reshape back, and a bias behind it."""
    x, w = node.need("x"), node.need("w")
    if w.tensor is None or x.dtype is None or x.shape is None:
        return False
    bias = node.arg("b")
    layer = _Layer(r, node, x, w.tensor.shape[0], bias is None)
    if len(layer.nodes) == 1:
        return False
    if bias is not None:
        layer.bias = bias
    return layer.put(lambda b: w)


def einsum(r: Rewriter, node: Node) -> bool:
    """einsum over the last axes of x and the first (or last) of a constant, which it does not share others with."""
    if len(node.inputs) != 2 or not r.operators:
        return False
    x, w = node.inputs
    left, _, out = node.attrs["equation"].partition("->")
    xs, _, ws = left.partition(",")
    if x is None or w is None or w.tensor is None or x.tensor is not None or x.shape is None or "." in left or x.dtype is None:
        return False
    contracted = "".join(c for c in xs if c in ws and c not in out)
    lead = xs[: len(xs) - len(contracted)]
    tail = out[len(lead) :]
    if not contracted or not lead or not tail or xs != lead + contracted or out != lead + tail or set(lead) & set(ws):
        return False
    if ws not in (contracted + tail, tail + contracted) or len(set(xs)) != len(xs) or len(set(ws)) != len(ws):
        return False
    sizes = dict(zip(ws, w.tensor.shape))
    n_in, n_out = math.prod(sizes[c] for c in contracted), math.prod(sizes[c] for c in tail)
    if any(isinstance(n, int) and n != sizes[c] for c, n in zip(xs, x.shape) if c in sizes) or None in x.shape[: len(lead)]:
        return False
    root, nodes, bias = node.output, [node], None
    after = sole(r, root)
    casts: list[Node] = []
    while after is not None and after.op == "cast" and after.attrs["to"] is root.dtype:
        casts.append(after)
        after = sole(r, after.output)
    if after is not None and after.op == "add" and after.output.shape == root.shape:
        y = casts[-1].output if casts else root
        c = other(r, after, y)
        rank = len(out)
        places = None if c is None else varies(c, rank)
        fits = c is not None and c.tensor is not None and c.tensor.size == n_out
        if fits and places is not None and all(p >= len(lead) for p in places):
            bias, nodes, root = c, [after, *casts[::-1], node], after.output
    if n_in < 2 or n_out < 2:
        return False
    shape = x.shape[: len(lead)]

    def make(b: Any) -> Value:
        z = x if len(contracted) == 1 else b.reshape(x, shape=(*shape, n_in))
        if ws == contracted + tail:
            weight = r.turned(r.shaped(w, (n_in, n_out)))
        else:
            weight = r.shaped(w, (n_out, n_in))
        y: Value = b.linear(z, weight, None if bias is None else r.shaped(bias, (n_out,)))
        return y if len(tail) == 1 else b.reshape(y, shape=(*shape, *(sizes[c] for c in tail)))

    return r.put(root, nodes, make)


def embedding(r: Rewriter, node: Node) -> bool:
    """Rows of a trained matrix by ids that are given, or are never negative: a gather counts those from the end, an embedding
    has no such rows."""
    table, ids = node.inputs
    if table is None or ids is None or table.tensor is None or ids.tensor is not None or node.attrs["axis"] != 0:
        return False
    if table.rank != 2 or table.role != "parameter" or not ids.rank or not r.operators or not never_negative(ids, inputs=True):
        return False
    return r.put(node.output, [node], lambda b: b.embedding(ids, table))
