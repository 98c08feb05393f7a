"""Rules of ops that make, remove, merge, split or permute axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Node
from ..opset.axes import Append, Insert, Letters, Perm, Pick, Remove, Reshape
from .carried import Carried, Known, NodeRule, applies, rank_of, uniform
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
    axes, insert = node.attrs[spec.attr], isinstance(spec, Insert)
    mains = rule.main_inputs(node)
    if axes is None or mains != list(range(len(node.inputs))) or not mains:
        return None
    return _widened(node, slot, order, known, (axes,) if isinstance(axes, int) else axes, insert, spec.attr, fixed=0)


def _widened(
    node: Node, slot: int, order: Order, known: Known, axes: Sequence[int], insert: bool, attr: str, *, fixed: int
) -> Carried | None:  # fmt: skip
    """A node whose outputs (``insert``) or inputs, but for the last ``fixed``, have ``axes`` besides those of the others."""
    ins = node.inputs[: len(node.inputs) - fixed]
    wides, smalls = (node.outputs, ins) if insert else (ins, node.outputs)
    wide = wides[0]
    if wide is None or wide.shape is None or any(v is None or v.shape is None for v in (*wides, *smalls)):
        return None
    rank = len(wide.shape)
    kept = [a for a in range(rank) if a not in axes]
    if any(len(v.shape or ()) != len(kept) for v in smalls if v is not None) or any(not 0 <= a < rank for a in axes):
        return None
    if any(len(v.shape or ()) != rank for v in wides if v is not None):
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
    if isinstance(node.attrs[attr], int):
        moved = moved[0]
    need = (small if insert else big,) * len(ins) + (None,) * fixed
    return Carried(need, (big if insert else small,) * len(node.outputs), {attr: moved})


@applies(Pick)
def _pick(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Pick)
    axis, index = node.attrs[spec.attr], node.need(spec.index)
    if index.shape is None or len(node.inputs) != 2 or slot == 1:
        return None
    if not index.shape:
        return _widened(node, slot, order, known, (axis,), False, spec.attr, fixed=1)
    if len(index.shape) > 1 or axis >= len(order.perm) or order.block(axis) is not None:
        return None
    return uniform(node, rule, order, spec.attr, order.inv[axis])


@applies(Letters)
def _letters(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Letters)
    left, _, right = node.attrs[spec.attr].partition("->")
    terms = left.split(",")
    if not order.plain or "." in left + right or any(len(set(t)) != len(t) for t in terms):
        return None

    def of(v: Any, at: int, term: str) -> Order | None:
        found = order if at == slot else known.get(v)
        return found if found is not None and found.plain and len(found.perm) == len(term) else None

    ins = [of(v, i, t) for i, (v, t) in enumerate(zip(node.inputs, terms))]
    out = of(node.outputs[0], -1, right)
    if len(order.perm) != len(right if slot < 0 else terms[slot]):
        return None

    def written(term: str, o: Order | None) -> str:
        return term if o is None else "".join(term[p] for p in o.perm)

    equation = ",".join(map(written, terms, ins)) + "->" + written(right, out)
    return Carried(tuple(ins), (out,), {spec.attr: equation})


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
    if any(rank_of(v) != len(perm) for v in (node.inputs[0], node.outputs[0])):
        return None
    ins, outs = (order, other) if slot >= 0 else (other, order)
    return Carried((ins,), (outs,), {spec.attr: tuple(range(len(perm)))})
