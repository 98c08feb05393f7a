"""What is let go as a batch is one: every sample of every op, one axis of its inputs named, element for element."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.held import Held

from convcore.build.builder import Builder
from convcore.errors import ConvcoreError
from convcore.interpreter.execute import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import type_of
from convcore.ir.graph import Graph, Value
from convcore.ops.families import FAMILIES
from convcore.opset.declare import Op, Role, Sample
from convcore.passes.batch import what_mixes

OPS: dict[str, Op] = {name: decl for family in FAMILIES for name, decl in family.ops.items() if decl.samples}
B = Dim("B")
MIXED = Held(Path(__file__).parent / "mixed.json")
"""Why the cases of each op are no batches, and how many are ("")."""


def graph_of(decl: Op, sample: Sample, arrays: Sequence[Any], named: Sequence[int], axis: int) -> Graph:
    """A node over inputs, of which the ``named`` have a batch along ``axis``; parameters are constants."""
    g = Graph(decl.name)
    b = Builder(g)
    ins: list[Any] = []
    for i, a in enumerate(arrays):
        role = decl.inputs[min(i, len(decl.inputs) - 1)].role if decl.inputs else Role.DATA
        if a is None:
            ins.append(None)
        elif i in named:
            ins.append(b.input(f"x{i}", str(type_of(a)), (*a.shape[:axis], B, *a.shape[axis + 1 :])))
        elif role is Role.PARAMETER:
            ins.append(b.weight(a, f"w{i}"))
        else:
            ins.append(b.input(f"x{i}", str(type_of(a)), a.shape))
    g.outputs = list(b.node(decl.name, ins, sample.attrs).outputs)
    return g


def cases(decl: Op) -> Iterator[tuple[int, Graph, list[Any], list[int], int]]:
    """The number of the sample, a graph with a batch, what to feed, and which inputs have it along which axis."""
    for number, sample in enumerate(decl.samples[:4]):
        arrays = sample.arrays()
        if any(a is not None and a.dtype == object for a in arrays):
            continue
        for axis in range(max((a.ndim for a in arrays if a is not None), default=0)):
            there = [i for i, a in enumerate(arrays) if a is not None and a.ndim > axis and a.shape[axis] > 1]
            for named in [[i] for i in there] + ([there] if len(there) > 1 else []):
                if len({arrays[i].shape[axis] for i in named}) > 1:  # type: ignore[union-attr]
                    continue
                try:
                    yield number, graph_of(decl, sample, arrays, named, axis), arrays, named, axis
                except ConvcoreError:
                    continue


def mixes(g: Graph, named: Sequence[int], axis: int) -> str:
    return what_mixes(g, {v: axis for v in g.inputs if int(v.name[1:]) in named}, B)


def run(g: Graph, arrays: Sequence[Any], named: Sequence[int], axis: int, part: slice) -> list[Any]:
    cut = [a[(slice(None),) * axis + (part,)] if i in named else a for i, a in enumerate(arrays)]
    return Interpreter(g).run([cut[int(v.name[1:])] for v in g.inputs])


@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore")
def test_elements_of_a_batch_do_not_meet(name: str) -> None:
    """Where nothing mixes it, the results of one element are those of it alone, in the place that inference gives them; where
    something does, what is held."""
    found = Counter[str]()
    for _, g, arrays, named, axis in cases(OPS[name]):
        why = mixes(g, named, axis)
        found[why.partition(") ")[2] or why] += 1
        if why:
            continue
        whole = run(g, arrays, named, axis, slice(None))
        for n in range(arrays[named[0]].shape[axis]):
            alone = run(g, arrays, named, axis, slice(n, n + 1))
            for v, a, one in zip(g.outputs, whole, alone):
                at = [i for i, d in enumerate(v.shape or ()) if d == B]
                if not at:
                    continue
                assert len(at) == 1
                a = a[(slice(None),) * at[0] + (slice(n, n + 1),)]
                what = f"inputs {named} along axis {axis}, element {n}"
                assert one.shape == a.shape, what
                if a.dtype.kind in "fc":
                    np.testing.assert_allclose(one, a, rtol=1e-5, atol=1e-5, err_msg=what)
                else:
                    assert np.array_equal(one, a), what
    MIXED.check(name, dict(sorted(found.items())))


LET_GO = {
    "Elementwise": 281, "Broadcast": 184, "Axis": 122, "LastAxes": 27, "Append": 4, "Letters": 5, "Layout": 64, "Axes": 85,
    "Perm": 7, "Remove": 6, "Insert": 12, "PerAxis": 6, "Pick": 8,
}  # fmt: skip
"""How many of the cases at least are batches, by the axis rule of their op."""


@pytest.mark.parametrize("rule", LET_GO)
def test_what_is_a_batch_is_let_go(rule: str) -> None:
    found = [c for d in OPS.values() if type(d.axes).__name__ == rule for c in cases(d)]
    assert sum(not mixes(g, named, axis) for _, g, _, named, axis in found) >= LET_GO[rule]


@pytest.mark.parametrize("name", OPS)
def test_what_nobody_knows_is_not_let_go(name: str) -> None:
    """With the shape of one value, or its sizes, not told, no more is a batch than with all of them."""
    for number, g, _, named, axis in cases(OPS[name]):
        whole = number > 1 or mixes(g, named, axis)
        for v in () if number > 1 else [v for v in g.values() if v.tensor is None]:
            known = v.shape
            for less in (None, (None,) * len(known or ())):
                v.shape = less
                assert mixes(g, named, axis) or not whole, f"{g}"
            v.shape = known


MIXES = [
    ("add", 0, [0], 0, "joins it with 'x1', which has none"),
    ("prelu", 0, [0], 1, "joins it with 'w1', which has none"),
    ("glu", 0, [0], 1, "works along it"),
    ("linear", 0, [1], 0, "takes it as w, of which it needs all"),
    ("linear", 0, [0], 1, "works along it"),
    ("matmul", 0, [0], 0, "joins it with 'w1', which has none"),
    ("matmul", 0, [1], 0, "joins it with 'w0', which has none"),
    ("matmul", 2, [0], 0, "may depend on it: how it treats a batch is not known"),
    ("embedding", 0, [1], 0, "takes it as a table, of which it needs all"),
    ("einsum", 0, [0], 0, "sums over it"),
    ("einsum", 1, [0], 0, "may depend on it: how it treats a batch is not known"),
    ("batch_dot", 0, [0], 0, "may depend on it: how it treats a batch is not known"),
    ("attention", 0, [0], 0, "joins it with 'x1', which has none"),
    ("attention", 0, [0, 1, 2], 1, "works along it"),
    ("rotary_embedding", 0, [1], 0, "joins it with 'x0', which has none"),
    ("max_pool_with_indices", 0, [0], 0, "counts positions through all of it"),
    ("batch_norm", 0, [1], 0, "takes it as scale, of which it needs all"),
    ("layer_norm", 0, [0], 2, "works along it"),
    ("group_norm", 0, [0], 1, "works on all other axes together"),
    ("grid_sample", 0, [0], 0, "makes [2, 3, 11, 13], in which it is not left whole"),
    ("reshape", 0, [0], 0, "makes [2, 15, 7], in which it is not left whole"),
    ("pad", 0, [0], 1, "works along it"),
    ("concat", 0, [0], 0, "joins it with 'x1', which has none"),
    ("gather", 0, [0], 1, "picks elements of it"),
]


@pytest.mark.parametrize(("name", "sample", "named", "axis", "why"), MIXES, ids=[f"{m[0]}-{m[2]}-{m[3]}" for m in MIXES])
def test_what_is_none_is_named(name: str, sample: int, named: list[int], axis: int, why: str) -> None:
    (g,) = (g for n, g, _, *at in cases(OPS[name]) if [n, *at] == [sample, named, axis])
    assert mixes(g, named, axis).endswith(f") {why}")


def less(v: Value, shape: Any = None) -> Value:
    """A value whose shape is that from now on."""
    v.shape = shape
    return v


WAYS: list[tuple[str, Any, str]] = [
    ("counted", lambda b, x: [b.relu(x), b.dim_value(value=B)], "counts it"),
    ("squeezed", lambda b, x: b.squeeze(b.slice(x, starts=(0, 0), stops=(1, None), steps=(1, 1)), axes=(0,)), "works along it"),
    ("summed", lambda b, x: b.sum(x, axes=(0,), keepdims=False), "works along it"),
    ("picked by itself", lambda b, x: b.take_along_axis(x, b.cast(b.relu(x), to="int64"), axis=1), ""),
    ("of an unknown shape", lambda b, x: b.relu(less(b.relu(x))), "has sizes that nobody knows"),
    ("of unknown sizes", lambda b, x: b.reshape(less(b.transpose(x, perm=(1, 0)), (None, B)), shape=(3, B)), "nobody knows"),
    ("into unknown sizes", lambda b, x: less(b.reshape(b.relu(x), shape=(B, 3)), (B, None)), "has sizes that nobody knows"),
    ("of an unknown layer", lambda b, x: b.opaque("keras", "Mine", [x], 1, {}, why="nobody knows it"), "nobody knows it"),
]


@pytest.mark.parametrize(("way", "why"), [w[1:] for w in WAYS], ids=[w[0] for w in WAYS])
def test_ways_of_mixing(way: Any, why: str) -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (B, 3))
    made = way(b, x)
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    said = what_mixes(g, {x: 0}, B)
    assert said.endswith(why) and bool(said) is bool(why), said


def test_a_batch_along_two_axes_and_one_that_an_output_loses() -> None:
    g = Graph("g")
    b = Builder(g)
    x, y = b.input("x", "float32", (B, 1)), b.input("y", "float32", (1, B))
    g.outputs = [b.mul(x, y)]
    assert what_mixes(g, {x: 0, y: 1}, B).endswith("meets it along two axes")
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (B, 3))
    g.outputs = [b.relu(x), b.const(np.float32(1))]
    assert what_mixes(g, {x: 0}, B) == ""
    g.outputs = [b.reshape(x, shape=(3, B))]
    assert "not left whole" in what_mixes(g, {x: 0}, B)
