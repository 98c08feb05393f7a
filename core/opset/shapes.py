"""Shape and type rules that many ops share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape, bounds, ceil_div, dim_max, dim_min, shape_text
from ..ir.dtypes import DType
from ..ir.graph import Value
from .infer import InferContext, Inferred
from .traits import Trait

__all__ = [
    "axis_sizes",
    "broadcast",
    "broadcast_shapes",
    "common_dtype",
    "reduced",
    "same",
    "scalar_size",
    "unknown_axes",
    "window_pads",
    "window_size",
]

MAX_RANK = 64
"""Most axes a value may have: numpy's limit."""

Infer = Callable[[InferContext], Inferred]


def same(name: str, to: DType | None = None) -> Infer:
    """Dtype and shape of one input."""

    def infer(c: InferContext) -> Inferred:
        return [(to or c.dtype(name), c.shape(name))]

    return infer


def broadcast_shapes(*shapes: Shape | None) -> Shape | None:
    """numpy's broadcasting; ShapeError if two integers do not fit. A symbol against 1 is the symbol, against n is n, against
    another symbol the larger of the two (named sizes are at least 1), or unknown where one may be 0."""
    if any(s is None for s in shapes):
        return None
    known = [s for s in shapes if s is not None]
    rank = len(max(known, key=len, default=()))
    out: list[DimLike | None] = []
    for i in range(rank):
        best: DimLike | None = 1
        for s in known:
            j = i - rank + len(s)
            if j < 0:
                continue
            d = s[j]
            if isinstance(best, int) and isinstance(d, int) and best != d and 1 not in (best, d):
                raise ShapeError("shapes " + " and ".join(map(shape_text, known)) + " do not broadcast")
            best = _broadcast_size(best, d)
        out.append(best)
    return tuple(out)


def _broadcast_size(a: DimLike | None, b: DimLike | None) -> DimLike | None:
    """The common size of two axes that fit."""
    if b == 1 or a == b:
        return a
    for one, other in ((a, b), (b, a)):
        if one == 1:
            return other
        if isinstance(one, int) or (one is not None and (bounds(one)[0] or 0) > 1):
            return one
    if a is None or b is None or not bounds(a)[0] or not bounds(b)[0]:
        return None
    return dim_max(a, b)


def broadcast(*names: str, to: DType | None = None, like: str = "") -> Infer:
    """The broadcast shape of the named inputs, which must share one dtype (``to`` overrides the result's)."""

    def infer(c: InferContext) -> Inferred:
        dtypes = {c.dtype(n) for n in names} - {None}
        if len(dtypes) > 1:
            c.fail("inputs have different dtypes: " + ", ".join(sorted(map(str, dtypes))))
        return [(to or c.dtype(like or names[0]), broadcast_shapes(*(c.shape(n) for n in names)))]

    return infer


def common_dtype(c: InferContext, *names: str) -> DType | None:
    """The one dtype of the named inputs (omitted and unknown ones aside); fails if they differ."""
    known = {n: c.dtype(n) for n in names if c.dtype(n) is not None}
    if len(set(known.values())) > 1:
        c.fail("inputs have different dtypes: " + ", ".join(f"{n} {d}" for n, d in known.items()))
    return next(iter(known.values()), None)


def scalar_size(v: Value | None) -> DimLike | None:
    """The integer held by a value of one element when it is a constant, a size (``dim_value``, an element of ``shape_of``), or a
    view, copy or cast of one; else None."""
    from .registry import traits_of

    at: int | None = None  # which element of a list, where one was picked
    while v is not None and v.dtype is not None and v.dtype.is_int:
        if v.tensor is not None:
            a = v.tensor.numpy().reshape(-1) if v.tensor.size == 1 or at is not None else None
            return None if a is None else int(a[at or 0])
        node = v.producer
        if node is None:
            return None
        if node.op == "dim_value":
            size: DimLike = node.attrs["value"]
            return size
        if node.op == "shape_of":
            sizes = node.need("x").shape
            sizes = None if sizes is None else sizes[node.attrs["start"] : node.attrs["end"]]
            return None if sizes is None or (at is None and len(sizes) != 1) else sizes[at or 0]
        if node.op == "gather" and at is None:
            index, v = node.need("indices"), node.need("x")
            if index.tensor is None or index.tensor.size != 1 or v.rank != 1:
                return None
            at = int(index.tensor.numpy().reshape(-1)[0])
            if isinstance(n := (v.shape or (None,))[0], int) and not -n <= at < n:
                return None
        elif node.op in ("cast", "identity") or Trait.VIEW in traits_of(node.op):
            v = node.inputs[0]
        else:
            return None
    return None


def unknown_axes(c: InferContext, shape: Shape | None) -> Shape | None:
    """As many axes of unknown size as a vector of shape ``shape`` has elements; None when that is not known."""
    if not shape or not isinstance(shape[0], int):
        return None
    if shape[0] > MAX_RANK:
        c.fail(f"a shape of {shape[0]} axes: {MAX_RANK} is the limit")
    return (None,) * shape[0]


def reduced(shape: Shape | None, axes: Sequence[int] | None, keepdims: bool) -> Shape | None:
    """The shape after reducing ``axes`` (None: all)."""
    if shape is None:
        return () if axes is None and not keepdims else None
    gone = set(range(len(shape))) if axes is None else set(axes)
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def axis_sizes(shape: Shape, layout: str) -> tuple[DimLike | None, DimLike | None, Shape]:
    """``(batch, channels, spatial)`` of a shape in channels_first or channels_last order."""
    if layout == "channels_first":
        return shape[0], shape[1], shape[2:]
    return shape[0], shape[-1], shape[1:-1]


def window_size(
    n: DimLike | None, k: DimLike, stride: int, dilation: int, pads: tuple[DimLike, DimLike] | str, ceil: bool = False
) -> DimLike | None:
    """Output size of a sliding window over ``n`` elements; with ``ceil`` a last partial window counts if it starts
    inside the input or the padding before it (PyTorch's and ONNX's ceil_mode)."""
    if isinstance(k, int) and k < 1:
        raise ShapeError(f"a window of {k} elements")
    if n is None:
        return None
    if isinstance(pads, str):
        return ceil_div(n, stride)
    reach = dilation * (k - 1) + 1
    room = n + pads[0] + pads[1] - reach
    if isinstance(room, int) and room < 0:
        raise ShapeError(f"a window of {reach} does not fit into {n} with padding {pads}")
    if not ceil:
        return room // stride + 1
    return dim_min(ceil_div(room, stride) + 1, ceil_div(n + pads[0], stride))


def window_pads(n: DimLike, k: DimLike, stride: int, dilation: int, pads: tuple[Any, Any] | str) -> tuple[DimLike, DimLike]:
    """Explicit padding: "same_upper"/"same_lower" as TensorFlow's SAME (``ceil(n / stride)`` outputs)."""
    if not isinstance(pads, str):
        return pads
    total = dim_max((ceil_div(n, stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0)
    small = total // 2
    rest: DimLike = total - small
    return (small, rest) if pads == "same_upper" else (rest, small)


def is_static(shape: Shape | None) -> bool:
    """Whether every size is an integer."""
    return shape is not None and not any(d is None or isinstance(d, Dim) for d in shape)
