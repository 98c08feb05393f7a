"""Channels that change places, blocks of pixels that become channels and back: convolutions with zeros and ones.

A sum in which all terms but one are 0 is exact, for finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref, Value

from ..dialect import CaffeScribe, label
from .base import RULES, channels_first, constant, first, static

__all__ = ["permute_channels"]


def permute_channels(
    e: CaffeScribe, x: Ref, axis: int, order: Sequence[int], name: str, outputs: Sequence[Value | None] = ()
) -> Ref:
    """Element i of axis 1 (or the last) is element order[i] of x."""
    n = x.dims[axis]

    def matrix() -> Any:
        m = np.zeros((n, n), np.float32)
        m[np.arange(n), list(order)] = 1
        return m

    last = axis == len(x.dims) - 1
    if last:
        param: dict[str, object] = {"num_output": n, "bias_term": False}
        if axis != 1:
            param["axis"] = axis
        blob = constant(matrix, (n, n))
        return e.unit("InnerProduct", [x], param, outputs=outputs, shapes=[x.dims], name=name, states=[blob])[0]
    param = {"num_output": n, "bias_term": False, "kernel_size": 1}
    blob = constant(matrix, (n, n, *(1,) * (len(x.dims) - 2)))
    return e.unit("Convolution", [x], param, outputs=outputs, shapes=[x.dims], name=name, states=[blob])[0]


@RULES.emit("shuffle_channels")
def shuffle_channels(e: CaffeScribe, node: Node) -> None:
    """A 1x1 convolution by a permutation."""
    a, x = node.attrs, e.value(first(node))
    if a["axis"] != 1 or len(x.shape) < 3:
        raise NotExpressible(f"channels are on axis 1 in Caffe, not on axis {a['axis']}")
    n, g = x.shape[1], a["groups"]
    permute_channels(e, x, 1, np.arange(n).reshape(g, n // g).T.reshape(-1).tolist(), label(node), node.outputs)


def _tap(mode: str, block: int, channels: int, c: int, i: int, j: int) -> int:
    """The wide channel of pixel (i, j) of a block of channel c."""
    if mode == "DCR":
        return (i * block + j) * channels + c
    return c * block * block + i * block + j


def _kernel(mode: str, block: int, channels: int) -> Any:
    k = np.zeros((channels * block * block, channels, block, block), np.float32)
    for c in range(channels):
        for i in range(block):
            for j in range(block):
                k[_tap(mode, block, channels, c, i, j), c, i, j] = 1
    return k


@RULES.emit("depth_to_space", "space_to_depth")
def move_blocks(e: CaffeScribe, node: Node) -> None:
    """Deconvolution (to space) or Convolution (to depth) with the block as kernel and stride."""
    channels_first(node)
    a, x = node.attrs, e.value(first(node))
    if len(x.shape) != 4:
        raise NotExpressible(f"it has {len(x.shape) - 2} spatial axes, not 2")
    out, block = static(node.output), a["block"]
    wide = node.op == "depth_to_space"
    channels = out[1] if wide else x.shape[1]
    blob = constant(lambda: _kernel(a["mode"], block, channels), (channels * block * block, channels, block, block))
    param = {"num_output": out[1], "bias_term": False, "kernel_size": block, "stride": block}
    e.unit("Deconvolution" if wide else "Convolution", [x], param, outputs=node.outputs, name=label(node), states=[blob])


def _repeat(e: CaffeScribe, node: Node, scales: Sequence[int]) -> None:
    """Every pixel repeated: a Deconvolution of each channel with ones."""
    from .windows import spatial_param

    x = e.value(first(node))
    channels, kernel = x.shape[1], tuple(scales)
    param = {"num_output": channels, "bias_term": False, **spatial_param(kernel, kernel, (0,) * len(kernel))}
    if channels > 1:
        param["group"] = channels
    shape = (channels, 1, *kernel)
    e.unit("Deconvolution", [x], param, outputs=node.outputs, name=label(node), states=[constant(lambda: np.ones(shape), shape)])


@RULES.emit("upsample_nearest")
def upsample_nearest(e: CaffeScribe, node: Node) -> None:
    channels_first(node)
    _repeat(e, node, node.attrs["scales"])


@RULES.emit("resize")
def resize(e: CaffeScribe, node: Node) -> None:
    """Only nearest by whole factors, where every pixel is repeated."""
    channels_first(node)
    a, x, out = node.attrs, static(first(node)), static(node.output)
    factors = [o // n if n and o % n == 0 else 0 for n, o in zip(x[2:], out[2:])]
    floor = a["coordinates"] == "asymmetric" and a["nearest"] == "floor"
    centre = a["coordinates"] in ("half_pixel", "pytorch_half_pixel") and a["nearest"].startswith("round_prefer")
    centre = centre and all(f > 1 or n == o for f, n, o in zip(factors, x[2:], out[2:]))
    given = a["scales"] is None or all(s == f for s, f in zip(a["scales"], factors))
    if a["mode"] != "nearest" or 0 in factors or not (floor or centre) or not given:
        how = f"{a['mode']}, {a['coordinates']}"
        raise NotExpressible(f"Caffe has no interpolation ({how}); only pixels repeated by whole factors")
    _repeat(e, node, factors)
