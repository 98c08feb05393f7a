"""Channels that change places, blocks of pixels that become channels and back: convolutions with zeros and ones.

A sum in which all terms but one are 0 is exact, for finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible

from ..dialect import CaffeScribe, label
from .base import RULES, channels_first, constant, first, static
from .select import select
from .windows import crop_all, spatial_param


@RULES.emit("shuffle_channels")
def shuffle_channels(e: CaffeScribe, node: Node) -> None:
    """A 1x1 convolution by a permutation."""
    a, x = node.attrs, e.value(first(node))
    if a["axis"] != 1 or len(x.shape) < 3:
        raise NotExpressible(f"channels are on axis 1 in Caffe, not on axis {a['axis']}")
    n, g = x.shape[1], a["groups"]
    order = np.arange(n).reshape(g, n // g).T.reshape(-1)

    def matrix() -> Any:
        m = np.zeros((n, n), np.float32)
        m[np.arange(n), order] = 1
        return m

    blob = constant(matrix, (n, n, *(1,) * (len(x.dims) - 2)))
    param = {"num_output": n, "bias_term": False, "kernel_size": 1}
    e.unit("Convolution", [x], param, outputs=node.outputs, name=label(node), states=[blob])


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
    out, block = static(node.output), a["block"]
    wide = node.op == "depth_to_space"
    channels = out[1] if wide else x.shape[1]
    blob = constant(lambda: _kernel(a["mode"], block, channels), (channels * block * block, channels, block, block))
    param = {"num_output": out[1], "bias_term": False, "kernel_size": block, "stride": block}
    e.unit("Deconvolution" if wide else "Convolution", [x], param, outputs=node.outputs, name=label(node), states=[blob])


def _repeat(e: CaffeScribe, node: Node, scales: Sequence[int]) -> None:
    """Every pixel repeated: a Deconvolution of each channel with ones."""
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
    """By whole factors: nearest repeats every pixel, linear is a Deconvolution of each channel with a triangle."""
    channels_first(node)
    a, x, out = node.attrs, static(first(node)), static(node.output)
    if a["mode"] == "linear":
        _bilinear(e, node)
        return
    factors = [o // n if n and o % n == 0 else 0 for n, o in zip(x[2:], out[2:])]
    floor = a["coordinates"] == "asymmetric" and a["nearest"] == "floor"
    centre = a["coordinates"] in ("half_pixel", "pytorch_half_pixel") and a["nearest"].startswith("round_prefer")
    centre = centre and all(f > 1 or n == o for f, n, o in zip(factors, x[2:], out[2:]))
    given = a["scales"] is None or all(s == f for s, f in zip(a["scales"], factors))
    if a["mode"] != "nearest" or 0 in factors or not (floor or centre) or not given:
        how = f"{a['mode']}, {a['coordinates']}"
        raise NotExpressible(f"Caffe has no interpolation ({how}); only pixels repeated, or linear, by whole factors")
    _repeat(e, node, factors)


def _bilinear(e: CaffeScribe, node: Node) -> None:
    """Linear interpolation by whole factors f: a triangle over 2 f - 1 or 2 f pixels with stride f (Caffe's bilinear filler).

    Samples lie on the first pixel and f apart (align_corners, asymmetric) or around the centre of a pixel (half_pixel); where a
    triangle reaches past the image the edge is repeated first, else the zeros there would count.
    """
    x, a, out = e.value(first(node)), node.attrs, static(node.output)
    axes = [_line(n, o, a["coordinates"]) for n, o in zip(x.dims[2:], out[2:])]
    scales = a["scales"] or [None] * len(axes)
    right = all(line is not None and (s is None or s == line[0]) for line, s in zip(axes, scales))
    lines = [line for line in axes if line is not None]
    if not right or len(x.dims) != 4 or a["exclude_outside"]:
        how = f"{list(x.dims[2:])} to {list(out[2:])}, {a['coordinates']}"
        raise NotExpressible(f"Caffe interpolates linearly by whole factors of H and W only (Deconvolution), not {how}")
    if all(f == 1 for f, *_ in lines):
        e.alias(node.output, x)
        return
    for i, (_, _, _, before, after) in enumerate(lines):
        n = x.dims[i + 2]
        edge = [0] * before + list(range(n)) + [n - 1] * after
        x = select(e, x, i + 2, edge, label(node), carry=False)
    channels, kernel = x.dims[1], tuple(k for _, k, *_ in lines)
    strides, pads = [f for f, *_ in lines], [p for _, _, p, *_ in lines]
    param = {"num_output": channels, "bias_term": False, **spatial_param(kernel, strides, pads)}
    if channels > 1:
        param["group"] = channels
    made = [(n - 1) * f + k - 2 * p for n, f, k, p in zip(x.dims[2:], strides, kernel, pads)]
    exact = tuple(made) == out[2:]

    def triangles() -> Any:
        rows = [1 - np.abs(np.arange(k) - (k - 1) / 2) / f for f, k in zip(strides, kernel)]
        return np.broadcast_to(np.outer(*rows), (channels, 1, *kernel))

    blob = constant(triangles, (channels, 1, *kernel))
    (y,) = e.unit(
        "Deconvolution", [x], param, outputs=node.outputs if exact else (), shapes=[(*x.dims[:2], *made)], name=label(node),
        states=[blob],
    )  # fmt: skip
    if not exact:
        crop_all(e, y, [0] * len(made), out[2:], label(node), node.outputs)


def _line(n: int, out: int, coordinates: str) -> tuple[int, int, int, int, int] | None:
    """(factor, kernel, padding, edge pixels repeated before and after) of one axis; None where there is no whole factor."""
    if n == out and coordinates != "pytorch_half_pixel":
        return 1, 1, 0, 0, 0
    if coordinates == "align_corners":
        f = (out - 1) // (n - 1) if n > 1 else 0
        return (f, 2 * f - 1, f - 1, 0, 0) if f and f * (n - 1) + 1 == out else None
    f = out // n
    if f < 2 or f * n != out:
        return None
    if coordinates == "asymmetric":
        return f, 2 * f - 1, f - 1, 0, 1
    if coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        return f, 2 * f - f % 2, (3 * f - f % 2) // 2, 1, 1
    return None
