"""Several tensors into one and one into several: concat, split, stack, unstack."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..opset.axes import Axis, Insert, Remove
from ..opset.declare import Attr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait

JOINING = OpSet("joining")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _concat_shape(c: InferContext) -> Shapes:
    xs = c.all("xs")
    shapes = [v.shape for v in xs]
    axis = c["axis"]
    if not xs:
        c.fail("needs at least one input")
    if len({v.dtype for v in xs} - {None}) > 1:
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


JOINING.op(
    "concat", "xs*", "Inputs one after another along an axis.", attrs={"axis": AxisAttr()}, infer=_concat_shape,
    reference=lambda *xs, axis: np.concatenate(xs, axis), axes=Axis("axis", joins=True),
    samples=[Sample((2, 3, 5), (2, 7, 5), axis=1)],
    traits=Trait.MOVES,
)  # fmt: skip


def _split_shape(c: InferContext) -> Shapes:
    x, axis, sizes = c.shape("x"), c["axis"], c["sizes"]
    if any(isinstance(n, int) and n < 0 for n in sizes):
        c.fail(f"sizes {tuple(map(str, sizes))} has a negative one")
    total: DimLike = sum(sizes, 0)
    if x is not None:
        c.same(x[axis], total, "the split axis and the sum of sizes")
    return [(c.dtype("x"), None if x is None else (*x[:axis], s, *x[axis + 1 :])) for s in sizes]


def _split(x: Array, axis: int, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise ValueError(f"sizes {sizes} do not divide {x.shape[axis]} elements")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


JOINING.op(
    "split", "x", "Parts of the given sizes along an axis.", outputs="ys*",
    attrs={"axis": AxisAttr(), "sizes": Attr("shape")},
    infer=_split_shape, reference=_split, axes=Axis("axis"),
    samples=[Sample((2, 10, 3), axis=1, sizes=(2, 3, 5)), Sample((3, 7), axis=-1, sizes=(7,))],
    traits=Trait.MOVES,
)  # fmt: skip


# ---- joining and splitting along a new axis


def _stack_axis(attrs: dict[str, Any], inputs: Any) -> None:
    x = next((v for v in inputs if v is not None and v.rank is not None), None)
    if x is not None:
        rank = x.rank + 1
        if not -rank <= attrs["axis"] < rank:
            raise ShapeError(f"stack: axis {attrs['axis']} is out of range for {rank} axes")
        attrs["axis"] %= rank


def _stack_shape(c: InferContext) -> Shapes:
    xs = c.all("xs")
    if not xs:
        c.fail("needs at least one input")
    if len({v.dtype for v in xs} - {None}) > 1:
        c.fail("inputs have different dtypes")
    out: Shape | None = xs[0].shape
    for v in xs[1:]:
        if out is None or v.shape is None:
            return [(xs[0].dtype, None)]
        if len(out) != len(v.shape):
            c.fail("inputs have different numbers of axes")
        out = tuple(c.same(a, d, f"axis {i}") for i, (a, d) in enumerate(zip(out, v.shape)))
    return [(xs[0].dtype, None if out is None else (*out[: c["axis"]], len(xs), *out[c["axis"] :]))]


JOINING.op(
    "stack", "xs*", "Inputs of one shape along a new axis; its position counts in the result.",
    attrs={"axis": Attr("int")},
    normalize=_stack_axis, infer=_stack_shape, reference=lambda *xs, axis: np.stack(xs, axis), axes=Insert("axis"),
    body=lambda b, *xs, axis: b.concat(*(b.unsqueeze(x, axes=(axis,)) for x in xs), axis=axis),
    samples=[Sample((2, 3), (2, 3), (2, 3), axis=1), Sample((2, 3), (2, 3), axis=-1), Sample((2, 3, 5), (2, 3, 5), axis=2)],
    traits=Trait.MOVES,
)  # fmt: skip


def _unstack_shape(c: InferContext) -> Shapes:
    x, axis = c.shape("x"), c["axis"]
    n = c["num"] if x is None or not isinstance(x[axis], int) else x[axis]
    if n is None:
        c.fail("the size of the axis is not known; give num")
    if n == 0:
        c.fail("an axis of 0 elements has no parts")
    if c["num"] is not None:
        c.same(n, c["num"], "the size of the axis and num")
    return [(c.dtype("x"), None if x is None else (*x[:axis], *x[axis + 1 :]))] * int(n)


def _unstack(x: Array, axis: int, num: int | None) -> tuple[Array, ...]:
    if num is not None and num != x.shape[axis]:
        raise ValueError(f"num={num}, but the axis has size {x.shape[axis]}")
    return tuple(np.moveaxis(x, axis, 0))


def _unstack_body(b: Any, x: Any, *, axis: int, num: int | None) -> Any:
    n = num if num is not None else x.shape[axis]
    return tuple(b.squeeze(p, axes=(axis,)) for p in b.split(x, axis=axis, sizes=(1,) * n))


JOINING.op(
    "unstack", "x", "Every slice along an axis, without it.", outputs="ys*",
    attrs={"axis": AxisAttr(), "num": Attr("int", None, doc="the size of the axis, where x does not tell")},
    infer=_unstack_shape, reference=_unstack, axes=Remove("axis"), body=_unstack_body,
    samples=[Sample((2, 3, 5), axis=1), Sample((2, 3), axis=-1)],
    traits=Trait.MOVES,
)  # fmt: skip
