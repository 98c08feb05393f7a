"""What a rule answers about one node, and what the pass asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..ir.graph import Node, Value
from ..opset import find_op
from ..opset.axes import AxisRule
from ..opset.declare import Op
from .orders import Block, Order

__all__ = ["Apply", "Carried", "Known", "NodeRule", "applies", "carry", "node_rule", "rank_of", "uniform"]

Known = Mapping[Value, Order]
NONE: Mapping[Any, Any] = MappingProxyType({})


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
        attrs: Mapping[str, Any] = NONE,
        lifts: Mapping[int, tuple[int, ...]] = NONE,
        params: Mapping[int, Mapping[int, Block]] = NONE,
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


Apply = Callable[[Node, NodeRule, int, Order, Known], "Carried | None"]
_APPLY: dict[type[AxisRule], Apply] = {}


def applies(*kinds: type[AxisRule]) -> Callable[[Apply], Apply]:
    """Registers the interpretation of a kind of rule. A kind without one is treated as opaque."""

    def register(fn: Apply) -> Apply:
        for kind in kinds:
            _APPLY[kind] = fn
        return fn

    return register


def carry(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    """All orders of a node when input ``slot`` (or output ``~slot``) has ``order``.

    ``known`` holds orders of other values that settle a choice where the rule leaves one (axes of size 1, concat).
    """
    if rule.apply is None:
        return None
    done = rule.apply(node, rule, slot, order, known)
    if done is not None and not order.plain:  # what is permuted inside an axis is reshaped where it is converted
        for o, v in (*zip(done.ins, node.inputs), *zip(done.outs, node.outputs)):
            if o is not None and not o.plain and v is not None and None in (v.shape or ()):
                return None
    if done is not None and rule.rule.stay:
        for o in (*done.ins, *done.outs):
            if o is not None and any(a >= len(o.perm) or o.perm[a] != a or o.block(a) for a in rule.rule.stay):
                return None
    return done


def rank_of(v: Value | None) -> int:
    return -1 if v is None or v.shape is None else len(v.shape)


def uniform(node: Node, rule: NodeRule, order: Order, name: str = "", value: Any = None) -> Carried | None:
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
        found = rule.alike[key] = Carried(tuple(need), (order,) * len(outs), {name: value} if name else NONE)
    return found
