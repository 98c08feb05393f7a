"""Scaled dot-product attention, found at its softmax: two products, whatever scales, masks and reshapes stand between.

Above the softmax: masks (added, or chosen by ``where``), numbers that scores, queries and keys are multiplied by, the product;
below it: a guard against rows without a key, the product with the values. Heads split off by reshapes and transposes, and heads
repeated for groups of queries, are read as axes (:mod:`.axes`), in whatever order they come.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..records import dataclass
from .axes import Atom, Axes, axes_of, cells, materialise, size_of
from .forms import ulp
from .kinds import regroups, same
from .masks import always, finite_sum, lower, narrows
from .numbers import shortest
from .region import Rewriter, fits
from .scores import Condition, Masks, above, causal_is_apart, heads_unknown, number_of, of_four_axes, placed, ranks_of

__all__ = ["find"]


@dataclass
class _Core:
    """The parts that were found."""

    q: Value
    kt: Value
    v: Value
    y: Value
    weights: Value | None
    scale: float
    masks: Masks
    guard: str  # "isnan": rows that are NaN become 0; "dead": those that have no key, which is ``told`` beforehand
    told: bool  # rows without a key are found beforehand, and their scores made 0
    rank: int  # of the softmax
    stops: list[Value]
    softcap: float


def find(r: Rewriter, node: Node) -> bool:
    """Put attention in place of the nodes around a softmax."""
    core = _around(r, node)
    if core is None:
        return False
    plan = _operands(r, core)
    return plan is not None and _put(r, core, plan)


def _uncast(v: Value) -> Value:
    """The value before casts that change nothing, or widen a float."""
    while v.producer is not None and (v.producer.op == "cast" or same(v.producer)):
        x = v.producer.inputs[0]
        if x is None or x.dtype is None or v.dtype is None or not (x.dtype.is_float and v.dtype.is_float):
            break
        if x.dtype is not v.dtype and x.dtype.itemsize >= v.dtype.itemsize:  # a number beside -inf may be that afterwards
            break
        v = x
    return v


# ---- below the softmax
def _readers(r: Rewriter, v: Value) -> list[tuple[Node, int]]:
    """Who reads a value, casts between floats and identities looked through."""
    out: list[tuple[Node, int]] = []
    for user, i in v.uses:
        if (user.op == "cast" or same(user)) and user.output.dtype is not None and user.output.dtype.is_float:
            out += _readers(r, user.output)
        else:
            out.append((user, i))
    return out


def _without_dead_rows(r: Rewriter, x: Value) -> tuple[Value | None, Value]:
    """(condition, scores) where rows that hold nothing but -inf are made 0 before the softmax; (None, x) where they are not."""
    node = x.producer
    if node is None or node.op != "where":
        return None, x
    c, zero, s = node.inputs
    test = None if c is None else c.producer
    if c is None or zero is None or s is None or test is None or test.op != "equal" or not always(zero, 0):
        return None, x
    for top, low in (test.inputs, test.inputs[::-1]):
        up = None if top is None else top.producer
        if up is None or low is None or up.op != "max" or not always(low, -math.inf) or up.inputs[0] is not s:
            continue
        if up.attrs["axes"] == ((s.rank or 0) - 1,) and up.attrs["keepdims"]:
            return c, s
    return None, x


def _product_below(r: Rewriter, p: Value, dead: Value | None) -> tuple[Node, str, list[Value]] | None:
    """The product of the weights with the values, which guard stands before it, and the values on the way to it."""
    guarded, at, way = "", p, [p]
    for _ in range(8):
        readers = _readers(r, at)
        products = [(n, i) for n, i in readers if n.op == "matmul" and i == 0]
        if len(products) == 1:
            return products[0][0], guarded, way
        guards = {n for n, _ in readers if n.op == "isnan"}
        choices = [n for n, i in readers if n.op == "where" and i == 2]
        views = [n for n, _ in readers if regroups(n)]
        if len(choices) == 1 and (guards or dead is not None) and not guarded:
            c, zero, _ = choices[0].inputs
            if c is None or zero is None or not (c is dead or c.producer in guards) or not always(zero, 0):
                return None
            guarded, at = "dead" if c is dead else "isnan", choices[0].output
        elif len(views) >= 1 and not products:
            leads = [n for n in views if _leads(r, n)]
            if len(leads) != 1:
                return None
            at = leads[0].output
        else:
            return None
        way.append(at)
    return None


def _leads(r: Rewriter, node: Node) -> bool:
    """Whether a view of the weights is multiplied with values."""
    if not regroups(node):
        return False
    return any((user.op == "matmul" and i == 0) or _leads(r, user) for user, i in _readers(r, node.output))


# ---- above it


def _around(r: Rewriter, node: Node) -> _Core | None:
    x, p = node.need("x"), node.output
    if x.shape is None or x.dtype is None or node.attrs["axis"] != len(x.shape) - 1 or len(x.shape) not in (3, 4):
        return None
    masks, scale, stops = Masks(), 1.0, list[Value]()
    at = _uncast(x)
    dead, at = _without_dead_rows(r, at)
    softcap = 0.0
    for _ in range(16):
        up = at.producer
        if up is None:
            return None
        if up.op == "matmul":
            break
        if up.op == "tanh":
            capped = _capped(r, up, scale)
            if capped is None or softcap:
                return None
            softcap, scale, at = scale, 1.0, _uncast(capped)
            continue
        added, kept = len(masks.added), len(masks.keep)
        step = above(r, up, masks)
        if step is None:
            return None
        new = [*masks.added[added:], *(c.value for c in masks.keep[kept:])]
        if new and (scale != 1 or softcap):  # the mask would be scaled, too
            return None
        masks.places += [(m, step[0].shape) for m in new]
        at = _uncast(step[0])
        scale *= step[1]
    else:
        return None
    assert at.producer is not None
    q, kt = at.producer.inputs
    below = _product_below(r, p, dead)
    if q is None or kt is None or q.tensor is not None or kt.tensor is not None or below is None:
        return None
    last, guard, way = below
    v = last.inputs[1]
    v = None if v is None else _uncast(v)
    if v is None or v.tensor is not None or not _kept_axes(r, x, at) or not _kept_axes(r, last.inputs[0], p):
        return None
    own = {last, *(n for w in way for n, _ in _readers(r, w) if n.op in (("isnan", "where") if guard else ()) or _leads(r, n))}
    p = way[-1] if guard else p
    read = p in r.outputs or any(n not in own for n, _ in _readers(r, p))
    stops += [*masks.added, *(c.value for c in masks.keep)]
    return _Core(q, kt, v, last.output, p if read else None, scale, masks, guard, dead is not None, len(x.shape), stops, softcap)


def _capped(r: Rewriter, node: Node, cap: float) -> Value | None:
    """The scores where node is tanh(scores / cap)."""
    up = node.inputs[0].producer if node.inputs[0] is not None else None
    if up is None or up.op not in ("mul", "div") or cap <= 0:
        return None
    for i in (0, 1) if up.op == "mul" else (0,):
        k, x = number_of(r, up.inputs[1 - i]), up.inputs[i]
        if k is not None and x is not None and k > 0 and abs((k if up.op == "div" else 1 / k) - cap) <= 4 * ulp(x.dtype) * cap:
            return x
    return None


def _kept_axes(r: Rewriter, v: Value | None, base: Value) -> bool:
    """Whether v is ``base`` with the last two axes as they are, leading ones joined or split at most, and masks between."""
    if v is None or v.shape is None or base.shape is None:
        return False
    if fits(base.shape[-2:], v.shape[-2:]):
        return True
    a, b = [n for n in v.shape if n != 1][-2:], [n for n in base.shape if n != 1][-2:]
    return a == b and v.shape[-1] == base.shape[-1]


# ---- queries, keys and values as (batch, heads, length, width)
@dataclass
class _Plan:
    parts: list[Axes]
    groups: list[list[tuple[Atom, ...]]]
    scale: float


def _operands(r: Rewriter, core: _Core) -> _Plan | None:
    qa, ka, va = axes_of(r, core.q, scales=True), axes_of(r, core.kt, scales=True, copies=True), axes_of(r, core.v, copies=True)
    if any(not a.groups for a in (qa, ka, va)) or not len(qa.groups) == len(ka.groups) == len(va.groups) == core_rank(core):
        return None
    ka.groups = [*ka.groups[:-2], ka.groups[-1], ka.groups[-2]]
    rank = len(qa.groups)
    parts = [qa, ka, va]
    if rank == 4:
        groups = [list(a.groups) for a in parts]
    elif rank == 3:
        heads = [cells(a.groups[0]) for a in parts]
        split = all(len(h) > 1 for h in heads) and len({(size_of(h[:-1]), h[-1].size) for h in heads}) == 1
        groups = [[h[:-1] if split else h, h[-1:] if split else (), *a.groups[1:]]
                  for a, h in zip(parts, heads)]  # fmt: skip
    else:
        return None
    for i in (1, 2):
        if not _without_copies(groups[i]):
            parts[i] = axes_of(r, (core.kt, core.v)[i - 1], scales=i == 1)
            if i == 1:
                parts[1].groups = [*parts[1].groups[:-2], parts[1].groups[-1], parts[1].groups[-2]]
            if rank == 3:
                h = cells(parts[i].groups[0])
                apart = bool(cells(groups[0][1])) and len(h) > 1
                groups[i] = [h[:-1] if apart else h, h[-1:] if apart else (), *parts[i].groups[1:]]
            else:
                groups[i] = list(parts[i].groups)
    q, k, v = groups
    if size_of(k[1]) != size_of(v[1]) or size_of(k[0]) != size_of(q[0]) or size_of(v[0]) != size_of(q[0]):
        return None
    hq, hk = size_of(q[1]), size_of(k[1])
    if hq != hk and (not isinstance(hq, int) or not isinstance(hk, int) or hq % hk):
        return None
    return _Plan(parts, groups, core.scale * qa.scale * parts[1].scale)


def _no_wider(plan: _Plan, dtype: DType) -> bool:
    """Whether all keep their numbers in a type: of it, narrower, or widened from it. Where one's is not known it is that of what
    it is multiplied with."""
    own = [_uncast(a.base).dtype for a in plan.parts]
    known = [d for d in own if d is not None]
    return own[:2] != [None, None] and all(d is dtype or d.itemsize < dtype.itemsize for d in known)


def core_rank(core: _Core) -> int:
    return len(core.y.shape or ())


def _without_copies(groups: list[tuple[Atom, ...]]) -> bool:
    """Take repeated heads away: copies behind the heads they are of. False where anything else is repeated."""
    heads = cells(groups[1])
    while heads and heads[-1].copies:
        heads = heads[:-1]
    if any(a.copies for g in (groups[0], heads, *groups[2:]) for a in cells(tuple(g))):
        return False
    groups[1] = heads
    return True


# ---- the masks
def _put(r: Rewriter, core: _Core, plan: _Plan) -> bool:
    q, k, _ = plan.groups
    rows, columns, width = size_of(q[2]), size_of(k[2]), size_of(q[3])
    masks = core.masks
    if not all(placed(m, at, (size_of(q[0]), size_of(q[1]), rows, columns)) for m, at in masks.places):
        return False
    ranks = ranks_of(masks)
    if ranks is None:
        return False
    added: list[Value] = []
    keep: list[Condition] = []
    lows: list[tuple[Value | Condition, float]] = []
    for m in masks.added:
        low = lower(m, rows, columns, False)
        if low is not None:
            lows.append((m, low))
        elif not always(m, 0):
            added.append(m)
    for part in [p for c in masks.keep for p in c.parts()]:
        if lower(part.value, rows, columns, part.negated) is not None:
            lows.append((part, part.fill))
        elif not always(part.value, not part.negated):
            keep.append(part)
    causal = bool(lows)
    if not causal_is_apart(lows, bool(added), {c.fill for c in keep}):
        causal = False  # what a query gets that sees no key would be another
        added += [m for m, _ in lows if isinstance(m, Value)]
        keep += [c for c, _ in lows if isinstance(c, Condition)]
    fills = {c.fill for c in keep}
    infinite = [f for f in fills if f == -math.inf]
    if keep and added and len(infinite) != len(fills):
        return False  # the number and what is added may together be infinite
    if len(fills) > 1:
        return False  # a query that sees no key gets the mean over those with the largest
    if core.told and (not keep or infinite):
        empty = "zero" if core.guard == "dead" else "mean"
    elif keep and not added:
        empty = "mean" if not infinite else "zero" if core.guard else "nan"
    else:
        empty = "zero" if core.guard or (finite_sum(added) and not infinite) else "nan"
    dtype = core.q.dtype
    scale = plan.scale
    if isinstance(width, int) and abs(scale - width**-0.5) <= 4 * ulp(dtype) * scale:
        scale = None  # type: ignore[assignment]
    stops: set[Any] = {a.base for a in plan.parts} | set(core.stops)
    roots = [core.y] if core.weights is None else [core.y, core.weights]
    nodes = r.region(roots, stops)
    allowed = {core.y} | ({core.weights} if core.weights is not None else set())
    if nodes is None or not r.closed(nodes, allowed):
        return False
    if any(heads_unknown(m, ranks[m], q) for m in (*added, *(c.value for c in keep))):
        return False
    wide = core.y.dtype  # of which the values are, where the scores were widened for the softmax and the weights stay so
    if wide is None or not _no_wider(plan, wide):
        return False
    if not all(narrows(m, wide, several=len(added) > 1) for m in added):  # added to scores that were widened for it
        return False

    def make(b: Any) -> list[Value]:
        operands = [materialise(b, a, g) for a, g in zip(plan.parts, plan.groups)]
        operands = [x if x.dtype is wide else b.cast(x, to=wide) for x in operands]
        mask = None
        for m in added:
            m = of_four_axes(r, b, m if m.dtype is wide else b.cast(m, to=wide), ranks[m], q)
            mask = m if mask is None else b.add(mask, m)
        kept = None
        for condition in keep:
            c = of_four_axes(r, b, condition.made(b), ranks[condition.value], q)
            kept = c if kept is None else b.and_(kept, c)
        if kept is not None:
            mask = kept if mask is None else b.where(kept, mask, b.like(mask, max(fills)))
        told = None if scale is None else shortest(scale, dtype)
        results = b.attention(
            *operands,
            mask,
            scale=told,
            causal=causal,
            empty=empty,
            guard=core.guard == "isnan",
            weights=core.weights is not None,
            softcap=shortest(core.softcap, dtype),
        )
        y = results[0]
        if core_rank(core) == 3:
            y = b.reshape(y, shape=core.y.shape)
        if core.weights is None:
            return [y]
        return [y, results[1] if core.rank == 4 else b.reshape(results[1], shape=core.weights.shape)]

    return r.put(core.y, nodes, make, roots=roots)
