"""What is known never to be below zero: ids of a table, what a window's maximum is taken of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Value
from convcore.passes.signs import never_negative

X = (2, 3, 5, 7)

KNOWN: dict[str, tuple[Callable[[Any], Value], bool]] = {
    "relu": (lambda b: b.relu(b.input("x", "float32", X)), True),
    "tanh of relu": (lambda b: b.tanh(b.relu(b.input("x", "float32", X))), True),
    "difference": (lambda b: b.sub(b.relu(b.input("x", "float32", X)), b.relu(b.input("y", "float32", X))), False),
    "sum with an input": (lambda b: b.add(b.relu(b.input("x", "float32", X)), b.input("y", "float32", X)), False),
    "an input": (lambda b: b.input("x", "float32", X), False),
    "bool": (lambda b: b.input("x", "bool", X), True),
    "uint8": (lambda b: b.input("x", "uint8", X), True),
    "int8": (lambda b: b.input("x", "int8", X), False),
    "a weight of zeros and ones": (lambda b: b.const(np.array([0.0, 1.0], "f4")), True),
    "a weight with one below zero": (lambda b: b.const(np.array([3.0, -1.0], "f4")), False),
    "clip from 0": (lambda b: b.clip(b.input("x", "float32", X), min=0.0), True),
    "clip from 0 to 2": (lambda b: b.clip(b.input("x", "float32", X), min=0.0, max=2.0), True),
    "clip from 0 to 0": (lambda b: b.clip(b.input("x", "float32", X), min=0.0, max=0.0), True),
    "clip from 0 to -1": (lambda b: b.clip(b.input("x", "float32", X), min=0.0, max=-1.0), False),
    "clip from -1": (lambda b: b.clip(b.input("x", "float32", X), min=-1.0), False),
    "clip to 2": (lambda b: b.clip(b.input("x", "float32", X), max=2.0), False),
    "windows": (lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 1), strides=(3, 4)), True),
    "windows, up": (lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 1), ceil_mode="ceil"), True),
    "empty windows": (
        lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 1), strides=(3, 4), ceil_mode="ceil_full"), False
    ),
    "windows of padding alone": (
        lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 3), pads=((0, 1), (0, 0))), False
    ),
    "windows of an element at least": (
        lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(2, 3), pads=((0, 1), (2, 1))), True
    ),
    "windows of padding beside elements": (
        lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 2), dilations=(1, 2), pads=((0, 0), (1, 1))), False
    ),
    "windows of all elements": (lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(1, 2), dilations=(1, 2)), True),
    "windows, as many as there are": (
        lambda b: b.max_pool(b.relu(b.input("x", "float32", X)), kernel=(3, 3), pads="same_upper"), True
    ),
    "windows of an input": (lambda b: b.max_pool(b.input("x", "float32", X), kernel=(2, 2)), False),
    "places do not matter": (lambda b: b.gather(b.relu(b.input("x", "float32", X)), b.input("i", "int64", (5,)), axis=0), True),
    "a size": (lambda b: b.dim_value(value=Dim("n")), True),
    "a size less one": (lambda b: b.dim_value(value=Dim("n") - 2), False),
    "floats as int64": (lambda b: b.cast(b.relu(b.input("x", "float32", X)), to="int64"), True),
    "floats as int16": (lambda b: b.cast(b.relu(b.input("x", "float32", X)), to="int16"), False),
    "floats as floats": (lambda b: b.cast(b.relu(b.input("x", "float32", X)), to="float16"), True),
    "uint32 as int32": (lambda b: b.cast(b.input("x", "uint32", X), to="int32"), False),
    "uint16 as int32": (lambda b: b.cast(b.input("x", "uint16", X), to="int32"), True),
    "uint16 as int16": (lambda b: b.cast(b.input("x", "uint16", X), to="int16"), False),
    "uint8 as int16": (lambda b: b.cast(b.input("x", "uint8", X), to="int16"), True),
    "bool as int8": (lambda b: b.cast(b.input("x", "bool", X), to="int8"), True),
    "int64 as int32": (lambda b: b.cast(b.abs(b.input("x", "int64", X)), to="int32"), True),
    "int64 as int16": (lambda b: b.cast(b.abs(b.input("x", "int64", X)), to="int16"), False),
    "int8 as int8": (lambda b: b.cast(b.relu(b.input("x", "int8", X)), to="int8"), True),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_never_below_zero(name: str) -> None:
    make, known = KNOWN[name]
    assert never_negative(make(Builder(Graph("g"))), inputs=False) is known


def test_whether_inputs_count() -> None:
    """Ids are those of a table, whoever gives them; the elements of a map may be anything."""
    b = Builder(Graph("g"))
    x = b.input("x", "int64", X)
    assert never_negative(b.max_pool(x, kernel=(2, 2)), inputs=True) and not never_negative(x, inputs=False)
    assert not never_negative(b.sub(x, x), inputs=True) and never_negative(None, inputs=False)
