"""Recurrences from loops, scans and unrolled steps, in each spelling; what is not one stays and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ir.tensors import as_tensor
from convcore.rewrite import find_composites

R = np.random.default_rng(0)
N, T, I, H = 3, 5, 7, 2
COUNTS = {"lstm": 4, "gru": 3, "rnn": 1}


def graph_of(make: Callable[[Any], Any]) -> Graph:
    graph = Graph("g")
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    made = make(b)
    graph.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    return graph


def normal(*shape: int) -> Any:
    return R.normal(size=shape).astype("f4")


def compared(graph: Graph, ops: list[str]) -> None:
    """Outputs and their names as before, and those recurrent ops found."""
    inputs = [normal(*v.shape) for v in graph.inputs]  # type: ignore[misc]
    before, names = Interpreter(graph).run(inputs), [v.name for v in graph.outputs]
    find_composites(graph)
    verify(graph, "recurrent")
    assert [n.op for n in graph if n.op in ("lstm", "gru", "rnn", "scan", "loop")] == ops
    assert [v.name for v in graph.outputs] == names
    for a, b in zip(Interpreter(graph).run(inputs), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def layer(b: Any, op: str, layout: str, direction: str, stated: bool, **more: Any) -> tuple[Any, ...]:
    g = COUNTS[op]
    x = b.input("x", "float32", (N, T, I) if layout == "batch_major" else (T, N, I))
    w, r = b.weight(normal(1, g * H, I), "w", trainable=True), b.weight(normal(1, g * H, H), "r", trainable=True)
    biases = [b.weight(normal(1, g * H), "b", trainable=True)]
    if op == "gru":
        rb = np.zeros((1, g * H), "f4")
        rb[:, 2 * H :] = normal(1, H)
        biases.append(b.weight(rb, "rb", trainable=True))
    states = [b.input(f"s{i}", "float32", (1, N, H)) for i in range(2 if op == "lstm" else 1)] if stated else []
    result: tuple[Any, ...] = b.op(op, x, w, r, *biases, *states, hidden=H, layout=layout, direction=direction, **more)
    return result


KINDS = [
    ("lstm", {}),
    ("gru", {"reset_after": True}),
    ("gru", {"reset_after": False}),
    ("rnn", {}),
    ("rnn", {"activation": "relu"}),
]


@pytest.mark.parametrize(("op", "more"), KINDS, ids=lambda p: str(p))
@pytest.mark.parametrize("layout", ["batch_major", "time_major"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("stated", [False, True])
def test_its_own_body_is_told(op: str, more: dict[str, Any], layout: str, direction: str, stated: bool) -> None:
    graph = graph_of(lambda b: layer(b, op, layout, direction, stated, **more))
    expand(graph, next(n for n in graph if n.op == op))
    assert [n.op for n in graph if n.regions] == ["scan"]
    compared(graph, [op])


@pytest.mark.parametrize(("op", "more"), KINDS[:4], ids=lambda p: str(p))
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("last", [False, True])
def test_unrolled_steps_are_told(op: str, more: dict[str, Any], direction: str, last: bool) -> None:
    """The body of the body: all steps of the scan, one after the other; all outputs, or the last states only."""
    graph = graph_of(lambda b: layer(b, op, "time_major", direction, True, **more)[1 if last else 0 :])
    for name in (op, "scan"):
        expand(graph, next(n for n in graph if n.op == name))
    compared(graph, [op])


# ---- cells as people write them
def lstm_cell(b: Any, x: Any, h: Any, c: Any, joined: bool, w: Any, r: Any, k: Any) -> tuple[Any, Any]:
    """Gates in TensorFlow's and in torch's way: of [x, h] at once, or of two dense layers."""
    if joined:
        z = b.add(b.matmul(b.concat(x, h, axis=1), b.weight(np.concatenate([w, r]), "kernel")), b.weight(k, "bias"))
    else:
        z = b.add(b.linear(h, b.weight(r.T.copy(), "r"), b.weight(k, "k")), b.linear(x, b.weight(w.T.copy(), "w")))
    i, f, g, o = b.split(z, axis=1, sizes=(H,) * 4)
    c = b.add(b.mul(b.sigmoid(i), b.tanh(g)), b.mul(c, b.sigmoid(f)))
    return b.mul(b.tanh(c), b.sigmoid(o)), c


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("how", ["gather", "slice", "split"])
def test_a_loop_of_cells(joined: bool, how: str) -> None:
    w, r, k = normal(I, 4 * H), normal(H, 4 * H), normal(4 * H)

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (N, T, I))
        h = c = b.fill(shape=(N, H), value=0.0, dtype="float32")
        parts = b.split(x, axis=1, sizes=(1,) * T) if how == "split" else ()
        out = []
        for t in range(T):
            if how == "gather":
                step = b.gather(x, b.const(np.int64(t)), axis=1)
            else:
                part = parts[t] if parts else b.slice(x, starts=(0, t, 0), stops=(None, t + 1, None), steps=(1, 1, 1))
                step = b.squeeze(part, axes=(1,))
            h, c = lstm_cell(b, step, h, c, joined, w, r, k)
            out.append(b.unsqueeze(h, axes=(1,)))
        return b.concat(*out, axis=1), c

    graph = graph_of(make)
    compared(graph, ["lstm"])
    assert "concat" not in [n.op for n in graph] and "gather" not in [n.op for n in graph]


@pytest.mark.parametrize("how", ["each", "stacked", "stacked in time"])
@pytest.mark.parametrize("layers", [2, 3])
def test_layers_above_each_other(layers: int, how: str) -> None:
    """The layer above reads the states below one by one, step by step or all steps of a layer at once, or of them stacked."""
    sizes = [I, *[H] * (layers - 1)]
    weights = [(normal(n, 4 * H), normal(H, 4 * H), normal(4 * H)) for n in sizes]

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (T, N, I))
        steps = [b.gather(x, b.const(np.int64(t)), axis=0) for t in range(T)]
        for w, r, k in weights:
            h = c = b.fill(shape=(N, H), value=0.0, dtype="float32")
            out = []
            for step in steps:
                h, c = lstm_cell(b, step, h, c, False, w, r, k)
                out.append(h)
            axis = 1 if how == "stacked" else 0
            whole = b.concat(*(b.unsqueeze(h, axes=(axis,)) for h in out), axis=axis)
            steps = out if how == "each" else [b.gather(whole, b.const(np.int64(t)), axis=axis) for t in range(T)]
        return whole, h

    compared(graph_of(make), ["lstm"] * layers)


def test_layers_above_two_directions() -> None:
    """As Keras writes unrolled ones: both stacked, side by side, and read step by step."""

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (T, N, I))
        for size in (I, 2 * H):
            sides = []
            for order in (range(T), range(T)[::-1]):
                w, r, k = normal(size, 4 * H), normal(H, 4 * H), normal(4 * H)
                h = c = b.fill(shape=(N, H), value=0.0, dtype="float32")
                out = {}
                for t in order:
                    h, c = lstm_cell(b, b.gather(x, b.const(np.int64(t)), axis=0), h, c, False, w, r, k)
                    out[t] = b.unsqueeze(h, axes=(0,))
                sides.append(b.concat(*(out[t] for t in range(T)), axis=0))
            x = b.concat(*sides, axis=2)
        return x

    graph = graph_of(make)
    compared(graph, ["lstm"] * 2)
    assert [n.attrs["direction"] for n in graph if n.op == "lstm"] == ["bidirectional"] * 2


CELLS = ("lstm", "gru", "rnn")


def unrolled_cell(b: Any, op: str, x: Any, states: Any, given: Any) -> Any:
    """(output, states) of a cell whose weights are ``given``."""
    w, r, k = given
    if op == "lstm":
        h, c = lstm_cell(b, x, *states, True, w, r, k)
        return h, (h, c)
    h = gru_cell(b, x, states[0], w, r, k, k) if op == "gru" else b.tanh(
        b.add(b.linear(x, b.weight(w.T.copy(), "w"), b.weight(k, "k")), b.matmul(states[0], b.weight(r, "r")))
    )  # fmt: skip
    return h, (h,)


def both_ways(b: Any, op: str, steps: Any, size: int, start: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """The outputs of cells forwards and backwards by time, and the last states."""
    sides, last = [], []
    for order in (range(T), range(T)[::-1]):
        given = normal(size, COUNTS[op] * H), normal(H, COUNTS[op] * H), normal(COUNTS[op] * H)
        states, out = start(b, len(sides), 2 if op == "lstm" else 1), {}
        for t in order:
            out[t], states = unrolled_cell(b, op, steps[t], states, given)
        sides.append([out[t] for t in range(T)])
        last.append(states[0])
    return sides[0], sides[1], last


def none(b: Any, side: int, count: int) -> Any:
    return [b.fill(shape=(N, H), value=0.0, dtype="float32")] * count


def stated(b: Any, side: int, count: int) -> Any:
    return [b.input(f"s{side}{i}", "float32", (N, H)) for i in range(count)]


def forwards_only(b: Any, side: int, count: int) -> Any:
    return none(b, side, count) if side else stated(b, side, count)


@pytest.mark.parametrize("start", [none, stated, forwards_only])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("op", CELLS)
def test_two_directions_joined_step_by_step(op: str, layers: int, start: Any) -> None:
    """The layer above reads the joined steps; all are one recurrence both ways, of the steps stacked and the last states."""

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (N, T, I))
        steps, size, ends = [b.gather(x, b.const(np.int64(t)), axis=1) for t in range(T)], I, []
        for i in range(layers):
            f, g, last = both_ways(b, op, steps, size, start if i == 0 else none)
            steps, size = [b.concat(p, q, axis=1) for p, q in zip(f, g)], 2 * H
            ends += last
        return [b.concat(*(b.unsqueeze(s, axes=(1,)) for s in steps), axis=1), *ends]

    graph = graph_of(make)
    compared(graph, [op] * layers)
    assert [n.attrs["direction"] for n in graph if n.op == op] == ["bidirectional"] * layers
    assert sum(n.op == "gather" for n in graph) == 2 * layers, "of the last states alone"
    assert sum(n.op == "concat" for n in graph) == (0 if start is none else 2 if op == "lstm" else 1), "first states of both"


@pytest.mark.parametrize("op", CELLS)
def test_last_states_of_two_directions_side_by_side(op: str) -> None:
    def make(b: Any) -> Any:
        x = b.input("x", "float32", (T, N, I))
        steps = [b.gather(x, b.const(np.int64(t)), axis=0) for t in range(T)]
        return b.concat(*both_ways(b, op, steps, I, none)[2], axis=1)

    graph = graph_of(make)
    compared(graph, [op])
    assert [n.attrs["direction"] for n in graph if n.op == op] == ["bidirectional"]


@pytest.mark.parametrize("how", ["whole", "last"])
@pytest.mark.parametrize("biased", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("layout", ["batch_major", "time_major"])
@pytest.mark.parametrize("op", CELLS)
def test_two_layers_are_one_both_ways(op: str, layout: str, biased: tuple[bool, bool], how: str) -> None:
    def make(b: Any) -> Any:
        x = b.input("x", "float32", (N, T, I) if layout == "batch_major" else (T, N, I))
        both = []
        for direction, with_bias in zip(("forward", "reverse"), biased):
            w, r = normal(1, COUNTS[op] * H, I), normal(1, COUNTS[op] * H, H)
            bias = b.weight(normal(1, COUNTS[op] * H), "b") if with_bias else None
            more = {"reset_after": True} if op == "gru" else {}
            both.append(
                b.op(op, x, b.weight(w, "w"), b.weight(r, "r"), bias, hidden=H, direction=direction, layout=layout, **more)
            )
        if how == "whole":
            return b.concat(*(y[0] for y in both), axis=2)
        return b.concat(*(b.squeeze(y[1], axes=(0,)) for y in both), axis=1)

    graph = graph_of(make)
    compared(graph, [op])
    assert [n.attrs["direction"] for n in graph if n.op == op] == ["bidirectional"]


def _order(b: Any, f: Any, g: Any) -> Any:
    return b.concat(g[0], f[0], axis=2)


def _read(b: Any, f: Any, g: Any) -> Any:
    return [b.concat(f[0], g[0], axis=2), f[0]]


def _time(b: Any, f: Any, g: Any) -> Any:
    return b.concat(f[0], g[0], axis=1)


def _other_steps(b: Any, f: Any, g: Any) -> Any:
    p, q = (b.gather(y[0], b.const(np.int64(t)), axis=1) for y, t in ((f, 0), (g, T - 1)))
    return b.concat(p, q, axis=1)


def _cells_beside(b: Any, f: Any, g: Any) -> Any:
    return b.concat(b.squeeze(f[1], axes=(0,)), b.squeeze(g[2], axes=(0,)), axis=1)


NOT_BOTH: dict[str, tuple[Any, dict[str, Any]]] = {
    "backwards first": (_order, {}), "one is read": (_read, {}), "behind each other": (_time, {}),
    "other steps": (_other_steps, {}), "a state and a cell state": (_cells_beside, {}),
    "another activation": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"activation": "relu"}),
    "another direction": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"direction": "forward"}),
    "another input": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"x": "z"}),
    "a mask of one": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"mask": True}),
    "a peephole of one": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"peephole": True}),
    "one is frozen": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"trainable": True}),
    "one is no parameter": (lambda b, f, g: b.concat(f[0], g[0], axis=2), {"role": "buffer"}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", NOT_BOTH)
def test_two_layers_that_are_not_one_both_ways(wrong: str) -> None:
    join, other = NOT_BOTH[wrong]

    def make(b: Any) -> Any:
        x, made = b.input("x", "float32", (N, T, I)), []
        for i in range(2):
            more = other if i else {}
            given = b.input(more["x"], "float32", (N, T, I)) if "x" in more else x
            mask = b.const(np.arange(T)[None].repeat(N, 0) < 4) if "mask" in more else None
            peephole = b.weight(normal(1, 3 * H), "p") if "peephole" in more else None
            kept = {k: v for k, v in more.items() if k in ("trainable", "role")}
            weights = [b.weight(normal(1, 4 * H, n), "w", **kept) for n in (I, H)]
            made.append(b.op(
                "lstm", given, *weights, None, None, None, mask, None, peephole, hidden=H,
                direction=more.get("direction", "reverse" if i else "forward"), activation=more.get("activation", "tanh"),
            ))  # fmt: skip
        return join(b, *made)

    compared(graph_of(make), ["lstm", "lstm"])


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("kinds", [("lstm", "gru"), ("gru", "lstm"), ("gru", "gru")])
def test_layers_of_which_all_make_a_step_before_the_next(kinds: tuple[str, str], held: bool) -> None:
    """As a loop over cells is written in torch, whose zeros in the beginning are made or, in its exports, held by the file."""
    made = {k: [(normal(n, COUNTS[k] * H), normal(H, COUNTS[k] * H), normal(COUNTS[k] * H)) for n in (I, H)] for k in COUNTS}

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (T, N, I))
        zeros = b.const(np.zeros((N, H), "f4")) if held else b.fill(shape=(N, H), value=0.0, dtype="float32")
        states = [[zeros] * 2 for _ in kinds]
        out = []
        for t in range(T):
            v = b.gather(x, b.const(np.int64(t)), axis=0)
            for i, kind in enumerate(kinds):
                w, r, k = made[kind][i]
                h, c = states[i]
                states[i] = list(lstm_cell(b, v, h, c, True, w, r, k)) if kind == "lstm" else [gru_cell(b, v, h, w, r, k, k), c]
                v = states[i][0]
            out.append(b.unsqueeze(v, axes=(0,)))
        return b.concat(*out, axis=0)

    compared(graph_of(make), list(kinds))


def gru_cell(b: Any, x: Any, h: Any, w: Any, r: Any, k: Any, rk: Any) -> Any:
    """torch's GRUCell: h = n + z (h - n)."""
    a, g = b.linear(x, b.weight(w.T.copy(), "w"), b.weight(k, "k")), b.linear(h, b.weight(r.T.copy(), "r"), b.weight(rk, "rk"))
    (ar, az, an), (gr, gz, gn) = b.split(a, axis=1, sizes=(H,) * 3), b.split(g, axis=1, sizes=(H,) * 3)
    z, s = b.sigmoid(b.add(az, gz)), b.sigmoid(b.add(gr, ar))
    n = b.tanh(b.add(an, b.mul(s, gn)))
    return b.add(n, b.mul(z, b.sub(h, n)))


def steps_of(b: Any, cell: Callable[..., Any], order: range = range(T)) -> Any:
    x = b.input("x", "float32", (T, N, I))
    h, out = b.input("h", "float32", (N, H)), []
    for t in order:
        h = cell(t, b.gather(x, b.const(np.int64(t)), axis=0), h)
        out.append(h)
    return out


def test_a_gru_of_torchs_cells() -> None:
    given = normal(I, 3 * H), normal(H, 3 * H), normal(3 * H), normal(3 * H)
    compared(graph_of(lambda b: steps_of(b, lambda t, x, h: gru_cell(b, x, h, *given))[-1]), ["gru"])


def test_a_loop_that_counts_becomes_a_scan_and_a_condition_may_end_it() -> None:
    """x[i] of a counter kept as a state; the condition holds for 3 steps of the 9 allowed. The state's rule is no cell."""

    def make(b: Any) -> Any:
        x, s = b.input("x", "float32", (3, N)), b.input("s", "float32", (N,))
        body = Graph("body")
        c = Builder(body)
        _, _, i, state, whole, limit = (
            c.input(n, d, shape)
            for n, d, shape in (
                ("t", "int64", ()), ("go", "bool", ()), ("i", "int32", ()), ("state", "float32", (N,)),
                ("whole", "float32", (3, N)), ("limit", "int32", ()),
            )
        )  # fmt: skip
        new = c.add(c.sin(state), c.gather(whole, i, axis=0))
        i = c.add(i, c.const(1, "int32"))
        body.outputs = [c.less(i, limit), i, new, c.neg(new)]
        counter, limit = b.const(0, "int32"), b.const(3, "int32")
        return b.op("loop", b.const(9, "int64"), b.const(True), counter, s, x, limit, n_states=2, regions=(body,))[:3]

    compared(graph_of(make), ["scan"])


@pytest.mark.parametrize("wrong", ["order", "offset", "counter read", "trips of the data"])
def test_a_loop_that_is_no_scan_stays(wrong: str) -> None:
    def make(b: Any) -> Any:
        x, s = b.input("x", "float32", (3, N)), b.input("s", "float32", (N,))
        body = Graph("body")
        c = Builder(body)
        t, _, state, whole = (
            c.input(n, d, shape)
            for n, d, shape in (("t", "int64", ()), ("go", "bool", ()), ("state", "float32", (N,)), ("whole", "float32", (3, N)))
        )
        at = {k: c.gather(c.const(np.array(order)), t, axis=0) for k, order in (("order", [0, 2, 1]), ("offset", [0, 1, 1]))}
        new = c.add(state, c.gather(whole, at.get(wrong, t), axis=0))
        if wrong == "counter read":
            new = c.mul(new, c.cast(t, to="float32"))
        body.outputs = [c.const(True), new]
        trips = b.const(3, "int64")
        if wrong == "trips of the data":
            trips = b.add(trips, b.cast(b.less(b.max(x, axes=(0, 1), keepdims=False), b.const(-99.0)), to="int64"))
        return b.op("loop", trips, None, s, x, n_states=1, regions=(body,))[0]

    compared(graph_of(make), ["loop"])


# ---- what is no chain
def test_steps_with_other_weights_stay() -> None:
    given = [(normal(I, 3 * H), normal(H, 3 * H), normal(3 * H), normal(3 * H)) for _ in range(T)]
    compared(graph_of(lambda b: steps_of(b, lambda t, x, h: gru_cell(b, x, h, *given[t]))[-1]), [])


@pytest.mark.parametrize("order", [range(0, T, 2), range(1, T), range(T - 1)])
def test_steps_over_part_of_a_sequence_stay(order: range) -> None:
    given = normal(I, 3 * H), normal(H, 3 * H), normal(3 * H), normal(3 * H)
    compared(graph_of(lambda b: steps_of(b, lambda t, x, h: gru_cell(b, x, h, *given), order)[-1]), [])


def test_a_gate_that_is_read_stays() -> None:
    w, r, k = normal(I, H), normal(H, H), normal(H)

    def make(b: Any) -> Any:
        seen = []

        def cell(t: int, x: Any, h: Any) -> Any:
            z = b.add(b.matmul(x, b.weight(w, "w")), b.linear(h, b.weight(r, "r"), b.weight(k, "k")))
            seen.append(z)
            return b.tanh(z)

        return [steps_of(b, cell)[-1], seen[1]]

    compared(graph_of(make), [])


def test_another_state_mixed_in_is_no_gru() -> None:
    given = normal(I, 3 * H), normal(H, 3 * H), normal(3 * H), normal(3 * H)

    def make(b: Any) -> Any:
        other = b.input("other", "float32", (N, H))

        def cell(t: int, x: Any, h: Any) -> Any:
            w, r, k, rk = given
            a, g = (
                b.linear(x, b.weight(w.T.copy(), "w"), b.weight(k, "k")),
                b.linear(h, b.weight(r.T.copy(), "r"), b.weight(rk, "rk")),
            )
            (ar, az, an), (gr, gz, gn) = b.split(a, axis=1, sizes=(H,) * 3), b.split(g, axis=1, sizes=(H,) * 3)
            z, s = b.sigmoid(b.add(az, gz)), b.sigmoid(b.add(gr, ar))
            n = b.tanh(b.add(an, b.mul(s, gn)))
            return b.add(n, b.mul(z, b.sub(other, n)))

        return steps_of(b, cell)[-1]

    compared(graph_of(make), [])


@pytest.mark.parametrize("states", [("n", "n"), (1, "n"), ("n", 1), ("m", "n")])
def test_first_states_that_sums_repeat_for_the_batch_stay_in_sums(states: tuple[Any, Any]) -> None:
    """Recurrent layers take a row for each element of the batch."""
    w, r, k = normal(I, 4 * H), normal(H, 4 * H), normal(4 * H)
    batch = [Dim(d) if isinstance(d, str) else d for d in states]

    def make(b: Any) -> Any:
        x = b.input("x", "float32", (T, Dim("n"), I))
        h, c = (b.input(name, "float32", (d, H)) for name, d in zip("hc", batch))
        for t in range(T):
            h, c = lstm_cell(b, b.gather(x, b.const(np.int64(t)), axis=0), h, c, False, w, r, k)
        return [h, c]

    graph = graph_of(make)
    find_composites(graph)
    assert ("lstm" in [n.op for n in graph]) is (states == ("n", "n"))


@pytest.mark.parametrize("first", [Dim("n"), 1])
def test_a_loop_whose_state_changes_its_shape_is_no_scan(first: Any) -> None:
    def make(b: Any) -> Any:
        x, s = b.input("x", "float32", (T, Dim("n"), I)), b.input("s", "float32", (first, I))
        body = Graph("body")
        c = Builder(body)
        t, _, state, whole = (
            c.input(n, d, shape)
            for n, d, shape in (
                ("t", "int64", ()), ("go", "bool", ()), ("state", "float32", (first if first != 1 else None, I)),
                ("whole", "float32", (T, Dim("n"), I)),
            )
        )  # fmt: skip
        body.outputs = [c.const(True), c.sin(c.add(state, c.gather(whole, t, axis=0)))]
        return b.op("loop", b.const(T, "int64"), None, s, x, n_states=1, regions=(body,))[0]

    graph = graph_of(make)
    find_composites(graph)
    assert [n.op for n in graph if n.op in ("loop", "scan")] == ["loop" if first == 1 else "scan"]


@pytest.mark.parametrize("update_of", ["h", "r * h"])
def test_only_the_new_state_of_a_gru_may_read_the_state_behind_the_reset_gate(update_of: str) -> None:
    w, r, k = normal(3, I, H), normal(3, H, H), normal(3, H)

    def make(b: Any) -> Any:
        def cell(t: int, x: Any, h: Any) -> Any:
            def gate(i: int, of: Any) -> Any:
                return b.add(b.linear(x, b.weight(w[i].T.copy(), "w"), b.weight(k[i], "k")), b.matmul(of, b.weight(r[i], "r")))

            kept = b.mul(b.sigmoid(gate(0, h)), h)
            z = b.sigmoid(gate(1, h if update_of == "h" else kept))
            return b.add(b.mul(z, h), b.mul(b.sub(b.const(np.float32(1)), z), b.tanh(gate(2, kept))))

        return steps_of(b, cell)[-1]

    compared(graph_of(make), ["gru"] if update_of == "h" else [])


@pytest.mark.parametrize("wrong", ["1", "scale"])
def test_a_body_that_is_nearly_a_cell_stays(wrong: str) -> None:
    """(0.999 - z) for (1 - z); a state scaled before the gates."""
    graph = graph_of(lambda b: layer(b, "gru", "time_major", "forward", True, reset_after=True))
    expand(graph, next(n for n in graph if n.op == "gru"))
    scan = next(n for n in graph if n.op == "scan")
    body = scan.regions[0]
    if wrong == "1":
        ones = [w for w in body.weights.values() if w.tensor is not None and w.tensor.size == 1 and float(w.tensor.numpy()) == 1]
        assert ones
        ones[0].tensor = as_tensor(np.float32(0.999))
    else:
        node = next(n for n in body if n.op in ("matmul", "linear") and n.inputs[0] is body.inputs[0])
        b = Builder(body, before=node)
        node.set_input(0, b.mul(body.inputs[0], b.const(1.5)))
    compared(graph, ["scan"])
