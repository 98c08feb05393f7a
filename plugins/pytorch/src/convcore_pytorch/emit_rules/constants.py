"""Constants, and shapes as data."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, items, scalar, shape_of, sizes


@RULES.emit("fill")
def fill(e: E, node: Node) -> None:
    """A tensor of one number on the device of the weights, made anew at every call where its shape is symbolic."""
    shape = node.attrs["shape"]
    if e.node is None or any(v is None for v in shape):
        raise NotExpressible("a size is not known")
    made = sizes(e, shape)
    e.call("torch.full", [tuple(made), node.attrs["value"]], {"dtype": node.attrs["dtype"]}, outputs=node.outputs)


@RULES.emit("dynamic_fill")
def dynamic_fill(e: E, node: Node) -> None:
    """A shape that is computed."""
    shape = items(e, node.need("shape"))
    e.call("torch.full", [shape, node.attrs["value"]], {"dtype": node.attrs["dtype"]}, outputs=node.outputs)


def _diagonal(e: E, node: Node, rows: Any, columns: Any, dtype: DType) -> None:
    k = node.attrs["k"]
    if k == 0:
        e.call("torch.eye", [rows, columns], {"dtype": dtype}, outputs=node.outputs)
        return
    (y,) = e.call("torch.ones", [rows, columns], {"dtype": dtype})
    (y,) = e.call("torch.triu", [y, k])
    e.call("torch.tril", [y, k], outputs=node.outputs)


@RULES.emit("eye")
def eye(e: E, node: Node) -> None:
    """Other diagonals than the main one are cut out of ones."""
    a = node.attrs
    rows, columns = sizes(e, (a["rows"], a["columns"]))
    _diagonal(e, node, rows, columns, a["dtype"])


@RULES.emit("eye_like")
def eye_like(e: E, node: Node) -> None:
    """Sized like a matrix."""
    x = node.need("x")
    dtype = node.attrs["dtype"] or x.dtype or DType.FLOAT32
    e.value(x)
    rows, columns = sizes(e, shape_of(x))
    _diagonal(e, node, rows, columns, dtype)


@RULES.emit("range")
def range_(e: E, node: Node) -> None:
    """torch.arange, with bounds as numbers."""
    start, limit, delta = (scalar(e, given(v)) for v in node.inputs)
    step = [] if isinstance(delta, int) and delta == 1 else [delta]
    first = [] if isinstance(start, int) and start == 0 and not step else [start]
    e.call("torch.arange", [*first, limit, *step], {"dtype": node.output.dtype}, outputs=node.outputs)


@RULES.emit("one_hot")
def one_hot(e: E, node: Node) -> None:
    """ids beside every place: F.one_hot has no place for ids outside."""
    placed(e, node, sizes(e, [node.attrs["depth"]])[0])


def placed(e: E, node: Node, depth: Any) -> None:
    """One-hot rows of ``depth`` elements."""
    ids, values, a = node.need("ids"), node.arg("values"), node.attrs
    axis, rank = a["axis"], len(shape_of(ids))
    h = e.value(ids)
    if a["wrap_negative"]:
        (below,) = e.call("<", [h, 0])
        (turned,) = e.call("+", [h, depth])
        (h,) = e.call("torch.where", [below, turned, h])
    (h,) = e.call(".unsqueeze", [h, axis])
    (count,) = e.call("torch.arange", [depth])
    if rank > axis:
        (count,) = e.call(".reshape", [count, -1, *(1,) * (rank - axis)])
    (hit,) = e.call("==", [h, count])
    if values is None and (a["on_value"], a["off_value"]) == (1, 0):
        e.call(".to", [hit, a["dtype"]], outputs=node.outputs)
        return
    if values is not None and values.tensor is None:
        h = e.value(values)
        on, off = (e.call("[]", [h], {"index": (i,)})[0] for i in (1, 0))
    else:
        off_on = np.array([a["off_value"], a["on_value"]])
        pair = off_on.astype(a["dtype"].numpy) if values is None or values.tensor is None else values.tensor.numpy()
        on, off = (e.const(pair[i]) for i in (1, 0))
    e.call("torch.where", [hit, on, off], outputs=node.outputs)


@RULES.emit("shape_of")
def shape_of_(e: E, node: Node) -> None:
    """The shape as integers."""
    x = node.need("x")
    start, end = node.attrs["start"], node.attrs["end"]
    if x.shape is None:
        (whole,) = e.call(".size", [e.value(x, carry=True)])
        if start or end is not None:
            (whole,) = e.call("[]", [whole], {"index": (("slice", start or None, end, None),)})
        e.call("torch.tensor", [whole], {"dtype": DType.INT64}, outputs=node.outputs)
        return
    axes = range(len(shape_of(x)))[slice(start, end)]
    parts: list[Any] = [e.call(".size", [e.value(x, carry=True), i])[0] for i in axes]
    e.call("torch.tensor", [tuple(parts)], {"dtype": DType.INT64}, outputs=node.outputs)


@RULES.emit("size_of")
def size_of(e: E, node: Node) -> None:
    """The number of elements as an integer."""
    (n,) = e.call(".numel", [e.value(node.need("x"), carry=True)])
    e.call("torch.tensor", [n], {"dtype": DType.INT64}, outputs=node.outputs)


@RULES.emit("dim_value")
def dim_value(e: E, node: Node) -> None:
    """A size as data."""
    e.call("torch.tensor", [sizes(e, [node.attrs["value"]])[0]], {"dtype": DType.INT64}, outputs=node.outputs)
