"""Reduction and ArgMax."""

from __future__ import annotations

from convcore.plugin import MISSING, A, DimLike, Rest, Value, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, layer
from .base import RULES

# ---- what the layers are

layer(
    "ArgMax",
    param="argmax_param 103 ArgMaxParameter: out_max_val 1 bool=false; top_k 2 uint32=1; axis 3 int32",
    counts=ONE,
    v1="ARGMAX 30 23",
    writes=EVERY,
    opencv=False,
    check=checks.positive("argmax_param", "top_k"),
)
layer(
    "Reduction",
    param="reduction_param 136 ReductionParameter: operation 1 ReductionOp=SUM; axis 2 int32=0; coeff 3 float=1",
    enums={"ReductionOp": "SUM 1; ASUM 2; SUMSQ 3; MEAN 4"},
    counts=ONE,
    writes=EVERY,
    opencv=False,
)

# ---- rules


@RULES.post("coeff")
def coeff(g: CaffeContext, node: CaffeNode, y: Value) -> Value:
    """Times ``coeff``."""
    factor = node.attr("coeff")
    return y if factor == 1 else g.b.mul(y, g.scalar(y, factor))


for _name, _op in {"SUM": "sum", "ASUM": "l1_norm", "SUMSQ": "sum_square", "MEAN": "mean"}.items():
    RULES.op(  # over all axes from ``axis`` on, which go; axis 0 leaves a blob without axes
        "Reduction", _op, "bottom=x", when={"operation": {_name, MISSING} if _name == "SUM" else _name}, then=("coeff",),
        direction="load", axes=Rest(A("axis", 0)), keepdims=False,
    )  # fmt: skip


@RULES.load("ArgMax")
def argmax(g: CaffeContext, node: CaffeNode) -> Value:
    """Indices of the top_k largest, as floats; of equals the highest index comes first (pairs sorted by std::greater).

    Without axis over everything after the batch: (N, 1, k), with out_max_val (N, 2, k), indices then values. With axis that
    axis has k elements: indices, or with out_max_val the values alone.
    """
    shape, k, values = node.sizes(), int(node.attr("top_k")), bool(node.attr("out_max_val"))
    x = node.x
    along = "axis" in node.attrs
    if along:
        axis = node.axis()
        size = shape[axis]
    else:
        axis = 1
        if not shape:
            raise node.invalid("the bottom has no axes")
        size = product(shape[1:])
        flat = (shape[0], size)
        x = x if flat == shape else g.b.reshape(x, shape=flat)
    if isinstance(size, int) and k > size:
        raise node.invalid(f"top_k {k} is more than the {size} elements")
    best, at = _largest(g, x, axis, k, values or not along, size)
    if along:
        return best if values else g.b.cast(at, to=x.dtype)
    tail = (1,) * max(0, len(shape) - 3)
    at = g.b.reshape(g.b.cast(at, to=x.dtype), shape=(shape[0], 1, k, *tail))
    if not values:
        return at
    return g.b.concat(at, g.b.reshape(best, shape=(shape[0], 1, k, *tail)), axis=1)


def _largest(g: CaffeContext, x: Value, axis: int, k: int, values: bool, size: DimLike) -> tuple[Value, Value]:
    if k == 1:
        best = g.b.max(x, axes=(axis,), keepdims=True) if values else x
        return best, g.b.argmax(x, axis=axis, keepdims=True, last=True)
    back = g.b.flip(x, axes=(axis,))  # topk takes the lowest index of equals: of the reversed axis
    best, index = g.b.topk(back, k=k, axis=axis)
    if isinstance(size, int):
        last = g.b.const(size - 1, "int64")
    else:
        last = g.b.sub(g.b.dim_value(value=size), g.b.const(1, "int64"))
    return best, g.b.sub(last, index)
