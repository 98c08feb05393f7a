"""What the nodes of a graph are, as their ops' declarations say (:mod:`convcore.opset.traits`)."""

from __future__ import annotations

from functools import lru_cache

from ..ir.graph import Node, Value
from ..opset import Op, Role, Trait, find_op
from ..opset.axes import Perm
from ..records import dataclass

__all__ = ["broadcasts", "free", "is_view", "moved", "pointwise", "regroups", "same", "step"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is asked of every node, worked out once per op."""

    same: bool = False
    pointwise: bool = False
    view: bool = False
    broadcasts: bool = False
    regroups: bool = False
    free: bool = False


@lru_cache(4096)
def _of(decl: Op | None) -> _Kind:
    if decl is None:
        return _Kind()
    t = decl.traits
    view, same = Trait.VIEW in t, Trait.SAME in t
    return _Kind(
        same=same,
        pointwise=Trait.POINTWISE in t,
        view=view,
        broadcasts=Trait.BROADCASTS in t,
        regroups=view and not same and not isinstance(decl.axes, Perm),
        free=bool(t & (Trait.VIEW | Trait.BROADCASTS | Trait.OF_SHAPES)),
    )


def same(node: Node) -> bool:
    """Whether a node gives its input: what only training needs, an identity, a cast to the type it has."""
    if node.op != "cast":
        return _of(find_op(node.op)).same
    x = node.inputs[0]
    return x is not None and x.dtype is node.attrs["to"]


def is_view(node: Node) -> bool:
    """Whether a node only looks at its input, with whatever axes."""
    return _of(find_op(node.op)).view or same(node)


def pointwise(node: Node) -> bool:
    """Whether each element is made of those at its place."""
    return _of(find_op(node.op)).pointwise


def broadcasts(node: Node) -> bool:
    """Whether a node does nothing but broadcast its first input."""
    return _of(find_op(node.op)).broadcasts


def regroups(node: Node) -> bool:
    """Whether a node gives the elements of its input in that order, with other axes."""
    return _of(find_op(node.op)).regroups


def step(node: Node) -> bool:
    """Whether a node works element by element, or only looks at its input with other axes: what a formula is made of."""
    kind = _of(find_op(node.op))
    return kind.pointwise or kind.view or kind.broadcasts


def free(node: Node) -> bool:
    """Whether a node costs no arithmetic."""
    return node.op == "cast" or _of(find_op(node.op)).free


def moved(node: Node) -> list[Value] | None:
    """The values whose elements the results are, all of them; None where the results are anything else."""
    decl = find_op(node.op)
    if decl is None or Trait.MOVES not in decl.traits or node.attrs.get("reduction", "none") != "none":
        return None
    return [v for i, v in enumerate(node.inputs) if v is not None and decl.role(i) is not Role.INDEX]
