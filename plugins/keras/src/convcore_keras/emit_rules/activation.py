"""Activations that are no layer or that take an argument; plain ones are rows of ``layers/activation.py``."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []


@RULES.emit("threshold")
def threshold(s: KerasScribe, node: Node) -> None:
    """1 above the value, else 0 (Caffe)."""
    w = Writer(s, node)
    w.end(w.cast(w.op("Greater", w.ref(), float(node.attrs["value"])), w.dtype()))


@RULES.emit("hard_sigmoid")
def hard_sigmoid(s: KerasScribe, node: Node) -> None:
    """Keras's own has slope 1/6; any other is clipped by hand."""
    w = Writer(s, node)
    scaled = w.op("Add", w.op("Multiply", w.ref(), float(node.attrs["alpha"])), float(node.attrs["beta"]))
    w.end(w.op("Clip", scaled, x_min=0.0, x_max=1.0))


@RULES.emit("swish")
def swish(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x = w.ref()
    w.end(w.op("Multiply", x, w.op("Sigmoid", w.op("Multiply", x, float(node.attrs["beta"])))))


@RULES.emit("erfc")
def erfc(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    w.end(w.op("Subtract", 1.0, w.op("Erf", w.ref())))


@RULES.emit("prelu")
def prelu(s: KerasScribe, node: Node) -> None:
    """PReLU with the axes shared along which the slope has size 1; it has none for the batch."""
    w = Writer(s, node)
    x, slope = w.ref(), w.tensor(1, "the slope of PReLU")
    rank = len(known(w.input(0)))
    shape = (1,) * (rank - len(slope.shape)) + tuple(slope.shape)
    if len(shape) != rank or rank < 2 or shape[0] != 1:
        raise NotExpressible(f"its slope has shape {slope.shape} for {rank} axes")
    if any(n != 1 and n != d for n, d in zip(shape[1:], known(w.input(0))[1:])):
        raise NotExpressible("its slope varies along an axis whose size is not known")
    shared = [i for i, n in enumerate(shape) if i and n == 1 and known(w.input(0))[i] != 1]
    state = s.state(w.input(1), f"alpha {shape[1:]}", lambda t: t.reshape(shape[1:]))
    config = {"shared_axes": shared or None}
    w.end(w.layer("PReLU", x, config, {"alpha": state}, shape=x.shape))
