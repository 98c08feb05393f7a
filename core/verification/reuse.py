"""What the reference computed, given again where the other side computes the same: equal operations on equal bits.

References of ops are functions, so nothing a comparison could see is lost, and a result that holds the source's own layers (ONNX
to ONNX) costs no more than comparing its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value

__all__ = ["reusing"]

Array = NDArray[Any]


def reusing(graph: Graph, known: Mapping[str, Array]) -> Callable[[Node, Sequence[Array | None]], Sequence[Array] | None]:
    """For :class:`~convcore.interpreter.Interpreter`: the results of a node of another graph from the arrays ``known`` by the
    names of the inputs and values of ``graph``; None where they are not those of an equal node of it."""
    made = {v.name: node for node in graph for v in node.outputs}

    def results(node: Node, args: Sequence[Array | None]) -> Sequence[Array] | None:
        ours = made.get(node.outputs[0].name) if node.outputs else None
        if (
            ours is None
            or (ours.op, ours.attrs) != (node.op, node.attrs)
            or [v.name for v in ours.outputs] != [v.name for v in node.outputs]
            or any(v.name not in known for v in ours.outputs)
            or len(ours.inputs) != len(args)
            or node.regions
            or ours.regions
            or any(map(_symbolic, node.attrs.values()))
        ):
            return None
        pairs = list(zip(ours.inputs, args))
        pairs.sort(key=lambda p: p[0] is not None and p[0].tensor is not None)  # weights last: the others tell at once
        if not all(_equal(v, a, known) for v, a in pairs):
            return None
        return [known[v.name] for v in ours.outputs]

    return results


def _symbolic(x: Any) -> bool:
    return any(map(_symbolic, x)) if isinstance(x, tuple) else isinstance(x, Dim)


def _equal(v: Value | None, b: Array | None, known: Mapping[str, Array]) -> bool:
    """Whether the array is bit by bit what the reference had for the value."""
    if v is None or b is None:
        return v is None and b is None
    a = known.get(v.name) if v.tensor is None else v.tensor.numpy()
    if a is None or a.dtype != b.dtype or a.shape != b.shape or a.dtype.hasobject:
        return False
    if a is b or not a.size:
        return True
    if a.dtype.itemsize in (1, 2, 4, 8) and a.ndim:
        a, b = (x.view(f"u{x.dtype.itemsize}") for x in (a, b))
    first = (0,) * a.ndim
    return bool(a[first] == b[first]) and np.array_equal(a, b)
