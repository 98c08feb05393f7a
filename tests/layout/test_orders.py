"""Orders against numpy, and the reshape rule against trying every permutation."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ir.tensors import as_tensor
from convcore.layout.fold import convert, lay_out
from convcore.layout.orders import (
    Order,
    block_indices,
    block_of,
    identity,
    moved_elements,
    order_of,
    segment,
    through_reshape,
)

N = Dim("N")


def stored(a: np.ndarray, o: Order) -> np.ndarray:
    for axis, block in o.blocks:
        a = a.take(block_indices(block), axis)
    return a.transpose(o.perm)


def _split(rng: random.Random, n: int) -> list[int]:
    out = []
    while n > 1 and rng.random() < 0.7:
        f = rng.choice([f for f in range(1, n + 1) if n % f == 0])
        out.append(f)
        n //= f
    return [*out, n]


def _shapes(rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes of equal size."""
    factors = [rng.choice([1, 2, 2, 3, 4, 5]) for _ in range(rng.randint(2, 5))]

    def group() -> tuple[int, ...]:
        out: list[int] = []
        for f in factors:
            parts = _split(rng, f) if rng.random() < 0.4 else [f]
            for p in parts:
                if out and rng.random() < 0.35:
                    out[-1] *= p
                else:
                    out.append(p)
        return tuple(out[:5]) if len(out) <= 5 else (*out[:4], math.prod(out[4:]))

    return group(), group()


def test_what_passes_a_reshape_passes_exactly_and_what_could_pass_does() -> None:
    rng = random.Random(3)
    passed = refused = blocks = 0
    for _ in range(1500):
        x_shape, y_shape = _shapes(rng)
        x = np.arange(math.prod(x_shape)).reshape(x_shape)
        y = x.reshape(y_shape)
        p = order_of(rng.sample(range(x.ndim), x.ndim))
        got = through_reshape(x_shape, p, y_shape)
        if got is None:
            refused += 1
            for q in itertools.permutations(range(y.ndim)):
                shape = tuple(y_shape[i] for i in q)
                assert not np.array_equal(x.transpose(p.perm).reshape(shape), y.transpose(q)), (x_shape, p, y_shape, q)
            continue
        passed += 1
        blocks += not got.plain
        assert np.array_equal(stored(x, p).reshape(got.shape(y_shape)), stored(y, got)), (x_shape, p, y_shape, got)  # type: ignore[arg-type]
        back = through_reshape(y_shape, got, x_shape, hint=p)
        assert back is not None
        assert np.array_equal(stored(y, got).reshape(back.shape(x_shape)), stored(x, back))  # type: ignore[arg-type]
    assert passed > 300 and refused > 150 and blocks > 50


def test_symbolic_sizes() -> None:
    first = order_of((0, 3, 1, 2))
    flat = through_reshape((N, 7, 5, 3), first, (N, 105))
    assert flat is order_of((0, 1), {1: (((35, 3), (1, 0)),)})
    assert through_reshape((N, 105), flat, (N, 7, 5, 3)) is first
    assert through_reshape((N, 7, 5, 3), first, (N, 35, 3)) is order_of((0, 2, 1))
    assert through_reshape((N, 7, 5, 3), first, (7 * N, 5, 3)) is None
    h, w = Dim("H"), Dim("W")
    assert through_reshape((N, h, w, 3), first, (N, h * w, 3)) is order_of((0, 2, 1))
    assert through_reshape((N, h, w, 3), first, (N, h * w * 3)) is order_of((0, 1), {1: (((h * w, 3), (1, 0)),)})
    assert through_reshape((N * 7, 5, 3), order_of((0, 2, 1)), (N, 7, 5, 3)) is order_of((0, 1, 3, 2))
    assert through_reshape((N, None, 5, 3), first, (N, 105)) is None
    assert through_reshape((N, 1, 1, 3), first, (N, 3)) is identity(2)
    assert through_reshape((N, 3), identity(2), (N, 1, 1, 3), hint=first) is first
    # heads of a detector: anchors leave the channels and join the positions
    assert through_reshape((N, 5, 7, 24), first, (N, 5 * 7 * 6, 4)) is None


def test_segments_have_a_normal_form() -> None:
    assert segment((5, 1, 7, 3), (3, 0, 1, 2)) == ((35, 3), (1, 0))
    assert segment((5, 7), (0, 1)) == ((35,), (0,))
    assert block_of([((4,), (0,)), ((6,), (0,))]) is None
    assert block_of([((4,), (0,)), ((6,), (0,)), ((2, 3), (1, 0))]) == (((10,), (0,)), ((2, 3), (1, 0)))


@pytest.mark.parametrize(
    ("frm", "to"),
    [
        (identity(3), order_of((2, 0, 1))),
        (order_of((0, 2, 1)), order_of((2, 0, 1))),
        (order_of((0, 1, 2), {1: (((2, 6), (1, 0)),)}), identity(3)),
        (order_of((2, 1, 0), {1: (((2, 3, 2), (2, 0, 1)),)}), order_of((0, 2, 1), {1: (((4, 3), (1, 0)),)})),
        (identity(3), order_of((1, 2, 0), {1: (((5,), (0,)), ((2, 3), (1, 0)), ((1,), (0,)))})),
        (order_of((1, 0, 2), {1: (((3, 2), (1, 0)), ((2, 3), (1, 0)))}), order_of((1, 0, 2), {2: (((5, 2), (1, 0)),)})),
    ],
)
def test_conversion_and_views_agree_with_numpy(frm: Order, to: Order) -> None:
    a = np.random.default_rng(0).standard_normal((7, 12, 10)).astype(np.float32)
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", frm.shape(a.shape))  # type: ignore[arg-type]
    g.outputs = [convert(b, x, frm, to, "moved")]
    assert np.array_equal(run(g, stored(a, frm))[0], stored(a, to))
    assert np.array_equal(lay_out(as_tensor(a), to).numpy(), stored(a, to))


def test_cost_counts_elements_and_not_axes_of_size_one() -> None:
    first = order_of((0, 3, 1, 2))
    assert moved_elements((N, 5, 7, 3), identity(4), first) == 105
    assert moved_elements((2, 5, 7, 3), identity(4), first) == 210
    assert moved_elements((N, 1, 1, 3), identity(4), first) == 1
