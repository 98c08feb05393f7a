"""Moving blobs around: Reshape, Concat, Slice, Tile, Permute, zero padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, Value, ask_option, flags_asked, never_negative, unsupported

from ..dialect import CaffeScribe, label
from .arithmetic import power
from .base import RULES, constant, crop, first, folded, reshape, static, tile
from .linear import embed
from .pool import pool_windows
from .select import select
from .windows import crop_all


@RULES.emit("reshape", "squeeze", "unsqueeze")
def emit_reshape(e: CaffeScribe, node: Node) -> None:
    shape = static(node.output)
    if not folded(e, node, lambda t: t.reshape(shape)):
        reshape(e, e.value(first(node), carry=True), shape, label(node), node.outputs)


@RULES.emit("transpose")
def transpose(e: CaffeScribe, node: Node) -> None:
    """SSD's Permute; a Reshape where only axes of size 1 move."""
    perm = tuple(node.attrs["perm"])
    if folded(e, node, lambda t: t.transpose(perm)):
        return
    x = e.value(first(node), carry=True)
    large = [i for i in perm if x.shape[i] != 1]
    if large == sorted(large):
        reshape(e, x, static(node.output), label(node), node.outputs)
        return
    if e.dialect.has("Permute"):
        e.call("Permute", [x], {"order": list(perm)}, outputs=node.outputs, name=label(node), carry=True)
        return
    v = first(node)
    edge = v in e.graph.inputs or node.output.is_output or "layout" in " ".join(node.origin.passes)
    order = ask_option("io_layout", "target")
    hint = f"{order} takes inputs and outputs in Caffe's order (N, C, H, W); " if edge else ""
    if edge and perm[0] != 0:  # that keeps the batch first; a permutation by name is for Python alone
        own = ask_option("io_layout", {v.name: perm}) if v in e.graph.inputs and flags_asked() is None else ""
        hint = f"{own} takes it in Caffe's order (T, N, ...); " if own else ""
    raise unsupported(
        node, f"BVLC's Caffe has no layer that moves axes, and {v.name!r} {list(x.shape)} is transposed by {perm}",
        f"{hint}{ask_option('caffe_flavor', 'ssd')} has Permute", "unsupported_op",
    )  # fmt: skip


@RULES.emit("concat", priority=1)
def concat_of_some(e: CaffeScribe, node: Node) -> None:
    """Caffe has no empty blobs: what is joined is the rest."""
    given = [v for v in node.inputs if v is not None]
    full = [v for v in given if 0 not in static(v)]
    if len(full) == len(given) > 1:
        raise NotExpressible("none of its inputs is empty")
    if not full:
        raise NotExpressible("all its inputs are empty")
    tops = [e.value(v, carry=True) for v in full]
    if len(tops) == 1:
        e.alias(node.output, tops[0])
        return
    axis = node.attrs["axis"]
    e.call("Concat", tops, {} if axis == 1 else {"axis": axis}, outputs=node.outputs, name=label(node), carry=True)


@RULES.emit("split")
def split(e: CaffeScribe, node: Node) -> None:
    axis, sizes = node.attrs["axis"], node.attrs["sizes"]
    x = e.value(first(node), carry=True)
    if any(not isinstance(n, int) or n < 1 for n in sizes):
        raise NotExpressible(f"Slice makes no parts of size {min(map(str, sizes))}")
    if len(sizes) == 1:
        e.alias(node.outputs[0], x)
        return
    points = np.cumsum(sizes)[:-1].tolist()
    param = {"slice_point": points} if axis == 1 else {"axis": axis, "slice_point": points}
    e.call("Slice", [x], param, outputs=node.outputs, name=label(node), carry=True)


@RULES.emit("slice")
def slice_(e: CaffeScribe, node: Node) -> None:
    """Slice along every axis that is cut; every s-th pixel of an image is a 1x1 Pooling with that stride, of another axis, or
    from the end on, a part of a Slice."""
    a, x = node.attrs, e.value(first(node), carry=True)
    steps = a["steps"]
    if any(not isinstance(n, int) for n in a["starts"]) or any(n is not None and not isinstance(n, int) for n in a["stops"]):
        raise NotExpressible("its bounds are not fixed")
    out = static(node.output)
    if 0 in out:
        raise NotExpressible("it is empty, and Caffe's Slice makes no empty blobs")
    image = len(x.shape) == 4 and first(node).dtype in (None, DType.FLOAT32)
    strided = [i for i, s in enumerate(steps) if s > 1 and out[i] > 1 and image and i > 1]
    picked = [i for i, s in enumerate(steps) if s != 1 and out[i] > 1 and i not in strided]
    todo = []
    for i, n in enumerate(x.shape):
        bounds = slice(a["starts"][i], a["stops"][i], steps[i]).indices(n)
        if i in picked:
            last = i == picked[-1] and not strided and all(out[j] == x.shape[j] for j in range(len(out)) if j not in picked)
            x = select(e, x, i, range(*bounds), label(node), node.outputs if last else (), carry=True)
            continue
        begin = bounds[0]
        size = (out[i] - 1) * steps[i] + 1 if i in strided else out[i]
        if size != n and not (i in strided and begin == 0):
            todo.append((i, begin, size if i not in strided else min(n - begin, size)))
    if x.value is not node.output or not picked:
        _cut(e, node, x, todo, strided, out)


def _cut(e: CaffeScribe, node: Node, x: Ref, todo: list[tuple[int, int, int]], strided: list[int], out: tuple[int, ...]) -> None:
    if not todo and not strided:
        e.alias(node.output, x)
        return
    for i, begin, size in todo:
        last = i == todo[-1][0] and not strided
        x = crop(e, x, i, begin, size, label(node), node.outputs if last else ())
    if strided:
        steps = [node.attrs["steps"][i] if i in strided else 1 for i in (2, 3)]
        pool_windows(e, x, "MAX", (1, 1), steps, (0, 0), out[2:], label(node), node.outputs)


@RULES.emit("gather")
def gather(e: CaffeScribe, node: Node) -> None:
    """Rows of a constant table: Embed. Items by computed indices: BatchReindex. Fixed places: a Slice, its parts joined."""
    axis, index = node.attrs["axis"], node.need("indices")
    table = first(node).tensor
    if index is not None and index.tensor is None and table is not None and table.ndim == 2 and axis == 0:
        if not never_negative(index, inputs=True):
            raise NotExpressible("its indices may be negative, which count from the end; Caffe's Embed takes none")
        embed(e, node, first(node), index)
        return
    if index is not None and index.tensor is None and table is None and axis == 0 and len(static(index)) == 1:
        e.call(
            "BatchReindex",
            [e.value(first(node), carry=True), e.value(index, carry=True)],
            outputs=node.outputs,
            name=label(node),
            carry=True,
        )
        return
    if index is None or index.tensor is None or index.tensor.size == 0:
        raise NotExpressible("Caffe picks elements at fixed places only (Slice), or items along axis 0 (BatchReindex)")
    x = e.value(first(node), carry=True)
    n = x.shape[axis]
    at = [int(i + n * (i < 0)) for i in index.tensor.numpy().reshape(-1)]
    if not all(0 <= i < n for i in at):
        raise NotExpressible(f"an index is beyond the {n} elements of axis {axis}")
    out = static(node.output)
    plain = index.tensor.ndim == 1
    y = select(e, x, axis, at, label(node), node.outputs if plain else (), carry=True)
    if not plain:
        reshape(e, y, out, label(node), node.outputs)


@RULES.emit("tile")
def emit_tile(e: CaffeScribe, node: Node) -> None:
    x = e.value(first(node), carry=True)
    if 0 in static(node.output):
        raise NotExpressible("its result is empty")
    tile(e, x, static(node.output), label(node), node.outputs)


@RULES.emit("expand")
def expand(e: CaffeScribe, node: Node) -> None:
    """Tile along the axes that grow from 1."""
    x, out = e.value(first(node), carry=True), static(node.output)
    wide = (1,) * (len(out) - len(x.shape)) + x.shape
    if 0 in out:
        raise NotExpressible("its result is empty")
    same = wide == out
    x = reshape(e, x, wide, label(node), node.outputs if same else ())
    if not same:
        tile(e, x, out, label(node), node.outputs)


@RULES.emit("pad")
def pad(e: CaffeScribe, node: Node) -> None:
    """Zeros around H and W come from a convolution of each channel by 1; elsewhere numbers are joined on.

    Negative padding crops.
    """
    a, x = node.attrs, e.value(first(node))
    pads = a["pads"]
    if any(not isinstance(n, int) for pair in pads for n in pair):
        raise NotExpressible(f"its padding {pads} is not fixed")
    if a["mode"] != "constant":
        _repeated(e, node, x, pads)
        return
    for i, (begin, end) in enumerate(pads):
        if begin < 0 or end < 0:
            x = crop(e, x, i, max(0, -begin), x.shape[i] + min(0, begin) + min(0, end), label(node))
    grow = [(max(0, b), max(0, c)) for b, c in pads]
    value = float(a["value"])
    image = value == 0 and len(x.shape) >= 3 and any(n for pair in grow[2:] for n in pair)
    if image:
        last = not any(n for pair in grow[:2] for n in pair)
        x = _zeros_around(e, node, x, grow[2:], node.outputs if last else ())
        grow[2:] = [(0, 0)] * (len(grow) - 2)
    axes = [i for i, pair in enumerate(grow) if any(pair)]
    for i in axes:
        parts = []
        for n in grow[i]:
            parts.append(_filled(e, node, x, i, n, value) if n else None)
        full = [t for t in (parts[0], x, parts[1]) if t is not None]
        shape = tuple(d + sum(grow[i]) if j == i else d for j, d in enumerate(x.shape))
        param = {} if i == 1 else {"axis": i}
        (x,) = e.call("Concat", full, param, outputs=node.outputs if i == axes[-1] else (), shapes=[shape], name=label(node))
    if x.value is not node.output:
        e.alias(node.output, x)


def _repeated(e: CaffeScribe, node: Node, x: Ref, pads: Sequence[tuple[int, int]]) -> None:
    """The blob's own elements around it (edge, reflect, symmetric, wrap): parts of a Slice joined on; negative padding crops."""
    mode = node.attrs["mode"]
    axes = [i for i, pair in enumerate(pads) if any(pair)]
    for i in axes:
        begin, end = pads[i]
        n = x.dims[i]
        grown = np.pad(np.arange(n), (max(0, begin), max(0, end)), mode=mode)
        index = grown[max(0, -begin) : len(grown) - max(0, -end)]
        x = select(e, x, i, index.tolist(), label(node), node.outputs if i == axes[-1] else (), carry=False)
    if x.value is not node.output:
        e.alias(node.output, x)


def _filled(e: CaffeScribe, node: Node, x: Ref, axis: int, n: int, value: float) -> Ref:
    """A blob of the number, ``n`` long on an axis and else as x is, whatever sizes a net is given later: Power of a part of x."""
    part = crop(e, x, axis, 0, min(n, 1 if n > x.dims[axis] else n), label(node))
    if n > x.dims[axis]:
        part = tile(e, part, (*x.dims[:axis], n, *x.dims[axis + 1 :]), label(node))
    return power(e, part, node, scale=0.0, shift=value)


def _zeros_around(e: CaffeScribe, node: Node, x: Ref, grow: Sequence[tuple[int, int]], outputs: Sequence[Value | None]) -> Ref:
    from .windows import spatial_param

    channels, ones = x.dims[1], (1,) * len(grow)
    pads = [max(pair) for pair in grow]
    shape = (*x.dims[:2], *(n + 2 * p for n, p in zip(x.dims[2:], pads)))
    param: dict[str, Any] = {"num_output": channels, "bias_term": False, **spatial_param(ones, ones, pads)}
    if channels > 1:
        param["group"] = channels
    sizes = [n + b + c for n, (b, c) in zip(x.dims[2:], grow)]
    exact = tuple(sizes) == shape[2:]
    blob = constant(lambda: np.ones(channels), (channels, 1, *ones))
    (y,) = e.unit("Convolution", [x], param, outputs=outputs if exact else (), shapes=[shape], name=label(node), states=[blob])
    if not exact:
        y = crop_all(e, y, [p - b for p, (b, _) in zip(pads, grow)], sizes, label(node), outputs)
    return y
