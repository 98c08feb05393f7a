"""Parts and joins."""

from __future__ import annotations

import numpy as np

from convcore.plugin import Node, NotExpressible

from ..dialect import KerasScribe
from .base import RULES, Writer, known

__all__: list[str] = []


@RULES.emit("split")
def split(s: KerasScribe, node: Node) -> None:
    """One Split where the axis is known; else slices (TensorFlow splits no unknown axis in a graph)."""
    w = Writer(s, node)
    x, axis, sizes = w.ref(), node.attrs["axis"], list(node.attrs["sizes"])
    if any(not isinstance(n, int) for n in sizes[:-1]):
        raise NotExpressible("its sizes are symbolic")
    old = known(w.input(0))
    if isinstance(old[axis], int):
        even = len(set(sizes)) == 1
        parts = len(sizes) if even else [int(n) for n in np.cumsum(sizes)[:-1]]
        shapes = [known(v) for v in node.outputs]
        config = {"indices_or_sections": parts, "axis": axis}
        s.call("ops.Split", [x], config, outputs=node.outputs, shapes=shapes, name=w.name, carry=True)
        return
    at, made = 0, []
    for i, v in enumerate(node.outputs):
        last = i == len(sizes) - 1
        made.append(w.cut(x, axis, at, None if last else at + sizes[i], size=known(v)[axis]))
        at += 0 if last else sizes[i]
    w.end(*made)


@RULES.emit("unstack")
def unstack(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x, axis = w.ref(), node.attrs["axis"]
    made = []
    for i, v in enumerate(node.outputs):
        key = tuple(i if a == axis else slice(None) for a in range(len(known(w.input(0)))))
        made.append(w.op("GetItem", x, key, shape=known(v)))
    w.end(*made)
