"""What is written of small graphs, held whole: each option at values of its own, each edge of a condition, each reason; for
BVLC's Caffe, and what forks write otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.small import Held, data
from tests.support.small.elements import ACTIVATIONS
from tests.support.small.graphs import GRAPHS as ALL
from tests.support.small.windows import POOLS

import convcore
from convcore.hookspecs import EmitRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.layout import assign
from convcore_caffe.emit import emit
from convcore_caffe.files import read_net
from convcore_caffe.layout import CONVENTION

_PLAIN = {name: c for name, c in ALL.items() if not c.options}
_POOLS = {name for name in POOLS if name.startswith(("max_pool ", "avg_pool "))}
_FORKS = {
    "ssd": ({*ACTIVATIONS, *_POOLS}, {"caffe_flavor": "ssd", "pool_rounding": "ceil_mode"}),
    "opencv": (_POOLS, {"caffe_flavor": "opencv"}),
    "round_mode": (_POOLS, {"pool_rounding": "round_mode"}),
}
GRAPHS = _PLAIN | {
    f"{name} for {word}": replace(_PLAIN[name], options=options)
    for word, (table, options) in _FORKS.items()
    for name in _PLAIN
    if name in table
}


def _text(path: Path) -> list[str]:
    """A line for each layer and field of the definition, and each blob of the weights."""
    whole = re.sub(r"\n(?=[ }])", " ", path.read_text("utf-8"))
    lines = [_short(" ".join(line.split())) for line in whole.splitlines() if line and not line.startswith(("#", "name:"))]
    net = read_net(path, path.with_suffix(".caffemodel"))
    return [*lines, *(f"{layer.name}: {data(t.numpy())}" for layer in net for t in layer.blobs)]


def _short(layer: str) -> str:
    """A layer as ``type name bottoms -> tops {fields}``; what else stands there as it is."""
    m = re.fullmatch(r'layer \{ name: "(.*?)" type: "(.*?)"((?: (?:bottom|top): ".*?")*)(.*) \}', layer)
    if m is None:
        return layer
    ins, outs = (", ".join(re.findall(f'{word}: "(.*?)"', m[3])) for word in ("bottom", "top"))
    return f"{m[2]} {m[1]} {ins} -> {outs}{m[4]}"


def write(graph: Graph, options: Mapping[str, Any], folder: Path) -> tuple[list[str], Callable[[list[Any]], list[Any]]]:
    for i, v in enumerate(graph.outputs):
        if v.producer is not None and not v.name.startswith("out"):
            graph.rename(v, f"out{i}")
    assign(graph, CONVENTION, io="source")
    made = emit(EmitRequest(graph, folder / "net.prototxt", {"batch": 2, **options}, {}, host().rules("caffe")))

    def give(feeds: list[Any]) -> list[Any]:
        """By the interpreter: Caffe has no package."""
        back = convcore.load(made.paths[0], made.paths[1]).graph
        found = dict(zip([v.name for v in back.outputs], Interpreter(back).run([a.astype("float32") for a in feeds])))
        return [found[name].astype(w.dtype.numpy) for name, w in zip(made.outputs, graph.outputs)]

    always = ("the batch size is fixed", "weights are in")
    return [*_text(Path(made.paths[0])), *(f"note: {n}" for n in made.notes if not n.startswith(always))], give


HELD = Held(Path(__file__).with_name("data") / "written.txt", GRAPHS, write, closed=True)


@pytest.mark.parametrize("name", GRAPHS)
def test_is_written_as_recorded(name: str, tmp_path: Path) -> None:
    HELD.check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_is_right_when_read_back(name: str, tmp_path: Path) -> None:
    HELD.check(name, tmp_path, run=True)


def test_the_record_has_no_other_graphs() -> None:
    assert HELD.sections.keys() == GRAPHS.keys()
