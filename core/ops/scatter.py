"""Writing elements into a copy of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Opaque
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype
from ..opset.traits import Trait
from .indexing import along

SCATTER = OpSet("scatter")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

REDUCTION = Attr(
    "str", "none", ("none", "add", "mul", "max", "min"), doc="how an update joins what is there; none: the last one stays"
)

_JOIN: dict[str, Callable[..., Any]] = {"add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at}


def _write(x: Array, index: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    y: Array = x.copy()
    if reduction == "none":
        y[index] = updates
    else:
        with np.errstate(all="ignore"):
            _JOIN[reduction](y, index, updates)
    return y


def _scatter_nd_shape(c: InferContext) -> Shapes:
    x, i, u = c.shape("x"), c.shape("indices"), c.shape("updates")
    common_dtype(c, "x", "updates")
    if x is not None and i is not None:
        if not i or (isinstance(i[-1], int) and not 0 < i[-1] <= len(x)):
            c.fail(f"index vectors are empty or longer than the {len(x)} axes of x")
        if u is not None and isinstance(i[-1], int):
            want = (*i[:-1], *x[i[-1] :])
            if len(u) != len(want):
                c.fail(f"updates have {len(u)} axes, must have {len(want)}")
            for a, b in zip(u, want):
                c.same(a, b, "updates")
    return [(c.dtype("x"), x)]


def _scatter_nd(x: Array, indices: Array, updates: Array, reduction: str) -> Array:
    return _write(x, tuple(np.moveaxis(indices, -1, 0)), updates, reduction)


_UPDATES = [
    Sample((3, 5, 2), np.array([[0, 4], [2, 1], [1, -1], [0, 0]]), (4, 2)),
    Sample((7, 3), np.array([[2], [5], [2]]), (3, 3), reduction="add"),
    Sample((7, 3), np.array([[2], [5], [2]]), (3, 3), reduction="max"),
]  # fmt: skip
SCATTER.op(
    "scatter_nd", "x, indices:int, updates",
    "A copy of x with updates[i...] written (or joined) at x[indices[i...]] (ONNX ScatterND).",
    attrs={"reduction": REDUCTION}, infer=_scatter_nd_shape, reference=_scatter_nd, axes=Opaque(), samples=_UPDATES,
    traits=Trait.MOVES, roles={"index": "indices"},
)  # fmt: skip


def _elements_shape(c: InferContext) -> Shapes:
    x, i, u = c.shape("x"), c.shape("indices"), c.shape("updates")
    common_dtype(c, "x", "updates")
    if i is not None and u is not None:
        if len(i) != len(u):
            c.fail("indices and updates must have the same shape")
        for a, b in zip(i, u):
            c.same(a, b, "indices and updates")
    if x is not None and i is not None and len(x) != len(i):
        c.fail("x and indices must have the same number of axes")
    return [(c.dtype("x"), x)]


def _elements(x: Array, indices: Array, updates: Array, axis: int, reduction: str) -> Array:
    return _write(x, along(x.shape, indices, axis), updates, reduction)


SCATTER.op(
    "scatter_elements", "x, indices:int, updates",
    "A copy of x with y[i, indices[i, j, k], k] = updates[i, j, k] for axis 1 (ONNX ScatterElements, torch.scatter).",
    attrs={"axis": AxisAttr(), "reduction": REDUCTION}, infer=_elements_shape, reference=_elements, axes=Opaque(),
    samples=[
        Sample((3, 5), np.array([[1, 3], [0, -1]]), (2, 2), axis=1),
        Sample((5, 3), np.array([[4, 0, 2], [4, 1, 2]]), (2, 3), axis=0, reduction="add"),
        Sample((5, 3), np.array([[4, 0, 2], [4, 1, 2]]), (2, 3), axis=0, reduction="mul"),
    ],
    traits=Trait.MOVES, roles={"index": "indices"},
)  # fmt: skip
