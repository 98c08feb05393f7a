"""Recurrent layers: states that are zero anyway are none."""

from __future__ import annotations

from ..ir.graph import Node
from ..opset import op
from .masks import always
from .region import Rewriter

__all__ = ["states"]


def states(r: Rewriter, node: Node) -> bool:
    """Leave out first states of lstm, gru and rnn that hold nothing but 0 whatever the data are: so they are without one."""
    ins, names = list(node.inputs), [a.name for a in op(node.op).inputs]
    zero = [i for i, v in enumerate(ins) if names[i] in ("h0", "c0") and v is not None and always(v, 0)]
    gone = [v.producer for v in (ins[i] for i in zero) if v is not None and v.producer is not None]
    for i in zero:
        ins[i] = None
    if zero:
        while ins[-1] is None:
            ins.pop()
        node.set_inputs(ins)
        r.drop(gone)
    return bool(zero)
