"""Order along an axis: argmax, top-k, sort, and running sums and products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Axes, Axis
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import reduced
from ..opset.traits import Trait

SORTING = OpSet("sorting")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]

# ties of every kind, so that the choice among equals shows
_TIES = np.array([[3, 1, 3, 2, 1], [0, 0, 2, 2, 2], [1, 5, 4, 5, 5]], np.float32)


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Stable argsort: among equals the lowest index comes first; NaN counts as largest."""
    if not descending:
        return np.asarray(np.argsort(x, axis, kind="stable"))
    back: Array = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    order: Array = x.shape[axis] - 1 - back
    return order


def _arg_shape(c: InferContext) -> Shapes:
    return [(c["dtype"], reduced(c.shape("x"), (c["axis"],), c["keepdims"]))]


def _arg(fn: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Array, axis: int, keepdims: bool, last: bool, dtype: DType) -> Array:
        i = x.shape[axis] - 1 - fn(np.flip(x, axis), axis) if last else fn(x, axis)
        return np.asarray(np.expand_dims(i, axis) if keepdims else i, dtype.numpy)

    return reference


_ARGS: list[tuple[str, Callable[..., Any], str]] = [("argmax", np.argmax, "largest"), ("argmin", np.argmin, "smallest")]
for _name, _fn, _word in _ARGS:
    SORTING.op(
        _name, "x:number",
        f"Index of the {_word} element along an axis: the first of equals, or with ``last`` the last.",
        attrs={
            "axis": AxisAttr(), "keepdims": Attr("bool", False), "last": Attr("bool", False),
            "dtype": Attr("dtype", DType.INT64, (DType.INT64, DType.INT32)),
        },
        infer=_arg_shape, reference=_arg(_fn), axes=Axes("axis"),
        samples=[Sample((2, 3, 5), axis=1), Sample((2, 3, 5), axis=-1, keepdims=True),
            Sample(_TIES, axis=1, last=True), Sample(_TIES, axis=1)],
        traits=Trait.NONNEGATIVE,
    )  # fmt: skip


def _running(fn: Callable[..., Any], neutral: int) -> Callable[..., Any]:
    def reference(x: Array, axis: int, exclusive: bool, reverse: bool) -> Array:
        with np.errstate(all="ignore"):
            v = np.flip(x, axis) if reverse else x
            y = fn(v, axis=axis, dtype=x.dtype)
            if exclusive and x.shape[axis]:
                first = np.full_like(np.take(y, [0], axis), neutral)
                y = np.concatenate([first, np.take(y, range(x.shape[axis] - 1), axis)], axis)
            return np.asarray(np.flip(y, axis) if reverse else y, x.dtype)

    return reference


_RUNNING: list[tuple[str, Callable[..., Any], int, str]] = [
    ("cumsum", np.cumsum, 0, "sum"),
    ("cumprod", np.cumprod, 1, "product"),
]
for _name, _fn, _neutral, _word in _RUNNING:
    SORTING.op(
        _name, "x:number",
        f"Running {_word} along an axis; exclusive leaves the element itself out, reverse runs from the end.",
        attrs={"axis": AxisAttr(), "exclusive": Attr("bool", False), "reverse": Attr("bool", False)},
        reference=_running(_fn, _neutral), axes=Axis("axis"),
        samples=[
            Sample((2, 3, 5), axis=1), Sample((2, 3, 5), axis=2, exclusive=True),
            Sample((2, 3, 5), axis=0, reverse=True),
            Sample((2, 3, 5), axis=2, exclusive=True, reverse=True),
        ],
        traits=Trait.KEEPS_SIGN,
    )  # fmt: skip


def _topk_shape(c: InferContext) -> Shapes:
    x, axis, k = c.shape("x"), c["axis"], c["k"]
    if x is None:
        return [(c.dtype("x"), None), (DType.INT64, None)]
    n = x[axis]
    if isinstance(k, int) and (k < 0 or (isinstance(n, int) and k > n)):
        c.fail(f"k={k} of {n} elements")
    y = (*x[:axis], k, *x[axis + 1 :])
    return [(c.dtype("x"), y), (DType.INT64, y)]


def _topk(x: Array, k: int, axis: int, largest: bool, sorted: bool) -> tuple[Array, Array]:
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k={k} of {x.shape[axis]} elements")
    i = np.take(_order(x, axis, largest), range(k), axis)
    return np.take_along_axis(x, i, axis), i.astype(np.int64)


SORTING.op(
    "topk", "x:number",
    "The k largest (or smallest) elements and their indices; among equals the lowest index comes first.",
    outputs="values, indices",
    attrs={
        "k": Attr("dim"), "axis": AxisAttr(-1), "largest": Attr("bool", True),
        "sorted": Attr("bool", True, doc="False: in any order; the reference sorts all the same"),
    },
    infer=_topk_shape, reference=_topk, axes=Axis("axis"),
    samples=[Sample((2, 7, 5), k=3, axis=1), Sample((2, 3, 5), k=2, largest=False), Sample(_TIES, k=4),
        Sample(_TIES, k=4, largest=False)],
)  # fmt: skip


def _sort(x: Array, axis: int, descending: bool) -> Array:
    return np.take_along_axis(x, _order(x, axis, descending), axis)


_SORT_ATTRS = {"axis": AxisAttr(-1), "descending": Attr("bool", False)}
_SORT_SAMPLES = [Sample((2, 3, 5), axis=1), Sample((2, 3, 5), descending=True), Sample(_TIES, descending=True), Sample(_TIES)]


def _sort_body(b: Any, x: Any, *, axis: int, descending: bool, part: int) -> Any:
    n = None if x.shape is None else x.shape[axis]
    b.require(n is not None, "sorting needs the size of its axis")
    return b.topk(x, k=n, axis=axis, largest=descending, sorted=True)[part]


SORTING.op(
    "sort", "x:number", "Sorted along an axis; NaN counts as largest.", attrs=_SORT_ATTRS, reference=_sort,
    axes=Axis("axis"),
    body=lambda b, x, **kw: _sort_body(b, x, part=0, **kw), samples=_SORT_SAMPLES,
)  # fmt: skip
SORTING.op(
    "argsort", "x:number", "Indices that sort x along an axis, equal elements in their order.", attrs=_SORT_ATTRS,
    infer=lambda c: [(DType.INT64, c.shape("x"))],
    reference=lambda x, axis, descending: _order(x, axis, descending).astype(np.int64),
    axes=Axis("axis"), body=lambda b, x, **kw: _sort_body(b, x, part=1, **kw), samples=_SORT_SAMPLES,
)  # fmt: skip
