"""What is done to a graph before it is written as Keras: same numbers, and only where it is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_emit_limits import run
from written_text import lines

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import PARAMETER, Graph
from convcore_keras.emit_prepare import prepare

Make = Callable[[Builder, Any], list[Any]]


def shuffled(b: Builder, x: Any, *, also: str = "", perm: tuple[int, ...] = (0, 1, 3, 2), back: Any = (2, 5, 6)) -> list[Any]:
    first = b.reshape(x, shape=(2, 5, 2, 3))
    turned = b.transpose(first, perm=perm)
    last = b.reshape(turned, shape=back)
    more = {"first": first, "turned": turned, "read": first, "both": turned}
    return [last] if not also else [last, more[also] if also in ("first", "turned") else b.tanh(more[also])]


SHUFFLES: dict[str, tuple[Make, list[str]]] = {
    "alone": (lambda b, x: shuffled(b, x), ["gather"]),
    "first is an output": (lambda b, x: shuffled(b, x, also="first"), ["reshape", "gather"]),
    "first is read": (lambda b, x: shuffled(b, x, also="read"), ["reshape", "gather", "tanh"]),
    "turned is an output": (lambda b, x: shuffled(b, x, also="turned"), ["reshape", "transpose", "reshape"]),
    "turned is read": (lambda b, x: shuffled(b, x, also="both"), ["reshape", "transpose", "reshape", "tanh"]),
    "other axes move": (lambda b, x: shuffled(b, x, perm=(1, 0, 3, 2)), ["reshape", "transpose", "reshape"]),
    "another shape": (lambda b, x: shuffled(b, x, back=(2, 6, 5)), ["reshape", "transpose", "reshape"]),
    "no reshape before": (lambda b, x: [b.reshape(b.transpose(x, perm=(0, 2, 1)), shape=(2, 5, 6))], ["transpose", "reshape"]),
    "no reshape behind": (lambda b, x: [b.tanh(b.transpose(b.reshape(x, shape=(2, 5, 2, 3)), perm=(0, 1, 3, 2)))],
                          ["reshape", "transpose", "tanh"]),
    "two axes are split": (
        lambda b, x: [b.reshape(b.transpose(b.reshape(x, shape=(2, 5, 1, 2, 3)), perm=(0, 1, 4, 2, 3)), shape=(2, 5, 6))],
        ["gather"],
    ),
    "the batch": (
        lambda b, x: [b.reshape(b.transpose(b.reshape(x, shape=(1, 2, 5, 6)), perm=(1, 0, 2, 3)), shape=(2, 5, 6))], ["gather"]
    ),
    "max of all": (lambda b, x: [b.max(x, axes=None, keepdims=True)], ["max"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHUFFLES)
def test_shuffles_are_gathers(name: str) -> None:
    make, want = SHUFFLES[name]
    feed = np.random.default_rng(1).normal(size=(2, 5, 6)).astype(np.float32)

    def built() -> Graph:
        g = Graph("g")
        b = Builder(g)
        g.outputs = make(b, b.input("x", "float32", (2, 5, 6)))
        return g

    g = built()
    prepare(g)
    assert [n.op for n in g] == want
    for a, b in zip(Interpreter(g).run([feed]), Interpreter(built()).run([feed]), strict=True):
        np.testing.assert_array_equal(a, b)
    if name == "max of all":
        assert next(iter(g)).attrs["axes"] == (0, 1, 2)


def test_sizes_that_are_known_are_constants() -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (Dim("n"), 3, 5))
    known, unknown = b.op("shape_of", x, start=1), b.op("shape_of", x)
    g.outputs = [b.add(b.gather(known, b.const(np.array(1)), axis=0), b.const(np.array(2, np.int64))), unknown]
    prepare(g)
    assert sorted(n.op for n in g) == ["add", "shape_of"]  # what is an output stays, of constants
    feed = np.zeros((4, 3, 5), np.float32)
    assert [a.tolist() for a in Interpreter(g).run([feed])] == [7, [4, 3, 5]]


@pytest.mark.parametrize("negative", [False, True])
def test_rows_of_a_trained_table(negative: bool, tmp_path: Path) -> None:
    """Embedding has nothing that counts from the end: ids that may are counted anew, those of an input are not."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "int32", ("n", 4))
    table = b.weight(np.arange(35, dtype=np.float32).reshape(7, 5), "table", trainable=True, role=PARAMETER)
    g.outputs = [b.gather(table, b.sub(x, b.const(np.array(3, np.int32))) if negative else x, axis=0)]
    feed = np.array([[0, 1, 5, 3], [2, 2, 6, 4]], np.int32)
    (got,) = run(g, [feed], tmp_path)
    np.testing.assert_array_equal(got, np.arange(35, dtype=np.float32).reshape(7, 5)[feed - 3 if negative else feed])
    text = "\n".join(lines(tmp_path / "m.keras"))
    assert ("Where" in text) == negative and "Embedding" in text
