"""Nodes that only regroup or move elements, one behind the other: one of them, or none where all is as it was."""

from __future__ import annotations

from ..build.builder import Builder
from ..ir.dims import Shape
from ..ir.graph import Graph, Node, Value
from ..opset import find_op
from ..opset.axes import Perm
from .kinds import broadcasts, regroups, same

__all__ = ["join_moves", "take_place"]


def take_place(graph: Graph, node: Node, new: Value) -> bool:
    """Let a value stand for the only result of a node, and take the node out. A result of the graph keeps its name, so there the
    value must be a node's own and no result itself."""
    old = node.outputs[0]
    if old.is_output:
        if new.producer is None or new.is_output or new.tensor is not None:
            return False
        name = old.name
        old.replace_uses(new)
        old.name = f"{name} (left out)"
        graph.rename(new, name)
    else:
        old.replace_uses(new)
    graph.remove(node)
    return True


def join_moves(graph: Graph) -> int:
    """Join reshapes of reshapes (squeeze, unsqueeze, transposes of axes of one element alike) and transposes of transposes;
    returns how many nodes became another or went."""
    done = 0
    for node in graph:
        if len(node.outputs) != 1 or not node.inputs or node.inputs[0] is None:
            continue
        if _regroups(node):
            done += _regrouped(graph, node)
        elif _perm(node) is not None:
            done += _turned(graph, node)
    return done


def _perm(node: Node) -> tuple[int, ...] | None:
    """The order of axes a transpose gives."""
    decl = find_op(node.op)
    if decl is None or not isinstance(decl.axes, Perm) or len(node.inputs) != 1:
        return None
    perm: tuple[int, ...] = tuple(node.attrs[decl.axes.attr])
    return perm


def _regroups(node: Node) -> bool:
    """Whether the elements stay in their order."""
    if regroups(node):
        return True
    perm = _perm(node)
    if perm is None or node.inputs[0] is None or (x := node.inputs[0]).shape is None:
        return False
    kept = [p for p in perm if x.shape[p] != 1]
    return kept == sorted(kept)


def _regrouped(graph: Graph, node: Node) -> int:
    x, y = node.inputs[0], node.outputs[0]
    base = x
    while base is not None and base.tensor is None:
        p = base.producer
        if p is None or len(p.outputs) != 1 or not p.inputs:  # what makes a tensor of nothing may feed a reshape
            break
        if not (_regroups(p) or same(p) or (broadcasts(p) and p.inputs[0] is not None and p.inputs[0].shape == base.shape)):
            break
        base = p.inputs[0]
    if base is None or x is None or base.shape is None or y.shape is None or base.dtype is not y.dtype:
        return 0
    if None in base.shape or None in y.shape:
        return 0
    if base.shape == y.shape:
        return int(take_place(graph, node, base))
    if base is x or (_asked(base.shape, y.shape) and _asked(base.shape, y.shape) > _asked(x.shape, y.shape)):
        return 0
    if node.op == "reshape":
        node.set_input(0, base)
        return 1
    b = Builder(graph, before=node, origin=node.origin.by("simplify"))
    b.prefix = node.name
    new: Value = b.op("reshape", base, shape=y.shape)
    made, name = new.producer, y.name
    y.replace_uses(new)
    graph.remove(node)
    y.name = f"{name} (joined)"
    graph.rename(new, name)
    if made is not None:
        graph.rename(made, node.name)
    return 1


def _asked(old: Shape | None, new: Shape) -> int:
    """How many sizes of a reshape have to be asked for when it runs: one may be left open, others stay at their places."""
    moved = [n for i, n in enumerate(new) if not isinstance(n, int) and (old is None or i >= len(old) or old[i] != n)]
    return max(0, len(moved) - 1)


def _turned(graph: Graph, node: Node) -> int:
    x = node.inputs[0]
    before = None if x is None else x.producer
    perm, first = _perm(node), None if before is None else _perm(before)
    if x is None or before is None or perm is None or first is None or len(perm) != len(first):
        return 0
    both = tuple(first[p] for p in perm)
    base = before.inputs[0]
    if base is None or base.dtype is not x.dtype:
        return 0
    if both == tuple(range(len(both))):
        return int(take_place(graph, node, base))
    if node.op != "transpose":
        return 0
    node.attrs["perm"] = both
    node.set_input(0, base)
    return 1
