"""Moving elements around: reshape, transpose, concat, split, pad, expand, tile."""

from __future__ import annotations

from typing import Any

from convcore.plugin import (
    A,
    Dim,
    DimLike,
    ForeignNode,
    I,
    Node,
    NotExpressible,
    ShapeError,
    Value,
    broadcast_shapes,
    ceil_div,
    known_shape,
    product,
)

from ..context import OnnxContext
from ..dialect import OnnxScribe
from ..typecheck import before
from .base import RULES, axis_size
from .shapes_in import known_ints, scalar_size, size_list, spread
from .steps import Steps, dtype_known

# ---- reshape


def target_shape(x: Value, wanted: Any, zero_copies: bool) -> tuple[DimLike, ...]:
    """The shape that ONNX Reshape means: 0 copies a size (or is one), one -1 or unknown size is what is left.

    ShapeError for a shape that no input fits, NotExpressible for one that depends on the data.
    """
    if sum(isinstance(d, int) and d == -1 for d in wanted) > 1:
        raise ShapeError("the shape has more than one -1")
    shape = x.shape
    out: list[DimLike | None] = []
    open_at: list[int] = []
    for i, d in enumerate(wanted):
        if d is None or (isinstance(d, int) and d == -1):
            open_at.append(i)
            d = None
        elif isinstance(d, int) and d == 0 and zero_copies:
            d = known_shape(x)[i] if i < len(known_shape(x)) else None
            if d is None:
                open_at.append(i)
        elif isinstance(d, int) and d < 0:
            raise ShapeError(f"the shape has a size {d}")
        out.append(d)
    if open_at:
        total = None if shape is None else product(shape)
        rest = product([d for i, d in enumerate(out) if i not in open_at])
        if len(open_at) > 1 or total is None or rest is None or (isinstance(rest, int) and rest == 0):
            raise NotExpressible("the shape depends on the data", "requires_constant_input")
        if isinstance(total, int) and isinstance(rest, int) and total % rest:
            raise ShapeError(f"{total} elements do not divide by {rest}")
        out[open_at[0]] = total // rest
    return tuple(d for d in out if d is not None)


@RULES.load("Reshape", until=4)
def reshape_by_attribute(g: OnnxContext, node: ForeignNode) -> Any:
    return g.b.reshape(node.need(0), shape=target_shape(node.need(0), node.attr("shape"), True))


@RULES.load("Reshape", since=5, priority=1)
def reshape_to_sizes(g: OnnxContext, node: ForeignNode) -> Any:
    x, sizes = node.need(0), g.sizes(node.need(1))
    if sizes is None:
        raise NotExpressible("the shape depends on the data", "requires_constant_input")
    return g.b.reshape(x, shape=target_shape(x, sizes, not node.attr("allowzero", 0)))


RULES.op("Reshape", "dynamic_reshape", "data=x, shape=shape", since=5, until=13, zero_copies=True)
RULES.op("Reshape", "dynamic_reshape", "data=x, shape=shape", since=14, zero_copies=A("allowzero", 0, "zero_if"))


@RULES.emit("reshape")
def emit_reshape(e: OnnxScribe, node: Node) -> None:
    """Symbolic sizes that x has on the same axis are copied (0), one other is left to the runtime (-1), the rest computed."""
    s = Steps(e, node)
    x, shape = node.need("x"), node.attrs["shape"]
    old = x.shape or ()
    sizes: list[DimLike] = []
    for i, d in enumerate(shape):
        sizes.append(0 if isinstance(d, Dim) and i < len(old) and old[i] == d else d)
    empty = any(isinstance(d, int) and d == 0 for d in shape)
    if empty:
        if e.dialect.opset < 14:
            raise NotExpressible("a size of 0 needs opset 14")
        s.last("Reshape", x, e.sizes(shape), allowzero=1)
        return
    left = [i for i, d in enumerate(sizes) if isinstance(d, Dim)]
    if left:
        sizes[left[-1]] = -1
    s.last("Reshape", x, e.sizes(sizes))


@RULES.emit("reshape", priority=1)
def emit_flatten(e: OnnxScribe, node: Node) -> None:
    """All axes but the first merged."""
    x, shape = node.need("x"), node.attrs["shape"]
    if x.shape is None or len(x.shape) < 3 or len(shape) != 2 or shape[0] != x.shape[0] or shape[1] != product(x.shape[1:]):
        raise NotExpressible("not all axes but the first are merged")
    Steps(e, node).last("Flatten", x)


@RULES.load("Flatten")
def flatten(g: OnnxContext, node: ForeignNode) -> Any:
    x, axis = node.need(0), node.attr("axis", 1)
    shape = known_shape(x)
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis <= len(shape):
        raise node.refuse(f"axis={axis} is out of range for {len(shape)} axes")
    rows, columns = product(shape[:axis]), product(shape[axis:])
    if rows is None or columns is None:
        raise node.refuse("the size of an axis is not known", code="unknown_shape")
    return g.b.reshape(x, shape=(rows, columns))


# ---- transpose, squeeze, unsqueeze

RULES.op("Transpose", "transpose", "data=x", perm=A("perm", iso="int_tuple"))


@RULES.load("Transpose", when={"perm": None})
def reverse_axes(g: OnnxContext, node: ForeignNode) -> Any:
    rank = len(known_shape(node.need(0)))
    return g.b.transpose(node.need(0), perm=tuple(reversed(range(rank))))


for _type, _op in {"Squeeze": "squeeze", "Unsqueeze": "unsqueeze"}.items():
    RULES.op(_type, _op, "data=x", until=12, direction="load", axes=A("axes", iso="onnx_ints"))
    RULES.op(_type, _op, "data=x, axes=_", since=13, axes=I("axes", iso="onnx_ints"))
    RULES.op(_type, f"dynamic_{_op}", "data=x, axes=axes", since=13, priority=-1)


def _squeeze_all(g: OnnxContext, node: ForeignNode) -> Any:
    x = node.need(0)
    if node.input(1) is not None:
        axes = known_ints(g, node, 1, "axes") or ()
        return g.b.squeeze(x, axes=axes)
    if x.shape is None or any(not isinstance(d, int) for d in x.shape):
        return g.b.squeeze_ones(x)
    return g.b.squeeze(x, axes=tuple(i for i, d in enumerate(x.shape) if d == 1))


RULES.load("Squeeze", until=12, when={"axes": None})(_squeeze_all)
RULES.load("Squeeze", since=13)(_squeeze_all)
RULES.op("Squeeze", "squeeze_ones", "data=x", direction="emit")

# ---- expand, tile


@RULES.load("Expand", since=8, priority=1)
def expand(g: OnnxContext, node: ForeignNode) -> Any:
    """Broadcast in both directions: the result's shape is that of x and the wanted one together, known where one of two names
    is never below the other."""
    x, wanted = node.need(0), size_list(g, node, 1, "shape")
    shape = known_shape(x)
    for d, n in zip(reversed(shape), reversed(wanted)):
        if d is None or (isinstance(d, Dim) and isinstance(n, Dim) and broadcast_shapes((d,), (n,)) not in ((d,), (n,))):
            raise NotExpressible(f"whether the size {d} or {n} is 1 is not known", "unknown_shape")
    joined = broadcast_shapes(shape, wanted) or ()
    result = [d for d in joined if d is not None]
    if len(result) < len(joined):
        raise NotExpressible("the shape of its input is not known", "unknown_shape")
    return g.b.expand(x, shape=result)


RULES.op("Expand", "dynamic_expand", "input=x, shape=shape", since=8)


@RULES.emit("expand")
def emit_expand(e: OnnxScribe, node: Node) -> None:
    """Sizes that x has already are written as 1."""
    x, shape = node.need("x"), node.attrs["shape"]
    old = (None,) * (len(shape) - len(x.shape)) + x.shape if x.shape is not None else (None,) * len(shape)
    sizes = [1 if d == n else n for d, n in zip(old, shape)]
    Steps(e, node).last("Expand", x, e.sizes(sizes))


@RULES.load("Tile", until=5)
def tile_one_axis(g: OnnxContext, node: ForeignNode) -> Any:
    x = node.need(0)
    count, axis = scalar_size_of_any(g, node, 1, "tiles"), scalar_size_of_any(g, node, 2, "axis")
    if isinstance(axis, Dim):
        raise node.refuse("its axis is symbolic")
    return g.b.tile(x, repeats=tuple(spread(node, [count], [axis], len(known_shape(x)), 1)))


def scalar_size_of_any(g: OnnxContext, node: ForeignNode, i: int, what: str) -> DimLike:
    """A size that the oldest opsets pass in the element type of the data."""
    a = g.constant(node.input(i))
    if a is None:
        return scalar_size(g, node, i, what)
    if a.size != 1 or int(a.item()) != a.item():
        raise node.refuse(f"its input {what!r} must hold one integer")
    return int(a.item())


RULES.op("Tile", "tile", "input=x, repeats=_", since=6, repeats=I("repeats", iso="tuple", dtype="size"))
RULES.op("Tile", "dynamic_tile", "input=x, repeats=repeats", since=6, priority=-1)


# ---- concat, split

RULES.op("Concat", "concat", "inputs=xs*", until=3, direction="load", axis=A("axis", 1))
RULES.op("Concat", "concat", "inputs=xs*", since=4, axis=A("axis"))


RULES.op(
    "Split", "split", "input=x, split=_", since=13, axis=A("axis", 0, write_default=True),
    sizes=I("split", iso="tuple", dtype="size"),
)  # fmt: skip


@RULES.load("Split")
def split(g: OnnxContext, node: ForeignNode) -> Any:
    """Sizes from an attribute, an input (from opset 13) or equal; from opset 18 the last part may be smaller."""
    x, axis, n = node.need(0), node.attr("axis", 0), len(node.outputs)
    sizes: Any = node.attr("split", None)
    count = node.attr("num_outputs", None)
    if sizes is None and node.input(1) is not None:
        sizes = size_list(g, node, 1, "split") if (node.version or 13) >= 13 else g.constant(node.input(1))
        if sizes is None:
            raise node.refuse("its input 'split' must be a constant", code="requires_constant_input")
    if sizes is not None:
        parts: tuple[DimLike, ...] = tuple(d if isinstance(d, Dim) else int(d) for d in sizes)
    else:
        size = axis_size(x, axis)
        if size is None:
            raise node.refuse(f"the size of axis {axis} is not known", code="unknown_shape")
        if count not in (None, n):
            raise node.refuse(f"num_outputs is {count}, but it has {n} outputs")
        if count is None and isinstance(size, int) and size % n:
            raise node.refuse(f"axis {axis} of size {size} does not divide by {n}")
        each = size // n if count is None else ceil_div(size, n)
        parts = (*(each,) * (n - 1), size - each * (n - 1))
    if len(parts) != n:
        raise node.refuse(f"{len(parts)} sizes for {n} outputs")
    return g.b.split(x, axis=axis, sizes=parts)


@RULES.load("Split", since=13, priority=-1)
def split_by_data(g: OnnxContext, node: ForeignNode) -> Any:
    return g.b.dynamic_split(node.need(0), node.need(1), axis=node.attr("axis", 0), count=len(node.outputs))


@RULES.emit("dynamic_split", since=13)
def emit_dynamic_split(e: OnnxScribe, node: Node) -> None:
    Steps(e, node).last("Split", *node.inputs, axis=node.attrs["axis"])


# ---- pad

_PAD_MODES = {"constant": 1, "reflect": 1, "edge": 1, "wrap": 19}


def _padded(g: OnnxContext, node: ForeignNode, pads: Any, axes: Any, value: Any) -> Any:
    x, mode = node.need(0), node.attr("mode", "constant")
    if mode not in _PAD_MODES:
        raise node.refuse(f"mode {mode!r} is not known")
    rank = len(known_shape(x))
    n = len(pads) // 2
    pairs = spread(node, list(zip(pads[:n], pads[n:])), axes, rank, (0, 0))
    return g.b.pad(x, pads=pairs, mode=mode, value=value if mode == "constant" else 0)


@RULES.load("Pad", until=10)
def pad_by_attributes(g: OnnxContext, node: ForeignNode) -> Any:
    pads = node.attr("paddings" if (node.version or 2) < 2 else "pads")
    return _padded(g, node, pads, None, node.attr("value", 0.0))


@RULES.load("Pad", since=11)
def pad(g: OnnxContext, node: ForeignNode) -> Any:
    given, value = node.input(2), 0
    if given is not None and node.attr("mode", "constant") == "constant":
        a = g.known(given)
        if a is None or a.size != 1:
            raise NotExpressible("its constant_value depends on the data", "requires_constant_input")
        value = a.item()
    return _padded(g, node, size_list(g, node, 1, "pads"), known_ints(g, node, 3, "axes"), value)


RULES.op(
    "Pad", "dynamic_pad", "data=x, pads=pads, constant_value=value", since=13, until=17, priority=-1, mode=A("mode", "constant")
)
RULES.op(
    "Pad", "dynamic_pad", "data=x, pads=pads, constant_value=value, axes=axes", since=18, priority=-1, mode=A("mode", "constant")
)


@RULES.emit("pad")
def emit_pad(e: OnnxScribe, node: Node) -> None:
    s, x, a = Steps(e, node), node.need("x"), node.attrs
    mode, pads = a["mode"], a["pads"]
    since = _PAD_MODES.get(mode)
    if since is None or (e.dialect.opset < since):
        raise NotExpressible(f"Pad has no mode {mode!r}" + (before(since) if since else ""))
    ends = e.sizes([*(p[0] for p in pads), *(p[1] for p in pads)])
    if mode != "constant":
        s.last("Pad", x, ends, mode=mode)
    elif a["value"] == 0:
        s.last("Pad", x, ends)
    else:
        s.last("Pad", x, ends, s.const(a["value"], dtype_known(x)))


@RULES.emit("pad", priority=-1)
def emit_pad_by_slices(e: OnnxScribe, node: Node) -> None:
    """symmetric, and wrap before opset 19: slices of x beside it, axis by axis."""
    s, x, a = Steps(e, node), node.need("x"), node.attrs
    mode, shape = a["mode"], known_shape(x)
    if mode not in ("symmetric", "wrap"):
        raise NotExpressible(f"mode {mode!r} is not made of slices")
    y = s.handle(x)
    for axis, ((begin, end), size) in enumerate(zip(a["pads"], shape)):
        if begin == 0 and end == 0:
            continue
        if not all(isinstance(n, int) for n in (begin, end, size)) or not (0 <= begin <= size and 0 <= end <= size):
            raise NotExpressible(f"padding {mode!r} of an axis of size {size} by {(begin, end)} is not one slice on each side")
        parts = [y]
        if begin:
            parts.insert(0, _edge(s, y, axis, mode, begin, size, True))
        if end:
            parts.append(_edge(s, y, axis, mode, end, size, False))
        y = s.Concat(*parts, axis=axis)
    s.last("Identity", y)


def _edge(s: Steps, y: Any, axis: int, mode: str, n: int, size: int, begin: bool) -> Any:
    """The ``n`` elements that go before or after an axis."""
    if mode == "wrap":
        start, stop, step = (size - n, size, 1) if begin else (0, n, 1)
    else:
        start, stop, step = (n - 1, -(2**63), -1) if begin else (size - 1, size - n - 1 if n < size else -(2**63), -1)
    return s.Slice(y, s.ints(start), s.ints(stop), s.ints(axis), s.ints(step))


# ---- what ONNX says with other ops


@RULES.emit("roll")
def emit_roll(e: OnnxScribe, node: Node) -> None:
    s, x = Steps(e, node), node.need("x")
    y = s.handle(x)
    for shift, axis in zip(node.attrs["shifts"], node.attrs["axes"]):
        size = known_shape(x)[axis]
        if not isinstance(size, int):
            raise NotExpressible(f"rolling the axis of unknown size {size}")
        k = -shift % size if size else 0
        if k:
            head = s.Slice(y, s.ints(0), s.ints(k), s.ints(axis))
            y = s.Concat(s.Slice(y, s.ints(k), s.ints(size), s.ints(axis)), head, axis=axis)
    s.last("Identity", y)
