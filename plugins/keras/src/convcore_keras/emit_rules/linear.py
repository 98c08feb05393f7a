"""Matrix products and embeddings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

from convcore.plugin import Node, NotExpressible, Ref, State, Unit

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
    """Letters are small ones: Keras's own rule for shapes knows no others (Einsum.compute_output_spec, Keras 3.15)."""
    w = Writer(s, node)
    xs = [w.x(i) for i in range(len(node.inputs))]
    if not any(isinstance(x, Ref) for x in xs):
        raise NotExpressible("all its operands are constants")
    if not w.dtype().is_float:
        raise NotExpressible(f"of {w.dtype()}")
    w.end(w.op("Einsum", *xs, shape=known(node.outputs[0]), subscripts=_small(node.attrs["equation"])))


@RULES.emit("einsum", priority=1)
def einsum_dense(s: KerasScribe, node: Node) -> None:
    """A sum with one trained tensor: the layer, with the bias that is added to it and to nothing else."""
    w = Writer(s, node)
    if len(node.inputs) != 2 or w.input(0).tensor is not None:
        raise NotExpressible("it is no sum of one tensor with a weight")
    kernel, out, equation = w.input(1), known(node.outputs[0]), _small(node.attrs["equation"])
    parts = re.fullmatch("([a-z]+),([a-z]+)->([a-z]+)", equation)
    if kernel.tensor is None or kernel.role != "parameter" or parts is None:
        raise NotExpressible("it is no sum with a trained tensor")
    given, held, made = parts.groups()
    fits = given[0] == made[0] and given[0] not in held and set(held) <= {*given, *made} and set(made) <= {*given, *held}
    if not fits or any(len(set(t)) != len(t) for t in (given, held, made)) or not set(given) <= {*held, *made}:
        raise NotExpressible("Keras's EinsumDense keeps the first axis and sums over axes of the kernel")
    states: dict[str, State] = {"kernel": s.state(kernel)}
    axes, add = None, _sole_add(node)
    bias = None if add is None else next((v for v in add.inputs if v is not None and v.tensor is not None), None)
    if add is not None and bias is not None and bias.role == "parameter" and bias.trainable == kernel.trainable:
        axes, shape = _bias_axes(made, known(bias), out)
        if axes:
            states["bias"] = s.state(bias, f"bias {axes}", lambda t: t.reshape(shape))
    config = {
        "equation": equation,
        "output_shape": [n if isinstance(n, int) else None for n in out[1:]],
        "bias_axes": axes or None,
    }
    y = w.layer("EinsumDense", w.ref(), config, states, shape=out)
    if axes and add is not None:
        s.journal.set(y, "value", add.output)  # the sum alone is nowhere
    w.end(y)


@RULES.emit("add", priority=2)
def bias_inside(s: KerasScribe, node: Node) -> None:
    """What an EinsumDense adds itself."""
    x = next((v for v in node.inputs if v is not None and v.producer is not None and v.producer.op == "einsum"), None)
    y = None if x is None else s.value(x)
    unit = y.call.target if isinstance(y, Ref) and y.call is not None else None
    inside = unit.states.get("bias") if isinstance(unit, Unit) and unit.type == "EinsumDense" else None
    if inside is None:  # a bias that is inside is what this, its only reader, adds
        raise NotExpressible("nothing before it adds it")
    Writer(s, node).end(y)


def _sole_add(node: Node) -> Node | None:
    """The addition that is all that reads a result."""
    users = node.output.users
    return users[0] if len(users) == 1 and users[0].op == "add" and not node.output.is_output else None


def _bias_axes(made: str, shape: Sequence[Any], out: Sequence[Any]) -> tuple[str, tuple[int, ...]]:
    """The letters along which a bias lies, and its shape as the layer has it (1 along the others, from the first letter on)."""
    sizes = tuple(int(n) for n in shape)
    while sizes and sizes[0] == 1:
        sizes = sizes[1:]
    letters, last = made[len(made) - len(sizes) :], out[len(out) - len(sizes) :]
    if not sizes or len(sizes) >= len(made) or any(n not in (1, m) for n, m in zip(sizes, last)):
        return "", ()
    return "".join(c for c, n in zip(letters, sizes) if n != 1), sizes


def _small(equation: str) -> str:
    """An equation in small letters: its own, or a, b, ... in the order in which its own come."""
    letters = list(dict.fromkeys(c for c in equation if c.isalpha()))
    if len(letters) > len(ascii_lowercase):
        raise NotExpressible(f"the equation {equation!r} has more letters than there are small ones")
    small = {} if all(c.islower() for c in letters) else dict(zip(letters, ascii_lowercase))
    return "".join(small.get(c, c) for c in equation if c != " ")


@RULES.emit("embedding")
def embedding(s: KerasScribe, node: Node) -> None:
    """Rows of a weight."""
    w = Writer(s, node)
    w.tensor(1, "the table")
    kind = "ReversibleEmbedding" if w.input(1) in s.dialect.reversible else "Embedding"
    y = w.layer(kind, w.ref(), {}, {"embeddings": s.state(w.input(1))}, shape=known(node.outputs[0]))
    w.end(y)
