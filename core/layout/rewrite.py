"""Rewriting a graph once every node's state is known: attributes, shapes, weights, and the transposes that are left.

Whatever orders meet at an edge are converted, so the result is exact for any choice of states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..build.builder import Builder
from ..ir.graph import Graph, Node, Value
from ..opset.axes import Layout, Perm
from ..records import dataclass
from .fold import convert, lay_out
from .mincut import TARGET
from .orders import Block, Order, identity, moved_elements
from .report import IOLayout, LayoutReport, Remaining
from .rules import Carried, node_rule

__all__ = ["Plan", "rewrite"]


@dataclass
class Plan:
    """What the assignment decided."""

    graph: Graph
    cand: dict[Value, Order]
    label: dict[Order, tuple[str, str]]
    cars: dict[Node, Carried]
    state: dict[Node, int]  # of every node reached; for a transpose, as a consumer
    turned: dict[Node, int]  # of transposes, as producers
    pins: dict[Node, int]
    io: dict[Value, Order | None]
    policy: dict[Value, str | Order]
    layouts: Mapping[str, str]


_ConstKey = tuple["Order | None", tuple[int, ...], tuple[tuple[int, Block], ...]]


def rewrite(plan: Plan, report: LayoutReport) -> None:
    """Apply a plan to its graph and fill in the report."""
    if plan.cand or any(o is not None for o in plan.io.values()):
        _Rewriter(plan, report).run()
    g = plan.graph
    for kind, values in (("input", g.inputs), ("output", g.outputs)):
        for v in values:
            order = plan.io.get(v)
            policy = plan.policy.get(v, "source")
            perm = order.perm if order is not None else tuple(range(v.rank or 0))
            (report.inputs if kind == "input" else report.outputs)[v.name] = perm
            report.io.append(IOLayout(v.name, kind, perm, v.shape, policy if isinstance(policy, str) else "explicit"))


class _Rewriter:
    def __init__(self, plan: Plan, report: LayoutReport) -> None:
        self.plan, self.report, self.graph = plan, report, plan.graph
        self.stored: dict[Value, Order] = {}
        self.made: dict[tuple[Value, Order | None, tuple[int, ...]], Value] = {}
        self.consts: dict[Value, dict[_ConstKey, list[tuple[Node, int]]]] = {}
        self.transposes: list[Node] = []
        self.causes: dict[Node, str] = {}
        self.renamed: dict[str, str] = {}

    def run(self) -> None:
        plan = self.plan
        others: dict[Node, None] = {}  # nodes that only an explicit input order reaches
        for v, o in plan.io.items():
            if o is not None and v.producer is None:
                others.update((n, None) for n in v.users if n not in plan.state)
        for v in self.graph.inputs:
            o = plan.io.get(v)
            if o is not None:
                self._store(v, o)
        for node in plan.state:
            self._turn(node)
        for node in (*plan.state, *others):
            self._feed(node)
        for v, by_key in self.consts.items():
            self._constant(v, by_key)
        self._outputs()
        for node in self.transposes:
            self._drop_transpose(node)
        self._update_references()
        self.graph.prune_weights()

    # ---- nodes
    def _store(self, v: Value, o: Order) -> None:
        if o.identity:
            return
        self.stored[v] = o
        if v.shape is not None:
            v.shape = o.shape(v.shape)

    def _turn(self, node: Node) -> None:
        """Attributes and outputs of a node in its state."""
        plan = self.plan
        car = plan.cars.get(node)
        if car is not None:
            if plan.state.get(node) == TARGET:
                self.report.changed_nodes += 1
                if car.attrs:
                    node.attrs.update(car.attrs)
                for v, o in zip(node.outputs, car.outs):
                    if o is not None:
                        self._store(v, o)
            return
        rule = node_rule(node.op)
        if rule is None or not isinstance(rule.rule, Perm) or node in plan.pins or node not in plan.state:
            return
        x, y = node.inputs[0], node.output
        cx = plan.cand.get(x) if x is not None and plan.state[node] == TARGET else None
        cy = plan.cand.get(y) if plan.turned[node] == TARGET else None
        if cx is None and cy is None:
            return
        attr = rule.rule.attr
        perm = node.attrs[attr]
        same = identity(len(perm))
        a, b = cx or same, cy or same
        # axis i of what is stored of y is source axis b.perm[i] of y, hence perm[...] of x, stored at a.inv[...]
        node.attrs[attr] = tuple(a.inv[perm[p]] for p in b.perm)
        self.report.changed_nodes += 1
        if cy is not None:
            self._store(y, cy)
        if node.attrs[attr] == same.perm:
            self.transposes.append(node)

    def _feed(self, node: Node) -> None:
        """Connect every input in the order the node takes it."""
        plan, stored = self.plan, self.stored
        moved = plan.state.get(node) == TARGET
        car = plan.cars.get(node) if moved else None
        for i, v in enumerate(node.inputs):
            if v is None:
                continue
            q = car.ins[i] if car is not None else plan.cand.get(v) if moved else None
            if q is not None and q.identity:
                q = None
            lift = car.lifts.get(i, ()) if car is not None and car.lifts else ()
            if v.tensor is not None:
                params = tuple(car.params[i].items()) if car is not None and i in car.params else ()
                if q is not None or lift or params:
                    self.consts.setdefault(v, {}).setdefault((q, lift, params), []).append((node, i))
            elif stored.get(v) is not q or lift:
                node.set_input(i, self._converted(v, q, lift, node))

    def _converted(self, v: Value, q: Order | None, lift: tuple[int, ...], user: Node | None) -> Value:
        """``v`` in another order (None: the source's), made once per order."""
        key = (v, q, lift)
        found = self.made.get(key)
        if found is not None:
            return found
        if lift:
            base = v if self.stored.get(v) is q else self._converted(v, q, (), user)
            b = self._builder(base, user)
            out: Value = b.op("unsqueeze", base, axes=lift, node_name=self.graph.fresh_name(f"{v.name}/unsqueeze"))
        else:
            b = self._builder(v, user)
            rank = len(v.shape or ())
            have = self.stored.get(v) or identity(rank)
            name = self.graph.fresh_name(f"{v.name}/to_{self._label(v, q, user)}")
            before = v.shape or ()
            out = convert(b, v, have, q or identity(rank), name)
            self.graph.rename(out, name)
            source = have.source_shape(before)
            self.report.remaining.append(
                Remaining(
                    name, v.name, tuple(have.inv[p] for p in (q or identity(rank)).perm), before,
                    moved_elements(source, have, q or identity(rank)), self._cause(v, q, user),
                )
            )  # fmt: skip
        self.made[key] = out
        return out

    def _builder(self, v: Value, user: Node | None) -> Builder:
        """Inserts right after the value is made."""
        after = v.producer
        before = self.graph.first if after is None else after.next
        origin = after.origin if after is not None else user.origin if user is not None else None
        b = Builder(self.graph, before=before)
        if origin is not None:
            b.origin = origin.by("layout")
        made_by = after or user
        if made_by is not None:
            b.scope = made_by.scope
        return b

    def _label(self, v: Value, q: Order | None, user: Node | None) -> str:
        label, cand = self.plan.label, self.plan.cand.get(v)
        if q is None:
            return label[cand][1] if cand is not None else "source_order"
        if q is cand:
            return label[q][0]
        rule = None if user is None else node_rule(user.op)
        if user is not None and rule is not None and isinstance(rule.rule, Layout):
            return str(user.attrs[rule.rule.attr])
        return "other_order"

    def _cause(self, v: Value, q: Order | None, user: Node | None) -> str:
        """The node that keeps the source order, which is why a conversion is there."""
        plan = self.plan
        if v in self.stored and q is not None:
            return f"{user} which needs an order of its own" if user is not None else "an explicit output order"
        if user is None:
            return f"graph output {v.name!r}"
        if v in self.stored:  # towards the source order: look forward among consumers
            start: Node | None = user
        else:
            start = v.producer
            if start is None:
                return f"graph input {v.name!r}, which keeps the source's order"
        seen = {start}
        stack = [start]
        cause = ""
        while stack and not cause:
            n = stack.pop()
            if n is None:
                continue
            cause = self.causes.get(n, "")
            if not cause and (n in plan.pins or n not in plan.state):
                cause = f"{n}, which keeps the source's order"
            near = [u for w in n.outputs for u in w.users] + [w.producer for w in n.inputs if w is not None]
            for m in near:
                if m is not None and m not in seen and plan.state.get(m) != TARGET and m in plan.state:
                    seen.add(m)
                    stack.append(m)
        cause = cause or f"{user}"
        for n in seen:
            if n is not None:
                self.causes[n] = cause
        return cause

    # ---- constants
    def _constant(self, v: Value, by_key: dict[_ConstKey, list[tuple[Node, int]]]) -> None:
        """Permuted views; the value itself changes when all its uses do, else a second weight shares its storage."""
        assert v.tensor is not None
        tensor = v.tensor
        alone = len(by_key) == 1 and sum(map(len, by_key.values())) == len(v.uses) and v not in self.plan.io
        for (q, lift, params), uses in by_key.items():
            new = lay_out(tensor, q, lift, dict(params))
            self.report.folded_weights += 1
            if alone:
                v.tensor, v.shape = new, new.shape
                continue
            w = self.graph.add_weight(f"{v.name}/re-laid", new, like=v)
            if v.trainable:
                self.report.duplicated.append(v.name)
            for node, i in uses:
                node.set_input(i, w)

    # ---- the graph's own outputs
    def _outputs(self) -> None:
        plan, g = self.plan, self.graph
        done: dict[Value, Value] = {}
        for k, v in enumerate(g.outputs):
            want = plan.io.get(v)
            if self.stored.get(v) is want or v.tensor is not None:
                continue
            if v not in done:
                out = self._converted(v, want, (), None)
                if v.producer is not None:
                    self._swap_names(v, out, want)
                plan.io[out] = want
                if v in plan.policy:
                    plan.policy[out] = plan.policy[v]
                done[v] = out
            g.outputs[k] = done[v]

    def _swap_names(self, v: Value, out: Value, want: Order | None) -> None:
        """An output of the graph keeps its name; what was called so is now an inner value."""
        name = v.name
        label = "source_order" if want is not None else self._label(v, self.stored.get(v), None)
        self.graph.rename(v, self.graph.fresh_name(f"{name}/{label}"))
        self.graph.rename(out, name)
        self.renamed[name] = v.name

    def _drop_transpose(self, node: Node) -> None:
        """A transpose that became the identity goes; one whose result is a graph output stays as ``identity`` for its name."""
        x, y = node.inputs[0], node.output
        assert x is not None
        self.report.removed += 1
        if y.is_output:
            node.op = "identity"
            node.attrs = {}
            node.origin = node.origin.by("layout")
            return
        y.replace_uses(x)
        self.graph.remove(node)

    def _update_references(self) -> None:
        """The report must not list names that changed."""
        remaining = self.report.remaining
        remaining[:] = [replace(r, value=self.renamed.get(r.value, r.value)) for r in remaining]
