"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import Dim, product
from ..opset.axes import Axes
from ..opset.declare import Attr, AxesAttr, OpSet, Sample
from ..opset.infer import InferContext, Inferred
from ..opset.shapes import reduced
from ..opset.traits import Trait

REDUCE = OpSet("reduce")

Array = NDArray[Any]
Function = Callable[..., Any]

_ATTRS = {"axes": AxesAttr(None, "axes to reduce; None: all"), "keepdims": Attr("bool", False)}


def _shape(c: InferContext) -> Inferred:
    return [(c.dtype("x"), reduced(c.shape("x"), c["axes"], c["keepdims"]))]


def _reduction(
    name: str,
    fn: Function,
    doc: str,
    types: str = "number",
    body: Function | None = None,
    low: float | None = None,
    traits: Trait = Trait.NONE,
) -> None:
    def reference(x: Array, axes: Any, keepdims: bool) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(fn(x, axis=axes, keepdims=keepdims), x.dtype)

    kind = "bool" if types == "bool" else "float32"
    spec = (kind, (2, 3, 5)) if low is None else (kind, (2, 3, 5), low, low + 2)
    REDUCE.op(
        name, f"x:{types}", doc, attrs=_ATTRS, reference=reference, axes=Axes(), infer=_shape, body=body,
        samples=[Sample(spec, axes=(1,)), Sample(spec, axes=(-1, 0), keepdims=True), Sample(spec)], traits=traits, wide=True,
    )  # fmt: skip


def _extreme(fn: Function, low: bool) -> Function:
    """max or min; of no elements it is the lowest or highest value of the dtype (ONNX)."""

    def reduce(x: Array, axis: Any, keepdims: bool) -> Any:
        if x.size:
            return fn(x, axis=axis, keepdims=keepdims)
        if x.dtype.kind in "iu":
            start: float = np.iinfo(x.dtype).min if low else np.iinfo(x.dtype).max
        else:
            start = -np.inf if low else np.inf
        return fn(x, axis=axis, keepdims=keepdims, initial=start)

    return reduce


def _mean(x: Array, axis: Any, keepdims: bool) -> Any:
    """Integers: the sum divided, towards zero."""
    if x.dtype.kind not in "iu":
        return np.mean(x, axis=axis, keepdims=keepdims)
    total = np.sum(x, axis=axis, keepdims=keepdims)
    n = x.size // max(1, total.size)
    return np.sign(total) * (np.abs(total) // n)


_PLAIN: list[tuple[str, Function, str]] = [
    ("sum", np.sum, "Sum."),
    ("mean", _mean, "Arithmetic mean; of integers rounded towards zero."),
    ("max", _extreme(np.max, True), "Largest element; NaN wins."),
    ("min", _extreme(np.min, False), "Smallest element; NaN wins."),
    ("prod", np.prod, "Product."),
]
for _name, _fn, _doc in _PLAIN:
    _reduction(_name, _fn, _doc, traits=Trait.KEEPS_SIGN)
_reduction("any", np.any, "Whether any element is true.", "bool")
_reduction("all", np.all, "Whether all elements are true.", "bool")


# ---- composites


def _logsumexp(x: Array, axis: Any, keepdims: bool) -> Any:
    m = _extreme(np.max, True)(x, axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0)
    s = np.log(np.exp(x - m).sum(axis, keepdims=True)) + m
    return s if keepdims else s.reshape(np.sum(x, axis=axis).shape)


def _logsumexp_body(b: Any, x: Any, *, axes: Any, keepdims: bool) -> Any:
    m = b.max(x, axes=axes, keepdims=True)
    m = b.where(b.isfinite(m), m, b.like(m, 0))
    s = b.log(b.sum(b.exp(b.sub(x, m)), axes=axes, keepdims=keepdims))
    if keepdims:
        return b.add(s, m)
    return b.add(s, b.max(m, axes=axes, keepdims=False))


def _sum_square(x: Array, axis: Any, keepdims: bool) -> Any:
    return np.sum(x * x, axis=axis, keepdims=keepdims)


def _of_sum(inner: str, outer: str = "") -> Function:
    """The body outer(sum(inner(x)))."""

    def body(b: Any, x: Any, *, axes: Any, keepdims: bool) -> Any:
        y = b.sum(b.op(inner, x) if inner else x, axes=axes, keepdims=keepdims)
        return b.op(outer, y) if outer else y

    return body


_reduction("logsumexp", _logsumexp, "log(sum(exp(x))), without overflow.", "float", _logsumexp_body)
_reduction("sum_square", _sum_square, "Sum of squares.", "number", _of_sum("square"), traits=Trait.NONNEGATIVE)
_reduction(
    "l1_norm",
    lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "Sum of absolute values.",
    "number",
    _of_sum("abs"),
    traits=Trait.NONNEGATIVE,
)
_reduction(
    "l2_norm",
    lambda x, axis, keepdims: np.sqrt(_sum_square(x, axis, keepdims)),
    "Square root of the sum of squares.",
    "float",
    _of_sum("square", "sqrt"),
    traits=Trait.NONNEGATIVE,
)
_reduction(
    "log_sum",
    lambda x, axis, keepdims: np.log(np.sum(x, axis=axis, keepdims=keepdims)),
    "log(sum(x)).",
    "float",
    _of_sum("", "log"),
    0.1,
)


def _variance(x: Array, axes: Any, keepdims: bool, ddof: int) -> Array:
    with np.errstate(all="ignore"):
        d = x - x.mean(axes, keepdims=True)
        s = np.sum(d * d, axis=axes, keepdims=keepdims)
        n = x.size // max(1, s.size)
        return np.asarray(s / np.asarray(max(0, n - ddof), x.dtype), x.dtype)


def _variance_body(b: Any, x: Any, *, axes: Any, keepdims: bool, ddof: int) -> Any:
    square = b.square(b.sub(x, b.mean(x, axes=axes, keepdims=True)))
    if ddof == 0:
        return b.mean(square, axes=axes, keepdims=keepdims)
    b.require(x.shape is not None, "variance with ddof needs the shape of x")
    n = product([x.shape[a] for a in (range(x.rank) if axes is None else axes)])
    if n is None:
        raise ShapeError("variance with ddof needs the sizes of its axes")
    count = b.cast(b.dim_value(value=n - ddof), to=x.dtype) if isinstance(n, Dim) else b.like(x, max(0, n - ddof))
    return b.div(b.sum(square, axes=axes, keepdims=keepdims), count)


def _std_body(b: Any, x: Any, **attrs: Any) -> Any:
    return b.sqrt(b.variance(x, **attrs))


_SPREAD: list[tuple[str, Function, Function, str]] = [
    ("variance", _variance, _variance_body, "Mean squared deviation; the divisor is the number of elements less ddof."),
    ("std", lambda x, **kw: np.asarray(np.sqrt(_variance(x, **kw)), x.dtype), _std_body, "Square root of the variance."),
]
for _name, _fn, _body, _doc in _SPREAD:
    REDUCE.op(
        _name, "x:float", _doc, attrs={**_ATTRS, "ddof": Attr("int", 0)}, infer=_shape, reference=_fn, axes=Axes(),
        body=_body,
        samples=[Sample((2, 3, 5), axes=(1,), ddof=1), Sample((2, 3, 5), axes=(-1, 0), keepdims=True),
            Sample((2, 3, 5))],
        traits=Trait.NONNEGATIVE, wide=True,
    )  # fmt: skip
