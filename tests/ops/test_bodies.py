"""What bodies are made of, sample for sample: a part that is no longer left out where it does nothing is noticed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.ops.test_unknown import BODIES, OPS, inferred
from tests.support.held import Held

from convcore.build.builder import Builder
from convcore.errors import ShapeError

MADE = Held(Path(__file__).parent / "bodies.json")


@pytest.mark.parametrize("name", BODIES)
def test_parts_of_bodies(name: str) -> None:
    decl, found = OPS[name], []
    for sample in decl.samples:
        node = inferred(decl, sample, sample.arrays(), -1, None)
        assert node.graph is not None and decl.body is not None
        ins = [*node.inputs, *[None] * (len(decl.inputs) - len(node.inputs))]
        try:
            decl.body(Builder(node.graph), *ins, **node.attrs)
        except ShapeError as e:
            found.append({str(e): 1})
            continue
        inner = [n for n in node.graph if n is not node]
        ops = Counter(n.op for n in inner)
        ops.update(f"in a region: {n.op}" for outer in inner for region in outer.regions for n in region)
        found.append(dict(sorted(ops.items())))
    MADE.check(name, found)
