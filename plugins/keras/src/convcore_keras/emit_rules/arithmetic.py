"""Elementwise operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, State

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []

_NARROW = (DType.UINT16, DType.UINT32, DType.UINT64)


def _types(w: Writer) -> DType:
    """The type of the first input; unsigned ones beyond a byte are not computed with on every backend."""
    d = w.dtype()
    if d in _NARROW:
        raise NotExpressible(f"Keras does not compute with {d} on every backend", "unsupported_dtype")
    return d


def operands(w: Writer) -> tuple[Any, Any]:
    """Both operands: a constant of one element as a number, which takes the type of the other."""
    x, y = w.x(0), w.x(1)
    if not isinstance(x, Ref) and not isinstance(y, Ref):
        raise NotExpressible("both operands are constants")
    a, b = w.input(0), w.input(1)
    return _plain(x, y, known(a), known(b)), _plain(y, x, known(b), known(a))


def _plain(x: Any, other: Any, shape: Any, theirs: Any) -> Any:
    if not isinstance(x, State) or not isinstance(other, Ref) or shape != () or x.dtype is DType.BOOL:
        return x
    value = x.tensor.numpy().reshape(()).item()
    if isinstance(value, (int, float)) and (x.dtype is None or not x.dtype.is_int or abs(value) < 1 << 31):
        return value
    return x


@RULES.emit("maximum", "minimum")
def extremes(s: KerasScribe, node: Node) -> None:
    """A choice where the operations compute in 32 bits (rows of ``ops/arithmetic.py`` say the rest)."""
    w = Writer(s, node)
    d = _types(w)
    if d not in (DType.INT64, DType.FLOAT64):
        raise NotExpressible(f"{node.op} of {d}")
    x, y = operands(w)
    out = known(node.outputs[0])
    first = w.op("Greater" if node.op == "maximum" else "Less", x, y, shape=out)
    if d.is_float:  # NaN wins
        nan = w.op("NotEqual", x, x, shape=x.shape) if isinstance(x, Ref) else None
        first = first if nan is None else w.op("LogicalOr", first, nan, shape=out)
    w.end(w.op("Where", first, w.x(0), w.x(1), shape=out, dtype=d))


@RULES.emit("div")
def div(s: KerasScribe, node: Node) -> None:
    """The quotient of floats; that of integers, towards zero, from the floor of absolute values."""
    w = Writer(s, node)
    d = _types(w)
    out = known(node.outputs[0])
    x, y = operands(w)
    if d.is_float:
        w.end(w.op("Divide", x, y, shape=out))
        return
    if d.itemsize < 4:
        raise NotExpressible(f"a quotient of {d}")
    x, y = w.x(0), w.x(1)

    def parts(v: Any) -> tuple[Any, Any]:
        if isinstance(v, State):
            a = v.tensor.numpy()
            return s.const(np.sign(a)), s.const(np.abs(a))
        return w.op("Sign", v), w.op("Absolute", v)

    (sx, ax), (sy, ay) = parts(x), parts(y)
    w.end(w.op("Multiply", w.op("Multiply", sx, sy, shape=out, dtype=d), w.op("FloorDivide", ax, ay, shape=out), shape=out))


@RULES.emit("cast")
def cast(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x = w.ref()
    to = node.outputs[0].dtype
    if to is None or w.dtype() in _NARROW or to in _NARROW:
        raise NotExpressible(f"Keras does not cast {w.dtype()} to {to} on every backend")
    w.end(w.cast(x, to) if x.dtype is not to else x)


@RULES.emit("identity", priority=1)
def identity(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    w.end(w.carried())


@RULES.emit("clip")
def clip(s: KerasScribe, node: Node) -> None:
    """Bounds are numbers; one that is open is a maximum or minimum. Backends differ where the lower one is above."""
    w = Writer(s, node)
    x, low, high = w.ref(), node.attrs["min"], node.attrs["max"]
    if not w.dtype().is_float:
        low, high = (None if v is None else int(v) for v in (low, high))
    if low is not None and high is not None and low > high:
        raise NotExpressible(f"its bounds {low} and {high} are in no order, backends differ")
    if w.dtype() in (DType.INT64, DType.FLOAT64):  # Clip, Maximum and Minimum compute in 32 bits
        for bound, over in ((low, "Less"), (high, "Greater")):
            if bound is not None:
                edge = s.const(np.asarray(bound, w.dtype().numpy))
                x = w.op("Where", w.op(over, x, edge), edge, x, dtype=w.dtype())
        w.end(x)
    elif low is not None and high is not None:
        w.end(w.op("Clip", x, x_min=low, x_max=high))
    elif low is not None or high is not None:
        w.end(w.op("Maximum" if low is not None else "Minimum", x, low if low is not None else high))
    else:
        w.end(x)
