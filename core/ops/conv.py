"""Convolutions over any number of spatial axes.

Kernels have one layout, (out, in / groups, *spatial), whatever the layout of the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import Shape
from ..ir.dtypes import DType
from .axes import CHANNELS
from .declare import Attr, InferContext, OpSet, Sample
from .shapes import axis_sizes, window_pads, window_size
from .windows import from_first, sliding, spatial_attrs, to_first

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


def _check_bias(c: InferContext, out: Any) -> None:
    b = c.shape("b")
    if b is not None:
        if len(b) != 1:
            c.fail("b must have one axis")
        c.same(b[0], out, "b and the output channels")


def _conv_shape(c: InferContext) -> Shapes:
    x, w = c.shape("x"), c.shape("w")
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
    sizes = [
        window_size(space[i], w[i + 2] or 1, c["strides"][i], c["dilations"][i], pads if isinstance(pads, str) else pads[i])
        for i in range(len(space))
    ]
    y = (n, w[0], *sizes) if c["layout"] == "channels_first" else (n, *sizes, w[0])
    return [(c.dtype("x"), y)]


def _conv(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None,
    *, strides: Any, dilations: Any, pads: Any, groups: int, layout: str,
) -> np.ndarray:  # fmt: skip
    x = to_first(x, layout)
    k = w.shape[2:]
    d = len(k)
    pads = [window_pads(x.shape[i + 2], k[i], strides[i], dilations[i], pads if isinstance(pads, str) else pads[i]) for i in range(d)]
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    windows = sliding(x, k, strides, dilations)  # (N, C, *out, *k)
    n, out = x.shape[0], windows.shape[2 : 2 + d]
    parts = []
    cin, cout = x.shape[1] // groups, w.shape[0] // groups
    if cin == 1 and cout == 1:
        axes = tuple(range(2 + d, 2 + 2 * d))
        y = (windows * w.reshape(1, groups, *(1,) * d, *k)).sum(axes)
    else:
        order = (0, *range(2, 2 + d), 1, *range(2 + d, 2 + 2 * d))
        for g in range(groups):
            cols = windows[:, g * cin : (g + 1) * cin].transpose(order).reshape(n * int(np.prod(out)), -1)
            part = cols @ w[g * cout : (g + 1) * cout].reshape(cout, -1).T
            parts.append(np.moveaxis(part.reshape(n, *out, cout), -1, 1))
        y = parts[0] if groups == 1 else np.concatenate(parts, 1)
    if b is not None:
        y = y + b.reshape(-1, *(1,) * d)
    return from_first(y.astype(x.dtype, copy=False), layout)


CONV.op(
    "conv", "x:float, w:float, b:float?",
    "Cross-correlation. x (N, C, *spatial) or (N, *spatial, C), w (out, C / groups, *kernel), b (out).",
    attrs=CONV_ATTRS, infer=_conv_shape, reference=_conv, normalize=spatial_attrs("strides", "dilations", "pads"),
    axes=CHANNELS("x", "y"),
    samples=[
        Sample((2, 3, 11, 13), (5, 3, 3, 2), (5,), strides=(2, 1), pads=((1, 2), (0, 1))),
        Sample((2, 11, 13, 6), (4, 3, 3, 3), groups=2, dilations=(2, 1), layout="channels_last", pads="same_upper", strides=(2, 3)),
        Sample((2, 7, 5), (5, 1, 3), groups=5, layout="channels_last"),
        Sample((1, 2, 5, 7, 6), (3, 2, 2, 3, 2), (3,)),
    ],
)  # fmt: skip
