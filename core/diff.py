"""What is different between two graphs, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from .ir.dims import shape_text
from .ir.graph import Graph, Node, Value
from .ir.tensors import Tensor
from .records import dataclass

__all__ = ["Change", "diff", "differing_values"]


@dataclass(frozen=True)
class Change:
    """One difference: ``kind`` is "-" (only in the first), "+" (only in the second) or "~" (in both, not the same)."""

    kind: str
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.what}" + (f": {self.why}" if self.why else "")


def diff(a: Graph, b: Graph) -> list[Change]:
    """The differences between two graphs in the order of their nodes; empty where they are the same.

    Nodes are paired by the names of their results, then by their own names, and what has neither in common by its op and place.
    """
    changes = _signature(a, b)
    pairs = _pairs(list(a), list(b))
    partner = dict(pairs)
    taken = {id(n) for n in partner.values()}
    others = iter([n for n in b if id(n) not in taken])
    order = {id(n): i for i, n in enumerate(b)}
    waiting = next(others, None)
    for node in a:
        match = partner.get(node)
        while match is not None and waiting is not None and order[id(waiting)] < order[id(match)]:
            changes.append(Change("+", _told(waiting)))
            waiting = next(others, None)
        if match is None:
            changes.append(Change("-", _told(node)))
        else:
            why = _differs(node, match)
            if why:
                changes.append(Change("~", _told(node), "; ".join(why)))
    while waiting is not None:
        changes.append(Change("+", _told(waiting)))
        waiting = next(others, None)
    return changes


def _signature(a: Graph, b: Graph) -> list[Change]:
    out = []
    for what, xs, ys in (("input", a.inputs, b.inputs), ("output", a.outputs, b.outputs)):
        first, second = ({v.name: _typed(v) for v in vs} for vs in (xs, ys))
        for name in dict.fromkeys([*first, *second]):
            if name not in second:
                out.append(Change("-", f"{what} {name}"))
            elif name not in first:
                out.append(Change("+", f"{what} {name}"))
            elif first[name] != second[name]:
                out.append(Change("~", f"{what} {name}", f"{first[name]}, now {second[name]}"))
    return out


def _typed(v: Value) -> str:
    return f"{v.dtype}{shape_text(v.shape)}"


def _told(node: Node) -> str:
    return f"{node.op} {node.name!r}"


def _result(n: Node) -> str:
    return n.outputs[0].name if n.outputs else n.name


def _name(n: Node) -> str:
    return n.name


def _pairs(xs: Sequence[Node], ys: Sequence[Node]) -> list[tuple[Node, Node]]:
    pairs: list[tuple[Node, Node]] = []
    left, right = list(xs), list(ys)
    for key in (_result, _name):
        known = {key(n): n for n in right}
        found = [(n, known[key(n)]) for n in left if key(n) in known and known[key(n)].op == n.op]
        pairs += found
        gone = {id(n) for pair in found for n in pair}
        left, right = [n for n in left if id(n) not in gone], [n for n in right if id(n) not in gone]
    for block in SequenceMatcher(None, [n.op for n in left], [n.op for n in right], autojunk=False).get_matching_blocks():
        pairs += zip(left[block.a : block.a + block.size], right[block.b : block.b + block.size])
    return pairs


def _differs(x: Node, y: Node) -> list[str]:
    why = []
    for name in dict.fromkeys([*x.attrs, *y.attrs]):
        a, b = x.attrs.get(name), y.attrs.get(name)
        if not _equal(a, b):
            why.append(f"{name}={a}, now {b}")
    for i, (v, w) in enumerate(zip(x.inputs, y.inputs)):
        if (v is None) != (w is None):
            why.append(f"input {i} is {'given' if v is None else 'omitted'} now")
        elif v is not None and w is not None and v.tensor is not None and w.tensor is not None:
            why += _weights(v, w)
        elif v is not None and w is not None and v.name != w.name and (v.tensor is None) != (w.tensor is None):
            why.append(f"input {i} was {v.name}, is {w.name}")
    if len(x.inputs) != len(y.inputs):
        why.append(f"{len(x.inputs)} inputs, now {len(y.inputs)}")
    for v, w in zip(x.outputs, y.outputs):
        if _typed(v) != _typed(w):
            why.append(f"gives {_typed(v)}, now {_typed(w)}")
    return why


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return bool(a == b)


def _weights(v: Value, w: Value) -> list[str]:
    assert v.tensor is not None and w.tensor is not None
    why = differing_values(v.tensor, w.tensor)
    return [] if why is None else [f"weight {v.name} {why}"]


def differing_values(x: Tensor, y: Tensor) -> str | None:
    """How two tensors differ: in type or shape, or by how much; None where they are the same."""
    if (x.dtype, x.shape) != (y.dtype, y.shape):
        return f"{x.dtype}{shape_text(x.shape)}, now {y.dtype}{shape_text(y.shape)}"
    a, b = x.numpy(), y.numpy()
    if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
        return None
    if a.dtype.kind not in "fiu":
        return "has other values"
    most = float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64))))
    return f"differs by up to {most:.3g}"
