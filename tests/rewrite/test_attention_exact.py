"""Attention that only looks like it: masks of other axes, fills that add up, narrow numbers. Found or not, the result stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.rewrite import find_composites

LOW = float(np.finfo(np.float32).min)
LOWER = np.tri(5) > 0


def scores(b: Any, batch: int = 2, heads: int = 3, length: int = 5, dtype: str = "float32") -> tuple[Any, Any]:
    """(q k^T, v)"""
    q, k, v = (b.input(n, dtype, (batch, heads, length if n == "q" else 5, w)) for n, w in zip("qkv", (7, 7, 2)))
    return b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), v


def weighed(b: Any, s: Any, v: Any) -> Any:
    return b.matmul(b.softmax(s, axis=-1), v)


def causal(b: Any, low: float, kind: str) -> Any:
    return b.weight(np.where(LOWER, 0, low).astype("f4"), "c") if kind == "added" else b.const(LOWER)


# ---- which must stay
def _mask_of_heads_over_five_axes(b: Any) -> Any:
    """As many heads as there is batch: the mask's first axis is the heads'."""
    s, v = scores(b, batch=3)
    s = b.add(b.unsqueeze(s, axes=(2,)), b.input("m", "float32", (3, 1, 5, 5)))
    return weighed(b, b.squeeze(s, axes=(2,)), v)


def _condition_of_heads_over_five_axes(b: Any) -> Any:
    s, v = scores(b, batch=3)
    s = b.where(b.input("m", "bool", (3, 1, 5, 5)), b.unsqueeze(s, axes=(2,)), b.const(-np.inf, "float32"))
    return weighed(b, b.squeeze(s, axes=(2,)), v)


def _mask_over_other_axes(b: Any) -> Any:
    s, v = scores(b, batch=2, heads=2, length=2)
    s = b.add(b.reshape(s, shape=(1, 2, 4, 5)), b.input("m", "float32", (2, 1, 5)))
    return weighed(b, b.reshape(s, shape=(2, 2, 2, 5)), v)


def _two_numbers(b: Any) -> Any:
    """Where one number and where another: a query without a key gets the mean over those of the larger one."""
    s, v = scores(b)
    for i, low in enumerate((-1e9, -2e9)):
        s = b.where(b.input(f"m{i}", "bool", (2, 1, 5, 5)), s, b.const(low))
    return weighed(b, s, v)


def _causal_added_to_a_fill(low: float) -> Callable[[Any], Any]:
    """What is neither seen by order nor kept has twice the number."""

    def make(b: Any) -> Any:
        s, v = scores(b)
        s = b.where(b.input("m", "bool", (2, 1, 5, 5)), s, b.const(low))
        return weighed(b, b.add(s, causal(b, low, "added")), v)

    return make


def _narrowed(before: DType) -> Callable[[Any], Any]:
    """-1e9 is -inf in half precision: a query without a key gets NaN, no mean."""

    def make(b: Any) -> Any:
        s, v = scores(b)
        s = b.cast(s, to=before)
        s = b.where(b.input("m", "bool", (2, 1, 5, 5)), s, b.like(s, -1e9))
        p = b.softmax(b.cast(s, to=DType.FLOAT16), axis=-1)
        return b.matmul(b.cast(p, to=DType.FLOAT32), v)

    return make


def halves(b: Any) -> tuple[Any, Any]:
    """(q k^T, v) of half precision, the scores widened for the softmax."""
    q, k, v = (b.cast(b.input(n, "float32", (2, 3, 5, w)), to=DType.FLOAT16) for n, w in zip("qkv", (7, 7, 2)))
    return b.cast(b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), to=DType.FLOAT32), v


def _widened(low: float | None, kept: bool) -> Callable[[Any], Any]:
    """A mask added to widened scores: of a condition (0 or ``low``) or of data; the weights ``kept`` so or narrowed again."""

    def make(b: Any) -> Any:
        s, v = halves(b)
        if low is None:
            m = b.input("m", "float32", (2, 1, 5, 5))
        else:
            m = b.where(b.input("m", "bool", (2, 1, 5, 5)), b.const(0.0), b.const(low))
        p = b.softmax(b.add(s, m), axis=-1)
        y = b.matmul(p, b.cast(v, to=DType.FLOAT32)) if kept else b.matmul(b.cast(p, to=DType.FLOAT16), v)
        return b.cast(y, to=DType.FLOAT32)

    return make


def _two_widened(low: float) -> Callable[[Any], Any]:
    """Two masks whose sum half precision does not hold: the mean over keys that neither keeps would be NaN."""

    def make(b: Any) -> Any:
        s, v = halves(b)
        for i in range(2):
            c = b.input(f"m{i}", "bool", (2, 1, 5, 5))
            s = b.add(s, b.where(c, b.const(0.0), b.const(low)))
        return b.cast(b.matmul(b.cast(b.softmax(s, axis=-1), to=DType.FLOAT16), v), to=DType.FLOAT32)

    return make


def _weights_narrowed(widened: bool) -> Callable[[Any], Any]:
    """Weights and values of half precision, scores of queries and keys of single precision, or ``widened`` to it."""

    def make(b: Any) -> Any:
        q, k, v = (b.mul(b.input(n, "float32", (2, 3, 5, w)), b.const(4.0)) for n, w in zip("qkv", (7, 7, 2)))
        if widened:
            q, k = (b.cast(b.cast(x, to=DType.FLOAT16), to=DType.FLOAT32) for x in (q, k))
        p = b.softmax(b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), axis=-1)
        y = b.matmul(b.cast(p, to=DType.FLOAT16), b.cast(v, to=DType.FLOAT16))
        return b.cast(y, to=DType.FLOAT32)

    return make


STAY = {
    "half, two masks": _two_widened(-6e4),
    "half, weights alone": _weights_narrowed(False),
    "half, a mask of data": _widened(None, False),
    "half, a mask that is infinite there": _widened(-1e9, False),
    "mask of heads over five axes": _mask_of_heads_over_five_axes,
    "condition of heads over five axes": _condition_of_heads_over_five_axes,
    "mask over other axes": _mask_over_other_axes,
    "two numbers": _two_numbers,
    "causal added to a fill": _causal_added_to_a_fill(-1e9),
    "lowest number added to a fill": _causal_added_to_a_fill(LOW),
    "narrowed": _narrowed(DType.FLOAT32),
    "narrowed in range": _narrowed(DType.BFLOAT16),
}


# ---- which are it, and the same
def _mask(*shape: int) -> Callable[[Any], Any]:
    def make(b: Any) -> Any:
        s, v = scores(b)
        return weighed(b, b.add(s, b.input("m", "float32", shape)), v)

    return make


def _added_twice(b: Any) -> Any:
    s, v = scores(b)
    m = b.input("m", "float32", (2, 1, 5, 5))
    return weighed(b, b.add(b.add(s, m), m), v)


def _one_for_all_over_five_axes(b: Any) -> Any:
    s, v = scores(b, batch=3)
    s = b.add(b.unsqueeze(s, axes=(2,)), b.input("m", "float32", (1, 1, 5, 5)))
    return weighed(b, b.squeeze(s, axes=(2,)), v)


def _joined(b: Any) -> Any:
    """Scores of four axes, masked and weighed with batch and heads joined."""
    s, v = scores(b)
    s = b.add(b.reshape(s, shape=(6, 5, 5)), b.input("m", "float32", (6, 5, 5)))
    return b.matmul(b.reshape(b.softmax(s, axis=-1), shape=(2, 3, 5, 5)), v)


def _joined_then_apart(condition: bool) -> Callable[[Any], Any]:
    """One mask where batch and heads are joined (of Bloom's distances), one where they are not."""

    def make(b: Any) -> Any:
        s, v = scores(b)
        s = b.reshape(s, shape=(6, 5, 5))
        s = b.where(b.input("m", "bool", (6, 5, 5)), s, b.const(-np.inf, "float32")) if condition else b.add(
            s, b.input("m", "float32", (6, 1, 5))
        )  # fmt: skip
        s = b.reshape(s, shape=(2, 3, 5, 5))
        if condition:
            s = b.where(b.input("n", "bool", (2, 1, 5, 5)), s, b.const(-np.inf, "float32"))
        else:
            s = b.add(s, b.input("n", "float32", (2, 1, 5, 5)))
        return weighed(b, s, v)

    return make


def _heads_in_the_middle(b: Any) -> Any:
    q, k, v = (b.transpose(b.input(n, "float32", (5, 3, 2, w)), perm=(2, 1, 0, 3)) for n, w in zip("qkv", (7, 7, 11)))
    return weighed(b, b.add(b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), b.input("m", "float32", (3, 1, 5))), v)


def _keys_turned_twice(b: Any) -> Any:
    """A square matrix of keys as it is: the second turn takes the first back."""
    q, k, v = (b.input(n, "float32", (2, 3, 5, 5)) for n in "qkv")
    k = b.transpose(b.transpose(k, perm=(0, 1, 3, 2)), perm=(0, 1, 3, 2))
    return weighed(b, b.matmul(q, k), v)


def _repeated_for_heads(joined: bool, factor: float, condition: bool) -> Callable[[Any], Any]:
    """One mask for each row of the batch, repeated for its heads, joined with them or not, times a number."""

    def make(b: Any) -> Any:
        s, v = scores(b)
        m = b.input("m", "bool" if condition else "float32", (2, 5))
        m = b.expand(b.reshape(m, shape=(2, 1, 1, 5)), shape=(2, 3, 1, 5))
        m = b.reshape(m, shape=(6, 1, 5)) if joined else m
        s = b.reshape(s, shape=(6, 5, 5)) if joined else s
        m = m if condition else b.mul(m, b.const(factor))
        s = b.where(m, s, b.const(-np.inf, "float32")) if condition else b.add(s, m)
        p = b.softmax(s, axis=-1)
        return weighed_by(b, b.reshape(p, shape=(2, 3, 5, 5)) if joined else p, v)

    return make


def weighed_by(b: Any, p: Any, v: Any) -> Any:
    """The products with the values, and the weights, which are read too."""
    return b.concat(b.matmul(p, v), p, axis=3)


FOUND = {
    "half, queries and keys widened": _weights_narrowed(True),
    "half, two infinite masks": _two_widened(-np.inf),
    "half, weights widened": _widened(-np.inf, True),
    "half, weights widened, a number": _widened(-1e9, True),
    "half, weights widened, data": _widened(None, True),
    "half, weights narrowed": _widened(-np.inf, False),
    "repeated for heads": _repeated_for_heads(False, 1.0, False),
    "repeated for joined heads": _repeated_for_heads(True, 1.0, False),
    "repeated for joined heads, scaled": _repeated_for_heads(True, 0.5, False),
    "a condition repeated for heads": _repeated_for_heads(False, 1.0, True),
    "a condition repeated for joined heads": _repeated_for_heads(True, 1.0, True),
    "mask of each head": _mask(3, 5, 5),
    "mask of each row": _mask(5, 1),
    "mask of keys": _mask(5),
    "mask of each batch and head": _mask(2, 3, 1, 5),
    "added twice": _added_twice,
    "one for all over five axes": _one_for_all_over_five_axes,
    "joined": _joined,
    "joined, then apart": _joined_then_apart(False),
    "conditions, joined, then apart": _joined_then_apart(True),
    "heads in the middle": _heads_in_the_middle,
    "keys turned twice": _keys_turned_twice,
}


def made(make: Callable[[Any], Any]) -> tuple[Graph, list[Any], list[Any]]:
    graph = Graph("g")
    graph.metadata["kind"] = "graph"
    graph.outputs = [make(Builder(graph))]
    rng = np.random.default_rng(1)
    inputs: list[Any] = []
    for x in graph.inputs:
        shape = tuple(int(n) for n in x.shape or ())  # type: ignore[arg-type]
        inputs.append(rng.normal(size=shape).astype("f4") if x.dtype is DType.FLOAT32 else rng.random(shape) < 0.5)
        if x.dtype is DType.BOOL:
            inputs[-1][..., 0, :3] = False
            inputs[-1][..., 1, :] = False  # a query without a key
    with np.errstate(all="ignore"):
        return graph, inputs, Interpreter(graph).run(inputs)


@pytest.mark.parametrize("name", [*STAY, *FOUND])
def test_found_or_not_the_result_is_the_same(name: str) -> None:
    graph, inputs, before = made((STAY | FOUND)[name])
    found = find_composites(graph)
    verify(graph, name)
    with np.errstate(all="ignore"):
        after = Interpreter(graph).run(inputs)
    np.testing.assert_allclose(after[0], before[0], rtol=0, atol=4e-3 if name.startswith(("narrowed", "half")) else 4e-6)
    assert [f.op for f in found] == (["attention"] if name in FOUND else [])
    for node in graph:
        if node.op == "attention" and name.startswith(("repeated", "a condition")) and "scaled" not in name:
            assert node.need("mask").shape == (2, 1, 1, 5), "one for all heads"
