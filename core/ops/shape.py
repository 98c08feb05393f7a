"""Moving elements around: reshape, transpose, concat, split, slice, pad..."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape, product
from ..ir.dtypes import DType
from .axes import Axis, Insert, PerAxis, Perm, Remove, Reshape
from .declare import Attr, AxesAttr, AxisAttr, InferContext, OpSet, Sample

SHAPE = OpSet("shape")

Shapes = list[tuple[DType | None, Shape | None]]


def _reshape_shape(c: InferContext) -> Shapes:
    old, new = product(c.shape("x") or (None,)) if c.shape("x") is not None else None, product(c["shape"])
    if isinstance(old, int) and isinstance(new, int) and old != new:
        c.fail(f"cannot become {tuple(map(str, c['shape']))}: {old} elements against {new}")
    return [(c.dtype("x"), c["shape"])]


SHAPE.op(
    "reshape", "x", "The elements in C order under another shape; every size is given, symbolic ones as Dim.",
    attrs={"shape": Attr("shape")}, infer=_reshape_shape, reference=lambda x, shape: x.reshape(shape), axes=Reshape(),
    samples=[Sample((2, 3, 5, 7), shape=(2, 15, 7)), Sample((2, 15, 7), shape=(2, 3, 5, 7)), Sample((6, 35), shape=(14, 15))],
)  # fmt: skip


def _transpose_shape(c: InferContext) -> Shapes:
    x, p = c.shape("x"), c["perm"]
    if x is not None and sorted(p) != list(range(len(x))):
        c.fail(f"{p} is not a permutation of {len(x)} axes")
    return [(c.dtype("x"), None if x is None else tuple(x[i] for i in p))]


SHAPE.op(
    "transpose", "x", "Axis i of the result is axis perm[i] of x.", attrs={"perm": Attr("perm")},
    infer=_transpose_shape, reference=lambda x, perm: x.transpose(perm), axes=Perm(),
    samples=[Sample((2, 3, 5, 7), perm=(0, 3, 1, 2)), Sample((2, 3, 5), perm=(2, 0, 1))],
)  # fmt: skip


def _squeeze_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    for a in c["axes"]:
        if isinstance(x[a], int) and x[a] != 1:
            c.fail(f"axis {a} has size {x[a]}, not 1")
    return [(c.dtype("x"), tuple(d for i, d in enumerate(x) if i not in c["axes"]))]


SHAPE.op(
    "squeeze", "x", "Without the named axes, which have size 1.", attrs={"axes": AxesAttr()},
    infer=_squeeze_shape, reference=lambda x, axes: x.squeeze(axes), axes=Remove(), samples=[Sample((2, 1, 3, 1, 5), axes=(1, 3))],
)  # fmt: skip


def _unsqueeze_axes(attrs: dict[str, Any], inputs: Any) -> None:
    x = inputs[0]
    if x is not None and x.rank is not None:
        rank = x.rank + len(attrs["axes"])
        if any(not -rank <= a < rank for a in attrs["axes"]):
            raise ShapeError(f"unsqueeze: axes {attrs['axes']} are out of range for {rank} axes")
        attrs["axes"] = tuple(sorted(a % rank for a in attrs["axes"]))


def _unsqueeze_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    left = iter(x)
    rank = len(x) + len(c["axes"])
    return [(c.dtype("x"), tuple(1 if i in c["axes"] else next(left) for i in range(rank)))]


SHAPE.op(
    "unsqueeze", "x", "With axes of size 1 inserted; positions count in the result.", attrs={"axes": Attr("ints")},
    normalize=_unsqueeze_axes, infer=_unsqueeze_shape, reference=lambda x, axes: np.expand_dims(x, axes), axes=Insert(),
    samples=[Sample((2, 3, 5), axes=(1, -1))],
)  # fmt: skip


def _concat_shape(c: InferContext) -> Shapes:
    xs = c.all("xs")
    shapes = [v.shape for v in xs]
    axis = c["axis"]
    if len({v.dtype for v in xs}) > 1:
        c.fail("inputs have different dtypes")
    known = [s for s in shapes if s is not None]
    if len(known) != len(shapes):
        return [(xs[0].dtype, None)]
    if len({len(s) for s in known}) != 1:
        c.fail("inputs have different numbers of axes")
    out: list[DimLike | None] = list(known[0])
    for s in known[1:]:
        for i, d in enumerate(s):
            if i != axis:
                out[i] = c.same(out[i], d, f"axis {i}")
    sizes = [s[axis] for s in known]
    total: DimLike | None = 0
    for d in sizes:
        total = None if d is None or total is None else total + d
    out[axis] = total
    return [(xs[0].dtype, tuple(out))]


SHAPE.op(
    "concat", "xs*", "Inputs one after another along an axis.", attrs={"axis": AxisAttr()}, infer=_concat_shape,
    reference=lambda *xs, axis: np.concatenate(xs, axis), axes=Axis("axis"), samples=[Sample((2, 3, 5), (2, 7, 5), axis=1)],
)  # fmt: skip


def _split_shape(c: InferContext) -> Shapes:
    x, axis, sizes = c.shape("x"), c["axis"], c["sizes"]
    total: DimLike = sum(sizes, 0)
    if x is not None:
        c.same(x[axis], total, "the split axis and the sum of sizes")
    return [(c.dtype("x"), None if x is None else (*x[:axis], s, *x[axis + 1 :])) for s in sizes]


SHAPE.op(
    "split", "x", "Parts of the given sizes along an axis.", outputs="ys*", attrs={"axis": AxisAttr(), "sizes": Attr("shape")},
    infer=_split_shape, reference=lambda x, axis, sizes: tuple(np.split(x, np.cumsum(sizes)[:-1], axis)), axes=Axis("axis"),
    samples=[Sample((2, 10, 3), axis=1, sizes=(2, 3, 5))],
)  # fmt: skip

PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def _pad_shape(c: InferContext) -> Shapes:
    x, pads = c.shape("x"), c["pads"]
    if x is None:
        return [(c.dtype("x"), None)]
    if len(pads) != len(x):
        c.fail(f"{len(pads)} pads for {len(x)} axes")
    return [(c.dtype("x"), tuple(None if d is None else d + p[0] + p[1] for d, p in zip(x, pads)))]


def _pad(x: np.ndarray, pads: Any, mode: str, value: float) -> np.ndarray:
    keep = tuple(slice(max(0, -b), n - max(0, -e)) for n, (b, e) in zip(x.shape, pads))
    x = x[keep]
    grow = [(max(0, b), max(0, e)) for b, e in pads]
    return np.pad(x, grow, constant_values=np.asarray(value, x.dtype)) if mode == "constant" else np.pad(x, grow, mode)  # type: ignore[call-overload,no-any-return]


SHAPE.op(
    "pad", "x", "Grown (or cropped, where negative) by (begin, end) elements per axis. reflect leaves the edge out, symmetric repeats it.",
    attrs={"pads": Attr("pairs"), "mode": Attr("str", "constant", PAD_MODES), "value": Attr("float", 0.0)},
    infer=_pad_shape, reference=_pad, axes=PerAxis(attrs=("pads",)),
    samples=[Sample((2, 3, 5), pads=((0, 0), (1, 2), (3, 0)), value=0.5), Sample((2, 3, 5), pads=((0, 0), (1, 2), (-1, 2)), mode="reflect")],
)  # fmt: skip
