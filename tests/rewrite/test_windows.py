"""lrn in what torch's local_response_norm computes; what is nearly that stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.rewrite import find_composites


def normalised(rank: int, size: int, **spoilt: Any) -> Graph:
    """The operators of torch.nn.functional.local_response_norm (torch 2.14) on 7 channels, one of them another where asked."""
    graph = Graph("lrn")
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    shape = (2, 7, 5, 3, 11)[:rank]
    x = graph.add_input("x", DType.FLOAT32, shape)
    wide = (2, 1, 7, 5) if rank == 3 else (2, 1, 7, 5, int(np.prod(shape[3:])))
    pads: list[Any] = [(0, 0)] * len(wide)
    pads[2] = spoilt.get("pad", (size // 2, (size - 1) // 2))
    kernel = (size, *(1,) * (len(wide) - 3))
    squares = b.mul(x, spoilt.get("other", x) if spoilt.get("other") is None else b.abs(x))
    y = b.pad(b.reshape(squares, shape=wide), pads=pads, value=spoilt.get("value", 0))
    y = b.op(
        "avg_pool", y, kernel=kernel, strides=(1,) * len(kernel), dilations=(1,) * len(kernel), pads=((0, 0),) * len(kernel),
        ceil_mode="floor", layout="channels_first", count_include_pad=True,
    )  # fmt: skip
    y = b.reshape(b.squeeze(y, axes=[1]), shape=shape)
    scaled = b.mul(y, b.like(x, 0.3))
    base = b.add(scaled, b.like(x, 1.7))
    graph.outputs.append(b.div(spoilt["over"](b, x) if "over" in spoilt else x, b.pow(base, b.like(x, 0.6))))
    if spoilt.get("read"):
        graph.outputs.append(scaled)
    return graph


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_it_is_found(rank: int, size: int) -> None:
    graph = normalised(rank, size)
    x = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32) * 3
    want = Interpreter(graph).run([x])[0]
    find_composites(graph)
    assert [n.op for n in graph] == ["lrn"]
    (node,) = graph
    assert node.attrs == {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.7, "axis": 1}
    assert np.allclose(Interpreter(graph).run([x])[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "spoilt",
    [{"size": 4}, {"value": 1}, {"pad": (1, 3)}, {"over": lambda b, x: b.neg(x)}, {"other": True}, {"read": True}],
    ids=["even", "padded with ones", "uneven", "of something else", "no square", "read between"],
)
def test_what_is_nearly_that_stays(spoilt: dict[str, Any]) -> None:
    graph = normalised(4, spoilt.pop("size", 5), **spoilt)
    x = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32)
    want = Interpreter(graph).run([x])
    find_composites(graph)
    assert "lrn" not in [n.op for n in graph]
    for a, b in zip(Interpreter(graph).run([x]), want):
        assert np.array_equal(a, b)


def test_a_part_without_elements_is_no_part() -> None:
    """What is joined of an empty slice and the rest (a size by a list of none, as TorchScript writes it) stays as it is."""
    graph = Graph("joined")
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    x = graph.add_input("x", DType.FLOAT32, (5,))
    none, rest = (b.slice(x, starts=[i], stops=[j], steps=[1]) for i, j in ((0, 0), (1, 5)))
    graph.outputs.append(b.concat(none, rest, axis=0))
    find_composites(graph)
    given = np.arange(5, dtype=np.float32)
    assert np.array_equal(Interpreter(graph).run([given])[0], given[1:])
