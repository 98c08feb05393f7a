"""ATen's operators that order elements."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, DType, NotExpressible, Value

from ..context import AtenNode, TorchContext
from .base import NUMBER, RULES

RULES.op(
    "torch.argsort", "argsort", "input=x", when={"stable": True}, axis=A("dim", -1, write_default=True),
    descending=A("descending", False), types=NUMBER,
)  # fmt: skip
RULES.op(
    "torch.sort", "sort", "input=x", outputs="values=y, indices=_", when={"stable": True}, axis=A("dim"),
    descending=A("descending", False), types=NUMBER, direction="emit",
)  # fmt: skip


@RULES.load("aten.topk")
def topk(g: TorchContext, n: AtenNode) -> Any:
    if not n.rank("self"):
        n.skip("k", "dim", "largest", "sorted")
        return g.b.identity(n.tensor("self")), g.b.const(0, DType.INT64)
    return g.b.op(
        "topk", n.tensor("self"), k=n.size("k"), axis=n.axis("dim", n.rank("self")), largest=bool(n.number("largest")),
        sorted=bool(n.number("sorted")),
    )  # fmt: skip


@RULES.load("aten.sort", "aten.sort.stable")
def sort(g: TorchContext, n: AtenNode) -> Any:
    x = n.tensor("self")
    n.skip("stable")
    down = bool(n.number("descending"))
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(x), g.b.const(0, DType.INT64)
    axis = n.axis("dim", n.rank("self"))
    order: Value = g.b.argsort(numbers(g, x), axis=axis, descending=down)
    return g.b.take_along_axis(x, order, axis=axis), g.cast(order, DType.INT64)


def numbers(g: TorchContext, x: Value) -> Value:
    return g.cast(x, DType.INT32) if x.dtype is DType.BOOL else x


@RULES.load("aten.argsort", "aten.argsort.stable")
def argsort(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    if x.dtype is DType.BOOL and not ("stable" in n.arguments and n.arg("stable")):
        raise NotExpressible(
            "orders truth values without stable=True: which of equal ones comes first is not defined", code="undefined"
        )
    n.skip("stable")
    down = bool(n.number("descending"))
    if not n.rank("self"):
        n.skip("dim")
        return g.b.const(0, DType.INT64)
    axis = n.axis("dim", n.rank("self"))
    return g.cast(g.b.argsort(numbers(g, n.tensor("self")), axis=axis, descending=down), DType.INT64)


@RULES.load("aten.msort")
def msort(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.cast(g.b.sort(numbers(g, x), axis=0), x.dtype) if n.rank("self") else g.b.identity(x)
