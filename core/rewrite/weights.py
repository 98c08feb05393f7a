"""What follows or precedes a layer of constants and can be part of these: normalisations of given statistics, factors and addends
per channel behind it, zeros put around its input before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..ir.graph import Graph, Node, Value
from ..ir.tensors import Tensor
from ..opset import Role, Trait, op, traits_of
from .linear import sole
from .numbers import filled, varies
from .region import Rewriter
from .view import View

__all__ = ["into_weights"]

Vector = NDArray[np.float64]


def into_weights(graph: Graph) -> tuple[int, int, int]:
    """Put batch_norm, mul, div, add and sub of constants behind a layer of constants that nothing else reads into its weights,
    and pad before a conv into its pads; returns how many of the three kinds (normalisations, arithmetic, pads) went."""
    there = {n.op for n in graph}
    if not any(Trait.AFFINE in traits_of(o) for o in there):
        return 0, 0, 0
    r = Rewriter(graph, View(graph))
    counts = [0, 0, 0]
    for node in graph:
        if Trait.AFFINE in traits_of(node.op):
            _without_zeros(node)
        if node.op == "batch_norm":
            counts[0] += _merged(r, node, _of_norm)
        elif node.op in _ARITHMETIC:
            counts[1] += _merged(r, node, _of_arithmetic)
        elif node.op == "conv":
            counts[2] += _padded(r, node)
    return counts[0], counts[1], counts[2]


def _without_zeros(node: Node) -> None:
    """Leave out a constant bias of nothing but zeros: the sums are the same (a sum of -0 alone aside, whose sign it turns)."""
    b = node.arg("b")
    if b is not None and len(node.inputs) == 3 and filled(b, 0):
        node.set_inputs(node.inputs[:2])


def _merged(r: Rewriter, node: Node, read: Callable[[Node, Value, int, int], tuple[Vector, Vector] | None]) -> bool:
    """A node that multiplies each channel by a number and adds one, into the layer before it, which transposes may follow; where
    it is one number for all, reshapes too."""
    for x in dict.fromkeys(node.inputs[:2]):
        if x is None or x.rank is None or node.output.shape != x.shape:
            continue
        at, moves = x, list[Node]()
        while at.producer is not None and at.producer.op in ("transpose", "reshape") and sole(r, at) in (node, *moves):
            moves.append(at.producer)
            at = at.producer.need("x")
        layer = at.producer
        if layer is None or Trait.AFFINE not in traits_of(layer.op) or sole(r, at) not in (node, *moves):
            continue
        if any(v is not None and v.tensor is None for v in layer.inputs[1:]):
            return False
        if layer.output.rank is None:
            return False
        channels = 1 if layer.attrs.get("layout") == "channels_first" else layer.output.rank - 1
        for move in reversed(moves):
            channels = move.attrs["perm"].index(channels) if move.op == "transpose" and channels >= 0 else _NOWHERE
        w = layer.inputs[1]
        if w is None or w.tensor is None:
            return False
        found = read(node, x, channels, w.tensor.shape[0])
        return found is not None and _put(r, node, layer, moves[::-1], *found)
    return False


_NOWHERE = -1
"""The axis of channels behind a reshape, which may have joined or split it."""


def _of_norm(node: Node, x: Value, channels: int, n: int) -> tuple[Vector, Vector] | None:
    if node.attrs["axis"] != channels or any(v is not None and v.tensor is None for v in node.inputs[1:]):
        return None
    scale, shift, mean, var = (None if v is None else _vector(v) for v in node.inputs[1:5])
    if mean is None or var is None or node.inputs[0] is not x:
        return None
    with np.errstate(all="ignore"):
        f = 1 / np.sqrt(var + node.attrs["epsilon"])
    f = f if scale is None else f * scale
    return f, (0 if shift is None else shift) - mean * f


def _of_arithmetic(node: Node, x: Value, channels: int, n: int) -> tuple[Vector, Vector] | None:
    first = node.inputs[0] is x
    c = node.inputs[1 if first else 0]
    if c is None or c.tensor is None or c.tensor.size not in (1, n) or (node.op == "div" and not first):
        return None
    places = varies(c, x.rank or 0)
    if places is None or not set(places) <= {channels}:
        return None
    v = np.broadcast_to(_vector(c), (n,))
    return _ARITHMETIC[node.op](v, np.ones(n), np.zeros(n), first)


_ARITHMETIC: dict[str, Callable[[Vector, Vector, Vector, bool], tuple[Vector, Vector]]] = {
    "mul": lambda v, one, zero, first: (v, zero),
    "div": lambda v, one, zero, first: (one / np.where(v == 0, np.nan, v), zero),
    "add": lambda v, one, zero, first: (one, v),
    "sub": lambda v, one, zero, first: (one, -v) if first else (-one, v),
}
"""(factor, addend) of x * v, x / v, x + v, and x - v or v - x, ``first`` where x comes first."""


def _vector(v: Value) -> Vector:
    assert v.tensor is not None
    return v.tensor.numpy().astype(np.float64).reshape(-1)


def _put(r: Rewriter, node: Node, layer: Node, moves: Sequence[Node], factor: Vector, added: Vector) -> bool:
    if not (np.all(np.isfinite(factor)) and np.all(np.isfinite(added))):
        return False
    parameters = [a.name for a in op(layer.op).inputs if a.role is Role.PARAMETER]
    w, bias = (layer.arg(n) for n in parameters)
    assert w is not None and w.tensor is not None
    tensor, dtype = w.tensor, w.tensor.dtype.numpy
    plain = bool(np.all(factor == 1))
    if not plain and len(w.uses) > 1:  # another layer's, too: it would be held twice
        return False

    def weight(a: Any) -> Any:
        """In float64, rounded once, a few thousand elements at a time."""
        factors = factor.reshape(-1, *(1,) * (a.ndim - 1))
        return np.multiply(a, factors, out=np.empty(a.shape, dtype), dtype=np.float64, casting="unsafe")

    new_bias = (0 if bias is None else _vector(bias) * factor) + added
    x = layer.output
    if not _held(tensor, factor, np.asarray(new_bias)):
        return False

    def make(b: Builder) -> Value:
        kernel = w if plain else r.graph.add_weight(f"{w.name}/merged", tensor.map(weight), like=w)
        c = None if bias is None and not np.any(new_bias) else b.weight(
            new_bias.astype(dtype), f"{x.name}/merged", trainable=w.trainable, source=w.source
        )  # fmt: skip
        y: Value = b.op(layer.op, layer.inputs[0], kernel, c, *layer.inputs[3:], **layer.attrs)
        for move in moves:
            y = b.op(move.op, y, **move.attrs)
        return y

    return r.put(node.output, [node, *moves, layer], make, like=layer, what=layer.op)


_SURE = 2.0**20
"""Factors up to this, and down to 1 over it, are no danger to weights of 32 bits and more: those need not be read."""


def _held(weights: Tensor, factor: Vector, bias: Vector) -> bool:
    """Whether the type holds weights times factors, and the bias: nothing overflows, and no channel falls among the subnormal
    numbers, of fewer digits (x w f is x f w, but f16 has 3 digits of 0.002 * 1e-4, and none of 0.002 * 1e-5)."""
    dtype = weights.dtype
    most, sizes = dtype.limits[1], np.abs(factor)
    if np.any(np.abs(bias) > most):
        return False
    if dtype.itemsize >= 4 and np.all((sizes == 0) | ((sizes <= _SURE) & (sizes >= 1 / _SURE))):
        return True
    before = np.abs(weights.numpy().astype(np.float64)).reshape(len(factor), -1).max(axis=1, initial=0)
    with np.errstate(over="ignore"):
        after = before * sizes
    return bool(np.all(after <= most) and np.all((after >= dtype.tiny) | (after >= before) | (sizes == 0)))


def _padded(r: Rewriter, node: Node) -> bool:
    """Zeros around the input of a convolution, as its own pads."""
    x = node.need("x")
    pad, pads = x.producer, node.attrs["pads"]
    if pad is None or pad.op != "pad" or isinstance(pads, str) or sole(r, x) is not node or not r.one_layer([node, pad]):
        return False
    at = pad.attrs
    if at["mode"] != "constant" or at["value"] != 0:
        return False
    if any(not isinstance(n, int) or n < 0 for pair in at["pads"] for n in pair):  # sizes decide, or elements go
        return False
    axes = range(2, len(at["pads"])) if node.attrs["layout"] == "channels_first" else range(1, len(at["pads"]) - 1)
    space = [at["pads"][i] for i in axes]
    if any(n for i, pair in enumerate(at["pads"]) if i not in axes for n in pair) or len(space) != len(pads):
        return False
    whole = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, space))

    def make(b: Builder) -> Value:
        y: Value = b.op("conv", pad.inputs[0], *node.inputs[1:], **{**node.attrs, "pads": whole})
        return y

    return r.put(node.output, [node, pad], make)
