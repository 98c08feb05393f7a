"""Images read at computed places, patches put back, and windows that tell where their largest element is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, as_tensor, op

from ..dialect import KerasScribe
from .base import RULES, Writer, channels_last, known, static
from .places import Places, rows_of
from .pool import padded_windows, taps

__all__: list[str] = []


@RULES.emit("grid_sample")
def grid_sample(s: KerasScribe, node: Node) -> None:
    """Rows of pixels by a linear index for each corner around a place, weighted."""
    channels_last(node)
    w, a = Writer(s, node), node.attrs
    x, grid, shape = w.ref(0), w.ref(1), known(w.input(0))
    d, dtype = len(shape) - 2, w.dtype()
    if not isinstance(shape[-1], int) or w.input(1).dtype is not dtype:
        raise NotExpressible("its channels are not known, or the grid is of another element type")
    sampler = _Sampler(w, x, a, dtype)
    out = tuple(known(w.input(1))[:-1])
    at = []
    for i in range(d):
        g = w.op("GetItem", grid, (..., d - 1 - i), shape=out)
        at.append(sampler.position(g, i))
    if a["mode"] == "nearest":
        w.end(sampler.read([w.op("Round", p, decimals=0) for p in at], a["padding"], out))
        return
    f = sampler.f
    offsets = (-1, 0, 1, 2) if a["mode"] == "cubic" else (0, 1)
    base = [f.do("Floor", p) for p in at]
    weights = []
    for p, whole in zip(at, base):
        t = f.do("Subtract", p, whole)
        weights.append(
            [_keys(f, f.do("Subtract", t, float(o))) for o in offsets] if a["mode"] == "cubic" else [f.do("Subtract", 1.0, t), t]
        )
    total: Any = None
    for corner in itertools.product(range(len(offsets)), repeat=d):
        places = [f.do("Add", p, float(offsets[k])) if offsets[k] else p for p, k in zip(base, corner)]
        value = sampler.read(places, a["padding"] if a["mode"] == "cubic" else "zeros", out)
        weight: Any = None
        for row, k in zip(weights, corner):
            weight = row[k] if weight is None else f.do("Multiply", weight, row[k])
        column = w.op("ExpandDims", weight, shape=(*out, 1), axis=-1)
        part = w.op("Multiply", value, column, shape=(*out, shape[-1]))
        total = part if total is None else w.op("Add", total, part)
    w.end(total)


class _Sampler:
    """Positions and reads of one image."""

    def __init__(self, w: Writer, x: Ref, attrs: Any, dtype: DType) -> None:
        self.w, self.x, self.f, self.i = w, x, Places(w, dtype), Places(w)
        self.mode, self.padding, self.align = attrs["mode"], attrs["padding"], attrs["align_corners"]
        self.sizes = [self.i.size(x, 1 + i) for i in range(len(x.shape or ()) - 2)]
        self.wide = [float(n) if isinstance(n, int) else w.cast(n, dtype) for n in self.sizes]
        self.rows = rows_of(w, x, len(self.sizes) + 1)
        if self.padding == "reflection" and any(isinstance(n, Ref) for n in self.sizes):
            raise NotExpressible("reflection at the edges of an image whose size is not known before it runs", "unknown_shape")

    def position(self, g: Any, i: int) -> Any:
        """-1 to 1 as a position along axis i, brought inside where that comes before rounding."""
        do, n = self.f.do, self.wide[i]
        up = do("Add", g, 1.0)
        if self.align:
            p = do("Multiply", do("Multiply", up, 0.5), do("Subtract", n, 1.0))
        else:
            p = do("Multiply", do("Subtract", do("Multiply", up, n), 1.0), 0.5)
        if self.mode == "cubic":
            return p if self.padding == "reflection" else self._clip(p, -3.0, do("Add", n, 2.0))
        if self.padding == "reflection":
            p = self._mirrored(p, self.sizes[i])
        return self._clip(p, -2.0, do("Add", n, 1.0)) if self.padding == "zeros" else self._clip(p, 0.0, do("Subtract", n, 1.0))

    def _clip(self, p: Any, low: float, high: Any) -> Any:
        return self.f.do("Minimum", self.f.do("Maximum", p, low), high)

    def _mirrored(self, p: Any, n: int) -> Any:
        """Mirrored at the centres of the edge elements (align_corners) or at their outer borders."""
        do, low, span = self.f.do, (0.0 if self.align else -0.5), float(n - 1 if self.align else n)
        if span == 0:
            return do("Multiply", p, 0.0)
        far = self.w.op("Absolute", do("Subtract", p, low))
        t = self.w.op("Mod", far, 2 * span)
        return do("Add", do("Where", self.w.op("Greater", t, span), do("Subtract", 2 * span, t), t), low)

    def read(self, places: Sequence[Any], padding: str, out: tuple[Any, ...]) -> Any:
        """x at whole positions (N, *out) per axis: (N, *out, C)."""
        w, f, i = self.w, self.f, self.i
        inside: Any = None
        parts = [i.axis(places[0], 0)]
        for p, n, wide in zip(places, self.sizes, self.wide):
            last = f.do("Subtract", wide, 1.0)
            if padding == "zeros":
                ok = f.do("LogicalAnd", f.do("GreaterEqual", p, 0.0), f.do("LessEqual", p, last))
                inside = ok if inside is None else f.do("LogicalAnd", inside, ok)
            elif padding == "reflection":
                p = w.op("Round", self._mirrored(p, n), decimals=0)
            parts.append((w.cast(self._clip(p, 0.0, last), DType.INT32), n))
        shape = (*out, (self.x.shape or ())[-1])
        value = w.op("Take", self.rows, i.line(parts), shape=shape, dtype=f.dtype, axis=0)
        if inside is None:
            return value
        mask = w.op("ExpandDims", inside, shape=(*out, 1), axis=-1)
        return w.op("Where", mask, value, 0.0, shape=shape, dtype=f.dtype)


def _keys(f: Places, t: Any) -> Any:
    """Keys' cubic kernel with a = -0.75 at distances up to 2."""
    do, a = f.do, -0.75
    t = f.w.op("Absolute", t)
    near = do("Add", do("Multiply", do("Multiply", do("Subtract", do("Multiply", t, a + 2), a + 3), t), t), 1.0)
    far = do("Multiply", do("Subtract", do("Multiply", do("Add", do("Multiply", do("Subtract", t, 5.0), t), 8.0), t), 4.0), a)
    return do("Where", do("LessEqual", t, 1.0), near, far)


@RULES.emit("affine_grid")
def affine_grid(s: KerasScribe, node: Node) -> None:
    """The target's points, a constant, times each transform."""
    w = Writer(s, node)
    theta, size = w.ref(), static(node.attrs["size"], "the grid")
    d, dtype, out = len(size), w.dtype(), known(node.outputs[0])
    reference = op("affine_grid").reference
    assert reference is not None
    plain = np.eye(d, d + 1, dtype=np.float64)[None]
    points = reference(plain, size=size, align_corners=node.attrs["align_corners"]).reshape(-1, d)
    base = np.concatenate([points, np.ones((len(points), 1))], axis=1).astype(dtype.numpy)
    y = w.op("Einsum", s.const(base), theta, shape=(out[0], len(points), d), dtype=dtype, subscripts="pk,njk->npj")
    w.end(w.layer("Reshape", y, {"target_shape": [*size, d]}, shape=out))


@RULES.emit("max_pool_with_indices")
def max_pool_with_indices(s: KerasScribe, node: Node) -> None:
    """Which of a window's taps is the largest, and where that tap lies."""
    w, a = Writer(s, node), node.attrs
    x, shape, out = w.ref(), known(w.input(0)), known(node.outputs[0])
    wide, pads = padded_windows(w, x)
    if not isinstance(shape[-1], int):
        raise NotExpressible("its channels are not known")
    p = Places(w)
    found = taps(w, wide, out)
    stacked = w.op("Stack", [part for _, part in found], shape=(len(found), *out), dtype=w.dtype(), axis=0)
    best = w.op("Max", stacked, shape=out, dtype=w.dtype(), axis=[0], keepdims=False)
    which = w.op("Argmax", stacked, shape=out, axis=0, keepdims=False)
    parts: list[tuple[Any, Any]] = []
    if a["index_order"] == "flat_nchw":
        channel = np.arange(shape[-1], dtype=np.int32).reshape([1] * (len(shape) - 1) + [-1])
        parts = [p.axis(which, 0), (channel, shape[-1])]
    for i, (begin, _) in enumerate(pads):
        table = np.asarray([tap[i] * a["dilations"][i] - begin for tap, _ in found], np.int32)
        off = w.op("Take", s.const(table), which, shape=out, dtype=DType.INT32, axis=0)
        step = p.do("Multiply", p.axis(which, 1 + i)[0], a["strides"][i])
        parts.append((p.do("Add", step, off), p.size(x, 1 + i)))
    w.end(best, w.cast(p.line(parts), DType.INT64))


@RULES.emit("col2im")
def col2im(s: KerasScribe, node: Node) -> None:
    """Each channel's patches through a transposed convolution whose kernel has a one for each element of a patch."""
    w, a = Writer(s, node), node.attrs
    x, dtype, kernel, image = w.ref(), w.dtype(), a["kernel"], static(tuple(a["image"]), "the image")
    d, count, channels = len(kernel), math.prod(kernel), known(node.outputs[0])[1]
    if not dtype.is_float or d not in (1, 2, 3) or not isinstance(channels, int):
        raise NotExpressible(f"patches of {dtype} over {d} axes, of {channels} channels")
    pads = [static(tuple(p), "its padding") for p in a["pads"]]
    reach = [e * (k - 1) + 1 for k, e in zip(kernel, a["dilations"])]
    places = [(n + sum(p) - r) // st + 1 for n, p, r, st in zip(image, pads, reach, a["strides"])]
    ones_at = np.zeros((*reach, 1, count), dtype.numpy)
    for t, tap in enumerate(itertools.product(*(range(k) for k in kernel))):
        at = tuple(i * e for i, e in zip(tap, a["dilations"]))
        ones_at[at + (0, t)] = 1
    x = w.op("Reshape", x, shape=(None, count, *places), newshape=(-1, count, *places))
    x = w.op("Transpose", x, shape=(None, *places, count), axes=(0, *range(2, d + 2), 1))
    full = [(n - 1) * st + max(r, st) for n, r, st in zip(places, reach, a["strides"])]
    config = {"strides": list(a["strides"]), "padding": "valid"}
    y = w.layer(f"Conv{d}DTranspose", x, config, {"kernel": as_tensor(ones_at)}, shape=(None, *full, 1), dtype=dtype)
    beyond = [max(0, p[0] + n - f) for n, p, f in zip(image, pads, full)]
    if any(beyond):
        full = [f + b for f, b in zip(full, beyond)]
        wide = [[0, 0], *([0, b] for b in beyond), [0, 0]]
        (y,) = s.call(
            "ops.Pad", [y, 0.0], {"pad_width": wide, "mode": "constant"}, shapes=[(None, *full, 1)], name=w.name, carry=True
        )
    if any(p[0] or f > p[0] + n for n, p, f in zip(image, pads, full)):
        key = (slice(None), *(slice(p[0], p[0] + n) for n, p in zip(image, pads)), slice(None))
        y = w.op("GetItem", y, key, shape=(None, *image, 1))
    w.end(w.op("Reshape", y, shape=known(node.outputs[0]), newshape=(-1, channels, *image)))
