"""What ops infer where a shape or a size of an input is not known: nothing that the sizes contradict, and as much as is held.

Every sample of every op, each of its inputs without its shape, and without each size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.held import Held

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.interpreter.execute import Interpreter
from convcore.ir.dtypes import type_of
from convcore.ir.graph import Graph, Node
from convcore.ops.families import FAMILIES
from convcore.opset.declare import Op, Role, Sample

OPS: dict[str, Op] = {name: decl for family in FAMILIES for name, decl in family.ops.items() if decl.samples}

INFERRED, LACKING = (Held(Path(__file__).parent / f"{name}.json") for name in ("unknown", "unknown_bodies"))
"""How often ops refuse and how many sizes of results (and ranks) they do not tell; what bodies have to know."""


def inferred(decl: Op, sample: Sample, arrays: Sequence[Any], at: int, what: Any) -> Node:
    """The node with input ``at`` without its shape (None) or a size (its axis); parameters are constants."""
    b = Builder(Graph(decl.name))
    ins: list[Any] = []
    for i, a in enumerate(arrays):
        role = decl.inputs[min(i, len(decl.inputs) - 1)].role if decl.inputs else Role.DATA
        if a is None:
            ins.append(None)
        elif i != at and role is Role.PARAMETER:
            ins.append(b.weight(a, f"w{i}"))
        else:
            less = a.shape if i != at else None if what is None else (*a.shape[:what], None, *a.shape[what + 1 :])
            ins.append(b.input(f"x{i}", str(type_of(a)), less))
    return b.node(decl.name, ins, sample.attrs)


def told(decl: Op) -> Iterator[tuple[str, Sequence[Any], Node, Node | None]]:
    """What is not known, the sample's arrays, the node where all is, and where it is not (None: refused)."""
    for number, sample in enumerate(decl.samples[:4]):
        arrays = sample.arrays()
        whole = inferred(decl, sample, arrays, -1, None)
        for i, a in enumerate(arrays):
            for what in () if a is None else (None, *range(a.ndim)):
                try:
                    less = inferred(decl, sample, arrays, i, what)
                except ShapeError:
                    less = None
                yield f"sample {number}, input {i} without {'shape' if what is None else f'size {what}'}", arrays, whole, less


def counted(decl: Op) -> list[Any]:
    refused = unknown = 0
    for what, _, whole, less in told(decl):
        refused += less is None
        for v, w in zip(whole.outputs, less.outputs if less is not None else ()):
            assert v.dtype == w.dtype, what
            if w.shape is None or v.shape is None:
                unknown += w.shape is None
                continue
            assert len(v.shape) == len(w.shape), f"{what}: {w}, {v.shape} with all of them"
            for n, m in zip(v.shape, w.shape):
                unknown += m is None
                assert m is None or n is None or not isinstance(m, int) or not isinstance(n, int) or m == n, f"{what}: {w}"
    return [refused, unknown]


BODIES = [name for name, decl in OPS.items() if decl.body is not None]


def computed(node: Node, arrays: Sequence[Any]) -> list[Any]:
    """What the outputs of its graph are for a sample's arrays."""
    assert node.graph is not None
    feed = [a for a, v in zip(arrays, node.inputs) if a is not None and v is not None and v.tensor is None]
    return Interpreter(node.graph).run(feed)


def alike(found: Sequence[Any], wanted: Sequence[Any], what: str) -> None:
    for a, b in zip(found, wanted, strict=True):
        if a.dtype == object:  # texts, a sequence of tensors, one that may be absent
            assert str(a.tolist()) == str(b.tolist()), what
            continue
        assert a.shape == b.shape and a.dtype == b.dtype, what
        exact = a.dtype.kind not in "fc"
        assert np.array_equal(a, b) if exact else np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True), what


def lacking(decl: Op) -> list[str]:
    """What a body says it has to know; what it makes otherwise is what the op does."""
    said: set[str] = set()
    for what, arrays, _, less in told(decl):
        if less is None or less.graph is None or decl.body is None:
            continue
        ins = [*less.inputs, *[None] * (len(decl.inputs) - len(less.inputs))]
        try:
            made = decl.body(Builder(less.graph), *ins, **less.attrs)
        except ShapeError as e:
            said.add(str(e))
            continue
        results = list(made) if isinstance(made, tuple) else [made]
        less.graph.outputs = [*less.outputs, *results]
        ran = computed(less, arrays)
        alike(ran[: len(results)], ran[len(results) :], what)
    return sorted(said)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_unknown_shapes(name: str) -> None:
    LACKING.check(name, lacking(OPS[name]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, decl in OPS.items() if decl.reference is not None])
def test_ops_run_whatever_is_known(name: str) -> None:
    """Attributes that wait for the number of axes are settled when it is there."""
    for what, arrays, whole, less in told(OPS[name]):
        if less is None or less.graph is None or whole.graph is None:
            continue
        less.graph.outputs, whole.graph.outputs = list(less.outputs), list(whole.outputs)
        alike(computed(less, arrays), computed(whole, arrays), what)


@pytest.mark.parametrize("name", OPS)
def test_what_is_inferred_of_unknown_shapes(name: str) -> None:
    INFERRED.check(name, counted(OPS[name]))
