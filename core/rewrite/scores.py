"""The scores of an attention, from its softmax up to its product: scales, and masks added or chosen by ``where``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..passes.search import Parts, some
from ..records import dataclass
from .axes import Atom, Axes, axes_of, cells, materialise, size_of
from .kinds import regroups, same
from .region import Rewriter, fits

__all__ = [
    "Condition",
    "Masks",
    "above",
    "causal_is_apart",
    "heads_unknown",
    "is_product",
    "least",
    "number_of",
    "of_four_axes",
    "placed",
    "ranks_of",
]

NEVER = -1e9
"""A score of this or less is no score: after a softmax it is 0 beside any other."""


@dataclass
class Masks:
    """What is done to the scores: added values, and conditions to keep them."""

    added: list[Value] = field(default_factory=list)
    keep: list[Condition] = field(default_factory=list)
    places: list[tuple[Value, Shape | None]] = field(default_factory=list)  # each of them, and the scores it is put on


@dataclass(frozen=True)
class Condition:
    """Where scores are kept: where ``value`` is true, or where it is not; ``fill`` is what they are elsewhere."""

    value: Value
    fill: float
    negated: bool

    @staticmethod
    def of(c: Value, fill: float, negated: bool) -> Condition:
        """Casts and negations taken off."""
        up = c.producer
        while up is not None and up.inputs and up.inputs[0] is not None and up.inputs[0].dtype is DType.BOOL:
            if up.op == "not":
                negated = not negated
            elif not (up.op == "cast" or same(up)):
                break
            c = up.inputs[0]
            up = c.producer
        return Condition(c, fill, negated)

    def parts(self) -> list[Condition]:
        """What must hold all together."""
        up = self.value.producer
        if up is not None and up.op == ("or" if self.negated else "and"):
            return [p for x in up.inputs if x is not None for p in self.of(x, self.fill, self.negated).parts()]
        return [self]

    def made(self, b: Any) -> Value:
        kept: Value = b.not_(self.value) if self.negated else self.value
        return kept


def is_product(v: Value | None) -> bool:
    """Whether a value is a product of two computed matrices, but for numbers, masks and reshapes."""
    return some(v, _product)


def _product(v: Value) -> Parts:
    node = v.producer
    if node is None:
        return False
    if node.op == "matmul":
        return all(x is not None and x.tensor is None for x in node.inputs)
    if node.op in ("mul", "add"):
        return node.inputs
    if node.op == "where":
        return node.inputs[1:]
    capped = node.op in ("div", "tanh")  # a scale, a softcap
    return (capped or node.op == "cast" or same(node) or regroups(node)) and node.inputs[:1]


def number_of(r: Rewriter, v: Value | None) -> float | None:
    f = None if v is None else r.view.form(v)
    if f is not None and f.op == "number":
        return float(f.key)
    if v is not None and v.tensor is not None and v.tensor.size == 1 and v.tensor.dtype.is_float:
        return float(v.tensor.numpy().reshape(()))
    return None


def above(r: Rewriter, node: Node, masks: Masks) -> tuple[Value, float] | None:
    """One step up from a value of the scores: where they come from, and the number they are multiplied by."""
    ins = node.inputs
    if regroups(node):
        return (ins[0], 1.0) if ins[0] is not None else None
    if node.op in ("mul", "div"):
        for i in (0, 1) if node.op == "mul" else (0,):
            k, x = number_of(r, ins[1 - i]), ins[i]
            if k is not None and x is not None and is_product(x) and k and math.isfinite(k):
                return x, k if node.op == "mul" else 1 / k
        return None
    if node.op == "add":
        chosen = _by_arithmetic(r, node)
        if chosen is not None:
            masks.keep.append(Condition.of(chosen[0], chosen[2], False))
            return chosen[1], 1.0
        found = [i for i in (0, 1) if is_product(ins[i])]
        if len(found) != 1:
            return None
        other, x = ins[1 - found[0]], ins[found[0]]
        if other is None or x is None:
            return None
        masks.added.append(other)
        return x, 1.0
    if node.op == "where":
        c, a, b = ins
        for keep, x, fill in ((True, a, b), (False, b, a)):
            k = number_of(r, fill)
            if c is not None and x is not None and k is not None and is_product(x) and k <= least(x.dtype):
                masks.keep.append(Condition.of(c, k, not keep))
                return x, 1.0
    return None


def least(dtype: DType | None) -> float:
    return -6e4 if dtype is DType.FLOAT16 else NEVER


def _by_arithmetic(r: Rewriter, node: Node) -> tuple[Value, Value, float] | None:
    """cast(m) * scores + number * cast(not m), as tf2onnx writes where: (m, scores, number)."""
    sides = [v.producer if v is not None else None for v in node.inputs]
    for mine, other in (sides, sides[::-1]):
        if mine is None or other is None or mine.op != "mul" or other.op != "mul":
            continue
        for i in (0, 1):
            m, x = _condition(mine.inputs[i]), mine.inputs[1 - i]
            for j in (0, 1):
                n, k = _condition(other.inputs[j]), number_of(r, other.inputs[1 - j])
                if m is None or n is None or k is None or x is None or not is_product(x) or not math.isfinite(k):
                    continue
                if n.producer is not None and n.producer.op == "not" and n.producer.inputs[0] is m and k <= least(x.dtype):
                    return m, x, k
    return None


def _condition(v: Value | None) -> Value | None:
    """The bool that a float was cast from."""
    if v is None or v.producer is None or v.producer.op != "cast":
        return None
    x = v.producer.inputs[0]
    return x if x is not None and x.dtype is DType.BOOL else None


def causal_is_apart(lows: Sequence[tuple[Value | Condition, float]], added: bool, fills: set[float]) -> bool:
    """Whether a causal mask can be told apart from the others: alone, or where all of them take keys away for good, or the same
    finite number stands everywhere (a query without a key then gets the mean over all of them) and is not added to itself."""
    numbers = {low for _, low in lows}
    if numbers <= {-math.inf}:
        return fills <= {-math.inf}
    stands = len(numbers | fills) == 1 and all(isinstance(m, Condition) for m, _ in lows)
    return not added and (not fills or stands)


def placed(m: Value, at: Shape | None, whole: tuple[Any, ...]) -> bool:
    """Whether a mask put on scores of shape ``at`` has the same axes as one of ``whole``, (batch, heads, queries, keys): these,
    these with batch and heads joined, or the last two if it has one element in all others."""
    if at is None or m.rank is None or m.rank > len(at):
        return False
    if fits(whole, at) or fits((whole[0] * whole[1], *whole[2:]), at):
        return True
    return m.shape is not None and all(n == 1 for n in m.shape[:-2]) and fits(whole[2:], at[-2:])


def ranks_of(masks: Masks) -> dict[Value, int] | None:
    """Of how many axes the scores are that each mask, and each part of one, is put on; None where that is not one number."""
    ranks: dict[Value, int] = {}
    found = [(m, len(at or ())) for m, at in masks.places]
    whole = dict(found)
    found += [(part.value, whole[c.value]) for c in masks.keep for part in c.parts()]
    return ranks if all(ranks.setdefault(m, n) == n for m, n in found) else None


def heads_unknown(m: Value, rank: int, q: Sequence[tuple[Atom, ...]]) -> bool:
    """Whether a mask of the joined axis of batch and heads cannot be taken apart."""
    return rank == 3 and bool(cells(tuple(q[1]))) and (m.shape is None or None in m.shape)


def of_four_axes(r: Rewriter, b: Any, m: Value, rank: int, q: Sequence[tuple[Atom, ...]]) -> Value:
    """A mask of scores of so many axes as one of (batch, heads, queries, keys), with one element for all heads where these are
    copies."""
    found = _once(r, m, q)
    if found is not None:
        return materialise(b, *found)
    if rank != 3 or m.rank is None or m.rank < 3 or m.shape is None:
        return m
    if m.shape[0] == 1:
        return b.unsqueeze(m, axes=(1,))  # type: ignore[no-any-return]
    return b.reshape(m, shape=(size_of(q[0]), size_of(q[1]), *m.shape[1:]))  # type: ignore[no-any-return]


def _once(r: Rewriter, m: Value, q: Sequence[tuple[Atom, ...]]) -> tuple[Axes, list[tuple[Atom, ...]]] | None:
    """What a mask repeats for each head, and its axes without that; None where heads differ, or nothing is repeated."""
    a = axes_of(r, m, scales=m.dtype is not DType.BOOL, copies=True)
    if a.scale != 1 or len(a.groups) not in (3, 4) or m.shape is None:
        return None
    lead = cells(a.groups[0]) if len(a.groups) == 3 else (*cells(a.groups[0]), *cells(a.groups[1]))
    own = lead
    while own and own[-1].copies:
        own = own[:-1]
    rest = [cells(g) for g in a.groups[-2:]]
    if own == lead or size_of(lead[len(own) :]) != size_of(q[1]) or any(x.copies for g in (own, *rest) for x in g):
        return None
    return a, [own, (), *rest]
