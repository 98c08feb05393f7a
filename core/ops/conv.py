"""Convolutions over any number of spatial axes.

Kernels have one layout, (out, in / groups, *spatial), whatever the layout of the data; transposed convolutions hold
(in, out / groups, *spatial).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape, product
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import CHANNELS
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import axis_sizes, common_dtype, window_pads, window_size
from ..opset.traits import Trait
from .convolve import convolve, convolve_transpose, im2col
from .windows import spatial_attrs

CONV = OpSet("conv")

Shapes = list[tuple[DType | None, Shape | None]]
LAYOUT = Attr("str", "channels_first", ("channels_first", "channels_last"), doc="order of the axes of x and y")
CONV_ATTRS = {
    "strides": Attr("ints", None, doc="one per spatial axis (default 1)"),
    "dilations": Attr("ints", None, doc="one per spatial axis (default 1)"),
    "pads": Attr("pads", None, doc="(begin, end) zeros per spatial axis (default 0), or same_upper / same_lower"),
    "groups": Attr("int", 1),
    "layout": LAYOUT,
}


def _check_bias(c: InferContext, out: DimLike | None) -> None:
    b = c.shape("b")
    if b is not None:
        if len(b) != 1:
            c.fail("b must have one axis")
        c.same(b[0], out, "b and the output channels")


def _ordered(n: Any, channels: Any, space: Sequence[Any], layout: str) -> Shape:
    return (n, channels, *space) if layout == "channels_first" else (n, *space, channels)


def _conv_shape(c: InferContext) -> Shapes:
    x, w = c.shape("x"), c.shape("w")
    common_dtype(c, "x", "w", "b")
    if c["groups"] < 1:
        c.fail(f"groups={c['groups']} must be positive")
    if x is None or w is None:
        return [(c.dtype("x"), None)]
    n, channels, space = axis_sizes(x, c["layout"])
    if len(w) != len(x):
        c.fail(f"w has {len(w)} axes for x with {len(x)}")
    if channels is not None and w[1] is not None:
        c.same(channels, w[1] * c["groups"], "channels of x and w (in / groups) * groups")
    if isinstance(w[0], int) and w[0] % c["groups"]:
        c.fail(f"{w[0]} filters do not divide into {c['groups']} groups")
    _check_bias(c, w[0])
    pads = c["pads"]
    sizes: list[DimLike | None] = []
    for i, size in enumerate(space):
        k = w[i + 2]
        pad = pads if isinstance(pads, str) else pads[i]
        sizes.append(None if k is None else window_size(size, k, c["strides"][i], c["dilations"][i], pad))
    return [(c.dtype("x"), _ordered(n, w[0], sizes, c["layout"]))]


CONV.op(
    "conv", "x:float, w:float, b:float?",
    "Cross-correlation. x (N, C, *spatial) or (N, *spatial, C), w (out, C / groups, *kernel), b (out).",
    attrs=CONV_ATTRS, infer=_conv_shape, reference=convolve, normalize=spatial_attrs("strides", "dilations", "pads"),
    axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 11, 13), (5, 3, 3, 2), (5,), strides=(2, 1), pads=((1, 2), (0, 1))),
        Sample((2, 11, 13, 6), (4, 3, 3, 5), groups=2, dilations=(2, 1), layout="channels_last", pads="same_upper", strides=(2,
        3)),
        Sample((2, 7, 5), (5, 1, 3), groups=5, layout="channels_last"),
        Sample((2, 3, 11, 7), (6, 1, 3, 2), groups=3, strides=(2, 1), pads="same_lower"),
        Sample((1, 2, 5, 7, 6), (3, 2, 2, 3, 2), (3,)),
        Sample((5, 3), (7, 3), (7,)),
        Sample((2, 6, 11), (10, 3, 3), (10,), strides=(2,), pads=((1, 1),), groups=2),
        Sample((2, 11, 3), (7, 3, 4), (7,), layout="channels_last", strides=(2,)),
        Sample((2, 5, 7, 11, 3), (7, 3, 2, 3, 4), (7,), layout="channels_last"),
    ],
    traits=Trait.WINDOW | Trait.HEAVY | Trait.AFFINE, roles={"parameter": "w b"},
)  # fmt: skip


def _transpose_attrs(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    if attrs["output_shape"] is not None:
        if attrs["pads"] is None:
            attrs["pads"] = "same_lower"
        if not isinstance(attrs["pads"], str):
            raise ShapeError("output_shape goes with pads same_upper or same_lower: explicit pads fix the size already")
    spatial_attrs("strides", "dilations", "pads", "output_padding")(attrs, inputs)
    x = inputs[0] if inputs else None
    want = attrs["output_shape"]
    if x is not None and x.rank is not None and want is not None and len(want) != x.rank - 2:
        raise ShapeError(f"output_shape={want} must have one entry for each of {x.rank - 2} spatial axes")
    if any(isinstance(n, int) and n < 0 for n in want or ()):
        raise ShapeError(f"output_shape={want} has a negative entry")


def _transpose_shape(c: InferContext) -> Shapes:
    x, w = c.shape("x"), c.shape("w")
    common_dtype(c, "x", "w", "b")
    if c["groups"] < 1:
        c.fail(f"groups={c['groups']} must be positive")
    if x is None or w is None:
        return [(c.dtype("x"), None)]
    n, channels, space = axis_sizes(x, c["layout"])
    if len(w) != len(x):
        c.fail(f"w has {len(w)} axes for x with {len(x)}")
    c.same(channels, w[0], "channels of x and the first axis of w (in, out / groups, *kernel)")
    if isinstance(w[0], int) and w[0] % c["groups"]:
        c.fail(f"{w[0]} input channels do not divide into {c['groups']} groups")
    out = None if w[1] is None else w[1] * c["groups"]
    _check_bias(c, out)
    sizes: list[DimLike | None] = []
    for i, size in enumerate(space):
        k, pads, want = w[i + 2], c["pads"], c["output_shape"]
        if any(isinstance(n, int) and n < 1 for n in (k, size)):
            c.fail(f"spatial axis {i}: a kernel of {k} over {size} elements")
        if isinstance(pads, str) and want is not None and want[i] is not None:
            sizes.append(want[i])
        elif size is None or k is None:
            sizes.append(None)
        elif isinstance(pads, str):
            sizes.append(size * c["strides"][i])
        else:
            full = (size - 1) * c["strides"][i] + c["dilations"][i] * (k - 1) + 1
            total = full + c["output_padding"][i] - pads[i][0] - pads[i][1]
            if isinstance(total, int) and total < 1:
                c.fail(f"spatial axis {i} would have size {total}")
            sizes.append(total)
    return [(c.dtype("x"), _ordered(n, out, sizes, c["layout"]))]


CONV.op(
    "conv_transpose", "x:float, w:float, b:float?",
    "The adjoint of conv. x (N, C, *spatial) or (N, *spatial, C), w (C, out / groups, *kernel), b (out). Size per axis: "
    "(n - 1) * stride + dilation * (k - 1) + 1 + output_padding - pad_begin - pad_end; with same_*: output_shape, default n * "
    "stride.",
    attrs={
        **CONV_ATTRS,
        "output_padding": Attr("ints", None, doc="elements added at the end of each spatial axis (default 0)"),
        "output_shape": Attr("dims", None, doc="spatial sizes with pads same_*; None: input size * stride"),
    },
    infer=_transpose_shape, reference=convolve_transpose, normalize=_transpose_attrs, axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 7, 5), (3, 11, 4, 3), (11,), strides=(3, 2), pads=((1, 0), (2, 1)), output_padding=(1, 0)),
        Sample((2, 7, 5, 6), (6, 11, 3, 2), (22,), strides=(2, 3), groups=2, layout="channels_last", pads="same_upper"),
        Sample((2, 3, 7, 5), (3, 2, 3, 3), strides=(2, 2), dilations=(2, 1), pads="same_lower", output_shape=(13, None)),
        Sample((2, 3, 11), (3, 5, 4), (5,), strides=(2,), pads=((3, 2),)),
    ],
    traits=Trait.HEAVY, roles={"parameter": "w b"},
)  # fmt: skip


def _separable_shape(c: InferContext) -> Shapes:
    x, dw, pw = c.shape("x"), c.shape("dw"), c.shape("pw")
    common_dtype(c, "x", "dw", "pw", "b")
    if x is None or dw is None or pw is None:
        return [(c.dtype("x"), None)]
    n, channels, space = axis_sizes(x, c["layout"])
    if len(dw) != len(x) or len(pw) != len(x):
        c.fail(f"dw has {len(dw)} and pw {len(pw)} axes for x with {len(x)}")
    c.same(dw[1], 1, "the second axis of dw")
    if isinstance(dw[0], int) and isinstance(channels, int) and (not channels or dw[0] % channels):
        c.fail(f"dw has {dw[0]} filters, not a multiple of the {channels} channels of x")
    c.same(pw[1], dw[0], "the second axis of pw and the first of dw")
    for size in pw[2:]:
        c.same(size, 1, "the spatial axes of pw")
    _check_bias(c, pw[0])
    if channels is None or isinstance(channels, Dim):
        c.fail("the number of channels of x must be known")
    pads = c["pads"]
    sizes: list[DimLike | None] = []
    for i, size in enumerate(space):
        k = dw[i + 2]
        pad = pads if isinstance(pads, str) else pads[i]
        sizes.append(None if k is None else window_size(size, k, c["strides"][i], c["dilations"][i], pad))
    return [(c.dtype("x"), _ordered(n, pw[0], sizes, c["layout"]))]


def _separable_body(
    b: Any, x: Any, dw: Any, pw: Any, bias: Any = None, *, strides: Any, dilations: Any, pads: Any, layout: str
) -> Any:
    b.require(x.shape is not None, "the number of channels of x must be known")
    channels = x.shape[1 if layout == "channels_first" else -1]
    y = b.conv(x, dw, strides=strides, dilations=dilations, pads=pads, groups=channels, layout=layout)
    one = (1,) * (len(x.shape) - 2)
    return b.conv(y, pw, bias, strides=one, dilations=one, pads=((0, 0),) * len(one), layout=layout)


def _separable(x: Any, dw: Any, pw: Any, b: Any = None, *, strides: Any, dilations: Any, pads: Any, layout: str) -> Any:
    channels = x.shape[1 if layout == "channels_first" else -1]
    one = (1,) * (x.ndim - 2)
    y = convolve(x, dw, strides=strides, dilations=dilations, pads=pads, groups=channels, layout=layout)
    return convolve(y, pw, b, strides=one, dilations=one, pads=((0, 0),) * len(one), groups=1, layout=layout)


CONV.op(
    "separable_conv", "x:float, dw:float, pw:float, b:float?",
    "A depthwise convolution, dw (C * multiplier, 1, *kernel), then a pointwise one, pw (out, C * multiplier, 1...), b (out).",
    attrs={k: v for k, v in CONV_ATTRS.items() if k != "groups"},
    infer=_separable_shape, reference=_separable, body=_separable_body,
    normalize=spatial_attrs("strides", "dilations", "pads"), axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 11, 13), (6, 1, 3, 2), (5, 6, 1, 1), (5,), strides=(2, 1), pads=((1, 0), (0, 1))),
        Sample((2, 11, 3), (3, 1, 5), (7, 3, 1), pads="same_upper", layout="channels_last"),
    ],
    traits=Trait.WINDOW | Trait.HEAVY, roles={"parameter": "dw pw b"},
)  # fmt: skip


def _im2col_shape(c: InferContext) -> Shapes:
    x, k = c.shape("x"), c["kernel"]
    if x is None:
        return [(c.dtype("x"), None)]
    if len(k) != len(x) - 2:
        c.fail(f"kernel={k} must have one entry for each of {len(x) - 2} spatial axes")
    pads = c["pads"]
    sizes = [
        window_size(n, k[i], c["strides"][i], c["dilations"][i], pads if isinstance(pads, str) else pads[i])
        for i, n in enumerate(x[2:])
    ]
    return [(c.dtype("x"), (x[0], product((x[1], *k)), *sizes))]


def _im2col_body(b: Any, x: Any, *, kernel: Any, strides: Any, dilations: Any, pads: Any) -> Any:
    b.require(x.shape is not None and None not in x.shape, "im2col: the sizes of x must be known, if only by name")
    full: list[Any] = []
    out: list[Any] = []
    for n, k, s, d, i in zip(x.shape[2:], kernel, strides, dilations, range(len(kernel))):
        pad = pads if isinstance(pads, str) else pads[i]
        full.append(window_pads(n, k, s, d, pad))
        out.append(window_size(n, k, s, d, pad))
    x = b.pad(x, pads=((0, 0), (0, 0), *full))
    parts = []
    for tap in itertools.product(*(range(k) for k in kernel)):
        begin = [t * dil for t, dil in zip(tap, dilations)]
        stop = [t + (o - 1) * s + 1 for t, o, s in zip(begin, out, strides)]
        part = b.slice(x, starts=(0, 0, *begin), stops=(None, None, *stop), steps=(1, 1, *strides))
        parts.append(b.unsqueeze(part, axes=(2,)))
    return b.reshape(b.concat(*parts, axis=2), shape=(x.shape[0], product((x.shape[1], *kernel)), *out))


CONV.op(
    "im2col", "x:number",
    "The patches a convolution sees, as channels: (N, C * prod(kernel), *out); C varies slowest, then the kernel's axes (Caffe "
    "Im2col).",
    attrs={"kernel": Attr("ints"), **{k: CONV_ATTRS[k] for k in ("strides", "dilations", "pads")}},
    infer=_im2col_shape, reference=im2col, body=_im2col_body, normalize=spatial_attrs("strides", "dilations", "pads"),
    samples=[Sample((2, 3, 11, 7), kernel=(3, 2), strides=(2, 1), pads=((1, 1), (0, 2)), dilations=(1, 3))],
)  # fmt: skip
