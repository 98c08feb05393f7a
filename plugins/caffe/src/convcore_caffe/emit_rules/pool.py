"""Pooling: Caffe's rounds sizes up and counts padding; other windows are cropped out of it and other divisors corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref, Value

from ..dialect import CaffeScribe, label
from .base import RULES, channels_first, constant, crop, first, reshape, static
from .windows import crop_all, pairs, spatial_param

__all__ = ["pool_windows"]


class _Axis:
    """One axis: windows start at ``i * stride - begin``; Caffe's begin ``shift`` windows earlier and are ``made`` many."""

    def __init__(self, n: int, out: int, k: int, s: int, begin: int) -> None:
        self.n, self.out, self.k, self.s, self.begin = n, out, k, s, begin
        self.shift, self.pad, self.made = 0, 0, 0

    def place(self, clip: bool, ceil: bool) -> bool:
        """Find Caffe's padding, smaller than the kernel; whether there is one."""
        t = 0
        while (pad := self.begin + t * self.s) < self.k:
            made = self.count(pad, clip, ceil)
            if made >= t + self.out:
                self.shift, self.pad, self.made = t, pad, made
                return True
            t += 1
        return False

    def count(self, pad: int, clip: bool, ceil: bool) -> int:
        """The number of windows (PoolingLayer::Reshape): rounded up; with padding, without a last one that starts past it."""
        room = self.n + 2 * pad - self.k
        if room < 0:
            return 0
        out = -(-room // self.s) + 1 if ceil else room // self.s + 1
        return out - 1 if clip and ceil and (out - 1) * self.s >= self.n + pad else out

    def divisors(self) -> list[int]:
        """What Caffe counts along this axis in each window kept."""
        starts = [(i + self.shift) * self.s - self.pad for i in range(self.out)]
        return [min(b + self.k, self.n + self.pad) - b for b in starts]


def _place(axes: Sequence[_Axis], ceil: bool) -> bool:
    """Whether all axes can be placed; dropping windows depends on whether any axis is padded."""
    return any(all(a.place(clip, ceil) for a in axes) and clip == any(a.pad for a in axes) for clip in (False, True))


def pool_windows(
    e: CaffeScribe, top: Ref, kind: str, kernel: Sequence[int], strides: Sequence[int], begins: Sequence[int], out: Sequence[int],
    name: str, outputs: Sequence[Value | None] = (), divisors: Any = None,
) -> Ref:  # fmt: skip
    """Pooling of (N, C, H, W) into ``out`` windows per axis that begin ``begins`` before the image.

    ``divisors`` (averages): what each window shall be divided by, per axis; Scale corrects where Caffe's differ.
    """
    axes = [_Axis(*row) for row in zip(top.dims[2:], out, kernel, strides, begins)]
    up = _place(axes, True)
    down = False
    if not up or any(a.made != a.out for a in axes):
        other = [_Axis(*row) for row in zip(top.dims[2:], out, kernel, strides, begins)]
        down = e.dialect.rounding != "crop" and _place(other, False)
        if down:
            axes = other
        elif not up:
            raise NotExpressible(f"Caffe's padding must be smaller than the kernel {list(kernel)}", "unsupported_padding")
    param: dict[str, Any] = {"pool": kind, **spatial_param(kernel, strides, [a.pad for a in axes])}
    if down:
        param.update({"round_mode": "FLOOR"} if e.dialect.rounding == "round_mode" else {"ceil_mode": False})
    factor = _correction(axes, divisors) if kind == "AVE" and divisors is not None else None
    made = tuple(a.made for a in axes)
    exact = made == tuple(out)
    (y,) = e.call(
        "Pooling", [top], param, outputs=outputs if exact and factor is None else (), shapes=[(*top.dims[:2], *made)], name=name
    )
    if not exact:
        y = crop_all(e, y, [a.shift for a in axes], out, name, outputs if factor is None else ())
    if factor is not None:
        blob = constant(lambda: factor, factor.shape)
        (y,) = e.unit("Scale", [y], {"axis": 2, "num_axes": 2}, outputs=outputs, shapes=[y.dims], name=name, states=[blob])
    return y


def _correction(axes: Sequence[_Axis], wanted: Sequence[Sequence[int]]) -> Any:
    """Caffe's divisors over the ones asked for; None where they agree. NotExpressible where Caffe divides by nothing."""
    if any(n < 1 <= m for a, w in zip(axes, wanted) for n, m in zip(a.divisors(), w)):
        raise NotExpressible("some windows hold no element")
    ours = np.ones(())
    theirs = np.ones(())
    for a, w in zip(axes, wanted):
        theirs = np.multiply.outer(theirs, np.asarray(a.divisors(), np.float64))
        ours = np.multiply.outer(ours, np.asarray(w, np.float64))
    return None if np.array_equal(ours, theirs) else theirs / ours


def _image(e: CaffeScribe, node: Node, x: Ref) -> tuple[Ref, int]:
    """(N, C, H, W), a missing H of 1 put in; and how many axes that adds."""
    if len(x.dims) == 4:
        return x, 0
    if len(x.dims) == 3:
        return reshape(e, x, (*x.dims[:2], 1, x.dims[2]), label(node)), 1
    raise NotExpressible(f"Caffe's pooling is over 2 spatial axes, not {len(x.dims) - 2}")


@RULES.emit("max_pool", "avg_pool")
def pool(e: CaffeScribe, node: Node) -> None:
    """Pooling MAX or AVE with the op's windows and divisors."""
    channels_first(node)
    a, out = node.attrs, static(node.output)
    if any(d != 1 for d, k in zip(a["dilations"], a["kernel"]) if k > 1):
        raise NotExpressible("Caffe's pooling has no dilation")
    x, extra = _image(e, node, e.value(first(node)))
    one = (1,) * extra
    kernel, strides = (*one, *a["kernel"]), (*one, *a["strides"])
    pads = (*((0, 0),) * extra, *pairs(node))
    average = node.op == "avg_pool"
    divisors = _divisors(x.dims[2:], (*one, *out[2:]), kernel, strides, pads, average and a["count_include_pad"])
    if a["ceil_mode"] != "ceil_full":
        _no_empty(divisors)
    kind = "MAX" if node.op == "max_pool" else "AVE"
    y = pool_windows(
        e,
        x,
        kind,
        kernel,
        strides,
        [b for b, _ in pads],
        (*one, *out[2:]),
        label(node),
        () if extra else node.outputs,
        divisors if average else None,
    )
    if extra:
        reshape(e, y, out, label(node), node.outputs)


def _divisors(
    sizes: Sequence[int], out: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[tuple[int, int]],
    include: bool,
) -> list[list[int]]:  # fmt: skip
    """What the op divides by along each axis (the divisor is their product): the elements of a window, with padding if that is
    to be ``included``."""
    rows = []
    for n, o, k, s, (before, after) in zip(sizes, out, kernel, strides, pads):
        begins = [i * s - before for i in range(o)]
        rows.append([min(b + k, n + after) - b if include else min(b + k, n) - max(b, 0) for b in begins])
    return rows


def _no_empty(windows: Sequence[Sequence[int]]) -> None:
    """NotExpressible where a window has nothing of which the maximum or mean is that of the op: Caffe's maximum of nothing is
    the lowest number."""
    if any(n < 1 for row in windows for n in row):
        raise NotExpressible("some windows hold no element")


@RULES.emit("max_pool_with_indices")
def pool_mask(e: CaffeScribe, node: Node) -> None:
    """The second top: h * W + w, as a float."""
    channels_first(node)
    a, x = node.attrs, e.value(first(node))
    out, pads = static(node.outputs[0]), pairs(node)
    results = list(node.outputs) if a["index_order"] == "plane" else _within_planes(node, x)
    if results is None or len(x.shape) != 4 or any(d != 1 for d in a["dilations"]):
        raise NotExpressible("Caffe's mask holds h * W + w of 2 spatial axes without dilation")
    if a["ceil_mode"] != "ceil_full":
        _no_empty(_divisors(x.dims[2:], out[2:], a["kernel"], a["strides"], pads, False))
    axes = [_Axis(*row) for row in zip(x.shape[2:], out[2:], a["kernel"], a["strides"], [b for b, _ in pads])]
    if not _place(axes, True):
        raise NotExpressible(f"Caffe's padding must be smaller than the kernel {list(a['kernel'])}", "unsupported_padding")
    param = {"pool": "MAX", **spatial_param(a["kernel"], a["strides"], [p.pad for p in axes])}
    made = (*x.shape[:2], *(p.made for p in axes))
    exact = made == out
    tops = e.call("Pooling", [x], param, outputs=results if exact else (), shapes=[made, made], name=label(node), carry=True)
    if not exact:
        for v, y in zip(results, tops):
            for i, p in enumerate(axes):
                last = i == len(axes) - 1 or all(q.made == q.out for q in axes[i + 1 :])
                if p.made != p.out:
                    y = crop(e, y, i + 2, p.shift, p.out, label(node), [v] if last else ())
    e.given(*node.outputs, *results)


def _within_planes(node: Node, x: Ref) -> list[Value] | None:
    """(maximum, its place within its plane) where the place among all elements is only read as its remainder by H * W."""
    best, places = node.outputs
    users = places.users
    if len(x.dims) != 4 or places.is_output or len(users) != 1 or users[0].op != "floor_mod" or users[0].inputs[0] is not places:
        return None
    size = users[0].inputs[1]
    plane = size is not None and size.tensor is not None and size.tensor.size == 1 and users[0].output.shape == places.shape
    if not plane or size is None or size.tensor is None or int(size.tensor.numpy().reshape(-1)[0]) != x.dims[2] * x.dims[3]:
        return None
    return [best, users[0].output]
