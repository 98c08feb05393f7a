"""Matrix products: Gemm, MatMul, Einsum; embeddings as Gather."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, DType, ForeignNode, Node, NotExpressible, Tensor, Value, ViewTensor, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES

RULES.op("MatMul", "matmul", "A=a, B=b")
RULES.op("Einsum", "einsum", "Inputs=xs*", direction="load", equation=A("equation"))


@RULES.load("Gemm")
def load_gemm(g: OnnxContext, node: ForeignNode) -> Any:
    """alpha * A' B' + beta * C. With a constant 2-D B, factors 1 and a C along the columns it is a dense layer."""
    a, w, c = node.need(0), node.need(1), node.input(2)
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    trans_a, trans_b = node.attr("transA", 0), node.attr("transB", 0)
    node.ignore("broadcast")
    b = g.b
    if trans_a:
        a = b.transpose(a, perm=(1, 0))
    c = None if c is None or beta == 0 else c
    if _is_layer(a, w, c, trans_b) and alpha == 1 and (beta == 1 or c is None):
        return b.linear(a, _out_in(g, w, trans_b), _vector(g, c))
    y = b.matmul(a, b.transpose(w, perm=(1, 0)) if trans_b else w)
    if alpha != 1:
        y = b.mul(y, b.like(y, _exact(node, alpha, y)))
    if c is not None:
        y = b.add(y, c if beta == 1 else b.mul(c, b.like(c, _exact(node, beta, c))))
    return y


def _exact(node: ForeignNode, factor: float, v: Value) -> Any:
    if v.dtype is not None and v.dtype.is_int:
        if factor != int(factor):
            raise node.refuse(f"the factor {factor} of an integer product is not an integer")
        return int(factor)
    return factor


def _is_layer(a: Value, w: Value, c: Value | None, trans_b: int) -> bool:
    """Whether weight and bias are those of a dense layer."""
    if a.dtype is None or not a.dtype.is_float or a.rank != 2 or w.tensor is None or w.rank != 2 or w.shape is None:
        return False
    n = w.shape[0] if trans_b else w.shape[1]
    return c is None or (c.tensor is not None and c.shape in ((n,), (1, n)))


def _out_in(g: OnnxContext, w: Value, trans_b: int) -> Value:
    """A weight as (out, in): a transposed view, which is undone when it is written as it was."""
    if trans_b:
        return w
    found: Value = g.view(w, "out_in", lambda t: t.transpose((1, 0)))
    return found


def _vector(g: OnnxContext, c: Value | None) -> Value | None:
    if c is None or c.tensor is None or c.rank == 1:
        return c
    found: Value = g.view(c, "vector", lambda t: t.reshape((t.size,)))
    return found


def stored_transposed(t: Tensor) -> bool:
    """Whether a matrix is a pending transpose of what is stored."""
    return isinstance(t, ViewTensor) and t.kind == "transpose"


@RULES.emit("linear")
def emit_linear(e: OnnxScribe, node: Node) -> None:
    """Gemm for 2-D input, in whichever orientation the weight is stored; else MatMul and Add."""
    x, w = node.need("x"), node.need("w")
    bias = node.arg("b") if len(node.inputs) > 2 else None
    rank = len(known_shape(x))
    handle: Any
    if rank == 2 and x.dtype is not DType.BFLOAT16:
        if w.tensor is not None and stored_transposed(w.tensor):
            handle, attrs = e.state(w, "T", lambda t: t.transpose((1, 0))), {}
        else:
            handle, attrs = e.value(w), {"transB": 1}
        ins = [e.value(x), handle] + ([] if bias is None else [e.value(bias)])
        e.call("Gemm", ins, attrs, outputs=node.outputs, name=node.name)
        return
    if w.tensor is not None:
        handle = e.state(w, "T", lambda t: t.transpose((1, 0)))
    else:
        (handle,) = e.call("Transpose", [e.value(w)], {"perm": [1, 0]}, name=f"{node.name}/weight")
    if bias is None:
        e.call("MatMul", [e.value(x), handle], {}, outputs=node.outputs, name=node.name)
        return
    (y,) = e.call("MatMul", [e.value(x), handle], {}, name=f"{node.name}/MatMul")
    e.call("Add", [y, e.value(bias)], {}, outputs=node.outputs, name=node.name)


RULES.op(
    "Gather", "embedding", "data=table, indices=ids", direction="emit", when={"axis": 0}, types={"ids": ("int32", "int64")}
)  # fmt: skip


@RULES.emit("embedding")
def emit_embedding(e: OnnxScribe, node: Node) -> None:
    """Ids of other types than Gather takes."""
    ids, table = node.need("ids"), node.need("table")
    if ids.dtype is None or ids.dtype is DType.UINT64:
        raise NotExpressible(f"ids of type {ids.dtype}")
    (handle,) = e.call("Cast", [e.value(ids)], {"to": DType.INT64}, name=f"{node.name}/ids")
    e.call("Gather", [e.value(table), handle], {"axis": 0}, outputs=node.outputs, name=node.name)


@RULES.emit("einsum")
def emit_einsum(e: OnnxScribe, node: Node) -> None:
    """The axes an ellipsis stands for must be equally many in all operands: missing ones are put in front of them."""
    terms = node.attrs["equation"].split("->")[0].split(",")
    operands = node.args("xs")
    extra = [
        len(known_shape(v)) - len(t.replace("...", "")) if "..." in t else -1 for t, v in zip(terms, operands)
    ]  # -1: no "..."
    handles = []
    for term, v, n in zip(terms, operands, extra):
        handle = e.value(v)
        if 0 <= n < max(extra):
            start = term.index("...")
            axes = e.const(list(range(start, start + max(extra) - n)), DType.INT64)
            (handle,) = e.call("Unsqueeze", [handle, axes], {}, name=f"{node.name}/{v.name}")
        handles.append(handle)
    e.call("Einsum", handles, {"equation": node.attrs["equation"]}, outputs=node.outputs, name=node.name)
