"""Interprets axis rules: given the order of one input or output of a node, the orders of all the others.

:func:`carry` answers for one node; None means that the rule cannot carry that order, and the node then stays as it is. The
rules themselves are data in :mod:`convcore.opset.axes`; :mod:`convcore.testing.axes` proves each of them on samples. Here are
the rules under which axes stay axes; :mod:`.moves` has those that make, remove or merge axes, :mod:`.forms` the layouts.
"""

from __future__ import annotations

from typing import Any

from ..ir.dims import Shape
from ..ir.graph import Node
from ..opset.axes import Axes, Axis, Broadcast, Elementwise, LastAxes, PerAxis
from . import forms, moves  # registers their rules
from .carried import NONE, Carried, Known, NodeRule, applies, carry, node_rule, rank_of, uniform
from .forms import to_layout
from .moves import perm_through
from .orders import Block, Order, block_of, is_static_block, order_of, segment_size

__all__ = ["Carried", "NodeRule", "carry", "forms", "moves", "node_rule", "perm_through", "to_layout"]


@applies(Elementwise)
def _elementwise(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Elementwise)
    listed = node.attrs[spec.axes] if spec.axes else ()
    if not listed:
        return uniform(node, rule, order)
    if any(not 0 <= a < len(order.inv) for a in listed):
        return None
    return uniform(node, rule, order, spec.axes, tuple(sorted(order.inv[a] for a in listed)))


@applies(Broadcast)
def _broadcast(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    out = node.outputs[0]
    full = out.shape
    if full is None or any(rank_of(o) != len(full) for o in node.outputs):
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
        done = uniform(node, rule, order)
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
    return Carried(need, (order,) * len(node.outputs), NONE, lifts or NONE)


@applies(Axis)
def _axis(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, Axis)
    a = node.attrs[spec.attr]
    if a is None and spec.or_none:
        return uniform(node, rule, order)
    if not isinstance(a, int) or not 0 <= a < len(order.perm):
        return None
    if spec.joins and not order.plain:
        return _joined(node, rule, slot, order, known, a)
    if spec.joins and any(not known[v].plain for v in node.inputs if v is not None and v in known):
        return _joined(node, rule, slot, order, known, a)
    done = uniform(node, rule, order, spec.attr, order.inv[a])
    block = None if order.plain else order.block(a)
    if done is not None and block is not None:
        if not spec.along or not is_static_block(block):
            return None
        params: Params = {}
        if not all(_param(node, rule, name, 0, block, params) for name in spec.along):
            return None
        return Carried(done.ins, done.outs, done.attrs, NONE, params)
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
    done = uniform(node, rule, base, rule.rule.attr, base.inv[a])
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
            if size is None:
                return None
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


@applies(Axes)
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
    if slot >= 0 or keep:
        full = order
    else:  # where the reduced axes go is settled only by what is known of the input
        hint = known.get(x)
        if hint is None or len(hint.perm) != r or hint.restrict(left) is not order:
            return None
        full = hint
    if len(full.perm) != r or any(rank_of(node.inputs[i]) != r for i in mains):
        return None
    if any(a in listed for a, _ in full.blocks):
        return None
    if any(rank_of(o) != len(left) for o in node.outputs):
        return None
    moved: Any = None if axes is None else full.inv[axes] if isinstance(axes, int) else tuple(full.inv[a] for a in listed)
    need: list[Order | None] = [None] * len(node.inputs)
    for i in mains:
        need[i] = full
    return Carried(need, (full if keep else full.restrict(left),) * len(node.outputs), {spec.attr: moved})


@applies(PerAxis)
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
    done = None if order.blocks else uniform(node, rule, order)
    return None if done is None else Carried(done.ins, done.outs, attrs)


@applies(LastAxes)
def _last_axes(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    spec = rule.rule
    assert isinstance(spec, LastAxes)
    r, k = len(order.perm), spec.k
    if r < k or order.perm[r - k :] != tuple(range(r - k, r)):
        return None
    mains = rule.main_inputs(node)
    if order.plain:
        if len(mains) == 1:
            return uniform(node, rule, order)
        full = node.outputs[0].shape
        if full is None or any(rank_of(v) != r for v in node.outputs) or any(rank_of(node.inputs[i]) < k for i in mains):
            return None
        if slot >= 0 and rank_of(node.inputs[slot]) != r:
            return None
        return _aligned(node, rule, order, full)
    if len(mains) != 1 or len(node.outputs) != 1 or k != 1 or any(a >= r - k for a, _ in order.blocks if a != r - 1):
        return None
    x, y = node.inputs[mains[0]], node.outputs[0]
    assert x is not None
    last, base = r - 1, order.without(r - 1)
    done = uniform(node, rule, base)
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
    return Carried(ins, (sides[1],), NONE, NONE, params)
