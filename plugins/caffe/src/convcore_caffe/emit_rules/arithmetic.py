"""Elementwise arithmetic: Eltwise for blobs of one shape, Scale and Bias for what lies along some axes, Power for numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, Tensor, Trait, Value, traits_of

from ..dialect import CaffeScribe, blob_shape, label
from ..emit_tidy import power_param
from ..files import Message
from .base import RULES, constant, first, folded, reshape, scalar, static, tile, weight

__all__ = ["block_of", "power"]

INFINITY = float("inf")


def power(e: CaffeScribe, top: Ref, node: Node, outputs: Sequence[Value | None] = (), **fields: float) -> Ref:
    """(shift + scale * x)^power."""
    (out,) = e.call("Power", [top], power_param(**fields), outputs=outputs, shapes=[top.dims], name=label(node))
    return out


_LARGEST = float(np.finfo(np.float32).max)


# ---- one blob
@RULES.emit("identity")
def identity(e: CaffeScribe, node: Node) -> None:
    """No layer of its own."""
    e.alias(node.output, e.value(first(node), carry=True))


@RULES.emit("dropout")
def dropout(e: CaffeScribe, node: Node) -> None:
    """Caffe's own, which scales while it trains; other kinds than its one are left out."""
    a, x = node.attrs, first(node)
    if a["kind"] != "bernoulli" or a["shared"] or a["rate"] is None or x.dtype not in (None, DType.FLOAT32):
        e.pass_on(node, "dropout")
        return
    if a["seed"] is not None:
        e.leave_out("the seed of dropout", node)
    param = {} if a["rate"] == 0.5 else {"dropout_ratio": a["rate"]}
    e.call("Dropout", [e.value(x)], param, outputs=node.outputs, name=label(node))


@RULES.emit("gaussian_noise")
def gaussian_noise(e: CaffeScribe, node: Node) -> None:
    """Left out: Caffe has no such layer."""
    e.pass_on(node, "noise")


@RULES.emit("cast")
def cast(e: CaffeScribe, node: Node) -> None:
    """Whole numbers and truth values are carried as floats; what becomes an index is truncated by the layer that reads it."""
    x, to = first(node), node.attrs["to"]
    if folded(e, node, lambda t: t.cast(to)):
        return
    whole = x.dtype is not None and (x.dtype.is_int or x.dtype is DType.BOOL)
    widens = whole and (to is DType.FLOAT32 or (to.is_int and x.dtype is not None and to.itemsize >= x.dtype.itemsize))
    y = node.output
    index = to.is_int and bool(y.uses) and not y.is_output and all(_reads_index(u, i) for u, i in y.uses)
    if x.dtype is not to and not widens and not (index and x.dtype is DType.FLOAT32):
        raise NotExpressible(f"Caffe has no conversion of {x.dtype} to {to}: every blob is float32")
    e.alias(node.output, e.value(x, carry=True))


def _reads_index(user: Node, position: int) -> bool:
    """Whether a node takes an input for places, which the Caffe layer it becomes truncates itself."""
    if user.op == "embedding":
        return position == 0
    return user.op == "gather" and position == 1 and user.attrs["axis"] == 0


@RULES.emit("clip")
def clip(e: CaffeScribe, node: Node) -> None:
    """Clip in BVLC's Caffe (an open side is infinite), else the larger of x and a constant, exact for every bound: Eltwise MAX
    of x and a Power with a scale of 0. A bound beyond float32 is none."""
    low, high = (None if v is None or abs(v) >= _LARGEST else v for v in (node.attrs["min"], node.attrs["max"]))
    x = e.value(first(node))
    if low is None and high is None:
        e.alias(node.output, x)
    elif low == 0 and high is None:
        e.call("ReLU", [x], {}, outputs=node.outputs, name=label(node))
    elif (low, high) == (0, 6) and e.dialect.has("ReLU6"):
        e.call("ReLU6", [x], {}, outputs=node.outputs, name=label(node))
    elif e.dialect.has("Clip"):
        limits = {"min": -INFINITY if low is None else low, "max": INFINITY if high is None else high}
        e.call("Clip", [x], limits, outputs=node.outputs, name=label(node))
    else:
        if low is not None:
            x = _at_least(e, node, x, low, node.outputs if high is None else ())
        if high is not None:
            negative = power(e, x, node, scale=-1.0)
            power(e, _at_least(e, node, negative, -high), node, node.outputs, scale=-1.0)


def _at_least(e: CaffeScribe, node: Node, x: Ref, low: float, outputs: Sequence[Value | None] = ()) -> Ref:
    """max(x, low)."""
    if not low:
        (y,) = e.call("ReLU", [x], {}, outputs=outputs, shapes=[x.dims], name=label(node))
        return y
    bound = power(e, x, node, scale=0.0, shift=low)
    (y,) = e.call("Eltwise", [x, bound], {"operation": "MAX"}, outputs=outputs, shapes=[x.dims], name=label(node))
    return y


# ---- two blobs
def block_of(small: Sequence[int], big: Sequence[int], *, batch: bool = False) -> tuple[int, int] | None:
    """The axes [begin, end) of ``big`` that ``small`` lies along when it is broadcast; None if it does not broadcast to it.

    With ``batch`` the first axis is one of them where both have it, whatever its size.
    """
    if len(small) > len(big):
        return None
    wide = (1,) * (len(big) - len(small)) + tuple(small)
    if any(a not in (1, b) for a, b in zip(wide, big)):
        return None
    used = [i for i, a in enumerate(wide) if a != 1]
    if batch and len(small) == len(big) and small and small[0] == big[0]:
        used.append(0)
    return (min(used), max(used) + 1) if used else (0, 0)


def _along(e: CaffeScribe, node: Node, type_: str, x: Ref, v: Value, make: Any = None) -> None:
    """Scale or Bias of x by a constant; ``make`` changes its values first."""
    tensor = weight(v, "the other operand")
    span = block_of(tensor.shape, x.dims)
    assert span is not None  # it fits (_fits)
    begin, end = span
    wide = (1,) * (len(x.dims) - tensor.ndim) + tensor.shape
    want = tuple(x.dims[begin:end])
    blob: Tensor = tensor.reshape(wide[begin:end])
    if make is not None:
        blob = blob.map(make)
    if blob.shape != want:
        blob = blob.map(lambda a: np.broadcast_to(a, want), want)
    param: dict[str, Any] = span_param(begin, end)
    blobs = [blob]
    if not e.dialect.has(type_):  # OpenCV has no Bias
        type_, blobs = "Scale", [constant(lambda: np.ones(want), want), blob]
        param["bias_term"] = True
    e.unit(type_, [x], param, outputs=node.outputs, name=label(node), states=blobs)


def span_param(begin: int, end: int) -> dict[str, int]:
    """axis and num_axes of Scale and Bias."""
    param = {}
    if begin != 1 and end > begin:
        param["axis"] = begin
    if end - begin != 1:
        param["num_axes"] = end - begin
    return param


def _pair(
    e: CaffeScribe, node: Node, a: Ref, b: Ref, outputs: Sequence[Value | None], kind: str, coeffs: Sequence[float] = (1.0, 1.0)
) -> Ref:
    """a op b for two blobs, the smaller laid along the larger (Scale, Bias) or repeated (Tile) where shapes differ."""
    out = static(node.output)
    if a.shape == b.shape:
        param: dict[str, Any] = {} if kind == "SUM" else {"operation": kind}
        if any(c != 1 for c in coeffs):
            param["coeff"] = list(coeffs)
        return e.call("Eltwise", [a, b], param, outputs=outputs, shapes=[out], name=label(node))[0]
    if b.shape == out and a.shape != out:
        a, b, coeffs = b, a, tuple(reversed(coeffs))
    if a.shape != out:
        a = tile(e, reshape(e, a, (1,) * (len(out) - len(a.dims)) + a.dims, label(node)), out, label(node))
    span = block_of(b.dims, out, batch=True)
    assert span is not None  # both broadcast to the result
    wide = (1,) * (len(out) - len(b.dims)) + b.dims
    if kind == "MAX" or span == (0, 0) or span == (0, len(out)):
        b = tile(e, reshape(e, b, wide, label(node)), out, label(node))
        return _pair(e, node, a, b, outputs, kind, coeffs)
    begin, end = span
    b = tile(e, reshape(e, b, wide[begin:end], label(node)), out[begin:end], label(node))
    if kind == "SUM":
        a, b = (t if c == 1 else power(e, t, node, scale=c) for t, c in zip((a, b), coeffs))
    param = {"axis": begin} if begin != 1 else {}
    return e.call("Scale" if kind == "PROD" else "Bias", [a, b], param, outputs=outputs, shapes=[out], name=label(node))[0]


def _operands(node: Node) -> tuple[Value, Value]:
    """Both operands; of an op that commutes a constant that lies along the other comes second."""
    a, b = node.need("x"), node.need("y")
    return (b, a) if Trait.COMMUTES in traits_of(node.op) and _fits(a, b) else (a, b)


def _fits(v: Value, other: Value) -> bool:
    """Whether v is a constant that lies along the other operand."""
    return v.tensor is not None and other.tensor is None and block_of(v.tensor.shape, static(other)) is not None


@RULES.emit("add")
def add(e: CaffeScribe, node: Node) -> None:
    """Power's shift for a number, Bias for a constant along some axes, Eltwise or Bias for blobs."""
    a, b = _operands(node)
    if _fits(b, a):
        x, number = e.value(a), scalar(b)
        if number is not None and static(node.output) == x.shape:
            power(e, x, node, node.outputs, shift=number)
        else:
            _along(e, node, "Bias", x, b)
        return
    _pair(e, node, e.value(a), e.value(b), node.outputs, "SUM")


@RULES.emit("sub")
def sub(e: CaffeScribe, node: Node) -> None:
    """A sum with the second operand negated."""
    a, b = _operands(node)
    if _fits(b, a):
        x, number = e.value(a), scalar(b)
        if number is not None and static(node.output) == x.shape:
            power(e, x, node, node.outputs, shift=-number)
        else:
            _along(e, node, "Bias", x, b, np.negative)
    elif _fits(a, b):
        x, number = power(e, e.value(b), node, scale=-1.0), scalar(a)
        if number is not None and static(node.output) == x.shape:
            power(e, x, node, node.outputs, shift=number)
        else:
            _along(e, node, "Bias", x, a)
    else:
        _pair(e, node, e.value(a), e.value(b), node.outputs, "SUM", (1.0, -1.0))


@RULES.emit("mul")
def mul(e: CaffeScribe, node: Node) -> None:
    """Power's scale for a number, Scale for a constant along some axes, Eltwise or Scale for blobs."""
    a, b = _operands(node)
    if _fits(b, a):
        x, number = e.value(a), scalar(b)
        if number and static(node.output) == x.shape:
            power(e, x, node, node.outputs, scale=number)
        else:  # Power takes a scale of 0 for the constant 0, whatever x is
            _along(e, node, "Scale", x, b)
        return
    _pair(e, node, e.value(a), e.value(b), node.outputs, "PROD")


def _inverse(a: Any) -> Any:
    with np.errstate(divide="ignore"):
        return (1 / a.astype(np.float64)).astype(np.float32)


@RULES.emit("div")
def div(e: CaffeScribe, node: Node) -> None:
    """A product with the reciprocal of the divisor, rounded once more than a division."""
    a, b = _operands(node)
    if _fits(b, a):
        x, number = e.value(a), scalar(b)
        if number and math.isfinite(number) and static(node.output) == x.shape:
            power(e, x, node, node.outputs, scale=float(np.float32(1 / number)))
        else:
            _along(e, node, "Scale", x, b, _inverse)
        return
    below = power(e, e.value(b), node, node.outputs if scalar(a) == 1 and static(node.output) == static(b) else (), power=-1.0)
    number = scalar(a)
    if number == 1 and static(node.output) == below.shape:
        return
    if _fits(a, b):
        if number and static(node.output) == below.shape:
            power(e, below, node, node.outputs, scale=number)
        else:
            _along(e, node, "Scale", below, a)
    else:
        _pair(e, node, e.value(a), below, node.outputs, "PROD")


@RULES.emit("maximum")
def maximum(e: CaffeScribe, node: Node) -> None:
    """The larger of two blobs, or of a blob and a number."""
    a, b = _operands(node)
    number = scalar(b)
    if number is None or a.tensor is not None or static(node.output) != static(a):
        _pair(e, node, e.value(a), e.value(b), node.outputs, "MAX")
    elif number == 0:
        e.call("ReLU", [e.value(a)], {}, outputs=node.outputs, name=label(node))
    elif e.dialect.has("Clip"):
        e.call("Clip", [e.value(a)], {"min": number, "max": INFINITY}, outputs=node.outputs, name=label(node))
    else:
        _at_least(e, node, e.value(a), number, node.outputs)


@RULES.emit("minimum")
def minimum(e: CaffeScribe, node: Node) -> None:
    """The smaller of two: the larger of the negated ones, negated."""
    a, b = _operands(node)
    number = scalar(b)
    if number is not None and a.tensor is None and static(node.output) == static(a):
        x = e.value(a)
        if e.dialect.has("Clip"):
            e.call("Clip", [x], {"min": -INFINITY, "max": number}, outputs=node.outputs, name=label(node))
        else:
            power(e, _at_least(e, node, power(e, x, node, scale=-1.0), -number), node, node.outputs, scale=-1.0)
        return
    x, y = (power(e, e.value(v), node, scale=-1.0) for v in (a, b))
    power(e, _pair(e, node, x, y, (), "MAX"), node, node.outputs, scale=-1.0)


@RULES.emit("pow")
def pow_(e: CaffeScribe, node: Node) -> None:
    """A blob to a fixed power, or a positive number to a blob."""
    a, b = _operands(node)
    exponent, base = scalar(b), scalar(a)
    if exponent is not None and exponent != 0 and static(node.output) == static(a):
        power(e, e.value(a), node, node.outputs, power=exponent)
    elif base is not None and base > 0 and math.isfinite(base) and base != 1 and static(node.output) == static(b):
        e.call("Exp", [e.value(b)], {"base": base}, outputs=node.outputs, name=label(node))
    else:
        raise NotExpressible("Caffe raises a blob to a fixed power (Power) or a fixed positive number to a blob (Exp) only")


@RULES.emit("fill")
def fill(e: CaffeScribe, node: Node) -> None:
    """A constant blob."""
    shape = static(node.output)
    value = float(node.attrs["value"])
    param: dict[str, Any] = {"shape": [blob_shape(shape)]}
    if value:
        param["data_filler"] = [Message("FillerParameter", type="constant", value=value)]
    e.call("DummyData", [], param, outputs=node.outputs, name=label(node))


# ---- comparisons: truth values are 0 and 1
@RULES.emit("greater", "less")
def greater(e: CaffeScribe, node: Node) -> None:
    """Threshold, which is 1 above a number; of two blobs, of their difference above 0."""
    a, b = (node.need("x"), node.need("y")) if node.op == "greater" else (node.need("y"), node.need("x"))
    limit, shape = scalar(b), static(node.output)
    if limit is not None and math.isfinite(limit) and a.tensor is None and static(a) == shape:
        e.call(
            "Threshold", [e.value(a)], {"threshold": limit} if limit else {}, outputs=node.outputs, name=label(node), carry=True
        )
        return
    limit = scalar(a)
    if limit is not None and math.isfinite(limit) and b.tensor is None and static(b) == shape:
        param = {"threshold": -limit} if limit else {}
        e.call("Threshold", [power(e, e.value(b), node, scale=-1.0)], param, outputs=node.outputs, name=label(node), carry=True)
        return
    if static(a) != shape or static(b) != shape:
        raise NotExpressible("Caffe compares blobs of one shape, or a blob and a number")
    (rest,) = e.call("Eltwise", [e.value(a), e.value(b)], {"coeff": [1.0, -1.0]}, shapes=[shape], name=label(node))
    e.call("Threshold", [rest], {}, outputs=node.outputs, name=label(node), carry=True)


@RULES.emit("not")
def not_(e: CaffeScribe, node: Node) -> None:
    """1 less what is 0 or 1."""
    x = e.value(first(node), carry=True)
    e.call("Power", [x], {"scale": -1.0, "shift": 1.0}, outputs=node.outputs, name=label(node), carry=True)
