"""What nobody knows: shapes, sizes and types that are not told end nothing, and what is found nevertheless computes the same.

A value of a body loses its shape, one of its sizes or its type, alone or with all the others.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rewrite.test_recovered import CASES, run, same, written
from tests.rewrite.test_recurrent import KINDS, graph_of, layer
from tests.support.held import Held

from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.errors import VerifyError
from convcore.ir.graph import Graph, Value
from convcore.opset import op
from convcore.rewrite import find_composites

LEFT = Held(Path(__file__).parent / "unknown.json")
"""What the graphs consist of afterwards, all together."""
SHARE = 2
"""Of what can be forgotten of single values one in so many is, told by its description; all with ``-m slow``."""


def forget(v: Value, what: Any) -> None:
    if what == "type":
        v.dtype = None
    elif what == "shape" or v.shape is None:
        v.shape = None
    else:
        v.shape = tuple(None if what in ("sizes", i) else n for i, n in enumerate(v.shape))


def told(graph: Graph) -> list[Value]:
    """The values that are no weights."""
    return [v for v in graph.values() if v.tensor is None]


def forgotten(graph: Graph) -> Iterator[tuple[Any, Any]]:
    """What can be forgotten: of which value (None: of all but the inputs), and what of it."""
    yield from ((None, what) for what in ("shape", "sizes", "type"))
    yield from ((i, what) for i, v in enumerate(told(graph)) for what in ("shape", "type", *range(v.rank or 0)))


def examined(graph: Graph, arrays: list[Any], name: str, share: int) -> None:
    before, left = run(graph, arrays), Counter[str]()
    for at, what in forgotten(graph):
        if at is not None and zlib.crc32(f"{name} {at} {what}".encode()) % share:
            continue
        less = graph.clone()
        for i, v in enumerate(told(less)):
            if i == at or (at is None and v.producer is not None):
                forget(v, what)
        try:
            verify(less)
        except VerifyError:  # an op that has to know it
            continue
        find_composites(less)
        verify(less, f"{name} {at} {what}")
        left.update(n.op for n in less)
        try:
            same(run(less, arrays), before)
        except AssertionError as e:
            raise AssertionError(f"{name}: {at} {what}: {e}") from e
    if share > 1:
        LEFT.check(f"{name} of {share}", dict(sorted(left.items())))


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "i"), CASES, ids=[f"{n}-{i}" for n, i in CASES])
def test_of_bodies(name: str, i: int, share: int) -> None:
    graph, arrays = written(name, op(name).samples[i])
    examined(graph, arrays, f"{name} {i}", share)


@pytest.mark.parametrize("share", [12 * SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "more"), KINDS, ids=lambda p: str(p))
@pytest.mark.parametrize("unrolled", [False, True])
def test_of_steps(name: str, more: dict[str, Any], unrolled: bool, share: int) -> None:
    graph = graph_of(lambda b: layer(b, name, "time_major", "forward", True, **more))
    for inner in (name, "scan") if unrolled else (name,):
        expand(graph, next(n for n in graph if n.op == inner))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[d if isinstance(d, int) else 2 for d in v.shape or ()]).astype("f4") for v in graph.inputs]
    examined(graph, arrays, f"{name} {more} {unrolled}", share)
