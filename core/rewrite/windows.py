"""lrn, as torch computes it: squares averaged over neighbouring channels by a pool along an axis of its own.

x / (k + alpha * mean of x^2 over ``size`` channels) ^ beta (torch.nn.functional.local_response_norm, torch 2.14). Even sizes
look at other neighbours there (size // 2 before) than lrn does, and stay what they are.
"""

from __future__ import annotations

from typing import Any

from ..ir.graph import Node, Value
from .kinds import regroups
from .numbers import shortest
from .region import Rewriter

__all__ = ["find"]


def find(r: Rewriter, pool: Node) -> bool:
    """Whether an average pool was the middle of one, which is lrn now."""
    size, *rest = pool.attrs["kernel"]
    pad = pool.need("x").producer
    if pad is None or pad.op != "pad" or pad.attrs["mode"] != "constant" or pad.attrs["value"] != 0 or size % 2 == 0:
        return False
    even = (size // 2, size // 2)
    if any(n != 1 for n in (*rest, *pool.attrs["strides"], *pool.attrs["dilations"])) or isinstance(pool.attrs["pads"], str):
        return False
    pads = tuple(map(tuple, pad.attrs["pads"]))
    if pool.attrs["layout"] != "channels_first" or any(n for pair in pool.attrs["pads"] for n in pair):
        return False
    if pads[2:3] != (even,) or any(n for pair in (*pads[:2], *pads[3:]) for n in pair):
        return False
    before, moved = _squared(pad.need("x"))
    if before is None or not moved or before.shape is None or len(before.shape) < 3:
        return False
    channels, wide = before.shape[1], pad.need("x").shape or ()
    if wide[:3] != (before.shape[0], 1, channels) or len(wide) != len(pads):
        return False
    after = pool.output
    while len(after.uses) == 1 and regroups(after.users[0]):
        after = after.users[0].output
    numbers: list[float] = []
    scaled = _number(after, "mul", numbers) if after.shape == before.shape else None
    shifted = None if scaled is None else _number(scaled, "add", numbers)
    at = None if shifted is None else _number(shifted, "pow", numbers)
    last = at.users[0] if at is not None and len(at.uses) == 1 else None
    if at is None or last is None or last.op != "div" or (last.inputs[0], last.inputs[1]) != (before, at):
        return False
    alpha, bias, beta = (shortest(n, before.dtype) for n in numbers)
    nodes = r.region([last.output], {before})
    if nodes is None or not r.closed(nodes, [last.output]):
        return False

    def make(b: Any) -> Value:
        y: Value = b.lrn(before, size=size, alpha=alpha, beta=beta, bias=bias, axis=1)
        return y

    return r.put(last.output, nodes, make)


def _squared(v: Value) -> tuple[Value | None, bool]:
    """What a value is the square of, and whether its axes were moved since."""
    moved = False
    while v.producer is not None and regroups(v.producer):
        v, moved = v.producer.need("x"), True
    n = v.producer
    if n is not None and n.op == "square":
        return n.need("x"), moved
    return (n.inputs[0] if n is not None and n.op == "mul" and n.inputs[0] is n.inputs[1] else None), moved


def _number(v: Value, op: str, numbers: list[float]) -> Value | None:
    """The result of that op with a number, which is noted, where nothing else reads the value."""
    node = v.users[0] if len(v.uses) == 1 else None
    if node is None or node.op != op:
        return None
    x, other = node.inputs[:2]
    if op != "pow" and x is not None and x.tensor is not None:
        x, other = other, x
    if x is not v or other is None or other.tensor is None or other.tensor.size != 1:
        return None
    numbers.append(float(other.tensor.numpy().reshape(-1)[0]))
    return node.output
