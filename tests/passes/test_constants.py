"""What of constants is computed beforehand: up to which sizes, and what becomes of roles, names and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import BUFFER, CONSTANT, PARAMETER, Graph
from convcore.ir.tensors import LazyTensor
from convcore.passes.constants import _EAGER, _GROWTH, fold_constants


def folded(make: Any, **how: Any) -> tuple[int, Graph]:
    """How many nodes went, and the graph: what is made is added to an input, so that it is no output itself."""
    g = Graph("g")
    b = Builder(g)
    made = make(b)
    x = b.input("x", str(made.dtype), ())
    g.outputs = [b.add(x, made)]
    before = Interpreter(g).run([np.ones((), made.dtype.numpy)])
    gone = fold_constants(g, **how)
    verify(g)
    for a, c in zip(Interpreter(g).run([np.ones((), made.dtype.numpy)]), before, strict=True):
        assert np.array_equal(a, c)
    return gone, g


def full(b: Builder, n: int) -> Any:
    return b.weight(np.full(n, 2, "f4"), "w")


@pytest.mark.parametrize(
    ("make", "how", "gone"),
    [
        (lambda b: b.neg(full(b, 10)), {"limit": 40}, 1), (lambda b: b.neg(full(b, 10)), {"limit": 39}, 0),
        (lambda b: b.expand(full(b, 1), shape=(1 << 18,)), {}, 1),  # a MiB of 4 bytes
        (lambda b: b.expand(full(b, 1), shape=((1 << 18) + 1,)), {}, 0),
        (lambda b: b.tile(full(b, 70_000), repeats=(_GROWTH,)), {}, 1),
        (lambda b: b.tile(full(b, 70_000), repeats=(_GROWTH + 1,)), {}, 0),
        (lambda b: b.neg(b.neg(full(b, 3))), {}, 2),
        (lambda b: b.neg(b.fill(shape=(3,), value=1.5, dtype="float32")), {}, 2),
        (lambda b: b.add(full(b, 3), b.cast(b.dim_value(value=Dim("n")), to="float32")), {"nodes": ()}, 0),
    ],
)  # fmt: skip
def test_up_to_where(make: Any, how: dict[str, Any], gone: int) -> None:
    if "nodes" in how:  # a size without a number is none of a graph's inputs here
        g = Graph("g")
        b = Builder(g)
        b.input("x", "float32", (Dim("n"),))
        g.outputs = [b.neg(make(b))]
        assert fold_constants(g) == gone
        return
    assert folded(make, **how)[0] == gone


@pytest.mark.parametrize(("n", "lazy"), [(_EAGER // 4, False), (_EAGER // 4 + 1, True)])
def test_large_results_wait(n: int, lazy: bool) -> None:
    _, g = folded(lambda b: b.neg(full(b, n)))
    (w,) = g.weights.values()
    assert isinstance(w.tensor, LazyTensor) is lazy and w.tensor is not None and w.tensor.shape == (n,)


@pytest.mark.parametrize(
    ("roles", "trained", "wanted"),
    [
        ((PARAMETER, CONSTANT), (True, False), (PARAMETER, True)), ((CONSTANT, PARAMETER), (False, False), (PARAMETER, False)),
        ((BUFFER, CONSTANT), (False, False), (BUFFER, False)), ((BUFFER, PARAMETER), (False, True), (PARAMETER, True)),
        ((CONSTANT, CONSTANT), (False, False), (CONSTANT, False)),
    ],
)  # fmt: skip
def test_what_is_computed_of_parameters_is_one(roles: Any, trained: Any, wanted: Any) -> None:
    def make(b: Builder) -> Any:
        ws = [
            b.weight(np.full(3, i + 2, "f4"), f"w{i}", trainable=t, source=f"s{i}", role=r)
            for i, (r, t) in enumerate(zip(roles, trained))
        ]
        return b.mul(*ws)

    _, g = folded(make)
    (w,) = g.weights.values()
    assert (w.role, w.trainable, w.source) == (*wanted, "") and w.name == "mul:0"


def test_a_weight_that_only_moves_stays_itself() -> None:
    _, g = folded(lambda b: b.transpose(b.weight(np.ones((2, 3), "f4"), "w", trainable=True, source="s"), perm=(1, 0)))
    (w,) = g.weights.values()
    assert (w.role, w.trainable, w.source, w.shape) == (PARAMETER, True, "s", (3, 2))


def test_what_stays() -> None:
    """Outputs keep their names, weights that are used or given out their place."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (3,))
    w, v = b.weight(np.ones(3, "f4"), "w"), b.weight(np.ones(3, "f4"), "v")
    out = b.neg(w)
    g.outputs = [out, v, b.add(b.add(x, w), b.exp(v))]
    assert fold_constants(g) == 1 and sorted(g.weights) == ["exp:0", "v", "w"] and g.outputs[0] is out
    first, second = b.abs(w), b.abs(v)
    g.outputs = [*g.outputs, b.add(x, first), b.add(x, second)]
    nodes = [n for n in g if n.op == "abs"]
    assert fold_constants(g, nodes=nodes[:1]) == 1 and [n for n in g if n.op == "abs"] == nodes[1:]
    assert fold_constants(g) == 1
