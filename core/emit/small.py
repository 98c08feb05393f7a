"""Constants of few bits, for targets whose tensors have 8 at least."""

from __future__ import annotations

from ..build.builder import infer_outputs
from ..errors import ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..opset import find_op

__all__ = ["widen_constants"]


def widen_constants(graph: Graph) -> None:
    """Hold integers of fewer than 8 bits in 8 where a reader makes the same of them: of the same type and shape, by its own
    rule. (A value that is no constant stays what it is, and so does what is read together with one.)"""
    wide: dict[Value, Value] = {}
    for node in graph:
        small = [v for v in node.inputs if v is not None and v.tensor is not None and v.dtype is not None]
        small = [v for v in small if v.dtype is not None and v.dtype.is_small and v.dtype.is_int]
        if small and _same(node, {v: wide.get(v) or _widened(graph, wide, v) for v in small}):
            node.set_inputs([wide.get(v, v) if v is not None else None for v in node.inputs])
    graph.prune_weights()


def _widened(graph: Graph, wide: dict[Value, Value], v: Value) -> Value:
    assert v.tensor is not None and v.dtype is not None
    held = wide[v] = graph.add_weight(v.name, v.tensor.cast(DType.INT8 if v.dtype.limits[0] < 0 else DType.UINT8), like=v)
    return held


def _same(node: Node, wide: dict[Value, Value]) -> bool:
    """Whether a node gives values of the types and shapes it has with other constants, too."""
    decl = find_op(node.op)
    if decl is None or node.op == "opaque" or node.regions:
        return False
    try:
        made = infer_outputs(decl, [None if v is None else wide.get(v, v) for v in node.inputs], node.attrs)
    except ShapeError:
        return False
    return [(v.dtype, v.shape) for v in node.outputs] == made
