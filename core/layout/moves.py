"""Rules of ops that make, remove, merge, split or permute axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Node
from ..opset.axes import Append, Insert, Perm, Remove, Reshape
from .carried import Carried, Known, NodeRule, applies
from .orders import Order, order_of, place_units, through_reshape

__all__ = ["perm_through"]


def _spread(order: Order, kept: Sequence[int], rank: int, hint: Order | None) -> Order | None:
    """The order of a value of ``rank`` axes of which ``kept`` have ``order`` and the others have size 1."""
    if len(order.perm) != len(kept):
        return None
    if hint is not None and len(hint.perm) == rank and hint.restrict(kept) is order:
        return hint
    return order_of(place_units([kept[p] for p in order.perm], rank), {kept[a]: b for a, b in order.blocks})


@applies(Insert, Remove)
def _insert_remove(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, (Insert, Remove))
    x, y = node.inputs[0], node.outputs[0]
    axes = node.attrs[spec.attr]
    if x is None or x.shape is None or y.shape is None or axes is None or rule.main_inputs(node) != [0]:
        return None
    axes = (axes,) if isinstance(axes, int) else axes
    insert = isinstance(spec, Insert)
    wide = y if insert else x
    rank = len(wide.shape or ())
    kept = [a for a in range(rank) if a not in axes]
    if len(kept) != len((x if insert else y).shape or ()) or any(not 0 <= a < rank for a in axes):
        return None
    if (slot < 0) is insert:
        big: Order | None = order
        if len(order.perm) != rank or any(a in axes for a, _ in order.blocks):
            return None
        small = order.restrict(kept)
    else:
        small, big = order, _spread(order, kept, rank, known.get(wide))
    if big is None:
        return None
    moved: Any = tuple(sorted(big.inv[a] for a in axes))
    if isinstance(node.attrs[spec.attr], int):
        moved = moved[0]
    return Carried((small if insert else big,), (big if insert else small,), {spec.attr: moved})


@applies(Append)
def _append(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    mains = rule.main_inputs(node)
    x, y = node.inputs[mains[0]] if len(mains) == 1 else None, node.outputs[0]
    if x is None or x.shape is None or y.shape is None or len(node.outputs) != 1:
        return None
    r, n = len(x.shape), len(y.shape)
    new = tuple(range(r, n))
    if slot < 0:
        if order.perm[r:] != new or any(a >= r for a, _ in order.blocks):
            return None
        small, big = order.restrict(range(r)), order
    else:
        small, big = order, order_of((*order.perm, *new), dict(order.blocks))
    need: list[Order | None] = [None] * len(node.inputs)
    need[mains[0]] = small
    return Carried(tuple(need), (big,))


@applies(Reshape)
def _reshape(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Reshape)
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None or rule.main_inputs(node) != [0]:
        return None
    here, there = (x, y) if slot >= 0 else (y, x)
    assert here.shape is not None and there.shape is not None
    if len(order.perm) != len(here.shape):
        return None
    other = through_reshape(here.shape, order, there.shape, known.get(there))
    if other is None:
        return None
    ins, outs = (order, other) if slot >= 0 else (other, order)
    shape = node.attrs[spec.attr]
    if len(shape) != len(outs.perm):
        return None
    return Carried((ins,), (outs,), {spec.attr: outs.vector(shape)})


def perm_through(perm: Sequence[int], order: Order, forward: bool = True) -> Order | None:
    """The order of a transpose's output (input, if not ``forward``) that makes the transpose move nothing."""
    if len(perm) != len(order.perm):
        return None
    where = {p: i for i, p in enumerate(perm)}
    if forward:
        return order_of([where[p] for p in order.perm], {where[a]: b for a, b in order.blocks})
    return order_of([perm[p] for p in order.perm], {perm[a]: b for a, b in order.blocks})


@applies(Perm)
def _perm(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Perm)
    perm = node.attrs[spec.attr]
    other = perm_through(perm, order, slot >= 0)
    if other is None or rule.main_inputs(node) != [0] or len(node.outputs) != 1:
        return None
    ins, outs = (order, other) if slot >= 0 else (other, order)
    return Carried((ins,), (outs,), {spec.attr: tuple(range(len(perm)))})
