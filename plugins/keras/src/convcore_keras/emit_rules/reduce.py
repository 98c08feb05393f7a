"""Reductions, cumulative operations, sorting and searching."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []

_KINDS = {"sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min", "prod": "Prod", "all": "All", "any": "Any"}


def axes_of(w: Writer) -> list[int] | None:
    axes = w.attrs["axes"]
    return None if axes is None else list(axes)


def config(w: Writer) -> dict[str, Any]:
    return {"axis": axes_of(w), "keepdims": bool(w.attrs["keepdims"])}


@RULES.emit(*_KINDS)
def reduce(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x = w.ref()
    if axes_of(w) == []:
        w.end(x)
        return
    out = known(node.outputs[0])
    d = w.dtype()
    if node.op == "sum" and not d.is_float and d not in (DType.INT32, DType.INT64):
        raise NotExpressible(f"Keras gives another element type for the {node.op} of {d}")
    if node.op in ("mean", "prod") and not d.is_float:
        raise NotExpressible(f"Keras gives another element type for the {node.op} of {d}")
    if node.op in ("all", "any") and d is not DType.BOOL:
        raise NotExpressible(f"{node.op} of {d}")
    y = w.op(_KINDS[node.op], x, shape=out, dtype=node.outputs[0].dtype, **config(w))
    w.end(y)


@RULES.emit("l1_norm", "l2_norm", "sum_square", "log_sum")
def norms(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x = w.ref()
    if not w.dtype().is_float:
        raise NotExpressible(f"its input is {w.dtype()}")
    inner = {"l1_norm": "Absolute", "l2_norm": "Square", "sum_square": "Square"}.get(node.op)
    y = w.op(inner, x) if inner else x
    if axes_of(w) != []:  # no axes are all of them to the torch backend
        y = w.op("Sum", y, shape=known(node.outputs[0]), **config(w))
    outer = {"l2_norm": "Sqrt", "log_sum": "Log"}.get(node.op)
    w.end(w.op(outer, y) if outer else y)


@RULES.emit("logsumexp", priority=1)
def of_no_axes(s: KerasScribe, node: Node) -> None:
    """The logarithm of one exponential (a row of ``ops/reduce.py`` says the rest)."""
    w = Writer(s, node)
    if axes_of(w) != []:
        raise NotExpressible("it has axes")
    w.end(w.ref())


@RULES.emit("argmax", "argmin")
def argmax(s: KerasScribe, node: Node) -> None:
    """The first of equals; the last one from the flipped tensor, whose size must be known."""
    w = Writer(s, node)
    x, axis, out = w.ref(), node.attrs["axis"], known(node.outputs[0])
    n = known(w.input(0))[axis]
    if node.attrs["last"]:
        if not isinstance(n, int):
            raise NotExpressible("the last of equals along an axis of unknown size")
        x = w.op("Flip", x, axis=axis)
    y = w.op("Argmax" if node.op == "argmax" else "Argmin", x, shape=out, axis=axis, keepdims=bool(node.attrs["keepdims"]))
    if node.attrs["last"]:
        y = w.op("Subtract", int(n) - 1, y, shape=out, dtype=DType.INT32)  # type: ignore[arg-type]
    w.end(w.cast(y, DType(node.attrs["dtype"])))


@RULES.emit("cumsum", "cumprod")
def cumulate(s: KerasScribe, node: Node) -> None:
    """Counts of what is true are no larger than an axis: they are made of int32, as the torch backend does anyhow."""
    w = Writer(s, node)
    x, axis = w.ref(), node.attrs["axis"]
    given = w.input(0)
    while given.dtype is not None and given.dtype.is_int and given.producer is not None and given.producer.op == "cast":
        given = given.producer.need("x")
    counts = node.op == "cumsum" and w.dtype() is DType.INT64 and given.dtype is DType.BOOL
    x = w.cast(x, DType.INT32) if counts else x
    if not w.dtype().is_float and w.dtype() not in (DType.INT32, DType.INT64):
        raise NotExpressible(f"of {w.dtype()}")
    if node.attrs["reverse"]:
        x = w.op("Flip", x, axis=axis)
    kind = "Cumsum" if node.op == "cumsum" else "Cumprod"
    if node.attrs["exclusive"]:
        first = w.cut(x, axis, None, 1)
        like = w.op("ZerosLike" if node.op == "cumsum" else "OnesLike", first)
        x = w.op("Concatenate", [like, w.cut(x, axis, None, -1)], shape=x.shape, axis=axis)
    y = w.op(kind, x, axis=axis)
    y = w.op("Flip", y, axis=axis) if node.attrs["reverse"] else y
    w.end(w.cast(y, DType.INT64) if counts else y)


@RULES.emit("argsort", "sort")
def sort(s: KerasScribe, node: Node) -> None:
    """Stable and ascending; descending from the negative, which keeps the order of equals."""
    w = Writer(s, node)
    x, axis = w.ref(), node.attrs["axis"]
    if node.attrs["descending"] and not (w.dtype().is_float or w.dtype() in (DType.INT32, DType.INT64)):
        raise NotExpressible(f"descending order of {w.dtype()}")
    y = w.op("Negative", x) if node.attrs["descending"] else x
    if node.op == "argsort":
        w.end(w.cast(w.op("Argsort", y, axis=axis), node.outputs[0].dtype or DType.INT64))
        return
    y = w.op("Sort", y, axis=axis)
    w.end(w.op("Negative", y) if node.attrs["descending"] else y)


@RULES.emit("topk")
def topk(s: KerasScribe, node: Node) -> None:
    """By a stable sort: on the torch backend ``top_k`` does not give the lowest index of equals."""
    w = Writer(s, node)
    x, axis, k = w.ref(), node.attrs["axis"], node.attrs["k"]
    if not isinstance(k, int):
        raise NotExpressible(f"k={k} is not a number")
    if not (w.dtype().is_float or w.dtype() in (DType.INT32, DType.INT64)):
        raise NotExpressible(f"of {w.dtype()}")
    order = w.op("Argsort", w.op("Negative", x) if node.attrs["largest"] else x, axis=axis)
    best = w.cut(order, axis, None, k, size=k)
    w.end(w.op("TakeAlongAxis", x, best, shape=best.shape, axis=axis), w.cast(best, node.outputs[1].dtype or DType.INT64))
