"""Local response normalisation, across channels and within them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import CHANNELS, Axis
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from .conv import LAYOUT
from .pooling import avg_pool
from .windows import Array

LRN = OpSet("norm")

Shapes = list[tuple[DType | None, Shape | None]]


def _lrn(x: Array, size: int, alpha: float, beta: float, bias: float, axis: int) -> Array:
    z = np.square(x)
    begin, n = (size - 1) // 2, x.shape[axis]
    pads = [(0, 0)] * x.ndim
    pads[axis] = (begin, size - 1 - begin)
    z = np.moveaxis(np.pad(z, pads), axis, 0)
    total = np.moveaxis(np.add.reduce([z[i : i + n] for i in range(size)]), 0, axis)
    return np.asarray(x / (bias + np.asarray(alpha / size, z.dtype) * total) ** np.asarray(beta, z.dtype), x.dtype)


def _lrn_body(b: Any, x: Any, *, size: int, alpha: float, beta: float, bias: float, axis: int) -> Any:
    b.require(x.shape is not None, "lrn: the number of axes of x must be known")
    rank, n = len(x.shape), x.shape[axis]
    b.require(n is not None, "lrn: the number of channels must be known, if only by name")
    begin = (size - 1) // 2
    pads = [(0, 0)] * rank
    pads[axis] = (begin, size - 1 - begin)
    square = b.pad(b.square(x), pads=pads)
    total = None
    for i in range(size):
        starts: list[Any] = [0] * rank
        stops: list[Any] = [None] * rank
        starts[axis], stops[axis] = i, n + i
        part = b.slice(square, starts=starts, stops=stops, steps=[1] * rank)
        total = part if total is None else b.add(total, part)
    base = b.add(b.mul(total, b.like(x, alpha / size)), b.like(x, bias))
    return b.div(x, b.pow(base, b.like(x, beta)))


def _positive_size(c: InferContext) -> Shapes:
    if c["size"] < 1:
        c.fail(f"size={c['size']} must be positive")
    return [(c.dtype("x"), c.shape("x"))]


LRN.op(
    "lrn", "x:float",
    "Across channels: x / (bias + alpha / size * sum(x^2))^beta, the sum over ``size`` neighbours from (size - 1) // 2 before.",
    attrs={"size": Attr("int"), "alpha": Attr("float"), "beta": Attr("float"), "bias": Attr("float"), "axis": AxisAttr(1)},
    infer=_positive_size, reference=_lrn, body=_lrn_body, axes=Axis("axis"),
    samples=[
        Sample((2, 7, 3, 5), size=5, alpha=0.7, beta=0.75, bias=1.5, axis=1), Sample((2, 3, 5, 7), size=4, alpha=0.3, beta=0.6,
        bias=2.0, axis=-1),
        Sample((2, 3, 5), size=7, alpha=0.9, beta=0.5, bias=1.0, axis=1),
    ], wide=True,
)  # fmt: skip


def _within_shape(c: InferContext) -> Shapes:
    c.rank("x", 4)
    if c["size"] < 1 or c["size"] % 2 == 0:
        c.fail(f"size={c['size']} must be odd")
    return [(c.dtype("x"), c.shape("x"))]


def _within_window(size: int) -> dict[str, Any]:
    half = (size - 1) // 2
    return {
        "kernel": (size, size),
        "strides": (1, 1),
        "dilations": (1, 1),
        "pads": ((half, half),) * 2,
        "count_include_pad": True,
    }


def _lrn_within(x: Array, size: int, alpha: float, beta: float, layout: str) -> Array:
    z = np.square(x)
    mean = avg_pool(z, **_within_window(size), ceil_mode="floor", layout=layout)
    return np.asarray(x * (1 + np.asarray(alpha, z.dtype) * mean) ** np.asarray(-beta, z.dtype), x.dtype)


def _lrn_within_body(b: Any, x: Any, *, size: int, alpha: float, beta: float, layout: str) -> Any:
    mean = b.avg_pool(b.square(x), **_within_window(size), layout=layout)
    base = b.add(b.mul(mean, b.like(x, alpha)), b.like(x, 1.0))
    return b.mul(x, b.pow(base, b.like(x, -beta)))


LRN.op(
    "lrn_within", "x:float", "Within each channel: x * (1 + alpha / size^2 * sum(x^2))^-beta over size x size with zeros "
    "(Caffe WITHIN_CHANNEL).",
    attrs={"size": Attr("int"), "alpha": Attr("float"), "beta": Attr("float"), "layout": LAYOUT},
    infer=_within_shape, reference=_lrn_within, body=_lrn_within_body, axes=CHANNELS("x", "y"),
    samples=[Sample((2, 3, 5, 7), size=3, alpha=0.7, beta=0.75), Sample((2, 5, 7, 3), size=5, alpha=0.7, beta=0.5,
    layout="channels_last")], wide=True,
)  # fmt: skip
