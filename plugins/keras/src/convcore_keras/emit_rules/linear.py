"""Matrix products and embeddings."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible, Ref

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []


@RULES.emit("linear")
def linear(s: KerasScribe, node: Node) -> None:
    """Dense, kernel transposed; a table that other nodes look ids up in is a ReversibleEmbedding, the other way round."""
    w = Writer(s, node)
    x = w.ref()
    if w.input(1) in s.dialect.reversible:
        y = w.layer("ReversibleEmbedding", (x, True), {}, {"embeddings": s.state(w.input(1))}, shape=known(node.outputs[0]))
        w.end(y if w.optional(2) is None else w.op("Add", y, w.x(2), shape=known(node.outputs[0])))
        return
    if len(known(w.input(0))) < 2:
        raise NotExpressible("Dense takes at least 2 axes")
    w.tensor(1, "the kernel")
    states = {"kernel": s.state(w.input(1), "transposed", lambda t: t.transpose((1, 0)))}
    if w.optional(2) is not None:
        w.tensor(2, "the bias")
        states["bias"] = s.state(w.input(2))
    w.end(w.layer("Dense", x, {}, states, shape=known(node.outputs[0])))


@RULES.emit("matmul")
def matmul(s: KerasScribe, node: Node) -> None:
    """Dense where the second operand is a weight, else the operation."""
    w = Writer(s, node)
    b = w.input(1)
    out = known(node.outputs[0])
    if not w.dtype().is_float and w.dtype().itemsize < 4:
        raise NotExpressible(f"a product of {w.dtype()}")
    if (
        b.tensor is not None
        and b.role == "parameter"
        and b.rank == 2
        and len(known(w.input(0))) >= 2
        and w.input(0).tensor is None
    ):
        w.end(w.layer("Dense", w.ref(), {}, {"kernel": s.state(b)}, shape=out))
        return
    x, y = w.x(0), w.x(1)
    if not isinstance(x, Ref) and not isinstance(y, Ref):
        raise NotExpressible("both operands are constants")
    w.end(w.op("Matmul", x, y, shape=out))


@RULES.emit("einsum")
def einsum(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    xs = [w.x(i) for i in range(len(node.inputs))]
    if not any(isinstance(x, Ref) for x in xs):
        raise NotExpressible("all its operands are constants")
    if not w.dtype().is_float:
        raise NotExpressible(f"of {w.dtype()}")
    w.end(w.op("Einsum", *xs, shape=known(node.outputs[0]), subscripts=node.attrs["equation"].replace(" ", "")))


@RULES.emit("embedding")
def embedding(s: KerasScribe, node: Node) -> None:
    """Rows of a weight."""
    w = Writer(s, node)
    w.tensor(1, "the table")
    kind = "ReversibleEmbedding" if w.input(1) in s.dialect.reversible else "Embedding"
    y = w.layer(kind, w.ref(), {}, {"embeddings": s.state(w.input(1))}, shape=known(node.outputs[0]))
    w.end(y)
