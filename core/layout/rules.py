"""Interprets axis rules: given the order of one input or output of a node, the orders of all the others.

:func:`carry` answers for one node; None means that the rule cannot carry that order, and the node then stays as it is. The
rules themselves are data in :mod:`convcore.ops.axes`; :mod:`convcore.testing.axes` proves each of them on samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..ir.dims import Shape
from ..ir.graph import Node, Value
from ..ops import find_op
from ..ops.axes import (
    Axes,
    Axis,
    AxisRule,
    Broadcast,
    Elementwise,
    Insert,
    LastAxes,
    Layout,
    PerAxis,
    Perm,
    Remove,
    Reshape,
)
from ..ops.declare import Op
from .orders import (
    Block,
    Order,
    block_of,
    identity,
    is_static_block,
    order_of,
    place_units,
    segment_size,
    through_reshape,
)

__all__ = ["Carried", "NodeRule", "carry", "layout_orders", "node_rule", "perm_through", "to_layout"]

Known = Mapping[Value, Order]
_NONE: Mapping[Any, Any] = MappingProxyType({})


class Carried:
    """A node in another order. ``None`` among ``ins``/``outs``: as in the source.

    ``lifts``: for an input, the positions at which axes of size 1 are inserted after it is brought into its order.
    ``params``: for a constant fixed input, blocks by which its axes are permuted. Nodes that are alike share one.
    """

    __slots__ = ("attrs", "ins", "lifts", "outs", "params")

    def __init__(
        self,
        ins: Sequence[Order | None],
        outs: Sequence[Order | None],
        attrs: Mapping[str, Any] = _NONE,
        lifts: Mapping[int, tuple[int, ...]] = _NONE,
        params: Mapping[int, Mapping[int, Block]] = _NONE,
    ) -> None:
        self.ins, self.outs, self.attrs, self.lifts, self.params = ins, outs, attrs, lifts, params


class NodeRule:
    """An op's declaration with what the pass asks for often."""

    __slots__ = ("alike", "apply", "decl", "fixed", "mains", "movable", "rule")

    def __init__(self, decl: Op) -> None:
        self.decl = decl
        self.rule: AxisRule = decl.axes
        self.fixed = frozenset(self.rule.fixed)
        self.apply = _APPLY.get(type(self.rule))
        self.movable = self.apply is not None and not decl.regions
        self.mains: dict[int, tuple[int, ...]] = {}
        self.alike: dict[Any, Carried] = {}  # answers that depend on few things

    def main_inputs(self, node: Node) -> list[int]:
        """Positions of the inputs that are given and not fixed."""
        n = len(node.inputs)
        found = self.mains.get(n)
        if found is None:
            args = self.decl.inputs
            found = tuple(i for i in range(n) if args[min(i, len(args) - 1)].name not in self.fixed)
            self.mains[n] = found
        ins = node.inputs
        return [i for i in found if ins[i] is not None]


_rules: dict[str, NodeRule] = {}


def node_rule(op: str) -> NodeRule | None:
    """The rule of an op; None for an op without declaration (opaque nodes)."""
    decl = find_op(op)
    if decl is None:
        return None
    found = _rules.get(op)
    if found is None or found.decl is not decl:
        found = _rules[op] = NodeRule(decl)
    return found


def carry(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    """All orders of a node when input ``slot`` (or output ``~slot``) has ``order``.

    ``known`` holds orders of other values that settle a choice where the rule leaves one (axes of size 1, concat).
    """
    if rule.apply is None:
        return None
    done = rule.apply(node, rule, slot, order, known)
    if done is not None and rule.rule.stay:
        for o in (*done.ins, *done.outs):
            if o is not None and any(a >= len(o.perm) or o.perm[a] != a or o.block(a) for a in rule.rule.stay):
                return None
    return done


def _rank(v: Value | None) -> int:
    return -1 if v is None or v.shape is None else len(v.shape)


def _uniform(
    node: Node, rule: NodeRule, order: Order, name: str = "", value: Any = None
) -> Carried | None:
    """Every main input and every output in the same order, attribute ``name`` changed; None unless all have its rank."""
    ins = node.inputs
    outs = node.outputs
    r = len(order.perm)
    for o in outs:
        if o.shape is None or len(o.shape) != r:
            return None
    if len(ins) == 1 and not rule.fixed:
        s = None if ins[0] is None else ins[0].shape
        if s is None or len(s) != r:
            return None
        key: Any = (order, value, len(outs))
    else:
        mains = rule.main_inputs(node)
        for i in mains:
            v = ins[i]
            if v is None or v.shape is None or len(v.shape) != r:
                return None
        key = (order, value, len(outs), len(ins), *mains)
    found = rule.alike.get(key)
    if found is None:
        need: list[Order | None] = [None] * len(ins)
        for i in rule.main_inputs(node):
            need[i] = order
        found = rule.alike[key] = Carried(tuple(need), (order,) * len(outs), {name: value} if name else _NONE)
    return found


def _elementwise(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    return _uniform(node, rule, order)


def _broadcast(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    out = node.outputs[0]
    full = out.shape
    if full is None or any(_rank(o) != len(full) for o in node.outputs):
        return None
    r = len(full)
    if len(order.perm) != r:  # a lower-rank operand says nothing about the leading axes
        if slot < 0 or out not in known:
            return None
        order = known[out]
        if len(order.perm) != r:
            return None
    return _aligned(node, rule, order, full)


def _aligned(node: Node, rule: NodeRule, order: Order, full: Shape) -> Carried | None:
    """Every main input broadcasts, right-aligned, to an output of shape ``full`` that has ``order``."""
    r = len(full)
    if order.plain:
        done = _uniform(node, rule, order)
        if done is not None:
            return done
    need: list[Order | None] = [None] * len(node.inputs)
    lifts: dict[int, tuple[int, ...]] = {}
    for i in rule.main_inputs(node):
        v = node.inputs[i]
        shape = None if v is None else v.shape
        if shape is None or len(shape) > r:
            return None
        k = r - len(shape)
        if order.plain and not k:
            need[i] = order
            continue
        if k and all(d == 1 for d in shape):
            continue
        if order.plain:
            q = order.restrict(range(k, r))
        else:
            blocks: dict[int, Block] = {}
            for a, b in order.blocks:
                if a < k or shape[a - k] == 1:
                    continue
                if shape[a - k] != full[a]:
                    return None
                blocks[a] = b
            q = order_of(order.perm, blocks).restrict(range(k, r))
        need[i] = q
        if k:
            at = tuple(sorted(order.inv[a] for a in range(k)))
            if at != tuple(range(k)):
                lifts[i] = at
    return Carried(need, (order,) * len(node.outputs), _NONE, lifts or _NONE)


def _axis(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Axis)
    a = node.attrs[spec.attr]
    if a is None and spec.or_none:
        return _uniform(node, rule, order)
    if not isinstance(a, int) or not 0 <= a < len(order.perm):
        return None
    if spec.joins and not order.plain:
        return _joined(node, rule, slot, order, known, a)
    if spec.joins and any(not known[v].plain for v in node.inputs if v is not None and v in known):
        return _joined(node, rule, slot, order, known, a)
    done = _uniform(node, rule, order, spec.attr, order.inv[a])
    block = None if order.plain else order.block(a)
    if done is not None and block is not None:
        if not spec.along or not is_static_block(block):
            return None
        params: Params = {}
        if not all(_param(node, rule, name, 0, block, params) for name in spec.along):
            return None
        return Carried(done.ins, done.outs, done.attrs, _NONE, params)
    return done


Params = dict[int, dict[int, Block]]


def _param(node: Node, rule: NodeRule, name: str, axis: int, block: Block, params: Params) -> bool:
    """Permute a constant parameter along one of its axes; False if it is not a constant of the right size."""
    i = rule.decl.position(name)
    v = node.inputs[i] if i < len(node.inputs) else None
    if v is None:
        return rule.decl.inputs[i].optional
    total: Any = 0
    for s in block:
        total = total + segment_size(s)
    if v.tensor is None or v.tensor.ndim <= axis or v.tensor.shape[axis] != total:
        return False
    params.setdefault(i, {})[axis] = block
    return True


def _joined(node: Node, rule: NodeRule, slot: int, order: Order, known: Known, a: int) -> Carried | None:
    """Concat: inside the joined axis each input may have a block of its own."""
    mains = rule.main_inputs(node)
    base = order.without(a)
    assert isinstance(rule.rule, Axis)
    done = _uniform(node, rule, base, rule.rule.attr, base.inv[a])
    if done is None:
        return None
    ins: list[Order | None] = list(done.ins)
    if slot < 0:
        block = order.block(a)
        if block is None:
            return done
        left = list(block)
        for i in mains:
            v = node.inputs[i]
            assert v is not None and v.shape is not None
            size: Any = v.shape[a]
            part = []
            while left and size != 0:
                f, p = left.pop(0)
                n: Any = segment_size((f, p))
                if n == size or len(p) > 1:
                    part.append((f, p))
                    size = size - n
                elif isinstance(n, int) and isinstance(size, int) and n > size:
                    part.append(((size,), (0,)))
                    left.insert(0, ((n - size,), (0,)))
                    size = 0
                else:
                    part.append((f, p))
                    size = size - n
            if size != 0:
                return None
            found = block_of(part)
            if found is not None:
                ins[i] = order_of(base.perm, {**dict(base.blocks), a: found})
        return None if left else Carried(ins, (order,), done.attrs)
    segments: list[Any] = []
    for i in mains:
        v = node.inputs[i]
        assert v is not None and v.shape is not None
        own = order if i == slot else known.get(v)
        block = None
        if own is not None and own.without(a) is base:
            block = own.block(a)
        if block is None:
            segments.append(((v.shape[a],), (0,)))
        else:
            segments.extend(block)
            ins[i] = own
    if all(len(p) == 1 for _, p in segments):
        return done
    if any(f is None for s in segments for f in s[0]):
        return None
    block = block_of(segments)
    assert block is not None
    return Carried(ins, (order_of(base.perm, {**dict(base.blocks), a: block}),), done.attrs)


def _axes(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Axes)
    mains = rule.main_inputs(node)
    x = node.inputs[mains[0]] if mains else None
    if x is None or x.shape is None:
        return None
    r = len(x.shape)
    axes = node.attrs[spec.attr]
    keep = spec.keepdims if isinstance(spec.keepdims, bool) else bool(node.attrs[spec.keepdims])
    listed = tuple(range(r)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    if any(not 0 <= a < r for a in listed):
        return None
    left = range(r) if keep else [a for a in range(r) if a not in listed]
    if slot >= 0:
        full = order
    elif keep:
        full = order
    else:  # where the reduced axes go is settled only by what is known of the input
        hint = known.get(x)
        if hint is None or len(hint.perm) != r or hint.restrict(left) is not order:
            return None
        full = hint
    if len(full.perm) != r or any(_rank(node.inputs[i]) != r for i in mains):
        return None
    if any(a in listed for a, _ in full.blocks):
        return None
    if any(_rank(o) != len(left) for o in node.outputs):
        return None
    moved: Any = None if axes is None else full.inv[axes] if isinstance(axes, int) else tuple(full.inv[a] for a in listed)
    need: list[Order | None] = [None] * len(node.inputs)
    for i in mains:
        need[i] = full
    return Carried(need, (full if keep else full.restrict(left),) * len(node.outputs), {spec.attr: moved})


def _per_axis(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, PerAxis)
    attrs: dict[str, Any] = {}
    for name in spec.attrs:
        v = node.attrs[name]
        if v is None:
            continue
        if not isinstance(v, tuple) or len(v) != len(order.perm):
            return None
        attrs[name] = order.vector(v)
    done = None if order.blocks else _uniform(node, rule, order)
    return None if done is None else Carried(done.ins, done.outs, attrs)


def _spread(order: Order, kept: Sequence[int], rank: int, hint: Order | None) -> Order | None:
    """The order of a value of ``rank`` axes of which ``kept`` have ``order`` and the others have size 1."""
    if len(order.perm) != len(kept):
        return None
    if hint is not None and len(hint.perm) == rank and hint.restrict(kept) is order:
        return hint
    return order_of(place_units([kept[p] for p in order.perm], rank), {kept[a]: b for a, b in order.blocks})


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


def _last_axes(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, LastAxes)
    r, k = len(order.perm), spec.k
    if r < k or order.perm[r - k :] != tuple(range(r - k, r)):
        return None
    mains = rule.main_inputs(node)
    if order.plain:
        if len(mains) == 1:
            return _uniform(node, rule, order)
        full = node.outputs[0].shape
        if full is None or any(_rank(v) != r for v in node.outputs) or any(_rank(node.inputs[i]) < k for i in mains):
            return None
        if slot >= 0 and _rank(node.inputs[slot]) != r:
            return None
        return _aligned(node, rule, order, full)
    if len(mains) != 1 or len(node.outputs) != 1 or k != 1 or any(a >= r - k for a, _ in order.blocks if a != r - 1):
        return None
    x, y = node.inputs[mains[0]], node.outputs[0]
    assert x is not None
    last, base = r - 1, order.without(r - 1)
    done = _uniform(node, rule, base)
    if done is None:
        return None
    sides: list[Order] = []
    params: Params = {}
    for v, anchor, absorbs in ((x, slot >= 0, spec.absorbs_in), (y, slot < 0, spec.absorbs_out)):
        own = order if anchor else known.get(v)
        block = None if own is None or own.without(last) is not base else own.block(last)
        if block is not None:
            ok = bool(absorbs) and is_static_block(block)
            trial: Params = {}
            ok = ok and all(_param(node, rule, name, axis, block, trial) for name, axis in absorbs.items())
            if not ok:
                if anchor:
                    return None
                own = None
            else:
                for i, by_axis in trial.items():
                    params.setdefault(i, {}).update(by_axis)
        sides.append(base if block is None or own is None else own)
    ins: list[Order | None] = list(done.ins)
    ins[mains[0]] = sides[0]
    return Carried(ins, (sides[1],), _NONE, _NONE, params)


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


def _perm(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Perm)
    perm = node.attrs[spec.attr]
    other = perm_through(perm, order, slot >= 0)
    if other is None or rule.main_inputs(node) != [0] or len(node.outputs) != 1:
        return None
    ins, outs = (order, other) if slot >= 0 else (other, order)
    return Carried((ins,), (outs,), {spec.attr: tuple(range(len(perm)))})


# ---- layouts
def layout_orders(rule: Layout, current: str, wanted: str, name: str, rank: int) -> Order | None:
    """The order by which the named input or output changes from one value of the layout attribute to another.

    None if the name has another number of axes than its form.
    """
    key = (id(rule), current, wanted, name, rank)
    found = _layouts.get(key)
    if found is None or found[0] is not rule:
        found = _layouts[key] = (rule, _layout_order(rule.forms[current][name], rule.forms[wanted][name], rank))
    return found[1]


_layouts: dict[tuple[int, str, str, str, int], tuple[Layout, Order | None]] = {}


def _letters(form: str, rank: int) -> list[str] | None:
    spread = rank - len(form) + 1
    if "*" not in form:
        return list(form) if rank == len(form) else None
    if spread < 0:
        return None
    i = form.index("*")
    return [*form[:i], *(f"*{n}" for n in range(spread)), *form[i + 1 :]]


def _layout_order(frm: str, to: str, rank: int) -> Order | None:
    a, b = _letters(frm, rank), _letters(to, rank)
    if a is None or b is None or sorted(a) != sorted(b):
        return None
    return order_of([a.index(c) for c in b])


def to_layout(node: Node, rule: NodeRule, wanted: str) -> Carried | None:
    """A layout-bearing node under another value of its layout attribute."""
    spec = rule.rule
    assert isinstance(spec, Layout)
    current = node.attrs[spec.attr]
    if current not in spec.forms or wanted not in spec.forms:
        return None
    key = (current, wanted, *[_rank(v) for v in node.inputs], -2, *[_rank(v) for v in node.outputs])
    found = rule.alike.get(key)
    if found is not None:
        return found
    named = spec.forms[current]
    args = rule.decl.inputs
    ins: list[Order | None] = []
    for i, v in enumerate(node.inputs):
        name = args[min(i, len(args) - 1)].name
        if v is None or name not in named:
            ins.append(None)
            continue
        order = layout_orders(spec, current, wanted, name, _rank(v))
        if order is None:
            return None
        ins.append(order)
    outs: list[Order | None] = []
    for i, v in enumerate(node.outputs):
        name = rule.decl.outputs[min(i, len(rule.decl.outputs) - 1)]
        order = layout_orders(spec, current, wanted, name, _rank(v)) if name in named else None
        if order is None and name in named:
            return None
        outs.append(order)
    done = rule.alike[key] = Carried(tuple(ins), tuple(outs), {spec.attr: wanted})
    return done


def _layout(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    """A layout-bearing node without a wish: it takes any order that is one of its layouts."""
    spec = rule.rule
    assert isinstance(spec, Layout)
    for wanted in spec.forms:
        done = to_layout(node, rule, wanted)
        if done is None:
            return None
        got = done.ins[slot] if slot >= 0 else done.outs[~slot]
        if got is order:
            return done
    return None


_Apply = Callable[[Node, NodeRule, int, Order, Known], "Carried | None"]
_APPLY: dict[type[AxisRule], _Apply] = {
    Elementwise: _elementwise,
    Broadcast: _broadcast,
    Axis: _axis,
    Axes: _axes,
    PerAxis: _per_axis,
    Perm: _perm,
    Insert: _insert_remove,
    Remove: _insert_remove,
    LastAxes: _last_axes,
    Reshape: _reshape,
    Layout: _layout,
}


def source_order(v: Value) -> Order | None:
    """The identity of a value's rank; None if it is unknown."""
    return None if v.shape is None else identity(len(v.shape))
