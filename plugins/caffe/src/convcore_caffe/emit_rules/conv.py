"""Convolutions, plain and transposed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convcore.plugin import Node, NotExpressible, Tensor

from ..dialect import CaffeScribe, label
from .base import RULES, channels_first, first, static, weight
from .windows import crop_all, pairs, spatial_param

_LONGEST = 2.25
"""How much larger a kernel may become by zeros: 2x2 to 3x3."""


def _param(node: Node, w: Tensor, outputs: int, bias: bool, kernel: Sequence[int], pads: Sequence[int]) -> dict[str, object]:
    a = node.attrs
    param: dict[str, object] = {"num_output": outputs}
    if not bias:
        param["bias_term"] = False
    param.update(spatial_param(kernel, a["strides"], pads, a["dilations"]))
    if a["groups"] != 1:
        param["group"] = a["groups"]
    return param


def _shift(n: int, out: int, reach: int, stride: int, pad: tuple[int, int]) -> int:
    """How many windows to add in front so that a symmetric padding covers the one asked for."""
    begin, _ = pad
    t = 0
    while (n + 2 * (begin + t * stride) - reach) // stride + 1 < t + out:
        t += 1
    return t


@RULES.emit("conv")
def conv(e: CaffeScribe, node: Node) -> None:
    """Convolution. Padding that differs at the two ends becomes the larger one at both, the kernel lengthened by zeros there;
    where that makes it much larger, one of whole strides, its outputs cropped off."""
    channels_first(node)
    x, w = e.value(first(node)), weight(node.need("w"), "its kernel")
    bias = weight(node.arg("b"), "its bias") if len(node.inputs) > 2 and node.arg("b") is not None else None
    a, kernel = node.attrs, w.shape[2:]
    out = static(node.output)
    blobs = [w] if bias is None else [w, bias]
    moves, pads, made = [], [], []
    for n, o, k, s, d, pad in zip(x.shape[2:], out[2:], kernel, a["strides"], a["dilations"], pairs(node)):
        if pad[0] < 0 or pad[1] < 0:
            raise NotExpressible(f"its padding {pad} is negative")
        reach = d * (k - 1) + 1
        t = _shift(n, o, reach, s, pad)
        p = pad[0] + t * s
        moves.append(t)
        pads.append(p)
        made.append((n + 2 * p - reach) // s + 1)
    exact = tuple(made) == out[2:]
    long = None if exact else _lengths(kernel, pairs(node), a["dilations"])
    if long is not None:
        pads, zeros = [max(pad) for pad in pairs(node)], [(0, 0), (0, 0), *long]
        kernel = tuple(k + b + c for k, (b, c) in zip(kernel, long))
        blobs[0] = _lengthened(w, (*w.shape[:2], *kernel), zeros)
        made, exact = list(out[2:]), True
    (y,) = e.unit(
        "Convolution", [x], _param(node, w, w.shape[0], bias is not None, kernel, pads), outputs=node.outputs if exact else (),
        shapes=[(*out[:2], *made)], name=label(node), states=blobs,
    )  # fmt: skip
    if not exact:
        crop_all(e, y, moves, out[2:], label(node), node.outputs)


def _lengths(kernel: Sequence[int], pads: Sequence[tuple[int, int]], dilations: Sequence[int]) -> list[tuple[int, int]] | None:
    """Zeros before and after the taps of each axis that make the padding the same at both ends; None: not by whole taps, or too
    many of them."""
    zeros = []
    for (begin, end), d in zip(pads, dilations):
        most = max(begin, end)
        if (most - begin) % d or (most - end) % d:
            return None
        zeros.append(((most - begin) // d, (most - end) // d))
    grown = [k + b + c for k, (b, c) in zip(kernel, zeros)]
    return zeros if math.prod(grown) <= _LONGEST * math.prod(kernel) else None


@RULES.emit("conv_transpose")
def conv_transpose(e: CaffeScribe, node: Node) -> None:
    """Deconvolution. What its symmetric padding leaves over is cropped; outputs beyond the last window come from a kernel
    lengthened by zeros."""
    channels_first(node)
    x, w = e.value(first(node)), weight(node.need("w"), "its kernel")
    bias = weight(node.arg("b"), "its bias") if len(node.inputs) > 2 and node.arg("b") is not None else None
    a, kernel = node.attrs, list(w.shape[2:])
    out = static(node.output)
    pads, begins, made = [], [], []
    for i, (n, o) in enumerate(zip(x.shape[2:], out[2:])):
        s, d, k = a["strides"][i], a["dilations"][i], kernel[i]
        full = (n - 1) * s + d * (k - 1) + 1
        begin = _cut(node, i, full, o)
        if begin < 0:
            raise NotExpressible(f"its padding of {begin} at the beginning of spatial axis {i} is negative")
        missing = begin + o - full
        if missing > 0:  # zeros after the last tap give outputs that hold the bias alone
            taps = -(-missing // d)
            kernel[i] += taps
            full += taps * d
        p = min(begin, full - begin - o)
        pads.append(p)
        begins.append(begin - p)
        made.append(full - 2 * p)
    long = tuple(kernel)
    if long != w.shape[2:]:
        w = _lengthened(w, (*w.shape[:2], *long), [(0, 0), (0, 0), *((0, k - n) for k, n in zip(long, w.shape[2:]))])
    exact = tuple(made) == out[2:]
    (y,) = e.unit(
        "Deconvolution", [x], _param(node, w, out[1], bias is not None, long, pads), outputs=node.outputs if exact else (),
        shapes=[(*out[:2], *made)], name=label(node), states=[w] if bias is None else [w, bias],
    )  # fmt: skip
    if not exact:
        crop_all(e, y, begins, out[2:], label(node), node.outputs)


def _cut(node: Node, i: int, full: int, out: int) -> int:
    """Elements cut off at the beginning of a spatial axis."""
    a = node.attrs
    pads = a["pads"]
    if not isinstance(pads, str):
        return int(pads[i][0])
    total = max(0, full + int(a["output_padding"][i]) - out)
    return total // 2 if pads == "same_upper" else total - total // 2


def _lengthened(w: Tensor, shape: tuple[int, ...], zeros: Sequence[tuple[int, int]]) -> Tensor:
    return w.map(lambda a: np.pad(a, zeros), shape)
