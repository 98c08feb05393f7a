"""The layout pass: every value in source order or in target order, chosen once for the whole graph by a minimum cut.

1. Layout-bearing nodes that are not in the wanted layout are the seeds; the orders they need spread through axis rules and
   give every value they reach one candidate (target) order.
2. Each node reached may run in the target order if its rule carries it; otherwise it is pinned to the source order.
3. A minimum cut (elements moved; symbolic sizes count as 1) picks a state per node.
4. :mod:`convcore.layout.rewrite` changes attributes, shapes and weights and puts in the transposes that are left.

A wrong candidate can only cost transposes, never correctness: step 4 converts between whatever orders meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from ..collector import without_collector
from ..errors import UsageError
from ..ir.graph import Graph, Node, Value
from ..opset.axes import Axis, Layout, Letters, Perm
from .choose import choose
from .convention import Convention
from .mincut import SOURCE, TARGET
from .orders import Order, order_of
from .report import LayoutReport, Unresolved
from .rewrite import Plan, rewrite
from .rules import Carried, NodeRule, carry, node_rule, to_layout

__all__ = ["Convention", "assign"]


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
    with without_collector():
        return _Assignment(graph, convention, io, io_overrides or {}).run()


class _Assignment:
    def __init__(self, graph: Graph, convention: Convention, io: str, overrides: Mapping[str, str | Sequence[int]]) -> None:
        self.graph, self.convention = graph, convention
        for name in convention.axis_required:
            found = node_rule(name)
            if found is None or not isinstance(found.rule, Axis):
                raise UsageError(f"axis_required names {name!r}, which is no op with one special axis")
        self.policy = _policies(graph, io, overrides, convention.layouts.get("channels"))
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
            state, turned = choose(
                self.graph, self.convention, self.rules, self.cand, self.cars, self.pins, self.touched, self._io_order
            )
            plan = Plan(
                self.graph, self.cand, self.label, self.cars, state, turned, self.pins,
                {v: self._io_order(v) for v in (*self.graph.inputs, *self.graph.outputs)}, self.policy, self.convention.layouts,
            )  # fmt: skip
            rewrite(plan, self.report)
        else:
            rewrite(Plan(self.graph, {}, {}, {}, {}, {}, {}, {}, self.policy, {}), self.report)
        rules = (node_rule(n.op) for n in self.graph)
        self.report.transposes = sum(r is not None and isinstance(r.rule, Perm) for r in rules)
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
                assert rule is not None and isinstance(rule.rule, Axis)  # checked at the start
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
            if isinstance(rule.rule, Letters):  # any order will do, so that of everything around it
                at = next(((i, v) for i, v in self._ends(node) if v in cand), None)
                whole = None if at is None else carry(node, rule, at[0], cand[at[1]], cand)
                if whole is not None:
                    cars[node] = whole
            done = cars.get(node)
            misses = -1 if done is None else self._misses(node, done)
            if misses == 0:
                continue
            best, least = (done, misses) if misses > 0 else (None, 0)
            for slot, v in self._ends(node):
                if v not in cand or (slot >= 0 and slot not in rule.main_inputs(node)):
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

    @staticmethod
    def _ends(node: Node) -> list[tuple[int, Value]]:
        """Outputs and inputs by slot."""
        ends = [*((~i, v) for i, v in enumerate(node.outputs)), *enumerate(node.inputs)]
        return [(i, v) for i, v in ends if v is not None]

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

    def _io_order(self, v: Value) -> Order | None:
        """The order a graph input or output must have; None: the source's."""
        policy = self.policy[v]
        if not isinstance(policy, str):
            return None if policy.identity else policy
        found = self.cand.get(v)
        if policy == "source" or found is None or not found.plain or v in self.weak:
            return None
        return found if found.perm[:1] in ((), (0,)) else None  # the batch stays first, also where a recurrence wants time there


def _transposed_at_once(v: Value, channels: str | None) -> Order | None:
    """The target's order of an image that the source itself brings there: an input only read by transposes into that order, an
    output made by a transpose out of it. None for any other value."""
    rank = v.rank or 0
    if rank < 3 or v.tensor is not None or channels not in ("channels_first", "channels_last"):
        return None
    first = (0, rank - 1, *range(1, rank - 1))
    last = (0, *range(2, rank), 1)
    into, out_of = (first, last) if channels == "channels_first" else (last, first)
    if v.producer is not None:
        found = v.producer.op == "transpose" and v.producer.attrs["perm"] == out_of
    else:
        found = bool(v.uses) and not v.is_output and all(u.op == "transpose" and u.attrs["perm"] == into for u in v.users)
    return order_of(into) if found else None


def _policies(
    graph: Graph, io: str, overrides: Mapping[str, str | Sequence[int]], channels: str | None = None
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
            order = _transposed_at_once(v, channels) if policy == "target" else None
            out[v] = policy if order is None else order
            continue
        perm = tuple(policy)
        if v.rank is None or sorted(perm) != list(range(v.rank)):
            raise UsageError(f"layout of {v.name!r}: {perm} is not a permutation of its axes")
        if v.tensor is not None:
            raise UsageError(f"layout of {v.name!r}: a constant output keeps its order")
        out[v] = order_of(perm)
    return out
