"""Attributes of damaged files are refused with their layer: no axis counts around, nothing but a number is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.ir.graph import Graph
from convcore.rules.foreign import ForeignNode
from convcore_keras.files.safe_json import loads


def node(**attrs: Any) -> ForeignNode:
    b = Builder(Graph("g"))
    return ForeignNode("Layer", "layer", [b.input("x", "float32", (2, 3, 5))], attrs)


@pytest.mark.parametrize("axis", [3, -4, 7, True, 1.0, "x", None, {"a": 1}, [3], [0, "x"]])
def test_axes_are_those_of_the_tensor(axis: Any) -> None:
    n = node()
    for ask in (n.axis_in, n.axes_in):
        with pytest.raises(UnsupportedError, match="no axis") as e:
            ask(axis, 3)
        assert e.value.problems[0].layer == "layer"
    with pytest.raises(UnsupportedError, match="no axis of 0"):
        n.axis_in(0, 0)


def test_axes_count_from_both_ends() -> None:
    assert [node().axis_in(a, 3) for a in (0, 2, -1, -3, np.int64(1))] == [0, 2, 2, 0, 1]
    assert node().axes_in([-1, 0], 3) == [2, 0] and node().axes_in(-2, 3) == [1]


@pytest.mark.parametrize("v", [True, "3", None, [3], float("nan"), float("inf"), 2.5, {"a": 1}])
def test_whole_numbers(v: Any) -> None:
    with pytest.raises(UnsupportedError, match="is not a whole number"):
        node(n=v).whole("n")
    assert node(n=3.0).whole("n") == 3 and node().whole("n", 7) == 7


@pytest.mark.parametrize("v", [True, "3.0", None, [3.0], {"a": 1}])
def test_numbers(v: Any) -> None:
    with pytest.raises(UnsupportedError, match="is not a number"):
        node(n=v).real("n")
    assert node(n=3).real("n") == 3.0 and node(n=np.float32(0.5)).real("n") == 0.5


@pytest.mark.parametrize("text", ['{"name": "\\ud800"}', '["\\udfff"]', '{"\\ud800x": 1}', '"\\ud800\\ud800"'])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    """Names of it could not be written to any file."""
    with pytest.raises(BadFileError, match=r"not valid JSON.*surrogates"):
        loads(text, "config.json")
    assert loads('"\\ud83d\\ude00 \\\\ud800"', "config.json") == "\U0001f600 \\ud800"


def test_a_resize_too_large_to_spell_out_is_refused() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (1, 3, 5, 7))
    with pytest.raises(ConvcoreError, match="too many to be spelled out"):
        from convcore.opset import find_op

        decl = find_op("resize")
        assert decl is not None and decl.body is not None
        y = b.resize(x, sizes=(10**9, 7), mode="linear")
        decl.body(b, x, **y.producer.attrs)
