"""Single ops written as Caffe nets, for the tests of the layers they become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import convcore
from convcore.build.builder import Builder
from convcore.ir.graph import Graph, Origin, Value
from convcore_caffe.files import Layer, Net, read_net

RNG = np.random.default_rng(7)
Build = Callable[[Builder, Value], Any]


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def written(tmp_path: Path, shape: tuple[Any, ...], build: Build, *, dtype: str = "float32", **options: Any) -> Net:
    """The net of ``build(b, x)``, verified by convert."""
    graph = Graph("net")
    b = Builder(graph, origin=Origin("test", "layer", "Test"))
    x = b.input("data", dtype, shape)
    y = build(b, x)
    graph.outputs = list(y) if isinstance(y, (tuple, list)) else [y]
    for i, v in enumerate(graph.outputs):
        if v.producer is not None:
            v.name = f"out{i}" if i else "out"
    result = convcore.convert(convcore.Model(graph, "test"), "caffe", tmp_path / "net.prototxt", **options)
    assert result.report.ok
    return read_net(*result.paths)


def types(net: Net) -> list[str]:
    return [layer.type for layer in net if layer.type != "Input"]


def fields(layer: Layer) -> dict[str, Any]:
    """The parameters given; a repeated field given once as its value."""
    given = {k: v for m in layer.params.values() for k, v in m.fields()}
    return {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in given.items()}


def only(net: Net) -> Layer:
    (layer,) = [layer for layer in net if layer.type != "Input"]
    return layer
