"""Elements at computed places: gathered by rows of a linear index, scattered by ScatterUpdate."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref

from ..dialect import KerasScribe
from .base import RULES, Writer, known
from .places import Places, rows_of

__all__: list[str] = []


@RULES.emit("take_along_axis")
def take_along_axis(s: KerasScribe, node: Node) -> None:
    """An index with fewer elements along another axis reads the first ones there."""
    w = Writer(s, node)
    x, index, axis = w.x(0), w.x(1), node.attrs["axis"]
    if not isinstance(x, Ref) and not isinstance(index, Ref):
        raise NotExpressible("both operands are constants")
    for i, (n, m) in enumerate(zip(known(w.input(0)), known(w.input(1)))):
        if i == axis or n == m:
            continue
        if not isinstance(m, int) or not isinstance(x, Ref):
            raise NotExpressible("its index has other sizes than its input")
        x = w.cut(x, i, None, m, size=m)
    w.end(w.op("TakeAlongAxis", x, index, shape=known(node.outputs[0]), dtype=w.dtype(), axis=axis))


@RULES.emit("gather_nd")
def gather_nd(s: KerasScribe, node: Node) -> None:
    """The batch and indexed axes as one, by linear indices."""
    w = Writer(s, node)
    p, b = Places(w), node.attrs["batch_dims"]
    x, index = w.x(0), p.index(1)
    k = known(w.input(1))[-1]
    if not isinstance(k, int) or not (isinstance(x, Ref) or isinstance(index, Ref)):
        raise NotExpressible("an index of a length that is not known, or constants")
    lead = tuple(known(w.input(1))[:-1])
    parts = []
    for j in range(b):
        if not isinstance(index, Ref):
            raise NotExpressible("a constant index for each of a batch")
        at, n = p.axis(index, j)
        if isinstance(at, Ref):
            at = w.op("GetItem", at, (..., 0), shape=at.shape[:-1] if at.shape else ())
        else:
            at = at[..., 0]
        parts.append((at, n))
    for j in range(k):
        n = p.size(x, b + j) if isinstance(x, Ref) else x.shape[b + j]
        column = w.op("GetItem", index, (..., j), shape=lead) if isinstance(index, Ref) else index[..., j]
        parts.append((p.from_start(column, n), n))
    if not parts:
        raise NotExpressible("an index of no axes")
    rows = rows_of(w, x, b + k)
    w.end(w.op("Take", rows, p.arg(p.line(parts)), shape=known(node.outputs[0]), dtype=w.dtype(), axis=0))


_JOINED = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _updated(w: Writer, columns: list[Any], updates: Any, tail: tuple[Any, ...]) -> Ref:
    """``x`` with updates (K, *tail) at the places that columns of K numbers name."""
    s, p, x = w.s, Places(w), w.x(0)
    if w.dtype() is DType.BOOL and w.attrs["reduction"] != "none":
        raise NotExpressible("it joins booleans")
    if any(isinstance(c, Ref) for c in columns):
        wide: Any = None
        for c in columns:
            wide = c if wide is None else p.do("Add", wide, p.do("Multiply", c, 0))
        full = [c if isinstance(c, Ref) and c.shape == wide.shape else p.do("Add", c, p.do("Multiply", wide, 0)) for c in columns]
        stacked = w.op("Stack", full, shape=(*wide.shape, len(columns)), axis=-1, dtype=DType.INT32)
        index: Any = w.op("Reshape", stacked, shape=(None, len(columns)), newshape=(-1, len(columns)))
    else:
        index = s.const(np.stack(np.broadcast_arrays(*columns), -1).reshape(-1, len(columns)).astype(np.int32))
    if isinstance(updates, Ref):
        if any(not isinstance(d, int) for d in tail):
            raise NotExpressible("sizes that are not known before it runs", "unknown_shape")
        updates = w.op("Reshape", updates, shape=(None, *tail), newshape=(-1, *tail))
    else:
        updates = s.const(updates.tensor.numpy().reshape((-1, *tail)))
    if not any(isinstance(a, Ref) for a in (x, index, updates)):
        raise NotExpressible("all its operands are constants")
    return w.op("ScatterUpdate", x, index, updates, shape=known(w.input(0)), dtype=w.dtype(),
                reduction=_JOINED[w.attrs["reduction"]])  # fmt: skip


@RULES.emit("scatter_nd")
def scatter_nd(s: KerasScribe, node: Node) -> None:
    """ScatterUpdate, indices that count from the end brought to the start."""
    w = Writer(s, node)
    p, x, index = Places(w), w.x(0), Places(w).index(1)
    at, shape = known(w.input(1)), known(w.input(0))
    k = at[-1]
    if not isinstance(k, int) or k < 1:
        raise NotExpressible("an index of a length that is not known")
    columns = []
    for j in range(k):
        n = p.size(x, j) if isinstance(x, Ref) else x.shape[j]
        column = w.op("GetItem", index, (..., j), shape=at[:-1]) if isinstance(index, Ref) else index[..., j]
        columns.append(p.from_start(column, n))
    w.end(_updated(w, columns, w.x(2), tuple(shape[k:])))


@RULES.emit("scatter_elements")
def scatter_elements(s: KerasScribe, node: Node) -> None:
    """ScatterUpdate of single elements: the index along its axis, the element's own place along the others."""
    w = Writer(s, node)
    p, x, index = Places(w), w.x(0), Places(w).index(1)
    axis, shape = node.attrs["axis"], known(w.input(1))
    columns = []
    for j in range(len(shape)):
        if j == axis:
            columns.append(p.from_start(index, p.size(x, j) if isinstance(x, Ref) else x.shape[j]))
        elif isinstance(index, Ref):
            columns.append(p.axis(index, j)[0])
        else:
            columns.append(np.arange(index.shape[j], dtype=np.int32).reshape([-1 if i == j else 1 for i in range(len(shape))]))
    w.end(_updated(w, columns, w.x(2), ()))
