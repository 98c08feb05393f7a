"""Indexing."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible, product

from ..rules.base import RULES
from .base import ALL, E, given, items, number, picked, places, shape_of, sizes


@RULES.emit("slice")
def slice_(e: E, node: Node) -> None:
    """Steps forward; an axis read backwards is turned round first: place i is -1 - i from its other end."""
    x = node.need("x")
    index: list[Any] = []
    turned: list[int] = []
    steps = node.attrs["steps"]
    near = () if any(s < 0 for s in steps) else (x,)
    for i, (a, b, s, n) in enumerate(zip(node.attrs["starts"], node.attrs["stops"], steps, shape_of(x))):
        if s < 0:
            turned.append(i)
            a, b, s = -1 - a, None if b is None else -1 - b, -s
        elif b is not None and ((isinstance(b, int) and b >= 1 << 62) or b == n):
            b = None
        a, b = (None if v is None else sizes(e, [v], *near)[0] for v in (a, b))
        index.append(("slice", None if isinstance(a, int) and a == 0 else a, b, None if s == 1 else s))
    while index and index[-1] == ALL:
        index.pop()
    h = e.value(x, carry=True)
    if turned:
        (h,) = e.call("torch.flip", [h, tuple(turned)], outputs=() if index else node.outputs, carry=True)
    if index:
        e.call("[]", [h], {"index": tuple(index)}, outputs=node.outputs, carry=True)
    elif not turned:
        e.alias(node.output, h)


@RULES.emit("dynamic_slice")
def dynamic_slice(e: E, node: Node) -> None:
    """One axis after the other, bounds read from the tensors: see ``narrow`` in ``written.py``, and ``sliced`` where the axes are
    read, too."""
    x, starts, stops = (given(v) for v in node.inputs[:3])
    steps = node.arg("steps")
    if node.attrs["axes"] is None:
        late = [items(e, v) for v in (node.need("on"), starts, stops, *([steps] if steps is not None else []))]
        e.call("sliced", [e.value(x, carry=True), *late], outputs=node.outputs, carry=True)
        return
    axes = [a % len(shape_of(x)) for a in node.attrs["axes"]]
    bounds = [items(e, v) for v in (starts, stops)] + ([items(e, steps)] if steps is not None else [])
    h = e.value(x, carry=True)
    if not axes:
        e.alias(node.output, h)
    for i, axis in enumerate(axes):
        at = [b[i] if isinstance(b, tuple) else e.call("[]", [b], {"index": (i,)})[0] for b in bounds]
        (h,) = e.call("narrow", [h, axis, *at], outputs=node.outputs if i == len(axes) - 1 else (), carry=True)


@RULES.emit("gather")
def gather(e: E, node: Node) -> None:
    """One place as an index, a vector of places by index_select; negative places of constants count from the end."""
    x, at = node.need("x"), node.need("indices")
    shape = shape_of(x)
    axis = node.attrs["axis"] % len(shape)
    one = number(at)
    if one is not None and at.shape == ():
        index = tuple([ALL] * axis + [one])
        e.call("[]", [e.value(x, carry=True)], {"index": index}, outputs=node.outputs, carry=True)
        return
    if at.dtype is None or str(at.dtype) not in ("int32", "int64"):
        raise NotExpressible(f"places of {at.dtype}")
    h = e.value(at)
    if str(at.dtype) == "int32":
        (h,) = e.call(".long", [h])
    index = tuple([ALL] * axis)
    e.call("[]", [e.value(x, carry=True), h], {"index": (*index, ("arg", 1))}, outputs=node.outputs, carry=True)


@RULES.emit("gather_nd")
def gather_nd(e: E, node: Node) -> None:
    """An index per axis; those of batch axes count up."""
    x, at, b = node.need("x"), node.need("indices"), node.attrs["batch_dims"]
    depth = shape_of(at)[-1]
    if not isinstance(depth, int) or at.dtype is None:
        raise NotExpressible(f"index vectors of {depth} {at.dtype}")
    h = e.value(at)
    if at.dtype is not DType.INT64:
        (h,) = e.call(".long", [h])
    rank = len(shape_of(at)) - 1
    lead: list[Any] = []
    for i in range(b):
        (count,) = e.call("torch.arange", [sizes(e, [shape_of(x)[i]])[0]])
        if rank - i > 1:
            (count,) = e.call(".reshape", [count, -1, *(1,) * (rank - i - 1)])
        lead.append(count)
    parts = [e.call("[]", [h], {"index": ("...", i)})[0] for i in range(depth)]
    index = tuple(("arg", i + 1) for i in range(b + depth))
    e.call("[]", [e.value(x, carry=True), *lead, *parts], {"index": index or ("...",)}, outputs=node.outputs, carry=True)


@RULES.emit("take_along_axis")
def take_along_axis(e: E, node: Node) -> None:
    """torch.gather, whose places do not count from the end."""
    x, at = node.need("x"), node.need("indices")
    axis = node.attrs["axis"] % len(shape_of(x))
    h = places(e, at, shape_of(x)[axis])
    e.call("torch.gather", [e.value(x, carry=True), axis, h], outputs=node.outputs, carry=True)


@RULES.emit("reverse_sequence")
def reverse_sequence(e: E, node: Node) -> None:
    """Every step from its own place."""
    x, lengths, a = node.need("x"), node.need("lengths"), node.attrs
    rank = len(shape_of(x))
    batch, time = a["batch_axis"] % rank, a["time_axis"] % rank
    n, t = sizes(e, [shape_of(x)[batch], shape_of(x)[time]])
    h, count = e.value(x, carry=True), e.value(lengths)
    moved = (batch, time) != (0, 1)
    if moved:
        (h,) = e.call("torch.movedim", [h, (batch, time), (0, 1)], carry=True)
    (step,) = e.call("torch.arange", [t])
    (count,) = e.call(".unsqueeze", [count, 1])
    (inside,) = e.call("<", [step, count])
    (source,) = e.call("-", [count, step])
    (source,) = e.call("-", [source, 1])
    (source,) = e.call("torch.where", [inside, source, step])
    (row,) = e.call("torch.arange", [n])
    (row,) = e.call(".unsqueeze", [row, 1])
    index = {"index": (("arg", 1), ("arg", 2))}
    (y,) = e.call("[]", [h, row, source], index, outputs=() if moved else node.outputs, carry=True)
    if moved:
        e.call("torch.movedim", [y, (0, 1), (batch, time)], outputs=node.outputs, carry=True)


@RULES.emit("nonzero")
def nonzero(e: E, node: Node) -> None:
    """The other way round than torch's."""
    (y,) = e.call("torch.nonzero", [e.value(node.need("x"))])
    e.call(".t", [y], outputs=node.outputs)


@RULES.emit("compress")
def compress(e: E, node: Node) -> None:
    """A mask as an index; where it may be shorter than the axis, what it does not reach is cut off before."""
    x, condition = node.need("x"), node.need("condition")
    axis, shape = node.attrs["axis"], shape_of(x)
    h, mask = e.value(x, carry=True), e.value(condition)
    n: Any = shape[axis] if axis is not None else None
    if axis is None:
        (h,) = e.call(".flatten", [h], carry=True)
        n, axis = product(shape), 0
    (count,) = shape_of(condition)
    if n is None or count is None or n != count:
        reach = e.call(".size", [mask, 0])[0] if count is None else sizes(e, [count])[0]
        h = picked(e, h, axis, None, reach)
    index = (*(ALL,) * axis, ("arg", 1))
    e.call("[]", [h, mask], {"index": index}, outputs=node.outputs, carry=True)


@RULES.emit("unique")
def unique(e: E, node: Node) -> None:
    """torch.unique has no first places and takes every NaN for itself: see ``unique`` in ``written.py``."""
    x, a = node.need("x"), node.attrs
    if x.dtype is DType.BOOL:
        raise NotExpressible("distinct truth values")
    config = {"dim": a["axis"], "in_order": None if a["sorted"] else True}
    e.call("unique", [e.value(x)], config, outputs=node.outputs)
