"""What the reference computed is taken for the other side only where that computes the same from the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.verification.layers import Layers, Tolerance
from convcore.verification.reuse import reusing

R = np.random.default_rng(3)
X = R.normal(size=(2, 5)).astype("f4")
W, B = R.normal(size=(7, 5)).astype("f4"), R.normal(size=7).astype("f4")
W[0, 0] = 0.0


def net(w: Any = W, b: Any = B, alpha: float = 0.1, kind: str = "leaky_relu") -> Graph:
    g = Graph()
    make = Builder(g)
    x = make.input("x", "float32", (2, 5))
    y = make.linear(x, make.const(w, "float32"), make.const(b, "float32"))
    g.rename(y, "h")
    z = make.leaky_relu(y, alpha=alpha) if kind == "leaky_relu" else make.elu(y, alpha=alpha)
    g.rename(z, "y")
    g.outputs = [z]
    return g


def run(other: Graph, x: Any = X) -> list[str]:
    """The ops of the other graph whose results were taken from :func:`net`."""
    kept: dict[str, Any] = {"x": X}
    Interpreter(net()).run([X], watch=lambda n, ys: kept.update(zip([v.name for v in n.outputs], ys)))
    taken: list[str] = []
    known = reusing(net(), kept)

    def tell(node: Any, args: Any) -> Any:
        found = known(node, args)
        if found is not None:
            taken.append(node.op)
        return found

    got = Interpreter(other, known=tell).run([x])[0]
    np.testing.assert_array_equal(got, Interpreter(other).run([x])[0])
    return taken


def test_equal_graphs_are_not_computed_again() -> None:
    assert run(net()) == ["linear", "leaky_relu"]


def _changed(a: Any, value: Any) -> Any:
    b = a.copy()
    b.flat[0] = value
    return b


@pytest.mark.parametrize(
    ("other", "x", "taken"),
    [
        (lambda: net(w=_changed(W, 1e-2)), X, []),
        (lambda: net(w=_changed(W, -0.0)), X, ["leaky_relu"]),  # other bits: computed, and found to be the same
        (lambda: net(w=_changed(W[::-1].copy(), 2.0)), X, []),
        (lambda: net(b=_changed(B, np.nan)), X, []),
        (lambda: net(alpha=0.2), X, ["linear"]),
        (lambda: net(kind="elu"), X, ["linear"]),
        (net, _changed(X, 3.0), []),
    ],
)  # fmt: skip
def test_anything_else_is(other: Any, x: Any, taken: list[str]) -> None:
    assert run(other(), x) == taken


def test_sizes_that_are_names_are_computed() -> None:
    """They may stand for another number on the other side."""
    g = Graph()
    make = Builder(g)
    n = Dim("n")
    y = make.reshape(make.input("x", "float32", (n, 6)), shape=(n * 2, 3))
    g.outputs = [y]
    a = R.normal(size=(5, 6)).astype("f4")
    known = reusing(g, {"x": a, y.name: np.zeros((10, 3), "f4")})
    np.testing.assert_array_equal(Interpreter(g, known=known).run([a])[0], a.reshape(10, 3))


def test_regions_and_values_that_were_not_kept_are_computed() -> None:
    assert reusing(net(), {"x": X})(next(iter(net())), [X, W, B]) is None


def test_layers_find_what_differs_all_the_same(tmp_path: Path) -> None:
    layers = Layers(net(), net(alpha=0.11), Tolerance(1e-4, 0.0, 1.2e-7))
    assert "leaky_relu" in layers.run([X], [X]) or "'y'" in layers.run([X], [X])
    same = Layers(net(), net(), Tolerance(1e-4, 0.0, 1.2e-7))
    assert same.run([X], [X]) == "" and len(same.compared) == 2
