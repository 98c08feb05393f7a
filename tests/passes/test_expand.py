"""Decomposition: a body in place of a composite, with what only concerns weights computed."""

from __future__ import annotations

import numpy as np

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin


def _batch_norm() -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(0)
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (Dim("N"), 5, 7))
    w = [b.weight(rng.uniform(0.5, 1.5, 7).astype("f4"), f"bn/{n}", trainable=True) for n in ("scale", "bias", "mean", "var")]
    with b.at(Origin("keras", "bn", "BatchNormalization")):
        y = b.batch_norm(x, *w, epsilon=1e-3, axis=2)
    g.outputs = [b.relu(y)]
    return g, rng.standard_normal((2, 5, 7)).astype("f4")


def test_expansion_keeps_values_names_and_origin():
    g, x = _batch_norm()
    (want,) = run(g, x)
    bn, name = g.nodes[0], g.nodes[0].output.name
    first = expand(g, bn)
    verify(g, "expand")
    assert first is g.nodes[0] and all(n.op != "batch_norm" for n in g)
    assert g.nodes[-1].inputs[0].name == name, "the value after the composite keeps its name"
    assert all(n.origin.layer == "bn" and n.origin.passes == ("decompose",) for n in g.nodes[:-1])
    np.testing.assert_allclose(run(g, x)[0], want, rtol=1e-5, atol=1e-6)


def test_expansion_computes_what_only_concerns_weights():
    g, _ = _batch_norm()
    expand(g, g.nodes[0])
    for node in g:
        assert any(v is not None and v.tensor is None for v in node.inputs), f"{node} works on weights alone"
    assert {n.op for n in g} <= {"sub", "mul", "add", "div", "relu"}


def test_expansion_in_the_middle_returns_where_to_go_on():
    g, x = _batch_norm()
    b = Builder(g)
    z = b.silu(g.outputs[0])
    g.outputs = [b.neg(z)]
    (want,) = run(g, x)
    silu = z.producer
    follow = expand(g, silu)
    assert follow is not None and follow.op == "sigmoid"
    np.testing.assert_array_equal(run(g, x)[0], want)
