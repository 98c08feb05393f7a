"""Complex numbers as pairs of tensors: ``keras.ops.fft`` takes and gives pairs, and a complex tensor is none of its own.

Keras 3.15.1 says that ``Real`` and ``Imag`` give complex tensors, and ``ViewAsComplex`` multiplies by i, which makes a NaN of the
real part of an infinity: they are not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convcore.plugin import Node, NotExpressible, Ref

from ..dialect import KerasScribe
from .base import RULES, Writer, known
from .shape import broadcast

__all__: list[str] = []


@dataclass(frozen=True)
class _Pair:
    """The handle of a complex value. Calls never see one: they compute with no complex numbers, by the dialect's ``dtypes``."""

    re: Ref
    im: Ref


def _pair(w: Writer) -> _Pair:
    x = w.carried()
    if not isinstance(x, _Pair):
        raise NotExpressible("Keras has no complex constants", "unsupported_dtype")
    return x


@RULES.emit("complex")
def complex_(s: KerasScribe, node: Node) -> None:
    """Nothing is written: what takes the number takes its parts."""
    w, out = Writer(s, node), known(node.outputs[0])
    re, im = (r if known(w.input(i)) == out else broadcast(w, r, out) for i, r in enumerate((w.ref(0), w.ref(1))))
    w.end(_Pair(re, im))


@RULES.emit("real", "imag")
def part(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    pair = _pair(w)
    w.end(pair.re if node.op == "real" else pair.im)


@RULES.emit("dft")
def dft(s: KerasScribe, node: Node) -> None:
    """FFT along the last axis. The inverse, undivided, is the same of pairs the other way round: i conj(z) swaps the parts."""
    w, shape = Writer(s, node), known(node.outputs[0])
    axis = node.attrs["axis"] % len(shape)
    if not isinstance(shape[axis], int):
        raise NotExpressible("Keras transforms along axes of known size", "unknown_shape")
    if w.dtype().is_float:
        x = w.ref()
        pair = _Pair(x, w.op("ZerosLike", x))
    else:
        pair = _pair(w)
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    back = [order.index(i) for i in range(len(shape))]
    ins = [_turned(w, r, order) for r in (pair.re, pair.im)]
    if node.attrs["inverse"]:
        ins.reverse()
    turned = tuple(shape[i] for i in order)
    made = s.call("ops.FFT", [ins], shapes=[turned, turned], n_outputs=2, name=w.name, carry=True)
    re, im = (_turned(w, r, back) for r in made)
    w.end(_Pair(im, re) if node.attrs["inverse"] else _Pair(re, im))


def _turned(w: Writer, x: Ref, order: Sequence[int]) -> Ref:
    shape: Sequence[Any] = x.shape or ()
    if list(order) == list(range(len(shape))):
        return x
    return w.op("Transpose", x, shape=tuple(shape[i] for i in order), axes=tuple(order))
