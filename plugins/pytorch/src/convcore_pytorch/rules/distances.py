"""ATen's distances between rows, as norms of their differences."""

from __future__ import annotations

import numpy as np

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, known, promoted
from .base import RULES
from .diagonals import fixed
from .norms import p_norm


def norm(g: TorchContext, x: Value, p: float) -> Value:
    """The p-norm along the last axis."""
    return p_norm(g, x, p, (len(known(x)) - 1,), False)


@RULES.load("aten.cdist", "aten._cdist_forward")
def cdist(g: TorchContext, n: AtenNode) -> Value:
    a, b, p = n.tensor("x1"), n.tensor("x2"), float(n.number("p"))
    n.skip("compute_mode")  # how it is computed, not what
    rank = max(len(known(a)), len(known(b)))
    a, b = (g.reshape(v, (*[1] * (rank - len(known(v))), *known(v))) for v in (a, b))
    if known(a)[-1] == 0:
        a, b = (g.b.fill(shape=(*known(v)[:-1], 1), value=0, dtype=v.dtype) for v in (a, b))  # of nothing: 0
    return norm(g, g.b.sub(g.b.unsqueeze(a, axes=(rank - 1,)), g.b.unsqueeze(b, axes=(rank - 2,))), p)


@RULES.load("aten.pdist", "aten._pdist_forward")
def pdist(g: TorchContext, n: AtenNode) -> Value:
    x, p = n.tensor("self"), float(n.number("p"))
    (rows,) = fixed(n.shape("self"), (0,), "pairs the rows of")
    i, j = np.triu_indices(rows, 1)
    a, b = (g.b.gather(x, g.b.const(k.astype(np.int64), DType.INT64), axis=0) for k in (i, j))
    return norm(g, g.b.sub(a, b), p)


@RULES.load("aten.dist")
def dist(g: TorchContext, n: AtenNode) -> Value:
    given = [n.tensor("self"), n.tensor("other")]
    a, b = g.operands(promoted(given), *given)
    if a.dtype is None or not a.dtype.is_float:
        raise NotExpressible(f"of {a.dtype}", "unsupported_dtype")
    return norm(g, g.reshape(g.b.sub(a, b), (-1,)), float(n.number("p")))
