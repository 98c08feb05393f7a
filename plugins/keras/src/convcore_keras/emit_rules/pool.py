"""Pooling: padding that never wins or never counts, windows that overhang."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref, window_pads

from ..dialect import KerasScribe
from .base import RULES, Image, Writer, known, static
from .conv import pad_spatial

__all__ = ["padded_windows", "taps"]


def _pads(node: Node, sizes: Sequence[Any]) -> list[tuple[int, int, int]]:
    """(begin, end, overhang) per axis. Where the number of windows depends on a size that is not known, the overhang is the one
    that always gives the right number."""
    a = node.attrs
    found = []
    for i, (n, k, s, d) in enumerate(zip(sizes, a["kernel"], a["strides"], a["dilations"])):
        reach = d * (k - 1) + 1
        if isinstance(a["pads"], str):
            if isinstance(n, int):
                b, e = window_pads(n, k, s, d, a["pads"])
                found.append((int(b), int(e), 0))  # type: ignore[arg-type]
                continue
            low, high = max(reach - s, 0), reach - 1  # what the padding in all can be
            b = low // 2 if a["pads"] == "same_upper" else low - low // 2
            if b != (high // 2 if a["pads"] == "same_upper" else high - high // 2) or s > reach:
                raise NotExpressible(
                    f"padding {a['pads']} by {s} along an axis whose size is not known before it runs", "unknown_shape"
                )
            found.append((b, high - b, 0))
            continue
        b, e = a["pads"][i]
        if not isinstance(b, int) or not isinstance(e, int):
            raise NotExpressible("its padding is symbolic")
        if a["ceil_mode"] == "floor" or s == 1:
            found.append((b, e, 0))
        elif isinstance(n, int):
            room = n + b + e - reach
            windows = -(-room // s) + 1
            if a["ceil_mode"] == "ceil":
                windows = min(windows, -(-(n + b) // s))
            found.append((b, e, max(0, (windows - 1) * s + reach - n - b - e)))
        elif e + s <= reach:
            found.append((b, e, s - 1))
        else:
            raise NotExpressible(
                "a last window that may be empty, along an axis whose size is not known before it runs", "unknown_shape"
            )
    return found


def _config(node: Node) -> dict[str, Any]:
    a = node.attrs
    layout = Image(a["layout"] == "channels_first").format
    return {"pool_size": list(a["kernel"]), "strides": list(a["strides"]), "padding": "valid", "data_format": layout}


def _dims(node: Node, shape: Sequence[Any]) -> int:
    d = len(shape) - 2
    if d not in (1, 2, 3):
        raise NotExpressible(f"Keras pools over 1 to 3 axes, here are {d}")
    return d


def padded_windows(w: Writer, x: Ref) -> tuple[Ref, list[tuple[int, int]]]:
    """``x`` with the lowest number where windows overhang or are padded, and how much that is at either end."""
    node, a = w.node, w.attrs
    shape = known(w.input(0))
    _dims(node, shape)
    if not w.dtype().is_float:
        raise NotExpressible(f"Keras pools floats, here are {w.dtype()}")
    if a["ceil_mode"] == "ceil_full" and any(k < st for k, st in zip(a["kernel"], a["strides"])):
        raise NotExpressible("windows that may be empty")
    pads = [(b, e + over) for b, e, over in _pads(node, w.image.spatial(shape))]
    return pad_spatial(w, x, pads, -np.inf), pads


def taps(w: Writer, x: Ref, out: Sequence[Any]) -> list[tuple[tuple[int, ...], Ref]]:
    """For each place of a window, in order, the elements that all windows have there."""
    a, found = w.attrs, []
    for tap in itertools.product(*(range(k) for k in a["kernel"])):
        key: list[Any] = []
        for i, (t, k, st, di) in enumerate(zip(tap, a["kernel"], a["strides"], a["dilations"])):
            n, m = (x.shape or ())[w.image.axis(i)], out[w.image.axis(i)]
            left = (k - 1 - t) * di
            stop = t * di + (m - 1) * st + 1 if isinstance(n, int) and isinstance(m, int) else -left if left else None
            key.append(slice(t * di or None, None if stop == n else stop, st if st > 1 else None))
        found.append((tap, w.op("GetItem", x, w.image.around(slice(None), key, slice(None)), shape=out)))
    return found


def _reduced(w: Writer, x: Ref, op: str, out: Sequence[Any]) -> Ref:
    """What an operation makes of every window: along each axis of windows of 1, 2, 4... elements, so that there are as many
    calls as a kernel has binary digits (one call a tap is more than Keras can follow, and it recurses through a chain)."""
    a = w.attrs
    for i, (k, step, d) in enumerate(zip(a["kernel"], a["strides"], a["dilations"])):
        axis, n = w.image.axis(i), (x.shape or ())[w.image.axis(i)]

        def part(y: Ref, start: int, rest: int, of: int, axis: int = axis, n: Any = n, d: int = d) -> Ref:
            """``y``, windows of ``of`` elements, without the first and last ones."""
            size = n - (of - 1 + start + rest) * d if isinstance(n, int) else None
            return w.cut(y, axis, start * d or None, -rest * d or None, size=size) if start or rest else y

        total: Ref | None = None
        wide, length, done = x, 1, 0
        while True:
            if k & length:
                piece = part(wide, done, k - length - done, length)
                total = piece if total is None else w.op(op, total, piece, shape=piece.shape)
                done += length
            if done == k:
                break
            half = part(wide, 0, length, length)
            wide, length = w.op(op, half, part(wide, length, 0, length), shape=half.shape), 2 * length
        assert total is not None
        x = w.cut(total, axis, None, None, step, size=out[axis]) if step > 1 else total
    return x


@RULES.emit("max_pool")
def max_pool(s: KerasScribe, node: Node) -> None:
    """MaxPooling over windows padded with the lowest number."""
    w, a = Writer(s, node), node.attrs
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    d = _dims(node, shape)
    plain = all(n == 1 for n in a["dilations"])
    if a["pads"] == "same_upper" and plain and a["ceil_mode"] == "floor" and w.dtype().is_float:
        w.end(w.layer(f"MaxPooling{d}D", x, {**_config(node), "padding": "same"}, shape=out))
        return
    x, _ = padded_windows(w, x)
    if plain:
        w.end(w.layer(f"MaxPooling{d}D", x, _config(node), shape=out))
        return
    w.end(_reduced(w, x, "Maximum", out))


@RULES.emit("avg_pool")
def avg_pool(s: KerasScribe, node: Node) -> None:
    """AveragePooling; where padding or an overhang does not count, a quotient by the same of a mask."""
    w, a = Writer(s, node), node.attrs
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    d = _dims(node, shape)
    if a["ceil_mode"] == "ceil_full" and any(k < st for k, st in zip(a["kernel"], a["strides"])):
        raise NotExpressible("windows that may be empty")
    try:
        pads = _pads(node, w.image.spatial(shape))
    except NotExpressible:
        if a["pads"] == "same_upper" and not a["count_include_pad"]:
            pads = []
        else:
            raise
    if not pads:
        raise NotExpressible(
            "padding same of a size that is not known before it runs: the torch backend counts it", "unknown_shape"
        )
    inside, over = [(b, e) for b, e, _ in pads], [(0, o) for _, _, o in pads]
    y = _averaged(w, pad_spatial(w, x, [(b, e + o) for b, e, o in pads]), out)
    counted = a["count_include_pad"]
    if any(o for _, o in over) or (not counted and any(b or e for b, e in inside)):
        key = w.image.around(slice(None, 1), [slice(None)] * d, slice(None, 1))
        mask = w.op("OnesLike", w.op("GetItem", x, key, shape=w.image.around(1, w.image.spatial(shape), 1)))
        if counted:
            mask = pad_spatial(w, mask, inside, 1.0)
            mask = pad_spatial(w, mask, over)
        else:
            mask = pad_spatial(w, mask, [(b, e + o) for b, e, o in pads])
        y = w.op("Divide", y, _averaged(w, mask, w.image.around(1, w.image.spatial(out), 1)), shape=out)
    w.end(y)


def _averaged(w: Writer, x: Ref, out: Sequence[Any]) -> Ref:
    """Means of whole windows: the layer, or sums of dilated ones."""
    if all(n == 1 for n in w.attrs["dilations"]):
        return w.layer(f"AveragePooling{len(out) - 2}D", x, _config(w.node), shape=out)
    return w.op("Multiply", _reduced(w, x, "Add", out), 1.0 / math.prod(w.attrs["kernel"]))


@RULES.emit("lp_pool")
def lp_pool(s: KerasScribe, node: Node) -> None:
    """The root of a mean of powers times the size of the window."""
    w, a = Writer(s, node), node.attrs
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    _dims(node, shape)
    if a["p"] not in (1, 2) or a["ceil_mode"] == "ceil_full":
        raise NotExpressible("its exponent or windows")
    pads = [(b, e + over) for b, e, over in _pads(node, w.image.spatial(shape))]
    y = pad_spatial(w, w.op("Square" if a["p"] == 2 else "Absolute", x), pads)
    y = _averaged(w, y, out)
    y = w.op("Multiply", y, float(np.prod(a["kernel"])))
    w.end(w.op("Sqrt", y) if a["p"] == 2 else y)


@RULES.emit("adaptive_avg_pool", "adaptive_max_pool")
def adaptive_pool(s: KerasScribe, node: Node) -> None:
    """The layer, for sizes that are known (TensorFlow has no others in a graph)."""
    w = Writer(s, node)
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    d = _dims(node, shape)
    static(w.image.spatial(shape))
    size = [int(n) for n in static(w.image.spatial(out))]
    kind = "Average" if node.op == "adaptive_avg_pool" else "Max"
    config = {"output_size": size[0] if d == 1 else size, "data_format": w.image.format}
    w.end(w.layer(f"Adaptive{kind}Pooling{d}D", x, config, shape=out))
