"""Order along an axis: argmax, top-k, running sums and products."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, DType, I, Node, NotExpressible, known_shape

from ..dialect import OnnxScribe
from .base import RULES, dtype_code
from .steps import Steps, dtype_known

for _type, _op in {"ArgMax": "argmax", "ArgMin": "argmin"}.items():
    RULES.op(
        _type, _op, "data=x", dtype=DType.INT64,
        axis=A("axis", 0), keepdims=A("keepdims", 1, "bool_int"), last=A("select_last_index", 0, "bool_int"),
    )  # fmt: skip


@RULES.emit("argmax", "argmin", priority=-1)
def emit_narrow_index(e: OnnxScribe, node: Node) -> None:
    """Indices are int64 in ONNX; others are cast."""
    s, a = Steps(e, node), node.attrs
    kind = "ArgMax" if node.op == "argmax" else "ArgMin"
    i = s.add(kind, node.need("x"), axis=a["axis"], keepdims=int(a["keepdims"]), select_last_index=int(a["last"]))
    s.last("Cast", i, to=dtype_code(a["dtype"]))


for _type, _op, _since in [("CumSum", "cumsum", 11), ("CumProd", "cumprod", 26)]:
    RULES.op(
        _type, _op, "x=x, axis=_", since=_since, axis=I("axis", iso="scalar"),
        exclusive=A("exclusive", 0, "bool_int"), reverse=A("reverse", 0, "bool_int"),
    )  # fmt: skip
    RULES.op(
        _type, f"dynamic_{_op}", "x=x, axis=axis", since=_since, priority=-1,
        exclusive=A("exclusive", 0, "bool_int"), reverse=A("reverse", 0, "bool_int"),
    )  # fmt: skip


@RULES.emit("cumprod", until=25)
def emit_running_product(e: OnnxScribe, node: Node) -> None:
    """Before opset 26: products over 1, 2, 4... neighbours, each doubling the reach."""
    s, x, a = Steps(e, node), node.need("x"), node.attrs
    shape, axis, back = known_shape(x), a["axis"], a["reverse"]
    n = shape[axis]
    if not isinstance(n, int):
        raise NotExpressible(f"a running product before opset 26 needs the size of its axis, it is {n}")

    def moved(y: Any, by: int) -> Any:
        """The elements ``by`` places before (after, in reverse), 1 beyond the end."""
        start, stop = (by, 2**63 - 1) if back else (0, n - by)
        part = s.Slice(y, s.ints(start), s.ints(stop), s.ints(axis))
        pads = [0] * (2 * len(shape))
        pads[axis + (len(shape) if back else 0)] = by
        return s.Pad(part, s.ints(*pads), s.const(1, dtype_known(x)))

    y = s.handle(x)
    if a["exclusive"] and n:
        y = moved(y, 1)
    reach = 1
    while reach < n:
        y = s.Mul(y, moved(y, reach))
        reach *= 2
    s.last("Identity", y)


_TOPK = "values, indices"
RULES.op("TopK", "topk", "X=x", outputs=_TOPK, until=9, direction="load", k=A("k"), axis=A("axis", -1))
RULES.op(
    "TopK", "topk", "X=x, K=_", outputs=_TOPK, since=10, k=I("K", iso="item", dtype="size"), axis=A("axis", -1),
    largest=A("largest", 1, "bool_int"), sorted=A("sorted", 1, "bool_int"),
)  # fmt: skip
RULES.op(
    "TopK", "dynamic_topk", "X=x, K=k", outputs=_TOPK, since=10, priority=-1, direction="load", axis=A("axis", -1),
    largest=A("largest", 1, "bool_int"), sorted=A("sorted", 1, "bool_int"),
)  # fmt: skip


@RULES.emit("dynamic_topk", since=10)
def emit_topk_of_data(e: OnnxScribe, node: Node) -> None:
    """How many, as a vector of int64."""
    s, a, k = Steps(e, node), node.attrs, node.need("k")
    count = s.handle(k) if k.dtype is DType.INT64 else s.Cast(k, to=DType.INT64)
    count = count if k.rank == 1 else s.Reshape(count, s.ints(1))
    more = {"largest": int(a["largest"]), "sorted": int(a["sorted"])}
    s.last("TopK", node.need("x"), count, axis=a["axis"], **more)
