"""Constants and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, Node, NotExpressible, Ref, product

from ..dialect import KerasScribe, anchor
from .base import RULES, Writer, known, static
from .shape import counted, expanded

__all__: list[str] = []


@RULES.emit("fill", "eye")
def constants(s: KerasScribe, node: Node) -> None:
    """Constants of a known shape; of an unknown one, a number broadcast to it."""
    w = Writer(s, node)
    a, v = node.attrs, node.outputs[0]
    dtype = DType(a["dtype"])
    if node.op == "eye":
        w.end(s.const(np.eye(a["rows"], a["columns"], a["k"], dtype=dtype.numpy), dtype))
        return
    shape = known(v)
    if all(isinstance(d, int) for d in shape):
        w.end(s.const(np.full(static(shape, "a constant"), a["value"], dtype.numpy), dtype))
        return
    like = "ZerosLike" if dtype is DType.BOOL and not a["value"] else "OnesLike"
    (one,) = s.call(f"ops.{like}", [anchor(s)], {"dtype": str(dtype)}, shapes=[(1, 1)], name=w.name)
    one = w.op("Reshape", one, shape=(1,) * len(shape), newshape=(1,) * len(shape))
    x = one if dtype is DType.BOOL or a["value"] == 1 else w.op("Multiply", one, a["value"], dtype=dtype)
    w.end(expanded(w, x, (1,) * len(shape), shape, dtype))


@RULES.emit("range", priority=1)
def ranges(s: KerasScribe, node: Node) -> None:
    """As many as an axis of some tensor has elements: the running sum of ones along it."""
    w = Writer(s, node)
    start, delta = w.constant(w.input(0)), w.constant(w.input(2))
    (n,) = known(node.outputs[0])
    to = node.outputs[0].dtype
    if start is None or delta is None or not isinstance(n, Dim) or to not in (DType.INT32, DType.INT64):
        raise NotExpressible("it counts as far as values say, or does not count integers", "unknown_shape")
    steps, _ = counted(w, n)
    y = w.cast(steps, to)
    y = y if delta == 1 else w.op("Multiply", y, int(delta), shape=(n,), dtype=to)
    w.end(y if start == 0 else w.op("Add", y, int(start), shape=(n,), dtype=to))


@RULES.emit("shape_of")
def shape_of(s: KerasScribe, node: Node) -> None:
    """Sizes as a vector of int64."""
    w = Writer(s, node)
    dims = known(w.input(0))[node.attrs["start"] : node.attrs["end"]]
    if any(d is None for d in dims):
        raise NotExpressible("a size of its input is unknown", "unknown_shape")
    made = s.sizes(dims)
    if isinstance(made, Ref) and made.shape == ():
        made = w.op("Reshape", made, shape=(1,), newshape=(1,))
    w.end(made)


@RULES.emit("size_of")
def size_of(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    dims = known(w.input(0))
    if any(d is None for d in dims):
        raise NotExpressible("a size of its input is unknown", "unknown_shape")
    w.end(_size(s, product([d for d in dims if d is not None])))


@RULES.emit("dim_value")
def dim_value(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    w.end(_size(s, node.attrs["value"]))


def _size(s: KerasScribe, d: Any) -> Any:
    """A size as a scalar of int64."""
    return s.const(d, DType.INT64) if isinstance(d, int) else s.size(d)
