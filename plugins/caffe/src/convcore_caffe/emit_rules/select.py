"""Elements of an axis in any order: parts of a Slice joined by Concat, which moves numbers and computes none; a matrix of zeros
and ones where there would be too many parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from convcore.plugin import Node, NotExpressible, Ref, Value

from ..dialect import CaffeScribe, label
from ..emit_tidy import field
from .base import RULES, constant, crop, first, static

__all__ = ["reversal_of", "select"]

_PARTS = 64
"""More parts than this along channels or the last axis are a matrix product."""
_MOST = 1024
"""The most parts of one axis."""


def select(
    e: CaffeScribe,
    top: Ref,
    axis: int,
    index: Sequence[int],
    name: str,
    outputs: Sequence[Value | None] = (),
    *,
    carry: bool,
) -> Ref:
    """Element i of the axis is element ``index[i]`` (not negative) of the blob's; ``carry``: also where it is no number that
    Caffe computes with. NotExpressible: none, or too many parts."""
    if not len(index):
        raise NotExpressible("it is empty, and Caffe makes no empty blobs")
    runs = _runs(index)
    if len(runs) == 1:
        begin, end = runs[0]
        return crop(e, top, axis, begin, end - begin, name, outputs)
    shape = (*top.dims[:axis], len(index), *top.dims[axis + 1 :])
    if len(runs) > _PARTS and not carry and axis in (1, len(top.dims) - 1) and len(top.dims) > 1:
        return _matrix(e, top, axis, index, shape, name, outputs)
    if len(runs) > _MOST:
        raise NotExpressible(f"it picks {len(runs)} parts of axis {axis}, more than {_MOST}")
    param = {} if axis == 1 else {"axis": axis}
    parts = _parts(e, top, axis, runs, name)
    return e.call("Concat", parts, param, outputs=outputs, shapes=[shape], name=name, carry=carry)[0]


def _runs(index: Sequence[int]) -> list[tuple[int, int]]:
    """The longest pieces [begin, end) that go up by one."""
    runs: list[tuple[int, int]] = []
    for i in index:
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def _parts(e: CaffeScribe, top: Ref, axis: int, runs: Sequence[tuple[int, int]], name: str) -> list[Ref]:
    """The blobs of the runs, in order: tops of one Slice at every place where a run begins or ends."""
    n = top.dims[axis]
    bounds = sorted({0, n, *(p for run in runs for p in run)})
    pieces = list(pairwise(bounds))
    if len(pieces) == 1:
        return [top] * len(runs)
    shapes = [(*top.dims[:axis], b - a, *top.dims[axis + 1 :]) for a, b in pieces]
    points = bounds[1:-1]
    param = {"slice_point": points} if axis == 1 else {"axis": axis, "slice_point": points}
    key = ("Slice", top, axis, tuple(points))
    tops = e.memo(key, lambda: e.call("Slice", [top], param, shapes=shapes, name=name))
    at = dict(zip(pieces, tops, strict=True))
    return [at[piece] for begin, end in runs for piece in pieces if begin <= piece[0] and piece[1] <= end]


def _matrix(
    e: CaffeScribe, x: Ref, axis: int, index: Sequence[int], shape: Sequence[int], name: str, outputs: Sequence[Value | None]
) -> Ref:
    """A 1x1 convolution, or along the last axis an InnerProduct, in which all terms but one are 0: exact for finite numbers."""
    n, m = x.dims[axis], len(index)

    def matrix() -> object:
        w = np.zeros((m, n), np.float32)
        w[np.arange(m), list(index)] = 1
        return w

    if axis == len(x.dims) - 1:
        param: dict[str, object] = {"num_output": m, "bias_term": False, **({"axis": axis} if axis != 1 else {})}
        blob = constant(matrix, (m, n))
        return e.unit("InnerProduct", [x], param, outputs=outputs, shapes=[shape], name=name, states=[blob])[0]
    param = {"num_output": m, "bias_term": False, "kernel_size": 1}
    blob = constant(matrix, (m, n, *(1,) * (len(x.dims) - 2)))
    return e.unit("Convolution", [x], param, outputs=outputs, shapes=[shape], name=name, states=[blob])[0]


def reversal_of(top: Ref, axis: int) -> Ref | None:
    """The blob of which this is the opposite order along an axis, where it was made so."""
    call = top.call
    if call is None or call.type != "Concat" or field(call, "axis") != axis or not isinstance(call.args[0], Ref):
        return None
    cut = call.args[0].call
    if cut is None or cut.type != "Slice" or field(cut, "axis") != axis or len(cut.results) != top.dims[axis]:
        return None
    source = cut.args[0]
    return source if call.args == cut.results[::-1] and isinstance(source, Ref) else None


@RULES.emit("flip")
def flip(e: CaffeScribe, node: Node) -> None:
    """Every element of the axes a part of a Slice, joined in the opposite order."""
    x = e.value(first(node), carry=True)
    axes = [a for a in node.attrs["axes"] if x.dims[a] > 1]
    if not axes:
        e.alias(node.output, x)
    for a in axes:
        outputs = node.outputs if a == axes[-1] else ()
        x = select(e, x, a, range(x.dims[a])[::-1], label(node), outputs, carry=True)


@RULES.emit("topk")
def topk(e: CaffeScribe, node: Node) -> None:
    """ArgMax for the places and again for the values. Of equals it takes the last first, this op the first: so of the axis
    reversed, and the places counted from its end."""
    a, x = node.attrs, e.value(first(node))
    axis, k = a["axis"], a["k"]
    n, shape = x.dims[axis], static(node.outputs[0])
    values, places = node.outputs
    if not isinstance(k, int) or not 0 < k <= n or n > 1 << 24:
        raise NotExpressible(f"Caffe's ArgMax takes 1 to {min(n, 1 << 24)} elements, not {k}")
    if not a["largest"]:
        (x,) = e.call("Power", [x], {"scale": -1.0}, shapes=[x.dims], name=label(node))
    back = reversal_of(x, axis)
    if back is None:
        back = select(e, x, axis, range(n)[::-1], label(node), carry=False)
    param = {"axis": axis, **({"top_k": k} if k > 1 else {})}
    if values.uses or values.is_output:
        best = {**param, "out_max_val": True}
        if a["largest"]:
            e.call("ArgMax", [back], best, outputs=[values], name=label(node))
        else:
            (y,) = e.call("ArgMax", [back], best, shapes=[shape], name=label(node))
            e.call("Power", [y], {"scale": -1.0}, outputs=[values], name=label(node))
    if not (places.uses or places.is_output):
        return
    ends = _counted_from_the_end(places, n)
    if ends is not None:
        e.call("ArgMax", [back], param, outputs=[ends], name=label(node), carry=True)
        e.given(places, ends)
        return
    (at,) = e.call("ArgMax", [back], param, shapes=[shape], name=label(node), carry=True)
    e.call("Power", [at], {"scale": -1.0, "shift": float(n - 1)}, outputs=[places], name=label(node), carry=True)


def _counted_from_the_end(places: Value, n: int) -> Value | None:
    """What n - 1 - places is known as, if nothing else reads the places."""
    if places.is_output or len(places.users) != 1:
        return None
    (user,) = places.users
    if user.op != "sub" or user.inputs[1] is not places:
        return None
    last = user.inputs[0]
    if last is None or last.tensor is None or last.tensor.size != 1 or user.output.shape != places.shape:
        return None
    return user.output if int(last.tensor.numpy().reshape(-1)[0]) == n - 1 else None
