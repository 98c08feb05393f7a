"""What rows, their words and foreign nodes refuse: each by its own sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import DeclarationError, ShapeError, UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.rules import A, Call, ForeignNode, I, LoadContext, NotExpressible, Rest, RuleSet, W, find_iso
from convcore.rules.shapes import known_shape
from convcore.rules.words import permutation_of
from convcore.testing.rules import RecordingContext


def builder() -> Builder:
    return Builder(Graph("g"))


# ---- foreign nodes
NODE = ForeignNode(
    "T", "here", [None], {"half": 0.5, "yes": True, "nan": float("nan"), "inf": float("inf"), "text": "3", "two": 2, "third": 3.0}
)


@pytest.mark.parametrize("name", ["half", "yes", "nan", "inf", "text"])
def test_whole_numbers(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name}=.* is not a whole number"):
        NODE.whole(name)
    assert (NODE.whole("two"), NODE.whole("third"), NODE.whole("none", 7)) == (2, 3, 7)


@pytest.mark.parametrize("name", ["yes", "text"])
def test_numbers(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name}=.* is not a number"):
        NODE.real(name)
    assert (NODE.real("half"), NODE.real("two")) == (0.5, 2.0)


@pytest.mark.parametrize("axis", [3, -4, True, 1.0, "1"])
def test_axes(axis: Any) -> None:
    with pytest.raises(UnsupportedError, match="is no axis of 3"):
        NODE.axis_in(axis, 3)
    with pytest.raises(UnsupportedError, match="is no axis, or list of axes, of 3"):
        NODE.axes_in([0, axis], 3)
    assert [NODE.axis_in(a, 3) for a in (-3, -1, 0, 2)] == [0, 2, 0, 2]


def test_what_is_missing() -> None:
    with pytest.raises(UnsupportedError, match="attribute 'none' is missing"):
        NODE.attr("none")
    b = builder()
    with pytest.raises(NotExpressible, match="'x' is not a constant"):
        LoadContext(b).view(b.input("x", "float32", (2, 3)), "t", lambda t: t.transpose((1, 0)))


def test_shapes_that_must_be_known() -> None:
    b = builder()
    with pytest.raises(NotExpressible, match="an input is missing"):
        known_shape(None)
    with pytest.raises(NotExpressible, match="the number of axes of 'x' is not known"):
        known_shape(b.input("x", "float32", None))
    y = b.input("y", "float32", (2, None, 3))
    with pytest.raises(NotExpressible, match="the size of axis 1 of 'y' is not known"):
        known_shape(y, sizes=True)
    assert known_shape(y) == (2, None, 3)
    assert known_shape(b.input("z", "float32", (2, Dim("N"))), sizes=True) == (2, Dim("N"))


# ---- words
@pytest.mark.parametrize(
    ("do", "error", "why"),
    [
        (lambda: Rest(2).load(2, None), NotExpressible, "the number of axes of its input is not known"),
        (lambda: Rest(2).emit("axes", (2, 3), None), NotExpressible, "the number of axes of its input is not known"),
        (lambda: Rest(A("axis")).load(3, 3), ShapeError, "axis 3 is out of range for 3 axes"),
        (lambda: Rest(A("axis")).load(-4, 3), ShapeError, "axis -4 is out of range for 3 axes"),
        (lambda: Rest(2).emit("axes", (1, 3), 4), NotExpressible, r"axes=\(1, 3\) are not the last of 4 axes"),
        (lambda: Rest(2).emit("axes", (2,), 4), NotExpressible, r"axes=\(2,\) are not the last of 4 axes"),
        (lambda: Rest(2).emit("axes", (), 4), NotExpressible, r"axes=\(\) are not the last of 4 axes"),
        (lambda: Rest(2).emit("axes", (1, 2, 3), 4), NotExpressible, r"axes=\(1, 2, 3\) do not begin with axis 2"),
        (lambda: Rest(2).emit("axes", None, 4), NotExpressible, "axes=None do not begin with axis 2"),
        (lambda: W("w", "C->C~").order_for(None), NotExpressible, "its input has an unknown number of axes"),
        (lambda: W("w", "C->C~").order_for(1), NotExpressible, "its input has 1 axes"),
        (lambda: W("w", "AB->AC").validate(), DeclarationError, "bad axis order 'AB->AC'"),
        (lambda: W("w", "AB->BA", C="groups").validate(), DeclarationError, "the axis order 'AB->BA' has no 'C'"),
        (lambda: permutation_of("AB->AC", 2), DeclarationError, "bad axis order 'AB->AC'"),
        (lambda: find_iso("symmetric_pads").emit(((1, 2),)), NotExpressible, "padding .* is not symmetric"),
        (lambda: find_iso("symmetric_pads").emit("same_upper"), NotExpressible, "padding same_upper is not symmetric"),
    ],
)
def test_words(do: Callable[[], Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        do()


def test_words_at_the_limit() -> None:
    assert [Rest(A("axis")).load(n, 3) for n in (-3, 2)] == [(0, 1, 2), (2,)] and Rest(A("axis")).load(0, 0) == ()
    assert (Rest(2).emit("axes", (2, 3), 4), Rest(0).emit("axes", None, 3), W("w", "C->C~").order_for(2)) == (2, 0, "C->C")


# ---- rows that cannot be
def test_rows_that_name_what_is_not_there() -> None:
    for why, make in (
        ("the op has no attribute 'nope', which is said to be a size of w",
         lambda r: r.op("T", "linear", "x=x", w=W("w", "OI->OI", O="nope"))),
        ("the op has no attribute 'nope'", lambda r: r.op("T", "relu", "x=x", unless={"nope": 1})),
        ("the call has no parameter 'other'", lambda r: r.op("T", "add", "x=x, other=y", also=Call("t.add", "x, y"))),
        ("the op has no input 'nope'", lambda r: r.op("T", "relu", "x=x", types={"nope": "float"})),
        ("input 'k' of I is not in the input list", lambda r: r.op("T", "argmax", "x=x", axis=I("k"))),
    ):  # fmt: skip
        with pytest.raises(DeclarationError, match=why):
            make(RuleSet("toy"))


# ---- rows that run
def emitted(rules: RuleSet[Any, Any], op: str, *inputs: Any, **attrs: Any) -> str:
    """Why nothing was written, or ""."""
    b = builder()
    values = [b.weight(v, f"w{i}") if isinstance(v, np.ndarray) else b.input(f"x{i}", "float32", v) for i, v in enumerate(inputs)]
    return rules.apply_emit(RecordingContext(b), b.node(op, values, attrs))


def test_a_constant_of_too_many_numbers() -> None:
    from convcore.rules.row_load import MOST_NUMBERS

    rules = RuleSet("toy")
    rules.op("Turn", "transpose", "x=x,k=_", perm=I("k"))
    b = builder()
    x = b.input("x", "float32", (2, 3))

    def load(k: Any) -> Any:
        return rules.apply_load(LoadContext(b), ForeignNode("Turn", "here", [x, k], {}))

    assert load(b.weight(np.array([1, 0]), "k"))[0].shape == (3, 2)
    with pytest.raises(UnsupportedError, match=f"its input 'k' has {MOST_NUMBERS + 1} numbers, too many for an attribute"):
        load(b.weight(np.zeros(MOST_NUMBERS + 1, "i8"), "many"))
    with pytest.raises(UnsupportedError, match="its input 'k' must be a constant"):
        load(b.input("moving", "int64", (2,)))
    with pytest.raises(UnsupportedError, match="its input 'k' is missing"):
        load(None)


def test_results_that_are_not_made() -> None:
    rules = RuleSet("toy")
    rules.op("Act", "relu", "x=x")
    b = builder()
    x = b.input("x", "float32", (2, 3))
    with pytest.raises(UnsupportedError, match="has 2 outputs, the rule knows 1"):
        rules.apply_load(LoadContext(b), ForeignNode("Act", "here", [x], {}, outputs=["a", "b"]))
    assert rules.apply_load(LoadContext(b), ForeignNode("Act", "here", [x], {}, outputs=["a"]))


def test_what_is_not_set() -> None:
    rules = RuleSet("toy")
    rules.op("Lim", "clip", "x=x", min=A("low"), max=A("high"))
    assert emitted(rules, "clip", (2, 3), min=0.5) == "max is not set"
    assert emitted(rules, "clip", (2, 3), min=0.5, max=1.5) == ""
