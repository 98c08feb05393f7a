"""Made-up inputs: of sizes on which a model runs, of integers that mean what they are taken for, of both signs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import InputError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.opset import OpSet, Sample, register, registry
from convcore.opset.axes import Opaque
from convcore.samples import SampleError, candidates, example_inputs, size_choices

N, M, K = Dim("n"), Dim("m"), Dim("k")


def graph(*shapes: Any, dtype: str = "float32") -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.identity(b.input(f"x{i}", dtype, s)) for i, s in enumerate(shapes)]
    return g


def only(fits: Callable[..., bool]) -> Callable[[list[Any]], list[Any]]:
    """A model that runs on those shapes."""

    def run(arrays: list[Any]) -> list[Any]:
        if not fits(*(a.shape for a in arrays)):
            raise InputError("does not fit")
        return arrays

    return run


FIT: list[tuple[Graph, Callable[..., bool], list[tuple[int, ...]]]] = [
    # the model, what it runs on, and the first that is found
    (graph((N, 3)), lambda x: True, [(1, 3)]),
    *((graph((N, 3)), lambda x, n=n: x[0] == n, [(n, 3)]) for n in (2, 3, 4, 5, 6, 7, 8, 16, 32)),
    (graph((N, 3), (M, 3)), lambda x, y: True, [(1, 3), (1, 3)]),
    (graph((N, 3), (M, 3)), lambda x, y: x[0] == 7 and y[0] == 2, [(7, 3), (2, 3)]),
    (graph((N, 3), (M, 3), (K, 3)), lambda x, y, z: (x[0], y[0], z[0]) == (2, 1, 7), [(2, 3), (1, 3), (7, 3)]),
    *((graph((N, M)), lambda x, n=n: x[1] >= n, [(1, least)]) for n, least in (
        (1, 7), (8, 32), (33, 64), (65, 224), (225, 256), (257, 416), (1000, 1009), (4000, 4001),
        (16000, 16001), (48000, 48017))),
    (graph((N, M)), lambda x: x == (64, 2), [(64, 2)]), (graph((N, M)), lambda x: x == (256, 1), [(256, 1)]),
    (graph((N, M, K, 3)), lambda x: x[1] == 1 and x[2] == 64, [(1, 1, 64, 3)]),
    (graph((N, None)), lambda x: x[1] == 32, [(1, 32)]),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(FIT)))
def test_the_first_sizes_that_fit(i: int) -> None:
    g, fits, found = FIT[i]
    inputs, results = next(candidates(g, only(fits)))
    assert [a.shape for a in inputs[0]] == found and len(inputs) == len(results)


def test_sizes_that_none_fits() -> None:
    for shape in ((N, 3), (N, M), (2, 3)):
        with pytest.raises(SampleError, match="does not fit"):
            next(candidates(graph(shape), only(lambda x: False)))
    assert next(size_choices(graph((2, 3)))) == {}


def test_large_sizes_are_tried_only_where_all_inputs_stay_small() -> None:
    """1 << 22 elements together."""
    small, large = (list(size_choices(graph((N, M, c)))) for c in (87, 88))
    assert {s["m"] for s in small} - {s["m"] for s in large} == {48017} and 48017 * 87 <= 1 << 22 < 48017 * 88
    assert 16001 in {s["m"] for s in large}
    both = {s["m"] for s in size_choices(graph((N, M, 44), (N, M, 44)))}
    assert both == {s["m"] for s in large}
    assert len(list(size_choices(graph((N, M, K, 3), (Dim("a"), Dim("b")))))) < 20 < len(list(size_choices(graph((N, M, K, 3)))))


def test_two_sets_of_another_batch_and_of_both_signs() -> None:
    (first, second), results = next(candidates(graph((N, 300)), only(lambda x: True)))
    assert first[0].shape == (1, 300) and second[0].shape == (2, 300) and len(results) == 2
    assert 0 <= first[0].min() < 0.05 and 0.95 < first[0].max() < 1 and -1 <= second[0].min() < -0.9 and second[0].max() > 0.9
    (first, second), _ = next(candidates(graph((N, 3)), only(lambda x: x[0] == 1)))
    assert first[0].shape == second[0].shape == (1, 3) and second[0].min() < 0
    (alone,), _ = next(candidates(graph((N, 3)), lambda a: only(lambda x: bool((a[0] >= 0).all()))(a)))
    assert alone[0].shape == (1, 3)
    (first, second), _ = next(candidates(graph((N, 3)), only(lambda x: True), fixed={"n": 5}))
    assert first[0].shape == second[0].shape == (5, 3)
    (first, second), _ = next(candidates(graph((4, 3)), only(lambda x: True)))
    assert not np.array_equal(first[0], second[0])
    again = next(candidates(graph((4, 3)), only(lambda x: True)))[0]
    other = next(candidates(graph((4, 3)), only(lambda x: True), seed=1))[0]
    assert np.array_equal(again[0][0], first[0]) and not np.array_equal(other[0][0], first[0])


def test_results_that_hold_something_come_first() -> None:
    def run(arrays: list[Any]) -> list[Any]:
        return [arrays[0][:, 10:]]

    inputs, results = next(candidates(graph((N, M)), run))
    assert inputs[0][0].shape == (1, 32) and results[0][0].size
    inputs, results = next(candidates(graph((N, 3)), run))
    assert inputs[0][0].shape == (1, 3) and not results[0][0].size and len(inputs) == 1


def test_integers_are_tried_as_ones_last() -> None:
    def run(arrays: list[Any]) -> list[Any]:
        if (arrays[0] != 1).any():
            raise InputError("ones")
        return arrays

    inputs, _ = next(candidates(graph((40,), dtype="int64"), run))
    assert set(inputs[0][0].tolist()) == {1}
    with pytest.raises(SampleError):
        next(candidates(graph((40,)), run))


# ---- what integers mean
def _made(build: Callable[[Builder], Any], **sizes: int) -> list[Any]:
    g = Graph("g")
    made = build(Builder(g))
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    return example_inputs(g, sizes)


def f(b: Builder, *shape: Any, name: str = "x") -> Any:
    return b.input(name, "float32", shape)


def i(b: Builder, *shape: Any, name: str = "i") -> Any:
    return b.input(name, "int64", shape)


MEANT: dict[str, tuple[Callable[[Builder], Any], dict[str, int], set[int]]] = {
    "rows of a table": (lambda b: b.embedding(i(b, 90), b.weight(np.zeros((3, 2), "f4"), "t")), {}, {0, 1, 2}),
    "an axis": (lambda b: b.gather(f(b, 7, 3), i(b, 90), axis=1), {}, {0, 1, 2}),
    "an axis from the end": (lambda b: b.gather(f(b, 3, 7), i(b, 90), axis=-2), {}, {0, 1, 2}),
    "a named axis": (lambda b: b.gather(f(b, N, 7), i(b, 90), axis=0), {"n": 4}, {0, 1, 2, 3}),
    "classes": (lambda b: b.one_hot(i(b, 90), depth=3, axis=-1, dtype="float32"), {}, {0, 1, 2}),
    "two tables": (lambda b: [b.gather(f(b, 7, name="x"), k := i(b, 90), axis=0),
        b.gather(f(b, 2, name="y"), k, axis=0)], {}, {0, 1}),
    "of what is moved": (lambda b: b.gather(f(b, 3), b.reshape(i(b, 90), shape=(9, 10)), axis=0), {}, {0, 1, 2}),
    "of what is cast": (lambda b: b.gather(f(b, 3), b.cast(b.input("i", "int32", (90,)), to="int64"), axis=0), {}, {0, 1, 2}),
    "of what is computed": (lambda b: b.gather(f(b, 3), b.add(k := i(b, 400), k), axis=0), {}, set(range(10))),
    "an element of a vector": (lambda b: b.gather_nd(f(b, 3, 11), i(b, 90, 1), batch_dims=0), {}, {0, 1, 2}),
    "elements": (lambda b: b.gather_nd(f(b, 7, 3), i(b, 90, 2), batch_dims=0), {}, {0, 1, 2}),
    "elements of each": (lambda b: b.gather_nd(f(b, 2, 7, 3), i(b, 2, 90, 2), batch_dims=1), {}, {0, 1, 2}),
    "nothing known": (lambda b: b.neg(i(b, 400)), {}, set(range(10))),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
def test_integers_are_what_they_index(name: str) -> None:
    build, sizes, found = MEANT[name]
    (index,) = (a for a in _made(build, **sizes) if a.dtype.kind == "i")
    assert set(index.ravel().tolist()) == found


def test_indices_of_a_plugins_op_that_has_no_axis() -> None:
    family = OpSet("check", "tests")
    family.op(
        "selfcheck_pick", "x, indices:int", "Elements of x.", infer=lambda c: [(c.dtype("x"), c.shape("indices"))],
        reference=lambda x, indices: x.reshape(-1)[indices], axes=Opaque(), roles={"index": "indices"},
        samples=[Sample((2, 3), np.array([1, 4]))],
    )  # fmt: skip
    register(family)
    try:
        g = Graph("g")
        b = Builder(g)
        g.outputs = [b.op("selfcheck_pick", b.input("x", "float32", (5, 7)), b.input("i", "int64", (3,)))]
        index = example_inputs(g, {})[1]
        assert 0 <= index.min() <= index.max() < 10
    finally:
        del registry._registry.ops["selfcheck_pick"]


@pytest.mark.parametrize(("layout", "shape"), [("time_major", (7, 90, 5)), ("batch_major", (90, 7, 5))])
def test_lengths_are_of_the_steps(layout: str, shape: Any) -> None:
    def build(b: Builder) -> Any:
        w, r = b.weight(np.zeros((1, 8, 5), "f4"), "w"), b.weight(np.zeros((1, 8, 2), "f4"), "r")
        lengths = b.input("l", "int32", (90,))
        return b.lstm(f(b, *shape), w, r, None, None, None, None, lengths, hidden=2, layout=layout)[0]

    (lengths,) = (a for a in _made(build) if a.dtype.kind == "i")
    assert set(lengths.tolist()) == set(range(1, 8))


def test_places_and_counts() -> None:
    def late(b: Builder) -> Any:
        x = f(b, 5, 3)
        given = [i(b, 2, name=n) for n in ("starts", "stops", "steps")]
        return b.dynamic_slice(x, *given, axes=(0, 1))

    _, *found = _made(late)
    assert [a.tolist() for a in found] == [[0, 0], [1 << 30] * 2, [1, 1]]
    start, limit, delta = _made(lambda b: b.range(*(i(b, name=n) for n in ("start", "limit", "delta"))))
    assert (start.item(), limit.item(), delta.item()) == (0, 5, 1)
    for rank, wanted in ((1, [30]), (2, [6, 5]), (3, [2, 3, 5]), (4, [2, 3, 5, 1])):
        assert _made(lambda b: b.dynamic_reshape(f(b, 2, 3, 5), i(b, rank)))[1].tolist() == wanted  # noqa: B023
    for rank, wanted in ((2, [3, 5]), (3, [2, 3, 5])):
        assert _made(lambda b: b.dynamic_expand(f(b, 3, 5), i(b, rank)))[1].tolist() == wanted  # noqa: B023
    assert list(itertools.chain(*_made(lambda b: b.dynamic_fill(i(b, 2), value=0.0, dtype="float32")))) == [3, 3]
