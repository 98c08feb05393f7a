"""ATen's pools."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known
from .base import RULES, unbatched
from .windows import averaged, is_whole


def window(n: AtenNode, d: int) -> dict[str, Any]:
    kernel = n.ints("kernel_size", d)
    return {
        "kernel": kernel, "strides": n.ints("stride", d) or kernel, "pads": [(p, p) for p in n.ints("padding", d)],
        "ceil_mode": "ceil" if n.number("ceil_mode") else "floor",
    }  # fmt: skip


@RULES.load("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d")
def max_pool(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    y = g.b.max_pool(x, dilations=n.ints("dilation", d), **window(n, d))
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices", "aten.max_pool1d_with_indices")
def max_pool_indices(g: TorchContext, n: AtenNode) -> Any:
    """torch's indices count in one plane, those of the IR in the whole tensor."""
    d = int(n.type[13])
    x = n.tensor("self")
    if x.rank != d + 2:
        raise NotExpressible("of a tensor without a batch axis")
    s = n.shape("self")
    y, at = g.b.op("max_pool_with_indices", x, dilations=n.ints("dilation", d), **window(n, d))
    plane: Any = 1
    for size in s[2:]:
        plane = plane * size
    return y, g.b.floor_mod(at, g.scalar(plane, at.dtype))


@RULES.load("aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d")
def avg_pool(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    divisor = n.arg("divisor_override") if "divisor_override" in n.arguments else None
    if divisor == 0:
        raise NotExpressible("divides by 0 (divisor_override)", "raises")
    shape = window(n, d)
    if is_whole(x) or (divisor is not None and shape["ceil_mode"] != "floor"):
        y = averaged(g, n, x, shape["kernel"], shape["strides"], shape["pads"], bool(n.number("count_include_pad")), divisor)
    elif divisor is None:
        y = g.b.avg_pool(x, count_include_pad=bool(n.number("count_include_pad")), **shape)
    else:  # the sum of a window, which an average over all of it is but for a factor
        n.skip("count_include_pad")
        y = g.b.avg_pool(x, count_include_pad=True, **shape)
        y = g.b.mul(y, g.b.like(y, math.prod(shape["kernel"]) / float(divisor)))
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load(*(f"aten.adaptive_avg_pool{d}d" for d in (1, 2, 3)), *(f"aten._adaptive_avg_pool{d}d" for d in (2, 3)))
def adaptive(g: TorchContext, n: AtenNode) -> Value:
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    sizes = n.sizes("output_size") * (d if len(n.sizes("output_size")) == 1 else 1)
    if all(isinstance(s, int) and s == 1 for s in sizes):
        y = g.b.mean(x, axes=tuple(range(2, 2 + d)), keepdims=True)
    else:
        y = g.b.adaptive_avg_pool(x, output_size=sizes)
    return g.b.squeeze(y, axes=(0,)) if lone else y


@RULES.load("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def adaptive_max(g: TorchContext, n: AtenNode) -> Any:
    """The indices count in one plane: the largest element of each window, picked from a table of the windows' places."""
    d = int(n.type[-2])
    x, lone = unbatched(g, n.tensor("self"), d)
    sizes = n.sizes("output_size")
    sizes = sizes * (d if len(sizes) == 1 else 1)
    y = g.b.adaptive_max_pool(x, output_size=sizes)
    if len(n.results) < 2:  # nobody reads the indices
        return (g.b.squeeze(y, axes=(0,)) if lone else y,)
    plane = known(x)[2:]
    fixed = [s for s in (*plane, *sizes) if isinstance(s, int)]
    if len(fixed) != 2 * d:
        return (g.b.squeeze(y, axes=(0,)) if lone else y,)
    table = windows(fixed[:d], fixed[d:])
    flat = g.reshape(x, (*known(x)[:2], product(plane)))
    picked = g.b.argmax(g.b.gather(flat, g.b.const(table, DType.INT64), axis=2), axis=3)
    steps = g.b.const(np.arange(len(table)) * table.shape[1], DType.INT64)
    at = g.b.gather(g.b.const(table.reshape(-1), DType.INT64), g.b.add(picked, steps), axis=0)
    at = g.reshape(at, (*known(x)[:2], *sizes))
    return tuple(g.b.squeeze(v, axes=(0,)) if lone else v for v in (y, at))


def windows(plane: Sequence[int], sizes: Sequence[int]) -> Any:
    """The flat places of every window of an adaptive pool (from floor(i L / O) to ceil((i + 1) L / O)) in C order, short ones
    filled up with their first."""
    spans = [[range(i * n // o, -(-(i + 1) * n // o)) for i in range(o)] for n, o in zip(plane, sizes)]
    rows = [[int(np.ravel_multi_index(at, plane)) for at in itertools.product(*window)] for window in itertools.product(*spans)]
    most = max(map(len, rows))
    return np.asarray([[*r, *[r[0]] * (most - len(r))] for r in rows], np.int64)
