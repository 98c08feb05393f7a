"""Images that the source itself brings into the target's order: with io="target" they come and go in it."""

from __future__ import annotations

import numpy as np

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.layout import Convention, assign

FIRST = Convention({"channels": "channels_first"})
LAST = Convention({"channels": "channels_last"})


def _graph(shape: tuple[int, ...], into: tuple[int, ...], out_of: tuple[int, ...], layout: str, more: bool = False) -> Graph:
    graph = Graph("g")
    b = Builder(graph)
    x = b.input("x", "float32", shape)
    w = b.const(np.arange(5 * 3 * 2 * 2, dtype=np.float32).reshape(5, 3, 2, 2))
    y = b.relu(b.conv(b.transpose(x, perm=into), w, layout=layout))
    graph.outputs = [b.transpose(y, perm=out_of), *([b.abs(x)] if more else [])]
    return graph


def _check(graph: Graph, convention: Convention, into: tuple[int, ...], transposes: int, moved: bool) -> None:
    x = np.random.default_rng(3).standard_normal([int(d) for d in graph.inputs[0].shape]).astype(np.float32)
    (want, *_) = Interpreter(graph.clone()).run([x])
    report = assign(graph, convention, io="target")
    assert sum(n.op == "transpose" for n in graph) == transposes
    (got, *_) = Interpreter(graph).run([x.transpose(into) if moved else x])
    perm = report.outputs.get(graph.outputs[0].name)
    np.testing.assert_array_equal(got, want.transpose(perm) if perm else want)


def test_channels_last_images_of_a_channels_first_graph() -> None:
    graph = _graph((2, 7, 11, 3), (0, 3, 1, 2), (0, 2, 3, 1), "channels_first")
    _check(graph, FIRST, (0, 3, 1, 2), 0, True)
    assert graph.inputs[0].shape == (2, 3, 7, 11) and graph.outputs[0].shape == (2, 5, 6, 10)


def test_channels_first_images_of_a_channels_last_graph() -> None:
    graph = _graph((2, 3, 7, 11), (0, 2, 3, 1), (0, 3, 1, 2), "channels_last")
    _check(graph, LAST, (0, 2, 3, 1), 0, True)


def test_an_input_that_is_also_read_as_it_is_stays() -> None:
    graph = _graph((2, 7, 11, 3), (0, 3, 1, 2), (0, 2, 3, 1), "channels_first", more=True)
    _check(graph, FIRST, (0, 3, 1, 2), 1, False)


def test_other_transposes_stay() -> None:
    graph = _graph((2, 11, 3, 7), (0, 2, 3, 1), (0, 2, 1, 3), "channels_first")
    _check(graph, FIRST, (0, 3, 1, 2), 2, False)
