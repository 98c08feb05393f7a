"""Reductions: global Pooling over images, Reduction over the last axes, Pooling over any other run of axes; ArgMax."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref

from ..dialect import CaffeScribe, label
from .arithmetic import power
from .base import RULES, first, fold, reshape, static
from .select import reversal_of, select

_OPERATIONS = {"sum": "SUM", "mean": "MEAN", "sum_square": "SUMSQ", "l1_norm": "ASUM"}


@RULES.emit("mean", "sum", "max", "min", "sum_square", "l1_norm")
def reduce(e: CaffeScribe, node: Node) -> None:
    """mean and max over (H, W) of an image are global Pooling; over other axes they are a Pooling whose kernel spans them."""
    x, a = e.value(first(node)), node.attrs
    rank = len(x.shape)
    axes = sorted(range(rank) if a["axes"] is None else a["axes"])
    if 0 in x.shape:
        raise NotExpressible("its input is empty")
    out = static(node.output)
    if not axes:
        if node.op in ("sum_square", "l1_norm"):
            raise NotExpressible("it is over no axis")
        reshape(e, x, out, label(node), node.outputs)
        return
    trailing = axes == list(range(axes[0], rank))
    image = rank == 4 and axes == [2, 3]
    if node.op in _OPERATIONS and trailing and not (image and node.op == "mean") and e.dialect.has("Reduction"):
        shape = x.shape[: axes[0]]
        param: dict[str, Any] = {} if node.op == "sum" else {"operation": _OPERATIONS[node.op]}
        if axes[0]:
            param["axis"] = axes[0]
        (y,) = e.call("Reduction", [x], param, outputs=node.outputs if shape == out else (), shapes=[shape], name=label(node))
        if shape != out:
            reshape(e, y, out, label(node), node.outputs)
        return
    if node.op == "sum_square":
        x = power(e, x, node, power=2.0)
    if node.op == "l1_norm":
        (x,) = e.call("AbsVal", [x], {}, shapes=[x.shape], name=label(node))
    if node.op == "min":
        x = power(e, x, node, scale=-1.0)
    plain = node.op in ("mean", "max")
    kind = "MAX" if node.op in ("max", "min") else "AVE"
    y = _pooled(e, node, x, axes, kind, out if plain else None)
    if not plain:
        count = float(np.prod([x.shape[i] for i in axes]))
        y = power(e, y, node, node.outputs if y.shape == out else (), scale=-1.0 if node.op == "min" else count)
        if y.shape != out:
            reshape(e, y, out, label(node), node.outputs)


def _pooled(e: CaffeScribe, node: Node, x: Ref, axes: list[int], kind: str, out: tuple[int, ...] | None) -> Ref:
    """Mean or maximum over axes, which keep a size of 1; ``out``: the shape of the node's output, which is bound."""
    runs: list[list[int]] = []
    for i in axes:
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    for run in runs:
        last = run is runs[-1]
        kept = tuple(1 if i in run else n for i, n in enumerate(x.dims))
        image = len(x.dims) == 4 and run == [2, 3]
        if image:
            done = (*x.dims[:2], 1, 1)
            param: dict[str, Any] = {"pool": kind, "global_pooling": True}
            shaped = x
        else:
            before, k, after = fold(x.dims, run[0], run[-1] + 1)
            shaped = reshape(e, x, (x.dims[0], before // x.dims[0], k, after) if run[0] else (1, 1, k, after), label(node))
            done = (*shaped.dims[:2], 1, after)
            param = {"pool": kind, "kernel_h": k, "kernel_w": 1}
        bind = last and out == done
        (y,) = e.call("Pooling", [shaped], param, outputs=node.outputs if bind else (), shapes=[done], name=label(node))
        if bind:
            return y
        x = reshape(e, y, kept if not last or out is None else out, label(node), node.outputs if last and out is not None else ())
    return x


@RULES.emit("argmax", "argmin")
def argmax(e: CaffeScribe, node: Node) -> None:
    """ArgMax, which takes the last of equals; for the first of them the axis is reversed."""
    a, x = node.attrs, e.value(first(node))
    axis, out = a["axis"], static(node.output)
    n = x.shape[axis]
    if n > 1 << 24:
        raise NotExpressible(f"{n} elements: a float counts to {1 << 24} only")
    if node.op == "argmin":
        x = power(e, x, node, scale=-1.0)
    if not a["last"]:
        back = reversal_of(x, axis)
        x = select(e, x, axis, range(n)[::-1], label(node), carry=False) if back is None else back
    kept = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    plain = a["last"] and kept == out
    outputs = node.outputs if plain else ()
    (y,) = e.call("ArgMax", [x], {"axis": axis}, outputs=outputs, shapes=[kept], name=label(node), carry=True)
    if plain:
        return
    if not a["last"]:
        (y,) = e.call(
            "Power", [y], {"scale": -1.0, "shift": float(n - 1)}, outputs=node.outputs if kept == out else (), shapes=[kept],
            name=label(node), carry=True,
        )  # fmt: skip
    if kept != out:
        reshape(e, y, out, label(node), node.outputs)
