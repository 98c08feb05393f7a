"""Resizing, and blocks of pixels as channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref, axis_matrix

from ..dialect import KerasScribe
from .base import RULES, Writer, channels_last, known, static
from .shape import around

__all__: list[str] = []


@RULES.emit("depth_to_space", "space_to_depth")
def blocks(s: KerasScribe, node: Node) -> None:
    """Keras's has the block before the channel (DCR); CRD orders the channels first."""
    channels_last(node)
    w = Writer(s, node)
    x, shape, out, b = w.ref(), known(w.input(0)), known(node.outputs[0]), node.attrs["block"]
    down = node.op == "depth_to_space"
    c = (out if down else shape)[-1]
    if len(shape) != 4 or not isinstance(c, int):
        raise NotExpressible("of an image of 2 axes with a known number of channels")
    order: Any = None
    if node.attrs["mode"] == "CRD":
        order = (
            np.arange(c * b * b).reshape(c, b, b).transpose(1, 2, 0)
            if down
            else np.arange(c * b * b).reshape(b, b, c).transpose(2, 0, 1)
        )
        order = s.const(np.ascontiguousarray(order.reshape(-1)).astype(np.int32))
    config = {"block_size": b, "data_format": "channels_last"}
    if order is not None and down:
        x = w.op("Take", x, order, shape=shape, axis=-1)
    y = w.op("DepthToSpace" if down else "SpaceToDepth", x, shape=out, **config)
    if order is not None and not down:
        y = w.op("Take", y, order, shape=out, axis=-1)
    w.end(y)


@RULES.emit("shuffle_channels")
def shuffle_channels(s: KerasScribe, node: Node) -> None:
    """Channels in another order."""
    w = Writer(s, node)
    x, shape, axis, g = w.ref(), known(w.input(0)), node.attrs["axis"], node.attrs["groups"]
    n = shape[axis]
    if not isinstance(n, int):
        raise NotExpressible("its channels are not known")
    order = np.arange(n).reshape(g, -1).T.reshape(-1).astype(np.int32)
    w.end(w.op("Take", x, s.const(np.ascontiguousarray(order)), shape=shape, axis=axis))


@RULES.emit("resize")
def resize(s: KerasScribe, node: Node) -> None:
    """Every separable resize of a known size is a product with a matrix per axis, made by the op's own arithmetic; nearest is a
    gather. Half-pixel linear by whole factors is UpSampling's on every backend only where sizes are known."""
    channels_last(node)
    w, a = Writer(s, node), node.attrs
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    if not w.dtype().is_float:
        raise NotExpressible(f"of {w.dtype()}")
    sizes = list(zip(shape[1:-1], out[1:-1]))
    whole = _whole_factors(a)
    if whole is not None and len(whole) in (1, 2, 3):
        config = {"size": whole[0] if len(whole) == 1 else list(whole)}
        w.end(w.layer(f"UpSampling{len(whole)}D", x, config, shape=out))
        return
    if any(not isinstance(n, int) or not isinstance(m, int) for n, m in sizes):
        factors = _linear_factors(a)
        if factors is not None and len(factors) in (1, 2, 3):
            w.end(_upsampled(w, x, factors, out))
            return
        raise NotExpressible("of a size that is not known before it runs", "unknown_shape")
    if any(m != n for n, m in sizes) and len(shape) > 5:
        raise NotExpressible("of more than 3 axes")
    y: Ref = x
    for i, (n, m) in enumerate(zip(static(shape[1:-1]), static(out[1:-1])), 1):
        scale = None if a["scales"] is None else (a["scales"][i - 1],)
        if all(n == m for n, m in sizes) or (n == m and scale in (None, (1.0,))):
            continue
        matrix = _matrix(a, i - 1, n, m)
        now = list(y.shape or ())
        now[i] = m
        picks = matrix.argmax(axis=1)
        if a["mode"] == "nearest" and np.array_equal(matrix, np.eye(n, dtype=matrix.dtype)[picks]):
            y = w.op("Take", y, s.const(picks.astype(np.int32)), shape=tuple(now), axis=i)
            continue
        letters = "abcde"[: len(now)]
        to = letters.replace(letters[i], "z")
        y = w.op(
            "Einsum", y, s.const(matrix.astype(w.dtype().numpy)), shape=tuple(now), subscripts=f"{letters},z{letters[i]}->{to}"
        )
    w.end(y)


_REPEATS = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
"""Coordinates and rounding under which a whole factor repeats every element."""


def _whole_factors(a: Mapping[str, Any]) -> tuple[int, ...] | None:
    scales = a["scales"]
    if scales is None or a["mode"] != "nearest" or (a["coordinates"], a["nearest"]) not in _REPEATS or a["sizes"] is not None:
        return None
    whole = tuple(int(n) for n in scales)
    return whole if all(n == m and n >= 1 for n, m in zip(whole, scales)) else None


def _linear_factors(a: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Whole factors of a half-pixel linear resize."""
    plain = a["mode"] == "linear" and a["coordinates"] in ("half_pixel", "pytorch_half_pixel") and a["sizes"] is None
    if not plain or a["scales"] is None or a["antialias"] or a["exclude_outside"]:
        return None
    whole = tuple(int(n) for n in a["scales"])
    return whole if all(n == m and n >= 1 for n, m in zip(whole, a["scales"])) else None


def _upsampled(w: Writer, x: Ref, factors: tuple[int, ...], out: Any) -> Ref:
    """Half-pixel linear by whole factors of a size that is not known: edges repeated, every element repeated, running means over
    a window of one element (and of two results where the factor is even), the edges off again. TensorFlow's own UpSampling2D
    with bilinear interpolation fails in a graph then."""
    d = len(factors)
    y = x
    for i, s in enumerate(factors, 1):
        if s > 1:
            y = around(w, y, i, 1, 1, "edge")
    free = (out[0], *[None] * d, out[-1])
    y = w.layer(f"UpSampling{d}D", y, {"size": factors[0] if d == 1 else list(factors)}, shape=free)
    for pool in (factors, tuple(2 if s % 2 == 0 else 1 for s in factors)):
        if any(n > 1 for n in pool):
            config = {"pool_size": list(pool), "strides": [1] * d, "padding": "valid", "data_format": "channels_last"}
            y = w.layer(f"AveragePooling{d}D", y, config, shape=free)
    cuts = [(s + 1) // 2 if s > 1 else 0 for s in factors]
    key = tuple(slice(c, -c) if c else slice(None) for c in cuts)
    return w.op("GetItem", y, (slice(None), *key, slice(None)), shape=out)


def _matrix(a: Mapping[str, Any], i: int, n: int, m: int) -> Any:
    """(m, n): how one axis of a resize mixes its elements, by the op itself."""
    rest = {k: a[k] for k in ("mode", "coordinates", "nearest", "cubic_a", "exclude_outside", "antialias")}
    return axis_matrix(n, m, None if a["scales"] is None else a["scales"][i], **rest).astype(np.float32).T
