"""Passes that plugins run before emission: ``check`` runs what ``convert`` runs, for the target that is asked for."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import importlib_metadata
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.hookspecs import CONVCORE_API, PassSpec, hookimpl
from convcore.host import Host, host, set_host
from convcore.ir.graph import Graph

SEEN: list[str] = []
"""Which passes ran, in order."""


def without_bessel(graph: Graph) -> None:
    """Bessel functions, which ONNX has not, made relus."""
    SEEN.append("without_bessel")
    for node in list(graph):
        if node.op == "bessel":
            b = Builder(graph, before=node)
            node.output.replace_uses(b.relu(node.need("x")))
            graph.remove(node)


def with_bessel(graph: Graph) -> None:
    """The other way round."""
    SEEN.append("with_bessel")
    for node in list(graph):
        if node.op == "relu":
            b = Builder(graph, before=node)
            node.output.replace_uses(b.bessel(node.need("x"), kind="j", order=0))
            graph.remove(node)


@pytest.fixture
def passes() -> Iterator[dict[str, list[PassSpec]]]:
    """Passes of a plugin by target; those of the installed plugins run, too."""
    pytest.importorskip("convcore_onnx")
    found: dict[str, list[PassSpec]] = {}

    def convcore_passes(stage: str, target: str) -> list[PassSpec]:
        return found.get(target, []) if stage == "laid_out" else []

    module: Any = types.ModuleType("fake_last")
    module.CONVCORE_API, module.convcore_passes = CONVCORE_API, hookimpl(convcore_passes)
    sys.modules["fake_last"] = module
    dist = SimpleNamespace(metadata={"Name": "dist-last"}, version="1.0")
    before = host()
    points = [*importlib_metadata.entry_points(group="convcore"), SimpleNamespace(name="last", value="fake_last", dist=dist)]
    set_host(Host(entry_points=points))
    SEEN.clear()
    yield found
    set_host(before)
    del sys.modules["fake_last"]


def _model(op: str, **attrs: Any) -> convcore.Model:
    graph = Graph("g")
    b = Builder(graph)
    graph.outputs = [b.op(op, b.input("x", "float32", (7, 3)), **attrs)]
    return convcore.Model(graph, "", None, None)


def test_check_runs_the_last_passes_of_its_target(passes: dict[str, list[PassSpec]], tmp_path: Path) -> None:
    bessel = _model("bessel", kind="j", order=0)
    (problem,) = convcore.check(bessel, "onnx")
    assert problem.type == "bessel"
    passes["onnx"] = [PassSpec("bessel", f"{__name__}:without_bessel")]
    assert not convcore.check(bessel, "onnx") and SEEN == ["without_bessel"]
    assert [n.op for n in bessel.graph] == ["bessel"]  # on a copy
    convcore.convert(bessel, out=tmp_path / "m.onnx", check=False)
    assert convcore.check(bessel, "keras") and SEEN == ["without_bessel"] * 2


def test_what_a_last_pass_makes_is_checked(passes: dict[str, list[PassSpec]], tmp_path: Path) -> None:
    relu = _model("relu")
    assert not convcore.check(relu, "onnx")
    passes["onnx"] = [PassSpec("bessel", f"{__name__}:with_bessel")]
    assert [p.type for p in convcore.check(relu, "onnx")] == ["bessel"]
    with pytest.raises(UnsupportedError, match="bessel"):
        convcore.convert(relu, out=tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_in_their_order(passes: dict[str, list[PassSpec]]) -> None:
    passes["onnx"] = [
        PassSpec("later", f"{__name__}:without_bessel", order=200),
        PassSpec("earlier", f"{__name__}:with_bessel", order=50),
    ]
    assert not convcore.check(_model("relu"), "onnx") and SEEN == ["with_bessel", "without_bessel"]


def test_not_of_a_graph_with_unknown_layers(passes: dict[str, list[PassSpec]]) -> None:
    """A conversion refuses it before its last passes; what else the target lacks is found all the same."""
    passes["onnx"] = [PassSpec("bessel", f"{__name__}:without_bessel")]
    graph = Graph("g")
    b = Builder(graph)
    x = b.input("x", "float32", (7, 3))
    (unknown,) = b.opaque("keras", "Odd", [x], 1, {}, why="nobody knows it")
    graph.outputs = [unknown, b.bessel(x, kind="j", order=0)]
    found = convcore.check(convcore.Model(graph, "", None, None), "onnx")
    assert {p.type for p in found} == {"Odd", "bessel"} and not SEEN
