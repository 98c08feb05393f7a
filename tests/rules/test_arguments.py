"""Words for arguments of functions: lists, places, numbers, sizes; axes told by their sizes, and what lies along all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.emit.dialect import Dialect
from convcore.emit.scribe import Scribe
from convcore.errors import DeclarationError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.rules import ForeignNode, LoadContext, NotExpressible
from convcore.rules.rows import A, Last, Rest, W
from convcore.rules.ruleset import RuleSet
from convcore.testing.rules import RecordingContext, check_row


def builder() -> tuple[Builder, Any]:
    b = Builder(Graph())
    return b, b.input("x", "float32", (2, 3, 5))


class Numbers(Dialect):
    """Writes constants of one element as numbers, and sizes as expressions."""

    def operand(self, s: Any, v: Any, other: Any) -> Any:
        return float(v.tensor.numpy().reshape(-1)[0]) if v.tensor is not None and v.tensor.size == 1 else s.value(v)

    def argument(self, s: Any, value: Any, near: Any) -> Any:
        return f"{value} of {', '.join(v.name for v in near)}"

    def hold(self, s: Any, state: Any, value: Any, name: str) -> Any:
        return state


def written(row: Any, b: Builder, node: Any, dialect: Dialect | None = None) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of the call a row writes: names of values, and the rest as it is."""
    s: Any = Scribe(b.graph, row_set, None, dialect or Numbers(), None, lambda s: [])
    for v in b.graph.inputs:
        s.bind(v, v.name)
    row.emit(s, node)
    (call,) = s.block.calls
    return list(call.args), call.kwargs


row_set: RuleSet[Any, Any] = RuleSet("toy")
ROW = row_set.op


def test_lists_are_one_argument() -> None:
    row = ROW("Cat", "concat", "[parts]=xs*", axis=A("dim"))
    assert row.listed and row.to_json()["listed"]
    b, x = builder()
    assert written(row, b, b.concat(x, x, axis=1).producer) == ([("x", "x")], {"dim": 1})
    assert not ROW("Cat", "concat", "parts=xs*", axis=A("dim")).listed
    assert check_row(row).exact > 0


def test_places() -> None:
    b, x = builder()
    turned = b.transpose(x, perm=(0, 2, 1)).producer
    each = ROW("Permute", "transpose", "input=x", perm=A("dims", at=1, each=True))
    assert written(each, b, turned) == (["x", 0, 2, 1], {})
    assert each.to_json()["mapping"]["perm"] == {"attribute": "dims", "at": 1, "each": True}
    assert written(ROW("Permute", "transpose", "input=x", perm=A("dims", at=0)), b, turned) == ([(0, 2, 1), "x"], {})
    assert written(ROW("Permute", "transpose", "input=x", perm=A("dims")), b, turned) == (["x"], {"dims": (0, 2, 1)})


def test_numbers() -> None:
    row = ROW("-", "sub", "x, y", numbers={"x": "y", "y": "x"})
    b, x = builder()
    one = b.const(np.array([3.0]), "float32")
    assert written(row, b, b.sub(x, one).producer) == (["x", 3.0], {})
    assert written(row, b, b.sub(one, x).producer) == ([3.0, "x"], {})
    args, _ = written(ROW("-", "sub", "x, y", numbers={"y": "x"}), b, b.sub(one, x).producer)
    assert args[1] == "x" and args[0] != 3.0
    with pytest.raises(DeclarationError, match="no input 'z'"):
        ROW("-", "sub", "x, y", numbers={"x": "z"})


def test_symbolic_sizes() -> None:
    b = Builder(Graph())
    x = b.input("x", "float32", (Dim("N"), 3))
    node = b.tile(x, repeats=(1, Dim("N"))).producer
    with pytest.raises(NotExpressible, match=r"repeats=.* is symbolic"):
        written(ROW("Tile", "tile", "input=x", repeats=A("repeats")), b, node)
    row = ROW("Tile", "tile", "input=x", repeats=A("repeats", sizes=True))
    assert written(row, b, node)[1] == {"repeats": "(1, Dim('N')) of x"}
    with pytest.raises(NotExpressible, match="a size is symbolic"):
        written(row, b, node, Dialect())  # what a target without such arguments says
    with pytest.raises(NotExpressible, match="a size is symbolic"):
        row.emit(RecordingContext(b), node)


def test_results_that_nobody_reads() -> None:
    row = ROW("Sort", "sort", "x", outputs="values=y, places=_", axis=A("dim"), descending=A("descending", False))
    b, x = builder()
    node = b.sort(x, axis=1).producer
    s: Any = Scribe(b.graph, row_set, None, Numbers(), None, lambda s: [])
    s.bind(x, "x")
    row.emit(s, node)
    (call,) = s.block.calls
    assert [r.value for r in call.results] == [node.output, None]
    assert check_row(row).exact > 0


# ---- axes told by their sizes
LAST = {"axes": Last("shape"), "epsilon": A("eps"), "spans": ("scale", "bias")}


def norm(b: Builder, x: Any, axes: tuple[int, ...], *shapes: tuple[int, ...] | None) -> Any:
    params = [None if s is None else b.const(np.ones(s), "float32") for s in shapes]
    return b.layer_norm(x, *params, axes=axes, epsilon=1e-5).producer


@pytest.mark.parametrize("axes, sizes", [((2,), 5), ((1, 2), [3, 5]), ((0, 1, 2), [2, 3, 5])])
def test_last_axes_by_their_sizes(axes: tuple[int, ...], sizes: Any) -> None:
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b, x = builder()
    e = RecordingContext(b)
    row.emit(e, norm(b, x, axes))
    assert e.nodes[0].attrs["shape"] == sizes
    assert row.load(LoadContext(b), e.nodes[0])[0].producer.attrs["axes"] == axes


@pytest.mark.parametrize(
    "axes, shapes, why",
    [
        ((1,), (), r"axes=\(1,\) are not the last of 3 axes"),
        ((2,), ((1,),), r"scale does not span axes \(2,\)"),  # broadcast
        ((1, 2), (None, (3, 1)), "bias does not span"),
        ((2, 1), ((5, 3),), r"scale does not span axes \(2, 1\), in order"),
    ],
)
def test_axes_and_parameters_that_are_others(axes: Any, shapes: Any, why: str) -> None:
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b, x = builder()
    with pytest.raises(NotExpressible, match=why):
        row.emit(RecordingContext(b), norm(b, x, axes, *shapes))


def test_axes_of_one_size_in_another_order() -> None:
    """A scale over (2, 1) of a square is not the scale over (1, 2), though its shape is the same."""
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 7, 7))
    with pytest.raises(NotExpressible, match="in order"):
        row.emit(RecordingContext(b), norm(b, x, (2, 1), (7, 7)))
    e = RecordingContext(b)
    row.emit(e, norm(b, x, (2, 1)))  # without parameters the order means nothing
    assert e.nodes[0].attrs["shape"] == [7, 7]


def test_sizes_that_are_not_known() -> None:
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b = Builder(Graph())
    with pytest.raises(NotExpressible, match=r"a size along axes=.* is not a known number"):
        row.emit(RecordingContext(b), norm(b, b.input("x", "float32", (2, Dim("N"))), (1,)))


@pytest.mark.parametrize("told, why", [([7], "are not the last sizes"), ([2, 2, 3, 5], "are not the last sizes")])
def test_sizes_that_do_not_fit(told: list[int], why: str) -> None:
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b, x = builder()
    with pytest.raises(NotExpressible, match=why):
        row.load(LoadContext(b), ForeignNode("Norm", "n", [x], {"shape": told, "eps": 1e-5}))
    y = b.input("y", "float32", None)
    with pytest.raises(NotExpressible, match="number of axes of its input is not known"):
        row.load(LoadContext(b), ForeignNode("Norm", "n", [y], {"shape": told, "eps": 1e-5}))


def test_parameters_of_other_ranks_are_not_loaded() -> None:
    row = ROW("Norm", "layer_norm", "x, scale, bias", **LAST)
    b, x = builder()
    scale = b.const(np.ones((1, 5)), "float32")
    with pytest.raises(NotExpressible, match="its scale has 2 axes, 1 are normalised"):
        row.load(LoadContext(b), ForeignNode("Norm", "n", [x, scale], {"shape": [5], "eps": 1e-5}))


def test_axes_from_the_end() -> None:
    row = ROW("Norm", "layer_norm", "x", axes=Rest(A("axis", -1), from_end=True), epsilon=A("eps"))
    b, x = builder()
    for axes, axis in (((2,), None), ((1, 2), -2)):
        e = RecordingContext(b)
        row.emit(e, norm(b, x, axes))
        assert e.nodes[0].attrs.get("axis") == axis


def test_declarations() -> None:
    with pytest.raises(DeclarationError, match="axis are no axes"):
        ROW("Norm", "softmax", "x", axis=Last("shape"))
    with pytest.raises(DeclarationError, match="no input 'gamma'"):
        ROW("Norm", "layer_norm", "x", axes=Last("shape"), epsilon=1e-5, spans=("gamma",))
    assert ROW("Norm", "layer_norm", "x", scale=W("w"), axes=Last("shape", at=1), epsilon=1e-5, spans=("scale",)).to_json()[
        "spans"
    ] == ["scale"]
