"""The solver against trying every assignment, and against networkx."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import pytest

from convcore.layout.mincut import FREE, SOURCE, TARGET, Choice


def _random(rng: random.Random, low: int = 2, high: int = 9) -> tuple[Choice, list[int], list[tuple], list[tuple], list[tuple]]:
    """A problem together with its terms, kept apart so that the check does not go through the solver's own bookkeeping."""
    n = rng.randint(low, high)
    c = Choice()
    pins = [rng.choice([FREE, FREE, FREE, SOURCE, TARGET]) for _ in range(n)]
    for p in pins:
        c.variable(p)
    values, unary, pairs = [], [], []
    for p in range(n):
        later = [v for v in range(n) if v != p]
        for _ in range(rng.randint(0, 2)):
            cs = rng.sample(later, rng.randint(1, min(3, len(later))))
            values.append((p, cs, rng.choice([1, 2, 3, 5, 8, 13])))
    for _ in range(rng.randint(0, 3)):
        unary.append((rng.randrange(n), rng.randint(0, 4), rng.randint(0, 4)))
    for _ in range(rng.randint(0, 2)):
        a, b = rng.sample(range(n), 2)
        pairs.append((a, b, rng.randint(1, 6)))
    for t in values:
        c.value(*t)
    for t in unary:
        c.unary(*t)
    for t in pairs:
        c.pair(*t)
    return c, pins, values, unary, pairs


def _price(state: tuple[int, ...], values: list[tuple], unary: list[tuple], pairs: list[tuple]) -> int:
    total = sum(w for p, cs, w in values if any(state[c] != state[p] for c in cs))
    total += sum((s, t)[state[v]] for v, s, t in unary)
    return total + sum(w for a, b, w in pairs if state[a] == SOURCE and state[b] == TARGET)


def test_equals_brute_force_on_2000_random_problems() -> None:
    rng = random.Random(1)
    for case in range(2000):
        c, pins, values, unary, pairs = _random(rng)
        got = c.solve()
        assert all(p in (FREE, g) for p, g in zip(pins, got)) and FREE not in got, case
        free = [i for i, p in enumerate(pins) if p == FREE]
        best = None
        for bits in itertools.product((SOURCE, TARGET), repeat=len(free)):
            state = list(pins)
            for i, b in zip(free, bits):
                state[i] = b
            price = _price(tuple(state), values, unary, pairs)
            assert price == c.cost(state)
            best = price if best is None else min(best, price)
        assert _price(tuple(got), values, unary, pairs) == best, case


def _network(pins: list[int], values: list[tuple], unary: list[tuple], pairs: list[tuple]) -> nx.DiGraph:
    """The textbook construction: SOURCE is the side of "s"; an edge is paid where it leaves that side."""
    g = nx.DiGraph()
    g.add_nodes_from(["s", "t", *range(len(pins))])

    def edge(a: object, b: object, w: int | None) -> None:
        if w is None:
            g.add_edge(a, b)  # without capacity: never cut
        elif g.has_edge(a, b):
            g[a][b]["capacity"] += w
        else:
            g.add_edge(a, b, capacity=w)

    for v, p in enumerate(pins):
        if p != FREE:
            edge(*(("s", v) if p == SOURCE else (v, "t")), None)
    for i, (p, consumers, w) in enumerate(values):
        edge(p, ("late", i), w)
        edge(("early", i), p, w)
        for c in consumers:
            edge(("late", i), c, None)
            edge(c, ("early", i), None)
    for i, (v, source, target) in enumerate(unary):
        edge(v, ("source", i), source)  # nodes of their own: a pinned variable has an edge that is never cut already
        edge(("source", i), "t", None)
        edge("s", ("target", i), None)
        edge(("target", i), v, target)
    for i, (a, b, w) in enumerate(pairs):
        edge(a, ("pair", i), w)
        edge(("pair", i), b, None)
    return g


def test_equals_networkx_on_problems_too_large_to_try() -> None:
    rng = random.Random(2)
    for case in range(60):
        c, pins, values, unary, pairs = _random(rng, 40, 90)
        got = c.solve()
        assert all(p in (FREE, g) for p, g in zip(pins, got)), case
        least = nx.minimum_cut_value(_network(pins, values, unary, pairs), "s", "t")
        assert _price(tuple(got), values, unary, pairs) == least == c.cost(got), case


def test_ties_go_to_target() -> None:
    c = Choice()
    a, b, x = c.variable(TARGET), c.variable(SOURCE), c.variable()
    c.value(a, [x], 7)
    c.value(x, [b], 7)
    assert c.solve()[x] == TARGET


@pytest.mark.parametrize("n", [50_000])
def test_long_chain_with_conflict_is_solved_without_recursion(n: int) -> None:
    c = Choice()
    vs = [c.variable(TARGET), *(c.variable() for _ in range(n)), c.variable(SOURCE)]
    for i, (a, b) in enumerate(itertools.pairwise(vs)):
        c.value(a, [b], 3 if i == 777 else 5)
    got = c.solve()
    assert got == [TARGET] * 778 + [SOURCE] * (n + 2 - 778)
