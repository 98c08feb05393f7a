"""The layout pass: every value in source order or in target order, chosen once for the whole graph by a minimum cut.

1. Layout-bearing nodes that are not in the wanted layout are the seeds; the orders they need spread through axis rules and
   give every value they reach one candidate (target) order.
2. Each node reached may run in the target order if its rule carries it; otherwise it is pinned to the source order.
3. A minimum cut (elements moved; symbolic sizes count as 1) picks a state per node.
4. :mod:`convcore.layout.rewrite` changes attributes, shapes and weights and puts in the transposes that are left.

A wrong candidate can only cost transposes, never correctness: step 4 converts between whatever orders meet.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import UsageError
from ..ir.graph import Graph, Node, Value
from ..ops.axes import Axis, Layout, Perm
from .mincut import FREE, SOURCE, TARGET, Choice
from .orders import Order, identity, moved_elements, order_of
from .report import LayoutReport, Unresolved
from .rewrite import Plan, rewrite
from .rules import Carried, NodeRule, carry, node_rule, perm_through, to_layout

__all__ = ["Convention", "assign"]

_SCALE = 1 << 20  # one moved element, in units of a soft preference


@dataclass(frozen=True)
class Convention:
    """What a target wants.

    ``layouts``: layout family -> wanted value, e.g. ``{"channels": "channels_first", "time": "time_major"}``; ops of a family that is
    not named may have either. ``ops`` overrides it for single ops (None: either). ``axis_at``: ops whose axis the target prefers at
    a position (breaks ties only); ``axis_required``: ops for which transposes are put in to get it there.
    """

    layouts: Mapping[str, str] = field(default_factory=dict)
    ops: Mapping[str, str | None] = field(default_factory=dict)
    axis_at: Mapping[str, int] = field(default_factory=dict)
    axis_required: Mapping[str, int] = field(default_factory=dict)

    def wanted(self, op: str, rule: Layout) -> str | None:
        """The layout wanted for an op; None if any will do."""
        return self.ops[op] if op in self.ops else self.layouts.get(rule.family)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cyclic collector still: the pass makes many small objects and no garbage, and would be traversed for nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def assign(
    graph: Graph,
    convention: Convention,
    io: str = "target",
    io_overrides: Mapping[str, str | Sequence[int]] | None = None,
) -> LayoutReport:
    """Rewrite ``graph`` in place so that every layout-bearing node has the wanted layout, with as few moved elements as possible.

    ``io``: whether graph inputs and outputs that have a target order take it ("target") or keep the source's ("source");
    ``io_overrides`` says it for single ones by name, also as an explicit permutation (axis i becomes axis ``perm[i]`` of the
    source). Bodies of control flow keep the order of their inputs and outputs. Raises UsageError for an unknown policy or name.
    """
    with _no_collection():
        return _Assignment(graph, convention, io, io_overrides or {}).run()


class _Assignment:
    def __init__(
        self, graph: Graph, convention: Convention, io: str, overrides: Mapping[str, str | Sequence[int]]
    ) -> None:
        self.graph, self.convention = graph, convention
        self.policy = _policies(graph, io, overrides)
        self.report = LayoutReport()
        self.rules: dict[str, NodeRule | None] = {}
        self.pins: dict[Node, int] = {}
        self.cars: dict[Node, Carried] = {}
        self.touched: dict[Node, None] = {}
        self.cand: dict[Value, Order] = {}
        self.label: dict[Order, tuple[str, str]] = {}  # what an order and the source's are called
        self.weak: set[Value] = set()
        self.explicit: dict[Value, Order] = {}

    def run(self) -> LayoutReport:
        seeds = self._scan()
        if seeds or self.explicit:
            self._candidates(seeds)
            self._settle()
            state, turned = self._choose()
            plan = Plan(
                self.graph, self.cand, self.label, self.cars, state, turned, self.pins,
                {v: self._io_order(v) for v in (*self.graph.inputs, *self.graph.outputs)}, self.policy, self.convention.layouts,
            )  # fmt: skip
            rewrite(plan, self.report)
        else:
            rewrite(Plan(self.graph, {}, {}, {}, {}, {}, {}, {}, self.policy, {}), self.report)
        return self.report

    # ---- 1. seeds
    def _scan(self) -> list[tuple[Node, Carried]]:
        seeds: list[tuple[Node, Carried]] = []
        convention, rules = self.convention, self.rules
        bearing: dict[str, Layout | None] = {}
        required = convention.axis_required
        for node in self.graph:
            op = node.op
            if op not in bearing:
                found = rules[op] = node_rule(op)
                bearing[op] = found.rule if found is not None and isinstance(found.rule, Layout) else None
            if node.regions:
                self._regions(node)
            spec = bearing[op]
            if spec is not None:
                want = convention.wanted(op, spec)
                if want is None:
                    continue
                if node.attrs[spec.attr] == want:
                    self.pins[node] = SOURCE
                    continue
                rule = rules[op]
                done = None if rule is None or not rule.movable else to_layout(node, rule, want)
                self._seed(node, done, seeds, f"cannot be brought into {want}: the number of axes of its values is unknown")
            elif required and op in required:
                rule = rules[op]
                if rule is None or not isinstance(rule.rule, Axis):
                    raise UsageError(f"axis_required names {op!r}, which has no axis attribute")
                self._seed_axis(node, rule, rule.rule.attr, required[op], seeds)
        for v, p in self.policy.items():
            if not isinstance(p, str):
                self.explicit[v] = p
        return seeds

    def _regions(self, node: Node) -> None:
        for region in node.regions:
            self.report.regions.append(assign(region, self.convention, "source"))

    def _seed(self, node: Node, done: Carried | None, seeds: list[tuple[Node, Carried]], why: str) -> None:
        if done is None:
            self.pins[node] = SOURCE
            self.report.unresolved.append(Unresolved(node.name, node.op, str(node.origin), why))
        else:
            self.pins[node] = TARGET
            self.cars[node] = done
            seeds.append((node, done))

    def _seed_axis(self, node: Node, rule: NodeRule, attr: str, at: int, seeds: list[tuple[Node, Carried]]) -> None:
        x = node.inputs[0]
        rank = None if x is None else x.rank
        axis = node.attrs[attr]
        if rank is None:
            self._seed(node, None, seeds, f"its axis cannot be brought to {at}: the number of axes is unknown")
            return
        if not -rank <= at < rank or axis == at % rank:
            return
        perm = [a for a in range(rank) if a != axis]
        perm.insert(at % rank, axis)
        done = carry(node, rule, 0, order_of(perm), {})
        self._seed(node, done, seeds, f"its axis {axis} cannot be brought to {at}")

    # ---- 2. candidates
    def _candidates(self, seeds: list[tuple[Node, Carried]]) -> None:
        cand, label = self.cand, self.label
        queue: deque[Value] = deque()
        for node, done in seeds:
            for v, o in zip(node.outputs, done.outs):
                if o is not None and not o.identity:
                    cand[v] = o
                    if o not in label:
                        label[o] = self._names(node, done)
                    queue.append(v)
        for node, done in seeds:
            for u, o in zip(node.inputs, done.ins):
                if u is not None and o is not None and not o.identity and u.tensor is None and u not in cand:
                    cand[u] = o
                    if o not in label:
                        label[o] = self._names(node, done)
                    queue.append(u)
        for v, o in self.explicit.items():
            if not o.identity and v.tensor is None and v not in cand:
                cand[v] = o
                label.setdefault(o, ("explicit_order", "source_order"))
                queue.append(v)
        joins: deque[tuple[Node, int, Value]] = deque()
        perms: deque[tuple[Node, int, Value]] = deque()
        visit = self._visit
        while True:
            while queue:
                v = queue.popleft()
                o = cand[v]
                if v.producer is not None:
                    visit(v.producer, ~v.index, v, o, queue, joins, perms)
                for user, i in v.uses:
                    visit(user, i, v, o, queue, joins, perms)
            if joins:
                node, slot, v = joins.popleft()
            elif perms:
                node, slot, v = perms.popleft()
            else:
                break
            self._spread(node, slot, v, cand[v], queue)

    def _names(self, node: Node, done: Carried) -> tuple[str, str]:
        rule = self.rules[node.op]
        if rule is not None and isinstance(rule.rule, Layout):
            return str(done.attrs[rule.rule.attr]), str(node.attrs[rule.rule.attr])
        return "axis_order", "source_order"

    def _visit(
        self, node: Node, slot: int, v: Value, o: Order, queue: deque[Value],
        joins: deque[tuple[Node, int, Value]], perms: deque[tuple[Node, int, Value]],
    ) -> None:  # fmt: skip
        self.touched[node] = None
        if node in self.pins:
            return
        done = self.cars.get(node)
        if done is not None and (done.ins[slot] if slot >= 0 else done.outs[~slot]) is o:
            return
        op = node.op
        if op in self.rules:
            rule = self.rules[op]
        else:
            rule = self.rules[op] = node_rule(op)
        if rule is None or not rule.movable:
            self.pins[node] = SOURCE
            return
        spec = rule.rule
        if isinstance(spec, Perm):
            perms.append((node, slot, v))
        elif isinstance(spec, Axis) and spec.joins and slot >= 0 and not o.plain:
            joins.append((node, slot, v))
        else:
            self._spread(node, slot, v, o, queue)

    def _spread(self, node: Node, slot: int, v: Value, o: Order, queue: deque[Value]) -> None:
        """Give the candidates that follow from one to the other values of a node."""
        rule = self.rules[node.op]
        assert rule is not None
        if slot >= 0 and rule.fixed and slot not in rule.main_inputs(node):
            return
        cand = self.cand
        done = carry(node, rule, slot, o, cand)
        if done is None:
            return
        self.cars.setdefault(node, done)
        weak = v in self.weak or isinstance(rule.rule, Perm)
        for u, q in zip(node.inputs, done.ins):
            if q is not None and not q.identity and u is not None and u not in cand and u.tensor is None:
                cand[u] = q
                if q is not o:
                    self.label.setdefault(q, self.label[o])
                queue.append(u)
                if weak:
                    self.weak.add(u)
        for u, q in zip(node.outputs, done.outs):
            if q is not None and not q.identity and u not in cand:
                cand[u] = q
                if q is not o:
                    self.label.setdefault(q, self.label[o])
                queue.append(u)
                if weak:
                    self.weak.add(u)

    # ---- 3. what each node can do, given the candidates
    def _settle(self) -> None:
        """Fix for every node reached what running in target order means, or pin it to the source order."""
        cand, cars, pins = self.cand, self.cars, self.pins
        for node in self.touched:
            if node in pins:
                continue
            rule = self.rules[node.op]
            assert rule is not None
            if isinstance(rule.rule, Perm):
                cars.pop(node, None)
                continue
            done = cars.get(node)
            misses = -1 if done is None else self._misses(node, done)
            if misses == 0:
                continue
            best, least = (done, misses) if misses > 0 else (None, 0)
            for slot, v in [*((~i, v) for i, v in enumerate(node.outputs)), *enumerate(node.inputs)]:
                if v is None or v not in cand or (slot >= 0 and slot not in rule.main_inputs(node)):
                    continue
                other = carry(node, rule, slot, cand[v], cand)
                if other is not None:
                    n = self._misses(node, other)
                    if n >= 0 and (best is None or n < least):
                        best, least = other, n
            if best is None:
                pins[node] = SOURCE
                cars.pop(node, None)
            else:
                cars[node] = best

    def _misses(self, node: Node, done: Carried) -> int:
        """How many inputs would need a third order; -1 if an output would."""
        cand = self.cand
        for v, o in zip(node.outputs, done.outs):
            c = cand.get(v)
            if c is not o and not (c is None and (o is None or o.identity)):
                return -1
        n = 0
        for u, o in zip(node.inputs, done.ins):
            if u is not None and o is not None and u.tensor is None and not o.identity and cand.get(u) is not o:
                n += 1
        return n

    # ---- 4. the cut
    def _choose(self) -> tuple[dict[Node, int], dict[Node, int]]:
        """State of every node reached, for transposes as consumers; their states as producers apart."""
        choice = Choice()
        s_var, t_var = choice.variable(SOURCE), choice.variable(TARGET)
        cand, cars, pins = self.cand, self.cars, self.pins
        var_in: dict[Node, int] = {}
        var_out: dict[Node, int] = {}
        for node in self.touched:
            pin = pins.get(node)
            if pin is not None:
                var_in[node] = t_var if pin == TARGET else s_var
            elif node in cars:
                var_in[node] = choice.variable(FREE)
                if self.convention.axis_at:
                    self._preference(choice, node, var_in[node])
            else:
                self._transpose(choice, node, s_var, var_in, var_out)
        outputs: dict[Value, None] = dict.fromkeys(self.graph.outputs)
        for v, o in cand.items():
            shape = v.shape
            assert shape is not None
            weight = moved_elements(shape, identity(len(shape)), o) * _SCALE
            if not o.plain:  # three nodes instead of one: rather before the reshape
                weight += _SCALE >> 1
            p = s_var
            if v.producer is None:
                if self._io_order(v) is o:
                    p = t_var
            else:
                car = cars.get(v.producer)
                if car is None:
                    p = var_out.get(v.producer, s_var)
                elif car.outs[v.index] is o:
                    p = var_in[v.producer]
            both: list[int] = []
            extra: list[int] = []
            for user, i in v.uses:
                c = var_in[user]
                if c != s_var:
                    car = cars.get(user)
                    if car is not None:
                        q = car.ins[i]
                        if q is None or q.identity:
                            c = s_var
                        elif q is not o:
                            extra.append(c)
                            choice.unary(c, target=weight)
                            continue
                both.append(c)
            if v in outputs:
                both.append(t_var if self._io_order(v) is o else s_var)
            if both:
                choice.link(p, both, weight, SOURCE)
            if both or extra:
                choice.link(p, both + extra if extra else both, weight, TARGET)
        state = choice.solve()
        for node in var_in:
            var_in[node] = state[var_in[node]]
        return var_in, {n: state[x] for n, x in var_out.items()}

    def _preference(self, choice: Choice, node: Node, var: int) -> None:
        at = self.convention.axis_at.get(node.op)
        rule = self.rules[node.op]
        if at is None or rule is None or not isinstance(rule.rule, Axis):
            return
        attr = rule.rule.attr
        rank = node.inputs[0].rank if node.inputs[0] is not None else None
        if rank is None or not -rank <= at < rank:
            return
        good_s, good_t = node.attrs[attr] == at % rank, self.cars[node].attrs[attr] == at % rank
        if good_s != good_t:
            choice.unary(var, source=0 if good_s else 1, target=0 if good_t else 1)

    def _transpose(
        self, choice: Choice, node: Node, s_var: int, var_in: dict[Node, int], var_out: dict[Node, int]
    ) -> None:
        """A transpose of the source model absorbs an order on either side; it costs nothing where it becomes the identity."""
        x, y = node.inputs[0], node.output
        assert x is not None
        spec = node_rule(node.op)
        assert spec is not None and isinstance(spec.rule, Perm)
        perm = node.attrs[spec.rule.attr]
        cx, cy = self.cand.get(x), self.cand.get(y)
        var_in[node] = var_out[node] = s_var
        if x.shape is None or len(perm) != len(x.shape):
            self.pins[node] = SOURCE
            return
        same = identity(len(perm))
        weight = moved_elements(x.shape, same, order_of(perm)) * _SCALE
        if cx is not None and cy is not None and not (cx.plain and cy.plain) and perm_through(perm, cx) is cy:
            var_in[node] = var_out[node] = choice.variable(FREE)
            choice.unary(var_in[node], source=weight)
            return
        if cx is not None and cx.plain:
            var_in[node] = choice.variable(FREE)
        if cy is not None and cy.plain:
            var_out[node] = choice.variable(FREE)

        def price(i: Order | None, o: Order | None) -> int:
            return 0 if perm_through(perm, i or same) is (o or same) else weight

        a, b = price(None, None), price(None, cy if cy is not None and cy.plain else None)
        top = cx if cx is not None and cx.plain else None
        c, d = price(top, None), price(top, cy if cy is not None and cy.plain else None)
        if b + c - a - d < 0:  # no cut can express it: the transpose counts as free
            return
        for var, gain in ((var_in[node], c - a), (var_out[node], d - c)):
            if var != s_var:
                choice.unary(var, source=max(0, -gain), target=max(0, gain))
        if var_in[node] != s_var and var_out[node] != s_var:
            choice.pair(var_in[node], var_out[node], b + c - a - d)

    def _io_order(self, v: Value) -> Order | None:
        """The order a graph input or output must have; None: the source's."""
        policy = self.policy[v]
        if not isinstance(policy, str):
            return None if policy.identity else policy
        found = self.cand.get(v)
        if policy == "source" or found is None or not found.plain or v in self.weak:
            return None
        return found


def _policies(
    graph: Graph, io: str, overrides: Mapping[str, str | Sequence[int]]
) -> dict[Value, str | Order]:
    """Per graph input and output "source", "target" or an explicit order."""
    out: dict[Value, str | Order] = {}
    ends = dict.fromkeys((*graph.inputs, *graph.outputs))
    unknown = sorted(set(overrides) - {v.name for v in ends})
    if unknown:
        names = ", ".join(repr(v.name) for v in ends)
        raise UsageError(f"layout given for {', '.join(map(repr, unknown))}, but inputs and outputs are {names}")
    for v in ends:
        policy = overrides.get(v.name, io)
        if isinstance(policy, str):
            if policy not in ("source", "target"):
                raise UsageError(f"layout of {v.name!r}: {policy!r} is neither 'source', 'target' nor a permutation")
            out[v] = policy
            continue
        perm = tuple(policy)
        if v.rank is None or sorted(perm) != list(range(v.rank)):
            raise UsageError(f"layout of {v.name!r}: {perm} is not a permutation of its axes")
        if v.tensor is not None:
            raise UsageError(f"layout of {v.name!r}: a constant output keeps its order")
        out[v] = order_of(perm)
    return out
