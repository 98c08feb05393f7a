"""Pooling over any number of spatial axes, in either layout. Global pooling is ``mean`` or ``max`` over the axes.

Ceil modes: "ceil" is PyTorch's and ONNX's (a last partial window counts if it starts inside the input or the padding before
it); "ceil_full" is Caffe's when no axis is padded: the last window counts even if it is empty (max: the most negative finite
number, average: NaN).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape, product
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import CHANNELS
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import axis_sizes
from ..opset.traits import Trait
from .conv import LAYOUT
from .pooling import (
    adaptive_bins,
    adaptive_pool,
    avg_pool,
    full_pads,
    lp_pool,
    max_pool,
    max_pool_with_indices,
    max_unpool,
    pooled,
)
from .windows import Array, spatial_attrs

POOL = OpSet("pool")

Shapes = list[tuple[DType | None, Shape | None]]
CEIL = Attr("str", "floor", ("floor", "ceil", "ceil_full"), doc="whether a last partial window counts")
INDEX_ORDER = Attr(
    "str",
    "flat_nchw",
    ("flat_nchw", "plane"),
    doc="flat_nchw: index into all of x in NCHW order (ONNX); plane: h * W + w (torch, Caffe)",
)
POOL_ATTRS = {
    "kernel": Attr("ints", doc="window size per spatial axis"),
    "strides": Attr("ints", None, doc="one per spatial axis (default 1)"),
    "dilations": Attr("ints", None, doc="one per spatial axis (default 1)"),
    "pads": Attr("pads", None, doc="(begin, end) per spatial axis (default 0), or same_upper / same_lower"),
    "ceil_mode": CEIL,
    "layout": LAYOUT,
}


def _pool_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    spatial_attrs("kernel", "strides", "dilations", "pads")(attrs, inputs)
    pads = attrs["pads"]
    if attrs["ceil_mode"] == "ceil_full" and pads is not None and (isinstance(pads, str) or any(p != (0, 0) for p in pads)):
        raise ShapeError("ceil_full (Caffe without padding) allows no pads: with padding Caffe's windows are those of ceil")
    if pads is not None and not isinstance(pads, str) and any(isinstance(p, int) and p < 0 for pair in pads for p in pair):
        raise ShapeError(f"pads={pads} must not be negative")


def _ordered(c: InferContext, x: Shape, space: Sequence[DimLike | None]) -> Shape:
    n, channels, _ = axis_sizes(x, c["layout"])
    return (n, channels, *space) if c["layout"] == "channels_first" else (n, *space, channels)


def _sizes(x: Shape, attrs: Any) -> list[DimLike | None]:
    """The spatial sizes of the result."""
    kernel, strides, dilations, pads = (attrs[k] for k in ("kernel", "strides", "dilations", "pads"))
    out = []
    for i, n in enumerate(axis_sizes(x, attrs["layout"])[2]):
        pad = pads if isinstance(pads, str) else pads[i]
        out.append(pooled(n, kernel[i], strides[i], dilations[i], pad, attrs["ceil_mode"]))
    return out


def _pool_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    return [(c.dtype("x"), None if x is None else _ordered(c, x, _sizes(x, c.attrs)))]


def _samples(**extra: Any) -> list[Sample]:
    return [
        Sample((2, 3, 11, 13), kernel=(3, 2), strides=(2, 3), pads=((1, 0), (0, 1)), **extra),
        Sample((2, 11, 13, 3), kernel=(3, 2), strides=(2, 2), pads="same_upper", layout="channels_last", **extra),
        Sample((2, 3, 13), kernel=(3,), strides=(2,), dilations=(2,), pads="same_lower", **extra),
        Sample((2, 3, 11, 7), kernel=(3, 2), strides=(3, 3), pads=((1, 1), (0, 1)), ceil_mode="ceil", **extra),
        Sample((1, 2, 5, 7, 11), kernel=(2, 3, 5), layout="channels_last", **extra),
    ]


POOL.op(
    "max_pool", "x:number", "Largest element of each window; padding never wins.",
    attrs=POOL_ATTRS, infer=_pool_shape, reference=max_pool, normalize=_pool_attrs, axes=CHANNELS("x", "y"),
    samples=[*_samples(), Sample((2, 3, 5, 7), kernel=(1, 1), strides=(3, 4), ceil_mode="ceil_full")],
    traits=Trait.WINDOW,
)  # fmt: skip

POOL.op(
    "max_pool_with_indices", "x:number",
    "Largest element of each window and the position of its first occurrence (int64).", outputs="y, indices",
    attrs={**POOL_ATTRS, "index_order": INDEX_ORDER},
    infer=lambda c: [*_pool_shape(c), (DType.INT64, _pool_shape(c)[0][1])], reference=max_pool_with_indices,
    normalize=_pool_attrs, axes=CHANNELS("x", "y", "indices"), samples=[*_samples(), *_samples(index_order="plane")[:2]],
    traits=Trait.WINDOW,
)  # fmt: skip

POOL.op(
    "avg_pool", "x:float",
    "Mean of each window. With count_include_pad the divisor counts padding, but never what overhangs the padded input.",
    attrs={**POOL_ATTRS, "count_include_pad": Attr("bool", False, doc="whether padding counts in the divisor")},
    infer=_pool_shape, reference=avg_pool, normalize=_pool_attrs, axes=CHANNELS("x", "y"),
    samples=[*_samples(), *_samples(count_include_pad=True), Sample((2, 3, 7, 5), kernel=(2, 3), strides=(2, 3),
    ceil_mode="ceil_full")],
    traits=Trait.KEEPS_SIGN | Trait.WINDOW,
)  # fmt: skip


def _lp_shape(c: InferContext) -> Shapes:
    if not 0 < c["p"] < math.inf:
        c.fail(f"p={c['p']} must be positive")
    return _pool_shape(c)


def _lp_body(b: Any, x: Any, *, p: float, layout: str, **attrs: Any) -> Any:
    b.require(x.shape is not None, "lp_pool: the number of axes of x must be known")
    first = layout == "channels_first"
    space: Any = axis_sizes(x.shape, layout)[2]
    out: list[Any] = _sizes(x.shape, {**attrs, "layout": layout})
    b.require(all(n is not None for n in (*space, *out)), "lp_pool: the spatial sizes must be known")
    k, s, d, pads = attrs["kernel"], attrs["strides"], attrs["dilations"], attrs["pads"]
    full = []
    for n, o, i in zip(space, out, range(len(space))):
        full.append(full_pads(n, k[i], s[i], d[i], pads if isinstance(pads, str) else pads[i], o))
    y = b.pow(b.abs(x), b.like(x, p))
    y = b.pad(y, pads=((0, 0), (0, 0), *full) if first else ((0, 0), *full, (0, 0)))
    y = b.avg_pool(y, kernel=k, strides=s, dilations=d, layout=layout)
    return b.pow(b.mul(y, b.like(x, int(np.prod(k)))), b.like(x, 1 / p))


POOL.op(
    "lp_pool", "x:float", "p-norm of each window: (sum |x|^p)^(1/p); padding counts as zero.",
    attrs={**POOL_ATTRS, "p": Attr("float", 2.0)}, infer=_lp_shape, reference=lp_pool, body=_lp_body,
    normalize=_pool_attrs, axes=CHANNELS("x", "y"), samples=[*_samples(p=2.0)[:4], *_samples(p=3.0)[:1]],
    traits=Trait.KEEPS_SIGN | Trait.WINDOW, wide=True,
)  # fmt: skip


def _unpool_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    spatial_attrs("kernel", "strides", "pads")(attrs, inputs)
    x = inputs[0] if inputs else None
    if isinstance(attrs["pads"], str):
        raise ShapeError("max_unpool needs explicit pads")
    if x is None or x.shape is None:
        return
    _, _, space = axis_sizes(x.shape, attrs["layout"])
    want = attrs["output_shape"]
    if want is not None and len(want) != len(space):
        raise ShapeError(f"output_shape={want} must have one entry for each of {len(space)} spatial axes")
    if want is None:
        sizes: list[DimLike | None] = []
        for n, k, s, (begin, end) in zip(space, attrs["kernel"], attrs["strides"], attrs["pads"]):
            sizes.append(None if n is None else (n - 1) * s + k - begin - end)
        if not any(n is None for n in sizes):
            attrs["output_shape"] = tuple(sizes)


def _unpool_shape(c: InferContext) -> Shapes:
    x, want = c.shape("x"), c["output_shape"]
    if want is None:
        c.fail("output_shape must be given when the sizes of x are unknown")
    return [(c.dtype("x"), None if x is None else _ordered(c, x, want))]


def _unpool_sample(layout: str, order: str) -> Sample:
    x = np.arange(2 * 3 * 7 * 11, dtype=np.float32).reshape(2, 3, 7, 11) * 0.37 % 5
    y, at = max_pool_with_indices(
        x, kernel=(2, 3), strides=(2, 3), dilations=(1, 1), pads=((0, 0), (0, 0)), ceil_mode="floor",
        layout="channels_first", index_order=order,
    )  # fmt: skip
    if layout == "channels_last":
        y, at = np.moveaxis(y, 1, -1).copy(), np.moveaxis(at, 1, -1).copy()
    return Sample(y, at, kernel=(2, 3), strides=(2, 3), output_shape=(7, 11), layout=layout, index_order=order)


def _unpool_body(b: Any, x: Any, indices: Any, *, output_shape: Any, index_order: str, layout: str, **_: Any) -> Any:
    """A scatter into zeros, over each plane or over everything."""
    b.require(x.shape is not None and None not in x.shape, "max_unpool: the sizes of x must be known, if only by name")
    d = len(x.shape) - 2
    first = layout == "channels_first"
    if not first:
        perm = (0, d + 1, *range(1, d + 1))
        x, indices = b.transpose(x, perm=perm), b.transpose(indices, perm=perm)
    n, channels, *space = x.shape
    lead: tuple[Any, ...] = (n, channels) if index_order == "plane" else ()
    axis = len(lead)
    count = (*lead, product(space if lead else x.shape))
    full = (*lead, product(output_shape if lead else (n, channels, *output_shape)))
    zeros = b.fill(shape=full, value=0, dtype=x.dtype)
    y = b.scatter_elements(zeros, b.reshape(indices, shape=count), b.reshape(x, shape=count), axis=axis)
    y = b.reshape(y, shape=(n, channels, *output_shape))
    return y if first else b.transpose(y, perm=(0, *range(2, d + 2), 1))


POOL.op(
    "max_unpool", "x:number, indices:int",
    "Zeros with every element of x put at its index from max_pool_with_indices. output_shape: spatial sizes, default "
    "(n - 1) * stride + kernel - pads.",
    attrs={
        "kernel": POOL_ATTRS["kernel"], "strides": POOL_ATTRS["strides"], "pads": POOL_ATTRS["pads"],
        "output_shape": Attr("shape", None), "index_order": INDEX_ORDER, "layout": LAYOUT,
    },
    infer=_unpool_shape, reference=max_unpool, body=_unpool_body, normalize=_unpool_attrs, axes=CHANNELS("x", "indices", "y"),
    samples=[_unpool_sample("channels_first", "flat_nchw"), _unpool_sample("channels_last", "plane")],
    traits=Trait.KEEPS_SIGN, roles={"index": "indices"},
)  # fmt: skip


def _adaptive_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    x = inputs[0] if inputs else None
    if x is not None and x.rank is not None and len(attrs["output_size"]) != x.rank - 2:
        raise ShapeError(f"output_size={attrs['output_size']} must have one entry for each of {x.rank - 2} spatial axes")
    if any(isinstance(n, int) and n < 1 for n in attrs["output_size"]):
        raise ShapeError(f"output_size={attrs['output_size']} must be positive")


def _adaptive_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    _, _, space = axis_sizes(x, c["layout"])
    return [(c.dtype("x"), _ordered(c, x, [n if o is None else o for n, o in zip(space, c["output_size"])]))]


def _adaptive_body(kind: str) -> Any:
    """Global where the output is 1, a plain pool where bins are equal, else one reduction per bin."""

    def body(b: Any, x: Any, *, output_size: Any, layout: str) -> Any:
        b.require(x.shape is not None, "adaptive pooling: the number of axes of x must be known")
        start = 2 if layout == "channels_first" else 1
        reduce = b.mean if kind == "mean" else b.max
        todo = [(start + i, o) for i, o in enumerate(output_size) if o is not None and o != x.shape[start + i]]
        ones = tuple(a for a, o in todo if o == 1)
        y = reduce(x, axes=ones, keepdims=True) if ones else x
        rest = [(a, o) for a, o in todo if o != 1]
        for a, o in rest:
            b.require(
                isinstance(y.shape[a], int) and isinstance(o, int),
                f"adaptive pooling to {o} needs a fixed size on axis {a}",
            )
        if rest and all(y.shape[a] % o == 0 for a, o in rest):
            kernel = [1] * (len(x.shape) - 2)
            for a, o in rest:
                kernel[a - start] = y.shape[a] // o
            pool = b.avg_pool if kind == "mean" else b.max_pool
            return pool(y, kernel=tuple(kernel), strides=tuple(kernel), layout=layout)
        for a, o in rest:
            parts = []
            for begin, end in adaptive_bins(y.shape[a], o):
                starts, stops = [0] * len(x.shape), [None] * len(x.shape)
                starts[a], stops[a] = begin, end  # type: ignore[call-overload]
                parts.append(reduce(b.slice(y, starts=starts, stops=stops, steps=[1] * len(x.shape)), axes=(a,), keepdims=True))
            y = b.concat(*parts, axis=a)
        return b.identity(x) if y is x else y

    return body


def _adaptive(name: str, kind: str, fn: Any, doc: str) -> None:
    def reference(x: Array, output_size: Any, layout: str) -> Array:
        return adaptive_pool(x, output_size=output_size, layout=layout, reduce=fn)

    POOL.op(
        name, "x:float", doc, reference=reference, body=_adaptive_body(kind), infer=_adaptive_shape, normalize=_adaptive_attrs,
        attrs={"output_size": Attr("dims", doc="one per spatial axis; None keeps the size"), "layout": LAYOUT},
        axes=CHANNELS("x", "y"),
        samples=[
            Sample((2, 3, 11, 13), output_size=(5, 7)), Sample((2, 12, 5, 3), output_size=(4, 5), layout="channels_last"),
            Sample((2, 3, 11, 13), output_size=(1, 1)), Sample((2, 3, 11, 13), output_size=(None, 5)),
        ],
        traits=Trait.KEEPS_SIGN,
    )  # fmt: skip


_BINS = "over bins floor(i n / out) to ceil((i + 1) n / out) per axis (PyTorch AdaptivePool)."
_adaptive("adaptive_avg_pool", "mean", np.mean, f"Mean {_BINS}")
_adaptive("adaptive_max_pool", "max", np.max, f"Maximum {_BINS}")
