"""Composites are found by what ops declare of themselves: a plugin's own take part."""

from __future__ import annotations

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.graph import Graph
from convcore.opset import Attr, AxisAttr, OpSet, Sample, Trait, register
from convcore.opset.axes import Axis, Elementwise, Remove
from convcore.rewrite import find_composites
from convcore.rewrite.kinds import free, is_view, moved, regroups, same
from convcore.testing import check_op

OWN = OpSet("own", "tests")


def _size_norm(x, scale=None, bias=None, *, axis):
    y = x / np.abs(x).mean(axis, keepdims=True)
    up = lambda p: np.expand_dims(p, [a for a in range(x.ndim) if a != axis])  # noqa: E731
    y = y if scale is None else y * up(scale)
    return np.asarray(y if bias is None else y + up(bias), x.dtype)


NORM = OWN.op(
    "own_size_norm", "x:float, scale:float?, bias:float?", attrs={"axis": AxisAttr(1)}, reference=_size_norm,
    axes=Axis("axis", fixed=("scale", "bias"), along=("scale", "bias")), roles={"parameter": "scale bias"}, traits=Trait.SCALED,
    infer=lambda c: [(c.dtype("x"), c.shape("x"))], samples=[Sample((2, 3, 5), (3,), (3,), axis=1)],
)  # fmt: skip
MARK = OWN.op(
    "own_mark", "x", "x itself.", reference=lambda x: x, axes=Elementwise(), traits=Trait.SAME, samples=[Sample((2, 3))],
    infer=lambda c: [(c.dtype("x"), c.shape("x"))],
)  # fmt: skip
FIRST = OWN.op(
    "own_less", "x", "x without axes of size 1.", reference=lambda x, axes: x.squeeze(axes), axes=Remove(), traits=Trait.VIEW,
    infer=lambda c: [(c.dtype("x"), tuple(n for i, n in enumerate(c.shape("x")) if i not in c["axes"]))],
    attrs={"axes": Attr("axes", (0,))}, samples=[Sample((1, 3, 5))],
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _registered():
    register(OWN)


@pytest.mark.parametrize("decl", [NORM, MARK, FIRST], ids=lambda d: d.name)
def test_they_are_what_they_say(decl):
    check_op(decl)


def _graph(build):
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", (2, 3, 5))
    g.outputs = [build(b, x)]
    return g


def _unchanged(build):
    """The composites of a graph, which computes what it did."""
    g, plain = _graph(build), _graph(build)
    found = find_composites(g)
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("f4")
    (ours,), (theirs,) = run(g, x), run(plain, x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    return g, found


def test_a_norm_of_a_plugin_takes_what_is_behind_it():
    w = np.array([2, 3, 5], np.float32).reshape(3, 1)

    def build(b, x):
        y = b.mul(b.op("own_size_norm", x, axis=1), b.const(w, "float32"))
        return b.add(y, b.const(w + 1, "float32"))

    g, found = _unchanged(build)
    assert [f.op for f in found] == ["own_size_norm"] and [n.op for n in g] == ["own_size_norm"]
    assert g.last.need("scale").tensor.shape == (3,)


def test_marks_of_a_plugin_are_looked_through():
    """A gelu with the plugin's mark on x in one of its two places."""

    def build(b, x):
        e = b.erf(b.mul(b.op("own_mark", x), b.like(x, 0.5**0.5)))
        return b.mul(b.mul(x, b.add(e, b.like(x, 1.0))), b.like(x, 0.5))

    g, found = _unchanged(build)
    assert [f.op for f in found] == ["gelu"] and [n.op for n in g] == ["gelu"]


def test_kinds():
    b = Builder(Graph())
    x = b.input("x", "float32", (1, 3, 5))
    less, turned, wide = b.op("own_less", x), b.transpose(x, perm=(0, 2, 1)), b.cast(x, to="float64")
    nodes = {n.op: n for n in b.graph}
    assert is_view(less.producer) and regroups(less.producer) and free(less.producer) and moved(less.producer) == [x]
    assert is_view(turned.producer) and not regroups(turned.producer)
    assert not same(wide.producer) and moved(wide.producer) is None and free(wide.producer)
    assert same(b.cast(x, to="float32").producer) and same(b.op("own_mark", x).producer)
    assert nodes.keys() >= {"own_less", "transpose", "cast"}
    row = b.input("row", "float32", (1, 5))
    index = b.const(np.array([[0]]), "int64")
    assert moved(b.scatter_nd(less, index, row).producer) == [less, row]
    assert moved(b.scatter_nd(less, index, row, reduction="add").producer) is None
