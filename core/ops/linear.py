"""Matrix products, dense layers and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import Shape
from ..ir.dtypes import DType
from .axes import LastAxes, Opaque
from .declare import InferContext, OpSet, Sample
from .shapes import broadcast_shapes

LINEAR = OpSet("linear")

Shapes = list[tuple[DType | None, Shape | None]]


def _linear_shape(c: InferContext) -> Shapes:
    x, w, b = c.shape("x"), c.shape("w"), c.shape("b")
    c.rank("w", 2)
    if x is None or w is None:
        return [(c.dtype("x"), None)]
    if not x:
        c.fail("x must have at least one axis")
    c.same(x[-1], w[1], "the last axis of x and the second axis of w (out, in)")
    if b is not None and (len(b) != 1 or c.same(b[0], w[0], "b and the first axis of w") is None):
        c.fail("b must have one axis")
    return [(c.dtype("x"), (*x[:-1], w[0]))]


def _linear_body(b: Any, x: Any, w: Any, bias: Any) -> Any:
    y = b.matmul(x, b.transpose(w, perm=(1, 0)))
    return y if bias is None else b.add(y, bias)


def _linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    y = x @ w.T
    return y if b is None else y + b


LINEAR.op(
    "linear", "x:float, w:float, b:float?",
    "y = x w^T + b over the last axis. x (..., in), w (out, in), b (out): torch.nn.Linear, Keras Dense (kernel transposed).",
    infer=_linear_shape, reference=_linear, axes=LastAxes(1, fixed=("w", "b")), body=_linear_body,
    samples=[Sample((2, 5), (3, 5), (3,)), Sample((2, 7, 5), (3, 5))],
)  # fmt: skip


def _matmul_shape(c: InferContext) -> Shapes:
    a, b = c.shape("a"), c.shape("b")
    if a is None or b is None:
        return [(c.dtype("a"), None)]
    if not a or not b:
        c.fail("both inputs need at least one axis")
    c.same(a[-1], b[-2] if len(b) > 1 else b[0], "inner sizes")
    batch = broadcast_shapes(a[:-2], b[:-2])
    assert batch is not None  # both ranks are known
    return [(c.dtype("a"), batch + a[-2:-1] * (len(a) > 1) + b[-1:] * (len(b) > 1))]


LINEAR.op(
    "matmul", "a:number, b:number", "numpy.matmul: matrix product over the last two axes, leading axes broadcast.",
    infer=_matmul_shape, reference=np.matmul, axes=LastAxes(2),
    samples=[Sample((2, 3, 5), (2, 5, 7)), Sample((3, 5), (5, 7)), Sample((2, 3, 5), (5,))],
)  # fmt: skip


def _embedding_shape(c: InferContext) -> Shapes:
    i, t = c.shape("ids"), c.shape("table")
    c.rank("table", 2)
    return [(c.dtype("table"), None if i is None or t is None else (*i, t[1]))]


LINEAR.op(
    "embedding", "ids:int, table:float", "Row ids[...] of table (vocabulary, features); shape ids.shape + (features,).",
    infer=_embedding_shape, reference=lambda ids, table: table[ids], axes=Opaque(),
    samples=[Sample(("int64", (2, 5), 0, 11), (11, 3))],
)  # fmt: skip
