"""What is written of small graphs, held whole: each option at values of its own, each edge of a condition, each reason."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.small import Held
from tests.support.small.graphs import GRAPHS
from written_text import lines

from convcore.hookspecs import EmitRequest
from convcore.host import host
from convcore.ir.graph import Graph
from convcore.layout import assign
from convcore_keras.emit import emit
from convcore_keras.layout import convention

keras = pytest.importorskip("keras")


def write(graph: Graph, options: Mapping[str, Any], folder: Path) -> tuple[list[str], Callable[[list[Any]], list[Any]]]:
    """Inputs keep the order of axes of the graph."""
    assign(graph, convention(options), io="source")
    made = emit(EmitRequest(graph, folder / "m.keras", dict(options), {}, host().rules("keras")))

    def give(feeds: list[Any]) -> list[Any]:
        runtime = made.runtime() if made.runtime is not None else None
        assert runtime is not None
        return list(runtime.run(feeds))

    notes = [f"note: {n}" for n in made.notes]
    return [*lines(Path(made.paths[0])), *notes], give


HELD = Held(Path(__file__).with_name("data") / "written.txt", GRAPHS, write)


@pytest.mark.parametrize("name", GRAPHS)
def test_is_written_as_recorded(name: str, tmp_path: Path) -> None:
    HELD.check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_is_right_in_keras(name: str, tmp_path: Path) -> None:
    assert sys.modules["keras"].backend.backend() == "torch"
    HELD.check(name, tmp_path, run=True)


def test_the_record_has_no_other_graphs() -> None:
    assert HELD.sections.keys() == GRAPHS.keys()
