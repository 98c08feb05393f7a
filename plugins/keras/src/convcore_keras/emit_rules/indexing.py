"""Gathering by one index; by several, and scattering: scatter.py."""

from __future__ import annotations

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, State, never_negative

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []


@RULES.emit("gather")
def gather(s: KerasScribe, node: Node) -> None:
    """One index by an index; rows of a trained table by Embedding; else Take."""
    w = Writer(s, node)
    v, i, axis, out = w.input(0), w.input(1), node.attrs["axis"], known(node.outputs[0])
    if v.tensor is not None and v.rank == 2 and axis == 0 and v.role == "parameter" and i.tensor is None:
        ids = w.ref(1)
        if not never_negative(i, inputs=True):  # those count from the end, of which Embedding has nothing
            rows, kind = v.tensor.shape[0], w.dtype(1)
            if rows > np.iinfo(kind.numpy).max:  # their sum would not fit
                kind = DType.INT32
                ids = w.cast(ids, kind)
            shape, from_end = known(i), w.op("Add", ids, rows, dtype=kind)
            ids = w.op("Where", w.op("Less", ids, 0), from_end, ids, shape=shape, dtype=kind)
        w.end(w.layer("Embedding", ids, {}, {"embeddings": s.state(v)}, shape=out))
        return
    at = w.constant(i)
    x = w.x(0)
    if at is not None and isinstance(x, Ref) and at.shape == ():
        key = tuple(int(at) if a == axis else slice(None) for a in range(len(known(v))))
        w.end(w.op("GetItem", x, key, shape=out))
        return
    index = w.x(1)
    if not isinstance(x, Ref) and not isinstance(index, Ref):
        raise NotExpressible("both operands are constants")
    w.end(w.op("Take", x, index, shape=out, dtype=w.dtype(), axis=axis))


@RULES.emit("one_hot")
def one_hot(s: KerasScribe, node: Node) -> None:
    """A comparison with the range: ids outside are no error then."""
    w, a = Writer(s, node), node.attrs
    if not isinstance(a["depth"], int):
        raise NotExpressible("its depth is not known before it runs")
    ids, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    axis = a["axis"] % len(out)
    n, d = a["depth"], w.dtype()
    column = w.op("ExpandDims", ids, shape=(*shape[:axis], 1, *shape[axis:]), axis=axis)
    if a["wrap_negative"]:
        column = w.op("Where", w.op("Less", column, 0), w.op("Add", column, n), column, shape=column.shape, dtype=d)
    line = np.arange(n, dtype=d.numpy).reshape([n if i == axis else 1 for i in range(len(out))])
    hit = w.op("Equal", column, s.const(line), shape=out)
    to = DType(a["dtype"])
    if w.optional(1) is not None:
        pair = w.x(1)
        off, on = (s.const(pair.tensor.numpy()[i]) if isinstance(pair, State) else w.op("GetItem", pair, (i,), shape=())
                   for i in (0, 1))  # fmt: skip
        w.end(w.op("Where", hit, on, off, shape=out, dtype=w.dtype(1)))
        return
    if (a["on_value"], a["off_value"]) == (1, 0):
        w.end(w.cast(hit, to))
        return
    on, off = (s.const(np.asarray(v, to.numpy)) for v in (a["on_value"], a["off_value"]))
    w.end(w.op("Where", hit, on, off, shape=out, dtype=to))


@RULES.emit("reverse_sequence")
def reverse_sequence(s: KerasScribe, node: Node) -> None:
    """The first steps of each sequence the other way round, by an index per step."""
    w, a = Writer(s, node), node.attrs
    x, shape = w.ref(), known(w.input(0))
    if (a["batch_axis"], a["time_axis"]) not in ((0, 1), (1, 0)):
        raise NotExpressible("its batch and time are not the first two axes")
    time, batch = a["time_axis"], a["batch_axis"]
    flat = tuple(1 if i > 1 else shape[i] for i in range(len(shape)))
    line = w.op("GetItem", x, tuple(slice(None, 1) if i > 1 else slice(None) for i in range(len(shape))), shape=flat)
    (one,) = s.call("ops.OnesLike", [line], {"dtype": "int32"}, shapes=[flat], name=w.name, carry=True)
    at = w.op("Subtract", w.op("Cumsum", one, shape=flat, axis=time), 1)
    sizes = tuple(shape[batch] if i == batch else 1 for i in range(len(shape)))
    lengths = w.op(
        "Reshape", w.cast(w.x(1), DType.INT32), shape=sizes, newshape=tuple(-1 if i == batch else 1 for i in range(len(shape)))
    )
    back = w.op("Subtract", w.op("Subtract", lengths, 1), at, shape=flat)
    index = w.op("Where", w.op("Less", at, lengths, shape=flat), back, at, shape=flat, dtype=DType.INT32)
    (zero,) = s.call("ops.ZerosLike", [x], {"dtype": "int32"}, shapes=[shape], name=w.name, carry=True)
    index = w.op("Add", index, zero, shape=shape)
    w.end(w.op("TakeAlongAxis", x, index, shape=shape, dtype=w.dtype(), axis=time))


@RULES.emit("eye_like")
def eye_like(s: KerasScribe, node: Node) -> None:
    """Ones where the column is the row plus k."""
    w = Writer(s, node)
    x, shape = w.ref(), known(w.input(0))
    to = node.outputs[0].dtype or DType.FLOAT32
    (one,) = s.call("ops.OnesLike", [x], {"dtype": "int32"}, shapes=[shape], name=w.name, carry=True)
    rows, columns = (w.op("Cumsum", one, shape=shape, axis=i) for i in (0, 1))
    w.end(w.cast(w.op("Equal", w.op("Add", rows, int(node.attrs["k"])), columns, shape=shape), to))
