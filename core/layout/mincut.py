"""Choosing one of two states per variable at least cost: an exact minimum cut.

States are ``SOURCE`` (0) and ``TARGET`` (1). A :class:`Choice` collects variables, some of them pinned, and costs:

* ``value(p, consumers, w)``: p produces something that the consumers take. ``w`` is paid once if any consumer is in another
  state than p: one transpose serves all uses.
* ``unary(v, source, target)``: the cost of either state alone.
* ``pair(a, b, w)``: ``w`` if a is SOURCE and b is TARGET.

All of these are submodular, so a cut finds the optimum (Kolmogorov & Zabih 2004). Pinned variables are taken out first; what is
left falls into components, most of which border on pins of one state only and need no flow. Flow is Dinic's, iterative.

By hand, because the core depends on numpy alone and the alternatives measured worse: networkx takes 30 times as long for the same
cut, scipy's kernel holds capacities in int32. networkx is the judge in ``tests/layout/test_mincut.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

__all__ = ["SOURCE", "TARGET", "Choice"]

SOURCE, TARGET, FREE = 0, 1, -1
_INF = 1 << 60


class Choice:
    """One problem. Variables are small integers handed out by :meth:`variable`."""

    __slots__ = ("base", "links", "pins", "unaries")

    def __init__(self) -> None:
        self.pins: list[int] = []
        self.unaries: dict[int, list[int]] = {}
        # (p, consumers, w, kind): kind 0: w if p is SOURCE and any consumer TARGET; kind 1: the reverse
        self.links: list[tuple[int, Sequence[int], int, int]] = []
        self.base = 0  # cost that is paid whatever is chosen

    def variable(self, pin: int = FREE) -> int:
        self.pins.append(pin)
        return len(self.pins) - 1

    def unary(self, v: int, source: int = 0, target: int = 0) -> None:
        pin = self.pins[v]
        if pin != FREE:
            self.base += source if pin == SOURCE else target
            return
        u = self.unaries.get(v)
        if u is None:
            self.unaries[v] = [source, target]
        else:
            u[0] += source
            u[1] += target

    def value(self, p: int, consumers: Sequence[int], w: int) -> None:
        self.link(p, consumers, w, 0)
        self.link(p, consumers, w, 1)

    def pair(self, a: int, b: int, w: int) -> None:
        self.link(a, (b,), w, 0)

    def link(self, p: int, consumers: Sequence[int], w: int, kind: int) -> None:
        """``w`` if p is in state ``kind`` and any consumer is in the other one."""
        if w <= 0 or not consumers:
            return
        pins = self.pins
        other = 1 - kind
        at = pins[p]
        if at == other:
            return
        free = []
        for c in consumers:
            state = pins[c]
            if state == other:  # paid as soon as p is in state ``kind``
                if at == kind:
                    self.base += w
                elif kind == SOURCE:
                    self.unary(p, source=w)
                else:
                    self.unary(p, target=w)
                return
            if state == FREE and c != p:
                free.append(c)
        if not free:
            return
        if at == kind and len(free) == 1:
            if kind == SOURCE:
                self.unary(free[0], target=w)
            else:
                self.unary(free[0], source=w)
            return
        self.links.append((p, free, w, kind))

    def solve(self) -> list[int]:
        """A state per variable of least total cost; among equals the one with most variables in TARGET."""
        pins, links, unaries = self.pins, self.links, self.unaries
        state = list(pins)
        parent = list(range(len(pins)))

        def find(v: int) -> int:
            root = v
            while parent[root] != root:
                root = parent[root]
            while parent[v] != root:
                parent[v], v = root, parent[v]
            return root

        for p, cs, _, _ in links:
            root = find(cs[0])
            if pins[p] == FREE:
                other = find(p)
                parent[other] = root
            for c in cs[1:]:
                parent[find(c)] = root
        wish = defaultdict[int, int](int)  # bit 1: something prefers SOURCE, bit 2: TARGET
        for v, (s, t) in unaries.items():
            root = find(v)
            wish[root] |= (1 if t else 0) | (2 if s else 0)
        for p, cs, _, kind in links:
            if pins[p] != FREE:
                root = find(cs[0])
                wish[root] |= 1 if kind == SOURCE else 2
        hard: dict[int, list[int]] = {}
        for v, pin in enumerate(pins):
            if pin == FREE:
                root = find(v)
                bits = wish[root]
                if bits == 3:
                    hard.setdefault(root, []).append(v)
                else:
                    state[v] = TARGET if bits == 2 else SOURCE
        if hard:
            inside: dict[int, list[tuple[int, Sequence[int], int, int]]] = {}
            for link in links:
                root = find(link[1][0])
                if root in hard:
                    inside.setdefault(root, []).append(link)
            for root, members in hard.items():
                if len(members) == 1:
                    s, t = unaries[members[0]]
                    state[members[0]] = SOURCE if s < t else TARGET
                else:
                    self._cut(members, inside[root], state)
        return state

    def _cut(self, members: list[int], links: list[tuple[int, Sequence[int], int, int]], state: list[int]) -> None:
        """Solve one component by maximum flow."""
        local = {v: i + 2 for i, v in enumerate(members)}
        flow = _Flow(len(members) + 2)  # 0: source of the flow (state SOURCE), 1: sink (TARGET)
        for v in members:
            u = self.unaries.get(v)
            if u is not None:
                same = min(u)
                if u[0] > same:
                    flow.edge(local[v], 1, u[0] - same)
                elif u[1] > same:
                    flow.edge(0, local[v], u[1] - same)
        pins = self.pins
        for p, cs, w, kind in links:
            end = pins[p] if pins[p] != FREE else local[p]
            if len(cs) == 1:
                c = local[cs[0]]
                if kind == SOURCE:
                    flow.edge(end, c, w)
                else:
                    flow.edge(c, end, w)
                continue
            mid = flow.node()
            if kind == SOURCE:
                flow.edge(end, mid, w)
                for v in cs:
                    flow.edge(mid, local[v], _INF)
            else:
                flow.edge(mid, end, w)
                for v in cs:
                    flow.edge(local[v], mid, _INF)
        reached = flow.run()
        for v in members:
            state[v] = SOURCE if reached[local[v]] else TARGET

    def cost(self, state: Sequence[int]) -> int:
        """What an assignment costs (pins are taken as given)."""
        total = self.base
        for v, u in self.unaries.items():
            total += u[state[v]]
        for p, cs, w, kind in self.links:
            if state[p] == kind and any(state[c] != kind for c in cs):
                total += w
        return total


class _Flow:
    """Dinic's maximum flow from node 0 to node 1 on arrays, without recursion."""

    __slots__ = ("adj", "cap", "to")

    def __init__(self, n: int) -> None:
        self.adj: list[list[int]] = [[] for _ in range(n)]
        self.to: list[int] = []
        self.cap: list[int] = []

    def node(self) -> int:
        self.adj.append([])
        return len(self.adj) - 1

    def edge(self, u: int, v: int, cap: int) -> None:
        e = len(self.to)
        self.to += (v, u)
        self.cap += (cap, 0)
        self.adj[u].append(e)
        self.adj[v].append(e + 1)

    def run(self) -> list[bool]:
        """Saturate; returns which nodes are still reachable from node 0."""
        adj, to, cap = self.adj, self.to, self.cap
        n = len(adj)
        while True:
            level = [-1] * n
            level[1] = 0  # distances to the sink, so that only useful nodes are explored
            frontier = [1]
            while frontier and level[0] < 0:
                following = []
                for v in frontier:
                    d = level[v] + 1
                    for e in adj[v]:
                        u = to[e]
                        if level[u] < 0 and cap[e ^ 1]:
                            level[u] = d
                            following.append(u)
                frontier = following
            if level[0] < 0:
                break
            arc = [0] * n
            path: list[int] = []
            u = 0
            while True:
                if u == 1:
                    push = min(cap[e] for e in path)
                    back = 0
                    for k in range(len(path) - 1, -1, -1):
                        e = path[k]
                        cap[e] -= push
                        cap[e ^ 1] += push
                        if not cap[e]:
                            back = k
                    u = to[path[back] ^ 1]
                    del path[back:]
                    continue
                edges = adj[u]
                i = arc[u]
                need = level[u] - 1
                while i < len(edges):
                    e = edges[i]
                    if cap[e] and level[to[e]] == need:
                        break
                    i += 1
                arc[u] = i
                if i < len(edges):
                    path.append(edges[i])
                    u = to[edges[i]]
                elif path:
                    e = path.pop()
                    u = to[e ^ 1]
                    arc[u] += 1
                else:
                    break
        seen = [False] * n
        seen[0] = True
        stack = [0]
        while stack:
            u = stack.pop()
            for e in adj[u]:
                v = to[e]
                if cap[e] and not seen[v]:
                    seen[v] = True
                    stack.append(v)
        return seen
